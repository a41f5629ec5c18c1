"""The use case of on_job_finished over in-memory ports."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from guiderail.errors import (
    AccessDeniedError,
    ConflictError,
    JobNotFinishedError,
    RejectedRequestError,
    ReportTooLargeError,
    ThrottledError,
)
from guiderail.model.incident import IncidentState
from guiderail.model.job import job_from, schedule_from
from guiderail.model.message import Notification
from guiderail.model.outcome import MonitorKind, Outcome, Reason
from guiderail.model.policy import Effect, Layer, Match, Policy, Rule
from guiderail.model.retraining import RetrainingMode

from tests import builders as b
from tests.fakes import Cloud, Crash, scope_of, text_of

REPORT = "s3://loan-reports/monitoring/loan-risk-prod/loan-risk-quality/2026/11/23/14"
ARN = "arn:aws:sagemaker:eu-west-1:123456789012:processing-job/model-quality-monitoring-202611231400-5c1f"
SCHEDULE_ARN = "arn:aws:sagemaker:eu-west-1:123456789012:monitoring-schedule/loan-risk-quality"
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
        "MonitoringScheduleArn": SCHEDULE_ARN,
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
        "MonitoringScheduleArn": SCHEDULE_ARN,
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


def told(cloud: Cloud) -> list[Notification]:
    """What people hear within two minutes."""
    cloud.pass_time(minutes=2)
    return cloud.alerts


def next_run(cloud: Cloud) -> str:
    """An hour later the next run of the schedule has ended, with the same report; its event."""
    name = "model-quality-monitoring-202611231500-77aa"
    arn = f"{ARN.rpartition('/')[0]}/{name}"
    ended = "2026-11-23T15:17:25+00:00"
    fields = {"ProcessingJobName": name, "ProcessingJobArn": arn, "ProcessingEndTime": ended}
    cloud.described = job_from(described(**fields))
    cloud.now = datetime.fromisoformat(ended) + timedelta(minutes=2)
    return event(ProcessingJobName=name, ProcessingJobArn=arn)


def test_a_run_with_violations_is_told_and_suggests_retraining() -> None:
    cloud = cloud_with(LOW_AUC)

    assert cloud.use_case()(event()) is Outcome.VIOLATIONS

    assert cloud.alerts == []
    (alert,) = told(cloud)
    assert alert.detail_type == "IncidentOpened"
    assert alert.rows[0].line.startswith("auc: LessThanThreshold: observed 0.61, threshold 0.83")
    assert "aws sagemaker start-pipeline-execution" in text_of(alert)
    assert cloud.executions == {}
    (record,) = cloud.recorded.values()
    assert record.retraining.reason is Reason.RETRAINING_SUGGESTED


def test_a_run_is_kept_with_all_that_follows_from_it() -> None:
    cloud = cloud_with(LOW_AUC)

    cloud.use_case()(event())

    (record,) = cloud.recorded.values()
    (ledger,) = cloud.store.ledgers.values()
    (incident,) = ledger.incidents.values()
    (notice,) = cloud.store.due(cloud.now + timedelta(hours=1)).notices
    (audit,) = cloud.store.audit_entries
    assert (record.ledger, notice.ledger, audit.subject) == (ledger.id,) * 3
    assert (incident.state, incident.check) == (IncidentState.OPEN, "LessThanThreshold")
    assert [e.incident for e in notice.entries] == [incident.id]
    assert audit.counts["first_seen"] == 1
    assert audit.decisions[0].about == incident.id
    assert (audit.actor, audit.run["key"], audit.run["outcome"]) == (
        "guiderail",
        record.run.key,
        "violations",
    )
    assert {"endpoint": "loan-risk-prod", "monitor": "model_quality", "reason": "first_seen"} in (
        cloud.metric("Decisions")
    )


def test_auto_mode_starts_the_pipeline_with_mapped_parameters() -> None:
    cloud = cloud_with(LOW_AUC)

    cloud.use_case(RetrainingMode.AUTO)(event())

    assert list(cloud.executions.values()) == [{"Endpoint": "loan-risk-prod"}]
    assert "started: arn:aws:sagemaker" in text_of(told(cloud)[0])


def test_a_known_incident_is_neither_told_nor_retrained_again() -> None:
    cloud = cloud_with(LOW_AUC)
    cloud.use_case(RetrainingMode.AUTO)(event())
    told(cloud)

    cloud.use_case(RetrainingMode.AUTO)(next_run(cloud))

    assert len(told(cloud)) == 1
    assert len(cloud.executions) == 1
    newest = list(cloud.recorded.values())[-1]
    assert newest.retraining.reason is Reason.RETRAINING_INCIDENT_KNOWN
    assert cloud.store.audit(newest.ledger, 1)[0].counts == {"suppressed_duplicate": 1}


def test_a_broken_feed_that_is_known_still_blocks_retraining() -> None:
    # Given a feed that broke in the run before
    cloud = cloud_with(BROKEN_FEED, FEATURES, kind="DataQuality")
    cloud.use_case(RetrainingMode.AUTO)(event())

    # When drift comes on top of it
    drift = "Baseline drift distance: 0.42 exceeds threshold: 0.1"
    found = {"feature_name": "age", "constraint_check_type": "baseline_drift_check"}
    both = [*BROKEN_FEED["violations"], {**found, "description": drift}]
    path = f"{REPORT}/constraint_violations.json"
    cloud.stored[path] = json.dumps({"violations": both}).encode()
    cloud.use_case(RetrainingMode.AUTO)(next_run(cloud))

    assert cloud.executions == {}
    newest = list(cloud.recorded.values())[-1]
    assert newest.retraining.reason is Reason.RETRAINING_BLOCKED_BROKEN_FEED


def test_a_clean_run_is_recorded_and_silent() -> None:
    cloud = cloud_with({"violations": []})

    assert cloud.use_case()(event()) is Outcome.CLEAN

    assert told(cloud) == []
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


# --- every cut between two steps


STEPS = [
    "recall",
    "describe job",
    "describe schedule",
    "fetch",
    "fetch",
    "policy",
    "start pipeline",
    "commit run",
]


def test_the_crash_test_cuts_every_step() -> None:
    cloud = cloud_with(LOW_AUC)
    cloud.use_case(RetrainingMode.AUTO)(event())
    assert cloud.steps == STEPS


@pytest.mark.parametrize("cut", range(1, len(STEPS) + 1))
def test_a_crash_after_any_step_leaves_what_no_crash_leaves(cut: int) -> None:
    # Given a run that nothing disturbs, and the same during which the process dies
    calm = cloud_with(LOW_AUC)
    calm.use_case(RetrainingMode.AUTO)(event())
    cloud = cloud_with(LOW_AUC)
    cloud.crash_after = cut
    with pytest.raises(Crash):
        cloud.use_case(RetrainingMode.AUTO)(event())
    cloud.crash_after = None

    # When the message comes again, twice
    cloud.use_case(RetrainingMode.AUTO)(event())
    cloud.use_case(RetrainingMode.AUTO)(event())

    # Then everything is kept as if nothing had happened, and everything happened once
    assert cloud.store.runs == calm.store.runs
    assert cloud.store.ledgers == calm.store.ledgers
    assert cloud.store.due_rows == calm.store.due_rows
    assert cloud.store.audit_rows == calm.store.audit_rows
    assert cloud.executions == calm.executions
    assert len(cloud.executions) == 1
    assert len(cloud.metric("Runs")) == (0 if cut == len(STEPS) else 1)
    assert len(told(cloud)) == 1


TOLD_STEPS = [
    "policy",
    "ledger",
    "overdue",
    "due",
    "due",
    "silences",
    "group",
    "sources",
    "commit group",
    "queue",
    "due",
]


def waiting() -> Cloud:
    """A run with violations was read a minute ago."""
    cloud = cloud_with(LOW_AUC)
    cloud.use_case()(event())
    cloud.steps.clear()
    cloud.now += timedelta(minutes=1)
    return cloud


def test_the_crash_test_cuts_every_step_of_telling() -> None:
    cloud = waiting()
    cloud.on_due()()
    assert cloud.steps == TOLD_STEPS


@pytest.mark.parametrize("cut", range(1, len(TOLD_STEPS) + 1))
def test_a_crash_while_telling_tells_once(cut: int) -> None:
    # Given a message that is due
    calm = waiting()
    calm.due_changes()()
    cloud = waiting()

    # When the process dies after a step, and the clock strikes twice more
    cloud.crash_after = cut
    with pytest.raises(Crash):
        cloud.due_changes()()
    cloud.crash_after = None
    cloud.due_changes()()
    # what was kept and not queued is looked at after a while
    cloud.pass_time(minutes=4)
    calm.pass_time(minutes=4)

    # Then one message was sent, and all is kept as if nothing had happened
    assert cloud.published == calm.published
    assert len(cloud.published) == 1
    assert sorted(s.channel.name for s in cloud.sent) == ["bus", "topic"]
    assert cloud.store.groups == calm.store.groups
    assert cloud.store.due_rows == calm.store.due_rows
    assert cloud.store.audit_rows == calm.store.audit_rows


def test_a_duplicate_event_asks_for_nothing_but_the_record() -> None:
    cloud = cloud_with(LOW_AUC)
    cloud.use_case()(event())
    cloud.steps.clear()

    assert cloud.use_case()(event()) is Reason.DUPLICATE_EVENT
    assert cloud.steps == ["recall"]


def test_of_an_event_without_a_schedule_the_job_is_described_first() -> None:
    named, unnamed = cloud_with(LOW_AUC), cloud_with(LOW_AUC)

    named.use_case()(event())
    unnamed.use_case()(event(MonitoringScheduleArn=None))

    assert unnamed.steps[:2] == ["describe job", "recall"]
    assert sorted(unnamed.steps) == sorted(named.steps)
    assert unnamed.store.ledgers == named.store.ledgers


def test_what_somebody_wrote_in_between_is_not_lost() -> None:
    # Given a run that another run of the schedule overtakes while it is being decided
    cloud = cloud_with(LOW_AUC)
    scope = scope_of("loan-risk-prod", "Loan-Risk-Quality", monitor=MonitorKind.MODEL_QUALITY)
    commit = cloud.store.commit_run

    def overtaken(*given: Any) -> bool:
        cloud.store.commit_run = commit  # type: ignore[method-assign]
        cloud.run_ends(b.judgement("overtaking"), scope=scope)
        return commit(*given)

    cloud.store.commit_run = overtaken  # type: ignore[method-assign, assignment]
    assert cloud.use_case(RetrainingMode.AUTO)(event()) is Outcome.VIOLATIONS

    # Then both count, and the pipeline was started once
    (ledger,) = cloud.store.ledgers.values()
    assert len(ledger.runs) == len(ledger.incidents) == len(cloud.recorded) == 2
    assert len(cloud.executions) == 1
    assert len(cloud.metric("Runs")) == 1
    told(cloud)
    assert len([i for a in cloud.alerts for i in a.detail["incidents"]]) == 2


def test_a_ledger_that_others_write_all_the_time_comes_again() -> None:
    cloud = cloud_with(LOW_AUC)
    cloud.failures["commit run"] = [ConflictError("no")] * 10

    with pytest.raises(ConflictError):
        cloud.use_case()(event())
    cloud.use_case()(event())

    assert len(cloud.recorded) == 1
    assert not cloud.dead


def test_events_in_another_order_are_other_runs() -> None:
    cloud = cloud_with({"violations": []})
    cloud.use_case()(event("Completed"))
    cloud.use_case()(event("Stopped"))
    assert sorted(key.rpartition("#")[2] for key in cloud.recorded) == ["Completed", "Stopped"]


# --- the policy


def ruled(match: Match, effect: Effect) -> Policy:
    return Policy(
        version="v2",
        rules=(Rule(name="ours", layer=Layer.RULE, line=7, match=match, effect=effect),),
    )


def test_a_rule_that_asks_for_tags_reads_them() -> None:
    cloud = cloud_with(LOW_AUC)
    cloud.in_force.policy = ruled(Match(tags={"stage": "test"}), Effect(shadow=True))
    cloud.tags = {"stage": "test"}

    cloud.use_case()(event())

    assert "tags" in cloud.steps
    assert told(cloud) == []
    (record,) = cloud.recorded.values()
    assert [j.reason for j in record.judgements] == [Reason.SHADOW]
    assert record.policy_version == "v2"
    (audit,) = cloud.store.audit(record.ledger, 9)
    assert (audit.counts, audit.policy_version) == ({"shadow": 1}, "v2")
    assert audit.decisions[0].lines == ("shadow: ours (line 7)",)


def test_tags_that_nobody_may_read_keep_nobody_from_being_told() -> None:
    cloud = cloud_with(LOW_AUC)
    cloud.in_force.policy = ruled(Match(tags={"stage": "test"}), Effect(shadow=True))
    cloud.tags = AccessDeniedError("ListTags")

    cloud.use_case()(event())

    assert len(told(cloud)) == 1
    (record,) = cloud.recorded.values()
    assert Reason.TAGS_UNKNOWN in record.reading.reasons


def test_a_clean_run_beyond_the_policys_threshold_is_told() -> None:
    # Given mae 1.5, which the service finds good enough
    cloud = cloud_with({"violations": []})
    cloud.in_force.policy = ruled(Match(metric=("mae",)), Effect(threshold=1.2))

    assert cloud.use_case()(event()) is Outcome.VIOLATIONS

    (record,) = cloud.recorded.values()
    assert Reason.FOUND_BY_POLICY in record.reading.reasons
    assert "threshold 1.2" in told(cloud)[0].rows[0].line


def test_more_rows_asked_for_by_the_policy_make_a_clean_run_too_small() -> None:
    cloud = cloud_with({"violations": []})
    cloud.in_force.policy = ruled(Match(endpoint=("loan-*",)), Effect(minimum_rows=1000))

    assert cloud.use_case()(event()) is Outcome.TOO_FEW_ROWS

    assert told(cloud)[0].detail_type == "RunUnhealthy"


def test_a_policy_that_cannot_be_read_is_logged_and_the_last_one_holds() -> None:
    cloud = cloud_with(LOW_AUC)
    cloud.in_force.trouble, cloud.in_force.evidence = Reason.POLICY_UNREADABLE, "not JSON"

    cloud.use_case()(event())

    assert (
        "policy not in force",
        {"reason": "policy_unreadable", "error": "not JSON"},
    ) in cloud.lines
    assert len(cloud.recorded) == 1


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
    list(dict.fromkeys(STEPS)),
)
def test_throttling_at_any_step_comes_again_and_then_succeeds(step: str) -> None:
    cloud = cloud_with(LOW_AUC)
    cloud.failures[step] = [ThrottledError("slow down")]

    with pytest.raises(ThrottledError):
        cloud.use_case(RetrainingMode.AUTO)(event())
    cloud.use_case(RetrainingMode.AUTO)(event())

    assert len(told(cloud)) == 1
    assert not cloud.dead


def test_a_forbidden_report_alerts_and_waits_as_dead_letter() -> None:
    cloud = cloud_with(LOW_AUC)
    cloud.stored[f"{REPORT}/constraint_violations.json"] = AccessDeniedError(
        "GetObject", remedy="Grant s3:GetObject"
    )

    assert cloud.use_case()(event()) is Outcome.UNREADABLE

    ((_, error),) = cloud.dead
    assert error.remedy == "Grant s3:GetObject"
    (alert,) = told(cloud)
    assert alert.detail_type == "RunUnhealthy"
    assert "report_access_denied" in text_of(alert)


def test_a_redrive_after_the_mend_replaces_the_unreadable_run() -> None:
    # Given a run that could not be read
    cloud = cloud_with(LOW_AUC)
    path = f"{REPORT}/constraint_violations.json"
    content, cloud.stored[path] = cloud.stored[path], AccessDeniedError("GetObject")
    cloud.use_case()(event())
    told(cloud)

    # When the permission is granted and the dead letter comes again
    cloud.stored[path] = content
    assert cloud.use_case()(cloud.dead[0][0]) is Outcome.VIOLATIONS

    # Then the run is what it is, and people heard of both
    assert [r.reading.outcome for r in cloud.recorded.values()] == [Outcome.VIOLATIONS]
    cloud.pass_time(minutes=10)
    assert [a.detail_type for a in cloud.alerts] == ["RunUnhealthy", "IncidentOpened"]


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

    assert "retraining_refused" in text_of(told(cloud)[0])


def test_a_deleted_schedule_leaves_the_image_to_tell_the_monitor() -> None:
    cloud = cloud_with(BROKEN_FEED, FEATURES)
    cloud.scheduled = None

    cloud.use_case()(event())

    (record,) = cloud.recorded.values()
    assert record.reading.monitor.value == "data_quality"
    assert Reason.SCHEDULE_NOT_FOUND in record.reading.reasons


def test_alert_latency_counts_from_the_end_of_the_job_to_the_message() -> None:
    cloud = cloud_with(LOW_AUC)
    cloud.use_case()(event())
    told(cloud)
    assert [value for name, value, _ in cloud.metrics if name == "AlertLatency"] == [180.0]


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
    assert "out of memory" in text_of(told(cloud)[0])


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
    assert len(told(cloud)) == 1
    assert len(cloud.store.due_rows) == 1, "the repeat"


def test_a_report_that_is_missing_waits_as_dead_letter_too() -> None:
    cloud = cloud_with()

    assert cloud.use_case()(event()) is Outcome.UNREADABLE

    ((_, error),) = cloud.dead
    assert "violations file" in str(error)
