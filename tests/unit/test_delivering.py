"""Delivering: what becomes of a message when its channel, or we, fail; docs/delivery.md lists these faults."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from guiderail.errors import (
    AccessDeniedError,
    ChannelFailedError,
    ChannelRefusedError,
    ConflictError,
    GuiderailError,
    UnavailableError,
)
from guiderail.model.delivery import ChannelState, Delivery, DeliveryState, token_digest
from guiderail.model.message import INCIDENT_ANSWERS, MessageKind, Notification, ReplyAction
from guiderail.model.outcome import Reason
from guiderail.model.policy import (
    ActionKind,
    Channel,
    ChannelKind,
    DeliveryTerms,
    Policy,
    RateLimit,
    Receiver,
    RemediationAction,
    Replies,
    Route,
    Severity,
)
from guiderail.model.remediation import Remediation, RemediationState
from guiderail.services.delivering import PATIENCE
from guiderail.services.incident_cycle import Act
from guiderail.services.outbox import refs_of
from guiderail.services.proposals import proposal_of
from msgspec.structs import replace

from tests import builders as b
from tests.fakes import Cloud, Crash, scope_of
from tests.replies import ASKED

HOOK = Channel(kind=ChannelKind.WEBHOOK, name="team/webhook", secret="guiderail/hook")
SLACK = Channel(kind=ChannelKind.SLACK, name="team/slack", secret="guiderail/slack", target="C1")
PAGER = Channel(kind=ChannelKind.PAGERDUTY, name="team/pagerduty", secret="guiderail/pager")
MAIL = Channel(kind=ChannelKind.EMAIL, name="boss/email", to=("boss@bank.example",))

DOWN = ChannelFailedError("team/webhook answered 500", status=500)
BUSY = ChannelFailedError("team/webhook answered 429", status=429, retry_after=90.0)
NO = ChannelRefusedError("team/webhook answered 410", status=410)


def policy(
    *channels: Channel, fallback: str = "", terms: DeliveryTerms | None = None, **fields: object
) -> Policy:
    """A team with these channels, and a boss who reads mail."""
    return msgspec.convert(
        {
            "route": Route(name="default", receiver="team"),
            "receivers": {
                "team": Receiver(name="team", channels=channels, fallback=fallback),
                "boss": Receiver(name="boss", channels=(MAIL,)),
            },
            "delivery": terms or DeliveryTerms(),
            **fields,
        },
        Policy,
    )


def cloud_with(chosen: Policy) -> Cloud:
    """A cloud in which one run with a finding waits to be told."""
    cloud = Cloud(policy=chosen)
    cloud.run_ends(b.judgement())
    cloud.now += timedelta(minutes=1)
    return cloud


def delivery(cloud: Cloud, channel: str) -> Delivery:
    """The delivery over a channel of the first message that went there."""
    return next(d for d in cloud.store.outbox.values() if d.channel == channel)


def told(cloud: Cloud, channel: str) -> list[Notification]:
    return [sent.notification for sent in cloud.sent_over(channel)]


# --- delivered


def test_delivered_is_what_the_channel_said_it_has() -> None:
    cloud = cloud_with(policy(HOOK))
    cloud.due_changes()()
    done = delivery(cloud, "team/webhook")
    assert (done.state, done.reason) == (DeliveryState.DELIVERED, Reason.DELIVERED)
    assert done.receipt.startswith("team/webhook-")
    assert done.attempts == 1 and done.delivered_at == cloud.now and done.look_at is None
    assert cloud.store.turns == {}
    assert {"channel": "team/webhook", "state": "delivered", "reason": "delivered"} in (
        cloud.metric("Deliveries")
    )


def test_a_delivery_takes_three_calls_besides_the_channels_own() -> None:
    cloud = cloud_with(policy(HOOK))
    cloud.on_due()()
    cloud.steps.clear()
    cloud.deliver_all()
    one = ["recall deliveries", "policy", "claim", "send", "keep"]
    assert cloud.steps == one * 2


@pytest.mark.parametrize("fault", range(1, 6), ids=["recall", "policy", "claim", "send", "keep"])
def test_a_crash_after_any_step_loses_nothing(fault: int) -> None:
    cloud = cloud_with(policy(HOOK))
    cloud.on_due()()
    cloud.steps.clear()
    cloud.crash_after = fault
    with pytest.raises(Crash):
        cloud.deliver_all()
    cloud.crash_after = None
    # When its message is handed out again at once, and after its lease
    cloud.deliver_all()
    cloud.pass_time(minutes=15)
    # Then it arrived; twice only where the process died after the channel had it
    assert delivery(cloud, "team/webhook").state is DeliveryState.DELIVERED
    assert len(cloud.sent_over("team/webhook")) == (2 if fault == 4 else 1)
    ids = {sent.notification.id for sent in cloud.sent_over("team/webhook")}
    assert len(ids) == 1, "by the same id, which receivers tell duplicates by"


def test_a_crash_while_giving_up_still_reaches_the_fallback() -> None:
    # Given how many steps it takes
    def given_up(cut: int | None) -> Cloud:
        cloud = cloud_with(policy(HOOK, fallback="boss"))
        cloud.refusals["team/webhook"] = [NO]
        cloud.on_due()()
        cloud.steps.clear()
        cloud.crash_after = cut
        try:
            cloud.deliver_all()
        except Crash:
            pass
        cloud.crash_after = None
        cloud.deliver_all()
        cloud.pass_time(minutes=20)
        return cloud

    calm = given_up(None)
    first = delivery(calm, "team/webhook").notification
    assert [n.id for n in told(calm, "boss/email")].count(first) == 1
    for cut in range(1, 20):
        cloud = given_up(cut)
        assert delivery(cloud, "team/webhook").state is DeliveryState.DEAD, cut
        about = [i for i in cloud.all_incidents() if i.check == "delivery_failed"]
        assert len(about) == 1, cut
        assert [n.id for n in told(cloud, "boss/email")].count(first) in (1, 2), cut
        assert [e.code for _, e in cloud.dead][:1] == ["channel_refused"], cut


def test_a_message_that_is_handed_out_twice_is_sent_once() -> None:
    cloud = cloud_with(policy(HOOK))
    cloud.on_due()()
    cloud.queue *= 3
    cloud.deliver_all()
    assert len(cloud.sent_over("team/webhook")) == 1


def test_a_batch_is_read_at_once_and_each_message_stands_for_itself() -> None:
    cloud = Cloud(policy=policy(HOOK))
    many(cloud, 3)
    cloud.on_due()()
    bodies = [msgspec.json.encode(ref).decode() for _, ref in cloud.queue]
    cloud.steps.clear()
    batch = cloud.deliver().batch([*bodies, "not json"])
    assert cloud.steps == ["recall deliveries"]
    assert [batch(body) for body in bodies] == [DeliveryState.DELIVERED] * 6
    assert batch("not json") is None
    assert cloud.steps.count("recall deliveries") == 1


def test_a_batch_that_cannot_be_read_at_once_is_read_one_by_one() -> None:
    cloud = Cloud(policy=policy(HOOK))
    many(cloud, 2)
    cloud.on_due()()
    bodies = [msgspec.json.encode(ref).decode() for _, ref in cloud.queue]
    cloud.failures["recall deliveries"] = [UnavailableError("down"), UnavailableError("down")]
    batch = cloud.deliver().batch(bodies)
    with pytest.raises(UnavailableError):
        batch(bodies[0])
    assert [batch(body) for body in bodies] == [DeliveryState.DELIVERED] * 4


def test_two_workers_send_once() -> None:
    # Given two workers that read the same row before either claims it
    cloud = cloud_with(policy(HOOK))
    cloud.on_due()()
    (body,) = [msgspec.json.encode(ref).decode() for _, ref in cloud.queue if ref.channel != "bus"]
    recall = cloud.store.recall_deliveries
    known = recall([msgspec.json.decode(body, type=type(cloud.queue[0][1]))])
    cloud.store.recall_deliveries = lambda refs: known  # type: ignore[method-assign]
    states = [cloud.deliver()(body), cloud.deliver()(body)]
    assert states == [DeliveryState.DELIVERED, DeliveryState.PENDING]
    assert len(cloud.sent_over("team/webhook")) == 1


def test_what_a_channel_took_is_kept_though_another_write_stands_in_the_way() -> None:
    cloud = cloud_with(policy(HOOK))
    cloud.on_due()()
    cloud.failures["keep"] = [ConflictError("the same thread"), UnavailableError("down")]
    cloud.deliver_all()
    cloud.pass_time(minutes=15)
    assert {d.state for d in cloud.store.outbox.values()} == {DeliveryState.DELIVERED}
    assert len(cloud.sent_over("team/webhook")) == len(cloud.sent_over("bus")) == 1


def test_what_is_being_sent_is_left_to_its_worker_until_the_lease_ends() -> None:
    cloud = cloud_with(policy(HOOK))
    cloud.on_due()()
    cloud.crash_after = len(cloud.steps) + 3
    with pytest.raises(Crash):
        cloud.deliver_all()
    cloud.crash_after = None
    assert delivery(cloud, "team/webhook").state is DeliveryState.SENDING
    cloud.pass_time(minutes=2)
    assert cloud.sent_over("team/webhook") == []
    cloud.pass_time(minutes=2)
    assert len(cloud.sent_over("team/webhook")) == 1


# --- failing for now


def test_retry_after_is_honoured_by_waiting_in_the_queue() -> None:
    cloud = cloud_with(policy(HOOK))
    cloud.refusals["team/webhook"] = [BUSY, NO]
    began = cloud.now
    cloud.due_changes()()
    waits = delivery(cloud, "team/webhook")
    assert (waits.state, waits.reason) == (DeliveryState.FAILED, Reason.CHANNEL_BUSY)
    assert waits.next_attempt_at == began + timedelta(seconds=90)
    ((at, _),) = cloud.queue
    assert at == began + timedelta(seconds=90)
    cloud.refusals.clear()
    cloud.pass_time(seconds=80, tick=10)
    assert cloud.sent_over("team/webhook") == []
    cloud.pass_time(seconds=20, tick=10)
    assert delivery(cloud, "team/webhook").state is DeliveryState.DELIVERED


def test_others_do_not_ask_a_channel_that_asked_to_wait() -> None:
    cloud = cloud_with(policy(HOOK))
    cloud.run_ends(b.judgement(), scope=scope_of("churn"))
    cloud.now += timedelta(minutes=1)
    cloud.refusals["team/webhook"] = [BUSY, NO]
    cloud.due_changes()()
    reasons = {d.reason for d in cloud.store.outbox.values() if d.channel == "team/webhook"}
    assert reasons == {Reason.CHANNEL_BUSY, Reason.CIRCUIT_OPEN}
    cloud.refusals.clear()
    cloud.pass_time(minutes=3, tick=10)
    assert len(cloud.sent_over("team/webhook")) == 2


def test_pauses_grow_until_it_is_given_up() -> None:
    terms = DeliveryTerms(attempts=5, breaker_failures=99)
    cloud = cloud_with(policy(HOOK, terms=terms))
    cloud.refusals["team/webhook"] = [DOWN]
    tried = []
    cloud.due_changes()()
    while delivery(cloud, "team/webhook").state is DeliveryState.FAILED:
        waits = delivery(cloud, "team/webhook")
        assert waits.next_attempt_at
        tried.append((waits.next_attempt_at - cloud.now).total_seconds())
        cloud.now = waits.next_attempt_at
        cloud.deliver_all()
    assert tried == [1.5, 3.0, 6.0, 12.0]
    dead = delivery(cloud, "team/webhook")
    assert (dead.state, dead.reason, dead.attempts) == (DeliveryState.DEAD, Reason.GIVEN_UP, 5)
    assert dead.error == str(DOWN) and dead.status == 500


def test_a_wait_that_is_too_long_is_given_up_at_once() -> None:
    cloud = cloud_with(policy(HOOK))
    cloud.refusals["team/webhook"] = [ChannelFailedError("busy", status=429, retry_after=7200.0)]
    cloud.due_changes()()
    assert delivery(cloud, "team/webhook").reason is Reason.GIVEN_UP


def test_a_wait_longer_than_the_queue_can_hold_goes_through_it_twice() -> None:
    terms = DeliveryTerms(give_up_after=7200.0)
    cloud = cloud_with(policy(HOOK, terms=terms))
    cloud.refusals["team/webhook"] = [
        ChannelFailedError("busy", status=429, retry_after=1000.0),
        NO,
    ]
    cloud.due_changes()()
    ((at, _),) = cloud.queue
    assert at == cloud.now + timedelta(seconds=900)
    cloud.refusals.clear()
    cloud.now = at
    cloud.deliver_all()
    assert cloud.sent_over("team/webhook") == []
    ((at, _),) = cloud.queue
    assert at == cloud.now + timedelta(seconds=100)
    cloud.now = at
    cloud.deliver_all()
    assert len(cloud.sent_over("team/webhook")) == 1


def test_a_message_lost_in_the_queue_is_looked_at_again() -> None:
    cloud = cloud_with(policy(HOOK))
    cloud.on_due()()
    cloud.queue.clear()
    cloud.pass_time(minutes=4)
    assert delivery(cloud, "team/webhook").state is DeliveryState.DELIVERED


def test_what_is_put_there_again_is_not_put_there_every_minute() -> None:
    cloud = cloud_with(policy(HOOK))
    cloud.on_due()()
    cloud.queue.clear()
    handed = []
    for _ in range(12):
        cloud.now += timedelta(minutes=1)
        cloud.on_due()(cloud.now)
        handed.append(len(cloud.queue))
        cloud.queue.clear()
    assert [n for n in handed if n] == [2, 2]


# --- the breaker


def many(cloud: Cloud, count: int) -> None:
    for number in range(count):
        cloud.run_ends(b.judgement(), scope=scope_of(f"endpoint-{number}"))
    cloud.now += timedelta(minutes=1)


def test_a_dead_channel_is_left_alone_and_does_not_hold_the_others() -> None:
    terms = DeliveryTerms(
        breaker_failures=3, breaker_pause=60.0, give_up_after=86400.0, attempts=99
    )
    cloud = Cloud(policy=policy(HOOK, replace(SLACK), terms=terms))
    cloud.refusals["team/webhook"] = [DOWN]
    many(cloud, 10)
    cloud.due_changes()()
    assert len(cloud.sent_over("team/slack")) == 10
    tries = sum(d.attempts for d in cloud.store.outbox.values() if d.channel == "team/webhook")
    assert tries == 3, "the rest were not tried"
    # When its pause is over one of them tries, and it still fails
    cloud.pass_time(seconds=75, tick=5)
    again = sum(d.attempts for d in cloud.store.outbox.values() if d.channel == "team/webhook")
    assert again == 4
    # Then, when it works again, all of them arrive
    cloud.refusals.clear()
    cloud.pass_time(minutes=10, tick=5)
    assert len(cloud.sent_over("team/webhook")) == 10
    assert cloud.store.channels["team/webhook"].failures == 0


def test_behind_an_open_breaker_messages_are_given_up_in_time() -> None:
    terms = DeliveryTerms(breaker_failures=1, breaker_pause=600.0, give_up_after=900.0, attempts=99)
    cloud = Cloud(policy=policy(HOOK, fallback="boss", terms=terms))
    cloud.refusals["team/webhook"] = [DOWN]
    many(cloud, 3)
    cloud.due_changes()()
    first = set(cloud.store.messages)
    cloud.pass_time(minutes=40)
    made = [d for d in cloud.store.outbox.values() if d.notification in first]
    assert {d.state for d in made if d.channel == "team/webhook"} == {DeliveryState.DEAD}
    assert len({n.group for n in told(cloud, "boss/email")}) >= 3


# --- given up


def test_what_is_given_up_opens_an_incident_and_goes_to_the_fallback() -> None:
    cloud = cloud_with(policy(HOOK, fallback="boss"))
    cloud.refusals["team/webhook"] = [NO]
    cloud.due_changes()()
    dead = delivery(cloud, "team/webhook")
    assert (dead.state, dead.reason) == (DeliveryState.DEAD, Reason.CHANNEL_REFUSED)
    first = cloud.sent_over("boss/email")[0]
    assert first.notification.id == dead.notification
    assert "team/webhook could not be reached" in first.rendering.note
    instead = delivery(cloud, "boss/email")
    assert instead.fallback_for == "team/webhook" and instead.receiver == "boss"
    ((body, error),) = cloud.dead
    assert error is NO and dead.id in body
    (about,) = [i for i in cloud.all_incidents() if i.check == "delivery_failed"]
    assert about.state.is_firing and about.severity is Severity.ERROR
    # Then the team is told of it over the fallback as well, and once
    cloud.pass_time(hours=2)
    titles = [n.title for n in told(cloud, "boss/email")]
    assert len(titles) == 2 and "team/webhook" in titles[1]


def test_a_fault_of_ours_with_one_message_is_given_up_and_told() -> None:
    cloud = cloud_with(policy(HOOK, fallback="boss"))
    cloud.refusals["team/webhook"] = [KeyError("odd")]  # type: ignore[list-item]
    cloud.due_changes()()
    dead = delivery(cloud, "team/webhook")
    assert (dead.state, dead.reason) == (DeliveryState.DEAD, Reason.CHANNEL_REFUSED)
    assert "KeyError" in dead.error and "odd" not in dead.error
    assert dead.notification in {n.id for n in told(cloud, "boss/email")}


def test_a_message_at_which_each_worker_dies_is_given_up() -> None:
    cloud = cloud_with(policy(HOOK, fallback="boss", terms=DeliveryTerms(attempts=3)))
    cloud.on_due()()
    # Given three workers that died while they had it
    claimed = delivery(cloud, "team/webhook")
    cloud.store.outbox[claimed.id] = replace(
        claimed, state=DeliveryState.SENDING, attempts=3, look_at=cloud.now
    )
    cloud.deliver_all()
    assert delivery(cloud, "team/webhook").reason is Reason.GIVEN_UP
    assert len(cloud.sent_over("boss/email")) >= 1


@pytest.mark.parametrize("first", ["refused", "taken"])
def test_trouble_and_success_in_one_batch_leave_an_incident_that_ends(first: str) -> None:
    cloud = Cloud(policy=policy(HOOK, fallback="boss"))
    many(cloud, 2)
    cloud.on_due()()
    bodies = [msgspec.json.encode(r).decode() for _, r in cloud.queue if r.channel == HOOK.name]
    cloud.store.keep_channel(HOOK.name, ChannelState(failures=1, troubled=first == "taken"))
    batch = cloud.deliver().batch(bodies)
    for number, body in enumerate(bodies):
        cloud.refusals[HOOK.name] = [NO] if (number == 0) == (first == "refused") else []
        batch(body)
    cloud.refusals.clear()
    cloud.queue.clear()
    cloud.run_ends(b.judgement(), scope=scope_of("churn"))
    cloud.pass_time(minutes=15)
    about = [i for i in cloud.all_incidents() if i.check == "delivery_failed"]
    assert len(about) == 1 and not about[0].state.is_firing


def test_a_channel_that_works_again_ends_its_incident() -> None:
    cloud = cloud_with(policy(HOOK, fallback="boss"))
    cloud.refusals["team/webhook"] = [NO]
    cloud.pass_time(minutes=10)
    cloud.refusals.clear()
    cloud.run_ends(b.judgement(), scope=scope_of("churn"))
    cloud.pass_time(minutes=10)
    (about,) = [i for i in cloud.all_incidents() if i.check == "delivery_failed"]
    assert not about.state.is_firing
    assert not cloud.store.channels["team/webhook"].troubled


def test_a_channel_that_was_given_up_after_many_tries_ends_its_incident_too() -> None:
    cloud = cloud_with(policy(HOOK, terms=DeliveryTerms(attempts=2)))
    cloud.refusals["team/webhook"] = [DOWN]
    cloud.pass_time(minutes=2, tick=5)
    (about,) = [i for i in cloud.all_incidents() if i.check == "delivery_failed"]
    assert about.state.is_firing
    cloud.refusals.clear()
    cloud.run_ends(b.judgement(), scope=scope_of("churn"))
    cloud.pass_time(minutes=10)
    (about,) = [i for i in cloud.all_incidents() if i.check == "delivery_failed"]
    assert not about.state.is_firing


def test_failures_at_the_same_moment_are_all_counted() -> None:
    terms = DeliveryTerms(breaker_failures=9)
    cloud = Cloud(policy=policy(HOOK, terms=terms))
    many(cloud, 4)
    cloud.on_due()()
    bodies = [msgspec.json.encode(r).decode() for _, r in cloud.queue if r.channel != "bus"]
    cloud.refusals["team/webhook"] = [DOWN]
    # Given that all of them read the channel's state before any of them failed
    batch = cloud.deliver().batch(bodies)
    assert [batch(body) for body in bodies] == [DeliveryState.FAILED] * 4
    assert cloud.store.channels["team/webhook"].failures == 4


def test_without_a_fallback_the_topic_is_told() -> None:
    cloud = cloud_with(policy(HOOK))
    cloud.refusals["team/webhook"] = [NO]
    cloud.due_changes()()
    assert [n.id for n in told(cloud, "topic")] == [delivery(cloud, "team/webhook").notification]


def test_fallbacks_that_fail_come_to_an_end() -> None:
    chosen = policy(HOOK, fallback="boss")
    loop = {**chosen.receivers, "boss": replace(chosen.receivers["boss"], fallback="team")}
    cloud = cloud_with(replace(chosen, receivers=loop))
    for channel in ("team/webhook", "boss/email", "topic", "bus"):
        cloud.refusals[channel] = [NO]
    cloud.pass_time(hours=3)
    assert {d.state for d in cloud.store.outbox.values()} == {DeliveryState.DEAD}
    first = delivery(cloud, "team/webhook").notification
    assert {d.channel for d in cloud.store.outbox.values() if d.notification == first} == {
        "team/webhook", "boss/email", "topic", "bus",
    }  # fmt: skip
    assert cloud.sent == []


def test_two_dead_channels_share_one_fallback() -> None:
    cloud = cloud_with(policy(HOOK, SLACK, fallback="boss"))
    cloud.refusals["team/webhook"] = cloud.refusals["team/slack"] = [NO]
    cloud.due_changes()()
    first = delivery(cloud, "team/webhook").notification
    assert [n.id for n in told(cloud, "boss/email")].count(first) == 1


def test_a_channel_that_the_policy_lost_goes_to_the_fallback() -> None:
    cloud = cloud_with(policy(HOOK, fallback="boss"))
    cloud.on_due()()
    cloud.in_force.policy = policy(SLACK, fallback="boss")
    cloud.deliver_all()
    assert delivery(cloud, "team/webhook").reason is Reason.CHANNEL_GONE
    assert len(cloud.sent_over("boss/email")) >= 1


def test_a_channel_mended_in_the_policy_is_used_from_then_on() -> None:
    cloud = cloud_with(policy(HOOK))
    cloud.refusals["team/webhook"] = [DOWN, NO]
    cloud.due_changes()()
    mended = replace(HOOK, secret="guiderail/other")
    cloud.in_force.policy = policy(mended)
    cloud.refusals.clear()
    cloud.pass_time(minutes=2)
    assert cloud.sent_over("team/webhook")[0].channel == mended


def test_what_is_no_delivery_is_a_dead_letter() -> None:
    cloud = Cloud()
    assert cloud.deliver()("{}") is None
    assert cloud.deliver()("not json") is None
    assert [error.code for _, error in cloud.dead] == ["malformed_event"] * 2


@pytest.mark.parametrize("step", ["recall deliveries", "policy", "claim"])
@pytest.mark.parametrize("error", [UnavailableError("down"), AccessDeniedError("no")])
def test_an_error_of_ours_leaves_the_message_in_the_queue(step: str, error: GuiderailError) -> None:
    cloud = cloud_with(policy(HOOK))
    cloud.on_due()()
    cloud.failures[step] = [error]
    with pytest.raises(type(error)):
        cloud.deliver_all()
    assert error.code in {fields.get("reason") for _, fields in cloud.lines}
    cloud.pass_time(minutes=10)
    assert delivery(cloud, "team/webhook").state is DeliveryState.DELIVERED


# --- incident tools


def test_an_older_message_does_not_undo_a_newer_one() -> None:
    # Given a trigger that cannot be sent before the incident is over
    cloud = cloud_with(policy(PAGER, terms=DeliveryTerms(give_up_after=86400.0)))
    cloud.on_due()()
    held_back = list(cloud.queue)
    cloud.queue.clear()
    cloud.store.turns.clear()
    cloud.run_ends()
    cloud.now += timedelta(minutes=10)
    cloud.run_ends()
    cloud.pass_time(minutes=10)
    assert [n.kind for n in told(cloud, "team/pagerduty")] == [MessageKind.RESOLVED]
    # When it comes at last
    cloud.queue = held_back
    cloud.deliver_all()
    # Then it opens nothing
    late = delivery(cloud, "team/pagerduty")
    assert (late.state, late.reason) == (DeliveryState.DEAD, Reason.SUPERSEDED)
    assert len(cloud.sent_over("team/pagerduty")) == 1


def test_an_acknowledgement_does_not_hold_back_what_it_is_about() -> None:
    cloud = cloud_with(policy(PAGER))
    cloud.refusals[PAGER.name] = [DOWN]
    cloud.due_changes()()
    (incident,) = [i for i in cloud.all_incidents() if i.check == "baseline_drift_check"]
    cloud.acts().do(Act.ACKNOWLEDGE, incident.id, "ann")
    cloud.refusals.clear()
    held_back, cloud.queue = cloud.queue, []
    cloud.due_changes()()
    cloud.queue = held_back
    cloud.pass_time(minutes=10)
    kinds = [n.kind for n in told(cloud, PAGER.name)]
    assert sorted(kinds) == sorted([MessageKind.NEWS, MessageKind.ACKNOWLEDGED])


def test_nor_does_it_in_the_same_batch() -> None:
    # Given a trigger and the end of its incident that are read together
    cloud = cloud_with(policy(PAGER))
    cloud.on_due()()
    cloud.run_ends()
    cloud.now += timedelta(minutes=10)
    cloud.run_ends()
    cloud.now += timedelta(minutes=1)
    cloud.on_due()()
    refs = {r.id: r for _, r in cloud.queue if r.channel == "team/pagerduty"}
    bodies = [msgspec.json.encode(ref).decode() for ref in refs.values()]
    assert len(bodies) == 2
    batch = cloud.deliver().batch(bodies)
    # When the end goes first
    assert [batch(body) for body in reversed(bodies)] == [
        DeliveryState.DELIVERED,
        DeliveryState.DEAD,
    ]
    assert [n.kind for n in told(cloud, "team/pagerduty")] == [MessageKind.RESOLVED]


def test_behind_a_long_pause_messages_are_given_up_in_time() -> None:
    cloud = Cloud(policy=policy(HOOK, fallback="boss"))
    cloud.refusals["team/webhook"] = [ChannelFailedError("busy", status=429, retry_after=40_000.0)]
    many(cloud, 2)
    cloud.due_changes()()
    first = set(cloud.store.messages)
    cloud.pass_time(minutes=35)
    assert {d.reason for d in cloud.store.outbox.values() if d.channel == "team/webhook"} >= {
        Reason.GIVEN_UP
    }
    assert first <= {n.id for n in told(cloud, "boss/email")}


def test_an_acknowledgement_is_passed_on_to_tools_that_keep_incidents() -> None:
    cloud = cloud_with(policy(PAGER, HOOK))
    cloud.due_changes()()
    (incident,) = [i for i in cloud.all_incidents() if i.check == "baseline_drift_check"]
    cloud.acts().do(Act.ACKNOWLEDGE, incident.id, "ann")
    cloud.pass_time(minutes=10)
    kinds = [n.kind for n in told(cloud, "team/pagerduty")]
    assert kinds == [MessageKind.NEWS, MessageKind.ACKNOWLEDGED]
    assert [n.kind for n in told(cloud, "team/webhook")] == [MessageKind.NEWS]
    assert len(cloud.sent_over("bus")) == 1


def test_a_thread_is_handed_to_the_next_message_of_its_episode() -> None:
    cloud = cloud_with(policy(SLACK))
    cloud.due_changes()()
    cloud.run_ends()
    cloud.now += timedelta(minutes=10)
    cloud.run_ends()
    cloud.pass_time(minutes=10)
    first, last = cloud.sent_over("team/slack")
    assert first.rendering.thread is None
    assert last.rendering.thread and last.rendering.thread.root == "root-1"
    # a new episode has a thread of its own
    cloud.now += timedelta(days=3)
    cloud.run_ends(b.judgement())
    cloud.pass_time(minutes=10)
    assert cloud.sent_over("team/slack")[-1].rendering.thread is None


# --- remediations


JSM = Channel(kind=ChannelKind.JSM, name="team/jsm", secret="guiderail/jsm")


def propose(
    cloud: Cloud, state: RemediationState = RemediationState.ASKED, **fields: object
) -> Remediation:
    """Tell of a remediation of the cloud's incident, as its state machine would."""
    group = next(iter(cloud.store.groups.values()), None)
    (ledger,) = [x for x in cloud.store.ledgers.values() if x.scope.endpoint == "loan-risk-prod"]
    life = {"requested_at": cloud.now, "expires_at": cloud.now + timedelta(hours=24), **fields}
    incidents = tuple(ledger.incidents)
    remediation = msgspec.structs.replace(ASKED, state=state, incidents=incidents, **life)
    outgoing = proposal_of(remediation, ledger, group, cloud.in_force.current().policy, cloud.now)
    assert outgoing
    cloud.store.send_test(outgoing)
    cloud.put_refs(refs_of(outgoing, cloud.now))
    return remediation


