"""Numbers of a run's files: drift distances, completeness, metrics, bias, attribution scores."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from guiderail.model.finding import Finding, Subject
from guiderail.model.judgement import Judgement
from guiderail.model.outcome import Direction, MonitorKind
from guiderail.model.policy import Effect, Layer, Match, Policy, Rule
from guiderail.reports.constraints import read_constraints
from guiderail.reports.distance import categorical_distance, numerical_distance
from guiderail.reports.run_files import ParsedRun
from guiderail.reports.statistics import read_statistics
from guiderail.reports.violations import KNOWN_CHECKS
from guiderail.services.judging import PolicyIndex, RunLabels, judge
from guiderail.services.tightening import (
    CANNOT_TIGHTEN,
    CHECKS_OF_MONITOR,
    SUBJECT_KEYS_OF_CHECK,
    measurements,
    tightening_places,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import builders as b

DRIFT = "baseline_drift_check"
SAMPLES = Path(
    os.environ.get("GUIDERAIL_SAMPLES", Path(__file__).parents[3] / "shared" / "samples")
)
needs_samples = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason=f"no sample reports in {SAMPLES}: set GUIDERAIL_SAMPLES"
)


def sample(path: str) -> bytes:
    return (SAMPLES / path).read_bytes()


def measured(
    parsed: ParsedRun, kind: MonitorKind = MonitorKind.DATA_QUALITY, check: str = ""
) -> dict[str, Finding]:
    found = measurements(parsed, kind, lambda asked, _: not check or asked == check)
    return {str(f.subject): f for f in found}


# --- distances


def _definition(mine: list[list[float]], theirs: list[list[float]]) -> tuple[float, int, int]:
    """The largest difference of ranks, each different value once with its highest level's weight."""

    def weights(levels: list[list[float]]) -> dict[float, int]:
        values = {v for level in levels for v in level}
        return {v: 2 ** max(i for i, level in enumerate(levels) if v in level) for v in values}

    ours, base = weights(mine), weights(theirs)
    n, m = sum(ours.values()), sum(base.values())
    largest = max(
        abs(
            sum(w for v, w in ours.items() if v <= x) / n
            - sum(w for v, w in base.items() if v <= x) / m
        )
        for x in ours.keys() | base.keys()
    )
    return largest, n, m


SKETCHES = st.lists(
    st.lists(st.integers(-6, 6).map(float), max_size=12), min_size=1, max_size=4
).filter(any)


@settings(max_examples=200, deadline=None)
@given(SKETCHES, SKETCHES)
def test_the_numerical_distance_is_that_of_the_definition(
    mine: list[list[float]], theirs: list[list[float]]
) -> None:
    simple, n, m = _definition(mine, theirs)

    assert numerical_distance(mine, theirs, robust=False) == pytest.approx(simple, abs=1e-12)
    robust = max(0.0, simple - 1.8 * math.sqrt((n + m) / (n * m)))
    assert numerical_distance(mine, theirs) == pytest.approx(robust, abs=1e-12)
    assert numerical_distance(theirs, mine) == numerical_distance(mine, theirs)
    assert numerical_distance(mine, mine, robust=False) == 0


def test_the_published_distance_of_a_real_report_to_the_last_digit() -> None:
    # 1,002 different values of 1,009 rows; the baseline's counts as the number itself gives them:
    # a value so often repeated that it weighs 2^16, and 1,588 others of which 756 are smaller
    current = [[0.0, 6.666666667, *(0.4 + n / 1000 for n in range(1000))]]
    smaller = [0.001 + n / 10_000 for n in range(756)]
    larger = [10.0 + n for n in range(832)]
    levels: list[list[float]] = [[] for _ in range(17)]
    levels[0], levels[16] = [0.0, *smaller, *larger], [0.0]

    assert numerical_distance(current, levels) == 0.9293200129316993


def test_a_value_that_is_repeated_counts_once_as_in_the_service() -> None:
    # a port that is 22 in 1,000 of 1,009 rows had no drift in that report
    port = [[22.0] * 1000 + [80.0] * 9]
    ports = [[float(n) for n in range(2000)]]

    assert numerical_distance(port, ports) == 0
    assert numerical_distance(port, ports, robust=False) == pytest.approx(0.9595, abs=1e-4)


@pytest.mark.parametrize(("mine", "theirs"), [([], [[1.0]]), ([[1.0]], []), ([[]], [[1.0]])])
def test_without_values_there_is_no_distance(
    mine: list[list[float]], theirs: list[list[float]]
) -> None:
    assert numerical_distance(mine, theirs) is None


