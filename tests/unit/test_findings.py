"""One violation in one shape, whichever monitor reported it."""

from __future__ import annotations

import math

import pytest
from guiderail.model.finding import Finding, Subject
from guiderail.model.outcome import Direction, MonitorKind, Reason
from guiderail.model.run import Reading

from tests import builders as b


def only(reading: Reading) -> Finding:
    (found,) = reading.findings
    return found


# --- each kind: subject, numbers, direction, unit

SHAPES = {
    "type": (
        b.mistyped("age_of_account", "99.5"),
        Finding(
            kind=MonitorKind.DATA_QUALITY,
            check="data_type_check",
            subject=Subject(feature="age_of_account"),
            observed=0.995,
            threshold=1.0,
            direction=Direction.BELOW,
            parsed=True,
            description="",
            unit="fraction",
            distance=0.005,
        ),
    ),
    "completeness": (
        b.incomplete("income", "71.5", expected="95.0"),
        Finding(
            kind=MonitorKind.DATA_QUALITY,
            check="completeness_check",
            subject=Subject(feature="income"),
            observed=0.715,
            threshold=0.95,
            direction=Direction.BELOW,
            parsed=True,
            description="",
            unit="fraction",
            distance=0.235,
        ),
    ),
    "drift": (
        b.drifted("debt to income", "0.73", "0.1"),
        Finding(
            kind=MonitorKind.DATA_QUALITY,
            check="baseline_drift_check",
            subject=Subject(feature="debt to income"),
            observed=0.73,
            threshold=0.1,
            direction=Direction.ABOVE,
            parsed=True,
            description="",
            unit="distance",
            distance=0.63,
        ),
    ),
    "missing columns": (
        b.columns_differ("missing_column_check", 11, 12),
        Finding(
            kind=MonitorKind.DATA_QUALITY,
            check="missing_column_check",
            subject=Subject(),
            observed=11.0,
            threshold=12.0,
            direction=Direction.MISMATCH,
            parsed=True,
            description="",
            unit="columns",
            distance=1.0,
        ),
    ),
    "extra columns": (
        b.columns_differ("extra_column_check", 15, 12),
        Finding(
            kind=MonitorKind.DATA_QUALITY,
            check="extra_column_check",
            subject=Subject(),
            observed=15.0,
            threshold=12.0,
            direction=Direction.MISMATCH,
            parsed=True,
            description="",
            unit="columns",
            distance=3.0,
        ),
    ),
    "metric below": (
        b.off_metric("truePositiveRate", "0.61", "0.83", "4E-3"),
        Finding(
            kind=MonitorKind.MODEL_QUALITY,
            check="LessThanThreshold",
            subject=Subject(metric="true_positive_rate"),
            observed=0.61,
            threshold=0.83,
            direction=Direction.BELOW,
            parsed=True,
            description="",
            distance=0.22,
            standard_deviation=0.004,
        ),
    ),
    "metric above": (
        b.off_metric("rmse", "12.5", "9.0", check="GreaterThanThreshold"),
        Finding(
            kind=MonitorKind.MODEL_QUALITY,
            check="GreaterThanThreshold",
            subject=Subject(metric="rmse"),
            observed=12.5,
            threshold=9.0,
            direction=Direction.ABOVE,
            parsed=True,
            description="",
            distance=3.5,
        ),
    ),
    "bias": (
        b.biased("DPPL", "-0.34", "-0.09"),
        Finding(
            kind=MonitorKind.BIAS,
            check="bias_drift_check",
            subject=Subject(metric="DPPL", facet="age_group", facet_value="(18, 25]"),
            observed=-0.34,
            threshold=-0.09,
            direction=Direction.FARTHER_FROM_ZERO,
            parsed=True,
            description="",
            distance=0.34,
        ),
    ),
    "attribution": (
        b.reordered("0.81"),
        Finding(
            kind=MonitorKind.EXPLAINABILITY,
            check="feature_attribution_drift_check",
            subject=Subject(metric="shap", label="default"),
            observed=0.81,
            threshold=0.9,
            direction=Direction.BELOW,
            parsed=True,
            description="",
            unit="nDCG",
            distance=0.09,
        ),
    ),
}


