"""The shape of remediations and guard rails, and of the texts that are filled from an incident."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from guiderail.model.incident import LONGEST_RING
from guiderail.model.policy import (
    ActionKind,
    Cause,
    GuardRails,
    RemediationAction,
    RemediationMode,
    Verification,
)
from guiderail.model.remediation import FACTS
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from guiderail_cli.policy_file.values import (
    TOLD_ELSEWHERE,
    Duration,
    Interval,
    Section,
    Text,
    Texts,
    Truth,
    listed,
    no_longer_than,
    no_shorter_than,
    not_empty,
    shown,
    suggestion,
    wrong,
)

UNLIMITED = "unlimited"
"""How the file says that there is no limit."""

MOST_STARTS = 1000
"""Starts within 30 days that a limit may allow: all of them are kept in one item."""

_LONGEST_VALUE = 1024
"""Characters of a parameter of a pipeline, and of an S3 key."""

_MOST_PARAMETERS = 200
"""Parameters of one pipeline execution."""

_DEEPEST_PAYLOAD = 8

_FIELD = re.compile(r"\{([^{}]*)\}")
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_PIPELINE = re.compile(
    r"(arn:aws[a-z-]*:sagemaker:[a-z0-9-]+:\d{12}:pipeline/)?[a-zA-Z0-9](-*[a-zA-Z0-9]){0,255}"
)
_GROUP = re.compile(
    r"(arn:aws[a-z-]*:sagemaker:[a-z0-9-]+:\d{12}:feature-group/)?"
    r"[a-zA-Z0-9]([_-]*[a-zA-Z0-9]){0,63}"
)
_TARGET = re.compile(
    r"arn:aws[a-z-]*:(lambda:[a-z0-9-]+:\d{12}:function:[\w-]{1,140}(:[$\w-]+)?"
    r"|states:[a-z0-9-]+:\d{12}:stateMachine:[\w-]{1,80}(:[\w-]+)?)"
)
_S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?", re.S)
_INSTANCE = re.compile(r"ml\.[a-z0-9-]+\.[a-z0-9]+")
_SCALAR = {"type": ["string", "number", "boolean"]}
_ONE = "xxx"
"""Stands for what a field will hold while a text is looked at; long enough for any name."""


def field_trouble(value: str) -> tuple[str, str] | None:
    """What is wrong with the {fields} of a text, and what to do; None if nothing is."""
    for field in _FIELD.findall(value):
        if field not in FACTS:
            near = suggestion(field.strip(), FACTS)
            told = f"{{{shown(field)}}} is no field of an incident"
            return told, near or f"Known are {', '.join(FACTS)}"
    if {"{", "}"} & {*_FIELD.sub("", value)}:
        return f"{shown(value)} has a brace without its other half", "Write {endpoint}"
    return None


def _braces(value: str) -> str:
    if trouble := field_trouble(value):
        raise wrong("wrong_field", *trouble)
    return value


def has_fields(text: str) -> bool:
    """Whether a text is filled from an incident."""
    return _FIELD.search(text) is not None


def _value(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST_VALUE:
        raise wrong(
            "too_long",
            f"{len(value)} characters, the limit is {_LONGEST_VALUE}",
            "Keep it in S3 and name its place",
        )
    return value


def _like(pattern: re.Pattern[str], what: str, remedy: str) -> Callable[[str], str]:
    def checked(value: str) -> str:
        text = _FIELD.sub(_ONE, value.replace("{report_uri}", f"s3://{_ONE}/{_ONE}", 1))
        if not pattern.fullmatch(text):
            raise wrong("wrong_form", f"{shown(value)} is no {what}", remedy)
        return value

    return checked


def _moment(value: str) -> str:
    remedy = "Write {window_start}, or date, time and zone, such as 2026-12-24T08:00:00+01:00"
    if has_fields(value):
        if not _FIELD.fullmatch(value):
            raise wrong("bad_time", f"{shown(value)} is more than one field", remedy)
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise wrong("bad_time", f"{shown(value)} is no time", remedy) from None
    if moment.tzinfo is None:
        raise wrong("no_zone", f"{shown(value)} has no zone", remedy)
    return value


def _payload(value: Any, depth: int = 0) -> Any:
    if depth > _DEEPEST_PAYLOAD:
        raise wrong("too_deep", f"more than {_DEEPEST_PAYLOAD} levels", "Write a flatter payload")
    if isinstance(value, dict):
        return {key: _payload(each, depth + 1) for key, each in value.items()}
    if isinstance(value, list):
        return [_payload(each, depth + 1) for each in value]
    return _value(value)


def _few(value: dict[str, Any]) -> dict[str, Any]:
    if len(value) > _MOST_PARAMETERS:
        raise wrong(
            "many_parameters",
            f"{len(value)} parameters, the limit of SageMaker is {_MOST_PARAMETERS}",
            "Name those that differ from the pipeline's defaults",
        )
    return value


def _limit(value: Any) -> int | None:
    if value == UNLIMITED:
        return None
    if not isinstance(value, str) or not re.fullmatch(r"\d{1,6}", value):
        raise wrong(
            "bad_limit", f"{shown(value)} is no limit", f"Write a number such as 6, or {UNLIMITED}"
        )
    if not 1 <= int(value) <= MOST_STARTS:
        raise wrong(
            "bad_limit",
            f"{shown(value)} is out of range",
            f"Write 1 to {MOST_STARTS}, or {UNLIMITED}; to start nothing: guiderail remediation stop",
        )
    return int(value)


_SHAPE = WithJsonSchema({**_SCALAR, "maxLength": _LONGEST_VALUE})
Filled = Annotated[Text, AfterValidator(_braces)]
Value = Annotated[str, BeforeValidator(_value), AfterValidator(_braces), _SHAPE]
ParameterName = Annotated[
    Text,
    AfterValidator(
        _like(re.compile(r"[A-Za-z0-9_-]+"), "name of a parameter", "Letters, digits, - and _")
    ),
]
ResourceName = Annotated[
    Filled, AfterValidator(_like(_NAME, "name of SageMaker's", "Letters, digits and -, up to 63"))
]
Pipeline = Annotated[
    Filled,
    AfterValidator(
        _like(_PIPELINE, "pipeline", "Write its name, such as loans-retrain, or its ARN")
    ),
]
Group = Annotated[
    Filled,
    AfterValidator(_like(_GROUP, "feature group", "Write its name or ARN, or {feature_group}")),
]
Target = Annotated[
    Filled,
    AfterValidator(
        _like(
            _TARGET,
            "ARN of a Lambda function or a state machine",
            "Write one such as arn:aws:lambda:eu-west-1:123456789012:function:mend-loans",
        )
    ),
]
S3Uri = Annotated[
    Value,
    AfterValidator(
        _like(_S3, "place in S3", "Write s3://bucket/prefix/; fields such as {endpoint} may follow")
    ),
]
InstanceType = Annotated[
    Text, AfterValidator(_like(_INSTANCE, "instance type", "Write one such as ml.m5.xlarge"))
]
FilledMoment = Annotated[Filled, AfterValidator(_moment)]
Limit = Annotated[
    int | None,
    PlainValidator(_limit),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": MOST_STARTS},
                {"const": UNLIMITED},
            ]
        }
    ),
]
Causes = Annotated[
    list[Cause],
    BeforeValidator(listed),
    AfterValidator(not_empty),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [*Cause]},
                {"type": "array", "items": {"enum": [*Cause]}, "minItems": 1},
            ]
        }
    ),
]


class Retrain(Section):
    """Start a SageMaker pipeline and follow it to its end."""

    pipeline: Pipeline
    """Its name or ARN."""
    parameters: Annotated[dict[ParameterName, Value], AfterValidator(_few)] = {}
    """Parameters of the execution; texts, which may hold {fields}."""
    wait_for_model: Truth = False
    """Whether it ends only when the model package that it registered is approved."""
    wait_for_endpoint: Truth = False
    """Whether it ends only when the endpoint has changed."""


class Reingest(Section):
    """Write the records of files in S3 into a feature group again."""

    feature_group: Group
    source: S3Uri
    """A file, or the beginning of the names of many."""
    format: Literal["auto", "csv", "parquet", "jsonl"] = "auto"
    features: Annotated[list[Filled], BeforeValidator(listed), AfterValidator(not_empty)] | None = (
        None
    )
    """Only these; else all that the group has."""
    from_: FilledMoment | None = Field(default=None, alias="from")
    """Only records of this event time or later."""
    until: FilledMoment | None = None
    """Only records of an event time before this."""
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Most records per second; else 2000."""
    rejects: S3Uri | None = None
    """Where records that fail are kept; else the stack's own bucket."""


