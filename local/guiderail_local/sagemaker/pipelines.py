"""Pipelines whose executions take their time and end as a plan says.

moto starts a pipeline twice for one ClientRequestToken, calls every execution Succeeded at once and knows
no steps. Here an execution is Executing until it is ended, by its plan or by a call of ``end``; then its
steps are those of the definition, and a step of the type RegisterModel has registered a model package.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from moto.core.responses import ActionResult

from guiderail_local.sagemaker.definitions import Definition
from guiderail_local.sagemaker.parts import (
    Event,
    Operations,
    Shared,
    event,
    not_found,
    refused,
    text_of,
)

EXECUTION_CHANGED = "SageMaker Model Building Pipeline Execution Status Change"

_TOKEN_LENGTHS = range(32, 129)
_METADATA = {"Processing": "ProcessingJob", "Training": "TrainingJob", "Transform": "TransformJob"}
_JOB_KINDS = {
    "Processing": "processing-job",
    "Training": "training-job",
    "Transform": "transform-job",
}


@dataclass(frozen=True)
class Ending:
    """How an execution ends.

    Attributes:
        status: ``Succeeded``, ``Failed`` or ``Stopped``.
        reason: The FailureReason.
        step: Name of the step that it got to, where it did not succeed; without one the first.
        after_looks: It ends when it is described this often; None: when ``end`` is called.
        told: How often its event is sent: 0 if it is lost, 2 if it comes twice.
    """

    status: str = "Succeeded"
    reason: str = ""
    step: str = ""
    after_looks: int | None = None
    told: int = 1


@dataclass(frozen=True)
class PipelineStart:
    """One accepted StartPipelineExecution."""

    pipeline: str
    arn: str
    parameters: Mapping[str, str]


@dataclass
class _Execution:
    arn: str
    pipeline_arn: str
    definition: Definition
    plan: Ending
    recorded: Any  # moto's own object: what its listing shows
    backend: Any
    started: datetime
    ended: datetime | None = None
    looks: int = 0
    steps: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.arn.rpartition("/")[2]

    @property
    def status(self) -> str:
        return str(self.recorded.pipeline_execution_status)


class Pipelines:
    """The part of SageMaker that runs pipelines.

    Attributes:
        starts: The executions that were started, without repeated tokens.
    """

    def __init__(
        self, shared: Shared, made: Callable[[Mapping[str, Any]], None] = lambda _: None
    ) -> None:
        """Nothing runs yet; ``made`` takes the descriptions of processing jobs that steps ran."""
        self._made = made
        self.starts: list[PipelineStart] = []
        self._shared = shared
        self._executions: dict[str, _Execution] = {}
        self._tokens: dict[tuple[str, str], str] = {}
        self._plans: dict[str, deque[Ending]] = defaultdict(deque)

    def plan(self, pipeline: str, *endings: Ending) -> None:
        """Say how the next executions of a pipeline end, in this order."""
        with self._shared.lock:
            self._plans[pipeline].extend(endings)

    def end(self, arn: str, ending: Ending | None = None) -> None:
        """End an execution, as planned unless it is said otherwise; one that ended is left as it is."""
        with self._shared.lock:
            execution = self._found(arn)
            told = self._end(execution, ending or execution.plan)
        for one in told:
            self._shared.tell(one)

    def running(self, pipeline: str) -> list[str]:
        """ARNs of a pipeline's executions that have not ended."""
        with self._shared.lock:
            return [
                execution.arn
                for execution in self._executions.values()
                if execution.pipeline_arn.endswith(f"/{pipeline}") and execution.ended is None
            ]

    def operations(self) -> Operations:
        """What is put in place of moto's own."""
        return {
            "start_pipeline_execution": self._start,
            "describe_pipeline_execution": self._describe,
            "list_pipeline_execution_steps": self._list_steps,
            "stop_pipeline_execution": self._stop,
        }

    def _start(self, request: Any) -> str:
        # The API takes a name or an ARN; moto only a name.
        pipeline = str(request._get_param("PipelineName")).rpartition("/")[2]
        token = request._get_param("ClientRequestToken")
        if not isinstance(token, str) or len(token) not in _TOKEN_LENGTHS:
            raise refused(
                "ValidationException",
                "Value at 'clientRequestToken' failed to satisfy constraint: length between 32 and 128",
            )
        parameters: Iterable[Mapping[str, str]] = request._get_param("PipelineParameters") or []
        given = {parameter["Name"]: parameter["Value"] for parameter in parameters}
        with self._shared.lock:
            if (pipeline, token) not in self._tokens:
                self._tokens[pipeline, token] = self._started(request, pipeline, token, given)
            return json.dumps({"PipelineExecutionArn": self._tokens[pipeline, token]})

    def _started(self, request: Any, pipeline: str, token: str, given: Mapping[str, str]) -> str:
        backend = request.sagemaker_backend
        if pipeline not in backend.pipelines:
            raise not_found(f"Pipeline '{pipeline}' does not exist.")
        described = backend.pipelines[pipeline]
        definition = Definition(described.pipeline_definition, given)
        arn = str(
            backend.start_pipeline_execution(
                pipeline,
                request._get_param("PipelineExecutionDisplayName"),
                [{"Name": name, "Value": value} for name, value in given.items()],
                request._get_param("PipelineExecutionDescription"),
                request._get_param("ParallelismConfiguration"),
                token,
            )["PipelineExecutionArn"]
        )
        recorded = described.pipeline_executions[arn]
        now = self._shared.now()
        recorded.creation_time = recorded.start_time = recorded.last_modified_time = now
        recorded.pipeline_execution_status = "Executing"
        plans = self._plans[pipeline]
        self._executions[arn] = execution = _Execution(
            arn=arn,
            pipeline_arn=described.arn,
            definition=definition,
            plan=plans.popleft() if plans else Ending(),
            recorded=recorded,
            backend=backend,
            started=now,
        )
        execution.steps = [_step(step, "Executing", now) for step in definition.steps[:1]]
        self.starts.append(PipelineStart(pipeline, arn, given))
        return arn

    def _describe(self, request: Any) -> ActionResult:
        told: list[Event] = []
        with self._shared.lock:
            execution = self._found(request._get_param("PipelineExecutionArn"))
            execution.looks += 1
            if execution.plan.after_looks is not None:
                if execution.looks >= execution.plan.after_looks:
                    told = self._end(execution, execution.plan)
            recorded = execution.recorded
            answer = {
                "PipelineArn": execution.pipeline_arn,
                "PipelineExecutionArn": execution.arn,
                "PipelineExecutionDisplayName": recorded.pipeline_execution_display_name,
                "PipelineExecutionStatus": execution.status,
                "PipelineExecutionDescription": recorded.pipeline_execution_description,
                "FailureReason": recorded.pipeline_execution_failure_reason,
                "CreationTime": recorded.creation_time,
                "LastModifiedTime": recorded.last_modified_time,
            }
        for one in told:
            self._shared.tell(one)
        return ActionResult({name: value for name, value in answer.items() if value is not None})

    def _list_steps(self, request: Any) -> ActionResult:
        with self._shared.lock:
            execution = self._found(request._get_param("PipelineExecutionArn"))
            steps = list(execution.steps)
        if request._get_param("SortOrder") == "Descending":
            steps.reverse()
        return ActionResult({"PipelineExecutionSteps": steps})

    def _stop(self, request: Any) -> ActionResult:
        arn = str(request._get_param("PipelineExecutionArn"))
        with self._shared.lock:
            status = self._found(arn).status
        if status != "Executing":
            raise refused(
                "ValidationException",
                f"Pipeline execution with ARN {arn} is {status} and cannot be stopped.",
            )
        self.end(arn, Ending("Stopped"))
        return ActionResult({"PipelineExecutionArn": arn})

    def _found(self, arn: Any) -> _Execution:
        execution = self._executions.get(str(arn))
        if execution is None:
            raise not_found(f"Pipeline execution with ARN {arn} does not exist.")
        return execution

    def _end(self, execution: _Execution, ending: Ending) -> list[Event]:
        """End it, once; the events that tell of it."""
        if execution.ended is not None:
            return []
        now = self._shared.now()
        execution.ended = now
        execution.recorded.pipeline_execution_status = ending.status
        execution.recorded.pipeline_execution_failure_reason = ending.reason or None
        execution.recorded.last_modified_time = now
        execution.steps = list(_steps(execution, ending, now, self._made))
        return [_event(execution, now)] * ending.told


