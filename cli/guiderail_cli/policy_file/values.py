"""What the texts of ``guiderail.yaml`` mean: durations, globs, times, addresses.

Every scalar arrives as text (see ``document``); each type here says what it may be, and what to write
instead where it is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from guiderail.model.incident import LONGEST_RING
from guiderail.model.policy import RunsNeeded
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

LONGEST_TEXT = 256
"""Characters of a name or glob; SageMaker's own names end far below."""

_MOST_NAMES = 200

MOST_STARS = 8
"""``*`` of one glob; a match may try every division of a name between them."""

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = get_args(Weekday)

_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?=\d)(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?")
_N_OF_M = re.compile(r"(\d{1,6}) +of +(\d{1,6})")
_TIME_OF_DAY = re.compile(r"([01]\d|2[0-4]):([0-5]\d)")
_DAY = {"enum": list(WEEKDAYS)}
_SCALAR = {"type": ["string", "number", "boolean"]}


TOLD_ELSEWHERE = "told_elsewhere"
"""Kind of an error for a value within which another problem is told."""


def wrong(kind: str, message: str, remedy: str) -> PydanticCustomError:
    """The error that a validator raises: what is wrong and what to do."""
    # braces of what the user wrote must not be read as a template
    context = {"told": message, "remedy": remedy}
    return PydanticCustomError(kind, "{told}", context)


def shown(value: object) -> str:
    """A value of the file for a message: short, on one line, printable."""
    text = "".join(c if c.isprintable() else "?" for c in str(value))
    return text if len(text) <= 60 else text[:59] + "…"


def suggestion(word: str, known: Iterable[str]) -> str:
    """The remedy for a misspelt word; empty if nothing known is near."""
    names = list(known)
    # comparing takes its time; nobody misspells one of a thousand names only once
    near = get_close_matches(word, names, n=1) if len(names) <= _MOST_NAMES else ()
    return f"Did you mean {near[0]}?" if near else ""


def _text(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise wrong("empty", "the text is empty", "Write a value or remove the line")
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise wrong(
            "too_long",
            f"{len(value)} characters, the limit is {LONGEST_TEXT}",
            "Shorten it; a glob needs only the part that tells names apart",
        )
    return value


def _glob(value: str) -> str:
    if (stars := re.sub(r"\*+", "*", value).count("*")) > MOST_STARS:
        raise wrong(
            "catastrophic_glob",
            f"{stars} times * in one glob, the limit is {MOST_STARS}: "
            "each one multiplies the ways in which a name can match",
            "List the names, or match a part that is fixed",
        )
    return value


def listed(value: Any) -> Any:
    """One text where a list may stand too, as a list."""
    return [value] if isinstance(value, str) else value


def _truth(value: Any) -> Any:
    if value in ("true", "false", True, False):
        return value in ("true", True)
    raise wrong("not_bool", f"{shown(value)} is neither true nor false", "Write true or false")


def seconds_of(text: str) -> float | None:
    """A duration such as ``1h30m`` in seconds; None if it is none."""
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    numbers = zip(match.groups("0"), "dhms", strict=True)
    return float(sum(int(number) * _SECONDS[unit] for number, unit in numbers))


def _duration(value: Any) -> float:
    seconds = seconds_of(value) if isinstance(value, str) else None
    if seconds is None:
        raise wrong(
            "bad_duration",
            f"{shown(value)} is no duration",
            "Write days, hours, minutes, seconds, such as 30s, 5m, 4h, 2d or 1h30m",
        )
    return seconds


def _longer_than_nothing(value: float) -> float:
    if not value:
        raise wrong("no_duration", "the duration is 0", "Write a longer one, such as 5m")
    return value


def no_longer_than(limit: str) -> AfterValidator:
    """A limit of a duration, as the file writes it."""

    def checked(value: float) -> float:
        if value > (seconds_of(limit) or 0):
            raise wrong("too_long_a_time", f"longer than {limit}", f"Write at most {limit}")
        return value

    return AfterValidator(checked)


def no_shorter_than(limit: str) -> AfterValidator:
    """The least that a duration may be, as the file writes it."""

    def checked(value: float) -> float:
        if value < (seconds_of(limit) or 0):
            raise wrong("too_short_a_time", f"shorter than {limit}", f"Write at least {limit}")
        return value

    return AfterValidator(checked)


def _runs_needed(value: Any) -> RunsNeeded:
    match = _N_OF_M.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise wrong("bad_n_of_m", f"{shown(value)} is not N of M", "Write for: 2 of 3")
    count, of = int(match[1]), int(match[2])
    if not 1 <= count <= of:
        raise wrong(
            "n_above_m",
            f"{count} of {of} can never be reached" if count else "0 of M would always hold",
            "Let N be at least 1 and at most M",
        )
    if of > LONGEST_RING:
        raise wrong(
            "m_too_large",
            f"the last {of} runs are asked for, {LONGEST_RING} are remembered",
            f"Let M be at most {LONGEST_RING}",
        )
    return RunsNeeded(count, of)


def _moment(value: Any) -> datetime:
    remedy = "Write date, time and zone, such as 2026-12-24T08:00:00+01:00"
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise wrong("bad_time", f"{shown(value)} is no time", remedy) from None
    if moment.tzinfo is None:
        raise wrong("no_zone", f"{shown(value)} has no zone", remedy)
    return moment


def _minutes(value: Any) -> int:
    match = _TIME_OF_DAY.fullmatch(value) if isinstance(value, str) else None
    minutes = int(match[1]) * 60 + int(match[2]) if match else 1441
    if minutes > 1440:
        raise wrong(
            "bad_time_of_day", f"{shown(value)} is no time of day", 'Write "08:00", up to "24:00"'
        )
    return minutes


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(value: str) -> str:
    if value not in _zones():
        # a misspelt name mostly begins right, and comparing with all of them takes its time
        area = [zone for zone in sorted(_zones()) if zone[:3] == value[:3]]
        near = get_close_matches(value, area, n=1)
        raise wrong(
            "unknown_zone",
            f"{shown(value)} is no time zone",
            f"Write a name of the IANA list, such as {near[0] if near else 'Europe/Berlin'}",
        )
    return value


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        usable = False
    if not usable or any(c.isspace() for c in value):
        raise wrong("bad_url", f"{shown(value)} is no web address", "Write an http or https URL")
    return value


def not_empty(value: list[Any]) -> list[Any]:
    """Refuse a list without entries."""
    if not value:
        raise wrong("empty_list", "the list is empty", "Name something or remove the line")
    return value


Text = Annotated[
    str, BeforeValidator(_text), WithJsonSchema({**_SCALAR, "maxLength": LONGEST_TEXT})
]
Glob = Annotated[Text, AfterValidator(_glob)]
Globs = Annotated[
    list[Glob],
    BeforeValidator(listed),
    AfterValidator(not_empty),
    WithJsonSchema(
        {
            "anyOf": [_SCALAR, {"type": "array", "items": _SCALAR, "minItems": 1}],
            "description": "globs",
        }
    ),
]
Truth = Annotated[bool, BeforeValidator(_truth)]
Duration = Annotated[
    float,
    PlainValidator(_duration),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^(?=\d)(\d+d)?(\d+h)?(\d+m)?(\d+s)?$",
            "examples": ["30s", "5m", "4h", "2d"],
        }
    ),
]
Interval = Annotated[Duration, AfterValidator(_longer_than_nothing)]
NOfM = Annotated[
    RunsNeeded,
    PlainValidator(_runs_needed),
    WithJsonSchema({"type": "string", "pattern": r"^\d+ +of +\d+$", "examples": ["2 of 3"]}),
]
Moment = Annotated[
    datetime, PlainValidator(_moment), WithJsonSchema({"type": "string", "format": "date-time"})
]
TimeOfDay = Annotated[
    int,
    PlainValidator(_minutes),
    WithJsonSchema({"type": "string", "pattern": r"^([01]\d|2[0-4]):[0-5]\d$"}),
]
Zone = Annotated[Text, AfterValidator(_zone)]
WebAddress = Annotated[
    str,
    AfterValidator(_url),
    Field(max_length=2048),
    WithJsonSchema({"type": "string", "format": "uri"}),
]
Weekdays = Annotated[
    list[Weekday],
    BeforeValidator(listed),
    AfterValidator(not_empty),
    WithJsonSchema({"anyOf": [_DAY, {"type": "array", "items": _DAY, "minItems": 1}]}),
]
Number = Annotated[float, Field(allow_inf_nan=False)]
Texts = Annotated[
    list[Text],
    BeforeValidator(listed),
    WithJsonSchema({"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]}),
]
Labels = dict[Text, Text]


class Section(BaseModel):
    """A mapping of the file: keys that it does not know are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
