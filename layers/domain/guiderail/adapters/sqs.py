"""SQS: dead letters with their reason, and the queue of deliveries."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from guiderail.adapters.clients import client, translated
from guiderail.errors import GuiderailError, UnavailableError
from guiderail.model.delivery import DeliveryRef

_MOST_AT_ONCE = 10
"""Messages of one SendMessageBatch."""


class SqsDeadLetters:
    """Implements DeadLetters on a dead-letter queue."""

    def __init__(self, queue_url: str) -> None:
        """Keep messages in this queue."""
        self._queue_url = queue_url

    def put(self, body: str, error: GuiderailError) -> None:
        """Send the message on; attributes say why it is there and what to do."""
        attributes = {
            "reason": error.code,
            "error": str(error)[:1024],
            "remedy": error.remedy[:1024],
        }
        with translated(f"SendMessage {self._queue_url}"):
            client("sqs").send_message(
                QueueUrl=self._queue_url,
                MessageBody=body,
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value}
                    for name, value in attributes.items()
                    if value
                },
            )


class SqsDeliveryQueue:
    """Implements DeliveryQueue."""

    def __init__(self, queue_url: str) -> None:
        """Wake ``deliver`` through this queue."""
        self._queue_url = queue_url

    def put(self, refs: Sequence[DeliveryRef], delay: float = 0.0) -> None:
        """Send each as a message: one SendMessageBatch for ten."""
        for start in range(0, len(refs), _MOST_AT_ONCE):
            entries = [
                {
                    "Id": str(number),
                    "MessageBody": msgspec.json.encode(ref).decode(),
                    "DelaySeconds": min(900, math.ceil(delay)),
                }
                for number, ref in enumerate(refs[start : start + _MOST_AT_ONCE])
            ]
            with translated(f"SendMessageBatch {self._queue_url}"):
                answer = client("sqs").send_message_batch(QueueUrl=self._queue_url, Entries=entries)
            if failed := answer.get("Failed"):
                codes = ", ".join(sorted({entry["Code"] for entry in failed}))
                raise UnavailableError(
                    f"SendMessageBatch {self._queue_url}: {len(failed)} not taken: {codes}"
                )
