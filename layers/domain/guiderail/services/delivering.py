"""The use case behind ``deliver``: one delivery, tried once, and what follows from how it went.

The row decides, the queue only wakes: a message that comes twice, too early or after the end changes
nothing. A delivery is claimed before the channel is asked and is ``delivered`` only after the channel
said so; whoever dies in between leaves a lease that ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from guiderail.errors import (
    ChannelFailedError,
    ChannelRefusedError,
    ConflictError,
    GuiderailError,
    MalformedEventError,
    TransientError,
)
from guiderail.model.delivery import (
    ChannelState,
    Delivery,
    DeliveryRef,
    DeliveryState,
    Outgoing,
    Receipt,
    ReplyToken,
    ref_of,
    token_digest,
)
from guiderail.model.judgement import Judgement
from guiderail.model.message import (
    INCIDENT_ANSWERS,
    REMEDIATION_ANSWERS,
    MessageKind,
    Notification,
    Picture,
    Rendering,
    Reply,
    ReplyAction,
    RowState,
    Thread,
)
from guiderail.model.outcome import Reason
from guiderail.model.policy import Channel, ChannelKind, Policy, Severity
from guiderail.model.remediation import RemediationState
from guiderail.ports import (
    Channels,
    Clock,
    DeadLetters,
    Deliveries,
    DeliveryQueue,
    Incidents,
    Journal,
    Meter,
    Pictures,
    Policies,
    Remembered,
)
from guiderail.services.outbox import QUIET, TOPIC, channel_named, channels_of, delivery_of
from guiderail.services.own_incidents import own_judgement, own_ledger, see

LEASE = timedelta(seconds=150)
"""How long a claimed delivery is left to its worker: longer than the function may run."""

LONGEST_DELAY = 900.0
"""Seconds: what SQS takes (API reference of SendMessage). What waits longer is put there again."""

LONGEST_BACKOFF = 300.0

PATIENCE = timedelta(seconds=60)
"""How long a proposal waits until the message about its incident has arrived where both belong together."""

_LONGEST_PAUSE = 900.0
_MOST_DOUBLINGS = 10
_LOOK_AFTER = timedelta(minutes=5)
_SHORT_WAIT = timedelta(seconds=5)
_TRIES = 5

_SHOW_PICTURES = (ChannelKind.EMAIL, ChannelKind.SLACK)
_KEEP_THREADS = (ChannelKind.SLACK, ChannelKind.JSM)
_ANSWERABLE = (
    MessageKind.NEWS,
    MessageKind.REPEAT,
    # these replace the message in Slack, buttons included
    MessageKind.ACKNOWLEDGED,
    MessageKind.REMEDIATION,
)
_CHECK = "delivery_failed"
_REF = msgspec.json.Decoder(DeliveryRef)


class Deliver(msgspec.Struct, frozen=True, kw_only=True):
    """Deliver one message over one channel.

    Attributes:
        new_token: Makes an opaque token that nobody can guess.
        chance: A random number from 0 to 1, for jitter.
        reply_url: Where links lead; empty where nobody can answer.
        account, region: Those of the stack, for its own incidents.
    """

    outbox: Deliveries
    queue: DeliveryQueue
    channels: Channels
    pictures: Pictures
    policies: Policies
    incidents: Incidents
    dead_letters: DeadLetters
    meter: Meter
    journal: Journal
    clock: Clock
    new_token: Callable[[], str]
    chance: Callable[[], float]
    reply_url: str = ""
    account: str = ""
    region: str = ""

    def __call__(self, body: str) -> DeliveryState | None:
        """Handle one message of the queue; returns the delivery's state, None if there is none.

        Raises:
            GuiderailError: It has to come again: what it would have done was not done.
        """
        return self.batch([body])(body)

    def batch(self, bodies: Sequence[str]) -> Callable[[str], DeliveryState | None]:
        """Read what the messages of a batch are about at once; handle each by what is returned.

        If that fails each message reads for itself, so that one cannot fail the others.
        """
        refs = []
        for body in bodies:
            # what cannot be read is told of when it is handled
            with suppress(msgspec.MsgspecError):
                refs.append(_REF.decode(body))
        known: Mapping[str, Remembered] | None = None
        if len(refs) > 1:
            with suppress(GuiderailError):
                known = self.outbox.recall_deliveries(refs)
        return lambda body: self._handle(body, known)

    def _handle(self, body: str, recalled: Mapping[str, Remembered] | None) -> DeliveryState | None:
        try:
            return self._handled(body, recalled)
        except TransientError as error:
            self.journal.warning("message will come again", reason=error.code, error=str(error))
            raise
        except Exception as error:
            # a bug, or a permission that is missing, loses no message; the log has to say why it stays
            reason = error.code if isinstance(error, GuiderailError) else "unexpected_error"
            self.journal.error("delivery not handled", reason=reason)
            raise

    def _handled(
        self, body: str, recalled: Mapping[str, Remembered] | None
    ) -> DeliveryState | None:
        try:
            ref = _REF.decode(body)
        except msgspec.MsgspecError as exc:
            error = MalformedEventError(
                f"this is no delivery: {exc}", remedy="Only OnDue and Deliver write to this queue"
            )
            self.dead_letters.put(body, error)
            self.journal.error("delivery not read", reason=error.code)
            return None
        if recalled is None:
            recalled = self.outbox.recall_deliveries([ref])
        known = recalled.get(ref.id)
        if known is None:
            self.journal.warning("delivery not known", delivery=ref.id)
            return None
        try:
            return self._try(ref, known, max(self.clock(), ref.at))
        except ConflictError:
            # another worker has it, or had it meanwhile; should that one die, its lease ends
            self.journal.info("delivery left to another worker", delivery=ref.id)
            return known.delivery.state

    def _try(self, ref: DeliveryRef, known: Remembered, now: datetime) -> DeliveryState:
        delivery = known.delivery
        if delivery.state.is_over:
            return delivery.state
        if delivery.state is DeliveryState.SENDING and delivery.look_at and now < delivery.look_at:
            return delivery.state
        if delivery.next_attempt_at and now < delivery.next_attempt_at:
            self._wake_at(ref, delivery.next_attempt_at, now)
            return delivery.state
        policy = self.policies.current().policy
        channel = channel_named(policy, delivery.receiver, delivery.channel)
        if channel is None:
            error = ChannelRefusedError(
                f"the policy has no channel {delivery.channel} of {delivery.receiver} any more",
                remedy="Push a policy that has it, then: guiderail deliveries replay",
            )
            return self._give_up(ref, known, policy, Reason.CHANNEL_GONE, error, now)
        if _is_superseded(channel, known):
            return self._supersede(ref, delivery)
        if _comes_too_early(channel, known, now):
            return self._wait(ref, delivery, Reason.WAITING_FOR_DELIVERY, now + _SHORT_WAIT, now)
        pause, terms = known.channel.open_until, policy.delivery
        is_late = _age(delivery, now) > policy.delivery.give_up_after
        if pause and now < pause:
            # whoever waits for a channel hears in time that it is given up
            pause = min(pause, _asked_at(delivery) + timedelta(seconds=terms.give_up_after + 1))
            if is_late:
                failed = ChannelFailedError(delivery.error or f"{channel.name} does not answer")
                return self._give_up(ref, known, policy, Reason.GIVEN_UP, failed, now)
            return self._wait(ref, delivery, Reason.CIRCUIT_OPEN, pause, now)
        if delivery.attempts >= terms.attempts:
            # its worker died at it each time
            failed = ChannelFailedError(delivery.error or "no try of it came to an end")
            return self._give_up(ref, known, policy, Reason.GIVEN_UP, failed, now)
        if pause and known.channel.failures >= terms.breaker_failures:
            # one delivery tries whether the channel works again, the others wait for what it finds
            trial = replace(known.channel, open_until=now + LEASE)
            try:
                self.outbox.keep_channel(channel.name, trial)
            except ConflictError:
                soon = now + timedelta(seconds=policy.delivery.breaker_pause)
                return self._wait(ref, delivery, Reason.CIRCUIT_OPEN, soon, now)
            known = Remembered(
                delivery,
                known.notification,
                replace(trial, version=trial.version + 1),
                known.thread,
            )
        return self._send(ref, known, channel, policy, now)

    def _send(
        self, ref: DeliveryRef, known: Remembered, channel: Channel, policy: Policy, now: datetime
    ) -> DeliveryState:
        replies, tokens = self._replies(known.notification, channel, policy, now)
        sending = replace(
            known.delivery,
            state=DeliveryState.SENDING,
            attempts=known.delivery.attempts + 1,
            look_at=now + LEASE,
            next_attempt_at=None,
        )
        thread = _number_of(channel, known.notification)
        for attempt in range(_TRIES):
            try:
                claimed = self.outbox.claim(known.delivery, sending, ref, tokens, thread)
                break
            except ConflictError:
                # what was read may be as old as the batch: a newer message may have gone out since
                there = self.outbox.recall_deliveries([ref]).get(ref.id)
                is_ours = there is not None and there.delivery == known.delivery
                if there and is_ours and _is_superseded(channel, there):
                    return self._supersede(ref, there.delivery)
                if not is_ours or attempt == _TRIES - 1:
                    raise
        known = Remembered(claimed, known.notification, known.channel, known.thread)
        receiver = policy.receivers.get(claimed.receiver)
        show_values = receiver.show_values if receiver else False
        rendering = Rendering(
            replies=replies,
            pictures=self._drawn(known, channel, show_values),
            show_values=show_values,
            note=_note(claimed),
            thread=known.thread,
        )
        try:
            receipt = self.channels.send(channel, known.notification, rendering)
        except ChannelFailedError as error:
            return self._failed(ref, known, policy, error, now)
        except ChannelRefusedError as error:
            return self._refused(ref, known, policy, error, now)
        except Exception as error:
            # a fault of ours with this one message must not keep it on its way for ever
            self.journal.error("message not sent", delivery=claimed.id, channel=channel.name)
            fault = ChannelRefusedError(
                f"{type(error).__name__} while the message was made or sent",
                remedy="This is a fault of Guiderail's; its log has the traceback",
            )
            return self._refused(ref, known, policy, fault, now)
        return self._delivered(ref, known, policy, receipt, max(now, self.clock()))

    def _refused(
        self,
        ref: DeliveryRef,
        known: Remembered,
        policy: Policy,
        error: ChannelRefusedError,
        now: datetime,
    ) -> DeliveryState:
        if known.channel.open_until:
            # a refusal is an answer: whoever waits for the channel may ask it
            heard = self._change_channel(
                ref, known.channel, lambda state: replace(state, failures=0, open_until=None)
            )
            known = Remembered(known.delivery, known.notification, heard, known.thread)
        return self._give_up(ref, known, policy, Reason.CHANNEL_REFUSED, error, now)

    def _delivered(
        self,
        ref: DeliveryRef,
        known: Remembered,
        policy: Policy,
        receipt: Receipt,
        now: datetime,
    ) -> DeliveryState:
        after = replace(
            known.delivery,
            state=DeliveryState.DELIVERED,
            reason=Reason.DELIVERED,
            look_at=None,
            delivered_at=now,
            receipt=receipt.id,
            status=receipt.status,
            error="",
        )
        self._keep_sent(known.delivery, after, ref, receipt.thread)
        self._measure(after)
        latency = max(0.0, (now - after.made_at).total_seconds())
        self.meter.record("DeliveryLatency", latency, {"channel": after.channel})
        self._measure_alert(known.notification, after, now)
        if known.channel.failures or known.channel.troubled:
            self._recover(ref, known.channel, policy, now)
        return after.state

    def _keep_sent(
        self, claimed: Delivery, after: Delivery, ref: DeliveryRef, thread: Thread | None
    ) -> None:
        """Keep what a channel took; what stands in the way of that must not have it sent again."""
        for attempt in range(_TRIES):
            try:
                self.outbox.keep(claimed, after, ref, thread)
                return
            except TransientError:
                # another message in the same thread, or OnDue looking at the same row, or throttling
                there = self.outbox.recall_deliveries([ref]).get(ref.id)
                is_ours = there is not None and there.delivery.version == claimed.version
                if not is_ours or attempt == _TRIES - 1:
                    raise

    def _failed(
        self,
        ref: DeliveryRef,
        known: Remembered,
        policy: Policy,
        error: ChannelFailedError,
        now: datetime,
    ) -> DeliveryState:
        delivery, terms = known.delivery, policy.delivery
        backoff = min(LONGEST_BACKOFF, 2.0**delivery.attempts) * (0.5 + self.chance() / 2)
        delay = max(error.retry_after or 0.0, backoff)
        at = now + timedelta(seconds=delay)
        paused = self._pause(ref, known.channel, policy, error, now)
        known = Remembered(delivery, known.notification, paused, known.thread)
        too_late = _age(delivery, at) > terms.give_up_after
        if too_late or delivery.attempts >= terms.attempts:
            return self._give_up(ref, known, policy, Reason.GIVEN_UP, error, now)
        busy = error.retry_after is not None
        failed = replace(delivery, error=str(error), status=error.status)
        reason = Reason.CHANNEL_BUSY if busy else Reason.CHANNEL_FAILED
        return self._wait(ref, failed, reason, at, now, known.delivery)

    def _wait(
        self,
        ref: DeliveryRef,
        delivery: Delivery,
        reason: Reason,
        at: datetime,
        now: datetime,
        before: Delivery | None = None,
    ) -> DeliveryState:
        """Try again at a time: the row says so, and a delayed message wakes for it."""
        if before is None:
            # those that wait for a channel do not all come back in the same second
            at += timedelta(seconds=self.chance() * 10)
        after = replace(
            delivery,
            state=DeliveryState.FAILED if delivery.attempts else DeliveryState.PENDING,
            reason=reason,
            next_attempt_at=at,
            look_at=at + _LOOK_AFTER,
        )
        kept = self.outbox.keep(before or delivery, after, ref)
        self._measure(kept)
        self._wake_at(ref, at, now)
        return kept.state

    def _wake_at(self, ref: DeliveryRef, at: datetime, now: datetime) -> None:
        delay = max(0.0, (at - now).total_seconds())
        if delay > LONGEST_DELAY:
            self.queue.put([replace(ref, at=now + timedelta(seconds=LONGEST_DELAY))], LONGEST_DELAY)
        else:
            self.queue.put([replace(ref, at=at)], delay)

    def _give_up(
        self,
        ref: DeliveryRef,
        known: Remembered,
        policy: Policy,
        reason: Reason,
        error: GuiderailError,
        now: datetime,
    ) -> DeliveryState:
        """Say so where people look, and tell the fallback; a crash in between does all of it again."""
        delivery = known.delivery
        # nothing would ever end an incident about a channel that is no more
        if known.notification.kind is not MessageKind.TEST and reason is not Reason.CHANNEL_GONE:
            self._open_incident(ref, known.channel, policy, error, now)
        if known.notification.kind is not MessageKind.TEST:
            self.dead_letters.put(msgspec.json.encode(ref).decode(), error)
        instead = self._fallback(known, policy, error, now)
        after = replace(
            delivery,
            state=DeliveryState.DEAD,
            reason=reason,
            look_at=None,
            next_attempt_at=None,
            error=str(error),
            status=getattr(error, "status", 0),
        )
        self.outbox.keep(delivery, after, ref, None, [instead] if instead else [])
        self._measure(after, fallback=[d.channel for d in instead.deliveries] if instead else [])
        if instead:
            self.queue.put([ref_of(d, known.notification, now) for d in instead.deliveries])
        return after.state

    def _supersede(self, ref: DeliveryRef, delivery: Delivery) -> DeliveryState:
        after = replace(delivery, state=DeliveryState.DEAD, reason=Reason.SUPERSEDED, look_at=None)
        self.outbox.keep(delivery, after, ref)
        self._measure(after)
        return after.state

    def _fallback(
        self, known: Remembered, policy: Policy, error: GuiderailError, now: datetime
    ) -> Outgoing | None:
        delivery, notification = known.delivery, known.notification
        if delivery.kind is ChannelKind.BUS or notification.kind in (*QUIET, MessageKind.TEST):
            return None
        tried = (*delivery.tried, delivery.receiver)
        receiver = policy.receivers.get(delivery.receiver)
        fallback = receiver.fallback if receiver else ""
        known_fallback = fallback and fallback not in tried
        channels = channels_of(policy, fallback) if known_fallback else (TOPIC,)
        there = {d.id for d in self.outbox.deliveries_of(notification.id, notification.made_at)}
        to = fallback if known_fallback else delivery.receiver
        made = [
            replace(
                delivery_of(notification, to, channel, now),
                reason=Reason.FALLBACK,
                fallback_for=delivery.channel,
                tried=tried,
                error=str(error),
            )
            for channel in channels
        ]
        fresh = tuple(d for d in made if d.id not in there)
        return Outgoing(notification=notification, deliveries=fresh) if fresh else None

    def _pause(
        self,
        ref: DeliveryRef,
        state: ChannelState,
        policy: Policy,
        error: ChannelFailedError,
        now: datetime,
    ) -> ChannelState:
        """Leave a channel alone for as long as it asks, or after too many failures in a row."""
        terms = policy.delivery

        def paused(state: ChannelState) -> ChannelState:
            if error.retry_after is not None:
                return replace(state, open_until=now + timedelta(seconds=error.retry_after))
            failures = state.failures + 1
            over = failures - terms.breaker_failures
            if over < 0:
                return replace(state, failures=failures, open_until=None)
            pause = min(_LONGEST_PAUSE, terms.breaker_pause * 2.0 ** min(over, _MOST_DOUBLINGS))
            return replace(state, failures=failures, open_until=now + timedelta(seconds=pause))

        return self._change_channel(ref, state, paused)

    def _recover(
        self, ref: DeliveryRef, state: ChannelState, policy: Policy, now: datetime
    ) -> None:
        """A channel works again: its breaker closes, and an incident about it ends."""
        try:
            if state.troubled:
                self._see_channel(ref, (), policy, "taken", now)

            def recovered(known: ChannelState) -> ChannelState:
                # trouble that came since it was read stays: a later success ends it
                troubled = known.troubled and not state.troubled
                return ChannelState(version=known.version, troubled=troubled)

            self._change_channel(ref, state, recovered)
        except TransientError as error:
            # the next success says it again
            self.journal.warning(
                "channel's recovery not kept", channel=ref.channel, reason=error.code
            )

    def _open_incident(
        self,
        ref: DeliveryRef,
        state: ChannelState,
        policy: Policy,
        error: GuiderailError,
        now: datetime,
    ) -> None:
        # first, and in any case, so that there is no incident that nothing ends
        self._change_channel(ref, state, lambda known: replace(known, troubled=True))
        judgement = own_judgement(_CHECK, ref.channel, str(error), Severity.ERROR)
        self._see_channel(ref, (judgement,), policy, "given up", now)

    def _see_channel(
        self,
        ref: DeliveryRef,
        judgements: Sequence[Judgement],
        policy: Policy,
        what: str,
        now: datetime,
    ) -> None:
        """Let the channel's own ledger see what became of a delivery over it."""
        part = f"delivery {ref.channel}"
        for attempt in range(_TRIES):
            ledger = own_ledger(self.incidents, self.account, self.region, part)
            try:
                see(self.incidents, ledger, judgements, policy, f"{part} {ref.id} {what}", now)
                return
            except ConflictError:
                if attempt == _TRIES - 1:
                    raise

    def _change_channel(
        self,
        ref: DeliveryRef,
        state: ChannelState,
        change: Callable[[ChannelState], ChannelState],
    ) -> ChannelState:
        """Change what is known of a channel, also if other deliveries change it at the same time."""
        for attempt in range(_TRIES):
            after = change(state)
            try:
                self.outbox.keep_channel(ref.channel, after)
                return replace(after, version=after.version + 1)
            except ConflictError:
                there = self.outbox.recall_deliveries([ref]).get(ref.id)
                if there is None or attempt == _TRIES - 1:
                    raise
                state = there.channel
        raise AssertionError("unreachable")

    def _replies(
        self, notification: Notification, channel: Channel, policy: Policy, now: datetime
    ) -> tuple[tuple[Reply, ...], tuple[ReplyToken, ...]]:
        asked = _asked(notification, policy, now)
        if not (channel.kind.takes_replies and self.reply_url and asked.actions):
            return (), ()
        expires_at = now + timedelta(seconds=policy.delivery.link_life)
        part = notification.remediation
        if part and part.expires_at:
            expires_at = min(expires_at, part.expires_at)
        replies, tokens = [], []
        for action in asked.actions:
            token = self.new_token()
            url = f"{self.reply_url.rstrip('/')}/r/{token}"
            replies.append(Reply(action=action, token=token, url=url))
            tokens.append(
                ReplyToken(
                    digest=token_digest(token),
                    action=action,
                    incidents=asked.incidents,
                    labels={} if part else notification.fingerprint,
                    group=notification.group,
                    notification=notification.id,
                    channel=channel.name,
                    title=notification.title,
                    expires_at=expires_at,
                    remediation=part.id if part else "",
                )
            )
        return tuple(replies), tuple(tokens)

    def _drawn(self, known: Remembered, channel: Channel, show_values: bool) -> tuple[Picture, ...]:
        notification = known.notification
        if not channel.pictures or channel.kind not in _SHOW_PICTURES:
            return ()
        if channel.kind is ChannelKind.SLACK and known.thread and known.thread.root:
            return ()
        trends = {
            row.name: row.facts.trend
            for row in notification.rows
            if row.facts and len(row.facts.trend) > 1
        }
        if not notification.distributions and not trends:
            return ()
        try:
            return tuple(self.pictures.draw(notification.distributions, trends, show_values))
        except GuiderailError as error:
            # the words matter, and say by themselves what the pictures show
            self.journal.warning(
                "pictures not drawn", notification=notification.id, reason=error.code
            )
            return ()

    def _measure(self, delivery: Delivery, fallback: list[str] | None = None) -> None:
        reason = delivery.reason.value if delivery.reason else ""
        self.meter.record(
            "Deliveries",
            1,
            {"channel": delivery.channel, "state": delivery.state.value, "reason": reason},
        )
        log = self.journal.info if not delivery.error else self.journal.warning
        log(
            f"delivery {delivery.state.value}",
            delivery=delivery.id,
            notification=delivery.notification,
            channel=delivery.channel,
            reason=reason,
            attempts=delivery.attempts,
            receipt=delivery.receipt,
            error=delivery.error,
            fallback=fallback or [],
        )

    def _measure_alert(self, notification: Notification, delivery: Delivery, now: datetime) -> None:
        """How long it took from the end of the job until somebody could read of it."""
        ended = notification.detail.get("ended_at")
        if not ended or notification.kind is not MessageKind.NEWS:
            return
        if delivery.kind is ChannelKind.BUS:
            return
        where = {key: notification.attributes.get(key, "") for key in ("endpoint", "monitor")}
        latency = (now - datetime.fromisoformat(ended)).total_seconds()
        self.meter.record("AlertLatency", latency, where)