@pytest.mark.parametrize(
    ("item", "expected"), [pytest.param(*case, id=name) for name, case in SHAPES.items()]
)
def test_each_kind_of_violation_becomes_its_finding(item: b.Document, expected: Finding) -> None:
    found = only(b.read_items(item))

    for field in ("kind", "check", "subject", "direction", "parsed", "unit"):
        assert getattr(found, field) == getattr(expected, field), field
    for field in ("observed", "threshold", "distance", "standard_deviation"):
        assert getattr(found, field) == pytest.approx(getattr(expected, field)), field
    assert found.description == item["description"]


def test_the_column_checks_pseudo_feature_is_no_feature() -> None:
    assert (
        only(b.read_items(b.columns_differ("extra_column_check", 13, 12))).subject.feature is None
    )


def test_the_same_feature_under_several_checks_is_several_findings() -> None:
    reading = b.read_items(
        b.mistyped("income", "88.0"), b.incomplete("income", "71.0"), b.drifted("income")
    )

    assert [f.check for f in reading.findings] == [
        "data_type_check",
        "completeness_check",
        "baseline_drift_check",
    ]


def test_findings_keep_the_order_of_the_report() -> None:
    names = [f"ratio_{n}" for n in (3, 1, 2)]

    reading = b.read_items(*(b.drifted(name) for name in names))

    assert [f.subject.feature for f in reading.findings] == names


# --- bias: distance from the neutral value


@pytest.mark.parametrize(
    ("metric", "value", "distance"),
    [
        ("DPPL", "-0.4", 0.4),
        ("CI", "0.25", 0.25),
        ("DI", "0.4", 0.6),
        ("DI", "2.5", 1.5),
        ("DI", "1.0", 0.0),
        ("TE", "Infinity", math.inf),
        ("DI", "-Infinity", math.inf),
    ],
)
def test_bias_distance_is_from_the_metrics_neutral_value(
    metric: str, value: str, distance: float
) -> None:
    found = only(b.read_items(b.biased(metric, value, "0.1")))

    assert found.distance == pytest.approx(distance)


def test_bias_without_its_requirement_takes_it_from_the_baseline_analysis() -> None:
    item = b.item(
        "bias_drift_check",
        "Value -0.34 does not meet the constraint requirement",
        facet="age_group",
        facet_value="(18, 25]",
        metric_name="DPPL",
    )

    found = only(b.read_items(item, analysis=b.bias_analysis(post={"DPPL": -0.09})))

    assert (found.observed, found.threshold) == (-0.34, -0.09)


def test_a_pre_training_metric_takes_its_requirement_too() -> None:
    item = b.item(
        "bias_drift_check",
        "Value 0.5 does not meet the constraint requirement",
        facet="age_group",
        facet_value="(18, 25]",
        metric_name="CI",
    )
    baseline = b.bias_analysis(post={"DI": 1.1}, pre={"CI": 0.2})

    assert only(b.read_items(item, analysis=baseline)).threshold == 0.2


@pytest.mark.parametrize("other", [{"facet": "region"}, {"facet_value": "(25, 40]"}])
def test_the_requirement_of_another_facet_is_not_taken(other: dict[str, str]) -> None:
    keys = {"facet": "age_group", "facet_value": "(18, 25]", "metric_name": "DPPL", **other}
    item = b.item("bias_drift_check", "Value 0.5 does not meet the constraint requirement", **keys)

    found = only(b.read_items(item, analysis=b.bias_analysis(post={"DPPL": -0.09})))

    assert found.threshold is None


def test_the_requirement_that_the_report_states_goes_before_the_baselines() -> None:
    item = b.biased("DPPL", "-0.34", "-0.09")

    found = only(b.read_items(item, analysis=b.bias_analysis(post={"DPPL": -0.2})))

    assert found.threshold == -0.09


# --- attribution: the features behind one score


