"""``guiderail deliveries``, ``notify test`` and ``incidents feedback`` over DynamoDB, SQS and S3."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import boto3
import msgspec
import pytest
from guiderail.adapters.dynamo_deliveries import DynamoDeliveries
from guiderail.errors import ChannelRefusedError
from guiderail.model.delivery import Delivery, DeliveryRef, DeliveryState, Feedback, ref_of
from guiderail.model.notice import AuditEntry
from guiderail.model.outcome import Reason
from guiderail.model.policy import (
    STORED_FORMAT,
    Channel,
    ChannelKind,
    Policy,
    Receiver,
    StoredPolicy,
)
from guiderail.services.outbox import outgoing_of
from guiderail.services.probe_messages import probe

from tests.commands import Guiderail, command
from tests.fakes import Cloud
from tests.moto_region import region
from tests.template import load

PARTS = ("RunTable", "PolicyBucket", "DeliveriesQueue", "DeliveriesDeadLetterQueue")
OUTPUTS = ("RunTableName", "PolicyBucketName", "DeliveriesQueueUrl")
POLICY = Policy(
    receivers={
        "default": Receiver(
            name="default",
            channels=(
                Channel(kind=ChannelKind.WEBHOOK, name="default/webhook", secret="guiderail/w"),
                Channel(kind=ChannelKind.TEAMS, name="default/teams", secret="guiderail/t"),
            ),
        )
    }
)


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A region with one stack of table, bucket and queue, as the template has them, and a policy."""
    with region():
        for name in ("TABLE", "POLICY_BUCKET", "POLICY_KEY", "DELIVERIES_QUEUE"):
            monkeypatch.delenv(f"GUIDERAIL_{name}", raising=False)
        source = load()
        stack = {
            "Resources": {name: source["Resources"][name] for name in PARTS},
            "Outputs": {name: source["Outputs"][name] for name in OUTPUTS},
        }
        cloudformation = boto3.client("cloudformation")
        cloudformation.create_stack(StackName="guiderail", TemplateBody=json.dumps(stack))
        (made,) = cloudformation.describe_stacks()["Stacks"]
        found = {o["OutputKey"]: o["OutputValue"] for o in made["Outputs"]}
        stored = StoredPolicy(format=STORED_FORMAT, source="", policy=POLICY)
        boto3.client("s3").put_object(
            Bucket=found["PolicyBucketName"], Key="policy.json", Body=msgspec.json.encode(stored)
        )
        yield found


@pytest.fixture
def outbox(outputs: dict[str, str]) -> DynamoDeliveries:
    return DynamoDeliveries(outputs["RunTableName"], 400)


@pytest.fixture
def cloud(outbox: DynamoDeliveries) -> Cloud:
    """Channels in memory, deliveries in DynamoDB."""
    cloud = Cloud(policy=POLICY)
    cloud.outbox = outbox
    cloud.now = datetime.now(UTC)
    return cloud


@pytest.fixture
def guiderail(
    outputs: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Guiderail:
    return command(monkeypatch, capsys)


def bodies(queue: str) -> list[str]:
    """What the queue hands out, each once."""
    sqs = boto3.client("sqs")
    got = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    for message in got:
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return [message["Body"] for message in got]


@pytest.fixture
def dead(cloud: Cloud, outbox: DynamoDeliveries) -> Delivery:
    """A message whose one channel refused it, an hour ago."""
    cloud.refusals["default/webhook"] = [ChannelRefusedError("gone", status=410)]
    message = probe("default", "", "ana", datetime.now(UTC) - timedelta(hours=1))
    sent = outgoing_of(message, POLICY)
    assert sent
    outbox.send_test(sent)
    for delivery in sent.deliveries:
        cloud.deliver()(msgspec.json.encode(ref_of(delivery, message, cloud.now)).decode())
    cloud.refusals.clear()
    (found,) = outbox.deliveries(message.made_at, message.made_at, [DeliveryState.DEAD])
    return found


def test_a_dead_delivery_is_listed_replayed_and_arrives(
    guiderail: Guiderail,
    dead: Delivery,
    outputs: dict[str, str],
    cloud: Cloud,
    outbox: DynamoDeliveries,
) -> None:
    assert len(guiderail("deliveries", "list", "--json").document["deliveries"]) == 2
    (listed,) = guiderail("deliveries", "list", "--state", "dead", "--json").document["deliveries"]
    assert (listed["id"], listed["error"], listed["status"]) == (dead.id, "gone", 410)

    assert guiderail("deliveries", "replay", "--dry-run").code == 1
    assert bodies(outputs["DeliveriesQueueUrl"]) == []
    ran = guiderail("deliveries", "replay")

    assert (ran.code, ran.out) == (0, "tried again at once: 1 delivery\n")
    (body,) = bodies(outputs["DeliveriesQueueUrl"])
    assert msgspec.json.decode(body, type=DeliveryRef).id == dead.id
    cloud.deliver()(body)
    (kept,) = [d for d in outbox.deliveries_of(dead.notification, dead.made_at) if d.id == dead.id]
    assert (kept.state, kept.reason) == (DeliveryState.DELIVERED, Reason.DELIVERED)
    assert [s.channel.name for s in cloud.sent] == ["default/teams", "default/webhook"]


def test_notify_test_goes_through_the_queue(
    guiderail: Guiderail, outputs: dict[str, str], cloud: Cloud
) -> None:
    ended = Event()

    def work() -> None:
        while not ended.is_set():
            for body in bodies(outputs["DeliveriesQueueUrl"]):
                cloud.deliver()(body)

    worker = Thread(target=work)
    worker.start()
    try:
        ran = guiderail("notify", "test", "--route", "default", "--json")
    finally:
        ended.set()
        worker.join()

    assert (ran.code, ran.err) == (0, "")
    answers = {c["channel"]: c["state"] for c in ran.document["channels"]}
    assert answers == {"default/webhook": "delivered", "default/teams": "delivered"}
    assert "arn:aws:" in cloud.sent[0].notification.why[0]


def test_feedback_is_read_from_the_table(guiderail: Guiderail, outbox: DynamoDeliveries) -> None:
    now = datetime.now(UTC)
    said = Feedback(id="f1", at=now, actor="ana", incident="i1", labels={"check": "failed"})
    outbox.keep_feedback(
        said, AuditEntry(id="a1", subject="ledger", at=now, actor="ana", what="noise")
    )
    (listed,) = guiderail("incidents", "feedback", "--json").document["feedback"]
    assert (listed["incident"], listed["actor"]) == ("i1", "ana")


def test_a_stack_of_an_older_version_has_no_queue(
    guiderail: Guiderail, outputs: dict[str, str]
) -> None:
    template = {
        "Resources": {"RunTable": load()["Resources"]["RunTable"]},
        "Outputs": {"RunTableName": {"Value": {"Ref": "RunTable"}}},
    }
    template["Resources"]["RunTable"]["Properties"]["TableName"] = "another"
    boto3.client("cloudformation").create_stack(
        StackName="older", TemplateBody=json.dumps(template)
    )
    ran = guiderail("deliveries", "replay", "--stack", "older")
    assert ran.code == 3
    assert "no output that names the queue of deliveries" in ran.err
    assert "or pass --queue" in ran.err
    assert guiderail("deliveries", "list", "--stack", "older").code == 0
    ran = guiderail("deliveries", "list", "--stack", "nobodys")
    assert ran.code == 3
    assert "Pass --stack or --table" in ran.err
