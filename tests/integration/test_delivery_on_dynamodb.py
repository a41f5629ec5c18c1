"""Deliver as it runs, on DynamoDB, SQS and Secrets Manager: many workers at once, conflicts, and crashes.

moto is no real DynamoDB: its transactions are not apart from each other, so here one call follows the
other; and it knows no TransactionConflict, so that answer is put in its place.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import BytesIO
from random import Random
from typing import Any
from unittest import mock

import msgspec
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from guiderail.adapters import clients, secrets
from guiderail.adapters.dynamodb import DynamoIncidents
from guiderail.model.delivery import Delivery, DeliveryState, delivery_id, ref_of
from guiderail.model.incident import Incident
from guiderail.model.policy import (
    Channel,
    ChannelKind,
    DeliveryTerms,
    Policy,
    Receiver,
    Route,
)
from guiderail.services.outbox import outgoing_of
from guiderail_local.sink import Fault, Sink
from moto.dynamodb.responses import DynamoHandler
from msgspec.structs import replace

from functions.deliver.app import handler
from functions.on_due.app import handler as on_due
from tests.fakes import Crash
from tests.integration.conftest import Stack, forget
from tests.unit.rendering.notifications import news

WORKERS = 16
HOOK, PAGER, SLACK = ChannelKind.WEBHOOK, ChannelKind.PAGERDUTY, ChannelKind.SLACK


@pytest.fixture
def sink(stack: Stack) -> Iterator[Sink]:
    """A sink whose secrets are in Secrets Manager; one call of DynamoDB follows the other."""
    lock, call = threading.Lock(), DynamoHandler.call_action

    def one_by_one(self: Any) -> Any:
        with lock:
            return call(self)

    with Sink() as opened, mock.patch.object(DynamoHandler, "call_action", one_by_one):
        for name, content in opened.secrets().items():
            stack.client("secretsmanager").create_secret(Name=name, SecretString=content)
        new_process()
        yield opened
        secrets.forget()


def new_process() -> None:
    """Forget all that a process knows."""
    forget()
    secrets.forget()


def channel(sink: Sink, kind: ChannelKind, receiver: str = "team") -> Channel:
    return replace(sink.channels(receiver)[kind], pictures=False)


def push(stack: Stack, *receivers: Receiver, **terms: Any) -> None:
    stack.push(
        Policy(
            route=Route(name="default", receiver="people"),
            receivers={receiver.name: receiver for receiver in receivers},
            delivery=DeliveryTerms(**terms),
        )
    )


def told(
    stack: Stack, receiver: Receiver, number: int = 1, group: str = ""
) -> Mapping[ChannelKind, str]:
    """Keep a notification as OnDue does; what its messages in the queue say, by kind of channel."""
    now = datetime.now(UTC)
    name = f"{receiver.name}-{number}"
    notification = replace(
        news(),
        id=f"notification-{name}",
        group=group or f"group-{name}",
        number=number,
        receiver=receiver.name,
        made_at=now,
    )
    outgoing = outgoing_of(notification, Policy(receivers={receiver.name: receiver}))
    assert outgoing
    people = tuple(d for d in outgoing.deliveries if d.kind is not ChannelKind.BUS)
    stack.outbox.send_test(replace(outgoing, deliveries=people))
    return {d.kind: msgspec.json.encode(ref_of(d, notification, now)).decode() for d in people}


def handle(*bodies: str) -> list[str]:
    """Hand over one batch; the bodies of what comes again."""
    records = [{"messageId": str(number), "body": body} for number, body in enumerate(bodies)]
    failed = handler({"Records": records}, None)["batchItemFailures"]
    return [bodies[int(failure["itemIdentifier"])] for failure in failed]


def later(stack: Stack, minutes: float) -> None:
    """The clock strikes later, in a new process; what it puts on the queue is delivered."""
    new_process()
    on_due({"time": (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()}, None)
    stack.deliver()


def arrived(sink: Sink, kind: ChannelKind = HOOK) -> Counter[str]:
    """How often a channel took each delivery, or each message of an alert."""
    key = "webhook-id"
    return Counter(
        taken.headers[key] if kind is HOOK else taken.body["dedup_key"]
        for taken in sink.taken(kind)
    )


def turns(stack: Stack) -> set[str]:
    return {
        item["sk"]["S"].rpartition("#")[2]
        for item in stack.items()
        if item["pk"]["S"] == "due#deliveries"
    }


def waiting(stack: Stack) -> set[str]:
    return {d.id for d in stack.deliveries() if not d.state.is_over}


def over(deliveries: Sequence[Delivery]) -> Counter[DeliveryState]:
    return Counter(delivery.state for delivery in deliveries)


# --- many workers


def test_workers_with_the_same_messages_send_each_once(stack: Stack, sink: Sink) -> None:
    team = Receiver(name="team", channels=(channel(sink, HOOK), channel(sink, PAGER)))
    push(stack, team)
    bodies = [body for number in range(6) for body in told(stack, team, number).values()]
    start = threading.Barrier(WORKERS)

    def work(number: int) -> list[str]:
        mine = Random(number).sample(bodies, len(bodies))
        start.wait()
        return [again for at in range(0, len(mine), 4) for again in handle(*mine[at : at + 4])]

    with ThreadPoolExecutor(WORKERS) as pool:
        assert [again for each in pool.map(work, range(WORKERS)) for again in each] == []
    later(stack, 4)
    deliveries = stack.deliveries()
    assert over(deliveries) == {DeliveryState.DELIVERED: 12}
    assert {d.id for d in deliveries if d.kind is HOOK} == set(arrived(sink))
    assert set(arrived(sink).values()) == set(arrived(sink, PAGER).values()) == {1}
    # made, claimed, kept: nobody else wrote
    assert {(d.version, d.attempts) for d in deliveries} == {(3, 1)}
    assert turns(stack) == set()


def test_workers_that_share_a_broken_channel_lose_nothing(stack: Stack, sink: Sink) -> None:
    team = Receiver(name="team", channels=(channel(sink, HOOK),))
    push(stack, team, attempts=50, give_up_after=86400.0, breaker_failures=3, breaker_pause=30.0)
    bodies = [told(stack, team, number)[HOOK] for number in range(WORKERS)]
    sink.fail(HOOK, Fault.status_of(500), None)
    start = threading.Barrier(WORKERS)

    def work(body: str) -> None:
        start.wait()
        assert handle(body) == []

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, bodies))
    # Then each is tried once at most, none is over, and OnDue knows of all
    assert all(d.attempts <= 1 for d in stack.deliveries())
    assert sum(d.attempts for d in stack.deliveries()) == len(sink.arrived)
    assert len(waiting(stack)) == WORKERS and turns(stack) == waiting(stack)
    # and when it works again, each arrives once
    sink.heal(HOOK)
    for minutes in range(20, 300, 20):
        later(stack, minutes)
        if not waiting(stack):
            break
    assert over(stack.deliveries()) == {DeliveryState.DELIVERED: WORKERS}
    assert set(arrived(sink).values()) == {1} and len(arrived(sink)) == WORKERS


def test_workers_that_give_up_at_once_tell_the_fallback_once(stack: Stack, sink: Sink) -> None:
    hooks = tuple(replace(channel(sink, HOOK), name=f"team/hook-{n}") for n in range(4))
    team = Receiver(name="team", channels=hooks, fallback="boss")
    boss = Receiver(name="boss", channels=(channel(sink, PAGER, "boss"),))
    push(stack, team, boss)
    sink.fail(HOOK, Fault.status_of(410), None)
    told(stack, team)
    (made,) = {d.notification for d in stack.deliveries()}
    notification = stack.outbox.notification(made)
    assert notification
    bodies = [
        msgspec.json.encode(ref_of(d, notification, d.made_at)).decode() for d in stack.deliveries()
    ]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(handle, bodies))
    for minutes in (4, 8, 12):
        later(stack, minutes)
    its = [d for d in stack.deliveries() if d.notification == made]
    assert over(its) == {DeliveryState.DEAD: 4, DeliveryState.DELIVERED: 1}
    assert set(arrived(sink, PAGER).values()) == {1}


# --- TransactionConflict


class Conflicts:
    """Answers of DynamoDB that a transaction met another one, in place of the call itself."""

    def __init__(self, is_meant: Callable[[list[Any]], int | None], times: int = 1) -> None:
        """``is_meant`` says at which of its actions a transaction meets another, if at all."""
        self._is_meant = is_meant
        self.left = times
        self.met = 0
        # clients that are made already do not hear of it
        new_process()
        clients._session().register("before-send.dynamodb.TransactWriteItems", self)

    def __call__(self, request: Any, **_: Any) -> AWSResponse | None:
        actions = json.loads(request.body)["TransactItems"]
        at = self._is_meant(actions)
        if at is None or not self.left:
            return None
        self.left -= 1
        self.met += 1
        reasons = [{"Code": "None"} for _ in actions]
        reasons[at] = {"Code": "TransactionConflict", "Message": "Transaction is ongoing"}
        body = {
            "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
            "Message": "Transaction cancelled",
            "CancellationReasons": reasons,
        }
        raw = BytesIO(json.dumps(body).encode())
        raw.stream = lambda **_: iter([raw.read()])  # type: ignore[attr-defined]
        return AWSResponse(request.url, 400, HTTPHeaders(), raw)


def at_delivery(state: DeliveryState) -> Callable[[list[Any]], int | None]:
    """The write of a delivery in a state."""

    def is_meant(actions: list[Any]) -> int | None:
        items = [action.get("Put", {}).get("Item", {}) for action in actions]
        found = [n for n, item in enumerate(items) if item.get("state", {}).get("S") == state]
        return found[0] if found else None

    return is_meant


def at_thread(actions: list[Any]) -> int | None:
    """The write of a thread."""
    keys = [a.get("Put", {}).get("Item", {}).get("pk", {}).get("S", "") for a in actions]
    found = [number for number, key in enumerate(keys) if key.startswith("thread#")]
    return found[0] if found else None


@pytest.mark.parametrize(
    "state", [DeliveryState.SENDING, DeliveryState.DELIVERED], ids=["claim", "keep"]
)
def test_a_transaction_conflict_neither_loses_nor_doubles(
    stack: Stack, sink: Sink, state: DeliveryState
) -> None:
    team = Receiver(name="team", channels=(channel(sink, HOOK),))
    push(stack, team)
    body = told(stack, team)[HOOK]
    conflicts = Conflicts(at_delivery(state))
    assert handle(body) == []
    assert conflicts.met == 1
    later(stack, 4)
    assert over(stack.deliveries()) == {DeliveryState.DELIVERED: 1}
    assert list(arrived(sink).values()) == [1]


def test_a_claim_that_meets_another_write_is_tried_again_at_once(stack: Stack, sink: Sink) -> None:
    team = Receiver(name="team", channels=(channel(sink, PAGER),))
    push(stack, team)
    body = told(stack, team)[PAGER]
    conflicts = Conflicts(at_thread)
    handle(body)
    assert conflicts.met == 1
    assert list(arrived(sink, PAGER).values()) == [1], "nobody else has it"


def test_a_thread_that_another_message_writes_too_is_not_forgotten(
    stack: Stack, sink: Sink
) -> None:
    team = Receiver(name="team", channels=(channel(sink, SLACK),))
    push(stack, team)
    conflicts = Conflicts(at_thread)
    handle(told(stack, team, 1, "one-group")[SLACK])
    assert conflicts.met == 1
    handle(told(stack, team, 2, "one-group")[SLACK])
    roots = [m for m in sink.slack.messages.values() if not m.thread_ts]
    assert len(roots) == 1, "the second message is in the thread of the first"


def test_what_was_sent_is_sent_again_only_after_five_conflicts_and_a_lease(
    stack: Stack, sink: Sink
) -> None:
    team = Receiver(name="team", channels=(channel(sink, HOOK),))
    push(stack, team)
    body = told(stack, team)[HOOK]
    conflicts = Conflicts(at_delivery(DeliveryState.DELIVERED), times=99)
    handle(body)
    assert conflicts.met >= 5
    assert handle(body) == []
    assert list(arrived(sink).values()) == [1], "it is left alone until its lease ends"
    conflicts.left = 0
    later(stack, 4)
    assert over(stack.deliveries()) == {DeliveryState.DELIVERED: 1}
    assert list(arrived(sink).values()) == [2], "by the same id"


# --- the process dies between any two calls


class Calls:
    """Counts calls of AWS in this process, and dies before or after one of them."""

    def __init__(self, dies_at: int = 0) -> None:
        self.made: list[str] = []
        self._dies_at = dies_at
        clients._session().register("before-call", self._before)
        clients._session().register("after-call", self._after)

    def _before(self, model: Any, **_: Any) -> None:
        self._count(f"before {model.name}")

    def _after(self, model: Any, **_: Any) -> None:
        self._count(f"after {model.name}")

    def _count(self, what: str) -> None:
        self.made.append(what)
        if len(self.made) == self._dies_at:
            raise Crash(what)


def dies(body: str, at: int) -> str:
    """Handle a message in a new process that dies at a point; where that was, empty if it did not."""
    new_process()
    Calls(dies_at=at)
    try:
        handle(body)
    except Crash as crash:
        return str(crash)
    return ""


def test_a_crash_between_any_two_calls_loses_nothing(stack: Stack, sink: Sink) -> None:
    team = Receiver(name="team", channels=(channel(sink, HOOK),))
    push(stack, team)
    crashes: dict[str, str] = {}
    for at in range(1, 99):
        body = told(stack, team, at)[HOOK]
        where = dies(body, at)
        crashes[_delivery(f"notification-team-{at}")] = where
        if not where:
            break
    # at least: read, policy, claim, secret, keep
    assert len(crashes) >= 2 * 5
    later(stack, 4)
    assert over(stack.deliveries()) == {DeliveryState.DELIVERED: len(crashes)}
    assert turns(stack) == set()
    # Then what comes twice was sent, and its end not kept
    kept = [where for where in crashes.values() if where == "before TransactWriteItems"]
    twice = {crashes[delivery] for delivery, times in arrived(sink).items() if times == 2}
    assert len(kept) == 2 and twice == {"before TransactWriteItems"}
    assert Counter(arrived(sink).values()) == {1: len(crashes) - 1, 2: 1}


def test_a_crash_while_giving_up_tells_the_fallback_once(stack: Stack, sink: Sink) -> None:
    def team(number: int) -> Receiver:
        hook = replace(channel(sink, HOOK), name=f"team-{number}/webhook")
        return Receiver(name=f"team-{number}", channels=(hook,), fallback="boss")

    boss = Receiver(name="boss", channels=(channel(sink, PAGER, "boss"),))
    push(stack, boss, *map(team, range(99)))
    sink.fail(HOOK, Fault.status_of(410), None)
    crashes = []
    for at in range(1, 99):
        # a channel of its own, so that it is the first that fails of it
        crashes.append(dies(told(stack, team(at), 1)[HOOK], at))
        if not crashes[-1]:
            break
    assert {"after SendMessage", "before TransactWriteItems", "after TransactWriteItems"} <= {
        *crashes
    }
    for minutes in (4, 8, 12):
        later(stack, minutes)
    of_teams = [d for d in stack.deliveries() if d.route == news().route]
    assert over([d for d in of_teams if d.kind is HOOK]) == {DeliveryState.DEAD: len(crashes)}
    assert over([d for d in of_teams if d.kind is PAGER]) == {DeliveryState.DELIVERED: len(crashes)}
    assert Counter(arrived(sink, PAGER).values()) == {1: len(crashes)}
    # and each channel has one incident and a dead letter
    assert set(_dead(stack)) == {d.channel for d in of_teams if d.kind is HOOK}
    assert Counter(
        i.subject.metric for i in _incidents(stack) if i.check == "delivery_failed"
    ) == Counter({d.channel: 1 for d in of_teams if d.kind is HOOK})


def _delivery(notification: str) -> str:
    return delivery_id(notification, "team/webhook")


def _dead(stack: Stack) -> Iterator[str]:
    sqs = stack.client("sqs")
    queue = sqs.get_queue_url(QueueName="DeliveriesDeadLetterQueue")["QueueUrl"]
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        yield from (json.loads(message["Body"])["channel"] for message in messages)


def _incidents(stack: Stack) -> Iterator[Incident]:
    for ledger in DynamoIncidents(stack.table, 1, 1).firing_ledgers():
        yield from ledger.incidents.values()
