"""A notification as an Adaptive Card for a Microsoft Teams Workflows webhook.

Text from data stands in ``RichTextBlock`` elements, in which cards know no Markdown, so nothing from data can
become a link, a mention or a heading. Sources: adaptivecards.io schema 1.5; Microsoft Learn, "Text features"
(Markdown, date functions), "Create an Incoming Webhook" (28 KB a message), "Create and send messages" (six
buttons a card) and "Format cards" (``msteams.width``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from guiderail.model.message import (
    MessageKind,
    Notification,
    RemediationPart,
    Rendering,
    Row,
    RowState,
)
from guiderail.model.policy import Severity
from guiderail.rendering.escaping import clipped, copyable, defanged, safe_link
from guiderail.rendering.measured import (
    explain,
    headline,
    measured,
    moment,
    run_line,
    shares,
    threshold,
)
from guiderail.rendering.remediations import command_of, facts_of, gates_in_short
from guiderail.rendering.wording import figure

MOST_BYTES = 27_000
"""Of a body: Teams refuses more than 28 KB, and the workflow adds to it."""

MOST_ACTIONS = 6

_CONTENT_TYPE = "application/vnd.microsoft.card.adaptive"
_SCHEMA = "http://adaptivecards.io/schemas/adaptive-card.json"
_VERSION = "1.5"

_TITLE, _LINE, _CELL = 300, 400, 120
_MOST_LISTED = 20
_LONGEST_URL = 1000

_LEVELS = ((10, 5, 3), (10, 2, 1), (5, 0, 1), (3, 0, 0))
"""Rows, rows in full, and runs of a card: the first that fits is taken."""

_STYLES = {
    Severity.INFO: "accent",
    Severity.WARNING: "warning",
    Severity.ERROR: "attention",
    Severity.CRITICAL: "attention",
}
_LATER = ("Last runs", "Against baseline", "Since")
"""What is said of a row below the table."""

_FUNCTION = re.compile(r"\{(?=\{)")
"""Where ``{{DATE(…)}}`` would begin."""

Element = dict[str, Any]


def render(notification: Notification, rendering: Rendering) -> dict[str, Any]:
    """The whole body of the request."""
    body: dict[str, Any] = {}
    for level in _LEVELS:
        body = _message(notification, rendering, list(_elements(notification, rendering, *level)))
        if _size(body) <= MOST_BYTES:
            return body
    short = [_title(notification), _standing(notification), _footer(notification)]
    return _message(notification, rendering, short)


def _message(n: Notification, rendering: Rendering, elements: list[Element]) -> dict[str, Any]:
    card: Element = {
        "$schema": _SCHEMA,
        "type": "AdaptiveCard",
        "version": _VERSION,
        "fallbackText": _inert(_heading(n)),
        "msteams": {"width": "Full"},
        "body": elements,
    }
    replies = () if n.kind is MessageKind.RESOLVED else rendering.replies[:MOST_ACTIONS]
    if replies:
        card["actions"] = [
            {"type": "Action.OpenUrl", "title": reply.label, "url": reply.url} for reply in replies
        ]
    attachment = {"contentType": _CONTENT_TYPE, "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _size(body: dict[str, Any]) -> int:
    # the longer way to write it: whoever sends it may escape what is not ASCII
    return len(json.dumps(body))


def _elements(
    n: Notification, rendering: Rendering, most_rows: int, in_full: int, most_runs: int
) -> Iterator[Element]:
    yield _title(n)
    yield _standing(n)
    if rendering.note:
        yield _lines([rendering.note])
    if n.why:
        yield _lines(n.why[:4])
    if n.remediation is not None:
        yield from _remediation(n.remediation)
    shown = n.rows[:most_rows]
    if shown:
        yield _table(shown)
    if more := n.more + sum(row.count for row in n.rows[most_rows:]):
        yield _more(n, more)
    for row in shown[:in_full]:
        yield from _later(row)
    if n.listed:
        rest = len(n.listed) - _MOST_LISTED
        ends = [f"and {rest} more"] if rest > 0 else []
        yield _lines([f"• {line}" for line in (*n.listed[:_MOST_LISTED], *ends)])
    if n.hidden:
        rest = len(n.hidden) - 3
        ends = [f"and {rest} more"] if rest > 0 else []
        said = "; ".join(clipped(defanged(line), 120) for line in (*n.hidden[:3], *ends))
        yield _rich([_run_of_text("Not shown: ", bold=True), _run_of_text(said)])
    for distribution in n.distributions[:2] if in_full else ():
        said = f"{distribution.feature}: {shares(distribution, rendering.show_values)}"
        yield _lines([said])
    yield from _runs(n, most_runs)
    links = list(_links(n))
    if links:
        yield _rich(links)
    yield _footer(n)


def _remediation(part: RemediationPart) -> Iterator[Element]:
    for label, said in facts_of(part):
        yield _rich([_run_of_text(f"{label}: ", bold=True), _run_of_text(said)])
    if part.next_step:
        yield _rich([_run_of_text("Next step: ", bold=True), _run_of_text(part.next_step)])
    if lines := [f"• {line}" for line in gates_in_short(part)]:
        yield _lines(lines)
    if command := command_of(part):
        yield _command(command)


def _command(command: str) -> Element:
    return _rich([_unfunctional({"type": "TextRun", "text": command, "fontType": "Monospace"})])


def _title(n: Notification) -> Element:
    style = "good" if n.kind is MessageKind.RESOLVED else _STYLES[n.severity]
    if n.remediation is not None:
        style = "good" if n.kind is MessageKind.REMEDIATION else "accent"
    run = {**_run_of_text(_heading(n), _TITLE, bold=True), "size": "Large"}
    return {"type": "Container", "style": style, "bleed": True, "items": [_rich([run])]}


def _heading(n: Notification) -> str:
    title = defanged(n.title)
    if n.kind is MessageKind.TEST:
        return f"TEST: {title}"
    if n.kind is MessageKind.RESOLVED or n.remediation is not None:
        return title
    return f"{n.severity.upper()}: {title}"


def _standing(n: Notification) -> Element:
    is_test = n.kind is MessageKind.TEST
    parts = ["A TEST: nothing is wrong" if is_test else f"{n.firing} firing"]
    if n.over:
        parts.append(f"{n.over} over")
    if n.owner:
        parts.append(f"owner {clipped(n.owner, _CELL)}")
    parts.append(f"route {clipped(n.route, _CELL)} to {clipped(n.receiver, _CELL)}")
    return _subtle(" · ".join(parts))


def _table(rows: Iterable[Row]) -> Element:
    head = [_cell(label, bold=True) for label in ("Finding", "Observed", "Threshold")]
    return {
        "type": "Table",
        "columns": [{"width": 5}, {"width": 2}, {"width": 4}],
        "showGridLines": False,
        "rows": [
            {"type": "TableRow", "cells": head},
            *({"type": "TableRow", "cells": _cells(row)} for row in rows),
        ],
    }


def _cells(row: Row) -> list[Element]:
    facts = row.facts
    name = f"{headline(row) or row.line} · {row.severity.value}"
    if facts is None or facts.observed is None:
        said = row.line.removeprefix(f"{row.name}: ").removeprefix(f"{row.check}: ")
        return [_cell(name), _cell("-"), _cell(said, _LINE)]
    observed = figure(facts.observed, facts.unit)
    was = f"was {observed}" if row.state is RowState.OVER else observed
    wanted = threshold(facts) if facts.threshold is not None else "-"
    return [_cell(name), _cell(was), _cell(wanted)]


def _cell(text: str, most: int = 2 * _CELL, *, bold: bool = False) -> Element:
    return {"type": "TableCell", "items": [_rich([_run_of_text(text, most, bold=bold)])]}


def _later(row: Row) -> Iterator[Element]:
    if row.facts is None or row.state is RowState.OVER:
        return
    said = [f"{label}: {value}" for label, value in measured(row.facts) if label in _LATER]
    if said:
        named = _run_of_text(f"{clipped(defanged(row.name or row.check), _CELL)}  ", bold=True)
        yield _rich([named, _run_of_text(" · ".join(said))])


def _more(n: Notification, more: int) -> Element:
    said = f"and {more} more"
    for run in reversed(n.runs):
        for link in run.links:
            if url := _address(link.url):
                return _rich([_link(said, url)])
    return _lines([_told(said, n)])


def _runs(n: Notification, most: int) -> Iterator[Element]:
    shown = n.runs[-most:] if most else ()
    for run in reversed(shown):
        if run.likely_cause:
            label = _run_of_text("Likely cause: ", bold=True)
            yield _rich([label, _run_of_text(run.likely_cause)])
        yield _lines([run_line(run), *run.evidence[:2], *run.retraining[:3]])
    if shown and (command := copyable(shown[-1].command)):
        # half a command is worse than none
        too_long = len(command) > 1000
        said = _told("The command is too long for Teams", n)
        yield _lines([said]) if too_long else _command(command)
    if more := n.more_runs + len(n.runs) - len(shown):
        yield _subtle(f"and {more} more runs")


def _links(n: Notification) -> Iterator[Element]:
    wanted = [("Runbook", n.runbook)]
    for run in n.runs[-1:]:
        wanted += [(link.label, link.url) for link in run.links[:8]]
    first = True
    for label, address in wanted:
        url = _address(address)
        if not url:
            continue
        if not first:
            yield _run_of_text(" · ")
        first = False
        yield _link(label, url)


def _address(url: str) -> str:
    return safe_link(url) if len(url) <= _LONGEST_URL else ""


def _link(label: str, url: str) -> Element:
    action = {"type": "Action.OpenUrl", "url": url}
    return {**_run_of_text(label, _CELL), "color": "Accent", "selectAction": action}


def _footer(n: Notification) -> Element:
    command = explain(n)
    return _subtle(f"{moment(n.made_at)} · {command}" if command else moment(n.made_at))


def _told(said: str, n: Notification) -> str:
    command = explain(n)
    return f"{said}: {command}" if command else said


def _subtle(text: str) -> Element:
    return _rich([{**_run_of_text(text), "isSubtle": True, "size": "Small"}])


def _lines(texts: Iterable[str]) -> Element:
    """Lines of text in one element, each of bounded length."""
    text = "\n".join(clipped(defanged(line), _LINE) for line in texts)
    return _rich([_unfunctional({"type": "TextRun", "text": text or "-"})])


def _rich(inlines: list[Element]) -> Element:
    return {"type": "RichTextBlock", "inlines": inlines}


def _run_of_text(text: str, most: int = _LINE, *, bold: bool = False) -> Element:
    run: Element = {"type": "TextRun", "text": clipped(defanged(text), most) or "-"}
    return _unfunctional({**run, "weight": "Bolder"} if bold else run)


def _unfunctional(run: Element) -> Element:
    """Without the beginning of a date function, the only thing that a TextRun computes."""
    return {**run, "text": _FUNCTION.sub("{ ", run["text"])}


_MARKDOWN = str.maketrans(
    {"*": "∗", "_": "＿", "[": "⟦", "]": "⟧", "`": "ˋ", "~": "∼", "#": "＃", "<": "‹", ">": "›"}
)


def _inert(text: str) -> str:
    """A text as Markdown without anything that is active there: only clients that show no card see it."""
    markless = clipped(text, _TITLE).translate(_MARKDOWN)
    return _FUNCTION.sub("{ ", markless)
