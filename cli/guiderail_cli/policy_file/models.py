"""The shape of ``guiderail.yaml``, as pydantic checks it and editors know it.

Every scalar of the file arrives as text (see ``document``); a field's type says what the text means.
Published as ``docs/policy.schema.json``; descriptions here are what an editor shows.
"""

from __future__ import annotations

import re
from datetime import datetime
from difflib import get_close_matches
from enum import Enum
from functools import cache
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from guiderail.model.incident import LONGEST_RING
from guiderail.model.policy import LifeCycle, RunsNeeded, Severity, Upstream, WeeklyHours
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


def _wrong(kind: str, message: str, remedy: str) -> PydanticCustomError:
    # braces of what the user wrote must not be read as a template
    context = {"told": message, "remedy": remedy}
    return PydanticCustomError(kind, "{told}", context)


def shown(value: object) -> str:
    """A value of the file for a message: short, on one line, printable."""
    text = "".join(c if c.isprintable() else "?" for c in str(value))
    return text if len(text) <= 60 else text[:59] + "…"


def _text(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise _wrong("empty", "the text is empty", "Write a value or remove the line")
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        raise _wrong(
            "too_long",
            f"{len(value)} characters, the limit is {LONGEST_TEXT}",
            "Shorten it; a glob needs only the part that tells names apart",
        )
    return value


def _glob(value: str) -> str:
    if (stars := re.sub(r"\*+", "*", value).count("*")) > MOST_STARS:
        raise _wrong(
            "catastrophic_glob",
            f"{stars} times * in one glob, the limit is {MOST_STARS}: "
            "each one multiplies the ways in which a name can match",
            "List the names, or match a part that is fixed",
        )
    return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _truth(value: Any) -> Any:
    if value in ("true", "false", True, False):
        return value in ("true", True)
    raise _wrong("not_bool", f"{shown(value)} is neither true nor false", "Write true or false")


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
        raise _wrong(
            "bad_duration",
            f"{shown(value)} is no duration",
            "Write days, hours, minutes, seconds, such as 30s, 5m, 4h, 2d or 1h30m",
        )
    return seconds


def _longer_than_nothing(value: float) -> float:
    if not value:
        raise _wrong("no_duration", "the duration is 0", "Write a longer one, such as 5m")
    return value


def _runs_needed(value: Any) -> RunsNeeded:
    match = _N_OF_M.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise _wrong("bad_n_of_m", f"{shown(value)} is not N of M", "Write for: 2 of 3")
    count, of = int(match[1]), int(match[2])
    if not 1 <= count <= of:
        raise _wrong(
            "n_above_m",
            f"{count} of {of} can never be reached" if count else "0 of M would always hold",
            "Let N be at least 1 and at most M",
        )
    if of > LONGEST_RING:
        raise _wrong(
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
        raise _wrong("bad_time", f"{shown(value)} is no time", remedy) from None
    if moment.tzinfo is None:
        raise _wrong("no_zone", f"{shown(value)} has no zone", remedy)
    return moment


def _minutes(value: Any) -> int:
    match = _TIME_OF_DAY.fullmatch(value) if isinstance(value, str) else None
    minutes = int(match[1]) * 60 + int(match[2]) if match else 1441
    if minutes > 1440:
        raise _wrong(
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
        raise _wrong(
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
        raise _wrong("bad_url", f"{shown(value)} is no web address", "Write an http or https URL")
    return value


def _not_empty(value: list[Any]) -> list[Any]:
    if not value:
        raise _wrong("empty_list", "the list is empty", "Name something or remove the line")
    return value


Text = Annotated[
    str, BeforeValidator(_text), WithJsonSchema({**_SCALAR, "maxLength": LONGEST_TEXT})
]
Glob = Annotated[Text, AfterValidator(_glob)]
Globs = Annotated[
    list[Glob],
    BeforeValidator(_listed),
    AfterValidator(_not_empty),
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
    BeforeValidator(_listed),
    AfterValidator(_not_empty),
    WithJsonSchema({"anyOf": [_DAY, {"type": "array", "items": _DAY, "minItems": 1}]}),
]
Number = Annotated[float, Field(allow_inf_nan=False)]
Texts = Annotated[
    list[Text],
    BeforeValidator(_listed),
    WithJsonSchema({"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]}),
]
Labels = dict[Text, Text]


class Side(Enum):
    """On which side of its threshold a value is bad."""

    ABOVE = "above"
    BELOW = "below"
    FARTHER_FROM_ZERO = "farther_from_zero"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class _MatchedKeys(_Model):
    account: Globs | None = None
    """Account id."""
    endpoint: Globs | None = None
    """Endpoint name."""
    schedule: Globs | None = None
    """Monitoring schedule name."""
    feature_group: Globs | None = None
    """Name of an entry of feature_groups."""
    monitor: Globs | None = None
    """data_quality, model_quality, bias, explainability or custom."""
    check: Globs | None = None
    """A violation's check, or the outcome's name of an unhealthy run."""
    feature: Globs | None = None
    """Feature (column) name."""
    metric: Globs | None = None
    """Metric of model quality, bias or attribution."""
    facet: Globs | None = None
    """Facet (sensitive attribute) of a bias metric."""
    label: Globs | None = None
    """Label that attributions are of."""


class RuleMatch(_MatchedKeys):
    """What a rule is about. All keys that are given must match; of a list, one entry must."""

    tag: dict[Text, Glob] | None = None
    """Tags of the monitoring schedule, one glob each."""


class IncidentMatch(_MatchedKeys):
    """Which incidents a route takes or an inhibition concerns."""

    severity: Globs | None = None
    """info, warning, error or critical."""
    owner: Globs | None = None
    """Owner, as a rule set it."""
    labels: dict[Text, Glob] | None = None
    """Labels that rules set, one glob each."""


class Settings(_Model):
    """What a rule sets."""

    threshold: Number | None = None
    """Effective threshold, in the unit of the check."""
    direction: Side | None = None
    """On which side of the threshold a value is bad."""
    minimum_rows: Annotated[int, Field(ge=0)] | None = None
    """With fewer rows than this a finding does not count."""
    for_: NOfM | None = Field(default=None, alias="for")
    """Fires when it was in N of the last M judged runs."""
    severity: Severity | None = None
    """How bad a finding is."""
    owner: Text | None = None
    """Whom it concerns."""
    route: Text | None = None
    """Name of a route, past the tree's own choice."""
    runbook: WebAddress | None = None
    """Web address of what to do."""
    labels: Labels | None = None
    """Labels for routes, groups and messages."""
    mute_until: Moment | None = None
    """Nothing is told before this time; it needs a zone."""
    shadow: Truth | None = None
    """Only note what the rule would have done."""
    remediation: Text | None = None
    """Name of a remediation."""


class Rule(_Model):
    """One entry of models or rules."""

    name: Text
    """Unique among models and rules."""
    match: RuleMatch
    set: Settings


class Escalation(_Model):
    """Who hears of a group that nobody acknowledged."""

    after: Duration
    """Time since the group's first message."""
    receiver: Text


class _RouteKeys(_Model):
    group_by: Texts | None = None
    """What one message is about: keys of a match, region, severity, owner, or a rule's labels."""
    group_wait: Duration | None = None
    """Time before a group's first message, for more to come."""
    group_interval: Interval | None = None
    """Time before a group tells of changes."""
    repeat_interval: Interval | None = None
    """Time before a group repeats itself."""
    active: Texts | None = None
    """Names of hours; outside all of them messages wait."""
    escalation: list[Escalation] | None = None
    routes: list[ChildRoute] = []
    """Children; the first that matches takes the incident."""


class RootRoute(_RouteKeys):
    """The root of the tree: takes what no child takes."""

    name: Text = "default"
    receiver: Text = "default"


class ChildRoute(_RouteKeys):
    """A node of the tree; what it does not say it inherits."""

    name: Text
    """Unique among routes."""
    receiver: Text | None = None
    match: IncidentMatch
    continue_: Truth = Field(default=False, alias="continue")
    """Whether later siblings may take the incident too."""


class Receiver(_Model):
    """Who is told."""

    description: Annotated[str, Field(max_length=2048)] = ""


class Window(_Model):
    """Hours of some weekdays; an end before its start runs past midnight."""

    days: Weekdays | None = None
    """Weekdays; all of them where not given."""
    from_: TimeOfDay = Field(default=WeeklyHours().start, alias="from")
    to: TimeOfDay = WeeklyHours().end
    zone: Zone = WeeklyHours().zone
    """IANA name."""


Windows = Annotated[
    list[Window],
    BeforeValidator(lambda value: [value] if isinstance(value, dict) else value),
    AfterValidator(_not_empty),
]


class Inhibition(_Model):
    """While an incident matches source, those that match target on the same keys are hidden."""

    name: Text
    source: IncidentMatch
    target: IncidentMatch
    same: Texts = ["endpoint"]
    """Keys with equal values on both sides; endpoint is one of them."""


class FeatureGroup(_Model):
    """Which features of which endpoints come from one source."""

    name: Text
    features: Globs | None = None
    endpoints: Globs | None = None
    schedules: Globs | None = None


class UpstreamCause(_Model):
    """The same feature on this many endpoints within this time is one incident."""

    endpoints: Annotated[int, Field(ge=2)] = Upstream().endpoints
    within: Interval = Upstream().within


class Incidents(_Model):
    """When incidents end, come again, and are said to flap."""

    resolve_after: Annotated[int, Field(ge=1, le=LONGEST_RING)] = LifeCycle().resolve_after
    """Clean runs in a row that resolve an incident."""
    reopen_within: Interval = LifeCycle().reopen_within
    """Time after its end within which an incident opens again, not anew."""
    flap_changes: Annotated[int, Field(ge=2)] = LifeCycle().flap_changes
    """Openings and resolutions within flap_window from which it is flapping."""
    flap_window: Interval = LifeCycle().flap_window
    worse_by: Annotated[float, Field(gt=1, allow_inf_nan=False)] = LifeCycle().worse_by
    """Factor by which the distance grows before people hear of it again."""


class PolicyFile(_Model):
    """The file guiderail.yaml."""

    version: Literal["1"] = Field(json_schema_extra={"const": 1, "type": "integer"})
    """Version of this format."""
    defaults: Settings | None = None
    """What holds where no model and no rule says otherwise."""
    models: list[Rule] = []
    """What holds for an endpoint or schedule: stronger than defaults, weaker than rules."""
    rules: list[Rule] = []
    """The more specific wins; among equals the later one."""
    routes: RootRoute = RootRoute()
    receivers: dict[Text, Receiver] | None = None
    hours: dict[Text, Windows] = {}
    """Named weekly windows, in which routes are active."""
    inhibitions: list[Inhibition] | None = None
    """Without this section a broken run or schema hides drift and quality; an empty list hides nothing."""
    feature_groups: list[FeatureGroup] = []
    upstream: UpstreamCause | None = None
    incidents: Incidents = Incidents()
