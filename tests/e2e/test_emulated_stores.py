"""What the functions rely on in AWS's services is so in the local cloud too."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

import pytest
from botocore.exceptions import ClientError
from guiderail_local.cloud import LocalCloud
from guiderail_local.environment import REPOSITORY
from guiderail_local.errors import FunctionFailedError, InvalidRunError
from guiderail_local.policies import store_policy

pytestmark = pytest.mark.e2e

PARAMETERS = {"ReportBucketArns": "arn:aws:s3:::reports", "ClockState": "DISABLED"}


@pytest.fixture(scope="module")
def cloud() -> Iterator[LocalCloud]:
    with LocalCloud(PARAMETERS) as running:
        yield running


@pytest.fixture(scope="module")
def table(cloud: LocalCloud) -> str:
    return cloud.stack.physical_id("RunTable")


@pytest.fixture(scope="module")
def dynamodb(cloud: LocalCloud) -> Any:
    return cloud.client("dynamodb")


@pytest.fixture(scope="module")
def s3(cloud: LocalCloud) -> Any:
    return cloud.client("s3")


@pytest.fixture(scope="module")
def bucket(cloud: LocalCloud) -> str:
    return cloud.stack.physical_id("PolicyBucket")


def item(pk: str, **more: Any) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": "state"}, **more}


def refused(call: Any, **arguments: Any) -> ClientError:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value


def test_nothing_is_left_out_of_the_template(cloud: LocalCloud) -> None:
    assert cloud.stack.left_out == ()


def test_an_item_is_listed_as_long_as_it_has_the_attribute(dynamodb: Any, table: str) -> None:
    listed = {
        "TableName": table,
        "IndexName": "ByListing",
        "KeyConditionExpression": "listing = :open",
        "ExpressionAttributeValues": {":open": {"S": "open#a"}},
    }
    content = {"content": {"B": b"\x00\xff"}}
    dynamodb.put_item(TableName=table, Item=item("ledger#a", listing={"S": "open#a"}, **content))
    assert dynamodb.query(**listed)["Items"] == [item("ledger#a", listing={"S": "open#a"})]
    dynamodb.put_item(TableName=table, Item=item("ledger#a", **content))
    assert dynamodb.query(**listed)["Items"] == []


def test_a_transaction_is_all_or_nothing_and_says_what_was_in_its_way(
    dynamodb: Any, table: str
) -> None:
    def write(version: int, after: int) -> dict[str, Any]:
        return {
            "Put": {
                "TableName": table,
                "Item": item("group#a", version={"N": str(version)}),
                "ConditionExpression": "attribute_not_exists(pk) OR version = :v",
                "ExpressionAttributeValues": {":v": {"N": str(after)}},
            }
        }

    dynamodb.transact_write_items(TransactItems=[write(1, 0)])
    beside = {"Put": {"TableName": table, "Item": item("beside")}}
    error = refused(dynamodb.transact_write_items, TransactItems=[beside, write(3, 2)])
    assert error.response["Error"]["Code"] == "TransactionCanceledException"
    codes = [reason["Code"] for reason in error.response["CancellationReasons"]]
    assert codes == ["None", "ConditionalCheckFailed"]
    key = {"pk": {"S": "beside"}, "sk": {"S": "state"}}
    assert "Item" not in dynamodb.get_item(TableName=table, Key=key)


def test_a_transaction_has_the_service_s_limits(dynamodb: Any, table: str) -> None:
    many = [{"Put": {"TableName": table, "Item": item(f"many#{i}")}} for i in range(101)]
    for actions in (many, [many[0], many[0]]):
        error = refused(dynamodb.transact_write_items, TransactItems=actions)
        assert error.response["Error"]["Code"] == "ValidationException"
    large = item("large", content={"B": b"x" * 410_000})
    error = refused(dynamodb.put_item, TableName=table, Item=large)
    assert error.response["Error"]["Code"] == "ValidationException"


def test_policies_are_written_on_condition_and_kept_by_version(s3: Any, bucket: str) -> None:
    place = {"Bucket": bucket, "Key": "conditional.json"}
    first = s3.put_object(**place, Body=b"1", IfNoneMatch="*")
    for condition in ({"IfNoneMatch": "*"}, {"IfMatch": '"another"'}):
        error = refused(s3.put_object, **place, Body=b"2", **condition)
        assert error.response["Error"]["Code"] == "PreconditionFailed"
    second = s3.put_object(**place, Body=b"2", IfMatch=first["ETag"])
    error = refused(s3.get_object, **place, IfNoneMatch=second["ETag"])
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 304
    kept = s3.get_object(**place, VersionId=first["VersionId"])
    assert kept["Body"].read() == b"1"
    versions = s3.list_object_versions(Bucket=bucket, Prefix="conditional.json")["Versions"]
    assert [one["VersionId"] for one in versions] == [second["VersionId"], first["VersionId"]]


def test_the_clock_is_ours(cloud: LocalCloud) -> None:
    (schedule,) = cloud.client("scheduler").list_schedules()["Schedules"]
    assert schedule["State"] == "DISABLED"
    store_policy(cloud, "version: 1\n", "nothing set")
    assert cloud.tick(datetime(2026, 3, 9, 8, 21, tzinfo=UTC))["messages"] == 0


def test_a_tick_that_fails_is_loud(cloud: LocalCloud) -> None:
    with pytest.raises(FunctionFailedError, match="with its zone"):
        cloud.tick(datetime(2026, 3, 9, 8, 21))  # noqa: DTZ001 - a time without a zone


def test_a_policy_with_errors_is_not_stored(cloud: LocalCloud) -> None:
    with pytest.raises(InvalidRunError, match=r"mine\.yaml:2: "):
        store_policy(cloud, "version: 1\nrulez: []\n", "mine.yaml")


def test_a_message_that_is_put_off_is_not_among_those_under_way(cloud: LocalCloud) -> None:
    sqs = cloud.client("sqs")
    queue = sqs.create_queue(QueueName="put-off")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody="later", DelaySeconds=1)
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesDelayed"]
    counted = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    assert counted == dict(zip(names, ("0", "1"), strict=True))
    received = sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10)["Messages"]
    assert [message["Body"] for message in received] == ["later"]


def test_deliver_is_woken_and_says_which_messages_come_again(cloud: LocalCloud) -> None:
    queues = [cloud.stack.physical_id(f"Deliveries{kind}") for kind in ("Queue", "DeadLetterQueue")]
    sqs = cloud.client("sqs")
    began = time.time()
    body = {"id": "0", "made_at": "2026-03-09T08:21:00Z", "at": "2026-03-09T08:21:00Z"}
    unknown = {**body, "notification": "n", "channel": "topic", "thread": "t"}
    for content in (unknown, {"id": "1"}):
        sqs.send_message(QueueUrl=queues[0], MessageBody=json.dumps(content))
    dead = sqs.receive_message(
        QueueUrl=queues[1], WaitTimeSeconds=20, MessageAttributeNames=["All"]
    )["Messages"]
    assert [json.loads(message["Body"]) for message in dead] == [{"id": "1"}]
    assert dead[0]["MessageAttributes"]["reason"]["StringValue"] == "malformed_event"
    deadline = time.monotonic() + 20
    while "delivery not known" not in {
        line.get("message") for line in cloud.log_lines("DeliverLogGroup", began)
    }:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_mail_keeps_its_parts(cloud: LocalCloud) -> None:
    content = EmailMessage()
    content["From"], content["To"], content["Subject"] = "g@a.example", "b@a.example", "drift é"
    content.set_content("in words")
    content.add_alternative('<img src="cid:chart.png">', subtype="html")
    html = content.get_body(("html",))
    assert isinstance(html, EmailMessage)
    html.add_related(b"\x89PNG", "image", "png", cid="<chart.png>")
    ses = cloud.client("sesv2")
    send = {
        "FromEmailAddress": "g@a.example",
        "Destination": {"ToAddresses": ["b@a.example"]},
        "Content": {"Raw": {"Data": content.as_bytes()}},
    }
    error = refused(ses.send_email, **send)
    assert error.response["Error"]["Code"] == "MessageRejected"
    ses.create_email_identity(EmailIdentity="a.example")
    ses.send_email(**send)
    (mail,) = cloud.mail()
    assert (mail.sender, mail.subject, mail.text.strip()) == ("g@a.example", "drift é", "in words")
    assert mail.html.strip() == '<img src="cid:chart.png">'
    assert mail.pictures == {"chart.png": b"\x89PNG"}


def test_links_reach_on_reply_as_a_function_url_does(cloud: LocalCloud) -> None:
    url = cloud.stack.outputs["ReplyUrl"]
    assert cloud.variables("Deliver")["GUIDERAIL_REPLY_URL"] == url
    link = cloud.here(f"{url}r/{'x' * 43}")
    assert link.startswith(cloud.url)
    for form in (None, b"confirm=acknowledge"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(urllib.request.Request(link, form), timeout=30)
        with caught.value as answer:
            assert answer.code == 404
            assert answer.headers["content-type"].startswith("text/html")
            assert b"<h1>" in answer.read()


def test_pictures_are_drawn(cloud: LocalCloud) -> None:
    event = (REPOSITORY / "events" / "draw_pictures" / "message_png.json").read_bytes()
    answer = cloud.client("lambda").invoke(
        FunctionName=cloud.stack.physical_id("DrawPictures"), Payload=event
    )
    content = answer["Payload"].read()
    assert "FunctionError" not in answer, content
    assert b"iVBORw0KGgo" in content  # how a PNG begins in Base64
