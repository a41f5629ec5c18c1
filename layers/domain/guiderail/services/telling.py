"""When a group is told, of what, and why not: Alertmanager's semantics as one pure step.

A group and what came in since go in; the group after it, messages and decisions come out. Nothing is
dropped because it is hidden: a hidden entry stays in its group, is looked at again when what hides it
may have ended, and is told then if it is still firing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from guiderail.model.identity import notification_id
from guiderail.model.incident import ChangeKind, ledger_of
from guiderail.model.message import (
    Distribution,
    Facts,
    MessageKind,
    Notification,
    Row,
    RowState,
)
from guiderail.model.notice import (
    Decision,
    Entry,
    Group,
    Held,
    InhibitionSource,
    Notice,
    Silence,
)
from guiderail.model.outcome import Reason
from guiderail.model.policy import UNHEALTHY_CHECKS, Policy, Route
from guiderail.rendering.wording import cut, printable, subject_line
from guiderail.services.alerting import attribute
from guiderail.services.distributions import MOST_DISTRIBUTIONS
from guiderail.services.hours import is_within, next_beginning
from guiderail.services.labels import labels_match, matches

MOST_LINES = 20
"""Incidents named in a message or event; the rest are counted."""

MOST_RUNS = 5
"""Runs described in a message; the rest are counted."""

MOST_FACTS = 200
"""Incidents of a group of which it keeps what was measured, the newest."""

_MOST_BYTES = 100_000
"""Of what the bus carries: an event takes 256 KB."""

MOST_BYTES_OF_MESSAGE = 250_000
"""Of a notification: it is one item of the table, which takes 400 KB."""

_LONGEST_LABEL = 128

_MOST_IN_FULL = 4000
"""Entries beyond which a group keeps less of those that people know: an item has 400 KB."""

_MOST_HELD = 8000
"""Entries beyond which a group forgets the oldest of those: people were told, their end is not."""

_LABELS_KEPT = ("account", "region", "endpoint", "schedule", "monitor", "check", "severity")

_MOST_HIDDEN = 5
"""Causes of not being shown that a message names."""

_REMEMBERED = timedelta(days=1)
"""How long an end is remembered that nobody had to be told of."""

_OPENINGS = (ChangeKind.OPENED, ChangeKind.REOPENED, ChangeKind.WORSENED)
_SUBJECT_BEGINS = {
    Reason.REPEAT_DUE: "still open: ",
    Reason.ESCALATED: "nobody answered: ",
    Reason.FLAPPING: "flapping: ",
    Reason.SEVERITY_RAISED: "worse: ",
    Reason.WORSENED: "worse: ",
    Reason.ACKNOWLEDGED: "acknowledged: ",
    Reason.REMEDIATION_STARTED: "being fixed: ",
    Reason.REMEDIATION_FINISHED: "fix to be proven: ",
}
_NO_NEWS = (
    ChangeKind.ACKNOWLEDGED,
    ChangeKind.REMEDIATING,
    ChangeKind.VERIFYING,
    ChangeKind.STILLED,
    ChangeKind.HEARD_AGAIN,
)
"""People did these themselves, or they say that nobody is to hear: they change what is repeated."""

_QUIET = {
    Reason.ACKNOWLEDGED: "IncidentAcknowledged",
    Reason.REMEDIATION_STARTED: "RemediationStarted",
    Reason.REMEDIATION_FINISHED: "RemediationFinished",
}
"""What incident tools have to know and people do not, with the type of its event."""

_REMEDIATIONS = (Reason.REMEDIATION_STARTED, Reason.REMEDIATION_FINISHED)
_ALL_ACKNOWLEDGED = "acknowledged"

_WHY = {
    Reason.FIRST_SEEN: "New: it was not there before.",
    Reason.NEW_FINDINGS: "More was found since the last message.",
    Reason.REOPENED: "It was over and has come back.",
    Reason.WORSENED: "It is much farther off than in the last message.",
    Reason.SEVERITY_RAISED: "Its severity rose.",
    Reason.FLAPPING: "It comes and goes; you will hear of it again when it is calm.",
    Reason.FLAPPING_ENDED: "It came and went, and is calm now.",
    Reason.UPSTREAM_SUSPECTED: "The same feature is off on several endpoints: its source is suspected.",
    Reason.RESOLVED: "It is over: enough runs without it.",
    Reason.RESOLVED_BY_HAND: "Somebody closed it.",
    Reason.ENDPOINT_CHANGED: "Its schedule watches another endpoint now, so no run will show how it ends.",
    Reason.ACKNOWLEDGED: "Somebody looks after it.",
    Reason.ASSIGNED: "Somebody was asked to look after it.",
    Reason.ACKNOWLEDGEMENT_WITHDRAWN: "Nobody looks after it any more.",
    Reason.REMEDIATION_STARTED: "An attempt to fix it has begun.",
    Reason.REMEDIATION_FINISHED: "An attempt to fix it is done; the next run shows whether it worked.",
    Reason.REMEDIATION_FAILED: "An attempt to fix it failed.",
    Reason.VERIFICATION_FAILED: "An attempt to fix it was done, and it is still there.",
    Reason.REMEDIATION_PROVEN: "An attempt to fix it worked: the runs after it are clean.",
    Reason.SUPPRESSED_DUPLICATE: "It is still there, and nobody was told yet.",
    Reason.REPEAT_DUE: "Nobody acknowledged it; this is a reminder.",
    Reason.ESCALATED: "Nobody acknowledged it in time.",
}  # fmt: skip
"""What changed, in a sentence per reason."""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What decides, besides the group, whether people are told.

    Attributes:
        sources: What hides others, by hiding place.
        upstream: Incidents that an upstream incident stands for, with its id.
    """

    policy: Policy
    silences: Sequence[Silence] = ()
    sources: Mapping[str, Sequence[InhibitionSource]] = {}
    upstream: Mapping[str, str] = {}


