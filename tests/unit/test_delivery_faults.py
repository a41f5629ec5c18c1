"""Faults between the steps of delivery that ``test_delivering`` leaves out; docs/delivery.md lists both."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from guiderail.errors import UnavailableError
from guiderail.message_batch import failed_messages
from guiderail.model.delivery import DeliveryState
from guiderail.model.message import MessageKind
from guiderail.model.outcome import Reason
from guiderail.model.policy import DeliveryTerms, Policy, RateLimit, Route
from msgspec.structs import replace

from tests import builders as b
from tests.fakes import Cloud, Crash, scope_of
from tests.unit.test_delivering import DOWN, HOOK, NO, cloud_with, delivery, many, policy, told

PATIENT = DeliveryTerms(breaker_failures=1, breaker_pause=60.0, give_up_after=86400.0, attempts=99)


def cut_short(cloud: Cloud, cut: int, work: Callable[[], object]) -> bool:
    """Let the process die after so many steps of some work; whether it died."""
    cloud.steps.clear()
    cloud.crash_after = cut
    try:
        work()
    except Crash:
        return True
    finally:
        cloud.crash_after = None
    return False


def body_for(cloud: Cloud, channel: str) -> str:
    """The message in the queue that wakes for a channel's delivery."""
    (ref,) = [ref for _, ref in cloud.queue if ref.channel == channel]
    return msgspec.json.encode(ref).decode()


# --- our own parts fail


def test_a_crash_while_a_message_is_put_off_loses_nothing() -> None:
    died = True
    cut = 0
    while died:
        cut += 1
        # Given a channel that fails, and a process that dies at some step of putting off the next try
        cloud = cloud_with(policy(HOOK))
        cloud.refusals["team/webhook"] = [DOWN]
        cloud.on_due()()
        died = cut_short(cloud, cut, cloud.deliver_all)
        # When the channel works again
        cloud.refusals.clear()
        cloud.pass_time(minutes=20)
        assert delivery(cloud, "team/webhook").state is DeliveryState.DELIVERED, cut
        assert len(cloud.sent_over("team/webhook")) == 1, cut
    assert cut > 6, "it died after each of: recall, policy, claim, keep channel, keep, queue"


def test_a_queue_that_refuses_the_next_try_is_asked_again() -> None:
    cloud = cloud_with(policy(HOOK))
    cloud.refusals["team/webhook"] = [DOWN]
    cloud.on_due()()
    cloud.failures["queue"] = [UnavailableError("no queue")]
    with pytest.raises(UnavailableError):
        cloud.deliver_all()
    waits = delivery(cloud, "team/webhook")
    assert (waits.state, waits.reason) == (DeliveryState.FAILED, Reason.CHANNEL_FAILED)
    # When its message, which stayed in the queue, is handed out before the next try is due
    cloud.deliver_all()
    assert [at for at, ref in cloud.queue if ref.channel == "team/webhook"] == [
        waits.next_attempt_at
    ]
    cloud.refusals.clear()
    cloud.pass_time(minutes=1, tick=5)
    assert delivery(cloud, "team/webhook").attempts == 2
    assert len(cloud.sent_over("team/webhook")) == 1


def test_a_delayed_message_that_is_lost_is_looked_at_again() -> None:
    cloud = cloud_with(policy(HOOK))
    cloud.refusals["team/webhook"] = [DOWN]
    cloud.due_changes()()
    assert delivery(cloud, "team/webhook").state is DeliveryState.FAILED
    cloud.queue.clear()
    cloud.refusals.clear()
    cloud.pass_time(minutes=4)
    assert cloud.sent_over("team/webhook") == []
    cloud.pass_time(minutes=4)
    assert len(cloud.sent_over("team/webhook")) == 1


@pytest.mark.parametrize(
    "step",
    ["ledger", "commit act", "keep channel", "dead letter", "deliveries of", "keep", "queue"],
)
def test_an_error_of_ours_while_giving_up_still_reaches_the_fallback(step: str) -> None:
    cloud = cloud_with(policy(HOOK, fallback="boss"))
    cloud.refusals["team/webhook"] = [NO]
    cloud.on_due()()
    cloud.failures[step] = [UnavailableError("down")]
    with pytest.raises(UnavailableError):
        cloud.deliver_all()
    cloud.deliver_all()
    cloud.pass_time(minutes=10)
    dead = delivery(cloud, "team/webhook")
    assert dead.state is DeliveryState.DEAD
    assert [n.id for n in told(cloud, "boss/email")].count(dead.notification) == 1
    assert len([i for i in cloud.all_incidents() if i.check == "delivery_failed"]) == 1


def test_a_worker_that_outlives_its_lease_changes_nothing() -> None:
    # Given a send that takes so long that another worker takes over
    cloud = cloud_with(policy(HOOK))
    cloud.on_due()()
    body = body_for(cloud, "team/webhook")
    send = cloud.channels.send
    states = []

    def slowly(*given: Any) -> Any:
        cloud.channels.send = send
        cloud.now += timedelta(seconds=151)
        states.append(cloud.deliver()(body))
        return send(*given)

    cloud.channels.send = slowly
    cloud.deliver()(body)
    done = delivery(cloud, "team/webhook")
    # Then what the other one wrote stands
    assert states == [DeliveryState.DELIVERED]
    assert (done.state, done.attempts) == (DeliveryState.DELIVERED, 2)
    assert done.receipt == "team/webhook-1"


