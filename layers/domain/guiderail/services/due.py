"""The use case behind ``on_due``: what waited long enough is told.

One pass over what is due: notices go into their groups, each group is settled and kept in one
transaction with its messages, and messages are published after that under their derived ids. A crash
anywhere leaves rows that the next pass finds.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from guiderail.errors import ConflictError, GuiderailError
from guiderail.model.alert import Alert
from guiderail.model.finding import Finding, Subject
from guiderail.model.incident import Change, Ledger, LedgerRun, Scope, ledger_of
from guiderail.model.judgement import Effective, Judgement
from guiderail.model.notice import (
    AuditEntry,
    Decision,
    Group,
    InhibitionSource,
    Notice,
    Notification,
)
from guiderail.model.outcome import Outcome, Reason
from guiderail.model.policy import SELF_MONITOR, LifeCycle, Policy, Severity, Upstream
from guiderail.ports import (
    Alerts,
    Clock,
    Due,
    Incidents,
    Journal,
    Meter,
    Policies,
    PolicyInForce,
)
from guiderail.services.incident_cycle import observe
from guiderail.services.labels import routes_for
from guiderail.services.notices import Telling, incident_line, notices_of, with_groups
from guiderail.services.telling import Settled, Surroundings, absorb, hiding_place, settle
from guiderail.services.upstream import correlate, members, upstream_scope

TIME_TO_TELL = timedelta(seconds=40)
"""No new pass begins after this; the next minute goes on."""

MOST_ABSORBED = 80
"""Notices that one transaction takes into a group."""

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

    def counts(self) -> dict[str, int]:
        """The counts by name."""
        return msgspec.structs.asdict(self)


class DueChanges(msgspec.Struct, frozen=True, kw_only=True):
    """Tell what is due; ``account`` and ``region`` are those of the stack, for its own incidents."""

    incidents: Incidents
    policies: Policies
    alerts: Alerts
    meter: Meter
    journal: Journal
    clock: Clock
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
        while self.clock() - began < TIME_TO_TELL and (due := self.incidents.due(now)):
            before = told
            told = self._pass(due, self._early(due, now), in_force.policy, now, told, errors)
            if errors or told == before:
                break
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
        messages = sum(self._publish(left, now, errors) for left in due.notifications)
        by_group: dict[str, list[Notice]] = {group: [] for group in due.groups}
        for notice in (*due.notices, *early):
            by_group.setdefault(notice.group, []).append(notice)
        upstream: Mapping[str, str] = {}
        if policy.upstream:
            upstream = self._correlate((*due.notices, *early), policy, policy.upstream, now)
        silences = self.incidents.silences(now)
        sources: dict[str, tuple[InhibitionSource, ...]] = {}
        groups = notices = failed = 0
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
                settled = self._settle(group, its_notices, around, now)
                self.incidents.commit_group(
                    group,
                    settled.group,
                    its_notices,
                    settled.notifications,
                    _audit(settled, policy, now),
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
            for notification in settled.notifications:
                messages += self._publish(notification, now, errors)
        return Told(
            messages=told.messages + messages,
            groups=told.groups + groups,
            notices=told.notices + notices,
            failed=told.failed + failed,
        )

    def _absorbed(
        self, group_id: str, notices: list[Notice], now: datetime
    ) -> tuple[Group | None, list[Notice]]:
        """The group, after all notices that do not fit the transaction that tells of them."""
        group = self.incidents.group(group_id)
        while len(notices) > MOST_ABSORBED:
            first, notices = notices[:MOST_ABSORBED], notices[MOST_ABSORBED:]
            after = absorb(group or _new_group(first[0]), first, now)
            self.incidents.commit_group(group, after, first, (), None)
            group = self.incidents.group(group_id)
        return group, notices

    def _up_to_date(self, group: Group) -> Group:
        """A group that may repeat itself says what its incidents' ledgers know now."""
        ledgers = dict.fromkeys(ledger_of(key) for key in group.held)
        held = dict(group.held)
        for ledger_id in list(ledgers)[:_MOST_LEDGERS]:
            ledger = self.incidents.ledger(ledger_id)
            for key, incident in (ledger.incidents if ledger else {}).items():
                if key in held:
                    entry = replace(held[key].entry, line=incident_line(incident))
                    held[key] = replace(held[key], entry=entry)
        return replace(group, held=held)

    def _settle(
        self, group: Group | None, notices: list[Notice], around: Surroundings, now: datetime
    ) -> Settled:
        group = group or _new_group(notices[0])
        route = routes_for(around.policy.route, group.labels, group.route)[0]
        return settle(group, notices, route, around, now)

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
                self._commit(after, changes, policy, Telling(id=f"upstream|{now}"), now)
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
        scope = Scope(account=self.account, region=self.region, schedule="guiderail-policy")
        try:
            ledger = self.incidents.ledger(scope.ledger_id) or Ledger(scope=scope)
            firing = {i.check for i in ledger.incidents.values() if i.state.is_firing}
            wanted = {in_force.trouble.value} if in_force.trouble else set()
            policy = in_force.policy
            if firing == wanted and not _may_calm(ledger, policy.life_cycle, now):
                return
            once = replace(policy.life_cycle, resolve_after=1)
            outcome = Outcome.VIOLATIONS if wanted else Outcome.CLEAN
            seen = LedgerRun(int(now.timestamp() * 1000), f"policy|{now}", outcome, judged=True)
            judgements = (_about_policy(in_force),) if in_force.trouble else ()
            observed = observe(ledger, seen, judgements, once, now)
            self._commit(
                observed.ledger, observed.changes, policy, Telling(id=f"policy|{now}"), now
            )
        except ConflictError:
            return
        except GuiderailError as error:
            errors.append(error)

    def _commit(
        self,
        ledger: Ledger,
        changes: tuple[Change, ...],
        policy: Policy,
        telling: Telling,
        now: datetime,
    ) -> None:
        after, routed, _ = with_groups(ledger, changes, policy, {})
        notices = notices_of(after, routed, policy, telling, now)
        audit = AuditEntry(
            id=_digest(telling.id),
            subject=after.id,
            at=now,
            actor="guiderail",
            what="clock",
            policy_version=policy.version,
            counts=dict(Counter(change.reason.value for change in routed)),
            decisions=tuple(
                Decision(about=c.incident.id, reason=c.reason, text=c.incident.description)
                for c in routed[:100]
            ),
        )
        self.incidents.commit_act(after, None, notices, audit)

    def _publish(
        self, notification: Notification, now: datetime, errors: list[GuiderailError]
    ) -> int:
        try:
            self.alerts.publish(_alert(notification))
            self.incidents.told(notification, now)
        except GuiderailError as error:
            self.journal.error(
                "message not published", notification=notification.id, reason=error.code
            )
            errors.append(error)
            return 0
        for reason in notification.reasons:
            self.meter.record(
                "Notifications", 1, {"receiver": notification.receiver, "reason": reason.value}
            )
        ended = notification.detail.get("ended_at")
        if ended and Reason.REPEAT_DUE not in notification.reasons:
            where = {key: notification.attributes[key] for key in ("endpoint", "monitor")}
            latency = (now - datetime.fromisoformat(ended)).total_seconds()
            self.meter.record("AlertLatency", latency, where)
        self.journal.info(
            "people told",
            notification=notification.id,
            group=notification.group,
            route=notification.route,
            receiver=notification.receiver,
            reasons=[reason.value for reason in notification.reasons],
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
    if not settled.decisions and not settled.notifications:
        return None
    told = [n.id for n in settled.notifications]
    return AuditEntry(
        id=_digest(f"{settled.group.id}|{now}"),
        subject=settled.group.id,
        at=now,
        actor="guiderail",
        what="told" if told else "held",
        policy_version=policy.version,
        counts=dict(Counter(decision.reason.value for decision in settled.decisions)),
        decisions=settled.decisions[:100],
        run={"notifications": told} if told else {},
    )


def _alert(notification: Notification) -> Alert:
    return Alert(
        alert_id=notification.id,
        subject=notification.subject,
        message=notification.message,
        detail_type=notification.detail_type,
        attributes=notification.attributes,
        detail={**notification.detail, "alert_id": notification.id},
    )


def _about_policy(in_force: PolicyInForce) -> Judgement:
    trouble = in_force.trouble or Reason.POLICY_UNREADABLE
    missing = trouble is Reason.POLICY_MISSING
    return Judgement(
        finding=Finding(
            kind=SELF_MONITOR,
            check=trouble.value,
            subject=Subject(metric="policy"),
            observed=None,
            threshold=None,
            direction=None,
            parsed=True,
            description=in_force.evidence,
        ),
        reason=Reason.COUNTS,
        effective=Effective(severity=Severity.INFO if missing else Severity.ERROR),
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
