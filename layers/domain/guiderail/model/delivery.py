"""Deliveries: one notification on its way to one channel, and what is remembered of channels."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from guiderail.model.identity import digest
from guiderail.model.message import Notification, ReplyAction, Thread
from guiderail.model.outcome import Reason
from guiderail.model.policy import ChannelKind


class DeliveryState(StrEnum):
    """How far a delivery is.

    ``pending`` was never tried, ``sending`` is being tried until its lease ends, ``delivered`` has the
    channel's own receipt, ``failed`` is tried again at its time, ``dead`` was given up.
    """

    PENDING = "pending"
    SENDING = "sending"
    DELIVERED = "delivered"
    FAILED = "failed"
    DEAD = "dead"

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens by itself."""
        return self in (DeliveryState.DELIVERED, DeliveryState.DEAD)


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of the outbox; ``version`` counts its writes.

    Attributes:
        made_at: When its notification was; a row is found by it.
        asked_at: When it was asked for, if later: over a fallback, or again.
        channel: Name of the channel in the policy, ``receiver/channel``.
        reason: Why it is in its state.
        attempts: Tries so far, the running one included.
        look_at: When somebody has to look at it again, whatever became of its message in the queue;
            None when it is over.
        next_attempt_at: Not to be tried before.
        receipt: The channel's own id of what it accepted.
        error: What the channel said last, without secrets.
        fallback_for: The channel that was given up before this one.
        tried: Receivers whose channels were given up, so that fallbacks end.
    """

    id: str
    notification: str
    group: str
    route: str
    receiver: str
    channel: str
    kind: ChannelKind
    made_at: datetime
    asked_at: datetime | None = None
    state: DeliveryState = DeliveryState.PENDING
    reason: Reason | None = None
    version: int = 0
    attempts: int = 0
    look_at: datetime | None = None
    next_attempt_at: datetime | None = None
    delivered_at: datetime | None = None
    receipt: str = ""
    status: int = 0
    error: str = ""
    fallback_for: str = ""
    tried: tuple[str, ...] = ()
    subject: str = ""


def delivery_id(notification: str, channel: str) -> str:
    """Derived from what is delivered and over which channel; 24 hexadecimal digits."""
    return digest(f"{notification}|{channel}", 24)


class DeliveryRef(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the queue carries of a delivery: where its row is, and what is read together with it.

    ``at`` is the time that the sender worked with: the local cloud's clock runs ahead. ``thread`` is
    the group's episode, by which a channel's thread is found.
    """

    id: str
    made_at: datetime
    notification: str
    channel: str
    thread: str
    at: datetime


class ChannelState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A channel's circuit breaker: transient failures in a row, and until when nobody tries.

    ``troubled`` says that an incident about the channel is open.
    """

    failures: int = 0
    open_until: datetime | None = None
    troubled: bool = False
    version: int = 0


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A channel's word that it took a message: its own id, the HTTP status, and its thread to remember."""

    id: str
    status: int = 200
    thread: Thread | None = None


class ReplyToken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a token may do, kept under its SHA-256; it does it once and until ``expires_at``.

    ``remediation`` is what it approves or rejects; empty where it answers to incidents.
    """

    digest: str
    action: ReplyAction
    incidents: tuple[str, ...]
    labels: dict[str, str]
    group: str
    notification: str
    channel: str
    title: str
    expires_at: datetime
    remediation: str = ""
    used_at: datetime | None = None
    used_by: str = ""


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """A notification with its deliveries; or, with ``digest_at``, one that waits to be told in a digest.

    ``window`` is the start of its route's rate window, in which it counts; None where the route has none.
    """

    notification: Notification
    deliveries: tuple[Delivery, ...] = ()
    digest_at: datetime | None = None
    window: datetime | None = None


def ref_of(delivery: Delivery, notification: Notification, at: datetime) -> DeliveryRef:
    """What the queue carries of a delivery at a time."""
    return DeliveryRef(
        id=delivery.id,
        made_at=delivery.made_at,
        notification=notification.id,
        channel=delivery.channel,
        thread=f"{notification.group}#{notification.episode}",
        at=at,
    )


def token_digest(token: str) -> str:
    """SHA-256 of a token, as it is kept."""
    return digest(token)


class Feedback(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody called a finding noise: which one it was, and what it had measured then."""

    id: str
    at: datetime
    actor: str
    incident: str
    labels: dict[str, str]
    observed: float | None = None
    threshold: float | None = None
    distance: float | None = None
    comment: str = ""