def test_an_attribution_finding_names_the_features_that_moved() -> None:
    baseline = {"income": 3.0, "age_of_account": 2.0, "loan_purpose": 1.0}
    current = {"income": 1.0, "age_of_account": 2.0, "loan_purpose": 3.0}

    reading = b.read(
        {
            "constraint_violations.json": b.violations(b.reordered("0.79")),
            "analysis.json": b.shap_analysis({"default": current}),
        },
        {"analysis.json": b.shap_analysis({"default": baseline})},
    )

    moved = {s.feature: (s.baseline_rank, s.current_rank) for s in only(reading).shifts}
    assert moved == {"income": (1, 3), "age_of_account": (2, 2), "loan_purpose": (3, 1)}


@pytest.mark.parametrize(
    ("score", "disagrees"),
    # income and age_of_account change places: (1 + 2/log2(3)) / (2 + 1/log2(3))
    [("0.8597186998521972", False), ("0.5", True)],
)
def test_a_score_that_the_files_do_not_give_is_noted(score: str, disagrees: bool) -> None:
    reading = b.read(
        {
            "constraint_violations.json": b.violations(b.reordered(score)),
            "analysis.json": b.shap_analysis({"default": {"income": 1.0, "age_of_account": 4.0}}),
        },
        {
            "analysis.json": b.shap_analysis({"default": {"income": 2.0, "age_of_account": 1.0}}),
        },
    )

    assert (Reason.ATTRIBUTION_SCORE_DISAGREES in reading.reasons) is disagrees


@pytest.mark.parametrize("label", ["default", "0.7956783771514893", "label0"])
def test_attributions_are_those_of_the_violations_label(label: str) -> None:
    shap = b.shap_analysis({label: {"income": 2.0}, "another": {"age_of_account": 1.0}})

    reading = b.read(
        {
            "constraint_violations.json": b.violations(b.reordered("1.0", label=label)),
            "analysis.json": shap,
        },
        {"analysis.json": shap},
    )

    assert [s.feature for s in only(reading).shifts] == ["income"]


def test_without_a_baseline_analysis_no_feature_is_named() -> None:
    reading = b.read(
        {
            "constraint_violations.json": b.violations(b.reordered("0.8")),
            "analysis.json": b.shap_analysis({"default": {"income": 1.0}}),
        }
    )

    assert only(reading).shifts == ()


# --- percentages and fractions


def test_an_observed_number_above_one_is_a_percentage() -> None:
    found = only(b.read_items(b.incomplete("income", "89.5")))

    assert found.observed == pytest.approx(0.895)
    assert found.threshold == 1.0
    assert found.reasons == ()


@pytest.mark.parametrize("observed", ["0.0", "0"])
def test_zero_is_zero_either_way_and_assumes_nothing(observed: str) -> None:
    found = only(b.read_items(b.mistyped("income", observed)))

    assert (found.observed, found.reasons) == (0.0, ())


@pytest.mark.parametrize("observed", ["0.895", "1.0", "1E-3"])
def test_alone_an_observed_number_up_to_one_is_taken_for_a_fraction_and_says_so(
    observed: str,
) -> None:
    reading = b.read_items(b.mistyped("income", observed))

    assert only(reading).observed == float(observed)
    assert only(reading).reasons == (Reason.PERCENTAGE_ASSUMED_FRACTION,)
    assert Reason.PERCENTAGE_ASSUMED_FRACTION in reading.reasons


@pytest.mark.parametrize(
    ("observed", "present", "missing", "fraction"),
    [
        ("0.895", 895, 105, 0.895),
        ("0.895", 9, 991, 0.00895),
        ("1.0", 1000, 0, 1.0),
        ("1.0", 10, 990, 0.01),
    ],
)
def test_statistics_of_the_run_settle_what_a_completeness_number_means(
    observed: str, present: int, missing: int, fraction: float
) -> None:
    reading = b.read(
        {
            "constraint_violations.json": b.violations(b.incomplete("income", observed)),
            "statistics.json": b.statistics(b.numerical("income", present, missing)),
        }
    )

    assert only(reading).observed == pytest.approx(fraction)
    assert only(reading).reasons == (Reason.PERCENTAGE_SETTLED_BY_STATISTICS,)


