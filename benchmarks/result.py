"""What a benchmark reports."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """One figure: its median over paired runs, the target, and whether it is met.

    ``unit`` is ``ratio`` for A/B pairs measured in turn, else what is counted. A figure that could not be
    measured has no runs; its note says why.
    """

    name: str
    median: float | None
    low: float | None
    high: float | None
    runs: int
    unit: str = "ratio"
    target: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.target is None:
            return None
        return self.median is not None and self.median <= self.target

    def as_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {
            "name": self.name,
            "unit": self.unit,
            "median": self.median,
            "min": self.low,
            "max": self.high,
            "n": self.runs,
            "target": self.target,
            "met": self.met,
            "note": self.note,
        }


def of_pairs(
    name: str, pairs: Sequence[tuple[float, float]], target: float | None = None, note: str = ""
) -> Result:
    """Make a ratio of pairs (ours, theirs) taken in turn: the machine's moods hit both."""
    ratios = [ours / theirs for ours, theirs in pairs]
    middle = statistics.median(ratios)
    return Result(name, middle, min(ratios), max(ratios), len(ratios), "ratio", target, note)


def counted(name: str, value: float, unit: str, target: float | None, note: str = "") -> Result:
    """Make a result of a count that does not vary."""
    return Result(name, value, value, value, 1, unit, target, note)


def not_measured(name: str, why: str) -> Result:
    """Make a result of a comparison that could not be had here."""
    return Result(name, None, None, None, 0, note=f"not measured: {why}")
