"""Deliveries as people look them up, and dead or failed ones tried again because somebody asks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from fnmatch import fnmatchcase

import msgspec
from msgspec.structs import replace

from guiderail.errors import NotFoundError, RejectedRequestError
from guiderail.model.delivery import Delivery, DeliveryState, ref_of
from guiderail.model.outcome import Reason
from guiderail.ports import Clock, Deliveries, DeliveryQueue
from guiderail.services.outbox import FIRST_LOOK

REPLAYED_STATES = (DeliveryState.DEAD, DeliveryState.FAILED)
"""States from which a delivery can be tried again; in all others it is tried anyway, or arrived."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which deliveries are asked for.

    Attributes:
        since, until: When their notifications were made.
        states: Empty for all.
        channel: Glob of the channel's name; empty for all.
        ids: Beginnings of ids; empty for all.
    """

    since: datetime
    until: datetime
    states: Collection[DeliveryState] = ()
    channel: str = ""
    ids: tuple[str, ...] = ()


def deliveries_wanted(outbox: Deliveries, wanted: Wanted) -> Sequence[Delivery]:
    """Deliveries that match, oldest first.

    Raises:
        NotFoundError: An id matches none.
        RejectedRequestError: An id matches several.
        GuiderailError: The store does not answer.
    """
    found = [
        d
        for d in outbox.deliveries(wanted.since, wanted.until, wanted.states)
        if (not wanted.channel or fnmatchcase(d.channel, wanted.channel))
        and (not wanted.ids or d.id.startswith(wanted.ids))
    ]
    for wanted_id in wanted.ids:
        matching = [d.id for d in found if d.id.startswith(wanted_id)]
        if not matching:
            raise NotFoundError(
                f"no such delivery's id begins with {wanted_id!r}",
                remedy="Look further back with --since, or list them: guiderail deliveries list",
            )
        if len(matching) > 1:
            raise RejectedRequestError(
                f"{wanted_id!r} begins the ids of {', '.join(matching[:10])}",
                remedy="Give more characters",
            )
    return found


class Redelivery(msgspec.Struct, frozen=True, kw_only=True):
    """Try deliveries again."""

    outbox: Deliveries
    queue: DeliveryQueue
    clock: Clock

    def __call__(self, delivery: Delivery) -> Delivery:
        """Have a dead or failed delivery tried again at once, as if it had never been.

        Should the queue fail, the row is found when it is looked at next.

        Raises:
            RejectedRequestError: It is neither dead nor failed, or a newer message took its place.
            NotFoundError: Its notification is not kept any more.
            ConflictError: Somebody else wrote in between.
            GuiderailError: The store or the queue does not answer.
        """
        if delivery.state not in REPLAYED_STATES:
            raise RejectedRequestError(
                f"delivery {delivery.id} is {delivery.state}", remedy="Only dead or failed ones are"
            )
        if delivery.reason is Reason.SUPERSEDED:
            raise RejectedRequestError(
                f"a newer message took the place of delivery {delivery.id}",
                remedy="Nothing has to be done: its channel knows more than this says",
            )
        notification = self.outbox.notification(delivery.notification)
        if notification is None:
            raise NotFoundError(
                f"what delivery {delivery.id} was to deliver is not kept any more",
                remedy="Messages are kept as long as audit entries",
            )
        now = self.clock()
        ref = ref_of(delivery, notification, now)
        kept = self.outbox.keep(
            delivery,
            replace(
                delivery,
                state=DeliveryState.PENDING,
                reason=Reason.REPLAYED,
                attempts=0,
                asked_at=now,
                look_at=now + FIRST_LOOK,
                next_attempt_at=None,
                tried=(),
            ),
            ref,
        )
        self.queue.put([ref])
        return kept
