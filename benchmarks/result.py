"""What a benchmark reports."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """One figure: its median over paired runs, the target, and whether it is met.

    ``unit`` is ``ratio`` for A/B pairs measured in turn, else what is counted.
    """

    name: str
    median: float
    low: float
    high: float
    runs: int
    unit: str = "ratio"
    target: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        return None if self.target is None else self.median <= self.target

    def as_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        return {**asdict(self), "met": self.met}


def of_pairs(
    name: str, pairs: Sequence[tuple[float, float]], target: float | None = None, note: str = ""
) -> Result:
    """Make a ratio of pairs (ours, theirs) taken in turn: the machine's moods hit both."""
    ratios = [ours / theirs for ours, theirs in pairs]
    return Result(
        name,
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        len(ratios),
        "ratio",
        target,
        note,
    )


def counted(name: str, value: float, unit: str, target: float | None, note: str = "") -> Result:
    """Make a result of a count that does not vary."""
    return Result(name, value, value, value, 1, unit, target, note)
