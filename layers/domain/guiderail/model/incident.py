"""Incidents: what people hear about, kept per monitoring schedule in one ledger.

A ledger is one item: all incidents of one schedule, written with the run that changed them under the
condition that nobody else wrote in between. Runs of other schedules never wait for it.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from functools import lru_cache

import msgspec

from guiderail.model.finding import Subject
from guiderail.model.identity import digest
from guiderail.model.outcome import MonitorKind, Outcome, Reason
from guiderail.model.policy import RunsNeeded, Severity

LONGEST_RING = 24
"""Runs that a ledger remembers: the largest M of ``for: N of M``."""

TREND_LENGTH = 12
"""Observed values that an incident remembers, oldest first."""


class IncidentState(StrEnum):
    """The life of an incident; ``pending`` waits for its N of M runs and nobody hears of it."""

    PENDING = "pending"
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    REMEDIATING = "remediating"
    VERIFYING = "verifying"
    RESOLVED = "resolved"

    @property
    def is_firing(self) -> bool:
        """Whether something is wrong now, as far as anybody knows."""
        return self not in (IncidentState.PENDING, IncidentState.RESOLVED)


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Where a ledger's incidents are: the parts of the fingerprint that all of them have in common."""

    account: str
    region: str
    schedule: str
    endpoint: str = ""
    monitor: MonitorKind = MonitorKind.CUSTOM

    @property
    def place(self) -> str:
        """Where what hides others stands: account, region, and endpoint or else schedule."""
        return f"{self.account}#{self.region}#{self.endpoint or self.schedule}"

    @property
    def ledger_id(self) -> str:
        """Derived from account, region and schedule; 20 hexadecimal digits."""
        return _ledger_id(self.account, self.region, self.schedule)


@lru_cache(maxsize=256)
def _ledger_id(account: str, region: str, schedule: str) -> str:
    return digest(f"{account}|{region}|{schedule.lower()}", 20)


def incident_id(scope: Scope, kind: MonitorKind, check: str, subject: Subject) -> str:
    """The fingerprint: account, region, endpoint and schedule, monitor kind, check, subject.

    No measured value is in it. The schedule is, beside the endpoint: another schedule sees another
    window, and its clean run proves nothing here. The ledger's id comes first, so an id leads there.
    """
    # columns come and go with each run: which ones are missing is a measured value
    about = (subject.feature, subject.metric, subject.facet, subject.facet_value, subject.label)
    text = "|".join([scope.endpoint, kind, check, *(part or "" for part in about)])
    return f"{scope.ledger_id}-{digest(text, 16)}"


def ledger_of(incident: str) -> str:
    """The ledger that holds an incident."""
    return incident.partition("-")[0]


class SetBy(msgspec.Struct, frozen=True):
    """Which line of the policy set a value; line 0 is built in."""

    name: str
    line: int


class Incident(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One fingerprint's memory.

    Attributes:
        seen: Stamps of the remembered runs that had it; ``Ledger.runs`` holds the stamps of all.
        unknown: Stamps of runs that could not say (too few rows for its rule).
        values: Observed values, oldest first, as far as they are numbers.
        told_distance: Distance when people last heard of it; a worsening is measured from here.
        changes: Times (seconds since the epoch) of its openings and resolutions, for flapping.
        needed: N of M of its rule.
        groups: Group ids, with the name of the route of each; kept until it opens again.
        folded: Whether its groups know it only as one of many.
        members: Of an upstream incident: ids of the incidents that it stands for.
        remediated_by: Id of the remediation that is at it, or was last.
        verify_from: While it is verified: runs whose data begins before this prove nothing.
    """

    id: str
    kind: MonitorKind
    check: str
    subject: Subject
    state: IncidentState
    severity: Severity
    reason: Reason
    first_seen: datetime
    last_seen: datetime
    opened_at: datetime | None = None
    changed_at: datetime | None = None
    times_seen: int = 0
    occurrence: int = 0
    needed: RunsNeeded = RunsNeeded()
    seen: tuple[int, ...] = ()
    unknown: tuple[int, ...] = ()
    values: tuple[float, ...] = ()
    observed: float | None = None
    threshold: float | None = None
    service_threshold: float | None = None
    distance: float | None = None
    told_distance: float | None = None
    unit: str | None = None
    description: str = ""
    changes: tuple[float, ...] = ()
    flapping: bool = False
    acknowledged_by: str = ""
    owner: str = ""
    runbook: str = ""
    remediation: str = ""
    labels: dict[str, str] = {}
    feature_group: str = ""
    groups: dict[str, str] = {}
    folded: bool = False
    members: tuple[str, ...] = ()
    remediated_by: str = ""
    verify_from: datetime | None = None


class LedgerRun(msgspec.Struct, frozen=True):
    """A run that the ledger has seen; ``stamp`` orders runs: milliseconds of the job's end.

    ``data_from`` is where its data begins, in milliseconds; 0 where nobody knows.
    """

    stamp: int
    key: str
    outcome: Outcome
    judged: bool
    data_from: int = 0


class Sighting(msgspec.Struct, frozen=True):
    """A feature's incident on one endpoint, for the correlation of upstream causes."""

    endpoint: str
    incident: str
    at: float


class Ledger(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that is remembered of one schedule; ``version`` counts its writes, 0 was never written.

    ``runs`` is sorted by stamp; only judged ones (clean or with violations) count for N of M and for
    clean runs: a run that failed, was empty or never came proves nothing. ``hides`` names what was last
    written beside the endpoint as hiding others.
    """

    scope: Scope
    version: int = 0
    runs: tuple[LedgerRun, ...] = ()
    hides: tuple[str, ...] = ()
    incidents: dict[str, Incident] = {}
    sightings: dict[str, tuple[Sighting, ...]] = {}

    @property
    def id(self) -> str:
        """The ledger's id, which begins the ids of its incidents."""
        return self.scope.ledger_id


class ChangeKind(StrEnum):
    """What happened to an incident in one run or by one act.

    ``stilled``: its rule now mutes it or is on trial; ``heard_again``: no longer.
    """

    OPENED = "opened"
    REOPENED = "reopened"
    WORSENED = "worsened"
    RESOLVED = "resolved"
    FLAPPING = "flapping"
    ACKNOWLEDGED = "acknowledged"
    REMEDIATING = "remediating"
    VERIFYING = "verifying"
    STILLED = "stilled"
    HEARD_AGAIN = "heard_again"


class Change(msgspec.Struct, frozen=True):
    """One change of one incident, with its reason; ``by`` is the human or the run that made it."""

    incident: Incident
    kind: ChangeKind
    reason: Reason
    by: str = ""