class Settled(msgspec.Struct, frozen=True, kw_only=True):
    """A group after a look at it."""

    group: Group
    notifications: tuple[Notification, ...] = ()
    decisions: tuple[Decision, ...] = ()


def settle(
    group: Group, notices: Iterable[Notice], route: Route, around: Surroundings, now: datetime
) -> Settled:
    """Take notices into a group and tell what has to be told now."""
    held, group = _absorbed(group, notices, now)
    hours = [h for name in route.active for h in around.policy.hours.get(name, ())]
    closed = bool(route.active) and not is_within(hours, now)
    held, decisions = _hidden(held, around, closed, now)
    looking = _Looking(group, held, route, around, now)
    if not closed:
        return looking.settled(decisions)
    # hours that never begin would hide for ever: look again in an hour
    opening = next_beginning(hours, now) or now + timedelta(hours=1)
    return looking.kept(decisions, opening, looking.quiet())


def absorb(group: Group, notices: Iterable[Notice], now: datetime) -> Group:
    """Take notices into a group without telling anything: more of them are to come at once."""
    held, group = _absorbed(group, notices, now)
    # should the rest never come, the group is looked at again
    return replace(group, held=_bounded(held), due_at=now + timedelta(seconds=1))


def sentence_of(reason: Reason) -> str:
    """What changed, for people; a reason without a sentence of its own is named."""
    return _WHY.get(reason, f"Something changed: {reason}.")


def hiding_place(labels: Mapping[str, str]) -> str:
    """Where the inhibition sources of an incident stand: beside its endpoint, else its schedule."""
    where = labels.get("endpoint") or labels.get("schedule", "")
    return f"{labels.get('account', '')}#{labels.get('region', '')}#{where}"


def _absorbed(
    group: Group, notices: Iterable[Notice], now: datetime
) -> tuple[dict[str, Held], Group]:
    held = dict(group.held)
    facts = dict(group.facts)
    subjects, details = dict(group.subjects), dict(group.details)
    run_parts, distributions = dict(group.run_parts), dict(group.distributions)
    for notice in sorted(notices, key=lambda n: (n.made_at, n.id)):
        for entry in notice.entries:
            key, known = entry.incident, held.get(entry.incident)
            held[key] = _updated(known, entry, notice)
            is_old = known is not None and notice.version < known.version
            # an act measures nothing: what the run before it did says more
            if key in notice.facts and not is_old and not (entry.kind in _NO_NEWS and key in facts):
                facts.pop(key, None)
                facts[key] = notice.facts[key]
        if notice.run is not None:
            # the newest run last
            for kept in (subjects, run_parts, details, distributions):
                kept.pop(notice.ledger, None)
            subjects[notice.ledger] = notice.subject
            run_parts[notice.ledger] = notice.run
            details[notice.ledger] = notice.detail
            if notice.distributions:
                distributions[notice.ledger] = notice.distributions
    # what came and went before anybody was told is nobody's news; it is remembered for a while, as
    # its beginning may still be waiting
    held = {
        key: h for key, h in held.items() if h.entry.firing or h.told or now - h.at < _REMEMBERED
    }
    return held, replace(
        group,
        facts=_kept_facts(facts, held),
        subjects=subjects,
        run_parts=run_parts,
        details=details,
        distributions=distributions,
    )


