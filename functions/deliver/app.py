"""Sends messages over their channels, from the queue ``DeliveriesQueue``."""

from __future__ import annotations

from typing import Any

from guiderail.bootstrap import deliver
from guiderail.message_batch import failed_messages


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Handle a batch of messages; those that must come again are named in the answer.

    Each has a thread: while some wait for their channels, the others are claimed or kept.
    """
    batch = deliver().batch([record["body"] for record in event["Records"]])
    return failed_messages(event, batch, at_once=len(event["Records"]))
