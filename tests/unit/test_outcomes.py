"""The honest state of a run, and the reasons given for it."""

from __future__ import annotations

import pytest
from guiderail.errors import AccessDeniedError, GuiderailError, ReportTooLargeError
from guiderail.model.outcome import MonitorKind, Outcome, Reason
from guiderail.reports.run_files import Files, parse_run
from guiderail.services.reading import read_outcome

from tests import builders as b

VIOLATIONS = "constraint_violations.json"
STATISTICS = "statistics.json"
ANALYSIS = "analysis.json"
CONSTRAINTS = "constraints.json"

EMPTY_LIST = {VIOLATIONS: b.NO_VIOLATIONS, STATISTICS: b.statistics()}
DRIFT = {VIOLATIONS: b.violations(b.drifted("income")), STATISTICS: b.statistics()}
FAIR = {ANALYSIS: b.bias_analysis(post={"DI": 0.96, "DPPL": 0.02})}
EXPLAINED = {ANALYSIS: b.shap_analysis({"default": {"income": 0.31, "age_of_account": 0.12}})}
SAYS_NONE = "Completed: Job completed successfully with no violations."


def says(count: int) -> str:
    return f"CompletedWithViolations: Job completed successfully with {count} violations."


# --- clean


@pytest.mark.parametrize(
    ("kind", "files", "reason"),
    [
        (MonitorKind.DATA_QUALITY, EMPTY_LIST, Reason.REPORT_LISTS_NO_VIOLATIONS),
        (
            MonitorKind.MODEL_QUALITY,
            {
                VIOLATIONS: b.NO_VIOLATIONS,
                STATISTICS: b.quality_statistics({"auc": (0.91, 0.002), "recall": (0.74, 0.01)}),
            },
            Reason.REPORT_LISTS_NO_VIOLATIONS,
        ),
        (MonitorKind.BIAS, FAIR, Reason.CLARIFY_WROTE_NO_VIOLATIONS_FILE),
        (MonitorKind.EXPLAINABILITY, EXPLAINED, Reason.CLARIFY_WROTE_NO_VIOLATIONS_FILE),
        (
            MonitorKind.BIAS,
            {**FAIR, VIOLATIONS: b.violations(version="1.0")},
            Reason.REPORT_LISTS_NO_VIOLATIONS,
        ),
        (
            MonitorKind.CUSTOM,
            {"constraints_violations.json": b.violations()},
            Reason.REPORT_LISTS_NO_VIOLATIONS,
        ),
    ],
)
def test_a_run_whose_report_was_read_and_lists_nothing_is_clean(
    kind: MonitorKind, files: dict[str, bytes], reason: Reason
) -> None:
    reading = b.read(files, job=b.job(kind), schedule=b.schedule(kind))

    assert reading.outcome is Outcome.CLEAN
    assert reason in reading.reasons
    assert reading.monitor is kind
    assert reading.findings == ()


def test_rows_are_those_that_the_statistics_count() -> None:
    assert b.read({**EMPTY_LIST, STATISTICS: b.statistics(rows=418)}).rows == 418


def test_a_clean_run_without_statistics_says_that_its_rows_are_unknown() -> None:
    reading = b.read({VIOLATIONS: b.NO_VIOLATIONS}, job=b.job(), minimum_rows=30)

    assert (reading.outcome, reading.rows) == (Outcome.CLEAN, None)
    assert Reason.ROWS_UNKNOWN in reading.reasons


def test_clarify_counts_no_rows_and_is_not_blamed_for_it() -> None:
    reading = b.read(FAIR, job=b.job(MonitorKind.BIAS), minimum_rows=30)

    assert Reason.ROWS_UNKNOWN not in reading.reasons


def test_files_without_a_job_are_read_and_say_so() -> None:
    assert Reason.JOB_STATE_UNKNOWN in b.read(EMPTY_LIST).reasons


def test_files_with_a_job_are_not_said_to_lack_it() -> None:
    assert Reason.JOB_STATE_UNKNOWN not in b.read(EMPTY_LIST, job=b.job()).reasons


# --- violations, and what the exit message says of their number


def test_reported_violations_are_the_outcome() -> None:
    reading = b.read(DRIFT, job=b.job(ExitMessage=says(1)))

    assert reading.outcome is Outcome.VIOLATIONS
    assert Reason.VIOLATIONS_REPORTED in reading.reasons
    assert Reason.VIOLATION_COUNT_DISAGREES not in reading.reasons


def _drifts(count: int) -> dict[str, bytes]:
    return {VIOLATIONS: b.violations(*(b.drifted(f"ratio_{n}") for n in range(count)))}


