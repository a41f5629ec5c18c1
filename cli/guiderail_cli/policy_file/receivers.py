"""What is wrong with receivers beyond their shape, and whom a message reaches when a channel is dead."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from guiderail.model.policy import Channel, ChannelKind, Policy, Receiver
from guiderail.services.labels import routes_in
from guiderail.services.outbox import BUS, TOPIC

from guiderail_cli.policy_file.document import Path
from guiderail_cli.policy_file.globs import matches_any
from guiderail_cli.policy_file.problems import Level
from guiderail_cli.policy_file.values import shown, suggestion

ALWAYS_DECLARED = "default"
"""The receiver of a policy that names none."""

ORIGINS = ("slack:", "email:", "link:")
"""How the name of somebody who answers begins."""

_WHO = "Write slack:<team>/<user>, email:<address> or link:<channel>, with globs"

STACKS_TOPIC = "the stack's topic"
_RESERVED = (BUS.name, TOPIC.name)

MOST_CHANNELS = 10
"""Channels of a receiver: what is told at once is written in one transaction of 100 writes."""


class Trouble(msgspec.Struct, frozen=True):
    """A problem whose place in the file is still a path."""

    level: Level
    path: Path
    message: str
    remedy: str


def fallbacks(receivers: Mapping[str, Receiver], name: str) -> tuple[str, ...]:
    """Receivers that are told one after another when a receiver's channel is dead.

    A chain that comes back to somebody ends before.
    """
    chain: list[str] = []
    known = receivers.get(name)
    while known and known.fallback and known.fallback not in (name, *chain):
        chain.append(known.fallback)
        known = receivers.get(known.fallback)
    return tuple(chain)


def reach(receiver: Receiver | None) -> str:
    """The channels of a receiver in words."""
    if receiver is None or not receiver.channels:
        return STACKS_TOPIC
    return ", ".join(
        c.name if f"/{c.kind}" in c.name else f"{c.name} ({c.kind})" for c in receiver.channels
    )


def fallback_words(receivers: Mapping[str, Receiver], name: str) -> str:
    """Who is told instead, in words; empty where the message already went over the stack's topic."""
    chain = [f"{step} ({reach(receivers.get(step))})" for step in fallbacks(receivers, name)]
    if all(
        reach(receivers.get(step)) != STACKS_TOPIC for step in (name, *fallbacks(receivers, name))
    ):
        chain.append(STACKS_TOPIC)
    return ", then ".join(chain)


def receiver_words(receivers: Mapping[str, Receiver], name: str) -> str:
    """How a receiver is reached, and who stands in."""
    told = f"{name} is reached over {reach(receivers.get(name))}"
    instead = fallback_words(receivers, name)
    return f"{told}; if a channel is given up: {instead}" if instead else told


def all_receivers(policy: Policy) -> Iterator[str]:
    """One line per receiver that is told otherwise than over the stack's topic."""
    for name, receiver in policy.receivers.items():
        if receiver.channels or receiver.fallback:
            yield receiver_words(policy.receivers, name)


def receiver_troubles(
    policy: Policy, *, declared: bool, replies_declared: bool
) -> Iterator[Trouble]:
    """Yield what is wrong or useless in the receivers and replies of a policy.

    Args:
        policy: The compiled policy.
        declared: Whether the file has the section ``receivers`` at all.
        replies_declared: Whether it says who may answer, be it nobody.
    """
    if declared:
        yield from _too_many(policy)
        yield from _channel_names(policy)
        yield from _fallbacks(policy)
        yield from _unused(policy)
    yield from _replies(policy, replies_declared)


def _too_many(policy: Policy) -> Iterator[Trouble]:
    for name, receiver in policy.receivers.items():
        if (count := len(receiver.channels)) > MOST_CHANNELS:
            yield Trouble(
                Level.ERROR,
                ("receivers", name, "channels"),
                f"{count} channels; a receiver has at most {MOST_CHANNELS}",
                "Let one topic, webhook or chat channel pass it on to the others",
            )


def _channel_names(policy: Policy) -> Iterator[Trouble]:
    first: dict[str, str] = {}
    for name, receiver in policy.receivers.items():
        for place, channel in enumerate(receiver.channels):
            path: Path = ("receivers", name, "channels", place, "name")
            if channel.name in first:
                yield Trouble(
                    Level.ERROR,
                    path,
                    f"a channel of {shown(first[channel.name])} has the name "
                    f"{shown(channel.name)} too",
                    "Give each its own name: deliveries are kept by it",
                )
            elif channel.name in _RESERVED:
                yield Trouble(
                    Level.ERROR,
                    path,
                    f"{channel.name} is a channel of Guiderail's own",
                    "Choose another name",
                )
            first.setdefault(channel.name, name)


