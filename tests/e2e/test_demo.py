"""``guiderail demo`` as a person calls it: a process, its output, its exit status."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from guiderail.model.remediation import Gate
from guiderail_local.runs import BUILT_IN
from guiderail_local.story.remediation_script import REMEDIATION
from guiderail_local.story.script import STORY

from tests.e2e.sample_runs import SAMPLE_RUNS, build, samples_folder

pytestmark = pytest.mark.e2e

DEMO = [sys.executable, "-m", "guiderail_local.demo"]
_SECONDS = 60  # what the demo may take on two cores, after set-up
_SET_UP_SECONDS = 300  # the first one installs MiniStack


def environment(temporary: Path) -> dict[str, str]:
    """Everything the demo writes outside the checkout lands in a folder that can be looked at."""
    temporary.mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}


def demo(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*DEMO, *arguments],
        env=environment(tmp_path / "temporary"),
        capture_output=True,
        text=True,
        timeout=_SET_UP_SECONDS + _SECONDS,
        check=False,
    )
    assert left_of(tmp_path / "temporary") == []
    return done


def processes_of(temporary: Path) -> list[str]:
    """Processes that were started for a demo with this temporary folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            variables = (process / "environ").read_bytes()
        except OSError:
            continue
        if str(temporary).encode() in variables:
            found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def left_of(temporary: Path) -> list[str]:
    """Files and processes of a demo that are still there."""
    return [*map(str, temporary.iterdir()), *processes_of(temporary)]


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_built_in_run_and_every_step_of_the_story_ends_as_it_has_to(tmp_path: Path) -> None:
    done = demo(tmp_path)

    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    names = [folder.name for folder in BUILT_IN.iterdir() if (folder / "job.json").is_file()]
    for name in names:
        assert name in done.stdout
    assert f"{len(names)} of {len(names)} runs ended as they had to" in done.stdout
    assert done.stdout.count("✓ as expected") == len(names)
    scenes = (*STORY, *REMEDIATION)
    steps = [step for scene in scenes for step in scene.steps]
    assert (
        f"{len(steps)} of {len(steps)} steps of the story came to what they had to" in done.stdout
    )
    for scene in scenes:
        assert scene.title in done.stdout
    for reason in {reason for step in steps for reason in (*step.decided, *step.settled)}:
        assert reason in done.stdout
    tries = {reason for step in steps for reason in (*step.delivered, *step.answered)}
    remedies = {reason for step in steps for reason in (*step.remediated, *step.gates)}
    for reason in {words[-1] for words in map(str.split, tries | remedies) if words[1:]}:
        assert reason in done.stdout
    for gate in Gate:
        assert f" {gate} ✓" in done.stdout


def test_every_run_of_the_samples_ends_as_it_has_to(tmp_path: Path) -> None:
    samples = samples_folder()
    if samples is None:
        pytest.skip("no samples on this computer; GUIDERAIL_SAMPLES names their folder")
    assert len(list(build(samples, tmp_path / "runs"))) == len(SAMPLE_RUNS)

    done = demo(tmp_path, "--runs", str(tmp_path / "runs"), "--json")

    stack, *runs, summary = lines(done)
    assert [run for run in runs if not run["ok"]] == [], done.stderr
    assert done.returncode == 0
    assert stack["left_out"] == []
    assert [run["run"] for run in runs] == sorted(run.name for run in SAMPLE_RUNS)
    own_container = "own-container-nlp"
    unparsed = [
        (run["run"], finding["description"])
        for run in runs
        for finding in run["findings"]
        if not finding["parsed"] and run["run"] != own_container
    ]
    assert unparsed == []
    assert all(len(run["findings"]) == run["finding_count"] for run in runs)
    assert summary["play_seconds"] < _SECONDS


def test_a_run_that_ends_otherwise_is_told_and_fails_the_demo(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "wrong"
    shutil.copytree(BUILT_IN / "01-clean-data-quality", folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["expect"] |= {"outcome": "violations", "alerts": 1}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    # A run whose report is gone is not clean, and needs no manifest to be played.
    unreadable = tmp_path / "runs" / "unreadable"
    shutil.copytree(BUILT_IN / "12-too-few-rows", unreadable)
    shutil.rmtree(unreadable / "report")
    (unreadable / "manifest.json").unlink()
    (unreadable / "event.json").unlink()

    done = demo(tmp_path, "--runs", str(tmp_path / "runs"), "--json")

    _, lost, wrong, summary = lines(done)
    assert done.returncode == 1
    assert wrong["problems"] == ["outcome: clean, expected violations", "alerts: 0, expected 1"]
    assert (lost["ok"], lost["outcome"], len(lost["alerts"])) == (True, "unreadable", 1)
    assert (summary["ok"], summary["as_expected"], summary["runs"]) == (False, 1, 2)


def test_runs_are_judged_by_the_policy_that_is_given(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "05-attribution-drift"
    shutil.copytree(BUILT_IN / folder.name, folder)
    policy = tmp_path / "guiderail.yaml"
    policy.write_text(
        "version: 1\nrules:\n"
        "  - {name: not yet, match: {monitor: explainability}, set: {for: 2 of 3}}\n"
    )

    done = demo(tmp_path, "--runs", str(folder), "--policy", str(policy), "--json")

    _, run, _ = lines(done)
    assert done.returncode == 1
    assert run["problems"] == ["alerts: 0, expected 1"]


@pytest.mark.parametrize("text", [None, "version: 1\nrulez: []\n"], ids=["missing", "unknown key"])
def test_a_policy_that_cannot_be_read_is_a_set_up_problem(tmp_path: Path, text: str | None) -> None:
    policy = tmp_path / "guiderail.yaml"
    if text is not None:
        policy.write_text(text)
    runs = str(BUILT_IN / "01-clean-data-quality")
    done = demo(tmp_path, "--runs", runs, "--policy", str(policy))
    assert done.returncode == 3
    assert str(policy) in done.stderr


def test_runs_that_cannot_be_read_are_a_set_up_problem(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    done = demo(tmp_path, "--runs", str(tmp_path / "runs"))
    assert done.returncode == 3
    assert "holds no run" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "ended_by", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name
)
def test_nothing_is_left_however_the_demo_ends(tmp_path: Path, ended_by: signal.Signals) -> None:
    temporary = tmp_path / "temporary"
    process = subprocess.Popen(
        [*DEMO, "--json"],
        env=environment(temporary),
        stdout=subprocess.PIPE,
        text=True,
        # as from a terminal: a shell's background jobs, and what they start, ignore Ctrl-C
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())
    assert first["type"] == "stack"
    assert processes_of(temporary) != []

    process.send_signal(ended_by)
    process.stdout.read()
    process.stdout.close()

    assert process.wait(20) == (130 if ended_by is signal.SIGINT else -signal.SIGKILL)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and left_of(temporary):
        time.sleep(0.1)
    assert left_of(temporary) == []