@pytest.mark.parametrize(
    ("listed", "message", "disagrees"),
    [
        (54, says(54), False),
        (54, says(2), True),
        (1, "CompletedWithViolations: Job completed successfully with 1 violation.", False),
        (2, "CompletedWithViolations: Job completed successfully with 1 violation.", True),
        (3, SAYS_NONE, True),
        (3, "", False),
        (3, None, False),
        (3, "CompletedWithViolations: see the dashboard", False),
        (3, "CompletedWithViolations", False),
        # two instances write one message each, which SageMaker concatenates
        (5, says(2) + says(3), False),
        (3, says(3) + says(3), False),
        (3, SAYS_NONE + says(3), False),
        (9, says(2) + "\n" + says(3), True),
        (4, says(4) + says(4)[:40], False),
    ],
)
def test_the_number_in_the_exit_message_is_compared_with_the_report(
    listed: int, message: str | None, disagrees: bool
) -> None:
    reading = b.read(_drifts(listed), job=b.job(ExitMessage=message))

    assert (Reason.VIOLATION_COUNT_DISAGREES in reading.reasons) is disagrees


def test_a_disagreement_keeps_every_finding_and_quotes_both_numbers() -> None:
    reading = b.read(_drifts(54), job=b.job(ExitMessage=says(2)))

    assert reading.outcome is Outcome.VIOLATIONS
    assert len(reading.findings) == 54
    assert any("54" in sentence and "2" in sentence for sentence in reading.evidence)


@pytest.mark.parametrize("message", [says(2), "CompletedWithViolations", SAYS_NONE + says(2)])
def test_an_empty_list_that_the_exit_message_contradicts_is_unreadable(message: str) -> None:
    reading = b.read(EMPTY_LIST, job=b.job(ExitMessage=message))

    assert reading.outcome is Outcome.UNREADABLE
    assert Reason.EXIT_MESSAGE_CONTRADICTS_REPORT in reading.reasons
    assert any(message in sentence for sentence in reading.evidence)


@pytest.mark.parametrize("kind", [MonitorKind.BIAS, MonitorKind.EXPLAINABILITY])
def test_clarify_without_the_file_that_its_exit_message_announces_is_unreadable(
    kind: MonitorKind,
) -> None:
    reading = b.read(FAIR | EXPLAINED, job=b.job(kind, ExitMessage=says(3)))

    assert reading.outcome is Outcome.UNREADABLE
    assert Reason.VIOLATIONS_FILE_MISSING in reading.reasons


def test_few_rows_do_not_hide_violations() -> None:
    reading = b.read({**DRIFT, STATISTICS: b.statistics(rows=4)}, minimum_rows=30)

    assert reading.outcome is Outcome.VIOLATIONS
    assert Reason.ROWS_BELOW_MINIMUM in reading.reasons


# --- failed, stopped, no data


@pytest.mark.parametrize(
    ("status", "why", "outcome", "reason"),
    [
        ("Stopped", "", Outcome.STOPPED, Reason.JOB_STOPPED),
        (
            "Failed",
            "AlgorithmError: See job logs for more information",
            Outcome.FAILED,
            Reason.JOB_FAILED,
        ),
        ("Failed", "", Outcome.FAILED, Reason.JOB_FAILED),
        ("Failed", "Job inputs had no data", Outcome.NO_DATA, Reason.NO_INPUT_DATA),
        (
            "Failed",
            'No S3 objects found under S3 URL "s3://loan-capture/loan-risk-prod/AllTraffic/2026/11/23/13" '
            "given in input data source.",
            Outcome.NO_DATA,
            Reason.NO_INPUT_DATA,
        ),
        (
            "Failed",
            'No S3 objects found under S3 URL "s3://loan-labels/ground_truth/2026/11/23/13" given in input '
            "data source.",
            Outcome.NO_GROUND_TRUTH,
            Reason.NO_GROUND_TRUTH_DATA,
        ),
    ],
)
def test_a_job_that_did_not_complete_has_an_outcome_of_its_own(
    status: str, why: str, outcome: Outcome, reason: Reason
) -> None:
    described = b.job(ProcessingJobStatus=status, FailureReason=why or None)

    reading = b.read({}, job=described)

    assert reading.outcome is outcome
    assert reason in reading.reasons
    assert not why or why in reading.evidence


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_files_that_a_failed_or_stopped_job_left_do_not_make_it_clean(status: str) -> None:
    reading = b.read(EMPTY_LIST, job=b.job(ProcessingJobStatus=status))

    assert reading.outcome in (Outcome.FAILED, Outcome.STOPPED)


