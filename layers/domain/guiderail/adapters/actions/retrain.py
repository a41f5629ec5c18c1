"""SageMaker pipelines: a retraining, followed to the model package that it registers.

Source of limits and shapes: the SageMaker API model (StartPipelineExecution, DescribePipelineExecution,
ListPipelineExecutionSteps, DescribeModelPackage) and the JSON of a pipeline's definition, whose
``Parameters`` hold Name, Type (String, Integer, Float, Boolean), DefaultValue and EnumValues.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from guiderail.adapters.actions.calls import acting, name_for, named, text_of
from guiderail.adapters.actions.lineage import deployed, pipeline_steps
from guiderail.adapters.clients import client
from guiderail.errors import RejectedRequestError
from guiderail.model.identity import digest
from guiderail.model.remediation import ActionReport, ActionState, Remediation

_MOST_PARAMETERS = 200
_LONGEST_VALUE = 1024
_LONGEST_DISPLAY_NAME = 82
_LONGEST_DESCRIPTION = 3072
_LONGEST_REASONS = 1000

_ENDED = frozenset({"Succeeded", "Failed", "Stopped", "CompletedWithFailures"})
"""Of PipelineExecutionStatus; whatever else there is goes on."""

_REGISTERED = "model_package_arn"
_EXECUTION = "pipeline_execution_arn"


def begin(remediation: Remediation, now: datetime) -> ActionReport:
    """Start the pipeline: DescribePipeline, then StartPipelineExecution with a token that starts it once.

    Raises:
        PermanentError: No such pipeline, or parameters that its definition does not know or take.
        TransientError: Throttled, over a quota, or SageMaker failed.
    """
    pipeline = text_of(remediation, "pipeline", "Name the pipeline or its ARN")
    if remediation.parameters.get("wait_for_endpoint") and not remediation.scope.endpoint:
        raise RejectedRequestError(
            f"{remediation.action}: wait_for_endpoint is set, "
            f"and {remediation.scope.schedule} has no endpoint",
            remedy="Set wait_for_endpoint: false for monitors of batch transform",
        )
    values = _values(remediation)
    with (
        named("pipeline", pipeline, "Name one of: aws sagemaker list-pipelines"),
        acting(f"DescribePipeline {pipeline}"),
    ):
        described = client("sagemaker").describe_pipeline(PipelineName=pipeline)
    _check(remediation.action, pipeline, values, described.get("PipelineDefinition", ""))
    description = " ".join(f"Guiderail: {remediation.action}, {remediation.id}".split())
    with acting(f"StartPipelineExecution {pipeline}"):
        started = client("sagemaker").start_pipeline_execution(
            PipelineName=pipeline,
            ClientRequestToken=digest(remediation.id),
            PipelineExecutionDisplayName=name_for("retrain", remediation)[:_LONGEST_DISPLAY_NAME],
            PipelineExecutionDescription=description[:_LONGEST_DESCRIPTION],
            PipelineParameters=[{"Name": n, "Value": v} for n, v in values.items()],
        )
    arn = str(started["PipelineExecutionArn"])
    return ActionReport(
        state=ActionState.RUNNING,
        handle=arn,
        text=f"Pipeline {_short(pipeline)} runs as {_short(arn)}",
        result={_EXECUTION: arn},
    )


def look(remediation: Remediation, now: datetime) -> ActionReport:
    """How the execution stands, and after it the model package and the endpoint, where these are awaited.

    One DescribePipelineExecution; once it ended a ListPipelineExecutionSteps per 100 steps, and a
    DescribeModelPackage; with ``wait_for_endpoint`` at least three calls more.
    """
    arn = remediation.handle
    with acting(f"DescribePipelineExecution {arn}"):
        execution = client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=arn)
    status = str(execution["PipelineExecutionStatus"])
    running = ActionReport(
        state=ActionState.RUNNING,
        handle=arn,
        text=f"{_short(arn)} is {status}",
        result={_EXECUTION: arn},
    )
    if status not in _ENDED:
        return running
    steps = pipeline_steps(arn)
    if status != "Succeeded":
        stopped = status == "Stopped"
        return msgspec.structs.replace(
            running,
            state=ActionState.STOPPED if stopped else ActionState.FAILED,
            text=_ended_badly(_short(arn), status, execution.get("FailureReason", ""), steps),
        )
    return _followed(remediation, running, steps)


def _followed(
    remediation: Remediation, running: ActionReport, steps: Sequence[Mapping[str, Any]]
) -> ActionReport:
    """What a pipeline that ended well has made, and whether that is awaited any longer."""
    for_model = bool(remediation.parameters.get("wait_for_model"))
    for_endpoint = bool(remediation.parameters.get("wait_for_endpoint"))
    fresh = _about_caches(steps)
    packages = [s["Metadata"]["RegisterModel"]["Arn"] for s in steps if _registers(s)]
    if not packages:
        text = f"{_short(running.handle)} ended and registered no model package{fresh}"
        awaited = for_model or for_endpoint
        return msgspec.structs.replace(
            running, state=ActionState.FAILED if awaited else ActionState.DONE, text=text
        )
    package = str(packages[-1])
    with acting(f"DescribeModelPackage {package}"):
        described = client("sagemaker").describe_model_package(ModelPackageName=package)
    approval = str(described.get("ModelApprovalStatus", ""))
    result = {**running.result, _REGISTERED: package, "approval": approval}

    def report(state: ActionState, text: str) -> ActionReport:
        said = f"{_package_name(package)} {text}{fresh}"
        return msgspec.structs.replace(running, state=state, text=said, result=result)

    if described.get("ModelPackageStatus") == "Failed":
        return report(ActionState.FAILED, "was registered, but SageMaker could not make it")
    if not (for_model or for_endpoint):
        return report(ActionState.DONE, f"is registered, approval: {approval or 'not asked for'}")
    if approval == "Rejected":
        why = described.get("ApprovalDescription", "")
        return report(ActionState.FAILED, f"was rejected{f': {why}' if why else ''}")
    if approval == "PendingManualApproval":
        return report(ActionState.RUNNING, "waits for approval in the model registry")
    if not for_endpoint:
        return report(ActionState.DONE, "is registered and approved")
    endpoint = remediation.scope.endpoint
    serving = deployed(endpoint)
    if serving.status in ("Failed", "UpdateRollbackFailed", "OutOfService", "Deleting"):
        return report(ActionState.FAILED, f"cannot be served: {endpoint} is {serving.status}")
    if serving.status == "InService" and serving.packages == (package,):
        return report(ActionState.DONE, f"is served by {endpoint}")
    return report(ActionState.RUNNING, f"is approved, and {endpoint} does not serve it yet")


def _values(remediation: Remediation) -> dict[str, str]:
    """The pipeline's parameters as SageMaker takes them: texts."""
    given = remediation.parameters.get("parameters") or {}
    if not isinstance(given, Mapping):
        raise RejectedRequestError(
            f"{remediation.action}: parameters is {given!r}", remedy="Write NAME: value for each"
        )
    if len(given) > _MOST_PARAMETERS:
        raise RejectedRequestError(
            f"{remediation.action}: parameters has {len(given)} entries",
            remedy=f"A pipeline takes {_MOST_PARAMETERS}",
        )
    values = {
        str(name): str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in given.items()
    }
    for name, value in values.items():
        if len(value) > _LONGEST_VALUE:
            raise RejectedRequestError(
                f"{remediation.action}: parameters.{name} has {len(value)} characters",
                remedy=f"SageMaker takes {_LONGEST_VALUE}; keep it in S3 and pass its URI",
            )
    return values


