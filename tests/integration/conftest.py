"""moto over HTTP on loopback, with the resources of template.yaml."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import msgspec
import pytest
from guiderail.adapters import clients
from guiderail.adapters.dynamo_deliveries import DynamoDeliveries
from guiderail.bootstrap import deliver, due_changes, job_finished, on_reply
from guiderail.model.delivery import Delivery, DeliveryState
from guiderail.model.message import Notification
from guiderail.model.policy import STORED_FORMAT, Policy, StoredPolicy
from guiderail_local.sagemaker import SageMaker

from functions.deliver.app import handler as deliver_batch
from functions.on_due.app import handler as on_due
from tests.moto_region import region
from tests.template import of_type, resolve, transform

BUCKET = "loan-reports"


POLICIES = "guiderail-policies"


@dataclass
class Stack:
    """The stack's resources, and the functions' environment as the template sets it."""

    sagemaker: SageMaker
    client: Callable[[str], Any]
    table: str
    dead_letter_queue: str
    deliveries_queue: str

    def alerts(self) -> list[Notification]:
        """Notifications that the topic took, oldest first."""
        store = self.outbox
        made = [
            store.notification(delivery.notification)
            for delivery in self.deliveries()
            if delivery.channel == "topic" and delivery.state is DeliveryState.DELIVERED
        ]
        return [notification for notification in made if notification]

    @property
    def outbox(self) -> DynamoDeliveries:
        """The outbox, as the functions see it."""
        return DynamoDeliveries(self.table, 1)

    def deliveries(self) -> list[Delivery]:
        """All deliveries, oldest first."""
        today = datetime.now(UTC)
        return list(self.outbox.deliveries(today - timedelta(days=2), today + timedelta(days=5)))

    def items(self) -> list[dict[str, Any]]:
        """Everything in the table."""
        return list(self.client("dynamodb").scan(TableName=self.table)["Items"])

    def records(self) -> list[dict[str, Any]]:
        """Records of runs."""
        return [item for item in self.items() if item["pk"]["S"].startswith("run#")]

    def minute(self, minutes: float = 1) -> dict[str, int]:
        """The clock strikes, some minutes from now, and what is queued is delivered; what came of it."""
        time = datetime.now(UTC) + timedelta(minutes=minutes)
        counts = on_due({"time": time.isoformat()}, None)
        self.deliver()
        return counts

    def deliver(self) -> int:
        """Hand the queue's messages to ``deliver`` until there is none; how many there were."""
        sqs, handed = self.client("sqs"), 0
        while messages := sqs.receive_message(
            QueueUrl=self.deliveries_queue, MaxNumberOfMessages=8
        ).get("Messages"):
            records = [{"messageId": m["MessageId"], "body": m["Body"]} for m in messages]
            failed = deliver_batch({"Records": records}, None)["batchItemFailures"]
            assert failed == []
            for message in messages:
                sqs.delete_message(
                    QueueUrl=self.deliveries_queue, ReceiptHandle=message["ReceiptHandle"]
                )
            handed += len(messages)
        return handed

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
    with region() as sagemaker:
        made = _make(sagemaker, monkeypatch)
        forget()
        yield made
        forget()


def forget() -> None:
    """Let the next call be that of a new process."""
    clients.forget()
    for cached in (job_finished, due_changes, deliver, on_reply):
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
    for name in ("DeliveriesQueue", "DeliveriesDeadLetterQueue"):
        ids[f"<{name}>"] = session.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    ids["<AlertTopic>"] = session.client("sns").create_topic(Name="AlertTopic")["TopicArn"]
    session.client("events").create_event_bus(Name="guiderail")
    ids["<GuiderailBus>"] = "guiderail"
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
    environment = {
        name: value
        for function in functions.values()
        for name, value in function["Environment"]["Variables"].items()
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, ids.get(value, value))
    client: Callable[[str], Any] = session.client  # type: ignore[assignment]
    stack = Stack(sagemaker, client, "RunTable", queue, ids["<DeliveriesQueue>"])
    stack.push(Policy())
    return stack
