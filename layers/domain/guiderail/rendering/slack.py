"""A notification as a Slack message in Block Kit, within Slack's limits.

Everything from data stands in ``plain_text`` objects, in which Slack makes no mentions, links or markup;
``mrkdwn`` holds nothing but words and links of ours. Limits are those of docs.slack.dev, "Block Kit"
reference, and of what the whole message may hold, which is not documented (slackapi/bolt-js issue 2509:
``msg_blocks_too_long`` from 13,172 characters).

The bot has one message per incident: ``root_message`` says how it stands now and is updated in place,
``thread_reply`` tells in its thread what changed. An incoming webhook can neither update nor be sure that
its app takes button presses, so ``webhook_message`` has links to the reply pages instead of buttons.

What is said of a remediation is one message of its own, ``remediation_message``: a reply in the incident's
thread where there is one. It never becomes a root, which updates would take the buttons from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from guiderail.model.message import (
    MessageKind,
    Notification,
    RemediationPart,
    Rendering,
    Reply,
    ReplyAction,
    Row,
    RowState,
)
from guiderail.model.policy import Severity
from guiderail.model.remediation import RemediationState
from guiderail.rendering.escaping import copyable, defanged, safe_link
from guiderail.rendering.measured import explain, headline, measured, moment, run_line, shares
from guiderail.rendering.remediations import command_of, facts_of, gates_in_short, summary_of
from guiderail.rendering.wording import figure

MOST_CHARACTERS = 12_000
"""Of all blocks as JSON; Slack refuses a message from about 13,172 on."""

ACTION_PREFIX = "guiderail."
"""Of the ``action_id`` of a button; the rest is the reply's action, its ``value`` the token."""

_HEADER, _TEXT, _BUTTON, _FALLBACK = 150, 3000, 75, 300
_MOST_LINKS = 8
_MOST_LINKED = 2500
_LONGEST_URL = 1000
_MOST_LISTED = 20

_LEVELS = ((10, 10, 3), (10, 5, 2), (10, 0, 1), (4, 0, 1))
"""Rows, rows in full, and runs of a message: the first that fits is taken."""

_MARKS = {
    Severity.INFO: "🔵",
    Severity.WARNING: "🟡",
    Severity.ERROR: "🟠",
    Severity.CRITICAL: "🔴",
}
_REMEDIATION_MARKS = {
    RemediationState.ASKED: "🛠",
    RemediationState.SUGGESTED: "🛠",
    RemediationState.RECORDED: "✅",
    RemediationState.PROVEN: "✅",
}
_STATE_MARKS = {RowState.OVER: "✅", RowState.ACKNOWLEDGED: "👤", RowState.FLAPPING: "🔁"}

_ACTIVE = str.maketrans({"*": "∗", "~": "∼", "`": "ˋ", "@": "＠", "#": "＃", "|": "¦"})
_EDGE_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")

Block = dict[str, Any]


class SlackMessage(msgspec.Struct, frozen=True, kw_only=True):
    """Arguments of ``chat.postMessage``, ``chat.update`` or an incoming webhook.

    ``text`` is what a phone shows before the app is opened. ``broadcast`` says that a reply has to be
    seen in the channel as well, since an updated message tells nobody.
    """

    text: str
    blocks: list[Block]
    broadcast: bool = False


def root_message(notification: Notification, rendering: Rendering) -> SlackMessage:
    """How the incident stands now, with buttons as long as there is something to answer."""
    return _fitting(notification, rendering, list(_buttons(notification, rendering)))


def webhook_message(notification: Notification, rendering: Rendering) -> SlackMessage:
    """The same with links to the reply pages in place of buttons."""
    return _fitting(notification, rendering, list(_reply_links(notification, rendering)))


def remediation_message(notification: Notification, rendering: Rendering) -> SlackMessage:
    """What is said of a remediation, with buttons while it asks for approval."""
    message = _fitting(notification, rendering, list(_buttons(notification, rendering)))
    return replace(message, broadcast=notification.kind is MessageKind.PROPOSAL)


