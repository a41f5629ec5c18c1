"""Report files as bytes: what is tolerated, what is refused, and what comes out."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from guiderail.errors import GuiderailError, MalformedReportError
from guiderail.model.finding import Bucket
from guiderail.model.outcome import MonitorKind
from guiderail.reports.analysis import read_analysis
from guiderail.reports.constraints import read_constraints
from guiderail.reports.json_text import number
from guiderail.reports.run_files import Files, parse_run
from guiderail.reports.statistics import Statistics, read_statistics
from guiderail.reports.violations import FILE_NAMES, Violation, read_violations

from tests import builders as b

DRIFT = b.violations(b.drifted("income"))
READERS: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "violations": (read_violations, DRIFT),
    "statistics": (read_statistics, b.statistics()),
    "quality statistics": (read_statistics, b.quality_statistics({"auc": (0.9, 0.01)})),
    "constraints": (read_constraints, b.constraints("income")),
    "quality constraints": (
        read_constraints,
        b.quality_constraints({"auc": (0.8, "LessThanThreshold")}),
    ),
    "bias analysis": (read_analysis, b.bias_analysis(post={"DI": 0.9}, pre={"CI": 0.1})),
    "shap analysis": (read_analysis, b.shap_analysis({"default": {"income": 0.2}})),
}
every_reader = pytest.mark.parametrize(
    ("read", "content"), [pytest.param(*case, id=name) for name, case in READERS.items()]
)


def seen(read: object) -> object:
    """What a reader's result says; statistics keep their buckets as written until they are asked for."""
    if isinstance(read, Statistics):
        summaries = [(feature.name, feature.summary()) for feature in read.features or ()]
        return read.rows, read.metrics, summaries
    return read


# --- every reader


@every_reader
def test_a_byte_order_mark_changes_nothing(read: Callable[[bytes], object], content: bytes) -> None:
    assert seen(read(b"\xef\xbb\xbf" + content)) == seen(read(content))


@every_reader
def test_keys_nobody_asks_for_change_nothing(
    read: Callable[[bytes], object], content: bytes
) -> None:
    extended = b'{"of_tomorrow": {"deep": [1, "two", null]}, ' + content[1:]

    assert seen(read(extended)) == seen(read(content))


@every_reader
@pytest.mark.parametrize(
    "literal", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"9" * 400]
)
def test_literals_that_json_forbids_are_tolerated(
    read: Callable[[bytes], object], content: bytes, literal: bytes
) -> None:
    odd = b'{"of_tomorrow": ' + literal + b", " + content[1:]

    assert seen(read(odd)) == seen(read(content))


@every_reader
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9])
def test_a_truncated_file_is_refused(
    read: Callable[[bytes], object], content: bytes, share: float
) -> None:
    with pytest.raises(MalformedReportError):
        read(content[: int(len(content) * share)])


@every_reader
@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b" ",
        b"null",
        b"[]",
        b'"text"',
        b"3.5",
        b"{}",
        b"\x00\x01\x02",
        b"\xff\xfe",
        b"<html>AccessDenied</html>",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda damaged: repr(damaged[:12]),
)
def test_what_is_no_report_is_refused(
    read: Callable[[bytes], object], content: bytes, damaged: bytes
) -> None:
    with pytest.raises(MalformedReportError):
        read(damaged)


@every_reader
def test_bytes_after_the_report_are_refused(
    read: Callable[[bytes], object], content: bytes
) -> None:
    with pytest.raises(MalformedReportError):
        read(content + b"]")


@pytest.mark.parametrize(
    ("read", "damaged"),
    [
        (read_violations, b'{"violations": null}'),
        (read_violations, b'{"violations": {}}'),
        (read_violations, b'{"violations": "none"}'),
        (read_violations, b'{"violations": [null]}'),
        (read_violations, b'{"violations": ["text"]}'),
        (read_violations, b'{"violations": [[]]}'),
        (read_violations, b'{"Violations": []}'),
        (read_statistics, b'{"features": {}}'),
        (read_statistics, b'{"features": [{"inferred_type": "Integral"}]}'),
        (read_statistics, b'{"features": [{"name": 7}]}'),
        (
            read_statistics,
            b'{"features": [{"name": "a", "numerical_statistics": {"mean": []}}]}',
        ),
        (read_statistics, b'{"regression_metrics": {"mae": 3}}'),
        (read_statistics, b'{"dataset": {"item_count": 900}}'),
        (read_constraints, b'{"features": [{}]}'),
        (read_constraints, b'{"monitoring_config": {}}'),
        (read_constraints, b'{"regression_constraints": []}'),
        (read_analysis, b'{"explanations": []}'),
        (read_analysis, b'{"post_training_bias_metrics": {}}'),
        (read_analysis, b'{"post_training_bias_metrics": {"facets": {"age": {}}}}'),
        (read_analysis, b'{"explanations": {"kernel_shap": {"default": {}}}}'),
        (
            read_analysis,
            b'{"explanations": {"kernel_shap": {"a": {"global_shap_values": {"x": true}}}}}',
        ),
    ],
)
def test_a_value_of_another_type_is_refused(
    read: Callable[[bytes], object], damaged: bytes
) -> None:
    with pytest.raises(MalformedReportError):
        read(damaged)


