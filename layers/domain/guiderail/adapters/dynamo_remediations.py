"""DynamoDB: remediations and the guard they share, in the table of ``dynamodb``.

=============  =======================================  ===============================================
what           pk                                       sk, and attributes besides ``content``
=============  =======================================  ===============================================
remediation    ``remediations``                         ``<time requested>-<digest>``; version
wake           ``due#remediations``                     ``<time>#<remediation>``
handle         ``handle#<ARN or name>``                 ``remediation``; id
guard          ``guard``                                ``guard``; version
=============  =======================================  ===============================================
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice

import msgspec
from msgspec.structs import replace

from guiderail.adapters.clients import client, translated
from guiderail.adapters.dynamo_deliveries import audit_item, outgoing_actions
from guiderail.adapters.dynamo_table import (
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
from guiderail.model.notice import AuditEntry
from guiderail.model.remediation import Guard, Remediation
from guiderail.ports import MOST_WAKES, Wake

_HANDLE_DAYS = 90
"""Longer than anything that is awaited."""

_REMEDIATION = msgspec.msgpack.Decoder(Remediation)
_GUARD = msgspec.msgpack.Decoder(Guard)


class DynamoRemediations:
    """Implements Remediations; each method says which calls it makes."""

    def __init__(self, table: str, audit_days: int) -> None:
        """Keep remediations for ``audit_days``."""
        self._table = Table(table)
        self._audit_days = audit_days

    def remediation(self, remediation_id: str) -> Remediation | None:
        """Read a remediation: one GetItem, consistent."""
        item = self._table.get(_key(remediation_id))
        return unpacked(_REMEDIATION, item) if item else None

    def remediations(
        self, since: datetime, until: datetime, ledger: str = ""
    ) -> Iterator[Remediation]:
        """Remediations requested within a time, newest first: one Query per MB."""
        rows = self._table.query(
            KeyConditionExpression="pk = :pk AND sk BETWEEN :since AND :until",
            ExpressionAttributeValues={
                ":pk": {"S": "remediations"},
                ":since": {"S": f"{since.astimezone(UTC):%Y%m%dT%H%M%S}"},
                # "~" follows whatever a digest has
                ":until": {"S": f"{until.astimezone(UTC):%Y%m%dT%H%M%S}~"},
            },
            ConsistentRead=True,
            ScanIndexForward=False,
        )
        for item in rows:
            remediation = unpacked(_REMEDIATION, item)
            if ledger in ("", remediation.ledger):
                yield remediation

    def guard(self) -> Guard:
        """Read the guard: one GetItem, consistent."""
        item = self._table.get(item_key("guard", "guard"))
        return unpacked(_GUARD, item) if item else Guard()

    def keep_remediation(
        self,
        before: Remediation | None,
        after: Remediation,
        audit: AuditEntry | None = None,
        guard: Guard | None = None,
        outgoing: Sequence[Outgoing] = (),
        wake_at: datetime | None = None,
    ) -> Remediation:
        """Keep a remediation after the version it was read with: one TransactWriteItems.

        A transaction names an item once: a wake at the very time of the former ``look_at`` is due anyway.
        """
        what = f"keep remediation {after.id}"
        actions = remediation_actions(self._table, before, after, self._audit_days)
        if guard is not None:
            actions.append(self._guard_action(guard))
        if wake_at and wake_at not in (after.look_at, before and before.look_at):
            actions.append(wake_action(self._table, Wake(after.id, wake_at)))
        for one in outgoing:
            actions += outgoing_actions(self._table, one, self._audit_days)
        if audit:
            actions.append(self._table.put(audit_item(audit, self._audit_days)))
        complain(what, self._table.transact(what, actions))
        return replace(after, version=(before.version if before else 0) + 1)

    def keep_guard(self, guard: Guard, audit: AuditEntry) -> None:
        """Keep the guard alone: one TransactWriteItems."""
        what = "keep the guard of remediations"
        actions = [
            self._guard_action(guard),
            self._table.put(audit_item(audit, self._audit_days)),
        ]
        complain(what, self._table.transact(what, actions))

    def wakes(self, until: datetime) -> Sequence[Wake]:
        """What has to be woken by now, oldest first: one Query, consistent."""
        rows = self._table.query(
            KeyConditionExpression="pk = :pk AND sk < :until",
            # "$" follows "#": all rows of this very moment come before
            ExpressionAttributeValues={
                ":pk": {"S": "due#remediations"},
                ":until": {"S": f"{iso(until)}$"},
            },
            ConsistentRead=True,
            Limit=MOST_WAKES,
        )
        wakes = []
        for item in islice(rows, MOST_WAKES):
            at, remediation = item["sk"]["S"].split("#", 1)
            wakes.append(Wake(remediation, datetime.fromisoformat(at)))
        return wakes

    def woken(self, wake: Wake) -> None:
        """Forget a wake: one DeleteItem."""
        with translated(f"DeleteItem {self._table.name}: wake"):
            client("dynamodb").delete_item(TableName=self._table.name, Key=_wake_key(wake))

    def by_handle(self, handle: str) -> str | None:
        """The id of the remediation that awaits a handle: one GetItem."""
        item = self._table.get(_handle_key(handle))
        return item["id"]["S"] if item else None

    def _guard_action(self, guard: Guard) -> Item:
        kept = replace(guard, version=guard.version + 1)
        item = {
            **item_key("guard", "guard"),
            "version": {"N": str(kept.version)},
            "content": packed(kept, "the guard of remediations"),
        }
        return self._table.put_after(guard.version, item)


def remediation_actions(
    table: Table, before: Remediation | None, after: Remediation, days: int
) -> list[Item]:
    """What writes a remediation after the version it was read with, its wake and its handle."""
    version = before.version if before else 0
    kept = replace(after, version=version + 1)
    item = {
        **_key(after.id),
        "version": {"N": str(kept.version)},
        "content": packed(kept, f"remediation {after.id}"),
        "expires_at": expiry(after.requested_at, days),
    }
    actions = [table.put_after(version, item)]
    if before and before.look_at and before.look_at != after.look_at:
        actions.append(table.delete(_wake_key(Wake(after.id, before.look_at))))
    if after.look_at and not (before and before.look_at == after.look_at):
        actions.append(wake_action(table, Wake(after.id, after.look_at)))
    if after.handle and not (before and before.handle == after.handle):
        handle = {
            **_handle_key(after.handle),
            "id": {"S": after.id},
            "expires_at": expiry(after.requested_at, _HANDLE_DAYS),
        }
        actions.append(table.put(handle))
    return actions


def wake_action(table: Table, wake: Wake) -> Item:
    """What writes that a remediation has to be woken."""
    return table.put({**_wake_key(wake), "expires_at": expiry(wake.at, _HANDLE_DAYS)})


def _key(remediation: str) -> Item:
    return item_key("remediations", remediation)


def _wake_key(wake: Wake) -> Item:
    return item_key("due#remediations", f"{iso(wake.at)}#{wake.remediation}")


def _handle_key(handle: str) -> Item:
    return item_key(f"handle#{handle}", "remediation")
