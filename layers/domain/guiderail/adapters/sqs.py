"""SQS: dead letters with their reason."""

from __future__ import annotations

from guiderail.adapters.clients import client, translated
from guiderail.errors import GuiderailError


class SqsDeadLetters:
    """Implements DeadLetters on the dead-letter queue of the reports queue."""

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