def test_approvals_are_opaque_tokens_that_end_with_the_remediation() -> None:
    cloud = cloud_with(policy(SLACK, replies=Replies(allowed=("slack:*",))))
    cloud.reply_url = "https://replies.example/"
    cloud.due_changes()()
    asked = propose(cloud)
    cloud.deliver_all()
    sent = cloud.sent_over("team/slack")[-1]
    assert [r.action for r in sent.rendering.replies] == [ReplyAction.APPROVE, ReplyAction.REJECT]
    for reply in sent.rendering.replies:
        kept = cloud.store.tokens[token_digest(reply.token)]
        assert (kept.action, kept.remediation) == (reply.action, asked.id)
        assert kept.expires_at == asked.expires_at
        assert reply.token not in repr(kept)
    # a link lives no longer than the policy lets links live, either
    cloud.in_force.policy = replace(
        cloud.in_force.current().policy, delivery=DeliveryTerms(link_life=600.0)
    )
    propose(cloud, approvals=ASKED.approvals, id="another")
    cloud.deliver_all()
    newest = cloud.sent_over("team/slack")[-1].rendering.replies[0]
    kept = cloud.store.tokens[token_digest(newest.token)]
    assert kept.expires_at == cloud.now + timedelta(minutes=10)


@pytest.mark.parametrize("why", ["nobody may", "it is blocked", "too late", "a pager"])
def test_nothing_is_approved_where_nobody_can(why: str) -> None:
    allowed = () if why == "nobody may" else ("*",)
    channel = PAGER if why == "a pager" else SLACK
    cloud = cloud_with(policy(channel, replies=Replies(allowed=allowed)))
    cloud.reply_url = "https://replies.example/"
    cloud.due_changes()()
    state = RemediationState.BLOCKED if why == "it is blocked" else RemediationState.ASKED
    propose(cloud, state, expires_at=cloud.now + timedelta(hours=-1 if why == "too late" else 1))
    cloud.deliver_all()
    last = cloud.sent_over(channel.name)[-1]
    assert last.notification.kind is MessageKind.PROPOSAL
    assert last.rendering.replies == ()


