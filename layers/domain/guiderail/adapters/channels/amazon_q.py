"""Amazon Q Developer in chat applications: a custom notification through its SNS topic."""

from __future__ import annotations

import msgspec

from guiderail.adapters.clients import ONE_TRY, client, translated
from guiderail.model.delivery import Receipt
from guiderail.model.message import Notification, Rendering
from guiderail.model.policy import Channel
from guiderail.rendering import amazon_q


def send(channel: Channel, notification: Notification, rendering: Rendering) -> Receipt:
    """Publish the notification; SNS has no key against repeats on a standard topic."""
    document = msgspec.json.encode(amazon_q.render(notification, rendering)).decode()
    with translated(f"Publish {channel.target}"):
        answer = client("sns", *ONE_TRY).publish(TopicArn=channel.target, Message=document)
    return Receipt(id=str(answer["MessageId"]))
