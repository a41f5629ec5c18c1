"""The use case behind ``on_due``: what waited long enough is told.

One pass over what is due: notices go into their groups, each group is settled and kept in one
transaction with its messages and their deliveries, and the deliveries are put on the queue after that. A
crash anywhere leaves rows that a later pass finds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from guiderail.errors import ConflictError, GuiderailError, TransientError
from guiderail.model.delivery import DeliveryRef, Outgoing, ref_of
from guiderail.model.identity import digest
from guiderail.model.incident import Ledger, ledger_of
from guiderail.model.judgement import Judgement
from guiderail.model.notice import MOST_DECISIONS, AuditEntry, Group, InhibitionSource, Notice
from guiderail.model.outcome import Reason
from guiderail.model.policy import LifeCycle, Policy, Route, Severity, Upstream
from guiderail.ports import (
    Clock,
    Deliveries,
    DeliveryQueue,
    Due,
    Incidents,
    Journal,
    Meter,
    Policies,
    PolicyInForce,
)
from guiderail.services.labels import routes_for
from guiderail.services.notices import facts_of_incident, incident_line
from guiderail.services.outbox import QUIET, digests_of, limited, outgoing_of, rate_window
from guiderail.services.own_incidents import keep_changes, own_judgement, own_ledger, see
from guiderail.services.telling import Settled, Surroundings, absorb, hiding_place, settle
from guiderail.services.upstream import correlate, members, upstream_scope
from guiderail.services.waking import Waking

TIME_TO_TELL = timedelta(seconds=40)
"""No new pass begins after this; the next minute goes on."""

MOST_ABSORBED = 90
"""Notices that one transaction takes into a group of which nothing is told yet."""

MOST_TOLD_WITH = 25
"""Notices in the transaction that tells; the rest of its 100 writes are for messages and deliveries."""

_LOOKED_AT = timedelta(minutes=5)
"""A delivery that was put on the queue again is not put there once more within this time."""

_QUEUED_AT_ONCE = 10

_LOOK_AHEAD = timedelta(minutes=5)
"""A group that is due takes in what it would otherwise tell in a second message minutes later."""


_TRIES = 3
_MOST_LEDGERS = 10
"""Ledgers that are read again for a repeat; entries of others say what they said before."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one invocation did."""

    messages: int = 0
    groups: int = 0
    notices: int = 0
    failed: int = 0
    remediations: int = 0

    def counts(self) -> dict[str, int]:
        """The counts by name."""
        return msgspec.structs.asdict(self)


class DueChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Tell what is due; ``account`` and ``region`` are those of the stack, for its own incidents."""

    incidents: Incidents
    policies: Policies
    outbox: Deliveries
    queue: DeliveryQueue
    meter: Meter
    journal: Journal
    clock: Clock
    waking: Waking | None = None
    account: str = ""
    region: str = ""

    def __call__(self, now: datetime | None = None) -> Told:
        """Tell all that is due.

        Args:
            now: The time to work with; the clock's without it.

        Raises:
            GuiderailError: Something could not be told; everything else was, and the next invocation
                tries again.
        """
        began = self.clock()
        now = now or began
        in_force = self.policies.current()
        told = Told()
        errors: list[GuiderailError] = []
        self._watch_policy(in_force, now, errors)
        self._wake(now, errors)
        while self.clock() - began < TIME_TO_TELL and (due := self.incidents.due(now)):
            before = told
            told = self._pass(due, self._early(due, now), in_force.policy, now, told, errors)
            if errors or told == before:
                break
        if self.waking:
            # after people heard: a proposal comes into the thread of its incident
            told = replace(told, remediations=self.waking(now, errors))
        if errors:
            raise errors[0]
        return told

    def _early(self, due: Due, now: datetime) -> Iterable[Notice]:
        """Notices that are due soon in groups that are told now."""
        looked_at = {notice.group for notice in due.notices}
        if not looked_at:
            return ()
        ahead = self.incidents.due(now + _LOOK_AHEAD).notices
        return [n for n in ahead if n.due_at > now and n.group in looked_at]

    def _pass(
        self,
        due: Due,
        early: Iterable[Notice],
        policy: Policy,
        now: datetime,
        told: Told,
        errors: list[GuiderailError],
    ) -> Told:
        messages = self._digest(due, policy, now, errors)
        by_group: dict[str, list[Notice]] = {group: [] for group in due.groups}
        for notice in (*due.notices, *early):
            by_group.setdefault(notice.group, []).append(notice)
        upstream: Mapping[str, str] = {}
        if policy.upstream:
            upstream = self._correlate((*due.notices, *early), policy, policy.upstream, now)
        silences = self.incidents.silences(now)
        sources: dict[str, tuple[InhibitionSource, ...]] = {}
        groups = notices = failed = 0
        sent: dict[str, int] = {}
        for group_id, its_notices in by_group.items():
            try:
                group, its_notices = self._absorbed(group_id, its_notices, now)
                if group is None and not its_notices:
                    continue
                if group is not None and not its_notices:
                    group = self._up_to_date(group)
                around = Surroundings(
                    policy=policy,
                    silences=silences,
                    sources=self._sources(group, its_notices, policy, sources),
                    upstream=upstream,
                )
                looked_at = group or _new_group(its_notices[0])
                route = routes_for(policy.route, looked_at.labels, looked_at.route)[0]
                settled = settle(looked_at, its_notices, route, around, now)
                outgoing = self._outgoing(settled, route, policy, sent)
                self.incidents.commit_group(
                    group, settled.group, its_notices, outgoing, _audit(settled, policy, now)
                )
            except ConflictError:
                # another invocation, or a person, was faster: it is looked at again when it is due
                continue
            except GuiderailError as error:
                # one group that cannot be told does not keep the others waiting
                self.journal.error("group not told", group=group_id, reason=error.code)
                errors.append(error)
                failed += 1
                continue
            groups, notices = groups + 1, notices + len(its_notices)
            self._measure(settled)
            for one in outgoing:
                messages += self._send(one, now, errors)
        return Told(
            messages=told.messages + messages,
            groups=told.groups + groups,
            notices=told.notices + notices,
            failed=told.failed + failed,
        )

    def _outgoing(
        self, settled: Settled, route: Route, policy: Policy, sent: dict[str, int]
    ) -> list[Outgoing]:
        made = [outgoing_of(notification, policy) for notification in settled.notifications]
        outgoing = [one for one in made if one]
        if not outgoing or route.at_most is None:
            return outgoing
        window = rate_window(route, outgoing[0].notification.made_at)
        if window and route.name not in sent:
            sent[route.name] = self.incidents.sent(route.name, window)
        counted = []
        for one in outgoing:
            counted.append(limited(one, route, sent[route.name]))
            sent[route.name] += counted[-1].window is not None
        return counted

    def _digest(self, due: Due, policy: Policy, now: datetime, errors: list[GuiderailError]) -> int:
        messages = 0
        for outgoing, listed in digests_of(due.digested, policy, now):
            try:
                self.incidents.commit_digest(outgoing, listed)
            except ConflictError:
                continue
            except GuiderailError as error:
                self.journal.error(
                    "digest not told", route=outgoing.notification.route, reason=error.code
                )
                errors.append(error)
                continue
            messages += self._send(outgoing, now, errors)
        return messages

    def _wake(self, now: datetime, errors: list[GuiderailError]) -> None:
        """Put deliveries on the queue again whose message there may be lost."""
        try:
            overdue = self.outbox.overdue(now)
            if overdue:
                self.journal.warning("deliveries looked at again", count=len(overdue))
            for start in range(0, len(overdue), _QUEUED_AT_ONCE):
                refs = overdue[start : start + _QUEUED_AT_ONCE]
                # queued first: a crash in between has them looked at twice, never too late
                self.queue.put([replace(ref, at=now) for ref in refs])
                for ref in refs:
                    self._look_later(ref, now + _LOOKED_AT)
        except GuiderailError as error:
            errors.append(error)

    def _look_later(self, ref: DeliveryRef, at: datetime) -> None:
        try:
            self.outbox.look_later(ref, at)
        except TransientError as error:
            # somebody is at it this moment; the next minute looks at it once more
            self.journal.info("delivery not put off", delivery=ref.id, reason=error.code)

    def _absorbed(
        self, group_id: str, notices: list[Notice], now: datetime
    ) -> tuple[Group | None, list[Notice]]:
        """The group, after all notices that do not fit the transaction that tells of them."""
        group = self.incidents.group(group_id)
        while (more := len(notices) - MOST_TOLD_WITH) > 0:
            now_taken = min(more, MOST_ABSORBED)
            first, notices = notices[:now_taken], notices[now_taken:]
            after = absorb(group or _new_group(first[0]), first, now)
            self.incidents.commit_group(group, after, first, (), None)
            group = self.incidents.group(group_id)
        return group, notices

    def _up_to_date(self, group: Group) -> Group:
        """A group that may repeat itself says what its incidents' ledgers know now."""
        ledgers = dict.fromkeys(ledger_of(key) for key in group.held)
        held, facts = dict(group.held), dict(group.facts)
        for ledger_id in list(ledgers)[:_MOST_LEDGERS]:
            ledger = self.incidents.ledger(ledger_id)
            for key, incident in (ledger.incidents if ledger else {}).items():
                if key in held:
                    entry = replace(held[key].entry, line=incident_line(incident))
                    held[key] = replace(held[key], entry=entry)
                if key in facts:
                    facts[key] = facts_of_incident(incident, facts[key])
        return replace(group, held=held, facts=facts)

    def _sources(
        self,
        group: Group | None,
        notices: Iterable[Notice],
        policy: Policy,
        known: dict[str, tuple[InhibitionSource, ...]],
    ) -> Mapping[str, tuple[InhibitionSource, ...]]:
        if not policy.inhibitions:
            return {}
        entries = [entry for notice in notices for entry in notice.entries]
        entries += [held.entry for held in group.held.values()] if group else []
        for place in {hiding_place(e.labels) for e in entries if e.firing} - known.keys():
            known[place] = tuple(self.incidents.sources(place))
        return known

    def _correlate(
        self, notices: tuple[Notice, ...], policy: Policy, upstream: Upstream, now: datetime
    ) -> Mapping[str, str]:
        scope = upstream_scope(self.account, self.region)
        for attempt in range(_TRIES):
            before = self.incidents.ledger(scope.ledger_id) or Ledger(scope=scope)
            after, changes = correlate(before, notices, upstream, now)
            if after == before:
                break
            try:
                identity = f"upstream|{now}"
                keep_changes(self.incidents, after, changes, policy, identity, now)
                break
            except ConflictError:
                # somebody acknowledged one of them: what was seen must not be lost by that
                if attempt == _TRIES - 1:
                    raise
        return members(after)

    def _watch_policy(
        self, in_force: PolicyInForce, now: datetime, errors: list[GuiderailError]
    ) -> None:
        """Keep an incident about the policy itself while it is missing or cannot be read."""
        try:
            ledger = own_ledger(self.incidents, self.account, self.region, "policy")
            firing = {i.check for i in ledger.incidents.values() if i.state.is_firing}
            wanted = {in_force.trouble.value} if in_force.trouble else set()
            policy = in_force.policy
            if firing == wanted and not _may_calm(ledger, policy.life_cycle, now):
                return
            judgements = (_about_policy(in_force),) if in_force.trouble else ()
            see(self.incidents, ledger, judgements, policy, "policy", now)
        except ConflictError:
            return
        except GuiderailError as error:
            errors.append(error)

    def _send(self, outgoing: Outgoing, now: datetime, errors: list[GuiderailError]) -> int:
        """Put a notification's deliveries on the queue; should that fail, they are overdue soon."""
        notification = outgoing.notification
        refs: list[DeliveryRef] = [ref_of(d, notification, now) for d in outgoing.deliveries]
        try:
            self.queue.put(refs)
        except GuiderailError as error:
            self.journal.error(
                "deliveries not queued", notification=notification.id, reason=error.code
            )
            errors.append(error)
        reasons = [reason.value for reason in notification.reasons]
        for reason in reasons:
            self.meter.record(
                "Notifications", 1, {"receiver": notification.receiver, "reason": reason}
            )
        self.journal.info(
            "people are told" if outgoing.digest_at is None else "people are told in a digest",
            notification=notification.id,
            group=notification.group,
            route=notification.route,
            receiver=notification.receiver,
            reasons=reasons,
            channels=[delivery.channel for delivery in outgoing.deliveries],
        )
        return 1

    def _measure(self, settled: Settled) -> None:
        counts = Counter(decision.reason.value for decision in settled.decisions)
        where = {
            "endpoint": settled.group.labels.get("endpoint", ""),
            "monitor": settled.group.labels.get("monitor", ""),
        }
        for reason, count in counts.items():
            self.meter.record("Decisions", count, {**where, "reason": reason})
        if counts:
            self.journal.info(
                "group settled",
                group=settled.group.id,
                route=settled.group.route,
                decisions=dict(counts),
                messages=len(settled.notifications),
                due_at=settled.group.due_at.isoformat() if settled.group.due_at else "",
            )


