"""The use case behind ``on_job_finished``: one ended job becomes outcome, judgements, incidents, notices.

Every effect before the last is idempotent by an id derived from the run. The last is one transaction
that records the run with all that follows from it: a crash before it and a redelivery do it all again
without a second effect, and a recorded run is a duplicate.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from guiderail.errors import (
    GuiderailError,
    JobNotFinishedError,
    MalformedReportError,
    PermanentError,
    TransientError,
)
from guiderail.model.event import TERMINAL_STATUSES, JobEvent, parse_job_event
from guiderail.model.incident import Scope
from guiderail.model.job import MonitoringSchedule, ProcessingJob
from guiderail.model.outcome import Outcome, Reason
from guiderail.model.run import Run
from guiderail.ports import (
    Clock,
    DeadLetters,
    Incidents,
    JobDescriptions,
    Journal,
    Meter,
    Pipelines,
    Policies,
    ReportFiles,
    Tags,
)
from guiderail.reports.run_files import Files, ParsedRun, parse_run
from guiderail.services.alerting import worst_first
from guiderail.services.following import Followed, Judge, keep_run
from guiderail.services.identify import kind_before_reading, ruled_out, ruled_out_by_event
from guiderail.services.report_places import (
    baseline_places,
    companion_places,
    config_places,
    violations_places,
)
from guiderail.services.retraining import RetrainingPlan, carry_out


class JobFinished(msgspec.Struct, frozen=True, kw_only=True):
    """React to one event of an ended processing job."""

    descriptions: JobDescriptions
    files: ReportFiles
    incidents: Incidents
    policies: Policies
    tags: Tags
    pipelines: Pipelines
    dead_letters: DeadLetters
    meter: Meter
    journal: Journal
    clock: Clock
    plan: RetrainingPlan
    judge: Judge
    worst_features: int = 10

    def __call__(self, body: str) -> Reason | Outcome:
        """Handle one message of the queue.

        Returns:
            The outcome of a run, or the reason why there was nothing to do.

        Raises:
            TransientError: The message must come again. Permanent errors do not come out: the
                message goes to the dead letters with its reason.
        """
        try:
            event = parse_job_event(body)
            if reason := ruled_out_by_event(event.job):
                return self._ignore(event.job, reason)
            return self._react(event, body)
        except PermanentError as error:
            return self._give_up(body, error)
        except TransientError as error:
            self.journal.warning("message will come again", reason=error.code, error=str(error))
            raise
        except Exception as error:
            # a bug loses no message: it comes again, and the queue keeps it as dead letter in the end
            self.journal.error("unexpected error", reason="unexpected_error", error=repr(error))
            raise

    def _react(self, event: JobEvent, body: str) -> Reason | Outcome:
        job: ProcessingJob | None = None
        if not event.job.schedule_arn:
            # only the description names the schedule then, and with it the ledger to look up
            job = self._described(event)
            if reason := ruled_out(job):
                return self._ignore(job, reason)
        recalled = _ledger_id((job or event.job).schedule_arn)
        known, ledger = self.incidents.recall(event.run_key, recalled)
        if known and known is not Outcome.UNREADABLE:
            self.journal.info(
                "duplicate event", run=event.run_key, reason=Reason.DUPLICATE_EVENT.value
            )
            return Reason.DUPLICATE_EVENT
        job = job or self._described(event)
        if reason := ruled_out(job):
            return self._ignore(job, reason)
        schedule = self.descriptions.schedule(job.schedule_name)
        run = _run(event, job, schedule)
        parsed = self._fetch(job, schedule)
        in_force = self.policies.current()
        judged = self.judge(
            run, job, schedule, parsed, in_force.policy, self.tags, self.files, self.clock()
        )
        if in_force.trouble:
            self.journal.warning(
                "policy not in force", reason=in_force.trouble.value, error=in_force.evidence
            )
        if judged.reading.outcome is Outcome.UNREADABLE:
            # somebody can make it readable: reading the event again may then tell more
            unnamed = MalformedReportError("; ".join(judged.reading.evidence))
            self._give_up(body, next(iter(parsed.report_errors.values()), unnamed))
        known_ledger = (ledger,) if recalled == judged.scope.ledger_id else ()
        followed = keep_run(
            self.incidents,
            run,
            judged,
            in_force.policy,
            lambda reading: carry_out(self.plan.decide(run, reading), run, self.pipelines),
            self.clock,
            *known_ledger,
        )
        if followed:
            self._measure(followed)
        return judged.reading.outcome

    def _described(self, event: JobEvent) -> ProcessingJob:
        job = self.descriptions.job(event.job.name)
        if job.status not in TERMINAL_STATUSES:
            raise JobNotFinishedError(
                f"{job.name} is {job.status}, its event says {event.job.status}"
            )
        return job

    def _fetch(self, job: ProcessingJob, schedule: MonitoringSchedule | None) -> ParsedRun:
        """Read what an ended run left; one that failed or was stopped left nothing to rely on."""
        kind, _ = kind_before_reading(job, schedule)
        left = Files()
        if job.status == "Completed" and job.report_uri:
            for places in violations_places(job, kind):
                left = self.files.fetch(places)
                if left.contents or left.failures:
                    break
            left = left.with_those_of(self.files.fetch(companion_places(job, kind)))
        if kind is None and not left.contents and (places := config_places(job)):
            left = left.with_those_of(Files(self.files.fetch(places).contents))
        parsed = parse_run(left)
        places = baseline_places(job, parsed)
        if not places:
            return parsed
        baseline = parse_run(Files(), self.files.fetch(places))
        return msgspec.structs.replace(
            parsed,
            baseline_statistics=baseline.baseline_statistics,
            baseline_constraints=baseline.baseline_constraints,
            baseline_analysis=baseline.baseline_analysis,
            errors={**parsed.errors, **baseline.errors},
        )

    def _ignore(self, job: ProcessingJob, reason: Reason) -> Reason:
        self.journal.info("job ignored", job=job.name, reason=reason.value)
        self.meter.record("JobsIgnored", 1, {"reason": reason.value})
        return reason

    def _give_up(self, body: str, error: GuiderailError) -> Reason:
        self.dead_letters.put(body, error)
        self.journal.warning("message kept as dead letter", reason=error.code, error=str(error))
        self.meter.record("DeadLetters", 1, {"reason": error.code})
        return Reason.DEAD_LETTER

    def _measure(self, followed: Followed) -> None:
        record = followed.record
        run, reading = record.run, record.reading
        where = {"endpoint": run.endpoint or run.schedule, "monitor": reading.monitor.value}
        self.meter.record("Runs", 1, {**where, "outcome": reading.outcome.value})
        own = reading.outcome.value
        counts = Counter(
            (j.finding.check, j.effective.severity.value)
            for j in record.judgements
            if j.finding.check != own
        )
        for (check, level), count in counts.items():
            self.meter.record("Findings", count, {**where, "check": check, "severity": level})
        measured = [
            f for f in worst_first(reading.findings) if f.subject.feature and f.distance is not None
        ]
        for finding in measured[: self.worst_features]:
            dimensions = {**where, "check": finding.check, "feature": finding.subject.feature or ""}
            self.meter.record("FeatureDistance", finding.distance or 0.0, dimensions)
        self.meter.record(
            "RetrainingDecisions", 1, {**where, "reason": record.retraining.reason.value}
        )
        for reason, count in followed.audit.counts.items():
            self.meter.record("Decisions", count, {**where, "reason": reason})
        self.journal.info(
            "run read",
            run=run.key,
            endpoint=run.endpoint,
            schedule=run.schedule,
            monitor=reading.monitor.value,
            outcome=reading.outcome.value,
            reasons=[r.value for r in reading.reasons],
            evidence=list(reading.evidence),
            findings=len(reading.findings),
            rows=reading.rows,
            decisions=followed.audit.counts,
            policy=record.policy_version,
            ledger=record.ledger,
            retraining=record.retraining.reason.value,
            pipeline_execution_arn=record.retraining.execution_arn,
        )


def _ledger_id(schedule_arn: str) -> str:
    """The ledger of a schedule by its ARN; empty where an event names no schedule."""
    parts = schedule_arn.split(":")
    if len(parts) < 6:
        return ""
    name = schedule_arn.rpartition("/")[2]
    return Scope(account=parts[4], region=parts[3], schedule=name).ledger_id


def _run(event: JobEvent, job: ProcessingJob, schedule: MonitoringSchedule | None) -> Run:
    return Run(
        key=event.run_key,
        job_name=job.name,
        job_arn=job.arn,
        status=job.status,
        endpoint=job.endpoint or (schedule.endpoint if schedule else ""),
        schedule=schedule.name if schedule else job.schedule_name,
        report_uri=job.report_uri,
        window_start=job.environment.get("start_time", ""),
        window_end=job.environment.get("end_time", ""),
        ended_at=job.ended_at,
        is_probe=event.is_probe,
    )