def test_approvers_of_an_action_are_enough_to_be_asked() -> None:
    action = RemediationAction(
        name="retrain loans", kind=ActionKind.RETRAIN, approvers=("slack:T0/*",)
    )
    cloud = cloud_with(policy(SLACK, remediations={action.name: action}))
    cloud.reply_url = "https://replies.example/"
    cloud.due_changes()()
    assert cloud.sent_over("team/slack")[-1].rendering.replies == ()
    propose(cloud)
    cloud.deliver_all()
    assert len(cloud.sent_over("team/slack")[-1].rendering.replies) == 2


@pytest.mark.parametrize("channel", [SLACK, JSM], ids=lambda c: c.kind)
def test_a_proposal_waits_for_the_thread_that_it_belongs_into(channel: Channel) -> None:
    # Given a proposal that is handed out before the message about its incident
    cloud = cloud_with(policy(channel))
    cloud.on_due()()
    about, cloud.queue = cloud.queue, []
    propose(cloud)
    cloud.deliver_all()
    assert cloud.sent_over(channel.name) == []
    # When that has arrived
    cloud.queue += about
    cloud.deliver_all()
    cloud.pass_time(tick=5, seconds=30)
    first, proposal = cloud.sent_over(channel.name)
    assert proposal.notification.kind is MessageKind.PROPOSAL
    assert proposal.rendering.thread is not None
    assert proposal.rendering.thread.number == first.notification.number