class Rebaseline(Section):
    """Run the baseline job of a schedule again, and point the schedule at what it made."""

    schedule: ResourceName = "{schedule}"
    dataset: S3Uri
    """What the new baseline is made of."""
    output: S3Uri | None = None
    """Where it is written, in a folder of its own; else beside the former one."""
    baseline_job: ResourceName | None = None
    """A former baselining job to repeat; else the one that the schedule's job definition names."""
    format: Literal["csv", "csv_without_header", "json", "parquet"] | None = None
    """Of the dataset; else by its suffix, or CSV with a header."""
    instance_type: InstanceType | None = None
    """Else as the former job had it."""
    volume_gb: Annotated[int, Field(ge=1, le=16384)] | None = None


class Rollback(Section):
    """Return an endpoint to the endpoint config that it had before."""

    endpoint: ResourceName = "{endpoint}"
    endpoint_config: ResourceName | None = None
    """Else the one before the current one."""


class OfSchedule(Section):
    """An action on a monitoring schedule."""

    schedule: ResourceName = "{schedule}"


class Invoke(Section):
    """Call a Lambda function or a state machine of your own."""

    target: Target
    """Its ARN."""
    payload: Annotated[
        dict[str, Any], AfterValidator(_payload), WithJsonSchema({"type": "object"})
    ] = {}
    """What it is given beside its remediation's id; texts may hold {fields}."""
    wait: Truth = True
    """Whether its end is awaited."""


