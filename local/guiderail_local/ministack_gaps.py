"""What MiniStack's Step Functions lacks of the real one and the project's machines need.

Run on MiniStack's own interpreter, so it imports nothing of the project. MiniStack's version is pinned; each
gap has a test in tests/e2e that fails without this.

* Distributed Map in a JSONata machine: nothing of ItemReader, ItemSelector, MaxConcurrency, Output is evaluated.
* TimeoutSeconds as an expression is not evaluated.
* A function's error is not named by its class, as Lambda does and as Retry of a state machine wants it.
* ``sagemaker:createProcessingJob.sync`` is not there.
"""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any

_NUMBERS = ("MaxConcurrency", "ToleratedFailureCount", "ToleratedFailurePercentage")
_SECONDS_BETWEEN_LOOKS = 0.2


def close() -> None:
    """Put what is missing into MiniStack; before it serves."""
    from ministack.services import stepfunctions

    _evaluate_distributed_maps(stepfunctions)
    _evaluate_time_outs(stepfunctions)
    _name_errors()
    stepfunctions._SERVICE_DISPATCH["arn:aws:states:::sagemaker:createProcessingJob"] = (
        lambda _resource, request: _run_job(stepfunctions._ExecutionError, request)
    )


def _is_jsonata(machine: Any, state: dict[str, Any], context: dict[str, Any]) -> bool:
    return bool(machine._state_query_language(state, context) == "JSONata")


def _evaluate_distributed_maps(machine: Any) -> None:
    run, resolve = machine._run_distributed_map, machine._resolve_params_obj

    def resolved(template: Any, data: Any, context: Any = None, *more: Any) -> Any:
        if context and context.get("QueryLanguage") == "JSONata":
            return machine._apply_jsonata_template(template, data, context)
        return resolve(template, data, context, *more)

    def run_map(
        state: dict[str, Any],
        given: Any,
        effective: Any,
        processor: Any,
        execution: Any,
        context: Any,
    ) -> Any:
        if not _is_jsonata(machine, state, context):
            return run(state, given, effective, processor, execution, context)
        numbers = {
            name: machine._jsonata_state_field(state, name, "number", given, context)
            for name in _NUMBERS
            if name in state
        }
        results, following = run(
            {**state, **numbers}, given, effective, processor, execution, context
        )
        machine._apply_state_assign(state, given, context, result=results)
        return (
            machine._apply_jsonata_output(state, given, context, result=results, default=results),
            following,
        )

    machine._resolve_params_obj, machine._run_distributed_map = resolved, run_map


def _evaluate_time_outs(machine: Any) -> None:
    execute = machine._execute_task

    def with_time_out(state: dict[str, Any], given: Any, execution: Any, context: Any) -> Any:
        if isinstance(state.get("TimeoutSeconds"), str):
            try:
                seconds = machine._jsonata_state_field(
                    state, "TimeoutSeconds", "number", given, context
                )
            except machine._ExecutionError as error:
                catcher = machine._find_matching_catcher(state.get("Catch", []), error.error)
                if catcher is None:
                    raise
                told = {"Error": error.error, "Cause": error.cause}
                output = machine._apply_catcher(catcher, given, context, "JSONata", told)
                return output, catcher["Next"]
            state = {**state, "TimeoutSeconds": seconds}
        return execute(state, given, execution, context)

    machine._execute_task = with_time_out


def _name_errors() -> None:
    from ministack.services import lambda_svc

    execute = lambda_svc._execute_function_with_config_scope

    def with_class(function: Any, event: Any) -> Any:
        result = execute(function, event)
        body = result.get("body")
        if result.get("error") and body.get("errorType") == "Runtime.HandlerError":
            # the traceback of its log ends with "module.Class: message"
            for line in result.get("log", "").splitlines():
                told = re.fullmatch(r"(?:\w+\.)*(\w+)(?:: (.*))?", line)
                if told and (told[2] or "") == body["errorMessage"].partition("\n")[0]:
                    body["errorType"] = told[1]
        return result

    lambda_svc._execute_function_with_config_scope = with_class


def _run_job(failure: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Create a processing job and return its description when it has ended well."""
    import botocore.session
    from botocore.exceptions import ClientError

    client: Any = botocore.session.get_session().create_client(
        "sagemaker", endpoint_url=os.environ["GUIDERAIL_SAGEMAKER_URL"]
    )
    try:
        client.create_processing_job(**request)
        while True:
            job = client.describe_processing_job(ProcessingJobName=request["ProcessingJobName"])
            if job["ProcessingJobStatus"] not in ("InProgress", "Stopping"):
                break
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    except ClientError as error:
        raise failure("SageMaker.AmazonSageMakerException", str(error)) from error
    description: dict[str, Any] = json.loads(json.dumps(job, default=str))
    if job["ProcessingJobStatus"] != "Completed":
        raise failure("States.TaskFailed", json.dumps(description))
    return description
