"""Messages marked as a TEST, which show whether each channel of a receiver works and how alerts look."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from guiderail.errors import NotFoundError
from guiderail.model.delivery import Delivery, Outgoing, ref_of
from guiderail.model.identity import digest
from guiderail.model.message import (
    Distribution,
    Facts,
    MessageKind,
    Notification,
    Row,
    RowState,
)
from guiderail.model.outcome import Direction, Reason
from guiderail.model.policy import Policy, Severity
from guiderail.ports import Clock, Deliveries, DeliveryQueue
from guiderail.rendering.wording import subject_line
from guiderail.services.labels import route_named, routes_in
from guiderail.services.outbox import outgoing_of

_BETWEEN_LOOKS = 1.0
_CHECK = "baseline_drift_check"
_OBSERVED, _THRESHOLD = 0.42, 0.1
_TREND = (0.04, 0.06, 0.05, 0.19, 0.42)


def receivers_of_route(policy: Policy, name: str) -> tuple[str, ...]:
    """Who hears of a route's incidents: its receiver, then those of its escalation.

    Raises:
        NotFoundError: The policy has no such route.
    """
    route = route_named(policy.route, name)
    if route is None:
        known = ", ".join(r.name for r in routes_in(policy.route))
        raise NotFoundError(f"the policy has no route {name}", remedy=f"Its routes are {known}")
    return tuple(dict.fromkeys((route.receiver, *(step.receiver for step in route.escalation))))


def known_receiver(policy: Policy, name: str) -> tuple[str, ...]:
    """The receiver, if the policy knows it.

    Raises:
        NotFoundError: It does not.
    """
    told = (who for r in routes_in(policy.route) for who in receivers_of_route(policy, r.name))
    known = dict.fromkeys((*policy.receivers, *told))
    if name not in known:
        raise NotFoundError(
            f"the policy has no receiver {name}", remedy=f"Its receivers are {', '.join(known)}"
        )
    return (name,)


def probe(receiver: str, route: str, by: str, now: datetime) -> Notification:
    """A message to one receiver that looks like an alert and says that it is none."""
    identity = digest(f"test|{route}|{receiver}|{now.isoformat()}", 40)
    where = f"route {route}" if route else f"receiver {receiver}"
    title = f"this is how an alert of {where} arrives"
    row = Row(
        incident="test",
        name="example_feature",
        check=_CHECK,
        severity=Severity.INFO,
        reason=Reason.TEST_MESSAGE,
        state=RowState.FIRING,
        line=f"example_feature: {_CHECK}: observed {_OBSERVED}, threshold {_THRESHOLD}",
        news=True,
        endpoint="example-endpoint",
        facts=Facts(
            observed=_OBSERVED,
            threshold=_THRESHOLD,
            direction=Direction.ABOVE,
            notes=("mean 41.2 (baseline 38.9)",),
            trend=_TREND,
            first_seen=now - timedelta(hours=1),
            times_seen=2,
        ),
    )
    return Notification(
        id=f"notification-{identity}",
        group=f"test-{identity[:16]}",
        route=route,
        receiver=receiver,
        kind=MessageKind.TEST,
        reasons=(Reason.TEST_MESSAGE,),
        severity=Severity.INFO,
        title=title,
        subject=subject_line(f"TEST: {title}"),
        made_at=now,
        episode=now.isoformat(),
        place=where,
        why=(f"{by} ran guiderail notify test. Nothing is wrong, and the figures are made up.",),
        rows=(row,),
        firing=1,
        distributions=(
            Distribution(
                feature="example_feature",
                labels=("0 to 20", "20 to 40", "40 to 60", "60 to 80"),
                baseline=(0.1, 0.4, 0.35, 0.15),
                current=(0.05, 0.2, 0.4, 0.35),
            ),
        ),
        detail_type="TestMessage",
        attributes={
            "receiver": receiver, "route": route, "severity": Severity.INFO.value,
            "reason": Reason.TEST_MESSAGE.value,
        },
    )  # fmt: skip


class Probing(msgspec.Struct, frozen=True, kw_only=True):
    """Send TEST messages and wait for what their channels answer.

    ``wait`` pauses for some seconds.
    """

    outbox: Deliveries
    queue: DeliveryQueue
    clock: Clock
    wait: Callable[[float], None]

    def send(
        self, policy: Policy, receivers: Sequence[str], route: str, by: str
    ) -> Sequence[Outgoing]:
        """Put one TEST message to each receiver on its way. Raises GuiderailError."""
        now = self.clock()
        made = [outgoing_of(probe(receiver, route, by, now), policy) for receiver in receivers]
        sent = [outgoing for outgoing in made if outgoing]
        for outgoing in sent:
            self.outbox.send_test(outgoing)
            notification = outgoing.notification
            self.queue.put([ref_of(d, notification, now) for d in outgoing.deliveries])
        return sent

    def answers(self, sent: Sequence[Outgoing], timeout: float) -> Iterator[Sequence[Delivery]]:
        """Yield how the deliveries stand, again and again, until all are over or the time is.

        Raises GuiderailError.
        """
        until = self.clock() + timedelta(seconds=timeout)
        while True:
            now = [
                delivery
                for outgoing in sent
                for delivery in self.outbox.deliveries_of(
                    outgoing.notification.id, outgoing.notification.made_at
                )
            ]
            yield now
            left = (until - self.clock()).total_seconds()
            if left <= 0 or all(delivery.state.is_over for delivery in now):
                return
            self.wait(min(_BETWEEN_LOOKS, left))
