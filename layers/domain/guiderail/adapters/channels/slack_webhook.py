"""Slack's incoming webhooks ("Sending messages using incoming webhooks", docs.slack.dev).

They post and nothing more: no thread, no update, no id of the message in the answer.
"""

from __future__ import annotations

import re

import msgspec

from guiderail.adapters.channels.http import check, exchange
from guiderail.adapters.secrets import Secret
from guiderail.errors import ChannelFailedError
from guiderail.model.delivery import Receipt
from guiderail.model.message import Notification, Rendering
from guiderail.model.policy import Channel
from guiderail.rendering import slack

_CODE = re.compile(r"[a-z_]{2,60}")
"""Slack's error texts are single words; anything else is not repeated."""


def send(
    channel: Channel, notification: Notification, rendering: Rendering, secret: Secret
) -> Receipt:
    """Post the message; the receipt is Slack's id of the request."""
    message = slack.webhook_message(notification, rendering)
    body = msgspec.json.encode(
        {
            "text": message.text,
            "blocks": message.blocks,
            "unfurl_links": False,
            "unfurl_media": False,
        }
    )
    answer = exchange(secret["url"], body, {"Content-Type": "application/json; charset=utf-8"})
    text = answer.text.strip()
    check(answer, text if _CODE.fullmatch(text) else "")
    if text != "ok":
        raise ChannelFailedError(
            f"{answer.host} answered {answer.status} without its ok", status=answer.status
        )
    receipt = answer.headers.get("x-slack-req-id") or answer.headers.get("x-slack-unique-id")
    return Receipt(id=receipt or "ok", status=answer.status)