def _fallbacks(policy: Policy) -> Iterator[Trouble]:
    in_circles: set[str] = set()
    for name, receiver in policy.receivers.items():
        path: Path = ("receivers", name, "fallback")
        known = {*policy.receivers, ALWAYS_DECLARED}
        if not receiver.fallback:
            continue
        if receiver.fallback not in known:
            remedy = "Declare it below receivers"
            near = suggestion(receiver.fallback, known)
            yield Trouble(
                Level.ERROR,
                path,
                f"the receiver {shown(receiver.fallback)} is not declared",
                f"{near} {remedy}" if near else remedy,
            )
        elif receiver.fallback == name:
            yield Trouble(
                Level.ERROR,
                path,
                "a receiver cannot stand in for itself",
                f"Name another one, or remove the line: then {STACKS_TOPIC} is told",
            )
        elif name not in in_circles and _comes_back(policy.receivers, name):
            chain = (name, *fallbacks(policy.receivers, name))
            in_circles.update(chain)
            yield Trouble(
                Level.ERROR,
                path,
                f"the fallbacks go in a circle: {' -> '.join(map(shown, (*chain, name)))}",
                "Let the last one have none",
            )


def _comes_back(receivers: Mapping[str, Receiver], name: str) -> bool:
    chain = fallbacks(receivers, name)
    last = receivers.get(chain[-1]) if chain else None
    return last is not None and last.fallback == name


def _unused(policy: Policy) -> Iterator[Trouble]:
    told = {
        name
        for route in routes_in(policy.route)
        for name in (route.receiver, *(step.receiver for step in route.escalation))
    }
    told.update(step for name in tuple(told) for step in fallbacks(policy.receivers, name))
    for name in policy.receivers:
        if name not in told:
            yield Trouble(
                Level.WARNING,
                ("receivers", name),
                f"no route, escalation or fallback leads to {shown(name)}",
                "Name it in one, or remove it",
            )


def _replies(policy: Policy, declared: bool) -> Iterator[Trouble]:
    if not declared:
        for name, receiver in policy.receivers.items():
            for place, channel in enumerate(receiver.channels):
                if channel.kind.takes_replies:
                    yield Trouble(
                        Level.WARNING,
                        ("receivers", name, "channels", place),
                        "its messages could be answered, and nobody may answer",
                        "Say who may, such as replies: {allowed: ['slack:T0123456789/*']}, or that "
                        "nobody is to: replies: {allowed: []}",
                    )
                    return
    yield from people_troubles(policy, policy.replies.allowed, ("replies", "allowed"), ORIGINS)


def people_troubles(
    policy: Policy, globs: Sequence[str], at: Path, origins: Sequence[str]
) -> Iterator[Trouble]:
    """Yield globs over people that match nobody.

    Args:
        policy: Tells by its channels who follows links.
        globs: As the file has them.
        at: Where they stand.
        origins: How names may begin.
    """
    people = [_follower(c) for r in policy.receivers.values() for c in r.channels]
    people.append(_follower(TOPIC))
    for place, glob in enumerate(globs):
        if not _may_begin(glob, origins):
            yield Trouble(
                Level.ERROR,
                (*at, place),
                f"{shown(glob)} matches nobody who could answer",
                _WHO if origins == ORIGINS else f"{_WHO}, or arn:… for who uses the command",
            )
        elif glob.startswith(("email:", "link:")) and not matches_any(glob, people):
            yield Trouble(
                Level.WARNING,
                (*at, place),
                f"nobody who follows a link is known as {shown(glob)}",
                suggestion(glob, people)
                or "Write link:<channel>; email:<address> is who gets mail alone",
            )


def _follower(channel: Channel) -> str:
    """As whom a channel's link is followed: a mail's only address, or whoever reads the channel."""
    alone = channel.kind is ChannelKind.EMAIL and len(channel.to) == 1
    return f"email:{channel.to[0]}" if alone else f"link:{channel.name}"


def _may_begin(glob: str, origins: Sequence[str]) -> bool:
    """Whether somebody's name may begin as a glob does, as far as its fixed text tells."""
    head = re.split(r"[*?[]", glob)[0]
    return any(
        head.startswith(origin) or (head != glob and origin.startswith(head)) for origin in origins
    )
