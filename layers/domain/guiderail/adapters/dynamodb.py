"""DynamoDB: runs, ledgers, groups and what waits to be told, in one table.

=============  =======================================  ===============================================
what           pk                                       sk, and attributes besides ``content``
=============  =======================================  ===============================================
run            ``run#<job ARN>``                        ``<status>``; plain attributes, no content
ledger         ``ledger#<id>``                          ``ledger``; version, endpoint, schedule, listing
notice         ``due``                                  ``<due time>#notice#<id>``
group's turn   ``due``                                  ``<due time>#group#<id>``; no content
notification   ``due``                                  ``<time made>#notification#<id>``
and once told  ``group#<id>``                           ``notification#<time made>#<id>``; told_at
group          ``group#<id>``                           ``state``; version
source         ``endpoint#<account>#<region>#<name>``   ``source#<ledger id>``
silence        ``silences``                             ``<id>``; ends_at
audit entry    ``audit#<subject>``                      ``<time>#<id>``
=============  =======================================  ===============================================

Times are UTC with microseconds, all of one width, so they sort. ``content`` is msgpack (JSON has no
infinity, measured values do), deflated. ``listing`` is there while an incident of the ledger is not
resolved; the index ``ByListing`` finds these ledgers in 16 parts.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar, cast

import msgspec
from botocore.exceptions import ClientError

from guiderail.adapters.clients import client, translated
from guiderail.errors import (
    ConflictError,
    RejectedRequestError,
    ThrottledError,
    TooLargeToKeepError,
)
from guiderail.model.incident import Incident, IncidentState, Ledger
from guiderail.model.notice import (
    AuditEntry,
    Group,
    InhibitionSource,
    Notice,
    Notification,
    Silence,
)
from guiderail.model.outcome import Outcome
from guiderail.model.record import RunRecord
from guiderail.ports import Due
from guiderail.services.alerting import brief_findings

INDEX = "ByListing"
"""The index of ledgers with an incident that is not resolved."""

LARGEST_CONTENT = 396 * 1024
"""Bytes; an item may have 400 KB, and the other attributes take less than 4."""

MOST_ACTIONS = 100
"""Items of one transaction."""

LARGEST_TRANSACTION = 4 * 1024 * 1024 - MOST_ACTIONS * 4096
"""Bytes of content in one transaction: 4 MB less what keys and attributes take."""

MOST_DUE = 1000
"""Due rows that one call hands out."""

_NOT_RECORDED = "attribute_not_exists(pk) OR (outcome = :unreadable AND outcome <> :outcome)"
"""A run recorded as unreadable may be replaced by what it turned out to be."""

_FAILED_CONDITION = "ConditionalCheckFailed"
_SLOW_DOWN = frozenset({"ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"})
_LEDGERS_AT_ONCE = 25
_WAITS = (0.05, 0.1, 0.2, 0.4)

T = TypeVar("T")

_Item = dict[str, Any]


class DynamoIncidents:
    """Implements Incidents; each method says which calls it makes."""

    def __init__(self, table: str, record_days: int, audit_days: int) -> None:
        """Keep runs for ``record_days``, audit entries and told notifications for ``audit_days``.

        The table's TTL attribute is ``expires_at``; ledgers and groups do not expire.
        """
        self._table = table
        self._record_days = record_days
        self._audit_days = audit_days

    def recall(self, run_key: str, ledger_id: str) -> tuple[Outcome | None, Ledger | None]:
        """The recorded outcome of a run and the ledger: one BatchGetItem.

        Read consistently: a duplicate may follow within milliseconds.
        """
        keys = [_run_key(run_key), *([_ledger_key(ledger_id)] if ledger_id else [])]
        outcome, ledger = None, None
        for item in self._batch_get(keys, "pk, outcome, content"):
            if "outcome" in item:
                outcome = Outcome(item["outcome"]["S"])
            else:
                ledger = _unpacked_ledger(item["content"]["B"])
        return outcome, ledger

    def run(self, job_arn: str) -> Mapping[str, Any] | None:
        """What is recorded of a job's newest run: one Query."""
        items = [_plain({"M": item}) for item in self._query(pk=f"run#{job_arn}")]
        if not items:
            return None
        values: dict[str, Any] = max(items, key=lambda item: str(item["recorded_at"]))
        del values["pk"], values["expires_at"]
        values["job_arn"], values["status"] = job_arn, values.pop("sk")
        values["findings"] = msgspec.json.decode(values["findings"])
        return values

    def ledger(self, ledger_id: str) -> Ledger | None:
        """Read a ledger: one GetItem, consistent."""
        item = self._get(_ledger_key(ledger_id))
        return _unpacked_ledger(item["content"]["B"]) if item else None

    def firing_ledgers(self) -> Iterator[Ledger]:
        """Ledgers with an incident that is not resolved: 16 Query, one BatchGetItem per 25 ledgers.

        The index follows the table within a second or so; the ledgers themselves are as they are now.
        """
        for part in range(16):
            listed = [
                {"pk": item["pk"], "sk": item["sk"]}
                for item in self._query(
                    IndexName=INDEX,
                    KeyConditionExpression="listing = :listing",
                    ExpressionAttributeValues={":listing": {"S": f"open#{part:x}"}},
                )
            ]
            for start in range(0, len(listed), _LEDGERS_AT_ONCE):
                keys = listed[start : start + _LEDGERS_AT_ONCE]
                for item in self._batch_get(keys, "content"):
                    yield _unpacked_ledger(item["content"]["B"])

    def commit_run(
        self,
        record: RunRecord,
        ledger: Ledger,
        sources: Sequence[InhibitionSource] | None,
        notices: Sequence[Notice],
        audit: AuditEntry,
    ) -> bool:
        """Record a run with all that follows from it: one TransactWriteItems."""
        what = f"record {record.run.key}"
        run = {
            "Put": {
                "TableName": self._table,
                "Item": self._run_item(record),
                "ConditionExpression": _NOT_RECORDED,
                "ExpressionAttributeValues": {
                    ":unreadable": {"S": Outcome.UNREADABLE.value},
                    ":outcome": {"S": record.reading.outcome.value},
                },
            }
        }
        actions = [run, *self._ledger_actions(ledger, sources, notices, audit)]
        cancelled = self._transact(what, actions)
        if cancelled and cancelled[0] == _FAILED_CONDITION:
            return False
        _complain(what, cancelled)
        return True

    def commit_act(
        self,
        ledger: Ledger,
        sources: Sequence[InhibitionSource] | None,
        notices: Sequence[Notice],
        audit: AuditEntry,
    ) -> None:
        """Keep a ledger changed by a person, a remediation or the clock: one TransactWriteItems."""
        what = f"write ledger {ledger.id}"
        actions = self._ledger_actions(ledger, sources, notices, audit)
        _complain(what, self._transact(what, actions))

    def due(self, until: datetime) -> Due:
        """What waits and is due, oldest first: one consistent Query per 1 MB, up to ``MOST_DUE`` rows."""
        items: list[dict[str, Any]] = []
        asked: dict[str, Any] = {
            "TableName": self._table,
            "KeyConditionExpression": "pk = :due AND sk < :until",
            # "$" follows "#": all rows of this very moment come before
            "ExpressionAttributeValues": {":due": {"S": "due"}, ":until": {"S": f"{_iso(until)}$"}},
            "ConsistentRead": True,
        }
        while True:
            with translated(f"Query {self._table}"):
                page = client("dynamodb").query(**asked, Limit=MOST_DUE - len(items))
            items += page["Items"]
            if len(items) >= MOST_DUE or "LastEvaluatedKey" not in page:
                break
            asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]
        notices, groups, notifications = [], [], []
        for item in items:
            _, kind, row = item["sk"]["S"].split("#", 2)
            if kind == "group":
                groups.append(row)
            elif kind == "notice":
                notices.append(_unpacked(Notice, item))
            else:
                notifications.append(_unpacked(Notification, item))
        return Due(tuple(notices), tuple(groups), tuple(notifications))

    def group(self, group_id: str) -> Group | None:
        """Read a group: one GetItem, consistent."""
        item = self._get(_key(f"group#{group_id}", "state"))
        return _unpacked(Group, item) if item else None

    def commit_group(
        self,
        previous: Group | None,
        group: Group,
        absorbed: Sequence[Notice],
        notifications: Sequence[Notification],
        audit: AuditEntry | None,
    ) -> None:
        """Keep a group after ``previous``: one TransactWriteItems.

        Raises ConflictError also if a notice is not there any more: somebody else absorbed it.
        """
        what = f"write group {group.id}"
        version = previous.version if previous else 0
        state = {
            **_key(f"group#{group.id}", "state"),
            "version": {"N": str(version + 1)},
            "content": _packed(msgspec.structs.replace(group, version=version + 1), what),
        }
        actions = [
            self._put_after(version, state),
            *(self._delete(_due_key(notice), must_exist=True) for notice in absorbed),
            *(
                self._put({**_due_key(message), "content": _packed(message, what)})
                for message in notifications
            ),
        ]
        if group.due_at:
            actions.append(self._put(_turn_key(group.due_at, group)))
        if previous and previous.due_at and previous.due_at != group.due_at:
            actions.append(self._delete(_turn_key(previous.due_at, group)))
        if audit:
            actions.append(self._put(self._audit_item(audit)))
        _complain(what, self._transact(what, actions))

    def told(self, notification: Notification, at: datetime) -> None:
        """Mark a notification as published: one TransactWriteItems."""
        what = f"keep notification {notification.id}"
        made = _iso(notification.made_at)
        row = {
            **_key(f"group#{notification.group}", f"notification#{made}#{notification.id}"),
            "content": _packed(notification, what),
            "told_at": {"S": _iso(at)},
            "expires_at": _expiry(notification.made_at, self._audit_days),
        }
        actions = [self._delete(_due_key(notification)), self._put(row)]
        _complain(what, self._transact(what, actions))

    def sources(self, endpoint: str) -> Sequence[InhibitionSource]:
        """What hides others at a place: one Query, consistent.

        ``endpoint`` is ``account#region#endpoint``; the schedule's name stands for one that has none.
        """
        items = self._query(pk=f"endpoint#{endpoint}")
        return [
            source for item in items for source in _unpacked(tuple[InhibitionSource, ...], item)
        ]

    def silences(self, now: datetime) -> Sequence[Silence]:
        """Silences that have not ended, by id: one Query, consistent."""
        items = self._query(
            KeyConditionExpression="pk = :pk",
            FilterExpression="ends_at > :now",
            ExpressionAttributeValues={":pk": {"S": "silences"}, ":now": {"S": _iso(now)}},
            ConsistentRead=True,
        )
        return [_unpacked(Silence, item) for item in items]

    def keep_silence(self, silence: Silence, audit: AuditEntry) -> None:
        """Write a silence, or one with the same id anew: one TransactWriteItems."""
        what = f"keep silence {silence.id}"
        row = {
            **_key("silences", silence.id),
            "content": _packed(silence, what),
            "ends_at": {"S": _iso(silence.ends_at)},
            "expires_at": _expiry(silence.ends_at, 0),
        }
        _complain(what, self._transact(what, [self._put(row), self._put(self._audit_item(audit))]))

    def audit(self, subject: str, limit: int) -> Sequence[AuditEntry]:
        """Audit entries of a ledger, group or silence, newest first: one Query per MB."""
        entries: list[AuditEntry] = []
        for item in self._query(pk=f"audit#{subject}", ScanIndexForward=False, Limit=limit):
            entries.append(_unpacked(AuditEntry, item))
            if len(entries) == limit:
                break
        return entries

    def _run_item(self, record: RunRecord) -> _Item:
        values = recorded_values(record)
        del values["job_arn"], values["status"]
        values["findings"] = msgspec.json.encode(values["findings"]).decode()
        return {
            **_run_key(record.run.key),
            **{name: _typed(value) for name, value in values.items()},
            "expires_at": _expiry(record.recorded_at, self._record_days),
        }

    def _ledger_actions(
        self,
        ledger: Ledger,
        sources: Sequence[InhibitionSource] | None,
        notices: Sequence[Notice],
        audit: AuditEntry,
    ) -> list[_Item]:
        scope, what = ledger.scope, f"ledger of schedule {ledger.scope.schedule}"
        item = {
            **_ledger_key(ledger.id),
            "version": {"N": str(ledger.version + 1)},
            "content": _packed_ledger(
                msgspec.structs.replace(ledger, version=ledger.version + 1), what
            ),
            "endpoint": {"S": scope.endpoint},
            "schedule": {"S": scope.schedule},
        }
        if any(i.state is not IncidentState.RESOLVED for i in ledger.incidents.values()):
            item["listing"] = {"S": f"open#{ledger.id[0]}"}
        actions = [self._put_after(ledger.version, item)]
        if sources is not None:
            key = _key(f"endpoint#{scope.place}", f"source#{ledger.id}")
            actions.append(
                self._put({**key, "content": _packed(tuple(sources), what)})
                if sources
                else self._delete(key)
            )
        actions += [
            self._put({**_due_key(notice), "content": _packed(notice, f"notice {notice.id}")})
            for notice in notices
        ]
        return [*actions, self._put(self._audit_item(audit))]

    def _audit_item(self, entry: AuditEntry) -> _Item:
        return {
            **_key(f"audit#{entry.subject}", f"{_iso(entry.at)}#{entry.id}"),
            "content": _packed(entry, f"audit entry {entry.id}"),
            "expires_at": _expiry(entry.at, self._audit_days),
        }

    def _put(self, item: _Item) -> _Item:
        return {"Put": {"TableName": self._table, "Item": item}}

    def _put_after(self, version: int, item: _Item) -> _Item:
        """Put an item in place of the one with this version; 0 is none at all."""
        put = self._put(item)
        if version:
            put["Put"]["ConditionExpression"] = "version = :version"
            put["Put"]["ExpressionAttributeValues"] = {":version": {"N": str(version)}}
        else:
            put["Put"]["ConditionExpression"] = "attribute_not_exists(pk)"
        return put

    def _delete(self, key: _Item, *, must_exist: bool = False) -> _Item:
        delete: _Item = {"TableName": self._table, "Key": key}
        if must_exist:
            delete["ConditionExpression"] = "attribute_exists(pk)"
        return {"Delete": delete}

    def _transact(self, what: str, actions: list[_Item]) -> tuple[str, ...]:
        """Write everything, or nothing: then the reasons come back, one code per action."""
        size = sum(
            len(action["Put"]["Item"].get("content", {"B": b""})["B"])
            for action in actions
            if "Put" in action
        )
        if len(actions) > MOST_ACTIONS or size > LARGEST_TRANSACTION:
            raise TooLargeToKeepError(
                f"{what}: {len(actions)} items with {size} bytes, a transaction takes "
                f"{MOST_ACTIONS} items and {LARGEST_TRANSACTION} bytes",
                remedy="Route this schedule's findings to fewer groups",
            )
        with translated(f"TransactWriteItems {self._table}: {what}"):
            try:
                client("dynamodb").transact_write_items(TransactItems=actions)
            except ClientError as error:
                if error.response["Error"]["Code"] != "TransactionCanceledException":
                    raise
                reasons = error.response.get("CancellationReasons", [])
                return tuple(str(reason.get("Code", "")) for reason in reasons) or ("unknown",)
        return ()

    def _get(self, key: _Item) -> _Item | None:
        with translated(f"GetItem {self._table}"):
            answer: _Item = client("dynamodb").get_item(
                TableName=self._table, Key=key, ConsistentRead=True
            )
        return answer.get("Item")

    def _batch_get(self, keys: Sequence[_Item], attributes: str) -> Iterator[_Item]:
        """Read items, in no order; what DynamoDB leaves out (16 MB, throttling) is asked for again."""
        waits = iter(_WAITS)
        while keys:
            asked = {"Keys": keys, "ConsistentRead": True, "ProjectionExpression": attributes}
            with translated(f"BatchGetItem {self._table}"):
                answer = client("dynamodb").batch_get_item(RequestItems={self._table: asked})
            yield from answer["Responses"].get(self._table, [])
            left = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
            if len(left) == len(keys):
                wait = next(waits, None)
                if wait is None:
                    raise ThrottledError(f"BatchGetItem {self._table}: nothing was read")
                time.sleep(wait)
            keys = left

    def _query(self, *, pk: str = "", **arguments: Any) -> Iterator[_Item]:
        """Read all pages; of one partition, consistently, if ``pk`` is given."""
        if pk:
            arguments |= {
                "KeyConditionExpression": "pk = :pk",
                "ExpressionAttributeValues": {":pk": {"S": pk}},
                "ConsistentRead": True,
            }
        while True:
            with translated(f"Query {self._table}"):
                page = client("dynamodb").query(TableName=self._table, **arguments)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def recorded_values(record: RunRecord) -> dict[str, Any]:
    """What is kept of a run, as plain values by attribute name; empty texts are left out."""
    run, reading = record.run, record.reading
    texts = {
        "job_arn": run.job_arn,
        "status": run.status,
        "outcome": reading.outcome.value,
        "monitor": reading.monitor.value,
        "endpoint": run.endpoint,
        "schedule": run.schedule,
        "report_uri": run.report_uri,
        "window_start": run.window_start,
        "window_end": run.window_end,
        "ledger": record.ledger,
        "policy_version": record.policy_version,
        "retraining": record.retraining.reason.value,
        "pipeline_execution_arn": record.retraining.execution_arn,
        "recorded_at": record.recorded_at.isoformat(),
    }
    values: dict[str, Any] = {name: value for name, value in texts.items() if value}
    values["reasons"] = [reason.value for reason in reading.reasons]
    values["evidence"] = list(reading.evidence)
    values["findings"] = brief_findings(reading)
    values["finding_count"] = len(reading.findings)
    values["judgements"] = dict(Counter(j.reason.value for j in record.judgements))
    if reading.rows is not None:
        values["rows"] = reading.rows
    return values