def test_a_proposal_does_not_wait_for_ever() -> None:
    cloud = cloud_with(policy(SLACK))
    cloud.on_due()()
    cloud.queue.clear()
    propose(cloud)
    cloud.pass_time(tick=5, seconds=PATIENCE.total_seconds() + 30)
    kinds = [n.kind for n in told(cloud, "team/slack")]
    assert kinds == [MessageKind.PROPOSAL]
    assert delivery_of_kind(cloud, MessageKind.PROPOSAL).attempts == 1


def delivery_of_kind(cloud: Cloud, kind: MessageKind) -> Delivery:
    """The delivery over Slack of a message of a kind."""
    ids = {n.id for n in cloud.store.messages.values() if n.kind is kind}
    return next(d for d in cloud.store.outbox.values() if d.notification in ids and d.kind != "bus")


def test_a_proposal_neither_undoes_nor_is_undone_by_news() -> None:
    # Given a proposal that comes after the end of its incident
    cloud = cloud_with(policy(PAGER))
    cloud.due_changes()()
    propose(cloud)
    held_back, cloud.queue = cloud.queue, []
    cloud.store.turns.clear()
    cloud.run_ends()
    cloud.now += timedelta(minutes=10)
    cloud.run_ends()
    cloud.pass_time(minutes=10)
    cloud.queue = held_back
    cloud.deliver_all()
    kinds = [n.kind for n in told(cloud, PAGER.name)]
    assert kinds == [MessageKind.NEWS, MessageKind.RESOLVED, MessageKind.PROPOSAL]
    # and it holds back nothing that is older
    cloud.run_ends(b.judgement())
    cloud.pass_time(minutes=10)
    assert told(cloud, PAGER.name)[-1].kind is MessageKind.NEWS