def test_findings_of_a_failed_job_are_kept() -> None:
    reading = b.read(DRIFT, job=b.job(ProcessingJobStatus="Failed"))

    assert (reading.outcome, len(reading.findings)) == (Outcome.FAILED, 1)


def _ended(status: str, why: str | None = None, **summary: str) -> dict[str, str]:
    known = {"MonitoringExecutionStatus": status, **summary}
    return known if why is None else {**known, "FailureReason": why}


@pytest.mark.parametrize(
    ("summary", "outcome"),
    [
        (_ended("Failed", "Job inputs had no data"), Outcome.NO_DATA),
        (
            _ended(
                "Failed",
                'No S3 objects found under S3 URL "s3://loan-labels/ground_truth_data/13" given in input data '
                "source.",
            ),
            Outcome.NO_GROUND_TRUTH,
        ),
        (_ended("Failed", "InternalServerError"), Outcome.FAILED),
        (_ended("Stopped"), Outcome.STOPPED),
    ],
)
def test_an_execution_that_never_got_a_job_is_read_from_its_schedule(
    summary: dict[str, str], outcome: Outcome
) -> None:
    described = b.schedule(MonitorKind.MODEL_QUALITY, LastMonitoringExecutionSummary=summary)

    reading = b.read({}, schedule=described)

    assert (reading.outcome, reading.monitor) == (outcome, MonitorKind.MODEL_QUALITY)


def test_the_schedules_last_execution_says_nothing_about_a_run_with_files() -> None:
    described = b.schedule(
        LastMonitoringExecutionSummary=_ended("Failed", "Job inputs had no data")
    )

    assert b.read(DRIFT, schedule=described).outcome is Outcome.VIOLATIONS


def test_a_last_execution_with_a_job_of_its_own_is_another_run() -> None:
    described = b.schedule(
        LastMonitoringExecutionSummary=_ended(
            "Failed", "Job inputs had no data", ProcessingJobArn=f"{b.ARN}:processing-job/other"
        )
    )

    assert b.read({}, schedule=described).outcome is Outcome.UNREADABLE


@pytest.mark.parametrize("rows", [0, 0.0, -1])
def test_a_report_over_no_rows_is_no_data(rows: float) -> None:
    reading = b.read({**EMPTY_LIST, STATISTICS: b.statistics(rows=rows)}, minimum_rows=30)

    assert reading.outcome is Outcome.NO_DATA
    assert Reason.ZERO_ROWS in reading.reasons


@pytest.mark.parametrize(
    ("rows", "outcome"),
    [(29, Outcome.TOO_FEW_ROWS), (30, Outcome.CLEAN), (31, Outcome.CLEAN)],
)
def test_a_quiet_report_needs_the_minimum_of_rows_to_be_clean(rows: int, outcome: Outcome) -> None:
    reading = b.read({**EMPTY_LIST, STATISTICS: b.statistics(rows=rows)}, minimum_rows=30)

    assert reading.outcome is outcome
    assert (Reason.ROWS_BELOW_MINIMUM in reading.reasons) is (outcome is Outcome.TOO_FEW_ROWS)


# --- degenerate


@pytest.mark.parametrize(
    "group",
    [
        "binary_classification_metrics",
        "multiclass_classification_metrics",
        "regression_metrics",
    ],
)
@pytest.mark.parametrize(
    "listed", [b.NO_VIOLATIONS, b.violations(b.off_metric("f1", "0.0", "0.5"))]
)
def test_metrics_that_are_all_zero_without_spread_are_degenerate(group: str, listed: bytes) -> None:
    zero = b.quality_statistics({"first": (0.0, 0.0), "second": (0, 0), "third": (0.0, 0.0)}, group)

    reading = b.read({VIOLATIONS: listed, STATISTICS: zero}, job=b.job(MonitorKind.MODEL_QUALITY))

    assert reading.outcome is Outcome.DEGENERATE
    assert Reason.ALL_METRICS_ZERO in reading.reasons


@pytest.mark.parametrize(
    "metrics",
    [
        pytest.param({"auc": (0.5, 0.0), "f1": (0.0, 0.0)}, id="one is not zero"),
        pytest.param({"auc": (0.0, 0.01), "f1": (0.0, 0.0)}, id="one has a spread"),
        pytest.param({"auc": (0.0, "NaN"), "f1": (0.0, "NaN")}, id="spread unknown: few rows"),
        pytest.param({"mae": (0.0, 0.0)}, id="a single metric may be zero"),
    ],
)
def test_metrics_that_can_be_real_are_not_degenerate(
    metrics: dict[str, tuple[object, object]],
) -> None:
    files = {VIOLATIONS: b.NO_VIOLATIONS, STATISTICS: b.quality_statistics(metrics)}

    assert b.read(files, job=b.job(MonitorKind.MODEL_QUALITY)).outcome is Outcome.CLEAN