def _complain(what: str, cancelled: tuple[str, ...]) -> None:
    """Raise what a cancelled transaction means; nothing was cancelled without codes."""
    codes = {code for code in cancelled if code not in ("", "None")}
    if not cancelled:
        return
    if codes & {_FAILED_CONDITION, "TransactionConflict"}:
        raise ConflictError(f"{what}: somebody else wrote in between ({', '.join(sorted(codes))})")
    if codes & _SLOW_DOWN:
        raise ThrottledError(f"{what}: {', '.join(sorted(codes))}")
    raise RejectedRequestError(f"{what}: cancelled: {', '.join(sorted(codes))}")


def _key(pk: str, sk: str) -> _Item:
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def _run_key(run_key: str) -> _Item:
    arn, _, status = run_key.rpartition("#")
    return _key(f"run#{arn}", status)


def _ledger_key(ledger_id: str) -> _Item:
    return _key(f"ledger#{ledger_id}", "ledger")


def _due_key(row: Notice | Notification) -> _Item:
    if isinstance(row, Notice):
        return _key("due", f"{_iso(row.due_at)}#notice#{row.id}")
    return _key("due", f"{_iso(row.made_at)}#notification#{row.id}")


def _turn_key(at: datetime, group: Group) -> _Item:
    return _key("due", f"{_iso(at)}#group#{group.id}")


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def _expiry(at: datetime, days: int) -> _Item:
    return {"N": str(int((at + timedelta(days=days)).timestamp()))}


