"""Events of what remediations begin: pipelines, endpoints, model packages, processing jobs, executions.

Nothing is taken from an event but that something ended: how, SageMaker is asked. Source of the shapes: the
EventBridge schema registry and the SageMaker and Step Functions developer guides. They quote statuses in
another casing than the API (``IN_SERVICE``), repeat the key ``source`` with a list, and leave out fields.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from guiderail.errors import MalformedEventError

SOURCES = frozenset({"aws.sagemaker", "aws.states", "guiderail.probe"})

_PIPELINE_ENDS = frozenset({"succeeded", "failed", "stopped", "completedwithfailures"})
_ENDPOINT_ENDS = frozenset({"inservice", "outofservice", "failed", "updaterollbackfailed"})
_APPROVAL_ENDS = frozenset({"approved", "rejected"})
_JOB_ENDS = frozenset({"completed", "failed", "stopped"})
_EXECUTION_ENDS = frozenset({"succeeded", "failed", "timedout", "aborted"})


class ActionEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What an event says.

    Attributes:
        what: Its detail-type.
        status: As the event spells it.
        ended: Whether anybody has to look; everything else goes on.
        handles: By which a remediation may know what ended.
        remediation: Id of the remediation whose own state machine broke off.
    """

    what: str
    status: str
    ended: bool
    handles: tuple[str, ...] = ()
    remediation: str = ""


def parse_action_event(raw: bytes | str) -> ActionEvent:
    """Read an EventBridge event.

    Args:
        raw: The event as JSON; in an SQS record this is the body.

    Raises:
        MalformedEventError: It is not JSON, of another source or detail-type, or lacks a field that says
            what it is about; the message names the field.
    """
    try:
        event = msgspec.json.decode(raw)
    except (ValueError, RecursionError) as exc:
        raise MalformedEventError(f"the event is not JSON: {exc}") from exc
    if not isinstance(event, dict):
        raise MalformedEventError("the event is not a JSON object")
    source = event.get("source")
    sources = source if isinstance(source, list) else [source]
    if not any(isinstance(each, str) and each in SOURCES for each in sources):
        raise MalformedEventError(f"source is {source!r}, not one of {sorted(SOURCES)}")
    what, detail = event.get("detail-type"), event.get("detail")
    read = _READERS.get(what) if isinstance(what, str) else None
    if read is None:
        raise MalformedEventError(f"detail-type is {what!r}, not one of {sorted(_READERS)}")
    if not isinstance(detail, dict):
        raise MalformedEventError("detail is not a JSON object")
    return read(str(what), detail)


def endpoint_handle(name: str) -> str:
    """How an endpoint is known; events and ARNs have its name in lower case."""
    return f"endpoint/{name.lower()}"


def schedule_handle(name: str) -> str:
    """How a monitoring schedule is known; ARNs have its name in lower case."""
    return f"monitoring-schedule/{name.lower()}"


def _pipeline(what: str, detail: Mapping[str, Any]) -> ActionEvent:
    status = _text(detail, "currentPipelineExecutionStatus")
    return ActionEvent(
        what=what,
        status=status,
        ended=_plain(status) in _PIPELINE_ENDS,
        handles=(_text(detail, "pipelineExecutionArn"),),
    )


def _endpoint(what: str, detail: Mapping[str, Any]) -> ActionEvent:
    status, arn = _text(detail, "EndpointStatus"), _text(detail, "EndpointArn")
    return ActionEvent(
        what=what,
        status=status,
        ended=_plain(status) in _ENDPOINT_ENDS,
        handles=(arn, endpoint_handle(arn.rpartition("/")[2])),
    )


def _model_package(what: str, detail: Mapping[str, Any]) -> ActionEvent:
    """Approved, rejected or failed; who awaits it knows the pipeline execution that registered it."""
    arn = _text(detail, "ModelPackageArn")
    approval, made = _said(detail, "ModelApprovalStatus"), _said(detail, "ModelPackageStatus")
    metadata = detail.get("MetadataProperties")
    made_by = _said(metadata, "GeneratedBy").strip() if isinstance(metadata, Mapping) else ""
    return ActionEvent(
        what=what,
        status=approval or made,
        ended=_plain(approval) in _APPROVAL_ENDS or _plain(made) == "failed",
        handles=(made_by, arn) if made_by else (arn,),
    )


def _processing_job(what: str, detail: Mapping[str, Any]) -> ActionEvent:
    status, arn = _text(detail, "ProcessingJobStatus"), _text(detail, "ProcessingJobArn")
    schedule = _said(detail, "MonitoringScheduleArn").rpartition("/")[2]
    return ActionEvent(
        what=what,
        status=status,
        ended=_plain(status) in _JOB_ENDS,
        handles=(arn, schedule_handle(schedule)) if schedule else (arn,),
    )


def _execution(what: str, detail: Mapping[str, Any]) -> ActionEvent:
    status = _text(detail, "status")
    ended = _plain(status) in _EXECUTION_ENDS
    broke_off = ended and _plain(status) != "succeeded"
    return ActionEvent(
        what=what,
        status=status,
        ended=ended,
        handles=(_text(detail, "executionArn"),),
        remediation=_remediation(_said(detail, "input")) if broke_off else "",
    )


_READERS: dict[str, Callable[[str, Mapping[str, Any]], ActionEvent]] = {
    "SageMaker Model Building Pipeline Execution Status Change": _pipeline,
    "SageMaker Endpoint State Change": _endpoint,
    "SageMaker Model Package State Change": _model_package,
    "SageMaker Processing Job State Change": _processing_job,
    "Step Functions Execution Status Change": _execution,
}

DETAIL_TYPES = frozenset(_READERS)


def _remediation(given: str) -> str:
    """The remediation that an execution was started for, from its input."""
    try:
        told = msgspec.json.decode(given)
    except (ValueError, RecursionError):
        return ""
    named = told.get("remediation") if isinstance(told, dict) else None
    return named if isinstance(named, str) else ""


def _plain(status: str) -> str:
    return status.replace("_", "").lower()


def _said(detail: Mapping[str, Any], field: str) -> str:
    value = detail.get(field)
    return value if isinstance(value, str) else ""


def _text(detail: Mapping[str, Any], field: str) -> str:
    value = detail.get(field)
    if not isinstance(value, str) or not value:
        raise MalformedEventError(f"detail.{field} is {value!r}, not a text")
    return value
