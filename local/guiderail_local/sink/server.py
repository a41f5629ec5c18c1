"""The sink's HTTP server."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from guiderail.model.policy import Channel, ChannelKind

from guiderail_local.sink.faults import Fault, FaultKind
from guiderail_local.sink.protocols import (
    SLACK_CHANNEL,
    JsmAlerts,
    PagerDutyEvents,
    Protocol,
    Reply,
    Request,
    SignedWebhook,
    SlackApi,
    SlackWebhook,
    TeamsWorkflow,
    text_reply,
)

_LARGEST = 16 * 1024 * 1024
_GARBAGE = b"<html><body>Please sign in</body></html>"


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One request that came; ``taken`` says whether the channel took what it brought.

    ``body`` is parsed JSON or a form, else bytes; header names are in lower case; ``status`` is 0 where
    no answer was given.
    """

    channel: ChannelKind
    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    at: datetime
    status: int
    taken: bool


@dataclass
class _Planned:
    fault: Fault
    times: int | None
    on: str


class Sink:
    """All channels on one free port of 127.0.0.1; a context manager.

    Attributes:
        arrived: Everything that came, in the order in which it was answered.
        slack: Slack's messages as they stand now.
        unknown: What a path of no channel is answered.
    """

    def __init__(self, latency: float = 0.0) -> None:
        """Answer after ``latency`` seconds."""
        self.arrived: list[Arrival] = []
        self.slack = SlackApi()
        self.unknown = 404
        self._latency = latency
        self._protocols: dict[ChannelKind, Protocol] = {}
        self._planned: dict[ChannelKind, list[_Planned]] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server: _Server | None = None
        self.rotate()

    def __enter__(self) -> Sink:
        """Listen."""
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let go of all that is still waiting, and stop."""
        self._closing.set()
        if self._server:
            self._server.shutdown()
            self._server.server_close()

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server, "the sink is not open"
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def secrets(self) -> dict[str, str]:
        """Content of each channel's secret, by the name it is to have."""
        return {
            secret_name(kind): json.dumps(protocol.secret(self.url))
            for kind, protocol in self._protocols.items()
        }

    def channels(self, receiver: str = "sink") -> dict[ChannelKind, Channel]:
        """Channels of a policy that reach the sink with these secrets."""
        return {
            kind: Channel(
                kind=kind,
                name=f"{receiver}/{kind}",
                secret=secret_name(kind),
                target=SLACK_CHANNEL if kind is ChannelKind.SLACK else "",
            )
            for kind in self._protocols
        }

    def rotate(self) -> None:
        """Take other tokens, keys and addresses from now on; what Slack has stays."""
        fresh = SlackApi()
        self.slack.token = fresh.token
        made: list[Protocol] = [
            self.slack,
            SlackWebhook(),
            TeamsWorkflow(),
            PagerDutyEvents(),
            JsmAlerts(),
            SignedWebhook(),
        ]
        self._protocols = {protocol.kind: protocol for protocol in made}

    def fail(self, channel: ChannelKind, fault: Fault, times: int | None = 1, on: str = "") -> None:
        """Fail the channel's next requests (None: all) whose path ends in ``on``."""
        with self._lock:
            self._planned.setdefault(channel, []).append(_Planned(fault, times, on))

    def heal(self, channel: ChannelKind) -> None:
        """Plan no more failures of a channel."""
        with self._lock:
            self._planned.pop(channel, None)

    def taken(self, channel: ChannelKind) -> list[Arrival]:
        """What a channel took."""
        with self._lock:
            return [a for a in self.arrived if a.channel is channel and a.taken]

    def _handle(self, handler: _Handler) -> None:
        length = min(int(handler.headers.get("Content-Length") or 0), _LARGEST)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        request = Request(handler.path, headers, handler.rfile.read(length))
        if self._latency:
            self._closing.wait(self._latency)
        protocol = next((p for p in self._protocols.values() if p.takes(request.route)), None)
        if protocol is None:
            handler.answer(text_reply(self.unknown, "no such channel"))
            return
        fault = self._fault(protocol.kind, request.route)
        reply: Reply | None = None
        if fault is None or fault.taken:
            reply = protocol.answer(request, self.url)
        status, taken = (reply.status, reply.taken) if reply else (0, False)
        if fault:
            status = {FaultKind.STATUS: fault.status, FaultKind.SLOW_BODY: 200}.get(fault.kind, 0)
            if fault.kind in (FaultKind.NOT_OK, FaultKind.GARBAGE):
                status = 200
        arrival = Arrival(
            channel=protocol.kind,
            method=handler.command,
            path=handler.path,
            headers=headers,
            body=request.parsed(),
            at=datetime.now(UTC),
            status=status,
            taken=taken,
        )
        # noted before the answer: who has the answer may look at once
        with self._lock:
            self.arrived.append(arrival)
        if fault:
            self._spoil(handler, protocol, fault)
        elif reply:
            handler.answer(reply)

    def _fault(self, channel: ChannelKind, route: str) -> Fault | None:
        with self._lock:
            for planned in self._planned.get(channel, []):
                if not route.endswith(planned.on) or planned.times == 0:
                    continue
                if planned.times is not None:
                    planned.times -= 1
                return planned.fault
        return None

    def _spoil(self, handler: _Handler, protocol: Protocol, fault: Fault) -> None:
        match fault.kind:
            case FaultKind.STATUS:
                headers = {"Retry-After": fault.retry_after, "Location": fault.location}
                handler.answer(
                    Reply(fault.status, b"not now", {k: v for k, v in headers.items() if v})
                )
            case FaultKind.NOT_OK:
                handler.answer(protocol.failure(fault.code))
            case FaultKind.GARBAGE:
                handler.answer(Reply(200, _GARBAGE, {"Content-Type": "text/html"}))
            case FaultKind.RESET:
                handler.reset()
            case FaultKind.SILENCE:
                self._closing.wait(fault.seconds)
                handler.reset()
            case FaultKind.SLOW_HEADERS:
                handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                self._drip(handler, fault.seconds)
            case FaultKind.SLOW_BODY:
                handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                self._drip(handler, fault.seconds)

    def _drip(self, handler: _Handler, seconds: float) -> None:
        pause = 0.05
        for _ in range(int(seconds / pause)):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            if self._closing.wait(pause):
                break
        handler.reset()


def secret_name(kind: ChannelKind) -> str:
    """The name of a channel's secret."""
    return f"guiderail/sink/{kind}"


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True
    block_on_close = False

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is what many tests want; nothing is printed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        """Every channel is posted to."""
        self.server.sink._handle(self)

    def do_GET(self) -> None:
        """Slack's methods may be asked with GET."""
        self.server.sink._handle(self)

    def answer(self, reply: Reply) -> None:
        """Send an answer whole."""
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def reset(self) -> None:
        """Break the connection with a reset instead of an end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