def test_a_proposal_that_cannot_be_delivered_goes_to_the_fallback() -> None:
    cloud = cloud_with(policy(HOOK, fallback="boss"))
    cloud.due_changes()()
    cloud.refusals["team/webhook"] = [NO]
    propose(cloud)
    cloud.deliver_all()
    assert [n.kind for n in told(cloud, "boss/email")][-1] is MessageKind.PROPOSAL


def test_a_proposal_whose_queue_message_is_lost_is_found() -> None:
    cloud = cloud_with(policy(HOOK))
    cloud.due_changes()()
    propose(cloud)
    cloud.queue.clear()
    cloud.pass_time(minutes=10)
    assert [n.kind for n in told(cloud, "team/webhook")] == [MessageKind.NEWS, MessageKind.PROPOSAL]


# --- replies, pictures, digests


def test_links_are_opaque_tokens_kept_hashed() -> None:
    chosen = policy(SLACK, replies=Replies(allowed=("slack:*",)))
    cloud = cloud_with(chosen)
    cloud.reply_url = "https://replies.example/"
    cloud.due_changes()()
    (sent,) = cloud.sent_over("team/slack")
    replies = sent.rendering.replies
    assert [r.action for r in replies] == list(INCIDENT_ANSWERS)
    assert all(r.url == f"https://replies.example/r/{r.token}" for r in replies)
    for reply in replies:
        kept = cloud.store.tokens[token_digest(reply.token)]
        assert kept.action is reply.action and kept.channel == "team/slack"
        assert kept.incidents == (sent.notification.rows[0].incident,)
        assert kept.expires_at == cloud.now + timedelta(days=7)
        assert reply.token not in repr(reply) and reply.token not in repr(kept)


