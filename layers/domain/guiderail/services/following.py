"""What follows from one run: judgements, the ledger after it, notices, and the decisions behind them.

Shared by ``on_job_finished`` and by the backtest, which has other runs and another clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
from msgspec.structs import replace

from guiderail.errors import ConflictError, PermanentError
from guiderail.model.finding import Finding
from guiderail.model.identity import digest
from guiderail.model.incident import (
    Change,
    ChangeKind,
    Incident,
    IncidentState,
    Ledger,
    LedgerRun,
    Scope,
)
from guiderail.model.job import MonitoringSchedule, ProcessingJob
from guiderail.model.judgement import Judgement
from guiderail.model.message import Distribution, Facts
from guiderail.model.notice import MOST_DECISIONS, AuditEntry, Decision, InhibitionSource, Notice
from guiderail.model.outcome import Outcome, Reason
from guiderail.model.policy import Policy
from guiderail.model.record import RunRecord
from guiderail.model.remediation import Remediation
from guiderail.model.retraining import RetrainingDecision
from guiderail.model.run import Reading, Run
from guiderail.ports import Clock, Incidents, ReportFiles, Tags, Wake
from guiderail.reports.run_files import Files, ParsedRun, parse_run
from guiderail.services.alerting import facts_of, finding_line, run_detail, run_part, run_subject
from guiderail.services.distributions import distributions_of
from guiderail.services.incident_cycle import FindingDecision, observe, policy_lines, proves
from guiderail.services.judging import PolicyIndex, RunLabels, RunPolicy, judge
from guiderail.services.notices import Telling, notices_of, with_groups, with_sources
from guiderail.services.reading import read_outcome
from guiderail.services.requesting import requests_of
from guiderail.services.tightening import tightening_places

_TRIES = 10
"""Attempts at a ledger that others write at the same moment; then the message comes again."""

_JUDGED = (Outcome.CLEAN, Outcome.VIOLATIONS)
_BY_ROWS = (Outcome.CLEAN, Outcome.TOO_FEW_ROWS)
_NEWS = (ChangeKind.OPENED, ChangeKind.REOPENED, ChangeKind.WORSENED)


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """A run that was read, under the policy; ``parsed`` are its files, None where nobody looks at them.

    Distributions are made of the files only when there is something to tell.
    """

    scope: Scope
    reading: Reading
    judgements: tuple[Judgement, ...]
    parsed: ParsedRun | None = None

    @property
    def distributions(self) -> tuple[Distribution, ...]:
        """Those of its worst findings about features, made when asked."""
        return distributions_of(self.judgements, self.parsed) if self.parsed else ()


class Followed(msgspec.Struct, frozen=True, kw_only=True):
    """All that is to be written of a run, in one transaction."""

    record: RunRecord
    ledger: Ledger
    sources: tuple[InhibitionSource, ...] | None
    notices: tuple[Notice, ...]
    audit: AuditEntry
    decisions: tuple[FindingDecision, ...]
    requests: tuple[Remediation, ...] = ()
    wakes: tuple[Wake, ...] = ()


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be written of a ledger whose schedule watches another endpoint now."""

    ledger: Ledger
    notices: tuple[Notice, ...]
    audit: AuditEntry


