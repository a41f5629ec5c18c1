"""The composition root: settings to adapters to use case, once per process."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from guiderail.adapters.dynamodb import DynamoRunRecords
from guiderail.adapters.powertools import EmfMeter, StructuredJournal
from guiderail.adapters.s3 import S3ReportFiles
from guiderail.adapters.sagemaker import SageMakerDescriptions, SageMakerPipelines
from guiderail.adapters.sqs import SqsDeadLetters
from guiderail.adapters.stepfunctions import StateMachineAlerts
from guiderail.ports import Clock
from guiderail.services.job_finished import JobFinished
from guiderail.services.retraining import RetrainingPlan
from guiderail.settings import Settings, settings_from


def now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)


@cache
def job_finished() -> JobFinished:
    """Return the use case of ``on_job_finished``; clients are made when a path first needs them."""
    return build_job_finished(settings_from())


def build_job_finished(settings: Settings, clock: Clock = now) -> JobFinished:
    """Put the use case together."""
    return JobFinished(
        descriptions=SageMakerDescriptions(),
        files=S3ReportFiles(settings.max_report_bytes),
        records=DynamoRunRecords(settings.table, settings.record_days),
        alerts=StateMachineAlerts(settings.alert_state_machine),
        pipelines=SageMakerPipelines(),
        dead_letters=SqsDeadLetters(settings.dead_letter_queue),
        meter=EmfMeter(),
        journal=StructuredJournal(),
        clock=clock,
        plan=RetrainingPlan(
            settings.retraining_plan, settings.retraining_pipelines, settings.pipeline_parameters
        ),
        minimum_rows=settings.minimum_rows,
        worst_features=settings.worst_features,
    )
