"""Numbers that stand in a run's files, for thresholds tighter than the service's.

A run that its monitor calls clean still leaves statistics or an analysis: what it measured of each
feature, metric, facet or label. From these the numbers are taken that a violation would have stated.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from guiderail.model.finding import Finding, Subject
from guiderail.model.job import ProcessingJob
from guiderail.model.outcome import Direction, MonitorKind
from guiderail.reports.attribution import attribution_shifts, ndcg
from guiderail.reports.constraints import Constraints
from guiderail.reports.distance import categorical_distance, numerical_distance
from guiderail.reports.json_text import number
from guiderail.reports.run_files import ANALYSIS, CONSTRAINTS, STATISTICS, ParsedRun
from guiderail.reports.statistics import FeatureStatistics
from guiderail.reports.violations import ATTRIBUTION_CHECK, BIAS_CHECK, DRIFT_CHECK

COMPLETENESS_CHECK = "completeness_check"
BELOW_CHECK, ABOVE_CHECK = "LessThanThreshold", "GreaterThanThreshold"

CHECKS_OF_MONITOR = {
    MonitorKind.DATA_QUALITY: (COMPLETENESS_CHECK, DRIFT_CHECK),
    MonitorKind.MODEL_QUALITY: (BELOW_CHECK, ABOVE_CHECK),
    MonitorKind.BIAS: (BIAS_CHECK,),
    MonitorKind.EXPLAINABILITY: (ATTRIBUTION_CHECK,),
}
"""Checks whose numbers stand in the files of a run, by monitor."""

SUBJECT_KEYS_OF_CHECK = {
    COMPLETENESS_CHECK: ("feature", "feature_group"),
    DRIFT_CHECK: ("feature", "feature_group"),
    BELOW_CHECK: ("metric",),
    ABOVE_CHECK: ("metric",),
    BIAS_CHECK: ("metric", "facet"),
    ATTRIBUTION_CHECK: ("metric", "label"),
}
"""Keys of a match that findings of these checks have, besides the check."""

CANNOT_TIGHTEN = {
    "data_type_check": (
        "the files give the type that most values of a feature have, not the share of values that have it"
    ),
    "categorical_values_check": (
        "the files leave out the values of a feature that has many, so the share of known ones is not there"
    ),
    "missing_column_check": (
        "it has no measured value, and a run with missing columns leaves no statistics"
    ),
    "extra_column_check": (
        "it has no measured value, and a run with extra columns leaves no statistics"
    ),
}
"""Why a check of the service cannot have a threshold tighter than the service's."""


def tightening_places(
    job: ProcessingJob, kind: MonitorKind | None, checks: Collection[str]
) -> dict[str, str]:
    """Places of the baseline files that the measurements need, by name; an own container has none.

    Drift compares with the baseline's statistics, by the method that its constraints name. The
    constraints of model quality say on which side of a threshold a metric is bad. The order of
    attributions is compared with that of the baseline's analysis, which stands as ``constraints``.
    """
    constraints, statistics = job.inputs.get("constraints", ""), job.inputs.get("baseline", "")
    wanted = set(checks).intersection(CHECKS_OF_MONITOR.get(kind, ()) if kind else ())
    places = {}
    if DRIFT_CHECK in wanted:
        places = {STATISTICS: statistics, CONSTRAINTS: constraints}
    elif ATTRIBUTION_CHECK in wanted:
        places = {ANALYSIS: constraints}
    elif wanted & {BELOW_CHECK, ABOVE_CHECK}:
        places = {CONSTRAINTS: constraints}
    return {name: _within(uri, name) for name, uri in places.items() if uri}


def _within(uri: str, name: str) -> str:
    """A file under a prefix; an input may name the file itself."""
    return uri if uri.endswith(".json") else f"{uri.rstrip('/')}/{name}"


def measurements(
    parsed: ParsedRun, kind: MonitorKind, wants: Callable[[str, Subject], bool]
) -> Iterator[Finding]:
    """Yield what the files measured, as findings that nobody has judged.

    Args:
        parsed: The run's files, with the baseline's as far as they are there.
        kind: The run's monitor.
        wants: Whether a check of a subject is asked for; nothing else is computed.

    Yields:
        Findings with the number in ``observed``, the side on which it is bad in ``direction``, and the
        service's threshold where a file of the baseline states it. The description is empty.
    """
    if kind is MonitorKind.DATA_QUALITY:
        yield from _of_features(parsed, wants)
    elif kind is MonitorKind.MODEL_QUALITY:
        yield from _of_metrics(parsed, wants)
    elif kind is MonitorKind.BIAS:
        yield from _of_facets(parsed, wants)
    elif kind is MonitorKind.EXPLAINABILITY:
        yield from _of_labels(parsed, wants)


