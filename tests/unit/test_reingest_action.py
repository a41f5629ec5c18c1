"""What the action of kind reingest makes of its execution, with AWS's answers written down."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from guiderail.adapters.actions import reingest
from guiderail.adapters.actions.reingest import ReingestAction
from guiderail.errors import SettingsError
from guiderail.model.incident import Scope
from guiderail.model.outcome import MonitorKind
from guiderail.model.policy import ActionKind, RemediationMode
from guiderail.model.remediation import ActionReport, ActionState, Remediation

MACHINE = "arn:aws:states:eu-west-1:123456789012:stateMachine:guiderail-reingestion"
NOW = datetime(2026, 11, 23, 10, 15, tzinfo=UTC)
SUMMARY = {
    "state": "done",
    "text": "90 records written into loans, 10 rejected",
    "way": "map",
    "objects": 60,
    "finished": 60,
    "written": 90,
    "rejected": 10,
    "rejects": "s3://kept/run/rejects",
}


def remediation(**changes: Any) -> Remediation:
    return Remediation(
        id="20261123T101500-0a1b2c3d4e5f",
        action="ingest loans again",
        kind=ActionKind.REINGEST,
        mode=RemediationMode.ASK,
        scope=Scope(
            account="123456789012",
            region="eu-west-1",
            endpoint="loan-risk-prod",
            schedule="loan-risk-hourly",
            monitor=MonitorKind.DATA_QUALITY,
        ),
        target="feature_group/loans",
        incidents=("incident-1",),
        requested_at=NOW,
        **changes,
    )


def look(monkeypatch: pytest.MonkeyPatch, status: str, **described: Any) -> ActionReport:
    class StepFunctions:
        def describe_execution(self, executionArn: str) -> dict[str, Any]:
            return {"executionArn": executionArn, "status": status, "startDate": NOW, **described}

    monkeypatch.setattr(reingest, "client", lambda service: StepFunctions())
    return ReingestAction(MACHINE).look(remediation(), NOW)


def test_the_handle_is_the_execution_named_by_the_remediation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    report = look(monkeypatch, "RUNNING")
    assert report.state is ActionState.RUNNING
    assert report.handle == (
        "arn:aws:states:eu-west-1:123456789012:execution:guiderail-reingestion:"
        "20261123T101500-0a1b2c3d4e5f"
    )
    assert report.text == "re-ingesting since 2026-11-23 10:15 UTC"


def test_a_summary_becomes_text_and_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    report = look(monkeypatch, "SUCCEEDED", output=json.dumps(SUMMARY))
    assert (report.state, report.text) == (ActionState.DONE, SUMMARY["text"])
    assert report.result == {
        "way": "map",
        "objects": "60",
        "finished": "60",
        "written": "90",
        "rejected": "10",
        "passed_over": "0",
        "rejects": "s3://kept/run/rejects",
    }


@pytest.mark.parametrize(
    ("state", "expected"), [("failed", ActionState.FAILED), ("stopped", ActionState.STOPPED)]
)
def test_a_failure_that_was_summed_up_keeps_its_counts(
    monkeypatch: pytest.MonkeyPatch, state: str, expected: ActionState
) -> None:
    cause = json.dumps(SUMMARY | {"state": state})
    report = look(monkeypatch, "FAILED", error="ReingestionFailed", cause=cause)
    assert report.state is expected
    assert report.result["written"] == "90"


def test_what_failed_before_there_was_a_summary_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    of_lambda = json.dumps({"errorMessage": "parameter rate of reingest is -1", "errorType": "X"})
    cause = json.dumps({"Error": "RejectedRequestError", "Cause": of_lambda})
    report = look(monkeypatch, "FAILED", error="ReingestionNotPlanned", cause=cause)
    assert report.state is ActionState.FAILED
    assert report.text == "the re-ingestion failed: parameter rate of reingest is -1"


@pytest.mark.parametrize("output", ["", "{}", "null", '{"state": "perfect"}'])
def test_done_is_only_what_says_so(monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    assert look(monkeypatch, "SUCCEEDED", output=output).state is ActionState.FAILED


def test_an_unknown_end_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    output = json.dumps(SUMMARY | {"state": "perfect"})
    assert look(monkeypatch, "SUCCEEDED", output=output).state is ActionState.FAILED


def test_stopped_by_hand_and_out_of_time_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = look(monkeypatch, "ABORTED", cause="Ada: wrong month")
    assert stopped.state is ActionState.STOPPED
    assert "stopped by hand (Ada: wrong month)" in stopped.text
    late = look(monkeypatch, "TIMED_OUT")
    assert (late.state, "ran out of time" in late.text) == (ActionState.FAILED, True)


@pytest.mark.parametrize("machine", ["", "guiderail-reingestion"])
def test_without_a_state_machine_nothing_begins(machine: str) -> None:
    with pytest.raises(SettingsError, match="GUIDERAIL_REINGESTION_MACHINE") as caught:
        ReingestAction(machine).begin(remediation(), NOW)
    assert "Deploy" in caught.value.remedy
