"""The deployed state machine, really executed, with a function that answers what each case needs."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from guiderail.adapters.stepfunctions import StepFunctionsDriver
from guiderail_local.cloud import LocalCloud

pytestmark = pytest.mark.e2e

AT = datetime(2026, 3, 9, 8, 0, tzinfo=UTC)
LATER = datetime(2026, 3, 10, 9, 30, tzinfo=UTC)
SECONDS = 30.0

# Asked, acting, running, verifying, proven; the name says what goes wrong on the way.
REMEDIATE = """
import json, pathlib

class ThrottledError(Exception): pass
class NotFoundError(Exception): pass

FOLDER = pathlib.Path({folder!r})

def handler(event, _context):
    name, step = event["remediation"], event["step"]
    with (FOLDER / name).open("a") as file:
        file.write(json.dumps(event) + "\\n")
    asked = [json.loads(line)["step"] for line in (FOLDER / name).read_text().splitlines()]
    if step == "judge" and "throttled" in name and len(asked) < 3:
        raise ThrottledError("slow down")
    if step == "act" and "refused" in name:
        raise NotFoundError("no such pipeline")
    if step == "look" and "speechless" in name:
        return {{"surprise": True}}
    following, wait, state = {{
        "judge": ("act", 0, "acting") if "wait" in asked else ("ask", {wait}, "asked"),
        "wait": ("", 0, ""),
        "act": ("follow", {wait}, "running"),
        "look": ("verify", {wait}, "verifying"),
        "prove": ("over", 0, "not_proven" if "unproven" in name else "proven"),
        "give_up": ("over", 0, "failed"),
    }}[step]
    return {{"next": following, "wait": wait, "state": state, "at": event.get("at", "")}}
"""


class Machine:
    """The machine, and what its function was asked."""

    def __init__(self, cloud: LocalCloud) -> None:
        self._cloud = cloud
        self._folder = cloud.folder / "asked"
        self._folder.mkdir(exist_ok=True)
        self._arn = cloud.stack.physical_id("RemediationMachine")
        self._client = cloud.client("stepfunctions")
        self.driver = StepFunctionsDriver(self._arn)

    def waits_last(self, seconds: float) -> None:
        """Put the function in place; its waits last so many seconds."""
        code = io.BytesIO()
        with zipfile.ZipFile(code, "w") as archive:
            archive.writestr("app.py", REMEDIATE.format(folder=str(self._folder), wait=seconds))
        self._cloud.client("lambda").update_function_code(
            FunctionName=self._cloud.stack.physical_id("Remediate"), ZipFile=code.getvalue()
        )

    def asked(self, name: str) -> list[dict[str, Any]]:
        file = self._folder / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def play(self, name: str, *, answer: bool) -> tuple[list[str], dict[str, Any]]:
        """Drive one to its end: the states it went through, and how its execution stands."""
        with self._cloud.in_environment():
            self.driver.start(name, AT)
            self.driver.start(name, LATER)
            arn = f"{self._arn.replace(':stateMachine:', ':execution:')}:{name}"
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline:
                described = self._client.describe_execution(executionArn=arn)
                if described["status"] != "RUNNING":
                    break
                for event in self.asked(name):
                    if answer and event["step"] == "wait":
                        self.driver.go_on(event["token"], LATER)
                time.sleep(0.05)
        history = self._client.get_execution_history(executionArn=arn, maxResults=1000)["events"]
        entered = [one["stateEnteredEventDetails"]["name"] for one in history
                   if "stateEnteredEventDetails" in one]  # fmt: skip
        return [name for name in entered if name != "WhatIsNext"], described


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    parameters = {"ReportBucketArns": "arn:aws:s3:::reports", "ClockState": "DISABLED"}
    with LocalCloud(parameters) as cloud:
        yield Machine(cloud)


WHOLE_WAY = [
    "Judge",
    "WaitForApproval",
    "Judge",
    "Act",
    "WaitForEnd",
    "Look",
    "WaitForProof",
    "Prove",
]


def test_goes_on_when_it_is_answered(machine: Machine) -> None:
    machine.waits_last(600)
    states, execution = machine.play("answered", answer=True)
    assert states == [*WHOLE_WAY, "Closed"]
    assert execution["status"] == "SUCCEEDED"
    # the time of an answer is what the next step works with
    times = [event["at"] for event in machine.asked("answered")]
    assert times == [AT.isoformat()] * 2 + [LATER.isoformat()] * 6
    tokens = {event["token"] for event in machine.asked("answered") if event["step"] == "wait"}
    assert len(tokens) == 3


def test_an_answer_that_comes_too_late_is_none(machine: Machine) -> None:
    machine.waits_last(600)
    machine.play("late", answer=True)
    token = next(event["token"] for event in machine.asked("late") if "token" in event)
    with machine._cloud.in_environment():
        assert not machine.driver.go_on(token, LATER)


def test_looks_for_itself_when_nobody_answers(machine: Machine) -> None:
    machine.waits_last(1)
    states, execution = machine.play("unanswered", answer=False)
    assert states == [*WHOLE_WAY, "Closed"]
    assert execution["status"] == "SUCCEEDED"
    # the clock went on by what was waited
    times = [event["at"] for event in machine.asked("unanswered")]
    assert times[0] == AT.isoformat()
    assert times[-1] == "2026-03-09T08:00:03.000Z"


def test_what_is_not_proven_is_escalated(machine: Machine) -> None:
    machine.waits_last(600)
    states, execution = machine.play("unproven", answer=True)
    assert states == [*WHOLE_WAY, "Escalated"]
    assert execution["status"] == "SUCCEEDED"


def test_what_may_pass_is_tried_again(machine: Machine) -> None:
    machine.waits_last(600)
    states, _ = machine.play("throttled", answer=True)
    assert states == [*WHOLE_WAY, "Closed"]
    assert [event["step"] for event in machine.asked("throttled")][:3] == ["judge"] * 3


def test_what_is_refused_is_given_up(machine: Machine) -> None:
    machine.waits_last(600)
    states, execution = machine.play("refused", answer=True)
    assert states == ["Judge", "WaitForApproval", "Judge", "Act", "GiveUp", "Escalated"]
    assert execution["status"] == "SUCCEEDED"
    told = machine.asked("refused")[-1]
    assert told["step"] == "give_up"
    assert told["error"].startswith("NotFoundError in Act: ")
    assert "no such pipeline" in told["error"]


def test_an_answer_that_says_nothing_is_given_up(machine: Machine) -> None:
    machine.waits_last(600)
    states, _ = machine.play("speechless", answer=True)
    assert states[-3:] == ["Look", "GiveUp", "Escalated"]
    assert machine.asked("speechless")[-1] == {"step": "give_up", "remediation": "speechless"}
