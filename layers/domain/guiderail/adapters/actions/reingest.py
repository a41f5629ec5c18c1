"""Re-ingestion into a feature group: one execution of ReingestionMachine for each remediation.

Source: Step Functions API reference, StartExecution (a name is taken for 90 days after its execution ended)
and DescribeExecution.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from guiderail.adapters.actions.calls import acting
from guiderail.adapters.clients import client
from guiderail.adapters.reingestion_files import S3ReingestionFiles
from guiderail.errors import AlreadyExistsError, NotFoundError, SettingsError
from guiderail.model.remediation import ActionReport, ActionState, Remediation
from guiderail.services.reingest_planning import (
    Summary,
    listing_of,
    plan_of,
    request_of,
    told_by,
)

_SUMMARY = msgspec.json.Decoder(Summary)
_ENDED = {"done": ActionState.DONE, "stopped": ActionState.STOPPED}


class ReingestAction:
    """Begins and follows re-ingestions; the handle is the execution's ARN."""

    def __init__(self, machine: str, image: str = "", machines: int = 4) -> None:
        """Start executions of a state machine.

        Args:
            machine: ARN of ReingestionMachine; empty: it is not deployed.
            image: Image of a Processing job; empty: there is none, whatever the size.
            machines: How many machines such a job may have.
        """
        self._machine = machine
        self._machines = machines if image else 0

    def begin(self, remediation: Remediation, now: datetime) -> ActionReport:
        """Plan and start the re-ingestion; at most four calls and one per 1,000 objects.

        Raises:
            PermanentError: Wrong parameters, nothing there to ingest, no permission, no state machine.
            TransientError: It may work later.
        """
        handle = self._handle(remediation)
        try:
            # what was begun is not planned again: its source may have changed since
            return _report(handle)
        except NotFoundError:
            pass
        request = request_of(remediation.parameters)
        listing = listing_of(request.source, S3ReingestionFiles().objects(request.source))
        plan = plan_of(remediation.id, request, listing, self._machines)
        try:
            with acting(f"StartExecution {self._machine}"):
                client("stepfunctions").start_execution(
                    stateMachineArn=self._machine,
                    name=remediation.id,
                    input=msgspec.json.encode(remediation.parameters).decode(),
                )
        except AlreadyExistsError:
            pass
        return ActionReport(
            state=ActionState.RUNNING,
            handle=handle,
            text=plan.text,
            result={
                "way": plan.way,
                "objects": str(plan.objects),
                "bytes": str(plan.size),
                "workers": str(plan.workers),
                "transitions": str(plan.transitions),
                "why": plan.why,
            },
        )

    def look(self, remediation: Remediation, now: datetime) -> ActionReport:
        """How the re-ingestion stands: one call.

        Raises:
            PermanentError: It is gone, or may not be looked at.
            TransientError: It may work later.
        """
        return _report(remediation.handle or self._handle(remediation))

    def _handle(self, remediation: Remediation) -> str:
        # arn:<partition>:states:<region>:<account>:stateMachine:<name>
        parts = self._machine.split(":")
        if len(parts) != 7:
            raise SettingsError(
                f"GUIDERAIL_REINGESTION_MACHINE is {self._machine!r}, not a state machine's ARN",
                remedy="Deploy the template with ReingestionSourceArns and FeatureGroupArns",
            )
        return ":".join([*parts[:5], "execution", parts[6], remediation.id])


def _report(handle: str) -> ActionReport:
    with acting(f"DescribeExecution {handle}"):
        described = client("stepfunctions").describe_execution(executionArn=handle)
    match described["status"]:
        case "RUNNING" | "PENDING_REDRIVE":
            return ActionReport(
                state=ActionState.RUNNING,
                handle=handle,
                text=f"re-ingesting since {described['startDate'].astimezone(UTC):%Y-%m-%d %H:%M} UTC",
            )
        case "ABORTED":
            why = described.get("cause") or described.get("error") or "no reason given"
            return ActionReport(
                state=ActionState.STOPPED,
                handle=handle,
                text=f"the re-ingestion was stopped by hand ({why}); what it had written stays",
            )
        case "TIMED_OUT":
            return ActionReport(
                state=ActionState.FAILED,
                handle=handle,
                text="the re-ingestion ran out of time; what it had written stays",
            )
        case "SUCCEEDED":
            return _summarised(handle, described.get("output", ""), "")
        case _:
            return _summarised(handle, described.get("cause", ""), described.get("error", ""))


def _summarised(handle: str, content: str, error: str) -> ActionReport:
    try:
        summary = _SUMMARY.decode(content)
    except msgspec.DecodeError:
        # it ended before there was anything to sum up; done is only what says so
        return ActionReport(
            state=ActionState.FAILED,
            handle=handle,
            text=f"the re-ingestion failed: {told_by(content) or error or 'it says nothing'}"[
                :2000
            ],
        )
    state = _ENDED.get(summary.state, ActionState.FAILED)
    result = {
        "way": str(summary.way),
        "objects": str(summary.objects),
        "finished": str(summary.finished),
        "written": str(summary.written),
        "rejected": str(summary.rejected),
        "passed_over": str(summary.passed_over),
    }
    if summary.rejects:
        result["rejects"] = summary.rejects
    return ActionReport(state=state, handle=handle, text=summary.text, result=result)
