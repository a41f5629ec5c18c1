"""DynamoDB: runs, ledgers, groups and what waits to be told, in one table.

=============  =======================================  ===============================================
what           pk                                       sk, and attributes besides ``content``
=============  =======================================  ===============================================
run            ``run#<job ARN>``                        ``<status>``; plain attributes, no content
ledger         ``ledger#<id>``                          ``ledger``; version, endpoint, schedule, listing
notice         ``due``                                  ``<due time>#notice#<id>``
group's turn   ``due``                                  ``<due time>#group#<id>``; no content
digest row     ``due``                                  ``<digest time>#digest#<id>``; a notification
route's rate   ``route#<name>``                         ``<start of its window>``; sent
group          ``group#<id>``                           ``state``; version
source         ``endpoint#<account>#<region>#<name>``   ``source#<ledger id>``
silence        ``silences``                             ``<id>``; ends_at
audit entry    ``audit#<subject>``                      ``<time>#<id>``
=============  =======================================  ===============================================

The outbox is beside it: ``dynamo_deliveries``. ``listing`` is there while an incident of the ledger is not
resolved; the index ``ByListing`` finds these ledgers in 16 parts.
"""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec

from guiderail.adapters.dynamo_deliveries import audit_item, digest_key, outgoing_actions
from guiderail.adapters.dynamo_remediations import remediation_actions, wake_action
from guiderail.adapters.dynamo_table import (
    FAILED_CONDITION,
    Item,
    Table,
    complain,
    expiry,
    iso,
    item_key,
    packed,
    unpacked,
)
from guiderail.model.delivery import Outgoing
from guiderail.model.incident import Incident, IncidentState, Ledger
from guiderail.model.message import Notification
from guiderail.model.notice import (
    AuditEntry,
    Group,
    InhibitionSource,
    Notice,
    Silence,
)
from guiderail.model.outcome import Outcome
from guiderail.model.record import RunRecord
from guiderail.model.remediation import Remediation
from guiderail.ports import MOST_DUE, Due, Wake
from guiderail.services.alerting import recorded_values

INDEX = "ByListing"
"""The index of ledgers with an incident that is not resolved."""

_NOT_RECORDED = "attribute_not_exists(pk) OR (outcome = :unreadable AND outcome <> :outcome)"
"""A run recorded as unreadable may be replaced by what it turned out to be."""

_APART = 0.1
"""Seconds over which those spread that want to write the same ledger."""

_LEDGERS_AT_ONCE = 25
_RATE_DAYS = 8
"""Longer than any rate window."""

_NOTICE = msgspec.msgpack.Decoder(Notice)
_NOTIFICATION = msgspec.msgpack.Decoder(Notification)
_GROUP = msgspec.msgpack.Decoder(Group)
_SILENCE = msgspec.msgpack.Decoder(Silence)
_AUDIT_ENTRY = msgspec.msgpack.Decoder(AuditEntry)
_SOURCES = msgspec.msgpack.Decoder(tuple[InhibitionSource, ...])
_LEDGER = msgspec.msgpack.Decoder(Ledger)
"""Never asked itself: with it msgspec knows the type before threads convert to it."""


