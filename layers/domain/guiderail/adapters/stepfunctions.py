"""Step Functions: the state machine that drives remediations."""

from __future__ import annotations

from datetime import datetime

import msgspec
from botocore.exceptions import ClientError

from guiderail.adapters.clients import client, translated
from guiderail.errors import AlreadyExistsError

_NOBODY_WAITS = frozenset({"TaskTimedOut", "TaskDoesNotExist", "InvalidToken"})
"""Errors of SendTaskSuccess that mean that the wait is over (Step Functions API reference)."""


class StepFunctionsDriver:
    """Implements RemediationDriver on one state machine."""

    def __init__(self, machine_arn: str) -> None:
        """Drive by the state machine of this ARN."""
        self._machine_arn = machine_arn

    def start(self, remediation_id: str, at: datetime, again: str = "") -> None:
        """Start an execution of the remediation's name, or of ``<name>-<again>``: once, whoever asks.

        A name is taken until 90 days after an execution's end (Step Functions quotas).
        """
        given = {"remediation": remediation_id, "at": at.isoformat()}
        name = f"{remediation_id}-{again}" if again else remediation_id
        try:
            with translated(f"StartExecution {name}"):
                client("stepfunctions").start_execution(
                    stateMachineArn=self._machine_arn,
                    name=name,
                    input=msgspec.json.encode(given).decode(),
                )
        except AlreadyExistsError:
            return

    def go_on(self, token: str, at: datetime) -> bool:
        """Answer a wait's task token; False if nothing waits with it any more."""
        with translated("SendTaskSuccess"):
            try:
                client("stepfunctions").send_task_success(
                    taskToken=token, output=msgspec.json.encode({"at": at.isoformat()}).decode()
                )
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _NOBODY_WAITS:
                    return False
                raise
        return True
