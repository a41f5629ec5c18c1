"""The life of incidents: what one run, or one act of a person, changes in a ledger.

Pure: a ledger goes in and another comes out, with the changes that people may hear of and a reason for
every finding. Runs are ordered by their stamp, not by their arrival, so a late run counts where it
belongs; the same run again changes nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from guiderail.errors import NotFoundError, RejectedRequestError
from guiderail.model.finding import Subject
from guiderail.model.incident import (
    LONGEST_RING,
    TREND_LENGTH,
    Change,
    ChangeKind,
    Incident,
    IncidentState,
    Ledger,
    LedgerRun,
    SetBy,
    incident_id,
)
from guiderail.model.judgement import Judgement
from guiderail.model.outcome import Reason
from guiderail.model.policy import UNHEALTHY_CHECKS, LifeCycle, RunsNeeded

_SAYS_NOTHING = frozenset({Reason.BELOW_MIN_ROWS, Reason.MUTED, Reason.SHADOW})
"""The finding is there but does not take part: the run is no clean one for its incident either."""


_STILL = frozenset({Reason.MUTED, Reason.SHADOW})
"""Nobody is to hear of the incident any more, though it is there."""

_LEAST_WORSENING = 0.1
"""Share of the threshold by which a distance must grow to be worse, whatever the factor."""


_MANY = 500

MOST_INCIDENTS = 2000
"""Incidents of one ledger, whose item may have 400 KB; further ones of a check share one."""

OTHERS = Subject(feature="(others)")
"""Subject of the incident that findings share for which a ledger has no room."""


class FindingDecision(msgspec.Struct, frozen=True):
    """Why a finding, or an incident without one in this run, came to nothing or to something."""

    incident: str
    reason: Reason
    judgement: Judgement | None = None


class Observed(msgspec.Struct, frozen=True):
    """A ledger after a run."""

    ledger: Ledger
    changes: tuple[Change, ...] = ()
    decisions: tuple[FindingDecision, ...] = ()
    late: bool = False


def observe(
    ledger: Ledger,
    run: LedgerRun,
    judgements: Sequence[Judgement],
    life_cycle: LifeCycle,
    now: datetime,
) -> Observed:
    """Let a ledger see a run.

    A run with the key of one that was seen changes nothing, unless that one was not judged and this
    one is: a report that could not be read then can be read now.
    """
    known = next((r for r in ledger.runs if r.key == run.key), None)
    if known and (known.judged or not run.judged):
        return Observed(ledger)
    run = replace(run, stamp=_free_stamp(ledger.runs, run))
    late = any(r.stamp > run.stamp for r in ledger.runs if r is not known)
    runs = sorted([*(r for r in ledger.runs if r is not known), run], key=lambda r: r.stamp)
    if known:
        # what the run was taken for before it could be read, it never was
        ledger = replace(
            ledger,
            incidents={
                key: replace(i, seen=tuple(s for s in i.seen if s != known.stamp))
                for key, i in ledger.incidents.items()
            },
        )
    seeing = _Seeing(
        tuple(runs[-max(LONGEST_RING, life_cycle.resolve_after) :]),
        run,
        late,
        life_cycle,
        now,
        # a ledger of thousands keeps no more than the direction of each
        TREND_LENGTH if len(ledger.incidents) <= _MANY else 2,
    )
    incidents = dict(ledger.incidents)
    changes: list[Change] = []
    decisions: list[FindingDecision] = []
    present: set[str] = set()
    for judgement in judgements:
        finding = judgement.finding
        key = incident_id(ledger.scope, finding.kind, finding.check, finding.subject)
        if judgement.counts and key not in incidents and len(incidents) >= MOST_INCIDENTS:
            judgement = replace(judgement, finding=replace(finding, subject=OTHERS))
            key = incident_id(ledger.scope, finding.kind, finding.check, OTHERS)
        if not judgement.counts:
            if key in incidents and key not in present and judgement.reason in _SAYS_NOTHING:
                incidents[key], change = seeing.unknown(incidents[key], judgement.reason)
                present.add(key)
                if change:
                    changes.append(change)
            decisions.append(FindingDecision(key, judgement.reason, judgement))
            continue
        if key in present and run.stamp in incidents[key].seen:
            # a subject twice in one report, or one of many that share an incident
            decisions.append(FindingDecision(key, incidents[key].reason, judgement))
            continue
        present.add(key)
        after, change, reason = seeing.fired(key, incidents.get(key), judgement)
        incidents[key] = after
        decisions.append(FindingDecision(key, reason, judgement))
        if change:
            changes.append(change)
    for key, incident in ledger.incidents.items():
        if key in present:
            continue
        after_run, change, absent = seeing.absent(incident)
        if after_run is None:
            del incidents[key]
            continue
        incidents[key] = after_run
        if absent:
            decisions.append(FindingDecision(key, absent))
        if change:
            changes.append(change)
    return Observed(
        replace(ledger, runs=seeing.runs, incidents=incidents),
        tuple(changes),
        tuple(decisions),
        late,
    )


def clean_runs(ledger_runs: Iterable[LedgerRun], incident: Incident) -> int:
    """Judged runs since an incident's finding was last there: what counts towards its resolution."""
    last = max((*incident.seen, *incident.unknown), default=0)
    return sum(r.judged and r.stamp > last for r in ledger_runs)


