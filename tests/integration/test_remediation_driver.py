"""The driver: a remediation's state machine is started once, and answered only while it waits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from guiderail.adapters import clients
from guiderail.adapters.stepfunctions import StepFunctionsDriver
from guiderail.errors import AccessDeniedError, NotFoundError, ThrottledError

from tests.moto_region import region

AT = datetime(2026, 3, 9, 8, 0, tzinfo=UTC)
ID = "20260309T080000-0a1b2c3d4e5f"


@pytest.fixture
def machine() -> Iterator[str]:
    """The ARN of a state machine that ends at once."""
    with region():
        definition = {"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}
        created = clients.client("stepfunctions").create_state_machine(
            name="guiderail-remediation",
            definition=json.dumps(definition),
            roleArn="arn:aws:iam::123456789012:role/machine",
        )
        yield str(created["stateMachineArn"])


def executions(machine: str) -> dict[str, Any]:
    """Inputs of executions by name."""
    client = clients.client("stepfunctions")
    started = client.list_executions(stateMachineArn=machine)["executions"]
    return {
        one["name"]: json.loads(
            client.describe_execution(executionArn=one["executionArn"])["input"]
        )
        for one in started
    }


def test_starts_an_execution_of_the_remediations_name(machine: str) -> None:
    StepFunctionsDriver(machine).start(ID, AT)
    assert executions(machine) == {ID: {"remediation": ID, "at": "2026-03-09T08:00:00+00:00"}}


def test_starting_again_starts_nothing(machine: str) -> None:
    driver = StepFunctionsDriver(machine)
    driver.start(ID, AT)
    driver.start(ID, AT.replace(hour=9))
    assert executions(machine) == {ID: {"remediation": ID, "at": "2026-03-09T08:00:00+00:00"}}


def test_another_driver_in_place_of_one_that_died(machine: str) -> None:
    driver = StepFunctionsDriver(machine)
    driver.start(ID, AT)
    driver.start(ID, AT, again="20260309T09")
    driver.start(ID, AT, again="20260309T09")
    assert {name: one["remediation"] for name, one in executions(machine).items()} == {
        ID: ID,
        f"{ID}-20260309T09": ID,
    }


def test_a_machine_that_is_not_there_is_told(machine: str) -> None:
    with pytest.raises(NotFoundError, match="StartExecution"):
        StepFunctionsDriver(f"{machine}-of-another-stack").start(ID, AT)


def answering(monkeypatch: pytest.MonkeyPatch, code: str = "") -> list[dict[str, Any]]:
    """Have SendTaskSuccess answer with an error, or none; the calls it gets."""
    calls: list[dict[str, Any]] = []

    def send_task_success(**call: Any) -> dict[str, Any]:
        calls.append(call)
        if code:
            answer: Any = {
                "Error": {"Code": code, "Message": "Task Timed Out"},
                "ResponseMetadata": {"HTTPStatusCode": 400},
            }
            raise ClientError(answer, "SendTaskSuccess")
        return {}

    monkeypatch.setattr(clients.client("stepfunctions"), "send_task_success", send_task_success)
    return calls


def test_answers_with_the_time(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = answering(monkeypatch)
    assert StepFunctionsDriver(machine).go_on("a token", AT)
    (call,) = calls
    assert call["taskToken"] == "a token"
    assert json.loads(call["output"]) == {"at": "2026-03-09T08:00:00+00:00"}


@pytest.mark.parametrize("code", ["TaskTimedOut", "TaskDoesNotExist", "InvalidToken"])
def test_nobody_waits_any_more(machine: str, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    answering(monkeypatch, code)
    assert not StepFunctionsDriver(machine).go_on("a token", AT)


@pytest.mark.parametrize(
    ("code", "ours"),
    [("ThrottlingException", ThrottledError), ("AccessDeniedException", AccessDeniedError)],
)
def test_what_is_not_known_is_no_answer(
    machine: str, monkeypatch: pytest.MonkeyPatch, code: str, ours: type[Exception]
) -> None:
    answering(monkeypatch, code)
    # the token stays out of what is logged
    with pytest.raises(ours, match=r"^(?!.*a token)SendTaskSuccess"):
        StepFunctionsDriver(machine).go_on("a token", AT)
