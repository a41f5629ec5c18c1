"""The shape of ``guiderail.yaml``, as pydantic checks it and editors know it.

Published as ``docs/policy.schema.json``; descriptions here are what an editor shows.
"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

from guiderail.model.incident import LONGEST_RING
from guiderail.model.policy import (
    DeliveryTerms,
    LifeCycle,
    RateLimit,
    Severity,
    Upstream,
    WeeklyHours,
)
from pydantic import AfterValidator, BeforeValidator, Field

from guiderail_cli.policy_file.channels import Channel
from guiderail_cli.policy_file.remediations import Guarding, Remediation
from guiderail_cli.policy_file.values import (
    Duration,
    Glob,
    Globs,
    Interval,
    Labels,
    Moment,
    NOfM,
    Number,
    Section,
    Text,
    Texts,
    TimeOfDay,
    Truth,
    WebAddress,
    Weekdays,
    Zone,
    no_longer_than,
    no_shorter_than,
    not_empty,
)


class Side(Enum):
    """On which side of its threshold a value is bad."""

    ABOVE = "above"
    BELOW = "below"
    FARTHER_FROM_ZERO = "farther_from_zero"


class _MatchedKeys(Section):
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


class Settings(Section):
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
    """Name of an entry of remediations."""


class Rule(Section):
    """One entry of models or rules."""

    name: Text
    """Unique among models and rules."""
    match: RuleMatch
    set: Settings


class Escalation(Section):
    """Who hears of a group that nobody acknowledged."""

    after: Duration
    """Time since the group's first message."""
    receiver: Text


class AtMost(Section):
    """How many messages a route sends before they come together in a digest; critical ones never wait."""

    messages: Annotated[int, Field(ge=1, le=10_000)]
    within: Annotated[Interval, no_shorter_than("1m"), no_longer_than("1d")] = RateLimit(
        messages=1
    ).within


class _RouteKeys(Section):
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
    at_most: AtMost | None = None
    """Beyond this many messages they come together in a digest."""
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


class Receiver(Section):
    """Who is told, over which channels; without any, over the stack's topic."""

    description: Annotated[str, Field(max_length=2048)] = ""
    channels: list[Channel] = []
    fallback: Text | None = None
    """Receiver that is told when a channel is given up; else the stack's topic."""
    show_values: Truth = False
    """Whether raw data values, such as the buckets of a distribution, may appear."""


class Window(Section):
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
    AfterValidator(not_empty),
]


class Inhibition(Section):
    """While an incident matches source, those that match target on the same keys are hidden."""

    name: Text
    source: IncidentMatch
    target: IncidentMatch
    same: Texts = ["endpoint"]
    """Keys with equal values on both sides; endpoint is one of them."""


class FeatureGroup(Section):
    """Which features of which endpoints come from one source."""

    name: Text
    features: Globs | None = None
    endpoints: Globs | None = None
    schedules: Globs | None = None


class UpstreamCause(Section):
    """The same feature on this many endpoints within this time is one incident."""

    endpoints: Annotated[int, Field(ge=2)] = Upstream().endpoints
    within: Interval = Upstream().within


class Incidents(Section):
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


class Delivery(Section):
    """When deliveries are given up, and when a channel is left alone for a while."""

    attempts: Annotated[int, Field(ge=1, le=100)] = DeliveryTerms().attempts
    """Tries before one is given up."""
    give_up_after: Annotated[Interval, no_longer_than("7d")] = DeliveryTerms().give_up_after
    """Age at which one is given up, whatever the number of tries."""
    breaker_failures: Annotated[int, Field(ge=1, le=1000)] = DeliveryTerms().breaker_failures
    """Failures in a row from which a channel is left alone."""
    breaker_pause: Annotated[Interval, no_longer_than("15m")] = DeliveryTerms().breaker_pause
    """How long at first; it doubles up to 15 minutes."""
    link_life: Annotated[Interval, no_shorter_than("5m"), no_longer_than("30d")] = (
        DeliveryTerms().link_life
    )
    """How long the links and buttons of a message work."""


class Replies(Section):
    """Who may answer messages."""

    allowed: Texts = []
    """Globs over slack:<team>/<user>, email:<address> and link:<channel>; nobody without one."""


class PolicyFile(Section):
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
    delivery: Delivery = Delivery()
    replies: Replies = Replies()
    remediations: dict[Text, Remediation] = {}
    """What may be done about a finding, by the names that rules set."""
    guard_rails: Guarding = Guarding()
