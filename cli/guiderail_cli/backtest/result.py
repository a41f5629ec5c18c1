"""What a backtest tells; plain values, so that ``--json`` and the page say the same."""

from __future__ import annotations

import msgspec


class Day(msgspec.Struct, frozen=True):
    """One day (UTC): messages sent and incidents opened."""

    date: str
    messages: int = 0
    incidents: int = 0


class Line(msgspec.Struct, frozen=True):
    """What one line of a policy did; line 0 is what holds where no line of it says anything.

    Attributes:
        layer: ``defaults``, ``model``, ``rule`` or ``built-in``.
        findings: Findings for which it set a value.
        counted: Those that went on to their incident; the others wait, are muted, in shadow and so on.
        incidents: Incidents opened, again included.
        messages: Messages that named one of these incidents.
        held_back: Findings that did not count, by reason.
    """

    name: str
    line: int
    layer: str
    findings: int = 0
    counted: int = 0
    incidents: int = 0
    messages: int = 0
    held_back: dict[str, int] = {}


class Share(msgspec.Struct, frozen=True):
    """An owner's or a receiver's part; ``incidents`` of a receiver are those it was told of."""

    name: str
    incidents: int = 0
    messages: int = 0


class IncidentSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One incident over the whole time; ``severity`` is its worst."""

    id: str
    endpoint: str
    schedule: str
    monitor: str
    check: str
    subject: str
    severity: str
    owner: str
    opened: int
    messages: int
    first_opened: str
    lines: tuple[str, ...] = ()


class Observation(msgspec.Struct, frozen=True):
    """A value that fired: when, in which incident, in which of its schedule's judged runs."""

    at: float
    incident: str
    observed: float
    run: int


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """A threshold that would leave fewer firings, for a line or for one incident without a line.

    Attributes:
        rule: Name of the line that sets today's threshold; empty where the report's own holds.
        match: What a rule for it would have to match.
        threshold: The one that holds now; of several the mildest.
        suggested: None where no threshold helps without hiding the longest incident.
        firings: Findings that fired now; ``firings_left`` with the suggested threshold.
        longest: Runs of the longest incident; ``longest_kept`` of them fire all the same.
        note: What a person should know before taking it.
    """

    rule: str
    line: int
    match: dict[str, str]
    check: str
    direction: str
    unit: str
    threshold: float | None
    suggested: float | None
    incidents: int
    firings: int
    firings_left: int
    longest: int
    longest_kept: int
    note: str = ""
    values: tuple[Observation, ...] = ()


class PolicyResult(msgspec.Struct, frozen=True, kw_only=True):
    """What one policy would have done.

    Attributes:
        name: File of the policy, or ``built-in``.
        incidents: Incidents opened, again included; ``resolved`` is how many ended.
        findings: Findings by what became of them (reason codes).
        told: Messages by why they were sent; one message may have several reasons.
        severities: Incidents opened, by severity.
        remediations: Incidents that name a remediation, by its name.
        retraining: Runs by what would have been decided about retraining with mode ``auto`` everywhere.
        never: Lines that opened no incident.
    """

    name: str
    version: str
    incidents: int
    resolved: int
    messages: int
    days: tuple[Day, ...]
    findings: dict[str, int]
    told: dict[str, int]
    severities: dict[str, int]
    lines: tuple[Line, ...]
    owners: tuple[Share, ...]
    receivers: tuple[Share, ...]
    remediations: dict[str, int]
    retraining: dict[str, int]
    noisiest: tuple[IncidentSummary, ...]
    never: tuple[Line, ...]
    suggestions: tuple[Suggestion, ...]


class SeverityChange(msgspec.Struct, frozen=True):
    """An incident that both policies open, with another severity."""

    incident: IncidentSummary
    old: str
    new: str


class TellingChange(msgspec.Struct, frozen=True):
    """An incident that both policies open, told more or less often."""

    incident: IncidentSummary
    old: int
    new: int


class Comparison(msgspec.Struct, frozen=True):
    """What differs; the same incident has the same id under any policy."""

    only_old: tuple[IncidentSummary, ...]
    only_new: tuple[IncidentSummary, ...]
    severity: tuple[SeverityChange, ...]
    telling: tuple[TellingChange, ...]


class NoiseTold(msgspec.Struct, frozen=True):
    """How much of what people called noise a policy tells all the same."""

    policy: str
    told: int


class CalledNoise(msgspec.Struct, frozen=True, kw_only=True):
    """A finding that somebody called noise: which, when and who, and what it had measured."""

    incident: str
    at: str
    by: str
    observed: float | None
    labels: dict[str, str]


class FeedbackResult(msgspec.Struct, frozen=True, kw_only=True):
    """What people called noise; ``known`` of it is in the replayed runs.

    ``still_told`` is what the policy that is tried tells of it.
    """

    said: int
    known: int
    policies: tuple[NoiseTold, ...]
    still_told: tuple[CalledNoise, ...]


class SkippedRun(msgspec.Struct, frozen=True):
    """A folder that looks like a run and could not be replayed."""

    place: str
    why: str


class Backtest(msgspec.Struct, frozen=True, kw_only=True):
    """A whole backtest; ``ignored`` jobs were no ended monitoring runs, or stood there twice."""

    reports: str
    begin: str
    end: str
    runs: int
    outcomes: dict[str, int]
    ignored: int
    skipped: tuple[SkippedRun, ...]
    policy: PolicyResult
    against: PolicyResult | None = None
    comparison: Comparison | None = None
    feedback: FeedbackResult | None = None
