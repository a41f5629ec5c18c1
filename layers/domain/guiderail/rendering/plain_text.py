"""A notification as plain text: for subscribers of an SNS topic, and beside the HTML of an email.

One fact a line behind its label, the most useful first: what is too much is cut at the end. Lines stay
below the 998 characters that mail servers take (RFC 5322, section 2.1.1), except commands and links,
which are of no use when cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from guiderail.model.message import MessageKind, Notification, Rendering, Row, RunPart
from guiderail.rendering.escaping import clipped, clipped_bytes, copyable, defanged, safe_link
from guiderail.rendering.measured import explain, measured, moment, shares
from guiderail.rendering.remediations import command_of, facts_of, gate_lines
from guiderail.rendering.wording import cut

MOST_BYTES = 100_000
"""Of a whole message: SNS takes 256 KB with its attributes (Amazon SNS API reference, Publish)."""

MOST_LISTED = 100
"""Subjects that a digest names."""

MOST_EVIDENCE = 20
"""Sentences of evidence of one run."""

TEST_NOTE = "This is a TEST message of Guiderail: nothing is wrong and nothing has to be done."

OURS = "[Guiderail] "
"""What subjects begin with; inside a message of ours it says nothing."""

HIDDEN_COMMAND = "not shown, as it holds characters that cannot be seen"

_IN_FULL = 8
_LONGEST_TITLE = 300
_LONGEST_LINE = 600
_LABEL = 20
_LONGEST_ROW = 520
_CUT = "(This message is as long as it may be: the rest is left out.)"


def render(notification: Notification, rendering: Rendering) -> str:
    """The message as plain text of at most ``MOST_BYTES`` bytes of UTF-8."""
    body = [
        *_heading(notification, rendering),
        *(_answers(notification, rendering) if notification.remediation else ()),
        *_remediation(notification),
        *_rows(notification),
        *_listed(notification),
        *(() if notification.remediation else _answers(notification, rendering)),
        *_hidden(notification),
        *_distributions(notification, rendering),
        *_runs(notification),
    ]
    footer = _footer(notification)
    size = MOST_BYTES - sum(_size(line) for line in [*footer, _CUT])
    kept = []
    for line in body:
        size -= _size(line)
        if size < 0:
            kept.append(_CUT)
            break
        kept.append(line)
    return "\n".join([*kept, *footer, ""])


def title_of(notification: Notification) -> str:
    """The title as one harmless line; a test says so."""
    title = clipped(defanged(notification.title), _LONGEST_TITLE)
    return f"TEST: {title}" if notification.kind is MessageKind.TEST else title


def standing(notification: Notification) -> str:
    """How many incidents fire, and how many are over with this message."""
    over = f", {notification.over} over" if notification.over else ""
    return f"{notification.firing} firing{over}"


def where_the_rest_is(notification: Notification) -> tuple[str, str]:
    """Where incidents are that have no row: a link to the newest report if there is one, and a command."""
    links = (link.url for run in reversed(notification.runs) for link in run.links)
    url = next((url for url in links if safe_link(url)), "")
    return url, explain(notification)


def rows_heading(notification: Notification) -> str:
    """What the list of incidents is headed with."""
    if notification.kind is MessageKind.TEST:
        return "An incident looks like this"
    if notification.remediation is not None:
        return "What it is for"
    return "What is wrong, worst first" if notification.firing else "What is over"


def about(row: Row) -> str:
    """What a row is about: a name, the check, and how many incidents share it."""
    check = row.check if row.check != row.name else ""
    count = f"{row.count} incidents" if row.count > 1 else ""
    return " · ".join(cut(part) for part in (row.name, check, count) if part)


def row_state(row: Row) -> str:
    """Severity and state of a row, and why it is news."""
    parts = [row.severity.value, row.state.value]
    if row.news:
        parts.append(row.reason.value.replace("_", " "))
    return ", ".join(parts)


def next_step(notification: Notification) -> str:
    """What the newest run suggests, or a remediation needs: what a reader wants to know first."""
    if notification.remediation is not None:
        return notification.remediation.next_step
    return notification.runs[-1].likely_cause if notification.runs else ""


def window(run: RunPart) -> str:
    """The data window of a run."""
    if not run.window_start and not run.window_end:
        return "unknown"
    return f"{run.window_start or 'unknown'} to {run.window_end or 'unknown'}"


def _heading(notification: Notification, rendering: Rendering) -> Iterator[str]:
    title = title_of(notification)
    yield title
    yield "=" * min(len(title), 72)
    yield ""
    if notification.kind is MessageKind.TEST:
        yield TEST_NOTE
        yield ""
    yield _fact("Severity", notification.severity.value)
    yield _fact("Stands at", standing(notification))
    for sentence in notification.why:
        yield _fact("Why", sentence)
    if rendering.note:
        yield _fact("Note", rendering.note)
    if step := next_step(notification):
        yield _fact("Next step", step)
    if notification.owner:
        yield _fact("Owner", notification.owner)
    if url := safe_link(notification.runbook):
        yield f"{'Runbook:':<{_LABEL}}{url}"
    elif notification.runbook:
        yield _fact("Runbook", notification.runbook)
    yield _fact("Sent", moment(notification.made_at))


def _answers(notification: Notification, rendering: Rendering) -> Iterator[str]:
    replies = [reply for reply in rendering.replies if safe_link(reply.url)]
    if replies:
        yield from _begin("Answer (each link works once, and asks before it does anything)")
        for reply in replies:
            yield f"{reply.label + ':':<{_LABEL}}{reply.url}"


def _remediation(notification: Notification) -> Iterator[str]:
    part = notification.remediation
    if part is None:
        return
    yield from _begin(f"Remediation {clipped(defanged(part.action), 256)}")
    for label, phrase in facts_of(part):
        yield _fact(label, phrase)
    if command := command_of(part):
        yield _fact("Command", "").rstrip()
        yield f"  {command}"
    if part.gates:
        yield from _begin("What its gates said")
        yield from (_safe(f"- {line}") for line in gate_lines(part))


def _rows(notification: Notification) -> Iterator[str]:
    if not notification.rows:
        return
    yield from _begin(rows_heading(notification))
    for number, row in enumerate(notification.rows):
        if row.facts is None or number >= _IN_FULL:
            line = clipped_bytes(defanged(row.line), _LONGEST_ROW)
            yield f"- {line} [{row_state(row)}] {row.incident}"
            continue
        yield _safe(f"- {about(row)}")
        yield _fact("State", row_state(row), indent="  ")
        for label, phrase in measured(row.facts):
            yield _fact(label, phrase, indent="  ")
        if row.facts.observed is None and row.facts.description:
            yield _fact("Report says", row.facts.description, indent="  ")
        yield _fact("Incident", row.incident, indent="  ")
    if notification.more:
        url, command = where_the_rest_is(notification)
        yield f"and {notification.more} more: {url or command}"


def _listed(notification: Notification) -> Iterator[str]:
    if not notification.listed:
        return
    yield from _begin("Messages that this one stands for")
    for subject in notification.listed[:MOST_LISTED]:
        yield _safe(f"- {subject.removeprefix(OURS)}")
    if len(notification.listed) > MOST_LISTED:
        yield f"and {len(notification.listed) - MOST_LISTED} more: guiderail incidents list"


def _hidden(notification: Notification) -> Iterator[str]:
    if notification.hidden:
        yield from _begin("Not shown")
        yield from (_safe(f"- {line}") for line in notification.hidden)


def _distributions(notification: Notification, rendering: Rendering) -> Iterator[str]:
    if not notification.distributions:
        return
    yield from _begin("Share of rows by bucket")
    for one in notification.distributions:
        yield _safe(f"- {clipped(one.feature, 256)}: {shares(one, rendering.show_values)}")


def _runs(notification: Notification) -> Iterator[str]:
    # the newest first: what is cut is the oldest
    for run in reversed(notification.runs):
        yield from _begin(f"Run of {clipped(defanged(run.schedule or run.endpoint), 256)}")
        yield from _run(run, next_step(notification))
    if notification.more_runs:
        yield ""
        yield f"and runs of {notification.more_runs} more schedules"


def _run(run: RunPart, said: str) -> Iterator[str]:
    reasons = f" ({', '.join(run.reasons)})" if run.reasons else ""
    yield _fact("Outcome", run.outcome + reasons)
    yield _fact("Monitor", f"{run.monitor} of {run.endpoint or 'batch data'}")
    yield _fact("Window", window(run))
    yield _fact("Rows", "unknown" if run.rows is None else str(run.rows))
    if run.likely_cause and run.likely_cause != said:
        yield _fact("Next step", run.likely_cause)
    for sentence in run.evidence[:MOST_EVIDENCE]:
        yield _fact("Evidence", sentence)
    for line in run.retraining:
        yield _fact("Retraining", line.removeprefix("Retraining: "))
    if run.command:
        command = copyable(run.command)
        yield _fact("Command", "" if command else HIDDEN_COMMAND).rstrip()
        if command:
            yield f"  {command}"
    for link in run.links:
        if safe_link(link.url):
            yield f"{defanged(link.label) + ':':<{_LABEL}}{link.url}"


def _footer(notification: Notification) -> Sequence[str]:
    command = explain(notification)
    return ("", f"{'All of it:':<{_LABEL}}{command}") if command else ()


def _begin(heading: str) -> Iterable[str]:
    return ("", heading, "-" * min(len(heading), 72))


def _fact(label: str, text: str, indent: str = "") -> str:
    return _safe(f"{indent}{label + ':':<{_LABEL - len(indent)}}{text}")


def _safe(line: str) -> str:
    return clipped_bytes(defanged(line), _LONGEST_LINE)


def _size(line: str) -> int:
    return len(line.encode(errors="replace")) + 1