def _new_group(notice: Notice) -> Group:
    return Group(id=notice.group, route=notice.route, labels=notice.group_labels)


def _may_calm(ledger: Ledger, life_cycle: LifeCycle, now: datetime) -> bool:
    """Whether an incident that was said to flap has been calm for long enough to say so."""
    since = now.timestamp() - life_cycle.flap_window
    return any(
        incident.flapping and sum(at >= since for at in incident.changes) < life_cycle.flap_changes
        for incident in ledger.incidents.values()
    )


def _audit(settled: Settled, policy: Policy, now: datetime) -> AuditEntry | None:
    told = [n.id for n in settled.notifications if n.kind not in QUIET]
    if not settled.decisions and not told:
        return None
    return AuditEntry(
        id=digest(f"{settled.group.id}|{now}", 16),
        subject=settled.group.id,
        at=now,
        actor="guiderail",
        what="told" if told else "held",
        policy_version=policy.version,
        counts=dict(Counter(decision.reason.value for decision in settled.decisions)),
        decisions=settled.decisions[:MOST_DECISIONS],
        run={"notifications": told} if told else {},
    )


def _about_policy(in_force: PolicyInForce) -> Judgement:
    trouble = in_force.trouble or Reason.POLICY_UNREADABLE
    severity = Severity.INFO if trouble is Reason.POLICY_MISSING else Severity.ERROR
    return own_judgement(trouble.value, "policy", in_force.evidence, severity)
