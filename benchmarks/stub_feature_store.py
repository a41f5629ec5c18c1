"""A stand-in for Feature Store's runtime that takes its time, and as little of the processor as it can.

It answers PutRecord and BatchWriteRecord after the times that the service is taken to need, counts what it was
given, and keeps nothing. One thread with epoll and sockets of its own: what is measured are clients, not
this. `guiderail_local.feature_store` is the one that checks and keeps records.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import select
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any
from urllib.parse import urlsplit

PUT_SECONDS = 0.008
BATCH_SECONDS = 0.012
ENTRY_SECONDS = 0.0004

FEATURES = 22
"""Of each record: its identifier, its event time and 20 numbers."""

GROUP = "loans"

_READ = 1 << 18
_CLOSE_ENOUGH = 0.00005
"""Seconds that an answer may be early: less than a turn of the loop takes."""


@dataclass
class Taken:
    """What a stub was given: requests, records and feature values.

    ``at_once`` is the most requests that it had at a time; ``first`` and ``last`` are when the first request
    came and the last answer went, in seconds of the system's monotonic clock.
    """

    requests: int = 0
    records: int = 0
    values: int = 0
    at_once: int = 0
    first: float = 0.0
    last: float = 0.0

    @property
    def seconds(self) -> float:
        """From the first request to the last answer."""
        return self.last - self.first


def describe_group() -> dict[str, Any]:
    """What DescribeFeatureGroup answers for the group."""
    arn = f"arn:aws:sagemaker:us-east-1:123456789012:feature-group/{GROUP}"
    numbers = [f"feature_{number:02}" for number in range(FEATURES - 2)]
    return {
        "FeatureGroupArn": arn,
        "FeatureGroupName": GROUP,
        "RecordIdentifierFeatureName": "loan_id",
        "EventTimeFeatureName": "event_time",
        "FeatureDefinitions": [
            {"FeatureName": "loan_id", "FeatureType": "String"},
            {"FeatureName": "event_time", "FeatureType": "Fractional"},
            *({"FeatureName": name, "FeatureType": "Fractional"} for name in numbers),
        ],
        "CreationTime": 1_795_000_000.0,
        "OnlineStoreConfig": {"EnableOnlineStore": True},
        "FeatureGroupStatus": "Created",
    }


class Stub:
    """A stub in a process of its own; made by `serving`."""

    def __init__(self, pipe: Connection) -> None:
        """Talk to it over the pipe's end."""
        self._pipe = pipe
        self.url: str = pipe.recv()

    def taken(self) -> Taken:
        """What it was given since it was last asked."""
        self._pipe.send(None)
        taken: Taken = self._pipe.recv()
        return taken


