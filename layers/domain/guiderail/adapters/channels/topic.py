"""SNS: the stack's topic, or another one (Amazon SNS API reference, Publish)."""

from __future__ import annotations

from guiderail.adapters.clients import ONE_TRY, client, translated
from guiderail.model.delivery import Receipt
from guiderail.model.message import Notification, Rendering
from guiderail.model.policy import Channel
from guiderail.rendering import plain_text


def send(
    channel: Channel, notification: Notification, rendering: Rendering, stack_topic: str
) -> Receipt:
    """Publish the text; SNS has no key against repeats on a standard topic."""
    topic = channel.target or stack_topic
    text = plain_text.render(notification, rendering)
    with translated(f"Publish {topic}"):
        answer = client("sns", *ONE_TRY).publish(
            TopicArn=topic,
            Subject=notification.subject,
            Message=text,
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in notification.attributes.items()
                if value
            },
        )
    return Receipt(id=str(answer["MessageId"]))
