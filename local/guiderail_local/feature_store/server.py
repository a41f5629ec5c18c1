"""The store's HTTP server: operations, and their answers on the wire."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4

import msgspec

from guiderail_local.feature_store import wire
from guiderail_local.feature_store.errors import (
    Refused,
    ResourceNotFound,
    UnknownOperation,
    ValidationError,
)
from guiderail_local.feature_store.faults import Fault, FaultKind, Planned
from guiderail_local.feature_store.groups import Describe, FeatureGroup, find
from guiderail_local.feature_store.online import OnlineStore, Write

_LARGEST = 16 * 1024 * 1024

Parameters = dict[str, list[str]]
"""Of the query string."""


class FeatureStore:
    """Serves on a free port of 127.0.0.1; a context manager.

    Attributes:
        calls: How often each operation was asked for, refused requests included.
        written: How many records of a group were taken, historic ones included.
        online: What the online store holds.
        latency: Seconds to wait before each answer.
    """

    def __init__(
        self,
        describe: Describe,
        *,
        file: Path | None = None,
        latency: float = 0.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Serve groups as ``describe`` tells them; keep records in memory, or in a file."""
        self.calls: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self.online = OnlineStore(file)
        self.latency = latency
        self._describe = describe
        self._now = now
        self._planned: dict[str, list[Planned]] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._server: _Server | None = None

    def __enter__(self) -> FeatureStore:
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
        """Stop; connections that are open end with their next request."""
        self._closing.set()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
        self.online.close()

    @property
    def url(self) -> str:
        """Where it listens: a value for ``AWS_ENDPOINT_URL_SAGEMAKER_FEATURESTORE_RUNTIME``."""
        assert self._server, "the feature store is not open"
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fail(
        self, operation: str, fault: Fault, times: int | None = 1, containing: str = ""
    ) -> None:
        """Fail the next requests (None: all) of an operation whose body contains a text."""
        wanted = containing.encode()
        with self._lock:
            self._planned.setdefault(operation, []).append(
                Planned(fault, times, lambda content: wanted in content)
            )

    def heal(self) -> None:
        """Plan no more failures."""
        with self._lock:
            self._planned.clear()

    def answer(
        self, operation: str, target: str, asked: Parameters, content: bytes
    ) -> tuple[int, str, bytes] | None:
        """Status, error code and body for a request; None where the connection is to be reset."""
        with self._lock:
            self.calls[operation] += 1
            planned = self._planned.get(operation, ())
            fault = next((p.fault for p in planned if p.happens(content)), None)
        if self.latency:
            self._closing.wait(self.latency)
        try:
            body = None
            if fault is None or fault.taken:
                body = self._carry_out(operation, target, asked, content, fault)
            if fault and fault.kind is FaultKind.RESET:
                return None
            if fault and fault.kind is FaultKind.STATUS:
                return fault.status, fault.code, _error(fault.message)
        except Refused as refused:
            return refused.status, refused.code, _error(str(refused))
        return 200, "", b"" if body is None else msgspec.json.encode(body)

    def _carry_out(
        self,
        operation: str,
        target: str,
        asked: Parameters,
        content: bytes,
        fault: Fault | None,
    ) -> dict[str, Any] | None:
        match operation:
            case "PutRecord":
                self._put(target, wire.read(wire.PutRecord, content))
            case "GetRecord":
                return self._get(target, asked)
            case "DeleteRecord":
                self._delete(target, asked)
            case "BatchGetRecord":
                return self._batch_get(wire.read(wire.BatchGetRecord, content))
            case "BatchWriteRecord":
                return self._batch_write(wire.read(wire.BatchWriteRecord, content), fault)
            case _:
                raise UnknownOperation("")
        return None

    def _put(self, target: str, asked: wire.PutRecord) -> None:
        group = self._declared(target)
        self._write([_checked(group, asked)])

    def _get(self, target: str, asked: Parameters) -> dict[str, Any]:
        group = self._online(find(self._describe, target))
        identifier = _one(asked, "RecordIdentifierValueAsString")
        kept = self.online.read(group, identifier, self._now())
        if kept is None:
            return {}
        answer: dict[str, Any] = {"Record": group.choose(kept.record, asked.get("FeatureName"))}
        if asked.get("ExpirationTimeResponse") == ["Enabled"] and kept.expires is not None:
            answer["ExpiresAt"] = _iso(kept.expires)
        return answer

    def _delete(self, target: str, asked: Parameters) -> None:
        group = self._declared(target)
        stores = asked.get("TargetStores", ["OnlineStore"])
        moment = group.moment(_one(asked, "EventTime"))
        identifier = _one(asked, "RecordIdentifierValueAsString")
        mode = asked.get("DeletionMode", ["SoftDelete"])[0]
        if mode not in ("SoftDelete", "HardDelete"):
            raise ValidationError(f"1 validation error detected: DeletionMode {mode!r}")
        if group.online and "OnlineStore" in stores:
            self.online.delete(group, identifier, moment, self._now(), hard=mode == "HardDelete")

    def _batch_get(self, asked: wire.BatchGetRecord) -> dict[str, Any]:
        records: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for wanted in asked.identifiers:
            for identifier in wanted.record_identifiers_value_as_string:
                about = {
                    "FeatureGroupName": wanted.feature_group_name,
                    "RecordIdentifierValueAsString": identifier,
                }
                try:
                    group = self._online(find(self._describe, wanted.feature_group_name))
                    kept = self.online.read(group, identifier, self._now())
                    record = group.choose(kept.record, wanted.feature_names) if kept else []
                except Refused as refused:
                    errors.append(
                        {**about, "ErrorCode": refused.code, "ErrorMessage": str(refused)}
                    )
                    continue
                if kept is None:
                    continue
                found: dict[str, Any] = {**about, "Record": record}
                if asked.expiration_time_response == "Enabled" and kept.expires is not None:
                    found["ExpiresAt"] = _iso(kept.expires)
                records.append(found)
        return {"Records": records, "Errors": errors, "UnprocessedIdentifiers": []}

    def _batch_write(self, asked: wire.BatchWriteRecord, fault: Fault | None) -> dict[str, Any]:
        names = {entry.feature_group_name for entry in asked.entries}
        groups = {name: find(self._describe, name) for name in names}
        attempted = max(len(asked.entries) - (fault.entries if fault else 0), 0)
        writes: list[Write] = []
        errors: list[dict[str, Any]] = []
        for entry in asked.entries[:attempted]:
            try:
                group = groups[entry.feature_group_name]
                writes.append(_checked(group, entry, asked.ttl_duration))
            except ValidationError as refused:
                errors.append(_failed(entry, refused.code, str(refused)))
        self._write(writes)
        left = asked.entries[attempted:]
        if fault and fault.kind is FaultKind.ENTRY_ERRORS:
            errors += [_failed(entry, fault.code, fault.message) for entry in left]
            left = []
        return {"Errors": errors, "UnprocessedEntries": left}

    def _write(self, writes: list[Write]) -> None:
        self.online.write(writes, self._now())
        with self._lock:
            self.written.update(write.group.name for write in writes)

    def _declared(self, target: str) -> FeatureGroup:
        """Find a group for an operation whose model declares no ResourceNotFound."""
        try:
            return find(self._describe, target)
        except ResourceNotFound as gone:
            raise ValidationError(str(gone)) from gone

    @staticmethod
    def _online(group: FeatureGroup) -> FeatureGroup:
        if not group.online:
            raise ValidationError(
                f"Validation Error: feature group {group.name} has no online store"
            )
        return group


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True
    block_on_close = False

    def __init__(self, store: FeatureStore) -> None:
        self.store = store
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is what many tests want; nothing is printed."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        """GetRecord."""
        self._answer("GetRecord")

    def do_PUT(self) -> None:
        """PutRecord."""
        self._answer("PutRecord")

    def do_DELETE(self) -> None:
        """DeleteRecord."""
        self._answer("DeleteRecord")

    def do_POST(self) -> None:
        """What names its operation in the path."""
        self._answer("")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _answer(self, of_a_group: str) -> None:
        length = min(int(self.headers.get("Content-Length") or 0), _LARGEST)
        content = self.rfile.read(length)
        url = urlsplit(self.path)
        first, _, rest = url.path.removeprefix("/").partition("/")
        # a name is one segment, an ARN in it is quoted
        known = of_a_group if first == "FeatureGroup" and rest and "/" not in rest else ""
        operation = known or (first if first in _POSTED and not of_a_group and not rest else "")
        asked = parse_qs(url.query, keep_blank_values=True)
        answer = self.server.store.answer(operation, unquote(rest), asked, content)
        if answer is None:
            self._reset()
            return
        status, code, body = answer
        self.send_response(status)
        if code:
            self.send_header("x-amzn-ErrorType", code)
        self.send_header("x-amzn-RequestId", str(uuid4()))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.connection.close()


_POSTED = ("BatchGetRecord", "BatchWriteRecord")


def _checked(
    group: FeatureGroup,
    asked: wire.PutRecord | wire.Entry,
    time_to_live: wire.TtlDuration | None = None,
) -> Write:
    """Check a record; the nearest time to live counts: its own, the request's, the group's."""
    kept = asked.ttl_duration or time_to_live
    return Write(
        group,
        group.check(asked.record),
        asked.target_stores or ("OnlineStore", "OfflineStore"),
        kept.seconds if kept else group.time_to_live,
    )


def _failed(entry: wire.Entry, code: str, message: str) -> dict[str, Any]:
    return {"Entry": entry, "ErrorCode": code, "ErrorMessage": message}


def _one(asked: Parameters, name: str) -> str:
    value = asked.get(name, [""])[0]
    if not value:
        raise ValidationError(f"1 validation error detected: {name} must not be null")
    return value


def _iso(moment: float) -> str:
    # the seconds are those of the service's examples of ExpiresAt
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _error(message: str) -> bytes:
    return msgspec.json.encode({"Message": message})
