"""Monitoring schedules: stop one, start it again, or have it run once now.

Source: the SageMaker API model and API reference, ScheduleConfig. There is no call for one execution on
demand; a schedule of its own with the expression NOW is SageMaker's way, and needs the window of its data.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from guiderail.adapters.actions.calls import acting, name_for, named, text_of
from guiderail.adapters.clients import client
from guiderail.errors import AlreadyExistsError, NotFoundError, UnavailableError
from guiderail.model.action_event import schedule_handle
from guiderail.model.policy import ActionKind
from guiderail.model.remediation import ActionReport, ActionState, Remediation

FOR_SCHEDULE = "guiderail:schedule"
"""Tag of a schedule that runs once: the one that it stands for."""

FOR_REMEDIATION = "guiderail:remediation"

DEFINITIONS = {
    "DataQuality": "data_quality",
    "ModelQuality": "model_quality",
    "ModelBias": "model_bias",
    "ModelExplainability": "model_explainability",
}
"""Kinds of job definitions, with what botocore calls them."""

_GOOD_RUNS = frozenset({"Completed", "CompletedWithViolations"})
_HOURS = re.compile(r"cron\(\S+ (\S+) ")


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """The baseline that a schedule's job definition names; empty texts where it names none."""

    monitoring_type: str
    definition: str = ""
    constraints: str = ""
    statistics: str = ""
    job: str = ""


def begin(remediation: Remediation, now: datetime) -> ActionReport:
    """Pause, resume or run once, as the remediation's kind says; at most three calls.

    Raises:
        PermanentError: No such schedule, or SageMaker refuses.
        TransientError: The schedule is being changed, SageMaker throttled or failed.
    """
    name = text_of(remediation, "schedule", "Name a monitoring schedule or write {schedule}")
    if remediation.kind is ActionKind.RUN_NOW:
        return _run_once(remediation, name)
    described = schedule_named(name)
    status = described["MonitoringScheduleStatus"]
    if status == "Pending":
        raise UnavailableError(f"schedule {name} is being changed just now")
    if status == _wanted(remediation):
        return _turned(remediation, name, described)
    sagemaker = client("sagemaker")
    if remediation.kind is ActionKind.PAUSE:
        with acting(f"StopMonitoringSchedule {name}"):
            sagemaker.stop_monitoring_schedule(MonitoringScheduleName=name)
    else:
        with acting(f"StartMonitoringSchedule {name}"):
            sagemaker.start_monitoring_schedule(MonitoringScheduleName=name)
    report = _turned(remediation, name, schedule_named(name))
    return msgspec.structs.replace(report, before={"schedule_status": status})


def look(remediation: Remediation, now: datetime) -> ActionReport:
    """How it stands: one DescribeMonitoringSchedule."""
    if remediation.kind is ActionKind.RUN_NOW:
        return _ran(name_for("run", remediation))
    name = text_of(remediation, "schedule", "Name a monitoring schedule or write {schedule}")
    return _turned(remediation, name, schedule_named(name))


def schedule_named(name: str) -> Mapping[str, Any]:
    """Describe a schedule: one call.

    Raises:
        NotFoundError: There is none of this name.
        TransientError: SageMaker throttled or failed.
    """
    with (
        named("schedule", name, "Name one of: aws sagemaker list-monitoring-schedules"),
        acting(f"DescribeMonitoringSchedule {name}"),
    ):
        described: Mapping[str, Any] = client("sagemaker").describe_monitoring_schedule(
            MonitoringScheduleName=name
        )
    return described


def monitoring_type_of(schedule: Mapping[str, Any]) -> str:
    """The kind of monitor, which may stand at either of two places."""
    config = schedule.get("MonitoringScheduleConfig", {})
    return str(schedule.get("MonitoringType") or config.get("MonitoringType") or "DataQuality")


def definition_named(monitoring_type: str, name: str) -> dict[str, Any]:
    """Describe a job definition: one call.

    Raises:
        NotFoundError: There is none of this name, or the kind of monitor is not known.
        TransientError: SageMaker throttled or failed.
    """
    kind = DEFINITIONS.get(monitoring_type)
    if kind is None:
        raise NotFoundError(f"{monitoring_type} is no kind of monitor that is known")
    with acting(f"Describe{monitoring_type}JobDefinition {name}"):
        describe = getattr(client("sagemaker"), f"describe_{kind}_job_definition")
        described: dict[str, Any] = describe(JobDefinitionName=name)
    return described