class Ticket(Section):
    """Do nothing but keep a record."""


class Verify(Section):
    """What proves it."""

    clean_runs: Annotated[int, Field(ge=1, le=LONGEST_RING)] = Verification().clean_runs
    """Clean runs in a row."""
    within: Annotated[Interval, no_shorter_than("5m"), no_longer_than("14d")] = (
        Verification().within
    )
    """Time after the action's end."""
    baseline: Truth = Verification().baseline
    """Whether the baseline in use must belong to the deployed model."""


_BUILT_IN = RemediationAction(name="", kind=ActionKind.TICKET)


class Remediation(Section):
    """One action, and who lets it happen when."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": [kind.value]} for kind in ActionKind]}
    )

    retrain: Retrain | None = None
    reingest: Reingest | None = None
    rebaseline: Rebaseline | None = None
    rollback: Rollback | None = None
    pause: OfSchedule | None = None
    """Stop a monitoring schedule."""
    resume: OfSchedule | None = None
    """Start a stopped monitoring schedule."""
    run_now: OfSchedule | None = None
    """One monitoring execution at once."""
    invoke: Invoke | None = None
    ticket: Ticket | None = None
    mode: RemediationMode = _BUILT_IN.mode
    """suggest: say what could be done; ask: wait for approval; auto: act."""
    causes: Causes | None = None
    """For which causes it may act; else those that the kind of action is for."""
    approvers: Texts = []
    """Globs over slack:<team>/<user>, email:<address>, link:<channel> and arn:…; else whoever may answer."""
    four_eyes: Truth = _BUILT_IN.four_eyes
    """Whether two people have to be for it."""
    approval_life: Annotated[Interval, no_shorter_than("5m"), no_longer_than("7d")] = (
        _BUILT_IN.approval_life
    )
    """How long it may be approved."""
    cooldown: Annotated[Duration, no_longer_than("30d")] = _BUILT_IN.cooldown
    """How long after a start nothing is started again on the same target."""
    attempts: Annotated[int, Field(ge=1, le=10)] = _BUILT_IN.attempts
    """Automatic starts for one episode of an incident."""
    cost: Annotated[float, Field(ge=0, allow_inf_nan=False)] = _BUILT_IN.cost
    """Estimate for one start, in US dollars."""
    time_out: Annotated[Interval, no_shorter_than("1m"), no_longer_than("14d")] = _BUILT_IN.time_out
    """After which an action that has not ended is taken as failed."""
    verify: Verify = Verify()

    @model_validator(mode="after")
    def _one_kind(self) -> Remediation:
        kinds = self.kinds
        if self.model_fields_set.intersection(ActionKind) - {*kinds}:
            raise wrong(TOLD_ELSEWHERE, "", "")
        if len(kinds) != 1:
            told = " and ".join(kinds) + " in one entry" if kinds else "no action stands here"
            remedy = (
                "Give each a name of its own"
                if kinds
                else f"Write one of {', '.join(ActionKind)}, such as ticket: {{}}"
            )
            raise wrong("one_kind", told, remedy)
        return self

    @property
    def kinds(self) -> list[ActionKind]:
        """The actions that are written; one."""
        return [kind for kind in ActionKind if getattr(self, kind) is not None]

    @property
    def parameters(self) -> dict[str, Any]:
        """What the action is given; what is not said is left out."""
        (kind,) = self.kinds
        action: Section = getattr(self, kind)
        return action.model_dump(by_alias=True, exclude_none=True)


class Guarding(Section):
    """What holds for all remediations together."""

    per_hour: Limit = GuardRails().per_hour
    """Starts within an hour, or unlimited."""
    per_day: Limit = GuardRails().per_day
    per_month: Limit = GuardRails().per_month
    """Starts within 30 days."""
    cost_per_month: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Most that the estimates of 30 days may add up to, in US dollars."""
    targets_at_once: Annotated[int, Field(ge=1, le=100)] = GuardRails().targets_at_once
    """Endpoints, schedules and feature groups that may be under change at the same time."""
    freezes: Texts = []
    """Names of hours in which nothing is started by itself or approved."""