def _kept_facts(facts: Mapping[str, Facts], held: Mapping[str, Held]) -> dict[str, Facts]:
    """The newest facts of what a message may be about."""
    live = [key for key in facts if key in held and (held[key].entry.firing or held[key].told)]
    return {key: facts[key] for key in live[-MOST_FACTS:]}


def _updated(known: Held | None, entry: Entry, notice: Notice) -> Held:
    at, version = notice.made_at, notice.version
    if known is None:
        news = entry.firing and not entry.acknowledged
        return Held(entry=entry, at=at, version=version, news=news)
    if version < known.version:
        return known
    if entry.kind in _NO_NEWS:
        said = replace(entry, kind=known.entry.kind, line=known.entry.line)
        news = (known.news or not known.told) and not entry.acknowledged
        return replace(known, entry=said, at=at, version=version, news=news)
    # fewer of many that share an entry are no news
    fewer = entry.firing and entry.kind is ChangeKind.RESOLVED
    return replace(known, entry=entry, at=at, version=version, news=known.news or not fewer)


def _hidden(
    held: dict[str, Held], around: Surroundings, closed: bool, now: datetime
) -> tuple[dict[str, Held], list[Decision]]:
    decisions = []
    after = {}
    for key, one in held.items():
        reason, by = _why_hidden(one.entry, around, now)
        if reason is None and closed and (one.news or not one.entry.firing):
            reason = Reason.OUTSIDE_HOURS
        if not one.entry.firing and not one.told:
            reason, by = None, ""
        if (reason, by) != (one.hidden, one.hidden_by):
            if reason is not None:
                decisions.append(Decision(about=key, reason=reason, text=by))
            elif one.hidden is Reason.SILENCED:
                decisions.append(
                    Decision(about=key, reason=Reason.SILENCE_ENDED, text=one.hidden_by)
                )
            one = replace(one, hidden=reason, hidden_by=by)
        after[key] = one
    return after, decisions


def _why_hidden(entry: Entry, around: Surroundings, now: datetime) -> tuple[Reason | None, str]:
    for silence in around.silences:
        if silence.starts_at <= now < silence.ends_at and labels_match(silence.match, entry.labels):
            return Reason.SILENCED, f"silence {silence.id} of {silence.author}"
    if not entry.firing:
        return None, ""
    if entry.stilled:
        return entry.reason, "the policy"
    if upstream := around.upstream.get(entry.incident):
        return Reason.PART_OF_UPSTREAM, f"incident {upstream}"
    sources = around.sources.get(hiding_place(entry.labels), ())
    for inhibition in around.policy.inhibitions if sources else ():
        if not matches(inhibition.target, entry.labels):
            continue
        for source in sources:
            if (
                source.incident != entry.incident
                and matches(inhibition.source, source.labels)
                and all(source.labels.get(k) == entry.labels.get(k) for k in inhibition.same)
            ):
                check = source.labels.get("check", "")
                return (
                    Reason.INHIBITED_BY,
                    f"incident {source.incident} ({check}), by {inhibition.name}",
                )
    return None, ""


