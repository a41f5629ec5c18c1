"""Records from S3 into a feature group, by the deployed machine and function, and read back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from guiderail.adapters.actions.reingest import ReingestAction
from guiderail.model.incident import Scope
from guiderail.model.outcome import MonitorKind
from guiderail.model.policy import ActionKind, RemediationMode
from guiderail.model.remediation import ActionReport, ActionState, Remediation
from guiderail.services.reingest_planning import LAMBDA_OBJECTS
from guiderail_local.cloud import LocalCloud

pytestmark = pytest.mark.e2e

NOW = datetime(2026, 11, 23, 10, 15, tzinfo=UTC)
SECONDS = 120.0
SOURCE = "loan-feeds"
GROUP = {
    "FeatureGroupName": "loans",
    "RecordIdentifierFeatureName": "id",
    "EventTimeFeatureName": "at",
    "FeatureDefinitions": [
        {"FeatureName": "id", "FeatureType": "String"},
        {"FeatureName": "at", "FeatureType": "String"},
        {"FeatureName": "income", "FeatureType": "Integral"},
    ],
    "OnlineStoreConfig": {"EnableOnlineStore": True},
}


@pytest.fixture(scope="module")
def cloud() -> Iterator[LocalCloud]:
    parameters = {
        "ReportBucketArns": "arn:aws:s3:::reports",
        "RemediationSourceArns": f"arn:aws:s3:::{SOURCE}",
        "RemediationFeatureGroupArns": "arn:aws:sagemaker:us-east-1:123456789012:feature-group/loans",
        "ClockState": "DISABLED",
    }
    with LocalCloud(parameters) as running:
        running.client("s3").create_bucket(Bucket=SOURCE)
        running.client("sagemaker").create_feature_group(**GROUP)
        yield running


def remediation(run: str, prefix: str) -> Remediation:
    return Remediation(
        id=run,
        action="ingest loans again",
        kind=ActionKind.REINGEST,
        mode=RemediationMode.ASK,
        scope=Scope(
            account="123456789012",
            region="us-east-1",
            endpoint="loan-risk-prod",
            schedule="loan-risk-hourly",
            monitor=MonitorKind.DATA_QUALITY,
        ),
        target="feature_group/loans",
        incidents=("incident-1",),
        requested_at=NOW,
        parameters={
            "feature_group": "loans",
            "source": f"s3://{SOURCE}/{prefix}/",
            "rate": 500.0,
        },
    )


def feed(cloud: LocalCloud, key: str, *rows: str) -> None:
    text = "id,at,income\n" + "".join(f"{row}\n" for row in rows)
    cloud.client("s3").put_object(Bucket=SOURCE, Key=key, Body=text.encode())


def play(cloud: LocalCloud, run: str, prefix: str) -> ActionReport:
    """Begin, twice, and look until it has ended."""
    action = ReingestAction(cloud.stack.physical_id("ReingestionMachine"))
    with cloud.in_environment():
        begun = action.begin(remediation(run, prefix), NOW)
        assert action.begin(remediation(run, prefix), NOW).handle == begun.handle
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            report = action.look(remediation(run, prefix), NOW)
            if report.state is not ActionState.RUNNING:
                break
            time.sleep(0.2)
    return report


def income(cloud: LocalCloud, loan: str) -> Any:
    answer = cloud.client("sagemaker-featurestore-runtime").get_record(
        FeatureGroupName="loans", RecordIdentifierValueAsString=loan
    )
    record = {v["FeatureName"]: v["ValueAsString"] for v in answer.get("Record", [])}
    return record.get("income")


def test_a_small_one_is_written_and_its_rejects_are_kept(cloud: LocalCloud) -> None:
    feed(cloud, "small/1.csv", "a,2026-11-22T01:00:00Z,1", "b,2026-11-22T01:00:00Z,much")
    feed(cloud, "small/2.csv", "a,2026-11-22T02:00:00Z,2")
    report = play(cloud, "e2e-small", "small")
    assert report.state is ActionState.DONE, report.text
    assert (report.result["way"], report.result["written"], report.result["rejected"]) == (
        "lambda",
        "2",
        "1",
    )
    assert (income(cloud, "a"), income(cloud, "b")) == ("2", None)
    bucket, _, prefix = report.result["rejects"].removeprefix("s3://").partition("/")
    (kept,) = cloud.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)["Contents"]
    content = cloud.client("s3").get_object(Bucket=bucket, Key=kept["Key"])["Body"].read()
    assert b'"code":"wrong_type"' in content


def test_many_objects_are_written_side_by_side(cloud: LocalCloud) -> None:
    for place in range(LAMBDA_OBJECTS + 1):
        feed(cloud, f"many/{place:03d}.csv", f"loan-{place},2026-11-22T01:00:00Z,{place}")
    report = play(cloud, "e2e-many", "many")
    assert report.state is ActionState.DONE, report.text
    assert (report.result["way"], report.result["finished"]) == ("map", str(LAMBDA_OBJECTS + 1))
    assert [income(cloud, f"loan-{place}") for place in range(LAMBDA_OBJECTS + 1)] == [
        str(place) for place in range(LAMBDA_OBJECTS + 1)
    ]


def test_an_object_that_cannot_be_read_is_named(cloud: LocalCloud) -> None:
    feed(cloud, "broken/1.csv", "c,2026-11-22T01:00:00Z,1")
    cloud.client("s3").put_object(Bucket=SOURCE, Key="broken/2.csv", Body=b"x,y\n1,2\n")
    report = play(cloud, "e2e-broken", "broken")
    assert report.state is ActionState.FAILED
    assert "broken/2.csv: malformed_source" in report.text
    assert (report.result["written"], income(cloud, "c")) == ("1", "1")


def test_a_group_that_is_not_there_is_no_plan(cloud: LocalCloud) -> None:
    feed(cloud, "nowhere/1.csv", "d,2026-11-22T01:00:00Z,1")
    action = ReingestAction(cloud.stack.physical_id("ReingestionMachine"))
    asked = remediation("e2e-nowhere", "nowhere")
    asked.parameters["feature_group"] = "no-such-group"
    with cloud.in_environment():
        action.begin(asked, NOW)
        deadline = time.monotonic() + SECONDS
        while (report := action.look(asked, NOW)).state is ActionState.RUNNING:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    assert report.state is ActionState.FAILED
    assert "no-such-group" in report.text
