"""The use case of on_job_finished over in-memory ports."""

from __future__ import annotations

import json
from typing import Any

import pytest
from guiderail.errors import (
    AccessDeniedError,
    JobNotFinishedError,
    RejectedRequestError,
    ReportTooLargeError,
    ThrottledError,
)
from guiderail.model.job import job_from, schedule_from
from guiderail.model.outcome import Outcome, Reason
from guiderail.model.retraining import RetrainingMode

from tests.fakes import Cloud, Crash

REPORT = "s3://loan-reports/monitoring/loan-risk-prod/loan-risk-quality/2026/11/23/14"
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:processing-job/model-quality-monitoring-202611231400-5c1f"
LOW_AUC = {
    "violations": [
        {
            "constraint_check_type": "LessThanThreshold",
            "description": "Metric auc with 0.61 +/- 0.004 was LessThanThreshold '0.83'",
            "metric_name": "auc",
        }
    ]
}
BROKEN_FEED = {
    "violations": [
        {
            "feature_name": "income",
            "constraint_check_type": "completeness_check",
            "description": "Data completeness requirement is not met. Expected: 100.0%. Observed: Only 71.5%.",
        }
    ]
}
METRICS = {
    "version": 0.0,
    "dataset": {"item_count": 900},
    "regression_metrics": {"mae": {"value": 1.5, "standard_deviation": 0.1}},
}
FEATURES = {
    "version": 0.0,
    "dataset": {"item_count": 900},
    "features": [{"name": "income", "inferred_type": "Integral"}],
}


def described(status: str = "Completed", **fields: object) -> dict[str, Any]:
    return {
        "ProcessingJobName": ARN.rpartition("/")[2],
        "ProcessingJobArn": ARN,
        "ProcessingJobStatus": status,
        "ProcessingEndTime": "2026-11-23T14:17:25+00:00",
        "MonitoringScheduleArn": "arn:aws:sagemaker:eu-west-1:123456789012:monitoring-schedule/loan-risk-quality",
        "AppSpecification": {
            "ImageUri": "468650794304.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-model-monitor-analyzer"
        },
        "Environment": {
            "sagemaker_endpoint_name": "loan-risk-prod",
            "sagemaker_monitoring_schedule_name": "Loan-Risk-Quality",
            "start_time": "2026-11-23T13:00:00Z",
            "end_time": "2026-11-23T14:00:00Z",
        },
        "ProcessingOutputConfig": {
            "Outputs": [{"OutputName": "result", "S3Output": {"S3Uri": REPORT}}]
        },
        **fields,
    }


def event(status: str = "Completed", **detail: object) -> str:
    job = {
        "ProcessingJobName": ARN.rpartition("/")[2],
        "ProcessingJobArn": ARN,
        "ProcessingJobStatus": status,
        **detail,
    }
    return json.dumps(
        {
            "source": "aws.sagemaker",
            "detail-type": "SageMaker Processing Job State Change",
            "detail": job,
        }
    )


def cloud_with(
    violations: object = None,
    statistics: object = None,
    kind: str = "ModelQuality",
    **fields: object,
) -> Cloud:
    files = {f"{REPORT}/statistics.json": json.dumps(statistics or METRICS).encode()}
    if violations is not None:
        files[f"{REPORT}/constraint_violations.json"] = json.dumps(violations).encode()
    job = job_from(described(**fields))  # type: ignore[arg-type]
    schedule = schedule_from(
        {"MonitoringScheduleName": "Loan-Risk-Quality", "MonitoringType": kind}
    )
    return Cloud(job, schedule, files)


def test_a_run_with_violations_alerts_and_suggests_retraining() -> None:
    cloud = cloud_with(LOW_AUC)

    assert cloud.use_case()(event()) is Outcome.VIOLATIONS

    (alert,) = cloud.published.values()
    assert alert.detail_type == "IncidentOpened"
    assert "auc: LessThanThreshold: observed 0.61, threshold 0.83" in alert.message
    assert "aws sagemaker start-pipeline-execution" in alert.message
    assert cloud.executions == {}
    (record,) = cloud.recorded.values()
    assert record.retraining.reason is Reason.RETRAINING_SUGGESTED


def test_auto_mode_starts_the_pipeline_with_mapped_parameters() -> None:
    cloud = cloud_with(LOW_AUC)

    cloud.use_case(RetrainingMode.AUTO)(event())

    assert list(cloud.executions.values()) == [{"Endpoint": "loan-risk-prod"}]
    assert "started: arn:aws:sagemaker" in next(iter(cloud.published.values())).message


def test_a_clean_run_is_recorded_and_silent() -> None:
    cloud = cloud_with({"violations": []})

    assert cloud.use_case()(event()) is Outcome.CLEAN

    assert not cloud.published
    assert [r.reading.outcome for r in cloud.recorded.values()] == [Outcome.CLEAN]
    assert cloud.metric("Runs") == [
        {"endpoint": "loan-risk-prod", "monitor": "model_quality", "outcome": "clean"}
    ]


