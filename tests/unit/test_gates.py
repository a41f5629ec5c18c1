"""Each gate by itself: what passes, what does not, and that nothing unknown does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from guiderail.model.incident import Incident, IncidentState
from guiderail.model.outcome import MonitorKind, Reason
from guiderail.model.policy import (
    ActionKind,
    Cause,
    GuardRails,
    Policy,
    RemediationAction,
    RemediationMode,
    Severity,
)
from guiderail.model.remediation import (
    EVERYTHING,
    Approval,
    Gate,
    Guard,
    Lock,
    Remediation,
    Start,
    Stop,
    remediation_id,
)
from guiderail.services.gates import (
    Asked,
    answer_of,
    gate_answers,
    holds,
    release,
    reserve,
    stands_in_the_way,
)
from guiderail.services.triage import ELIGIBLE, cause_of
from msgspec.structs import replace

from tests import builders as b
from tests.fakes import scope_of

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TARGET = "endpoint/loan-risk-prod"


def incident(
    check: str = "LessThanThreshold",
    kind: MonitorKind = MonitorKind.MODEL_QUALITY,
    name: str = "i-1",
    occurrence: int = 1,
) -> Incident:
    return Incident(
        id=name,
        kind=kind,
        check=check,
        subject=b.finding(check, kind).subject,
        state=IncidentState.OPEN,
        severity=Severity.ERROR,
        reason=Reason.FIRST_SEEN,
        first_seen=NOW,
        last_seen=NOW,
        occurrence=occurrence,
    )


def action(**fields: Any) -> RemediationAction:
    fields = {"mode": RemediationMode.AUTO, **fields}
    return RemediationAction(name="retrain", kind=ActionKind.RETRAIN, **fields)


def remediation(**fields: Any) -> Remediation:
    fields = {"target": TARGET, "incidents": ("i-1",), **fields}
    return Remediation(
        id=remediation_id(NOW, "it"),
        action="retrain",
        kind=ActionKind.RETRAIN,
        mode=RemediationMode.AUTO,
        scope=scope_of(),
        requested_at=NOW,
        **fields,
    )


def start(ago: timedelta, target: str = TARGET, **fields: Any) -> Start:
    fields = {"remediation": f"r-{ago}", "incidents": ("i-9#1",), **fields}
    return Start(at=NOW - ago, action="retrain", target=target, endpoint="loan-risk-prod", **fields)


def asked(
    its: RemediationAction | None = None,
    of: Remediation | None = None,
    guard: Guard | None = None,
    firing: dict[str, Incident] | None = None,
    *,
    rails: GuardRails | None = None,
) -> Asked:
    its = its or action()
    return Asked(
        remediation=of or remediation(),
        policy=Policy(remediations={its.name: its}, guard_rails=rails or GuardRails()),
        guard=guard or Guard(),
        firing={"i-1": incident()} if firing is None else firing,
        now=NOW,
    )


def said(gate: Gate, *given: Any, **named: Any) -> Reason:
    """The reason of one gate, once all were asked."""
    return answer_of(gate_answers(asked(*given, **named)), gate).reason


def test_all_gates_are_asked_in_their_order() -> None:
    answers = gate_answers(asked())
    assert [answer.gate for answer in answers] == list(Gate)
    assert stands_in_the_way(answers) is None


def test_without_the_action_no_gate_lets_it_pass() -> None:
    other = RemediationAction(name="another", kind=ActionKind.TICKET)
    answers = gate_answers(asked(other))
    assert [a.gate for a in answers] == list(Gate)
    assert not any(a.passed for a in answers if a.gate is not Gate.KILL_SWITCH)


def test_an_action_that_became_another_kind_is_not_the_one_that_was_asked_for() -> None:
    other = RemediationAction(name="retrain", kind=ActionKind.ROLLBACK)
    assert said(Gate.ACTION, other) is Reason.ACTION_UNKNOWN


def test_what_could_not_be_read_closes_the_gates_that_need_it() -> None:
    unread = replace(asked(), firing=None, trouble="access denied")
    answers = gate_answers(unread)
    for gate in (Gate.INCIDENT, Gate.CAUSE, Gate.ATTEMPTS):
        answer = answer_of(answers, gate)
        assert (answer.passed, answer.reason) == (False, Reason.GATE_NOT_EVALUATED)
        assert "access denied" in answer.text


@pytest.mark.parametrize(
    ("scope", "stops"), [(EVERYTHING, True), ("loan-risk-prod", True), ("another", False)]
)
def test_kill_switch(scope: str, stops: bool) -> None:
    guard = Guard(stops={scope: Stop(by="ana", at=NOW)})
    expected = Reason.SWITCHED_OFF if stops else Reason.GATE_PASSED
    assert said(Gate.KILL_SWITCH, guard=guard) is expected


def test_incident_that_is_over() -> None:
    assert said(Gate.INCIDENT, firing={"i-2": incident(name="i-2")}) is Reason.INCIDENT_OVER


@pytest.mark.parametrize(
    ("checks", "cause"),
    [
        (("LessThanThreshold",), Cause.QUALITY),
        (("baseline_drift_check",), Cause.DRIFT),
        (("feature_attribution_drift_check",), Cause.DRIFT),
        (("completeness_check", "LessThanThreshold", "baseline_drift_check"), Cause.BROKEN_FEED),
        (("failed", "completeness_check"), Cause.BROKEN_RUN),
        (("bias_drift_check", "LessThanThreshold"), Cause.BIAS),
        (("what nobody knows", "LessThanThreshold"), Cause.UNKNOWN),
        ((), Cause.UNKNOWN),
    ],
)
def test_cause_of_what_fires(checks: tuple[str, ...], cause: Cause) -> None:
    kinds = {"bias_drift_check": MonitorKind.BIAS}
    firing = [incident(check, kinds.get(check, MonitorKind.DATA_QUALITY)) for check in checks]
    assert cause_of(firing) is cause


@pytest.mark.parametrize("cause", list(Cause))
def test_retraining_is_for_a_drop_of_quality_alone(cause: Cause) -> None:
    assert (cause in ELIGIBLE[ActionKind.RETRAIN]) is (cause is Cause.QUALITY)


def test_cause() -> None:
    feed = {"i-1": incident(), "i-2": incident("completeness_check", name="i-2")}
    assert said(Gate.CAUSE, firing=feed) is Reason.CAUSE_NOT_ELIGIBLE
    assert said(Gate.CAUSE, action(causes=(Cause.BROKEN_FEED,)), firing=feed) is Reason.GATE_PASSED


def test_a_doubtful_report_is_no_ground() -> None:
    doubtful = remediation(doubts=(Reason.STATISTICS_UNREADABLE,))
    assert said(Gate.CAUSE, of=doubtful) is Reason.REPORT_DOUBTFUL


def test_hours_that_the_policy_does_not_have_freeze() -> None:
    assert said(Gate.FREEZE, rails=GuardRails(freezes=("gone",))) is Reason.GATE_NOT_EVALUATED


def test_attempts_are_counted_by_episode() -> None:
    guard = Guard(starts=(start(timedelta(days=3), incidents=("i-1#1",)),))
    assert said(Gate.ATTEMPTS, guard=guard) is Reason.ATTEMPTS_USED
    later = {"i-1": incident(occurrence=2)}
    assert said(Gate.ATTEMPTS, guard=guard, firing=later) is Reason.GATE_PASSED


@pytest.mark.parametrize(
    ("hours", "target", "reason"),
    [
        (5.9, TARGET, Reason.COOLING_DOWN),
        (6.0, TARGET, Reason.GATE_PASSED),
        (1.0, "endpoint/another", Reason.GATE_PASSED),
    ],
)
def test_cooldown(hours: float, target: str, reason: Reason) -> None:
    guard = Guard(starts=(start(timedelta(hours=hours), target),))
    assert said(Gate.COOLDOWN, action(cooldown=6 * 3600.0), guard=guard) is reason


@pytest.mark.parametrize(
    ("limits", "ago", "reason"),
    [
        ({"per_hour": 1}, timedelta(minutes=59), Reason.BUDGET_USED),
        ({"per_hour": 1}, timedelta(minutes=60), Reason.GATE_PASSED),
        ({"per_day": 1}, timedelta(hours=23), Reason.BUDGET_USED),
        ({"per_month": 1}, timedelta(days=29), Reason.BUDGET_USED),
        ({"per_month": 1}, timedelta(days=30), Reason.GATE_PASSED),
        ({"per_hour": 0}, timedelta(days=30), Reason.BUDGET_USED),
        ({}, timedelta(minutes=1), Reason.GATE_PASSED),
    ],
)
def test_budget(limits: dict[str, int], ago: timedelta, reason: Reason) -> None:
    none: dict[str, Any] = {"per_hour": None, "per_day": None, "per_month": None}
    guard = Guard(starts=(start(ago),))
    assert said(Gate.BUDGET, guard=guard, rails=GuardRails(**(none | limits))) is reason


def test_cost() -> None:
    guard = Guard(
        starts=(start(timedelta(days=1), cost=60.0), start(timedelta(days=31), cost=90.0))
    )
    rails = GuardRails(cost_per_month=100.0)
    assert said(Gate.COST, action(cost=40.0), guard=guard, rails=rails) is Reason.GATE_PASSED
    assert said(Gate.COST, action(cost=40.1), guard=guard, rails=rails) is Reason.COST_CEILING


def test_blast_radius_counts_targets_under_change() -> None:
    def held(*targets: str, until: datetime = NOW + timedelta(hours=1)) -> Guard:
        return Guard(
            locks={t: Lock(owner="other", endpoint="another", until=until) for t in targets}
        )

    rails = GuardRails(targets_at_once=2)
    two = held("endpoint/a", "endpoint/b")
    assert said(Gate.BLAST_RADIUS, guard=two, rails=rails) is Reason.TOO_MANY_TARGETS
    one = held("endpoint/a")
    assert said(Gate.BLAST_RADIUS, guard=one, rails=rails) is Reason.GATE_PASSED
    over = held("endpoint/a", "endpoint/b", until=NOW)
    assert said(Gate.BLAST_RADIUS, guard=over, rails=rails) is Reason.GATE_PASSED


def test_lock() -> None:
    def held(owner: str, until: datetime) -> Guard:
        return Guard(locks={TARGET: Lock(owner=owner, endpoint="loan-risk-prod", until=until)})

    soon = NOW + timedelta(seconds=1)
    assert said(Gate.LOCK, guard=held("other", soon)) is Reason.TARGET_LOCKED
    assert said(Gate.LOCK, guard=held("other", NOW)) is Reason.GATE_PASSED
    assert said(Gate.LOCK, guard=held(remediation().id, soon)) is Reason.GATE_PASSED


@pytest.mark.parametrize(
    ("mode", "by", "gate", "reason"),
    [
        (RemediationMode.SUGGEST, "guiderail", Gate.MODE, Reason.ONLY_SUGGESTED),
        (RemediationMode.SUGGEST, "ana", Gate.MODE, Reason.STARTED_BY_HAND),
        (RemediationMode.ASK, "guiderail", Gate.APPROVAL, Reason.APPROVAL_NEEDED),
        (RemediationMode.ASK, "ana", Gate.APPROVAL, Reason.GATE_PASSED),
        (RemediationMode.AUTO, "guiderail", Gate.APPROVAL, Reason.GATE_PASSED),
    ],
)
def test_mode_and_approval(mode: RemediationMode, by: str, gate: Gate, reason: Reason) -> None:
    assert said(gate, action(mode=mode), remediation(requested_by=by)) is reason


def test_four_eyes() -> None:
    four = action(mode=RemediationMode.ASK, four_eyes=True)

    def by(*people: str) -> Remediation:
        return remediation(approvals=tuple(Approval(by=who, at=NOW) for who in people))

    assert said(Gate.APPROVAL, four, by("ana")) is Reason.ANOTHER_APPROVAL_NEEDED
    assert said(Gate.APPROVAL, four, by("ana", "ana")) is Reason.ANOTHER_APPROVAL_NEEDED
    assert said(Gate.APPROVAL, four, by("ana", "ben")) is Reason.GATE_PASSED


def test_only_people_override_and_only_what_they_may() -> None:
    feed = {"i-1": incident("completeness_check", MonitorKind.DATA_QUALITY)}
    for by, passes in (("ana", True), ("guiderail", False)):
        wanted = remediation(requested_by=by, overrides=(Gate.CAUSE,))
        answers = gate_answers(asked(of=wanted, firing=feed))
        assert answer_of(answers, Gate.CAUSE).passed is passes
    stopped = Guard(stops={EVERYTHING: Stop(by="ben", at=NOW)})
    wanted = remediation(requested_by="ana", overrides=(Gate.KILL_SWITCH,))
    assert said(Gate.KILL_SWITCH, of=wanted, guard=stopped) is Reason.SWITCHED_OFF


def test_a_reservation_is_counted_once_and_forgets_what_is_long_over() -> None:
    old = Lock(owner="other", endpoint="x", until=NOW - timedelta(days=1))
    before = Guard(
        starts=(start(timedelta(days=32)), start(timedelta(days=1))), locks={"endpoint/x": old}
    )
    begun = remediation(started_at=NOW)
    once = reserve(before, begun, action(), ("i-1#1",))
    twice = reserve(once, begun, action(), ("i-1#1",))
    assert once == twice
    assert len(once.starts) == 2
    assert list(once.locks) == [TARGET]
    assert holds(once, begun, NOW)
    freed = release(once, begun)
    assert freed is not None
    assert freed.locks == {}
    assert release(freed, begun) is None