def test_violations_alone_show_degenerate_metrics_too() -> None:
    listed = b.violations(
        b.off_metric("auc", "0.0", "0.8", "0.0"), b.off_metric("recall", "0.0", "0.5", "0.0")
    )

    reading = b.read({VIOLATIONS: listed}, job=b.job(MonitorKind.MODEL_QUALITY))

    assert (reading.outcome, len(reading.findings)) == (Outcome.DEGENERATE, 2)


def test_model_quality_without_a_single_number_is_degenerate() -> None:
    files = {
        VIOLATIONS: b.NO_VIOLATIONS,
        STATISTICS: b.quality_statistics({"auc": ("NaN", "NaN"), "recall": ("NaN", "NaN")}),
    }

    reading = b.read(files, job=b.job(MonitorKind.MODEL_QUALITY))

    assert reading.outcome is Outcome.DEGENERATE
    assert Reason.ALL_METRICS_EMPTY in reading.reasons


@pytest.mark.parametrize(
    ("kind", "analysis", "reason"),
    [
        (
            MonitorKind.BIAS,
            b.bias_analysis(post={"DI": None, "DPPL": None}, pre={"CI": None}),
            Reason.ALL_METRICS_EMPTY,
        ),
        (MonitorKind.BIAS, b.bias_analysis(post={}), Reason.ALL_METRICS_EMPTY),
        (
            MonitorKind.EXPLAINABILITY,
            b.shap_analysis({"default": {"income": 0.0, "age_of_account": 0.0}}),
            Reason.ALL_ATTRIBUTIONS_ZERO,
        ),
        (
            MonitorKind.EXPLAINABILITY,
            b.shap_analysis({"default": {"income": None, "age_of_account": "NaN"}}),
            Reason.ALL_ATTRIBUTIONS_ZERO,
        ),
        (
            MonitorKind.EXPLAINABILITY,
            b.shap_analysis({"paid": {"income": 0.2}, "default": {"income": 0.0}}),
            Reason.ALL_ATTRIBUTIONS_ZERO,
        ),
        (MonitorKind.EXPLAINABILITY, b.shap_analysis({}), Reason.ALL_METRICS_EMPTY),
        (
            MonitorKind.EXPLAINABILITY,
            b.encode({"version": "1.0", "explanations": {}}),
            Reason.ALL_METRICS_EMPTY,
        ),
    ],
)
def test_an_analysis_that_says_nothing_is_degenerate_and_not_clean(
    kind: MonitorKind, analysis: bytes, reason: Reason
) -> None:
    reading = b.read({ANALYSIS: analysis}, job=b.job(kind))

    assert reading.outcome is Outcome.DEGENERATE
    assert reason in reading.reasons


def test_a_bias_metric_with_a_value_beside_empty_ones_is_enough() -> None:
    analysis = b.bias_analysis(post={"DI": "Infinity", "TE": None})

    assert b.read({ANALYSIS: analysis}, job=b.job(MonitorKind.BIAS)).outcome is Outcome.CLEAN


def test_partial_dependence_alone_is_an_explanation() -> None:
    analysis = b.encode(
        {"version": "1.0", "explanations": {"pdp": [{"feature_name": "income", "error": "none"}]}}
    )

    reading = b.read({ANALYSIS: analysis}, job=b.job(MonitorKind.EXPLAINABILITY))

    assert reading.outcome is Outcome.CLEAN


# --- unreadable


