"""What remediations do to the world: one module per kind of action, each loaded when it is first used."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from guiderail.model.policy import ActionKind
from guiderail.model.remediation import ActionReport, Lineage, Remediation


class _Action(Protocol):
    def begin(self, remediation: Remediation, now: datetime, /) -> ActionReport: ...

    def look(self, remediation: Remediation, now: datetime, /) -> ActionReport: ...


class ActionAdapters:
    """Implements Actions."""

    def __init__(
        self,
        reingestion_machine: str = "",
        reingestion_image: str = "",
        reingestion_machines: int = 4,
    ) -> None:
        """Act; all are of re-ingestion: its state machine's ARN, the image of bulk jobs, and their machines."""
        self._reingestion = (reingestion_machine, reingestion_image, reingestion_machines)

    def begin(self, remediation: Remediation, now: datetime) -> ActionReport:
        """Begin the action; doing it again for the same remediation begins nothing more."""
        return self._action(remediation.kind).begin(remediation, now)

    def look(self, remediation: Remediation, now: datetime) -> ActionReport:
        """How the action stands."""
        return self._action(remediation.kind).look(remediation, now)

    def lineage(self, remediation: Remediation) -> Lineage:
        """Which model is deployed now, and whether the baseline in use is its own."""
        from guiderail.adapters.actions import lineage

        return lineage.lineage(remediation)

    def _action(self, kind: ActionKind) -> _Action:
        # loaded one by one: who retrains does not wait for what re-ingestion needs
        match kind:
            case ActionKind.RETRAIN:
                from guiderail.adapters.actions import retrain

                return retrain
            case ActionKind.REINGEST:
                from guiderail.adapters.actions.reingest import ReingestAction

                return ReingestAction(*self._reingestion)
            case ActionKind.REBASELINE:
                from guiderail.adapters.actions import rebaseline

                return rebaseline
            case ActionKind.ROLLBACK:
                from guiderail.adapters.actions import rollback

                return rollback
            case ActionKind.PAUSE | ActionKind.RESUME | ActionKind.RUN_NOW:
                from guiderail.adapters.actions import schedules

                return schedules
            case ActionKind.INVOKE:
                from guiderail.adapters.actions import invoke

                return invoke
            case ActionKind.TICKET:
                from guiderail.adapters.actions import ticket

                return ticket
