"""The story that the demo tells after its runs: every step comes to what the script says, and is explained."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from guiderail_cli.main import app
from guiderail_local.cloud import LocalCloud
from guiderail_local.player import Player
from guiderail_local.story.run_files import BUCKET
from guiderail_local.story.script import STORY
from guiderail_local.story.telling import StepEnding, story_teller
from typer.testing import CliRunner

pytestmark = pytest.mark.e2e

PARAMETERS = {
    "ReportBucketArns": f"arn:aws:s3:::{BUCKET}",
    "ClockState": "DISABLED",
    "PolicySeconds": "0",
}


@dataclass(frozen=True)
class Explained:
    """What `guiderail explain` said right after a step, of each thing that it is about."""

    ending: StepEnding
    answers: dict[str, str]


@pytest.fixture(scope="module")
def told() -> Iterator[list[Explained]]:
    with LocalCloud(PARAMETERS) as cloud:
        variables = cloud.variables("OnDue")
        with story_teller(cloud, Player(cloud)) as teller:
            yield [
                Explained(ending, {name: explained(variables, name) for name in names_of(ending)})
                for ending in teller.play(STORY)
            ]


def names_of(ending: StepEnding) -> list[str]:
    names = (*ending.jobs, *ending.incidents, *ending.groups, ending.silence)
    return [name for name in names if name]


def explained(variables: dict[str, str], name: str) -> str:
    stores = {key: variables[key] for key in ("GUIDERAIL_TABLE", "GUIDERAIL_POLICY_BUCKET")}
    done = CliRunner().invoke(app, ["explain", name, "--json"], env=dict(os.environ) | stores)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_every_step_comes_to_what_the_script_says(told: list[Explained]) -> None:
    assert len(told) == sum(len(scene.steps) for scene in STORY)
    assert [(e.ending.step.says, e.ending.problems) for e in told if e.ending.problems] == []


def test_each_message_says_why_it_came(told: list[Explained]) -> None:
    for step in told:
        for reason in step.ending.told:
            assert any(reason in alert.message for alert in step.ending.alerts)


def test_explain_answers_for_every_step(told: list[Explained]) -> None:
    for step in told:
        ending = step.ending
        assert step.answers, ending.step.says
        said = " ".join(step.answers.values())
        for reason in (*ending.decided, *ending.settled, *ending.told):
            assert reason in said, (ending.step.says, reason, said)
        for answer in step.answers.values():
            assert json.loads(answer)["sections"]