class _Looking:
    """One look at a group whose entries know what hides them."""

    def __init__(
        self,
        group: Group,
        held: dict[str, Held],
        route: Route,
        around: Surroundings,
        now: datetime,
    ) -> None:
        self._group = group
        self._held = held
        self._route = route
        self._around = around
        self._now = now
        seen = [h for h in held.values() if h.hidden is None]
        self._firing = [h for h in seen if h.entry.firing]
        self._new = [h for h in self._firing if h.news and not h.told]
        self._changed = [h for h in self._firing if h.news and h.told]
        self._over = [h for h in seen if not h.entry.firing and h.told]
        self._unanswered = [h for h in self._firing if not h.entry.acknowledged]

    def settled(self, decisions: list[Decision]) -> Settled:
        now = self._now
        news = (*self._new, *self._changed, *self._over)
        too_early = self._too_early()
        notifications: list[Notification] = []
        if news and too_early:
            decisions += [
                Decision(about=h.entry.incident, reason=Reason.WAITING_GROUP_INTERVAL)
                for h in news
                if h.news
            ]
        if news and not too_early:
            kind = MessageKind.RESOLVED if self._is_over else MessageKind.NEWS
            receivers = self._all_who_heard if self._is_over else (self._route.receiver,)
            notifications += [self._notification(r, kind, self._reasons()) for r in receivers]
            decisions += [
                Decision(about=h.entry.incident, reason=self._reason_of(h), text=h.entry.line)
                for h in news
            ]
            self._mark_told()
        elif self._repeat_is_due():
            notifications.append(
                self._notification(self._route.receiver, MessageKind.REPEAT, (Reason.REPEAT_DUE,))
            )
            decisions += [
                Decision(about=h.entry.incident, reason=Reason.REPEAT_DUE) for h in self._unanswered
            ]
            self._group = replace(self._group, last_told_at=now, messages=self._group.messages + 1)
        notifications += self._escalations(decisions)
        notifications += self.quiet()
        return self.kept(decisions, None, notifications)

    def quiet(self) -> list[Notification]:
        """What incident tools have to know and nobody has to hear: taken on, being fixed, fixed.

        Each such change is made once, and counts neither as told nor for repeats and escalations.
        """
        told = {k: h for k, h in self._held.items() if h.told and h.entry.firing}
        if told and all(h.entry.acknowledged for h in told.values()):
            # one word for all: what comes to it later is told unacknowledged first
            kind, now = MessageKind.ACKNOWLEDGED, {_ALL_ACKNOWLEDGED: Reason.ACKNOWLEDGED}
            in_sight = any(h.hidden is None for h in told.values())
            seen = {_ALL_ACKNOWLEDGED} if in_sight else set()
        else:
            steps = {f"{key} {h.entry.reason}": h for key, h in told.items()}
            kind = MessageKind.REMEDIATION
            now = {k: h.entry.reason for k, h in steps.items() if h.entry.reason in _REMEDIATIONS}
            seen = {key for key in now if steps[key].hidden is None}
        # what is out of sight is said when it is seen
        before = self._group.answered
        self._group = replace(
            self._group, answered=tuple(key for key in now if key in before or key in seen)
        )
        unsaid = {key: reason for key, reason in now.items() if key in seen and key not in before}
        if not unsaid:
            return []
        changed = {key.partition(" ")[0] for key in unsaid}
        self._firing = [h for h in self._held.values() if h.hidden is None and h.entry.firing]
        self._new, self._over = [], []
        self._changed = [
            h for h in self._firing if _ALL_ACKNOWLEDGED in unsaid or h.entry.incident in changed
        ]
        reasons = tuple(dict.fromkeys(unsaid.values()))
        made = [self._notification(r, kind, reasons) for r in self._all_who_heard]
        self._group = replace(self._group, quiet=self._group.quiet + 1)
        return made

    @property
    def _all_who_heard(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self._route.receiver, *self._group.heard_by)))

    def _too_early(self) -> bool:
        last = self._group.last_told_at
        if self._group.first_told_at is None or last is None:
            return False
        return self._now < last + timedelta(seconds=self._route.group_interval)

    def _repeat_is_due(self) -> bool:
        last = self._group.last_told_at
        told = [h for h in self._unanswered if h.told]
        if not told or last is None:
            return False
        return self._now >= last + timedelta(seconds=self._route.repeat_interval)

    def _reasons(self) -> tuple[Reason, ...]:
        listed = [self._reason_of(h) for h in (*self._new, *self._changed, *self._over)]
        return tuple(dict.fromkeys(listed))

    def _reason_of(self, held: Held) -> Reason:
        if not held.told and held.entry.reason is Reason.FIRST_SEEN:
            is_first = self._group.first_told_at is None
            return Reason.FIRST_SEEN if is_first else Reason.NEW_FINDINGS
        return held.entry.reason

    def _mark_told(self) -> None:
        told = {id(h) for h in (*self._new, *self._changed, *self._over)}
        # an end is remembered, not told again: older news of it may still be waiting
        self._held = {
            key: replace(h, told=h.entry.firing, news=False) if id(h) in told else h
            for key, h in self._held.items()
        }
        first = self._group.first_told_at or self._now
        self._group = replace(
            self._group,
            first_told_at=first,
            last_told_at=self._now,
            messages=self._group.messages + 1,
        )
        shown = [h for h in self._held.values() if h.hidden is None and h.entry.firing]
        self._unanswered = [h for h in shown if not h.entry.acknowledged]

    def _escalations(self, decisions: list[Decision]) -> list[Notification]:
        made: list[Notification] = []
        if not any(h.told for h in self._unanswered):
            return made
        first = self._group.unanswered_since or self._now
        for step in self._route.escalation[self._group.escalated :]:
            if self._now < first + timedelta(seconds=step.after):
                break
            # it is news to whoever hears of it only now
            made.append(self._notification(step.receiver, MessageKind.NEWS, (Reason.ESCALATED,)))
            decisions += [
                Decision(about=h.entry.incident, reason=Reason.ESCALATED, text=step.receiver)
                for h in self._unanswered
            ]
            self._group = replace(
                self._group,
                escalated=self._group.escalated + 1,
                heard_by=(*self._group.heard_by, step.receiver),
                messages=self._group.messages + 1,
            )
        return made

    def kept(
        self,
        decisions: list[Decision],
        opening: datetime | None,
        notifications: Sequence[Notification] = (),
    ) -> Settled:
        group = self._group
        if not any(h.told for h in self._held.values()):
            group = replace(group, first_told_at=None, answered=(), heard_by=())
        if not any(h.told for h in self._unanswered):
            group = replace(group, unanswered_since=None, escalated=0)
        elif group.unanswered_since is None:
            group = replace(group, unanswered_since=self._now)
        ledgers = {ledger_of(key) for key, h in self._held.items() if h.entry.firing or h.told}
        newest = [key for key in group.run_parts if key in ledgers][-MOST_RUNS:]
        waiting = any(h.entry.firing or h.told for h in self._held.values())
        due = opening if opening and waiting else self._next_due(group)
        return Settled(
            group=replace(
                group,
                held=_bounded(self._held),
                facts=_kept_facts(group.facts, self._held),
                subjects={key: group.subjects[key] for key in newest},
                run_parts={key: group.run_parts[key] for key in newest},
                details={key: group.details[key] for key in newest},
                distributions={
                    key: group.distributions[key] for key in newest if key in group.distributions
                },
                due_at=due,
            ),
            notifications=tuple(notifications),
            decisions=tuple(decisions),
        )

    def _next_due(self, group: Group) -> datetime | None:
        route, now = self._route, self._now
        due: list[datetime] = []
        hides = {h.hidden for h in self._held.values() if h.hidden is not None}
        if hides:
            # what hides them may end unseen, or be ended by hand
            due.append(now + timedelta(seconds=max(60.0, route.group_interval)))
        if Reason.SILENCED in hides:
            due += [s.ends_at for s in self._around.silences if s.ends_at > now]
        waits = any(
            h.hidden is None and (h.news if h.entry.firing else h.told) for h in self._held.values()
        )
        last = group.last_told_at
        if waits and last is not None:
            due.append(max(now, last + timedelta(seconds=route.group_interval)))
        if self._unanswered and last is not None:
            due.append(last + timedelta(seconds=route.repeat_interval))
            if group.unanswered_since and group.escalated < len(route.escalation):
                step = route.escalation[group.escalated]
                due.append(group.unanswered_since + timedelta(seconds=step.after))
        return max(min(due), now + timedelta(seconds=1)) if due else None

    def _notification(
        self, receiver: str, kind: MessageKind, reasons: tuple[Reason, ...]
    ) -> Notification:
        group = self._group
        shown = [*self._firing, *self._over]
        news = {id(h) for h in (*self._new, *self._changed, *self._over)}
        severity = max((h.entry.severity for h in shown), key=lambda s: s.rank)
        number = group.messages + group.quiet + 1
        identity = f"{group.id}|{number}|{receiver}|{group.escalated}"
        attributes = {
            "receiver": receiver,
            "route": self._route.name,
            "severity": severity.value,
            "reason": reasons[0].value,
        }
        for key in ("endpoint", "monitor"):
            values = {h.entry.labels.get(key, "") for h in shown}
            attributes[key] = values.pop() if len(values) == 1 else "several"
        outcomes = {str(d.get("outcome", "")) for d in group.details.values()}
        attributes["outcome"] = outcomes.pop() if len(outcomes) == 1 else "several"
        # the news first, and of both the worst
        worst = sorted(
            shown, key=lambda h: (id(h) not in news, not h.entry.firing, -h.entry.severity.rank)
        )
        title = printable(self._subject(reasons))
        runs = list(group.run_parts.values())[-MOST_RUNS:]
        return _fitting(
            Notification(
                id=notification_id(identity),
                group=group.id,
                route=self._route.name,
                receiver=receiver,
                kind=kind,
                reasons=reasons,
                severity=severity,
                title=title,
                subject=subject_line(title),
                made_at=self._now,
                number=number,
                episode=(group.first_told_at or self._now).isoformat(),
                place=printable(self._place()),
                why=(*map(sentence_of, reasons), self._why_you(receiver)),
                rows=tuple(self._row(h, id(h) in news) for h in worst[:MOST_LINES]),
                more=_incidents(worst[MOST_LINES:]),
                firing=_incidents(self._firing),
                over=_incidents(self._over),
                hidden=self._not_shown(),
                runs=tuple(runs),
                more_runs=max(0, self._runs() - len(runs)),
                owner=next((o for h in worst if (o := h.entry.labels.get("owner", ""))), ""),
                runbook=next((h.entry.runbook for h in worst if h.entry.runbook), ""),
                fingerprint={key: value for key, value in group.labels.items() if value},
                distributions=() if kind is MessageKind.RESOLVED else self._distributions(),
                detail_type=_detail_type(kind, reasons, [h for h in shown if id(h) in news]),
                attributes={key: attribute(value) for key, value in attributes.items()},
                detail=self._detail(receiver, reasons, shown, news),
            )
        )

    @property
    def _is_over(self) -> bool:
        """Whether nothing fires that people know of, in sight or not."""
        return not self._firing and not any(h.told and h.entry.firing for h in self._held.values())

    def _why_you(self, receiver: str) -> str:
        route = self._route.name
        if receiver != self._route.receiver:
            return printable(f"Route {route} tells {receiver} what nobody acknowledges.")
        common = ", ".join(v.replace("_", " ") for v in self._group.labels.values() if v)
        of = f"incidents of {common}" if common else "its incidents"
        return printable(f"Route {route} sends {of} to {receiver}.")

    def _row(self, held: Held, is_news: bool) -> Row:
        entry = held.entry
        return Row(
            incident=entry.incident,
            name=entry.name or cut(entry.labels.get("feature", "")) or entry.incident,
            check=cut(entry.labels.get("check", "")),
            severity=entry.severity,
            reason=entry.reason,
            state=_row_state(entry),
            line=printable(entry.line or entry.incident),
            news=is_news,
            count=entry.count,
            endpoint=cut(entry.labels.get("endpoint", "")),
            facts=self._group.facts.get(entry.incident),
        )

    def _not_shown(self) -> tuple[str, ...]:
        hidden = Counter(
            f"{h.hidden.value}: {h.hidden_by}" for h in self._held.values() if h.hidden
        )
        return tuple(printable(f"{n} {why}") for why, n in hidden.most_common(_MOST_HIDDEN))

    def _distributions(self) -> tuple[Distribution, ...]:
        newest_first = reversed(self._group.distributions.values())
        return tuple(d for made in newest_first for d in made)[:MOST_DISTRIBUTIONS]

    def _subject(self, reasons: Sequence[Reason]) -> str:
        if not self._firing:
            what = "resolved" if self._is_over else f"{_incidents(self._over)} over"
            return f"{what}: {self._place()}"
        begin = _SUBJECT_BEGINS.get(reasons[0], "") if len(reasons) == 1 else ""
        opened = [h for h in (*self._new, *self._changed) if h.entry.kind in _OPENINGS]
        ledgers = {h.entry.incident.partition("-")[0] for h in opened}
        own = [self._group.subjects[key] for key in ledgers if key in self._group.subjects]
        if len(own) == 1 and len(ledgers) == 1:
            return begin + own[0]
        if len(opened) == 1:
            return begin + opened[0].entry.line.partition(";")[0]
        count = sum(h.entry.count for h in self._firing)
        if self._over and not opened:
            return f"{len(self._over)} over, {count} still firing: {self._place()}"
        return f"{begin}{count} incident{'s' * (count != 1)}: {self._place()}"

    def _place(self) -> str:
        """The labels that the group has in common, the endpoint last."""
        labels = {**self._group.labels}
        endpoint = labels.pop("endpoint", "") or labels.pop("schedule", "")
        words = [v.replace("_", " ") for v in labels.values() if v]
        if not words and not endpoint:
            named = {h.entry.labels.get("feature_group", "") for h in self._firing} - {""}
            words = [f"feature group {name}" for name in sorted(named)] or ["monitoring"]
        return " ".join(words) + (f" of {endpoint}" if endpoint else "")

    def _runs(self) -> int:
        return len({ledger_of(key) for key, h in self._held.items() if h.entry.firing})

    def _detail(
        self, receiver: str, reasons: Sequence[Reason], shown: Sequence[Held], news: set[int]
    ) -> dict[str, object]:
        runs = list(self._group.details.values())
        newest = runs[-1] if runs else {}
        told = {
            **newest,
            "group": self._group.id,
            "route": self._route.name,
            "receiver": receiver,
            "why_now": [reason.value for reason in reasons],
            "runs": self._runs(),
            "incident_count": sum(h.entry.count for h in shown),
            "incidents": [
                {
                    "id": h.entry.incident,
                    "state": "firing" if h.entry.firing else "resolved",
                    "reason": h.entry.reason.value,
                    "severity": h.entry.severity.value,
                    "news": id(h) in news,
                    "labels": {k: v[:_LONGEST_LABEL] for k, v in h.entry.labels.items()},
                }
                for h in shown[:MOST_LINES]
            ],
        }
        # an event takes 256 KB; what is left out stands in the report
        for field in ("findings", "evidence", "incidents"):
            if len(msgspec.json.encode(told)) <= _MOST_BYTES:
                break
            told[field] = []
        return told