def _check(action: str, pipeline: str, values: Mapping[str, str], definition: str) -> None:
    """Compare with what the definition declares; one that cannot be read is left to SageMaker's own check."""
    try:
        declared = msgspec.json.decode(definition)["Parameters"]
        known = {entry["Name"]: entry for entry in declared}
    except (msgspec.DecodeError, KeyError, TypeError):
        return
    wrong = [_unlike(name, values[name], known.get(name), known) for name in values]
    wrong += [
        f"parameters.{name} is missing, and it has no default"
        for name, entry in known.items()
        if name not in values and "DefaultValue" not in entry
    ]
    if told := [text for text in wrong if text]:
        raise RejectedRequestError(
            f"{action}, pipeline {_short(pipeline)}: {'; '.join(told)}",
            remedy="Write them in the policy as the pipeline's definition has them",
        )


def _unlike(
    name: str, value: str, entry: Mapping[str, Any] | None, known: Mapping[str, Any]
) -> str:
    if entry is None:
        return f"parameters.{name} is not one of {', '.join(sorted(known)) or 'its (it has none)'}"
    kind = entry.get("Type", "String")
    allowed = [str(each) for each in entry.get("EnumValues") or ()]
    if not _is_of(kind, value):
        return f"parameters.{name} is {value[:60]!r}, no {kind}"
    if allowed and value not in allowed:
        return f"parameters.{name} is {value[:60]!r}, not one of {', '.join(allowed)}"
    return ""


def _is_of(kind: str, value: str) -> bool:
    try:
        match kind:
            case "Integer":
                int(value)
            case "Float":
                float(value)
            case "Boolean":
                return value.lower() in ("true", "false")
    except ValueError:
        return False
    return True


def _registers(step: Mapping[str, Any]) -> bool:
    return bool(step.get("Metadata", {}).get("RegisterModel", {}).get("Arn"))


def _about_caches(steps: Sequence[Mapping[str, Any]]) -> str:
    """Steps that were not run at all: what they made is as old as the run that it comes from."""
    cached = [str(step.get("StepName")) for step in steps if step.get("CacheHitResult")]
    if not cached:
        return ""
    return f"; no fresh result of {', '.join(cached)}: taken from the cache of a former execution"


def _ended_badly(
    execution: str, status: str, reason: str, steps: Sequence[Mapping[str, Any]]
) -> str:
    why = [f"{execution} is {status}", reason]
    why += [
        f"step {step.get('StepName')}: {step.get('FailureReason') or 'no reason given'}"
        for step in steps
        if step.get("StepStatus") == "Failed"
    ]
    return "; ".join(part for part in why if part)[:_LONGEST_REASONS]


def _short(arn: str) -> str:
    return arn.rpartition("/")[2]


def _package_name(arn: str) -> str:
    return arn.partition(":model-package/")[2] or arn