class Judge:
    """Reads and judges runs; keeps the index of the policy that it saw last."""

    def __init__(
        self, minimum_rows: int = 0, keep: int = 16, *, with_distributions: bool = True
    ) -> None:
        """Ask for this many rows where the policy asks for none; keep the rules of so many schedules.

        A replay tells nobody and goes without distributions.
        """
        self._minimum_rows = minimum_rows
        self._keep = keep
        self._with_distributions = with_distributions
        self._policy: Policy | None = None
        self._index: PolicyIndex | None = None

    def __call__(
        self,
        run: Run,
        job: ProcessingJob | None,
        schedule: MonitoringSchedule | None,
        parsed: ParsedRun,
        policy: Policy,
        tags: Tags,
        files: ReportFiles,
        now: datetime,
    ) -> Judged:
        """Read a run's outcome and judge its findings.

        Fetches the baseline files that a tighter threshold needs, and the schedule's tags where a rule
        asks for them. Raises TransientError.
        """
        reading = read_outcome(parsed, job, schedule, self._minimum_rows)
        rules = self._rules(run, reading, job, policy, tags)
        minimum = rules.minimum_rows
        if reading.outcome in _BY_ROWS and minimum not in (None, self._minimum_rows):
            reading = read_outcome(parsed, job, schedule, minimum or 0)
        if schedule is None:
            reading = replace(reading, reasons=(*reading.reasons, Reason.SCHEDULE_NOT_FOUND))
        if job and rules.tightened and reading.outcome in _JUDGED:
            parsed = _with_baseline(parsed, job, reading, rules, files)
        if rules.tags_unknown:
            reading = replace(reading, reasons=(*reading.reasons, Reason.TAGS_UNKNOWN))
        judgements = judge(rules, reading, parsed, now)
        derived = tuple(j.finding for j in judgements if j.is_derived)
        if derived:
            reading = replace(reading, findings=(*reading.findings, *derived))
            if reading.outcome is Outcome.CLEAN:
                reading = replace(
                    reading,
                    outcome=Outcome.VIOLATIONS,
                    reasons=(*reading.reasons, Reason.FOUND_BY_POLICY),
                )
        scope = Scope(
            account=run.account,
            region=run.region,
            endpoint=run.endpoint,
            schedule=run.schedule,
            monitor=reading.monitor,
        )
        shown = parsed if self._with_distributions else None
        return Judged(scope=scope, reading=reading, judgements=judgements, parsed=shown)

    def _rules(
        self,
        run: Run,
        reading: Reading,
        job: ProcessingJob | None,
        policy: Policy,
        tags: Tags,
    ) -> RunPolicy:
        if self._index is None or self._policy is not policy:
            self._policy, self._index = policy, PolicyIndex(policy, self._keep)
        labels = RunLabels(
            account=run.account,
            region=run.region,
            endpoint=run.endpoint,
            schedule=run.schedule,
            monitor=reading.monitor,
        )
        if job and job.schedule_arn and self._index.needs_tags(labels):
            try:
                labels = replace(labels, tags=tags.of(job.schedule_arn))
            except PermanentError:
                # the alert must not wait for a permission: rules with tags do not apply, and it says so
                pass
        return self._index.for_run(labels)


_READ: Any = object()


def keep_run(
    incidents: Incidents,
    run: Run,
    judged: Judged,
    policy: Policy,
    retrain: Callable[[Reading], RetrainingDecision],
    clock: Clock,
    ledger: Ledger | None = _READ,
) -> Followed | None:
    """Let the schedule's ledger see a judged run and write all that follows; None for a duplicate.

    Args:
        incidents: Where ledgers are kept.
        run: Identity of the run.
        judged: Its reading and judgements.
        policy: The policy in force.
        retrain: As for ``follow``.
        clock: The time.
        ledger: The ledger if it was read already, None if there is none; else it is read.

    Raises:
        ConflictError: Others kept writing the same ledger; the whole run is tried again.
        TransientError: The store throttled or failed.
    """
    for attempt in range(_TRIES):
        if attempt or ledger is _READ:
            ledger = incidents.ledger(judged.scope.ledger_id)
        try:
            if ledger and _has_moved(ledger, judged.scope):
                moved = leave_place(ledger, policy, clock())
                incidents.commit_act(moved.ledger, (), moved.notices, moved.audit)
                ledger = incidents.ledger(judged.scope.ledger_id)
            followed = follow(
                ledger or Ledger(scope=judged.scope), run, judged, policy, retrain, clock()
            )
            recorded = incidents.commit_run(
                followed.record,
                followed.ledger,
                followed.sources,
                followed.notices,
                followed.audit,
                followed.requests,
                followed.wakes,
            )
            return followed if recorded else None
        except ConflictError:
            # another run of this schedule, or a person, was faster: look again
            if attempt == _TRIES - 1:
                raise
    raise AssertionError("unreachable")


def _has_moved(ledger: Ledger, scope: Scope) -> bool:
    """Whether the schedule watches another endpoint than its firing incidents are about."""
    known = ledger.scope.endpoint
    return bool(known and scope.endpoint and known != scope.endpoint) and any(
        incident.state.is_firing for incident in ledger.incidents.values()
    )


