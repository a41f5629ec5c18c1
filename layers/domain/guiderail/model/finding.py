"""A finding: one violation in one shape, whichever monitor reported it."""

from __future__ import annotations

import msgspec

from guiderail.model.outcome import Direction, MonitorKind, Reason


class Subject(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a finding is about; only the fields that apply are set."""

    feature: str | None = None
    metric: str | None = None
    facet: str | None = None
    facet_value: str | None = None
    label: str | None = None
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        """The subject as a person would name it."""
        if self.feature is not None:
            return self.feature
        if self.facet is not None:
            return f"{self.metric} of {self.facet}={self.facet_value}"
        if self.label is not None:
            return f"{self.metric} of {self.label}"
        if self.columns:
            return ", ".join(self.columns)
        return self.metric or "dataset"


class Bucket(msgspec.Struct, frozen=True):
    """One bucket of a numerical distribution: bounds in the feature's unit, count in rows."""

    lower_bound: float
    upper_bound: float
    count: float


class FeatureSummary(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a statistics file knows of one feature: counts in rows, the rest in its own unit."""

    inferred_type: str
    present: int | None = None
    missing: int | None = None
    mean: float | None = None
    standard_deviation: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    distinct: float | None = None

    @property
    def completeness(self) -> float | None:
        """Share of rows with a value, 0 to 1."""
        if self.present is None or self.missing is None or not self.present + self.missing:
            return None
        return self.present / (self.present + self.missing)


class AttributionShift(msgspec.Struct, frozen=True):
    """How one feature's share of the attribution moved between baseline and current run.

    Ranks count from 1 by falling attribution. ``score_loss`` is the feature's part of
    ``1 - nDCG``; the losses of all features of a label add up to it.
    """

    feature: str
    baseline: float
    current: float
    baseline_rank: int
    current_rank: int
    score_loss: float


class Finding(msgspec.Struct, frozen=True):
    """One violation.

    ``observed`` and ``threshold`` are in ``unit``; ``distance`` says how far the value is from where
    it should be: for bias from the metric's neutral value, else from the threshold. ``parsed`` is
    false where the check or its wording is not known; the description is then all there is.
    """

    kind: MonitorKind
    check: str
    subject: Subject
    observed: float | None
    threshold: float | None
    direction: Direction | None
    parsed: bool
    description: str
    unit: str | None = None
    distance: float | None = None
    standard_deviation: float | None = None
    baseline: FeatureSummary | None = None
    current: FeatureSummary | None = None
    shifts: tuple[AttributionShift, ...] = ()
    reasons: tuple[Reason, ...] = ()