@pytest.mark.parametrize("mode", [RetrainingMode.SUGGEST, RetrainingMode.AUTO])
def test_a_broken_feed_never_retrains(mode: RetrainingMode) -> None:
    cloud = cloud_with(BROKEN_FEED, FEATURES, kind="DataQuality")

    cloud.use_case(mode)(event())

    assert cloud.executions == {}
    assert cloud.metric("RetrainingDecisions")[0]["reason"] == "retraining_blocked_broken_feed"


@pytest.mark.parametrize("cut", range(1, 9))
def test_a_crash_after_any_step_leaves_one_alert_and_one_pipeline_start(cut: int) -> None:
    # Given a run that takes eight steps
    cloud = cloud_with(LOW_AUC)
    cloud.crash_after = cut

    # When the process dies after one of them and the message comes again, twice
    with pytest.raises(Crash):
        cloud.use_case(RetrainingMode.AUTO)(event())
    cloud.crash_after = None
    cloud.use_case(RetrainingMode.AUTO)(event())
    cloud.use_case(RetrainingMode.AUTO)(event())

    # Then everything happened once
    assert len(cloud.published) == 1
    assert len(cloud.executions) == 1
    assert len(cloud.recorded) == 1
    assert len(cloud.metric("Runs")) == (0 if cut == 8 else 1)


def test_the_crash_test_cuts_every_step() -> None:
    cloud = cloud_with(LOW_AUC)
    cloud.use_case(RetrainingMode.AUTO)(event())
    assert cloud.steps == [
        "look up run",
        "describe job",
        "describe schedule",
        "fetch",
        "fetch",
        "start pipeline",
        "publish alert",
        "record run",
    ]


def test_a_duplicate_event_asks_for_nothing_but_the_record() -> None:
    cloud = cloud_with(LOW_AUC)
    cloud.use_case()(event())
    cloud.steps.clear()

    assert cloud.use_case()(event()) is Reason.DUPLICATE_EVENT
    assert cloud.steps == ["look up run"]


def test_events_in_another_order_are_other_runs() -> None:
    cloud = cloud_with({"violations": []})
    cloud.use_case()(event("Completed"))
    cloud.use_case()(event("Stopped"))
    assert sorted(key.rpartition("#")[2] for key in cloud.recorded) == ["Completed", "Stopped"]


def test_a_job_that_its_event_rules_out_makes_no_call() -> None:
    cloud = cloud_with(LOW_AUC)

    reason = cloud.use_case()(
        event(AutoMLJobArn="arn:aws:sagemaker:eu-west-1:123456789012:automl-job/a")
    )

    assert reason is Reason.IGNORED_AUTOPILOT_JOB
    assert cloud.steps == []
    assert cloud.metric("JobsIgnored") == [{"reason": "ignored_autopilot_job"}]


@pytest.mark.parametrize(
    "step",
    ["look up run", "describe job", "describe schedule", "fetch", "publish alert", "record run"],
)
def test_throttling_at_any_step_comes_again_and_then_succeeds(step: str) -> None:
    cloud = cloud_with(LOW_AUC)
    cloud.failures[step] = [ThrottledError("slow down")]

    with pytest.raises(ThrottledError):
        cloud.use_case()(event())
    cloud.use_case()(event())

    assert len(cloud.published) == 1
    assert not cloud.dead


def test_a_forbidden_report_alerts_and_waits_as_dead_letter() -> None:
    cloud = cloud_with(LOW_AUC)
    cloud.stored[f"{REPORT}/constraint_violations.json"] = AccessDeniedError(
        "GetObject", remedy="Grant s3:GetObject"
    )

    assert cloud.use_case()(event()) is Outcome.UNREADABLE

    ((_, error),) = cloud.dead
    assert error.remedy == "Grant s3:GetObject"
    (alert,) = cloud.published.values()
    assert alert.detail_type == "RunUnhealthy"
    assert "report_access_denied" in alert.message


def test_a_redrive_after_the_mend_replaces_the_unreadable_run() -> None:
    # Given a run that could not be read
    cloud = cloud_with(LOW_AUC)
    path = f"{REPORT}/constraint_violations.json"
    content, cloud.stored[path] = cloud.stored[path], AccessDeniedError("GetObject")
    cloud.use_case()(event())

    # When the permission is granted and the dead letter comes again
    cloud.stored[path] = content
    assert cloud.use_case()(cloud.dead[0][0]) is Outcome.VIOLATIONS

    # Then the run is what it is, and people heard of both
    assert [r.reading.outcome for r in cloud.recorded.values()] == [Outcome.VIOLATIONS]
    assert [a.detail_type for a in cloud.published.values()] == ["RunUnhealthy", "IncidentOpened"]


