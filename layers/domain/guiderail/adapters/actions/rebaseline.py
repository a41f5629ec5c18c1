"""A new baseline: its job is run again, and the schedule is pointed to what it wrote.

The job is the former baselining job with another dataset; where none is known, a data-quality monitor's is
made from its job definition as the SDK makes it. What was there stays: the job writes below a prefix of its
own, and the former job definition is kept for going back. Source of environment and paths: the container
contract of the Model Monitor analyzer (developer guide, model-monitor-byoc-contract-inputs), and recorded
baselining jobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from guiderail.adapters.actions.calls import acting, name_for, named, text_of
from guiderail.adapters.actions.lineage import MADE_FOR, Deployed, deployed
from guiderail.adapters.actions.schedules import (
    DEFINITIONS,
    Baseline,
    baseline_of,
    definition_named,
    monitoring_type_of,
    schedule_named,
)
from guiderail.adapters.clients import client
from guiderail.errors import (
    AlreadyExistsError,
    NotFoundError,
    PermanentError,
    RejectedRequestError,
    UnavailableError,
)
from guiderail.model.remediation import ActionReport, ActionState, Remediation

_INPUTS = ("baseline_dataset_input", "dataset")
"""What the SDK calls a baselining job's dataset: the analyzer's, and Clarify's."""

_CONFIG = "analysis_config"
_CLARIFY = frozenset({"ModelBias", "ModelExplainability"})
_DATASET = "/opt/ml/processing/input/baseline_dataset_input"
_OUTPUT = "/opt/ml/processing/output"
_FILES = {
    "DataQuality": ("constraints.json", "statistics.json"),
    "ModelQuality": ("constraints.json", ""),
    "ModelBias": ("analysis.json", ""),
    "ModelExplainability": ("analysis.json", ""),
}
"""Constraints and statistics that a job of each kind writes; Clarify's constraints are its analysis."""

_FORMATS = {
    "csv": {"csv": {"header": True, "output_columns_position": "START"}},
    "csv_without_header": {"csv": {"header": False, "output_columns_position": "START"}},
    "json": {"json": {"lines": True}},
    "parquet": {"parquet": {}},
}
_SUFFIXES = {"json": "json", "jsonl": "json", "parquet": "parquet"}
_LONGEST_VALUE = 256
"""Characters of a value of a job's environment."""


def begin(remediation: Remediation, now: datetime) -> ActionReport:
    """Start the baselining job: at most ten calls.

    Raises:
        PermanentError: No such schedule, or nothing says how its baseline was made.
        TransientError: Throttled, over a quota, or SageMaker failed.
    """
    name = text_of(remediation, "schedule", "Name a monitoring schedule or write {schedule}")
    schedule = schedule_named(name)
    baseline = baseline_of(schedule)
    if not baseline.definition:
        raise RejectedRequestError(
            f"schedule {name} holds its job definition itself",
            remedy="Make it again with a job definition of its own, as the SageMaker SDK does",
        )
    wanted = _job(remediation, baseline)
    job = wanted["ProcessingJobName"]
    try:
        with acting(f"CreateProcessingJob {job}"):
            arn = client("sagemaker").create_processing_job(**wanted)["ProcessingJobArn"]
    except AlreadyExistsError:
        # begun before: its name is the remediation's
        arn = _described(job)["ProcessingJobArn"]
    return ActionReport(
        state=ActionState.RUNNING,
        handle=str(arn),
        text=f"{job} makes a new baseline for {name}",
        result={"processing_job_arn": str(arn)},
        before={
            "schedule": name,
            "job_definition": baseline.definition,
            "constraints": baseline.constraints,
        },
    )


