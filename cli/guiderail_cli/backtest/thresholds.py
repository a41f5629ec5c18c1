"""A threshold that would have left less noise, from the values that fired.

The method, for the findings of one line of the policy (or of one incident where the report's own threshold
holds), all with the same check:

1. It is noisy if one of its incidents opened at least three times, and more than once a fortnight.
2. The longest incident is the longest sequence of a schedule's judged runs, one after the other, in which
   the same finding fired; of several the one whose worst value is the worst.
3. As many firings are wanted as that incident has runs, and one more per incident and 30 days.
4. The suggestion is the mildest threshold, among the values that fired, beyond which no more than the
   wanted firings lie. It is never beyond the worst value of the longest incident, which so stays seen.

The values that did not fire are not known, so a suggestion is never milder than today's threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from math import ceil, floor, log10
from operator import attrgetter

from guiderail.model.finding import Finding
from guiderail.model.incident import Scope, SetBy
from guiderail.model.outcome import Direction
from guiderail.reports.analysis import neutral_value

from guiderail_cli.backtest.result import Observation, Suggestion

LEAST_OPENINGS = 3
DAYS_PER_OPENING = 14.0
DAYS_PER_FIRING = 30.0
_MOST_SUGGESTIONS = 20
_MOST_VALUES = 2000


class Noise:
    """The values that fired under one threshold."""

    def __init__(self, rule: SetBy | None, match: dict[str, str], finding: Finding) -> None:
        """Begin with none; the finding tells check, unit and side."""
        self.rule = rule
        self.match = match
        self.check = finding.check
        self.unit = finding.unit or ""
        self.direction = finding.direction or Direction.ABOVE
        self.neutral = neutral_value(finding.subject.metric or "")
        self.threshold: float | None = None
        self.values: list[Observation] = []

    @classmethod
    def of(cls, scope: Scope, finding: Finding, rule: SetBy | None) -> Noise:
        """The noise that a finding begins; ``match`` is what a rule for it alone would have to match."""
        subject = finding.subject
        named = {
            "endpoint": scope.endpoint,
            "schedule": "" if scope.endpoint else scope.schedule,
            "monitor": scope.monitor.value,
            "feature": subject.feature or "",
            "metric": subject.metric or "",
            "facet": subject.facet or "",
            "label": subject.label or "",
        }
        match = {} if rule else {key: value for key, value in named.items() if value}
        return cls(rule, {**match, "check": finding.check}, finding)

    def see(self, value: Observation, threshold: float | None) -> None:
        """Take a value in; of several thresholds the mildest is kept."""
        self.values.append(value)
        if threshold is not None and (
            self.threshold is None or self.badness(threshold) < self.badness(self.threshold)
        ):
            self.threshold = threshold

    def badness(self, value: float) -> float:
        """How bad a value is: the higher, the worse."""
        if self.direction is Direction.BELOW:
            return -value
        if self.direction is Direction.FARTHER_FROM_ZERO:
            return abs(value - self.neutral)
        return value

    def value_of(self, badness: float) -> float:
        """The value that is so bad; for two-sided metrics the one above the neutral value."""
        if self.direction is Direction.BELOW:
            return -badness
        if self.direction is Direction.FARTHER_FROM_ZERO:
            return self.neutral + badness
        return badness


def suggestions(
    noises: Iterable[Noise], opened: Mapping[str, int], days: float
) -> tuple[Suggestion, ...]:
    """Suggest thresholds for what is noisy, the noisiest first.

    Args:
        noises: Values that fired, by what sets their threshold.
        opened: How often each incident opened.
        days: Length of the time that was replayed.
    """
    noisy = []
    for noise in noises:
        most = max((opened.get(key, 0) for key in {v.incident for v in noise.values}), default=0)
        if most >= LEAST_OPENINGS and most > days / DAYS_PER_OPENING:
            noisy.append(suggest(noise, opened, days))
    noisy.sort(key=lambda s: (-s.incidents, -s.firings, s.rule, sorted(s.match.items())))
    return tuple(noisy[:_MOST_SUGGESTIONS])


def suggest(noise: Noise, opened: Mapping[str, int], days: float) -> Suggestion:
    """Suggest a threshold by the method above."""
    longest = _longest(noise)
    of_longest = sorted(noise.badness(v.observed) for v in longest)
    fired = sorted((noise.badness(v.observed) for v in noise.values), reverse=True)
    incidents = {v.incident for v in noise.values}
    wanted = len(longest) + ceil(days / DAYS_PER_FIRING) * len(incidents)
    limit = max((b for b in fired if b < of_longest[-1]), default=None)
    suggested: float | None = None
    if len(fired) > wanted and limit is not None:
        suggested = noise.value_of(_rounded(min(fired[wanted], limit), of_longest[-1]))
    left = fired if suggested is None else [b for b in fired if b > noise.badness(suggested)]
    kept = (
        of_longest if suggested is None else [b for b in of_longest if b > noise.badness(suggested)]
    )
    return Suggestion(
        rule=noise.rule.name if noise.rule else "",
        line=noise.rule.line if noise.rule else 0,
        match=noise.match,
        check=noise.check,
        direction=noise.direction.value,
        unit=noise.unit,
        threshold=noise.threshold,
        suggested=suggested,
        incidents=sum(opened.get(key, 0) for key in incidents),
        firings=len(fired),
        firings_left=len(left),
        longest=len(longest),
        longest_kept=len(kept),
        note=_note(suggested, len(longest), len(kept)),
        values=tuple(noise.values[-_MOST_VALUES:]),
    )


def _longest(noise: Noise) -> Sequence[Observation]:
    """The longest sequence of runs in a row in which one incident fired."""
    best: list[Observation] = []
    for _, of_incident in groupby(
        sorted(noise.values, key=attrgetter("incident", "run")), attrgetter("incident")
    ):
        current: list[Observation] = []
        for value in of_incident:
            if current and value.run > current[-1].run + 1:
                best = _longer(noise, best, current)
                current = []
            current.append(value)
        best = _longer(noise, best, current)
    return best


def _longer(noise: Noise, one: list[Observation], other: list[Observation]) -> list[Observation]:
    def length(values: list[Observation]) -> tuple[int, float]:
        return len(values), max((noise.badness(v.observed) for v in values), default=0.0)

    return other if length(other) > length(one) else one


def _rounded(badness: float, below: float) -> float:
    """Round away from the mild side, to as few digits as stay below the worst of the longest."""
    if badness == 0:
        return badness
    for digits in range(2, 8):
        step = 10.0 ** (floor(log10(abs(badness))) - digits + 1)
        rounded = float(f"{ceil(badness / step) * step:.12g}")
        if rounded < below:
            return rounded
    return badness


def _note(suggested: float | None, longest: int, kept: int) -> str:
    if suggested is None:
        return "no threshold helps without hiding the longest incident: try `for: 2 of 3`"
    if 2 * kept < longest:
        return (
            "noise is as far from the threshold as the longest incident: try `for: 2 of 3` as well"
        )
    return ""