def test_a_sibling_above_one_shows_that_the_file_holds_percentages() -> None:
    small, large = b.read_items(
        b.mistyped("income", "0.8"), b.mistyped("age_of_account", "97.5")
    ).findings

    assert small.observed == pytest.approx(0.008)
    assert small.reasons == (Reason.PERCENTAGE_SETTLED_BY_SIBLING,)
    assert large.observed == pytest.approx(0.975)


def test_a_sibling_that_is_no_percentage_tells_nothing() -> None:
    first, _ = b.read_items(b.mistyped("income", "0.8"), b.drifted("debt_ratio", "7.5")).findings

    assert first.observed == 0.8


def test_threshold_is_a_percentage_whatever_the_observed_number_is() -> None:
    assert only(b.read_items(b.incomplete("income", "0.5", expected="80.0"))).threshold == 0.8


@pytest.mark.parametrize(
    "check", ["data_type_check", "completeness_check", "categorical_values_check"]
)
def test_numbers_of_the_2019_wording_are_fractions_as_written(check: str) -> None:
    found = only(b.read_items(b.old_wording("loan_purpose", check, "0.25")))

    assert (found.observed, found.unit, found.reasons) == (0.25, "fraction", ())


# --- thresholds that the wording leaves out


@pytest.mark.parametrize(
    ("check", "threshold"),
    [
        ("data_type_check", 0.99),
        ("categorical_values_check", 0.97),
        ("completeness_check", 0.95),
        ("baseline_drift_check", 0.2),
    ],
)
def test_the_baseline_constraints_give_the_threshold_that_2019_left_out(
    check: str, threshold: float
) -> None:
    constraints = b.constraints(
        "loan_purpose",
        completeness=0.95,
        type_threshold=0.99,
        domain_threshold=0.97,
        distance_threshold=0.2,
    )

    found = only(b.read_items(b.old_wording("loan_purpose", check, "0.5"), constraints=constraints))

    assert found.threshold == threshold
    assert found.distance == pytest.approx(abs(0.5 - threshold))


def test_without_baseline_constraints_the_threshold_stays_unknown() -> None:
    found = only(b.read_items(b.old_wording("loan_purpose", "data_type_check", "0.5")))

    assert (found.threshold, found.distance, found.parsed) == (None, None, True)


def test_completeness_of_a_feature_that_the_constraints_lack_stays_unknown() -> None:
    found = only(
        b.read_items(
            b.old_wording("loan_purpose", "completeness_check", "0.5"),
            constraints=b.constraints("income"),
        )
    )

    assert found.threshold is None


def test_a_metric_takes_its_threshold_by_its_snake_case_name() -> None:
    item = b.item(
        "LessThanThreshold",
        "Value: 0.4 does not meet the constraint requirement! ",
        metric_name="truePositiveRate",
    )
    constraints = b.quality_constraints({"true_positive_rate": (0.7, "LessThanThreshold")})

    found = only(b.read_items(item, constraints=constraints))

    assert (found.observed, found.threshold) == (0.4, 0.7)


def test_the_runs_own_constraints_are_not_taken_for_the_baselines() -> None:
    reading = b.read(
        {
            "constraint_violations.json": b.violations(
                b.old_wording("income", "data_type_check", "0.5")
            ),
            "constraints.json": b.constraints("income", type_threshold=0.3),
        }
    )

    assert only(reading).threshold is None


# --- baseline and current statistics


def test_a_finding_carries_the_features_statistics_then_and_now() -> None:
    reading = b.read(
        {
            "constraint_violations.json": b.violations(b.drifted("income")),
            "statistics.json": b.statistics(b.numerical("income", 890, 10, mean=52_000.0)),
        },
        {"statistics.json": b.statistics(b.numerical("income", 40_000, 0, mean=41_000.0))},
    )

    now, then = only(reading).current, only(reading).baseline
    assert now is not None and then is not None
    assert (now.present, now.missing, now.mean) == (890, 10, 52_000.0)
    assert (then.present, then.missing, then.mean) == (40_000, 0, 41_000.0)
    assert then.standard_deviation == 12_003.25


