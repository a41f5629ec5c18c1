"""DynamoDB: the outbox, channels, reply tokens and feedback, in the table of ``dynamodb``.

=============  =======================================  ===============================================
what           pk                                       sk, and attributes besides ``content``
=============  =======================================  ===============================================
message        ``message#<id>``                         ``message``
delivery       ``deliveries#<day made>``                ``<time made>#<id>``; version, state
and its turn   ``due#deliveries``                       ``<time made>#<id>``; look_at, a DeliveryRef
channel        ``channel#<name>``                       ``state``; version
thread         ``thread#<channel>``                     ``<group>#<episode>``
reply token    ``reply#<SHA-256>``                      ``token``; used_at, used_by
feedback       ``feedback``                             ``<id>``; said_at
=============  =======================================  ===============================================
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice

import msgspec
from msgspec.structs import replace

from guiderail.adapters.clients import client, translated
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
from guiderail.errors import AlreadyExistsError, ConflictError
from guiderail.model.delivery import (
    ChannelState,
    Delivery,
    DeliveryRef,
    DeliveryState,
    Feedback,
    Outgoing,
    ReplyToken,
    ref_of,
)
from guiderail.model.message import Notification, Thread
from guiderail.model.notice import AuditEntry
from guiderail.ports import MOST_OVERDUE, Remembered

_THREAD_DAYS = 30
"""Longer than an episode that nobody hears of any more."""

_TOKEN_DAYS = 30
"""Days that a token is known after it expired: it is then refused as expired, not as unknown."""

_DELIVERY = msgspec.msgpack.Decoder(Delivery)
_NOTIFICATION = msgspec.msgpack.Decoder(Notification)
_CHANNEL_STATE = msgspec.msgpack.Decoder(ChannelState)
_THREAD = msgspec.msgpack.Decoder(Thread)
_DELIVERY_REF = msgspec.msgpack.Decoder(DeliveryRef)
_REPLY_TOKEN = msgspec.msgpack.Decoder(ReplyToken)
_FEEDBACK = msgspec.msgpack.Decoder(Feedback)


class DynamoDeliveries:
    """Implements Deliveries and ReplyTokens; each method says which calls it makes."""

    def __init__(self, table: str, audit_days: int) -> None:
        """Keep deliveries and messages for ``audit_days``."""
        self._table = Table(table)
        self._audit_days = audit_days

    def recall_deliveries(self, refs: Sequence[DeliveryRef]) -> Mapping[str, Remembered]:
        """Deliveries and what is read beside them: one BatchGetItem, consistent, for up to 25."""
        keys = {
            _flat(key): key
            for ref in refs
            for key in (
                _delivery_key(ref.made_at, ref.id),
                _message_key(ref.notification),
                _channel_key(ref.channel),
                _thread_key(ref.channel, ref.thread),
            )
        }
        found = {
            _flat(item): item
            for item in self._table.batch_get(list(keys.values()), "pk, sk, content")
        }
        known = {}
        for ref in refs:
            delivery = found.get(_flat(_delivery_key(ref.made_at, ref.id)))
            message = found.get(_flat(_message_key(ref.notification)))
            channel = found.get(_flat(_channel_key(ref.channel)))
            thread = found.get(_flat(_thread_key(ref.channel, ref.thread)))
            if delivery and message:
                known[ref.id] = Remembered(
                    unpacked(_DELIVERY, delivery),
                    unpacked(_NOTIFICATION, message),
                    unpacked(_CHANNEL_STATE, channel) if channel else ChannelState(),
                    unpacked(_THREAD, thread) if thread else None,
                )
        return known

    def claim(
        self,
        before: Delivery,
        after: Delivery,
        ref: DeliveryRef,
        tokens: Sequence[ReplyToken] = (),
        thread: Thread | None = None,
    ) -> Delivery:
        """Keep a delivery as being sent, with its tokens: one TransactWriteItems."""
        kept = [
            self._table.put(
                {
                    **item_key(f"reply#{token.digest}", "token"),
                    "content": packed(token, "reply token"),
                    "expires_at": expiry(token.expires_at, _TOKEN_DAYS),
                }
            )
            for token in tokens
        ]
        what = f"claim delivery {after.id}"
        actions = [*self._actions(before, after, ref), *kept]
        if thread is not None:
            actions.append(self._put_thread(after, ref, thread))
        complain(what, self._table.transact(what, actions))
        return replace(after, version=before.version + 1)

    def keep(
        self,
        before: Delivery,
        after: Delivery,
        ref: DeliveryRef,
        thread: Thread | None = None,
        instead: Sequence[Outgoing] = (),
    ) -> Delivery:
        """Keep what became of a delivery: one TransactWriteItems.

        Two where a newer message was faster in the channel's thread, which then stays as it is.
        """
        what = f"keep delivery {after.id}"
        actions = self._actions(before, after, ref)
        for outgoing in instead:
            actions += outgoing_actions(self._table, outgoing, self._audit_days, with_message=False)
        if thread is not None:
            put = self._put_thread(after, ref, thread)
            cancelled = self._table.transact(what, [*actions, put])
            if not cancelled:
                return replace(after, version=before.version + 1)
            if cancelled[-1] != FAILED_CONDITION or set(cancelled[:-1]) - {"None", ""}:
                complain(what, cancelled)
        complain(what, self._table.transact(what, actions))
        return replace(after, version=before.version + 1)

    def keep_channel(self, name: str, state: ChannelState) -> None:
        """Keep a channel's state: one TransactWriteItems, of one item."""
        what = f"keep channel {name}"
        item = {
            **_channel_key(name),
            "version": {"N": str(state.version + 1)},
            "content": packed(replace(state, version=state.version + 1), what),
        }
        complain(what, self._table.transact(what, [self._table.put_after(state.version, item)]))

    def overdue(self, now: datetime) -> Sequence[DeliveryRef]:
        """Deliveries that have to be looked at: one Query per MB of those that are not over."""
        rows = self._table.query(
            KeyConditionExpression="pk = :pk",
            FilterExpression="look_at <= :now",
            ExpressionAttributeValues={":pk": {"S": "due#deliveries"}, ":now": {"S": iso(now)}},
            ConsistentRead=True,
        )
        return [unpacked(_DELIVERY_REF, item) for item in islice(rows, MOST_OVERDUE)]

    def look_later(self, ref: DeliveryRef, at: datetime) -> None:
        """Have a delivery looked at again at a time, unless it is over by now: one UpdateItem."""
        with suppress(AlreadyExistsError), translated(f"UpdateItem {self._table.name}: turn"):
            client("dynamodb").update_item(
                TableName=self._table.name,
                Key=_turn_key(ref),
                UpdateExpression="SET look_at = :at",
                ConditionExpression="attribute_exists(pk)",
                ExpressionAttributeValues={":at": {"S": iso(at)}},
            )

    def deliveries(
        self, since: datetime, until: datetime, states: Collection[DeliveryState] = ()
    ) -> Iterator[Delivery]:
        """Deliveries made within a time, oldest first: a Query for each day and each MB of it."""
        day = since.astimezone(UTC).date()
        while day <= until.astimezone(UTC).date():
            rows = self._table.query(
                KeyConditionExpression="pk = :pk AND sk BETWEEN :since AND :until",
                ExpressionAttributeValues={
                    ":pk": {"S": f"deliveries#{day}"},
                    ":since": {"S": iso(since)},
                    ":until": {"S": f"{iso(until)}$"},
                },
                ConsistentRead=True,
            )
            for item in rows:
                delivery = unpacked(_DELIVERY, item)
                if not states or delivery.state in states:
                    yield delivery
            day += timedelta(days=1)

    def deliveries_of(self, notification: str, made_at: datetime) -> Sequence[Delivery]:
        """The deliveries of one notification: one Query."""
        made = self.deliveries(made_at, made_at)
        return [delivery for delivery in made if delivery.notification == notification]

    def notification(self, notification_id: str) -> Notification | None:
        """Read a notification: one GetItem."""
        item = self._table.get(_message_key(notification_id))
        return unpacked(_NOTIFICATION, item) if item else None

    def send_test(self, outgoing: Outgoing) -> None:
        """Keep a notification that belongs to no group: one TransactWriteItems."""
        what = f"keep notification {outgoing.notification.id}"
        actions = outgoing_actions(self._table, outgoing, self._audit_days)
        complain(what, self._table.transact(what, actions))

    def token(self, digest: str) -> ReplyToken | None:
        """Read a token: one GetItem, consistent."""
        item = self._table.get(item_key(f"reply#{digest}", "token"))
        if item is None:
            return None
        token = unpacked(_REPLY_TOKEN, item)
        if "used_at" not in item:
            return token
        used_at = datetime.fromisoformat(item["used_at"]["S"])
        return replace(token, used_at=used_at, used_by=item["used_by"]["S"])

    def use(self, digest: str, by: str, at: datetime) -> bool:
        """Mark a token as used: one UpdateItem; False if it was used, or is not there."""
        with (
            suppress(AlreadyExistsError),
            translated(f"UpdateItem {self._table.name}: reply token"),
        ):
            client("dynamodb").update_item(
                TableName=self._table.name,
                Key=item_key(f"reply#{digest}", "token"),
                UpdateExpression="SET used_at = :at, used_by = :by",
                ConditionExpression="attribute_exists(pk) AND attribute_not_exists(used_at)",
                ExpressionAttributeValues={":at": {"S": iso(at)}, ":by": {"S": by or "unknown"}},
            )
            return True
        return False

    def keep_feedback(self, feedback: Feedback, audit: AuditEntry) -> None:
        """Keep feedback with its audit entry: one TransactWriteItems; the same id again changes nothing."""
        what = f"keep feedback {feedback.id}"
        row = {
            **item_key("feedback", feedback.id),
            "said_at": {"S": iso(feedback.at)},
            "content": packed(feedback, what),
            "expires_at": expiry(feedback.at, self._audit_days),
        }
        with suppress(ConflictError):
            actions = [
                self._table.put_after(0, row),
                self._table.put(audit_item(audit, self._audit_days)),
            ]
            complain(what, self._table.transact(what, actions))

    def feedback(self, since: datetime) -> Iterator[Feedback]:
        """What people called noise since a time, oldest first: one Query per MB."""
        rows = self._table.query(
            KeyConditionExpression="pk = :pk",
            FilterExpression="said_at >= :since",
            ExpressionAttributeValues={":pk": {"S": "feedback"}, ":since": {"S": iso(since)}},
        )
        yield from sorted((unpacked(_FEEDBACK, item) for item in rows), key=lambda f: (f.at, f.id))

    def keep_audit(self, entry: AuditEntry) -> None:
        """Keep an audit entry of something that changed nothing else: one TransactWriteItems."""
        what = f"keep audit entry {entry.id}"
        complain(
            what, self._table.transact(what, [self._table.put(audit_item(entry, self._audit_days))])
        )

    def _actions(self, before: Delivery, after: Delivery, ref: DeliveryRef) -> list[Item]:
        after = replace(after, version=before.version + 1)
        item = _delivery_item(after, self._audit_days)
        actions = [self._table.put_after(before.version, item)]
        if after.look_at:
            return [*actions, self._table.put(_turn_item(ref, after.look_at, self._audit_days))]
        return [*actions, self._table.delete(_turn_key(ref))]

    def _put_thread(self, delivery: Delivery, ref: DeliveryRef, thread: Thread) -> Item:
        """Put a thread in place of one with an older message."""
        row = {
            **_thread_key(delivery.channel, ref.thread),
            "number": {"N": str(thread.number)},
            "content": packed(thread, "thread"),
            "expires_at": expiry(delivery.made_at, _THREAD_DAYS),
        }
        put = self._table.put(row)
        put["Put"]["ConditionExpression"] = "attribute_not_exists(pk) OR #number <= :number"
        put["Put"]["ExpressionAttributeNames"] = {"#number": "number"}
        put["Put"]["ExpressionAttributeValues"] = {":number": row["number"]}
        return put


