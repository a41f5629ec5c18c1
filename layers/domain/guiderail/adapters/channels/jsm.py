"""Jira Service Management Operations: its integration events ("Integration Events API", Atlassian).

The alias makes a repeated create the same alert: trying again never doubles one. Requests are handled
after the answer; 202 says that one was valid and taken.
"""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec

from guiderail.adapters.channels.http import post
from guiderail.adapters.secrets import Secret
from guiderail.errors import ChannelFailedError
from guiderail.model.delivery import Receipt
from guiderail.model.message import Notification, Rendering
from guiderail.model.policy import Channel
from guiderail.rendering import jsm

URL = "https://api.atlassian.com/jsm/ops/integration"


def send(
    channel: Channel, notification: Notification, rendering: Rendering, secret: Secret
) -> Receipt:
    """Create, note, acknowledge or close the alert; the receipt is the id of the request."""
    call = jsm.render(notification, rendering)
    url = secret.get("url", URL).rstrip("/") + call.path
    if call.query:
        url += "?" + urlencode(call.query)
    answer = post(
        url,
        msgspec.json.encode(call.body),
        {"Content-Type": "application/json", "Authorization": f"GenieKey {secret['api_key']}"},
    )
    receipt = answer.json().get("requestId")
    if not receipt:
        raise ChannelFailedError(
            f"{answer.host} answered {answer.status} without a request id", status=answer.status
        )
    return Receipt(id=str(receipt), status=answer.status)
