"""A notification as a call of Jira Service Management's operations alerts (once Opsgenie's alert API).

An episode of a group is one alert there, found by its alias. Creating an alert whose alias is open counts it
and pages nobody again; if somebody closed it by hand meanwhile, it opens anew, which a note would not do. So
news and repeats create, and what was done about it is a note. So is what is said of a remediation; where
there is no alert yet that a note could go to, a proposal is an alert of its own.

Sources: Atlassian developer documentation, "JSM ops, Integration events" (paths, header, fields); Opsgenie
documentation, "Alert API" and "Alerts and alert fields" (lengths). Message and description may be shown as
HTML, so no angle bracket from data is left in them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from guiderail.model.message import MessageKind, Notification, Rendering
from guiderail.model.policy import Severity
from guiderail.rendering.escaping import clipped, copyable, defanged, safe_link
from guiderail.rendering.measured import explain, run_line, shares
from guiderail.rendering.remediations import command_of, facts_of, gate_lines

MOST_MESSAGE = 130
MOST_ALIAS = 512
MOST_DESCRIPTION = 15_000
MOST_DETAILS = 8_000
MOST_NOTE = 25_000
MOST_ENTITY = 512
MOST_TAGS, LONGEST_TAG = 20, 50

SOURCE = "Guiderail"

_LINE = 400
_MOST_LINES = 20
_PRIORITIES = {
    Severity.CRITICAL: "P1",
    Severity.ERROR: "P2",
    Severity.WARNING: "P3",
    Severity.INFO: "P5",
}
_BRACKETS = str.maketrans({"<": "‹", ">": "›"})


class JsmCall(msgspec.Struct, frozen=True, kw_only=True):
    """One call: ``path`` comes after the API's base address."""

    path: str
    body: dict[str, Any]
    query: dict[str, str] = {}
    method: str = "POST"


def render(notification: Notification, rendering: Rendering) -> JsmCall:
    """The call that tells JSM of a notification."""
    if notification.remediation is not None and rendering.thread is not None:
        return _on_alert(notification, "notes")
    match notification.kind:
        case MessageKind.ACKNOWLEDGED:
            return _on_alert(notification, "acknowledge")
        case MessageKind.RESOLVED:
            return _on_alert(notification, "close")
        case MessageKind.REMEDIATION:
            return _on_alert(notification, "notes")
        case _:
            return JsmCall(path="/v2/alerts", body=_alert(notification, rendering))


def alias(notification: Notification, *, own: bool = False) -> str:
    """The same for all messages of an episode; a test, a digest, or what is to be, has one of its own."""
    n = notification
    own = own or n.kind in (MessageKind.TEST, MessageKind.DIGEST)
    name = n.id if own else f"{n.group}#{n.episode}"
    return "guiderail-" + hashlib.sha256(name.encode()).hexdigest()[:32]


def _on_alert(n: Notification, verb: str) -> JsmCall:
    return JsmCall(
        path=f"/v2/alerts/{alias(n)}/{verb}",
        query={"identifierType": "alias"},
        body={"user": SOURCE, "source": SOURCE, "note": _note(n)},
    )


def _note(n: Notification) -> str:
    retraining = n.runs[-1].retraining if n.kind is MessageKind.REMEDIATION and n.runs else ()
    lines = (_line(line) for line in (n.title, *n.why, *_remediation(n), *retraining))
    return clipped("\n".join(line for line in lines if line), MOST_NOTE) or SOURCE


def _alert(n: Notification, rendering: Rendering) -> dict[str, Any]:
    title = _text(n.title) or SOURCE
    return {
        "message": clipped(f"TEST: {title}" if n.kind is MessageKind.TEST else title, MOST_MESSAGE),
        "alias": alias(n, own=n.remediation is not None),
        "description": clipped("\n".join(_description(n, rendering)), MOST_DESCRIPTION),
        "priority": _PRIORITIES[n.severity],
        "tags": list(_tags(n)),
        "details": _details(n, rendering),
        "entity": clipped(_text(n.fingerprint.get("endpoint") or n.place), MOST_ENTITY),
        "source": SOURCE,
        "note": _note(n),
    }


def _description(n: Notification, rendering: Rendering) -> Iterator[str]:
    if n.kind is MessageKind.TEST:
        yield "This is a TEST: nothing is wrong. Close it when you have seen it."
    if rendering.note:
        yield _line(rendering.note)
    yield from (_line(line) for line in (*n.why, *_remediation(n)))
    yield from _part("Incidents", (row.line for row in n.rows), n.more)
    yield from _part("Messages held back", n.listed)
    yield from _part("Not shown", n.hidden)
    drawn = (f"{d.feature}: {shares(d, rendering.show_values)}" for d in n.distributions)
    yield from _part("Shares of rows", drawn)
    causes = dict.fromkeys(run.likely_cause for run in reversed(n.runs))
    yield from _part("Likely cause", causes)
    yield from _part("Runs", (run_line(run) for run in reversed(n.runs)), n.more_runs)
    yield from _part("Evidence", (line for run in reversed(n.runs) for line in run.evidence))
    for run in n.runs[-1:]:
        yield ""
        yield from (_line(line) for line in run.retraining[:_MOST_LINES])


def _remediation(n: Notification) -> Iterator[str]:
    part = n.remediation
    if part is None:
        return
    yield from (f"{label}: {said}" for label, said in facts_of(part))
    yield from gate_lines(part)
    if part.next_step:
        yield f"Next step: {part.next_step}"
    if command := command_of(part):
        yield f"Command: {command}"


def _part(label: str, texts: Iterable[str], more: int = 0) -> Iterator[str]:
    lines = [_line(text) for text in texts if text]
    more += len(lines[_MOST_LINES:])
    if lines:
        yield ""
        yield f"{label}:"
        yield from (f"- {line}" for line in lines[:_MOST_LINES])
        if more:
            yield f"- and {more} more"


def _tags(n: Notification) -> Iterator[str]:
    yield from ("guiderail", n.severity.value, n.kind.value)
    for label in ("monitor", "endpoint"):
        if value := _text(n.fingerprint.get(label, "")):
            yield clipped(value, LONGEST_TAG)


def _details(n: Notification, rendering: Rendering) -> dict[str, str]:
    """Custom properties: the ones that are of use first, as many as there is room for."""
    wanted = {
        "owner": clipped(_text(n.owner), 200),
        "runbook": safe_link(n.runbook),
        **{reply.label: reply.url for reply in rendering.replies},
        "explain": _text(explain(n)),
        "route": clipped(_text(n.route), 100),
        "receiver": clipped(_text(n.receiver), 100),
        "firing": str(n.firing),
    }
    for run in n.runs[-1:]:
        wanted |= {_text(link.label): safe_link(link.url) for link in run.links}
        wanted["command"] = copyable(run.command)
    details: dict[str, str] = {}
    room = MOST_DETAILS
    for name, value in wanted.items():
        if name and value and len(name) + len(value) <= room:
            details[name] = value
            room -= len(name) + len(value)
    return details


def _line(text: str) -> str:
    return clipped(_text(text), _LINE)


def _text(text: str) -> str:
    return defanged(text).translate(_BRACKETS)