def outgoing_actions(
    table: Table, outgoing: Outgoing, days: int, *, with_message: bool = True
) -> list[Item]:
    """What writes a notification with its deliveries and their turns, or what keeps it for a digest."""
    message = outgoing.notification
    what = f"notification {message.id}"
    actions = []
    if outgoing.digest_at:
        row = {**digest_key(outgoing), "content": packed(message, what)}
        actions.append(table.put(row))
    if with_message:
        row = {
            **_message_key(message.id),
            "content": packed(message, what),
            "expires_at": expiry(message.made_at, days),
        }
        actions.append(table.put(row))
    for delivery in outgoing.deliveries:
        after = replace(delivery, version=1)
        actions.append(table.put_after(0, _delivery_item(after, days)))
        if after.look_at:
            turn = _turn_item(ref_of(after, message, after.made_at), after.look_at, days)
            actions.append(table.put(turn))
    return actions


def audit_item(entry: AuditEntry, days: int) -> Item:
    """An audit entry as it is kept for so many days."""
    return {
        **item_key(f"audit#{entry.subject}", f"{iso(entry.at)}#{entry.id}"),
        "content": packed(entry, f"audit entry {entry.id}"),
        "expires_at": expiry(entry.at, days),
    }


def digest_key(outgoing: Outgoing) -> Item:
    """Where a notification waits for its digest."""
    at = outgoing.digest_at or outgoing.notification.made_at
    return item_key("due", f"{iso(at)}#digest#{outgoing.notification.id}")


