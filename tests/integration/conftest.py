"""moto over HTTP on loopback, with the resources of template.yaml."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import msgspec
import pytest
from guiderail.adapters import clients
from guiderail.bootstrap import due_changes, job_finished
from guiderail.model.policy import STORED_FORMAT, Policy, StoredPolicy
from guiderail_local.sagemaker import SageMaker

from functions.on_due.app import handler as on_due
from tests.template import of_type, resolve, state_machine_definition, transform

BUCKET = "loan-reports"


POLICIES = "guiderail-policies"


@dataclass
class Stack:
    """The stack's resources, and the functions' environment as the template sets it."""

    sagemaker: SageMaker
    client: Callable[[str], Any]
    table: str
    dead_letter_queue: str
    state_machine: str

    def alerts(self) -> list[dict[str, Any]]:
        """Inputs of the executions started on the alert state machine."""
        sfn = self.client("stepfunctions")
        started = sfn.list_executions(stateMachineArn=self.state_machine)["executions"]
        return [
            json.loads(sfn.describe_execution(executionArn=e["executionArn"])["input"])
            for e in started
        ]

    def items(self) -> list[dict[str, Any]]:
        """Everything in the table."""
        return list(self.client("dynamodb").scan(TableName=self.table)["Items"])

    def records(self) -> list[dict[str, Any]]:
        """Records of runs."""
        return [item for item in self.items() if item["pk"]["S"].startswith("run#")]

    def minute(self, minutes: float = 1) -> dict[str, int]:
        """The clock strikes, some minutes from now; what came of it."""
        time = datetime.now(UTC) + timedelta(minutes=minutes)
        return on_due({"time": time.isoformat()}, None)

    def push(self, policy: Policy) -> None:
        """Store a policy as `guiderail policy push` does."""
        stored = StoredPolicy(format=STORED_FORMAT, source="", policy=policy)
        self.put(f"s3://{POLICIES}/policy.json", msgspec.json.encode(stored))

    def dead_letters(self) -> list[dict[str, Any]]:
        """Messages of the dead-letter queue."""
        answer = self.client("sqs").receive_message(
            QueueUrl=self.dead_letter_queue, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        )
        return list(answer.get("Messages", []))

    def put(self, uri: str, content: bytes) -> None:
        """Store a file."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=content)


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """A fresh stack; clients and use case are made anew."""
    with SageMaker() as sagemaker:
        for name, value in {
            "AWS_ENDPOINT_URL": sagemaker.url,
            "AWS_DEFAULT_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }.items():
            monkeypatch.setenv(name, value)
        made = _make(sagemaker, monkeypatch)
        forget()
        yield made
        forget()


def forget() -> None:
    """Let the next call be that of a new process."""
    for cached in (clients.client, clients._session, job_finished, due_changes):
        cached.cache_clear()


def _make(sagemaker: SageMaker, monkeypatch: pytest.MonkeyPatch) -> Stack:
    resources = resolve(transform())
    session = boto3.Session()
    ids: dict[str, str] = {}
    table = of_type(resources, "AWS::DynamoDB::Table")["RunTable"]
    kept = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
    session.client("dynamodb").create_table(TableName="RunTable", **{k: table[k] for k in kept})
    ids["<RunTable>"] = "RunTable"
    queue = session.client("sqs").create_queue(QueueName="ReportsDeadLetterQueue")["QueueUrl"]
    ids["<ReportsDeadLetterQueue>"] = queue
    machine = of_type(resources, "AWS::StepFunctions::StateMachine")["AlertStateMachine"]
    arn = session.client("stepfunctions").create_state_machine(
        name="AlertStateMachine",
        definition=state_machine_definition(machine),
        roleArn="arn:aws:iam::123456789012:role/alerts",
    )["stateMachineArn"]
    ids["<AlertStateMachine>"] = arn
    session.client("s3").create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    bucket = of_type(resources, "AWS::S3::Bucket")["PolicyBucket"]
    session.client("s3").create_bucket(
        Bucket=POLICIES, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    session.client("s3").put_bucket_versioning(
        Bucket=POLICIES, VersioningConfiguration=bucket["VersioningConfiguration"]
    )
    ids["<PolicyBucket>"] = POLICIES
    functions = of_type(resources, "AWS::Lambda::Function")
    environment = functions["OnJobFinished"]["Environment"]["Variables"]
    assert functions["OnDue"]["Environment"]["Variables"] == environment
    for name, value in environment.items():
        monkeypatch.setenv(name, ids.get(value, value))
    client: Callable[[str], Any] = session.client  # type: ignore[assignment]
    stack = Stack(sagemaker, client, "RunTable", queue, arn)
    stack.push(Policy())
    return stack
