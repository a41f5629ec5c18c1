"""What people do: acknowledge, assign, resolve, silence, call noise; each with its audit entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from guiderail.errors import ConflictError, NotFoundError, RejectedRequestError
from guiderail.model.delivery import Feedback
from guiderail.model.identity import digest
from guiderail.model.incident import Change, Incident, Ledger, ledger_of
from guiderail.model.notice import AuditEntry, Decision, Silence
from guiderail.model.outcome import Reason
from guiderail.ports import Clock, Incidents, Policies
from guiderail.services.incident_cycle import Act, act
from guiderail.services.labels import labels_of
from guiderail.services.notices import Telling, notices_of, with_groups, with_sources

LONGEST_SILENCE = timedelta(days=365)

_TRIES = 5
_VERBS = {
    Act.START_REMEDIATION: "remediation",
    Act.FINISH_REMEDIATION: "remediation",
    Act.FAIL_REMEDIATION: "remediation",
    Act.PROVE_REMEDIATION: "remediation",
    Act.REFUTE_REMEDIATION: "remediation",
}


class Acts(msgspec.Struct, frozen=True, kw_only=True):
    """Acts on incidents; each is one read and one transaction, and can be repeated without harm.

    Every act takes an ``actor`` (who) and an ``origin`` (from where) for the audit, and raises
    NotFoundError, RejectedRequestError, ConflictError or any TransientError.
    """

    incidents: Incidents
    policies: Policies
    clock: Clock

    def acknowledge(
        self, incident: str, actor: str, origin: str = "", comment: str = ""
    ) -> Incident:
        """Somebody looks after it: no repeats and no escalation until it gets worse."""
        return self.do(Act.ACKNOWLEDGE, incident, actor, origin, comment)

    def assign(
        self, incident: str, to: str, actor: str, origin: str = "", comment: str = ""
    ) -> Incident:
        """Acknowledge it in somebody's name, whoever had it before."""
        text = f"to {to}: {comment}" if comment else f"to {to}"
        return self.do(Act.ASSIGN, incident, actor, origin, text, assignee=to)

    def withdraw(self, incident: str, actor: str, origin: str = "", comment: str = "") -> Incident:
        """Take an acknowledgement back."""
        return self.do(Act.WITHDRAW, incident, actor, origin, comment)

    def resolve(self, incident: str, actor: str, origin: str = "", comment: str = "") -> Incident:
        """Close it by hand; it opens again with the next run that has it."""
        return self.do(Act.RESOLVE, incident, actor, origin, comment)

    def noise(
        self,
        incident: str,
        keep: Callable[[Feedback, AuditEntry], None],
        identity: str,
        actor: str,
        origin: str = "",
        comment: str = "",
    ) -> Incident:
        """Keep somebody's word that a finding is noise, with what it had measured; nothing else changes.

        Args:
            incident: Its id; it may be over.
            keep: Where feedback is kept (``ReplyTokens.keep_feedback``).
            identity: The same one again is the same feedback.
            actor: Who says so.
            origin: From where.
            comment: What else was said.
        """
        now = self.clock()
        ledger, known = self.find(incident)
        feedback = Feedback(
            id=digest(f"{identity}|{incident}", 24),
            at=now,
            actor=actor,
            incident=incident,
            labels=labels_of(ledger.scope, known),
            observed=known.observed,
            threshold=known.threshold,
            distance=known.distance,
            comment=comment,
        )
        audit = AuditEntry(
            id=feedback.id[:16],
            subject=ledger.id,
            at=now,
            actor=actor,
            origin=origin,
            what="noise",
            counts={Reason.MARKED_NOISE.value: 1},
            decisions=(Decision(about=incident, reason=Reason.MARKED_NOISE, text=comment),),
        )
        keep(feedback, audit)
        return known

    def find(self, incident: str) -> tuple[Ledger, Incident]:
        """An incident as it stands, in its ledger. Raises NotFoundError."""
        ledger = self._ledger(incident)
        if incident not in ledger.incidents:
            raise _unknown(incident)
        return ledger, ledger.incidents[incident]

    def do(
        self,
        doing: Act,
        incident: str,
        actor: str,
        origin: str = "",
        comment: str = "",
        *,
        assignee: str = "",
        remediation: str = "",
    ) -> Incident:
        """Do something to an incident and return it as it is then; done already, nothing changes."""
        for attempt in range(_TRIES):
            now = self.clock()
            ledger = self._ledger(incident)
            after, change = act(ledger, incident, doing, actor, now, assignee, remediation)
            if change is None:
                return after.incidents[incident]
            try:
                return self._commit(after, change, doing, origin, comment, now)
            except ConflictError:
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    def silence(
        self,
        match: Mapping[str, str],
        until: datetime,
        actor: str,
        comment: str = "",
        origin: str = "",
        identity: str = "",
    ) -> Silence:
        """Let nobody hear of incidents whose labels match until a time.

        With an ``identity``, one of the same identity that is in force is the answer, unchanged.

        Raises:
            RejectedRequestError: It matches everything, lies in the past, or lasts over a year.
        """
        now = self.clock()
        if not match:
            raise RejectedRequestError(
                "a silence needs something to match", remedy="Give --match endpoint=churn-prod"
            )
        if until <= now:
            raise RejectedRequestError(
                f"the silence would have ended at {until.isoformat()}",
                remedy=f"It is {now.isoformat()}: give a later time",
            )
        if until - now > LONGEST_SILENCE:
            raise RejectedRequestError(
                f"a silence until {until.isoformat()} is longer than a year",
                remedy="Set mute_until in the policy, where others see it",
            )
        text = "|".join([*(f"{k}={v}" for k, v in sorted(match.items())), str(until), str(now)])
        name = f"silence-{digest(identity or text, 12)}"
        if identity and (known := self._silence(name, now)):
            return known
        silence = Silence(
            id=name,
            match=dict(match),
            starts_at=now,
            ends_at=until,
            author=actor,
            comment=comment,
        )
        self._keep(silence, Reason.SILENCE_SET, actor, origin, now)
        return silence

    def end_silence(self, silence_id: str, actor: str, origin: str = "") -> Silence:
        """End a silence now; groups that it hides are told within their group interval.

        Raises:
            NotFoundError: No silence of that id is in force.
        """
        now = self.clock()
        known = self._silence(silence_id, now)
        if known is None:
            raise NotFoundError(
                f"no silence {silence_id} is in force",
                remedy="List them: guiderail incidents silence list",
            )
        ended = replace(known, ends_at=now)
        self._keep(ended, Reason.SILENCE_ENDED, actor, origin, now)
        return ended

    def _ledger(self, incident: str) -> Ledger:
        ledger = self.incidents.ledger(ledger_of(incident))
        if ledger is None:
            raise _unknown(incident)
        return ledger

    def _silence(self, silence_id: str, now: datetime) -> Silence | None:
        return next((s for s in self.incidents.silences(now) if s.id == silence_id), None)

    def _commit(
        self,
        after: Ledger,
        change: Change,
        doing: Act,
        origin: str,
        comment: str,
        now: datetime,
    ) -> Incident:
        policy = self.policies.current().policy
        incident, actor = change.incident.id, change.by
        after, routed, _ = with_groups(after, (change,), policy, {})
        telling = Telling(id=f"{incident}|{doing}|{now.isoformat()}")
        notices = notices_of(after, routed, policy, telling, now)
        after, sources = with_sources(after, policy)
        changed = after.incidents[incident]
        audit = AuditEntry(
            id=digest(telling.id, 16),
            subject=after.id,
            at=now,
            actor=actor,
            origin=origin,
            what=_VERBS.get(doing, doing.value),
            policy_version=policy.version,
            counts={changed.reason.value: 1},
            decisions=(Decision(about=incident, reason=changed.reason, text=comment),),
        )
        self.incidents.commit_act(
            after,
            sources,
            # a person who answers must not get one more repeat meanwhile
            [replace(notice, due_at=now) for notice in notices],
            audit,
        )
        return changed

    def _keep(
        self, silence: Silence, reason: Reason, actor: str, origin: str, now: datetime
    ) -> None:
        words = ", ".join(f"{k}={v}" for k, v in sorted(silence.match.items()))
        audit = AuditEntry(
            id=digest(f"{silence.id}|{now}", 16),
            subject=silence.id,
            at=now,
            actor=actor,
            origin=origin,
            what="silence",
            counts={reason.value: 1},
            decisions=(
                Decision(
                    about=silence.id,
                    reason=reason,
                    text=f"{words}, until {silence.ends_at.isoformat()}: {silence.comment}",
                ),
            ),
        )
        self.incidents.keep_silence(silence, audit)


def _unknown(incident: str) -> NotFoundError:
    return NotFoundError(
        f"there is no incident {incident}", remedy="List them: guiderail incidents list --all"
    )