def proves(run: LedgerRun, incident: Incident) -> bool:
    """Whether a run can say if a remediation helped: it was judged, and its data came after."""
    if incident.verify_from is None:
        return run.judged
    return run.judged and (run.data_from or run.stamp) >= incident.verify_from.timestamp() * 1000


def runs_with_finding(
    ledger_runs: Sequence[LedgerRun], incident: Incident, needed: RunsNeeded, until: int
) -> int:
    """In how many of the last M runs up to a stamp the finding was there."""
    every = incident.check in UNHEALTHY_CHECKS
    counted = [
        r.stamp
        for r in ledger_runs
        if r.stamp <= until and (every or r.judged) and r.stamp not in incident.unknown
    ]
    return sum(stamp in incident.seen for stamp in counted[-needed.of :])


_CLEAN_WITHOUT_PROOF = 20
"""Clean runs in a row that close what is verified though no remediation says that it is proven."""


class _Seeing:
    """One run against the ledger's memory."""

    def __init__(
        self,
        runs: tuple[LedgerRun, ...],
        run: LedgerRun,
        late: bool,
        life_cycle: LifeCycle,
        now: datetime,
        trend: int,
    ) -> None:
        self.runs = runs
        self._trend = trend
        self._run = run
        self._late = late
        self._life_cycle = life_cycle
        self._now = now
        self._at = datetime.fromtimestamp(run.stamp / 1000, UTC)
        self._oldest = runs[0].stamp

    def unknown(self, incident: Incident, reason: Reason) -> tuple[Incident, Change | None]:
        stilled = reason in _STILL and incident.reason not in _STILL and incident.state.is_firing
        incident = replace(incident, unknown=self._kept((*incident.unknown, self._run.stamp)))
        if not stilled or self._late:
            return incident, None
        incident = replace(incident, reason=reason)
        return incident, Change(incident, ChangeKind.STILLED, reason)

    def fired(
        self, key: str, before: Incident | None, judgement: Judgement
    ) -> tuple[Incident, Change | None, Reason]:
        incident = self._with_finding(key, before, judgement)
        state = incident.state
        if state.is_firing:
            return self._fired_again(before or incident, incident)
        if not self._fires(incident, judgement.effective.runs_needed):
            waiting = replace(incident, state=IncidentState.PENDING, reason=Reason.WAITING_N_OF_M)
            return waiting, None, Reason.WAITING_N_OF_M
        if self._late and self._is_over(incident):
            # it came and went before this run was read: nobody has to act
            over = replace(incident, state=IncidentState.RESOLVED, reason=Reason.LATE_RUN)
            return replace(over, changed_at=incident.changed_at or self._now), None, Reason.LATE_RUN
        again = self._within_reopening(incident)
        reason = Reason.REOPENED if again else Reason.FIRST_SEEN
        opened = replace(
            incident,
            state=IncidentState.OPEN,
            opened_at=self._now,
            told_distance=incident.distance,
            acknowledged_by="",
            occurrence=incident.occurrence + (not again),
        )
        return self._changed(opened, ChangeKind.REOPENED if again else ChangeKind.OPENED, reason)

    def absent(self, incident: Incident) -> tuple[Incident | None, Change | None, Reason | None]:
        incident = replace(incident, seen=self._kept(incident.seen))
        if incident.flapping and self._recent(incident) < self._life_cycle.flap_changes:
            return self._calmed(incident)
        if not self._run.judged:
            return incident, None, None
        if incident.state is IncidentState.PENDING:
            clean = clean_runs(self.runs, incident)
            if clean < incident.needed.of:
                return incident, None, Reason.WAITING_N_OF_M
            if clean < incident.needed.of + self._life_cycle.resolve_after:
                # a late run may still make N of M out of it
                return incident, None, None
            over = replace(incident, state=IncidentState.RESOLVED, reason=Reason.RESOLVED)
            return (over if incident.changed_at else None), None, None
        if incident.state is IncidentState.RESOLVED:
            return (None if self._forgettable(incident) else incident), None, None
        if not self._is_over(incident):
            waiting = Reason.WAITING_FOR_CLEAN_RUNS
            if incident.reason in _STILL:
                return incident, None, waiting
            return replace(incident, reason=waiting), None, waiting
        resolved = replace(incident, state=IncidentState.RESOLVED, acknowledged_by="")
        return self._changed(resolved, ChangeKind.RESOLVED, Reason.RESOLVED)

    def _is_over(self, incident: Incident) -> bool:
        if incident.state is IncidentState.VERIFYING:
            # its remediation closes it, with proof; this is for one that is no more
            later = [run for run in self.runs if proves(run, incident)]
            return clean_runs(later, incident) >= _CLEAN_WITHOUT_PROOF
        return clean_runs(self.runs, incident) >= self._clean_runs_needed(incident)

    def _clean_runs_needed(self, incident: Incident) -> int:
        # one run that can be judged shows that the monitor works again
        return 1 if incident.check in UNHEALTHY_CHECKS else self._life_cycle.resolve_after

    def _with_finding(self, key: str, before: Incident | None, judgement: Judgement) -> Incident:
        finding, effective = judgement.finding, judgement.effective
        if before is None:
            before = Incident(
                id=key,
                kind=finding.kind,
                check=finding.check,
                subject=finding.subject,
                state=IncidentState.PENDING,
                severity=effective.severity,
                reason=Reason.WAITING_N_OF_M,
                first_seen=self._at,
                last_seen=self._at,
            )
            latest = True
        else:
            latest = not self._late or self._at >= before.last_seen
        incident = replace(
            before,
            first_seen=min(before.first_seen, self._at),
            last_seen=max(before.last_seen, self._at),
            times_seen=before.times_seen + 1,
            seen=self._kept((*before.seen, self._run.stamp)),
            unknown=tuple(stamp for stamp in before.unknown if stamp != self._run.stamp),
        )
        if not latest:
            return incident
        values = before.values
        if finding.observed is not None:
            values = (*values, finding.observed)[-self._trend :]
        return replace(
            incident,
            subject=finding.subject,
            needed=effective.runs_needed,
            # a late run is not told, so it must not hide a later rise
            severity=before.severity if self._late else effective.severity,
            values=values,
            observed=finding.observed,
            threshold=finding.threshold,
            service_threshold=judgement.service_threshold,
            distance=finding.distance,
            unit=finding.unit,
            description=finding.description[:300],
            owner=effective.owner,
            runbook=effective.runbook,
            remediation=effective.remediation,
            labels=effective.labels,
            feature_group=judgement.feature_group,
        )

    def _fired_again(
        self, before: Incident, incident: Incident
    ) -> tuple[Incident, Change | None, Reason]:
        if incident.flapping and self._recent(incident) < self._life_cycle.flap_changes:
            calm = replace(incident, flapping=False, reason=Reason.FLAPPING_ENDED)
            return (
                calm,
                Change(calm, ChangeKind.OPENED, Reason.FLAPPING_ENDED),
                Reason.FLAPPING_ENDED,
            )
        if self._late:
            return incident, None, Reason.LATE_RUN
        if before.state is IncidentState.VERIFYING and not proves(self._run, incident):
            waits = replace(incident, reason=Reason.WAITING_FOR_PROOF)
            return waits, None, Reason.WAITING_FOR_PROOF
        if before.state is IncidentState.VERIFYING:
            reason, kind = Reason.VERIFICATION_FAILED, ChangeKind.REOPENED
        elif incident.severity.rank > before.severity.rank:
            reason, kind = Reason.SEVERITY_RAISED, ChangeKind.WORSENED
        elif self._is_worse(incident):
            reason, kind = Reason.WORSENED, ChangeKind.WORSENED
        else:
            quiet = (
                Reason.ACKNOWLEDGED
                if before.state is IncidentState.ACKNOWLEDGED
                else Reason.SUPPRESSED_DUPLICATE
            )
            heard = replace(incident, reason=quiet)
            if before.reason in _STILL:
                return heard, Change(heard, ChangeKind.HEARD_AGAIN, quiet), quiet
            return heard, None, quiet
        worse = replace(
            incident,
            state=IncidentState.OPEN
            if before.state in (IncidentState.ACKNOWLEDGED, IncidentState.VERIFYING)
            else before.state,
            told_distance=incident.distance,
            reason=reason,
            acknowledged_by="",
        )
        return worse, Change(worse, kind, reason), reason

    def _is_worse(self, incident: Incident) -> bool:
        told, distance = incident.told_distance, incident.distance
        if told is None or distance is None:
            return False
        # from a value just past its threshold any factor is reached at once
        least = _LEAST_WORSENING * abs(incident.threshold or 0.0)
        return distance >= told * self._life_cycle.worse_by and distance - told > least

    def _changed(
        self, incident: Incident, kind: ChangeKind, reason: Reason
    ) -> tuple[Incident, Change | None, Reason]:
        """An opening or a resolution; too many of them are told once, as flapping."""
        changes = (*incident.changes, self._run.stamp / 1000)
        since = max(changes) - self._life_cycle.flap_window
        incident = replace(
            incident,
            changes=tuple(at for at in changes if at >= since),
            changed_at=self._now,
            reason=reason,
        )
        if incident.flapping:
            if self._recent(incident) >= self._life_cycle.flap_changes:
                damped = replace(incident, reason=Reason.FLAPPING)
                return damped, None, Reason.FLAPPING
            incident = replace(incident, flapping=False)
        elif self._recent(incident) >= self._life_cycle.flap_changes:
            flapping = replace(incident, flapping=True, reason=Reason.FLAPPING)
            return (
                flapping,
                Change(flapping, ChangeKind.FLAPPING, Reason.FLAPPING),
                Reason.FLAPPING,
            )
        return incident, Change(incident, kind, reason), reason

    def _calmed(self, incident: Incident) -> tuple[Incident, Change, Reason]:
        calm = replace(incident, flapping=False, reason=Reason.FLAPPING_ENDED)
        kind = ChangeKind.OPENED if calm.state.is_firing else ChangeKind.RESOLVED
        return calm, Change(calm, kind, Reason.FLAPPING_ENDED), Reason.FLAPPING_ENDED

    def _recent(self, incident: Incident) -> int:
        since = self._run.stamp / 1000 - self._life_cycle.flap_window
        return sum(at >= since for at in incident.changes)

    def _fires(self, incident: Incident, needed: RunsNeeded) -> bool:
        """Whether N of M are reached at this run, or by it at a later one where the finding was."""
        return any(
            runs_with_finding(self.runs, incident, needed, stamp) >= needed.count
            for stamp in incident.seen
            if stamp >= self._run.stamp
        ) or (self._late and self._would_still_fire(incident, needed))

    def _would_still_fire(self, incident: Incident, needed: RunsNeeded) -> bool:
        """Whether it would be open had the remembered runs come in order.

        The clean runs that resolved it are then none in a row, as this run stands between them.
        """
        if incident.reason is Reason.RESOLVED_BY_HAND:
            return False
        firing, clean = False, 0
        for run in self.runs:
            if run.stamp in incident.seen:
                reached = runs_with_finding(self.runs, incident, needed, run.stamp)
                firing, clean = firing or reached >= needed.count, 0
            elif run.stamp in incident.unknown:
                clean = 0
            elif run.judged:
                clean += 1
                firing = firing and clean < self._clean_runs_needed(incident)
        return firing

    def _within_reopening(self, incident: Incident) -> bool:
        if incident.occurrence == 0 or incident.changed_at is None:
            return False
        if incident.flapping:
            return True
        passed = (self._now - incident.changed_at).total_seconds()
        return passed <= self._life_cycle.reopen_within

    def _forgettable(self, incident: Incident) -> bool:
        if incident.changed_at is None:
            return True
        longest = max(self._life_cycle.reopen_within, self._life_cycle.flap_window)
        return (self._now - incident.changed_at).total_seconds() > longest

    def _kept(self, stamps: Iterable[int]) -> tuple[int, ...]:
        return tuple(sorted({s for s in stamps if s >= self._oldest or s == self._run.stamp}))


