"""The composition root: settings to adapters to use case, once per process.

Each use case is imported where it is put together, so that no function waits for what another one needs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

from guiderail.adapters.dynamo_deliveries import DynamoDeliveries
from guiderail.adapters.dynamo_remediations import DynamoRemediations
from guiderail.adapters.dynamodb import DynamoIncidents
from guiderail.adapters.policies import S3Policies
from guiderail.adapters.powertools import EmfMeter, StructuredJournal
from guiderail.adapters.sqs import SqsDeadLetters, SqsDeliveryQueue
from guiderail.ports import Clock
from guiderail.settings import Settings, settings_from

if TYPE_CHECKING:
    from guiderail.adapters.secrets import Secrets
    from guiderail.adapters.stepfunctions import StepFunctionsDriver
    from guiderail.services.action_finished import ActionFinished
    from guiderail.services.acts import Acts
    from guiderail.services.delivering import Deliver
    from guiderail.services.due import DueChanges
    from guiderail.services.job_finished import JobFinished
    from guiderail.services.reingest_tasks import ReingestTasks
    from guiderail.services.remediating import Remediate
    from guiderail.services.remediation_acts import RemediationActs
    from guiderail.services.replying import Replying, SigningSecret


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


@cache
def deliver() -> Deliver:
    """Return the use case of ``deliver``."""
    return build_deliver(settings_from())


@cache
def on_reply() -> Replying:
    """Return the use case of ``on_reply``."""
    return build_on_reply(settings_from())


@cache
def remediate() -> Remediate:
    """Return the use case of ``remediate``."""
    return build_remediate(settings_from())


@cache
def action_finished() -> ActionFinished:
    """Return the use case of ``on_action_finished``."""
    return build_action_finished(settings_from())


@cache
def reingest() -> ReingestTasks:
    """Return the use case of ``reingest``."""
    return build_reingest(settings_from())


def build_job_finished(settings: Settings, clock: Clock = now) -> JobFinished:
    """Put the use case of ``on_job_finished`` together."""
    from guiderail.adapters.s3 import S3ReportFiles
    from guiderail.adapters.sagemaker import (
        SageMakerDescriptions,
        SageMakerPipelines,
        SageMakerTags,
    )
    from guiderail.services.following import Judge
    from guiderail.services.job_finished import JobFinished
    from guiderail.services.retraining import RetrainingPlan

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
    from guiderail.services.due import DueChanges
    from guiderail.services.waking import Waking

    region, account = _home(settings)
    journal = StructuredJournal()
    return DueChanges(
        incidents=_incidents(settings),
        policies=_policies(settings, clock),
        outbox=build_deliveries(settings),
        queue=build_delivery_queue(settings),
        meter=EmfMeter(),
        journal=journal,
        clock=clock,
        waking=Waking(
            remediations=build_remediations(settings), driver=_driver(settings), journal=journal
        ),
        region=region,
        account=account,
    )


def build_remediate(settings: Settings, clock: Clock = now) -> Remediate:
    """Put the use case of ``remediate`` together."""
    from guiderail.adapters.actions import ActionAdapters
    from guiderail.services.remediating import Remediate

    return Remediate(
        remediations=build_remediations(settings),
        incidents=_incidents(settings),
        policies=_policies(settings, clock),
        actions=ActionAdapters(
            reingestion_machine=settings.reingestion_machine,
            reingestion_image=settings.reingestion_image,
            reingestion_machines=settings.reingestion_instances,
        ),
        driver=_driver(settings),
        acts=build_acts(settings, clock),
        queue=build_delivery_queue(settings),
        meter=EmfMeter(),
        journal=StructuredJournal(),
        clock=clock,
    )


def build_action_finished(settings: Settings, clock: Clock = now) -> ActionFinished:
    """Put the use case of ``on_action_finished`` together."""
    from guiderail.services.action_finished import ActionFinished

    return ActionFinished(
        remediations=build_remediations(settings),
        driver=_driver(settings),
        dead_letters=SqsDeadLetters(settings.actions_dead_letter_queue),
        meter=EmfMeter(),
        journal=StructuredJournal(),
        clock=clock,
    )


def build_reingest(settings: Settings) -> ReingestTasks:
    """Put the use case of ``reingest`` together, the only one that reads columns."""
    import random
    import time

    from guiderail.adapters.feature_store import FeatureStoreRuntime, SageMakerFeatureGroups
    from guiderail.adapters.record_files import RecordFiles
    from guiderail.adapters.reingestion_files import S3ReingestionFiles
    from guiderail.services.reingest_planning import JobTerms
    from guiderail.services.reingest_tasks import ObjectIngestion, ReingestTasks
    from guiderail.services.reingesting import Reingest

    region, _ = _home(settings)
    files, groups = S3ReingestionFiles(), SageMakerFeatureGroups()
    core = Reingest(
        groups=groups,
        records=RecordFiles(),
        store=FeatureStoreRuntime(),
        kept=files,
        clock=time.monotonic,
        sleep=time.sleep,
        jitter=random.random,
    )
    return ReingestTasks(
        files=files,
        groups=groups,
        ingestion=ObjectIngestion(core, settings.reingestion_bucket),
        bucket=settings.reingestion_bucket,
        terms=JobTerms(
            image=settings.reingestion_image,
            role=settings.reingestion_role,
            instance_type=settings.reingestion_instance_type,
            instances=settings.reingestion_instances,
            region=region,
        ),
    )


def build_remediation_acts(settings: Settings, clock: Clock = now) -> RemediationActs:
    """Put together what people do with remediations."""
    from guiderail.services.remediation_acts import RemediationActs

    return RemediationActs(
        remediations=build_remediations(settings),
        incidents=_incidents(settings),
        policies=_policies(settings, clock),
        driver=_driver(settings),
        queue=build_delivery_queue(settings),
        journal=StructuredJournal(),
        clock=clock,
    )


def build_remediations(settings: Settings) -> DynamoRemediations:
    """Remediations and their guard."""
    return DynamoRemediations(settings.table, settings.audit_days)


def _driver(settings: Settings) -> StepFunctionsDriver:
    from guiderail.adapters.stepfunctions import StepFunctionsDriver

    return StepFunctionsDriver(settings.remediation_machine)


def build_deliver(settings: Settings, clock: Clock = now) -> Deliver:
    """Put the use case of ``deliver`` together."""
    import random
    import secrets

    from guiderail.adapters.channels import ChannelSenders
    from guiderail.adapters.lambda_pictures import LambdaPictures
    from guiderail.adapters.secrets import Secrets
    from guiderail.services.delivering import Deliver

    region, account = _home(settings)
    journal = StructuredJournal()
    return Deliver(
        outbox=build_deliveries(settings),
        queue=build_delivery_queue(settings),
        channels=ChannelSenders(Secrets(), settings.topic, settings.bus, journal),
        pictures=LambdaPictures(settings.draw_function),
        policies=_policies(settings, clock),
        incidents=_incidents(settings),
        dead_letters=SqsDeadLetters(settings.deliveries_dead_letter_queue),
        meter=EmfMeter(),
        journal=journal,
        clock=clock,
        new_token=lambda: secrets.token_urlsafe(32),
        chance=random.random,
        reply_url=settings.reply_url,
        region=region,
        account=account,
    )


def build_on_reply(settings: Settings, clock: Clock = now) -> Replying:
    """Put the use case of ``on_reply`` together."""
    from guiderail.adapters.slack_answers import SlackNotes
    from guiderail.adapters.slack_signatures import SlackSdkSignatures
    from guiderail.services.replying import Replying

    return Replying(
        acts=build_acts(settings, clock),
        tokens=build_deliveries(settings),
        signatures=SlackSdkSignatures(),
        signing_secret=_signing_secret(settings.slack_signing_secret),
        slack=SlackNotes(),
        slack_hooks=settings.slack_hooks,
        remediations=build_remediation_acts(settings, clock),
        meter=EmfMeter(),
        journal=StructuredJournal(),
    )


def build_acts(settings: Settings, clock: Clock = now) -> Acts:
    """Put together what people do from the command line and by replies."""
    from guiderail.services.acts import Acts

    return Acts(incidents=_incidents(settings), policies=_policies(settings, clock), clock=clock)


def build_deliveries(settings: Settings) -> DynamoDeliveries:
    """The outbox, with reply tokens and feedback."""
    return DynamoDeliveries(settings.table, settings.audit_days)


def build_delivery_queue(settings: Settings) -> SqsDeliveryQueue:
    """The queue that wakes ``deliver``."""
    return SqsDeliveryQueue(settings.deliveries_queue)


def _incidents(settings: Settings) -> DynamoIncidents:
    return DynamoIncidents(settings.table, settings.record_days, settings.audit_days)


def _policies(settings: Settings, clock: Clock) -> S3Policies:
    return S3Policies(settings.policy_bucket, settings.policy_key, settings.policy_seconds, clock)


def _home(settings: Settings) -> tuple[str, str]:
    """Region and account of the stack: arn:aws:sns:<region>:<account>:<topic>."""
    parts = settings.topic.split(":")
    return (parts[3], parts[4]) if len(parts) > 4 else ("", "")


def _signing_secret(name: str) -> SigningSecret | None:
    """Slack's signing secret, read when it is first asked for; None where there is none."""
    if not name:
        return None

    @cache
    def kept() -> Secrets:
        from guiderail.adapters.secrets import Secrets

        return Secrets()

    def read(fresh: bool = False) -> str:
        from guiderail.adapters.secrets import SLACK_SIGNING

        return kept().read(name, SLACK_SIGNING, fresh=fresh)["signing_secret"]

    return read