def _steps(
    execution: _Execution,
    ending: Ending,
    now: datetime,
    made: Callable[[Mapping[str, Any]], None],
) -> Iterable[dict[str, Any]]:
    """The steps that ran: all of them, or those up to the one where it ended."""
    steps = execution.definition.steps
    last = ending.step or (steps[0]["Name"] if steps else "")
    for defined in steps:
        here = ending.status != "Succeeded" and defined["Name"] == last
        step = _step(defined, ending.status if here else "Succeeded", execution.started)
        step["EndTime"] = now
        if here:
            if ending.reason:
                step["FailureReason"] = ending.reason
            yield step
            return
        step["Metadata"] = _metadata(execution, defined, now, made)
        yield step


def _step(defined: Mapping[str, Any], status: str, started: datetime) -> dict[str, Any]:
    return {
        "StepName": defined["Name"],
        "StartTime": started,
        "StepStatus": status,
        "AttemptCount": 1,
        "Metadata": {},
    }


def _metadata(
    execution: _Execution,
    defined: Mapping[str, Any],
    now: datetime,
    made: Callable[[Mapping[str, Any]], None],
) -> dict[str, Any]:
    kind = str(defined["Type"])
    if kind == "RegisterModel":
        return {"RegisterModel": {"Arn": _register(execution, defined)}}
    if kind not in _METADATA:
        return {}
    # Names of jobs as pipelines make them: pipelines-<execution>-<step>-<random>.
    name = f"pipelines-{execution.name}-{defined['Name']}"[:63].rstrip("-")
    arn = f"{execution.pipeline_arn.partition(':pipeline/')[0]}:{_JOB_KINDS[kind]}/{name}"
    if kind == "Processing":
        made(
            {
                **execution.definition.resolved(defined.get("Arguments", {}), execution.name),
                "ProcessingJobName": name,
                "ProcessingJobArn": arn,
                "ProcessingJobStatus": "Completed",
                "CreationTime": execution.started.isoformat(),
                "ProcessingEndTime": now.isoformat(),
                "LastModifiedTime": now.isoformat(),
            }
        )
    return {_METADATA[kind]: {"Arn": arn}}