def _packed(value: object, what: str) -> _Item:
    plain = msgspec.msgpack.encode(value)
    content = zlib.compress(plain, 1)
    if len(content) > LARGEST_CONTENT:
        content = zlib.compress(plain, 9)
    if len(content) > LARGEST_CONTENT:
        raise TooLargeToKeepError(
            f"{what} takes {len(content)} bytes, an item holds {LARGEST_CONTENT}",
            remedy="Raise thresholds or mute checks, so that fewer findings are kept at once",
        )
    return {"B": content}


def _unpacked(kind: type[T], item: _Item) -> T:
    value: T = _decoder(cast(Any, kind)).decode(zlib.decompress(item["content"]["B"]))
    return value


@cache
def _decoder(kind: Any) -> Any:
    return msgspec.msgpack.Decoder(kind)


def _packed_ledger(ledger: Ledger, what: str) -> _Item:
    """Pack a ledger, its incidents by columns: alike beside alike deflates to a fifth less."""
    incidents = list(ledger.incidents.values())
    columns = {
        name: [getattr(incident, name) for incident in incidents]
        for name in Incident.__struct_fields__
    }
    return _packed((msgspec.structs.replace(ledger, incidents={}), columns), what)


def _unpacked_ledger(content: bytes) -> Ledger:
    plain, columns = msgspec.msgpack.decode(zlib.decompress(content))
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return msgspec.convert({**plain, "incidents": {row["id"]: row for row in rows}}, Ledger)


def _typed(value: Any) -> _Item:
    """A plain value as DynamoDB writes it: texts, whole numbers, lists and maps of them."""
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, int):
        return {"N": str(value)}
    if isinstance(value, Mapping):
        return {"M": {name: _typed(inner) for name, inner in value.items()}}
    if isinstance(value, Iterable):
        return {"L": [_typed(inner) for inner in value]}
    raise TypeError(f"{type(value).__name__} is not kept in a run's attributes")


def _plain(value: _Item) -> Any:
    ((kind, inner),) = value.items()
    if kind == "M":
        return {name: _plain(part) for name, part in inner.items()}
    if kind == "L":
        return [_plain(part) for part in inner]
    return int(inner) if kind == "N" else inner