def follow(
    ledger: Ledger,
    run: Run,
    judged: Judged,
    policy: Policy,
    retrain: Callable[[Reading], RetrainingDecision],
    now: datetime,
) -> Followed:
    """Let a ledger see a judged run and say what follows.

    Args:
        ledger: The schedule's ledger as it was read.
        run: Identity of the run.
        judged: Its reading and judgements.
        policy: Tells routes, inhibitions and the life cycle.
        retrain: Decides about retraining, given the reading with only the findings that fire; asked
            when there is news.
        now: The present.
    """
    reading = judged.reading
    # a run that does not name its endpoint is of the one that the schedule is known to watch
    endpoint = judged.scope.endpoint or ledger.scope.endpoint
    ledger = replace(ledger, scope=replace(judged.scope, endpoint=endpoint))
    seen = LedgerRun(
        stamp=int((run.ended_at or now).timestamp() * 1000),
        key=run.key,
        outcome=reading.outcome,
        judged=reading.outcome in _JUDGED,
        data_from=_data_from(run),
    )
    # a run that cannot prove anything wakes nobody
    wakes = {
        incident.remediated_by
        for incident in ledger.incidents.values()
        if incident.state is IncidentState.VERIFYING and proves(seen, incident)
    }
    observed = observe(ledger, seen, judged.judgements, policy.life_cycle, now)
    by_incident = {
        d.incident: d.judgement for d in observed.decisions if d.judgement and d.judgement.counts
    }
    routes = {key: j.effective.route for key, j in by_incident.items() if j.effective.route}
    after, changes, folded = with_groups(observed.ledger, observed.changes, policy, routes)
    firing = [
        judgement.finding
        for key, judgement in by_incident.items()
        if after.incidents[key].state.is_firing
    ]
    if policy.remediations:
        # nothing is started beside the guard rails
        retraining = RetrainingDecision(reason=Reason.RETRAINING_LEFT_TO_REMEDIATIONS)
    elif reading.outcome.is_unhealthy or any(c.kind in _NEWS for c in changes) or not firing:
        retraining = retrain(_firing_only(reading, firing))
    else:
        # what is known was decided about when it was news
        retraining = RetrainingDecision(reason=Reason.RETRAINING_INCIDENT_KNOWN)

    @cache
    def line_of(incident: str) -> str:
        judgement = by_incident.get(incident)
        return finding_line(judgement.finding, judgement.service_threshold) if judgement else ""

    def measured(incident: Incident) -> Facts | None:
        judgement = by_incident.get(incident.id)
        if judgement is None:
            return None
        return facts_of(judgement.finding, judgement.service_threshold, incident)

    notices: tuple[Notice, ...] = ()
    if changes:
        telling = Telling(
            id=f"{run.key}|{reading.outcome}",
            subject=run_subject(run, reading),
            run=run_part(run, reading, retraining),
            # without receivers there is only the topic, which shows no pictures
            distributions=judged.distributions if policy.receivers else (),
            detail=run_detail(run, reading, retraining),
        )
        notices = notices_of(after, changes, policy, telling, now, line_of, measured)
    after, sources = with_sources(after, policy)
    return Followed(
        record=RunRecord(
            run=run,
            reading=reading,
            retraining=retraining,
            ledger=after.id,
            judgements=judged.judgements,
            policy_version=policy.version,
            recorded_at=now,
        ),
        ledger=after,
        sources=sources,
        notices=notices,
        audit=_audit(
            after, run, reading, observed.decisions, line_of, policy, folded, len(notices), now
        ),
        decisions=observed.decisions,
        requests=requests_of(after, changes, notices, run, reading, policy, now)
        if policy.remediations
        else (),
        wakes=tuple(Wake(remediation, now) for remediation in sorted(wakes) if remediation),
    )


def _data_from(run: Run) -> int:
    """Where a run's data begins, in milliseconds; 0 where its job does not say, or not in time."""
    try:
        begins = datetime.fromisoformat(run.window_start)
    except ValueError:
        return 0
    if begins.tzinfo is None:
        begins = begins.replace(tzinfo=UTC)
    return int(begins.timestamp() * 1000)


