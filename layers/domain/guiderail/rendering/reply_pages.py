"""The pages behind a link to answer a message: one asks, the others say what came of it.

No script, no picture, nothing from elsewhere: one style sheet, which the answer's policy names by its
hash. All text is escaped.
"""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256

import msgspec

from guiderail.model.delivery import ReplyToken
from guiderail.model.message import REPLY_LABELS, RemediationPart, ReplyAction
from guiderail.model.outcome import Reason
from guiderail.rendering.escaping import clipped, visible
from guiderail.rendering.remediations import facts_of, gate_lines

SAID_LIMIT = 200
"""Characters of what a person writes into a field."""

CONFIRM_FIELD = "do"
"""Field that only the form's button sends; its value is the action."""

SILENCES = {
    ReplyAction.SILENCE_1H: timedelta(hours=1),
    ReplyAction.SILENCE_24H: timedelta(hours=24),
    ReplyAction.SILENCE_7D: timedelta(days=7),
}
"""How long the silences last."""

STYLE = """
:root{color-scheme:light dark;--ground:#f3f4f6;--card:#fff;--text:#17202c;--soft:#566173;--line:#dde1e8;
--accent:#1d5fd1;--on-accent:#fff;--good:#19743a;--bad:#a63d0b}
@media(prefers-color-scheme:dark){:root{--ground:#11161d;--card:#1a212b;--text:#e7ebf1;--soft:#a0abbb;
--line:#313b49;--accent:#7fb0ff;--on-accent:#0b1730;--good:#6fce8f;--bad:#ffa07a}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;background:var(--ground);color:var(--text);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
main{max-width:34rem;margin:0 auto;padding:1.25rem 1rem 2.5rem}
.brand{margin:0 0 .75rem;font-size:.875rem;font-weight:600;color:var(--soft)}
.card{background:var(--card);border:1px solid var(--line);border-top:4px solid var(--accent);
border-radius:.5rem;padding:1.25rem}
.good{border-top-color:var(--good)}.bad{border-top-color:var(--bad)}
h1{margin:0 0 .75rem;font-size:1.5rem;line-height:1.25;text-wrap:balance}
h2{margin:1.25rem 0 .25rem;font-size:1rem}
p{margin:0 0 .75rem}
.about{margin:0 0 1rem;padding:.625rem .875rem;border-left:3px solid var(--line);font-weight:600}
.about small{display:block;font-weight:400;color:var(--soft)}
.soft{font-size:.875rem;color:var(--soft);margin:1rem 0 0}
.alert{color:var(--bad);font-weight:600}
ul{margin:0 0 .75rem;padding-left:1.25rem}
li{margin:.125rem 0}
dl{display:grid;grid-template-columns:auto 1fr;gap:.125rem .75rem;margin:0 0 .75rem;font-size:.9375rem}
dt{color:var(--soft)}dd{margin:0}
label{display:block;margin:.875rem 0 .25rem;font-size:.9375rem;font-weight:600}
label span{font-weight:400;color:var(--soft)}
input,textarea{width:100%;padding:.625rem .75rem;font:inherit;color:inherit;background:var(--ground);
border:1px solid var(--soft);border-radius:.375rem}
textarea{min-height:4.5rem;resize:vertical}
button{width:100%;min-height:3rem;margin-top:1.125rem;padding:.625rem 1.5rem;font:inherit;font-weight:600;
color:var(--on-accent);background:var(--accent);border:0;border-radius:.375rem;cursor:pointer}
button:hover{filter:brightness(1.08)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
@media(min-width:40rem){main{padding-top:4rem}.card{padding:1.75rem 2rem}button{width:auto;min-width:12rem}}
"""

_ASKED = {
    ReplyAction.ACKNOWLEDGE: "Acknowledge this?",
    ReplyAction.SILENCE_1H: "Silence this for 1 hour?",
    ReplyAction.SILENCE_24H: "Silence this for 24 hours?",
    ReplyAction.SILENCE_7D: "Silence this for 7 days?",
    ReplyAction.ASSIGN: "Assign this to somebody?",
    ReplyAction.NOISE: "Call this noise?",
    ReplyAction.APPROVE: "Approve this remediation?",
    ReplyAction.REJECT: "Reject this remediation?",
}

