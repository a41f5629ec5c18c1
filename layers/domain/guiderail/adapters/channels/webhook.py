"""A webhook of the operator's own: versioned JSON, signed (docs/webhook.md)."""

from __future__ import annotations

from datetime import UTC, datetime

from guiderail.adapters.channels.http import post
from guiderail.adapters.secrets import Secret
from guiderail.model.delivery import Receipt, delivery_id
from guiderail.model.message import Notification, Rendering
from guiderail.model.policy import Channel
from guiderail.rendering import webhook


def send(
    channel: Channel, notification: Notification, rendering: Rendering, secret: Secret
) -> Receipt:
    """Post the document; the receipt is the delivery's id, by which the receiver drops a repeat."""
    delivery = delivery_id(notification.id, channel.name)
    body = webhook.render(notification, rendering)
    # the real time, whatever clock the notification was made by: the receiver compares it with its own
    headers = webhook.headers(delivery, body, secret["key"], datetime.now(UTC))
    answer = post(secret["url"], body, headers)
    return Receipt(id=delivery, status=answer.status)
