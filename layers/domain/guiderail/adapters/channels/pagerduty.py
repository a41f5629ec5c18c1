"""PagerDuty's Events API v2 ("Send an Alert Event", "Send a Change Event", developer.pagerduty.com).

The dedup_key makes a repeated event the same alert: trying again never doubles one.
"""

from __future__ import annotations

import msgspec

from guiderail.adapters.channels.http import Answer, check, exchange
from guiderail.adapters.secrets import Secret
from guiderail.errors import ChannelFailedError, ChannelRefusedError
from guiderail.model.delivery import Receipt
from guiderail.model.message import Notification, Rendering
from guiderail.model.policy import Channel
from guiderail.rendering import pagerduty

URL = "https://events.pagerduty.com"
"""Accounts of the EU have https://events.eu.pagerduty.com: field ``url`` of the secret."""


def send(
    channel: Channel, notification: Notification, rendering: Rendering, secret: Secret
) -> Receipt:
    """Send the event; the receipt is the alert's dedup_key, or the notification of a change event."""
    event = {"routing_key": secret["routing_key"], **pagerduty.render(notification, rendering)}
    url = secret.get("url", URL).rstrip("/") + pagerduty.path(notification)
    answer = exchange(url, msgspec.json.encode(event), {"Content-Type": "application/json"})
    if answer.status == 400:
        # a wrong routing key and a wrong event are both 400
        raise ChannelRefusedError(
            f"{answer.host} answered 400: {_said(answer, secret)}",
            status=400,
            may_be_stale=True,
            remedy="Look whether the secret holds the integration key of an Events API v2 integration",
        )
    check(answer)
    said = answer.json()
    if said.get("status") != "success":
        raise ChannelFailedError(
            f"{answer.host} answered {answer.status} without success", status=answer.status
        )
    return Receipt(id=str(said.get("dedup_key") or notification.id), status=answer.status)


def _said(answer: Answer, secret: Secret) -> str:
    try:
        said = answer.json()
    except ChannelFailedError:
        return "no reason"
    errors = said.get("errors")
    texts = errors if isinstance(errors, list) and errors else [said.get("message", "")]
    text = "; ".join(str(error) for error in texts).replace(secret["routing_key"], "***")
    return "".join(c if c.isprintable() else " " for c in text)[:300] or "no reason"
