"""``guiderail remediation`` over DynamoDB, S3, SQS, Step Functions, CloudFormation and STS as moto plays them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from guiderail.adapters.dynamo_deliveries import DynamoDeliveries
from guiderail.adapters.dynamodb import DynamoIncidents
from guiderail.bootstrap import build_remediate
from guiderail_cli.incident_commands import settings_of
from guiderail_cli.policy_commands import policy_app
from guiderail_cli.remediation_commands import app
from typer.testing import CliRunner

from tests import builders as b
from tests.commands import Guiderail, Ran
from tests.fakes import Cloud
from tests.moto_region import region
from tests.template import load

PARTS = ("RunTable", "PolicyBucket", "DeliveriesQueue", "DeliveriesDeadLetterQueue")
OUTPUTS = ("RunTableName", "PolicyBucketName", "DeliveriesQueueUrl")
WAITS = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 600, "End": True}}}
POLICY = """\
version: 1
rules:
  - {name: lost quality, match: {monitor: model_quality}, set: {remediation: retrain loans}}
remediations:
  retrain loans:
    retrain: {pipeline: loans-retrain, parameters: {InputData: "{report_uri}"}}
    mode: ask
    approvers: ["arn:aws:sts::*"]
guard_rails: {per_day: 2}
"""


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """A region with one stack of table, bucket and queue, and a state machine that only waits."""
    with region():
        for name in ("TABLE", "POLICY_BUCKET", "POLICY_KEY", "DELIVERIES_QUEUE"):
            monkeypatch.delenv(f"GUIDERAIL_{name}", raising=False)
        machine = boto3.client("stepfunctions").create_state_machine(
            name="guiderail-remediation",
            definition=json.dumps(WAITS),
            roleArn="arn:aws:iam::123456789012:role/machine",
        )["stateMachineArn"]
        source = load()
        named = {name: source["Outputs"][name] for name in OUTPUTS}
        stack = {
            "Resources": {name: source["Resources"][name] for name in PARTS},
            "Outputs": named | {"RemediationMachineArn": {"Value": machine}},
        }
        assert "RemediationMachineArn" in source["Outputs"]
        cloudformation = boto3.client("cloudformation")
        cloudformation.create_stack(StackName="guiderail", TemplateBody=json.dumps(stack))
        (made,) = cloudformation.describe_stacks()["Stacks"]
        yield {o["OutputKey"]: o["OutputValue"] for o in made["Outputs"]}


@pytest.fixture
def run(outputs: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guiderail:
    """Run a command on the region, in which the policy was pushed."""
    monkeypatch.chdir(tmp_path)
    Path("guiderail.yaml").write_text(POLICY)
    pushed = CliRunner().invoke(policy_app, ["push", "guiderail.yaml"])
    assert pushed.exit_code == 0, pushed.output

    def invoke(*arguments: str) -> Ran:
        result = CliRunner().invoke(app, arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return Ran(result.exit_code, result.stdout, result.stderr)

    return invoke


@pytest.fixture
def incident(outputs: dict[str, str]) -> str:
    """The id of an incident that opened an hour ago, whose rule names no remediation yet."""
    cloud = Cloud()
    incidents = DynamoIncidents(outputs["RunTableName"], 90, 400)
    cloud.incidents = incidents
    cloud.outbox = DynamoDeliveries(outputs["RunTableName"], 400)
    cloud.now = datetime.now(UTC) - timedelta(hours=1)
    assert cloud.run_ends(b.judgement("recall", "LessThanThreshold"))
    (ledger,) = incidents.firing_ledgers()
    (found,) = ledger.incidents
    return found


def judge(outputs: dict[str, str], remediation: str) -> dict[str, Any]:
    """Take the step that the state machine takes first."""
    settings = msgspec.structs.replace(
        settings_of(
            outputs["RunTableName"], outputs["PolicyBucketName"], outputs["DeliveriesQueueUrl"]
        ),
        remediation_machine=outputs["RemediationMachineArn"],
    )
    return build_remediate(settings)({"step": "judge", "remediation": remediation})


START = ("--action", "retrain loans", "--json")


def test_what_is_started_has_an_execution_of_its_name(
    run: Guiderail, incident: str, outputs: dict[str, str]
) -> None:
    assert run("gates", incident, *START).document["blocked"] is False
    assert run("history", "--json").document["remediations"] == []

    ran = run("start", incident, *START)

    assert ran.code == 0, ran.err
    made = ran.document["id"]
    stepfunctions = boto3.client("stepfunctions")
    (execution,) = stepfunctions.list_executions(stateMachineArn=outputs["RemediationMachineArn"])[
        "executions"
    ]
    assert execution["name"] == made
    given = stepfunctions.describe_execution(executionArn=execution["executionArn"])["input"]
    assert json.loads(given)["remediation"] == made
    (listed,) = run("history", "--json").document["remediations"]
    caller = boto3.client("sts").get_caller_identity()["Arn"]
    assert (listed["id"], listed["requested_by"]) == (made, caller)
    assert judge(outputs, made)["next"] == "act"
    assert run("show", made[-12:-4], "--json").document["state"] == "acting"
    assert run("gates", incident, *START).code == 1


def test_what_asks_is_rejected_once_and_told(
    run: Guiderail, incident: str, outputs: dict[str, str]
) -> None:
    made = run("start", incident, *START).document["id"]
    Path("guiderail.yaml").write_text(POLICY.replace("mode: ask", "mode: ask\n    four_eyes: true"))
    assert CliRunner().invoke(policy_app, ["push", "guiderail.yaml"]).exit_code == 0
    assert judge(outputs, made)["next"] == "ask"

    own = run("approve", made)
    assert (own.code, "Another person has to approve it" in own.err) == (3, True)
    assert run("reject", made, "--dry-run").code == 0
    ran = run("reject", made, "--comment", "campaign week")

    assert ran.code == 0, ran.err
    shown = run("show", made, "--json").document
    assert (shown["state"], shown["timeline"][-1]["text"]) == ("rejected", "campaign week")
    sqs = boto3.client("sqs")
    assert sqs.receive_message(QueueUrl=outputs["DeliveriesQueueUrl"])["Messages"]
    assert run("reject", made).code == 3


def test_the_kill_switch_is_kept(run: Guiderail, incident: str) -> None:
    assert run("stop", "--all", "--why", "migration").code == 0
    assert run("gates", incident, *START).document["blocked_by"] == "kill_switch"
    assert run("history", "--json").document["stops"]["*"]["why"] == "migration"
    assert run("resume", "--all").code == 0
    assert run("gates", incident, *START).code == 0
    assert run("resume", "--all").code == 3


def test_options_and_variables_come_before_the_stack(
    run: Guiderail, incident: str, outputs: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [
        f"--table={outputs['RunTableName']}",
        f"--policy-bucket={outputs['PolicyBucketName']}",
        "--stack=nobody",
    ]
    assert run("history", *options).code == 0
    ran = run("start", incident, *START, *options)
    assert (ran.code, "--machine" in ran.err) == (3, True)
    monkeypatch.setenv("GUIDERAIL_DELIVERIES_QUEUE", outputs["DeliveriesQueueUrl"])
    machine = f"--machine={outputs['RemediationMachineArn']}"
    assert run("start", incident, *START, *options, machine).code == 0