class _Asked(msgspec.Struct, frozen=True):
    """What people may answer to a message, and to which incidents."""

    actions: tuple[ReplyAction, ...] = ()
    incidents: tuple[str, ...] = ()


def _asked(notification: Notification, policy: Policy, now: datetime) -> _Asked:
    """What can be answered; nothing where nobody may, or where there is nothing to answer."""
    part = notification.remediation
    if part is not None:
        action = policy.remediations.get(part.action)
        may = (action.approvers if action else ()) or policy.replies.allowed
        waits = part.state is RemediationState.ASKED and (
            part.expires_at is None or now < part.expires_at
        )
        every = tuple(row.incident for row in notification.rows)
        return _Asked(REMEDIATION_ANSWERS, every) if may and waits else _Asked()
    incidents = tuple(r.incident for r in notification.rows if r.state is not RowState.OVER)
    if not (policy.replies.allowed and notification.kind in _ANSWERABLE and incidents):
        return _Asked()
    return _Asked(INCIDENT_ANSWERS, incidents)


def _asked_at(delivery: Delivery) -> datetime:
    return delivery.asked_at or delivery.made_at


def _age(delivery: Delivery, at: datetime) -> float:
    """Seconds since somebody asked for the delivery."""
    return (at - _asked_at(delivery)).total_seconds()


def _number_of(channel: Channel, notification: Notification) -> Thread | None:
    """What says that this message was sent, where an older one would open again what is over.

    A quiet change says less than what came before it, and holds back nothing; nor does what is said of a
    remediation, which is no state of the incident's.
    """
    n = notification
    in_order = channel.kind.is_incident_tool and n.kind not in QUIET and n.remediation is None
    return Thread(number=n.number) if in_order else None


def _is_superseded(channel: Channel, known: Remembered) -> bool:
    if known.notification.remediation is not None:
        return False
    newest = known.thread.number if known.thread else 0
    return channel.kind.is_incident_tool and newest > known.notification.number


def _comes_too_early(channel: Channel, known: Remembered, now: datetime) -> bool:
    """Whether what is said of a remediation has no thread or alert yet that it belongs into."""
    notification = known.notification
    belongs = notification.remediation is not None and bool(notification.episode)
    if not (belongs and channel.kind in _KEEP_THREADS) or known.thread is not None:
        return False
    return now < _asked_at(known.delivery) + PATIENCE


def _note(delivery: Delivery) -> str:
    if not delivery.fallback_for:
        return ""
    return f"You get this because {delivery.fallback_for} could not be reached: {delivery.error}"