def _bounded(held: dict[str, Held]) -> dict[str, Held]:
    """What a group's item has room for: what people know already is kept shorter, then not at all."""
    if len(held) <= _MOST_IN_FULL:
        return held
    known = [key for key, h in held.items() if h.told and not h.news]
    kept = dict(held)
    for key in known:
        entry = kept[key].entry
        labels = {name: v for name, v in entry.labels.items() if name in _LABELS_KEPT}
        entry = replace(entry, line="", name="", runbook="", labels=labels)
        kept[key] = replace(kept[key], entry=entry)
    for key in sorted(known, key=lambda key: held[key].at)[: max(0, len(held) - _MOST_HELD)]:
        del kept[key]
    return kept


def _incidents(held: Iterable[Held]) -> int:
    return sum(h.entry.count for h in held)


def _row_state(entry: Entry) -> RowState:
    if not entry.firing:
        return RowState.OVER
    if entry.acknowledged:
        return RowState.ACKNOWLEDGED
    return RowState.FLAPPING if entry.flapping else RowState.FIRING


def _fitting(notification: Notification) -> Notification:
    """A notification that its item has room for: what stands in the report goes first."""
    for without in (_less_of_runs, _without_facts, _one_run, _short_lines):
        if len(msgspec.msgpack.encode(notification)) <= MOST_BYTES_OF_MESSAGE:
            break
        notification = without(notification)
    return notification


