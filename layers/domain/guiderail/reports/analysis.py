"""analysis.json of Clarify: bias metrics and SHAP attributions.

Shapes: Amazon SageMaker Developer Guide, "Configure the analysis" and its outputs, the open-source
smclarify report, and files of real runs. A value may be null beside an ``error``, or the string
"Infinity". The same file is the baseline of a bias or explainability monitor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from guiderail.errors import MalformedReportError
from guiderail.reports.json_text import Number, decode, number

_NEUTRAL_OF_RATIO = {"DI": 1.0}


def neutral_value(metric: str) -> float:
    """Where a bias metric sees no bias: 1 for disparate impact, which is a ratio, 0 for every other."""
    return _NEUTRAL_OF_RATIO.get(metric, 0.0)


class BiasMetric(msgspec.Struct, gc=False):
    """One metric of one facet value; ``error`` says why ``value`` is null."""

    name: str
    value: Number = None
    error: str | None = None


class _FacetValue(msgspec.Struct):
    metrics: list[BiasMetric]
    value_or_threshold: Number = None


class _BiasSection(msgspec.Struct):
    facets: dict[str, list[_FacetValue]]
    label: Number = None
    label_value_or_threshold: Number = None


class _LabelExplanation(msgspec.Struct):
    global_shap_values: dict[str, Number]


class _Explanations(msgspec.Struct):
    kernel_shap: dict[str, _LabelExplanation] | None = None
    pdp: Any = None


class Analysis(msgspec.Struct):
    """An analysis file; at least one of its three sections is set."""

    pre_training_bias_metrics: _BiasSection | None = None
    post_training_bias_metrics: _BiasSection | None = None
    explanations: _Explanations | None = None

    @property
    def has_bias(self) -> bool:
        """Whether the file holds bias metrics."""
        return (
            self.pre_training_bias_metrics is not None
            or self.post_training_bias_metrics is not None
        )

    def bias_metrics(self) -> Iterator[tuple[str, str, BiasMetric]]:
        """Yield (facet, facet value, metric) of both stages."""
        for section in (self.post_training_bias_metrics, self.pre_training_bias_metrics):
            for facet, values in section.facets.items() if section else ():
                for value in values:
                    for metric in value.metrics:
                        yield facet, str(value.value_or_threshold or ""), metric

    def bias_value(self, facet: str, facet_value: str, metric_name: str) -> float | None:
        """A metric's value for one facet value; None where the file has none."""
        for name, value, metric in self.bias_metrics():
            if name == facet and value == facet_value and metric.name == metric_name:
                return number(metric.value)
        return None

    def attributions(self, label: str) -> dict[str, float]:
        """Global SHAP values of one label by feature; empty where the file has none."""
        explained = (self.explanations.kernel_shap if self.explanations else None) or {}
        if label not in explained:
            return {}
        shap = explained[label].global_shap_values
        return {feature: n for feature, value in shap.items() if (n := number(value)) is not None}

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that have attributions."""
        return tuple((self.explanations.kernel_shap if self.explanations else None) or ())


class AnalysisConfig(msgspec.Struct):
    """Clarify's input analysis_config.json; the names of ``methods`` tell what is computed."""

    methods: dict[str, Any]

    @property
    def has_bias(self) -> bool:
        """Whether bias metrics are computed."""
        return bool({"pre_training_bias", "post_training_bias"} & self.methods.keys())


_DECODER = msgspec.json.Decoder(Analysis)
_CONFIG_DECODER = msgspec.json.Decoder(AnalysisConfig)


def read_analysis(content: bytes, file: str = "analysis.json") -> Analysis:
    """Read an analysis file.

    Raises:
        MalformedReportError: It is not JSON, or holds neither bias metrics nor explanations.
    """
    analysis = decode(content, _DECODER, file)
    if not analysis.has_bias and analysis.explanations is None:
        raise MalformedReportError(
            f"{file}: neither *_bias_metrics nor explanations at the top level",
            remedy="Pass an analysis file of Clarify",
        )
    return analysis


def read_analysis_config(content: bytes, file: str = "analysis_config.json") -> AnalysisConfig:
    """Read what Clarify was told to compute.

    Raises:
        MalformedReportError: It is not JSON, or has no object ``methods``.
    """
    return decode(content, _CONFIG_DECODER, file)