@pytest.mark.parametrize("why", ["nobody may", "no address", "a pager", "it is over"])
def test_there_are_no_links_where_nobody_can_answer(why: str) -> None:
    allowed = () if why == "nobody may" else ("*",)
    channel = PAGER if why == "a pager" else SLACK
    cloud = cloud_with(policy(channel, replies=Replies(allowed=allowed)))
    cloud.reply_url = "" if why == "no address" else "https://replies.example/"
    cloud.due_changes()()
    if why == "it is over":
        cloud.run_ends()
        cloud.now += timedelta(minutes=10)
        cloud.run_ends()
        cloud.pass_time(minutes=10)
    last = cloud.sent_over(channel.name)[-1]
    assert last.rendering.replies == ()


def test_pictures_that_cannot_be_drawn_hold_up_nothing() -> None:
    chosen = policy(SLACK)
    cloud = cloud_with(chosen)
    cloud.run_ends(b.judgement(), ended_at=cloud.now)
    cloud.picture_error = UnavailableError("no colours")
    cloud.due_changes()()
    (sent,) = cloud.sent_over("team/slack")
    assert sent.rendering.pictures == ()


def test_beyond_its_limit_a_route_sends_a_digest_and_drops_nothing() -> None:
    route = Route(name="default", receiver="team", at_most=RateLimit(messages=3, within=3600.0))
    cloud = Cloud(policy=policy(HOOK, route=route))
    many(cloud, 10)
    cloud.due_changes()()
    assert len(cloud.sent_over("team/webhook")) == 3
    assert len(cloud.sent_over("bus")) == 10, "programs are told of each"
    cloud.pass_time(hours=1)
    *alone, digest = told(cloud, "team/webhook")
    assert len(alone) == 3
    assert digest.kind is MessageKind.DIGEST and len(digest.listed) == 7
    groups = {n.group for n in alone} | {
        line.rpartition("group ")[2][:-1] for line in digest.listed
    }
    assert groups == set(cloud.store.groups)


def test_incident_tools_hear_of_each_message_whatever_the_limit() -> None:
    route = Route(name="équipe", receiver="team", at_most=RateLimit(messages=1, within=3600.0))
    cloud = Cloud(policy=policy(HOOK, PAGER, route=route))
    many(cloud, 4)
    cloud.due_changes()()
    assert len(cloud.sent_over(PAGER.name)) == 4
    cloud.pass_time(hours=1)
    *_, digest = told(cloud, HOOK.name)
    assert digest.kind is MessageKind.DIGEST and digest.subject.isascii()
    assert MessageKind.DIGEST not in {n.kind for n in told(cloud, PAGER.name)}


def test_what_is_critical_does_not_wait_for_a_digest() -> None:
    route = Route(name="default", receiver="team", at_most=RateLimit(messages=1, within=3600.0))
    cloud = Cloud(policy=policy(HOOK, route=route))
    many(cloud, 2)
    cloud.run_ends(b.judgement(severity=Severity.CRITICAL), scope=scope_of("urgent"))
    cloud.now += timedelta(minutes=1)
    cloud.due_changes()()
    assert len(cloud.sent_over("team/webhook")) == 2
    assert "urgent" in {n.attributes["endpoint"] for n in told(cloud, "team/webhook")}
