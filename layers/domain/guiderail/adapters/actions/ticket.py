"""A ticket: nothing is done, the record is all there is."""

from __future__ import annotations

from datetime import datetime

from guiderail.model.remediation import ActionReport, ActionState, Remediation


def begin(remediation: Remediation, now: datetime) -> ActionReport:
    """Done at once: no call."""
    return ActionReport(
        state=ActionState.DONE, text="Nothing was changed: this is a record for people"
    )


def look(remediation: Remediation, now: datetime) -> ActionReport:
    """The same."""
    return begin(remediation, now)
