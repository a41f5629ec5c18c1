"""Whatever happens to channels, queue and process: each message arrives, or people see that it did not.

Findings, answers, failing channels, crashes, a queue that doubles, loses and mixes up, and new policies
come in any order over a simulated clock; afterwards all channels work, hours pass, and nothing is left
on its way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from guiderail.errors import (
    ChannelFailedError,
    ChannelRefusedError,
    GuiderailError,
    RejectedRequestError,
)
from guiderail.model.delivery import Delivery, DeliveryState, Outgoing
from guiderail.model.message import Notification
from guiderail.model.notice import Group, Notice
from guiderail.model.outcome import Reason
from guiderail.model.policy import (
    Channel,
    ChannelKind,
    DeliveryTerms,
    Policy,
    RateLimit,
    Receiver,
    Route,
    Severity,
)
from guiderail.services.incident_cycle import Act
from guiderail.services.outbox import QUIET
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests import builders as b
from tests.fakes import Cloud, Crash, Sent, scope_of

ENDPOINTS = ("churn", "fraud", "loan-risk")
SLACK = Channel(kind=ChannelKind.SLACK, name="team/slack", secret="guiderail/slack", target="C1")
PAGER = Channel(kind=ChannelKind.PAGERDUTY, name="team/pagerduty", secret="guiderail/pager")
HOOK = Channel(kind=ChannelKind.WEBHOOK, name="team/webhook", secret="guiderail/hook")
MAIL = Channel(kind=ChannelKind.EMAIL, name="boss/email", to=("boss@bank.example",))
TEAM = (SLACK, PAGER, HOOK)
NAMES = (*(channel.name for channel in TEAM), MAIL.name, "topic", "bus")


def policy(
    channels: tuple[Channel, ...] = TEAM, fallback: str = "boss", then: str = "", **route: Any
) -> Policy:
    return Policy(
        route=Route(name="default", receiver="team", group_interval=60.0, **route),
        receivers={
            "team": Receiver(name="team", channels=channels, fallback=fallback),
            "boss": Receiver(name="boss", channels=(MAIL,), fallback=then),
        },
        delivery=DeliveryTerms(attempts=3, breaker_failures=2),
    )


POLICIES = {
    "plain": policy(),
    "no fallback": policy(fallback=""),
    "fallbacks in a ring": policy(then="team"),
    "without slack": policy((PAGER, HOOK)),
    "without the pager": policy((SLACK, HOOK)),
    "only the pager": policy((PAGER,)),
    "without channels": policy(()),
    "few": policy(at_most=RateLimit(messages=1, within=3600.0)),
    "few, for a short while": policy(at_most=RateLimit(messages=2, within=300.0), fallback=""),
}

errors = st.one_of(
    st.just(ChannelFailedError("answered 500", status=500)),
    st.sampled_from([5.0, 90.0, 1000.0, 2000.0]).map(
        lambda wait: ChannelFailedError("answered 429", status=429, retry_after=wait)
    ),
    st.just(ChannelRefusedError("answered 410", status=410)),
)
broken = st.dictionaries(st.sampled_from(NAMES), errors, max_size=4)
crashes = st.sampled_from([None, None, *range(1, 13)])


class Post(Cloud):
    """A cloud that notes what was digested, and where the process died with a message just sent."""

    def __init__(self) -> None:
        super().__init__(policy=POLICIES["plain"])
        self.digested: set[str] = set()
        self.listed: list[str] = []
        self.sent_and_died: list[Sent] = []
        commit_group, commit_digest = self.store.commit_group, self.store.commit_digest

        def group(
            previous: Group | None,
            group: Group,
            absorbed: Sequence[Notice],
            outgoing: Sequence[Outgoing],
            audit: Any,
        ) -> None:
            commit_group(previous, group, absorbed, outgoing, audit)
            self.digested |= {one.notification.id for one in outgoing if one.digest_at}

        def digest(outgoing: Outgoing, instead_of: Sequence[Outgoing]) -> None:
            commit_digest(outgoing, instead_of)
            self.listed += [one.notification.id for one in instead_of]

        self.store.commit_group = group  # type: ignore[method-assign]
        self.store.commit_digest = digest  # type: ignore[method-assign]

    def dies(self, after: int | None, work: Callable[[], object]) -> None:
        """Do something; the process dies after so many steps, or not at all."""
        self.crash_after = len(self.steps) + after if after else None
        try:
            work()
        except Crash as crash:
            if str(crash) == "send":
                self.sent_and_died.append(self.sent[-1])
        self.crash_after = None

    def hand_out(self, entries: Sequence[int]) -> None:
        """Hand out messages of the queue as one batch, ready or not; what is handled is taken off."""
        taken = [self.queue[number] for number in entries]
        bodies = [msgspec.json.encode(ref).decode() for _, ref in taken]
        handle = self.deliver().batch(bodies)
        for entry, body in zip(taken, bodies, strict=True):
            handle(body)
            self.queue.remove(entry)


class Life(RuleBasedStateMachine):
    """Anything that can happen to a message on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.cloud = Post()

    @initialize(policy=st.sampled_from(sorted(POLICIES)), broken=broken)
    def begin(self, policy: str, broken: dict[str, GuiderailError]) -> None:
        self.cloud.in_force.policy = POLICIES[policy]
        self.channels_fail(broken)
        for endpoint in ENDPOINTS:
            self._run_ends(endpoint, b.judgement())

    # --- what people are told of

    @rule(
        endpoint=st.sampled_from(ENDPOINTS),
        feature=st.sampled_from(["income", "age"]),
        severity=st.sampled_from([Severity.WARNING, Severity.CRITICAL]),
        crash=crashes,
    )
    def a_run_ends_with_a_finding(
        self, endpoint: str, feature: str, severity: Severity, crash: int | None
    ) -> None:
        self._run_ends(endpoint, b.judgement(feature, severity=severity))
        self.what_is_due_is_told(61, crash)

    @rule(endpoint=st.sampled_from(ENDPOINTS), crash=crashes)
    def clean_runs_end(self, endpoint: str, crash: int | None) -> None:
        self._run_ends(endpoint)
        self._run_ends(endpoint)
        self.what_is_due_is_told(61, crash)

    def _run_ends(self, endpoint: str, *judgements: Any) -> None:
        self.cloud.now += timedelta(seconds=1)
        self.cloud.run_ends(*judgements, scope=scope_of(endpoint))

    @precondition(lambda self: self.cloud.all_incidents())
    @rule(data=st.data(), doing=st.sampled_from([Act.ACKNOWLEDGE, Act.RESOLVE]))
    def somebody_acts(self, data: st.DataObject, doing: Act) -> None:
        known = sorted(incident.id for incident in self.cloud.all_incidents())
        self.cloud.now += timedelta(milliseconds=1)
        try:
            self.cloud.acts().do(doing, data.draw(st.sampled_from(known)), "ann")
        except RejectedRequestError:
            pass

    # --- channels, policy

    @rule(broken=broken)
    def channels_fail(self, broken: dict[str, GuiderailError]) -> None:
        self.cloud.refusals.update({name: [error] for name, error in broken.items()})

    @rule(names=st.sets(st.sampled_from(NAMES), min_size=3))
    def channels_recover(self, names: set[str]) -> None:
        for name in names:
            self.cloud.refusals.pop(name, None)

    @rule(policy=st.sampled_from(sorted(POLICIES)))
    def a_policy_is_pushed(self, policy: str) -> None:
        self.cloud.in_force.policy = POLICIES[policy]

    # --- time, the process, the queue

    @rule(minutes=st.sampled_from([1, 1, 3, 10, 45]), crash=crashes)
    def time_passes(self, minutes: int, crash: int | None) -> None:
        self.cloud.dies(crash, lambda: self.cloud.pass_time(minutes=minutes))

    @rule(seconds=st.sampled_from([0, 31, 61]), crash=crashes)
    def what_is_due_is_told(self, seconds: int, crash: int | None) -> None:
        self.cloud.now += timedelta(seconds=seconds)
        self.cloud.dies(crash, lambda: self.cloud.on_due()(self.cloud.now))

    @precondition(lambda self: self.cloud.queue)
    @rule(data=st.data(), crash=crashes)
    def a_batch_is_handed_out(self, data: st.DataObject, crash: int | None) -> None:
        """In any order, what should still wait among it."""
        numbers = st.integers(0, len(self.cloud.queue) - 1)
        batch = data.draw(st.lists(numbers, min_size=1, max_size=8, unique=True))
        self.cloud.dies(crash, lambda: self.cloud.hand_out(batch))

    @precondition(lambda self: self.cloud.queue)
    @rule(data=st.data(), what=st.sampled_from(["doubled", "lost", "mixed up"]))
    def the_queue_keeps_no_promise(self, data: st.DataObject, what: str) -> None:
        queue = self.cloud.queue
        numbers = data.draw(st.sets(st.integers(0, len(queue) - 1), min_size=1))
        if what == "doubled":
            queue += [queue[number] for number in sorted(numbers)]
        elif what == "lost":
            queue[:] = [entry for number, entry in enumerate(queue) if number not in numbers]
        else:
            queue.reverse()

    # --- what holds always

    @invariant()
    def no_channel_has_a_message_more_often_than_the_process_died(self) -> None:
        died = Counter(map(_place, self.cloud.sent_and_died))
        for place, times in Counter(map(_place, self.cloud.sent)).items():
            assert times <= 1 + died[place], place

    @invariant()
    def what_waits_is_looked_at(self) -> None:
        waiting = {d.id for d in self.cloud.store.outbox.values() if not d.state.is_over}
        assert waiting == set(self.cloud.store.turns)

    @invariant()
    def a_pager_hears_nothing_older_after_what_it_is_known_to_have(self) -> None:
        died = {id(sent) for sent in self.cloud.sent_and_died}
        newest: dict[str, int] = {}
        for sent in self._paged():
            thread, number = _thread(sent.notification), sent.notification.number
            assert number >= newest.get(thread, 0), "older after newer"
            if id(sent) not in died:
                newest[thread] = number

    def _paged(self) -> list[Sent]:
        """What a pager heard; quiet changes say less than what came before, in whatever order."""
        return [s for s in self.cloud.sent_over(PAGER.name) if s.notification.kind not in QUIET]

    # --- and what holds in the end

    def teardown(self) -> None:
        cloud = self.cloud
        cloud.refusals.clear()
        cloud.in_force.policy = POLICIES["plain"]
        cloud.pass_time(hours=2)
        # twice, as a process may have died between a success and what follows from it
        for endpoint in ("first", "second"):
            self._run_ends(endpoint, b.judgement())
            cloud.pass_time(minutes=30)
        self.no_channel_has_a_message_more_often_than_the_process_died()
        self.a_pager_hears_nothing_older_after_what_it_is_known_to_have()
        self._nothing_is_on_its_way()
        self._digests_leave_nothing_out()
        for notification in cloud.store.messages.values():
            self._somebody_has(notification)
        for delivery in cloud.store.outbox.values():
            if delivery.state is DeliveryState.DELIVERED:
                assert (delivery.channel, delivery.notification) in set(map(_place, cloud.sent))
            elif delivery.reason is not Reason.SUPERSEDED:
                self._people_see_that_it_is_dead(delivery)
        self._pagers_know_the_newest()
        self._channels_that_work_have_no_incident()

    def _nothing_is_on_its_way(self) -> None:
        store = self.cloud.store
        assert [d for d in store.outbox.values() if not d.state.is_over] == []
        assert store.turns == {}
        assert self.cloud.queue == []

    def _digests_leave_nothing_out(self) -> None:
        assert Counter(self.cloud.listed) == Counter(self.cloud.digested)
        assert not [key for key in self.cloud.store.due_rows if key[1] == "digest"]

    def _somebody_has(self, notification: Notification) -> None:
        made = self.cloud.store.outbox.values()
        its = [d for d in made if d.notification == notification.id]
        people = [d for d in its if d.kind is not ChannelKind.BUS]
        if notification.id in self.cloud.digested:
            pagers = {PAGER.name} >= {d.channel for d in people if not d.fallback_for}
            assert pagers, "told, and in a digest"
            return
        if notification.kind in QUIET:
            return
        if any(d.state is DeliveryState.DELIVERED or _superseded(d) for d in people):
            return
        # all refused: the stack's topic, the last resort, among them
        assert "topic" in {d.channel for d in people}, notification.id

    def _people_see_that_it_is_dead(self, delivery: Delivery) -> None:
        about = {
            i.subject.metric for i in self.cloud.all_incidents() if i.check == "delivery_failed"
        }
        if delivery.reason is not Reason.CHANNEL_GONE:
            assert delivery.channel in about
        assert any(delivery.id in body for body, _ in self.cloud.dead)

    def _pagers_know_the_newest(self) -> None:
        known: dict[str, list[int]] = {}
        for sent in self._paged():
            known.setdefault(_thread(sent.notification), []).append(sent.notification.number)
        for numbers in known.values():
            assert numbers[-1] == max(numbers)

    def _channels_that_work_have_no_incident(self) -> None:
        working = {channel.name for channel in TEAM} | {"bus"}
        for incident in self.cloud.all_incidents():
            if incident.check == "delivery_failed" and incident.subject.metric in working:
                assert not incident.state.is_firing, incident.subject.metric


def _place(sent: Sent) -> tuple[str, str]:
    return sent.channel.name, sent.notification.id


def _thread(notification: Notification) -> str:
    return f"{notification.group}#{notification.episode}"


def _superseded(delivery: Delivery) -> bool:
    return delivery.reason is Reason.SUPERSEDED


def test_messages_arrive_or_people_see_that_they_did_not() -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=150,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
