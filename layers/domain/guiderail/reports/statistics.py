"""statistics.json of the Model Monitor analyzer: data quality per feature, or model-quality metrics.

Shapes: Amazon SageMaker Developer Guide, "Schema for Statistics" and "Model Quality Metrics", and
files of real runs. KLL sketches are skipped; the ten buckets beside them are kept.
"""

from __future__ import annotations

import msgspec

from guiderail.errors import MalformedReportError
from guiderail.model.finding import Bucket, FeatureSummary
from guiderail.reports.json_text import Number, decode, number


class _Counts(msgspec.Struct, gc=False):
    num_present: Number = None
    num_missing: Number = None


class _Bucket(msgspec.Struct, gc=False):
    lower_bound: Number = None
    upper_bound: Number = None
    count: Number = None


_NONE = msgspec.Raw(b"null")


class _Kll(msgspec.Struct):
    buckets: msgspec.Raw = _NONE


class _Distribution(msgspec.Struct):
    kll: _Kll | None = None


class _Numerical(msgspec.Struct):
    common: _Counts | None = None
    mean: Number = None
    std_dev: Number = None
    min: Number = None
    max: Number = None
    distribution: _Distribution | None = None


class _Textual(msgspec.Struct):
    common: _Counts | None = None
    distinct_count: Number = None


class FeatureStatistics(msgspec.Struct):
    """One entry of ``features``; which statistics it has depends on ``inferred_type``."""

    name: str
    inferred_type: str | None = None
    numerical_statistics: _Numerical | None = None
    string_statistics: _Textual | None = None

    def summary(self) -> FeatureSummary:
        """The numbers a reader of an alert needs."""
        numerical, textual = self.numerical_statistics, self.string_statistics
        common = (
            (numerical.common if numerical else None)
            or (textual.common if textual else None)
            or _Counts()
        )
        kll = numerical.distribution.kll if numerical and numerical.distribution else None
        return FeatureSummary(
            inferred_type=self.inferred_type or "Unknown",
            present=_count(common.num_present),
            missing=_count(common.num_missing),
            mean=number(numerical.mean) if numerical else None,
            standard_deviation=number(numerical.std_dev) if numerical else None,
            minimum=number(numerical.min) if numerical else None,
            maximum=number(numerical.max) if numerical else None,
            distinct=number(textual.distinct_count) if textual else None,
            buckets=_buckets(kll.buckets) if kll else (),
        )


class Metric(msgspec.Struct, gc=False):
    """A model-quality metric; confusion matrices and curves come out with neither field."""

    value: Number = None
    standard_deviation: Number = None


class _Dataset(msgspec.Struct, gc=False):
    item_count: Number = None


class Statistics(msgspec.Struct):
    """A statistics file; one of ``features`` and the three metric groups is set."""

    dataset: _Dataset | None = None
    features: list[FeatureStatistics] | None = None
    regression_metrics: dict[str, Metric] | None = None
    binary_classification_metrics: dict[str, Metric] | None = None
    multiclass_classification_metrics: dict[str, Metric] | None = None

    @property
    def rows(self) -> int | None:
        """Rows analysed; None where the file does not say."""
        return _count(self.dataset.item_count) if self.dataset else None

    @property
    def metrics(self) -> dict[str, Metric] | None:
        """Model-quality metrics by snake_case name; None for data quality."""
        for group in (
            self.binary_classification_metrics,
            self.multiclass_classification_metrics,
            self.regression_metrics,
        ):
            if group is not None:
                return group
        return None

    def feature(self, name: str) -> FeatureSummary | None:
        """The summary of one feature, None where the file has none of that name."""
        for feature in self.features or ():
            if feature.name == name:
                return feature.summary()
        return None


def _count(value: object) -> int | None:
    counted = number(value)
    return int(counted) if counted is not None and abs(counted) < 1e18 else None


def _buckets(written: msgspec.Raw) -> tuple[Bucket, ...]:
    """Decode the buckets of a feature that has findings; most features have none."""
    try:
        buckets = _BUCKETS_DECODER.decode(written)
    except msgspec.DecodeError:
        return ()
    return tuple(
        Bucket(low, high, count)
        for bucket in buckets or ()
        if (low := number(bucket.lower_bound)) is not None
        and (high := number(bucket.upper_bound)) is not None
        and (count := number(bucket.count)) is not None
    )


_BUCKETS_DECODER = msgspec.json.Decoder(list[_Bucket] | None)
_DECODER = msgspec.json.Decoder(Statistics)


def read_statistics(content: bytes, file: str = "statistics.json") -> Statistics:
    """Read a statistics file.

    Raises:
        MalformedReportError: It is not JSON, or holds neither features nor metrics.
    """
    statistics = decode(content, _DECODER, file)
    if statistics.features is None and statistics.metrics is None:
        raise MalformedReportError(
            f"{file}: neither features nor *_metrics at the top level",
            remedy="Pass a statistics file of the analyzer",
        )
    return statistics
