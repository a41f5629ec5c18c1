"""The operator's policy, compiled: what the functions read instead of ``guiderail.yaml``.

``guiderail policy push`` validates the YAML file, compiles it into a ``Policy`` and stores both as one
object, so that no function needs a YAML parser or pydantic. Durations are seconds; globs know ``*``,
``?`` and ``[…]`` and match whole values, case included.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from guiderail.model.outcome import Direction, MonitorKind


class Severity(StrEnum):
    """How bad a finding is, from least to worst."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for the least severity; the worse, the higher."""
        return _RANKS[self]


_RANKS = {severity: rank for rank, severity in enumerate(Severity)}


class Match(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a rule is about: alternatives (globs) per key; a key without alternatives matches anything.

    ``check`` is a violation's check, or the outcome's name for a run that is unhealthy. ``tags`` are
    those of the monitoring schedule, one glob per tag.
    """

    account: tuple[str, ...] = ()
    endpoint: tuple[str, ...] = ()
    schedule: tuple[str, ...] = ()
    feature_group: tuple[str, ...] = ()
    monitor: tuple[str, ...] = ()
    check: tuple[str, ...] = ()
    feature: tuple[str, ...] = ()
    metric: tuple[str, ...] = ()
    facet: tuple[str, ...] = ()
    label: tuple[str, ...] = ()
    severity: tuple[str, ...] = ()
    owner: tuple[str, ...] = ()
    tags: dict[str, str] = {}


MATCH_KEYS_OF_RUN = ("account", "endpoint", "schedule", "monitor")
"""Keys that have one value for all findings of a run."""

MATCH_KEYS_OF_FINDING = ("feature_group", "check", "feature", "metric", "facet", "label")
"""Keys whose value is the finding's own."""


class RunsNeeded(msgspec.Struct, frozen=True):
    """``for: 2 of 3``: a finding fires when it was in ``count`` of the last ``of`` judged runs."""

    count: int = 1
    of: int = 1


class Effect(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a rule sets; None leaves the value of the layer below."""

    threshold: float | None = None
    direction: Direction | None = None
    minimum_rows: int | None = None
    runs_needed: RunsNeeded | None = None
    severity: Severity | None = None
    owner: str | None = None
    route: str | None = None
    runbook: str | None = None
    labels: dict[str, str] | None = None
    mute_until: datetime | None = None
    shadow: bool | None = None
    remediation: str | None = None


class Layer(StrEnum):
    """Layers of a policy, from the weakest to the strongest."""

    DEFAULTS = "defaults"
    MODEL = "model"
    RULE = "rule"


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of ``defaults`` (without a match), ``models`` or ``rules``, with its line in the file."""

    name: str
    layer: Layer
    line: int = 0
    match: Match = Match()
    effect: Effect = Effect()


class WeeklyHours(msgspec.Struct, frozen=True, kw_only=True):
    """Hours of some weekdays (0 is Monday), in minutes from midnight of an IANA zone.

    ``end`` below ``start`` means that the hours run past midnight.
    """

    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    start: int = 0
    end: int = 1440
    zone: str = "UTC"


class EscalationStep(msgspec.Struct, frozen=True):
    """Who hears of a group that nobody acknowledged, and how long after its first message."""

    after: float
    receiver: str


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages a route sends within some seconds before it sends a digest instead."""

    messages: int
    within: float = 3600.0


class Route(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A node of the routing tree, with everything that it inherits filled in.

    The first child that matches takes the incident; with ``goes_on`` its later siblings may take it
    too. ``active`` names entries of ``Policy.hours``; outside all of them messages wait. Beyond
    ``at_most`` messages come together in a digest; critical ones and escalations never wait for it.
    """

    name: str
    receiver: str
    line: int = 0
    match: Match = Match()
    group_by: tuple[str, ...] = ("endpoint", "monitor")
    group_wait: float = 30.0
    group_interval: float = 300.0
    repeat_interval: float = 86400.0
    active: tuple[str, ...] = ()
    escalation: tuple[EscalationStep, ...] = ()
    goes_on: bool = False
    at_most: RateLimit | None = None
    routes: tuple[Route, ...] = ()


GROUP_KEYS = (
    "account", "region", "endpoint", "schedule", "feature_group", "monitor", "check", "feature",
    "metric", "facet", "label", "severity", "owner",
)  # fmt: skip
"""What ``group_by`` may name, besides labels that a policy sets."""


class Inhibition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """While an incident matches ``source``, those that match ``target`` on the same ``same`` are hidden."""

    name: str
    source: Match
    target: Match
    line: int = 0
    same: tuple[str, ...] = ("endpoint",)


class FeatureGroup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which features of which endpoints come from one feature group; no globs match everything."""

    name: str
    features: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """The same feature on this many endpoints within this time is one incident of its source."""

    endpoints: int = 3
    within: float = 21600.0


class LifeCycle(msgspec.Struct, frozen=True, kw_only=True):
    """When incidents end, come again, and are said to flap.

    Attributes:
        resolve_after: Clean runs in a row that resolve an incident.
        reopen_within: Seconds after its end within which an incident opens again, not anew.
        flap_changes: Openings and resolutions within ``flap_window`` from which it is flapping.
        worse_by: Factor by which the distance must grow since people last heard for a worsening.
    """

    resolve_after: int = 2
    reopen_within: float = 86400.0
    flap_changes: int = 4
    flap_window: float = 86400.0
    worse_by: float = 1.5


class ChannelKind(StrEnum):
    """The ways to reach a receiver; ``bus`` is the event bus, which every message goes to as well."""

    TOPIC = "topic"
    EMAIL = "email"
    SLACK = "slack"
    SLACK_WEBHOOK = "slack_webhook"
    TEAMS = "teams"
    PAGERDUTY = "pagerduty"
    JSM = "jsm"
    WEBHOOK = "webhook"
    AMAZON_Q = "amazon_q"
    BUS = "bus"

    @property
    def keeps_incidents(self) -> bool:
        """Whether the channel has an incident of its own for each episode, which messages update."""
        return self is ChannelKind.SLACK or self.is_incident_tool

    @property
    def is_incident_tool(self) -> bool:
        """Whether each message opens, changes or ends an incident there, so that their order counts."""
        return self in (ChannelKind.PAGERDUTY, ChannelKind.JSM)

    @property
    def takes_replies(self) -> bool:
        """Whether its messages have buttons or links to answer with."""
        return self in (
            ChannelKind.EMAIL,
            ChannelKind.TOPIC,
            ChannelKind.SLACK,
            ChannelKind.SLACK_WEBHOOK,
            ChannelKind.TEAMS,
        )


class Channel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One way to reach a receiver; ``name`` is unique in the policy: ``receiver/kind`` or as given.

    Attributes:
        secret: Where token, key or URL are kept: a name in Secrets Manager, or ``ssm:/name``.
        target: Slack: channel id. Amazon Q: ARN of the SNS topic. Topic: its ARN, empty for the stack's.
        to: Email: addresses.
        sender: Email: the verified address that it comes from.
        pictures: Whether charts are attached where the channel can show them.
    """

    kind: ChannelKind
    name: str
    secret: str = ""
    target: str = ""
    to: tuple[str, ...] = ()
    sender: str = ""
    pictures: bool = True


class Receiver(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who is told, over which channels; without any, over the stack's topic.

    ``fallback`` is the receiver that is told when a channel is given up; ``show_values`` lets raw data
    values appear.
    """

    name: str
    channels: tuple[Channel, ...] = ()
    fallback: str = ""
    show_values: bool = False


class DeliveryTerms(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When deliveries are given up, and when a channel is left alone for a while; times in seconds.

    Attributes:
        attempts: Tries before one is given up.
        give_up_after: Age at which one is given up, whatever the number of tries.
        breaker_failures: Failures in a row from which a channel is left alone.
        breaker_pause: How long at first; it doubles up to fifteen minutes.
        link_life: How long the links and buttons of a message work.
    """

    attempts: int = 8
    give_up_after: float = 1800.0
    breaker_failures: int = 5
    breaker_pause: float = 30.0
    link_life: float = 604800.0


class Replies(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who may answer: globs over ``slack:<team>/<user>``, ``email:<address>`` and ``link:<channel>``.

    Nobody may where none is given.
    """

    allowed: tuple[str, ...] = ()


class RemediationMode(StrEnum):
    """How far Guiderail goes by itself, from least to most."""

    SUGGEST = "suggest"
    ASK = "ask"
    AUTO = "auto"


class ActionKind(StrEnum):
    """What a remediation does."""

    RETRAIN = "retrain"
    REINGEST = "reingest"
    REBASELINE = "rebaseline"
    ROLLBACK = "rollback"
    PAUSE = "pause"
    RESUME = "resume"
    RUN_NOW = "run_now"
    INVOKE = "invoke"
    TICKET = "ticket"


class Cause(StrEnum):
    """What most likely is wrong, by all that fires on an endpoint; the first that applies.

    ``broken_run``: the monitor's own run or report cannot be trusted. ``broken_feed``: types,
    completeness, columns. ``bias`` is for a human. ``quality``: the model got worse. ``drift``: inputs or
    attributions moved while quality holds, as far as anybody measures it. ``unknown``: none of these.
    """

    BROKEN_RUN = "broken_run"
    BROKEN_FEED = "broken_feed"
    BIAS = "bias"
    UNKNOWN = "unknown"
    QUALITY = "quality"
    DRIFT = "drift"


class Verification(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What proves a remediation: so many clean runs in a row within some seconds of its end.

    ``baseline``: whether the baseline in use must belong to the deployed model.
    """

    clean_runs: int = 1
    within: float = 180000.0
    baseline: bool = True


class RemediationAction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of ``remediations``; times in seconds, money in US dollars.

    Attributes:
        parameters: What the kind takes, by name; texts may hold ``{fields}`` of the incident.
        causes: For which causes it may act; empty: those of its kind.
        approvers: Globs over people as in ``replies.allowed``; empty: whoever may answer.
        four_eyes: Whether two people have to be for it; who started it by hand counts as one.
        approval_life: How long it may be approved.
        cooldown: How long after a start nothing is started again on the same target.
        attempts: Automatic starts for one episode of an incident.
        cost: Estimate for one start.
        time_out: After which an action that has not ended is taken as failed.
    """

    name: str
    kind: ActionKind
    line: int = 0
    mode: RemediationMode = RemediationMode.SUGGEST
    parameters: dict[str, Any] = {}
    causes: tuple[Cause, ...] = ()
    approvers: tuple[str, ...] = ()
    four_eyes: bool = False
    approval_life: float = 86400.0
    cooldown: float = 21600.0
    attempts: int = 1
    cost: float = 0.0
    time_out: float = 21600.0
    verification: Verification = Verification()


class GuardRails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What holds for all remediations together.

    Attributes:
        per_hour, per_day, per_month: Starts within the last 3,600 s, 86,400 s and 30 days; None: no limit.
        cost_per_month: Sum of estimated costs within the last 30 days, US dollars.
        targets_at_once: Targets that may be under change at the same time.
        freezes: Names of ``hours`` in which nothing is started by itself or approved.
    """

    per_hour: int | None = 2
    per_day: int | None = 6
    per_month: int | None = 60
    cost_per_month: float | None = None
    targets_at_once: int = 2
    freezes: tuple[str, ...] = ()


UNHEALTHY_CHECKS = (
    "failed", "stopped", "no_data", "no_ground_truth", "too_few_rows", "degenerate", "unreadable",
)  # fmt: skip
"""Check of the incident of an unhealthy run: its outcome."""

BROKEN_RUN_HIDES_THE_REST = Inhibition(
    name="broken run or schema hides drift and quality",
    source=Match(
        check=(
            "failed", "no_data", "degenerate", "unreadable", "missing_column_check",
            "extra_column_check",
        )
    ),
    target=Match(
        check=(
            "baseline_drift_check", "LessThanThreshold", "GreaterThanThreshold", "bias_drift_check",
            "feature_attribution_drift_check", "completeness_check", "categorical_values_check",
            "data_type_check", "too_few_rows", "no_ground_truth",
        )
    ),
)  # fmt: skip
"""The inhibition of a policy that names none."""

SELF_MONITOR = MonitorKind.CUSTOM
"""Guiderail's findings about itself are of no monitor of SageMaker's."""


class Policy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A compiled policy; without any line of it everything alerts at once.

    ``rules`` holds all layers; those of the layer ``rule`` come last, in the order of the file.
    """

    version: str = "built-in"
    rules: tuple[Rule, ...] = ()
    route: Route = Route(name="default", receiver="default")
    hours: dict[str, tuple[WeeklyHours, ...]] = {}
    inhibitions: tuple[Inhibition, ...] = (BROKEN_RUN_HIDES_THE_REST,)
    feature_groups: tuple[FeatureGroup, ...] = ()
    upstream: Upstream | None = None
    life_cycle: LifeCycle = LifeCycle()
    receivers: dict[str, Receiver] = {}
    delivery: DeliveryTerms = DeliveryTerms()
    replies: Replies = Replies()
    remediations: dict[str, RemediationAction] = {}
    guard_rails: GuardRails = GuardRails()


class StoredPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The object in the policy bucket: the file as written, and what it compiles to."""

    format: int
    source: str
    policy: Policy
    pushed_by: str = ""
    pushed_at: str = ""


STORED_FORMAT = 1
