"""What people are told of a remediation: that it asks for their word, or why nothing more happens by itself.

Pure. A proposal stands beside the messages about the incidents themselves: it has their group and episode,
so that it comes into the same thread, and changes nothing of what tools of others know of them.
"""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from shlex import quote
from typing import Any

from msgspec.structs import replace

from guiderail.model.delivery import Outgoing
from guiderail.model.identity import notification_id
from guiderail.model.incident import Incident, IncidentState, Ledger
from guiderail.model.message import MessageKind, Notification, RemediationPart, Row, RowState
from guiderail.model.notice import Group
from guiderail.model.outcome import Reason
from guiderail.model.policy import Policy, Route, Severity
from guiderail.model.remediation import Gate, GateAnswer, Remediation, RemediationState
from guiderail.rendering.measured import moment
from guiderail.rendering.remediations import words
from guiderail.rendering.wording import cut, printable, subject_line
from guiderail.services.alerting import attribute
from guiderail.services.explaining import REASON_TEXTS
from guiderail.services.labels import route_named
from guiderail.services.notices import facts_of_incident, incident_line
from guiderail.services.outbox import outgoing_of
from guiderail.services.remediation_parts import part_of, people_for
from guiderail.services.telling import MOST_LINES

_KINDS = {
    RemediationState.ASKED: MessageKind.PROPOSAL,
    RemediationState.SUGGESTED: MessageKind.PROPOSAL,
    RemediationState.BLOCKED: MessageKind.PROPOSAL,
    RemediationState.REJECTED: MessageKind.PROPOSAL,
    RemediationState.EXPIRED: MessageKind.PROPOSAL,
    RemediationState.FAILED: MessageKind.PROPOSAL,
    RemediationState.NOT_PROVEN: MessageKind.PROPOSAL,
    RemediationState.RECORDED: MessageKind.REMEDIATION,
    RemediationState.PROVEN: MessageKind.REMEDIATION,
}
"""What is told of; the steps between belong to the incidents, which tell of them themselves."""

_ASKING = (RemediationState.ASKED, RemediationState.SUGGESTED)

_TITLES = {
    RemediationState.ASKED: "{action} asks for your approval",
    RemediationState.SUGGESTED: "{action} is suggested",
    RemediationState.BLOCKED: "{action} is blocked",
    RemediationState.REJECTED: "{action} was rejected",
    RemediationState.EXPIRED: "{action} was not approved in time",
    RemediationState.FAILED: "{action} failed",
    RemediationState.NOT_PROVEN: "{action} is not proven to have helped",
    RemediationState.RECORDED: "{action} is done",
    RemediationState.PROVEN: "{action} worked",
}

_START_BY_HAND = "If it is right all the same, a person can start it"

_UNBLOCK = {
    Reason.SWITCHED_OFF: "Find out why it was stopped; when that is settled, lift the stop: "
    "guiderail remediation resume, with --all or --endpoint as it was thrown",
    Reason.ACTION_UNKNOWN: "Look at the policy: a rule names an action that it has no longer",
    Reason.INCIDENT_OVER: "Nothing: what it was for is over",
    Reason.CAUSE_NOT_ELIGIBLE: "Mend the cause first: this action does not, or would make it worse",
    Reason.REPORT_DOUBTFUL: "Look at the report yourself before anything acts on it",
    Reason.CHANGE_FREEZE: "Wait until the freeze is over; it does not start by itself then",
    Reason.ATTEMPTS_USED: "It was tried before and the incident is still there: look for another cause",
    Reason.COOLING_DOWN: "The target was changed a short while ago: see first whether that helped",
    Reason.BUDGET_USED: "Find out why so much is being mended; guard_rails in the policy has the budget",
    Reason.COST_CEILING: "Decide whether it is worth its cost; guard_rails in the policy has the ceiling",
    Reason.TOO_MANY_TARGETS: "Other targets are under change: wait until they are done",
    Reason.TARGET_LOCKED: "Another remediation changes the same target: wait until it is done",
    Reason.GATE_NOT_EVALUATED: "A gate could not be asked, so nothing was done: mend what it names",
}
"""What a person has to do about the gate that said no."""