def _less_of_runs(told: Notification) -> Notification:
    runs = tuple(replace(run, evidence=run.evidence[:1]) for run in told.runs)
    return replace(told, runs=runs, distributions=())


def _without_facts(told: Notification) -> Notification:
    return replace(told, rows=tuple(replace(row, facts=None) for row in told.rows))


def _one_run(told: Notification) -> Notification:
    return replace(told, runs=told.runs[-1:], more_runs=told.more_runs + len(told.runs[:-1]))


def _short_lines(told: Notification) -> Notification:
    return replace(told, rows=tuple(replace(row, line=cut(row.line)) for row in told.rows))


def _detail_type(kind: MessageKind, reasons: Sequence[Reason], news: Sequence[Held]) -> str:
    if kind in (MessageKind.ACKNOWLEDGED, MessageKind.REMEDIATION):
        return _QUIET[reasons[0]]
    firing = [h for h in news if h.entry.firing]
    if Reason.REPEAT_DUE in reasons or Reason.ESCALATED in reasons:
        return "IncidentRepeated"
    if not firing:
        return "IncidentResolved"
    if all(h.told for h in firing):
        return "IncidentWorsened"
    if all(h.entry.labels.get("check") in UNHEALTHY_CHECKS for h in firing):
        return "RunUnhealthy"
    return "IncidentOpened"
