"""The use case behind ``remediate``: the steps of a remediation, each safe to repeat.

The record decides, the state machine only drives: a step that comes twice, or too late, finds what was
done and says what is next. Acts on the world come after the record says that they may, and before it
says that they did; each is idempotent by the remediation's id.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from guiderail.errors import (
    ConflictError,
    GuiderailError,
    MalformedEventError,
    NotFoundError,
    PermanentError,
    RejectedRequestError,
)
from guiderail.model.delivery import Outgoing
from guiderail.model.identity import digest
from guiderail.model.incident import Incident, IncidentState, LedgerRun
from guiderail.model.notice import AuditEntry, Decision
from guiderail.model.outcome import Reason
from guiderail.model.policy import ActionKind, Policy, RemediationAction, Severity
from guiderail.model.remediation import (
    GUIDERAIL,
    MOST_MOMENTS,
    ActionReport,
    ActionState,
    Gate,
    Guard,
    Lineage,
    Moment,
    Remediation,
    RemediationState,
)
from guiderail.ports import (
    Actions,
    Clock,
    DeliveryQueue,
    Incidents,
    Journal,
    Meter,
    Policies,
    RemediationDriver,
    Remediations,
)
from guiderail.services.acts import Acts
from guiderail.services.gates import (
    Asked,
    answer_of,
    gate_answers,
    holds,
    occurrences_of,
    release,
    reserve,
    stands_in_the_way,
    stopped_by,
)
from guiderail.services.incident_cycle import Act, clean_runs, proves
from guiderail.services.outbox import refs_of
from guiderail.services.own_incidents import own_judgement, own_ledger, see
from guiderail.services.proposals import proposal_of
from guiderail.services.remediation_texts import filled
from guiderail.services.triage import firing_at

POLL_END = timedelta(minutes=15)
"""An action is asked how it stands this often, should the event of its end be lost."""

POLL_PROOF = timedelta(hours=1)
"""Runs are looked at this often, should what they wake be lost."""

_TRIES = 6
_MOST_GROUPS = 3
"""Groups of its incidents that are told of a remediation: a transaction takes 100 writes."""

_PROVEN_BY_RUNS = (
    ActionKind.RETRAIN,
    ActionKind.REINGEST,
    ActionKind.REBASELINE,
    ActionKind.ROLLBACK,
    ActionKind.INVOKE,
)
"""Kinds that are to mend something; the others only change what is watched, or record."""

_CHANGES_MODEL = (ActionKind.RETRAIN, ActionKind.ROLLBACK)
_OF_BASELINE = (*_CHANGES_MODEL, ActionKind.REBASELINE)

MAY_STILL_RUN = (Reason.ACTION_TIMED_OUT, Reason.DRIVER_FAILED)
"""Ends of remediations whose action may still be at it."""

_BASELINE_CHECK = "stale_baseline"


class Remediate(msgspec.Struct, frozen=True, kw_only=True):
    """Take one step of one remediation."""

    remediations: Remediations
    incidents: Incidents
    policies: Policies
    actions: Actions
    driver: RemediationDriver
    acts: Acts
    queue: DeliveryQueue
    meter: Meter
    journal: Journal
    clock: Clock

    def __call__(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Take the step that an event of the state machine names.

        Args:
            event: ``step`` (judge, wait, act, look, prove, give_up), ``remediation`` (its id), ``at``
                (ISO time; the local cloud's clock runs ahead), ``token`` of a wait, ``error`` of what
                is given up.

        Returns:
            ``next`` (ask, act, follow, verify, over), ``wait`` (seconds that a wait may last), ``at``,
            and ``state`` and ``reason`` of the remediation.

        Raises:
            TransientError: The same step has to come again.
            PermanentError: The event is wrong, or the remediation is not known.
        """
        step, name = str(event.get("step", "")), str(event.get("remediation", ""))
        steps: dict[str, Callable[[Remediation, datetime], Remediation]] = {
            "judge": self._judge,
            "act": self._act,
            "look": self._look,
            "prove": self._prove,
            "wait": lambda known, now: self._wait(known, str(event.get("token", "")), now),
            "give_up": lambda known, now: self._give_up(known, str(event.get("error", "")), now),
        }
        if step not in steps:
            raise MalformedEventError(
                f"step is {step!r}", remedy=f"The state machine has {', '.join(steps)}"
            )
        try:
            now = max(self.clock(), datetime.fromisoformat(str(event.get("at") or self.clock())))
        except (ValueError, TypeError) as error:
            raise MalformedEventError(f"at is no ISO time with a zone: {error}") from error
        for attempt in range(_TRIES):
            known = self.remediations.remediation(name)
            if known is None:
                raise NotFoundError(f"there is no remediation {name!r}")
            try:
                if known.state.is_over and event.get("token"):
                    # it ended before its machine waited
                    self.driver.go_on(str(event["token"]), now)
                after = known if known.state.is_over else steps[step](known, now)
                return self._answer(after, now)
            except ConflictError:
                # somebody approved, ended or stopped something meanwhile: look again
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    # --- steps

    def _judge(self, known: Remediation, now: datetime) -> Remediation:
        """Ask the gates; what may act has its target and its budget reserved in the same write."""
        if known.state not in (RemediationState.REQUESTED, RemediationState.ASKED):
            return known
        policy = self.policies.current().policy
        guard = self.remediations.guard()
        asked = self.asked(known, policy, guard, now)
        answers = gate_answers(asked)
        action = asked.action
        known_now = replace(
            known,
            gates=answers,
            cause=asked.cause,
            seen=known.changes,
            policy_version=policy.version,
            mode=action.mode if action else known.mode,
            cost=action.cost if action else known.cost,
        )
        if known.expires_at and now >= known.expires_at:
            if not answer_of(answers, Gate.APPROVAL).passed:
                text = f"nobody decided until {known.expires_at:%Y-%m-%d %H:%M} UTC"
                return self._end(
                    known,
                    known_now,
                    RemediationState.EXPIRED,
                    Reason.APPROVAL_EXPIRED,
                    text,
                    now,
                    policy,
                )
        in_the_way = stands_in_the_way(answers)
        if action is None or in_the_way:
            said = in_the_way or answers[0]
            text = f"{said.gate}: {said.text}" if said.text else said.gate.value
            return self._end(
                known, known_now, RemediationState.BLOCKED, said.reason, text, now, policy
            )
        if not answer_of(answers, Gate.MODE).passed:
            return self._end(
                known,
                known_now,
                RemediationState.SUGGESTED,
                Reason.REMEDIATION_SUGGESTED,
                "",
                now,
                policy,
            )
        if not (approval := answer_of(answers, Gate.APPROVAL)).passed:
            return self._ask(known, known_now, action, approval.reason, now, policy)
        return self._permit(known, known_now, asked, action, now, policy)

    def _ask(
        self,
        known: Remediation,
        now_known: Remediation,
        action: RemediationAction,
        reason: Reason,
        now: datetime,
        policy: Policy,
    ) -> Remediation:
        if known.state is RemediationState.ASKED:
            # asked before; what is new is who is for it
            after = replace(now_known, reason=reason)
            # a wake that changed nothing tells nobody again
            is_new = bool(known.approvals) and known.reason is not reason
            return self._keep(known, after, now, policy, tell=is_new)
        expires_at = now + timedelta(seconds=action.approval_life)
        after = self._moved(
            replace(
                now_known,
                expires_at=expires_at,
                look_at=expires_at,
                parameters=filled(action.parameters, _facts(known)),
            ),
            RemediationState.ASKED,
            Reason.REMEDIATION_ASKED,
            now,
            f"until {expires_at:%Y-%m-%d %H:%M} UTC",
        )
        return self._keep(known, after, now, policy, tell=True)

    def _permit(
        self,
        known: Remediation,
        now_known: Remediation,
        asked: Asked,
        action: RemediationAction,
        now: datetime,
        policy: Policy,
    ) -> Remediation:
        parameters = filled(action.parameters, _facts(known))
        if known.state is RemediationState.ASKED and parameters != known.parameters:
            text = f"the policy changed {known.action} while it was asked for"
            return self._end(
                known,
                now_known,
                RemediationState.BLOCKED,
                Reason.ACTION_UNKNOWN,
                text,
                now,
                policy,
            )
        after = replace(
            now_known,
            parameters=parameters,
            started_at=now,
            ends_by=now + timedelta(seconds=action.time_out),
            expires_at=None,
            look_at=now + POLL_END,
        )
        by = ", ".join(approval.by for approval in known.approvals)
        after = self._moved(
            after, RemediationState.ACTING, Reason.REMEDIATION_APPROVED, now, "", by or GUIDERAIL
        )
        occurrences = occurrences_of(asked.firing or {}, known.incidents)
        guard = reserve(asked.guard, after, action, occurrences)
        return self._keep(known, after, now, policy, guard=guard)

    def _act(self, known: Remediation, now: datetime) -> Remediation:
        """Begin the action; whoever died at it begins it again, and the action knows."""
        if known.state is not RemediationState.ACTING:
            return known
        policy = self.policies.current().policy
        guard = self.remediations.guard()
        if not holds(guard, known, now):
            text = f"{known.target} is another's by now"
            return self._fail(known, Reason.LOCK_LOST, text, now, policy)
        if stopped_by(guard, known) and not self._was_tried(known):
            text = "the kill switch was thrown before it began"
            return self._end(
                known, known, RemediationState.BLOCKED, Reason.SWITCHED_OFF, text, now, policy
            )
        if known.kind in _PROVEN_BY_RUNS and not self._mark(known, Act.START_REMEDIATION):
            text = "nothing that it is for fires any more"
            return self._end(
                known, known, RemediationState.BLOCKED, Reason.INCIDENT_OVER, text, now, policy
            )
        try:
            report = self.actions.begin(known, now)
        except PermanentError as error:
            return self._fail(known, Reason.ACTION_REFUSED, str(error), now, policy)
        begun = replace(
            known,
            handle=report.handle,
            before={**known.before, **report.before},
            result={**known.result, **report.result},
            seen=known.changes,
        )
        if report.state is not ActionState.RUNNING:
            return self._ended(known, begun, report, now, policy)
        after = self._moved(
            replace(begun, look_at=begun.ends_by),
            RemediationState.RUNNING,
            Reason.ACTION_STARTED,
            now,
            report.text,
        )
        return self._keep(known, after, now, policy, tell=True)

    def _look(self, known: Remediation, now: datetime) -> Remediation:
        """Ask the action how it stands: after an event, or because none came."""
        if known.state is not RemediationState.RUNNING:
            return known
        policy = self.policies.current().policy
        try:
            report = self.actions.look(known, now)
        except PermanentError as error:
            # it may go on though nobody can see it: nothing else touches its target
            text = f"how the action stands cannot be seen: {error}"
            return self._fail(known, Reason.DRIVER_FAILED, text, now, policy)
        if report.state is ActionState.RUNNING:
            if known.ends_by and now >= known.ends_by:
                text = f"it had to end by {known.ends_by:%Y-%m-%d %H:%M} UTC"
                return self._fail(known, Reason.ACTION_TIMED_OUT, text, now, policy)
            if known.seen == known.changes:
                return known
            return self._keep(known, replace(known, seen=known.changes), now, policy)
        looked = replace(
            known,
            seen=known.changes,
            before={**known.before, **report.before},
            result={**known.result, **report.result},
        )
        return self._ended(known, looked, report, now, policy)

    def _ended(
        self,
        known: Remediation,
        looked: Remediation,
        report: ActionReport,
        now: datetime,
        policy: Policy,
    ) -> Remediation:
        """What follows from an action's end."""
        if report.state is ActionState.STOPPED:
            return self._fail(known, Reason.ACTION_STOPPED, report.text, now, policy, looked)
        if report.state is ActionState.FAILED:
            return self._fail(known, Reason.ACTION_FAILED, report.text, now, policy, looked)
        ended = replace(looked, ended_at=now)
        if known.kind not in _PROVEN_BY_RUNS:
            return self._end(
                known,
                ended,
                RemediationState.RECORDED,
                Reason.NOTHING_TO_PROVE,
                report.text,
                now,
                policy,
            )
        # incidents first: should this break off, the same step does it again, and no run is missed
        self._mark(known, Act.FINISH_REMEDIATION)
        action = policy.remediations.get(known.action)
        within = action.verification.within if action else POLL_PROOF.total_seconds()
        until = now + timedelta(seconds=within)
        after = self._moved(
            replace(ended, verify_from=now, verify_until=until, look_at=until),
            RemediationState.VERIFYING,
            Reason.ACTION_ENDED,
            now,
            report.text,
        )
        return self._keep(known, after, now, policy, tell=True)

    def _prove(self, known: Remediation, now: datetime) -> Remediation:
        """Look whether runs since its end prove it, and whether they are compared with the right baseline."""
        if known.state is not RemediationState.VERIFYING:
            return known
        policy = self.policies.current().policy
        action = policy.remediations.get(known.action)
        ledger = self.incidents.ledger(known.ledger)
        incidents = ledger.incidents if ledger else {}
        ours = [incidents[key] for key in known.incidents if key in incidents]
        waiting = [i for i in ours if i.state is IncidentState.VERIFYING]
        back = [i for i in ours if i.state in (IncidentState.OPEN, IncidentState.ACKNOWLEDGED)]
        if back:
            text = f"{_named(back)} came back in a run whose data is newer than the fix"
            return self._refute(known, Reason.VERIFICATION_FAILED, text, now, policy)
        by_hand = [i for i in ours if i.reason is Reason.RESOLVED_BY_HAND]
        if by_hand and not waiting:
            text = f"{_named(by_hand)} was resolved by hand before a run could prove it"
            return self._end(
                known,
                replace(known, seen=known.changes),
                RemediationState.RECORDED,
                Reason.RESOLVED_BY_HAND,
                text,
                now,
                policy,
            )
        needed = max(1, action.verification.clean_runs) if action else 1
        runs = ledger.runs if ledger else ()
        clean = min(
            (clean_runs([r for r in runs if proves(r, i)], i) for i in waiting),
            default=_clean_since(known, ours, runs, needed),
        )
        why = Reason.PROOF_TIMED_OUT
        text = f"{clean} of {needed} clean runs came within its time"
        if clean >= needed:
            verdict, why, text = self._lineage(known, action, now)
            if verdict:
                self._mark(known, Act.PROVE_REMEDIATION)
                return self._end(
                    known,
                    replace(known, seen=known.changes),
                    RemediationState.PROVEN,
                    Reason.REMEDIATION_PROVEN,
                    text,
                    now,
                    policy,
                )
            if why is Reason.BASELINE_STALE:
                self._tell_stale(known, text, policy, now)
                return self._refute(known, why, text, now, policy)
        if known.verify_until and now >= known.verify_until:
            return self._refute(known, why, text, now, policy)
        if known.seen == known.changes:
            return known
        return self._keep(known, replace(known, seen=known.changes), now, policy)

    def _wait(self, known: Remediation, token: str, now: datetime) -> Remediation:
        """Keep the state machine's token; if something happened since it was looked at, go on at once."""
        if not token:
            raise MalformedEventError("a wait needs its task token")
        policy = self.policies.current().policy
        after = self._keep(known, replace(known, token=token), now, policy)
        if after.changes != after.seen or after.state in (
            RemediationState.REQUESTED,
            RemediationState.ACTING,
        ):
            self.driver.go_on(token, now)
        return after

    def _give_up(self, known: Remediation, error: str, now: datetime) -> Remediation:
        """What no step could handle: the incidents are open again, and somebody is told."""
        policy = self.policies.current().policy
        return self._fail(known, Reason.DRIVER_FAILED, error[:500], now, policy)

    # --- what steps share

    def asked(self, remediation: Remediation, policy: Policy, guard: Guard, now: datetime) -> Asked:
        """What the gates look at; what cannot be read for good closes the gates that need it."""
        firing: Mapping[str, Incident] | None = None
        trouble = ""
        try:
            firing = firing_at(self.incidents, remediation.scope)
        except PermanentError as error:
            trouble = f"the incidents could not be read: {error}"
        return Asked(
            remediation=remediation,
            policy=policy,
            guard=guard,
            firing=firing,
            now=now,
            trouble=trouble,
        )

    def _lineage(
        self, known: Remediation, action: RemediationAction | None, now: datetime
    ) -> tuple[bool, Reason, str]:
        """Whether clean runs are proof: of the model that the remediation made, against its own baseline."""
        asked_for = action is None or action.verification.baseline
        if known.kind not in _OF_BASELINE or not asked_for:
            return True, Reason.REMEDIATION_PROVEN, "clean runs came after it"
        lineage = self.actions.lineage(known)
        if known.kind is ActionKind.RETRAIN and not _serves_what_was_made(known, lineage):
            text = f"{known.endpoint} does not serve the new model yet: {lineage.text}"
            return False, Reason.ENDPOINT_UNCHANGED, text
        if lineage.belongs is None:
            text = f"nothing says whose baseline is in use: {lineage.text}"
            return False, Reason.BASELINE_UNKNOWN, text
        if not lineage.belongs:
            text = f"the baseline in use is not the deployed model's: {lineage.text}"
            return False, Reason.BASELINE_STALE, text
        return True, Reason.REMEDIATION_PROVEN, f"clean runs came after it; {lineage.text}"

    def _tell_stale(self, known: Remediation, text: str, policy: Policy, now: datetime) -> None:
        """A stale baseline is a finding of its own: every later run is compared with it."""
        part = f"baseline {known.scope.schedule}"
        judgement = own_judgement(_BASELINE_CHECK, known.scope.schedule, text, Severity.ERROR)
        scope = known.scope
        ledger = own_ledger(self.incidents, scope.account, scope.region, part)
        see(self.incidents, ledger, (judgement,), policy, f"{part} {known.id}", now)

    def _refute(
        self, known: Remediation, reason: Reason, text: str, now: datetime, policy: Policy
    ) -> Remediation:
        self._mark(known, Act.REFUTE_REMEDIATION)
        after = replace(known, seen=known.changes)
        return self._end(known, after, RemediationState.NOT_PROVEN, reason, text, now, policy)

    def _fail(
        self,
        known: Remediation,
        reason: Reason,
        text: str,
        now: datetime,
        policy: Policy,
        looked: Remediation | None = None,
    ) -> Remediation:
        self._mark(known, Act.FAIL_REMEDIATION)
        self._mark(known, Act.REFUTE_REMEDIATION)
        after = replace(looked or known, seen=known.changes)
        return self._end(known, after, RemediationState.FAILED, reason, text, now, policy)

    def _mark(self, known: Remediation, doing: Act) -> bool:
        """Let its incidents show where it stands; whether any of them is still to be mended."""
        marked = False
        for incident in known.incidents:
            try:
                found = self.acts.find(incident)[1]
                is_anothers = found.remediated_by not in ("", known.id)
                under_way = found.state in (IncidentState.REMEDIATING, IncidentState.VERIFYING)
                if is_anothers and (under_way or doing is not Act.START_REMEDIATION):
                    continue
                self.acts.do(doing, incident, GUIDERAIL, known.id, remediation=known.id)
                marked = True
            except (RejectedRequestError, NotFoundError):
                # over by now, or not in that state: there is nothing to say about it
                continue
        return marked

    def _was_tried(self, known: Remediation) -> bool:
        """Whether the action may have begun before: its incidents are marked right before it does."""
        for incident in known.incidents:
            try:
                found = self.acts.find(incident)[1]
            except NotFoundError:
                continue
            if found.state is IncidentState.REMEDIATING and found.remediated_by == known.id:
                return True
        return False

    def _end(
        self,
        known: Remediation,
        after: Remediation,
        state: RemediationState,
        reason: Reason,
        text: str,
        now: datetime,
        policy: Policy,
    ) -> Remediation:
        """The end of a remediation: its reason, its lock given back, and somebody told."""
        guard = release(self.remediations.guard(), known)
        may_run = known.handle or known.state is RemediationState.ACTING
        if may_run and reason in MAY_STILL_RUN:
            # nobody else may touch the target until the lock ends by itself
            guard = None
        if known.state is RemediationState.ACTING and state is RemediationState.BLOCKED and guard:
            # nothing was done: it does not count
            kept = tuple(s for s in guard.starts if s.remediation != known.id)
            guard = replace(guard, starts=kept)
        over = self._moved(replace(after, look_at=None, token=""), state, reason, now, text)
        return self._keep(known, over, now, policy, guard=guard, tell=True)

    def _moved(
        self,
        after: Remediation,
        state: RemediationState,
        reason: Reason,
        now: datetime,
        text: str = "",
        by: str = GUIDERAIL,
    ) -> Remediation:
        return moved(after, state, reason, now, text, by)

    def _keep(
        self,
        known: Remediation,
        after: Remediation,
        now: datetime,
        policy: Policy,
        *,
        guard: Guard | None = None,
        tell: bool = False,
    ) -> Remediation:
        changed = after.state is not known.state
        audit = audit_of(after, now, policy) if changed else None
        outgoing = told_of(after, self.incidents, policy, now) if tell else ()
        kept = self.remediations.keep_remediation(known, after, audit, guard, outgoing)
        if changed:
            self._measure(kept)
        self._send(outgoing, now)
        return kept

    def _send(self, outgoing: Sequence[Outgoing], now: datetime) -> None:
        try:
            for one in outgoing:
                self.queue.put(refs_of(one, now))
        except GuiderailError as error:
            # the rows are there: OnDue finds them in some minutes
            self.journal.warning("deliveries not queued", reason=error.code)

    def _measure(self, after: Remediation) -> None:
        where = {"endpoint": after.endpoint, "action": after.action}
        self.meter.record(
            "Remediations", 1, {**where, "state": after.state.value, "reason": after.reason.value}
        )
        self.journal.info(
            f"remediation {after.state}",
            remediation=after.id,
            action=after.action,
            target=after.target,
            reason=after.reason.value,
            incidents=list(after.incidents),
            handle=after.handle,
            gates={a.gate.value: a.reason.value for a in after.gates},
            text=after.timeline[-1].text if after.timeline else "",
        )

    def _answer(self, after: Remediation, now: datetime) -> dict[str, Any]:
        following, wait = _next(after, now)
        return {
            "next": following,
            "wait": wait,
            "at": now.isoformat(),
            "remediation": after.id,
            "state": after.state.value,
            "reason": after.reason.value,
        }


