"""Reports of real runs, which are not part of the repository: every one is read whole.

The folder is the one that GUIDERAIL_SAMPLES names, by default ``shared/samples`` beside the repository.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from guiderail.errors import MalformedEventError
from guiderail.model.event import parse_job_event
from guiderail.model.job import ProcessingJob, job_from, schedule_from
from guiderail.model.outcome import MonitorKind, Outcome, Reason
from guiderail.reports.analysis import read_analysis
from guiderail.reports.constraints import read_constraints
from guiderail.reports.statistics import read_statistics
from guiderail.services.identify import ruled_out, ruled_out_by_event

from tests import builders as b

SAMPLES = Path(
    os.environ.get("GUIDERAIL_SAMPLES", Path(__file__).parents[3] / "shared" / "samples")
)
pytestmark = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason=f"no sample reports in {SAMPLES}: set GUIDERAIL_SAMPLES"
)


def sample(path: str) -> bytes:
    return (SAMPLES / path).read_bytes()


def job(name: str) -> ProcessingJob:
    return job_from(json.loads(sample(f"describe/extracted/{name}.json")))


VIOLATIONS = {
    "violations/extracted/bias_endpoint_9.json": (MonitorKind.BIAS, 9),
    "violations/extracted/docs_bias_2_old_wording.json": (MonitorKind.BIAS, 2),
    "violations/extracted/dq_3_data_type_violations.json": (MonitorKind.DATA_QUALITY, 3),
    "violations/extracted/dq_extra_column.json": (MonitorKind.DATA_QUALITY, 1),
    "violations/extracted/dq_missing_column.json": (MonitorKind.DATA_QUALITY, 1),
    "violations/extracted/dq_type_completeness_drift.json": (MonitorKind.DATA_QUALITY, 3),
    "violations/extracted/explainability_shap_1.json": (MonitorKind.EXPLAINABILITY, 1),
    "violations/extracted/mq_binary_10_with_stddev.json": (MonitorKind.MODEL_QUALITY, 10),
    "violations/extracted/mq_binary_first5_no_stddev.json": (MonitorKind.MODEL_QUALITY, 5),
    "data_quality/sdk_2019_constraint_violations.json": (MonitorKind.DATA_QUALITY, 7),
    "byoc/examples_nlp_constraints_violations.json": (MonitorKind.CUSTOM, 8),
}


@pytest.mark.parametrize(("path", "kind", "count"), [(p, *e) for p, e in VIOLATIONS.items()])
def test_a_report_with_violations_is_read_whole(path: str, kind: MonitorKind, count: int) -> None:
    name = "constraints_violations.json" if "byoc" in path else "constraint_violations.json"

    reading = b.read({name: sample(path)})

    assert (reading.outcome, reading.monitor) == (Outcome.VIOLATIONS, kind)
    assert len(reading.findings) == count
    assert all(f.parsed and f.kind is kind for f in reading.findings)
    assert Reason.UNPARSED_FINDINGS not in reading.reasons


@pytest.mark.parametrize("path", [p for p in VIOLATIONS if "byoc" not in p])
def test_every_sentence_of_the_service_yields_its_number(path: str) -> None:
    findings = b.read({"constraint_violations.json": sample(path)}).findings

    assert all(f.observed is not None for f in findings)


def test_no_sample_with_violations_is_forgotten() -> None:
    here = {
        path.relative_to(SAMPLES).as_posix()
        for path in SAMPLES.rglob("*violations*.json")
        if "describe" not in path.parts
    } | {p.relative_to(SAMPLES).as_posix() for p in SAMPLES.glob("violations/extracted/*.json")}

    assert here == VIOLATIONS.keys() | {"violations/extracted/dq_empty_violations.json"}


def test_the_analyzers_empty_list_is_clean() -> None:
    reading = b.read(
        {"constraint_violations.json": sample("violations/extracted/dq_empty_violations.json")},
        job=job("dq_completed_no_violations"),
        schedule=schedule_from(json.loads(sample("describe/extracted/schedule_dq.json"))),
    )

    assert (reading.outcome, reading.monitor) == (Outcome.CLEAN, MonitorKind.DATA_QUALITY)
    assert reading.findings == ()


def test_the_infinite_metric_of_the_bias_report_is_infinite() -> None:
    findings = b.read(
        {"constraint_violations.json": sample("violations/extracted/bias_endpoint_9.json")},
        {
            "analysis.json": sample(
                "clarify_analysis/extracted/bias_baseline_endpoint_analysis.json"
            )
        },
    ).findings

    assert [f.subject.metric for f in findings if f.observed == float("inf")] == ["TE"]


def test_the_baseline_analysis_holds_the_requirements_that_the_bias_report_states() -> None:
    findings = b.read(
        {"constraint_violations.json": sample("violations/extracted/bias_endpoint_9.json")}
    ).findings
    baseline = read_analysis(
        sample("clarify_analysis/extracted/bias_baseline_endpoint_analysis.json")
    )

    for found in findings:
        subject = found.subject
        value = baseline.bias_value(
            subject.facet or "", subject.facet_value or "", subject.metric or ""
        )
        assert value == found.threshold


def test_a_report_longer_than_its_jobs_exit_message_is_a_disagreement() -> None:
    reading = b.read(
        {
            "constraint_violations.json": sample(
                "violations/extracted/dq_3_data_type_violations.json"
            )
        },
        job=job("dq_completed_with_2_violations"),
    )

    assert (reading.outcome, len(reading.findings)) == (Outcome.VIOLATIONS, 3)
    assert Reason.VIOLATION_COUNT_DISAGREES in reading.reasons


def test_a_report_as_long_as_its_jobs_exit_message_is_none() -> None:
    reading = b.read(
        {
            "constraint_violations.json": sample(
                "violations/extracted/mq_binary_10_with_stddev.json"
            )
        },
        job=job("mq_completed_with_10_violations"),
        schedule=schedule_from(json.loads(sample("describe/extracted/schedule_mq.json"))),
    )

    assert (reading.outcome, reading.monitor) == (Outcome.VIOLATIONS, MonitorKind.MODEL_QUALITY)
    assert Reason.VIOLATION_COUNT_DISAGREES not in reading.reasons


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("baselining_no_schedule", Reason.IGNORED_BASELINING_JOB),
        ("groundtruth_merge_in_progress", Reason.IGNORED_MERGE_JOB),
        ("dq_completed_no_violations", None),
        ("dq_completed_with_2_violations", None),
        ("mq_completed_with_10_violations", None),
    ],
)
def test_described_jobs_are_told_apart(name: str, reason: Reason | None) -> None:
    assert ruled_out(job(name)) is reason


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("dq_completed_no_violations", MonitorKind.DATA_QUALITY),
        ("dq_completed_with_2_violations", MonitorKind.DATA_QUALITY),
        ("mq_completed_with_10_violations", MonitorKind.MODEL_QUALITY),
    ],
)
def test_a_described_job_tells_its_monitor_without_its_schedule(
    name: str, kind: MonitorKind
) -> None:
    assert b.read({}, job=job(name)).monitor is kind


def test_a_schedule_whose_last_execution_found_no_labels_is_no_ground_truth() -> None:
    described = json.loads(sample("describe/extracted/schedule_mq_last_execution_failed.json"))

    reading = b.read({}, schedule=schedule_from(described))

    assert (reading.outcome, reading.monitor) == (
        Outcome.NO_GROUND_TRUTH,
        MonitorKind.MODEL_QUALITY,
    )


def test_a_described_job_makes_an_event_that_is_accepted() -> None:
    described = json.loads(sample("describe/extracted/mq_completed_with_10_violations.json"))

    event = parse_job_event(b.job_event(**described))

    assert event.job.name == described["ProcessingJobName"]
    assert ruled_out_by_event(event.job) is None


ANALYSES = {
    "clarify_analysis/examples_fraud_bias_1_analysis.json": (MonitorKind.BIAS, Outcome.CLEAN),
    "clarify_analysis/examples_fraud_bias_2_analysis.json": (MonitorKind.BIAS, Outcome.CLEAN),
    "clarify_analysis/examples_fraud_explainability_analysis.json": (
        MonitorKind.EXPLAINABILITY,
        Outcome.CLEAN,
    ),
    "clarify_analysis/extracted/bias_baseline_endpoint_analysis.json": (
        MonitorKind.BIAS,
        Outcome.CLEAN,
    ),
    "clarify_analysis/extracted/explainability_baseline_label0_analysis.json": (
        MonitorKind.EXPLAINABILITY,
        Outcome.CLEAN,
    ),
    "clarify_analysis/sdk_bias_bad_analysis.json": (MonitorKind.BIAS, Outcome.CLEAN),
    "clarify_analysis/sdk_bias_good_analysis.json": (MonitorKind.BIAS, Outcome.CLEAN),
    "clarify_analysis/sdk_modelcard_bias.json": (MonitorKind.BIAS, Outcome.CLEAN),
    "clarify_analysis/sdk_modelcard_explainability.json": (
        MonitorKind.EXPLAINABILITY,
        Outcome.CLEAN,
    ),
}


@pytest.mark.parametrize(("path", "kind", "outcome"), [(p, *e) for p, e in ANALYSES.items()])
def test_an_analysis_without_a_violations_file_is_a_quiet_clarify_run(
    path: str, kind: MonitorKind, outcome: Outcome
) -> None:
    reading = b.read({"analysis.json": sample(path)})

    assert (reading.outcome, reading.monitor) == (outcome, kind)
    assert Reason.CLARIFY_WROTE_NO_VIOLATIONS_FILE in reading.reasons


def test_no_sample_analysis_is_forgotten() -> None:
    here = {p.relative_to(SAMPLES).as_posix() for p in SAMPLES.glob("clarify_analysis/**/*.json")}

    assert here == ANALYSES.keys()


@pytest.mark.parametrize(
    ("path", "rows", "features", "metrics"),
    [
        ("data_quality/sdk_2019_statistics.json", 418, 1, None),
        ("data_quality/sdk_abalone_statistics.json", None, 6, None),
        ("model_quality/sdk_regression_statistics.json", 100, None, 4),
        ("model_quality/sdk_modelcard_regression_statistics.json", 627, None, 4),
        ("model_quality/extracted/docs_multiclass_metrics_fragment.json", None, None, None),
    ],
)
def test_statistics_are_read(
    path: str, rows: int | None, features: int | None, metrics: int | None
) -> None:
    read = read_statistics(sample(path))

    assert rows is None or read.rows == rows
    assert features is None or len(read.features or ()) == features
    assert metrics is None or len(read.metrics or ()) == metrics
    assert (read.features is None) is (read.metrics is not None)


def test_a_real_features_figures_are_kept() -> None:
    features = read_statistics(sample("data_quality/sdk_abalone_statistics.json")).features or []

    summaries = [feature.summary() for feature in features]
    assert all(s.mean is not None and s.standard_deviation is not None for s in summaries)
    assert all(len(feature.buckets) == 10 for feature in features)
    assert all(s.completeness == 1.0 for s in summaries)


@pytest.mark.parametrize(
    ("path", "check", "subject", "threshold"),
    [
        ("data_quality/sdk_2019_constraints.json", "baseline_drift_check", "message", 1.0),
        ("data_quality/sdk_2019_constraints.json", "completeness_check", "message", 1.0),
        ("data_quality/sdk_abalone_good_constraints.json", "baseline_drift_check", "_c0", 0.1),
        ("data_quality/sdk_abalone_good_constraints.json", "data_type_check", "_c0", 1.0),
        (
            "model_quality/sdk_regression_good_constraints.json",
            "LessThanThreshold",
            "r2",
            -3.208758170289026,
        ),
        (
            "model_quality/sdk_regression_bad_constraints.json",
            "GreaterThanThreshold",
            "mse",
            0.03364933609800973,
        ),
    ],
)
def test_constraints_give_their_thresholds(
    path: str, check: str, subject: str, threshold: float
) -> None:
    assert read_constraints(sample(path)).threshold(check, subject) == threshold


@pytest.mark.parametrize(
    ("statistics", "constraints", "outcome"),
    [
        (
            "data_quality/sdk_abalone_statistics.json",
            "data_quality/sdk_abalone_good_constraints.json",
            Outcome.CLEAN,
        ),
        (
            "model_quality/sdk_regression_statistics.json",
            "model_quality/sdk_regression_good_constraints.json",
            Outcome.CLEAN,
        ),
    ],
)
def test_a_folder_of_all_three_files_and_no_violations_is_clean(
    statistics: str, constraints: str, outcome: Outcome
) -> None:
    files = {
        "constraint_violations.json": sample("violations/extracted/dq_empty_violations.json"),
        "statistics.json": sample(statistics),
        "constraints.json": sample(constraints),
    }

    assert b.read(files, minimum_rows=30).outcome is outcome


def _events() -> list[Path]:
    return sorted(SAMPLES.glob("events/**/*.json"))


@pytest.mark.parametrize("path", _events(), ids=lambda path: path.stem)
def test_no_other_event_is_taken_for_a_processing_job(path: Path) -> None:
    with pytest.raises(MalformedEventError):
        parse_job_event(path.read_bytes())
