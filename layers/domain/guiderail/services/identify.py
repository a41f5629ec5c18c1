"""Which run is it: is the job a monitoring run at all, and of which monitor."""

from __future__ import annotations

from guiderail.model.job import MonitoringSchedule, ProcessingJob
from guiderail.model.outcome import MonitorKind, Reason
from guiderail.reports.run_files import ParsedRun
from guiderail.reports.violations import OWN_CONTAINER_FILE_NAMES

_ANALYZER = "sagemaker-model-monitor-analyzer"
_CLARIFY = "sagemaker-clarify-processing"
_MERGER = "sagemaker-model-monitor-groundtruth-merger"
_CHECK_STEP_FAILURES = ("Quality check failed", "Clarify check failed")

_KIND_OF_TYPE = {
    "DataQuality": MonitorKind.DATA_QUALITY,
    "ModelQuality": MonitorKind.MODEL_QUALITY,
    "ModelBias": MonitorKind.BIAS,
    "ModelExplainability": MonitorKind.EXPLAINABILITY,
}
_KIND_OF_JOB_NAME = {
    "model-quality-monitoring-": MonitorKind.MODEL_QUALITY,
    "model-bias-monitoring-": MonitorKind.BIAS,
    "model-explainability-monitoring-": MonitorKind.EXPLAINABILITY,
    "data-quality-monitoring-": MonitorKind.DATA_QUALITY,
    "model-monitoring-": MonitorKind.DATA_QUALITY,
}
_KIND_OF_JOB_DEFINITION = {
    "data-quality-job-definition-": MonitorKind.DATA_QUALITY,
    "model-quality-job-definition-": MonitorKind.MODEL_QUALITY,
    "model-bias-job-definition-": MonitorKind.BIAS,
    "model-explainability-job-definition-": MonitorKind.EXPLAINABILITY,
}
CLARIFY_KINDS = frozenset({MonitorKind.BIAS, MonitorKind.EXPLAINABILITY})


def ruled_out_by_event(job: ProcessingJob) -> Reason | None:
    """Why the event alone shows that its job is no monitoring run; None where it does not.

    An event may lack what a description has (the one public example has no MonitoringScheduleArn),
    so only what it does hold speaks against a job.
    """
    if job.automl_job_arn:
        return Reason.IGNORED_AUTOPILOT_JOB
    if (
        job.training_job_arn
        or "sagemaker-debugger-rules" in job.image
        or "RuleEvaluation" in job.exit_message
    ):
        return Reason.IGNORED_DEBUGGER_JOB
    if _MERGER in job.image or job.name.startswith("groundtruth-merge-"):
        return Reason.IGNORED_MERGE_JOB
    if any(failure in job.failure_reason for failure in _CHECK_STEP_FAILURES):
        return Reason.IGNORED_PIPELINE_CHECK_JOB
    if job.schedule_arn:
        return None
    if job.name.startswith("pipelines-"):
        is_check = _ANALYZER in job.image or _CLARIFY in job.image
        return Reason.IGNORED_PIPELINE_CHECK_JOB if is_check else Reason.IGNORED_UNRELATED_JOB
    if job.name.startswith("baseline-suggestion-job-") or "monitoring_output" in job.outputs:
        return Reason.IGNORED_BASELINING_JOB
    if "analysis_result" in job.outputs:
        return Reason.IGNORED_ONE_OFF_CLARIFY_JOB
    if "sagemaker-data-wrangler" in job.image:
        return Reason.IGNORED_UNRELATED_JOB
    return None


def ruled_out(job: ProcessingJob) -> Reason | None:
    """Why a described job is no monitoring run: only those have a schedule, and so have merge jobs."""
    if reason := ruled_out_by_event(job):
        return reason
    if job.schedule_arn:
        return None
    if _ANALYZER in job.image:
        return Reason.IGNORED_BASELINING_JOB
    return (
        Reason.IGNORED_ONE_OFF_CLARIFY_JOB
        if _CLARIFY in job.image
        else Reason.IGNORED_UNRELATED_JOB
    )


def kind_before_reading(
    job: ProcessingJob | None, schedule: MonitoringSchedule | None
) -> tuple[MonitorKind | None, tuple[Reason, ...]]:
    """Tell the monitor from schedule, image and names, in this order; None where only the files can.

    A schedule's MonitoringType is authoritative, except that own containers and schedules with an
    inline job definition say DataQuality whatever they compute: there the image decides.
    """
    image = job.image if job else ""
    is_own_container = bool(image) and _ANALYZER not in image and _CLARIFY not in image
    typed = _KIND_OF_TYPE.get(schedule.monitoring_type) if schedule else None
    if is_own_container and typed in (None, MonitorKind.DATA_QUALITY):
        return MonitorKind.CUSTOM, (Reason.OWN_CONTAINER,)
    is_quality = job is not None and job.environment.get("analysis_type") == "MODEL_QUALITY"
    if typed and not (typed is MonitorKind.DATA_QUALITY and (_CLARIFY in image or is_quality)):
        return typed, ()
    if _ANALYZER in image:
        kind = MonitorKind.MODEL_QUALITY if is_quality else MonitorKind.DATA_QUALITY
        return kind, (Reason.MONITOR_KIND_FROM_IMAGE,)
    named = _by_prefix(job.name, _KIND_OF_JOB_NAME) if job else None
    if named and (named in CLARIFY_KINDS or _CLARIFY not in image):
        return named, (Reason.MONITOR_KIND_FROM_JOB_NAME,)
    defined = _by_prefix(schedule.job_definition, _KIND_OF_JOB_DEFINITION) if schedule else None
    if defined:
        return defined, (Reason.MONITOR_KIND_FROM_JOB_DEFINITION,)
    return None, ()


def kind_from_files(parsed: ParsedRun) -> tuple[MonitorKind, tuple[Reason, ...]]:
    """Tell the monitor from what it wrote, else from what Clarify was told to compute."""
    reasons = (Reason.MONITOR_KIND_FROM_REPORT,)
    if parsed.violations_file in OWN_CONTAINER_FILE_NAMES:
        return MonitorKind.CUSTOM, reasons
    if parsed.violations:
        kinds = [violation.kind for violation in parsed.violations]
        return (MonitorKind.CUSTOM if MonitorKind.CUSTOM in kinds else kinds[0]), reasons
    if parsed.statistics:
        quality = parsed.statistics.features is None
        return (MonitorKind.MODEL_QUALITY if quality else MonitorKind.DATA_QUALITY), reasons
    if parsed.analysis:
        return (
            MonitorKind.BIAS if parsed.analysis.has_bias else MonitorKind.EXPLAINABILITY
        ), reasons
    if parsed.constraints:
        quality = parsed.constraints.features is None
        return (MonitorKind.MODEL_QUALITY if quality else MonitorKind.DATA_QUALITY), reasons
    if parsed.analysis_config:
        kind = MonitorKind.BIAS if parsed.analysis_config.has_bias else MonitorKind.EXPLAINABILITY
        return kind, (Reason.MONITOR_KIND_FROM_ANALYSIS_CONFIG,)
    return MonitorKind.DATA_QUALITY, (Reason.MONITOR_KIND_ASSUMED,)


def _by_prefix(name: str, kinds: dict[str, MonitorKind]) -> MonitorKind | None:
    return next((kind for prefix, kind in kinds.items() if name.startswith(prefix)), None)