class DynamoIncidents:
    """Implements Incidents; each method says which calls it makes."""

    def __init__(self, table: str, record_days: int, audit_days: int) -> None:
        """Keep runs for ``record_days``, audit entries and told notifications for ``audit_days``.

        The table's TTL attribute is ``expires_at``; ledgers and groups do not expire.
        """
        self._table = Table(table)
        self._record_days = record_days
        self._audit_days = audit_days

    def recall(self, run_key: str, ledger_id: str) -> tuple[Outcome | None, Ledger | None]:
        """The recorded outcome of a run and the ledger: one BatchGetItem.

        Read consistently: a duplicate may follow within milliseconds.
        """
        keys = [_run_key(run_key), *([_ledger_key(ledger_id)] if ledger_id else [])]
        outcome, ledger = None, None
        for item in self._table.batch_get(keys, "pk, outcome, content"):
            if "outcome" in item:
                outcome = Outcome(item["outcome"]["S"])
            else:
                ledger = _unpacked_ledger(item["content"]["B"])
        return outcome, ledger

    def run(self, job_arn: str) -> Mapping[str, Any] | None:
        """What is recorded of a job's newest run: one Query."""
        items = [_plain({"M": item}) for item in self._table.query(pk=f"run#{job_arn}")]
        if not items:
            return None
        values: dict[str, Any] = max(items, key=lambda item: str(item["recorded_at"]))
        del values["pk"], values["expires_at"]
        values["job_arn"], values["status"] = job_arn, values.pop("sk")
        values["findings"] = msgspec.json.decode(values["findings"])
        return values

    def ledger(self, ledger_id: str) -> Ledger | None:
        """Read a ledger: one GetItem, consistent."""
        item = self._table.get(_ledger_key(ledger_id))
        return _unpacked_ledger(item["content"]["B"]) if item else None

    def firing_ledgers(self) -> Iterator[Ledger]:
        """Ledgers with an incident that is not resolved: 16 Query, one BatchGetItem per 25 ledgers.

        The index follows the table within a second or so; the ledgers themselves are as they are now.
        """
        for part in range(16):
            listed = [
                {"pk": item["pk"], "sk": item["sk"]}
                for item in self._table.query(
                    IndexName=INDEX,
                    KeyConditionExpression="listing = :listing",
                    ExpressionAttributeValues={":listing": {"S": f"open#{part:x}"}},
                )
            ]
            for start in range(0, len(listed), _LEDGERS_AT_ONCE):
                keys = listed[start : start + _LEDGERS_AT_ONCE]
                for item in self._table.batch_get(keys, "content"):
                    yield _unpacked_ledger(item["content"]["B"])

    def commit_run(
        self,
        record: RunRecord,
        ledger: Ledger,
        sources: Sequence[InhibitionSource] | None,
        notices: Sequence[Notice],
        audit: AuditEntry,
        requests: Sequence[Remediation] = (),
        wakes: Sequence[Wake] = (),
    ) -> bool:
        """Record a run with all that follows from it: one TransactWriteItems."""
        what = f"record {record.run.key}"
        run = {
            "Put": {
                "TableName": self._table.name,
                "Item": self._run_item(record),
                "ConditionExpression": _NOT_RECORDED,
                "ExpressionAttributeValues": {
                    ":unreadable": {"S": Outcome.UNREADABLE.value},
                    ":outcome": {"S": record.reading.outcome.value},
                },
            }
        }
        actions = [run, *self._ledger_actions(ledger, sources, notices, audit)]
        for request in requests:
            actions += remediation_actions(self._table, None, request, self._audit_days)
        actions += [wake_action(self._table, wake) for wake in wakes]
        cancelled = self._table.transact(what, actions)
        if cancelled and cancelled[0] == FAILED_CONDITION:
            return False
        if cancelled:
            # runs of one schedule that end together must not meet again at once
            time.sleep(random.uniform(0, _APART))
        complain(what, cancelled)
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
        complain(what, self._table.transact(what, actions))

    def due(self, until: datetime) -> Due:
        """What waits and is due, oldest first: one consistent Query per 1 MB, up to ``MOST_DUE`` rows."""
        rows = self._table.query(
            KeyConditionExpression="pk = :due AND sk < :until",
            # "$" follows "#": all rows of this very moment come before
            ExpressionAttributeValues={":due": {"S": "due"}, ":until": {"S": f"{iso(until)}$"}},
            ConsistentRead=True,
            Limit=MOST_DUE,
        )
        notices, groups, digested = [], [], []
        for item in islice(rows, MOST_DUE):
            at, kind, row = item["sk"]["S"].split("#", 2)
            if kind == "group":
                groups.append(row)
            elif kind == "notice":
                notices.append(unpacked(_NOTICE, item))
            else:
                waits = unpacked(_NOTIFICATION, item)
                digest_at = datetime.fromisoformat(at)
                digested.append(Outgoing(notification=waits, digest_at=digest_at))
        return Due(tuple(notices), tuple(groups), tuple(digested))

    def group(self, group_id: str) -> Group | None:
        """Read a group: one GetItem, consistent."""
        item = self._table.get(item_key(f"group#{group_id}", "state"))
        return unpacked(_GROUP, item) if item else None

    def commit_group(
        self,
        previous: Group | None,
        group: Group,
        absorbed: Sequence[Notice],
        outgoing: Sequence[Outgoing],
        audit: AuditEntry | None,
    ) -> None:
        """Keep a group after ``previous``: one TransactWriteItems.

        Raises ConflictError also if a notice is not there any more: somebody else absorbed it.
        """
        what = f"write group {group.id}"
        version = previous.version if previous else 0
        state = {
            **item_key(f"group#{group.id}", "state"),
            "version": {"N": str(version + 1)},
            "content": packed(msgspec.structs.replace(group, version=version + 1), what),
        }
        actions = [
            self._table.put_after(version, state),
            *(self._table.delete(_due_key(notice), must_exist=True) for notice in absorbed),
            *(action for one in outgoing for action in self._outgoing(one)),
        ]
        if group.due_at:
            actions.append(self._table.put(_turn_key(group.due_at, group)))
        if previous and previous.due_at and previous.due_at != group.due_at:
            actions.append(self._table.delete(_turn_key(previous.due_at, group)))
        if audit:
            actions.append(self._table.put(audit_item(audit, self._audit_days)))
        complain(what, self._table.transact(what, actions))

    def commit_digest(self, outgoing: Outgoing, instead_of: Sequence[Outgoing]) -> None:
        """Keep a digest, and forget what it stands for: one TransactWriteItems."""
        what = f"keep digest {outgoing.notification.id}"
        actions = [
            *self._outgoing(outgoing),
            *(self._table.delete(digest_key(one), must_exist=True) for one in instead_of),
        ]
        complain(what, self._table.transact(what, actions))

    def sent(self, route: str, window: datetime) -> int:
        """How many messages a route sent in a window: one GetItem."""
        item = self._table.get(item_key(f"route#{route}", iso(window)))
        return int(item["sent"]["N"]) if item else 0

    def sources(self, endpoint: str) -> Sequence[InhibitionSource]:
        """What hides others at a place: one Query, consistent.

        ``endpoint`` is ``account#region#endpoint``; the schedule's name stands for one that has none.
        """
        items = self._table.query(pk=f"endpoint#{endpoint}")
        return [source for item in items for source in unpacked(_SOURCES, item)]

    def silences(self, now: datetime) -> Sequence[Silence]:
        """Silences that have not ended, by id: one Query, consistent."""
        items = self._table.query(
            KeyConditionExpression="pk = :pk",
            FilterExpression="ends_at > :now",
            ExpressionAttributeValues={":pk": {"S": "silences"}, ":now": {"S": iso(now)}},
            ConsistentRead=True,
        )
        return [unpacked(_SILENCE, item) for item in items]

    def keep_silence(self, silence: Silence, audit: AuditEntry) -> None:
        """Write a silence, or one with the same id anew: one TransactWriteItems."""
        what = f"keep silence {silence.id}"
        row = {
            **item_key("silences", silence.id),
            "content": packed(silence, what),
            "ends_at": {"S": iso(silence.ends_at)},
            "expires_at": expiry(silence.ends_at, 0),
        }
        complain(
            what,
            self._table.transact(
                what, [self._table.put(row), self._table.put(audit_item(audit, self._audit_days))]
            ),
        )

    def audit(self, subject: str, limit: int) -> Sequence[AuditEntry]:
        """Audit entries of a ledger, group or silence, newest first: one Query per MB."""
        items = self._table.query(pk=f"audit#{subject}", ScanIndexForward=False, Limit=limit)
        return [unpacked(_AUDIT_ENTRY, item) for item in islice(items, limit)]

    def _run_item(self, record: RunRecord) -> Item:
        values = recorded_values(record)
        del values["job_arn"], values["status"]
        values["findings"] = msgspec.json.encode(values["findings"]).decode()
        return {
            **_run_key(record.run.key),
            **{name: _typed(value) for name, value in values.items()},
            "expires_at": expiry(record.recorded_at, self._record_days),
        }

    def _outgoing(self, outgoing: Outgoing) -> list[Item]:
        actions = outgoing_actions(self._table, outgoing, self._audit_days)
        if outgoing.window:
            actions.append(
                {
                    "Update": {
                        "TableName": self._table.name,
                        "Key": item_key(
                            f"route#{outgoing.notification.route}", iso(outgoing.window)
                        ),
                        "UpdateExpression": "ADD sent :one SET expires_at = :expiry",
                        "ExpressionAttributeValues": {
                            ":one": {"N": "1"},
                            ":expiry": expiry(outgoing.window, _RATE_DAYS),
                        },
                    }
                }
            )
        return actions

    def _ledger_actions(
        self,
        ledger: Ledger,
        sources: Sequence[InhibitionSource] | None,
        notices: Sequence[Notice],
        audit: AuditEntry,
    ) -> list[Item]:
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
        actions = [self._table.put_after(ledger.version, item)]
        if sources is not None:
            key = item_key(f"endpoint#{scope.place}", f"source#{ledger.id}")
            actions.append(
                self._table.put({**key, "content": packed(tuple(sources), what)})
                if sources
                else self._table.delete(key)
            )
        actions += [
            self._table.put({**_due_key(notice), "content": packed(notice, f"notice {notice.id}")})
            for notice in notices
        ]
        return [*actions, self._table.put(audit_item(audit, self._audit_days))]


