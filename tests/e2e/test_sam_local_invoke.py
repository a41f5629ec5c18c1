"""`sam local invoke` of each function: the shipped build, in Lambda's runtime, on the local cloud.

Skipped where there is no Docker; where GUIDERAIL_REQUIRE_DOCKER is set, that is a failure.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from guiderail_local import sam_invoke
from guiderail_local.environment import REPOSITORY
from guiderail_local.runs import BUILT_IN, read_run

pytestmark = [pytest.mark.e2e, pytest.mark.docker]


@pytest.fixture(scope="module", autouse=True)
def docker() -> None:
    """Skips these tests where no Docker engine answers."""
    there = shutil.which("docker") is not None
    if (
        there
        and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    ):
        return
    message = "no Docker engine answers here"
    if os.environ.get("GUIDERAIL_REQUIRE_DOCKER"):
        pytest.fail(message)
    pytest.skip(message)


def invoked(
    event: Path, capfd: pytest.CaptureFixture[str], function: str = "OnJobFinished"
) -> tuple[Any, list[dict[str, Any]]]:
    """Answer and log lines of a function for an event."""
    status = sam_invoke.main([function, str(event)])
    answer, log = capfd.readouterr()
    assert status == 0, log
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return json.loads(answer.strip().rpartition("\n")[2]), lines


@pytest.mark.parametrize(
    "name", ["02-data-quality-type-completeness-drift", "06-clean-clarify", "08-failed-job"]
)
def test_a_run_ends_as_its_manifest_says(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    expected = read_run(BUILT_IN / name).expectation
    assert expected is not None
    answer, lines = invoked(BUILT_IN / name, capfd)
    assert answer == {"batchItemFailures": []}
    (read,) = [line for line in lines if line.get("message") == "run read"]
    assert (read["outcome"], read["findings"]) == (expected.outcome, expected.findings)


def test_an_event_of_another_job_is_ignored(capfd: pytest.CaptureFixture[str]) -> None:
    answer, lines = invoked(BUILT_IN / "07-merge-job", capfd)
    assert answer == {"batchItemFailures": []}
    assert [line["message"] for line in lines if "message" in line] == ["job ignored"]


def test_a_minute_of_the_clock_is_answered_with_counts(capfd: pytest.CaptureFixture[str]) -> None:
    event = REPOSITORY / "events" / "on_due" / "tick_scheduled.json"
    answer, _ = invoked(event, capfd, "OnDue")
    # nothing waits yet but Guiderail's own word that it has no policy
    assert answer["failed"] == 0
