"""The ways to people: one module per kind of channel, each loaded when it is first used."""

from __future__ import annotations

import threading

from guiderail.adapters.secrets import SHAPES, Secret, Secrets
from guiderail.errors import (
    ChannelFailedError,
    ChannelRefusedError,
    PermanentError,
    SettingsError,
    TransientError,
)
from guiderail.model.delivery import Receipt
from guiderail.model.message import Notification, Rendering
from guiderail.model.policy import Channel, ChannelKind
from guiderail.ports import Journal

AT_ONCE = 2
"""Messages that one process has on their way at a time."""


class ChannelSenders:
    """Implements Channels. Every error is one of the two that Channels names."""

    def __init__(self, secrets: Secrets, topic: str, bus: str, journal: Journal) -> None:
        """Send with these secrets; ``topic`` is the ARN of the stack's, ``bus`` the name of its bus."""
        self._secrets = secrets
        self._topic = topic
        self._bus = bus
        self._journal = journal
        self._ways = threading.BoundedSemaphore(AT_ONCE)

    def send(self, channel: Channel, notification: Notification, rendering: Rendering) -> Receipt:
        """Send one message over one channel; returns only when the channel said that it has it.

        A secret that may have been replaced is read again, and the message tried once more with it.
        """
        try:
            with self._ways:
                return self._send(channel, notification, rendering)
        except (ChannelRefusedError, ChannelFailedError):
            raise
        except PermanentError as error:
            raise ChannelRefusedError(error.args[0], remedy=error.remedy) from error
        except TransientError as error:
            raise ChannelFailedError(error.args[0], remedy=error.remedy) from error

    def _send(self, channel: Channel, notification: Notification, rendering: Rendering) -> Receipt:
        if channel.kind not in SHAPES:
            return self._send_by_aws(channel, notification, rendering)
        secret = self._secret(channel)
        try:
            return self._send_with(secret, channel, notification, rendering)
        except ChannelRefusedError as error:
            if not error.may_be_stale:
                raise
            refused = error
        fresh = self._secret(channel, fresh=True)
        if fresh == secret:
            raise refused
        return self._send_with(fresh, channel, notification, rendering)

    def _secret(self, channel: Channel, *, fresh: bool = False) -> Secret:
        if not channel.secret:
            raise SettingsError(
                f"Channel {channel.name} names no secret",
                remedy="Write secret: guiderail/NAME beside it in the policy",
            )
        return self._secrets.read(channel.secret, SHAPES[channel.kind], fresh=fresh)

    def _send_with(
        self, secret: Secret, channel: Channel, notification: Notification, rendering: Rendering
    ) -> Receipt:
        # loaded one by one: a function that only mails does not wait for Slack's library
        match channel.kind:
            case ChannelKind.SLACK:
                from guiderail.adapters.channels import slack

                return slack.send(channel, notification, rendering, secret, self._journal)
            case ChannelKind.SLACK_WEBHOOK:
                from guiderail.adapters.channels.slack_webhook import send
            case ChannelKind.TEAMS:
                from guiderail.adapters.channels.teams import send
            case ChannelKind.PAGERDUTY:
                from guiderail.adapters.channels.pagerduty import send
            case ChannelKind.JSM:
                from guiderail.adapters.channels.jsm import send
            case _:
                from guiderail.adapters.channels.webhook import send
        return send(channel, notification, rendering, secret)

    def _send_by_aws(
        self, channel: Channel, notification: Notification, rendering: Rendering
    ) -> Receipt:
        match channel.kind:
            case ChannelKind.TOPIC:
                from guiderail.adapters.channels import topic

                return topic.send(channel, notification, rendering, self._topic)
            case ChannelKind.BUS:
                from guiderail.adapters.channels import bus

                return bus.send(notification, self._bus)
            case ChannelKind.EMAIL:
                from guiderail.adapters.channels import email

                return email.send(channel, notification, rendering)
            case _:
                from guiderail.adapters.channels import amazon_q

                return amazon_q.send(channel, notification, rendering)