_DONE = {
    ReplyAction.ACKNOWLEDGE: "Acknowledged",
    ReplyAction.SILENCE_1H: "Silenced for 1 hour",
    ReplyAction.SILENCE_24H: "Silenced for 24 hours",
    ReplyAction.SILENCE_7D: "Silenced for 7 days",
    ReplyAction.ASSIGN: "Assigned",
    ReplyAction.NOISE: "Kept as noise",
    ReplyAction.APPROVE: "Approved",
    ReplyAction.REJECT: "Rejected",
}

_EFFECTS = {
    ReplyAction.ACKNOWLEDGE: (
        "Somebody looks after it: it is not repeated and goes no further up, unless it gets worse."
    ),
    ReplyAction.ASSIGN: (
        "It is acknowledged in the name that you give, whoever had it before: it is not repeated and "
        "goes no further up, unless it gets worse."
    ),
    ReplyAction.NOISE: (
        "Your word is kept with what was measured, so that a backtest of the policy can use it. Nothing "
        "is silenced or closed."
    ),
    ReplyAction.APPROVE: "Its gates are asked again, and if they let it pass it starts at once.",
    ReplyAction.REJECT: (
        "It is not done, and nothing else is done by itself. The incidents stay as they are."
    ),
}

_UNDECIDED = {ReplyAction.APPROVE: "Not approved", ReplyAction.REJECT: "Not rejected"}
"""What is said above the reason why a remediation could not be decided."""

_REFUSED = {
    Reason.REPLY_UNKNOWN: (
        "Nothing here",
        "This link leads nowhere. It may have been cut off: open it from the message again, or use the "
        "newest message.",
    ),
    Reason.REPLY_EXPIRED: ("This link has expired", "Use the newest message about it."),
    Reason.REPLY_USED: ("Answered already", ""),
    Reason.REPLY_FORBIDDEN: (
        "You may not answer here",
        "The policy does not list you under replies. Ask whoever looks after the policy.",
    ),
    Reason.REPLY_TOO_LARGE: ("Too long", "What was sent is larger than any form of ours."),
    Reason.REPLY_MALFORMED: ("That was no answer of ours", "Open the link from the message again."),
    Reason.REPLY_REFUSED: ("There was nothing left to do", ""),
    Reason.REPLY_BAD_SIGNATURE: ("Not from Slack", "The request is not signed by Slack."),
    Reason.REPLY_STALE: ("Too old", "The request was signed more than five minutes ago."),
}


class ReplyOutcome(msgspec.Struct, frozen=True):
    """What an answer did, in lines; ``left`` says of what nothing was done to, and why."""

    done: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def moment(at: datetime) -> str:
    """A time for people: ``24 Nov 2026, 15:05 UTC``."""
    return f"{at.day} {at:%b %Y, %H:%M} UTC"


def heading_of(reason: Reason, action: ReplyAction | None = None) -> str:
    """What came of an answer, in a few words."""
    if reason is Reason.REPLY_DONE and action is not None:
        return _DONE[action]
    if reason is Reason.REPLY_REFUSED and action in _UNDECIDED:
        return _UNDECIDED[action]
    return _REFUSED[reason][0]


def explanation_of(reason: Reason, token: ReplyToken | None = None) -> str:
    """What a person should know of a refusal; empty where the heading says it all."""
    if token is not None and reason is Reason.REPLY_USED and token.used_at is not None:
        return (
            f"It was used on {moment(token.used_at)} by {visible(token.used_by)}; "
            "it works only once, and nothing was done now."
        )
    if token is not None and token.remediation and reason is Reason.REPLY_EXPIRED:
        return f"It could be decided until {moment(token.expires_at)}. Nothing was done now."
    if token is not None and token.remediation and reason is Reason.REPLY_FORBIDDEN:
        return "The policy does not list you among those who approve this remediation."
    if token is not None and reason is Reason.REPLY_EXPIRED:
        return f"It worked until {moment(token.expires_at)}. {_REFUSED[reason][1]}"
    return _REFUSED[reason][1]


