"""In-memory ports with memory: what was asked of them stays readable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from guiderail.errors import GuiderailError
from guiderail.model.alert import Alert
from guiderail.model.job import MonitoringSchedule, ProcessingJob
from guiderail.model.outcome import Outcome
from guiderail.model.record import RunRecord
from guiderail.model.retraining import RetrainingMode, RetrainingRule
from guiderail.reports.run_files import Files
from guiderail.services.job_finished import JobFinished
from guiderail.services.retraining import RetrainingPlan

PIPELINE = "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/retrain-loan-risk"


class Crash(BaseException):
    """The process dies: no handler of ours may catch it."""


class Cloud:
    """All ports over one memory, which outlives crashes of the function.

    Every port call counts as a step; ``crash_after`` names the step after which the process dies, and
    ``failures`` the errors that a step raises instead of working, once each.
    """

    def __init__(
        self,
        job: ProcessingJob,
        schedule: MonitoringSchedule | None = None,
        files: Mapping[str, bytes | GuiderailError] | None = None,
    ) -> None:
        self.described = job
        self.scheduled = schedule
        self.stored = dict(files or {})
        self.recorded: dict[str, RunRecord] = {}
        self.published: dict[str, Alert] = {}
        self.executions: dict[tuple[str, str], dict[str, str]] = {}
        self.dead: list[tuple[str, GuiderailError]] = []
        self.metrics: list[tuple[str, float, dict[str, str]]] = []
        self.lines: list[tuple[str, dict[str, object]]] = []
        self.steps: list[str] = []
        self.crash_after: int | None = None
        self.failures: dict[str, list[GuiderailError]] = {}

    def _step(self, name: str, work: Callable[[], Any]) -> Any:
        if self.failures.get(name):
            raise self.failures[name].pop(0)
        done = work()
        self.steps.append(name)
        if self.crash_after == len(self.steps):
            raise Crash(name)
        return done

    # JobDescriptions
    def job(self, name: str) -> ProcessingJob:
        return self._step("describe job", lambda: self.described)  # type: ignore[no-any-return]

    def schedule(self, name: str) -> MonitoringSchedule | None:
        return self._step("describe schedule", lambda: self.scheduled)  # type: ignore[no-any-return]

    # ReportFiles
    def fetch(self, places: Mapping[str, str]) -> Files:
        def work() -> Files:
            files = Files({}, {})
            for name, uri in places.items():
                content = self.stored.get(uri)
                if isinstance(content, bytes):
                    files.contents[name] = content
                elif content is not None:
                    files.failures[name] = content
            return files

        return self._step("fetch", work)  # type: ignore[no-any-return]

    # RunRecords
    def outcome(self, run_key: str) -> Outcome | None:
        record = self._step("look up run", lambda: self.recorded.get(run_key))
        return record.reading.outcome if record else None

    def keep(self, record: RunRecord) -> bool:
        def work() -> bool:
            known = self.recorded.get(record.run.key)
            if known and known.reading.outcome in (
                record.reading.outcome,
                *set(Outcome) - {Outcome.UNREADABLE},
            ):
                return False
            self.recorded[record.run.key] = record
            return True

        return self._step("record run", work)  # type: ignore[no-any-return]

    # Alerts: a named execution runs once
    def publish(self, alert: Alert) -> None:
        self._step("publish alert", lambda: self.published.setdefault(alert.alert_id, alert))

    # Pipelines: a token starts once
    def start(
        self, pipeline_arn: str, token: str, parameters: Mapping[str, str], description: str
    ) -> str:
        self._step(
            "start pipeline",
            lambda: self.executions.setdefault((pipeline_arn, token), dict(parameters)),
        )
        return f"{pipeline_arn}/execution/{token[:12]}"

    # DeadLetters
    def put(self, body: str, error: GuiderailError) -> None:
        self._step("dead letter", lambda: self.dead.append((body, error)))

    # Meter
    def record(self, name: str, value: float, dimensions: Mapping[str, str]) -> None:
        self.metrics.append((name, value, dict(dimensions)))

    # Journal
    def info(self, message: str, **fields: object) -> None:
        self.lines.append((message, fields))

    def warning(self, message: str, **fields: object) -> None:
        self.lines.append((message, fields))

    def error(self, message: str, **fields: object) -> None:
        self.lines.append((message, fields))

    def metric(self, name: str) -> list[dict[str, str]]:
        """Dimensions of every value recorded under a name."""
        return [dimensions for recorded, _, dimensions in self.metrics if recorded == name]

    def use_case(
        self, mode: RetrainingMode = RetrainingMode.SUGGEST, minimum_rows: int = 30
    ) -> JobFinished:
        """A fresh process of the function over this cloud, two minutes after the job's end."""
        ended = self.described.ended_at or datetime(2026, 11, 23, 14, tzinfo=UTC)
        return JobFinished(
            descriptions=self,
            files=self,
            records=self,
            alerts=self,
            pipelines=self,
            dead_letters=self,
            meter=self,
            journal=self,
            clock=lambda: ended + timedelta(minutes=2),
            plan=RetrainingPlan(
                [RetrainingRule("*", mode)], [PIPELINE], {"Endpoint": "{endpoint}"}
            ),
            minimum_rows=minimum_rows,
        )
