"""What leaves the house: the deliveries of a notification, and digests instead of floods."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from guiderail.model.delivery import Delivery, DeliveryRef, Outgoing, delivery_id, ref_of
from guiderail.model.identity import notification_id
from guiderail.model.message import MessageKind, Notification
from guiderail.model.outcome import Reason
from guiderail.model.policy import Channel, ChannelKind, Policy, Route, Severity
from guiderail.rendering.wording import subject_line

TOPIC = Channel(kind=ChannelKind.TOPIC, name="topic")
"""The stack's topic: the channel of a receiver that has none, and what is left when others fail."""

BUS = Channel(kind=ChannelKind.BUS, name="bus")
"""The stack's event bus, for programs."""

FIRST_LOOK = timedelta(minutes=3)
"""When a delivery is looked at again should its message in the queue be lost."""

MOST_DIGESTED = 60
"""Notifications of one digest: a transaction takes 100 writes."""

QUIET = (MessageKind.ACKNOWLEDGED, MessageKind.REMEDIATION)
"""Kinds that ask nobody to do anything."""


def channels_of(policy: Policy, receiver: str) -> tuple[Channel, ...]:
    """The channels of a receiver; the stack's topic where it has none or is not known."""
    known = policy.receivers.get(receiver)
    return known.channels if known and known.channels else (TOPIC,)


def channel_named(policy: Policy, receiver: str, name: str) -> Channel | None:
    """A channel as the policy has it now; None if it is gone."""
    listed = (*channels_of(policy, receiver), TOPIC, BUS)
    return next((channel for channel in listed if channel.name == name), None)


def outgoing_of(notification: Notification, policy: Policy) -> Outgoing | None:
    """A notification with a delivery for each of its channels; None where no channel is to have it.

    Programs hear of each remediation, also of one that people need not hear of.
    """
    channels = channels_of(policy, notification.receiver)
    is_quiet = notification.kind in QUIET
    if is_quiet:
        channels = tuple(c for c in channels if c.kind.keeps_incidents)
    if notification.remediation or not (is_quiet or notification.kind is MessageKind.TEST):
        channels = (*channels, BUS)
    if not channels:
        return None
    return Outgoing(
        notification=notification,
        deliveries=tuple(delivery_of(notification, notification.receiver, c) for c in channels),
    )


def delivery_of(
    notification: Notification, receiver: str, channel: Channel, asked_at: datetime | None = None
) -> Delivery:
    """A delivery that nobody tried yet; ``asked_at`` is when, if not with its notification."""
    return Delivery(
        id=delivery_id(notification.id, channel.name),
        notification=notification.id,
        group=notification.group,
        route=notification.route,
        receiver=receiver,
        channel=channel.name,
        kind=channel.kind,
        made_at=notification.made_at,
        asked_at=asked_at,
        look_at=(asked_at or notification.made_at) + FIRST_LOOK,
        reason=Reason.WAITING_FOR_DELIVERY,
        subject=notification.subject,
    )


def refs_of(outgoing: Outgoing, at: datetime) -> list[DeliveryRef]:
    """What the queue carries of each of its deliveries at a time."""
    return [ref_of(d, outgoing.notification, at) for d in outgoing.deliveries]


def rate_window(route: Route, now: datetime) -> datetime | None:
    """Start of the route's rate window that ``now`` is in; None where its rate has no limit."""
    if route.at_most is None:
        return None
    passed = now.timestamp() % route.at_most.within
    return datetime.fromtimestamp(now.timestamp() - passed, UTC)


def limited(outgoing: Outgoing, route: Route, sent: int) -> Outgoing:
    """An outgoing message under its route's limit: beyond it people read of it in a digest.

    Programs and incident tools are told of each at once; critical ones, escalations and quiet changes never wait.
    """
    notification = outgoing.notification
    window = rate_window(route, notification.made_at)
    if window is None or route.at_most is None or notification.kind in QUIET:
        return outgoing
    urgent = notification.severity is Severity.CRITICAL or Reason.ESCALATED in notification.reasons
    if urgent or sent < route.at_most.messages:
        return replace(outgoing, window=window)
    at_once = tuple(d for d in outgoing.deliveries if _hears_at_once(d.kind))
    if at_once == outgoing.deliveries:
        return replace(outgoing, window=window)
    digest_at = window + timedelta(seconds=route.at_most.within)
    return replace(outgoing, deliveries=at_once, digest_at=digest_at)


def digests_of(
    waiting: Iterable[Outgoing], policy: Policy, now: datetime
) -> Sequence[tuple[Outgoing, Sequence[Outgoing]]]:
    """Digests of notifications that waited for one, each with what it stands for."""
    by_receiver: dict[tuple[str, str], list[Outgoing]] = {}
    for one in waiting:
        to = one.notification.route, one.notification.receiver
        by_receiver.setdefault(to, []).append(one)
    made = []
    for (route, receiver), listed in by_receiver.items():
        for start in range(0, len(listed), MOST_DIGESTED):
            part = listed[start : start + MOST_DIGESTED]
            digest = _digest_of([one.notification for one in part], route, receiver, now)
            channels = channels_of(policy, receiver)
            waited = [c for c in channels if not _hears_at_once(c.kind)] or channels
            deliveries = tuple(delivery_of(digest, receiver, c) for c in waited)
            made.append((Outgoing(notification=digest, deliveries=deliveries), part))
    return made


def _hears_at_once(kind: ChannelKind) -> bool:
    return kind is ChannelKind.BUS or kind.is_incident_tool


def _digest_of(
    listed: Sequence[Notification], route: str, receiver: str, now: datetime
) -> Notification:
    worst = sorted(listed, key=lambda n: (-n.severity.rank, n.made_at))
    identity = "|".join(["digest", *(n.id for n in listed)])
    title = f"digest of {len(listed)} messages of route {route}"
    return Notification(
        id=notification_id(identity),
        group=f"digest-{route}"[:200],
        route=route,
        receiver=receiver,
        kind=MessageKind.DIGEST,
        reasons=(Reason.DIGEST,),
        severity=worst[0].severity,
        title=title,
        subject=subject_line(title),
        made_at=now,
        episode=now.isoformat(),
        place=f"route {route}",
        why=(
            f"Route {route} sent as many messages as its at_most allows; these waited to come together.",
        ),
        listed=tuple(
            f"{n.severity.value}: {n.title} ({n.made_at:%H:%M} UTC, group {n.group})" for n in worst
        ),
        firing=sum(n.firing for n in listed),
        detail_type="IncidentDigest",
        attributes={
            "receiver": receiver, "route": route, "severity": worst[0].severity.value,
            "reason": Reason.DIGEST.value,
        },
    )  # fmt: skip
