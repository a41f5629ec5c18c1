"""Actions on the local SageMaker: begun, ended there, known by its events, and followed to what they leave."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from guiderail.adapters.actions import ActionAdapters
from guiderail.model.action_event import parse_action_event
from guiderail.model.incident import Scope
from guiderail.model.policy import ActionKind, RemediationMode
from guiderail.model.remediation import ActionReport, ActionState, Remediation
from guiderail_local.sagemaker import SageMaker
from msgspec.structs import replace

from tests.integration.conftest import BUCKET, Stack

ID = "20261123T141000-0123456789ab"
ROLE = "arn:aws:iam::123456789012:role/monitoring"
CLUSTER = {"InstanceCount": 1, "InstanceType": "ml.m5.xlarge", "VolumeSizeInGB": 20}


class Life:
    """A loan model behind an endpoint, watched by a schedule; and the events that are told."""

    def __init__(self, stack: Stack) -> None:
        self.client = stack.client("sagemaker")
        self.local: SageMaker = stack.sagemaker
        self.put = stack.put
        self.told: list[Any] = []
        self.actions = ActionAdapters()
        self.local.live_by(lambda: datetime.now(UTC), self.told.append)
        group = {"ModelPackageGroupName": "loans"}
        self.client.create_model_package_group(**group)
        self.package = self.client.create_model_package(**group)["ModelPackageArn"]
        self.client.create_model(
            ModelName="loans-model",
            ExecutionRoleArn=ROLE,
            PrimaryContainer={"ModelPackageName": self.package},
        )
        for config in ("loans-a", "loans-b"):
            self.client.create_endpoint_config(
                EndpointConfigName=config,
                ProductionVariants=[
                    {
                        "VariantName": "AllTraffic",
                        "ModelName": "loans-model",
                        "InstanceType": "ml.m5.large",
                        "InitialInstanceCount": 1,
                        "InitialVariantWeight": 1.0,
                    }
                ],
            )
        self.client.create_endpoint(EndpointName="Loans", EndpointConfigName="loans-b")
        self.client.describe_endpoint(EndpointName="Loans")
        self._watch()

    def _watch(self) -> None:
        place = {"S3Uri": f"s3://{BUCKET}/reports", "LocalPath": "/opt/ml/processing/output"}
        self.client.create_data_quality_job_definition(
            JobDefinitionName="loans-dq",
            DataQualityBaselineConfig={
                "ConstraintsResource": {"S3Uri": f"s3://{BUCKET}/baseline/constraints.json"}
            },
            DataQualityAppSpecification={"ImageUri": "x/sagemaker-model-monitor-analyzer"},
            DataQualityJobInput={
                "EndpointInput": {"EndpointName": "Loans", "LocalPath": "/opt/ml/processing/input"}
            },
            DataQualityJobOutputConfig={"MonitoringOutputs": [{"S3Output": place}]},
            JobResources={"ClusterConfig": CLUSTER},
            RoleArn=ROLE,
        )
        self.client.create_monitoring_schedule(
            MonitoringScheduleName="Loans-hourly",
            MonitoringScheduleConfig={
                "ScheduleConfig": {"ScheduleExpression": "cron(0 * ? * * *)"},
                "MonitoringJobDefinitionName": "loans-dq",
                "MonitoringType": "DataQuality",
            },
        )

    def begin(self, kind: ActionKind, **parameters: Any) -> Remediation:
        """Begin twice, as after a crash, and keep what the first report says."""
        wanted = Remediation(
            id=ID,
            action="fix loans",
            kind=kind,
            mode=RemediationMode.AUTO,
            scope=Scope(
                account="123456789012",
                region="eu-west-1",
                schedule="Loans-hourly",
                endpoint="Loans",
            ),
            target="endpoint/loans",
            incidents=(),
            requested_at=datetime.now(UTC),
            parameters=parameters,
        )
        first = self.actions.begin(wanted, datetime.now(UTC))
        second = self.actions.begin(wanted, datetime.now(UTC))
        assert (first.state, first.handle) == (second.state, second.handle)
        return replace(wanted, handle=first.handle, result=first.result, before=first.before)

    def look(self, remediation: Remediation) -> ActionReport:
        return self.actions.look(remediation, datetime.now(UTC))

    def handles(self) -> list[str]:
        """What the told events that are ends may be known by."""
        events = [parse_action_event(json.dumps(event, default=str)) for event in self.told]
        return [handle for event in events if event.ended for handle in event.handles]


@pytest.fixture
def life(stack: Stack) -> Iterator[Life]:
    yield Life(stack)


def test_a_pipeline_starts_once_and_is_followed_to_an_approved_model(life: Life) -> None:
    # Given a pipeline that registers a model, which somebody has to approve
    register = {
        "Name": "Register",
        "Type": "RegisterModel",
        "Arguments": {
            "ModelPackageGroupName": "loans",
            "ModelApprovalStatus": "PendingManualApproval",
        },
    }
    definition = {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "Rows", "Type": "Integer"}],
        "Steps": [register],
    }
    life.client.create_pipeline(
        PipelineName="retrain-loans",
        PipelineDefinition=json.dumps(definition),
        ClientRequestToken="x" * 32,
        RoleArn=ROLE,
    )

    of = life.begin(
        ActionKind.RETRAIN,
        pipeline="retrain-loans",
        parameters={"Rows": "1000"},
        wait_for_model=True,
    )

    (start,) = life.local.starts
    assert (start.arn, start.parameters) == (of.handle, {"Rows": "1000"})
    assert life.look(of).state is ActionState.RUNNING
    # When it ends, its event names it
    life.local.pipelines.end(of.handle)
    assert life.handles() == [of.handle]
    waiting = life.look(of)
    assert (waiting.state, "waits for approval" in waiting.text) == (ActionState.RUNNING, True)
    # And when the model is approved, the event names the execution that made it
    package = waiting.result["model_package_arn"]
    life.client.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")
    assert of.handle in life.handles()[1:]
    report = life.look(of)
    assert (report.state, report.result["approval"]) == (ActionState.DONE, "Approved")


def test_a_new_baseline_is_the_deployed_models_own(life: Life) -> None:
    of = life.begin(
        ActionKind.REBASELINE, schedule="Loans-hourly", dataset=f"s3://{BUCKET}/2026/may.csv"
    )
    assert life.look(of).state is ActionState.RUNNING
    # When the job has written its files and ended
    place = f"s3://{BUCKET}/baseline/{ID}"
    for file in ("constraints.json", "statistics.json"):
        life.put(f"{place}/{file}", b"{}")
    life.local.monitoring.end_job(f"guiderail-baseline-{ID}")
    assert of.handle in life.handles()

    report = life.look(of)

    assert report.state is ActionState.DONE
    assert of.before["job_definition"] == "loans-dq"
    known = life.actions.lineage(of)
    assert (known.model, known.baseline) == (life.package, f"{place}/constraints.json")
    assert known.belongs is True
    assert life.look(of) == report


def test_an_endpoint_goes_back_and_its_event_says_so(life: Life) -> None:
    of = life.begin(ActionKind.ROLLBACK, endpoint="Loans", endpoint_config="loans-a")
    for _ in range(5):
        if (report := life.look(of)).state is not ActionState.RUNNING:
            break
    assert report.state is ActionState.DONE
    assert of.before == {"endpoint": "Loans", "endpoint_config": "loans-b"}
    assert of.handle in life.handles()


def test_a_schedule_is_paused_and_resumed(life: Life) -> None:
    for kind, status in ((ActionKind.PAUSE, "Stopped"), (ActionKind.RESUME, "Scheduled")):
        life.begin(kind, schedule="Loans-hourly")
        there = life.client.describe_monitoring_schedule(MonitoringScheduleName="Loans-hourly")
        assert there["MonitoringScheduleStatus"] == status


def test_a_schedule_runs_once_beside_its_own_hours(life: Life) -> None:
    of = life.begin(ActionKind.RUN_NOW, schedule="Loans-hourly")
    there = life.client.describe_monitoring_schedule(MonitoringScheduleName=of.result["schedule"])
    config = there["MonitoringScheduleConfig"]
    assert config["ScheduleConfig"]["ScheduleExpression"] == "NOW"
    assert config["MonitoringJobDefinitionName"] == "loans-dq"
    assert life.look(of).state in (ActionState.RUNNING, ActionState.DONE)