def _register(execution: _Execution, defined: Mapping[str, Any]) -> str:
    """Register the model package of a step; its MetadataProperties name the execution."""
    arguments = execution.definition.resolved(defined.get("Arguments", {}), execution.name)
    group = arguments["ModelPackageGroupName"]
    if group not in execution.backend.model_package_groups:
        # as the service does for a RegisterModel step
        execution.backend.create_model_package_group(group, "", [])
    return str(
        execution.backend.create_model_package(
            model_package_name=None,
            model_package_group_name=group,
            model_package_description=arguments.get("ModelPackageDescription"),
            inference_specification=arguments.get("InferenceSpecification"),
            validation_specification=None,
            source_algorithm_specification=None,
            certify_for_marketplace=False,
            tags=None,
            model_approval_status=arguments.get("ModelApprovalStatus", "PendingManualApproval"),
            metadata_properties={"GeneratedBy": execution.arn},
            model_metrics=arguments.get("ModelMetrics"),
            client_token=None,
            customer_metadata_properties=arguments.get("CustomerMetadataProperties"),
            drift_check_baselines=arguments.get("DriftCheckBaselines"),
            domain=None,
            task=None,
            sample_payload_url=None,
            additional_inference_specifications=None,
        )
    )


def _event(execution: _Execution, now: datetime) -> Event:
    """The event as in the published example: fields in lowerCamelCase, times as text."""
    recorded = execution.recorded
    detail = {
        "pipelineExecutionDisplayName": recorded.pipeline_execution_display_name,
        "pipelineExecutionDescription": recorded.pipeline_execution_description,
        "currentPipelineExecutionStatus": execution.status,
        "previousPipelineExecutionStatus": "Executing",
        "executionStartTime": text_of(execution.started),
        "executionEndTime": text_of(now),
        "pipelineArn": execution.pipeline_arn,
        "pipelineExecutionArn": execution.arn,
    }
    return event(
        EXECUTION_CHANGED,
        [execution.pipeline_arn, execution.arn],
        {name: value for name, value in detail.items() if value is not None},
        now,
    )