def baseline_of(schedule: Mapping[str, Any]) -> Baseline:
    """The baseline in use: one call, none where the definition stands in the schedule itself."""
    config = schedule.get("MonitoringScheduleConfig", {})
    monitoring_type = monitoring_type_of(schedule)
    name = str(config.get("MonitoringJobDefinitionName", ""))
    if name:
        key = f"{monitoring_type}BaselineConfig"
        baseline = definition_named(monitoring_type, name).get(key, {})
    else:
        baseline = config.get("MonitoringJobDefinition", {}).get("BaselineConfig", {})
    return Baseline(
        monitoring_type=monitoring_type,
        definition=name,
        constraints=str(baseline.get("ConstraintsResource", {}).get("S3Uri", "")),
        statistics=str(baseline.get("StatisticsResource", {}).get("S3Uri", "")),
        job=str(baseline.get("BaseliningJobName", "")),
    )


def _wanted(remediation: Remediation) -> str:
    return "Stopped" if remediation.kind is ActionKind.PAUSE else "Scheduled"


def _turned(remediation: Remediation, name: str, described: Mapping[str, Any]) -> ActionReport:
    status = described["MonitoringScheduleStatus"]
    handle = schedule_handle(name)
    if status == _wanted(remediation):
        return ActionReport(state=ActionState.DONE, handle=handle, text=f"{name} is {status}")
    if status == "Failed":
        why = described.get("FailureReason", "no reason given")
        text = f"{name} is Failed: {why}"
        return ActionReport(state=ActionState.FAILED, handle=handle, text=text)
    return ActionReport(state=ActionState.RUNNING, handle=handle, text=f"{name} is still {status}")


def _run_once(remediation: Remediation, name: str) -> ActionReport:
    own = name_for("run", remediation)
    config = schedule_named(name)["MonitoringScheduleConfig"]
    try:
        with acting(f"CreateMonitoringSchedule {own}"):
            client("sagemaker").create_monitoring_schedule(
                MonitoringScheduleName=own,
                MonitoringScheduleConfig={**config, "ScheduleConfig": _once(config)},
                Tags=[
                    {"Key": FOR_REMEDIATION, "Value": remediation.id},
                    {"Key": FOR_SCHEDULE, "Value": name},
                ],
            )
    except AlreadyExistsError:
        # begun before: its name is the remediation's
        return _ran(own)
    return ActionReport(
        state=ActionState.RUNNING,
        handle=schedule_handle(own),
        text=f"{own} runs once as {name} does; it may be deleted when it has",
        result={"schedule": own},
    )


def _once(config: Mapping[str, Any]) -> dict[str, str]:
    """Run now over the window that the schedule's own runs look at, up to 24 hours."""
    own = config.get("ScheduleConfig", {})
    found = _HOURS.match(str(own.get("ScheduleExpression", "")))
    hours = found[1] if found else ""
    every = "1" if hours == "*" else hours.partition("/")[2]
    length = min(24, int(every)) if every.isdecimal() and int(every) else 24
    return {
        "ScheduleExpression": "NOW",
        "DataAnalysisStartTime": own.get("DataAnalysisStartTime") or f"-PT{length}H",
        "DataAnalysisEndTime": own.get("DataAnalysisEndTime") or "-PT0H",
    }


def _ran(own: str) -> ActionReport:
    described = schedule_named(own)
    last = described.get("LastMonitoringExecutionSummary", {})
    status = last.get("MonitoringExecutionStatus", "Pending")
    why = last.get("FailureReason") or described.get("FailureReason") or "no reason given"
    report = ActionReport(
        state=ActionState.RUNNING,
        handle=schedule_handle(own),
        text=f"{own} is {status}",
        result={"schedule": own},
    )
    if job := last.get("ProcessingJobArn"):
        report = msgspec.structs.replace(
            report, result={"schedule": own, "processing_job_arn": job}
        )
    if status == "Failed" or described["MonitoringScheduleStatus"] == "Failed":
        return msgspec.structs.replace(
            report, state=ActionState.FAILED, text=f"{own} failed: {why}"
        )
    if status == "Stopped":
        return msgspec.structs.replace(report, state=ActionState.STOPPED)
    if status in _GOOD_RUNS:
        return msgspec.structs.replace(report, state=ActionState.DONE)
    return report