@pytest.mark.parametrize(
    "error", [AccessDeniedError("no"), ReportTooLargeError("big"), RejectedRequestError("bad")]
)
def test_an_unreadable_report_is_never_clean(error: Exception) -> None:
    cloud = cloud_with({"violations": []})
    cloud.stored[f"{REPORT}/statistics.json"] = error  # type: ignore[assignment]
    assert cloud.use_case()(event()) is Outcome.UNREADABLE


def test_a_message_that_is_no_event_becomes_a_dead_letter_with_its_reason() -> None:
    cloud = cloud_with(LOW_AUC)

    assert cloud.use_case()("{") is Reason.DEAD_LETTER

    assert [(body, error.code) for body, error in cloud.dead] == [("{", "malformed_event")]
    assert cloud.metric("DeadLetters") == [{"reason": "malformed_event"}]


def test_a_job_that_describe_still_shows_running_comes_again() -> None:
    cloud = cloud_with(LOW_AUC, status="InProgress")
    with pytest.raises(JobNotFinishedError):
        cloud.use_case()(event())
    assert not cloud.recorded


def test_a_refused_pipeline_start_does_not_stop_the_alert() -> None:
    cloud = cloud_with(LOW_AUC)
    cloud.failures["start pipeline"] = [AccessDeniedError("StartPipelineExecution")]

    cloud.use_case(RetrainingMode.AUTO)(event())

    assert "retraining_refused" in next(iter(cloud.published.values())).message


def test_a_deleted_schedule_leaves_the_image_to_tell_the_monitor() -> None:
    cloud = cloud_with(BROKEN_FEED, FEATURES)
    cloud.scheduled = None

    cloud.use_case()(event())

    (record,) = cloud.recorded.values()
    assert record.reading.monitor.value == "data_quality"
    assert Reason.SCHEDULE_NOT_FOUND in record.reading.reasons


def test_alert_latency_counts_from_the_end_of_the_job() -> None:
    cloud = cloud_with(LOW_AUC)
    cloud.use_case()(event())
    assert [value for name, value, _ in cloud.metrics if name == "AlertLatency"] == [120.0]


def test_only_the_worst_features_have_a_metric_each() -> None:
    drift = "Baseline drift distance: 0.{} exceeds threshold: 0.1"
    rows = [
        {
            "feature_name": f"f{i}",
            "constraint_check_type": "baseline_drift_check",
            "description": drift.format(20 + i),
        }
        for i in range(40)
    ]
    cloud = cloud_with({"violations": rows}, FEATURES, kind="DataQuality")

    cloud.use_case()(event())

    assert [d["feature"] for d in cloud.metric("FeatureDistance")] == [
        f"f{i}" for i in range(39, 29, -1)
    ]


def test_a_failed_job_is_not_read_for_files() -> None:
    cloud = cloud_with(
        {"violations": []}, status="Failed", FailureReason="AlgorithmError: out of memory"
    )

    assert cloud.use_case()(event("Failed")) is Outcome.FAILED

    assert "fetch" not in cloud.steps
    assert "out of memory" in next(iter(cloud.published.values())).message


def test_what_clarify_was_told_to_compute_tells_the_monitor_of_a_failed_job() -> None:
    # Given a failed Clarify job whose schedule is gone and whose name tells nothing
    config = "s3://loan-reports/config/analysis_config.json"
    cloud = cloud_with(
        status="Failed",
        ProcessingJobName="fairness-202611231400",
        FailureReason="ClientError: predictor not found",
        AppSpecification={
            "ImageUri": "205585389593.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-clarify-processing:1.0"
        },
        ProcessingInputs=[{"InputName": "analysis_config", "S3Input": {"S3Uri": config}}],
    )
    cloud.scheduled = None
    cloud.stored[config] = b'{"methods": {"post_training_bias": {"methods": "all"}, "report": {}}}'

    cloud.use_case()(event("Failed"))

    (record,) = cloud.recorded.values()
    assert (record.reading.outcome, record.reading.monitor.value) == (Outcome.FAILED, "bias")
    assert Reason.MONITOR_KIND_FROM_ANALYSIS_CONFIG in record.reading.reasons


def test_a_redrive_in_vain_is_kept_for_the_next_one() -> None:
    # Given a run that could not be read, and whose dead letter comes again before anything is mended
    cloud = cloud_with(LOW_AUC)
    cloud.stored[f"{REPORT}/constraint_violations.json"] = AccessDeniedError("GetObject")
    cloud.use_case()(event())
    (letter, _) = cloud.dead.pop()

    cloud.use_case()(letter)

    assert [body for body, _ in cloud.dead] == [letter]
    assert len(cloud.published) == 1


def test_a_report_that_is_missing_waits_as_dead_letter_too() -> None:
    cloud = cloud_with()

    assert cloud.use_case()(event()) is Outcome.UNREADABLE

    ((_, error),) = cloud.dead
    assert "violations file" in str(error)
