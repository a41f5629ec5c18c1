"""The story's script, the runs it is told with, and the policy it is told under."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from guiderail.model.outcome import MonitorKind, Outcome, Reason
from guiderail.reports.run_files import Files, parse_run
from guiderail.services.reading import read_outcome
from guiderail_cli.policy_file import compile_policy
from guiderail_local.runs import RunFolder
from guiderail_local.story.run_files import RunWriter
from guiderail_local.story.script import STORY, Step
from guiderail_local.story.telling import POLICY

NOW = datetime(2026, 3, 20, tzinfo=UTC)
STEPS = [step for scene in STORY for step in scene.steps]
# What an operator has to see once: suppression, N of M, silence, inhibition, flapping,
# acknowledgement overridden, resolution, upstream cause.
SHOWN = {
    "suppressed_duplicate", "waiting_n_of_m", "silenced", "inhibited_by", "flapping", "acknowledged",
    "worsened", "waiting_for_clean_runs", "resolved", "part_of_upstream", "upstream_suspected",
}  # fmt: skip


def reasons_of(step: Step) -> tuple[str, ...]:
    return (*step.decided, *step.settled, *step.told)


def runs(folder: Path) -> Iterator[RunFolder]:
    writer = RunWriter(folder)
    for step in STEPS:
        for write in step.runs:
            yield write(writer)


def test_the_script_shows_what_an_operator_has_to_see() -> None:
    given = {reason for step in STEPS for reason in reasons_of(step)}
    assert given >= SHOWN
    assert given <= {reason.value for reason in Reason}


def test_every_step_expects_a_reason_or_an_answer() -> None:
    assert [step.says for step in STEPS if not (reasons_of(step) or step.answered)] == []


def test_the_policy_has_no_problems() -> None:
    compiled = compile_policy(POLICY.read_text(encoding="utf-8"), POLICY.name, NOW)
    assert compiled.problems == ()
    assert compiled.policy is not None


def test_the_same_runs_are_written_each_time(tmp_path: Path) -> None:
    first, second = (
        [
            (run.job, run.schedule, {name: file.read_bytes() for name, file in run.report.items()})
            for run in runs(tmp_path / name)
        ]
        for name in ("first", "second")
    )
    assert first == second
    ended = [job["ProcessingEndTime"] for job, _, _ in first]
    assert ended == sorted(ended)
    assert len({job["ProcessingJobArn"] for job, _, _ in first}) == len(first)


@pytest.mark.parametrize(
    ("kind", "outcome", "findings"),
    [("drift", "violations", 1), ("clean", "clean", 0), ("drop", "violations", 1)],
)
def test_runs_read_as_they_are_meant(
    tmp_path: Path, kind: str, outcome: str, findings: int
) -> None:
    writer = RunWriter(tmp_path)
    run = {
        "drift": lambda: writer.data_quality("berths", {"wind_speed": 0.3}),
        "clean": lambda: writer.data_quality("berths", {}),
        "drop": lambda: writer.model_quality("berths", 0.8),
    }[kind]()
    content = {name: file.read_bytes() for name, file in run.report.items()}
    parsed = parse_run(Files(content), Files())
    reading = read_outcome(parsed, None, None, 30)
    assert (reading.outcome, len(reading.findings)) == (Outcome(outcome), findings)
    assert all(finding.parsed for finding in reading.findings)
    assert reading.monitor is not MonitorKind.CUSTOM


def test_a_failed_run_has_no_report(tmp_path: Path) -> None:
    run = RunWriter(tmp_path).failed("berths")
    assert (run.status, run.report) == ("Failed", {})
    assert json.loads((tmp_path / "01-berths-inputs" / "job.json").read_text())["FailureReason"]