@pytest.mark.parametrize(
    ("mine", "theirs", "simple"),
    [
        ({"car": 50, "house": 50}, {"car": 500, "house": 500}, 0.0),
        ({"car": 80, "house": 20}, {"car": 500, "house": 500}, 0.3),
        ({"car": 100}, {"house": 1000}, 1.0),
        ({"car": 90, "boat": 10}, {"car": 900, "house": 100}, 0.1),
    ],
)
def test_the_categorical_distance_is_the_largest_difference_of_shares(
    mine: dict[str, float], theirs: dict[str, float], simple: float
) -> None:
    assert categorical_distance(mine, theirs, robust=False) == pytest.approx(simple)
    corrected = max(0.0, simple - 1.8 * math.sqrt(1100 / 100_000))
    assert categorical_distance(mine, theirs) == pytest.approx(corrected)


@pytest.mark.parametrize(("mine", "theirs"), [({}, {"a": 1}), ({"a": 1}, {}), ({"a": 0}, {"a": 1})])
def test_without_rows_there_is_no_categorical_distance(
    mine: dict[str, float], theirs: dict[str, float]
) -> None:
    assert categorical_distance(mine, theirs) is None


# --- data quality


def sketched(name: str, *levels: list[float], kind: str = "Fractional") -> b.Document:
    feature = b.numerical(name, kind=kind)
    feature["numerical_statistics"]["distribution"]["kll"]["sketch"]["data"] = list(levels)
    return feature


def worded(name: str, rows: Mapping[str, object] | None) -> b.Document:
    feature = b.textual(name)
    listed = [{"value": value, "count": count} for value, count in (rows or {}).items()]
    feature["string_statistics"]["distribution"] = {"categorical": {"buckets": listed}}
    if rows is None:
        del feature["string_statistics"]["distribution"]
    return feature


BEFORE = [float(n) for n in range(2000)]
AFTER = [float(n) for n in range(1000, 3000)]


def run_of(current: b.Document, baseline: b.Document, **config: Any) -> ParsedRun:
    constraints = json.loads(b.constraints(current["name"]))
    constraints["monitoring_config"]["distribution_constraints"].update(config)
    return b.parsed(
        {"statistics.json": b.statistics(current)},
        {"statistics.json": b.statistics(baseline), "constraints.json": b.encode(constraints)},
    )


def test_completeness_is_measured_with_the_baselines_share() -> None:
    parsed = b.parsed(
        {"statistics.json": b.statistics(b.numerical("income", 90, 10), b.textual("town", 50, 50))},
        {"constraints.json": b.constraints("income", completeness=0.85)},
    )

    found = measured(parsed, check="completeness_check")

    assert {name: (f.observed, f.threshold) for name, f in found.items()} == {
        "income": (0.9, 0.85),
        "town": (0.5, None),
    }
    assert {(f.direction, f.unit) for f in found.values()} == {(Direction.BELOW, "fraction")}


def test_a_feature_without_counts_has_no_completeness() -> None:
    feature = b.numerical("income")
    feature["numerical_statistics"]["common"] = {"num_present": 0, "num_missing": 0}

    assert measured(b.parsed({"statistics.json": b.statistics(feature)})) == {}


def test_drift_of_numbers_is_robust_unless_the_baseline_says_simple() -> None:
    current, baseline = sketched("income", AFTER), sketched("income", BEFORE)

    simple = measured(run_of(current, baseline, comparison_method="Simple"), check=DRIFT)["income"]
    robust = measured(run_of(current, baseline), check=DRIFT)["income"]

    assert simple.observed == pytest.approx(0.5)
    assert robust.observed == pytest.approx(0.5 - 1.8 * math.sqrt(4000 / 4_000_000))
    assert (robust.threshold, robust.direction, robust.unit) == (0.1, Direction.ABOVE, "distance")


def test_drift_of_text_compares_the_rows_of_each_value() -> None:
    parsed = run_of(
        worded("purpose", {"car": 100, "house": 900}), worded("purpose", {"car": 600, "house": 400})
    )

    found = measured(parsed, check=DRIFT)["purpose"]

    assert found.observed == pytest.approx(0.5 - 1.8 * math.sqrt(2000 / 1_000_000))


