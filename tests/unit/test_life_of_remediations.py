"""Whatever happens: never two acts for one decision, never a lock that stays, always an end with a reason.

Runs, approvals, rejections, ends of actions, kill switches, new policies, crashes at any step, a state
machine that is deaf or killed, and steps of the clock come in any order; afterwards months pass in
which nothing more happens.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import Any

from guiderail.errors import GuiderailError, UnavailableError
from guiderail.model.incident import IncidentState
from guiderail.model.policy import (
    ActionKind,
    Cause,
    GuardRails,
    Policy,
    RemediationAction,
    RemediationMode,
    Verification,
)
from guiderail.model.remediation import EVERYTHING, ActionState, Lineage, RemediationState
from guiderail.services.remediating import MAY_STILL_RUN
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests import builders as b
from tests.fakes import Crash, scope_of
from tests.remediations import ANA, BEN, RemediationCloud, policy_with

ENDPOINTS = ("churn-prod", "loans-prod")
RETRAIN, REINGEST, TICKET = "retrain", "ingest again", "ticket"
CHECKS = {
    RETRAIN: "LessThanThreshold",
    REINGEST: "completeness_check",
    TICKET: "extra_column_check",
}


def policy(
    mode: RemediationMode = RemediationMode.AUTO, rails: dict[str, Any] | None = None, **fields: Any
) -> Policy:
    fields = {"cooldown": 0.0, "attempts": 3, "time_out": 7200.0, "mode": mode, **fields}
    fields.setdefault("verification", Verification(within=6 * 3600.0))
    return policy_with(
        RemediationAction(name=RETRAIN, kind=ActionKind.RETRAIN, causes=tuple(Cause), **fields),
        RemediationAction(
            name=REINGEST,
            kind=ActionKind.REINGEST,
            parameters={"feature_group": "loans"},
            **fields,
        ),
        RemediationAction(name=TICKET, kind=ActionKind.TICKET, **fields),
        guard_rails=GuardRails(**(rails or {"per_hour": 3, "per_day": 8, "per_month": 30})),
    )


POLICIES = {
    "auto": policy(),
    "ask": policy(RemediationMode.ASK, approval_life=3600.0),
    "four eyes": policy(RemediationMode.ASK, four_eyes=True),
    "suggest": policy(RemediationMode.SUGGEST),
    "one at a time": policy(rails={"targets_at_once": 1}),
    "no budget": policy(rails={"per_hour": 0}),
    "no remediations": policy_with(),
}


class LifeOfRemediations(RuleBasedStateMachine):
    """One history of two endpoints and what is done about them."""

    cloud: RemediationCloud

    @initialize(name=st.sampled_from(sorted(POLICIES)))
    def begin(self, name: str) -> None:
        self.cloud = RemediationCloud(POLICIES[name])
        self.over: dict[str, RemediationState] = {}

    def _surviving(self, work: Any) -> None:
        """Do something that may die or be refused; the next process begins anew."""
        try:
            work()
        except (Crash, GuiderailError):
            pass
        finally:
            self.cloud.crash_after = None

    @rule(
        endpoint=st.sampled_from(ENDPOINTS),
        about=st.sampled_from([*CHECKS, ""]),
        old=st.booleans(),
        schedule=st.sampled_from(["a", "b"]),
    )
    def run_ends(self, endpoint: str, about: str, old: bool, schedule: str) -> None:
        cloud = self.cloud
        cloud.now += timedelta(seconds=7)
        found = [b.judgement("income", CHECKS[about], remediation=about)] if about else []
        begins = cloud.now - timedelta(hours=3) if old else cloud.now
        scope = scope_of(endpoint, f"{endpoint}-{schedule}")
        self._surviving(lambda: cloud.run_ends(*found, scope=scope, data_from=begins))

    @rule(minutes=st.sampled_from([1, 2, 20, 70, 400]))
    def time_passes(self, minutes: int) -> None:
        cloud = self.cloud
        self._surviving(lambda: cloud.pass_time(minutes=minutes, tick=60.0 * max(1, minutes // 10)))

    @rule()
    def the_clock_ticks(self) -> None:
        self.cloud.now += timedelta(minutes=1)
        self._surviving(lambda: self.cloud.due_changes()())

    @rule(which=st.integers(0, 9))
    def one_machine_takes_one_step(self, which: int) -> None:
        ready = self.cloud.machine.ready()
        if ready:
            self.cloud.machine.step(ready[which % len(ready)])

    @rule(
        which=st.integers(0, 9),
        who=st.sampled_from([ANA, BEN, "eve"]),
        what=st.sampled_from(["approve", "reject", "again"]),
    )
    def somebody_decides(self, which: int, who: str, what: str) -> None:
        cloud = self.cloud
        if not cloud.all:
            return
        known = cloud.all[which % len(cloud.all)]
        acts = cloud.remediation_acts()
        cloud.now += timedelta(seconds=1)
        if what == "again":
            self._surviving(lambda: acts.request(known.incidents[0], known.action, who))
        else:
            self._surviving(lambda: getattr(acts, what)(known.id, who))

    @rule(
        which=st.integers(0, 9),
        state=st.sampled_from([ActionState.DONE, ActionState.FAILED, ActionState.STOPPED]),
    )
    def an_action_ends(self, which: int, state: ActionState) -> None:
        under_way = sorted(
            key
            for key, report in self.cloud.actions.states.items()
            if report.state is ActionState.RUNNING
        )
        if under_way:
            self.cloud.actions.end(under_way[which % len(under_way)], state, "ended")

    @rule(scope=st.sampled_from([EVERYTHING, *ENDPOINTS]), stop=st.booleans())
    def the_switch(self, scope: str, stop: bool) -> None:
        acts = self.cloud.remediation_acts()
        self._surviving(lambda: acts.stop(scope, "ana") if stop else acts.resume(scope, "ana"))

    @rule(name=st.sampled_from(sorted(POLICIES)))
    def a_new_policy(self, name: str) -> None:
        self.cloud.in_force.policy = POLICIES[name]

    @rule(step=st.integers(1, 40))
    def the_next_process_dies(self, step: int) -> None:
        self.cloud.crash_after = len(self.cloud.steps) + step

    @rule(
        step=st.sampled_from(["keep remediation", "guard", "begin action", "go on", "commit act"]),
        times=st.integers(1, 6),
    )
    def something_is_down(self, step: str, times: int) -> None:
        self.cloud.failures[step] = [UnavailableError("down")] * times

    @rule(deaf=st.booleans())
    def the_machine_hears_nothing(self, deaf: bool) -> None:
        self.cloud.machine.is_deaf = deaf

    @rule(which=st.integers(0, 9))
    def the_machine_is_killed(self, which: int) -> None:
        if self.cloud.all:
            self.cloud.machine.kill(self.cloud.all[which % len(self.cloud.all)].id)

    @rule(belongs=st.sampled_from([True, False, None]))
    def another_baseline(self, belongs: bool | None) -> None:
        self.cloud.actions.known_lineage = Lineage(belongs=belongs)

    @rule()
    def a_step_comes_twice(self) -> None:
        for execution in list(self.cloud.machine.executions.values()):
            event = {"step": execution.doing, "remediation": execution.remediation}
            if execution.doing != "give_up":
                self._surviving(lambda event=event: self.cloud.remediate()(event))

    @invariant()
    def no_decision_is_acted_on_twice(self) -> None:
        if hasattr(self, "cloud"):
            assert max(Counter(self.cloud.actions.begun).values(), default=0) <= 1

    @invariant()
    def nothing_is_begun_that_was_not_allowed(self) -> None:
        if not hasattr(self, "cloud"):
            return
        for remediation in self.cloud.all:
            if remediation.id in self.cloud.actions.begun:
                assert remediation.started_at
                reached = {moment.state for moment in remediation.timeline}
                assert RemediationState.ACTING in reached

    @invariant()
    def no_two_hold_one_target(self) -> None:
        if not hasattr(self, "cloud"):
            return
        holding = Counter(
            r.target
            for r in self.cloud.all
            if r.state in (RemediationState.RUNNING, RemediationState.VERIFYING)
        )
        assert max(holding.values(), default=0) <= 1

    @invariant()
    def what_is_over_holds_nothing(self) -> None:
        if not hasattr(self, "cloud"):
            return
        owners = {lock.owner for lock in self.cloud.store.guard_kept.locks.values()}
        for remediation in self.cloud.all:
            if remediation.state.is_over and remediation.reason not in MAY_STILL_RUN:
                assert remediation.id not in owners

    @invariant()
    def what_acts_has_its_target_and_its_budget(self) -> None:
        if not hasattr(self, "cloud"):
            return
        guard = self.cloud.store.guard_kept
        for remediation in self.cloud.all:
            if remediation.state is RemediationState.ACTING:
                assert guard.locks[remediation.target].owner == remediation.id
                assert remediation.id in {start.remediation for start in guard.starts}

    @invariant()
    def what_is_over_stays_over(self) -> None:
        if not hasattr(self, "cloud"):
            return
        for remediation in self.cloud.all:
            if remediation.state.is_over:
                assert self.over.setdefault(remediation.id, remediation.state) is remediation.state

    def teardown(self) -> None:
        if not hasattr(self, "cloud"):
            return
        cloud = self.cloud
        cloud.crash_after, cloud.machine.is_deaf = None, False
        cloud.failures.clear()
        for key, report in list(cloud.actions.states.items()):
            if report.state is ActionState.RUNNING:
                cloud.actions.end(key)
        with suppress(GuiderailError):
            cloud.pass_time(days=9, tick=3600.0)
        for remediation in cloud.all:
            assert remediation.state.is_over, (remediation, remediation.timeline)
            assert remediation.reason
            assert remediation.timeline[-1].reason is remediation.reason
        now = cloud.now
        assert not [lock for lock in cloud.store.guard_kept.locks.values() if lock.until > now]
        assert not [w for w in cloud.store.wake_rows if w.at <= now]
        stuck = [
            i
            for i in cloud.all_incidents()
            if i.state in (IncidentState.REMEDIATING, IncidentState.VERIFYING)
        ]
        assert not stuck, stuck


def test_life_of_remediations() -> None:
    run_state_machine_as_test(
        LifeOfRemediations,
        settings=settings(
            max_examples=200,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