_OPEN_AGAIN = "The incident stays open and nothing is tried a second time by itself"

_NEXT_STEPS = {
    RemediationState.SUGGESTED: "Start it if it is right; nothing starts by itself",
    RemediationState.REJECTED: f"Mend it another way. {_OPEN_AGAIN}",
    RemediationState.EXPIRED: f"Decide yourself. {_OPEN_AGAIN}",
    RemediationState.FAILED: f"Find out why it failed and mend that. {_OPEN_AGAIN}",
    RemediationState.NOT_PROVEN: f"Find out why it did not help. {_OPEN_AGAIN}",
}

_LOOK_AT = {
    Reason.BASELINE_STALE: "Make a baseline of the deployed model and point the schedule at it: every "
    f"later run is compared with the wrong one until then. {_OPEN_AGAIN}",
    Reason.BASELINE_UNKNOWN: "Find out which model the baseline in use was made of; if it is not the deployed "
    f"one, make a new one. {_OPEN_AGAIN}",
    Reason.ENDPOINT_UNCHANGED: f"Deploy the model that was made, or find out why nobody did. {_OPEN_AGAIN}",
    Reason.PROOF_TIMED_OUT: "Look at the schedule: too few clean runs came since, so nobody knows whether it "
    f"helped. {_OPEN_AGAIN}",
    Reason.LOCK_LOST: f"Look at what else changed the target meanwhile. {_OPEN_AGAIN}",
    Reason.ACTION_REFUSED: f"Look at its parameters and at the role's permissions. {_OPEN_AGAIN}",
    Reason.ACTION_STOPPED: f"Ask who stopped it, and why. {_OPEN_AGAIN}",
    Reason.ACTION_TIMED_OUT: f"It may still be running: look, and stop it if so. {_OPEN_AGAIN}",
    Reason.DRIVER_FAILED: "Look whether it began, and at the log of Remediate and the state machine. "
    f"{_OPEN_AGAIN}",
}
"""What a person has to do where the reason tells more than the state."""


_NOT_BY_HAND = (
    Reason.INCIDENT_OVER,
    Reason.SWITCHED_OFF,
    Reason.ACTION_UNKNOWN,
    Reason.CAUSE_NOT_ELIGIBLE,
    Reason.REPORT_DOUBTFUL,
    Reason.ATTEMPTS_USED,
)
"""Where nobody is shown how to start it by hand: it would be blocked again, and should be."""


def proposal_of(
    remediation: Remediation,
    ledger: Ledger | None,
    group: Group | None,
    policy: Policy,
    now: datetime,
) -> Outgoing | None:
    """What is told of a remediation as it stands now; the same state tells the same message.

    Args:
        remediation: As it is about to be kept.
        ledger: Where its incidents are; None if it is gone.
        group: The group that people know these by, as it is now. While nobody was told of it, or without
            one, the message stands alone, and the route is the group's or the policy's first.
        policy: Tells route, receiver and action.
        now: When.

    Returns:
        A notification with its deliveries; None for a state that nobody is told of.
    """
    kind = _KINDS.get(remediation.state)
    if kind is None:
        return None
    route = (route_named(policy.route, group.route) if group else None) or policy.route
    incidents = _incidents(remediation, ledger)
    part = part_of(
        remediation,
        policy.remediations.get(remediation.action),
        _next_step(remediation),
        _command(remediation),
    )
    title = printable(_title(remediation))
    severity = max((i.severity for i in incidents), key=lambda s: s.rank, default=Severity.WARNING)
    firing = sum(i.state.is_firing for i in incidents)
    place = f"group|{group.id}" if group else "nobody's"
    # one message for each time that people are asked anew
    asked = f"{remediation.id}|{remediation.state}|{len(remediation.approvals)}|{place}"
    notification = Notification(
        id=notification_id(f"remediation|{asked}"),
        group=group.id if group else f"remediation-{remediation.id}",
        route=route.name,
        receiver=route.receiver,
        kind=kind,
        reasons=(remediation.reason,),
        severity=severity,
        title=title,
        subject=subject_line(title),
        made_at=now,
        number=group.messages + group.quiet if group else 0,
        episode=_episode(group, remediation),
        place=printable(f"{words(remediation.kind)} {remediation.target}"),
        why=tuple(printable(line) for line in _why(remediation, part, route)),
        rows=tuple(_row(incident, group, remediation) for incident in incidents[:MOST_LINES]),
        more=len(remediation.incidents) - len(incidents[:MOST_LINES]),
        firing=firing,
        over=len(incidents) - firing,
        owner=next((i.owner for i in incidents if i.owner), ""),
        runbook=next((i.runbook for i in incidents if i.runbook), ""),
        fingerprint=_labels(remediation, group),
        remediation=part,
        detail_type=(
            "RemediationRequested" if remediation.state in _ASKING else "RemediationFinished"
        ),
    )
    return outgoing_of(
        replace(
            notification,
            attributes=_attributes(notification, remediation),
            detail=_detail(notification, part, remediation),
        ),
        policy,
    )


