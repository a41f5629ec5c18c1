"""EventBridge: the stack's bus (Amazon EventBridge API reference, PutEvents)."""

from __future__ import annotations

import msgspec

from guiderail.adapters.clients import ONE_TRY, client, translated
from guiderail.errors import ChannelFailedError, ChannelRefusedError
from guiderail.model.delivery import Receipt
from guiderail.model.message import Notification

SOURCE = "guiderail"

_PASSING = frozenset({"InternalFailure", "InternalException", "ThrottlingException"})
"""Errors of a single entry that pass; the call itself answers 200."""


def send(notification: Notification, bus: str) -> Receipt:
    """Put the event; a repeat has another event id and the same ``alert_id``."""
    detail = {**notification.detail, "alert_id": notification.id}
    with translated(f"PutEvents {bus}"):
        answer = client("events", *ONE_TRY).put_events(
            Entries=[
                {
                    "EventBusName": bus,
                    "Source": SOURCE,
                    "DetailType": notification.detail_type,
                    "Detail": msgspec.json.encode(detail).decode(),
                }
            ]
        )
    entry = answer["Entries"][0]
    if answer.get("FailedEntryCount") or not entry.get("EventId"):
        code = str(entry.get("ErrorCode", "no event id"))
        said = f"PutEvents {bus}: {code}: {entry.get('ErrorMessage', '')}"
        raise (ChannelFailedError if code in _PASSING else ChannelRefusedError)(said)
    return Receipt(id=str(entry["EventId"]))
