"""constraints.json: what the baseline asks of features or metrics.

Shapes: Amazon SageMaker Developer Guide, "Schema for Constraints", files of the SageMaker Python SDK,
and the 2019 form without ``perform_comparison``. A run writes a constraints file too (suggested from
the current data): the baseline is the one of the job's input named ``constraints``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from guiderail.errors import MalformedReportError
from guiderail.reports.json_text import Number, decode, number


class FeatureConstraint(msgspec.Struct):
    """What the baseline asks of one feature; completeness is a share, 0 to 1."""

    name: str
    inferred_type: str | None = None
    completeness: Number = None


class _DistributionConstraints(msgspec.Struct, gc=False):
    comparison_threshold: Number = None
    comparison_method: Any = None
    categorical_drift_method: Any = None
    perform_comparison: Any = None
    enable_comparisons: Any = None


class _MonitoringConfig(msgspec.Struct):
    datatype_check_threshold: Number = None
    domain_content_threshold: Number = None
    distribution_constraints: _DistributionConstraints | None = None


class MetricConstraint(msgspec.Struct, gc=False):
    """A model-quality threshold; the operator names the condition of a violation."""

    threshold: Number = None
    comparison_operator: str | None = None


class Constraints(msgspec.Struct):
    """A constraints file; one of ``features`` and the three metric groups is set."""

    features: list[FeatureConstraint] | None = None
    monitoring_config: _MonitoringConfig | None = None
    regression_constraints: dict[str, MetricConstraint] | None = None
    binary_classification_constraints: dict[str, MetricConstraint] | None = None
    multiclass_classification_constraints: dict[str, MetricConstraint] | None = None

    @property
    def metrics(self) -> dict[str, MetricConstraint] | None:
        """Model-quality constraints by snake_case name; None for data quality."""
        for group in (
            self.binary_classification_constraints,
            self.multiclass_classification_constraints,
            self.regression_constraints,
        ):
            if group is not None:
                return group
        return None

    def threshold(self, check: str, subject: str) -> float | None:
        """The baseline's threshold for a check of a feature or metric; None where it sets none."""
        config = self.monitoring_config or _MonitoringConfig()
        if check == "data_type_check":
            return number(config.datatype_check_threshold)
        if check == "categorical_values_check":
            return number(config.domain_content_threshold)
        if check == "baseline_drift_check" and config.distribution_constraints:
            return number(config.distribution_constraints.comparison_threshold)
        if check == "completeness_check":
            return next(
                (number(f.completeness) for f in self.features or () if f.name == subject), None
            )
        metric = (self.metrics or {}).get(subject)
        return number(metric.threshold) if metric else None

    @property
    def _distribution(self) -> _DistributionConstraints:
        config = self.monitoring_config or _MonitoringConfig()
        return config.distribution_constraints or _DistributionConstraints()

    @property
    def compares_distributions(self) -> bool:
        """Whether drift is checked at all; it is unless told otherwise, in either spelling."""
        asked = self._distribution
        return str(asked.perform_comparison) != "Disabled" and asked.enable_comparisons is not False

    @property
    def compares_robustly(self) -> bool:
        """Whether drift distances are corrected for small samples; they are unless told otherwise."""
        return str(self._distribution.comparison_method) != "Simple"

    @property
    def tests_chi_squared(self) -> bool:
        """Whether drift of text is a chi-squared test's value, not a distance."""
        return str(self._distribution.categorical_drift_method) == "ChiSquared"


_DECODER = msgspec.json.Decoder(Constraints)


def read_constraints(content: bytes, file: str = "constraints.json") -> Constraints:
    """Read a constraints file.

    Raises:
        MalformedReportError: It is not JSON, or holds neither features nor constraints of metrics.
    """
    constraints = decode(content, _DECODER, file)
    if constraints.features is None and constraints.metrics is None:
        raise MalformedReportError(
            f"{file}: neither features nor *_constraints at the top level",
            remedy="Pass a constraints file of the analyzer",
        )
    return constraints
