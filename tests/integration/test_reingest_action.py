"""The action of kind reingest against moto: plan, start, idempotence, refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from guiderail.adapters.actions.reingest import ReingestAction
from guiderail.adapters.reingestion_files import S3ReingestionFiles
from guiderail.errors import NotFoundError, PermanentError, RejectedRequestError
from guiderail.model.incident import Scope
from guiderail.model.outcome import MonitorKind
from guiderail.model.policy import ActionKind, RemediationMode
from guiderail.model.remediation import ActionState, Remediation
from guiderail.services.reingest_planning import LAMBDA_OBJECTS

from tests.moto_region import REGION, region

NOW = datetime(2026, 11, 23, 10, 15, tzinfo=UTC)
BUCKET = "feeds"


@pytest.fixture
def aws() -> Iterator[Any]:
    with region():
        session = boto3.Session(region_name=REGION)
        session.client("s3").create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        yield session


@pytest.fixture
def machine(aws: Any) -> str:
    made = aws.client("stepfunctions").create_state_machine(
        name="guiderail-reingestion",
        definition=json.dumps({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}}),
        roleArn="arn:aws:iam::123456789012:role/machines",
    )
    return str(made["stateMachineArn"])


def feed(aws: Any, objects: int) -> None:
    for place in range(objects):
        aws.client("s3").put_object(Bucket=BUCKET, Key=f"loans/{place:04d}.csv", Body=b"id\n1\n")


def remediation(**parameters: Any) -> Remediation:
    return Remediation(
        id="20261123T101500-0a1b2c3d4e5f",
        action="ingest loans again",
        kind=ActionKind.REINGEST,
        mode=RemediationMode.ASK,
        scope=Scope(
            account="123456789012",
            region="eu-west-1",
            endpoint="loan-risk-prod",
            schedule="loan-risk-hourly",
            monitor=MonitorKind.DATA_QUALITY,
        ),
        target="feature_group/loans",
        incidents=("incident-1",),
        requested_at=NOW,
        parameters={"feature_group": "loans", "source": f"s3://{BUCKET}/loans/"} | parameters,
    )


def executions(aws: Any, machine: str) -> list[Any]:
    listed = aws.client("stepfunctions").list_executions(stateMachineArn=machine)
    return list(listed["executions"])


def test_the_plan_is_told_and_the_parameters_are_handed_over(aws: Any, machine: str) -> None:
    feed(aws, 3)
    report = ReingestAction(machine).begin(remediation(rate=5.0), NOW)
    assert report.state is ActionState.RUNNING
    assert report.text.startswith(
        "3 objects (15 bytes) of s3://feeds/loans/ into loans, at most 5 "
    )
    assert (report.result["way"], report.result["objects"]) == ("lambda", "3")
    execution = aws.client("stepfunctions").describe_execution(executionArn=report.handle)
    assert json.loads(execution["input"]) == remediation(rate=5.0).parameters
    assert ReingestAction(machine).look(remediation(), NOW).state is ActionState.RUNNING


def test_beginning_again_begins_nothing_more(aws: Any, machine: str) -> None:
    feed(aws, 3)
    first = ReingestAction(machine).begin(remediation(), NOW)
    # what it reads is gone by now; it was begun all the same
    s3 = aws.client("s3")
    for place in range(3):
        s3.delete_object(Bucket=BUCKET, Key=f"loans/{place:04d}.csv")
    again = ReingestAction(machine).begin(remediation(), NOW)
    assert (again.handle, again.state) == (first.handle, ActionState.RUNNING)
    assert len(executions(aws, machine)) == 1


def test_two_that_begin_at_once_are_one(
    aws: Any, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed(aws, 1)
    list_objects = S3ReingestionFiles.objects

    def another_begins(self: S3ReingestionFiles, uri: str) -> Any:
        monkeypatch.undo()
        ReingestAction(machine).begin(remediation(), NOW)
        return list_objects(self, uri)

    monkeypatch.setattr(S3ReingestionFiles, "objects", another_begins)
    report = ReingestAction(machine).begin(remediation(), NOW)
    assert report.state is ActionState.RUNNING
    assert len(executions(aws, machine)) == 1


def test_many_objects_are_listed_page_by_page(
    aws: Any, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "20")
    many = LAMBDA_OBJECTS + 1
    feed(aws, many)
    listed = [item.key for item in S3ReingestionFiles().objects(f"s3://{BUCKET}/loans/")]
    assert len(listed) == many
    assert listed == sorted(listed)
    report = ReingestAction(machine).begin(remediation(), NOW)
    assert (report.result["way"], report.result["objects"]) == ("map", str(many))


def test_a_stopped_one_is_stopped(aws: Any, machine: str) -> None:
    feed(aws, 1)
    report = ReingestAction(machine).begin(remediation(), NOW)
    aws.client("stepfunctions").stop_execution(executionArn=report.handle)
    assert ReingestAction(machine).look(remediation(), NOW).state is ActionState.STOPPED


@pytest.mark.parametrize(
    ("parameters", "error", "told"),
    [
        ({"rate": -1}, RejectedRequestError, "parameter rate"),
        ({"source": f"s3://{BUCKET}/nothing/"}, NotFoundError, "holds nothing to read"),
        ({"source": "s3://no-such-bucket/"}, NotFoundError, "NoSuchBucket"),
    ],
)
def test_what_cannot_be_planned_is_refused_before_anything_starts(
    aws: Any, machine: str, parameters: Any, error: type[PermanentError], told: str
) -> None:
    feed(aws, 1)
    with pytest.raises(error, match=told):
        ReingestAction(machine).begin(remediation(**parameters), NOW)
    assert executions(aws, machine) == []


def test_a_machine_that_is_gone_is_no_reason_to_try_again(aws: Any, machine: str) -> None:
    feed(aws, 1)
    with pytest.raises(PermanentError, match="StateMachineDoesNotExist"):
        ReingestAction(machine + "-old").begin(remediation(), NOW)


def test_a_file_is_kept_once(aws: Any) -> None:
    files = S3ReingestionFiles()
    uri = f"s3://{BUCKET}/run/plan.json"
    with pytest.raises(NotFoundError):
        files.read(uri)
    assert files.write_new(uri, b"1")
    assert not files.write_new(uri, b"2")
    assert files.read(uri) == b"1"
    files.write(uri, b"3")
    assert files.read(uri) == b"3"
    with pytest.raises(RejectedRequestError, match="not an S3 URI"):
        files.read("/tmp/plan.json")