def confirmation(
    token: ReplyToken,
    now: datetime,
    complaint: str = "",
    remediation: RemediationPart | None = None,
) -> str:
    """The page that asks before anything is done; ``complaint`` says why it asks again.

    ``remediation`` is what would be approved or rejected, as it stands now.
    """
    action = token.action
    parts = [f"<h1>{_text(_ASKED[action])}</h1>", _about(token)]
    if action in SILENCES:
        parts.append(
            f"<p>Nobody is told until <strong>{moment(now + SILENCES[action])}</strong> of what has "
            f"{'these labels' if token.labels else 'the same schedule and check'}. It opens, gets "
            "worse and ends as ever.</p>"
        )
        parts.append(_labels(token))
    else:
        parts.append(f"<p>{_text(_EFFECTS[action])}</p>")
    if remediation is not None:
        parts.append(_remediation(remediation))
    if complaint:
        parts.append(f'<p class="alert" role="alert">{_text(complaint)}</p>')
    parts.append('<form method="post" accept-charset="utf-8">')
    if action is ReplyAction.ASSIGN:
        parts.append(
            f'<label for="to">Assign to</label><input id="to" name="to" required maxlength="{SAID_LIMIT}" '
            'autocomplete="off">'
        )
    parts.append(
        f'<label for="name">Your name <span>(optional)</span></label><input id="name" name="name" '
        f'maxlength="{SAID_LIMIT}" autocomplete="name">'
        '<label for="comment">Comment <span>(optional)</span></label>'
        f'<textarea id="comment" name="comment" rows="2" maxlength="{SAID_LIMIT}"></textarea>'
        f'<button name="{CONFIRM_FIELD}" value="{action.value}">{_text(REPLY_LABELS[action])}</button>'
        "</form>"
        f'<p class="soft">Nothing has been done yet. The link works once, until '
        f"{moment(token.expires_at)}.</p>"
    )
    return _page(_ASKED[action], parts)


def result(token: ReplyToken, reason: Reason, outcome: ReplyOutcome, comment: str = "") -> str:
    """The page after an answer that was taken, or that came when all was over."""
    heading = heading_of(reason, token.action)
    parts = [f"<h1>{_text(heading)}</h1>", _about(token), _listed(outcome.done)]
    if outcome.left:
        parts.append("<h2>Left as it was</h2>" if outcome.done else "")
        parts.append(_listed(outcome.left))
    if comment:
        parts.append(f"<p>Noted: {_text(comment)}</p>")
    parts.append('<p class="soft">You can close this page.</p>')
    return _page(heading, parts, "good" if outcome.done else "bad")


def refusal(reason: Reason, token: ReplyToken | None = None) -> str:
    """The page of an answer that was not taken."""
    heading, said = heading_of(reason), explanation_of(reason, token)
    parts = [f"<h1>{_text(heading)}</h1>"]
    if token is not None:
        parts.append(_about(token))
    if said:
        parts.append(f"<p>{_text(said)}</p>")
    return _page(heading, parts, "bad")


def trouble(passing: bool) -> str:
    """The page when we cannot answer now; ``passing`` if trying again can help."""
    if passing:
        said = "Nothing is lost and the link still works. Try again in some seconds."
    else:
        said = "Something is wrong on our side. The log says what; the link still works afterwards."
    return _page("Not now", ["<h1>Not now</h1>", f"<p>{said}</p>"], "bad")


@cache
def style_source() -> str:
    """The style sheet as a Content-Security-Policy names it."""
    return f"'sha256-{b64encode(sha256(STYLE.encode()).digest()).decode()}'"


def _page(title: str, parts: Iterable[str], tone: str = "") -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="robots" content="noindex,nofollow"><meta name="format-detection" content="telephone=no">'
        f"<title>{_text(title)} - Guiderail</title><style>{STYLE}</style></head><body><main>"
        f'<p class="brand">Guiderail</p><div class="{f"card {tone}".strip()}">{"".join(parts)}</div>'
        "</main></body></html>"
    )


def _about(token: ReplyToken) -> str:
    number = len(token.incidents)
    small = f"{number} incident{'s' * (number != 1)}, told over {token.channel}"
    return f'<p class="about">{_text(token.title)}<small>{_text(small)}</small></p>'


def _labels(token: ReplyToken) -> str:
    pairs = (f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in sorted(token.labels.items()))
    return f"<dl>{''.join(pairs)}</dl>" if token.labels else ""


def _remediation(part: RemediationPart) -> str:
    """What will be done, in full: whoever presses the button has read it."""
    pairs = (f"<dt>{_text(label)}</dt><dd>{_text(said)}</dd>" for label, said in facts_of(part))
    gates = tuple(gate_lines(part))
    heading = "<h2>What its gates said</h2>" if gates else ""
    return f"<h2>{_text(part.action)}</h2><dl>{''.join(pairs)}</dl>{heading}{_listed(gates)}"


def _listed(lines: tuple[str, ...]) -> str:
    return f"<ul>{''.join(f'<li>{_text(line)}</li>' for line in lines)}</ul>" if lines else ""


def _text(text: str) -> str:
    # browsers make no links of text, so names stay as they are
    return html.escape(clipped(visible(text), 500), quote=True)
