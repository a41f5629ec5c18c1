"""What people do with remediations: start, approve, reject, and throw the kill switch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec.structs import replace

from guiderail.errors import ConflictError, GuiderailError, NotFoundError, RejectedRequestError
from guiderail.model.delivery import Outgoing
from guiderail.model.identity import digest
from guiderail.model.incident import Incident, Ledger
from guiderail.model.notice import AuditEntry, Decision
from guiderail.model.outcome import Reason
from guiderail.model.policy import Policy, RemediationAction
from guiderail.model.remediation import (
    EVERYTHING,
    Approval,
    Gate,
    GateAnswer,
    Guard,
    Remediation,
    RemediationState,
    Stop,
)
from guiderail.ports import (
    Clock,
    DeliveryQueue,
    Incidents,
    Journal,
    Policies,
    RemediationDriver,
    Remediations,
)
from guiderail.services.acts import Acts
from guiderail.services.gates import OVERRIDABLE, Asked, gate_answers
from guiderail.services.judging import Alternatives
from guiderail.services.outbox import refs_of
from guiderail.services.remediating import audit_of, moved, told_of
from guiderail.services.requesting import requested_for
from guiderail.services.triage import firing_at

_TRIES = 5


class RemediationActs(msgspec.Struct, frozen=True, kw_only=True):
    """Acts on remediations; each is one read and one transaction, and can be repeated without harm.

    Every act takes an ``actor`` (who) and an ``origin`` (from where) for the audit, and raises
    NotFoundError, RejectedRequestError, ConflictError or any TransientError.
    """

    remediations: Remediations
    incidents: Incidents
    policies: Policies
    driver: RemediationDriver
    queue: DeliveryQueue
    journal: Journal
    clock: Clock

    def find(self, remediation_id: str) -> Remediation:
        """A remediation as it stands now. Raises NotFoundError."""
        known = self.remediations.remediation(remediation_id)
        if known is None:
            raise NotFoundError(
                f"there is no remediation {remediation_id}",
                remedy="List them: guiderail remediation history",
            )
        return known

    def request(
        self,
        incident: str,
        action: str,
        actor: str,
        origin: str = "",
        comment: str = "",
        overrides: Sequence[Gate] = (),
    ) -> Remediation:
        """Start a remediation by hand; the gates are asked when its state machine begins.

        Raises:
            RejectedRequestError: The policy has no such action, or a gate cannot be overridden.
        """
        now = self.clock()
        policy = self.policies.current().policy
        made = self._by_hand(incident, action, actor, overrides, policy, now)
        if not self.may_decide(made, actor):
            raise RejectedRequestError(
                f"{actor} is none of those who may decide about remediation {action}",
                remedy="The policy's remediations name them as approvers",
            )
        made = moved(
            replace(made, look_at=now),
            RemediationState.REQUESTED,
            Reason.STARTED_BY_HAND,
            now,
            comment,
            actor,
        )
        try:
            kept = self.remediations.keep_remediation(
                None, made, audit_of(made, now, policy, actor)
            )
        except ConflictError:
            # the same request in the same second
            return self.find(made.id)
        self._start(kept, now)
        return kept

    def gates(
        self, incident: str, action: str, actor: str, overrides: Sequence[Gate] = ()
    ) -> tuple[GateAnswer, ...]:
        """What each gate would say if somebody started it now; nothing is changed."""
        now = self.clock()
        policy = self.policies.current().policy
        made = self._by_hand(incident, action, actor, overrides, policy, now)
        return gate_answers(
            Asked(
                remediation=made,
                policy=policy,
                guard=self.remediations.guard(),
                firing=firing_at(self.incidents, made.scope),
                now=now,
            )
        )

    def approve(
        self, remediation_id: str, actor: str, origin: str = "", comment: str = ""
    ) -> Remediation:
        """Be for a remediation; it goes on once enough people are, and the gates let it pass again."""

        def approved(known: Remediation, now: datetime) -> Remediation | None:
            if any(approval.by == actor for approval in known.approvals):
                return None
            if known.requested_by == actor:
                raise RejectedRequestError(
                    f"{actor} started remediation {known.id}, and counts as being for it already",
                    remedy="Another person has to approve it",
                )
            approval = Approval(by=actor, at=now, origin=origin, comment=comment)
            return moved(
                replace(known, approvals=(*known.approvals, approval), changes=known.changes + 1),
                known.state,
                Reason.REMEDIATION_APPROVED,
                now,
                comment,
                actor,
            )

        return self._decide(remediation_id, actor, approved, "approved")

    def reject(
        self, remediation_id: str, actor: str, origin: str = "", comment: str = ""
    ) -> Remediation:
        """Be against a remediation: it is over."""

        def rejected(known: Remediation, now: datetime) -> Remediation | None:
            return moved(
                replace(known, rejected_by=actor, changes=known.changes + 1, look_at=None),
                RemediationState.REJECTED,
                Reason.REMEDIATION_REJECTED,
                now,
                comment,
                actor,
            )

        return self._decide(remediation_id, actor, rejected, "rejected")

    def stop(self, scope: str, actor: str, why: str = "", origin: str = "") -> Guard:
        """Throw the kill switch for an endpoint, or for ``EVERYTHING``: nothing is begun any more.

        What runs already goes on: stopping half of a change is the worse harm.
        """

        def stopped(guard: Guard, now: datetime) -> Guard:
            stop = Stop(by=actor, at=now, why=why)
            return replace(guard, stops={**guard.stops, scope: stop})

        return self._switch(scope, actor, origin, why, Reason.SWITCH_THROWN, stopped)

    def resume(self, scope: str, actor: str, why: str = "", origin: str = "") -> Guard:
        """Reset a kill switch.

        Raises:
            NotFoundError: It was not thrown.
        """

        def resumed(guard: Guard, now: datetime) -> Guard:
            if scope not in guard.stops:
                what = "everything" if scope == EVERYTHING else scope
                raise NotFoundError(
                    f"the kill switch of {what} is not thrown",
                    remedy="See which are: guiderail remediation history",
                )
            return replace(guard, stops={s: stop for s, stop in guard.stops.items() if s != scope})

        return self._switch(scope, actor, origin, why, Reason.SWITCH_RESET, resumed)

    def may_decide(self, remediation: Remediation, actor: str) -> bool:
        """Whether the policy lets somebody approve or reject: by the action, else by ``replies.allowed``.

        Whoever uses the command line is known to AWS by an ARN: they may where the action names nobody.
        """
        policy = self.policies.current().policy
        action = policy.remediations.get(remediation.action)
        named = action.approvers if action else ()
        if not named and actor.startswith("arn:"):
            return True
        return bool(Alternatives(named or policy.replies.allowed).match(actor))

    def _by_hand(
        self,
        incident: str,
        action_name: str,
        actor: str,
        overrides: Sequence[Gate],
        policy: Policy,
        now: datetime,
    ) -> Remediation:
        action = _action(policy, action_name)
        if wrong := [gate for gate in overrides if gate not in OVERRIDABLE]:
            raise RejectedRequestError(
                f"gate {wrong[0]} cannot be overridden",
                remedy=f"Those that can: {', '.join(OVERRIDABLE)}",
            )
        ledger, found = self._find(incident)
        facts = self._facts(ledger, found)
        return requested_for(
            ledger, [found], action, facts, f"{incident}|{actor}", now, actor, tuple(overrides)
        )

    def _find(self, incident: str) -> tuple[Ledger, Incident]:
        acts = Acts(incidents=self.incidents, policies=self.policies, clock=self.clock)
        return acts.find(incident)

    def _facts(self, ledger: Ledger, incident: Incident) -> Mapping[str, str]:
        """What is known of the newest run that had it."""
        seen = [run for run in ledger.runs if run.stamp in incident.seen]
        if not seen:
            return {}
        recorded = self.incidents.run(seen[-1].key.rpartition("#")[0]) or {}
        names = ("job_name", "report_uri", "window_start", "window_end")
        return {name: str(recorded.get(name, "")) for name in names}

    def _decide(
        self,
        remediation_id: str,
        actor: str,
        decide: Callable[[Remediation, datetime], Remediation | None],
        what: str,
    ) -> Remediation:
        for attempt in range(_TRIES):
            now = self.clock()
            known = self.find(remediation_id)
            self._may_be_decided(known, actor, what, now)
            after = decide(known, now)
            if after is None:
                return known
            policy = self.policies.current().policy
            outgoing = told_of(after, self.incidents, policy, now) if after.state.is_over else ()
            audit = audit_of(after, now, policy, actor)
            try:
                kept = self.remediations.keep_remediation(
                    known, after, audit, None, outgoing, wake_at=now
                )
            except ConflictError:
                if attempt == _TRIES - 1:
                    raise
                continue
            self._go_on(kept, outgoing, now)
            return kept
        raise AssertionError("unreachable")

    def _may_be_decided(self, known: Remediation, actor: str, what: str, now: datetime) -> None:
        look = f"Look at it: guiderail remediation show {known.id}"
        if known.state is not RemediationState.ASKED:
            raise RejectedRequestError(
                f"remediation {known.id} is {known.state}; only one that is asked can be {what}",
                remedy=look,
            )
        if known.expires_at and now >= known.expires_at:
            raise RejectedRequestError(
                f"remediation {known.id} could be {what} until "
                f"{known.expires_at:%Y-%m-%d %H:%M} UTC",
                remedy="Start it anew: guiderail remediation start",
            )
        if not self.may_decide(known, actor):
            raise RejectedRequestError(
                f"{actor} is none of those who may decide about remediation {known.action}",
                remedy="The policy's remediations name them as approvers",
            )

    def _go_on(self, kept: Remediation, outgoing: Sequence[Outgoing], now: datetime) -> None:
        """Do at once what OnDue would do within a minute."""
        try:
            if kept.token:
                self.driver.go_on(kept.token, now)
            for one in outgoing:
                self.queue.put(refs_of(one, now))
        except GuiderailError as error:
            self.journal.info("left to OnDue", remediation=kept.id, reason=error.code)

    def _start(self, kept: Remediation, now: datetime) -> None:
        try:
            self.driver.start(kept.id, now)
        except GuiderailError as error:
            self.journal.info("left to OnDue", remediation=kept.id, reason=error.code)

    def _switch(
        self,
        scope: str,
        actor: str,
        origin: str,
        why: str,
        reason: Reason,
        change: Callable[[Guard, datetime], Guard],
    ) -> Guard:
        for attempt in range(_TRIES):
            now = self.clock()
            before = self.remediations.guard()
            after = change(before, now)
            audit = AuditEntry(
                id=digest(f"{scope}|{reason}|{now}", 16),
                subject="remediation",
                at=now,
                actor=actor,
                origin=origin,
                what="kill switch",
                counts={reason.value: 1},
                decisions=(Decision(about=scope, reason=reason, text=why),),
            )
            try:
                self.remediations.keep_guard(after, audit)
            except ConflictError:
                if attempt == _TRIES - 1:
                    raise
                continue
            return replace(after, version=before.version + 1)
        raise AssertionError("unreachable")


def _action(policy: Policy, name: str) -> RemediationAction:
    if name not in policy.remediations:
        known = ", ".join(policy.remediations) or "none"
        raise RejectedRequestError(
            f"the policy has no remediation {name}", remedy=f"It has: {known}"
        )
    return policy.remediations[name]
