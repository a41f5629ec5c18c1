"""Whose baseline is it: what is known of the deployed model, and what speaks for and against it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from guiderail.adapters.actions import ActionAdapters
from guiderail.errors import ThrottledError
from guiderail.model.incident import Scope
from guiderail.model.policy import ActionKind, RemediationMode
from guiderail.model.remediation import Lineage, Remediation

from tests.integration.aws_answers import Answers, Refusal, answering

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)
ARN = "arn:aws:sagemaker:eu-west-1:123456789012"
PACKAGE = f"{ARN}:model-package/loans/7"
EXECUTION = f"{ARN}:pipeline/retrain-loans/execution/p4jn9xou8a8s"
IN_USE = "s3://loans/baseline/constraints.json"


@pytest.fixture(scope="module")
def cloud() -> Iterator[Answers]:
    with answering("sagemaker", "s3") as answers:
        yield answers


@pytest.fixture
def aws(cloud: Answers) -> Answers:
    """An endpoint that serves one package, and a schedule with a baseline; nothing links them."""
    cloud.clear()
    cloud(
        DescribeEndpoint={
            "EndpointName": "Loans",
            "EndpointArn": f"{ARN}:endpoint/loans",
            "EndpointConfigName": "loans-b",
            "EndpointStatus": "InService",
            "CreationTime": NOW,
            "LastModifiedTime": NOW + timedelta(hours=1),
        },
        DescribeEndpointConfig=variants("loans-model"),
        DescribeModel=model(),
        DescribeModelPackage=package(),
        DescribeMonitoringSchedule=schedule(),
        DescribeDataQualityJobDefinition=definition(),
        HeadObject={"LastModified": NOW + timedelta(days=1)},
    )
    return cloud


def variants(*models: str) -> dict[str, Any]:
    return {
        "EndpointConfigName": "loans-b",
        "EndpointConfigArn": f"{ARN}:endpoint-config/loans-b",
        "CreationTime": NOW,
        "ProductionVariants": [
            {"VariantName": f"V{n}", **({"ModelName": name} if name else {})}
            for n, name in enumerate(models)
        ],
    }


def model(package: str = PACKAGE, name: str = "loans-model") -> dict[str, Any]:
    container = {"ModelPackageName": package} if package else {"Image": "own"}
    return {
        "ModelName": name,
        "ModelArn": f"{ARN}:model/{name}",
        "CreationTime": NOW,
        "Containers": [container],
    }


def package(**fields: Any) -> dict[str, Any]:
    return {
        "ModelPackageName": "loans",
        "ModelPackageArn": PACKAGE,
        "CreationTime": NOW,
        "ModelPackageStatus": "Completed",
        "ModelPackageStatusDetails": {"ValidationStatuses": []},
        **fields,
    }


def made_by_pipeline(**fields: Any) -> dict[str, Any]:
    return package(MetadataProperties={"GeneratedBy": EXECUTION}, **fields)


def file(uri: str) -> dict[str, str]:
    return {"ContentType": "application/json", "S3Uri": uri}


def schedule(**config: Any) -> dict[str, Any]:
    named = {"MonitoringJobDefinitionName": "loans-dq", "MonitoringType": "DataQuality"}
    return {
        "MonitoringScheduleArn": f"{ARN}:monitoring-schedule/loans-hourly",
        "MonitoringScheduleName": "Loans-hourly",
        "MonitoringScheduleStatus": "Scheduled",
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
        "MonitoringScheduleConfig": config or named,
    }


def definition(**baseline: Any) -> dict[str, Any]:
    known = {"ConstraintsResource": {"S3Uri": IN_USE}, **baseline}
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 20}
    output = {"S3Uri": "s3://loans/reports", "LocalPath": "/opt/ml/processing/output"}
    return {
        "JobDefinitionArn": f"{ARN}:data-quality-job-definition/loans-dq",
        "JobDefinitionName": "loans-dq",
        "CreationTime": NOW,
        "DataQualityBaselineConfig": {k: v for k, v in known.items() if v},
        "DataQualityAppSpecification": {"ImageUri": "analyzer"},
        "DataQualityJobInput": {},
        "DataQualityJobOutputConfig": {"MonitoringOutputs": [{"S3Output": output}]},
        "JobResources": {"ClusterConfig": cluster},
        "RoleArn": "arn:aws:iam::123456789012:role/monitoring",
    }


def job(name: str, outputs: Mapping[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    places = [
        {"OutputName": key, "S3Output": {"S3Uri": uri, "S3UploadMode": "EndOfJob"}}
        for key, uri in (outputs or {}).items()
    ]
    cluster = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 20}
    return {
        "ProcessingJobName": name,
        "ProcessingJobArn": f"{ARN}:processing-job/{name}",
        "ProcessingJobStatus": "Completed",
        "CreationTime": NOW,
        "ProcessingResources": {"ClusterConfig": cluster},
        "AppSpecification": {"ImageUri": "analyzer"},
        "ProcessingOutputConfig": {"Outputs": places},
        **fields,
    }


def execution(created: datetime = NOW) -> dict[str, Any]:
    return {"PipelineExecutionArn": EXECUTION, "CreationTime": created}


def steps(**metadata: Any) -> dict[str, Any]:
    made = [{"StepName": "Process", "Metadata": metadata}, {"StepName": "Register"}]
    return {"PipelineExecutionSteps": made}


def traced(endpoint: str = "Loans") -> Lineage:
    scope = Scope(
        account="123456789012", region="eu-west-1", schedule="Loans-hourly", endpoint=endpoint
    )
    return ActionAdapters().lineage(
        Remediation(
            id="20261123T141000-0123456789ab",
            action="retrain loans",
            kind=ActionKind.RETRAIN,
            mode=RemediationMode.ASK,
            scope=scope,
            target="endpoint/loans",
            incidents=(),
            requested_at=NOW,
        )
    )


@pytest.mark.parametrize("part", ["DriftCheckBaselines", "ModelMetrics"])
def test_a_baseline_that_the_package_names_is_its_own(aws: Answers, part: str) -> None:
    aws(
        DescribeModelPackage=made_by_pipeline(
            **{part: {"ModelDataQuality": {"Constraints": file(IN_USE)}}}
        )
    )

    assert traced() == Lineage(
        model=PACKAGE,
        made_by=EXECUTION,
        deployed_at=NOW + timedelta(hours=1),
        baseline=IN_USE,
        belongs=True,
        text=f"loans/7 names {IN_USE} as its own",
    )
    assert aws.names == [
        "DescribeEndpoint",
        "DescribeEndpointConfig",
        "DescribeModel",
        "DescribeModelPackage",
        "DescribeMonitoringSchedule",
        "DescribeDataQualityJobDefinition",
    ]


def test_a_package_that_names_another_baseline_refuses_this_one(aws: Answers) -> None:
    other = {"ModelDataQuality": {"Constraints": file("s3://loans/may/constraints.json")}}
    aws(DescribeModelPackage=package(DriftCheckBaselines=other))
    known = traced()
    assert known.belongs is False
    assert "names s3://loans/may/constraints.json" in known.text
    assert IN_USE in known.text


def test_a_baseline_of_another_kind_says_nothing(aws: Answers) -> None:
    # Given a package that names constraints of model quality and statistics only
    other = {
        "ModelQuality": {"Constraints": file(IN_USE)},
        "ModelDataQuality": {"Statistics": file(IN_USE)},
    }
    aws(DescribeModelPackage=package(ModelMetrics=other))
    assert traced().belongs is None


@pytest.mark.parametrize(
    ("metadata", "belongs"),
    [
        ({"QualityCheck": {"CalculatedBaselineConstraints": IN_USE}}, True),
        ({"ProcessingJob": {"Arn": f"{ARN}:processing-job/baseline"}}, True),
        ({"ProcessingJob": {"Arn": f"{ARN}:processing-job/other"}}, False),
        ({"ProcessingJob": {"Arn": f"{ARN}:processing-job/gone"}}, False),
        ({"Model": {"Arn": "m"}}, False),
    ],
    ids=["check step", "processing step", "wrote elsewhere", "job gone", "no job"],
)
def test_what_the_models_own_execution_wrote_is_its_own(
    aws: Answers, metadata: dict[str, Any], belongs: bool
) -> None:
    # Given a package whose metrics name another file: the execution wrote that one too
    def described(asked: Mapping[str, Any]) -> dict[str, Any]:
        places = {"baseline": "s3://loans/baseline/", "other": "s3://loans/base"}
        name = asked["ProcessingJobName"]
        if name not in places:
            raise Refusal("ResourceNotFound", "gone")
        return job(name, {"out": places[name]})

    other = {"ModelDataQuality": {"Constraints": file("s3://loans/may/constraints.json")}}
    aws(
        DescribeModelPackage=made_by_pipeline(ModelMetrics=other),
        ListPipelineExecutionSteps=steps(**metadata),
        DescribeProcessingJob=described,
    )
    known = traced()
    assert known.belongs is belongs
    assert ("step Process" in known.text) is belongs


@pytest.mark.parametrize(
    ("made_for", "belongs"), [(PACKAGE, True), (f"{ARN}:model-package/loans/6", False)]
)
def test_a_baseline_of_guiderails_own_is_of_the_model_that_it_was_made_for(
    aws: Answers, made_for: str, belongs: bool
) -> None:
    # Given a baseline made anew, while the package goes on naming its first one
    other = {"ModelDataQuality": {"Constraints": file("s3://loans/may/constraints.json")}}
    aws(
        DescribeModelPackage=package(DriftCheckBaselines=other),
        DescribeDataQualityJobDefinition=definition(BaseliningJobName="guiderail-baseline-1"),
        DescribeProcessingJob=job(
            "guiderail-baseline-1", Environment={"guiderail_model": made_for}
        ),
    )
    known = traced()
    assert known.belongs is belongs
    assert "Guiderail made" in known.text


@pytest.mark.parametrize(
    ("age", "belongs"), [(timedelta(hours=-1), False), (timedelta(hours=1), None)]
)
@pytest.mark.parametrize("known_from", ["file", "job"])
def test_a_baseline_older_than_the_model_is_not_its_own(
    aws: Answers, known_from: str, age: timedelta, belongs: bool | None
) -> None:
    aws(HeadObject={"LastModified": NOW + age})
    if known_from == "job":
        aws(
            DescribeDataQualityJobDefinition=definition(BaseliningJobName="by-hand"),
            DescribeProcessingJob=job("by-hand", ProcessingEndTime=NOW + age),
            HeadObject={"LastModified": NOW - age},
        )
    known = traced()
    assert known.belongs is belongs
    assert ("older than loans/7" in known.text) is (belongs is False)


def test_a_baseline_written_while_the_model_was_made_is_not_too_old(aws: Answers) -> None:
    # Given a file from between the start of the pipeline and the registration of the model
    aws(
        DescribeModelPackage=made_by_pipeline(),
        ListPipelineExecutionSteps=steps(),
        DescribePipelineExecution=execution(NOW - timedelta(hours=2)),
        HeadObject={"LastModified": NOW - timedelta(hours=1)},
    )
    assert traced().belongs is None
    aws(HeadObject={"LastModified": NOW - timedelta(hours=3)})
    assert traced().belongs is False


def test_a_baseline_that_is_gone_has_no_age(aws: Answers) -> None:
    aws(HeadObject=Refusal("404", "Not Found", 404))
    assert traced().belongs is None


def test_a_model_without_a_package_is_known_by_its_name(aws: Answers) -> None:
    aws(DescribeModel=model(package=""))
    known = traced()
    assert (known.model, known.belongs) == ("loans-model", None)
    assert "DescribeModelPackage" not in aws.names


def test_one_package_behind_two_models_is_one(aws: Answers) -> None:
    own = {"ModelDataQuality": {"Constraints": file(IN_USE)}}
    aws(
        DescribeEndpointConfig=variants("a", "b"),
        DescribeModel=lambda asked: model(name=asked["ModelName"]),
        DescribeModelPackage=package(DriftCheckBaselines=own),
    )
    assert (traced().model, traced().belongs) == (PACKAGE, True)


@pytest.mark.parametrize("names", [("a", "b"), ("",)], ids=["two models", "inference components"])
def test_several_models_have_no_one_baseline(aws: Answers, names: tuple[str, ...]) -> None:
    own = {"ModelDataQuality": {"Constraints": file(IN_USE)}}
    aws(
        DescribeEndpointConfig=variants(*names),
        DescribeModel=lambda asked: model(f"{ARN}:model-package/loans/{asked['ModelName']}"),
        DescribeModelPackage=package(DriftCheckBaselines=own),
    )
    known = traced()
    assert (known.model, known.belongs, known.baseline) == ("", None, IN_USE)
    assert "no one model" in known.text


def test_an_inline_job_definition_is_read_too(aws: Answers) -> None:
    inline = {
        "BaselineConfig": {"ConstraintsResource": {"S3Uri": IN_USE}},
        "MonitoringInputs": [
            {"EndpointInput": {"EndpointName": "Loans", "LocalPath": "/opt/ml/processing/input"}}
        ],
        "MonitoringOutputConfig": {
            "MonitoringOutputs": [{"S3Output": {"S3Uri": "s3://loans/r", "LocalPath": "/opt/x"}}]
        },
        "MonitoringResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": "ml.m5.large",
                "VolumeSizeInGB": 20,
            }
        },
        "MonitoringAppSpecification": {"ImageUri": "analyzer"},
        "RoleArn": "arn:aws:iam::123456789012:role/monitoring",
    }
    own = {"ModelDataQuality": {"Constraints": file(IN_USE)}}
    aws(
        DescribeMonitoringSchedule=schedule(MonitoringJobDefinition=inline),
        DescribeModelPackage=package(DriftCheckBaselines=own),
    )
    assert traced().belongs is True


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (
            {"DescribeEndpoint": Refusal("ValidationException", "Could not find")},
            "DescribeEndpoint",
        ),
        ({"DescribeModelPackage": Refusal("AccessDeniedException")}, "DescribeModelPackage"),
        ({"DescribeMonitoringSchedule": Refusal("ResourceNotFound")}, "schedule is Loans-hourly"),
        (
            {"DescribeDataQualityJobDefinition": definition(ConstraintsResource={})},
            "names no baseline",
        ),
        (
            {
                "DescribeModelPackage": made_by_pipeline(
                    ModelMetrics={"ModelDataQuality": {"Constraints": file("s3://loans/may/c")}}
                ),
                "ListPipelineExecutionSteps": Refusal("AccessDeniedException"),
            },
            "ListPipelineExecutionSteps",
        ),
    ],
    ids=["endpoint", "package", "schedule", "no baseline", "steps"],
)
def test_what_cannot_be_read_is_not_known(aws: Answers, answers: dict[str, Any], told: str) -> None:
    aws(**answers)
    known = traced()
    assert known.belongs is None
    assert told in known.text


def test_what_may_be_read_later_is_asked_again(aws: Answers) -> None:
    aws(DescribeModel=Refusal("ThrottlingException"))
    with pytest.raises(ThrottledError):
        traced()


def test_a_batch_monitor_has_no_deployed_model(aws: Answers) -> None:
    known = traced(endpoint="")
    assert (known.model, known.belongs, aws.names) == ("", None, [])