def thread_reply(notification: Notification, rendering: Rendering) -> SlackMessage | None:
    """What this message changes; None for what changes no incident: a digest, a test, a remediation's own."""
    n = notification
    if n.kind in (MessageKind.DIGEST, MessageKind.TEST) or n.remediation is not None:
        return None
    changed = [row for row in n.rows if row.news or row.state is RowState.OVER]
    shown = changed[:5]
    said = (rendering.note, *n.why[:3])
    lines = [_cut(defanged(line), 400) for line in said if line]
    lines += [f"{_mark(row)} {_cut(defanged(_said(row)), 300)}" for row in shown]
    if len(changed) > len(shown):
        lines.append(f"and {len(changed) - len(shown)} more")
    if n.kind is MessageKind.REMEDIATION and n.runs:
        lines += [_cut(defanged(line), 400) for line in n.runs[-1].retraining[:3]]
    blocks = [_section("\n".join([_cut(_heading(n), _HEADER), *lines]))]
    return SlackMessage(
        text=_fallback(n),
        blocks=blocks,
        broadcast=n.kind in (MessageKind.NEWS, MessageKind.REPEAT),
    )


def _fitting(n: Notification, rendering: Rendering, answers: list[Block]) -> SlackMessage:
    blocks: list[Block] = []
    for level in _LEVELS:
        blocks = [*_blocks(n, rendering, *level), *answers, _footer(n)]
        if _size(blocks) <= MOST_CHARACTERS:
            return SlackMessage(text=_fallback(n), blocks=blocks)
    too_long = _section(_told("The rest is too long for Slack", n), 300)
    blocks = [blocks[0], blocks[1], too_long, *answers, _footer(n)]
    return SlackMessage(text=_fallback(n), blocks=blocks)


def _size(blocks: list[Block]) -> int:
    # UTF-16: what counts on Slack's side may be JavaScript
    return len(msgspec.json.encode(blocks).decode().encode("utf-16-le")) // 2


def _blocks(
    n: Notification, rendering: Rendering, most_rows: int, in_full: int, most_runs: int
) -> Iterator[Block]:
    yield {"type": "header", "text": _plain(_heading(n), _HEADER)}
    yield _context(_standing(n))
    if rendering.note:
        yield _section(defanged(rendering.note), 500)
    if n.why:
        yield _section("\n".join(_cut(defanged(line), 300) for line in n.why[:4]), 1000)
    if n.remediation is not None:
        yield from _remediation(n.remediation)
        # the thread has them in full
        in_full = 0
    for position, row in enumerate(n.rows[:most_rows]):
        yield _row(row, position < in_full)
    if more := n.more + sum(row.count for row in n.rows[most_rows:]):
        yield _more(n, more)
    if n.listed:
        lines = [f"• {_cut(defanged(line), 150)}" for line in n.listed[:_MOST_LISTED]]
        if len(n.listed) > _MOST_LISTED:
            lines.append(f"and {len(n.listed) - _MOST_LISTED} more")
        yield _section("\n".join(lines))
    if n.hidden:
        hidden = [f"• {_cut(defanged(line), 150)}" for line in n.hidden[:4]]
        if len(n.hidden) > len(hidden):
            hidden.append(f"and {len(n.hidden) - len(hidden)} more")
        yield _section("Not shown\n" + "\n".join(hidden), 800)
    for distribution in n.distributions[:2] if in_full else ():
        said = shares(distribution, rendering.show_values)
        yield _section(defanged(f"{distribution.feature}: {said}"), 600)
    yield from _runs(n, most_runs)
    links = list(_links(n))
    if links:
        yield {"type": "section", "text": _links_text(links)}


