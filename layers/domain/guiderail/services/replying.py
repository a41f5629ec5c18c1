"""What people answer to a message: by a link's page, or by a button in Slack.

A token names what may be done, once and until it expires; whoever holds it may ask, and the policy's
``replies.allowed``, or the approvers of a remediation, say who may answer. The act comes first and can be
repeated without harm, then the token is marked as used: what breaks off in between is done again, not lost.
A token that approves what two people have to approve is used up by the second of them.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Protocol
from urllib.parse import parse_qsl

import msgspec

from guiderail.errors import GuiderailError, NotFoundError, PermanentError, RejectedRequestError
from guiderail.model.delivery import ReplyToken, token_digest
from guiderail.model.incident import Incident, IncidentState
from guiderail.model.message import RemediationPart, ReplyAction
from guiderail.model.notice import AuditEntry, Decision
from guiderail.model.outcome import Reason
from guiderail.model.policy import Channel, ChannelKind, Policy
from guiderail.model.remediation import Remediation, RemediationState
from guiderail.model.web import WebAnswer, WebRequest
from guiderail.ports import Journal, Meter, ReplyTokens
from guiderail.rendering import reply_pages as pages
from guiderail.rendering.escaping import clipped, visible
from guiderail.rendering.reply_pages import SAID_LIMIT, ReplyOutcome
from guiderail.services.acts import Acts
from guiderail.services.judging import Alternatives
from guiderail.services.remediation_parts import part_of, people_for

LARGEST_FORM = 16 * 1024
"""Bytes of a form that a page of ours sends; more is refused unread."""

LARGEST_SLACK = 128 * 1024
"""Bytes of what Slack sends for a button: it has the whole message in it, percent-encoded."""

SLACK_HOOKS = "https://hooks.slack.com/"
"""Where every ``response_url`` of Slack begins."""

_FRESH_SECONDS = 30.0
"""Between two looks for a newer signing secret, or for one that is not there: forged requests must not
cost a call each."""

_LINK = re.compile(r"/r/([A-Za-z0-9_-]{16,128})")
_SLACK_ID = re.compile(r"[A-Z0-9]{1,32}")
_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 20
_MOST_LINES = 50
_RETRY_SECONDS = "5"

_STATUS = {
    Reason.REPLY_DONE: 200,
    Reason.REPLY_MALFORMED: 400,
    Reason.REPLY_BAD_SIGNATURE: 401,
    Reason.REPLY_STALE: 401,
    Reason.REPLY_FORBIDDEN: 403,
    Reason.REPLY_UNKNOWN: 404,
    Reason.REPLY_USED: 409,
    Reason.REPLY_REFUSED: 409,
    Reason.REPLY_EXPIRED: 410,
    Reason.REPLY_TOO_LARGE: 413,
}

_WORTH_A_LOOK = frozenset(
    {Reason.REPLY_BAD_SIGNATURE, Reason.REPLY_STALE, Reason.REPLY_FORBIDDEN, Reason.REPLY_TOO_LARGE}
)


class SlackSignatures(Protocol):
    """Slack's word that a request is its own."""

    def check(
        self, secret: str, body: bytes, timestamp: str, signature: str, now: datetime
    ) -> Reason | None:
        """``reply_bad_signature`` or ``reply_stale``; None if the request is Slack's."""
        ...


class SigningSecret(Protocol):
    """The secret with which Slack signs."""

    def __call__(self, fresh: bool = False) -> str:
        """The secret, cached; ``fresh`` reads it anew. Raises GuiderailError."""
        ...


class SlackAnswers(Protocol):
    """A note to the person who pressed a button in Slack."""

    def tell(self, url: str, text: str) -> None:
        """Post a note that only they see. Raises GuiderailError."""
        ...


class RemediationWords(Protocol):
    """What people may say of a remediation; ``services.remediation_acts.RemediationActs`` is it."""

    def find(self, remediation_id: str) -> Remediation:
        """A remediation as it stands now. Raises NotFoundError."""
        ...

    def may_decide(self, remediation: Remediation, actor: str) -> bool:
        """Whether the policy lets somebody approve or reject it."""
        ...

    def approve(
        self, remediation_id: str, actor: str, origin: str = "", comment: str = ""
    ) -> Remediation:
        """Be for it. Raises RejectedRequestError, with a sentence for people, if it cannot be approved."""
        ...

    def reject(
        self, remediation_id: str, actor: str, origin: str = "", comment: str = ""
    ) -> Remediation:
        """Be against it. Raises RejectedRequestError as ``approve`` does."""
        ...


