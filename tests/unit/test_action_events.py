"""Events of what remediations begin: which end they tell of, and by what it is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from guiderail.errors import MalformedEventError
from guiderail.model.action_event import DETAIL_TYPES, ActionEvent, parse_action_event
from hypothesis import given
from hypothesis import strategies as st

ACCOUNT = "arn:aws:sagemaker:eu-west-1:123456789012"
EXECUTION = f"{ACCOUNT}:pipeline/retrain-loans/execution/p4jn9xou8a8s"
PACKAGE = f"{ACCOUNT}:model-package/loans/2"
MACHINE_RUN = "arn:aws:states:eu-west-1:123456789012:execution:own-fix:20261123T141000-abc"
STEPS = "Step Functions Execution Status Change"


def event(what: str, detail: Any, source: Any = "aws.sagemaker") -> str:
    return json.dumps({"detail-type": what, "source": source, "detail": detail})


def pipeline(status: str, **fields: Any) -> str:
    detail = {"currentPipelineExecutionStatus": status, "pipelineExecutionArn": EXECUTION, **fields}
    return event("SageMaker Model Building Pipeline Execution Status Change", detail)


def endpoint(status: str) -> str:
    detail = {
        "EndpointName": "Loans",
        "EndpointArn": f"{ACCOUNT}:endpoint/loans",
        "EndpointStatus": status,
        "CreationTime": 1592411992203.0,
        "Tags": {},
    }
    return event("SageMaker Endpoint State Change", detail)


def package(**fields: Any) -> str:
    detail = {
        "ModelPackageArn": PACKAGE,
        "ModelPackageStatus": "Completed",
        "MetadataProperties": {"GeneratedBy": EXECUTION},
        **fields,
    }
    return event("SageMaker Model Package State Change", detail)


def job(status: str, **fields: Any) -> str:
    detail = {
        "ProcessingJobArn": f"{ACCOUNT}:processing-job/guiderail-baseline-1",
        "ProcessingJobStatus": status,
        **fields,
    }
    return event("SageMaker Processing Job State Change", detail)


def execution(status: str, **fields: Any) -> str:
    detail = {"executionArn": MACHINE_RUN, "status": status, **fields}
    return event(STEPS, detail, "aws.states")


@pytest.mark.parametrize(
    ("raw", "ended"),
    [
        (pipeline("Succeeded"), True),
        (pipeline("Failed"), True),
        (pipeline("Stopped"), True),
        (pipeline("CompletedWithFailures"), True),
        (pipeline("Executing"), False),
        (pipeline("Stopping"), False),
        (endpoint("IN_SERVICE"), True),
        (endpoint("InService"), True),
        (endpoint("UPDATE_ROLLBACK_FAILED"), True),
        (endpoint("Failed"), True),
        (endpoint("UPDATING"), False),
        (endpoint("RollingBack"), False),
        (endpoint("SystemUpdating"), False),
        (package(ModelApprovalStatus="Approved"), True),
        (package(ModelApprovalStatus="Rejected"), True),
        (package(ModelApprovalStatus="PendingManualApproval"), False),
        (package(ModelPackageStatus="Failed"), True),
        (job("Completed"), True),
        (job("Stopping"), False),
        (execution("SUCCEEDED"), True),
        (execution("TIMED_OUT"), True),
        (execution("ABORTED"), True),
        (execution("RUNNING"), False),
        (execution("PENDING_REDRIVE"), False),
    ],
)
def test_only_an_end_is_one(raw: str, ended: bool) -> None:
    assert parse_action_event(raw).ended is ended


SAMPLES = Path(__file__).parents[2] / "events" / "on_action_finished"


@pytest.mark.parametrize(
    "path",
    [p for p in sorted(SAMPLES.glob("*.json")) if not p.name.startswith(("sqs_", "near_miss_"))],
    ids=lambda path: path.stem,
)
def test_the_samples_tell_of_an_end(path: Path) -> None:
    read = parse_action_event(path.read_bytes())
    assert (read.ended, bool(read.handles)) == (True, True)


def test_a_pipeline_is_known_by_its_execution() -> None:
    # Given the developer guide's example, with all it has
    raw = pipeline(
        "Succeeded",
        previousPipelineExecutionStatus="Executing",
        executionStartTime="2021-03-15T16:03:13Z",
        executionEndTime="2021-03-15T16:10:10Z",
        pipelineArn=f"{ACCOUNT}:pipeline/retrain-loans",
    )

    assert parse_action_event(raw) == ActionEvent(
        what="SageMaker Model Building Pipeline Execution Status Change",
        status="Succeeded",
        ended=True,
        handles=(EXECUTION,),
    )


def test_an_endpoint_is_known_by_its_name_in_lower_case() -> None:
    handles = parse_action_event(endpoint("IN_SERVICE")).handles
    assert handles == (f"{ACCOUNT}:endpoint/loans", "endpoint/loans")


def test_an_approval_is_awaited_by_who_began_the_pipeline() -> None:
    # Given the guide's own oddity: the key "source" twice, the second time a list
    raw = package(ModelApprovalStatus="Approved")
    raw = raw[:-1] + ', "source": ["aws.sagemaker"]}'

    read = parse_action_event(raw)

    assert (read.status, read.handles) == ("Approved", (EXECUTION, PACKAGE))


@pytest.mark.parametrize("metadata", [None, {}, [], {"GeneratedBy": 7}, {"GeneratedBy": " "}])
def test_a_package_that_names_no_execution_is_known_by_itself(metadata: Any) -> None:
    read = parse_action_event(package(ModelApprovalStatus="Approved", MetadataProperties=metadata))
    assert read.handles == (PACKAGE,)


def test_a_monitoring_job_is_known_by_its_schedule_too() -> None:
    schedule = f"{ACCOUNT}:monitoring-schedule/guiderail-run-1"
    read = parse_action_event(job("Completed", MonitoringScheduleArn=schedule))
    assert read.handles[1:] == ("monitoring-schedule/guiderail-run-1",)


def test_an_execution_that_broke_off_names_its_remediation() -> None:
    given = json.dumps({"remediation": "20261123T141000-abc", "at": "2026-11-23T14:10:00+00:00"})
    assert parse_action_event(execution("FAILED", input=given)).remediation == "20261123T141000-abc"
    assert parse_action_event(execution("SUCCEEDED", input=given)).remediation == ""


@pytest.mark.parametrize("given", ["", "no JSON", "[]", '{"remediation": 7}', None, "[" * 5000])
def test_an_input_of_somebody_elses_names_none(given: Any) -> None:
    assert parse_action_event(execution("FAILED", input=given)).remediation == ""


def test_the_probe_may_say_it_as_well() -> None:
    raw = event(STEPS, {"executionArn": MACHINE_RUN, "status": "FAILED"}, "guiderail.probe")
    assert parse_action_event(raw).ended


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        ("no JSON", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a JSON object"),
        (event("SageMaker Endpoint State Change", {}, "aws.ec2"), "source"),
        (event("SageMaker Endpoint State Change", {}, ["aws.ec2", 7]), "source"),
        (event("SageMaker Model Monitor Execution Status Change", {}), "detail-type"),
        (
            json.dumps({"source": "aws.sagemaker", "detail-type": ["x"], "detail": {}}),
            "detail-type",
        ),
        (event("SageMaker Endpoint State Change", None), "detail is not"),
        (event("SageMaker Endpoint State Change", {"EndpointStatus": "Failed"}), "EndpointArn"),
        (event("SageMaker Endpoint State Change", {"EndpointStatus": 7}), "EndpointStatus"),
        (event(STEPS, {"status": "FAILED", "executionArn": ""}, "aws.states"), "executionArn"),
    ],
)
def test_what_is_no_such_event_is_named(raw: str, named: str) -> None:
    with pytest.raises(MalformedEventError, match=named):
        parse_action_event(raw)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
fields = st.sampled_from(
    [
        "EndpointStatus", "EndpointArn", "status", "executionArn", "input", "ModelPackageArn",
        "ModelApprovalStatus", "MetadataProperties", "ProcessingJobArn", "ProcessingJobStatus",
        "MonitoringScheduleArn", "pipelineExecutionArn", "currentPipelineExecutionStatus",
    ]
)  # fmt: skip


@given(st.sampled_from(sorted(DETAIL_TYPES)), st.dictionaries(fields, json_values))
def test_no_detail_makes_it_fail_otherwise(what: str, detail: dict[str, Any]) -> None:
    try:
        read = parse_action_event(event(what, detail))
    except MalformedEventError:
        return
    assert all(read.handles)
