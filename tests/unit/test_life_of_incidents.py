"""Whatever happens in whatever order: nothing is lost, and nothing is told twice.

Runs, duplicates, late and redriven runs, people, silences, new policies, failing calls and crashes come
in any order over a simulated clock; afterwards, when nothing hides it any more, every incident that
fires was told, and none that is over is held as firing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from guiderail.errors import GuiderailError, RejectedRequestError, UnavailableError
from guiderail.model.delivery import Outgoing
from guiderail.model.incident import Incident, IncidentState, Ledger, LedgerRun, Scope
from guiderail.model.judgement import Judgement
from guiderail.model.message import MessageKind, Notification
from guiderail.model.notice import Group, Notice
from guiderail.model.outcome import Outcome, Reason
from guiderail.model.policy import (
    EscalationStep,
    LifeCycle,
    Match,
    Policy,
    Route,
    RunsNeeded,
    Severity,
    WeeklyHours,
)
from guiderail.services.incident_cycle import Act, observe
from guiderail.services.labels import labels_of, matches
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from tests import builders as b
from tests.fakes import ENDED_AT, Cloud, Crash, scope_of

SCOPES = (
    scope_of("churn", "churn-drift"),
    scope_of("churn", "churn-quality"),
    scope_of("fraud", "fraud-drift"),
)
LIFE = LifeCycle(resolve_after=2, flap_changes=4, flap_window=6 * 3600.0)


def policy(**route: Any) -> Policy:
    waits = {"repeat_interval": 14400.0, **route}
    return Policy(life_cycle=LIFE, route=Route(name="default", receiver="team", **waits))


ROUTES = (
    Route(name="drift", receiver="drift", match=Match(endpoint=("churn",)), goes_on=True),
    Route(name="all", receiver="all", group_by=(), active=("day",)),
)
POLICIES = {
    "plain": policy(),
    "slow": policy(
        group_wait=900.0, repeat_interval=1800.0, escalation=(EscalationStep(1200.0, "boss"),)
    ),
    "fine": policy(group_by=("severity", "feature"), group_interval=60.0),
    "by day": replace(
        policy(routes=ROUTES), hours={"day": (WeeklyHours(start=8 * 60, end=18 * 60),)}
    ),
}
PLACES = {scope.schedule: scope for scope in SCOPES}

findings = st.lists(
    st.builds(
        b.judgement,
        st.sampled_from(["income", "age"]),
        distance=st.sampled_from([0.3, 0.35, 2.0, None]),
        severity=st.sampled_from([Severity.WARNING, Severity.CRITICAL]),
        runs_needed=st.sampled_from([RunsNeeded(), RunsNeeded(), RunsNeeded(2, 3)]),
        reason=st.sampled_from([*[Reason.COUNTS] * 6, Reason.BELOW_MIN_ROWS]),
    ),
    max_size=3,
)
unhealthy = st.sampled_from([Outcome.FAILED, Outcome.NO_DATA, Outcome.TOO_FEW_ROWS])


class Telling(Cloud):
    """A cloud that notes each change that a group takes in, and checks each message as it is made."""

    def __init__(self) -> None:
        super().__init__()
        self.open_changes: set[tuple[str, str]] = set()
        self.made: dict[str, Notification] = {}
        self.news_at: dict[str, list[datetime]] = {}
        self.told_twice: list[str] = []
        commit = self.store.commit_group

        def commit_group(
            previous: Group | None,
            group: Group,
            absorbed: Sequence[Notice],
            outgoing: Sequence[Outgoing],
            audit: Any,
        ) -> None:
            commit(previous, group, absorbed, outgoing, audit)
            for notice in absorbed:
                self.open_changes |= {(notice.group, e.incident) for e in notice.entries}
            for one in outgoing:
                self._check(one.notification)

        self.store.commit_group = commit_group  # type: ignore[method-assign]

    def _check(self, notification: Notification) -> None:
        assert notification.id not in self.made, "two messages with one id"
        # the end is told to everybody who heard of it, an escalation's receivers included
        same = [n for n in self.made.values() if (n.group, n.number) == _place(notification)]
        self.made[notification.id] = notification
        if same and notification.kind is MessageKind.RESOLVED:
            assert notification.receiver not in {n.receiver for n in same}
            return
        for incident in notification.detail["incidents"]:
            if not incident["news"] or Reason.ESCALATED in notification.reasons:
                continue
            change = notification.group, incident["id"]
            if change not in self.open_changes:
                self.told_twice.append(f"{incident} in {notification.reasons}")
            self.open_changes.discard(change)
            self.news_at.setdefault(incident["id"], []).append(notification.made_at)


def _place(notification: Notification) -> tuple[str, int]:
    return notification.group, notification.number


class Life(RuleBasedStateMachine):
    """Anything that can happen."""

    def __init__(self) -> None:
        super().__init__()
        self.cloud = Telling()
        self.runs: list[tuple[Scope, tuple[Judgement, ...], datetime, str, Outcome | None]] = []
        self.number = 0

    @initialize(policy=st.sampled_from(sorted(POLICIES)))
    def begin(self, policy: str) -> None:
        self.cloud.in_force.policy = POLICIES[policy]

    # --- runs

    @rule(
        schedule=st.sampled_from(sorted(PLACES)),
        judgements=findings,
        late=st.sampled_from([0, 0, 0, 1, 5]),
        crash=st.sampled_from([None, None, 1, 2]),
    )
    def a_run_ends(
        self, schedule: str, judgements: list[Judgement], late: int, crash: int | None
    ) -> None:
        ended_at = self.cloud.now - timedelta(hours=late)
        self._end(PLACES[schedule], tuple(judgements), ended_at, None, crash)

    @rule(schedule=st.sampled_from(sorted(PLACES)), outcome=unhealthy)
    def a_run_fails(self, schedule: str, outcome: Outcome) -> None:
        self._end(PLACES[schedule], (b.unhealthy(outcome),), self.cloud.now, outcome, None)

    @rule(schedule=st.sampled_from(sorted(PLACES)), judgements=findings, wait=st.integers(0, 60))
    def a_run_is_unreadable_and_redriven(
        self, schedule: str, judgements: list[Judgement], wait: int
    ) -> None:
        scope = PLACES[schedule]
        key = self._key()
        ended_at = self.cloud.now
        unread = b.unhealthy(Outcome.UNREADABLE)
        self.cloud.run_ends(
            unread, key=key, ended_at=ended_at, scope=scope, outcome=Outcome.UNREADABLE
        )
        self.cloud.pass_time(minutes=wait, tick=300)
        self._end(scope, tuple(judgements), ended_at, None, None, key)

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def a_run_is_delivered_again(self, data: st.DataObject) -> None:
        self._again(data.draw(st.sampled_from(self.runs)))

    def _key(self) -> str:
        self.number += 1
        return f"run-{self.number}"

    def _end(
        self,
        scope: Scope,
        judgements: tuple[Judgement, ...],
        ended_at: datetime,
        outcome: Outcome | None,
        crash: int | None,
        key: str = "",
    ) -> None:
        key = key or self._key()
        seen = len({j.finding.subject for j in judgements if j.counts})
        # the service lists a finding once
        judgements = (
            tuple({j.finding.subject: j for j in judgements}.values()) if seen else judgements
        )
        self.cloud.now += timedelta(milliseconds=1)
        if crash:
            self.cloud.steps.clear()
            self.cloud.crash_after = crash
            try:
                self.cloud.run_ends(
                    *judgements, key=key, ended_at=ended_at, scope=scope, outcome=outcome
                )
            except Crash:
                pass
            self.cloud.crash_after = None
        self.cloud.run_ends(*judgements, key=key, ended_at=ended_at, scope=scope, outcome=outcome)
        self.runs.append((scope, judgements, ended_at, key, outcome))

    def _again(
        self, run: tuple[Scope, tuple[Judgement, ...], datetime, str, Outcome | None]
    ) -> None:
        scope, judgements, ended_at, key, outcome = run
        before = dict(self.cloud.store.ledgers), dict(self.cloud.store.due_rows)
        again = self.cloud.run_ends(
            *judgements, key=key, ended_at=ended_at, scope=scope, outcome=outcome
        )
        assert again is None
        assert (self.cloud.store.ledgers, self.cloud.store.due_rows) == before

    # --- time

    @rule(
        minutes=st.sampled_from([0, 1, 1, 5, 30, 300]),
        crash=st.sampled_from([None, None, *range(1, 13)]),
        failing=st.sampled_from([None, None, "publish", "commit group", "told", "group"]),
    )
    def time_passes(self, minutes: int, crash: int | None, failing: str | None) -> None:
        cloud = self.cloud
        if failing:
            cloud.failures[failing] = [UnavailableError("down")]
        if crash:
            cloud.steps.clear()
            cloud.crash_after = crash
        try:
            cloud.pass_time(minutes=minutes, tick=60 if minutes < 60 else 300)
        except (Crash, GuiderailError):
            pass
        cloud.crash_after = None
        cloud.failures.clear()

    # --- people

    @precondition(lambda self: self.cloud.all_incidents())
    @rule(data=st.data(), doing=st.sampled_from(Act))
    def somebody_acts(self, data: st.DataObject, doing: Act) -> None:
        known = sorted(i.id for i in self.cloud.all_incidents())
        self.cloud.now += timedelta(milliseconds=1)
        try:
            self.cloud.acts().do(doing, data.draw(st.sampled_from(known)), "ann")
        except RejectedRequestError:
            pass

    @rule(
        endpoint=st.sampled_from(["*", "churn", "fraud"]), hours=st.sampled_from([0.01, 1.0, 48.0])
    )
    def somebody_silences(self, endpoint: str, hours: float) -> None:
        until = self.cloud.now + timedelta(hours=hours)
        self.cloud.acts().silence({"endpoint": endpoint}, until, "ann")

    @precondition(lambda self: self.cloud.store.silences(self.cloud.now))
    @rule()
    def somebody_ends_a_silence(self) -> None:
        silence = self.cloud.store.silences(self.cloud.now)[0]
        self.cloud.acts().end_silence(silence.id, "ann")

    @rule(policy=st.sampled_from(sorted(POLICIES)))
    def a_policy_is_pushed(self, policy: str) -> None:
        self.cloud.in_force.policy = POLICIES[policy]

    # --- what holds always

    @invariant()
    def every_run_is_kept_once(self) -> None:
        ledgers = self.cloud.store.ledgers.values()
        assert sum(len(ledger.runs) for ledger in ledgers) <= len(self.cloud.recorded)
        keys = [run.key for ledger in ledgers for run in ledger.runs]
        assert len(keys) == len(set(keys))

    @invariant()
    def nothing_is_told_twice(self) -> None:
        assert self.cloud.told_twice == []

    # --- and what holds in the end

    def teardown(self) -> None:
        cloud = self.cloud
        if cloud.told_twice:
            return
        for run in self.runs:
            self._again(run)
        for silence in cloud.store.silences(cloud.now):
            cloud.acts().end_silence(silence.id, "ann")
        cloud.pass_time(hours=26, tick=300)
        assert cloud.told_twice == []
        assert cloud.published.keys() == cloud.made.keys()
        for incident, scope in self._incidents():
            self._was_told(incident, scope)
        self._is_quiet_when_all_is_answered()

    def _incidents(self) -> list[tuple[Incident, Scope]]:
        ledgers = self.cloud.store.ledgers.values()
        return [(i, ledger.scope) for ledger in ledgers for i in ledger.incidents.values()]

    def _was_told(self, incident: Incident, scope: Scope) -> None:
        holding = [g.held.get(incident.id) for g in self.cloud.store.groups.values()]
        held = [h for h in holding if h is not None]
        firing = [h for h in held if h.entry.firing]
        if not incident.state.is_firing:
            assert incident.flapping or not firing, "over, and held as firing"
            return
        assert firing, "it fires, and no group holds it"
        hidden = [h for h in firing if h.hidden]
        for one in hidden:
            assert one.hidden is Reason.INHIBITED_BY
            assert self._is_inhibited(incident, scope), "nothing hides it"
        if hidden or incident.state is IncidentState.ACKNOWLEDGED:
            return
        assert all(h.told for h in firing), "it fires, nothing hides it, and it was not told"
        assert not any(h.news for h in firing), "there is news that was not told"
        opened = incident.opened_at
        assert opened is not None
        if not incident.flapping:
            assert any(at >= opened for at in self.cloud.news_at.get(incident.id, ()))

    def _is_inhibited(self, incident: Incident, scope: Scope) -> bool:
        labels = labels_of(scope, incident)
        return any(
            matches(i.target, labels) and matches(i.source, source.labels)
            for i in self.cloud.in_force.policy.inhibitions
            for source in self.cloud.store.sources(scope.place)
            if source.incident != incident.id
        )

    def _is_quiet_when_all_is_answered(self) -> None:
        for incident, _ in self._incidents():
            if incident.state.is_firing:
                self.cloud.now += timedelta(milliseconds=1)
                self.cloud.acts().resolve(incident.id, "ann")
        self.cloud.pass_time(hours=30, tick=300)
        assert self.cloud.told_twice == []
        told = len(self.cloud.made)
        flapping = any(i.flapping for i, _ in self._incidents())
        self.cloud.pass_time(hours=30, tick=300)
        assert flapping or len(self.cloud.made) == told, "everything is over, and it goes on"


def test_nothing_is_lost_and_nothing_is_told_twice() -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=150,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


# --- runs alone, in any order

patterns = st.lists(st.sampled_from("x-!?"), min_size=1, max_size=9)
said = st.lists(st.sampled_from("x-!"), min_size=1, max_size=9)


def seen(ledger: Ledger, number: int, letter: str, needed: RunsNeeded, life: LifeCycle) -> Ledger:
    judgements = {
        "x": (b.judgement(runs_needed=needed),),
        "?": (b.judgement(reason=Reason.BELOW_MIN_ROWS),),
        "!": (b.unhealthy(),),
        "-": (),
    }[letter]
    run = LedgerRun(
        int(ENDED_AT.timestamp() * 1000) + number * 3_600_000,
        f"run-{number}",
        Outcome.FAILED if letter == "!" else Outcome.VIOLATIONS,
        letter != "!",
    )
    return observe(ledger, run, judgements, life, ENDED_AT + timedelta(days=1)).ledger


INCOME = b.id_of(b.judgement())


def fires(ledger: Ledger) -> bool:
    return INCOME in ledger.incidents and ledger.incidents[INCOME].state.is_firing


needs = st.sampled_from([RunsNeeded(1, 1), RunsNeeded(2, 2), RunsNeeded(2, 3), RunsNeeded(3, 5)])
lives = st.builds(LifeCycle, resolve_after=st.integers(1, 4), flap_changes=st.just(99))


@settings(max_examples=300, deadline=None)
@given(patterns, needs, lives, st.data())
def test_duplicates_of_runs_change_nothing_wherever_they_come(
    pattern: list[str], needed: RunsNeeded, life: LifeCycle, data: st.DataObject
) -> None:
    once = twice = Ledger(scope=scope_of())
    for number, letter in enumerate(pattern):
        once = seen(once, number, letter, needed, life)
        twice = seen(twice, number, letter, needed, life)
        for again in data.draw(st.lists(st.integers(0, number), max_size=3)):
            twice = seen(twice, again, pattern[again], needed, life)
    assert once == twice


@settings(max_examples=300, deadline=None)
@given(said, needs, lives, st.data())
def test_what_fires_in_order_fires_in_any_order(
    pattern: list[str], needed: RunsNeeded, life: LifeCycle, data: st.DataObject
) -> None:
    in_order = shuffled = Ledger(scope=scope_of())
    for number, letter in enumerate(pattern):
        in_order = seen(in_order, number, letter, needed, life)
    for number in data.draw(st.permutations(range(len(pattern)))):
        shuffled = seen(shuffled, number, pattern[number], needed, life)
    assert shuffled.runs == in_order.runs
    if fires(in_order):
        assert fires(shuffled)
        assert in_order.incidents[INCOME].last_seen == shuffled.incidents[INCOME].last_seen


@pytest.mark.parametrize(
    ("pattern", "order", "needed", "resolve_after"),
    [
        # the three clean runs that resolved it had a run between them that is read only now
        ("xx--x-", (0, 1, 2, 3, 5, 4), RunsNeeded(2, 2), 3),
        ("xx--x-x", (0, 1, 2, 3, 5, 6, 4), RunsNeeded(2, 2), 3),
        # three clean runs after the first finding, which a late one then makes two of three
        ("x-x---", (0, 1, 3, 4, 5, 2), RunsNeeded(2, 3), 4),
    ],
)
def test_a_late_run_between_the_clean_ones_is_not_lost(
    pattern: str, order: tuple[int, ...], needed: RunsNeeded, resolve_after: int
) -> None:
    ledger = Ledger(scope=scope_of())
    life = LifeCycle(resolve_after=resolve_after)
    for number in order[:-1]:
        ledger = seen(ledger, number, pattern[number], needed, life)
    assert not fires(ledger)
    assert fires(seen(ledger, order[-1], pattern[order[-1]], needed, life))


@settings(max_examples=200, deadline=None)
@given(said, lives, st.data())
def test_with_one_run_needed_the_order_of_runs_changes_nothing(
    pattern: list[str], life: LifeCycle, data: st.DataObject
) -> None:
    in_order = shuffled = Ledger(scope=scope_of())
    for number, letter in enumerate(pattern):
        in_order = seen(in_order, number, letter, RunsNeeded(), life)
    for number in data.draw(st.permutations(range(len(pattern)))):
        shuffled = seen(shuffled, number, pattern[number], RunsNeeded(), life)
    assert fires(shuffled) == fires(in_order)
