"""SageMaker: descriptions of jobs and schedules, tags, and the start of pipelines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from guiderail.adapters.clients import client, translated
from guiderail.errors import NotFoundError
from guiderail.model.job import MonitoringSchedule, ProcessingJob, job_from, schedule_from

_TAGS_KEPT = 1000


class SageMakerDescriptions:
    """Implements JobDescriptions: one call each."""

    def job(self, name: str) -> ProcessingJob:
        """Describe a processing job."""
        with translated(f"DescribeProcessingJob {name}"):
            return job_from(client("sagemaker").describe_processing_job(ProcessingJobName=name))

    def schedule(self, name: str) -> MonitoringSchedule | None:
        """Describe a monitoring schedule; None when it was deleted since."""
        try:
            with translated(f"DescribeMonitoringSchedule {name}"):
                return schedule_from(
                    client("sagemaker").describe_monitoring_schedule(MonitoringScheduleName=name)
                )
        except NotFoundError:
            return None


class SageMakerTags:
    """Implements Tags: one ListTags per schedule (and per 50 or more tags), kept for some minutes."""

    def __init__(self, seconds: float = 300, clock: Callable[[], float] = time.monotonic) -> None:
        """Ask again for a schedule's tags after so many seconds."""
        self._seconds = seconds
        self._clock = clock
        self._kept: dict[str, tuple[float, dict[str, str]]] = {}

    def of(self, schedule_arn: str) -> Mapping[str, str]:
        """The tags of a schedule."""
        asked_at, tags = self._kept.get(schedule_arn, (None, {}))
        now = self._clock()
        if asked_at is None or now - asked_at >= self._seconds:
            tags = _tags(schedule_arn)
            self._kept.pop(schedule_arn, None)
            self._kept[schedule_arn] = now, tags
            if len(self._kept) > _TAGS_KEPT:
                # a dict keeps the order of insertion: the first is the one that was read longest ago
                del self._kept[next(iter(self._kept))]
        return tags


class SageMakerPipelines:
    """Implements Pipelines: a ClientRequestToken (32 to 128 characters) starts one execution."""

    def start(
        self, pipeline_arn: str, token: str, parameters: Mapping[str, str], description: str
    ) -> str:
        """Start a pipeline."""
        with translated(f"StartPipelineExecution {pipeline_arn}"):
            started = client("sagemaker").start_pipeline_execution(
                PipelineName=pipeline_arn,
                ClientRequestToken=token,
                PipelineParameters=[{"Name": n, "Value": v} for n, v in parameters.items()],
                PipelineExecutionDescription=description,
            )
        return str(started["PipelineExecutionArn"])


def _tags(arn: str) -> dict[str, str]:
    tags: dict[str, str] = {}
    following: dict[str, str] = {}
    while True:
        with translated(f"ListTags {arn}"):
            page = client("sagemaker").list_tags(ResourceArn=arn, **following)
        tags |= {tag["Key"]: tag["Value"] for tag in page["Tags"]}
        if not page.get("NextToken"):
            return tags
        following = {"NextToken": page["NextToken"]}
