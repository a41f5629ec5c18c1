"""Whether a job is a monitoring run, and of which monitor."""

from __future__ import annotations

import pytest
from guiderail.model.outcome import MonitorKind, Reason
from guiderail.services.identify import (
    kind_before_reading,
    kind_from_files,
    ruled_out,
    ruled_out_by_event,
)

from tests import builders as b

ORPHAN: dict[str, object] = {"MonitoringScheduleArn": None}


def image(uri: str) -> dict[str, object]:
    return {"AppSpecification": {"ImageUri": uri}}


def outputs(name: str) -> dict[str, object]:
    return {"ProcessingOutputConfig": {"Outputs": [b.output(name)]}}


DEBUGGER = f"{b.REGISTRY}/sagemaker-debugger-rules:latest"
WRANGLER = f"{b.REGISTRY}/sagemaker-data-wrangler-container:3.x"
TRAINING = f"{b.ARN}:training-job/loan-risk-train"

BY_EVENT = [
    pytest.param(
        {"AutoMLJobArn": f"{b.ARN}:automl-job/loan-risk"}, Reason.IGNORED_AUTOPILOT_JOB, id="AutoML"
    ),
    pytest.param({"TrainingJobArn": TRAINING}, Reason.IGNORED_DEBUGGER_JOB, id="training job"),
    pytest.param(
        image(DEBUGGER) | ORPHAN, Reason.IGNORED_DEBUGGER_JOB, id="image of debugger rules"
    ),
    pytest.param(
        {"ExitMessage": "RuleEvaluationConditionMet: Evaluation of the rule LossNotDecreasing"}
        | ORPHAN,
        Reason.IGNORED_DEBUGGER_JOB,
        id="exit message of a rule",
    ),
    pytest.param(image(b.MERGER), Reason.IGNORED_MERGE_JOB, id="image of the merger"),
    pytest.param(
        {"ProcessingJobName": "groundtruth-merge-202611231400-5c1fa2b3c4d5e6f708192a3b"},
        Reason.IGNORED_MERGE_JOB,
        id="name of a merge job, which has a schedule",
    ),
    pytest.param(
        {"FailureReason": "ClientError: Quality check failed. See violation report"} | ORPHAN,
        Reason.IGNORED_PIPELINE_CHECK_JOB,
        id="quality check step",
    ),
    pytest.param(
        {"FailureReason": "ClientError: Clarify check failed. See violation report"} | ORPHAN,
        Reason.IGNORED_PIPELINE_CHECK_JOB,
        id="Clarify check step",
    ),
    pytest.param(
        {"ProcessingJobName": "pipelines-a1b2c3d4e5f6-DataQualityCheck-aBcDeFgHiJ"} | ORPHAN,
        Reason.IGNORED_PIPELINE_CHECK_JOB,
        id="analyzer in a pipeline",
    ),
    pytest.param(
        {"ProcessingJobName": "pipelines-a1b2c3d4e5f6-Prepare-aBcDeFgHiJ"}
        | image(b.OWN_IMAGE)
        | ORPHAN,
        Reason.IGNORED_UNRELATED_JOB,
        id="another step of a pipeline",
    ),
    pytest.param(
        {"ProcessingJobName": "baseline-suggestion-job-2026-11-20-10-00-00-123"} | ORPHAN,
        Reason.IGNORED_BASELINING_JOB,
        id="name of a baselining job",
    ),
    pytest.param(
        outputs("monitoring_output") | ORPHAN,
        Reason.IGNORED_BASELINING_JOB,
        id="output of a baselining job",
    ),
    pytest.param(
        outputs("analysis_result") | image(b.CLARIFY) | ORPHAN,
        Reason.IGNORED_ONE_OFF_CLARIFY_JOB,
        id="one-off Clarify job",
    ),
    pytest.param(image(WRANGLER) | ORPHAN, Reason.IGNORED_UNRELATED_JOB, id="Data Wrangler"),
]
BY_DESCRIPTION = [
    pytest.param(ORPHAN, Reason.IGNORED_BASELINING_JOB, id="analyzer by hand"),
    pytest.param(
        image(b.CLARIFY) | ORPHAN, Reason.IGNORED_ONE_OFF_CLARIFY_JOB, id="Clarify by hand"
    ),
    pytest.param(image(b.OWN_IMAGE) | ORPHAN, Reason.IGNORED_UNRELATED_JOB, id="any other job"),
    pytest.param({"AppSpecification": None} | ORPHAN, Reason.IGNORED_UNRELATED_JOB, id="no image"),
]