@pytest.mark.parametrize(
    ("current", "baseline", "config"),
    [
        pytest.param(
            worded("x", {"a": 1000}), worded("x", {"b": 1000}),
            {"categorical_drift_method": "ChiSquared"}, id="a chi-squared test is no distance",
        ),
        pytest.param(worded("x", None), worded("x", {"b": 9}), {}, id="too many values to be listed"),
        pytest.param(worded("x", {"a": 9}), worded("x", None), {}, id="nor in the baseline"),
        pytest.param(worded("x", {"a": "many"}), worded("x", {"b": 9}), {}, id="damaged rows"),
        pytest.param(sketched("x", AFTER), sketched("x", BEFORE, kind="Integral"), {}, id="other type"),
        pytest.param(sketched("x", AFTER), worded("x", {"a": 9}), {}, id="number and text"),
        pytest.param(sketched("x", AFTER), sketched("y", BEFORE), {}, id="new feature"),
        pytest.param(sketched("x", AFTER), sketched("x"), {}, id="empty sketch"),
        pytest.param(sketched("x", [math.nan]), sketched("x", BEFORE), {}, id="not a number"),
        pytest.param(sketched("x", ["1"]), sketched("x", BEFORE), {}, id="damaged sketch"),  # type: ignore[list-item]
    ],
)  # fmt: skip
def test_what_cannot_be_compared_has_no_distance(
    current: b.Document, baseline: b.Document, config: dict[str, str]
) -> None:
    assert measured(run_of(current, baseline, **config), check=DRIFT) == {}


def test_numbers_are_compared_even_where_text_is_tested() -> None:
    parsed = run_of(
        sketched("x", AFTER), sketched("x", BEFORE), categorical_drift_method="ChiSquared"
    )

    assert measured(parsed, check=DRIFT).keys() == {"x"}


def test_a_method_of_another_type_does_not_make_constraints_unreadable() -> None:
    document = json.loads(b.constraints("x"))
    document["monitoring_config"]["distribution_constraints"]["comparison_method"] = 7

    assert read_constraints(b.encode(document)).compares_robustly


def test_only_what_is_wanted_is_measured() -> None:
    parsed = b.parsed({"statistics.json": b.statistics(b.numerical("a"), b.numerical("b"))})
    asked: list[tuple[str, str]] = []

    def wants(check: str, subject: Subject) -> bool:
        asked.append((check, str(subject)))
        return subject.feature == "b"

    found = list(measurements(parsed, MonitorKind.DATA_QUALITY, wants))

    assert [(f.check, str(f.subject)) for f in found] == [("completeness_check", "b")]
    assert ("completeness_check", "a") in asked


@pytest.mark.parametrize("kind", list(MonitorKind))
def test_without_files_nothing_is_measured(kind: MonitorKind) -> None:
    assert measured(ParsedRun(), kind) == {}


# --- model quality, bias, attribution


def test_metrics_are_bad_on_the_side_that_the_baseline_names() -> None:
    metrics = {
        "auc": (0.91, 0.01),
        "false_positive_rate": (0.2, "NaN"),
        "recall": (0.7, 0.0),
        "accuracy_best_constant_classifier": (0.5, 0.0),
    }
    parsed = b.parsed(
        {"statistics.json": b.quality_statistics(metrics)},
        {"constraints.json": b.quality_constraints({"recall": (0.6, "GreaterThanThreshold")})},
    )

    found = measured(parsed, MonitorKind.MODEL_QUALITY)

    assert {name: (f.check, f.observed, f.threshold, f.direction) for name, f in found.items()} == {
        "auc": ("LessThanThreshold", 0.91, None, Direction.BELOW),
        "false_positive_rate": ("GreaterThanThreshold", 0.2, None, Direction.ABOVE),
        "recall": ("GreaterThanThreshold", 0.7, 0.6, Direction.ABOVE),
    }
    assert (found["auc"].standard_deviation, found["false_positive_rate"].standard_deviation) == (
        0.01,
        None,
    )


@pytest.mark.parametrize("metric", ["mae", "mse", "rmse"])
def test_errors_of_regression_are_bad_above(metric: str) -> None:
    statistics = b.quality_statistics({metric: (3.2, 0.1)}, "regression_metrics")

    found = measured(b.parsed({"statistics.json": statistics}), MonitorKind.MODEL_QUALITY)

    assert found[metric].check == "GreaterThanThreshold"


