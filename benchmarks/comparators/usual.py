"""The usual Powertools function: logger, metrics, tracer, idempotency, models, eager clients."""

import os

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.utilities.batch import (
    BatchProcessor,
    EventType,
    process_partial_response,
)
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer, IdempotencyConfig
from aws_lambda_powertools.utilities.parser.models import EventBridgeModel
from pydantic import BaseModel

logger, metrics, tracer = Logger(), Metrics(), Tracer()
persistence = DynamoDBPersistenceLayer(table_name=os.environ["GUIDERAIL_TABLE"])
config = IdempotencyConfig(event_key_jmespath="detail.ProcessingJobArn")
processor = BatchProcessor(event_type=EventType.SQS)
CLIENTS = [boto3.client(name) for name in ("dynamodb", "sagemaker", "s3")]


class Violation(BaseModel):
    """One violation."""

    feature_name: str
    constraint_check_type: str
    description: str


class Violations(BaseModel):
    """A violations file."""

    violations: list[Violation]


class Job(BaseModel):
    """A processing job."""

    ProcessingJobName: str
    ProcessingJobArn: str
    ProcessingJobStatus: str


class JobEvent(EventBridgeModel):
    """An event of a processing job."""

    detail: Job


@metrics.log_metrics
@logger.inject_lambda_context
@tracer.capture_lambda_handler
def handler(event, context):
    """Answer a batch."""
    return process_partial_response(
        event=event, record_handler=lambda record: None, processor=processor, context=context
    )
