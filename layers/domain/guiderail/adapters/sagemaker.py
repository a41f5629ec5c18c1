"""SageMaker: descriptions of jobs and schedules, and the start of pipelines."""

from __future__ import annotations

from collections.abc import Mapping

from guiderail.adapters.clients import client, translated
from guiderail.errors import NotFoundError
from guiderail.model.job import MonitoringSchedule, ProcessingJob, job_from, schedule_from


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
