"""Counts what happens in a replay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, timedelta

import msgspec
from guiderail.model.incident import Incident, Ledger, SetBy
from guiderail.model.judgement import Judgement
from guiderail.model.message import Notification
from guiderail.model.notice import Group
from guiderail.model.outcome import Direction, Reason
from guiderail.model.policy import Layer, Policy, Severity
from guiderail.services.following import Followed

from guiderail_cli.backtest.feedback import FeedbackWatch
from guiderail_cli.backtest.result import (
    Day,
    IncidentSummary,
    Line,
    Observation,
    PolicyResult,
    Share,
)
from guiderail_cli.backtest.thresholds import Noise, suggestions

BUILT_IN = SetBy("no line of the policy", 0)

_NO_DECISION = frozenset(
    {
        Reason.RETRAINING_NO_FINDINGS,
        Reason.RETRAINING_INCIDENT_KNOWN,
        Reason.RETRAINING_LEFT_TO_REMEDIATIONS,
    }
)
_MOST_NOISY = 15


class _Seen(msgspec.Struct):
    """What is counted of one incident."""

    incident: Incident
    ledger: Ledger
    worst: Severity
    first_opened: datetime
    opened: int = 0
    messages: int = 0
    lines: frozenset[SetBy] = frozenset()


class _LineCounts(msgspec.Struct):
    findings: int = 0
    counted: int = 0
    incidents: int = 0
    messages: int = 0
    held_back: Counter[str] = msgspec.field(default_factory=Counter)


class Tally:
    """Counts of one policy; ``result`` puts them together."""

    def __init__(self, name: str, policy: Policy, watch: FeedbackWatch | None = None) -> None:
        """Begin at nothing; ``watch`` follows what people called noise."""
        self._name = name
        self._watch = watch or FeedbackWatch()
        self._policy = policy
        self.outcomes: Counter[str] = Counter()
        self._findings: Counter[str] = Counter()
        self._told: Counter[str] = Counter()
        self._severities: Counter[str] = Counter()
        self._remediations: Counter[str] = Counter()
        self._retraining: Counter[str] = Counter()
        self._messages_on: Counter[date] = Counter()
        self._incidents_on: Counter[date] = Counter()
        self._of_owner: Counter[str] = Counter()
        self._to_owner: Counter[str] = Counter()
        self._to_receiver: Counter[str] = Counter()
        self._known_to: dict[str, set[str]] = {}
        self._resolved = 0
        self._lines: dict[SetBy, _LineCounts] = {}
        self._incidents: dict[str, _Seen] = {}
        self._lines_of: dict[str, frozenset[SetBy]] = {}
        self._judged_runs: Counter[str] = Counter()
        self._noise: dict[tuple[str, ...], Noise] = {}

    def see_run(self, followed: Followed) -> None:
        """Count a run and what became of its findings."""
        record = followed.record
        self.outcomes[record.reading.outcome.value] += 1
        if record.retraining.reason not in _NO_DECISION:
            self._retraining[record.retraining.reason.value] += 1
        if not record.reading.outcome.is_unhealthy:
            self._judged_runs[record.ledger] += 1
        for decision in followed.decisions:
            judgement = decision.judgement
            if judgement is None:
                continue
            self._findings[decision.reason.value] += 1
            self._watch.see_finding(
                decision.incident,
                followed.ledger.scope,
                judgement.finding,
                _time_of(followed),
                counts=judgement.counts,
            )
            lines = frozenset(judgement.set_by.values()) or _NO_LINES
            for line in lines:
                counts = self._lines.get(line) or self._lines.setdefault(line, _LineCounts())
                counts.findings += 1
                if judgement.counts:
                    counts.counted += 1
                else:
                    counts.held_back[decision.reason.value] += 1
            if judgement.counts:
                self._lines_of[decision.incident] = lines
                self._note_value(followed, decision.incident, judgement)

    def see_ledger(self, before: Ledger | None, after: Ledger, at: datetime) -> None:
        """Count the incidents that opened and ended."""
        known = before.incidents if before else {}
        for key, incident in after.incidents.items():
            old = known.get(key)
            if incident is old:
                continue
            if incident.opened_at is not None and (
                old is None or old.opened_at != incident.opened_at
            ):
                self._opened(after, incident, at)
            elif old is not None and old.state.is_firing and not incident.state.is_firing:
                self._resolved += 1
                self._watch.see_resolved(key, at)
            if incident.state.is_firing and (seen := self._incidents.get(key)):
                seen.worst = max(seen.worst, incident.severity, key=_rank)

    def see_message(self, notification: Notification) -> None:
        """Count a message, or a digest of several."""
        self._messages_on[notification.made_at.date()] += 1
        self._to_receiver[notification.receiver] += 1
        self._told.update(reason.value for reason in notification.reasons)

    def see_news(self, notification: Notification, group: Group) -> None:
        """Count whom and which incidents a notification is about, told alone or in a digest."""
        named = {entry["id"] for entry in notification.detail["incidents"]}
        if len(named) < notification.detail["incident_count"]:
            # the detail names the worst; the group knows all that are still firing
            named.update(key for key, held in group.held.items() if held.hidden is None)
        self._known_to.setdefault(notification.receiver, set()).update(named)
        self._watch.see_told(named)
        owners: set[str] = set()
        lines: set[SetBy] = set()
        for key in named:
            if seen := self._incidents.get(key):
                seen.messages += 1
                owners.add(seen.incident.owner)
                lines |= seen.lines
        self._to_owner.update(owners)
        for line in lines:
            self._lines[line].messages += 1

    def result(self, begin: datetime, end: datetime) -> PolicyResult:
        """Put together what was counted between two times."""
        days = [
            Day(day.isoformat(), self._messages_on[day], self._incidents_on[day])
            for day in _days(begin.date(), max([end.date(), *self._messages_on]))
        ]
        lines = self._all_lines()
        summaries = self.summaries()
        by_noise = sorted(summaries.values(), key=lambda s: (-s.opened, -s.messages, s.id))
        opened = {key: seen.opened for key, seen in self._incidents.items()}
        return PolicyResult(
            name=self._name,
            version=self._policy.version,
            incidents=sum(day.incidents for day in days),
            resolved=self._resolved,
            messages=sum(day.messages for day in days),
            days=tuple(days),
            findings=_ordered(self._findings),
            told=_ordered(self._told),
            severities={s.value: self._severities[s.value] for s in reversed(Severity)},
            lines=tuple(lines),
            owners=_shares(self._of_owner, self._to_owner),
            receivers=_shares(
                Counter({name: len(known) for name, known in self._known_to.items()}),
                self._to_receiver,
            ),
            remediations=_ordered(self._remediations),
            retraining=_ordered(self._retraining),
            noisiest=tuple(s for s in by_noise[:_MOST_NOISY] if s.opened > 1),
            never=tuple(
                line
                for line in lines
                if line.layer in (Layer.MODEL, Layer.RULE) and not line.incidents
            ),
            suggestions=suggestions(
                self._noise.values(), opened, (end - begin) / timedelta(days=1)
            ),
        )

    def summaries(self) -> dict[str, IncidentSummary]:
        """All incidents that opened, by id."""
        return {key: _summary(seen) for key, seen in self._incidents.items()}

    def _opened(self, ledger: Ledger, incident: Incident, at: datetime) -> None:
        seen = self._incidents.get(incident.id)
        if seen is None:
            seen = _Seen(incident, ledger, incident.severity, at)
            self._incidents[incident.id] = seen
        seen.incident = incident
        seen.opened += 1
        self._watch.see_opened(incident.id, at)
        seen.lines = self._lines_of.get(incident.id, _NO_LINES)
        self._incidents_on[at.date()] += 1
        self._severities[incident.severity.value] += 1
        self._of_owner[incident.owner] += 1
        if incident.remediation:
            self._remediations[incident.remediation] += 1
        for line in seen.lines:
            self._lines.setdefault(line, _LineCounts()).incidents += 1

    def _note_value(self, followed: Followed, incident: str, judgement: Judgement) -> None:
        finding = judgement.finding
        if finding.observed is None or finding.direction not in _ONE_SIDED:
            return
        scope = followed.ledger.scope
        setter = judgement.set_by.get("threshold")
        # findings of one line share its threshold; without one, a rule would be about this one alone
        key = (
            (setter.name, str(setter.line), finding.check)
            if setter
            else ("", "0", finding.check, incident)
        )
        noise = self._noise.get(key)
        if noise is None:
            noise = self._noise[key] = Noise.of(scope, finding, setter)
        noise.see(
            Observation(
                at=_time_of(followed).timestamp(),
                incident=incident,
                observed=finding.observed,
                run=self._judged_runs[followed.record.ledger],
            ),
            finding.threshold,
        )

    def _all_lines(self) -> list[Line]:
        known = {SetBy(rule.name, rule.line): rule.layer.value for rule in self._policy.rules}
        found = [*known, *(line for line in self._lines if line not in known)]
        lines = []
        for line in found:
            counts = self._lines.get(line, _LineCounts())
            lines.append(
                Line(
                    name=line.name,
                    line=line.line,
                    layer=known.get(line, "built-in"),
                    findings=counts.findings,
                    counted=counts.counted,
                    incidents=counts.incidents,
                    messages=counts.messages,
                    held_back=_ordered(counts.held_back),
                )
            )
        return sorted(lines, key=lambda line: (-line.incidents, -line.findings, line.line))


_NO_LINES = frozenset({BUILT_IN})
_ONE_SIDED = (Direction.ABOVE, Direction.BELOW, Direction.FARTHER_FROM_ZERO)


def _time_of(followed: Followed) -> datetime:
    return followed.record.run.ended_at or followed.record.recorded_at


def _summary(seen: _Seen) -> IncidentSummary:
    incident, scope = seen.incident, seen.ledger.scope
    return IncidentSummary(
        id=incident.id,
        endpoint=scope.endpoint,
        schedule=scope.schedule,
        monitor=incident.kind.value,
        check=incident.check,
        subject=str(incident.subject),
        severity=seen.worst.value,
        owner=incident.owner,
        opened=seen.opened,
        messages=seen.messages,
        first_opened=seen.first_opened.isoformat(),
        lines=tuple(sorted(f"{line.name} (line {line.line})" for line in seen.lines if line.line)),
    )


def _shares(incidents: Counter[str], messages: Counter[str]) -> tuple[Share, ...]:
    names = sorted({*incidents, *messages}, key=lambda n: (-messages[n], -incidents[n], n))
    return tuple(Share(name, incidents[name], messages[name]) for name in names)


def _ordered(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _days(first: date, last: date) -> Iterable[date]:
    return (first + timedelta(n) for n in range((last - first).days + 1))


def _rank(severity: Severity) -> int:
    return severity.rank
