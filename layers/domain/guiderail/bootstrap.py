"""The composition root: settings to adapters to use case, once per process."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from guiderail.adapters.dynamodb import DynamoIncidents
from guiderail.adapters.policies import S3Policies
from guiderail.adapters.powertools import EmfMeter, StructuredJournal
from guiderail.adapters.s3 import S3ReportFiles
from guiderail.adapters.sagemaker import SageMakerDescriptions, SageMakerPipelines, SageMakerTags
from guiderail.adapters.sqs import SqsDeadLetters
from guiderail.adapters.stepfunctions import StateMachineAlerts
from guiderail.ports import Clock
from guiderail.services.acts import Acts
from guiderail.services.due import DueChanges
from guiderail.services.following import Judge
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


@cache
def due_changes() -> DueChanges:
    """Return the use case of ``on_due``."""
    return build_due_changes(settings_from())


def build_job_finished(settings: Settings, clock: Clock = now) -> JobFinished:
    """Put the use case of ``on_job_finished`` together."""
    return JobFinished(
        descriptions=SageMakerDescriptions(),
        files=S3ReportFiles(settings.max_report_bytes),
        incidents=_incidents(settings),
        policies=_policies(settings, clock),
        tags=SageMakerTags(),
        pipelines=SageMakerPipelines(),
        dead_letters=SqsDeadLetters(settings.dead_letter_queue),
        meter=EmfMeter(),
        journal=StructuredJournal(),
        clock=clock,
        plan=RetrainingPlan(
            settings.retraining_plan, settings.retraining_pipelines, settings.pipeline_parameters
        ),
        judge=Judge(settings.minimum_rows),
        worst_features=settings.worst_features,
    )


def build_due_changes(settings: Settings, clock: Clock = now) -> DueChanges:
    """Put the use case of ``on_due`` together."""
    # arn:aws:states:<region>:<account>:stateMachine:<name>
    parts = settings.alert_state_machine.split(":")
    return DueChanges(
        incidents=_incidents(settings),
        policies=_policies(settings, clock),
        alerts=StateMachineAlerts(settings.alert_state_machine),
        meter=EmfMeter(),
        journal=StructuredJournal(),
        clock=clock,
        region=parts[3] if len(parts) > 4 else "",
        account=parts[4] if len(parts) > 4 else "",
    )


def build_acts(settings: Settings, clock: Clock = now) -> Acts:
    """Put together what people do from the command line and, later, by replies."""
    return Acts(incidents=_incidents(settings), policies=_policies(settings, clock), clock=clock)


def _incidents(settings: Settings) -> DynamoIncidents:
    return DynamoIncidents(settings.table, settings.record_days, settings.audit_days)


def _policies(settings: Settings, clock: Clock) -> S3Policies:
    return S3Policies(settings.policy_bucket, settings.policy_key, settings.policy_seconds, clock)
