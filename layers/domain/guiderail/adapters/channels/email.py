"""SES: an email with HTML, plain text and pictures (Amazon SES API v2 reference, SendEmail)."""

from __future__ import annotations

from guiderail.adapters.clients import ONE_TRY, client, translated
from guiderail.errors import ChannelRefusedError
from guiderail.model.delivery import Receipt
from guiderail.model.message import Notification, Rendering
from guiderail.model.policy import Channel
from guiderail.rendering import html_email


def send(channel: Channel, notification: Notification, rendering: Rendering) -> Receipt:
    """Send the email; SES has no key against repeats."""
    content = html_email.render(notification, rendering)
    try:
        raw = html_email.mime_bytes(content, channel.sender, channel.to)
    except ValueError as error:
        raise ChannelRefusedError(
            f"Channel {channel.name}: sender or addressees are no email addresses",
            remedy="Write them as name@domain in the policy",
        ) from error
    with translated(f"SendEmail from {channel.sender}"):
        answer = client("sesv2", *ONE_TRY).send_email(
            FromEmailAddress=channel.sender,
            Destination={"ToAddresses": list(channel.to)},
            Content={"Raw": {"Data": raw}},
        )
    return Receipt(id=str(answer["MessageId"]))