@contextlib.contextmanager
def serving(
    put: float = PUT_SECONDS, batch: float = BATCH_SECONDS, entry: float = ENTRY_SECONDS
) -> Iterator[Stub]:
    """Serve on a free port of loopback, with these seconds for a record, a batch and each of its entries."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, put, batch, entry), daemon=True)
    process.start()
    there.close()
    try:
        yield Stub(here)
    finally:
        # the end of the pipe ends the server
        here.close()
        process.join()


def ask_as_fast_as_it_answers(
    url: str, connections: int, seconds: float, entries: int = 25
) -> float:
    """Send the same batch over and over; returns the records per second that were answered.

    Requests are made beforehand and answers are hardly looked at: nobody asks faster.
    """
    address = urlsplit(url)
    request, size = _batch_request(entries), len(_BATCH_ANSWER)
    poll = select.epoll()
    left: dict[int, int] = {}
    answered = 0
    with contextlib.ExitStack() as open_until:
        sockets = {}
        for _ in range(connections):
            to = socket.create_connection((str(address.hostname), int(address.port or 0)))
            open_until.enter_context(to)
            to.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sockets[to.fileno()] = to
            poll.register(to.fileno(), select.EPOLLIN)
        began = time.perf_counter()
        for number, to in sockets.items():
            to.sendall(request)
            left[number] = size
        while time.perf_counter() - began < seconds:
            for number, _ in poll.poll():
                left[number] -= len(sockets[number].recv(_READ))
                if left[number] == 0:
                    answered += 1
                    sockets[number].sendall(request)
                    left[number] = size
        taken = time.perf_counter() - began
    return answered * entries / taken


def _batch_request(entries: int) -> bytes:
    names = [d["FeatureName"] for d in describe_group()["FeatureDefinitions"]]
    record = [{"FeatureName": name, "ValueAsString": "123.45678901234567"} for name in names]
    entry = {"FeatureGroupName": GROUP, "Record": record}
    body = json.dumps({"Entries": [entry] * entries}, separators=(",", ":")).encode()
    head = (
        f"POST /BatchWriteRecord HTTP/1.1\r\nHost: loopback\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _http(body: bytes, kind: str = "application/json") -> bytes:
    head = (
        "HTTP/1.1 200 OK\r\nx-amzn-RequestId: 1\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


_PUT_ANSWER = _http(b"")
_BATCH_ANSWER = _http(b'{"Errors":[],"UnprocessedEntries":[]}')


@dataclass
class _Open:
    """A connection and what came over it of a request that is not whole yet."""

    to: socket.socket
    content: bytearray = field(default_factory=bytearray)
    wanted: int = 0


@dataclass
class _Loop:
    """The server: answers that are due by time, and connections by number."""

    seconds: tuple[float, float, float]
    pipe: Connection
    taken: Taken = field(default_factory=Taken)
    open: dict[int, _Open] = field(default_factory=dict)
    due: list[tuple[float, int, _Open, bytes]] = field(default_factory=list)
    waiting: int = 0
    count: int = 0

    def run(self, server: socket.socket, described: bytes) -> None:
        """Serve until the pipe ends."""
        poll = select.epoll()
        poll.register(server.fileno(), select.EPOLLIN)
        poll.register(self.pipe.fileno(), select.EPOLLIN)
        while True:
            pause = max(self.due[0][0] - time.monotonic(), 0.0) if self.due else None
            # epoll alone waits in whole milliseconds, select in microseconds
            select.select([poll.fileno()], [], [], pause)
            for number, _ in poll.poll(0):
                if number == server.fileno():
                    self._accept(server, poll)
                elif number == self.pipe.fileno():
                    if not self._report():
                        return
                else:
                    self._read(number, described)
            self._answer()

    def _accept(self, server: socket.socket, poll: select.epoll) -> None:
        to, _ = server.accept()
        to.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.open[to.fileno()] = _Open(to)
        poll.register(to.fileno(), select.EPOLLIN)

    def _report(self) -> bool:
        try:
            self.pipe.recv()
        except EOFError:
            return False
        self.pipe.send(self.taken)
        self.taken = Taken()
        return True

    def _read(self, number: int, described: bytes) -> None:
        connection = self.open[number]
        try:
            came = connection.to.recv(_READ)
        except ConnectionResetError:
            came = b""
        if not came:
            # epoll forgets what is closed
            self.open.pop(number).to.close()
            return
        content = connection.content
        content += came
        while len(content) >= connection.wanted:
            if not connection.wanted:
                end = content.find(b"\r\n\r\n")
                if end < 0:
                    return
                connection.wanted = end + 4 + _length(bytes(content[:end]))
                continue
            whole = bytes(content[: connection.wanted])
            del content[: connection.wanted]
            connection.wanted = 0
            self._take(connection, whole, described)

    def _take(self, connection: _Open, request: bytes, described: bytes) -> None:
        now = time.monotonic()
        put, batch, entry = self.seconds
        if request.startswith(b"PUT "):
            records, seconds, answer = 1, put, _PUT_ANSWER
        elif request.startswith(b"POST /BatchWriteRecord"):
            records = request.count(b'"FeatureGroupName"')
            seconds = batch + records * entry
            answer = _BATCH_ANSWER
        else:
            self._put_off(now, connection, described)
            return
        taken = self.taken
        taken.first = taken.first or now
        taken.requests += 1
        taken.records += records
        taken.values += request.count(b'"ValueAsString"')
        self.waiting += 1
        taken.at_once = max(taken.at_once, self.waiting)
        self._put_off(now + seconds, connection, answer)

    def _put_off(self, until: float, connection: _Open, answer: bytes) -> None:
        self.count += 1
        heapq.heappush(self.due, (until, self.count, connection, answer))

    def _answer(self) -> None:
        now = time.monotonic()
        while self.due and self.due[0][0] <= now + _CLOSE_ENOUGH:
            _, _, connection, answer = heapq.heappop(self.due)
            if answer in (_PUT_ANSWER, _BATCH_ANSWER):
                self.waiting -= 1
                self.taken.last = now
            # a client may have gone meanwhile
            with contextlib.suppress(OSError):
                connection.to.sendall(answer)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def _serve(pipe: Connection, put: float, batch: float, entry: float) -> None:
    described = _http(json.dumps(describe_group()).encode(), "application/x-amz-json-1.1")
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as server:
        pipe.send(f"http://127.0.0.1:{server.getsockname()[1]}")
        _Loop((put, batch, entry), pipe).run(server, described)
