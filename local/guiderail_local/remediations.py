"""Watching remediations on the local cloud: their records, and the state machines that drive them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from guiderail.adapters.dynamo_remediations import DynamoRemediations
from guiderail.model.remediation import Remediation, RemediationState
from guiderail.settings import settings_from

from guiderail_local.cloud import LocalCloud
from guiderail_local.errors import RemediationStuckError

_ALWAYS = datetime(2000, 1, 1, tzinfo=UTC)
_POLL_SECONDS = 0.05
_MOST_EVENTS = 12
_DRIVER, _REINGESTION = "RemediationMachine", "ReingestionMachine"


class RemediationWatch:
    """Reads what remediations and their machines do; changes nothing."""

    def __init__(self, cloud: LocalCloud) -> None:
        """Watch those of a deployed stack."""
        settings = settings_from(cloud.variables("OnDue"))
        self._cloud = cloud
        self._records = DynamoRemediations(settings.table, settings.audit_days)
        self._machines = {
            name: cloud.stack.physical_id(name)
            for name in (_DRIVER, _REINGESTION)
            if name in cloud.stack.resources
        }
        self._client = cloud.client("stepfunctions")
        self._rested: dict[str, tuple[int, str]] = {}

    def of(self, endpoint: str) -> list[Remediation]:
        """All remediations of an endpoint, oldest first."""
        with self._cloud.in_environment():
            found = self._records.remediations(_ALWAYS, datetime.max.replace(tzinfo=UTC))
            return [one for one in reversed(list(found)) if one.endpoint == endpoint]

    def restless(self) -> list[str]:
        """Names of the executions that go on by themselves: those that do not wait to be woken."""
        ingesting = [str(execution["name"]) for execution in self._running(_REINGESTION)]
        driving = [str(one["name"]) for one in self._running(_DRIVER) if not self._waits(one)]
        return ingesting + driving

    def until(
        self, remediation_id: str, *states: RemediationState, seconds: float = 20.0
    ) -> Remediation:
        """Wait until a remediation is in one of some states, and its machine at rest.

        Raises:
            RemediationStuckError: It is not, in time; the message has the newest of its machine's history.
        """
        deadline = time.monotonic() + seconds
        while True:
            known = self._known(remediation_id)
            if known and known.state in states and not self.restless():
                return known
            if time.monotonic() > deadline:
                wanted = " or ".join(states)
                found = f"is {known.state} ({known.reason})" if known else "is not there"
                raise RemediationStuckError(
                    f"remediation {remediation_id} {found} after {seconds:g} s, not {wanted}",
                    "\n".join(self.history(remediation_id)),
                )
            time.sleep(_POLL_SECONDS)

    def history(self, remediation_id: str) -> list[str]:
        """The newest lines of the histories of a remediation's machines, and how each stands."""
        lines = []
        for execution in (*self._executions(_DRIVER), *self._executions(_REINGESTION)):
            if _remediation_of(execution["name"]) != _remediation_of(remediation_id):
                continue
            lines.append(f"{execution['name']}: {execution['status']}")
            events = self._client.get_execution_history(
                executionArn=execution["executionArn"], maxResults=_MOST_EVENTS, reverseOrder=True
            )["events"]
            lines += [f"  {_line(event)}" for event in reversed(events)]
        return lines or [f"no state machine drives {remediation_id}"]

    def _known(self, remediation_id: str) -> Remediation | None:
        with self._cloud.in_environment():
            return self._records.remediation(remediation_id)

    def _waits(self, execution: dict[str, Any]) -> bool:
        """Whether an execution waits with a token that its record holds, and has seen all that happened."""
        name = str(execution["executionArn"])
        newest = self._client.get_execution_history(
            executionArn=name, maxResults=1, reverseOrder=True
        )["events"][0]
        resource = newest.get("taskScheduledEventDetails", {}).get("resource", "")
        known = self._known(_remediation_of(execution["name"]))
        if not resource.endswith(".waitForTaskToken") or known is None:
            return False
        if known.state.is_over:
            return True  # another one drove it to its end
        if known.state is RemediationState.RUNNING and self._has_ended(known.handle):
            return False  # the event that says so is on its way
        since, token = self._rested.get(name, (0, ""))
        if not known.token or known.seen != known.changes:
            return False
        if newest["id"] != since and known.token == token:
            return False  # it is about to leave its token
        self._rested[name] = int(newest["id"]), known.token
        return True

    def _has_ended(self, handle: str) -> bool:
        """Whether what a remediation awaits is an execution that ended."""
        if ":states:" not in handle:
            return False
        return bool(self._client.describe_execution(executionArn=handle)["status"] != "RUNNING")

    def _running(self, machine: str) -> Iterator[dict[str, Any]]:
        yield from self._executions(machine, statusFilter="RUNNING")

    def _executions(self, machine: str, **which: str) -> Iterator[dict[str, Any]]:
        if machine in self._machines:
            pages = self._client.get_paginator("list_executions")
            for page in pages.paginate(stateMachineArn=self._machines[machine], **which):
                yield from page["executions"]


def _remediation_of(execution: str) -> str:
    """The remediation of an execution's name, which is its id and may have something after it."""
    return "-".join(execution.split("-")[:2])


def _line(event: dict[str, Any]) -> str:
    details: dict[str, Any] = next(
        (value for key, value in event.items() if key.endswith("EventDetails")), {}
    )
    told = [str(details[key]) for key in ("name", "resource", "error", "cause") if details.get(key)]
    return " ".join([str(event["id"]), str(event["type"]), *told])