def test_bias_metrics_of_both_stages_are_measured() -> None:
    parsed = b.parsed(
        {
            "analysis.json": b.bias_analysis(
                {"DPPL": 0.1, "DI": "Infinity"}, {"CI": -0.3, "KL": None}
            )
        },
        {"analysis.json": b.bias_analysis({"DPPL": 0.2})},
    )

    found = measured(parsed, MonitorKind.BIAS)

    assert {f.subject.metric: (f.observed, f.threshold) for f in found.values()} == {
        "DPPL": (0.1, 0.2),
        "DI": (math.inf, None),
        "CI": (-0.3, None),
    }
    assert {(f.subject.facet, f.subject.facet_value) for f in found.values()} == {
        ("age_group", "(18, 25]")
    }


def test_the_order_of_attributions_is_scored_by_label() -> None:
    parsed = b.parsed(
        {"analysis.json": b.shap_analysis({"default": {"a": 1, "b": 2, "c": 3}, "new": {"a": 1}})},
        {"analysis.json": b.shap_analysis({"default": {"a": 3, "b": 2, "c": 1}})},
    )

    (found,) = measured(parsed, MonitorKind.EXPLAINABILITY).values()

    assert found.subject == Subject(metric="shap", label="default")
    # worked out in test_attribution
    assert found.observed == pytest.approx(0.789998, abs=1e-6)
    assert (found.threshold, found.direction, len(found.shifts)) == (0.9, Direction.BELOW, 3)


# --- places, and what cannot be tightened

STATISTICS = "s3://loan-reports/baseline/statistics.json"
CONSTRAINTS = "s3://loan-reports/baseline/constraints.json"


@pytest.mark.parametrize(
    ("kind", "checks", "places"),
    [
        (
            MonitorKind.DATA_QUALITY,
            {DRIFT, "completeness_check"},
            {"statistics.json": STATISTICS, "constraints.json": CONSTRAINTS},
        ),
        (MonitorKind.DATA_QUALITY, {"completeness_check"}, {}),
        (MonitorKind.DATA_QUALITY, set(), {}),
        (MonitorKind.MODEL_QUALITY, {"LessThanThreshold"}, {"constraints.json": CONSTRAINTS}),
        (MonitorKind.BIAS, {"bias_drift_check"}, {}),
        (
            MonitorKind.EXPLAINABILITY,
            {"feature_attribution_drift_check"},
            {"analysis.json": CONSTRAINTS},
        ),
        (MonitorKind.CUSTOM, {DRIFT}, {}),
        (None, {DRIFT}, {}),
    ],
)
def test_baseline_files_are_named_only_where_they_are_needed(
    kind: MonitorKind | None, checks: set[str], places: dict[str, str]
) -> None:
    assert tightening_places(b.job(kind or MonitorKind.DATA_QUALITY), kind, checks) == places


def test_a_baseline_given_as_folder_has_its_files_in_it() -> None:
    inputs = [
        {"InputName": "baseline", "S3Input": {"S3Uri": "s3://loan-reports/base/"}},
        {"InputName": "constraints", "S3Input": {"S3Uri": "s3://loan-reports/base"}},
    ]

    places = tightening_places(b.job(ProcessingInputs=inputs), MonitorKind.DATA_QUALITY, {DRIFT})

    assert places == {
        "statistics.json": "s3://loan-reports/base/statistics.json",
        "constraints.json": "s3://loan-reports/base/constraints.json",
    }


def test_every_check_can_be_tightened_or_says_why_not() -> None:
    can = set(SUBJECT_KEYS_OF_CHECK)

    assert can == {check for checks in CHECKS_OF_MONITOR.values() for check in checks}
    assert can | CANNOT_TIGHTEN.keys() == KNOWN_CHECKS
    assert not can & CANNOT_TIGHTEN.keys()


# --- the whole way, from files to judgements


def judged(parsed: ParsedRun, check: str, threshold: float) -> tuple[Judgement, ...]:
    tighter = Rule(
        name="tighter",
        layer=Layer.RULE,
        line=9,
        match=Match(check=(check,), feature=("in*",)),
        effect=Effect(threshold=threshold),
    )
    run = RunLabels(
        account=b.ACCOUNT,
        region=b.REGION,
        endpoint=b.ENDPOINT,
        schedule="loan-risk-hourly",
        monitor=MonitorKind.DATA_QUALITY,
    )
    rules = PolicyIndex(Policy(rules=(tighter,))).for_run(run)
    return judge(rules, b.reading(), parsed, datetime(2026, 11, 23, tzinfo=UTC))


