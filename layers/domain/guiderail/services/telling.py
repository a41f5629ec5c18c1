"""When a group is told, of what, and why not: Alertmanager's semantics as one pure step.

A group and what came in since go in; the group after it, messages and decisions come out. Nothing is
dropped because it is hidden: a hidden entry stays in its group, is looked at again when what hides it
may have ended, and is told then if it is still firing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from guiderail.model.incident import ChangeKind
from guiderail.model.notice import (
    Decision,
    Entry,
    Group,
    Held,
    InhibitionSource,
    Notice,
    Notification,
    Silence,
)
from guiderail.model.outcome import Reason
from guiderail.model.policy import UNHEALTHY_CHECKS, Policy, Route
from guiderail.services.alerting import attribute, printable, subject_line
from guiderail.services.hours import is_within, next_beginning
from guiderail.services.labels import labels_match, matches

MOST_LINES = 20
"""Incidents named in a message or event; the rest are counted."""

MOST_SECTIONS = 5
"""Runs described in a message; the rest are counted."""

_MOST_BYTES = 100_000
"""Of a message, and of an event: the execution that sends both takes 256 KB."""

_LONGEST_LABEL = 128

_MOST_IN_FULL = 4000
"""Entries beyond which a group keeps less of those that people know: an item has 400 KB."""

_MOST_HELD = 8000
"""Entries beyond which a group forgets the oldest of those: people were told, their end is not."""

_LABELS_KEPT = ("account", "region", "endpoint", "schedule", "monitor", "check", "severity")

_REMEMBERED = timedelta(days=1)
"""How long an end is remembered that nobody had to be told of."""

_OPENINGS = (ChangeKind.OPENED, ChangeKind.REOPENED, ChangeKind.WORSENED)
_SUBJECT_BEGINS = {
    Reason.REPEAT_DUE: "still open: ",
    Reason.ESCALATED: "nobody answered: ",
    Reason.FLAPPING: "flapping: ",
    Reason.SEVERITY_RAISED: "worse: ",
    Reason.WORSENED: "worse: ",
}
_NO_NEWS = (
    ChangeKind.ACKNOWLEDGED,
    ChangeKind.REMEDIATING,
    ChangeKind.VERIFYING,
    ChangeKind.STILLED,
    ChangeKind.HEARD_AGAIN,
)
"""People did these themselves, or they say that nobody is to hear: they change what is repeated."""


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
    return looking.kept(decisions, next_beginning(hours, now) or now + timedelta(hours=1))


def absorb(group: Group, notices: Iterable[Notice], now: datetime) -> Group:
    """Take notices into a group without telling anything: more of them are to come at once."""
    held, group = _absorbed(group, notices, now)
    # should the rest never come, the group is looked at again
    return replace(group, held=_bounded(held), due_at=now + timedelta(seconds=1))


def hiding_place(labels: Mapping[str, str]) -> str:
    """Where the inhibition sources of an incident stand: beside its endpoint, else its schedule."""
    where = labels.get("endpoint") or labels.get("schedule", "")
    return f"{labels.get('account', '')}#{labels.get('region', '')}#{where}"


def _absorbed(
    group: Group, notices: Iterable[Notice], now: datetime
) -> tuple[dict[str, Held], Group]:
    held = dict(group.held)
    subjects, sections, details = (
        dict(group.subjects),
        dict(group.sections),
        dict(group.details),
    )
    for notice in sorted(notices, key=lambda n: (n.made_at, n.id)):
        for entry in notice.entries:
            held[entry.incident] = _updated(held.get(entry.incident), entry, notice)
        if notice.section:
            # the newest run last
            details.pop(notice.ledger, None)
            details[notice.ledger] = notice.detail
            sections.pop(notice.ledger, None)
            sections[notice.ledger] = notice.section
            subjects[notice.ledger] = notice.subject
    # what came and went before anybody was told is nobody's news; it is remembered for a while, as
    # its beginning may still be waiting
    held = {
        key: h for key, h in held.items() if h.entry.firing or h.told or now - h.at < _REMEMBERED
    }
    return held, replace(group, subjects=subjects, sections=sections, details=details)


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
            notifications.append(self._notification(self._route.receiver, self._reasons()))
            decisions += [
                Decision(about=h.entry.incident, reason=self._reason_of(h), text=h.entry.line)
                for h in news
            ]
            self._mark_told()
        elif self._repeat_is_due():
            notifications.append(self._notification(self._route.receiver, (Reason.REPEAT_DUE,)))
            decisions += [
                Decision(about=h.entry.incident, reason=Reason.REPEAT_DUE) for h in self._unanswered
            ]
            self._group = replace(self._group, last_told_at=now, messages=self._group.messages + 1)
        notifications += self._escalations(decisions)
        return self.kept(decisions, None, notifications)

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
            made.append(self._notification(step.receiver, (Reason.ESCALATED,)))
            decisions += [
                Decision(about=h.entry.incident, reason=Reason.ESCALATED, text=step.receiver)
                for h in self._unanswered
            ]
            self._group = replace(
                self._group,
                escalated=self._group.escalated + 1,
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
            group = replace(group, first_told_at=None)
        if not any(h.told for h in self._unanswered):
            group = replace(group, unanswered_since=None, escalated=0)
        elif group.unanswered_since is None:
            group = replace(group, unanswered_since=self._now)
        ledgers = {
            key.partition("-")[0] for key, h in self._held.items() if h.entry.firing or h.told
        }
        newest = [key for key in group.sections if key in ledgers][-MOST_SECTIONS:]
        waiting = any(h.entry.firing or h.told for h in self._held.values())
        due = opening if opening and waiting else self._next_due(group)
        return Settled(
            group=replace(
                group,
                held=_bounded(self._held),
                subjects={key: group.subjects[key] for key in newest},
                sections={key: group.sections[key] for key in newest},
                details={key: group.details[key] for key in newest},
                runs=len(ledgers),
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

    def _notification(self, receiver: str, reasons: tuple[Reason, ...]) -> Notification:
        group = self._group
        shown = [*self._firing, *self._over]
        news = {id(h) for h in (*self._new, *self._changed, *self._over)}
        severity = max((h.entry.severity for h in shown), key=lambda s: s.rank)
        identity = f"{group.id}|{group.messages}|{receiver}|{group.escalated}"
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
        return Notification(
            id=f"notification-{hashlib.sha256(identity.encode()).hexdigest()[:40]}",
            group=group.id,
            route=self._route.name,
            receiver=receiver,
            reasons=reasons,
            severity=severity,
            subject=subject_line(self._subject(reasons)),
            message=self._message(reasons, news),
            detail_type=_detail_type(reasons, [h for h in shown if id(h) in news]),
            attributes={key: attribute(value) for key, value in attributes.items()},
            detail=self._detail(receiver, reasons, shown, news),
            made_at=self._now,
        )

    def _subject(self, reasons: Sequence[Reason]) -> str:
        if not self._firing:
            return f"resolved: {self._place()}"
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

    def _message(self, reasons: Sequence[Reason], news: set[int]) -> str:
        lines = [f"Why now:  {', '.join(reasons)}"]
        count = sum(h.entry.count for h in self._firing)
        if self._firing:
            lines += ["", f"Firing ({count}), worst first:", *self._lines(self._firing, news)]
        if self._over:
            lines += ["", f"Over ({len(self._over)}):", *self._lines(self._over, set())]
        hidden = Counter(
            f"{h.hidden.value}: {h.hidden_by}" for h in self._held.values() if h.hidden
        )
        if hidden:
            lines += ["", "Not shown:"]
            lines += [f"- {n} {why}" for why, n in hidden.most_common(MOST_SECTIONS)]
        text = "\n".join(printable(line) for line in lines)
        sections = list(self._group.sections.values())[-MOST_SECTIONS:]
        text = "\n\n".join([text, *sections])
        runs = self._runs()
        if runs > len(sections):
            text += f"\n\nand runs of {runs - len(sections)} more schedules"
        text = text.encode()[:_MOST_BYTES].decode(errors="ignore")
        return f"{text}\nGroup:    {self._group.id} (guiderail explain {self._group.id})\n"

    def _runs(self) -> int:
        return len({key.partition("-")[0] for key in self._held if self._held[key].entry.firing})

    def _lines(self, held: Sequence[Held], news: set[int]) -> list[str]:
        worst = sorted(
            held, key=lambda h: (id(h) not in news, -h.entry.severity.rank, not h.entry.firing)
        )
        lines = [_line(h, id(h) in news) for h in worst[:MOST_LINES]]
        rest = sum(h.entry.count for h in worst[MOST_LINES:])
        return [*lines, f"- and {rest} more"] if rest else lines

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
        # an event, and the execution that sends it, take 256 KB; what is left out stands in the report
        for field in ("findings", "evidence", "incidents"):
            if len(msgspec.json.encode(told)) > _MOST_BYTES:
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
        kept[key] = replace(kept[key], entry=replace(entry, line="", labels=labels))
    for key in sorted(known, key=lambda key: held[key].at)[: max(0, len(held) - _MOST_HELD)]:
        del kept[key]
    return kept


def _line(held: Held, is_news: bool) -> str:
    entry = held.entry
    notes = [entry.severity.value]
    if is_news:
        notes.append(entry.reason.value)
    if entry.acknowledged:
        notes.append("acknowledged")
    if entry.flapping:
        notes.append("flapping")
    return f"- {entry.line} [{', '.join(dict.fromkeys(notes))}] {entry.incident}"


def _detail_type(reasons: Sequence[Reason], news: Sequence[Held]) -> str:
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
