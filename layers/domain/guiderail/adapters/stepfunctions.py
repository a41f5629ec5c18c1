"""Step Functions: alerts through a Standard workflow, which runs a named execution exactly once."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from guiderail.adapters.clients import client, translated
from guiderail.errors import AlreadyExistsError
from guiderail.model.alert import Alert


class StateMachineAlerts:
    """Implements Alerts: the execution's name is the alert's id, kept by the service for 90 days.

    SNS cannot tell a repeated publish from a second one (docs/decisions): the state machine publishes
    to people and to the bus, each once.
    """

    def __init__(self, state_machine_arn: str) -> None:
        """Publish through this state machine."""
        self._arn = state_machine_arn

    def publish(self, alert: Alert) -> None:
        """Start the alert's execution; one that exists already is the same alert."""
        with suppress(AlreadyExistsError), translated(f"StartExecution {self._arn}"):
            client("stepfunctions").start_execution(
                stateMachineArn=self._arn,
                name=alert.alert_id,
                input=msgspec.json.encode(alert).decode(),
            )