def test_the_error_names_file_and_place_and_remedy() -> None:
    with pytest.raises(MalformedReportError) as caught:
        read_statistics(b'{"features": [{"name": 7}]}', "baseline/statistics.json")

    assert "baseline/statistics.json" in str(caught.value)
    assert "features[0].name" in str(caught.value)
    assert caught.value.remedy
    assert not caught.value.retriable


def test_the_error_of_a_file_that_is_no_json_says_where() -> None:
    with pytest.raises(MalformedReportError, match=r"byte \d+"):
        read_violations(b'{"violations": [}')


# --- numbers


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (3, 3.0),
        (0, 0.0),
        (-0.5, -0.5),
        ("0.25", 0.25),
        ("1E-3", 0.001),
        ("Infinity", math.inf),
        ("-Infinity", -math.inf),
        (math.inf, math.inf),
    ],
)
def test_numbers_are_read_as_reports_write_them(written: object, read: float) -> None:
    assert number(written) == read


@pytest.mark.parametrize("written", [None, "NaN", math.nan, "", "high", True, False, [], {}, b"1"])
def test_what_is_no_number_is_unknown(written: object) -> None:
    assert number(written) is None


@pytest.mark.parametrize("digits", [400, 6000])
def test_a_whole_number_beyond_floats_is_refused_or_infinite(digits: int) -> None:
    content = b'{"features": [{"name": "x", "numerical_statistics": {"mean": %s}}]}' % (
        b"9" * digits
    )

    try:
        feature = read_statistics(content).feature("x")
    except MalformedReportError:
        return
    assert feature is not None and feature.mean in (None, math.inf)


# --- violations


@pytest.mark.parametrize("content", [b.NO_VIOLATIONS, b'{"version": "1.0", "violations": []}'])
def test_an_empty_list_is_read_as_empty(content: bytes) -> None:
    assert read_violations(content) == ()


def test_an_item_is_kept_as_written() -> None:
    (violation,) = read_violations(b.violations(b.biased("DI", "0.4", "0.9"), version="1.0"))

    assert violation == Violation(
        check="bias_drift_check",
        description="Metric value 0.4 doesn't meet the baseline constraint requirement 0.9",
        metric_name="DI",
        facet="age_group",
        facet_value="(18, 25]",
    )


def test_keys_of_an_own_container_are_noticed() -> None:
    (violation,) = read_violations(b.violations({**b.drifted("text"), "sentence": "hello"}))

    assert violation.has_own_keys


FULL, EMPTY = '"violations": [{"constraint_check_type": "x"}]', '"violations": []'


@pytest.mark.parametrize(
    "content",
    [
        f"{{{FULL}, {EMPTY}}}",
        f"{{{EMPTY}, {FULL}}}",
        f"\ufeff{{{FULL}, {EMPTY}}}",
        f'{{{FULL}, "violation\\u0073": []}}',
        f'{{"\\u0076iolations": [{{"a": 1}}], {EMPTY}}}',
    ],
)
def test_a_repeated_key_cannot_hide_violations(content: str) -> None:
    with pytest.raises(MalformedReportError):
        read_violations(content.encode())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_a_repeated_key_cannot_hide_behind_another_encoding(encoding: str) -> None:
    with pytest.raises(MalformedReportError):
        read_violations(f"{{{FULL}, {EMPTY}}}".encode(encoding))


def test_the_word_inside_an_item_is_no_repeated_key() -> None:
    item = {"feature_name": "violations", "violations": 3, "description": '"violations"'}

    assert len(read_violations(b.violations(item))) == 1


@pytest.mark.parametrize("depth", [10, 200])
def test_nested_values_of_an_own_container_are_kept_as_text(depth: int) -> None:
    nested: object = 1
    for _ in range(depth):
        nested = {"a": nested}

    (violation,) = read_violations(b.violations({**b.drifted("x"), "feature_name": nested}))

    assert violation.feature_name.count("a") == depth


