"""What the functions rely on in DynamoDB, S3 and Step Functions is so in the local cloud too."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from guiderail_local.cloud import LocalCloud
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


@pytest.mark.parametrize("attributes", [{"receiver": "default", "endpoint": ""}, {}])
def test_the_alert_machine_takes_whatever_attributes_there_are(
    cloud: LocalCloud, attributes: dict[str, str]
) -> None:
    states = cloud.client("stepfunctions")
    given = {"alert_id": "a", "subject": "s", "message": "m", "detail_type": "T", "detail": {}}
    started = states.start_execution(
        stateMachineArn=cloud.stack.physical_id("AlertStateMachine"),
        input=json.dumps({**given, "attributes": attributes}),
    )["executionArn"]
    deadline = time.monotonic() + 20
    while (ended := states.describe_execution(executionArn=started))["status"] == "RUNNING":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert ended["status"] == "SUCCEEDED"