def test_a_feature_without_statistics_has_none() -> None:
    reading = b.read(
        {
            "constraint_violations.json": b.violations(b.drifted("new_feature")),
            "statistics.json": b.statistics(b.numerical("income")),
        }
    )

    assert (only(reading).current, only(reading).baseline) == (None, None)


# --- which columns are missing or extra


def _columns(check: str, now: tuple[str, ...], then: tuple[str, ...]) -> tuple[str, ...]:
    reading = b.read(
        {
            "constraint_violations.json": b.violations(
                b.columns_differ(check, len(now), len(then))
            ),
            "statistics.json": b.statistics(*(b.numerical(name) for name in now)),
        },
        {"constraints.json": b.constraints(*then)},
    )
    return only(reading).subject.columns


def test_missing_columns_are_named_in_the_baselines_order() -> None:
    missing = _columns("missing_column_check", ("b",), ("c", "a", "b"))

    assert missing == ("c", "a")


def test_extra_columns_are_named() -> None:
    assert _columns("extra_column_check", ("a", "b", "z"), ("a", "b")) == ("z",)


def test_columns_stay_unnamed_where_no_file_tells_them() -> None:
    assert (
        only(b.read_items(b.columns_differ("missing_column_check", 11, 12))).subject.columns == ()
    )


# --- what nobody knows yet


@pytest.mark.parametrize(
    "item",
    [
        b.item("embedding_drift_check", "cosine distance fell to 0.4", feature_name="text"),
        b.item("embedding_drift_check", None, feature_name="text"),
        b.item("baseline_drift_check", "a sentence of tomorrow", feature_name="income"),
        b.item("bias_drift_check", "???", facet="age_group", facet_value="1", metric_name="DI"),
        b.item("feature_attribution_drift_check", "?", label="default", metric_name="shap"),
        b.item("LessThanThreshold", "Metric auc fell", metric_name="auc"),
        {},
        {"description": "only words"},
        {"metrics": {"auc": 0.5}},
    ],
)
def test_an_unknown_check_or_wording_is_kept_and_marked(item: b.Document) -> None:
    reading = b.read_items(item)

    found = only(reading)
    assert not found.parsed
    assert found.observed is None
    assert found.description == item.get("description", "")
    assert Reason.UNPARSED_FINDINGS in reading.reasons


def test_unparsed_findings_are_counted_in_the_evidence() -> None:
    reading = b.read_items(b.drifted("income"), b.item("of_our_own", "text"))

    assert any("1 of 2" in sentence for sentence in reading.evidence)


def test_parsed_findings_are_not_called_unparsed() -> None:
    assert Reason.UNPARSED_FINDINGS not in b.read_items(b.drifted("income")).reasons


def test_a_known_check_of_an_own_container_needs_no_description() -> None:
    reading = b.read_items(
        b.item("baseline_drift_check", None, feature_name="text_score", sentence="hello")
    )

    assert only(reading).parsed
    assert only(reading).subject == Subject(feature="text_score")
    assert reading.monitor is MonitorKind.CUSTOM


def test_everything_that_an_own_container_reports_is_custom() -> None:
    reading = b.read(
        {"constraints_violations.json": b.violations(b.drifted("text_score"))},
        job=b.job(MonitorKind.CUSTOM),
        schedule=b.schedule(MonitorKind.CUSTOM),
    )

    assert only(reading).kind is MonitorKind.CUSTOM


@pytest.mark.parametrize(
    ("value", "text"),
    [(7, "7"), (None, ""), (0.5, "0.5"), (True, "True")],
)
def test_a_key_that_is_no_text_does_not_lose_the_item(value: object, text: str) -> None:
    item = {**b.drifted("income"), "feature_name": value}

    found = only(b.read_items(item))

    assert (found.subject.feature or "") == text


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        (Subject(feature="income"), "income"),
        (Subject(metric="auc"), "auc"),
        (Subject(metric="DI", facet="age_group", facet_value="1"), "DI of age_group=1"),
        (Subject(metric="shap", label="default"), "shap of default"),
        (Subject(columns=("income", "region")), "income, region"),
        (Subject(), "dataset"),
    ],
)
def test_a_subject_is_named_as_a_person_would(subject: Subject, name: str) -> None:
    assert str(subject) == name