@pytest.mark.parametrize(
    ("item", "kind"),
    [
        (b.drifted("income"), MonitorKind.DATA_QUALITY),
        (b.old_wording("income", "categorical_values_check", "0.1"), MonitorKind.DATA_QUALITY),
        (b.columns_differ("extra_column_check", 3, 2), MonitorKind.DATA_QUALITY),
        (b.off_metric("auc", "0.5", "0.8"), MonitorKind.MODEL_QUALITY),
        (b.biased("DI", "0.5", "0.9"), MonitorKind.BIAS),
        (b.reordered("0.5"), MonitorKind.EXPLAINABILITY),
        (b.item("of_our_own_check", "x", feature_name="income"), MonitorKind.CUSTOM),
        ({**b.drifted("income"), "owner": "risk"}, MonitorKind.CUSTOM),
        ({}, MonitorKind.CUSTOM),
    ],
)
def test_an_items_keys_tell_its_monitor(item: b.Document, kind: MonitorKind) -> None:
    (violation,) = read_violations(b.violations(item))

    assert violation.kind is kind


# --- statistics


def test_rows_and_features_of_data_quality() -> None:
    statistics = read_statistics(
        b.statistics(b.numerical("income", 880, 20), b.textual("loan_purpose", 899, 1))
    )

    income, purpose = statistics.feature("income"), statistics.feature("loan_purpose")
    assert statistics.rows == 900 and statistics.metrics is None
    assert income is not None and purpose is not None
    assert (income.present, income.missing, income.minimum, income.maximum) == (
        880,
        20,
        9_000.0,
        98_000.0,
    )
    assert (purpose.inferred_type, purpose.distinct, purpose.mean) == ("String", 6.0, None)
    assert purpose.completeness == pytest.approx(899 / 900)


def test_a_feature_that_is_not_there_has_no_summary() -> None:
    assert read_statistics(b.statistics()).feature("no_such") is None


@pytest.mark.parametrize("mean", [None, "NaN", math.nan])
def test_an_all_null_columns_mean_is_unknown(mean: object) -> None:
    statistics = read_statistics(b.statistics(b.numerical("income", 0, 900, mean=mean)))

    income = statistics.feature("income")
    assert income is not None
    assert (income.mean, income.completeness) == (None, 0.0)


def test_the_buckets_of_a_feature() -> None:
    statistics = read_statistics(b.statistics(b.numerical("income", 900, 0, mean=1.0)))

    assert (statistics.features or [])[0].buckets[0] == Bucket(9_000.0, 53_500.0, 640.0)


def test_a_feature_without_any_statistics_is_read() -> None:
    statistics = read_statistics(b.statistics({"name": "income", "inferred_type": "Unknown"}))

    income = statistics.feature("income")
    assert income is not None
    assert (income.present, income.completeness) == (None, None)
    assert (statistics.features or [])[0].buckets == ()


def test_strings_without_a_distribution_are_read() -> None:
    feature = b.textual("comment", distinct=24_000.0)
    del feature["string_statistics"]["distribution"]

    comment = read_statistics(b.statistics(feature)).feature("comment")

    assert comment is not None and comment.distinct == 24_000.0


@pytest.mark.parametrize(
    ("rows", "read"),
    [(418, 418), (418.0, 418), (0, 0), ("900", 900), (None, None), ("NaN", None), (1e300, None)],
)
def test_rows_in_any_number_form(rows: object, read: int | None) -> None:
    assert read_statistics(b.statistics(rows=rows)).rows == read


def test_statistics_without_a_dataset_leave_rows_unknown() -> None:
    content = b.encode({"multiclass_classification_metrics": {"accuracy": {"value": 0.6}}})

    assert read_statistics(content).rows is None


@pytest.mark.parametrize(
    "group",
    [
        "binary_classification_metrics",
        "multiclass_classification_metrics",
        "regression_metrics",
    ],
)
def test_metrics_of_every_problem_type_are_read(group: str) -> None:
    metrics = read_statistics(b.quality_statistics({"first": (0.5, "NaN")}, group)).metrics

    assert metrics is not None
    assert number(metrics["first"].value) == 0.5
    assert number(metrics["first"].standard_deviation) is None


def test_a_confusion_matrix_is_no_metric() -> None:
    metrics = read_statistics(b.quality_statistics({"auc": (0.5, 0.1)})).metrics

    assert metrics is not None
    assert number(metrics["confusion_matrix"].value) is None


# --- constraints


