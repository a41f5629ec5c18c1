"""Sends messages over their channels, from the queue ``DeliveriesQueue``."""

from __future__ import annotations

from typing import Any

from guiderail.bootstrap import deliver
from guiderail.message_batch import failed_messages

AT_ONCE = 4
"""As many as a batch holds: a channel that hangs holds up no other message of it."""


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Handle a batch of messages; those that must come again are named in the answer."""
    batch = deliver().batch([record["body"] for record in event["Records"]])
    return failed_messages(event, batch, at_once=AT_ONCE)
