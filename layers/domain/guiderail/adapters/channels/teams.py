"""Microsoft Teams through a workflow ("When a Teams webhook request is received", Microsoft Learn).

The workflow answers 202 when it took the request, before it posts. Connectors of old answer 200 with
``1``, and 200 with an error's text when posting failed.
"""

from __future__ import annotations

import re

import msgspec

from guiderail.adapters.channels.http import Answer, check, post
from guiderail.adapters.secrets import Secret
from guiderail.errors import ChannelFailedError
from guiderail.model.delivery import Receipt
from guiderail.model.message import Notification, Rendering
from guiderail.model.policy import Channel
from guiderail.rendering import teams

_FAILED = "webhook message delivery failed"
_STATUS = re.compile(r"HTTP error (\d{3})")


def send(
    channel: Channel, notification: Notification, rendering: Rendering, secret: Secret
) -> Receipt:
    """Post the card; the receipt is the id of the workflow's run."""
    body = msgspec.json.encode(teams.render(notification, rendering))
    answer = post(secret["url"], body, {"Content-Type": "application/json; charset=utf-8"})
    if _FAILED in answer.text.lower():
        # the error that the text names means what it would mean as a status of its own
        inner = _STATUS.search(answer.text)
        if inner and int(inner[1]) >= 400:
            check(Answer(answer.host, int(inner[1]), answer.headers, b""), "inside a 200")
        raise ChannelFailedError(
            f"{answer.host} answered {answer.status}: delivery failed", status=answer.status
        )
    if "text/html" in answer.headers.get("content-type", ""):
        raise ChannelFailedError(
            f"{answer.host} answered {answer.status} with a page", status=answer.status
        )
    receipt = answer.headers.get("x-ms-workflow-run-id") or answer.headers.get("x-ms-request-id")
    return Receipt(id=receipt or "accepted", status=answer.status)