def look(remediation: Remediation, now: datetime) -> ActionReport:
    """How the job stands; when it has ended well the schedule is pointed to its baseline.

    One DescribeProcessingJob; at its end five calls more.

    Raises:
        PermanentError: The schedule is gone, or was pointed elsewhere meanwhile.
        TransientError: The schedule is being changed, SageMaker throttled or failed.
    """
    job = name_for("baseline", remediation)
    described = _described(job)
    status = str(described["ProcessingJobStatus"])
    report = ActionReport(
        state=ActionState.RUNNING,
        handle=str(described["ProcessingJobArn"]),
        text=f"{job} is {status}",
    )
    match status:
        case "Completed":
            return _apply(remediation, report, described)
        case "Failed":
            why = (
                described.get("FailureReason") or described.get("ExitMessage") or "no reason given"
            )
            return msgspec.structs.replace(
                report, state=ActionState.FAILED, text=f"{job} failed: {why}"
            )
        case "Stopped":
            return msgspec.structs.replace(report, state=ActionState.STOPPED)
        case _:
            return report


def _apply(remediation: Remediation, report: ActionReport, job: Mapping[str, Any]) -> ActionReport:
    name = text_of(remediation, "schedule", "Name a monitoring schedule or write {schedule}")
    schedule = schedule_named(name)
    config = schedule["MonitoringScheduleConfig"]
    kind, in_use = monitoring_type_of(schedule), config.get("MonitoringJobDefinitionName", "")
    former = remediation.before.get("job_definition", "")
    new = name_for("baseline", remediation)
    constraints, statistics = _written(kind, job)
    result = {"job_definition": new, "constraints": constraints, "statistics": statistics}
    done = msgspec.structs.replace(
        report,
        state=ActionState.DONE,
        text=f"{name} compares with {constraints} now; to go back point it to {former}",
        result={key: value for key, value in result.items() if value},
    )
    if in_use == new:
        return done
    if in_use != former:
        raise RejectedRequestError(
            f"schedule {name} was pointed from {former} to {in_use} while its baseline was made",
            remedy="Start the remediation again if the new baseline is still wanted",
        )
    if schedule["MonitoringScheduleStatus"] == "Pending":
        raise UnavailableError(f"schedule {name} is being changed just now")
    _define(kind, former, new, constraints, statistics)
    with acting(f"UpdateMonitoringSchedule {name}"):
        client("sagemaker").update_monitoring_schedule(
            MonitoringScheduleName=name,
            MonitoringScheduleConfig={**config, "MonitoringJobDefinitionName": new},
        )
    return done


def _define(kind: str, former: str, new: str, constraints: str, statistics: str) -> None:
    """Make a job definition that differs from the former one by its baseline only."""
    sagemaker = client("sagemaker")
    create = f"create_{DEFINITIONS[kind]}_job_definition"
    operation = sagemaker.meta.service_model.operation_model(
        sagemaker.meta.method_to_api_mapping[create]
    )
    described = definition_named(kind, former)
    taken = {k: v for k, v in described.items() if v and k in operation.input_shape.members}
    baseline: dict[str, Any] = {
        "BaseliningJobName": new,
        "ConstraintsResource": {"S3Uri": constraints},
    }
    if statistics:
        baseline["StatisticsResource"] = {"S3Uri": statistics}
    taken |= {"JobDefinitionName": new, f"{kind}BaselineConfig": baseline}
    try:
        with acting(f"Create{kind}JobDefinition {new}"):
            getattr(sagemaker, create)(**taken)
    except AlreadyExistsError:
        # made before: its name is the remediation's
        return