def _free_stamp(runs: Sequence[LedgerRun], run: LedgerRun) -> int:
    """Runs that end in the same millisecond are told apart by the next free one."""
    taken = sorted(r.stamp for r in runs if r.key != run.key)
    stamp = run.stamp
    at = bisect_left(taken, stamp)
    while at < len(taken) and taken[at] == stamp:
        stamp, at = stamp + 1, at + 1
    return stamp


class Act(StrEnum):
    """What a person, or a remediation, does to an incident."""

    ACKNOWLEDGE = "acknowledge"
    ASSIGN = "assign"
    WITHDRAW = "withdraw"
    RESOLVE = "resolve"
    START_REMEDIATION = "start_remediation"
    FINISH_REMEDIATION = "finish_remediation"
    FAIL_REMEDIATION = "fail_remediation"
    PROVE_REMEDIATION = "prove_remediation"
    REFUTE_REMEDIATION = "refute_remediation"


class _Step(msgspec.Struct, frozen=True):
    come_from: tuple[IncidentState, ...]
    go_to: IncidentState
    kind: ChangeKind
    reason: Reason


_OPEN, _ACKNOWLEDGED, _REMEDIATING, _VERIFYING, _RESOLVED = (
    IncidentState.OPEN,
    IncidentState.ACKNOWLEDGED,
    IncidentState.REMEDIATING,
    IncidentState.VERIFYING,
    IncidentState.RESOLVED,
)


