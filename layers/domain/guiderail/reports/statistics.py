"""statistics.json of the Model Monitor analyzer: data quality per feature, or model-quality metrics.

Shapes: Amazon SageMaker Developer Guide, "Schema for Statistics" and "Model Quality Metrics", and
files of real runs. KLL sketches, the ten buckets beside them and the categories of text stay as written
until somebody asks: they are most of the file.
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


class _Sketch(msgspec.Struct):
    data: list[list[float]]


class _Kll(msgspec.Struct):
    buckets: msgspec.Raw = _NONE
    sketch: msgspec.Raw = _NONE


class _Distribution(msgspec.Struct):
    kll: _Kll | None = None


class _Numerical(msgspec.Struct):
    common: _Counts | None = None
    mean: Number = None
    std_dev: Number = None
    min: Number = None
    max: Number = None
    distribution: _Distribution | None = None


class _Category(msgspec.Struct, gc=False):
    value: str
    count: float


class _Categorical(msgspec.Struct):
    buckets: list[_Category]


class _TextDistribution(msgspec.Struct):
    categorical: _Categorical


class _Textual(msgspec.Struct):
    common: _Counts | None = None
    distinct_count: Number = None
    distribution: msgspec.Raw = _NONE


class FeatureStatistics(msgspec.Struct):
    """One entry of ``features``; which statistics it has depends on ``inferred_type``."""

    name: str
    inferred_type: str | None = None
    numerical_statistics: _Numerical | None = None
    string_statistics: _Textual | None = None

    def summary(self) -> FeatureSummary:
        """The numbers a reader of an alert needs."""
        numerical, textual = self.numerical_statistics, self.string_statistics
        common = self._counts
        return FeatureSummary(
            inferred_type=self.inferred_type or "Unknown",
            present=_count(common.num_present),
            missing=_count(common.num_missing),
            mean=number(numerical.mean) if numerical else None,
            standard_deviation=number(numerical.std_dev) if numerical else None,
            minimum=number(numerical.min) if numerical else None,
            maximum=number(numerical.max) if numerical else None,
            distinct=number(textual.distinct_count) if textual else None,
        )

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """The ten buckets of a numerical distribution, decoded when asked."""
        distribution = self.numerical_statistics and self.numerical_statistics.distribution
        return _buckets(distribution.kll.buckets) if distribution and distribution.kll else ()

    @property
    def completeness(self) -> float | None:
        """Share of rows with a value, 0 to 1."""
        present, missing = _count(self._counts.num_present), _count(self._counts.num_missing)
        if present is None or missing is None or not present + missing:
            return None
        return present / (present + missing)

    @property
    def sketch(self) -> list[list[float]] | None:
        """Values of the KLL sketch by level, in the feature's unit; None where there is none to read."""
        distribution = self.numerical_statistics and self.numerical_statistics.distribution
        if not distribution or not distribution.kll:
            return None
        try:
            return _SKETCH_DECODER.decode(distribution.kll.sketch).data
        except msgspec.DecodeError:
            return None

    @property
    def categories(self) -> dict[str, float] | None:
        """Rows by value of a text feature; None where the file leaves them out (too many values)."""
        if not self.string_statistics:
            return None
        try:
            written = _TEXT_DECODER.decode(self.string_statistics.distribution)
        except msgspec.DecodeError:
            return None
        return {bucket.value: bucket.count for bucket in written.categorical.buckets}

    @property
    def _counts(self) -> _Counts:
        numerical, textual = self.numerical_statistics, self.string_statistics
        return (
            (numerical.common if numerical else None)
            or (textual.common if textual else None)
            or _Counts()
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
        # what is written as it should be, which is nearly always
        return _PLAIN_BUCKETS_DECODER.decode(written)
    except msgspec.DecodeError:
        pass
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


_SKETCH_DECODER = msgspec.json.Decoder(_Sketch)
_TEXT_DECODER = msgspec.json.Decoder(_TextDistribution)
_PLAIN_BUCKETS_DECODER = msgspec.json.Decoder(tuple[Bucket, ...])
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
