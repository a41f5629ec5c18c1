"""The local SageMaker endpoint, asked by a client as the functions ask it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from guiderail_local.runs import BUILT_IN, read_runs
from guiderail_local.sagemaker import Ending, Event, SageMaker

pytestmark = pytest.mark.e2e

TOKEN = "t" * 32


@pytest.fixture(scope="module")
def endpoint() -> Iterator[SageMaker]:
    with SageMaker() as running:
        yield running


@pytest.fixture
def sagemaker(endpoint: SageMaker) -> Iterator[Any]:
    session: Any = boto3.session.Session("key", "secret", region_name="us-east-1")
    # A client checks lengths itself; without that, calls are refused where the service refuses them.
    client = session.client(
        "sagemaker", endpoint_url=endpoint.url, config=Config(parameter_validation=False)
    )
    yield client
    client.close()


def error_of(call: Any, **arguments: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


@pytest.mark.parametrize("run", read_runs(BUILT_IN), ids=lambda run: run.name)
def test_a_description_is_answered_as_it_was_recorded(
    endpoint: SageMaker, sagemaker: Any, run: Any
) -> None:
    endpoint.register_job(run.job)
    endpoint.register_schedule(run.schedule)

    job = sagemaker.describe_processing_job(ProcessingJobName=run.job["ProcessingJobName"])
    name = run.job["MonitoringScheduleArn"].rpartition("/")[2]
    schedule = sagemaker.describe_monitoring_schedule(MonitoringScheduleName=name)

    for answer, recorded in ((job, run.job), (schedule, run.schedule)):
        del answer["ResponseMetadata"]
        for name, value in answer.items():
            if isinstance(value, datetime):
                assert value.astimezone(UTC) == datetime.fromisoformat(recorded[name])
                answer[name] = recorded[name]
        assert answer == recorded


def test_what_is_not_there_is_refused_as_the_service_does(sagemaker: Any) -> None:
    code, message = error_of(sagemaker.describe_processing_job, ProcessingJobName="absent")
    assert (code, "Could not find requested job" in message) == ("ValidationException", True)
    code, _ = error_of(sagemaker.describe_monitoring_schedule, MonitoringScheduleName="absent")
    assert code == "ResourceNotFound"


def test_tags_of_a_schedule_are_listed_and_not_described(
    endpoint: SageMaker, sagemaker: Any
) -> None:
    run = read_runs(BUILT_IN)[0]
    assert run.schedule is not None
    arn, name = (run.schedule[f"MonitoringSchedule{part}"] for part in ("Arn", "Name"))
    endpoint.register_schedule(run.schedule)
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == []
    tags = [{"Key": "stage", "Value": "prod"}]
    endpoint.register_schedule({**run.schedule, "Tags": tags})
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == tags
    assert "Tags" not in sagemaker.describe_monitoring_schedule(MonitoringScheduleName=name)


def test_a_token_starts_a_pipeline_once(endpoint: SageMaker, sagemaker: Any) -> None:
    arn = sagemaker.create_pipeline(
        PipelineName="retrain",
        PipelineDefinition="{}",
        ClientRequestToken=TOKEN,
        RoleArn="arn:aws:iam::123456789012:role/pipelines",
    )["PipelineArn"]
    call = {
        "PipelineName": arn,
        "ClientRequestToken": TOKEN,
        "PipelineParameters": [{"Name": "Endpoint", "Value": "parcels"}],
    }

    first, again = (sagemaker.start_pipeline_execution(**call) for _ in range(2))
    other = sagemaker.start_pipeline_execution(**{**call, "ClientRequestToken": "u" * 32})

    assert first["PipelineExecutionArn"] == again["PipelineExecutionArn"]
    assert first["PipelineExecutionArn"] != other["PipelineExecutionArn"]
    listed = sagemaker.list_pipeline_executions(PipelineName="retrain")
    assert len(listed["PipelineExecutionSummaries"]) == 2
    assert [start.parameters for start in endpoint.starts] == [{"Endpoint": "parcels"}] * 2
    assert endpoint.calls["StartPipelineExecution"] == 3


def test_a_short_token_is_refused(endpoint: SageMaker, sagemaker: Any) -> None:
    started = len(endpoint.starts)
    code, message = error_of(
        sagemaker.start_pipeline_execution, PipelineName="retrain", ClientRequestToken="short"
    )
    assert (code, "clientRequestToken" in message) == ("ValidationException", True)
    assert len(endpoint.starts) == started


DEFINITION = json.dumps(
    {
        "Version": "2020-12-01",
        "Parameters": [{"Name": "Group", "Type": "String", "DefaultValue": "tugs"}],
        "Steps": [
            {
                "Name": "Prepare",
                "Type": "Processing",
                "Arguments": {
                    "ProcessingOutputConfig": {
                        "Outputs": [
                            {
                                "OutputName": "baseline",
                                "S3Output": {
                                    "S3Uri": {
                                        "Std:Join": {
                                            "On": "/",
                                            "Values": [
                                                "s3://b",
                                                {"Get": "Execution.PipelineExecutionId"},
                                            ],
                                        }
                                    }
                                },
                            }
                        ]
                    }
                },
            },
            {"Name": "Train", "Type": "Training", "Arguments": {}},
            {
                "Name": "Register",
                "Type": "RegisterModel",
                "Arguments": {
                    "ModelPackageGroupName": {"Get": "Parameters.Group"},
                    "ModelApprovalStatus": "PendingManualApproval",
                    "InferenceSpecification": {
                        "Containers": [
                            {
                                "Image": "image",
                                "ModelDataUrl": {
                                    "Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"
                                },
                            }
                        ]
                    },
                },
            },
        ],
    }
)


@dataclass
class Playing:
    """An endpoint of its own, with a clock and everything it tells."""

    endpoint: SageMaker
    client: Any
    now: datetime = datetime(2026, 11, 24, 6, tzinfo=UTC)
    told: list[Event] = field(default_factory=list)

    def start(self, name: str = "tugs", token: str = TOKEN, **parameters: str) -> str:
        given = [{"Name": name, "Value": value} for name, value in parameters.items()]
        started = self.client.start_pipeline_execution(
            PipelineName=name, ClientRequestToken=token, PipelineParameters=given
        )
        return str(started["PipelineExecutionArn"])

    def steps(self, arn: str) -> list[dict[str, Any]]:
        listed = self.client.list_pipeline_execution_steps(PipelineExecutionArn=arn)
        return list(listed["PipelineExecutionSteps"])

    def status(self, arn: str) -> str:
        described = self.client.describe_pipeline_execution(PipelineExecutionArn=arn)
        return str(described["PipelineExecutionStatus"])


@pytest.fixture
def playing() -> Iterator[Playing]:
    with SageMaker() as endpoint:
        session: Any = boto3.session.Session("key", "secret", region_name="us-east-1")
        # parameters are checked here: calls and answers have to have the API's shapes
        client = session.client("sagemaker", endpoint_url=endpoint.url)
        made = Playing(endpoint, client)
        endpoint.live_by(lambda: made.now, made.told.append)
        client.create_pipeline(
            PipelineName="tugs",
            PipelineDefinition=DEFINITION,
            ClientRequestToken=TOKEN,
            RoleArn="arn:aws:iam::123456789012:role/pipelines",
        )
        yield made
        client.close()


def test_an_execution_runs_until_it_is_ended_and_registers_a_model(playing: Playing) -> None:
    arn = playing.start()
    assert playing.status(arn) == "Executing"
    assert [(s["StepName"], s["StepStatus"]) for s in playing.steps(arn)] == [
        ("Prepare", "Executing")
    ]
    assert playing.endpoint.pipelines.running("tugs") == [arn]
    began, playing.now = playing.now, playing.now + timedelta(minutes=40)

    playing.endpoint.pipelines.end(arn)

    prepare, train, register = playing.steps(arn)
    assert {s["StepStatus"] for s in (prepare, train, register)} == {"Succeeded"}
    package = playing.client.describe_model_package(
        ModelPackageName=register["Metadata"]["RegisterModel"]["Arn"]
    )
    assert package["MetadataProperties"]["GeneratedBy"] == arn
    assert package["ModelPackageGroupName"] == "tugs"
    job = playing.client.describe_processing_job(
        ProcessingJobName=prepare["Metadata"]["ProcessingJob"]["Arn"].rpartition("/")[2]
    )
    written = job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]
    assert written == f"s3://b/{arn.rpartition('/')[2]}"
    (event,) = playing.told
    assert event["detail-type"] == "SageMaker Model Building Pipeline Execution Status Change"
    assert event["resources"] == [arn.rpartition("/execution/")[0], arn]
    detail = event["detail"]
    assert detail["pipelineExecutionArn"] == arn
    assert detail["currentPipelineExecutionStatus"] == "Succeeded"
    assert detail["previousPipelineExecutionStatus"] == "Executing"
    times = [detail["executionStartTime"], detail["executionEndTime"]]
    assert [datetime.fromisoformat(time) for time in times] == [began, playing.now]
    assert playing.endpoint.pipelines.running("tugs") == []


def test_an_execution_ends_as_planned_and_tells_as_often(playing: Playing) -> None:
    ending = Ending("Failed", "out of memory", step="Train", after_looks=2, told=2)
    playing.endpoint.pipelines.plan("tugs", ending)
    arn = playing.start()

    assert [playing.status(arn) for _ in range(3)] == ["Executing", "Failed", "Failed"]

    described = playing.client.describe_pipeline_execution(PipelineExecutionArn=arn)
    assert described["FailureReason"] == "out of memory"
    steps = playing.steps(arn)
    assert [(s["StepName"], s["StepStatus"]) for s in steps] == [
        ("Prepare", "Succeeded"),
        ("Train", "Failed"),
    ]
    assert steps[1]["FailureReason"] == "out of memory"
    assert len(playing.told) == 2
    # the next one was not planned for
    assert playing.status(playing.start(token="u" * 32)) == "Executing"


def test_an_execution_is_stopped_once(playing: Playing) -> None:
    arn = playing.start()
    stop = {"PipelineExecutionArn": arn, "ClientRequestToken": TOKEN}

    playing.client.stop_pipeline_execution(**stop)

    assert playing.status(arn) == "Stopped"
    assert error_of(playing.client.stop_pipeline_execution, **stop)[0] == "ValidationException"
    listed = playing.client.list_pipeline_executions(PipelineName="tugs")
    summaries = listed["PipelineExecutionSummaries"]
    assert [summary["PipelineExecutionStatus"] for summary in summaries] == ["Stopped"]


def test_what_a_pipeline_does_not_take_is_refused(playing: Playing) -> None:
    start = playing.client.start_pipeline_execution
    absent = {"PipelineName": "absent", "ClientRequestToken": TOKEN}
    assert error_of(start, **absent)[0] == "ResourceNotFound"
    strange = [{"Name": "Bucket", "Value": "b"}]
    code, message = error_of(
        start, PipelineName="tugs", ClientRequestToken=TOKEN, PipelineParameters=strange
    )
    assert (code, "Bucket" in message) == ("ValidationException", True)
    assert playing.endpoint.starts == []


def serve(playing: Playing, version: int) -> None:
    client, name = playing.client, f"tugs-{version}"
    role = "arn:aws:iam::123456789012:role/models"
    client.create_model(ModelName=name, PrimaryContainer={"Image": "i"}, ExecutionRoleArn=role)
    variant = {"VariantName": "all", "ModelName": name, "InitialInstanceCount": 1}
    client.create_endpoint_config(
        EndpointConfigName=name, ProductionVariants=[{**variant, "InstanceType": "ml.m5.large"}]
    )


def test_an_endpoint_is_updated_and_says_so(playing: Playing) -> None:
    for version in (1, 2):
        serve(playing, version)
    playing.client.create_endpoint(EndpointName="tugs", EndpointConfigName="tugs-1")
    playing.now += timedelta(hours=3)

    playing.client.update_endpoint(EndpointName="tugs", EndpointConfigName="tugs-2")

    describe = playing.client.describe_endpoint
    assert [describe(EndpointName="tugs")["EndpointStatus"] for _ in range(2)] == [
        "Updating",
        "InService",
    ]
    described = describe(EndpointName="tugs")
    assert described["EndpointConfigName"] == "tugs-2"
    assert described["LastModifiedTime"] == playing.now
    assert [event["detail"]["EndpointStatus"] for event in playing.told] == ["IN_SERVICE"]
    absent = {"EndpointName": "tugs", "EndpointConfigName": "absent"}
    assert error_of(playing.client.update_endpoint, **absent)[0] == "ValidationException"


def test_an_update_that_fails_leaves_what_was_served(playing: Playing) -> None:
    for version in (1, 2):
        serve(playing, version)
    playing.client.create_endpoint(EndpointName="tugs", EndpointConfigName="tugs-1")
    playing.endpoint.endpoints.refuse("tugs", "the container did not pass its health check")

    playing.client.update_endpoint(EndpointName="tugs", EndpointConfigName="tugs-2")
    playing.client.describe_endpoint(EndpointName="tugs")

    described = playing.client.describe_endpoint(EndpointName="tugs")
    assert (described["EndpointConfigName"], described["EndpointStatus"]) == ("tugs-1", "InService")
    assert "health check" in described["FailureReason"]


def test_a_decision_about_a_model_is_told(playing: Playing) -> None:
    arn = playing.start()
    playing.endpoint.pipelines.end(arn)
    package = playing.steps(arn)[-1]["Metadata"]["RegisterModel"]["Arn"]

    playing.client.update_model_package(ModelPackageArn=package, ModelApprovalStatus="Approved")

    event = playing.told[-1]
    assert event["detail-type"] == "SageMaker Model Package State Change"
    assert event["detail"]["ModelApprovalStatus"] == "Approved"
    assert event["detail"]["ModelPackageArn"] == package
    assert event["detail"]["MetadataProperties"] == {"GeneratedBy": arn}


def test_a_schedule_is_stopped_started_and_given_another_definition(playing: Playing) -> None:
    client, run = playing.client, read_runs(BUILT_IN)[0]
    assert run.schedule is not None
    playing.endpoint.register_schedule(run.schedule)
    name = {"MonitoringScheduleName": run.schedule["MonitoringScheduleName"]}

    client.stop_monitoring_schedule(**name)
    assert client.describe_monitoring_schedule(**name)["MonitoringScheduleStatus"] == "Stopped"
    # the next run is registered with the schedule as it was recorded; what was changed since holds
    playing.endpoint.register_schedule(run.schedule)
    assert client.describe_monitoring_schedule(**name)["MonitoringScheduleStatus"] == "Stopped"
    client.start_monitoring_schedule(**name)
    config = {"MonitoringJobDefinitionName": "newer", "MonitoringType": "DataQuality"}
    client.update_monitoring_schedule(**name, MonitoringScheduleConfig=config)
    described = client.describe_monitoring_schedule(**name)
    assert described["MonitoringScheduleStatus"] == "Scheduled"
    assert described["MonitoringScheduleConfig"] == config
    assert described["LastModifiedTime"] == playing.now


def test_a_schedule_that_is_made_lists_its_executions(playing: Playing) -> None:
    client, (clean, violating) = playing.client, read_runs(BUILT_IN)[:2]
    name = "once"
    now = {"ScheduleConfig": {"ScheduleExpression": "NOW"}, "MonitoringType": "DataQuality"}
    arn = client.create_monitoring_schedule(
        MonitoringScheduleName=name,
        MonitoringScheduleConfig={**now, "MonitoringJobDefinitionName": "d"},
        Tags=[{"Key": "guiderail:remediation", "Value": "r"}],
    )["MonitoringScheduleArn"]
    assert client.list_tags(ResourceArn=arn)["Tags"][0]["Value"] == "r"
    for run in (clean, violating):
        playing.endpoint.register_job({**run.job, "MonitoringScheduleArn": arn})
    listed = client.list_monitoring_executions(MonitoringScheduleName=name)
    statuses = {e["MonitoringExecutionStatus"] for e in listed["MonitoringExecutionSummaries"]}
    assert statuses == {"Completed", "CompletedWithViolations"}
    again = {"MonitoringScheduleName": name, "MonitoringScheduleConfig": now}
    assert error_of(client.create_monitoring_schedule, **again)[0] == "ResourceInUse"
    client.delete_monitoring_schedule(MonitoringScheduleName=name)
    gone = {"MonitoringScheduleName": name}
    assert error_of(client.describe_monitoring_schedule, **gone)[0] == "ResourceNotFound"


def test_a_processing_job_runs_until_it_is_ended(playing: Playing) -> None:
    client = playing.client
    job: dict[str, Any] = {
        "ProcessingJobName": "guiderail-baseline-1",
        "AppSpecification": {"ImageUri": "analyzer"},
        "RoleArn": "arn:aws:iam::123456789012:role/monitoring",
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 20,
            }
        },
        "Environment": {"dataset_format": "{}"},
    }
    name = {"ProcessingJobName": job["ProcessingJobName"]}
    client.create_processing_job(**job)
    assert error_of(client.create_processing_job, **job)[0] == "ResourceInUse"
    described = client.describe_processing_job(**name)
    assert described["ProcessingJobStatus"] == "InProgress"
    assert described["Environment"] == job["Environment"]

    for _ in range(2):
        playing.endpoint.monitoring.end_job(job["ProcessingJobName"], "Failed", "no such key")

    described = client.describe_processing_job(**name)
    assert (described["ProcessingJobStatus"], described["FailureReason"]) == (
        "Failed",
        "no such key",
    )
    (event,) = playing.told
    assert event["detail"]["ProcessingJobStatus"] == "Failed"


def test_a_feature_group_is_described_as_it_was_made(playing: Playing) -> None:
    client = playing.client
    made: dict[str, Any] = {
        "FeatureGroupName": "Arrivals",
        "RecordIdentifierFeatureName": "id",
        "EventTimeFeatureName": "at",
        "FeatureDefinitions": [
            {"FeatureName": "id", "FeatureType": "String"},
            {"FeatureName": "at", "FeatureType": "Fractional"},
        ],
        "OnlineStoreConfig": {"EnableOnlineStore": True},
    }
    arn = client.create_feature_group(**made)["FeatureGroupArn"]
    for name in ("Arrivals", arn):
        described = client.describe_feature_group(FeatureGroupName=name)
        assert {key: described[key] for key in made} == made
        assert described["FeatureGroupStatus"] == "Created"
    assert error_of(client.create_feature_group, **made)[0] == "ResourceInUse"
    assert playing.endpoint.feature_groups.described("absent") is None
    absent = {"FeatureGroupName": "absent"}
    assert error_of(client.describe_feature_group, **absent)[0] == "ResourceNotFound"
