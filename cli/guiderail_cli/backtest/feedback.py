"""What people called noise, and how much of it a policy would tell all the same."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from guiderail.errors import SettingsError
from guiderail.model.delivery import Feedback
from guiderail.model.finding import Finding
from guiderail.model.incident import Scope

from guiderail_cli.backtest.result import CalledNoise, FeedbackResult, NoiseTold

_LABELS = ("endpoint", "schedule", "monitor", "check", "feature", "metric", "facet", "label")
"""Labels by which an incident is known where its id is not."""


class _File(msgspec.Struct):
    feedback: list[Feedback]


def read_feedback(path: Path) -> tuple[Feedback, ...]:
    """Read what ``guiderail incidents feedback --json`` printed.

    Raises:
        SettingsError: It cannot be read or is something else; names the file and the field.
    """
    remedy = "Write it with guiderail incidents feedback --json"
    try:
        return tuple(msgspec.json.decode(path.read_bytes(), type=_File).feedback)
    except OSError as exc:
        raise SettingsError(f"{path}: {exc.strerror}", remedy=remedy) from exc
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise SettingsError(f"{path}: {exc}", remedy=remedy) from exc


class _Firing(msgspec.Struct):
    """One time that an incident was open: from when to when, and whether anybody was told."""

    begin: datetime
    end: datetime | None = None
    told: bool = False


class _Watched(msgspec.Struct):
    """The runs that had the finding, by time and whether it counted, and when it fired."""

    times: list[datetime] = msgspec.field(default_factory=list)
    counted: list[bool] = msgspec.field(default_factory=list)
    firings: list[_Firing] = msgspec.field(default_factory=list)


class FeedbackWatch:
    """Follows the incidents that somebody called noise through one policy's replay.

    What somebody called noise is the incident's newest finding before they said so. It is told under a
    policy if it counts there, and people heard of the incident while it was open with it.
    """

    def __init__(self, feedback: Iterable[Feedback] = ()) -> None:
        """Watch for the incidents of this feedback."""
        self._watched: dict[str, _Watched] = {}
        self._by_labels: dict[tuple[str, ...], _Watched] = {}
        for said in feedback:
            watched = self._watched.setdefault(said.incident, _Watched())
            self._by_labels[tuple(said.labels.get(key, "") for key in _LABELS)] = watched

    def see_finding(
        self, incident: str, scope: Scope, finding: Finding, at: datetime, *, counts: bool
    ) -> None:
        """A run had the finding."""
        if not self._watched:
            return
        watched = self._watched.get(incident)
        if watched is None and not scope.account:
            # an id holds the account, and some layouts of stored runs do not tell it
            subject = finding.subject
            named = (subject.feature, subject.metric, subject.facet, subject.label)
            key = (scope.endpoint, scope.schedule, finding.kind.value, finding.check, *named)
            watched = self._by_labels.get(tuple(part or "" for part in key))
            if watched:
                self._watched[incident] = watched
        if watched:
            watched.times.append(at)
            watched.counted.append(counts)

    def see_opened(self, incident: str, at: datetime) -> None:
        """The incident opened, or opened again."""
        if watched := self._watched.get(incident):
            watched.firings.append(_Firing(at))

    def see_resolved(self, incident: str, at: datetime) -> None:
        """The incident ended."""
        if (watched := self._watched.get(incident)) and watched.firings:
            watched.firings[-1].end = at

    def see_told(self, incidents: Iterable[str]) -> None:
        """A message named incidents."""
        for incident in self._watched.keys() & incidents:
            firings = self._watched[incident].firings
            # a message that says that it is over says it to those who had heard of it
            if firings and firings[-1].end is None:
                firings[-1].told = True

    def is_known(self, said: Feedback) -> bool:
        """Whether the replayed runs have the finding that somebody called noise."""
        return self._place(said) > 0

    def is_told(self, said: Feedback) -> bool:
        """Whether people hear of the finding that somebody called noise."""
        place = self._place(said)
        watched = self._watched[said.incident]
        if not place or not watched.counted[place - 1]:
            return False
        at = watched.times[place - 1]
        return any(f.told and f.begin <= at and (not f.end or at < f.end) for f in watched.firings)

    def _place(self, said: Feedback) -> int:
        return bisect_right(self._watched[said.incident].times, said.at)


def feedback_result(
    feedback: Sequence[Feedback], watches: Sequence[tuple[str, FeedbackWatch]]
) -> FeedbackResult:
    """How much of what people called noise each policy tells, by the policies' names."""
    known = [said for said in feedback if any(watch.is_known(said) for _, watch in watches)]
    return FeedbackResult(
        said=len(feedback),
        known=len(known),
        policies=tuple(
            NoiseTold(name, sum(watch.is_told(said) for said in known)) for name, watch in watches
        ),
        still_told=tuple(
            CalledNoise(
                incident=said.incident,
                at=said.at.isoformat(timespec="seconds"),
                by=said.actor,
                observed=said.observed,
                labels=said.labels,
            )
            for said in known
            if watches[0][1].is_told(said)
        ),
    )
