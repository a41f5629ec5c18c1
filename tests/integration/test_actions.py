"""What remediations do to AWS: begun once, followed to the end, refused with a remedy."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from guiderail.adapters.actions import ActionAdapters
from guiderail.adapters.actions.calls import name_for
from guiderail.errors import (
    AccessDeniedError,
    GuiderailError,
    NotFoundError,
    RejectedRequestError,
    ThrottledError,
    UnavailableError,
)
from guiderail.model.identity import digest
from guiderail.model.incident import Scope
from guiderail.model.policy import ActionKind, RemediationMode
from guiderail.model.remediation import ActionReport, ActionState, Remediation
from msgspec.structs import replace

from tests.integration.aws_answers import Answers, Refusal, answering

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
ID = "20261123T141000-0123456789ab"
ARN = "arn:aws:sagemaker:eu-west-1:123456789012"
EXECUTION = f"{ARN}:pipeline/retrain-loans/execution/p4jn9xou8a8s"
PACKAGE = f"{ARN}:model-package/loans/7"
ROLE = "arn:aws:iam::123456789012:role/monitoring"
ANALYZER = "156813124566.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-model-monitor-analyzer"
CLUSTER = {"InstanceCount": 1, "InstanceType": "ml.m5.4xlarge", "VolumeSizeInGB": 60}

actions = ActionAdapters()


@pytest.fixture(scope="module")
def cloud() -> Iterator[Answers]:
    with answering("sagemaker", "s3", "lambda", "stepfunctions") as answers:
        yield answers


@pytest.fixture
def aws(cloud: Answers) -> Answers:
    cloud.clear()
    return cloud


def remediation(kind: ActionKind, watching: str = "Loans", /, **parameters: Any) -> Remediation:
    return Remediation(
        id=ID,
        action="fix loans",
        kind=kind,
        mode=RemediationMode.ASK,
        scope=Scope(
            account="123456789012", region="eu-west-1", schedule="Loans-hourly", endpoint=watching
        ),
        target="endpoint/loans",
        incidents=(),
        requested_at=NOW,
        parameters=parameters,
    )


def begun(of: Remediation) -> Remediation:
    """Begin, and keep what the report says as the record does."""
    return kept(of, actions.begin(of, NOW))


def kept(of: Remediation, report: ActionReport) -> Remediation:
    return replace(
        of,
        handle=report.handle,
        result={**of.result, **report.result},
        before={**of.before, **report.before},
    )


def look(of: Remediation) -> ActionReport:
    return actions.look(of, NOW)


# --- retrain


def pipeline(*parameters: Mapping[str, Any]) -> dict[str, Any]:
    definition = {"Version": "2020-12-01", "Parameters": parameters, "Steps": []}
    return {"PipelineName": "retrain-loans", "PipelineDefinition": json.dumps(definition)}


def execution(status: str, **fields: Any) -> dict[str, Any]:
    return {"PipelineExecutionArn": EXECUTION, "PipelineExecutionStatus": status, **fields}


def step(name: str, status: str = "Succeeded", **fields: Any) -> dict[str, Any]:
    return {"StepName": name, "StepStatus": status, **fields}


REGISTERED = step("Register", Metadata={"RegisterModel": {"Arn": PACKAGE}})


def package(approval: str = "Approved", status: str = "Completed", **fields: Any) -> dict[str, Any]:
    return {
        "ModelPackageName": "loans",
        "ModelPackageArn": PACKAGE,
        "CreationTime": NOW,
        "ModelPackageStatus": status,
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        "ModelApprovalStatus": approval,
        **fields,
    }


def endpoint(status: str = "InService", config: str = "loans-b", **fields: Any) -> dict[str, Any]:
    return {
        "EndpointName": "Loans",
        "EndpointArn": f"{ARN}:endpoint/loans",
        "EndpointConfigName": config,
        "EndpointStatus": status,
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
        "ProductionVariants": [{"VariantName": "AllTraffic"}],
        **fields,
    }


def endpoint_config(*variants: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "EndpointConfigName": "loans-b",
        "EndpointConfigArn": f"{ARN}:endpoint-config/loans-b",
        "CreationTime": NOW,
        "ProductionVariants": list(variants)
        or [{"VariantName": "AllTraffic", "ModelName": "loans-model"}],
        **fields,
    }


def model(package: str = PACKAGE) -> dict[str, Any]:
    return {
        "ModelName": "loans-model",
        "ModelArn": f"{ARN}:model/loans-model",
        "CreationTime": NOW,
        "PrimaryContainer": {"ModelPackageName": package},
    }


def test_a_pipeline_is_told_who_starts_it(aws: Answers) -> None:
    aws(
        DescribePipeline=pipeline({"Name": "Fast", "Type": "Boolean", "DefaultValue": False}),
        StartPipelineExecution={"PipelineExecutionArn": EXECUTION},
    )

    begun(remediation(ActionKind.RETRAIN, pipeline="retrain-loans", parameters={"Fast": True}))

    assert aws.asked("StartPipelineExecution") == {
        "PipelineName": "retrain-loans",
        "ClientRequestToken": digest(ID),
        "PipelineExecutionDisplayName": f"guiderail-retrain-{ID}",
        "PipelineExecutionDescription": f"Guiderail: fix loans, {ID}",
        "PipelineParameters": [{"Name": "Fast", "Value": "true"}],
    }


@pytest.mark.parametrize(
    ("declared", "given", "told"),
    [
        ({"Name": "Rows", "Type": "Integer"}, {"Rows": "many"}, "Rows is 'many', no Integer"),
        ({"Name": "Rate", "Type": "Float"}, {"Rate": "fast"}, "Rate is 'fast', no Float"),
        ({"Name": "Fast", "Type": "Boolean"}, {"Fast": "yes"}, "Fast is 'yes', no Boolean"),
        ({"Name": "Rows", "Type": "Integer"}, {"rows": "7"}, "rows is not one of Rows"),
        ({"Name": "Rows", "Type": "Integer"}, {}, "Rows is missing"),
        (
            {"Name": "Mode", "Type": "String", "EnumValues": ["a", "b"]},
            {"Mode": "c"},
            "Mode is 'c', not one of a, b",
        ),
        ({"Name": "Data", "Type": "String"}, {"Data": "x" * 1025}, "Data has 1025 characters"),
    ],
)
def test_parameters_unlike_the_pipelines_own_start_nothing(
    aws: Answers, declared: dict[str, Any], given: dict[str, str], told: str
) -> None:
    aws(DescribePipeline=pipeline(declared))
    wanted = remediation(ActionKind.RETRAIN, pipeline="retrain-loans", parameters=given)
    with pytest.raises(RejectedRequestError, match=f"parameters.{told}") as refused:
        actions.begin(wanted, NOW)
    assert refused.value.remedy
    assert "StartPipelineExecution" not in aws.names


def test_a_definition_that_cannot_be_read_is_left_to_sagemaker(aws: Answers) -> None:
    aws(
        DescribePipeline={"PipelineName": "retrain-loans", "PipelineDefinition": "no JSON"},
        StartPipelineExecution={"PipelineExecutionArn": EXECUTION},
    )
    wanted = remediation(ActionKind.RETRAIN, pipeline="retrain-loans", parameters={"Any": "1"})
    assert actions.begin(wanted, NOW).state is ActionState.RUNNING


def test_too_many_parameters_are_refused(aws: Answers) -> None:
    given = {f"P{n}": "" for n in range(201)}
    wanted = remediation(ActionKind.RETRAIN, pipeline="retrain-loans", parameters=given)
    with pytest.raises(RejectedRequestError, match="201 entries"):
        actions.begin(wanted, NOW)


@pytest.mark.parametrize(
    ("parameters", "endpoint_name", "field"),
    [
        ({}, "Loans", "pipeline is None"),
        ({"pipeline": " "}, "Loans", "pipeline is"),
        ({"pipeline": "p", "parameters": ["x"]}, "Loans", "parameters is"),
        ({"pipeline": "p", "wait_for_endpoint": True}, "", "wait_for_endpoint is set"),
    ],
)
def test_wrong_parameters_name_field_and_remedy(
    aws: Answers, parameters: dict[str, Any], endpoint_name: str, field: str
) -> None:
    wanted = remediation(ActionKind.RETRAIN, endpoint_name, **parameters)
    with pytest.raises(RejectedRequestError, match=field) as refused:
        actions.begin(wanted, NOW)
    assert refused.value.remedy
    assert aws.names == []


@pytest.mark.parametrize(
    ("code", "message", "ours"),
    [
        ("ResourceNotFound", "Pipeline 'x' does not exist", NotFoundError),
        ("AccessDeniedException", "not authorized", AccessDeniedError),
        ("ThrottlingException", "Rate exceeded", ThrottledError),
        ("ResourceLimitExceeded", "at most 20 executions", ThrottledError),
        ("ConflictException", "is being modified", UnavailableError),
        ("ValidationException", "1 validation error", RejectedRequestError),
    ],
)
def test_an_error_of_aws_tells_whether_to_try_again(
    aws: Answers, code: str, message: str, ours: type[GuiderailError]
) -> None:
    aws(DescribePipeline=Refusal(code, message))
    with pytest.raises(ours, match=r"retrain-loans"):
        actions.begin(remediation(ActionKind.RETRAIN, pipeline="retrain-loans"), NOW)


def test_what_the_client_itself_refuses_is_not_tried_again(aws: Answers) -> None:
    aws(DescribePipeline={"PipelineName": "p", "PipelineDefinition": "{}"})
    wanted = remediation(ActionKind.RETRAIN, pipeline="p", parameters={"": "no name"})
    with pytest.raises(RejectedRequestError, match="Invalid length for parameter"):
        actions.begin(wanted, NOW)


def test_a_quota_says_that_it_is_one(aws: Answers) -> None:
    aws(
        DescribePipeline=pipeline(),
        StartPipelineExecution=Refusal("ResourceLimitExceeded", "at most 20 executions"),
    )
    with pytest.raises(ThrottledError, match="a quota is used up.*at most 20") as limited:
        actions.begin(remediation(ActionKind.RETRAIN, pipeline="retrain-loans"), NOW)
    assert "quota" in limited.value.remedy


def test_a_missing_pipeline_is_named_with_its_field(aws: Answers) -> None:
    aws(DescribePipeline=Refusal("ResourceNotFound", "does not exist"))
    with pytest.raises(NotFoundError, match="pipeline is retrain-loans") as missing:
        actions.begin(remediation(ActionKind.RETRAIN, pipeline="retrain-loans"), NOW)
    assert "list-pipelines" in missing.value.remedy


def retraining(**parameters: Any) -> Remediation:
    return replace(
        remediation(ActionKind.RETRAIN, pipeline="retrain-loans", **parameters), handle=EXECUTION
    )


@pytest.mark.parametrize("status", ["Executing", "Stopping", "SomethingNew"])
def test_a_pipeline_that_goes_on_is_running(aws: Answers, status: str) -> None:
    aws(DescribePipelineExecution=execution(status))
    report = look(retraining())
    assert (report.state, report.handle) == (ActionState.RUNNING, EXECUTION)
    assert aws.names == ["DescribePipelineExecution"]


def test_a_failed_pipeline_says_which_step_failed_and_why(aws: Answers) -> None:
    aws(
        DescribePipelineExecution=execution("Failed", FailureReason="Step failure"),
        ListPipelineExecutionSteps={
            "PipelineExecutionSteps": [
                step("Process"),
                step("Train", "Failed", FailureReason="ClientError: no rows"),
            ]
        },
    )
    report = look(retraining())
    assert report.state is ActionState.FAILED
    assert report.text == ("p4jn9xou8a8s is Failed; Step failure; step Train: ClientError: no rows")


def test_a_pipeline_that_failed_in_parts_is_no_success(aws: Answers) -> None:
    aws(
        DescribePipelineExecution=execution("CompletedWithFailures"),
        ListPipelineExecutionSteps={"PipelineExecutionSteps": [REGISTERED]},
    )
    assert look(retraining()).state is ActionState.FAILED


def test_a_pipeline_stopped_by_hand_is_stopped(aws: Answers) -> None:
    aws(
        DescribePipelineExecution=execution("Stopped"),
        ListPipelineExecutionSteps={"PipelineExecutionSteps": [step("Train", "Stopped")]},
    )
    assert look(retraining()).state is ActionState.STOPPED


def test_a_pipeline_is_followed_to_its_model_package(aws: Answers) -> None:
    # Given steps on two pages, and one that was not run at all
    cached = {"SourcePipelineExecutionArn": f"{EXECUTION}0"}
    pages: dict[str | None, dict[str, Any]] = {
        None: {
            "PipelineExecutionSteps": [step("Process", CacheHitResult=cached)],
            "NextToken": "2",
        },
        "2": {"PipelineExecutionSteps": [step("Train"), REGISTERED]},
    }
    aws(
        DescribePipelineExecution=execution("Succeeded"),
        ListPipelineExecutionSteps=lambda asked: pages[asked.get("NextToken")],
        DescribeModelPackage=package("PendingManualApproval"),
    )

    report = look(retraining())

    assert report.state is ActionState.DONE
    assert report.result == {
        "pipeline_execution_arn": EXECUTION,
        "model_package_arn": PACKAGE,
        "approval": "PendingManualApproval",
    }
    assert "no fresh result of Process" in report.text
    assert "Train" not in report.text


@pytest.mark.parametrize(
    ("awaited", "state"),
    [({}, ActionState.DONE), ({"wait_for_model": True}, ActionState.FAILED)],
)
def test_a_pipeline_without_a_package_is_enough_unless_one_is_awaited(
    aws: Answers, awaited: dict[str, bool], state: ActionState
) -> None:
    aws(
        DescribePipelineExecution=execution("Succeeded"),
        ListPipelineExecutionSteps={"PipelineExecutionSteps": [step("Condition")]},
    )
    report = look(retraining(**awaited))
    assert (report.state, "registered no model package" in report.text) == (state, True)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (package("PendingManualApproval"), ActionState.RUNNING),
        (package("Approved"), ActionState.DONE),
        (package("Rejected", ApprovalDescription="worse than B"), ActionState.FAILED),
        (package("Approved", "Failed"), ActionState.FAILED),
    ],
    ids=["pending", "approved", "rejected", "broken"],
)
def test_a_model_that_is_awaited_has_to_be_approved(
    aws: Answers, answer: dict[str, Any], state: ActionState
) -> None:
    aws(
        DescribePipelineExecution=execution("Succeeded"),
        ListPipelineExecutionSteps={"PipelineExecutionSteps": [REGISTERED]},
        DescribeModelPackage=answer,
    )
    report = look(retraining(wait_for_model=True))
    assert (report.state, report.handle) == (state, EXECUTION)
    assert answer.get("ApprovalDescription", "loans/7") in report.text


@pytest.mark.parametrize(
    ("serving", "of", "state"),
    [
        (endpoint(), PACKAGE, ActionState.DONE),
        (endpoint(), f"{PACKAGE}0", ActionState.RUNNING),
        (endpoint("Updating"), PACKAGE, ActionState.RUNNING),
        (endpoint("Failed"), f"{PACKAGE}0", ActionState.FAILED),
    ],
    ids=["serves it", "serves another", "updating", "failed"],
)
def test_an_endpoint_that_is_awaited_has_to_serve_the_model(
    aws: Answers, serving: dict[str, Any], of: str, state: ActionState
) -> None:
    aws(
        DescribePipelineExecution=execution("Succeeded"),
        ListPipelineExecutionSteps={"PipelineExecutionSteps": [REGISTERED]},
        DescribeModelPackage=package(),
        DescribeEndpoint=serving,
        DescribeEndpointConfig=endpoint_config(),
        DescribeModel=model(of),
    )
    assert look(retraining(wait_for_endpoint=True)).state is state


# --- rebaseline


def schedule(
    name: str = "Loans-hourly",
    status: str = "Scheduled",
    kind: str = "DataQuality",
    definition: str = "former",
    expression: str = "cron(0 * ? * * *)",
    **fields: Any,
) -> dict[str, Any]:
    return {
        "MonitoringScheduleArn": f"{ARN}:monitoring-schedule/{name.lower()}",
        "MonitoringScheduleName": name,
        "MonitoringScheduleStatus": status,
        "MonitoringType": kind,
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
        "MonitoringScheduleConfig": {
            "ScheduleConfig": {"ScheduleExpression": expression},
            "MonitoringJobDefinitionName": definition,
            "MonitoringType": kind,
        },
        **fields,
    }


def inline() -> dict[str, Any]:
    """A schedule of old, which holds its job definition itself."""
    known = schedule()
    known["MonitoringScheduleConfig"] = {"ScheduleConfig": {"ScheduleExpression": "NOW"}}
    return known


def definition(job: str = "", **fields: Any) -> dict[str, Any]:
    baseline: dict[str, Any] = {
        "ConstraintsResource": {"S3Uri": "s3://loans/baseline/constraints.json"},
        "StatisticsResource": {"S3Uri": "s3://loans/baseline/statistics.json"},
    }
    return {
        "JobDefinitionArn": f"{ARN}:data-quality-job-definition/former",
        "JobDefinitionName": "former",
        "CreationTime": NOW,
        "DataQualityBaselineConfig": baseline | ({"BaseliningJobName": job} if job else {}),
        "DataQualityAppSpecification": {"ImageUri": ANALYZER, "Environment": {"mode": "fine"}},
        "DataQualityJobInput": {
            "EndpointInput": {"EndpointName": "Loans", "LocalPath": "/opt/ml/processing/input"}
        },
        "DataQualityJobOutputConfig": {
            "KmsKeyId": "alias/loans",
            "MonitoringOutputs": [
                {
                    "S3Output": {
                        "S3Uri": "s3://loans/reports",
                        "LocalPath": "/opt/ml/processing/output",
                    }
                }
            ],
        },
        "JobResources": {"ClusterConfig": CLUSTER},
        "RoleArn": ROLE,
        "StoppingCondition": {"MaxRuntimeInSeconds": 1800},
        **fields,
    }


def job(name: str, status: str = "Completed", **fields: Any) -> dict[str, Any]:
    return {
        "ProcessingJobName": name,
        "ProcessingJobArn": f"{ARN}:processing-job/{name}",
        "ProcessingJobStatus": status,
        "CreationTime": NOW,
        "ProcessingResources": {"ClusterConfig": CLUSTER},
        "AppSpecification": {"ImageUri": ANALYZER},
        **fields,
    }


def baselining(dataset: str = "baseline_dataset_input", **fields: Any) -> dict[str, Any]:
    """A former baselining job, as its description is."""
    return job(
        "by-hand",
        RoleArn=ROLE,
        ExitMessage="Completed: Job completed successfully with no violations.",
        Environment={"dataset_format": '{"csv": {"header": false}}', "guiderail_model": "older"},
        ProcessingInputs=[
            {
                "InputName": dataset,
                "S3Input": {"S3Uri": "s3://loans/2025", "S3DataType": "S3Prefix"},
            },
            *fields.pop("inputs", ()),
        ],
        ProcessingOutputConfig={
            "Outputs": [
                {
                    "OutputName": "monitoring_output",
                    "S3Output": {
                        "S3Uri": "s3://loans/baseline",
                        "LocalPath": "/opt/ml/processing/output",
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ]
        },
        **fields,
    )


def rebaseline(**parameters: Any) -> Remediation:
    given = {"schedule": "Loans-hourly", "dataset": "s3://loans/2026/may.csv", **parameters}
    return remediation(ActionKind.REBASELINE, **given)


NEW = f"guiderail-baseline-{ID}"
OUTPUT = f"s3://loans/baseline/{ID}"
SERVES = {
    "DescribeEndpoint": endpoint(),
    "DescribeEndpointConfig": endpoint_config(),
    "DescribeModel": model(),
}


def test_a_data_quality_baseline_is_made_from_the_job_definition(aws: Answers) -> None:
    aws(
        DescribeMonitoringSchedule=schedule(),
        DescribeDataQualityJobDefinition=definition(),
        CreateProcessingJob={"ProcessingJobArn": f"{ARN}:processing-job/{NEW}"},
        **SERVES,
    )

    report = actions.begin(rebaseline(), NOW)

    assert (report.state, report.handle) == (ActionState.RUNNING, f"{ARN}:processing-job/{NEW}")
    assert report.before == {
        "schedule": "Loans-hourly",
        "job_definition": "former",
        "constraints": "s3://loans/baseline/constraints.json",
    }
    asked = aws.asked("CreateProcessingJob")
    assert asked["ProcessingJobName"] == NEW
    assert asked["AppSpecification"] == {"ImageUri": ANALYZER}
    assert (asked["RoleArn"], asked["StoppingCondition"]) == (ROLE, {"MaxRuntimeInSeconds": 1800})
    assert asked["ProcessingResources"] == {"ClusterConfig": CLUSTER}
    (data,), (output,) = asked["ProcessingInputs"], asked["ProcessingOutputConfig"]["Outputs"]
    assert data["S3Input"]["S3Uri"] == "s3://loans/2026/may.csv"
    assert asked["ProcessingOutputConfig"]["KmsKeyId"] == "alias/loans"
    # below a prefix of its own: the former baseline stays
    assert output["S3Output"]["S3Uri"] == OUTPUT
    environment = dict(asked["Environment"])
    assert json.loads(environment.pop("dataset_format"))["csv"]["header"] is True
    assert environment == {
        "mode": "fine",
        "dataset_source": data["S3Input"]["LocalPath"],
        "output_path": output["S3Output"]["LocalPath"],
        "publish_cloudwatch_metrics": "Disabled",
        "guiderail_model": PACKAGE,
    }


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"format": "csv_without_header"}, "csv"),
        ({"dataset": "s3://loans/2026/may.jsonl"}, "json"),
        ({"dataset": "s3://loans/2026/may.parquet"}, "parquet"),
        ({"dataset": "s3://loans/2026/"}, "csv"),
    ],
)
def test_the_format_is_asked_for_or_seen(
    aws: Answers, parameters: dict[str, str], expected: str
) -> None:
    aws(
        DescribeMonitoringSchedule=schedule(),
        DescribeDataQualityJobDefinition=definition(),
        CreateProcessingJob={"ProcessingJobArn": f"{ARN}:processing-job/{NEW}"},
        **SERVES,
    )
    actions.begin(rebaseline(**parameters), NOW)
    environment = aws.asked("CreateProcessingJob")["Environment"]
    assert list(json.loads(environment["dataset_format"])) == [expected]


def test_a_known_baselining_job_is_run_again(aws: Answers) -> None:
    aws(
        DescribeMonitoringSchedule=schedule(),
        DescribeDataQualityJobDefinition=definition("by-hand"),
        DescribeProcessingJob=baselining(
            ProcessingResources={
                "ClusterConfig": {**CLUSTER, "SelectedInstanceType": "ml.m5.4xlarge"}
            }
        ),
        CreateProcessingJob={"ProcessingJobArn": f"{ARN}:processing-job/{NEW}"},
        **SERVES,
    )

    actions.begin(rebaseline(output="s3://elsewhere/new/", volume_gb=100), NOW)

    asked = aws.asked("CreateProcessingJob")
    (data,), (output,) = asked["ProcessingInputs"], asked["ProcessingOutputConfig"]["Outputs"]
    assert data["S3Input"]["S3Uri"] == "s3://loans/2026/may.csv"
    assert output["S3Output"]["S3Uri"] == f"s3://elsewhere/new/{ID}"
    assert asked["Environment"] == {
        "dataset_format": '{"csv": {"header": false}}',
        "guiderail_model": PACKAGE,
    }
    assert asked["ProcessingResources"]["ClusterConfig"] == {**CLUSTER, "VolumeSizeInGB": 100}


def test_a_model_that_is_not_known_is_not_claimed(aws: Answers) -> None:
    # Given a former job that was made for another model, and an endpoint that may not be read
    aws(
        DescribeMonitoringSchedule=schedule(),
        DescribeDataQualityJobDefinition=definition("by-hand"),
        DescribeProcessingJob=baselining(),
        DescribeEndpoint=Refusal("AccessDeniedException"),
        CreateProcessingJob={"ProcessingJobArn": f"{ARN}:processing-job/{NEW}"},
    )
    actions.begin(rebaseline(), NOW)
    assert "guiderail_model" not in aws.asked("CreateProcessingJob")["Environment"]


def clarify_definition(job: str) -> dict[str, Any]:
    known = definition()
    return {
        "JobDefinitionArn": known["JobDefinitionArn"],
        "JobDefinitionName": "former",
        "CreationTime": NOW,
        "ModelBiasBaselineConfig": {
            "ConstraintsResource": {"S3Uri": "s3://loans/baseline/analysis.json"},
            **({"BaseliningJobName": job} if job else {}),
        },
        "ModelBiasAppSpecification": {"ImageUri": "clarify", "ConfigUri": "s3://loans/c.json"},
        "ModelBiasJobInput": {
            "GroundTruthS3Input": {"S3Uri": "s3://loans/truth"},
            **known["DataQualityJobInput"],
        },
        "ModelBiasJobOutputConfig": known["DataQualityJobOutputConfig"],
        "JobResources": known["JobResources"],
        "RoleArn": ROLE,
    }


@pytest.mark.parametrize("former", ["older-model", "loans-model"])
def test_clarify_asks_the_deployed_model(aws: Answers, former: str) -> None:
    # Given a former job whose config names the model of then
    uri = "s3://loans/config/analysis_config.json"
    config = {"InputName": "analysis_config", "S3Input": {"S3Uri": uri, "S3DataType": "S3Prefix"}}
    written = {"methods": {"pre": 1}, "predictor": {"model_name": former, "instance_count": 1}}
    aws(
        DescribeMonitoringSchedule=schedule(kind="ModelBias"),
        DescribeModelBiasJobDefinition=clarify_definition("by-hand"),
        DescribeProcessingJob=baselining("dataset", inputs=[config]),
        GetObject={"Body": io.BytesIO(json.dumps(written).encode())},
        PutObject={},
        CreateProcessingJob={"ProcessingJobArn": f"{ARN}:processing-job/{NEW}"},
        **SERVES,
    )

    actions.begin(rebaseline(), NOW)

    given = aws.asked("CreateProcessingJob")["ProcessingInputs"][1]["S3Input"]["S3Uri"]
    if former == "loans-model":
        assert (given, "PutObject" in aws.names) == (uri, False)
        return
    put = aws.asked("PutObject")
    assert given == f"s3://{put['Bucket']}/{put['Key']}" == f"{OUTPUT}/config/analysis_config.json"
    assert json.loads(put["Body"].read()) == {
        "methods": {"pre": 1},
        "predictor": {"model_name": "loans-model", "instance_count": 1},
    }


@pytest.mark.parametrize(
    ("answers", "parameters", "told"),
    [
        ({"DescribeMonitoringSchedule": inline()}, {}, "holds its job definition"),
        (
            {
                "DescribeMonitoringSchedule": schedule(kind="ModelBias"),
                "DescribeModelBiasJobDefinition": clarify_definition(""),
            },
            {},
            "nothing says how the baseline of this ModelBias schedule was made",
        ),
        (
            {
                "DescribeMonitoringSchedule": schedule(),
                "DescribeDataQualityJobDefinition": definition(),
            },
            {"dataset": ""},
            "dataset is ''",
        ),
        (
            {
                "DescribeMonitoringSchedule": schedule(),
                "DescribeDataQualityJobDefinition": definition(DataQualityBaselineConfig={}),
            },
            {},
            "output is ''",
        ),
        (
            {
                "DescribeMonitoringSchedule": schedule(),
                "DescribeDataQualityJobDefinition": definition(),
            },
            {"format": "avro"},
            "format is 'avro'",
        ),
        (
            {
                "DescribeMonitoringSchedule": schedule(),
                "DescribeDataQualityJobDefinition": definition(),
                "DescribeProcessingJob": job("other"),
            },
            {"baseline_job": "other"},
            "other is no baselining job",
        ),
        (
            {
                "DescribeMonitoringSchedule": schedule(),
                "DescribeDataQualityJobDefinition": definition(),
                "DescribeProcessingJob": Refusal("ResourceNotFound", "gone"),
            },
            {"baseline_job": "other"},
            "baseline_job is other, and there is none",
        ),
        (
            {"DescribeMonitoringSchedule": Refusal("ResourceNotFound", "gone")},
            {},
            "schedule is Loans-hourly, and there is none",
        ),
    ],
)
def test_a_baseline_that_cannot_be_made_is_refused(
    aws: Answers, answers: dict[str, Any], parameters: dict[str, Any], told: str
) -> None:
    aws(**SERVES, **answers)
    with pytest.raises((RejectedRequestError, NotFoundError), match=told) as refused:
        actions.begin(rebaseline(**parameters), NOW)
    assert refused.value.remedy
    assert "CreateProcessingJob" not in aws.names


def test_a_baselining_job_begun_before_is_not_begun_again(aws: Answers) -> None:
    # Given a crash after CreateProcessingJob
    aws(
        DescribeMonitoringSchedule=schedule(),
        DescribeDataQualityJobDefinition=definition(),
        CreateProcessingJob=Refusal("ResourceInUse", "Job name must be unique"),
        DescribeProcessingJob=job(NEW, "InProgress"),
        **SERVES,
    )
    report = actions.begin(rebaseline(), NOW)
    assert (report.state, report.handle) == (ActionState.RUNNING, f"{ARN}:processing-job/{NEW}")
    assert report.before["job_definition"] == "former"


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("InProgress", ActionState.RUNNING),
        ("Stopping", ActionState.RUNNING),
        ("Failed", ActionState.FAILED),
        ("Stopped", ActionState.STOPPED),
    ],
)
def test_a_baselining_job_is_followed(aws: Answers, status: str, state: ActionState) -> None:
    aws(DescribeProcessingJob=job(NEW, status, FailureReason="AlgorithmError: empty dataset"))
    report = look(rebaseline())
    assert report.state is state
    assert ("empty dataset" in report.text) is (status == "Failed")


def made() -> dict[str, Any]:
    """What answers once the new baseline is written."""
    output = {"S3Uri": OUTPUT, "LocalPath": "/opt/x", "S3UploadMode": "EndOfJob"}
    return {
        "DescribeProcessingJob": job(
            NEW,
            ProcessingOutputConfig={
                "Outputs": [{"OutputName": "monitoring_output", "S3Output": output}]
            },
        ),
        "HeadObject": {"LastModified": NOW},
        "DescribeDataQualityJobDefinition": definition(),
    }


def running() -> Remediation:
    return replace(rebaseline(), before={"schedule": "Loans-hourly", "job_definition": "former"})


def test_the_schedule_is_pointed_to_the_new_baseline(aws: Answers) -> None:
    aws(
        DescribeMonitoringSchedule=schedule(),
        CreateDataQualityJobDefinition={"JobDefinitionArn": f"{ARN}:data-quality-job-definition/n"},
        UpdateMonitoringSchedule={"MonitoringScheduleArn": schedule()["MonitoringScheduleArn"]},
        **made(),
    )

    report = look(running())

    assert report.state is ActionState.DONE
    assert report.result == {
        "job_definition": NEW,
        "constraints": f"{OUTPUT}/constraints.json",
        "statistics": f"{OUTPUT}/statistics.json",
    }
    assert "point it to former" in report.text
    former, new = definition(), aws.asked("CreateDataQualityJobDefinition")
    assert new.keys() == former.keys() - {"JobDefinitionArn", "CreationTime"}
    changed = {key for key in new if new[key] != former[key]}
    assert changed == {"JobDefinitionName", "DataQualityBaselineConfig"}
    assert new["DataQualityBaselineConfig"] == {
        "BaseliningJobName": NEW,
        "ConstraintsResource": {"S3Uri": f"{OUTPUT}/constraints.json"},
        "StatisticsResource": {"S3Uri": f"{OUTPUT}/statistics.json"},
    }
    asked = aws.asked("UpdateMonitoringSchedule")["MonitoringScheduleConfig"]
    assert asked == {
        **schedule()["MonitoringScheduleConfig"],
        "MonitoringJobDefinitionName": NEW,
    }


def test_pointing_again_after_a_crash_changes_nothing_more(aws: Answers) -> None:
    # Given a crash between the definition and the schedule, then one after both
    aws(
        DescribeMonitoringSchedule=schedule(),
        CreateDataQualityJobDefinition=Refusal("ResourceInUse", "exists"),
        UpdateMonitoringSchedule={"MonitoringScheduleArn": schedule()["MonitoringScheduleArn"]},
        **made(),
    )
    first = look(running())
    aws(DescribeMonitoringSchedule=schedule(definition=NEW))
    second = look(running())
    assert (first.state, second) == (ActionState.DONE, first)
    assert aws.names.count("UpdateMonitoringSchedule") == 1


def test_a_schedule_that_somebody_pointed_elsewhere_is_left_alone(aws: Answers) -> None:
    aws(DescribeMonitoringSchedule=schedule(definition="by-hand"), **made())
    with pytest.raises(RejectedRequestError, match="pointed from former to by-hand"):
        look(running())
    assert "UpdateMonitoringSchedule" not in aws.names


def test_a_schedule_that_is_being_changed_is_waited_for(aws: Answers) -> None:
    aws(DescribeMonitoringSchedule=schedule(status="Pending"), **made())
    with pytest.raises(UnavailableError, match="being changed"):
        look(running())


def test_a_job_that_wrote_no_constraints_points_nothing(aws: Answers) -> None:
    answers = made() | {"HeadObject": Refusal("404", "Not Found", 404)}
    aws(DescribeMonitoringSchedule=schedule(), **answers)
    with pytest.raises(RejectedRequestError, match="wrote no .*constraints.json"):
        look(running())
    assert "UpdateMonitoringSchedule" not in aws.names


# --- rollback


def rollback(**parameters: Any) -> Remediation:
    return remediation(ActionKind.ROLLBACK, **{"endpoint": "Loans", **parameters})


def tags(**values: str) -> dict[str, Any]:
    return {"Tags": [{"Key": key, "Value": value} for key, value in values.items()]}


PREVIOUS = {"guiderail:previous-endpoint-config": "loans-a"}
CAPTURING = {
    "DataCaptureConfig": {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": "s3://l/capture",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }
}
UPDATED = {"EndpointArn": f"{ARN}:endpoint/loans"}


@pytest.mark.parametrize("parameters", [{"endpoint_config": "loans-a"}, {}], ids=["named", "tag"])
def test_an_endpoint_goes_back(aws: Answers, parameters: dict[str, str]) -> None:
    aws(
        DescribeEndpoint=endpoint(),
        ListTags=tags(**PREVIOUS),
        DescribeEndpointConfig=endpoint_config(**CAPTURING),
        UpdateEndpoint=UPDATED,
    )

    of = begun(rollback(**parameters))

    assert aws.asked("UpdateEndpoint") == {
        "EndpointName": "Loans",
        "EndpointConfigName": "loans-a",
        "RetainAllVariantProperties": True,
    }
    assert (of.handle, of.before) == (
        "endpoint/loans",
        {"endpoint": "Loans", "endpoint_config": "loans-b"},
    )
    # And once it is there, whatever the tag says by then
    aws(DescribeEndpoint=endpoint(config="loans-a"), ListTags=tags())
    assert look(of).state is ActionState.DONE


def test_without_a_name_nothing_is_guessed(aws: Answers) -> None:
    aws(DescribeEndpoint=endpoint(), ListTags=tags(team="loans"))
    with pytest.raises(RejectedRequestError, match="nothing says which config") as refused:
        actions.begin(rollback(endpoint_config=""), NOW)
    assert "guiderail:previous-endpoint-config" in refused.value.remedy


@pytest.mark.parametrize(
    "variants",
    [
        [{"VariantName": "Other", "ModelName": "loans-model"}],
        [
            {
                "VariantName": "AllTraffic",
                "ModelName": "loans-model",
                "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 1},
            }
        ],
    ],
    ids=["other variants", "serverless"],
)
def test_only_the_same_variants_keep_their_size(
    aws: Answers, variants: list[dict[str, Any]]
) -> None:
    aws(
        DescribeEndpoint=endpoint(),
        DescribeEndpointConfig=endpoint_config(*variants),
        UpdateEndpoint=UPDATED,
    )
    report = actions.begin(rollback(endpoint_config="loans-a"), NOW)
    assert aws.asked("UpdateEndpoint")["RetainAllVariantProperties"] is False
    assert "captures no data" in report.text


@pytest.mark.parametrize(
    ("there", "state"),
    [
        (endpoint(config="loans-a"), ActionState.DONE),
        (endpoint("Updating", "loans-a"), ActionState.RUNNING),
        (
            endpoint("Updating", PendingDeploymentSummary={"EndpointConfigName": "loans-a"}),
            ActionState.RUNNING,
        ),
    ],
    ids=["there already", "on its way", "pending"],
)
def test_an_endpoint_is_not_moved_twice(
    aws: Answers, there: dict[str, Any], state: ActionState
) -> None:
    aws(DescribeEndpoint=there)
    assert actions.begin(rollback(endpoint_config="loans-a"), NOW).state is state
    assert aws.names == ["DescribeEndpoint"]


def test_an_endpoint_that_somebody_moves_is_waited_for(aws: Answers) -> None:
    aws(DescribeEndpoint=endpoint("Updating", "loans-c"))
    with pytest.raises(UnavailableError, match="Loans is Updating to loans-c"):
        actions.begin(rollback(endpoint_config="loans-a"), NOW)


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (
            {"DescribeEndpoint": Refusal("ValidationException", 'Could not find endpoint "x"')},
            "endpoint is Loans, and there is none",
        ),
        (
            {
                "DescribeEndpoint": endpoint(),
                "DescribeEndpointConfig": Refusal(
                    "ValidationException", "Could not find endpoint configuration"
                ),
            },
            "endpoint_config is loans-a, and there is none",
        ),
    ],
)
def test_what_is_not_there_is_named(aws: Answers, answers: dict[str, Any], told: str) -> None:
    aws(**answers)
    with pytest.raises(NotFoundError, match=told) as missing:
        actions.begin(rollback(endpoint_config="loans-a"), NOW)
    assert missing.value.remedy


@pytest.mark.parametrize(
    ("there", "state"),
    [
        (endpoint("Updating", "loans-a"), ActionState.RUNNING),
        (endpoint("RollingBack", "loans-a"), ActionState.RUNNING),
        (endpoint("SystemUpdating", "loans-a"), ActionState.RUNNING),
        (endpoint("InService", "loans-b", FailureReason="an alarm"), ActionState.FAILED),
        (endpoint("Failed", "loans-a"), ActionState.FAILED),
        (endpoint("UpdateRollbackFailed", "loans-a"), ActionState.FAILED),
    ],
    ids=lambda value: value["EndpointStatus"] if isinstance(value, dict) else "",
)
def test_an_endpoint_is_followed(aws: Answers, there: dict[str, Any], state: ActionState) -> None:
    aws(DescribeEndpoint=there)
    report = look(rollback(endpoint_config="loans-a"))
    assert report.state is state
    assert there.get("FailureReason", "") in report.text


# --- schedules


def turning(aws: Answers, status: str) -> None:
    """A schedule that does as it is told."""
    state = {"status": status}

    def turn(to: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        def turned(asked: Mapping[str, Any]) -> dict[str, Any]:
            state["status"] = to
            return {}

        return turned

    aws(
        DescribeMonitoringSchedule=lambda asked: schedule(status=state["status"]),
        StopMonitoringSchedule=turn("Stopped"),
        StartMonitoringSchedule=turn("Scheduled"),
    )


@pytest.mark.parametrize(
    ("kind", "status", "call"),
    [
        (ActionKind.PAUSE, "Scheduled", "StopMonitoringSchedule"),
        (ActionKind.RESUME, "Stopped", "StartMonitoringSchedule"),
    ],
)
def test_a_schedule_is_paused_and_resumed_once(
    aws: Answers, kind: ActionKind, status: str, call: str
) -> None:
    turning(aws, status)
    wanted = remediation(kind, schedule="Loans-hourly")

    first, second = actions.begin(wanted, NOW), actions.begin(wanted, NOW)

    assert (first.state, second.state) == (ActionState.DONE, ActionState.DONE)
    assert (first.before, second.before) == ({"schedule_status": status}, {})
    assert aws.names.count(call) == 1


def test_a_schedule_that_takes_its_time_is_looked_at_again(aws: Answers) -> None:
    turning(aws, "Scheduled")
    aws(StopMonitoringSchedule={})
    of = begun(remediation(ActionKind.PAUSE, schedule="Loans-hourly"))
    assert look(of).state is ActionState.RUNNING
    aws(DescribeMonitoringSchedule=schedule(status="Stopped"))
    assert look(of).state is ActionState.DONE


def test_a_pending_schedule_is_not_turned(aws: Answers) -> None:
    turning(aws, "Pending")
    with pytest.raises(UnavailableError, match="being changed"):
        actions.begin(remediation(ActionKind.PAUSE, schedule="Loans-hourly"), NOW)


def test_a_schedule_that_cannot_be_resumed_says_why(aws: Answers) -> None:
    turning(aws, "Stopped")
    of = begun(remediation(ActionKind.RESUME, schedule="Loans-hourly"))
    aws(DescribeMonitoringSchedule=schedule(status="Failed", FailureReason="no such endpoint"))
    report = look(of)
    assert (report.state, "no such endpoint" in report.text) == (ActionState.FAILED, True)


RUN = f"guiderail-run-{ID}"


@pytest.mark.parametrize(
    ("expression", "start"),
    [
        ("cron(0 * ? * * *)", "-PT1H"),
        ("cron(0 0/6 ? * * *)", "-PT6H"),
        ("cron(0 17/24 ? * * *)", "-PT24H"),
        ("cron(0 12 ? * * *)", "-PT24H"),
        ("NOW", "-PT24H"),
    ],
)
def test_a_schedule_runs_once_over_its_own_window(
    aws: Answers, expression: str, start: str
) -> None:
    aws(
        DescribeMonitoringSchedule=schedule(expression=expression),
        CreateMonitoringSchedule={"MonitoringScheduleArn": f"{ARN}:monitoring-schedule/{RUN}"},
    )

    report = actions.begin(remediation(ActionKind.RUN_NOW, schedule="Loans-hourly"), NOW)

    assert (report.state, report.handle) == (
        ActionState.RUNNING,
        f"monitoring-schedule/{RUN.lower()}",
    )
    asked = aws.asked("CreateMonitoringSchedule")
    assert asked["MonitoringScheduleName"] == RUN
    assert asked["MonitoringScheduleConfig"] == {
        "ScheduleConfig": {
            "ScheduleExpression": "NOW",
            "DataAnalysisStartTime": start,
            "DataAnalysisEndTime": "-PT0H",
        },
        "MonitoringJobDefinitionName": "former",
        "MonitoringType": "DataQuality",
    }
    assert {tag["Key"]: tag["Value"] for tag in asked["Tags"]} == {
        "guiderail:remediation": ID,
        "guiderail:schedule": "Loans-hourly",
    }


def ran(status: str, **fields: Any) -> dict[str, Any]:
    last = {
        "MonitoringScheduleName": RUN,
        "ScheduledTime": NOW,
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
        "MonitoringExecutionStatus": status,
        **fields,
    }
    return schedule(RUN, LastMonitoringExecutionSummary=last)


@pytest.mark.parametrize(
    ("there", "state"),
    [
        (schedule(RUN), ActionState.RUNNING),
        (ran("InProgress"), ActionState.RUNNING),
        (ran("Completed"), ActionState.DONE),
        (ran("CompletedWithViolations"), ActionState.DONE),
        (ran("Failed", FailureReason="Job inputs had no data"), ActionState.FAILED),
        (ran("Stopped"), ActionState.STOPPED),
        (schedule(RUN, "Failed", FailureReason="Job inputs had no data"), ActionState.FAILED),
    ],
    ids=["none yet", "runs", "clean", "violations", "failed", "stopped", "schedule failed"],
)
def test_the_one_run_is_followed(aws: Answers, there: dict[str, Any], state: ActionState) -> None:
    aws(DescribeMonitoringSchedule=there)
    report = look(remediation(ActionKind.RUN_NOW, schedule="Loans-hourly"))
    assert report.state is state
    assert ("had no data" in report.text) is (state is ActionState.FAILED)


def test_a_run_begun_before_is_not_begun_again(aws: Answers) -> None:
    aws(
        DescribeMonitoringSchedule=lambda asked: (
            ran("InProgress") if asked["MonitoringScheduleName"] == RUN else schedule()
        ),
        CreateMonitoringSchedule=Refusal("ResourceInUse", "exists"),
    )
    report = actions.begin(remediation(ActionKind.RUN_NOW, schedule="Loans-hourly"), NOW)
    assert report.state is ActionState.RUNNING


# --- invoke

FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:own-fix"
MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:own-fix"
OWN_RUN = f"arn:aws:states:eu-west-1:123456789012:execution:own-fix:{ID}"


def answered(content: bytes, **fields: Any) -> dict[str, Any]:
    return {"StatusCode": 200, "Payload": io.BytesIO(content), **fields}


@pytest.mark.parametrize(
    ("wait", "answer", "state", "told"),
    [
        (True, answered(b'"fixed"'), ActionState.DONE, "answered"),
        (False, answered(b""), ActionState.DONE, "nobody waits"),
        (
            True,
            answered(b'{"errorMessage": "no rows"}', FunctionError="Unhandled"),
            ActionState.FAILED,
            "no rows",
        ),
        (
            True,
            answered(b"\xff", FunctionError="Unhandled"),
            ActionState.FAILED,
            "nothing readable",
        ),
    ],
    ids=["waits", "does not wait", "fails", "fails strangely"],
)
def test_a_function_is_told_what_it_is_for(
    aws: Answers, wait: bool, answer: dict[str, Any], state: ActionState, told: str
) -> None:
    aws(Invoke=answer)
    wanted = remediation(ActionKind.INVOKE, target=FUNCTION, payload={"rows": 7}, wait=wait)

    report = actions.begin(wanted, NOW)

    assert (report.state, told in report.text) == (state, True)
    asked = aws.asked("Invoke")
    assert json.loads(asked["Payload"]) == {"rows": 7, "remediation": ID}
    assert asked["InvocationType"] == ("RequestResponse" if wait else "Event")


@pytest.mark.parametrize("wait", [True, False])
def test_a_state_machine_is_started_once(aws: Answers, wait: bool) -> None:
    aws(StartExecution={"executionArn": OWN_RUN, "startDate": NOW})
    wanted = remediation(ActionKind.INVOKE, target=MACHINE, payload={}, wait=wait)
    first = actions.begin(wanted, NOW)
    # Given that it ended meanwhile, so that its name is taken
    aws(StartExecution=Refusal("ExecutionAlreadyExists", "exists"))
    assert actions.begin(wanted, NOW) == first
    assert first.handle == OWN_RUN
    assert first.state is (ActionState.RUNNING if wait else ActionState.DONE)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("RUNNING", ActionState.RUNNING),
        ("PENDING_REDRIVE", ActionState.RUNNING),
        ("SUCCEEDED", ActionState.DONE),
        ("FAILED", ActionState.FAILED),
        ("TIMED_OUT", ActionState.FAILED),
        ("ABORTED", ActionState.STOPPED),
    ],
)
def test_an_execution_is_followed(aws: Answers, status: str, state: ActionState) -> None:
    aws(
        DescribeExecution={
            "executionArn": OWN_RUN,
            "stateMachineArn": MACHINE,
            "startDate": NOW,
            "status": status,
            "error": "NoRows",
            "cause": "the feed is empty",
        }
    )
    report = look(replace(remediation(ActionKind.INVOKE), handle=OWN_RUN))
    assert report.state is state
    assert "NoRows; the feed is empty" in report.text


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"target": "own-fix"}, "target is own-fix"),
        ({"target": "arn:aws:sns:eu-west-1:123456789012:topic"}, "target is arn:aws:sns"),
        ({"target": OWN_RUN}, "target is arn:aws:states"),
        ({"target": FUNCTION, "payload": [1]}, "payload is"),
        ({}, "target is None"),
    ],
)
def test_a_target_that_cannot_be_invoked_is_refused(
    aws: Answers, parameters: dict[str, Any], told: str
) -> None:
    with pytest.raises(RejectedRequestError, match=told) as refused:
        actions.begin(remediation(ActionKind.INVOKE, **parameters), NOW)
    assert refused.value.remedy


@pytest.mark.parametrize(
    ("target", "code"),
    [(FUNCTION, "ResourceNotFoundException"), (MACHINE, "StateMachineDoesNotExist")],
)
def test_a_target_that_is_gone_is_named(aws: Answers, target: str, code: str) -> None:
    aws(Invoke=Refusal(code, "", 404), StartExecution=Refusal(code))
    with pytest.raises(NotFoundError, match="target is arn"):
        actions.begin(remediation(ActionKind.INVOKE, target=target), NOW)


def test_too_many_executions_are_waited_for(aws: Answers) -> None:
    aws(StartExecution=Refusal("ExecutionLimitExceeded", "1,000,000 are open"))
    with pytest.raises(ThrottledError, match="a quota is used up"):
        actions.begin(remediation(ActionKind.INVOKE, target=MACHINE), NOW)


# --- the rest


def test_a_ticket_is_the_record_and_nothing_else(aws: Answers) -> None:
    of = remediation(ActionKind.TICKET)
    assert actions.begin(of, NOW).state is ActionState.DONE
    assert look(of).state is ActionState.DONE
    assert aws.names == []


@pytest.mark.parametrize("what", ["retrain", "baseline", "run"])
def test_a_name_is_one_that_sagemaker_takes(what: str) -> None:
    name = name_for(what, remediation(ActionKind.RETRAIN))
    assert name.startswith("guiderail-")
    assert len(name) <= 63
    assert name.replace("-", "").isalnum()