def _episode(group: Group | None, remediation: Remediation) -> str:
    if group is None:
        return remediation.requested_at.isoformat()
    return group.first_told_at.isoformat() if group.first_told_at else ""


def _incidents(remediation: Remediation, ledger: Ledger | None) -> list[Incident]:
    known = ledger.incidents if ledger else {}
    found = [known[key] for key in remediation.incidents if key in known]
    return sorted(found, key=lambda i: (not i.state.is_firing, -i.severity.rank, i.id))


def _title(remediation: Remediation) -> str:
    said = _TITLES[remediation.state].format(action=cut(remediation.action, 100))
    if remediation.state is RemediationState.BLOCKED:
        same = (a for a in _in_the_way(remediation) if a.reason is remediation.reason)
        said += "".join(f" by {words(answer.gate)}" for answer in islice(same, 1))
    return f"{said}: {remediation.endpoint}"


def _in_the_way(asked: Remediation | RemediationPart) -> list[GateAnswer]:
    """The gates that block it: not those that only wait for a person, nor those that others shut as well."""
    waits = (Gate.MODE, Gate.APPROVAL)
    closed = [answer for answer in asked.gates if not answer.passed and answer.gate not in waits]
    evaluated = [a for a in closed if a.reason is not Reason.GATE_NOT_EVALUATED]
    return evaluated or closed


def _why(remediation: Remediation, part: RemediationPart, route: Route) -> list[str]:
    lines = [REASON_TEXTS[remediation.reason]]
    newest = remediation.timeline[-1] if remediation.timeline else None
    said = newest.text if newest and newest.state is remediation.state else ""
    match remediation.state:
        case RemediationState.ASKED:
            by = f" by {moment(part.expires_at)}" if part.expires_at else ""
            lines.append(f"It starts if {_who(part)} it{by}; otherwise nothing happens.")
        case RemediationState.BLOCKED:
            closed = [f"{words(a.gate)}: {a.text or words(a.reason)}" for a in _in_the_way(part)]
            lines.append(f"In its way: {'; '.join(closed) or said or 'see its timeline'}.")
        case RemediationState.REJECTED:
            by = remediation.rejected_by or "somebody"
            lines.append(f"{by} rejected it{f': {said}' if said else ''}.")
        case _ if said:
            lines.append(f"Namely: {said}.")
        case _:
            pass
    return [*lines, f"Route {route.name} sends it to {route.receiver}."]


def _who(part: RemediationPart) -> str:
    if part.approvals_needed < 2:
        return "somebody approves"
    return "another person approves" if part.approvals else "two people approve"