def _steps() -> Iterator[tuple[Act, _Step]]:
    firing = (_OPEN, _ACKNOWLEDGED, _REMEDIATING, _VERIFYING)
    yield (
        Act.ACKNOWLEDGE,
        _Step((_OPEN,), _ACKNOWLEDGED, ChangeKind.ACKNOWLEDGED, Reason.ACKNOWLEDGED),
    )
    yield (
        Act.ASSIGN,
        _Step((_OPEN, _ACKNOWLEDGED), _ACKNOWLEDGED, ChangeKind.ACKNOWLEDGED, Reason.ASSIGNED),
    )
    yield (
        Act.WITHDRAW,
        _Step((_ACKNOWLEDGED,), _OPEN, ChangeKind.ACKNOWLEDGED, Reason.ACKNOWLEDGEMENT_WITHDRAWN),
    )
    yield (
        Act.RESOLVE,
        _Step(firing, _RESOLVED, ChangeKind.RESOLVED, Reason.RESOLVED_BY_HAND),
    )
    yield (
        Act.START_REMEDIATION,
        _Step(
            (_OPEN, _ACKNOWLEDGED),
            _REMEDIATING,
            ChangeKind.REMEDIATING,
            Reason.REMEDIATION_STARTED,
        ),
    )
    yield (
        Act.FINISH_REMEDIATION,
        _Step((_REMEDIATING,), _VERIFYING, ChangeKind.VERIFYING, Reason.REMEDIATION_FINISHED),
    )
    yield (
        Act.FAIL_REMEDIATION,
        _Step((_REMEDIATING,), _OPEN, ChangeKind.REOPENED, Reason.REMEDIATION_FAILED),
    )
    yield (
        Act.PROVE_REMEDIATION,
        _Step((_VERIFYING,), _RESOLVED, ChangeKind.RESOLVED, Reason.REMEDIATION_PROVEN),
    )
    yield (
        Act.REFUTE_REMEDIATION,
        _Step((_VERIFYING,), _OPEN, ChangeKind.REOPENED, Reason.VERIFICATION_FAILED),
    )