def leave_place(ledger: Ledger, policy: Policy, now: datetime) -> Moved:
    """End a ledger's incidents because its schedule watches another endpoint now.

    No run will ever prove them, and what hides others must not stay where nobody ends it.
    """
    moved = [
        replace(i, state=IncidentState.RESOLVED, reason=Reason.ENDPOINT_CHANGED, changed_at=now)
        for i in ledger.incidents.values()
        if i.state.is_firing
    ]
    after = replace(ledger, incidents={incident.id: incident for incident in moved}, hides=())
    changes = tuple(Change(i, ChangeKind.RESOLVED, Reason.ENDPOINT_CHANGED) for i in moved)
    identity = f"{ledger.id}|{ledger.version}|left"
    notices = notices_of(after, changes, policy, Telling(id=identity), now)
    audit = AuditEntry(
        id=digest(identity, 16),
        subject=ledger.id,
        at=now,
        actor="guiderail",
        what="left",
        policy_version=policy.version,
        counts={Reason.ENDPOINT_CHANGED.value: len(moved)},
        decisions=tuple(Decision(about=i.id, reason=i.reason) for i in moved[:MOST_DECISIONS]),
    )
    return Moved(ledger=after, notices=notices, audit=audit)


def _firing_only(reading: Reading, firing: Sequence[Finding]) -> Reading:
    """The reading without findings that nobody hears of; an unhealthy run's stay, they block all the same."""
    if reading.outcome.is_unhealthy:
        return reading
    return replace(reading, findings=tuple(firing))


def _with_baseline(
    parsed: ParsedRun, job: ProcessingJob, reading: Reading, rules: RunPolicy, files: ReportFiles
) -> ParsedRun:
    places = tightening_places(job, reading.monitor, rules.tightened)
    there = {
        "statistics.json": parsed.baseline_statistics,
        "constraints.json": parsed.baseline_constraints,
        "analysis.json": parsed.baseline_analysis,
    }
    missing = {name: uri for name, uri in places.items() if there.get(name) is None}
    if not missing:
        return parsed
    more = parse_run(Files(), files.fetch(missing))
    return replace(
        parsed,
        baseline_statistics=parsed.baseline_statistics or more.baseline_statistics,
        baseline_constraints=parsed.baseline_constraints or more.baseline_constraints,
        baseline_analysis=parsed.baseline_analysis or more.baseline_analysis,
        errors={**parsed.errors, **more.errors},
    )


def _audit(
    ledger: Ledger,
    run: Run,
    reading: Reading,
    decisions: Sequence[FindingDecision],
    line_of: Callable[[str], str],
    policy: Policy,
    folded: bool,
    notices: int,
    now: datetime,
) -> AuditEntry:
    counts = Counter(d.reason.value for d in decisions)
    if notices:
        counts[Reason.WAITING_GROUP_WAIT.value] = notices
    if folded:
        counts[Reason.GROUPS_FOLDED.value] = 1
    worst = sorted(
        decisions,
        key=lambda d: -(d.judgement.effective.severity.rank if d.judgement else -1),
    )[:MOST_DECISIONS]
    # many findings share the lines that set their values
    set_by: dict[int, tuple[str, ...]] = {}
    return AuditEntry(
        id=digest(f"{run.key}|{reading.outcome}", 16),
        subject=ledger.id,
        at=now,
        actor="guiderail",
        what="run",
        policy_version=policy.version,
        counts=dict(counts),
        decisions=tuple(_decision(ledger, d, line_of, set_by) for d in worst),
        run={
            "key": run.key,
            "job_arn": run.job_arn,
            "endpoint": run.endpoint,
            "schedule": run.schedule,
            "monitor": reading.monitor.value,
            "outcome": reading.outcome.value,
            "reasons": [reason.value for reason in reading.reasons],
            "evidence": list(reading.evidence[:10]),
            "rows": reading.rows,
            "window_start": run.window_start,
            "window_end": run.window_end,
            "report_uri": run.report_uri,
        },
    )


def _decision(
    ledger: Ledger,
    decision: FindingDecision,
    line_of: Callable[[str], str],
    set_by: dict[int, tuple[str, ...]],
) -> Decision:
    judgement = decision.judgement
    if judgement is None:
        incident = ledger.incidents.get(decision.incident)
        text = f"{incident.subject}: {incident.check}: not in this run" if incident else ""
        return Decision(about=decision.incident, reason=decision.reason, text=text)
    if (known := id(judgement.set_by)) not in set_by:
        set_by[known] = policy_lines(judgement.set_by)
    return Decision(
        about=decision.incident,
        reason=decision.reason,
        text=line_of(decision.incident)
        or finding_line(judgement.finding, judgement.service_threshold),
        lines=set_by[known],
    )