def test_a_delivery_that_nobody_knows_is_dropped_and_logged() -> None:
    cloud = cloud_with(policy(HOOK))
    cloud.on_due()()
    cloud.store.outbox.clear()
    assert cloud.deliver_all() == [None, None]
    assert cloud.sent == [] and cloud.dead == []
    assert [line for line, _ in cloud.lines].count("delivery not known") == 2


def test_without_a_policy_the_topic_is_told() -> None:
    # Given a policy that is gone when the message is to be sent
    cloud = cloud_with(policy(HOOK))
    cloud.on_due()()
    cloud.in_force.policy = Policy()
    cloud.deliver_all()
    gone = delivery(cloud, "team/webhook")
    assert (gone.state, gone.reason) == (DeliveryState.DEAD, Reason.CHANNEL_GONE)
    assert [n.id for n in told(cloud, "topic")] == [gone.notification]


def test_a_batch_is_handled_side_by_side_and_only_what_failed_comes_again() -> None:
    together = threading.Barrier(8)

    def handle(body: str) -> None:
        # nobody passes before all eight are here: one after the other would never get there
        together.wait(timeout=30)
        if body == "5":
            raise UnavailableError("down")

    event = {"Records": [{"messageId": f"m{n}", "body": str(n)} for n in range(8)]}
    assert failed_messages(event, handle, at_once=8) == {
        "batchItemFailures": [{"itemIdentifier": "m5"}]
    }


# --- the breaker


def test_whoever_tries_a_broken_channel_may_die() -> None:
    # Given a channel that is left alone, and three messages that wait for it
    cloud = Cloud(policy=policy(HOOK, terms=PATIENT))
    cloud.refusals["team/webhook"] = [DOWN]
    many(cloud, 3)
    cloud.due_changes()()
    cloud.refusals.clear()
    cloud.now += timedelta(seconds=80)
    # When the one that tries it dies before it asked the channel
    assert cut_short(cloud, 3, cloud.deliver_all)
    assert cloud.steps[-1] == "keep channel" and cloud.sent_over("team/webhook") == []
    # Then another one tries after its lease
    cloud.pass_time(minutes=20, tick=10)
    assert len(cloud.sent_over("team/webhook")) == 3
    assert cloud.store.channels["team/webhook"].open_until is None


def test_one_of_two_workers_tries_a_broken_channel() -> None:
    cloud = Cloud(policy=policy(HOOK, terms=PATIENT))
    cloud.refusals["team/webhook"] = [DOWN]
    many(cloud, 2)
    cloud.due_changes()()
    waiting = [msgspec.json.encode(ref).decode() for _, ref in cloud.queue]
    assert len(waiting) == 2
    # Given both have read that the pause is over before either says that it tries
    cloud.now += timedelta(seconds=80)
    before = cloud.store.channels["team/webhook"]
    recall = cloud.store.recall_deliveries

    def as_before(refs: Any) -> Any:
        return {key: replace(known, channel=before) for key, known in recall(refs).items()}

    cloud.store.recall_deliveries = as_before  # type: ignore[method-assign]
    for body in waiting:
        cloud.deliver()(body)
    made = [d for d in cloud.store.outbox.values() if d.channel == "team/webhook"]
    assert {d.reason for d in made} == {Reason.CHANNEL_FAILED, Reason.CIRCUIT_OPEN}
    assert sum(d.attempts for d in made) == 2, "one before the pause, one after it"
    assert all(d.next_attempt_at and d.next_attempt_at > cloud.now for d in made)


def test_a_crash_while_a_channel_recovers_is_made_good_by_the_next_message() -> None:
    died = True
    cut = 0
    while died:
        cut += 1
        # Given an incident about a channel, which works again
        cloud = cloud_with(policy(HOOK, fallback="boss"))
        cloud.refusals["team/webhook"] = [NO]
        cloud.pass_time(minutes=10)
        cloud.refusals.clear()
        cloud.run_ends(b.judgement(), scope=scope_of("churn"))
        cloud.now += timedelta(minutes=1)
        cloud.on_due()()
        died = cut_short(cloud, cut, cloud.deliver_all)
        cloud.pass_time(minutes=10)
        # When one more message reaches it
        cloud.run_ends(b.judgement(), scope=scope_of("fraud"))
        cloud.pass_time(minutes=10)
        (about,) = [i for i in cloud.all_incidents() if i.check == "delivery_failed"]
        assert not about.state.is_firing, cut
        assert not cloud.store.channels["team/webhook"].troubled, cut
    assert cut > 8


# --- digests


def test_a_crash_while_a_digest_is_told_leaves_one() -> None:
    route = Route(name="default", receiver="team", at_most=RateLimit(messages=1, within=3600.0))
    died = True
    cut = 0
    while died:
        cut += 1
        cloud = Cloud(policy=policy(HOOK, route=route))
        many(cloud, 3)
        cloud.due_changes()()
        assert len(told(cloud, "team/webhook")) == 1
        cloud.now += timedelta(hours=1)
        died = cut_short(cloud, cut, cloud.due_changes())
        cloud.deliver_all()
        cloud.pass_time(minutes=15)
        digests = [n for n in told(cloud, "team/webhook") if n.kind is MessageKind.DIGEST]
        assert len({n.id for n in digests}) == 1, cut
        assert len(digests[0].listed) == 2, cut
    assert cut > 5