def test_a_2019_constraints_file_is_read() -> None:
    content = b.encode(
        {
            "version": 0.0,
            "features": [
                {
                    "name": "loan_purpose",
                    "inferred_type": "String",
                    "completeness": 0.9,
                    "string_constraints": {"domains": ["car", "house"]},
                }
            ],
            "monitoring_config": {
                "distribution_constraints": {
                    "enable_comparisons": True,
                    "min_domain_mass": 1.0,
                    "comparison_threshold": 0.7,
                }
            },
        }
    )

    constraints = read_constraints(content)

    assert constraints.threshold("baseline_drift_check", "loan_purpose") == 0.7
    assert constraints.threshold("completeness_check", "loan_purpose") == 0.9
    assert constraints.threshold("data_type_check", "loan_purpose") is None


@pytest.mark.parametrize("check", ["data_type_check", "baseline_drift_check", "LessThanThreshold"])
def test_constraints_without_a_monitoring_config_set_no_threshold(check: str) -> None:
    constraints = read_constraints(b.encode({"features": [{"name": "income"}]}))

    assert constraints.threshold(check, "income") is None


def test_model_quality_thresholds_go_by_metric() -> None:
    constraints = read_constraints(
        b.quality_constraints(
            {"auc": (0.8, "LessThanThreshold"), "r2": (-3.2, "LessThanThreshold")}
        )
    )

    assert constraints.threshold("LessThanThreshold", "r2") == -3.2
    assert constraints.threshold("LessThanThreshold", "mae") is None


# --- analysis


def test_bias_metrics_of_both_stages_and_every_facet_value_are_found() -> None:
    content = b.encode(
        {
            "version": "1.0",
            "pre_training_bias_metrics": b.bias_section({"CI": 0.3}),
            "post_training_bias_metrics": {
                "label": "default",
                "label_value_or_threshold": "1",
                "facets": {
                    "region": [
                        {"value_or_threshold": "north", "metrics": [{"name": "DI", "value": 1}]},
                        {"value_or_threshold": "south", "metrics": [{"name": "DI", "value": 0.7}]},
                    ]
                },
            },
        }
    )

    analysis = read_analysis(content)

    assert analysis.bias_value("age_group", "(18, 25]", "CI") == 0.3
    assert analysis.bias_value("region", "north", "DI") == 1.0
    assert analysis.bias_value("region", "south", "DI") == 0.7
    assert analysis.bias_value("region", "west", "DI") is None


@pytest.mark.parametrize(
    ("written", "read"),
    [("Infinity", math.inf), ("-Infinity", -math.inf), (None, None), ("NaN", None), (0, 0.0)],
)
def test_a_bias_value_in_every_form(written: object, read: float | None) -> None:
    analysis = read_analysis(b.bias_analysis(post={"TE": written}))

    assert analysis.bias_value("age_group", "(18, 25]", "TE") == read


def test_attributions_come_by_label() -> None:
    analysis = read_analysis(
        b.shap_analysis({"label0": {"income": 0.2}, "label1": {"income": 0.7, "odd": None}})
    )

    assert analysis.labels == ("label0", "label1")
    assert analysis.attributions("label1") == {"income": 0.7}
    assert analysis.attributions("label2") == {}


def test_text_tokens_beside_attributions_are_skipped() -> None:
    content = b.encode(
        {
            "explanations": {
                "kernel_shap": {
                    "default": {
                        "global_shap_values": {"comment": 0.4},
                        "global_top_shap_text": {"comment": {"loan": 0.3}},
                        "expected_value": 0.1,
                    }
                }
            }
        }
    )

    assert read_analysis(content).attributions("default") == {"comment": 0.4}


# --- the files of a run together


@pytest.mark.parametrize("name", FILE_NAMES)
def test_every_spelling_of_the_violations_file_is_found(name: str) -> None:
    parsed = parse_run(Files({name: DRIFT}, {}))

    assert parsed.violations_file == name
    assert len(parsed.violations or ()) == 1


def test_a_file_that_is_absent_is_none_and_no_error() -> None:
    parsed = parse_run(Files({}, {}))

    assert (parsed.violations, parsed.statistics, parsed.errors) == (None, None, {})


def test_each_damaged_file_has_its_own_error() -> None:
    parsed = parse_run(
        Files({FILE_NAMES[0]: b"{", "statistics.json": b.statistics()}, {}),
        Files({"analysis.json": b"nope"}, {}),
    )

    assert set(parsed.errors) == {FILE_NAMES[0], "baseline/analysis.json"}
    assert parsed.statistics is not None


def test_a_file_that_could_not_be_fetched_keeps_its_error() -> None:
    error = GuiderailError("no")

    parsed = parse_run(Files({}, {FILE_NAMES[0]: error}))

    assert parsed.errors == {FILE_NAMES[0]: error}
    assert parsed.violations_file == FILE_NAMES[0]


def test_a_number_that_lost_its_point_is_damage() -> None:
    with pytest.raises(MalformedReportError):
        read_analysis(b'{"explanations": {}, "x": 0025403419653638394}')