def told_of(
    after: Remediation, incidents: Incidents, policy: Policy, now: datetime
) -> tuple[Outgoing, ...]:
    """What people are told of a remediation as it is about to be kept: a message per group of its incidents."""
    ledger = incidents.ledger(after.ledger)
    groups = [incidents.group(group) for group in after.groups[:_MOST_GROUPS]] or [None]
    made = [proposal_of(after, ledger, group, policy, now) for group in groups]
    # groups that nobody was told of yet are one and the same message
    return tuple({one.notification.id: one for one in made if one}.values())


def moved(
    after: Remediation,
    state: RemediationState,
    reason: Reason,
    now: datetime,
    text: str = "",
    by: str = GUIDERAIL,
) -> Remediation:
    """A remediation in another state, with a line of its timeline that says why."""
    line = Moment(at=now, state=state, reason=reason, by=by, text=text)
    timeline = (*after.timeline, line)
    if len(timeline) > MOST_MOMENTS:
        timeline = (*timeline[:5], *timeline[-(MOST_MOMENTS - 5) :])
    return replace(after, state=state, reason=reason, timeline=timeline)


def audit_of(after: Remediation, now: datetime, policy: Policy, actor: str = "") -> AuditEntry:
    """What is kept of a change; every gate's answer where gates were asked."""
    gates = after.gates if after.state in _JUDGED_STATES else ()
    decisions = [
        Decision(about=f"{after.id} {answer.gate}", reason=answer.reason, text=answer.text)
        for answer in gates
    ]
    text = after.timeline[-1].text if after.timeline else ""
    return AuditEntry(
        id=digest(f"{after.id}|{after.version}|{after.state}|{now}", 16),
        subject=after.ledger,
        at=now,
        actor=actor or GUIDERAIL,
        origin=after.id,
        what="remediation",
        policy_version=policy.version,
        counts={after.reason.value: 1},
        decisions=(Decision(about=after.id, reason=after.reason, text=text), *decisions),
    )


