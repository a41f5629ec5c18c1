"""Many deliveries through one environment of ``deliver`` against the time that their channel itself takes.

The function's handler is called with batches of the queue, as Lambda does. Its DynamoDB, S3 and Secrets
Manager are the stand-in, which answers at once; the channel is the sink, which answers after 50 ms. Both are
processes of their own. Had everything else no cost, messages would take 50 ms by as many as the function
handles at a time; the ratio says what claiming, rendering, signing, sending and keeping add to that.

Every delivery is one of a group of its own, with the message of a run of 60 features and 18 findings.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import msgspec
from guiderail import bootstrap
from guiderail.adapters.channels import AT_ONCE
from guiderail.model.delivery import DeliveryRef, Outgoing, ref_of
from guiderail.model.message import Notification
from guiderail.model.policy import Channel, ChannelKind, Policy, Receiver, Replies
from guiderail.reports.run_files import parse_run
from guiderail.services.outbox import delivery_of
from guiderail.settings import settings_from
from guiderail_local.sink import Sink
from msgspec.structs import replace

from benchmarks.functions_here import as_deployed
from benchmarks.parsing import SHOWING_POLICY, decide, files_of_a_run
from benchmarks.result import Result, of_pairs
from benchmarks.stub_aws import StubAws, batch_of
from functions.deliver.app import handler as deliver

DELIVERIES = 1_000
LATENCY = 0.05
"""Seconds that the sink takes for an answer."""

RECEIVER = "team"
BATCH = 8
"""Messages that the function is handed at once: the template's BatchSize."""

TARGET = 1.3


def measure(quick: bool) -> Iterator[Result]:
    """Deliver over a webhook and over Slack; each round has messages of its own."""
    count, rounds = (200, 1) if quick else (DELIVERIES, 3)
    with _served(_sink, LATENCY) as sink:
        contents, channels = sink.recv()
        policy = policy_of(channels)
        with (
            _served(_stub, policy, contents) as stub,
            as_deployed(stub.recv()),
            _on_one_processor(),
        ):
            for kind in (ChannelKind.WEBHOOK, ChannelKind.SLACK):
                # clients, connections and secrets are there when the time begins
                deliver_all(batches(BATCH, channels[kind]))
                taken = [_timed(batches(count, channels[kind])) for _ in range(rounds)]
                wanted = BATCH + count * rounds
                sink.send(kind)
                if (arrived := sink.recv()) != wanted:
                    raise RuntimeError(f"{arrived} of {wanted} deliveries arrived over {kind}")
                yield _result(kind, count, taken)


def policy_of(channels: Mapping[ChannelKind, Channel]) -> Policy:
    """A policy whose one receiver has these channels, and may answer."""
    return Policy(
        receivers={RECEIVER: Receiver(name=RECEIVER, channels=tuple(channels.values()))},
        replies=Replies(allowed=("*",)),
    )


def outgoing(count: int, channel: Channel, now: datetime) -> list[Outgoing]:
    """So many messages to people about as many groups, each with its delivery over one channel."""
    (message,) = decide(parse_run(*files_of_a_run(60)), policy=SHOWING_POLICY)[1]
    messages = [_of_group(message, f"{now.timestamp()}-{n}", now) for n in range(count)]
    return [
        Outgoing(notification=m, deliveries=(delivery_of(m, RECEIVER, channel),)) for m in messages
    ]


def refs_of(sent: Outgoing) -> list[DeliveryRef]:
    """What the queue carries of it."""
    return [ref_of(d, sent.notification, d.made_at) for d in sent.deliveries]


def _of_group(message: Notification, group: str, now: datetime) -> Notification:
    return replace(
        message, id=f"message-{group}", group=group, receiver=RECEIVER, made_at=now, episode="now"
    )


def batches(count: int, channel: Channel, size: int = BATCH) -> list[dict[str, Any]]:
    """Write deliveries into the stand-in's table, as OnDue does; returns the queue's batches of them."""
    outbox = bootstrap.build_deliveries(settings_from())
    bodies = []
    for sent in outgoing(count, channel, datetime.now(UTC)):
        outbox.send_test(sent)
        bodies += [msgspec.json.encode(ref).decode() for ref in refs_of(sent)]
    return [batch_of(bodies[at : at + size]) for at in range(0, len(bodies), size)]


def deliver_all(handed: Sequence[Mapping[str, Any]]) -> None:
    """Hand batches to the function, one after the other.

    Raises:
        RuntimeError: It wants one of their messages again.
    """
    for one in handed:
        if deliver(dict(one), None) != {"batchItemFailures": []}:
            raise RuntimeError("a delivery failed")


def _timed(handed: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Seconds that passed, and those of this process's processor."""
    began, used = time.perf_counter(), time.process_time()
    deliver_all(handed)
    return time.perf_counter() - began, time.process_time() - used


def _result(kind: ChannelKind, count: int, taken: Sequence[tuple[float, float]]) -> Result:
    ideal = count * LATENCY / AT_ONCE
    seconds, used = sorted(taken)[len(taken) // 2]
    return of_pairs(
        f"{count:,} deliveries over {kind} / {AT_ONCE} at a time, {LATENCY * 1000:.0f} ms each",
        [(took, ideal) for took, _ in taken],
        TARGET,
        f"{seconds:.2f} s / {ideal:.2f} s, {used / count * 1000:.1f} ms of the processor for each",
    )


@contextlib.contextmanager
def _on_one_processor() -> Iterator[None]:
    """Keep this process to one processor, which is more than a function of less than 1,769 MB has.

    Source: AWS Lambda developer guide, "Configure Lambda function memory". Where the system cannot do
    that, threads move between processors and wait longer for each other.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _served(serve: Callable[..., None], *given: object) -> Iterator[Connection]:
    """A server in a process of its own, so that it does not wait for ours; we talk over a pipe."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, *given), daemon=True)
    process.start()
    there.close()
    try:
        yield here
    finally:
        # the end of the pipe ends the server
        here.close()
        process.join()


def _sink(pipe: Connection, latency: float) -> None:
    with Sink(latency) as sink, contextlib.suppress(EOFError):
        channels = {
            # a picture is a call of its own, and three more to Slack
            kind: replace(channel, pictures=False)
            for kind, channel in sink.channels(RECEIVER).items()
        }
        pipe.send((sink.secrets(), channels))
        while True:
            pipe.send(len(sink.taken(pipe.recv())))


def _stub(pipe: Connection, policy: Policy, contents: Mapping[str, str]) -> None:
    with StubAws(policy=policy, secrets=contents) as stub, contextlib.suppress(EOFError):
        pipe.send(stub.url)
        pipe.recv()
