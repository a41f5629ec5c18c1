"""One remediation from its incident to its proof, played on the stand-in, with what each step of it costs.

A run opens incidents; OnDue starts the machine; a person is asked and approves; the pipeline runs and ends, its
event comes; a clean run of newer data comes. A minute passes after each of these, in which OnDue looks what it
has to wake. The functions are warm, and read the policy once. Runs, the messages about the incidents and their
deliveries are no part of it: they have rows of their own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from guiderail import bootstrap
from guiderail.errors import GuiderailError
from guiderail.model.policy import (
    ActionKind,
    Cause,
    Effect,
    Layer,
    Policy,
    RemediationAction,
    RemediationMode,
    Replies,
    Rule,
)
from guiderail.settings import settings_from
from msgspec.structs import replace

from benchmarks.functions_here import PIPELINE, as_deployed
from benchmarks.machine_here import Execution
from benchmarks.report_files import no_violations_file, violations_file
from benchmarks.result import Result, counted
from benchmarks.stub_aws import ARN, EXECUTION, StubAws, batch, job_event
from functions.on_action_finished.app import handler as on_action_finished
from functions.on_job_finished.app import handler as on_job_finished
from functions.remediate.app import handler as take_step

TRANSITIONS = 25
_ACTION = "retrain"


def measure() -> Iterator[Result]:
    """Count calls for one incident and for 18, and the states that the machine enters."""
    one = Story(violations_file(5, complete=True))
    many = Story(violations_file(60))
    for of, story in (("an incident", one), ("18 incidents", many)):
        calls = sum(story.calls.values(), Counter())
        said = "; ".join(f"{step} {c.total()}" for step, c in story.calls.items())
        most = ", ".join(f"{n} {operation}" for operation, n in calls.most_common(4))
        name = f"AWS calls for a remediation of {of}: asked, approved, retrained, proven"
        yield counted(name, calls.total(), "calls", None, f"{said}; most of them {most}")
    entered = Counter(one.entered)
    yield counted(
        "state transitions of it",
        entered.total(),
        "states",
        TRANSITIONS,
        ", ".join(f"{n} {state}" for state, n in entered.items()),
    )


class Story:
    """A remediation that goes well.

    Attributes:
        calls: AWS calls by step, in the order in which the steps first came.
        entered: States that its execution entered.

    Raises:
        RuntimeError: It did not go well, so the counts are of something else.
    """

    def __init__(self, violations: bytes) -> None:
        """Play it for a run with these violations."""
        self.calls: dict[str, Counter[str]] = {}
        self.entered: list[str] = []
        with StubAws(violations, policy=_policy()) as self._stub, as_deployed(self._stub.url):
            self._play()

    def _play(self) -> None:
        now = datetime.now(UTC)
        _handled(on_job_finished(batch(job_event()), None))
        now += timedelta(minutes=1)
        # what people hear of the incidents first is counted as a message that the clock tells
        replace(bootstrap.due_changes(), waking=None)(now)
        self._wake(now)
        self._execution = Execution(self._step, self._stub.started[0])
        self._minute(now + timedelta(minutes=1))
        with self._counting("approve"):
            acts = bootstrap.build_remediation_acts(settings_from(), bootstrap.now)
            acts.approve(self._execution.result["remediation"], "slack:T1/ANA", "slack")
        self._go_on()
        self._minute(now + timedelta(minutes=2))
        self._stub.pipeline_status = "Succeeded"
        with self._counting("event"):
            _handled(on_action_finished(batch(_ended(now)), None))
        self._go_on()
        self._minute(now + timedelta(minutes=3))
        self._stub.next_run(no_violations_file(), now + timedelta(minutes=4))
        _handled(on_job_finished(batch(job_event(f"{ARN}-next")), None))
        self._minute(now + timedelta(minutes=64))
        self.entered = self._execution.entered
        if self._execution.result["state"] != "proven":
            raise RuntimeError(f"the remediation was not proven: {self._execution.result}")

    def _minute(self, now: datetime) -> None:
        self._wake(now)
        self._go_on()

    def _wake(self, now: datetime) -> None:
        waking = bootstrap.due_changes().waking
        errors: list[GuiderailError] = []
        with self._counting("OnDue"):
            if waking:
                waking(now, errors)
        # every minute asks for wakes, whether there are remediations or not
        self.calls["OnDue"]["Query"] -= 1
        if errors:
            raise errors[0]

    def _go_on(self) -> None:
        while self._stub.answered:
            self._execution.go_on(*self._stub.answered.pop(0))

    def _step(self, event: dict[str, str], context: object) -> dict[str, str]:
        with self._counting(event["step"]):
            return take_step(event, context)

    @contextmanager
    def _counting(self, step: str) -> Iterator[None]:
        before = self._stub.calls.copy()
        yield
        self.calls.setdefault(step, Counter()).update(self._stub.calls - before)


def _policy() -> Policy:
    """Retrain whatever the cause: what the gates read is the same, and 18 incidents are broken feeds too."""
    action = RemediationAction(
        name=_ACTION,
        kind=ActionKind.RETRAIN,
        mode=RemediationMode.ASK,
        causes=tuple(Cause),
        parameters={"pipeline": PIPELINE},
    )
    return Policy(
        rules=(Rule(name="retrain", layer=Layer.RULE, effect=Effect(remediation=_ACTION)),),
        remediations={_ACTION: action},
        replies=Replies(allowed=("slack:*",)),
    )


def _ended(now: datetime) -> dict[str, object]:
    detail = {
        "pipelineExecutionArn": EXECUTION,
        "pipelineArn": EXECUTION.partition("/execution/")[0],
        "currentPipelineExecutionStatus": "Succeeded",
        "executionEndTime": now.isoformat(),
    }
    return {
        "source": "aws.sagemaker",
        "detail-type": "SageMaker Model Building Pipeline Execution Status Change",
        "detail": detail,
    }


def _handled(answer: dict[str, object]) -> None:
    if answer["batchItemFailures"]:
        raise RuntimeError(f"the function did not handle its message: {json.dumps(answer)}")