def _next_step(remediation: Remediation) -> str:
    state, reason = remediation.state, remediation.reason
    match state:
        case RemediationState.ASKED:
            waits = people_for(remediation)
            return "Approve it too, or reject it" if waits else "Approve or reject it"
        case RemediationState.BLOCKED:
            # a remediation can be blocked when its gates had let it pass: its own reason tells more
            return _UNBLOCK.get(reason) or f"{_START_BY_HAND}; its gates are asked again then"
        case _:
            return _LOOK_AT.get(reason) or _NEXT_STEPS.get(state, "")


def _command(remediation: Remediation) -> str:
    match remediation.state:
        case RemediationState.ASKED:
            return f"guiderail remediation approve {quote(remediation.id)}"
        case RemediationState.PROVEN | RemediationState.RECORDED:
            return ""
        case _ if remediation.reason in _NOT_BY_HAND or not remediation.incidents:
            return ""
        case _:
            # one of its incidents says where
            incident, action = quote(remediation.incidents[0]), quote(remediation.action)
            return f"guiderail remediation start {incident} --action {action}"


def _row(incident: Incident, group: Group | None, remediation: Remediation) -> Row:
    before = group.facts.get(incident.id) if group else None
    return Row(
        incident=incident.id,
        name=cut(str(incident.subject)),
        check=cut(incident.check),
        severity=incident.severity,
        reason=incident.reason,
        state=_row_state(incident),
        line=incident_line(incident),
        endpoint=cut(remediation.scope.endpoint),
        facts=facts_of_incident(incident, before),
    )


def _row_state(incident: Incident) -> RowState:
    if not incident.state.is_firing:
        return RowState.OVER
    if incident.state is IncidentState.ACKNOWLEDGED:
        return RowState.ACKNOWLEDGED
    return RowState.FLAPPING if incident.flapping else RowState.FIRING


def _labels(remediation: Remediation, group: Group | None) -> dict[str, str]:
    scope = remediation.scope
    own = {"endpoint": scope.endpoint, "schedule": scope.schedule, "monitor": scope.monitor.value}
    given = group.labels if group else own
    return {key: value for key, value in given.items() if value}


def _attributes(notification: Notification, remediation: Remediation) -> dict[str, str]:
    wanted = {
        "receiver": notification.receiver,
        "route": notification.route,
        "severity": notification.severity.value,
        "reason": remediation.reason.value,
        "endpoint": remediation.scope.endpoint or "several",
        "monitor": remediation.scope.monitor.value,
        "outcome": "several",
        "remediation": remediation.state.value,
    }
    return {key: attribute(value) for key, value in wanted.items()}


def _detail(
    notification: Notification, part: RemediationPart, remediation: Remediation
) -> dict[str, Any]:
    """What the bus carries: all that people are shown, as values."""
    scope = remediation.scope
    return {
        "remediation": part.id,
        "action": part.action,
        "kind": part.kind.value,
        "mode": part.mode.value,
        "state": part.state.value,
        "reason": part.reason.value,
        "target": part.target,
        "cause": part.cause.value if part.cause else None,
        "account": scope.account,
        "region": scope.region,
        "endpoint": scope.endpoint,
        "schedule": scope.schedule,
        "monitor": scope.monitor.value,
        "severity": notification.severity.value,
        "requested_at": remediation.requested_at.isoformat(),
        "requested_by": remediation.requested_by,
        "expires_at": part.expires_at.isoformat() if part.expires_at else None,
        "cost": part.cost,
        "parameters": dict(part.parameters),
        "gates": [
            {"gate": a.gate.value, "passed": a.passed, "reason": a.reason.value, "text": a.text}
            for a in part.gates
        ],
        "approvals": list(part.approvals),
        "rejected_by": remediation.rejected_by,
        "handle": part.handle,
        "result": dict(part.result),
        "incidents": list(remediation.incidents[:MOST_LINES]),
        "incident_count": len(remediation.incidents),
        "group": notification.group,
        "route": notification.route,
        "receiver": notification.receiver,
        "owner": notification.owner,
        "policy_version": remediation.policy_version,
    }