def _run_key(run_key: str) -> Item:
    arn, _, status = run_key.rpartition("#")
    return item_key(f"run#{arn}", status)


def _ledger_key(ledger_id: str) -> Item:
    return item_key(f"ledger#{ledger_id}", "ledger")


def _due_key(notice: Notice) -> Item:
    return item_key("due", f"{iso(notice.due_at)}#notice#{notice.id}")


def _turn_key(at: datetime, group: Group) -> Item:
    return item_key("due", f"{iso(at)}#group#{group.id}")


def _packed_ledger(ledger: Ledger, what: str) -> Item:
    """Pack a ledger, its incidents by columns: alike beside alike deflates to a fifth less."""
    incidents = list(ledger.incidents.values())
    columns = {
        name: [getattr(incident, name) for incident in incidents]
        for name in Incident.__struct_fields__
    }
    return packed((msgspec.structs.replace(ledger, incidents={}), columns), what)


def _unpacked_ledger(content: bytes) -> Ledger:
    plain, columns = msgspec.msgpack.decode(zlib.decompress(content))
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return msgspec.convert({**plain, "incidents": {row["id"]: row for row in rows}}, Ledger)


def _typed(value: Any) -> Item:
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


def _plain(value: Item) -> Any:
    ((kind, inner),) = value.items()
    if kind == "M":
        return {name: _plain(part) for name, part in inner.items()}
    if kind == "L":
        return [_plain(part) for part in inner]
    return int(inner) if kind == "N" else inner