_JUDGED_STATES = (
    RemediationState.ASKED,
    RemediationState.ACTING,
    RemediationState.BLOCKED,
    RemediationState.SUGGESTED,
    RemediationState.EXPIRED,
)


def _next(after: Remediation, now: datetime) -> tuple[str, int]:
    """What the state machine does next, and for how many seconds a wait may last."""
    match after.state:
        case RemediationState.REQUESTED | RemediationState.ASKED:
            return "ask", _seconds(after.expires_at, now, timedelta(days=7))
        case RemediationState.ACTING:
            return "act", 0
        case RemediationState.RUNNING:
            return "follow", _seconds(after.ends_by, now, POLL_END)
        case RemediationState.VERIFYING:
            return "verify", _seconds(after.verify_until, now, POLL_PROOF)
        case _:
            return "over", 0


def _seconds(until: datetime | None, now: datetime, most: timedelta) -> int:
    left = until - now if until else most
    # a second more: what wakes at the moment itself has to find it passed
    return max(1, int(min(left, most).total_seconds()) + 1)


def _facts(known: Remediation) -> dict[str, str]:
    return {**known.facts, "remediation": known.id}


def _clean_since(
    known: Remediation, ours: Sequence[Incident], runs: Sequence[LedgerRun], needed: int
) -> int:
    """Clean runs since the action's end where no incident waits for them any more.

    The incidents are over then, which proves it only if runs on newer data were there to see that.
    """
    if any(i.reason is Reason.REMEDIATION_PROVEN and i.remediated_by == known.id for i in ours):
        return needed
    if known.verify_from is None or any(i.reason is Reason.ENDPOINT_CHANGED for i in ours):
        return 0
    begins = known.verify_from.timestamp() * 1000
    return sum(run.judged and (run.data_from or run.stamp) >= begins for run in runs)


def _serves_what_was_made(known: Remediation, lineage: Lineage) -> bool:
    package = known.result.get("model_package_arn", "")
    made_by_it = bool(known.handle) and lineage.made_by == known.handle
    return made_by_it or (bool(package) and lineage.model == package)


def _named(incidents: Sequence[Incident]) -> str:
    first = f"{incidents[0].subject}, {incidents[0].check}"
    return first if len(incidents) == 1 else f"{first} and {len(incidents) - 1} more"
