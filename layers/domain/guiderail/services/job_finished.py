"""The use case behind ``on_job_finished``: one ended job becomes outcome, findings, alert, retraining.

Every effect is idempotent by an id derived from the run, so there is nothing to claim or to lock: a
crash after any step and a redelivery do the remaining steps and repeat the others without effect. The
run is recorded last; a recorded run is a duplicate.
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
from guiderail.model.job import MonitoringSchedule, ProcessingJob
from guiderail.model.outcome import Outcome, Reason
from guiderail.model.record import RunRecord
from guiderail.model.retraining import RetrainingDecision
from guiderail.model.run import Reading, Run
from guiderail.ports import (
    Alerts,
    Clock,
    DeadLetters,
    JobDescriptions,
    Journal,
    Meter,
    Pipelines,
    ReportFiles,
    RunRecords,
)
from guiderail.reports.run_files import Files, ParsedRun, parse_run
from guiderail.services.alerting import alert_for, severity, worst_first
from guiderail.services.identify import kind_before_reading, ruled_out, ruled_out_by_event
from guiderail.services.reading import read_outcome
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
    records: RunRecords
    alerts: Alerts
    pipelines: Pipelines
    dead_letters: DeadLetters
    meter: Meter
    journal: Journal
    clock: Clock
    plan: RetrainingPlan
    minimum_rows: int = 0
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
        known = self.records.outcome(event.run_key)
        if known and known is not Outcome.UNREADABLE:
            self.journal.info(
                "duplicate event", run=event.run_key, reason=Reason.DUPLICATE_EVENT.value
            )
            return Reason.DUPLICATE_EVENT
        job = self.descriptions.job(event.job.name)
        if job.status not in TERMINAL_STATUSES:
            raise JobNotFinishedError(
                f"{job.name} is {job.status}, its event says {event.job.status}"
            )
        if reason := ruled_out(job):
            return self._ignore(job, reason)
        schedule = self.descriptions.schedule(job.schedule_name)
        run = _run(event, job, schedule)
        parsed = self._fetch(job, schedule)
        reading = read_outcome(parsed, job, schedule, self.minimum_rows)
        if schedule is None:
            reading = msgspec.structs.replace(
                reading, reasons=(*reading.reasons, Reason.SCHEDULE_NOT_FOUND)
            )
        retraining = carry_out(self.plan.decide(run, reading), run, self.pipelines)
        alert = alert_for(run, reading, retraining)
        if alert:
            self.alerts.publish(alert)
        if reading.outcome is Outcome.UNREADABLE:
            # somebody can make it readable: reading the event again may then tell more
            unnamed = MalformedReportError("; ".join(reading.evidence))
            self._give_up(body, next(iter(parsed.report_errors.values()), unnamed))
        now = self.clock()
        record = RunRecord(
            run=run,
            reading=reading,
            retraining=retraining,
            alert_id=alert.alert_id if alert else "",
            recorded_at=now,
        )
        if self.records.keep(record):
            self._measure(
                run,
                reading,
                retraining,
                (now - run.ended_at).total_seconds() if run.ended_at and alert else None,
            )
        return reading.outcome

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

    def _measure(
        self, run: Run, reading: Reading, retraining: RetrainingDecision, latency: float | None
    ) -> None:
        where = {"endpoint": run.endpoint or run.schedule, "monitor": reading.monitor.value}
        self.meter.record("Runs", 1, {**where, "outcome": reading.outcome.value})
        counts = Counter((finding.check, severity(finding)) for finding in reading.findings)
        for (check, level), count in counts.items():
            self.meter.record("Findings", count, {**where, "check": check, "severity": level})
        measured = [
            f for f in worst_first(reading.findings) if f.subject.feature and f.distance is not None
        ]
        for finding in measured[: self.worst_features]:
            dimensions = {**where, "check": finding.check, "feature": finding.subject.feature or ""}
            self.meter.record("FeatureDistance", finding.distance or 0.0, dimensions)
        self.meter.record("RetrainingDecisions", 1, {**where, "reason": retraining.reason.value})
        if latency is not None:
            self.meter.record("AlertLatency", latency, where)
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
            retraining=retraining.reason.value,
            pipeline_execution_arn=retraining.execution_arn,
        )


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