def act(
    ledger: Ledger,
    incident: str,
    doing: Act,
    actor: str,
    now: datetime,
    assignee: str = "",
    remediation: str = "",
) -> tuple[Ledger, Change | None]:
    """Let a person or a remediation change an incident; doing again what was done changes nothing.

    Args:
        ledger: The ledger that holds it.
        incident: Its id.
        doing: What is done.
        actor: Who does it.
        now: When.
        assignee: Who has it from now on; whoever acknowledges it if nobody is named.
        remediation: The id of the one that does it, if one does.

    Raises:
        NotFoundError: The ledger holds no such incident.
        RejectedRequestError: The incident's state does not allow it; the message names the state.
    """
    known = ledger.incidents.get(incident)
    if known is None:
        raise NotFoundError(
            f"there is no incident {incident}", remedy="List them: guiderail incidents list --all"
        )
    step = dict(_steps())[doing]
    assignee = assignee or actor
    handed_on = doing is Act.ASSIGN and known.acknowledged_by != assignee
    if known.state is step.go_to and not handed_on:
        return ledger, None
    if known.state not in step.come_from:
        allowed = " or ".join(step.come_from)
        raise RejectedRequestError(
            f"incident {incident} is {known.state}; {doing.replace('_', ' ')} needs {allowed}",
            remedy=f"Look at it: guiderail incidents show {incident}",
        )
    changes = known.changes
    changed_at = known.changed_at
    if step.go_to is IncidentState.RESOLVED:
        changes, changed_at = (*changes, now.timestamp()), now
    after = replace(
        known,
        state=step.go_to,
        reason=step.reason,
        acknowledged_by=assignee if step.go_to is IncidentState.ACKNOWLEDGED else "",
        told_distance=known.distance,
        flapping=known.flapping and step.go_to is not IncidentState.RESOLVED,
        changes=changes,
        changed_at=changed_at,
        remediated_by=remediation or known.remediated_by,
        verify_from=now if step.go_to is IncidentState.VERIFYING else None,
    )
    changed = replace(ledger, incidents={**ledger.incidents, incident: after})
    return changed, Change(after, step.kind, step.reason, actor)


def policy_lines(set_by: dict[str, SetBy]) -> tuple[str, ...]:
    """Which line of the policy set which value, as text: ``threshold: night-drift (line 12)``."""
    return tuple(
        f"{field}: {source.name} (line {source.line})" for field, source in sorted(set_by.items())
    )
