"""What use cases need of the world, named by role; adapters and test fakes implement them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from guiderail.errors import GuiderailError
from guiderail.model.alert import Alert
from guiderail.model.job import MonitoringSchedule, ProcessingJob
from guiderail.model.outcome import Outcome
from guiderail.model.record import RunRecord
from guiderail.reports.run_files import Files


class JobDescriptions(Protocol):
    """SageMaker's own word on jobs and schedules."""

    def job(self, name: str) -> ProcessingJob:
        """Describe a processing job. Raises NotFoundError, AccessDeniedError, TransientError."""
        ...

    def schedule(self, name: str) -> MonitoringSchedule | None:
        """Describe a monitoring schedule; None when it is gone. Raises AccessDeniedError, TransientError."""
        ...


class ReportFiles(Protocol):
    """Files under S3 prefixes."""

    def fetch(self, places: Mapping[str, str]) -> Files:
        """Fetch files by S3 URI, keyed by the name they are to have.

        A missing file is left out; one that is forbidden or too large becomes a failure of Files.
        Raises TransientError.
        """
        ...


class RunRecords(Protocol):
    """What was decided of which run."""

    def outcome(self, run_key: str) -> Outcome | None:
        """The recorded outcome of a run; None for a run not seen."""
        ...

    def keep(self, record: RunRecord) -> bool:
        """Record a run unless it was recorded; an ``unreadable`` one may be replaced.

        Returns whether this call recorded it.
        """
        ...


class Alerts(Protocol):
    """Messages to people and events to the bus, each alert once."""

    def publish(self, alert: Alert) -> None:
        """Publish an alert; doing it again with the same id changes nothing."""
        ...


class Pipelines(Protocol):
    """Retraining pipelines."""

    def start(
        self, pipeline_arn: str, token: str, parameters: Mapping[str, str], description: str
    ) -> str:
        """Start a pipeline and return the execution's ARN; the same token starts it once."""
        ...


class DeadLetters(Protocol):
    """Messages that nobody can handle until somebody acts."""

    def put(self, body: str, error: GuiderailError) -> None:
        """Keep a message with the error's reason code and remedy."""
        ...


class Meter(Protocol):
    """Metrics; names and units stand in ``observability.METRICS``."""

    def record(self, name: str, value: float, dimensions: Mapping[str, str]) -> None:
        """Record one value."""
        ...


class Journal(Protocol):
    """The structured log."""

    def info(self, message: str, **fields: object) -> None:
        """Log a decision."""
        ...

    def warning(self, message: str, **fields: object) -> None:
        """Log what somebody may have to look at."""
        ...

    def error(self, message: str, **fields: object) -> None:
        """Log an error that is being handled, with its traceback."""
        ...


class Clock(Protocol):
    """The time."""

    def __call__(self) -> datetime:
        """Now, aware of its zone."""
        ...
