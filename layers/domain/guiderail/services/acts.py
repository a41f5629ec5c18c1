"""What people do: acknowledge, resolve and silence, each with its audit entry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from guiderail.errors import ConflictError, NotFoundError, RejectedRequestError
from guiderail.model.incident import Change, Incident, Ledger, ledger_of
from guiderail.model.notice import AuditEntry, Decision, Silence
from guiderail.model.outcome import Reason
from guiderail.ports import Clock, Incidents, Policies
from guiderail.services.incident_cycle import Act, act
from guiderail.services.notices import Telling, notices_of, with_groups, with_sources

LONGEST_SILENCE = timedelta(days=365)

_TRIES = 5
_VERBS = {
    Act.START_REMEDIATION: "remediation",
    Act.FINISH_REMEDIATION: "remediation",
    Act.FAIL_REMEDIATION: "remediation",
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

    def withdraw(self, incident: str, actor: str, origin: str = "", comment: str = "") -> Incident:
        """Take an acknowledgement back."""
        return self.do(Act.WITHDRAW, incident, actor, origin, comment)

    def resolve(self, incident: str, actor: str, origin: str = "", comment: str = "") -> Incident:
        """Close it by hand; it opens again with the next run that has it."""
        return self.do(Act.RESOLVE, incident, actor, origin, comment)

    def do(
        self, doing: Act, incident: str, actor: str, origin: str = "", comment: str = ""
    ) -> Incident:
        """Do something to an incident and return it as it is then; done already, nothing changes."""
        for attempt in range(_TRIES):
            now = self.clock()
            ledger = self.incidents.ledger(ledger_of(incident))
            if ledger is None:
                raise NotFoundError(
                    f"there is no incident {incident}",
                    remedy="List them: guiderail incidents list --all",
                )
            after, change = act(ledger, incident, doing, actor, now)
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
    ) -> Silence:
        """Let nobody hear of incidents whose labels match until a time.

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
        silence = Silence(
            id=f"silence-{_digest(text)[:12]}",
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
        known = next((s for s in self.incidents.silences(now) if s.id == silence_id), None)
        if known is None:
            raise NotFoundError(
                f"no silence {silence_id} is in force",
                remedy="List them: guiderail incidents silence list",
            )
        ended = replace(known, ends_at=now)
        self._keep(ended, Reason.SILENCE_ENDED, actor, origin, now)
        return ended

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
            id=_digest(telling.id)[:16],
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
            id=_digest(f"{silence.id}|{now}")[:16],
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


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