class _Said(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers, from where, and what else they said; only ``actor`` is more than their word."""

    actor: str
    origin: str
    assignee: str = ""
    comment: str = ""


class _Verdict(msgspec.Struct, frozen=True, kw_only=True):
    reason: Reason
    token: ReplyToken | None = None
    outcome: ReplyOutcome = ReplyOutcome()


class _Answered(msgspec.Struct, frozen=True, kw_only=True):
    """An answer before its headers; ``reason`` is empty where nothing was asked of us but a page."""

    status: int
    body: str = ""
    reason: str = ""
    token: ReplyToken | None = None
    actor: str = ""
    headers: dict[str, str] = {}


class _User(msgspec.Struct, frozen=True):
    id: str
    team_id: str | None = None
    username: str | None = None
    name: str | None = None


class _Team(msgspec.Struct, frozen=True):
    id: str


class _Pressed(msgspec.Struct, frozen=True):
    action_id: str = ""
    value: str | None = None


class _Interaction(msgspec.Struct, frozen=True):
    """What is read of Slack's ``block_actions`` payload (docs.slack.dev, interaction payloads)."""

    type: str
    user: _User
    team: _Team | None = None
    actions: list[_Pressed] = []
    response_url: str = ""


_INTERACTION = msgspec.json.Decoder(_Interaction)


class Replying:
    """Answer web requests; nothing that a stranger can send makes it raise."""

    def __init__(
        self,
        *,
        acts: Acts,
        tokens: ReplyTokens,
        signatures: SlackSignatures,
        signing_secret: SigningSecret | None,
        slack: SlackAnswers,
        meter: Meter,
        journal: Journal,
        remediations: RemediationWords | None = None,
        slack_hooks: str = SLACK_HOOKS,
    ) -> None:
        """Answer with these; without a signing secret there is no way in for Slack.

        Args:
            acts: What people do to incidents.
            tokens: What answers they hold.
            signatures: Checks Slack's.
            signing_secret: What Slack signs with.
            slack: Tells people in Slack what came of their answer.
            meter: Counts answers.
            journal: Logs them.
            remediations: What people say of remediations; None where nobody can.
            slack_hooks: Where a ``response_url`` must begin; tests put a sink there.
        """
        self._acts = acts
        self._tokens = tokens
        self._signatures = signatures
        self._signing_secret = signing_secret
        self._slack = slack
        self._meter = meter
        self._journal = journal
        self._remediations = remediations
        self._slack_hooks = slack_hooks
        self._looked_at = self._failed_at = float("-inf")
        self._failure: PermanentError | None = None

    def __call__(self, request: WebRequest) -> WebAnswer:
        """Answer a request, log it and count it."""
        answered = self._routed(request)
        self._record(answered)
        body = "" if request.method == "HEAD" else answered.body
        return WebAnswer(
            status=answered.status, headers={**_security(), **answered.headers}, body=body
        )

    def _routed(self, request: WebRequest) -> _Answered:
        link = _LINK.fullmatch(request.path)
        if link:
            if request.method in ("GET", "HEAD"):
                return self._ask(link[1])
            if request.method == "POST":
                return self._submitted(request, link[1])
            return _not_allowed("GET, HEAD, POST")
        if request.path == "/slack" and self._signing_secret:
            if request.method == "POST":
                return self._pressed(request, self._signing_secret)
            return _not_allowed("POST")
        return _refused(_Verdict(reason=Reason.REPLY_UNKNOWN))

    # --- links

    def _ask(self, secret: str) -> _Answered:
        """The page of a link: nothing changes, whoever opens it and how often."""
        now = self._acts.clock()
        token = None
        try:
            token, wrong = self._looked_up(secret, now)
            if token is None or wrong:
                return _refused(_Verdict(reason=wrong or Reason.REPLY_UNKNOWN, token=token))
            return self._asked(token, now)
        except GuiderailError as error:
            return self._failed(error, token)

    def _asked(self, token: ReplyToken, now: datetime, complaint: str = "") -> _Answered:
        """The page with its form; of a remediation that cannot be decided any more, why."""
        part = None
        if token.remediation:
            found = self._found(token)
            if isinstance(found, _Verdict):
                return _refused(found)
            if found.state is not RemediationState.ASKED:
                return _refused(_too_late(token, found))
            part = self._part(found)
        body = pages.confirmation(token, now, complaint, part)
        if complaint:
            return _malformed(400, body, token=token)
        return _Answered(status=200, body=body, token=token)

    def _submitted(self, request: WebRequest, secret: str) -> _Answered:
        fields = _fields(request, LARGEST_FORM)
        if isinstance(fields, _Answered):
            return fields
        token, actor = None, ""
        now = self._acts.clock()
        try:
            token, wrong = self._looked_up(secret, now)
            if token is None:
                return _refused(_Verdict(reason=Reason.REPLY_UNKNOWN))
            policy = self._acts.policies.current().policy
            channel = _channel(policy, token.channel)
            actor = _link_actor(token.channel, channel)
            said = _Said(
                actor=actor,
                origin=f"link@{request.source}",
                assignee=_line(fields.get("to", "")),
                comment=_comment(fields),
            )
            if wrong:
                return self._turned_down(_Verdict(reason=wrong, token=token), said, now)
            # a button of Slack's is not a link, whoever found its token
            if channel and channel.kind is ChannelKind.SLACK:
                return self._turned_down(_forbidden(token), said, now)
            if complaint := _incomplete(token, fields, said):
                return msgspec.structs.replace(self._asked(token, now, complaint), actor=actor)
            verdict = self._redeemed(token, policy, said, now)
            if verdict.reason is not Reason.REPLY_DONE:
                return self._turned_down(verdict, said, now)
            body = pages.result(token, verdict.reason, verdict.outcome, said.comment)
            return _Answered(status=200, body=body, reason=verdict.reason, token=token, actor=actor)
        except GuiderailError as error:
            return self._failed(error, token, actor)

    # --- Slack

    def _pressed(self, request: WebRequest, signing_secret: SigningSecret) -> _Answered:
        body = request.body
        if body is None:
            return _malformed(400)
        if len(body) > LARGEST_SLACK:
            return _refused(_Verdict(reason=Reason.REPLY_TOO_LARGE))
        try:
            wrong = self._unsigned(request, body, signing_secret)
        except NotFoundError:
            # a stack without Slack, like one without the setting
            return _refused(_Verdict(reason=Reason.REPLY_UNKNOWN))
        except GuiderailError as error:
            return self._failed(error)
        if wrong:
            return _refused(_Verdict(reason=wrong))
        fields = _fields(request, LARGEST_SLACK)
        if isinstance(fields, _Answered):
            return fields
        try:
            payload = _INTERACTION.decode(fields.get("payload", ""))
        except (ValueError, RecursionError):
            return _malformed(400)
        actor = _slack_actor(payload)
        if payload.type != "block_actions" or not actor:
            return _malformed(400)
        pressed = next((a for a in payload.actions if a.action_id.startswith("guiderail.")), None)
        if pressed is None or not pressed.value:
            # Slack tells of a link that was followed, too, and wants to be told that we know
            return _Answered(status=200)
        answered, text = self._answered_in_slack(payload, pressed.value, actor)
        self._tell(payload.response_url, text)
        return answered

    def _answered_in_slack(
        self, payload: _Interaction, secret: str, actor: str
    ) -> tuple[_Answered, str]:
        """What is answered to Slack, and the note for the person."""
        user = payload.user
        now = self._acts.clock()
        token = None
        try:
            token, wrong = self._looked_up(secret, now)
            verdict = _Verdict(reason=wrong or Reason.REPLY_UNKNOWN, token=token)
            if token is not None:
                said = _Said(
                    actor=actor,
                    origin=f"slack@{token.channel}",
                    assignee=_line(user.username or user.name or "") or actor,
                )
                policy = self._acts.policies.current().policy
                channel = _channel(policy, token.channel)
                if wrong is None and channel and channel.kind not in _SLACK_KINDS:
                    verdict = _forbidden(token)
                elif wrong is None:
                    verdict = self._redeemed(token, policy, said, now)
                if verdict.reason is not Reason.REPLY_DONE:
                    self._keep_refusal(verdict, token, said, now)
            # Slack shows a warning of its own for anything but 200
            answered = _Answered(status=200, reason=verdict.reason, token=token, actor=actor)
            return answered, _note(verdict)
        except GuiderailError as error:
            failed = self._failed(error, token, actor)
            answered = msgspec.structs.replace(failed, status=200, body="", headers={})
            return answered, "That did not work now; nothing is lost. Try again in some seconds."

    def _unsigned(
        self, request: WebRequest, body: bytes, signing_secret: SigningSecret
    ) -> Reason | None:
        """Why a request is not taken as Slack's; a secret that was replaced is read anew, once."""
        timestamp = request.headers.get("x-slack-request-timestamp", "")
        signature = request.headers.get("x-slack-signature", "")
        if not timestamp or not signature:
            return Reason.REPLY_BAD_SIGNATURE
        now = self._acts.clock()
        secret = self._known_secret(signing_secret, now)
        wrong = self._signatures.check(secret, body, timestamp, signature, now)
        if wrong is not Reason.REPLY_BAD_SIGNATURE:
            return wrong
        if now.timestamp() - self._looked_at < _FRESH_SECONDS:
            return wrong
        self._looked_at = now.timestamp()
        newer = signing_secret(fresh=True)
        if hmac.compare_digest(newer.encode(), secret.encode()):
            return wrong
        return self._signatures.check(newer, body, timestamp, signature, now)

    def _known_secret(self, signing_secret: SigningSecret, now: datetime) -> str:
        if self._failure and now.timestamp() - self._failed_at < _FRESH_SECONDS:
            raise self._failure.with_traceback(None)
        try:
            return signing_secret()
        except PermanentError as error:
            self._failure, self._failed_at = error, now.timestamp()
            raise

    def _tell(self, url: str, text: str) -> None:
        if not _is_below(url, self._slack_hooks):
            self._journal.warning("no note to Slack: response_url is not Slack's")
            return
        try:
            self._slack.tell(url, text)
        except GuiderailError as error:
            self._journal.warning("no note to Slack", reason=error.code, error=str(error))

    # --- both

    def _looked_up(self, secret: str, now: datetime) -> tuple[ReplyToken | None, Reason | None]:
        """What is kept of a token, and why it cannot be used."""
        digest = token_digest(secret)
        token = self._tokens.token(digest)
        if token is None or not hmac.compare_digest(token.digest, digest):
            return None, Reason.REPLY_UNKNOWN
        if token.used_at is not None:
            return token, Reason.REPLY_USED
        return token, Reason.REPLY_EXPIRED if now >= token.expires_at else None

    def _redeemed(self, token: ReplyToken, policy: Policy, said: _Said, now: datetime) -> _Verdict:
        if token.remediation:
            return self._decided(token, said, now)
        if not Alternatives(policy.replies.allowed).match(said.actor):
            return _forbidden(token)
        outcome = self._acted(token, said, now)
        if not outcome.done:
            return _Verdict(reason=Reason.REPLY_REFUSED, token=token, outcome=outcome)
        return self._used_up(token, said, now, outcome)

    def _used_up(
        self, token: ReplyToken, said: _Said, now: datetime, outcome: ReplyOutcome
    ) -> _Verdict:
        if not self._tokens.use(token.digest, said.actor, now):
            used = self._tokens.token(token.digest) or token
            return _Verdict(reason=Reason.REPLY_USED, token=used)
        return _Verdict(reason=Reason.REPLY_DONE, token=token, outcome=outcome)

    # --- remediations

    def _decided(self, token: ReplyToken, said: _Said, now: datetime) -> _Verdict:
        """Approve or reject; a second person's approval finds the token unused."""
        found = self._found(token)
        if isinstance(found, _Verdict):
            return found
        words = self._remediations
        assert words is not None
        if not words.may_decide(found, said.actor):
            return _forbidden(token)
        approves = token.action is ReplyAction.APPROVE
        done = f"{found.action}: {'approved' if approves else 'rejected'} by {said.actor}"
        if found.state is not RemediationState.ASKED:
            if not _has_said(found, token.action, said.actor):
                return _too_late(token, found)
            # their word is in it: this answer broke off after it, or they gave it by another message
            line = f"{done}; it is {_named_state(found)} by now"
            return self._used_up(token, said, now, ReplyOutcome((line,)))
        if approves and said.actor in people_for(found):
            if self._is_enough(found):
                return self._used_up(token, said, now, ReplyOutcome((done,)))
            line = f"{said.actor} is for it already: another person has to approve it"
            return _Verdict(reason=Reason.REPLY_REFUSED, token=token, outcome=_left(line))
        decide = words.approve if approves else words.reject
        try:
            after = decide(token.remediation, said.actor, said.origin, said.comment)
        except RejectedRequestError as error:
            after = words.find(token.remediation)
            if not _has_said(after, token.action, said.actor):
                over = after.expires_at is not None and self._acts.clock() >= after.expires_at
                if after.state is RemediationState.ASKED and not over:
                    # it can be decided, and this person may: it is the store that refused
                    raise
                outcome = _left(error.args[0])
                return _Verdict(reason=Reason.REPLY_REFUSED, token=token, outcome=outcome)
        if approves and not self._is_enough(after):
            line = f"{done}; it waits for another person to approve it as well"
            return _Verdict(reason=Reason.REPLY_DONE, token=token, outcome=ReplyOutcome((line,)))
        return self._used_up(token, said, now, ReplyOutcome((done,)))

    def _found(self, token: ReplyToken) -> Remediation | _Verdict:
        """The remediation of a token as it stands; a refusal if nobody knows it any more."""
        try:
            if self._remediations is not None:
                return self._remediations.find(token.remediation)
        except NotFoundError:
            pass
        outcome = _left("It is over, and forgotten")
        return _Verdict(reason=Reason.REPLY_REFUSED, token=token, outcome=outcome)

    def _part(self, remediation: Remediation) -> RemediationPart:
        policy = self._acts.policies.current().policy
        return part_of(remediation, policy.remediations.get(remediation.action))

    def _is_enough(self, remediation: Remediation) -> bool:
        part = self._part(remediation)
        return len(part.approvals) >= part.approvals_needed

    # --- incidents

    def _acted(self, token: ReplyToken, said: _Said, now: datetime) -> ReplyOutcome:
        done: list[str] = []
        left: list[str] = []
        if token.action in pages.SILENCES and token.labels:
            return ReplyOutcome((self._silenced(token, token.labels, said, now),))
        matched: set[tuple[str, str]] = set()
        for incident in token.incidents:
            try:
                if token.action in pages.SILENCES:
                    ledger, known = self._acts.find(incident)
                    match = (ledger.scope.schedule, known.check)
                    if match not in matched:
                        matched.add(match)
                        labels = {"schedule": match[0], "check": match[1]}
                        done.append(self._silenced(token, labels, said, now))
                else:
                    done.append(self._one(token, incident, said))
            except NotFoundError:
                left.append(f"{incident}: is over, and forgotten")
            except RejectedRequestError:
                _, known = self._acts.find(incident)
                if known.state is IncidentState.OPEN:
                    # the life cycle allows any answer: it is the store that refused
                    raise
                left.append(f"{_named(known)}: is {known.state.value}")
        return ReplyOutcome(_counted(done), _counted(left))

    def _one(self, token: ReplyToken, incident: str, said: _Said) -> str:
        actor, origin, comment = said.actor, said.origin, said.comment
        if token.action is ReplyAction.ASSIGN:
            after = self._acts.assign(incident, said.assignee, actor, origin, comment)
            return f"{_named(after)}: assigned to {after.acknowledged_by}"
        if token.action is ReplyAction.NOISE:
            keep = self._tokens.keep_feedback
            after = self._acts.noise(incident, keep, token.digest, actor, origin, comment)
            return f"{_named(after)}: kept as noise"
        after = self._acts.acknowledge(incident, actor, origin, comment)
        return f"{_named(after)}: acknowledged by {after.acknowledged_by}"

    def _silenced(
        self, token: ReplyToken, labels: Mapping[str, str], said: _Said, now: datetime
    ) -> str:
        match = {name: _literal(value) for name, value in sorted(labels.items())}
        words = ", ".join(f"{name}={value}" for name, value in sorted(labels.items()))
        silence = self._acts.silence(
            match,
            now + pages.SILENCES[token.action],
            said.actor,
            said.comment,
            said.origin,
            identity=f"{token.digest}|{words}",
        )
        return f"Until {pages.moment(silence.ends_at)}: {words} ({silence.id})"

    def _turned_down(self, verdict: _Verdict, said: _Said, now: datetime) -> _Answered:
        token = verdict.token
        if token is not None:
            self._keep_refusal(verdict, token, said, now)
        return _refused(verdict, said)

    def _keep_refusal(
        self, verdict: _Verdict, token: ReplyToken, said: _Said, now: datetime
    ) -> None:
        about = token.incidents[0] if len(token.incidents) == 1 else token.group
        about = token.remediation or about
        text = f"{token.action.value} over {token.channel}"
        self._tokens.keep_audit(
            AuditEntry(
                id=token_digest(f"{token.digest}|{verdict.reason}|{said.actor}")[:16],
                subject=token.group,
                at=now,
                actor=said.actor,
                origin=said.origin,
                what="reply",
                counts={verdict.reason.value: 1},
                decisions=(Decision(about=about, reason=verdict.reason, text=text),),
            )
        )

    def _failed(
        self, error: GuiderailError, token: ReplyToken | None = None, actor: str = ""
    ) -> _Answered:
        # called while the error is handled: its traceback is logged with it
        write = self._journal.warning if error.retriable else self._journal.error
        write("an answer could not be handled", reason=error.code, error=str(error))
        return _Answered(
            status=503 if error.retriable else 500,
            body=pages.trouble(error.retriable),
            reason=error.code,
            token=token,
            actor=actor,
            headers={"Retry-After": _RETRY_SECONDS} if error.retriable else {},
        )

    def _record(self, answered: _Answered) -> None:
        token = answered.token
        fields: dict[str, object] = {"status": answered.status}
        if answered.reason:
            fields["reason"] = answered.reason
        if answered.actor:
            fields["actor"] = answered.actor
        if token is not None:
            fields |= {
                "action": token.action.value,
                "group": token.group,
                "notification": token.notification,
                "channel": token.channel,
                "incidents": list(token.incidents[:_MOST_LINES]),
            }
            if token.remediation:
                fields["remediation"] = token.remediation
        write = self._journal.warning if answered.reason in _WORTH_A_LOOK else self._journal.info
        write("reply", **fields)
        if answered.reason:
            action = token.action.value if token else "none"
            self._meter.record("Replies", 1, {"action": action, "reason": answered.reason})


_SLACK_KINDS = (ChannelKind.SLACK, ChannelKind.SLACK_WEBHOOK)


def _security() -> dict[str, str]:
    policy = (
        f"default-src 'none'; style-src {pages.style_source()}; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "Strict-Transport-Security": "max-age=63072000",
        "X-Robots-Tag": "noindex, nofollow",
    }


def _refused(verdict: _Verdict, said: _Said | None = None) -> _Answered:
    reason, token = verdict.reason, verdict.token
    if token is not None and verdict.outcome.left:
        body = pages.result(token, reason, verdict.outcome)
    else:
        body = pages.refusal(reason, token)
    return _Answered(
        status=_STATUS[reason],
        body=body,
        reason=reason,
        token=token,
        actor=said.actor if said else "",
    )


def _forbidden(token: ReplyToken) -> _Verdict:
    return _Verdict(reason=Reason.REPLY_FORBIDDEN, token=token)


def _left(line: str) -> ReplyOutcome:
    return ReplyOutcome(left=(line,))


def _too_late(token: ReplyToken, remediation: Remediation) -> _Verdict:
    line = (
        f"It is {_named_state(remediation)} by now; only one that waits for approval can be decided"
    )
    return _Verdict(reason=Reason.REPLY_REFUSED, token=token, outcome=_left(line))


def _named_state(remediation: Remediation) -> str:
    return remediation.state.value.replace("_", " ")


def _has_said(remediation: Remediation, action: ReplyAction, actor: str) -> bool:
    """Whether somebody's word is in it already: by an answer that broke off, or another click."""
    if action is ReplyAction.REJECT:
        return remediation.rejected_by == actor
    return any(approval.by == actor for approval in remediation.approvals)


def _malformed(
    status: int,
    page: str = "",
    *,
    token: ReplyToken | None = None,
    actor: str = "",
    headers: dict[str, str] | None = None,
) -> _Answered:
    return _Answered(
        status=status,
        body=page or pages.refusal(Reason.REPLY_MALFORMED),
        reason=Reason.REPLY_MALFORMED,
        token=token,
        actor=actor,
        headers=headers or {},
    )


def _not_allowed(methods: str) -> _Answered:
    return _malformed(405, headers={"Allow": methods})


def _fields(request: WebRequest, largest: int) -> dict[str, str] | _Answered:
    """The form that was sent, the first value of each field; or why it is not read."""
    if request.body is None:
        return _malformed(400)
    if len(request.body) > largest:
        return _refused(_Verdict(reason=Reason.REPLY_TOO_LARGE))
    if request.media_type != _FORM:
        return _malformed(415)
    try:
        pairs = parse_qsl(
            request.body.decode(),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:
        return _malformed(400)
    return dict(reversed(pairs))


def _incomplete(token: ReplyToken, fields: Mapping[str, str], said: _Said) -> str:
    """Why the form is asked for again; empty if all is there."""
    if fields.get(pages.CONFIRM_FIELD) != token.action.value:
        return "Nothing was done: press the button."
    if token.action is ReplyAction.ASSIGN and not said.assignee:
        return "Nothing was done: say who it is assigned to."
    return ""


def _line(text: str) -> str:
    return clipped(" ".join(visible(text).split()), SAID_LIMIT)


def _comment(fields: Mapping[str, str]) -> str:
    comment, name = _line(fields.get("comment", "")), _line(fields.get("name", ""))
    return f"{comment} (name given: {name})".strip() if name else comment


def _channel(policy: Policy, name: str) -> Channel | None:
    channels = (c for receiver in policy.receivers.values() for c in receiver.channels)
    return next((channel for channel in channels if channel.name == name), None)


def _link_actor(name: str, channel: Channel | None) -> str:
    """Who a link was sent to, as far as anybody knows: its holder may have handed it on."""
    if channel and channel.kind is ChannelKind.EMAIL and len(channel.to) == 1:
        return f"email:{channel.to[0]}"
    return f"link:{name}"


def _slack_actor(payload: _Interaction) -> str:
    """The person, under their own workspace: a shared channel has people of other companies."""
    team = payload.user.team_id or (payload.team.id if payload.team else "")
    if not _SLACK_ID.fullmatch(team) or not _SLACK_ID.fullmatch(payload.user.id):
        return ""
    return f"slack:{team}/{payload.user.id}"


def _note(verdict: _Verdict) -> str:
    token = verdict.token
    lines = [pages.heading_of(verdict.reason, token.action if token else None)]
    if token is not None:
        lines[0] += f": {visible(token.title)}"
    if verdict.reason is not Reason.REPLY_DONE:
        lines.append(pages.explanation_of(verdict.reason, token))
    lines += [f"- {visible(line)}" for line in (*verdict.outcome.done, *verdict.outcome.left)]
    return "\n".join(filter(None, lines))


def _is_below(url: str, base: str) -> bool:
    """Whether a URL is below a base; host and port end at the slash, whatever follows."""
    return url.isascii() and url.isprintable() and url.startswith(f"{base.rstrip('/')}/")


def _named(incident: Incident) -> str:
    return f"{incident.subject}, {incident.check}"


def _literal(value: str) -> str:
    """A glob that matches this value and no other."""
    return re.sub(r"([*?[])", r"[\1]", value)


def _counted(lines: list[str]) -> tuple[str, ...]:
    if len(lines) <= _MOST_LINES:
        return tuple(lines)
    return (*lines[:_MOST_LINES], f"and {len(lines) - _MOST_LINES} more")