def _written(kind: str, job: Mapping[str, Any]) -> tuple[str, str]:
    """URIs of the job's constraints and statistics, which have to be there.

    Raises:
        RejectedRequestError: The job ended well without having written its constraints.
    """
    place = str(job["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]["S3Uri"]).rstrip("/")
    constraints, statistics = _FILES[kind]
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    for file in filter(None, (constraints, statistics)):
        try:
            with acting(f"HeadObject {place}/{file}"):
                client("s3").head_object(Bucket=bucket, Key=f"{prefix}/{file}")
        except NotFoundError as error:
            raise RejectedRequestError(
                f"{job['ProcessingJobName']} ended and wrote no {place}/{file}",
                remedy="Look at its log, and whether its dataset holds rows",
            ) from error
    return f"{place}/{constraints}", f"{place}/{statistics}" if statistics else ""


def _job(remediation: Remediation, baseline: Baseline) -> dict[str, Any]:
    """The processing job to start."""
    parameters = remediation.parameters
    dataset = text_of(remediation, "dataset", "Name the S3 prefix of the new baseline's data")
    output = _output(remediation, baseline)
    serving = _serving(remediation)
    former = str(parameters.get("baseline_job") or baseline.job)
    if former:
        job = _again(former, dataset, output)
        if baseline.monitoring_type in _CLARIFY:
            _ask_for(job, serving, output)
    elif baseline.monitoring_type == "DataQuality":
        job = _made_up(remediation, baseline, dataset, output)
    else:
        raise RejectedRequestError(
            f"nothing says how the baseline of this {baseline.monitoring_type} schedule was made",
            remedy="Name the job that made it as baseline_job in the policy, "
            "or as BaseliningJobName in its job definition",
        )
    job["ProcessingJobName"] = name_for("baseline", remediation)
    if serving and 0 < len(serving.model) <= _LONGEST_VALUE:
        # so that anybody can tell later whose baseline it was
        job["Environment"][MADE_FOR] = serving.model
    cluster = job["ProcessingResources"]["ClusterConfig"]
    if parameters.get("instance_type"):
        cluster["InstanceType"] = str(parameters["instance_type"])
        cluster.pop("InstancePreferences", None)
    if parameters.get("volume_gb"):
        cluster["VolumeSizeInGB"] = int(parameters["volume_gb"])
    # a description has them besides what was asked for
    for described in ("SelectedInstanceType", "SelectedInstanceCount"):
        cluster.pop(described, None)
    return job


def _again(former: str, dataset: str, output: str) -> dict[str, Any]:
    """The former baselining job, over other data, to another place."""
    with named("baseline_job", former, "Name a processing job that made a baseline"):
        job = _described(former)
    taken = (
        "ProcessingInputs", "ProcessingOutputConfig", "ProcessingResources", "StoppingCondition",
        "AppSpecification", "Environment", "NetworkConfig", "RoleArn",
    )  # fmt: skip
    again = {key: job[key] for key in taken if job.get(key)}
    data = [i for i in again.get("ProcessingInputs", ()) if i["InputName"] in _INPUTS]
    outputs = again.get("ProcessingOutputConfig", {}).get("Outputs", ())
    if (
        len(data) != 1
        or len(outputs) != 1
        or "S3Input" not in data[0]
        or "S3Output" not in outputs[0]
    ):
        raise RejectedRequestError(
            f"{former} is no baselining job: "
            f"it needs one input {' or '.join(_INPUTS)} and one output",
            remedy="Name another one as baseline_job in the policy",
        )
    data[0]["S3Input"]["S3Uri"] = dataset
    outputs[0]["S3Output"]["S3Uri"] = output
    again["Environment"] = {k: v for k, v in again.get("Environment", {}).items() if k != MADE_FOR}
    return again


def _made_up(
    remediation: Remediation, baseline: Baseline, dataset: str, output: str
) -> dict[str, Any]:
    """A data-quality baselining job from the job definition: its image, role, resources and network."""
    definition = definition_named(baseline.monitoring_type, baseline.definition)
    app = definition["DataQualityAppSpecification"]
    kept = {
        key: app[key]
        for key in ("ImageUri", "ContainerEntrypoint", "ContainerArguments")
        if key in app
    }
    key = definition.get("DataQualityJobOutputConfig", {}).get("KmsKeyId")
    job = {
        "ProcessingInputs": [
            {
                "InputName": _INPUTS[0],
                "S3Input": {
                    "S3Uri": dataset,
                    "LocalPath": _DATASET,
                    "S3DataType": "S3Prefix",
                    "S3InputMode": "File",
                    "S3DataDistributionType": "FullyReplicated",
                    "S3CompressionType": "None",
                },
            }
        ],
        "ProcessingOutputConfig": {
            **({"KmsKeyId": key} if key else {}),
            "Outputs": [
                {
                    "OutputName": "monitoring_output",
                    "S3Output": {
                        "S3Uri": output,
                        "LocalPath": _OUTPUT,
                        "S3UploadMode": "EndOfJob",
                    },
                }
            ],
        },
        "ProcessingResources": definition["JobResources"],
        "AppSpecification": kept,
        "RoleArn": definition["RoleArn"],
        "Environment": {
            **app.get("Environment", {}),
            "dataset_format": _format(remediation, dataset),
            "dataset_source": _DATASET,
            "output_path": _OUTPUT,
            "publish_cloudwatch_metrics": "Disabled",
        },
    }
    return job | {
        k: definition[k] for k in ("NetworkConfig", "StoppingCondition") if definition.get(k)
    }


def _format(remediation: Remediation, dataset: str) -> str:
    suffix = dataset.rpartition("/")[2].rpartition(".")[2].lower()
    asked = str(remediation.parameters.get("format") or _SUFFIXES.get(suffix, "csv"))
    if asked not in _FORMATS:
        raise RejectedRequestError(
            f"{remediation.action}: format is {asked!r}",
            remedy=f"Write one of {', '.join(_FORMATS)}",
        )
    return msgspec.json.encode(_FORMATS[asked]).decode()


def _output(remediation: Remediation, baseline: Baseline) -> str:
    """A prefix of the remediation's own, so that the former baseline stays what it was."""
    place = str(remediation.parameters.get("output") or baseline.constraints.rpartition("/")[0])
    if not place.startswith("s3://"):
        raise RejectedRequestError(
            f"{remediation.action}: output is {place!r}, "
            "and the schedule has no baseline beside which to write",
            remedy="Name an S3 prefix as output in the policy",
        )
    return f"{place.rstrip('/')}/{remediation.id}"


def _serving(remediation: Remediation) -> Deployed | None:
    """What the endpoint serves; None where that is not known, as lineage then says too."""
    if not remediation.scope.endpoint:
        return None
    try:
        return deployed(remediation.scope.endpoint)
    except PermanentError:
        return None


def _ask_for(job: dict[str, Any], serving: Deployed | None, output: str) -> None:
    """Have Clarify ask the deployed model: its config names the one of the former baseline.

    A corrected copy of the config is written beside the new baseline: one GetObject, one PutObject.
    """
    given = next((i for i in job["ProcessingInputs"] if i["InputName"] == _CONFIG), None)
    if given is None or serving is None:
        return
    uri = str(given["S3Input"]["S3Uri"])
    uri = uri if uri.endswith(".json") else f"{uri.rstrip('/')}/{_CONFIG}.json"
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    with acting(f"GetObject {uri}"):
        content = client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    try:
        config = msgspec.json.decode(content)
        predictor = config.get("predictor", {})
        former = predictor.get("model_name")
    except (msgspec.DecodeError, AttributeError) as error:
        raise RejectedRequestError(f"{uri} is no config of Clarify's: {error}") from error
    if former is None or former in serving.models:
        return
    if len(serving.models) != 1:
        raise RejectedRequestError(
            f"{uri} names the model {former}, and the endpoint serves {', '.join(serving.models)}",
            remedy="Make the baseline by hand: nothing says for which of these it shall be",
        )
    predictor["model_name"] = serving.models[0]
    bucket, _, prefix = output.removeprefix("s3://").partition("/")
    with acting(f"PutObject {output}/config/{_CONFIG}.json"):
        client("s3").put_object(
            Bucket=bucket,
            Key=f"{prefix}/config/{_CONFIG}.json",
            Body=msgspec.json.encode(config),
            ContentType="application/json",
        )
    given["S3Input"]["S3Uri"] = f"{output}/config/{_CONFIG}.json"


def _described(job: str) -> dict[str, Any]:
    with acting(f"DescribeProcessingJob {job}"):
        described: dict[str, Any] = client("sagemaker").describe_processing_job(
            ProcessingJobName=job
        )
    return described
