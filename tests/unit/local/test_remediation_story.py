"""The script of the part about remediation, its policy, its runs, and how a step of it is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from guiderail.model.outcome import Reason
from guiderail.model.remediation import Gate, GateAnswer, Moment, RemediationState
from guiderail.reports.run_files import Files, parse_run
from guiderail.services.reading import read_outcome
from guiderail_cli.policy_file import compile_policy
from guiderail_local.sagemaker.definitions import Definition
from guiderail_local.story.harbour import Harbour
from guiderail_local.story.operators import Operators
from guiderail_local.story.people import People
from guiderail_local.story.remediation_script import ENDPOINTS, REMEDIATION
from guiderail_local.story.remedies import Became, GatesSaid
from guiderail_local.story.run_files import RunWriter
from guiderail_local.story.script import STORY
from guiderail_local.story.telling import REMEDIATION_POLICY, StepEnding
from guiderail_local.timeline import JsonTimeline, PrintedTimeline
from rich.console import Console

NOW = datetime(2026, 3, 20, 6, 20, tzinfo=UTC)
STEPS = [step for scene in REMEDIATION for step in scene.steps]
POLICY = compile_policy(
    REMEDIATION_POLICY.read_text(encoding="utf-8"), REMEDIATION_POLICY.name, NOW
)
# What an operator has to see once, in the words of the timeline and of the gates.
SHOWN = {
    "remediation_suggested", "remediation_asked", "remediation_approved", "action_started", "action_ended",
    "remediation_proven", "cause_not_eligible", "action_failed", "action_stopped", "verification_failed",
    "switched_off", "started_by_hand", "budget_used",
}  # fmt: skip


def test_the_policy_has_no_problems_and_every_mode() -> None:
    assert POLICY.problems == ()
    assert POLICY.policy is not None
    modes = {action.mode.value for action in POLICY.policy.remediations.values()}
    assert modes == {"suggest", "ask", "auto"}


def test_the_script_shows_what_an_operator_has_to_see() -> None:
    lines = [line for step in STEPS for line in (*step.remediated, *step.gates)]
    assert {line.split()[-1] for line in lines} >= SHOWN
    for line in lines:
        action, _, words = line.partition(": ")
        assert POLICY.policy is not None
        assert action in POLICY.policy.remediations
        known = set(RemediationState) | set(Gate)
        first, reason = words.split()
        assert first in known
        assert reason in set(Reason)


def test_every_act_is_one_that_somebody_can_do() -> None:
    acts = {step.act for scene in (*STORY, *REMEDIATION) for step in scene.steps} - {""}
    can = {act for act in acts for doer in (People, Operators, Harbour) if hasattr(doer, act)}
    assert acts == can


def test_no_endpoint_is_in_both_parts_of_the_story() -> None:
    before = {step.about.endpoint for scene in STORY for step in scene.steps}
    assert before.isdisjoint(ENDPOINTS)
    assert {step.about.endpoint for step in STEPS} <= set(ENDPOINTS)


def test_runs_are_over_data_that_is_newer_than_the_clock(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path)
    before = writer.model_quality("tugs", 0.8)
    writer.begin_at(lambda: NOW)

    runs = [before, *(writer.model_quality("tugs", 0.95) for _ in range(2))]

    begins = [
        datetime.fromisoformat(run.job["Environment"]["start_time"].replace("Z", "+00:00"))
        for run in runs
    ]
    assert begins == sorted(set(begins))
    assert begins[0] < NOW < begins[1] < NOW + timedelta(hours=2)


def test_missing_values_are_a_broken_feed(tmp_path: Path) -> None:
    run = RunWriter(tmp_path).data_quality("berths", {}, {"eta_minutes": 0.4})
    content = {name: file.read_bytes() for name, file in run.report.items()}
    reading = read_outcome(parse_run(Files(content), Files()), None, None, 30)
    (finding,) = reading.findings
    assert (finding.check, finding.subject.feature) == ("completeness_check", "eta_minutes")
    assert finding.parsed
    assert finding.observed == pytest.approx(0.6)


def ending(**changes: Any) -> StepEnding:
    step = next(step for step in STEPS if step.says == "auc falls" and "cause" in step.gates[0])
    answers = tuple(
        GateAnswer(
            gate=gate,
            passed=gate is not Gate.CAUSE,
            reason=Reason.CAUSE_NOT_ELIGIBLE if gate is Gate.CAUSE else Reason.GATE_PASSED,
            text="the cause is broken_feed" if gate is Gate.CAUSE else "",
        )
        for gate in Gate
    )
    moment = Moment(
        at=NOW, state=RemediationState.BLOCKED, reason=Reason.CAUSE_NOT_ELIGIBLE, text="a feed"
    )
    found = {
        "decided": step.decided,
        "settled": step.settled,
        "told": step.told,
        "delivered": step.delivered,
        "remediated": (Became("retrain", moment),),
        "gates": (GatesSaid("retrain", answers),),
        "stands": "open",
    }
    return StepEnding("A scene", step, **{**found, **changes})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"gates": ()}, "gates: none, expected retrain: cause cause_not_eligible"),
        ({"remediated": ()}, "remediated: none, expected retrain: blocked cause_not_eligible"),
        ({"stands": "resolved"}, "the incident is resolved, expected open"),
    ],
)
def test_a_remediation_that_comes_to_something_else_is_a_problem(
    change: dict[str, Any], problem: str
) -> None:
    assert ending().problems == ()
    assert ending(**change).problems == (problem,)


@pytest.mark.parametrize("width", [80, 140])
def test_the_timeline_names_each_gates_answer(width: int) -> None:
    console = Console(record=True, width=width, force_terminal=True, highlight=False)
    PrintedTimeline(console).stepped(ending())
    said = " ".join(console.export_text().split())
    for gate in Gate:
        mark = "✗ cause_not_eligible (the cause is broken_feed)" if gate is Gate.CAUSE else "✓"
        assert f"{gate} {mark}" in said
    for words in ("retrain: blocked, a feed", "the incident is open", "harbour/slack 2 times"):
        # columns stand side by side: words of one are not in one piece
        assert all(word in said for word in words.split())


def test_json_has_each_gates_answer(capsys: pytest.CaptureFixture[str]) -> None:
    JsonTimeline().stepped(ending())
    told = json.loads(capsys.readouterr().out)
    (said,) = told["gates"]
    assert [answer["gate"] for answer in said["answers"]] == [gate.value for gate in Gate]
    assert [a["reason"] for a in said["answers"] if not a["passed"]] == ["cause_not_eligible"]
    assert told["remediated"][0] == {
        "action": "retrain",
        "state": "blocked",
        "reason": "cause_not_eligible",
        "by": "",
        "text": "a feed",
    }
    assert told["stands"] == "open"


def test_references_of_a_definition_are_followed() -> None:
    run = {"Get": "Execution.PipelineExecutionId"}
    uri = {"Std:Join": {"On": "/", "Values": ["s3://b", run]}}
    definition = Definition(
        json.dumps(
            {
                "Parameters": [{"Name": "Rounds", "Type": "Integer", "DefaultValue": 3}],
                "Steps": [
                    {
                        "Name": "Prepare",
                        "Type": "Processing",
                        "Arguments": {
                            "ProcessingOutputConfig": {
                                "Outputs": [{"OutputName": "t", "S3Output": {"S3Uri": uri}}]
                            }
                        },
                    }
                ],
            }
        ),
        {"Rounds": "7"},
    )
    output = "Steps.Prepare.ProcessingOutputConfig.Outputs['t'].S3Output.S3Uri"
    value = {
        "rounds": {"Get": "Parameters.Rounds"},
        "places": [{"Std:Join": {"On": "/", "Values": [{"Get": output}, "a.csv"]}}],
        "made": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"},
    }
    assert definition.resolved(value, "e1") == {
        "rounds": 7,
        "places": ["s3://b/e1/a.csv"],
        "made": "s3://pipelines/e1/Train/ModelArtifacts.S3ModelArtifacts",
    }
