"""Judging how runs ended, and showing it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from guiderail_local.player import Ending, HeardAlert
from guiderail_local.runs import Expectation, RunFolder
from guiderail_local.sagemaker import PipelineStart, on_the_wire
from guiderail_local.stack import Stack
from guiderail_local.story.script import About, Step
from guiderail_local.story.telling import StepEnding
from guiderail_local.template import LeftOut
from guiderail_local.timeline import JsonTimeline, PrintedTimeline, Summary
from rich.console import Console

JOB = {
    "ProcessingJobName": "model-monitoring-1",
    "ProcessingJobArn": "arn:aws:sagemaker:us-east-1:1:processing-job/model-monitoring-1",
    "ProcessingJobStatus": "Completed",
}
EXPECTED = Expectation("violations", "data_quality", findings=1, alerts=1, pipelines=1)
FINDING = {
    "check": "completeness_check",
    "subject": {"feature": "rain_mm"},
    "observed": 0.5,
    "threshold": 1.0,
}
ENDED: dict[str, Any] = {
    "outcome": "violations",
    "monitor": "data_quality",
    "finding_count": 1,
    "findings": (FINDING,),
    "alerts": (HeardAlert("1 finding", "all of it", 12.0),),
    "bus_events": ("IncidentOpened",),
    "pipelines": (PipelineStart("retrain", "arn:x", {"Endpoint": "parcels"}),),
}


def ending(expectation: Expectation | None = EXPECTED, **changes: Any) -> Ending:
    run = RunFolder("01-run", "A run", {"detail": JOB}, JOB, expectation=expectation)
    return Ending(run, **{**ENDED, **changes})


def test_a_run_that_ends_as_its_manifest_says_has_no_problems() -> None:
    assert ending().problems == ()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"outcome": "clean"}, "outcome: clean, expected violations"),
        ({"monitor": "bias"}, "monitor: bias, expected data_quality"),
        ({"finding_count": 2}, "findings: 2, expected 1"),
        ({"pipelines": ()}, "pipelines: 0, expected 1"),
        ({"alerts": ENDED["alerts"] * 2, "bus_events": ("a", "b")}, "alerts: 2, expected 1"),
        ({"bus_events": ()}, "1 message(s) to people, 0 event(s) on the bus"),
        ({"ignored": "ignored_merge_job"}, "ignored: ignored_merge_job"),
        ({"trouble": ("an alert is still on its way",)}, "an alert is still on its way"),
    ],
)
def test_every_difference_is_a_problem(change: Mapping[str, Any], problem: str) -> None:
    assert problem in ending(**change).problems


def test_an_ignored_job_has_to_be_ignored_for_the_expected_reason() -> None:
    nothing = {"outcome": None, "monitor": None, "finding_count": 0, "findings": (), "alerts": ()}
    nothing |= {"bus_events": (), "pipelines": ()}
    expected = Expectation(ignored="ignored_merge_job", alerts=0)
    assert ending(expected, **nothing, ignored="ignored_merge_job").as_expected
    assert not ending(expected, **nothing, ignored="ignored_unrelated_job").as_expected
    assert ending(expected, **nothing).problems[0] == "no outcome"


def test_without_a_manifest_a_run_has_to_end_somehow() -> None:
    assert ending(None).as_expected
    lost = ending(None, outcome=None, dead_letter="report_too_large: raise the limit")
    assert lost.problems == ("no outcome; dead letter: report_too_large: raise the limit",)


STACK = Stack({"Queue": "q"}, {}, {}, (LeftOut("AWS::X::Y", "Thing", "MiniStack has none"),))


def test_json_is_one_object_per_line_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    timeline = JsonTimeline()
    timeline.note("preparing")
    timeline.deployed(STACK, 1.5)
    timeline.ended(ending())
    timeline.finished(Summary([ending(), ending(outcome="clean")], STACK.left_out, 1.5, 2.0))

    printed = capsys.readouterr()
    stack, run, summary = map(json.loads, printed.out.splitlines())

    assert printed.err == "preparing\n"
    assert stack["left_out"] == [
        {"type": "AWS::X::Y", "logical_id": "Thing", "reason": "MiniStack has none"}
    ]
    assert (run["type"], run["ok"], run["outcome"]) == ("run", True, "violations")
    assert run["pipelines"][0]["parameters"] == {"Endpoint": "parcels"}
    assert (summary["ok"], summary["runs"], summary["as_expected"]) == (False, 2, 1)


def test_the_timeline_says_all_there_is_to_a_run() -> None:
    output = io.StringIO()
    timeline = PrintedTimeline(Console(file=output, width=140))
    timeline.deployed(STACK, 1.5)
    timeline.ended(ending())
    timeline.ended(ending(outcome="clean"))
    timeline.finished(Summary([ending(), ending(outcome="clean")], STACK.left_out, 1.5, 2.0))

    text = output.getvalue()

    for part in (
        "left out: Thing (AWS::X::Y): MiniStack has none",
        "model-monitoring-1 Completed",
        "rain_mm: completeness_check: 0.5, threshold 1",
        "1 finding",
        "retrain started with Endpoint=parcels",
        "✓ as expected",
        "✗ outcome: clean, expected violations",
        "1 of 2 runs ended as they had to",
        "left out of the template: Thing (AWS::X::Y)",
    ):
        assert part in text


SCENE = "The same drift again is no news"
STEP = Step("it drifts as before", About("berths"), decided=("suppressed_duplicate",))


def step_ending(**changes: Any) -> StepEnding:
    return StepEnding(**{"scene": SCENE, "step": STEP, "decided": STEP.decided, **changes})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"decided": ()}, "decided: none, expected suppressed_duplicate"),
        ({"settled": ("silenced",)}, "settled: silenced, expected none"),
        ({"told": ("first_seen", "resolved")}, "told: first_seen, resolved, expected none"),
        ({"trouble": ("a run was not recorded",)}, "a run was not recorded"),
    ],
)
def test_a_step_that_comes_to_something_else_has_a_problem(
    change: Mapping[str, Any], problem: str
) -> None:
    assert step_ending().as_expected
    assert step_ending(**change).problems == (problem,)


def test_one_step_that_comes_to_something_else_fails_the_demo() -> None:
    good = Summary([ending()], (), 1.0, 1.0, [step_ending()])
    bad = Summary([ending()], (), 1.0, 1.0, [step_ending(), step_ending(decided=())])
    assert good.ok
    assert not bad.ok


def test_a_step_is_told_with_its_reason_codes(capsys: pytest.CaptureFixture[str]) -> None:
    output = io.StringIO()
    printed = PrintedTimeline(Console(file=output, width=140))
    told = HeardAlert("[Guiderail] resolved: berths", "Why now:  resolved", 12.0)
    wrong = step_ending(decided=("resolved",), told=("resolved",), alerts=(told,))
    for one in (step_ending(), wrong):
        printed.stepped(one)
        JsonTimeline().stepped(one)

    text = output.getvalue()
    first, second = map(json.loads, capsys.readouterr().out.splitlines())

    assert text.count(SCENE) == 1
    assert "✓ it drifts as before" in text
    assert "suppressed_duplicate" in text
    assert "nobody is told" in text
    assert "✗ it drifts as before" in text
    assert "told: resolved: berths" in text
    assert "decided: resolved, expected suppressed_duplicate" in text
    assert (first["type"], first["ok"], first["decided"]) == (
        "step", True, ["suppressed_duplicate"],
    )  # fmt: skip
    assert (second["ok"], second["told"], len(second["problems"])) == (False, ["resolved"], 2)


def test_a_description_goes_over_the_wire_as_the_service_sends_it() -> None:
    described = {
        "CreationTime": "2026-03-09T06:00:00.500000+00:00",
        "Environment": {"start_time": "2026-03-09T05:00:00Z"},
        "LastMonitoringExecutionSummary": {"ScheduledTime": "2026-03-09T06:00:00+00:00"},
        "ResponseMetadata": {"RetryAttempts": 0},
    }
    assert on_the_wire(described) == {
        "CreationTime": 1773036000.5,
        "Environment": {"start_time": "2026-03-09T05:00:00Z"},
        "LastMonitoringExecutionSummary": {"ScheduledTime": 1773036000.0},
    }
