"""A notification as an event of PagerDuty's Events API v2.

An episode of a group is one alert there: its messages share a ``dedup_key``. Sources: PagerDuty developer
documentation, "Send an Alert Event" and "Send a Change Event" (lengths, actions, fields), and "Events API v2
Overview" (an event has at most 512 KB). The routing key is a secret and is added by who sends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from guiderail.model.message import MessageKind, Notification, Rendering
from guiderail.rendering.escaping import clipped, defanged, safe_link
from guiderail.rendering.measured import explain, run_line, shares
from guiderail.rendering.remediations import command_of, facts_of, gate_lines

EVENT_PATH = "/v2/enqueue"
CHANGE_PATH = "/v2/change/enqueue"

MOST_SUMMARY = 1024

_CLIENT = "Guiderail"
_NAME = 255
_LINE = 500
_MOST_LINES = 20
_MOST_LINKS = 10

_ACTIONS = {MessageKind.ACKNOWLEDGED: "acknowledge", MessageKind.RESOLVED: "resolve"}


def path(notification: Notification) -> str:
    """Where the event goes: a remediation is a change, which pages nobody; its incident does."""
    return CHANGE_PATH if _is_change(notification) else EVENT_PATH


def render(notification: Notification, rendering: Rendering) -> dict[str, Any]:
    """The event without its routing key."""
    if _is_change(notification):
        return _change(notification, rendering)
    event: dict[str, Any] = {
        "event_action": _ACTIONS.get(notification.kind, "trigger"),
        "dedup_key": dedup_key(notification),
    }
    if event["event_action"] != "trigger":
        return event
    return {
        **event,
        "client": _CLIENT,
        "payload": _payload(notification, rendering),
        "links": list(_links(notification, rendering)),
    }


def _is_change(notification: Notification) -> bool:
    return notification.kind is MessageKind.REMEDIATION or notification.remediation is not None


def dedup_key(notification: Notification) -> str:
    """The same for all messages of an episode; a test or a digest has one of its own."""
    n = notification
    own = n.kind in (MessageKind.TEST, MessageKind.DIGEST)
    name = n.id if own else f"{n.group}#{n.episode}"
    return "guiderail-" + hashlib.sha256(name.encode()).hexdigest()[:32]


def _payload(n: Notification, rendering: Rendering) -> dict[str, Any]:
    worst = n.rows[0] if n.rows else None
    payload = {
        "summary": _summary(n),
        "source": _source(n),
        # an enum of PagerDuty's own that has the same words
        "severity": n.severity.value,
        "timestamp": n.made_at.isoformat(),
        "component": clipped(defanged(worst.name), _NAME) if worst else "",
        "group": clipped(defanged(n.group), _NAME),
        "class": clipped(defanged(worst.check), _NAME) if worst else "",
        "custom_details": _details(n, rendering),
    }
    return {name: value for name, value in payload.items() if value}


def _change(n: Notification, rendering: Rendering) -> dict[str, Any]:
    return {
        "payload": {
            "summary": _summary(n),
            "source": _source(n),
            "timestamp": n.made_at.isoformat(),
            "custom_details": _details(n, rendering),
        },
        "links": list(_links(n, rendering)),
    }


def _summary(n: Notification) -> str:
    title = defanged(n.title) or "Guiderail"
    return clipped(f"TEST: {title}" if n.kind is MessageKind.TEST else title, MOST_SUMMARY)


def _source(n: Notification) -> str:
    endpoint = n.fingerprint.get("endpoint") or (n.runs[-1].endpoint if n.runs else "")
    return clipped(defanged(endpoint or n.place), _NAME) or "guiderail"


def _details(n: Notification, rendering: Rendering) -> dict[str, Any]:
    details: dict[str, Any] = {
        "test": "nothing is wrong" if n.kind is MessageKind.TEST else "",
        "why": _lines(n.why),
        **_remediation(n),
        "firing": n.firing,
        "over": n.over,
        "incidents": _lines([row.line for row in n.rows], n.more),
        "messages held back": _lines(n.listed),
        "not shown": _lines(n.hidden),
        "shares of rows": _lines(
            [f"{d.feature}: {shares(d, rendering.show_values)}" for d in n.distributions]
        ),
        "runs": _lines([run_line(run) for run in reversed(n.runs)], n.more_runs),
        "likely cause": _lines(dict.fromkeys(r.likely_cause for r in reversed(n.runs))),
        "evidence": _lines([line for run in reversed(n.runs) for line in run.evidence]),
        "retraining": _lines([line for run in reversed(n.runs) for line in run.retraining]),
        "owner": clipped(defanged(n.owner), _LINE),
        "route": f"{clipped(defanged(n.route), _NAME)} to {clipped(defanged(n.receiver), _NAME)}",
        "explain": defanged(explain(n)),
        "note": clipped(defanged(rendering.note), _LINE),
    }
    return {name: value for name, value in details.items() if value}


def _remediation(n: Notification) -> dict[str, Any]:
    part = n.remediation
    if part is None:
        return {}
    return {
        "remediation": clipped(defanged(part.action), _LINE),
        "what": _lines(f"{label}: {said}" for label, said in facts_of(part)),
        "gates": _lines(gate_lines(part)),
        "next step": clipped(defanged(part.next_step), _LINE),
        "command": command_of(part),
    }


def _lines(texts: Any, more: int = 0) -> list[str]:
    lines = [clipped(defanged(text), _LINE) for text in texts if text]
    shown = lines[:_MOST_LINES]
    more += len(lines) - len(shown)
    return [*shown, f"and {more} more"] if more else shown


def _links(n: Notification, rendering: Rendering) -> Iterator[dict[str, str]]:
    if url := safe_link(n.runbook):
        yield {"href": url, "text": "Runbook"}
    for run in n.runs[-1:]:
        for link in run.links[:_MOST_LINKS]:
            if url := safe_link(link.url):
                yield {"href": url, "text": clipped(defanged(link.label), 100)}
    # a change asks nobody to act
    replies = () if n.kind is MessageKind.REMEDIATION else rendering.replies
    for reply in replies:
        yield {"href": reply.url, "text": f"Guiderail: {reply.label}"}