def _remediation(part: RemediationPart) -> Iterator[Block]:
    facts = [f"{label}: {_cut(defanged(said), 300)}" for label, said in facts_of(part)]
    if part.next_step:
        facts.append(f"Next step: {_cut(defanged(part.next_step), 400)}")
    yield _section("\n".join(facts), 2000)
    lines = [_cut(defanged(line), 300) for line in gates_in_short(part)]
    if lines:
        yield _section("\n".join(["Gates", *(f"• {line}" for line in lines)]), 2000)
    if command := command_of(part):
        yield _section(f"Command\n{command}")


def _standing(n: Notification) -> str:
    is_test = n.kind is MessageKind.TEST
    parts = ["A TEST: nothing is wrong" if is_test else f"{n.firing} firing"]
    if n.over:
        parts.append(f"{n.over} over")
    if n.owner:
        parts.append(f"owner {_cut(defanged(n.owner), 100)}")
    parts.append(f"route {_cut(defanged(n.route), 60)} to {_cut(defanged(n.receiver), 60)}")
    return " · ".join(parts)


def _heading(n: Notification) -> str:
    title = defanged(n.title)
    if n.kind is MessageKind.TEST:
        return f"🧪 TEST · {title}"
    if n.kind is MessageKind.RESOLVED:
        return f"✅ {title}"
    if n.remediation is not None:
        return f"{_REMEDIATION_MARKS.get(n.remediation.state, '🛑')} {title}"
    return f"{_MARKS[n.severity]} {n.severity.upper()} · {title}"


def _fallback(n: Notification) -> str:
    """The title as Slack's older markup takes it: what would be active there is replaced."""
    return _escaped(_inert(_heading(n)), _FALLBACK)


def _inert(text: str) -> str:
    return _EDGE_UNDERSCORE.sub("＿", text.translate(_ACTIVE))


def _mark(row: Row) -> str:
    return _STATE_MARKS.get(row.state, _MARKS[row.severity])


def _said(row: Row) -> str:
    """A row in one line; one that is over says what it was, not how it is."""
    if row.state is not RowState.OVER:
        return row.line or headline(row)
    last = row.facts.observed if row.facts else None
    was = f" · was {figure(last, row.facts.unit)}" if row.facts and last is not None else ""
    return f"{headline(row)}{was}"


def _row(row: Row, in_full: bool) -> Block:
    facts = list(measured(row.facts)) if row.facts and in_full else []
    if not facts or row.state is RowState.OVER:
        return _section(f"{_mark(row)} {defanged(_said(row))}", 250)
    block = _section(f"{_mark(row)} {defanged(headline(row))}", 250)
    fields = [_plain(f"{label}\n{defanged(said)}", 150) for label, said in facts]
    return {**block, "fields": fields}


def _more(n: Notification, more: int) -> Block:
    said = f"and {more} more"
    for run in reversed(n.runs):
        for link in run.links:
            if url := _address(link.url):
                return {"type": "section", "text": _links_text([(said, url)])}
    return _section(_told(said, n))


def _address(url: str) -> str:
    return safe_link(url) if len(url) <= _LONGEST_URL else ""


def _runs(n: Notification, most: int) -> Iterator[Block]:
    shown = n.runs[-most:]
    for run in reversed(shown):
        lines = [_cut(defanged(run_line(run)), 250)]
        if run.likely_cause:
            lines.append(f"Likely: {_cut(defanged(run.likely_cause), 400)}")
        lines += [_cut(defanged(line), 250) for line in (*run.evidence[:2], *run.retraining[:3])]
        yield _section("\n".join(lines), 1200)
    if shown and (command := copyable(shown[-1].command)):
        # half a command is worse than none
        if len(command) <= 1000:
            yield _section(f"Command\n{command}")
        else:
            yield _section(_told("The command is too long for Slack", n))
    if more := n.more_runs + len(n.runs) - len(shown):
        yield _context(f"and {more} more runs")


