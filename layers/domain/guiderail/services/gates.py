"""Gates: what has to let a remediation pass. All are asked, all fail closed, each says why.

Pure: what they look at is handed in, so that a dry run asks the very same gates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from guiderail.model.incident import Incident
from guiderail.model.outcome import Reason
from guiderail.model.policy import Cause, GuardRails, Policy, RemediationAction, RemediationMode
from guiderail.model.remediation import (
    EVERYTHING,
    GUIDERAIL,
    Gate,
    GateAnswer,
    Guard,
    Lock,
    Remediation,
    Start,
)
from guiderail.services.hours import is_within
from guiderail.services.triage import cause_of, eligible_causes

OVERRIDABLE = (Gate.CAUSE, Gate.ATTEMPTS, Gate.COOLDOWN)
"""Gates that a person may tell to let pass; all others hold for people too."""

_MONTH = timedelta(days=30)
_REMEMBERED = timedelta(days=31)
_MARGIN = timedelta(hours=1)
"""By which a lock outlives the longest that its owner can take."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the gates look at.

    ``firing`` is what fires on the remediation's endpoint, by id; None if it could not be read, and
    ``trouble`` then says why.
    """

    remediation: Remediation
    policy: Policy
    guard: Guard
    firing: Mapping[str, Incident] | None
    now: datetime
    trouble: str = ""

    @property
    def action(self) -> RemediationAction | None:
        """The action as the policy has it now; None if it is gone, or does another kind of thing."""
        found = self.policy.remediations.get(self.remediation.action)
        return found if found and found.kind is self.remediation.kind else None

    @property
    def cause(self) -> Cause | None:
        """The cause by all that fires; None if that is not known."""
        return None if self.firing is None else cause_of(self.firing.values())


def gate_answers(asked: Asked) -> tuple[GateAnswer, ...]:
    """Ask every gate, in the order of ``Gate``."""
    return tuple(_answers(asked))


def stands_in_the_way(answers: tuple[GateAnswer, ...]) -> GateAnswer | None:
    """The first answer that forbids to act whoever wants it; None where only mode or approval are missing."""
    return next(
        (a for a in answers if not a.passed and a.gate not in (Gate.MODE, Gate.APPROVAL)), None
    )


def answer_of(answers: tuple[GateAnswer, ...], gate: Gate) -> GateAnswer:
    """What one gate said."""
    return next(answer for answer in answers if answer.gate is gate)


def reserve(
    guard: Guard, remediation: Remediation, action: RemediationAction, occurrences: tuple[str, ...]
) -> Guard:
    """The guard once a remediation may act: its start is counted, its target locked.

    Args:
        guard: As it was when the gates let it pass.
        remediation: With ``started_at``.
        action: Tells how long it may take.
        occurrences: Its incidents' episodes, as ``Start.incidents``.
    """
    now = remediation.started_at
    assert now is not None
    start = Start(
        remediation=remediation.id,
        at=now,
        action=remediation.action,
        target=remediation.target,
        endpoint=remediation.endpoint,
        cost=action.cost,
        incidents=occurrences,
    )
    lasts = timedelta(seconds=action.time_out + action.verification.within) + _MARGIN
    lock = Lock(owner=remediation.id, endpoint=remediation.endpoint, until=now + lasts)
    others = tuple(
        s for s in guard.starts if s.at > now - _REMEMBERED and s.remediation != remediation.id
    )
    live = {target: held for target, held in guard.locks.items() if held.until > now}
    return replace(guard, starts=(*others, start), locks={**live, remediation.target: lock})


def release(guard: Guard, remediation: Remediation) -> Guard | None:
    """The guard once a remediation is over; None if it holds nothing any more."""
    if not holds(guard, remediation):
        return None
    locks = {t: lock for t, lock in guard.locks.items() if t != remediation.target}
    return replace(guard, locks=locks)


def holds(guard: Guard, remediation: Remediation, now: datetime | None = None) -> bool:
    """Whether a remediation has its target to itself; with a time, whether the lock still counts then."""
    lock = guard.locks.get(remediation.target)
    return lock is not None and lock.owner == remediation.id and (now is None or lock.until > now)


def occurrences_of(incidents: Mapping[str, Incident], ids: tuple[str, ...]) -> tuple[str, ...]:
    """Which episodes of incidents these are; a new one has attempts of its own."""
    return tuple(f"{key}#{incidents[key].occurrence}" for key in ids if key in incidents)


def stopped_by(guard: Guard, remediation: Remediation) -> str:
    """Which kill switch stops a remediation; empty if none does."""
    meant = {
        EVERYTHING,
        remediation.endpoint.lower(),
        remediation.target.rpartition("/")[2].lower(),
    }
    return next((scope for scope in guard.stops if scope.lower() in meant), "")


def _answers(asked: Asked) -> Iterator[GateAnswer]:
    action = asked.action
    yield _kill_switch(asked)
    if action is None:
        yield _no(Gate.ACTION, Reason.ACTION_UNKNOWN, f"the policy has no {_named(asked)} any more")
        for gate in list(Gate)[2:]:
            yield _no(gate, Reason.GATE_NOT_EVALUATED, "it depends on the action")
        return
    yield _yes(Gate.ACTION, f"{action.kind} {asked.remediation.target}")
    yield _incident(asked)
    yield _overridden(asked, _cause(asked, action))
    yield _freeze(asked)
    yield _overridden(asked, _attempts(asked, action))
    yield _overridden(asked, _cooldown(asked, action))
    yield _budget(asked)
    yield _cost(asked, action)
    yield _blast_radius(asked)
    yield _lock(asked)
    yield _mode(asked, action)
    yield _approval(asked, action)


def _kill_switch(asked: Asked) -> GateAnswer:
    scope = stopped_by(asked.guard, asked.remediation)
    if not scope:
        return _yes(Gate.KILL_SWITCH)
    stop = asked.guard.stops[scope]
    what = "all remediations" if scope == EVERYTHING else f"remediations of {scope}"
    why = f": {stop.why}" if stop.why else ""
    text = f"{stop.by} stopped {what} at {stop.at:%Y-%m-%d %H:%M} UTC{why}"
    return _no(Gate.KILL_SWITCH, Reason.SWITCHED_OFF, text)


def _incident(asked: Asked) -> GateAnswer:
    if asked.firing is None:
        return _no(Gate.INCIDENT, Reason.GATE_NOT_EVALUATED, asked.trouble)
    firing = sum(key in asked.firing for key in asked.remediation.incidents)
    if firing:
        return _yes(Gate.INCIDENT, f"{firing} of {len(asked.remediation.incidents)} still fire")
    return _no(Gate.INCIDENT, Reason.INCIDENT_OVER, "nothing that it is for fires any more")


def _cause(asked: Asked, action: RemediationAction) -> GateAnswer:
    cause = asked.cause
    if cause is None:
        return _no(Gate.CAUSE, Reason.GATE_NOT_EVALUATED, asked.trouble)
    if asked.remediation.doubts:
        doubts = ", ".join(asked.remediation.doubts)
        return _no(Gate.CAUSE, Reason.REPORT_DOUBTFUL, f"the report is doubtful: {doubts}")
    eligible = eligible_causes(action)
    if cause in eligible:
        return _yes(Gate.CAUSE, cause.value)
    allowed = " or ".join(eligible)
    return _no(
        Gate.CAUSE, Reason.CAUSE_NOT_ELIGIBLE, f"the cause is {cause}; it may act on {allowed}"
    )


def _freeze(asked: Asked) -> GateAnswer:
    for name in asked.policy.guard_rails.freezes:
        hours = asked.policy.hours.get(name)
        if hours is None:
            return _no(Gate.FREEZE, Reason.GATE_NOT_EVALUATED, f"the policy has no hours {name}")
        if is_within(hours, asked.now):
            return _no(Gate.FREEZE, Reason.CHANGE_FREEZE, f"nothing is changed within {name}")
    return _yes(Gate.FREEZE)


def _attempts(asked: Asked, action: RemediationAction) -> GateAnswer:
    if asked.firing is None:
        return _no(Gate.ATTEMPTS, Reason.GATE_NOT_EVALUATED, asked.trouble)
    episodes = set(occurrences_of(asked.firing, asked.remediation.incidents))
    tried = sum(not episodes.isdisjoint(start.incidents) for start in asked.guard.starts)
    text = f"{tried} of {action.attempts} attempts in this episode"
    if tried < action.attempts:
        return _yes(Gate.ATTEMPTS, text)
    return _no(Gate.ATTEMPTS, Reason.ATTEMPTS_USED, text)


def _cooldown(asked: Asked, action: RemediationAction) -> GateAnswer:
    began = max(
        (s.at for s in asked.guard.starts if s.target == asked.remediation.target), default=None
    )
    if began is None:
        return _yes(Gate.COOLDOWN, "nothing was started on it within 31 days")
    over = began + timedelta(seconds=action.cooldown)
    if asked.now >= over:
        return _yes(Gate.COOLDOWN, f"since {over:%Y-%m-%d %H:%M} UTC")
    return _no(Gate.COOLDOWN, Reason.COOLING_DOWN, f"until {over:%Y-%m-%d %H:%M} UTC")


def _budget(asked: Asked) -> GateAnswer:
    rails = asked.policy.guard_rails
    said = []
    for limit, within, what in _budgets(rails):
        count = sum(start.at > asked.now - within for start in asked.guard.starts)
        said.append(f"{count} of {limit} a {what}")
        if count >= limit:
            return _no(Gate.BUDGET, Reason.BUDGET_USED, f"{count} of {limit} starts a {what}")
    return _yes(Gate.BUDGET, ", ".join(said) or "no limit")


def _budgets(rails: GuardRails) -> Iterator[tuple[int, timedelta, str]]:
    for limit, within, what in (
        (rails.per_hour, timedelta(hours=1), "hour"),
        (rails.per_day, timedelta(days=1), "day"),
        (rails.per_month, _MONTH, "month"),
    ):
        if limit is not None:
            yield limit, within, what


def _cost(asked: Asked, action: RemediationAction) -> GateAnswer:
    ceiling = asked.policy.guard_rails.cost_per_month
    if ceiling is None:
        return _yes(Gate.COST, "no ceiling")
    spent = sum(start.cost for start in asked.guard.starts if start.at > asked.now - _MONTH)
    text = f"${spent:.2f} spent + ${action.cost:.2f} of ${ceiling:.2f} a month, as estimated"
    if spent + action.cost <= ceiling:
        return _yes(Gate.COST, text)
    return _no(Gate.COST, Reason.COST_CEILING, text)


def _blast_radius(asked: Asked) -> GateAnswer:
    most = asked.policy.guard_rails.targets_at_once
    busy = {
        target
        for target, lock in asked.guard.locks.items()
        if lock.until > asked.now and lock.owner != asked.remediation.id
    } - {asked.remediation.target}
    text = f"{len(busy)} other targets are under change, {most} may be at once"
    if len(busy) < most:
        return _yes(Gate.BLAST_RADIUS, text)
    return _no(Gate.BLAST_RADIUS, Reason.TOO_MANY_TARGETS, text)


def _lock(asked: Asked) -> GateAnswer:
    lock = asked.guard.locks.get(asked.remediation.target)
    if lock is None or lock.owner == asked.remediation.id or lock.until <= asked.now:
        return _yes(Gate.LOCK)
    text = (
        f"{asked.remediation.target} belongs to {lock.owner} until {lock.until:%Y-%m-%d %H:%M} UTC"
    )
    return _no(Gate.LOCK, Reason.TARGET_LOCKED, text)


def _mode(asked: Asked, action: RemediationAction) -> GateAnswer:
    if asked.remediation.requested_by != GUIDERAIL:
        return GateAnswer(
            gate=Gate.MODE,
            passed=True,
            reason=Reason.STARTED_BY_HAND,
            text=f"started by {asked.remediation.requested_by}",
        )
    if action.mode is RemediationMode.SUGGEST:
        return _no(Gate.MODE, Reason.ONLY_SUGGESTED, "the policy only suggests it")
    return _yes(Gate.MODE, action.mode.value)


def _approval(asked: Asked, action: RemediationAction) -> GateAnswer:
    remediation = asked.remediation
    people = {approval.by for approval in remediation.approvals}
    if remediation.requested_by != GUIDERAIL:
        people.add(remediation.requested_by)
    is_for_humans = asked.cause is Cause.BIAS
    needed = (
        2 if action.four_eyes else int(action.mode is not RemediationMode.AUTO or is_for_humans)
    )
    if len(people) >= needed:
        return _yes(Gate.APPROVAL, f"approved by {', '.join(sorted(people))}" if people else "")
    if people:
        text = f"{', '.join(sorted(people))} is for it, another person is needed"
        return _no(Gate.APPROVAL, Reason.ANOTHER_APPROVAL_NEEDED, text)
    text = "bias is for a human to decide" if is_for_humans else "nobody approved it yet"
    return _no(Gate.APPROVAL, Reason.APPROVAL_NEEDED, text)


def _overridden(asked: Asked, answer: GateAnswer) -> GateAnswer:
    """A gate that the person who started it told to let it pass; what it said stays readable."""
    by_hand = asked.remediation.requested_by != GUIDERAIL
    if answer.passed or not by_hand or answer.gate not in asked.remediation.overrides:
        return answer
    text = f"{asked.remediation.requested_by} overrides it: {answer.text}"
    return replace(answer, passed=True, reason=Reason.STARTED_BY_HAND, text=text)


def _named(asked: Asked) -> str:
    return f"{asked.remediation.kind} remediation {asked.remediation.action}"


def _yes(gate: Gate, text: str = "") -> GateAnswer:
    return GateAnswer(gate=gate, passed=True, reason=Reason.GATE_PASSED, text=text)


def _no(gate: Gate, reason: Reason, text: str) -> GateAnswer:
    return GateAnswer(gate=gate, passed=False, reason=reason, text=text)
