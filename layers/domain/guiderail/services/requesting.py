"""Requests for remediation: what a run that opened incidents asks for by its rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from guiderail.model.identity import digest
from guiderail.model.incident import Change, ChangeKind, Incident, Ledger
from guiderail.model.notice import Notice
from guiderail.model.outcome import Reason
from guiderail.model.policy import ActionKind, Policy, RemediationAction
from guiderail.model.remediation import (
    GUIDERAIL,
    Gate,
    Remediation,
    RemediationState,
    remediation_id,
)
from guiderail.model.run import Reading, Run
from guiderail.services.remediation_texts import filled
from guiderail.services.triage import DOUBTS

_NEWS = (ChangeKind.OPENED, ChangeKind.REOPENED)
_MOST_REQUESTS = 5
"""Different actions that one run may ask for."""

_MOST_INCIDENTS = 50
_MOST_FEATURES = 30


def requests_of(
    ledger: Ledger,
    changes: Sequence[Change],
    notices: Sequence[Notice],
    run: Run,
    reading: Reading,
    policy: Policy,
    now: datetime,
) -> tuple[Remediation, ...]:
    """What a run asks for: one remediation for all its news that name the same action.

    Nothing for an incident whose last attempt this very run refutes: there is no second automatic try.
    Each begins when people have heard of the incidents.

    Args:
        ledger: After the run, with groups given.
        changes: What the run changed.
        notices: What is told of it, and when.
        run: The run.
        reading: Its reading.
        policy: Has the actions by name; a name that it does not have asks for nothing.
        now: The present.
    """
    asking: dict[str, list[Incident]] = {}
    for change in changes:
        incident = change.incident
        if change.kind not in _NEWS or change.reason is Reason.VERIFICATION_FAILED:
            continue
        if incident.remediation in policy.remediations and incident.state.is_firing:
            asking.setdefault(incident.remediation, []).append(incident)
    facts = {
        "job_name": run.job_name,
        "report_uri": run.report_uri,
        "window_start": run.window_start,
        "window_end": run.window_end,
    }
    doubts = tuple(reason for reason in reading.reasons if reason in DOUBTS)
    due = {notice.group: notice.due_at for notice in notices}
    made = []
    for name, incidents in list(asking.items())[:_MOST_REQUESTS]:
        groups = {group for incident in incidents for group in incident.groups}
        told_at = max((due[group] for group in groups if group in due), default=now)
        made.append(
            requested_for(
                ledger,
                incidents,
                policy.remediations[name],
                facts,
                run.key,
                now,
                doubts=doubts,
                begins_at=told_at,
            )
        )
    return tuple(made)


def requested_for(
    ledger: Ledger,
    incidents: Iterable[Incident],
    action: RemediationAction,
    facts: Mapping[str, str],
    about: str,
    now: datetime,
    by: str = GUIDERAIL,
    overrides: tuple[Gate, ...] = (),
    doubts: tuple[Reason, ...] = (),
    begins_at: datetime | None = None,
) -> Remediation:
    """A remediation that nobody looked at yet.

    Args:
        ledger: The ledger of its incidents.
        incidents: What it is for.
        action: What it does.
        facts: What is known of the run behind it.
        about: What makes the same request the same remediation.
        now: When it is asked for.
        by: Who asks for it.
        overrides: Gates that they tell to let it pass.
        doubts: What is doubtful about the run's report.
        begins_at: When its state machine is started; at once if that is not given.
    """
    incidents = list(incidents)[:_MOST_INCIDENTS]
    scope = ledger.scope
    features = dict.fromkeys(i.subject.feature for i in incidents if i.subject.feature)
    known = {
        **facts,
        "endpoint": scope.endpoint,
        "schedule": scope.schedule,
        "account": scope.account,
        "region": scope.region,
        "monitor": scope.monitor.value,
        "features": ",".join(list(features)[:_MOST_FEATURES]),
        "feature_group": next((i.feature_group for i in incidents if i.feature_group), ""),
    }
    identity = f"{about}|{ledger.id}|{action.name}|{now.isoformat()}"
    return Remediation(
        id=remediation_id(now, digest(identity)),
        action=action.name,
        kind=action.kind,
        mode=action.mode,
        scope=scope,
        target=target_of(action, known),
        incidents=tuple(i.id for i in incidents),
        groups=tuple(dict.fromkeys(group for i in incidents for group in i.groups)),
        requested_at=now,
        requested_by=by,
        state=RemediationState.REQUESTED,
        doubts=doubts,
        facts=known,
        cost=action.cost,
        overrides=overrides,
        look_at=begins_at or now,
    )


def target_of(action: RemediationAction, facts: Mapping[str, str]) -> str:
    """What an action changes, as it is locked: two that change the same thing never run side by side.

    Name and ARN are the same thing, in whatever case.
    """
    kind, _, name = _named_target(action, facts).partition("/")
    return f"{kind}/{name.rpartition('/')[2].lower()}"


def _named_target(action: RemediationAction, facts: Mapping[str, str]) -> str:
    match action.kind:
        case ActionKind.REINGEST:
            group = str(filled(action.parameters.get("feature_group", ""), facts))
            return f"feature_group/{group}"
        case ActionKind.REBASELINE | ActionKind.PAUSE | ActionKind.RESUME | ActionKind.RUN_NOW:
            schedule = str(filled(action.parameters.get("schedule") or "{schedule}", facts))
            return f"schedule/{schedule}"
        case _:
            named = filled(action.parameters.get("endpoint") or "{endpoint}", facts)
            endpoint = "" if named == "{endpoint}" else str(named)
            return f"endpoint/{endpoint}" if endpoint else f"schedule/{facts.get('schedule', '')}"
