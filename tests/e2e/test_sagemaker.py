"""The local SageMaker endpoint, asked by a client as the functions ask it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from guiderail_local.runs import BUILT_IN, read_runs
from guiderail_local.sagemaker import SageMaker

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
        for field, value in answer.items():
            if isinstance(value, datetime):
                assert value.astimezone(UTC) == datetime.fromisoformat(recorded[field])
                answer[field] = recorded[field]
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