def test_a_feature_that_a_damaged_file_lists_twice_is_found_once() -> None:
    twice = b.statistics(b.numerical("income", 90, 10), b.numerical("income", 80, 20))

    (found,) = judged(b.parsed({"statistics.json": twice}), "completeness_check", 0.95)

    assert found.finding.observed == 0.9


def test_drift_below_the_services_threshold_is_found_by_the_policy() -> None:
    later = [n + 150.0 for n in BEFORE]
    parsed = run_of(sketched("income", later), sketched("income", BEFORE))

    (found,) = judged(parsed, DRIFT, 0.01)

    assert found.is_derived and found.counts
    assert (found.finding.threshold, found.service_threshold) == (0.01, 0.1)
    assert found.finding.observed == pytest.approx(0.075 - 1.8 * math.sqrt(1 / 1000), abs=1e-9)
    assert found.finding.current is not None and found.finding.baseline is not None
    assert found.set_by["threshold"].line == 9


# --- files of real runs


@needs_samples
def test_real_sketches_are_read_and_are_like_themselves() -> None:
    statistics = read_statistics(sample("data_quality/sdk_abalone_statistics.json"))
    features = statistics.features or []

    sketches = [feature.sketch for feature in features]
    assert len(sketches) == 6
    for feature, levels in zip(features, sketches, strict=True):
        assert levels is not None and sum(map(len, levels)) == 100
        assert feature.completeness == 1.0
        assert numerical_distance(levels, levels, robust=False) == 0


@needs_samples
def test_a_real_run_like_its_baseline_has_no_drift() -> None:
    statistics = sample("data_quality/sdk_abalone_statistics.json")
    constraints = sample("data_quality/sdk_abalone_good_constraints.json")
    parsed = b.parsed(
        {"statistics.json": statistics},
        {"statistics.json": statistics, "constraints.json": constraints},
    )

    found = measured(parsed, check=DRIFT)

    assert {f.observed for f in found.values()} == {0.0}
    assert {f.threshold for f in found.values()} == {0.1}
    assert len(found) == 6


@needs_samples
def test_real_categories_are_read() -> None:
    statistics = read_statistics(sample("data_quality/sdk_2019_statistics.json"))

    (feature,) = statistics.features or []
    assert feature.categories == {"preproc-not-YET-supported-for-csv-json": 418}


@needs_samples
def test_real_metrics_are_beyond_the_bad_constraints_and_within_the_good_ones() -> None:
    statistics = sample("model_quality/sdk_regression_statistics.json")

    def beyond(constraints: str) -> set[str]:
        files = {"constraints.json": sample(f"model_quality/sdk_regression_{constraints}.json")}
        parsed = b.parsed({"statistics.json": statistics}, files)
        found = measured(parsed, MonitorKind.MODEL_QUALITY)
        assert found.keys() == {"mae", "mse", "rmse", "r2"}
        return {
            name
            for name, f in found.items()
            if f.observed is not None
            and f.threshold is not None
            and (f.observed > f.threshold) == (f.direction is Direction.ABOVE)
            and f.observed != f.threshold
        }

    assert beyond("good_constraints") == set()
    assert beyond("bad_constraints")


@needs_samples
def test_a_real_bias_report_states_the_numbers_that_are_measured() -> None:
    analysis = sample("clarify_analysis/extracted/bias_baseline_endpoint_analysis.json")
    violations = sample("violations/extracted/bias_endpoint_9.json")
    reported = b.read({"constraint_violations.json": violations}).findings

    found = list(
        measurements(b.parsed({"analysis.json": analysis}), MonitorKind.BIAS, lambda *_: True)
    )

    # the baseline's values are what the report's sentences require
    values = {f.subject: f.observed for f in found}
    assert {f.subject: f.threshold for f in reported} == {
        f.subject: values[f.subject] for f in reported
    }


@needs_samples
def test_a_real_explainability_baseline_scores_one_against_itself() -> None:
    analysis = sample("clarify_analysis/extracted/explainability_baseline_label0_analysis.json")
    parsed = b.parsed({"analysis.json": analysis}, {"analysis.json": analysis})
    reported = b.read(
        {"constraint_violations.json": sample("violations/extracted/explainability_shap_1.json")}
    ).findings

    (found,) = measured(parsed, MonitorKind.EXPLAINABILITY).values()

    assert found.observed == 1.0
    assert [f.subject for f in reported] == [found.subject]
