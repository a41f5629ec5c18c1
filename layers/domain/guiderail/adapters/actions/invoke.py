"""An own Lambda function or state machine, told what it is for.

Lambda has no key against repeats: what is invoked has to look at ``remediation`` in its payload, which is
the same for every try. A state machine's execution is named by it, so it starts once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from guiderail.adapters.actions.calls import acting, named, text_of
from guiderail.adapters.clients import client
from guiderail.errors import AlreadyExistsError, RejectedRequestError
from guiderail.model.remediation import ActionReport, ActionState, Remediation

ANSWER_SECONDS = 50.0
"""How long a function that is waited for may take; what takes longer is a state machine's task."""

_LARGEST_ANSWER = 200
_ENDED = {
    "SUCCEEDED": ActionState.DONE,
    "FAILED": ActionState.FAILED,
    "TIMED_OUT": ActionState.FAILED,
    "ABORTED": ActionState.STOPPED,
}
"""Of ExecutionStatus in the Step Functions API model; whatever else there is goes on."""

_REMEDY = "Name the ARN of a Lambda function or of a standard state machine"


def begin(remediation: Remediation, now: datetime) -> ActionReport:
    """Invoke the function, or start the state machine: one call.

    Raises:
        PermanentError: No such target, or it may not be called.
        TransientError: Throttled or over a quota; or a function did not answer within 50 seconds, and
            is called again with the same ``remediation``.
    """
    target = text_of(remediation, "target", _REMEDY)
    payload = remediation.parameters.get("payload") or {}
    if not isinstance(payload, Mapping):
        raise RejectedRequestError(
            f"{remediation.action}: payload is {payload!r}", remedy="Write NAME: value for each"
        )
    told = msgspec.json.encode({**payload, "remediation": remediation.id})
    waits = bool(remediation.parameters.get("wait"))
    parts = target.split(":")
    match parts[2:3]:
        case ["lambda"] if "function" in parts[5:6]:
            return _invoke(target, told, waits=waits)
        case ["states"] if "stateMachine" in parts[5:6] and len(parts) > 6:
            return _start(target, remediation.id, told.decode(), waits=waits)
        case _:
            raise RejectedRequestError(
                f"{remediation.action}: target is {target}",
                remedy=f"{_REMEDY}, and push the policy",
            )


def look(remediation: Remediation, now: datetime) -> ActionReport:
    """How the execution stands: one DescribeExecution."""
    arn = remediation.handle
    with acting(f"DescribeExecution {arn}"):
        execution = client("stepfunctions").describe_execution(executionArn=arn)
    status = str(execution["status"])
    why = "; ".join(str(execution[key]) for key in ("error", "cause") if execution.get(key))
    return ActionReport(
        state=_ENDED.get(status, ActionState.RUNNING),
        handle=arn,
        text=f"{execution.get('name', arn)} is {status}{f': {why}' if why else ''}"[:1000],
        result={"execution_arn": arn},
    )


def _invoke(target: str, told: bytes, *, waits: bool) -> ActionReport:
    name = target.partition(":function:")[2]
    with named("target", target, _REMEDY), acting(f"Invoke {name}"):
        # tried once: trying again belongs to the state machine, which knows about it
        answer = client("lambda", ANSWER_SECONDS, 1).invoke(
            FunctionName=target,
            InvocationType="RequestResponse" if waits else "Event",
            Payload=told,
        )
        content = answer["Payload"].read()
    if answer.get("FunctionError"):
        return ActionReport(state=ActionState.FAILED, text=f"{name} failed: {_error(content)}")
    if not waits:
        return ActionReport(
            state=ActionState.DONE, text=f"{name} has taken it; nobody waits for it"
        )
    said = content.decode("utf-8", "replace")[:_LARGEST_ANSWER]
    return ActionReport(state=ActionState.DONE, text=f"{name} answered", result={"answer": said})


def _start(target: str, name: str, told: str, *, waits: bool) -> ActionReport:
    parts = target.split(":")
    arn = ":".join([*parts[:5], "execution", parts[6], name])
    try:
        with named("target", target, _REMEDY), acting(f"StartExecution {target}"):
            started = client("stepfunctions").start_execution(
                stateMachineArn=target, name=name, input=told
            )
        arn = str(started["executionArn"])
    except AlreadyExistsError:
        # started before: its name is the remediation's
        pass
    state = ActionState.RUNNING if waits else ActionState.DONE
    text = f"{parts[6]} runs" if waits else f"{parts[6]} was started; nobody waits for it"
    return ActionReport(state=state, handle=arn, text=text, result={"execution_arn": arn})


def _error(content: bytes) -> str:
    try:
        told: Any = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return "it says nothing readable"
    message = told.get("errorMessage") if isinstance(told, dict) else None
    return str(message or "it says no reason")[:500]