@pytest.mark.parametrize(
    ("kind", "files", "reason"),
    [
        (MonitorKind.DATA_QUALITY, {}, Reason.NO_REPORT_FILES),
        (MonitorKind.CUSTOM, {}, Reason.NO_REPORT_FILES),
        (MonitorKind.BIAS, {}, Reason.ANALYSIS_MISSING),
        (MonitorKind.EXPLAINABILITY, {}, Reason.ANALYSIS_MISSING),
        (
            MonitorKind.DATA_QUALITY,
            {STATISTICS: b.statistics()},
            Reason.VIOLATIONS_FILE_MISSING,
        ),
        (
            MonitorKind.MODEL_QUALITY,
            {STATISTICS: b.quality_statistics({"auc": (0.9, 0.1)})},
            Reason.VIOLATIONS_FILE_MISSING,
        ),
        (MonitorKind.DATA_QUALITY, {VIOLATIONS: b"{"}, Reason.VIOLATIONS_FILE_UNREADABLE),
        (MonitorKind.BIAS, {**FAIR, VIOLATIONS: b"{"}, Reason.VIOLATIONS_FILE_UNREADABLE),
        (
            MonitorKind.CUSTOM,
            {"constraints_violations.json": b'{"metrics": {"auc": 0.5}}'},
            Reason.VIOLATIONS_FILE_UNREADABLE,
        ),
        (
            MonitorKind.DATA_QUALITY,
            {**EMPTY_LIST, STATISTICS: b"[]"},
            Reason.STATISTICS_UNREADABLE,
        ),
        (
            MonitorKind.DATA_QUALITY,
            {**EMPTY_LIST, CONSTRAINTS: b"null"},
            Reason.CONSTRAINTS_UNREADABLE,
        ),
        (MonitorKind.BIAS, {ANALYSIS: b'{"version": "1.0"}'}, Reason.ANALYSIS_UNREADABLE),
    ],
)
def test_what_cannot_be_read_is_never_clean(
    kind: MonitorKind, files: dict[str, bytes], reason: Reason
) -> None:
    reading = b.read(files, job=b.job(kind))

    assert reading.outcome is Outcome.UNREADABLE
    assert reason in reading.reasons
    assert reading.monitor is kind


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AccessDeniedError("s3 says no", remedy="Grant s3:GetObject"), Reason.REPORT_ACCESS_DENIED),
        (ReportTooLargeError("70 MiB"), Reason.REPORT_TOO_LARGE),
    ],
)
def test_a_file_that_could_not_be_fetched_is_unreadable_with_its_cause(
    error: GuiderailError, reason: Reason
) -> None:
    parsed = parse_run(Files({STATISTICS: b.statistics()}, {VIOLATIONS: error}))

    reading = read_outcome(parsed, b.job(), b.schedule())

    assert reading.outcome is Outcome.UNREADABLE
    assert {Reason.VIOLATIONS_FILE_UNREADABLE, reason} <= set(reading.reasons)
    assert str(error) in reading.evidence


def test_a_job_without_a_place_for_its_report_says_that() -> None:
    described = b.job(ProcessingOutputConfig=None)

    reading = b.read({}, job=described)

    assert reading.outcome is Outcome.UNREADABLE
    assert Reason.NO_REPORT_LOCATION in reading.reasons


def test_damaged_statistics_do_not_hide_violations() -> None:
    reading = b.read({**DRIFT, STATISTICS: b"\x00"}, job=b.job())

    assert reading.outcome is Outcome.VIOLATIONS
    assert Reason.STATISTICS_UNREADABLE in reading.reasons


def test_a_damaged_baseline_is_noted_and_changes_no_outcome() -> None:
    reading = b.read(DRIFT, {STATISTICS: b"{", CONSTRAINTS: b.constraints("income")}, job=b.job())

    assert reading.outcome is Outcome.VIOLATIONS
    assert Reason.BASELINE_UNREADABLE in reading.reasons
    assert any(sentence.startswith("baseline/statistics.json") for sentence in reading.evidence)


def test_a_damaged_baseline_leaves_a_clean_run_clean() -> None:
    reading = b.read(EMPTY_LIST, {STATISTICS: b"{"}, job=b.job())

    assert reading.outcome is Outcome.CLEAN


@pytest.mark.parametrize("empty", [VIOLATIONS, "constraints_violations.json"])
def test_an_empty_list_does_not_hide_a_second_violations_file(empty: str) -> None:
    names = {VIOLATIONS, "constraints_violations.json"}
    full = next(iter(names - {empty}))
    files = {empty: b.violations(), full: b.violations(b.drifted("income"))}

    assert b.read(files).outcome is not Outcome.CLEAN


def test_reasons_are_listed_once() -> None:
    reading = b.read_items(b.incomplete("income", "0.5"), b.incomplete("age_of_account", "0.6"))

    assert len(reading.reasons) == len(set(reading.reasons))


def test_the_same_files_make_the_same_reading() -> None:
    first = b.read(DRIFT, job=b.job(ExitMessage=says(2)))
    second = b.read(DRIFT, job=b.job(ExitMessage=says(2)))

    assert first == second


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_violations_and_clean_are_healthy_runs(outcome: Outcome) -> None:
    assert outcome.is_unhealthy is (outcome not in {Outcome.VIOLATIONS, Outcome.CLEAN})
