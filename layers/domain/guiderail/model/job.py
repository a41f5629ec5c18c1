"""A processing job and its monitoring schedule, as SageMaker describes them.

Only the fields that Guiderail decides on are kept. Source of the shapes: the SageMaker API model
(DescribeProcessingJob, DescribeMonitoringSchedule), where nearly every field is optional.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from guiderail.errors import MalformedEventError


class ProcessingJob(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a processing job, from its event or its description."""

    name: str
    arn: str
    status: str
    image: str = ""
    exit_message: str = ""
    failure_reason: str = ""
    schedule_arn: str = ""
    automl_job_arn: str = ""
    training_job_arn: str = ""
    environment: dict[str, str] = {}
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def endpoint(self) -> str:
        """Endpoint in its original case; empty for batch monitoring."""
        return self.environment.get("sagemaker_endpoint_name", "")

    @property
    def schedule_name(self) -> str:
        """Schedule in its original case where known, else lower-cased as in its ARN."""
        return (
            self.environment.get("sagemaker_monitoring_schedule_name")
            or self.schedule_arn.rpartition("/")[2]
        )

    @property
    def report_uri(self) -> str:
        """S3 prefix of the run's report; empty when the job names none.

        The service's own output is ``result``; an own container may name one output otherwise.
        """
        if "result" in self.outputs:
            return self.outputs["result"]
        return next(iter(self.outputs.values())) if len(self.outputs) == 1 else ""


class MonitoringSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a monitoring schedule."""

    name: str
    monitoring_type: str = ""
    endpoint: str = ""
    job_definition: str = ""
    last_status: str = ""
    last_failure_reason: str = ""
    last_job_arn: str = ""


def _texts(value: object, where: str) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise MalformedEventError(f"{where} is not an object")
    return {str(k): v for k, v in value.items() if isinstance(v, str)}


def _text(source: Mapping[str, Any], field: str) -> str:
    value = source.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedEventError(f"{field} is not a string")
    return value


def _required(source: Mapping[str, Any], field: str) -> str:
    value = _text(source, field)
    if not value:
        raise MalformedEventError(
            f"{field} is missing", remedy="Pass what DescribeProcessingJob returns"
        )
    return value


def moment(value: object) -> datetime | None:
    """Read a time given as datetime, ISO 8601 text, or epoch (seconds, or milliseconds in events)."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    try:
        if isinstance(value, str):
            parsed = datetime.fromisoformat(value)
            return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000 if value > 1e11 else value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def _places(described: object, name_field: str, holder: str) -> dict[str, str]:
    places: dict[str, str] = {}
    for entry in described if isinstance(described, list) else ():
        s3 = entry.get(holder) if isinstance(entry, Mapping) else None
        uri = s3.get("S3Uri") if isinstance(s3, Mapping) else None
        name = entry.get(name_field) if isinstance(entry, Mapping) else None
        if isinstance(uri, str) and isinstance(name, str):
            places[name] = uri
    return places


def job_from(described: Mapping[str, Any]) -> ProcessingJob:
    """Make a job of a DescribeProcessingJob answer, or of an event's ``detail``, which has its shape.

    Raises:
        MalformedEventError: Name, ARN or status is missing, or a field has another type.
    """
    app = described.get("AppSpecification")
    outputs = described.get("ProcessingOutputConfig")
    return ProcessingJob(
        name=_required(described, "ProcessingJobName"),
        arn=_required(described, "ProcessingJobArn"),
        status=_required(described, "ProcessingJobStatus"),
        image=_text(app, "ImageUri") if isinstance(app, Mapping) else "",
        exit_message=_text(described, "ExitMessage"),
        failure_reason=_text(described, "FailureReason"),
        schedule_arn=_text(described, "MonitoringScheduleArn"),
        automl_job_arn=_text(described, "AutoMLJobArn"),
        training_job_arn=_text(described, "TrainingJobArn"),
        environment=_texts(described.get("Environment"), "Environment"),
        inputs=_places(described.get("ProcessingInputs"), "InputName", "S3Input"),
        outputs=_places(outputs.get("Outputs"), "OutputName", "S3Output")
        if isinstance(outputs, Mapping)
        else {},
        started_at=moment(described.get("ProcessingStartTime")),
        ended_at=moment(described.get("ProcessingEndTime")),
    )


def schedule_from(described: Mapping[str, Any]) -> MonitoringSchedule:
    """Make a schedule of a DescribeMonitoringSchedule answer.

    MonitoringType may stand at the top level or only inside MonitoringScheduleConfig.

    Raises:
        MalformedEventError: The name is missing or a field has another type.
    """
    config = described.get("MonitoringScheduleConfig")
    config = config if isinstance(config, Mapping) else {}
    last = described.get("LastMonitoringExecutionSummary")
    last = last if isinstance(last, Mapping) else {}
    return MonitoringSchedule(
        name=_required(described, "MonitoringScheduleName"),
        monitoring_type=_text(described, "MonitoringType") or _text(config, "MonitoringType"),
        endpoint=_text(described, "EndpointName"),
        job_definition=_text(config, "MonitoringJobDefinitionName"),
        last_status=_text(last, "MonitoringExecutionStatus"),
        last_failure_reason=_text(last, "FailureReason"),
        last_job_arn=_text(last, "ProcessingJobArn"),
    )