def _links(n: Notification) -> Iterator[tuple[str, str]]:
    if url := _address(n.runbook):
        yield "Runbook", url
    for run in n.runs[-1:]:
        for link in run.links[:_MOST_LINKS]:
            if url := _address(link.url):
                yield link.label, url


def _links_text(links: Iterable[tuple[str, str]]) -> Block:
    """Words and addresses of ours as links; nothing from data comes in here."""
    said, room = [], _MOST_LINKED
    for label, url in links:
        target = _entities(url.replace("|", "%7C").replace(">", "%3E").replace("<", "%3C"))
        link = f"<{target}|{_escaped(_inert(defanged(label)), 100)}>"
        room -= len(link) + 3
        if room >= 0:
            said.append(link)
    return {"type": "mrkdwn", "text": " · ".join(said) or "-", "verbatim": True}


def _answerable(n: Notification, rendering: Rendering) -> tuple[Reply, ...]:
    return () if n.kind is MessageKind.RESOLVED else rendering.replies


def _buttons(n: Notification, rendering: Rendering) -> Iterator[Block]:
    replies = _answerable(n, rendering)
    if replies:
        yield {"type": "actions", "elements": [_button(reply, n) for reply in replies]}


def _button(reply: Reply, n: Notification) -> Block:
    button: Block = {
        "type": "button",
        "text": _plain(reply.label, _BUTTON),
        "action_id": ACTION_PREFIX + reply.action.value,
        "value": reply.token,
    }
    if reply.action in (ReplyAction.ACKNOWLEDGE, ReplyAction.APPROVE):
        button["style"] = "primary"
    if reply.action is ReplyAction.REJECT:
        button["style"] = "danger"
    if n.remediation is not None:
        button["confirm"] = _confirmation(reply, n.remediation)
    return button


def _confirmation(reply: Reply, part: RemediationPart) -> Block:
    """Asks before a button does anything (docs.slack.dev, "Confirmation dialog object": its lengths)."""
    if reply.action is ReplyAction.REJECT:
        said = "It is not done, and nothing else is by itself."
    else:
        said = f"{_cut(defanged(summary_of(part)), 200)}. It starts if its gates still let it pass."
    return {
        "title": _plain(f"{reply.label} {_cut(defanged(part.action), 80)}?", 100),
        "text": _plain(said, 300),
        "confirm": _plain(reply.label, 30),
        "deny": _plain("Not now", 30),
        "style": "danger" if reply.action is ReplyAction.REJECT else "primary",
    }


def _reply_links(n: Notification, rendering: Rendering) -> Iterator[Block]:
    links = [(reply.label, reply.url) for reply in _answerable(n, rendering)]
    if links:
        yield {"type": "section", "text": _links_text(links)}


def _footer(n: Notification) -> Block:
    command = defanged(explain(n))
    return _context(f"{moment(n.made_at)} · {command}" if command else moment(n.made_at))


def _told(said: str, n: Notification) -> str:
    command = defanged(explain(n))
    return f"{said}: {command}" if command else said


def _section(text: str, most: int = _TEXT) -> Block:
    return {"type": "section", "text": _plain(text, most)}


def _context(text: str) -> Block:
    return {"type": "context", "elements": [_plain(text, 500)]}


def _plain(text: str, most: int) -> Block:
    return {"type": "plain_text", "text": _escaped(text, most) or "-", "emoji": False}


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _entities(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


_LENGTHS = {"&": 5, "<": 4, ">": 4}


def _escaped(text: str, most: int) -> str:
    """A text with Slack's three characters escaped, of at most so many UTF-16 units, no entity cut."""
    whole = _entities(text)
    if len(whole.encode("utf-16-le")) <= 2 * most:
        return whole
    size = kept = 0
    for character in text:
        size += _LENGTHS.get(character, 1 if character <= "\uffff" else 2)
        if size > most:
            break
        # the place where dots still fit
        kept += size < most
    return f"{_entities(text[:kept])}…"
