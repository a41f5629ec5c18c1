"""The events that start everything: ``SageMaker Processing Job State Change``, and the clock's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from guiderail.errors import MalformedEventError
from guiderail.model.job import ProcessingJob, job_from

DETAIL_TYPE = "SageMaker Processing Job State Change"
SOURCES = frozenset({"aws.sagemaker", "guiderail.probe"})
_JOB_ARN = re.compile(r"arn:[^:]+:sagemaker:[^:]+:[^:]+:processing-job/.+")

TERMINAL_STATUSES = frozenset({"Completed", "Failed", "Stopped"})


class JobEvent(msgspec.Struct, frozen=True):
    """One processing job reached a terminal status; ``is_probe`` marks a synthetic event."""

    job: ProcessingJob
    is_probe: bool

    @property
    def run_key(self) -> str:
        """Identity of the run: SageMaker may send several events per change, each with another id."""
        return f"{self.job.arn}#{self.job.status}"


def parse_job_event(raw: bytes | str | dict[str, Any]) -> JobEvent:
    """Read an EventBridge event, as text or decoded.

    Args:
        raw: The event; in an SQS record this is the body.

    Raises:
        MalformedEventError: It is not JSON, of another detail-type or source, its job has not ended,
            or a field of the job has another type; the message names the field.
    """
    event: Any = raw
    if isinstance(raw, bytes | str):
        try:
            event = msgspec.json.decode(raw)
        except (ValueError, RecursionError) as exc:
            raise MalformedEventError(f"the event is not JSON: {exc}") from exc
    if not isinstance(event, dict):
        raise MalformedEventError("the event is not a JSON object")
    if event.get("detail-type") != DETAIL_TYPE:
        raise MalformedEventError(
            f"detail-type is {event.get('detail-type')!r}, not {DETAIL_TYPE!r}"
        )
    source = event.get("source")
    if not isinstance(source, str) or source not in SOURCES:
        raise MalformedEventError(f"source is {source!r}, not one of {sorted(SOURCES)}")
    detail = event.get("detail")
    if not isinstance(detail, dict):
        raise MalformedEventError("detail is not a JSON object")
    job = job_from(detail)
    if job.status not in TERMINAL_STATUSES:
        raise MalformedEventError(f"ProcessingJobStatus is {job.status!r}: the job has not ended")
    if not _JOB_ARN.fullmatch(job.arn):
        raise MalformedEventError(
            f"ProcessingJobArn is {job.arn[:100]!r}, not the ARN of a processing job"
        )
    return JobEvent(job=job, is_probe=source == "guiderail.probe")


def parse_clock_event(event: Mapping[str, Any]) -> datetime | None:
    """Read the time for which the clock woke us; None where the event names none.

    Raises:
        MalformedEventError: ``time`` is not an ISO 8601 time with its zone.
    """
    text = event.get("time")
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise MalformedEventError(
            f"time is {text!r}", remedy="Give one with its zone, such as 2026-03-09T08:20:00Z"
        )
    return time
