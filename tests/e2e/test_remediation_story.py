"""The demo's part about remediation, and what it does not show: the machine really runs, whatever is lost."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from guiderail.model.outcome import Reason
from guiderail.model.remediation import Gate, Remediation, RemediationState
from guiderail_cli.main import app
from guiderail_local.cloud import LocalCloud
from guiderail_local.errors import RemediationStuckError
from guiderail_local.player import Player
from guiderail_local.sagemaker import Ending
from guiderail_local.story.harbour import PIPELINE
from guiderail_local.story.remediation_script import ENDPOINTS, REMEDIATION
from guiderail_local.story.run_files import BUCKET, RunWriter
from guiderail_local.story.telling import StepEnding, StoryTeller, story_teller
from typer.testing import CliRunner

pytestmark = pytest.mark.e2e

PARAMETERS = {
    "ReportBucketArns": f"arn:aws:s3:::{BUCKET}",
    "ClockState": "DISABLED",
    "PolicySeconds": "0",
}
_LATER = tuple(f"{part}-prod" for part in ("tide-gauge", "buoy-light", "sluice", "weigher", "pump"))


@dataclass
class Stage:
    """A cloud on which the chapter was played, and on which more can be."""

    cloud: LocalCloud
    player: Player
    teller: StoryTeller
    steps: list[StepEnding]
    writer: RunWriter

    def fall(self, endpoint: str, auc: float = 0.8) -> Remediation:
        """The model gets worse, and what the policy makes of it begins."""
        assert self.player.send([self.writer.model_quality(endpoint, auc)]) == []
        self.player.tell(timedelta(minutes=2))
        return self.player.remediations.of(endpoint)[-1]

    def starts(self, endpoint: str) -> int:
        started = self.cloud.sagemaker.starts
        return sum(start.parameters["ModelPackageGroup"] == endpoint for start in started)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with LocalCloud(PARAMETERS) as cloud, cloud.in_environment():
        player = Player(cloud)
        with story_teller(cloud, player) as teller:
            teller.enter_harbour((*ENDPOINTS, *_LATER))
            steps = list(teller.play(REMEDIATION))
            # the last scene cut the budget
            teller.operators.push(teller.operators.policy.replace("per_day: 1", "per_day: 50"))
            writer = RunWriter(cloud.folder / "later")
            writer.begin_at(lambda: player.clock() + timedelta(days=1))
            yield Stage(cloud, player, teller, steps, writer)


def test_every_step_comes_to_what_the_script_says(stage: Stage) -> None:
    assert len(stage.steps) == sum(len(scene.steps) for scene in REMEDIATION)
    assert [(s.step.says, s.problems) for s in stage.steps if s.problems] == []


def test_each_judgement_has_the_answer_of_every_gate(stage: Stage) -> None:
    judgements = [said for step in stage.steps for said in step.gates]
    assert len(judgements) >= len(REMEDIATION)
    for said in judgements:
        assert [answer.gate for answer in said.answers] == list(Gate)
    forbidding = {a.gate for said in judgements for a in said.answers if not a.passed}
    assert forbidding >= {Gate.KILL_SWITCH, Gate.CAUSE, Gate.BUDGET, Gate.MODE, Gate.APPROVAL}


def test_nothing_is_retrained_but_what_was_allowed(stage: Stage) -> None:
    started = [start.parameters["ModelPackageGroup"] for start in stage.cloud.sagemaker.starts]
    assert started[:4] == [
        "tug-dispatch-prod",
        "reefer-power-prod",
        "quay-crane-prod",
        "gangway-wind-prod",
    ]


def test_the_proof_names_the_baseline_of_the_new_model(stage: Stage) -> None:
    (proven,) = stage.player.remediations.of("tug-dispatch-prod")
    execution = proven.handle.rpartition("/")[2]
    assert f"runs/{execution}/quality/constraints.json as its own" in proven.timeline[-1].text


def test_the_command_line_tells_the_same(stage: Stage) -> None:
    variables = stage.cloud.variables("Remediate")
    names = ("GUIDERAIL_TABLE", "GUIDERAIL_POLICY_BUCKET", "GUIDERAIL_REMEDIATION_MACHINE")
    stores = {name: variables[name] for name in names}
    (blocked,) = [
        one for one in stage.player.remediations.of("berth-arrival-prod") if one.action == "retrain"
    ]
    done = CliRunner().invoke(
        app, ["remediation", "show", blocked.id, "--json"], env={**os.environ, **stores}
    )
    assert done.exit_code == 0, done.output
    shown: Any = json.loads(done.stdout)
    assert "cause_not_eligible" in json.dumps(shown)


def test_an_event_that_comes_twice_has_one_effect(stage: Stage) -> None:
    endpoint = _LATER[1]
    ending = Ending("Failed", "no such column", step="Prepare", told=2)
    stage.cloud.sagemaker.pipelines.plan(PIPELINE, ending)
    running = stage.fall(endpoint)
    stage.cloud.sagemaker.pipelines.end(running.handle)
    stage.player.tell(timedelta(minutes=2))

    known = stage.player.remediations.until(running.id, RemediationState.FAILED)

    assert [moment.reason for moment in known.timeline].count(Reason.ACTION_FAILED) == 1
    assert "no such column" in known.timeline[-1].text
    assert stage.starts(endpoint) == 1


def test_a_machine_that_somebody_stopped_is_replaced(stage: Stage) -> None:
    endpoint = _LATER[2]
    running = stage.fall(endpoint)
    machine = stage.cloud.stack.physical_id("RemediationMachine")
    execution = machine.replace(":stateMachine:", ":execution:") + f":{running.id}"
    stage.cloud.client("stepfunctions").stop_execution(executionArn=execution)
    stage.cloud.sagemaker.pipelines.end(
        running.handle, Ending("Failed", "no such column", step="Prepare")
    )

    # as long as its end is not heard, the machine counts as alive
    stage.player.tell(timedelta(hours=1))

    known = stage.player.remediations.until(running.id, RemediationState.FAILED)
    assert known.reason is Reason.ACTION_FAILED
    assert stage.starts(endpoint) == 1
    drivers = [line for line in stage.player.remediations.history(running.id) if line[0] != " "]
    assert len(drivers) == 2, drivers


def test_a_remediation_that_gets_stuck_is_told_with_its_history(stage: Stage) -> None:
    running = stage.fall(_LATER[3])
    with pytest.raises(RemediationStuckError) as stuck:
        stage.player.remediations.until(running.id, RemediationState.PROVEN, seconds=0.2)
    assert "is running (action_started)" in stuck.value.message
    assert "waitForTaskToken" in stuck.value.remedy


def test_a_lost_event_costs_time_and_nothing_else(stage: Stage) -> None:
    lost = Ending("Failed", "no such column", step="Prepare", told=0)
    stage.cloud.sagemaker.pipelines.plan(PIPELINE, lost)
    running = stage.fall(_LATER[0])
    stage.cloud.sagemaker.pipelines.end(running.handle)
    stage.player.tell(timedelta(minutes=2))
    known = stage.player.remediations.until(running.id, RemediationState.RUNNING)
    assert known.ends_by is not None

    # nobody tells it; it looks itself when the action had to have ended
    stage.player.tell(known.ends_by - stage.player.clock() + timedelta(minutes=2))

    known = stage.player.remediations.until(running.id, RemediationState.FAILED)
    assert known.reason is Reason.ACTION_FAILED
    stage.player.set_back()


def test_what_nobody_approves_expires(stage: Stage) -> None:
    policy = stage.teller.operators.policy
    stage.teller.operators.push(policy.replace("mode: auto", "mode: ask"))
    asked = stage.fall(_LATER[4])
    assert asked.state is RemediationState.ASKED
    assert asked.expires_at is not None

    stage.player.tell(asked.expires_at - stage.player.clock() + timedelta(minutes=2))

    known = stage.player.remediations.until(asked.id, RemediationState.EXPIRED)
    assert known.reason is Reason.APPROVAL_EXPIRED
    assert stage.starts(_LATER[4]) == 0
    stage.player.set_back()
