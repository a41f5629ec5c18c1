"""A notification as an email: HTML that reads on a phone, plain text beside it, pictures inside it.

Mail clients know tables and inline styles (https://www.caniemail.com); what stands in ``<style>`` is only
for those that can be dark. Nothing is loaded from anywhere, and nothing from data is a link.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from html import escape

import msgspec

from guiderail.model.message import (
    MessageKind,
    Notification,
    Picture,
    Rendering,
    ReplyAction,
    Row,
    RowState,
    RunPart,
)
from guiderail.model.policy import Severity
from guiderail.model.remediation import RemediationState
from guiderail.rendering import plain_text
from guiderail.rendering.escaping import (
    clipped,
    copyable,
    host_of,
    html_text,
    safe_link,
)
from guiderail.rendering.measured import explain, measured, moment, shares
from guiderail.rendering.remediations import command_of, facts_of, gate_lines, words
from guiderail.rendering.wording import figure

MOST_BYTES = 90_000
"""Of the HTML: Gmail cuts a message beyond 102 KB, its buttons with it."""

MOST_PICTURE_BYTES = 5_000_000
"""Of all pictures: SES takes 10 MB by default (Amazon SES, "Service quotas"), as base64."""

LONGEST_SUBJECT = 150

_MOST_EVIDENCE = 5
_LONGEST_TEXT = 500
_ROWS_BYTES = 45_000
_MOST_SENTENCES = 8

_COLOURS = {
    Severity.INFO: "#0a5fb4",
    Severity.WARNING: "#8f5f00",
    Severity.ERROR: "#c0262d",
    Severity.CRITICAL: "#7d0a2b",
}
_OVER = "#1a7338"

_STATE_COLOURS = {
    RemediationState.ASKED: _COLOURS[Severity.INFO],
    RemediationState.SUGGESTED: _COLOURS[Severity.INFO],
    RemediationState.FAILED: _COLOURS[Severity.ERROR],
    RemediationState.NOT_PROVEN: _COLOURS[Severity.ERROR],
    RemediationState.RECORDED: _OVER,
    RemediationState.PROVEN: _OVER,
}

_STYLE = """
:root{color-scheme:light dark;supported-color-schemes:light dark}
@media (prefers-color-scheme:dark){
.page{background:#14171a!important}.card{background:#1f2428!important}
.card,.card td,.card th,.card p,.card div,.card h1,.card h2,.card pre{color:#e8eaed!important}
.card .badge,.card a.first{color:#ffffff!important}
.card .faint{color:#a9b1ba!important}.card a.link,.card a.button:not(.first){color:#8ab4f8!important}
.card pre{background:#14171a!important}.line{border-color:#3b4249!important}
}
"""
_FIRST = (ReplyAction.ACKNOWLEDGE, ReplyAction.APPROVE)
_FONT = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
_WRAP = "overflow-wrap:anywhere;word-break:break-word"
_BOX = 'role="presentation" cellpadding="0" cellspacing="0" border="0" width="100%"'


class InlinePicture(msgspec.Struct, frozen=True, kw_only=True):
    """A PNG picture of the HTML part, which calls it by ``content_id`` (without angle brackets)."""

    content_id: str
    alt: str
    png: bytes


class EmailContent(msgspec.Struct, frozen=True, kw_only=True):
    """What an email says, without sender and addressees; ``thread`` is the same for one episode."""

    subject: str
    text: str
    html: str
    thread: str
    pictures: tuple[InlinePicture, ...] = ()


def render(notification: Notification, rendering: Rendering) -> EmailContent:
    """The message as an email: HTML of at most ``MOST_BYTES``, and the same as plain text."""
    pictures = tuple(_pictures(rendering.pictures))
    return EmailContent(
        subject=subject(notification),
        text=plain_text.render(notification, rendering),
        html=_page(notification, rendering, pictures),
        thread=_thread(notification),
        pictures=pictures,
    )


def subject(notification: Notification) -> str:
    """One line of at most ``LONGEST_SUBJECT`` characters."""
    return clipped(f"{plain_text.OURS}{plain_text.title_of(notification)}", LONGEST_SUBJECT)


def mime(content: EmailContent, sender: str, to: Sequence[str]) -> EmailMessage:
    """An email as MIME: plain text, or else HTML with its pictures (RFC 2046, RFC 2387, RFC 2392).

    It asks for no automatic answers (RFC 3834). Emails of one episode refer to a message that never
    was, so that mail clients keep them together; names of hosts below ``invalid`` never exist (RFC 2606).

    Raises:
        ValueError: Sender or addressee has a line break in it.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = ", ".join(to)
    message["Subject"] = content.subject
    message["Auto-Submitted"] = "auto-generated"
    message["References"] = f"<{content.thread}@guiderail.invalid>"
    message.set_content(content.text)
    message.add_alternative(content.html, subtype="html")
    payload = message.get_payload()
    assert isinstance(payload, list)
    page = payload[1]
    assert isinstance(page, EmailMessage)
    for picture in content.pictures:
        page.add_related(
            picture.png,
            maintype="image",
            subtype="png",
            cid=f"<{picture.content_id}>",
            disposition="inline",
            filename=f"{picture.content_id.partition('@')[0]}.png",
        )
    return message


def mime_bytes(content: EmailContent, sender: str, to: Sequence[str]) -> bytes:
    """The email as SES takes it as raw content: MIME with CRLF line ends."""
    return mime(content, sender, to).as_bytes()


def _thread(notification: Notification) -> str:
    return hashlib.sha256(f"{notification.group}#{notification.episode}".encode()).hexdigest()[:32]


def _pictures(pictures: Iterable[Picture]) -> Iterator[InlinePicture]:
    left = MOST_PICTURE_BYTES
    for number, picture in enumerate(pictures, 1):
        left -= len(picture.png)
        if left >= 0:
            yield InlinePicture(
                content_id=f"picture{number}@guiderail.invalid", alt=picture.alt, png=picture.png
            )


def _page(
    notification: Notification, rendering: Rendering, pictures: Sequence[InlinePicture]
) -> str:
    title = html_text(clipped(subject(notification), LONGEST_SUBJECT))
    begin = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        '<meta name="supported-color-schemes" content="light dark">'
        '<meta name="format-detection" content="telephone=no,date=no,address=no,email=no,url=no">'
        f"<title>{title}</title><style>{_STYLE}</style></head>\n"
        f'<body class="page" style="margin:0;padding:0;background:#eef0f3;{_FONT}">\n'
        f'<table {_BOX} class="page" style="background:#eef0f3"><tr><td align="center" '
        'style="padding:12px 8px">\n'
        f'<table {_BOX} class="card" style="max-width:640px;background:#ffffff;border-radius:8px;'
        'table-layout:fixed"><tr><td style="padding:20px 16px;color:#1f2328;font-size:15px;'
        f'line-height:1.45;{_WRAP}">\n'
    )
    end = f"{_footer(notification)}</td></tr></table>\n</td></tr></table>\n</body></html>\n"
    parts = [
        *_heading(notification, rendering),
        *(_answers(rendering) if notification.remediation else ()),
        *_remediation(notification),
        *_rows(notification),
        *_listed(notification),
        *(() if notification.remediation else _answers(rendering)),
        *_charts(notification, rendering, pictures),
        *_hidden(notification),
        *_runs(notification),
    ]
    return begin + "".join(_fitting(parts, MOST_BYTES - _size(begin) - _size(end))) + end


def _fitting(parts: Iterable[str], size: int) -> Iterator[str]:
    note = '<p class="faint">This message is as long as it may be: the rest is left out.</p>\n'
    size -= _size(note)
    for part in parts:
        if _size(part) > size:
            yield note
            return
        size -= _size(part)
        yield part


def _heading(notification: Notification, rendering: Rendering) -> Iterator[str]:
    severity = notification.severity
    is_over = not notification.firing and notification.over
    badge = _badge("resolved", _OVER) if is_over else _badge(severity.value, _COLOURS[severity])
    if notification.kind is MessageKind.TEST:
        badge = _badge("TEST", _COLOURS[Severity.INFO])
    if notification.remediation is not None:
        state = notification.remediation.state
        colour = _STATE_COLOURS.get(state, _COLOURS[Severity.WARNING])
        badge = _badge(words(state), colour)
    yield (
        f'<div style="margin:0 0 8px">{badge} <span class="faint" style="color:#59636e">'
        f"{plain_text.standing(notification)} &middot; {moment(notification.made_at)}</span></div>\n"
        '<h1 style="margin:0 0 12px;font-size:20px;line-height:1.3;font-weight:600">'
        f"{html_text(plain_text.title_of(notification))}</h1>\n"
    )
    if notification.kind is MessageKind.TEST:
        yield f'<p style="margin:0 0 8px"><b>{plain_text.TEST_NOTE}</b></p>\n'
    for sentence in notification.why[:_MOST_SENTENCES]:
        yield f'<p style="margin:0 0 8px">{_text(sentence)}</p>\n'
    if rendering.note:
        yield f'<p style="margin:0 0 8px"><b>Note:</b> {_text(rendering.note)}</p>\n'
    facts = []
    if step := plain_text.next_step(notification):
        facts.append(("Next step", f"<b>{_text(step)}</b>"))
    if notification.owner:
        facts.append(("Owner", _text(notification.owner)))
    if url := safe_link(notification.runbook):
        facts.append(("Runbook", _link(url, host_of(url))))
    elif notification.runbook:
        facts.append(("Runbook", _text(notification.runbook)))
    if facts:
        yield _facts(facts)


def _remediation(notification: Notification) -> Iterator[str]:
    part = notification.remediation
    if part is None:
        return
    facts = [(label, _text(phrase)) for label, phrase in facts_of(part)]
    yield _heading_of(f"Remediation {clipped(part.action, 256)}") + _facts(facts)
    yield _command(command_of(part))
    if part.gates:
        yield _heading_of("What its gates said") + _lines(_text(line) for line in gate_lines(part))


def _rows(notification: Notification) -> Iterator[str]:
    if not notification.rows:
        return
    size, kept, left_out = _ROWS_BYTES, [], 0
    for row in notification.rows:
        text = _row(row)
        size -= _size(text)
        if size >= 0:
            kept.append(text)
        else:
            left_out += row.count
    # as one piece, or the table would lose its end
    yield (
        _heading_of(plain_text.rows_heading(notification))
        + f'<table cellpadding="0" cellspacing="0" border="0" width="100%" style="table-layout:fixed;'
        f'border-collapse:collapse;font-size:14px">\n<tr>{_column("Finding", "left", "")}'
        f"{_column('Observed', 'right', '24%')}{_column('Threshold', 'right', '26%')}</tr>\n"
        + "".join(kept)
        + "</table>\n"
    )
    if notification.more or left_out:
        url, command = plain_text.where_the_rest_is(notification)
        said = f"and {notification.more + left_out} more"
        where = _link(url, "in the report") if url else f"<code>{html_text(command)}</code>"
        yield f'<p style="margin:8px 0">{said}: {where}</p>\n'


def _column(label: str, align: str, width: str) -> str:
    wide = f' width="{width}"' if width else ""
    return (
        f'<th align="{align}"{wide} class="faint line" style="padding:4px 0 4px 8px;color:#59636e;'
        f'font-weight:600;border-bottom:1px solid #d5dae0{";padding-left:0" if not width else ""}">'
        f"{label}</th>"
    )


def _row(row: Row) -> str:
    facts = row.facts
    cell = 'style="padding:10px 0 0 8px" valign="top" align="right"'
    observed = limit = "&ndash;"
    if facts and facts.observed is not None:
        observed = f"<b>{html_text(figure(facts.observed, facts.unit))}</b>"
    if facts and facts.threshold is not None:
        limit = html_text(figure(facts.threshold, facts.unit))
    return (
        f'<tr><td style="padding:10px 0 0;{_WRAP}" valign="top"><b><bdi>{_text(row.name, 256)}</bdi></b>'
        f"</td><td {cell}>{observed}</td><td {cell}>{limit}</td></tr>\n"
        f'<tr><td colspan="3" class="faint line" style="padding:4px 0 10px;color:#59636e;'
        f'font-size:13px;border-bottom:1px solid #d5dae0;{_WRAP}">{_details(row)}</td></tr>\n'
    )


def _details(row: Row) -> str:
    is_over = row.state is RowState.OVER
    colour = _OVER if is_over else _COLOURS[row.severity]
    badge = _badge("over" if is_over else row.severity.value, colour)
    state = plain_text.row_state(row).partition(", ")[2]
    count = f", {row.count} incidents" if row.count > 1 else ""
    check = f"{_text(row.check, 256)}: " if row.check != row.name else ""
    lines = [f"{badge} {check}{html_text(state + count)}"]
    facts = row.facts
    if facts is None:
        lines.append(_text(row.line))
    else:
        if facts.observed is None and facts.description:
            lines.append(_text(facts.description))
        known = ((label, phrase) for label, phrase in measured(facts) if label != "Observed")
        lines += [f"{label}: {_text(phrase)}" for label, phrase in known]
    return "<br>".join([*lines, f"Incident {html_text(row.incident)}"])


def _listed(notification: Notification) -> Iterator[str]:
    if notification.listed:
        yield _heading_of("Messages that this one stands for")
        shown = notification.listed[: plain_text.MOST_LISTED]
        more = len(notification.listed) - len(shown)
        lines = [_text(subject.removeprefix(plain_text.OURS), 200) for subject in shown]
        if more:
            lines.append(f"and {more} more: <code>guiderail incidents list</code>")
        yield _lines(lines)


def _answers(rendering: Rendering) -> Iterator[str]:
    buttons = [
        _button(safe_link(reply.url), reply.label, reply.action in _FIRST)
        for reply in rendering.replies
        if safe_link(reply.url)
    ]
    if buttons:
        yield (
            f'{_heading_of("Answer")}<div style="margin:0 0 4px">{" ".join(buttons)}</div>\n'
            '<p class="faint" style="margin:0 0 8px;color:#59636e;font-size:13px">'
            "Each button works once, and asks before it does anything.</p>\n"
        )


def _charts(
    notification: Notification, rendering: Rendering, pictures: Sequence[InlinePicture]
) -> Iterator[str]:
    if pictures:
        yield _heading_of("Charts")
    for picture in pictures:
        alt = _text(picture.alt)
        yield (
            f'<p style="margin:0 0 12px"><img src="cid:{picture.content_id}" alt="{alt}" width="600" '
            'style="display:block;width:100%;max-width:600px;height:auto;border:0">'
            f'<span class="faint" style="color:#59636e;font-size:13px">{alt}</span></p>\n'
        )
    if notification.distributions and not pictures:
        yield _heading_of("Share of rows by bucket")
        yield _lines(
            f"<bdi>{_text(one.feature, 256)}</bdi>: {_text(shares(one, rendering.show_values))}"
            for one in notification.distributions
        )


def _hidden(notification: Notification) -> Iterator[str]:
    if notification.hidden:
        yield _heading_of("Not shown") + _lines(_text(line) for line in notification.hidden)


def _runs(notification: Notification) -> Iterator[str]:
    # the newest first: what is cut is the oldest
    for run in reversed(notification.runs):
        yield _run(run, plain_text.next_step(notification))
    if notification.more_runs:
        yield f"<p>and runs of {notification.more_runs} more schedules</p>\n"


def _run(run: RunPart, said: str) -> str:
    reasons = f" ({', '.join(run.reasons)})" if run.reasons else ""
    facts = [
        ("Outcome", _text(run.outcome + reasons)),
        ("Monitor", f"{_text(run.monitor)} of <bdi>{_text(run.endpoint or 'batch data')}</bdi>"),
        ("Window", _text(plain_text.window(run))),
        ("Rows", "unknown" if run.rows is None else str(run.rows)),
    ]
    if run.likely_cause and run.likely_cause != said:
        facts.append(("Next step", _text(run.likely_cause)))
    evidence = [_text(sentence) for sentence in run.evidence[:_MOST_EVIDENCE]]
    if len(run.evidence) > _MOST_EVIDENCE:
        evidence.append(f"and {len(run.evidence) - _MOST_EVIDENCE} more in the report")
    if evidence:
        facts.append(("Evidence", "<br>".join(evidence)))
    if run.retraining:
        lines = (line.removeprefix("Retraining: ") for line in run.retraining)
        facts.append(("Retraining", "<br>".join(_text(line) for line in lines)))
    links = [_link(link.url, link.label) for link in run.links if safe_link(link.url)]
    if links:
        facts.append(("Open", " &nbsp; ".join(links)))
    name = clipped(run.schedule or run.endpoint, 256)
    return _heading_of(f"Run of {name}") + _facts(facts) + _command(run.command)


def _command(command: str) -> str:
    if not command:
        return ""
    shown = copyable(command)
    if not shown:
        return f"<p>The command is {plain_text.HIDDEN_COMMAND}.</p>\n"
    # as it is, or it could not be copied
    return (
        '<pre style="margin:8px 0;padding:10px;background:#f3f5f7;border-radius:6px;font-size:12px;'
        'font-family:Consolas,Menlo,monospace;white-space:pre-wrap;word-break:break-all">'
        f"{escape(shown, quote=True)}</pre>\n"
    )


def _footer(notification: Notification) -> str:
    command = explain(notification)
    if not command:
        return ""
    return (
        '<p class="faint line" style="margin:16px 0 0;padding-top:10px;border-top:1px solid #d5dae0;'
        'color:#59636e;font-size:13px">All of it: '
        f"<code>{html_text(command)}</code></p>\n"
    )


def _heading_of(text: str) -> str:
    return (
        '<h2 style="margin:20px 0 8px;font-size:16px;line-height:1.3;font-weight:600">'
        f"{html_text(text)}</h2>\n"
    )


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    rows = "".join(
        f'<tr><td class="faint" width="92" valign="top" style="padding:2px 8px 2px 0;color:#59636e;'
        f'font-size:14px">{label}</td><td valign="top" style="padding:2px 0;font-size:14px;{_WRAP}">'
        f"{value}</td></tr>\n"
        for label, value in facts
    )
    return f'<table {_BOX} style="table-layout:fixed">\n{rows}</table>\n'


def _lines(lines: Iterable[str]) -> str:
    return "".join(f'<div style="margin:0 0 4px;font-size:14px">{line}</div>\n' for line in lines)


def _badge(label: str, colour: str) -> str:
    return (
        f'<span class="badge" style="display:inline-block;padding:1px 8px;border-radius:10px;'
        f'background:{colour};color:#ffffff;font-size:12px;font-weight:600">{label}</span>'
    )


def _link(url: str, label: str) -> str:
    """A link of ours: whoever calls it has looked at the URL; its label shows nothing else's address."""
    return f'<a class="link" href="{escape(url)}" style="color:#0a5fb4">{escape(label)}</a>'


def _button(url: str, label: str, is_first: bool) -> str:
    colours = (
        "background:#0a5fb4;color:#ffffff;border:1px solid #0a5fb4"
        if is_first
        else "color:#0a5fb4;border:1px solid #8a94a0"
    )
    return (
        f'<a class="button{" first" if is_first else ""}" href="{escape(url)}" style="display:inline-block;'
        f"margin:0 4px 8px 0;padding:11px 16px;border-radius:6px;text-decoration:none;font-size:14px;"
        f'font-weight:600;{colours}">{escape(label)}</a>'
    )


def _text(text: str, most: int = _LONGEST_TEXT) -> str:
    return html_text(clipped(text, most))


def _size(text: str) -> int:
    return len(text.encode(errors="replace"))
