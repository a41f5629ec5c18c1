"""The event that starts everything, and events that only resemble it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from guiderail.errors import MalformedEventError
from guiderail.model.event import parse_job_event
from guiderail.model.job import job_from, moment, schedule_from

from tests import builders as b

Change = Callable[[b.Document], Any]


@pytest.mark.parametrize("form", [lambda e: e, json.dumps, lambda e: json.dumps(e).encode()])
def test_an_event_is_read_as_text_and_decoded(form: Callable[[b.Document], Any]) -> None:
    event = parse_job_event(form(b.job_event()))

    assert event.job.name == "model-monitoring-202611231400-5c1fa2b3c4d5e6f708192a3b"
    assert event.job.image == b.ANALYZER
    assert event.job.report_uri == b.REPORT_URI
    assert event.job.ended_at == datetime(2026, 11, 23, 14, 17, 25, tzinfo=UTC)


@pytest.mark.parametrize("status", ["Completed", "Failed", "Stopped"])
def test_the_runs_key_is_job_and_status(status: str) -> None:
    event = parse_job_event(b.job_event(ProcessingJobStatus=status))

    assert event.run_key == f"{event.job.arn}#{status}"


def test_another_event_of_the_same_change_has_the_same_key() -> None:
    again = {**b.job_event(), "id": "another", "time": "2026-11-23T14:19:00Z"}

    assert parse_job_event(again).run_key == parse_job_event(b.job_event()).run_key


@pytest.mark.parametrize(("source", "probe"), [("aws.sagemaker", False), ("guiderail.probe", True)])
def test_a_probe_is_told_from_sagemaker(source: str, probe: bool) -> None:
    assert parse_job_event(b.job_event(source)).is_probe is probe


@pytest.mark.parametrize(
    "field",
    [
        "ProcessingInputs",
        "ProcessingOutputConfig",
        "AppSpecification",
        "ProcessingStartTime",
        "ProcessingEndTime",
        "CreationTime",
        "LastModifiedTime",
    ],
)
def test_a_field_that_an_event_may_lack_is_not_needed(field: str) -> None:
    event = b.job_event()
    del event["detail"][field]

    assert parse_job_event(event).job.status == "Completed"


def test_fields_that_the_documented_event_lacks_are_read_where_they_are() -> None:
    event = parse_job_event(
        b.job_event(
            MonitoringScheduleArn=f"{b.ARN}:monitoring-schedule/loan-risk-hourly",
            ExitMessage="Completed: Job completed successfully with no violations.",
            Environment={"sagemaker_endpoint_name": b.ENDPOINT},
            Tags=[],
        )
    )

    assert event.job.schedule_name == "loan-risk-hourly"
    assert event.job.endpoint == b.ENDPOINT


# --- near misses


def detail(**fields: Any) -> Change:
    return lambda event: event["detail"].update(fields)


def without(name: str) -> Change:
    return lambda event: event["detail"].pop(name)


def top(**fields: Any) -> Change:
    return lambda event: event.update({k.replace("_", "-"): v for k, v in fields.items()})


NEAR_MISSES: dict[str, tuple[Change, str]] = {
    "another detail-type": (top(detail_type="SageMaker Training Job State Change"), "detail-type"),
    "detail-type in another case": (top(detail_type="sagemaker processing job state change"), "de"),
    "an invented monitor event": (
        top(detail_type="SageMaker Model Monitor Execution Status Change"),
        "detail-type",
    ),
    "no detail-type": (lambda e: e.pop("detail-type"), "detail-type"),
    "another source": (top(source="aws.s3"), "source"),
    "source as a list": (top(source=["aws.sagemaker"]), "source"),
    "no source": (lambda e: e.pop("source"), "source"),
    "no detail": (lambda e: e.pop("detail"), "detail"),
    "detail as text": (top(detail="{}"), "detail"),
    "detail as a list": (top(detail=[]), "detail"),
    "still running": (detail(ProcessingJobStatus="InProgress"), "InProgress"),
    "stopping": (detail(ProcessingJobStatus="Stopping"), "Stopping"),
    "a status of monitoring executions": (
        detail(ProcessingJobStatus="CompletedWithViolations"),
        "CompletedWithViolations",
    ),
    "status in another case": (detail(ProcessingJobStatus="COMPLETED"), "COMPLETED"),
    "no status": (without("ProcessingJobStatus"), "ProcessingJobStatus"),
    "status as a number": (detail(ProcessingJobStatus=3), "ProcessingJobStatus"),
    "no name": (without("ProcessingJobName"), "ProcessingJobName"),
    "empty name": (detail(ProcessingJobName=""), "ProcessingJobName"),
    "name as a list": (detail(ProcessingJobName=["x"]), "ProcessingJobName"),
    "no ARN": (without("ProcessingJobArn"), "ProcessingJobArn"),
    "ARN of another resource": (
        detail(ProcessingJobArn=f"{b.ARN}:training-job/x"),
        "ProcessingJobArn",
    ),
    "ARN that is no ARN": (detail(ProcessingJobArn="x:processing-job/y"), "ProcessingJobArn"),
    "ARN without region and account": (
        detail(ProcessingJobArn="arn:aws:processing-job/y"),
        "ProcessingJobArn",
    ),
    "ARN with an empty region": (
        detail(ProcessingJobArn="arn:aws:sagemaker::123456789012:processing-job/y"),
        "ProcessingJobArn",
    ),
    "environment as a list": (detail(Environment=["x"]), "Environment"),
    "schedule as a number": (detail(MonitoringScheduleArn=7), "MonitoringScheduleArn"),
    "image as an object": (detail(AppSpecification={"ImageUri": {}}), "ImageUri"),
}


@pytest.mark.parametrize(
    ("change", "named"), [pytest.param(*case, id=name) for name, case in NEAR_MISSES.items()]
)
def test_a_near_miss_is_refused_and_named(change: Change, named: str) -> None:
    event = b.job_event()
    change(event)

    with pytest.raises(MalformedEventError, match=named) as caught:
        parse_job_event(json.dumps(event))

    assert not caught.value.retriable


@pytest.mark.parametrize(
    "raw",
    [b"", "", "null", "[]", '"x"', "7", "{", b"\xff\xfe{}", "[" * 100_000, "{}", None, 7, []],
    ids=lambda raw: repr(raw)[:14],
)
def test_what_is_no_event_is_refused(raw: Any) -> None:
    with pytest.raises(MalformedEventError):
        parse_job_event(raw)


@pytest.mark.parametrize(
    "fields",
    [
        {"ProcessingInputs": "none"},
        {"ProcessingInputs": [None, {}, {"InputName": 3, "S3Input": {"S3Uri": "s3://b/x"}}]},
        {"ProcessingInputs": [{"InputName": "x", "DatasetDefinition": {}}]},
        {"ProcessingOutputConfig": []},
        {"ProcessingOutputConfig": {"Outputs": [{"OutputName": "result"}]}},
        {"AppSpecification": "image"},
        {"ProcessingEndTime": "soon"},
        {"ProcessingEndTime": 1e300},
        {"ProcessingEndTime": True},
        {"Environment": {"dataset_format": {"csv": {}}}},
    ],
)
def test_an_odd_field_beside_the_point_stops_nothing(fields: b.Document) -> None:
    assert parse_job_event(json.dumps(b.job_event(**fields))).job.status == "Completed"


# --- what is made of a description


@pytest.mark.parametrize(
    ("outputs", "uri"),
    [
        ([b.output("result", "s3://r/a")], "s3://r/a"),
        ([b.output("other", "s3://r/o"), b.output("result", "s3://r/a")], "s3://r/a"),
        ([b.output("report", "s3://r/own")], "s3://r/own"),
        ([b.output("a", "s3://r/a"), b.output("b", "s3://r/b")], ""),
        ([], ""),
    ],
)
def test_the_report_is_where_the_result_output_says(outputs: list[b.Document], uri: str) -> None:
    assert b.job(ProcessingOutputConfig={"Outputs": outputs}).report_uri == uri


def test_the_schedules_name_keeps_its_case_where_the_environment_has_it() -> None:
    assert b.job().schedule_name == "Loan-Risk-Hourly"
    assert b.job(Environment=None).schedule_name == "loan-risk-hourly"


def test_batch_monitoring_has_no_endpoint() -> None:
    assert b.job(Environment={}).endpoint == ""


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("2026-11-23T14:17:25Z", datetime(2026, 11, 23, 14, 17, 25, tzinfo=UTC)),
        ("2026-11-23T15:17:25+01:00", datetime(2026, 11, 23, 14, 17, 25, tzinfo=UTC)),
        ("2026-11-23T14:17:25", datetime(2026, 11, 23, 14, 17, 25, tzinfo=UTC)),
        (1_795_443_445_000, datetime(2026, 11, 23, 14, 17, 25, tzinfo=UTC)),
        (1_795_443_445, datetime(2026, 11, 23, 14, 17, 25, tzinfo=UTC)),
        (1_795_443_445_000.0, datetime(2026, 11, 23, 14, 17, 25, tzinfo=UTC)),
        (datetime(2026, 11, 23, 14, 17, 25), datetime(2026, 11, 23, 14, 17, 25, tzinfo=UTC)),
        ("yesterday", None),
        (None, None),
        (True, None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        ([], None),
    ],
)
def test_times_come_in_every_form(value: object, read: datetime | None) -> None:
    assert moment(value) == read


def test_a_description_needs_name_arn_and_status() -> None:
    for field in ("ProcessingJobName", "ProcessingJobArn", "ProcessingJobStatus"):
        described = b.described_job()
        del described[field]
        with pytest.raises(MalformedEventError, match=field):
            job_from(described)


def test_a_schedule_is_read_with_its_last_execution() -> None:
    schedule = b.schedule(
        LastMonitoringExecutionSummary={
            "MonitoringExecutionStatus": "Failed",
            "FailureReason": "Job inputs had no data",
        },
        MonitoringScheduleConfig={"MonitoringJobDefinitionName": "loan-risk-definition"},
    )

    assert schedule.name == "Loan-Risk-Hourly"
    assert schedule.job_definition == "loan-risk-definition"
    assert (schedule.last_status, schedule.last_failure_reason) == (
        "Failed",
        "Job inputs had no data",
    )
    assert schedule.last_job_arn == ""


def test_a_schedule_needs_its_name() -> None:
    with pytest.raises(MalformedEventError, match="MonitoringScheduleName"):
        schedule_from({"MonitoringType": "ModelBias"})