@pytest.mark.parametrize(("fields", "reason"), BY_EVENT)
def test_the_event_alone_rules_out_what_it_can(fields: b.Document, reason: Reason) -> None:
    assert ruled_out_by_event(b.job(**fields)) is reason


@pytest.mark.parametrize(("fields", "reason"), BY_EVENT + BY_DESCRIPTION)
def test_the_description_rules_out_all_of_them(fields: b.Document, reason: Reason) -> None:
    assert ruled_out(b.job(**fields)) is reason


@pytest.mark.parametrize("fields", [p.values[0] for p in BY_DESCRIPTION])
def test_an_event_that_lacks_a_schedule_does_not_speak_against_its_job(
    fields: b.Document,
) -> None:
    assert ruled_out_by_event(b.job(**fields)) is None


@pytest.mark.parametrize("kind", list(MonitorKind))
@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped"])
def test_a_monitoring_run_is_ruled_out_by_nothing(kind: MonitorKind, status: str) -> None:
    assert ruled_out(b.job(kind, ProcessingJobStatus=status)) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"ProcessingJobName": "pipelines-are-watched-by-this-monitor"},
        outputs("monitoring_output"),
        {"ProcessingJobName": "baseline-suggestion-job-but-scheduled"},
        {"FailureReason": "AlgorithmError: no such file"},
    ],
)
def test_a_job_with_a_schedule_is_a_run_whatever_its_names_resemble(fields: b.Document) -> None:
    assert ruled_out(b.job(**fields)) is None


# --- the monitor's kind: the schedule's type is authoritative


@pytest.mark.parametrize("kind", list(MonitorKind)[:4])
def test_the_schedules_type_tells_the_monitor_without_a_further_reason(kind: MonitorKind) -> None:
    assert kind_before_reading(b.job(kind), b.schedule(kind)) == (kind, ())


@pytest.mark.parametrize("place", ["top level", "inside the configuration"])
def test_the_type_is_read_wherever_it_stands(place: str) -> None:
    fields: b.Document = (
        {"MonitoringScheduleConfig": {}} if place == "top level" else {"MonitoringType": None}
    )

    schedule = b.schedule(MonitorKind.BIAS, **fields)

    assert kind_before_reading(None, schedule) == (MonitorKind.BIAS, ())


def test_the_type_goes_before_the_jobs_name() -> None:
    job = b.job(
        MonitorKind.BIAS, ProcessingJobName="model-explainability-monitoring-202611231400-5c1f"
    )

    assert kind_before_reading(job, b.schedule(MonitorKind.BIAS))[0] is MonitorKind.BIAS


def test_an_own_container_is_custom_although_its_schedule_says_data_quality() -> None:
    job, schedule = b.job(MonitorKind.CUSTOM), b.schedule(MonitorKind.CUSTOM)

    assert schedule.monitoring_type == "DataQuality"
    assert kind_before_reading(job, schedule) == (MonitorKind.CUSTOM, (Reason.OWN_CONTAINER,))


def test_an_own_container_without_a_schedule_at_hand_is_custom() -> None:
    assert kind_before_reading(b.job(MonitorKind.CUSTOM), None)[0] is MonitorKind.CUSTOM


def test_an_inline_schedule_of_clarify_is_not_data_quality() -> None:
    job = b.job(MonitorKind.BIAS)
    schedule = b.schedule(MonitorKind.DATA_QUALITY)

    assert kind_before_reading(job, schedule)[0] is MonitorKind.BIAS


def test_an_inline_schedule_of_model_quality_is_not_data_quality() -> None:
    job = b.job(MonitorKind.MODEL_QUALITY)
    schedule = b.schedule(MonitorKind.DATA_QUALITY)

    assert kind_before_reading(job, schedule)[0] is MonitorKind.MODEL_QUALITY


# --- fallbacks, in their order


@pytest.mark.parametrize("kind", [MonitorKind.DATA_QUALITY, MonitorKind.MODEL_QUALITY])
def test_first_fallback_is_image_and_analysis_type(kind: MonitorKind) -> None:
    job = b.job(kind, ProcessingJobName="model-bias-monitoring-202611231400-5c1f")

    assert kind_before_reading(job, None) == (kind, (Reason.MONITOR_KIND_FROM_IMAGE,))