def _of_features(parsed: ParsedRun, wants: Callable[[str, Subject], bool]) -> Iterator[Finding]:
    constraints = parsed.baseline_constraints or Constraints()
    complete = {f.name: number(f.completeness) for f in constraints.features or ()}
    base = parsed.baseline_statistics
    baseline = {f.name: f for f in (base.features if base else None) or ()}
    farthest = constraints.threshold(DRIFT_CHECK, "")
    for feature in (parsed.statistics.features if parsed.statistics else None) or ():
        subject = Subject(feature=feature.name)
        if wants(COMPLETENESS_CHECK, subject):
            yield from _measured(
                MonitorKind.DATA_QUALITY,
                COMPLETENESS_CHECK,
                subject,
                feature.completeness,
                complete.get(feature.name),
                Direction.BELOW,
                "fraction",
            )
        if feature.name in baseline and wants(DRIFT_CHECK, subject):
            yield from _measured(
                MonitorKind.DATA_QUALITY,
                DRIFT_CHECK,
                subject,
                _drift(feature, baseline[feature.name], constraints),
                farthest,
                Direction.ABOVE,
                "distance",
            )


def _drift(
    feature: FeatureStatistics, baseline: FeatureStatistics, constraints: Constraints
) -> float | None:
    """The service's distance; None where it compares nothing, or by a test that is not a distance."""
    robust = constraints.compares_robustly
    if feature.inferred_type != baseline.inferred_type:
        return None
    if (mine := feature.sketch) is not None and (theirs := baseline.sketch) is not None:
        return numerical_distance(mine, theirs, robust=robust)
    if constraints.tests_chi_squared:
        return None
    if (rows := feature.categories) is not None and (base := baseline.categories) is not None:
        return categorical_distance(rows, base, robust=robust)
    return None


_MEANT_TO_BE_LOW = frozenset({"mae", "mse", "rmse", "false_positive_rate", "false_negative_rate"})


def _of_metrics(parsed: ParsedRun, wants: Callable[[str, Subject], bool]) -> Iterator[Finding]:
    base = parsed.baseline_constraints
    constraints = (base.metrics if base else None) or {}
    metrics = (parsed.statistics.metrics if parsed.statistics else None) or {}
    for name, metric in metrics.items():
        constraint = constraints.get(name)
        check = constraint.comparison_operator if constraint else None
        if check not in (BELOW_CHECK, ABOVE_CHECK):
            check = ABOVE_CHECK if name in _MEANT_TO_BE_LOW else BELOW_CHECK
        # the best constant classifier is a yardstick, not the model
        if name.endswith("_best_constant_classifier") or not wants(check, Subject(metric=name)):
            continue
        yield from _measured(
            MonitorKind.MODEL_QUALITY,
            check,
            Subject(metric=name),
            number(metric.value),
            number(constraint.threshold) if constraint else None,
            Direction.ABOVE if check == ABOVE_CHECK else Direction.BELOW,
            None,
            number(metric.standard_deviation),
        )


def _of_facets(parsed: ParsedRun, wants: Callable[[str, Subject], bool]) -> Iterator[Finding]:
    baseline = parsed.baseline_analysis
    for facet, value, metric in parsed.analysis.bias_metrics() if parsed.analysis else ():
        subject = Subject(metric=metric.name, facet=facet, facet_value=value or None)
        if wants(BIAS_CHECK, subject):
            yield from _measured(
                MonitorKind.BIAS,
                BIAS_CHECK,
                subject,
                number(metric.value),
                baseline.bias_value(facet, value, metric.name) if baseline else None,
                Direction.FARTHER_FROM_ZERO,
                None,
            )


_ATTRIBUTION_METRIC = "shap"
"""What the service's violations name as their metric."""

_SERVICE_SCORE = 0.9
"""The nDCG below which the service reports a violation; no file states it, its documentation does."""


def _of_labels(parsed: ParsedRun, wants: Callable[[str, Subject], bool]) -> Iterator[Finding]:
    analysis, baseline = parsed.analysis, parsed.baseline_analysis
    if analysis is None or baseline is None:
        return
    for label in analysis.labels:
        subject = Subject(metric=_ATTRIBUTION_METRIC, label=label)
        if not wants(ATTRIBUTION_CHECK, subject):
            continue
        shifts = attribution_shifts(baseline.attributions(label), analysis.attributions(label))
        score = ndcg(shifts)
        if score is not None:
            yield Finding(
                kind=MonitorKind.EXPLAINABILITY,
                check=ATTRIBUTION_CHECK,
                subject=subject,
                observed=score,
                threshold=_SERVICE_SCORE,
                direction=Direction.BELOW,
                parsed=True,
                description="",
                unit="nDCG",
                shifts=shifts,
            )


def _measured(
    kind: MonitorKind,
    check: str,
    subject: Subject,
    observed: float | None,
    threshold: float | None,
    direction: Direction,
    unit: str | None,
    standard_deviation: float | None = None,
) -> Iterator[Finding]:
    """One finding, or none where there is no number."""
    if observed is not None:
        yield Finding(
            kind=kind,
            check=check,
            subject=subject,
            observed=observed,
            threshold=threshold,
            direction=direction,
            parsed=True,
            description="",
            unit=unit,
            standard_deviation=standard_deviation,
        )
