"""What every outbox does: the same tests for the one in memory and for DynamoDB's.

A suite is a subclass of ``OutboxContract`` with the fixtures ``incidents`` and ``outbox``, over one store.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import pytest
from guiderail.errors import ConflictError
from guiderail.model.delivery import (
    ChannelState,
    Delivery,
    DeliveryRef,
    DeliveryState,
    Feedback,
    Outgoing,
    ReplyToken,
    ref_of,
    token_digest,
)
from guiderail.model.message import ReplyAction, Thread
from guiderail.model.policy import Channel, ChannelKind
from guiderail.ports import Deliveries, Incidents, Remembered, ReplyTokens
from guiderail.services.outbox import BUS, FIRST_LOOK, TOPIC, delivery_of
from msgspec.structs import replace

from tests.store_contract import T0, audit, group, later, notification

PAGER = Channel(kind=ChannelKind.PAGERDUTY, name="team/pagerduty")
DUE = T0 + FIRST_LOOK


class Outbox(Deliveries, ReplyTokens, Protocol):
    """What both stores are."""


def outgoing(name: str = "n1", made_at: datetime = T0, *channels: Channel) -> Outgoing:
    """A message with its deliveries."""
    message = notification(name, made_at)
    listed = channels or (TOPIC, BUS)
    return Outgoing(
        notification=message, deliveries=tuple(delivery_of(message, "team", c) for c in listed)
    )


def recalled(outbox: Outbox, ref: DeliveryRef) -> Remembered | None:
    """What is read of one delivery."""
    return outbox.recall_deliveries([ref]).get(ref.id)


def token(secret: str = "secret", expires_at: datetime = T0) -> ReplyToken:
    """A token that acknowledges."""
    return ReplyToken(
        digest=token_digest(secret),
        action=ReplyAction.ACKNOWLEDGE,
        incidents=("i-1",),
        labels={"endpoint": "loan-risk"},
        group="g1",
        notification="n1",
        channel="team/teams",
        title="1 finding",
        expires_at=expires_at,
    )


class OutboxContract:
    """The tests."""

    def kept(self, incidents: Incidents, outbox: Outbox, made: Outgoing) -> Delivery:
        """Keep a message; its first delivery as it is read back."""
        incidents.commit_group(None, group(made.notification.id), (), [made], None)
        known = recalled(outbox, ref_of(made.deliveries[0], made.notification, T0))
        assert known
        return known.delivery

    def test_a_message_is_kept_with_its_deliveries(
        self, incidents: Incidents, outbox: Outbox
    ) -> None:
        made = outgoing()
        assert self.kept(incidents, outbox, made) == replace(made.deliveries[0], version=1)
        known = recalled(outbox, ref_of(made.deliveries[1], made.notification, T0))
        assert known and known.delivery == replace(made.deliveries[1], version=1)
        assert known.notification == made.notification == outbox.notification("n1")
        assert (known.channel, known.thread) == (ChannelState(), None)
        assert outbox.notification("n2") is None
        other = outgoing("n2")
        assert recalled(outbox, ref_of(other.deliveries[0], other.notification, T0)) is None

    def test_deliveries_of_a_batch_are_recalled_together(
        self, incidents: Incidents, outbox: Outbox
    ) -> None:
        # Given two messages over the same channels, one of which has a state, and a third that is gone
        outbox.keep_channel("topic", ChannelState(failures=2))
        made = [outgoing("n1"), outgoing("n2")]
        for one in made:
            incidents.commit_group(None, group(one.notification.id), (), [one], None)
        refs = [
            ref_of(d, o.notification, T0) for o in (*made, outgoing("n3")) for d in o.deliveries
        ]
        known = outbox.recall_deliveries([*refs, refs[0]])
        assert set(known) == {ref.id for ref in refs[:4]}
        for ref in refs[:4]:
            assert known[ref.id].notification.id == ref.notification
            assert known[ref.id].delivery.channel == ref.channel
            assert known[ref.id].channel.failures == (2 if ref.channel == "topic" else 0)

    def test_a_delivery_is_written_once_after_each_version(
        self, incidents: Incidents, outbox: Outbox
    ) -> None:
        made = outgoing()
        before = self.kept(incidents, outbox, made)
        ref = ref_of(before, made.notification, T0)
        sending = replace(before, state=DeliveryState.SENDING, attempts=1, look_at=later(hours=1))
        claimed = outbox.claim(before, sending, ref, [token()])
        assert claimed == replace(sending, version=2)
        with pytest.raises(ConflictError):
            outbox.claim(before, sending, ref, [token("other")])
        assert outbox.token(token("other").digest) is None
        assert outbox.token(token().digest) == token()
        done = replace(claimed, state=DeliveryState.DELIVERED, receipt="m-1", look_at=None)
        with pytest.raises(ConflictError):
            outbox.keep(before, done, ref)
        assert outbox.keep(claimed, done, ref) == replace(done, version=3)
        known = recalled(outbox, ref)
        assert known and known.delivery == replace(done, version=3)

    def test_what_is_not_over_is_looked_at_again(
        self, incidents: Incidents, outbox: Outbox
    ) -> None:
        made = outgoing()
        before = self.kept(incidents, outbox, made)
        refs = [ref_of(d, made.notification, T0) for d in made.deliveries]
        assert list(outbox.overdue(DUE.replace(microsecond=0) - FIRST_LOOK)) == []
        assert {r.id for r in outbox.overdue(DUE)} == {r.id for r in refs}
        outbox.look_later(refs[1], later(days=1))
        assert [r.id for r in outbox.overdue(later(hours=1))] == [before.id]
        waits = replace(before, state=DeliveryState.FAILED, look_at=later(hours=2))
        kept = outbox.keep(before, waits, refs[0])
        assert list(outbox.overdue(later(hours=1))) == []
        assert [r.id for r in outbox.overdue(later(hours=2))] == [before.id]
        outbox.keep(kept, replace(kept, state=DeliveryState.DEAD, look_at=None), refs[0])
        outbox.look_later(refs[0], T0)
        assert [r.id for r in outbox.overdue(later(days=2))] == [refs[1].id]

    def test_a_fallback_is_written_with_what_it_stands_in_for(
        self, incidents: Incidents, outbox: Outbox
    ) -> None:
        made = outgoing("n1", T0, PAGER)
        before = self.kept(incidents, outbox, made)
        instead = Outgoing(
            notification=made.notification,
            deliveries=(delivery_of(made.notification, "others", TOPIC, later(hours=1)),),
        )
        dead = replace(before, state=DeliveryState.DEAD, look_at=None)
        ref = ref_of(before, made.notification, T0)
        kept = outbox.keep(before, dead, ref, None, [instead])
        with pytest.raises(ConflictError):
            outbox.keep(kept, dead, ref, None, [instead])
        of_it = outbox.deliveries_of("n1", T0)
        assert {(d.channel, d.state.value) for d in of_it} == {
            ("team/pagerduty", "dead"),
            ("topic", "pending"),
        }
        assert [r.channel for r in outbox.overdue(later(days=1))] == ["topic"]

    def test_the_newest_message_keeps_the_thread(
        self, incidents: Incidents, outbox: Outbox
    ) -> None:
        for name, number, expected in (("n1", 2, 2), ("n2", 1, 2), ("n3", 3, 3), ("n4", 3, 3)):
            made = outgoing(name, T0, PAGER)
            before = self.kept(incidents, outbox, made)
            ref = ref_of(before, made.notification, T0)
            done = replace(before, state=DeliveryState.DELIVERED, look_at=None)
            outbox.keep(before, done, ref, Thread(root=name, number=number))
            known = recalled(outbox, ref)
            assert known and known.delivery.state is DeliveryState.DELIVERED
            assert known.thread and known.thread.number == expected, name

    def test_no_older_message_is_claimed_after_a_newer_one(
        self, incidents: Incidents, outbox: Outbox
    ) -> None:
        for name, number, goes in (("n1", 2, True), ("n2", 1, False), ("n3", 2, True)):
            made = outgoing(name, T0, PAGER)
            before = self.kept(incidents, outbox, made)
            ref = ref_of(before, made.notification, T0)
            sending = replace(before, state=DeliveryState.SENDING)
            if goes:
                outbox.claim(before, sending, ref, (), Thread(number=number))
            else:
                with pytest.raises(ConflictError):
                    outbox.claim(before, sending, ref, [token()], Thread(number=number))
                assert outbox.token(token().digest) is None
                known = recalled(outbox, ref)
                assert known and known.delivery == before and known.thread == Thread(number=2)

    def test_a_channel_is_kept_after_its_version(self, outbox: Outbox) -> None:
        outbox.keep_channel("slack", ChannelState(failures=1))
        with pytest.raises(ConflictError):
            outbox.keep_channel("slack", ChannelState(failures=1))
        outbox.keep_channel("slack", ChannelState(failures=2, open_until=T0, version=1))
        made = outgoing("n1", T0, Channel(kind=ChannelKind.SLACK, name="slack"))
        outbox.send_test(made)
        known = recalled(outbox, ref_of(made.deliveries[0], made.notification, T0))
        assert known and known.channel == ChannelState(failures=2, open_until=T0, version=2)

    def test_deliveries_are_listed_by_time_and_state(
        self, incidents: Incidents, outbox: Outbox
    ) -> None:
        times = {"n3": later(days=2), "n1": T0, "n2": later(days=1)}
        for name, at in times.items():
            self.kept(incidents, outbox, outgoing(name, at, TOPIC))
        listed = list(outbox.deliveries(T0, later(days=3)))
        assert [d.notification for d in listed] == ["n1", "n2", "n3"]
        assert [d.notification for d in outbox.deliveries(later(days=1), later(days=1))] == ["n2"]
        pending = outbox.deliveries(T0, later(days=3), [DeliveryState.PENDING])
        assert len(list(pending)) == 3
        assert list(outbox.deliveries(T0, later(days=3), [DeliveryState.DEAD])) == []

    def test_a_token_is_used_once(self, incidents: Incidents, outbox: Outbox) -> None:
        made = outgoing()
        before = self.kept(incidents, outbox, made)
        ref = ref_of(before, made.notification, T0)
        outbox.claim(before, replace(before, state=DeliveryState.SENDING), ref, [token()])
        digest = token().digest
        assert outbox.use(digest, "ann", later(minutes=1))
        assert not outbox.use(digest, "bob", later(minutes=2))
        used = replace(token(), used_at=later(minutes=1), used_by="ann")
        assert outbox.token(digest) == used
        assert not outbox.use(token_digest("forged"), "eve", T0)
        assert outbox.token(token_digest("forged")) is None

    def test_feedback_is_kept_once(self, incidents: Incidents, outbox: Outbox) -> None:
        def said(name: str, at: datetime) -> Feedback:
            return Feedback(id=name, at=at, actor="ann", incident="i-1", labels={"check": "drift"})

        outbox.keep_feedback(said("f2", later(hours=2)), audit("a1", "i-1"))
        outbox.keep_feedback(said("f1", later(hours=1)), audit("a2", "i-1"))
        outbox.keep_feedback(said("f2", later(hours=3)), audit("a3", "i-1"))
        assert [f.id for f in outbox.feedback(T0)] == ["f1", "f2"]
        assert list(outbox.feedback(later(hours=2))) == [said("f2", later(hours=2))]
        outbox.keep_audit(audit("a4", "i-1"))
        assert {a.id for a in incidents.audit("i-1", 10)} == {"a1", "a2", "a4"}