@pytest.mark.parametrize("kind", [MonitorKind.BIAS, MonitorKind.EXPLAINABILITY])
def test_second_fallback_is_the_jobs_name(kind: MonitorKind) -> None:
    schedule = b.schedule(
        MonitoringType=None,
        MonitoringScheduleConfig={"MonitoringJobDefinitionName": "model-quality-job-definition-1"},
    )

    assert kind_before_reading(b.job(kind), schedule) == (
        kind,
        (Reason.MONITOR_KIND_FROM_JOB_NAME,),
    )


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("model-monitoring-202611231400-5c1f", MonitorKind.DATA_QUALITY),
        ("data-quality-monitoring-202611231400-5c1f", MonitorKind.DATA_QUALITY),
        ("model-quality-monitoring-202611231400-5c1f", MonitorKind.MODEL_QUALITY),
        ("model-bias-monitoring-202611231400-5c1f", MonitorKind.BIAS),
        ("model-explainability-monitoring-202611231400-5c1f", MonitorKind.EXPLAINABILITY),
    ],
)
def test_each_job_name_of_the_service_is_known(name: str, kind: MonitorKind) -> None:
    job = b.job(ProcessingJobName=name, AppSpecification=None)

    assert kind_before_reading(job, None) == (kind, (Reason.MONITOR_KIND_FROM_JOB_NAME,))


@pytest.mark.parametrize(
    ("definition", "kind"),
    [
        ("model-bias-job-definition-2026-11-01", MonitorKind.BIAS),
        ("model-explainability-job-definition-2026-11-01", MonitorKind.EXPLAINABILITY),
    ],
)
def test_third_fallback_is_the_job_definitions_name(definition: str, kind: MonitorKind) -> None:
    job = b.job(MonitorKind.BIAS, ProcessingJobName="fairness-202611231400")
    schedule = b.schedule(
        MonitoringType=None, MonitoringScheduleConfig={"MonitoringJobDefinitionName": definition}
    )

    assert kind_before_reading(job, schedule) == (kind, (Reason.MONITOR_KIND_FROM_JOB_DEFINITION,))


def test_clarify_under_a_name_of_its_own_is_left_to_the_files() -> None:
    job = b.job(MonitorKind.BIAS, ProcessingJobName="fairness-202611231400")

    assert kind_before_reading(job, None) == (None, ())


def test_nothing_at_hand_is_left_to_the_files() -> None:
    assert kind_before_reading(None, None) == (None, ())


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (
            {"constraint_violations.json": b.violations(b.drifted("income"))},
            MonitorKind.DATA_QUALITY,
        ),
        (
            {"constraint_violations.json": b.violations(b.off_metric("auc", "0.5", "0.8"))},
            MonitorKind.MODEL_QUALITY,
        ),
        ({"constraint_violations.json": b.violations(b.biased("DI", "1", "2"))}, MonitorKind.BIAS),
        (
            {"constraint_violations.json": b.violations(b.reordered("0.5"))},
            MonitorKind.EXPLAINABILITY,
        ),
        (
            {
                "constraint_violations.json": b.violations(
                    b.drifted("income"), b.item("of_our_own", "", feature_name="text")
                )
            },
            MonitorKind.CUSTOM,
        ),
        ({"statistics.json": b.statistics()}, MonitorKind.DATA_QUALITY),
        ({"statistics.json": b.quality_statistics({"auc": (1, 0)})}, MonitorKind.MODEL_QUALITY),
        ({"analysis.json": b.bias_analysis(post={"DI": 1.0})}, MonitorKind.BIAS),
        (
            {"analysis.json": b.shap_analysis({"default": {"income": 1.0}})},
            MonitorKind.EXPLAINABILITY,
        ),
        ({"constraints.json": b.constraints("income")}, MonitorKind.DATA_QUALITY),
        (
            {"constraints.json": b.quality_constraints({"auc": (0.8, "LessThanThreshold")})},
            MonitorKind.MODEL_QUALITY,
        ),
        ({"constraints_violations.json": b.violations()}, MonitorKind.CUSTOM),
        ({"community_constraint_violations.json": b.violations()}, MonitorKind.CUSTOM),
    ],
)
def test_last_fallback_is_what_the_run_wrote(files: dict[str, bytes], kind: MonitorKind) -> None:
    assert kind_from_files(b.parsed(files)) == (kind, (Reason.MONITOR_KIND_FROM_REPORT,))


def test_violations_go_before_the_other_files() -> None:
    files = {
        "constraint_violations.json": b.violations(b.biased("DI", "0.1", "0.9")),
        "statistics.json": b.statistics(),
    }

    assert kind_from_files(b.parsed(files))[0] is MonitorKind.BIAS


def test_where_nothing_tells_the_kind_is_an_assumption_and_says_so() -> None:
    files = {"constraint_violations.json": b.violations()}

    assert kind_from_files(b.parsed(files)) == (
        MonitorKind.DATA_QUALITY,
        (Reason.MONITOR_KIND_ASSUMED,),
    )