def _flat(item: Item) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


def _message_key(notification: str) -> Item:
    return item_key(f"message#{notification}", "message")


def _delivery_key(made_at: datetime, delivery: str) -> Item:
    day = made_at.astimezone(UTC).date()
    return item_key(f"deliveries#{day}", f"{iso(made_at)}#{delivery}")


def _delivery_item(delivery: Delivery, days: int) -> Item:
    return {
        **_delivery_key(delivery.made_at, delivery.id),
        "version": {"N": str(delivery.version)},
        "state": {"S": delivery.state.value},
        "content": packed(delivery, f"delivery {delivery.id}"),
        "expires_at": expiry(delivery.made_at, days),
    }


def _turn_key(ref: DeliveryRef) -> Item:
    return item_key("due#deliveries", f"{iso(ref.made_at)}#{ref.id}")


def _turn_item(ref: DeliveryRef, at: datetime, days: int) -> Item:
    return {
        **_turn_key(ref),
        "look_at": {"S": iso(at)},
        "content": packed(ref, "delivery's turn"),
        "expires_at": expiry(ref.made_at, days),
    }


def _channel_key(name: str) -> Item:
    return item_key(f"channel#{name}", "state")


def _thread_key(channel: str, thread: str) -> Item:
    return item_key(f"thread#{channel}", thread)
