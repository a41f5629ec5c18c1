"""Monitoring schedules, their executions, and processing jobs.

moto knows no monitoring schedules and so no tags of them, and forgets most of a processing job. Here,
descriptions are registered and answered as they were recorded; what is created over the API beside them
behaves as far as remediations need it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from moto.sagemaker.responses import SageMakerResponse

from guiderail_local.runs import event_of
from guiderail_local.sagemaker.parts import Operations, Shared, not_found, on_the_wire, refused

_SUMMARY = (
    "MonitoringScheduleName", "MonitoringScheduleArn", "CreationTime", "LastModifiedTime",
    "MonitoringScheduleStatus", "EndpointName", "MonitoringJobDefinitionName", "MonitoringType",
)  # fmt: skip


_list_tags = SageMakerResponse.list_tags


class Monitoring:
    """The part of SageMaker that keeps schedules and processing jobs."""

    def __init__(self, shared: Shared) -> None:
        """Nothing is scheduled yet."""
        self._shared = shared
        self._jobs: dict[str, dict[str, Any]] = {}
        self._schedules: dict[str, dict[str, Any]] = {}
        self._tags: dict[str, list[Mapping[str, str]]] = {}

    def register_job(self, described: Mapping[str, Any]) -> None:
        """Answer DescribeProcessingJob for this job with this description from now on."""
        with self._shared.lock:
            self._jobs[str(described["ProcessingJobName"])] = on_the_wire(described)

    def register_schedule(self, described: Mapping[str, Any]) -> None:
        """Answer DescribeMonitoringSchedule likewise; found by the name in whatever case.

        ``Tags``, which the service does not describe, are what ListTags answers. What was changed over
        the API since it was first registered stays changed.
        """
        on_wire = on_the_wire(described)
        tags = on_wire.pop("Tags", [])
        name = str(described["MonitoringScheduleName"]).lower()
        with self._shared.lock:
            known = self._schedules.get(name, {})
            self._schedules[name] = known if known.get("_changed") else on_wire
            self._tags[str(described["MonitoringScheduleArn"])] = tags

    def end_job(self, name: str, status: str = "Completed", reason: str = "") -> None:
        """End a processing job that was created over the API; its event is told."""
        with self._shared.lock:
            job = self._job(name)
            if job["ProcessingJobStatus"] != "InProgress":
                return
            now = self._shared.now().timestamp()
            job |= {
                "ProcessingJobStatus": status,
                "ProcessingEndTime": now,
                "LastModifiedTime": now,
            }
            if reason:
                job["FailureReason"] = reason
            told = event_of(job)
        self._shared.tell(told)

    def operations(self) -> Operations:
        """What is put in place of moto's own."""
        return {
            "create_processing_job": self._create_job,
            "describe_processing_job": self._describe_job,
            "stop_processing_job": self._stop_job,
            "create_monitoring_schedule": self._create_schedule,
            "describe_monitoring_schedule": self._describe_schedule,
            "update_monitoring_schedule": self._update_schedule,
            "delete_monitoring_schedule": self._delete_schedule,
            "start_monitoring_schedule": lambda request: self._switch(request, "Scheduled"),
            "stop_monitoring_schedule": lambda request: self._switch(request, "Stopped"),
            "list_monitoring_schedules": self._list_schedules,
            "list_monitoring_executions": self._list_executions,
            "list_tags": self._tags_of,
        }

    def _create_job(self, request: Any) -> str:
        asked = json.loads(request.body)
        name = str(asked["ProcessingJobName"])
        arn = f"{_prefix(request)}:processing-job/{name}"
        now = self._shared.now().timestamp()
        with self._shared.lock:
            if name in self._jobs:
                raise refused("ResourceInUse", f"Job name must be unique; {name} exists: {arn}")
            self._jobs[name] = {
                **asked,
                "ProcessingJobArn": arn,
                "ProcessingJobStatus": "InProgress",
                "CreationTime": now,
                "ProcessingStartTime": now,
                "LastModifiedTime": now,
            }
        return json.dumps({"ProcessingJobArn": arn})

    def _describe_job(self, request: Any) -> str:
        with self._shared.lock:
            return json.dumps(self._job(request._get_param("ProcessingJobName")))

    def _stop_job(self, request: Any) -> str:
        name = str(request._get_param("ProcessingJobName"))
        self._job(name)
        self.end_job(name, "Stopped")
        return ""

    def _job(self, name: Any) -> dict[str, Any]:
        job = self._jobs.get(str(name))
        if job is None:
            raise refused("ValidationException", f"Could not find requested job with name: {name}")
        return job

    def _create_schedule(self, request: Any) -> str:
        asked = json.loads(request.body)
        name = str(asked["MonitoringScheduleName"])
        arn = f"{_prefix(request)}:monitoring-schedule/{name.lower()}"
        now = self._shared.now().timestamp()
        config = asked["MonitoringScheduleConfig"]
        with self._shared.lock:
            if name.lower() in self._schedules:
                raise refused("ResourceInUse", f"Monitoring Schedule with ARN {arn} already exists")
            self._schedules[name.lower()] = {
                "MonitoringScheduleName": name,
                "MonitoringScheduleArn": arn,
                "MonitoringScheduleStatus": "Scheduled",
                "MonitoringType": config.get("MonitoringType", "DataQuality"),
                "MonitoringScheduleConfig": config,
                "CreationTime": now,
                "LastModifiedTime": now,
                "_changed": True,
            }
            self._tags[arn] = asked.get("Tags", [])
        return json.dumps({"MonitoringScheduleArn": arn})

    def _describe_schedule(self, request: Any) -> str:
        with self._shared.lock:
            return json.dumps(_public(self._schedule(request)))

    def _update_schedule(self, request: Any) -> str:
        asked = json.loads(request.body)
        with self._shared.lock:
            schedule = self._schedule(request)
            schedule["MonitoringScheduleConfig"] = asked["MonitoringScheduleConfig"]
            self._touch(schedule)
            return json.dumps({"MonitoringScheduleArn": schedule["MonitoringScheduleArn"]})

    def _delete_schedule(self, request: Any) -> str:
        with self._shared.lock:
            schedule = self._schedule(request)
            del self._schedules[str(schedule["MonitoringScheduleName"]).lower()]
        return ""

    def _switch(self, request: Any, status: str) -> str:
        with self._shared.lock:
            schedule = self._schedule(request)
            schedule["MonitoringScheduleStatus"] = status
            self._touch(schedule)
        return ""

    def _touch(self, schedule: dict[str, Any]) -> None:
        schedule |= {"LastModifiedTime": self._shared.now().timestamp(), "_changed": True}

    def _schedule(self, request: Any) -> dict[str, Any]:
        name = request._get_param("MonitoringScheduleName")
        schedule = self._schedules.get(str(name).lower())
        if schedule is None:
            raise not_found(f"Could not find requested schedule with name: {name}")
        return schedule

    def _list_schedules(self, request: Any) -> str:
        part, endpoint = request._get_param("NameContains"), request._get_param("EndpointName")
        with self._shared.lock:
            found = [
                {key: schedule[key] for key in _SUMMARY if key in schedule}
                for schedule in self._schedules.values()
                if (part or "") in schedule["MonitoringScheduleName"]
                and endpoint in (None, schedule.get("EndpointName"))
            ]
        return json.dumps({"MonitoringScheduleSummaries": found})

    def _list_executions(self, request: Any) -> str:
        """The jobs of a schedule, newest first."""
        name = request._get_param("MonitoringScheduleName")
        found = []
        with self._shared.lock:
            for job in self._jobs.values():
                schedule = str(job.get("MonitoringScheduleArn", "")).rpartition("/")[2]
                if schedule and str(name or schedule).lower() == schedule.lower():
                    found.append(_execution(schedule, job))
        found.sort(key=lambda execution: execution["ScheduledTime"], reverse=True)
        return json.dumps({"MonitoringExecutionSummaries": found})

    def _tags_of(self, request: Any) -> Any:
        tags = self._tags.get(request._get_param("ResourceArn"))
        return _list_tags(request) if tags is None else json.dumps({"Tags": tags})


def _prefix(request: Any) -> str:
    return f"arn:aws:sagemaker:{request.region}:{request.current_account}"


def _public(described: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in described.items() if not name.startswith("_")}


def _execution(schedule: str, job: Mapping[str, Any]) -> dict[str, Any]:
    status = str(job["ProcessingJobStatus"])
    if status == "Completed" and str(job.get("ExitMessage", "")).startswith("CompletedWith"):
        status = "CompletedWithViolations"
    made = job["CreationTime"]
    summary = {
        "MonitoringScheduleName": schedule,
        "ScheduledTime": made,
        "CreationTime": made,
        "LastModifiedTime": job.get("LastModifiedTime", made),
        "MonitoringExecutionStatus": status,
        "ProcessingJobArn": job["ProcessingJobArn"],
        "EndpointName": job.get("Environment", {}).get("sagemaker_endpoint_name"),
        "FailureReason": job.get("FailureReason"),
    }
    return {name: value for name, value in summary.items() if value is not None}
