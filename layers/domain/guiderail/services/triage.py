"""Cause before cure: what most likely is wrong, and which actions that is a reason for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from guiderail.model.incident import Incident, Scope
from guiderail.model.outcome import MonitorKind, Reason
from guiderail.model.policy import UNHEALTHY_CHECKS, ActionKind, Cause, RemediationAction
from guiderail.ports import Incidents
from guiderail.reports.violations import (
    ATTRIBUTION_CHECK,
    DRIFT_CHECK,
    FEED_CHECKS,
    MODEL_QUALITY_CHECKS,
)

DOUBTS = frozenset(
    {
        Reason.ROWS_BELOW_MINIMUM,
        Reason.VIOLATION_COUNT_DISAGREES,
        Reason.STATISTICS_UNREADABLE,
        Reason.ANALYSIS_UNREADABLE,
        Reason.CONSTRAINTS_UNREADABLE,
        Reason.VIOLATIONS_FILE_UNREADABLE,
    }
)
"""What makes a report no ground to act on by itself."""

ELIGIBLE: dict[ActionKind, tuple[Cause, ...]] = {
    ActionKind.RETRAIN: (Cause.QUALITY,),
    ActionKind.REINGEST: (Cause.BROKEN_FEED,),
    ActionKind.REBASELINE: (Cause.DRIFT,),
    ActionKind.ROLLBACK: (Cause.QUALITY,),
}
"""Causes that a kind of action helps against, unless the policy names others; all kinds beside them take any.

Retraining on broken data makes a worse model; drift while quality holds is no reason to pay for one.
"""


def cause_of(incidents: Iterable[Incident]) -> Cause:
    """The cause of what fires on one endpoint, whichever of its schedules saw it.

    The first of ``Cause`` that any incident speaks for, since what comes first explains the rest.
    """
    spoken_for = {_spoken_for(incident) for incident in incidents}
    return next((cause for cause in Cause if cause in spoken_for), Cause.UNKNOWN)


def eligible_causes(action: RemediationAction) -> tuple[Cause, ...]:
    """For which causes an action may act."""
    return action.causes or ELIGIBLE.get(action.kind, tuple(Cause))


def _spoken_for(incident: Incident) -> Cause:
    check = incident.check
    if check in UNHEALTHY_CHECKS:
        return Cause.BROKEN_RUN
    if check in FEED_CHECKS:
        return Cause.BROKEN_FEED
    if incident.kind is MonitorKind.BIAS or incident.subject.facet:
        return Cause.BIAS
    if check in MODEL_QUALITY_CHECKS:
        return Cause.QUALITY
    if check in (DRIFT_CHECK, ATTRIBUTION_CHECK):
        return Cause.DRIFT
    return Cause.UNKNOWN


def firing_at(incidents: Incidents, scope: Scope) -> Mapping[str, Incident]:
    """What fires on an endpoint, whichever schedule sees it; on its schedule where it has none."""
    return {
        key: incident
        for ledger in incidents.firing_ledgers()
        if ledger.scope.place == scope.place
        for key, incident in ledger.incidents.items()
        if incident.state.is_firing
    }
