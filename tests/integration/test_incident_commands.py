"""``guiderail incidents`` and ``explain`` over DynamoDB, S3, CloudFormation and STS as moto plays them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from guiderail.adapters.dynamo_deliveries import DynamoDeliveries
from guiderail.adapters.dynamodb import DynamoIncidents
from guiderail.model.incident import IncidentState
from guiderail.model.outcome import MonitorKind
from guiderail_local.sagemaker import SageMaker

from tests import builders as b
from tests.commands import Guiderail, command
from tests.fakes import Cloud, scope_of
from tests.moto_region import region
from tests.template import load

SCOPE = scope_of(monitor=MonitorKind.DATA_QUALITY)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[SageMaker]:
    """A region with one stack: the table, the policy bucket and their outputs, as the template has them."""
    with region() as server:
        for name in ("GUIDERAIL_TABLE", "GUIDERAIL_POLICY_BUCKET", "GUIDERAIL_POLICY_KEY"):
            monkeypatch.delenv(name, raising=False)
        source = load()
        stack = {
            "Resources": {name: source["Resources"][name] for name in ("RunTable", "PolicyBucket")},
            "Outputs": {
                name: source["Outputs"][name] for name in ("RunTableName", "PolicyBucketName")
            },
        }
        boto3.client("cloudformation").create_stack(
            StackName="guiderail", TemplateBody=json.dumps(stack)
        )
        yield server


@pytest.fixture
def outputs(aws: SageMaker) -> dict[str, str]:
    (stack,) = boto3.client("cloudformation").describe_stacks()["Stacks"]
    return {o["OutputKey"]: o["OutputValue"] for o in stack["Outputs"]}


@pytest.fixture
def incidents(outputs: dict[str, str]) -> DynamoIncidents:
    return DynamoIncidents(outputs["RunTableName"], 90, 400)


@pytest.fixture
def cloud(incidents: DynamoIncidents) -> Cloud:
    """A run with one finding, told by the clock, an hour ago."""
    cloud = Cloud()
    cloud.incidents = incidents
    cloud.outbox = DynamoDeliveries(incidents._table.name, 400)
    cloud.now = datetime.now(UTC) - timedelta(hours=1)
    assert cloud.run_ends(b.judgement("amount"), scope=SCOPE)
    cloud.pass_time(minutes=1)
    return cloud


def only(incidents: DynamoIncidents) -> Any:
    (ledger,) = incidents.firing_ledgers()
    (incident,) = ledger.incidents.values()
    return incident


@pytest.fixture
def guiderail(
    aws: SageMaker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Guiderail:
    return command(monkeypatch, capsys)


def test_the_stacks_outputs_lead_to_the_table(guiderail: Guiderail, cloud: Cloud) -> None:
    ran = guiderail("incidents", "list", "--json")

    assert (ran.code, ran.err) == (0, "")
    (listed,) = ran.document["incidents"]
    assert (listed["endpoint"], listed["check"]) == (b.ENDPOINT, "baseline_drift_check")


def test_the_environment_and_options_come_before_the_stack(
    guiderail: Guiderail,
    cloud: Cloud,
    outputs: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table, bucket = outputs["RunTableName"], outputs["PolicyBucketName"]
    options = ("--table", table, "--policy-bucket", bucket)

    assert guiderail("incidents", "list", *options, "--stack", "nobody", "--json").code == 0
    monkeypatch.setenv("GUIDERAIL_TABLE", table)
    monkeypatch.setenv("GUIDERAIL_POLICY_BUCKET", bucket)
    assert guiderail("incidents", "list", "--stack", "nobody", "--json").code == 0


def test_a_stack_that_is_not_there_says_what_to_pass(guiderail: Guiderail) -> None:
    ran = guiderail("incidents", "list", "--stack", "nobody")

    assert ran.code == 3 and ran.err.count("\n") == 1
    assert "nobody" in ran.err and "--stack" in ran.err and "--table" in ran.err


def test_a_table_that_is_not_there_is_one_line(guiderail: Guiderail, cloud: Cloud) -> None:
    ran = guiderail("incidents", "list", "--table", "nobody")

    assert ran.code == 3 and ran.err.count("\n") == 1 and "nobody" in ran.err


def test_who_acts_is_the_caller_unless_somebody_is_named(
    guiderail: Guiderail, cloud: Cloud, incidents: DynamoIncidents
) -> None:
    key = only(incidents).id

    ran = guiderail("incidents", "ack", key[-16:-6], "--comment", "on it")

    assert ran.code == 0, ran.err
    caller = boto3.client("sts").get_caller_identity()["Arn"]
    acknowledged = only(incidents)
    assert acknowledged.state is IncidentState.ACKNOWLEDGED
    assert acknowledged.acknowledged_by == caller
    (entry,) = incidents.audit(key[:20], 1)
    assert entry.actor == caller and entry.origin.startswith("cli@")

    assert guiderail("incidents", "ack", key, "--withdraw", "--by", "ana").code == 0
    assert incidents.audit(key[:20], 1)[0].actor == "ana"


def test_resolve_and_explain_what_was_resolved(
    guiderail: Guiderail, cloud: Cloud, incidents: DynamoIncidents
) -> None:
    key = only(incidents).id

    assert guiderail("incidents", "resolve", key, "--by", "ana").code == 0
    ran = guiderail("explain", key)

    assert ran.code == 0, ran.err
    assert "by ana: resolved_by_hand: A person ended the incident." in ran.out
    assert "Told 1 time" in ran.out


def test_a_silence_from_set_to_ended(guiderail: Guiderail, cloud: Cloud) -> None:
    ran = guiderail("incidents", "silence", "--match", "endpoint=loan-*", "--for", "2h", "--json")

    assert ran.code == 0, ran.err
    made = ran.document["id"]
    assert len(ran.document["incidents"]) == 1
    assert f"silence {made}" in guiderail("explain", made).out
    assert guiderail("incidents", "silence", "end", made).code == 0
    assert guiderail("incidents", "silence", "list", "--json").document == {"silences": []}
    assert "It has ended" in guiderail("explain", made).out


def test_explain_finds_a_run_by_the_name_of_its_job(guiderail: Guiderail, cloud: Cloud) -> None:
    followed = cloud.run_ends(b.judgement("amount"), scope=SCOPE)
    assert followed
    run = followed.record.run

    by_name = guiderail("explain", run.job_name, "--json")
    by_arn = guiderail("explain", run.job_arn, "--json")

    assert by_name.code == 0, by_name.err
    assert (by_name.document["kind"], by_name.document["id"]) == ("run", run.job_arn)
    assert by_arn.document["id"] == run.job_arn


def test_explain_of_what_nobody_knows(guiderail: Guiderail, cloud: Cloud) -> None:
    ran = guiderail("explain", "model-monitoring-of-nobody")

    assert ran.code == 3 and ran.err.count("\n") == 1
    assert "nothing is known" in ran.err and "model-monitoring-of-nobody" in ran.err


def test_without_a_caller_the_remedy_is_to_name_one(
    guiderail: Guiderail, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, incidents: DynamoIncidents
) -> None:
    key = only(incidents).id
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    ran = guiderail("incidents", "ack", key)

    assert ran.code == 3 and "--by" in ran.err
