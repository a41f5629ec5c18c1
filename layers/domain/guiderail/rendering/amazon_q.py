"""A notification as a custom notification of Amazon Q Developer in chat applications (once AWS Chatbot).

Published to an SNS topic that a channel of Slack or Microsoft Teams is set up with. Source of the format:
Amazon Q Developer in chat applications, administrator guide, "Custom notifications", event schema and
parameter details (https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html): ``version``
is "1.0", ``source`` "custom", the only ``textType`` "client-markdown", which is shown in the markdown of
the chat; the same ``threadId`` makes one thread; ``metadata`` is not shown.

Slack's markdown and that of Teams differ, so only what means the same in both is used, and what means
something in either is taken out of names.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from guiderail.model.message import MessageKind, Notification, Rendering, Row, RunPart
from guiderail.rendering import plain_text
from guiderail.rendering.escaping import clipped, copyable, defanged, safe_link
from guiderail.rendering.measured import explain, measured, moment
from guiderail.rendering.remediations import command_of, facts_of, gates_in_short
from guiderail.rendering.wording import cut

# lengths of ours, below what chats show at once: the guide's tables name none
LONGEST_TITLE = 250
LONGEST_DESCRIPTION = 8_000
LONGEST_STEP = 2_000
LONGEST_THREAD = 255

_LONGEST_LINE = 500
_LONGEST_CONTEXT = 256
_MOST_LISTED = 25
_MOST_SENTENCES = 5
_ROWS = 3_500

_LOOKALIKES = {"<": "‹", ">": "›", "[": "(", "]": ")", "*": "∗", "`": "'", "~": "∼"}
_EDGE_UNDERSCORE = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")
_MENTION = re.compile(r"@(?=\w)")
_EMOJI = re.compile(r"(?<!\w):(?=[\w+'-]+:)")
_NOT_IN_CODE = re.compile(r"[<>&`]")


def render(notification: Notification, rendering: Rendering) -> dict[str, Any]:
    """The custom notification as JSON values."""
    thread = hashlib.sha256(f"{notification.group}#{notification.episode}".encode()).hexdigest()
    return {
        "version": "1.0",
        "source": "custom",
        "id": notification.id,
        "content": {
            "textType": "client-markdown",
            "title": _title(notification),
            "description": _joined(_description(notification, rendering)),
            "nextSteps": [
                step for step in _steps(notification, rendering) if len(step) <= LONGEST_STEP
            ],
            "keywords": [
                notification.severity.value,
                notification.kind.value,
                chat_text(notification.route, 100),
            ],
        },
        "metadata": {
            "threadId": thread[:LONGEST_THREAD],
            "summary": _title(notification),
            "eventType": notification.detail_type or notification.kind.value,
            "relatedResources": _resources(notification),
            "additionalContext": _context(notification),
        },
    }


def chat_text(text: str, most: int = _LONGEST_LINE) -> str:
    """A text that is no markup, mention, emoji or link in Slack or in Teams.

    Characters of markup become others that look like them; ``@name`` becomes ``[@]name``.
    """
    line = "".join(_LOOKALIKES.get(character, character) for character in text)
    line = clipped(defanged(line), most)
    line = _EDGE_UNDERSCORE.sub(lambda match: "ˍ" * len(match[0]), line)
    line = _MENTION.sub("[@]", line)
    # what takes an address apart must not begin a link itself
    return _EMOJI.sub("[:]", line).replace("](", "] (")


def _title(notification: Notification) -> str:
    test = "TEST: " if notification.kind is MessageKind.TEST else ""
    severity = "resolved" if _is_over(notification) else notification.severity.value
    if notification.remediation is not None:
        severity = notification.remediation.state.value.replace("_", " ")
    return clipped(f"{test}{severity}: {chat_text(notification.title)}", LONGEST_TITLE)


def _is_over(notification: Notification) -> bool:
    return bool(notification.over) and not notification.firing


def _description(notification: Notification, rendering: Rendering) -> Iterator[str]:
    if notification.kind is MessageKind.TEST:
        yield f"*{plain_text.TEST_NOTE}*"
    yield f"{plain_text.standing(notification)}, {moment(notification.made_at)}"
    yield from (chat_text(sentence, 300) for sentence in notification.why[:_MOST_SENTENCES])
    if rendering.note:
        yield f"Note: {chat_text(rendering.note)}"
    if notification.owner:
        yield f"Owner: {chat_text(notification.owner, 200)}"
    if part := notification.remediation:
        yield ""
        yield f"*Remediation {chat_text(part.action, 200)}*"
        yield from (f"{label}: {chat_text(said)}" for label, said in facts_of(part))
        yield from (f"- {chat_text(line)}" for line in gates_in_short(part))
    if notification.rows:
        yield ""
        yield f"*{plain_text.rows_heading(notification)}*"
        yield from _rows(notification)
    shown = notification.listed[:_MOST_LISTED]
    yield from (f"- {chat_text(subject.removeprefix(plain_text.OURS), 200)}" for subject in shown)
    if len(notification.listed) > len(shown):
        yield f"and {len(notification.listed) - len(shown)} more: guiderail incidents list"
    if notification.hidden:
        yield ""
        yield "*Not shown*"
        yield from (f"- {chat_text(line, 200)}" for line in notification.hidden)
    for run in reversed(notification.runs):
        yield ""
        yield from _run(run)
    if notification.more_runs:
        yield f"and runs of {notification.more_runs} more schedules"


def _rows(notification: Notification) -> Iterator[str]:
    left, more = _ROWS, notification.more
    for row in notification.rows:
        line = _row(row)
        left -= len(line)
        if left >= 0:
            yield line
        else:
            more += row.count
    if more:
        url, command = plain_text.where_the_rest_is(notification)
        yield f"and {more} more: {url or command}"


def _row(row: Row) -> str:
    if row.facts is None:
        return f"- {chat_text(row.line)} ({plain_text.row_state(row)})"
    facts = (f"{label.lower()} {phrase}" for label, phrase in measured(row.facts))
    known = chat_text("; ".join(facts) or row.facts.description, 1_000)
    return f"- {chat_text(plain_text.about(row))} ({plain_text.row_state(row)}): {known}"


def _run(run: RunPart) -> Iterator[str]:
    yield f"*Run of {chat_text(cut(run.schedule or run.endpoint))}*"
    rows = "unknown" if run.rows is None else str(run.rows)
    yield chat_text(f"{run.outcome}, window {plain_text.window(run)}, rows {rows}")
    yield from (chat_text(sentence) for sentence in run.evidence[:3])
    if len(run.evidence) > 3:
        yield f"and {len(run.evidence) - 3} more in the report"
    yield from (chat_text(line) for line in run.retraining)
    for link in run.links:
        if safe_link(link.url):
            yield f"{chat_text(link.label)}: {link.url}"


def _steps(notification: Notification, rendering: Rendering) -> Iterator[str]:
    if step := plain_text.next_step(notification):
        yield chat_text(step)
    if url := safe_link(notification.runbook):
        yield f"Runbook: {url}"
    for reply in rendering.replies:
        if safe_link(reply.url):
            yield f"{reply.label}: {reply.url}"
    command = copyable(notification.runs[-1].command) if notification.runs else ""
    if notification.remediation is not None:
        command = command_of(notification.remediation)
    if command and not _NOT_IN_CODE.search(command):
        yield f"`{command}`"
    if explained := explain(notification):
        yield f"`{chat_text(explained)}`"


def _resources(notification: Notification) -> list[str]:
    arn = notification.detail.get("processing_job_arn")
    return [cut(arn)] if isinstance(arn, str) and arn else []


def _context(notification: Notification) -> dict[str, str]:
    known = {
        "group": notification.group,
        "route": notification.route,
        "receiver": notification.receiver,
        "severity": notification.severity.value,
        "reasons": ", ".join(notification.reasons),
        "endpoint": notification.fingerprint.get("endpoint", ""),
    }
    return {key: chat_text(value, _LONGEST_CONTEXT) for key, value in known.items() if value}


def _joined(lines: Iterable[str]) -> str:
    """Whole lines up to the limit: half a link leads elsewhere."""
    text = ""
    end = "(the rest is left out)"
    for line in lines:
        if len(text) + len(line) + len(end) + 1 > LONGEST_DESCRIPTION:
            return text + end
        text += f"{line}\n"
    return text.rstrip("\n")
