"""The story that the demo tells after its runs: every step comes to what the script says, and is explained."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from guiderail.model.policy import ChannelKind
from guiderail_cli.main import app
from guiderail_local.cloud import LocalCloud
from guiderail_local.messages_page import Arrived, served
from guiderail_local.player import Player
from guiderail_local.sink import Sink
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


@dataclass(frozen=True)
class Told:
    """The story's steps, what arrived, and the sink that took most of it."""

    steps: list[Explained]
    arrived: list[Arrived]
    sink: Sink


@pytest.fixture(scope="module")
def story() -> Iterator[Told]:
    with LocalCloud(PARAMETERS) as cloud:
        variables = cloud.variables("OnDue")
        with story_teller(cloud, Player(cloud)) as teller:
            told = [
                Explained(ending, {name: explained(variables, name) for name in names_of(ending)})
                for ending in teller.play(STORY)
            ]
            yield Told(told, teller.receiving.arrived(), teller.receiving.sink)


@pytest.fixture
def told(story: Told) -> list[Explained]:
    return story.steps


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
    alerts = [alert for step in told for alert in step.ending.alerts]
    assert alerts
    for alert in alerts:
        assert "\nWhy:" in alert.message, alert.message


def test_explain_answers_for_every_step(told: list[Explained]) -> None:
    for step in told:
        ending = step.ending
        assert step.answers, ending.step.says
        said = " ".join(step.answers.values())
        for reason in (*ending.decided, *ending.settled, *ending.told):
            assert reason in said, (ending.step.says, reason, said)
        for answer in step.answers.values():
            assert json.loads(answer)["sections"]


def test_every_channel_is_reached_and_takes_what_it_is_given(story: Told) -> None:
    assert {one.channel for one in story.arrived} == {
        kind.value for kind in ChannelKind if kind is not ChannelKind.BUS
    }
    refused = [arrival for arrival in story.sink.arrived if not arrival.taken]
    assert Counter((arrival.channel, arrival.status) for arrival in refused) == {
        (ChannelKind.TEAMS, 429): 1,
        (ChannelKind.WEBHOOK, 500): 3,
    }


def test_charts_come_with_mail_and_slack(story: Told) -> None:
    mails = [one for one in story.arrived if one.channel == "email"]
    for mail in mails:
        assert mail.pictures
        assert all(f"cid:{name}" in mail.html for name in mail.pictures)
    assert any(one.pictures for one in story.arrived if one.channel == "slack")


def test_an_incident_has_one_thread_in_slack(story: Told) -> None:
    messages = story.sink.slack.messages.values()
    roots = [message for message in messages if not message.thread_ts]
    assert len(roots) == 2
    # acknowledged: the root says so, and nobody is bothered
    assert [root.edits for root in roots] == [1, 1]


def test_the_page_shows_every_message_and_runs_nothing_of_theirs(story: Told) -> None:
    hostile = Arrived("slack", "<script>alert(1)</script>", text="<img src=x onerror=alert(1)>")
    with served([*story.arrived, hostile]) as url:
        with urllib.request.urlopen(url, timeout=10) as answer:
            shown = answer.read().decode()
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        with pytest.raises(urllib.error.HTTPError), urllib.request.urlopen(f"{url}x", timeout=10):
            pass
    assert shown.count("<article>") == len(story.arrived) + 1
    assert shown.count("<iframe sandbox=") == sum(one.channel == "email" for one in story.arrived)
    assert "<script" not in shown
    assert "<img src=x" not in shown
    assert "lambda-url.us-east-1.on.aws" not in shown, "a link leads away from this computer"
