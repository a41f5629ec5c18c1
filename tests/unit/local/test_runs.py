"""Reading run folders."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from guiderail_local.errors import InvalidRunError
from guiderail_local.runs import BUILT_IN, event_of, read_run, read_runs

RUNS = read_runs(BUILT_IN)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a built-in run that may be damaged."""
    copied = tmp_path / "run"
    shutil.copytree(BUILT_IN / "02-data-quality-type-completeness-drift", copied)
    return copied


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_every_built_in_run_is_whole(run) -> None:  # type: ignore[no-untyped-def]
    assert run.expectation is not None
    assert run.title != run.name
    assert run.event == event_of(run.job)
    assert run.job_arn in run.event["resources"]
    assert all(uri.startswith("s3://brightwater-monitoring/") for uri, _ in run.objects())


def test_the_built_in_runs_show_what_they_have_to() -> None:
    expectations = [run.expectation for run in RUNS if run.expectation]
    assert {e.monitor for e in expectations} >= {
        "data_quality",
        "model_quality",
        "bias",
        "explainability",
        "custom",
    }
    assert {e.outcome for e in expectations} >= {"violations", "clean", "failed", "degenerate"}
    assert any(e.ignored == "ignored_merge_job" for e in expectations)
    assert any(run.send == 2 for run in RUNS)
    assert any(e.pipelines == 1 for e in expectations)


def test_files_are_put_where_the_job_says() -> None:
    run = next(r for r in RUNS if r.name.startswith("02"))
    places = {uri.removeprefix("s3://brightwater-monitoring/"): file for uri, file in run.objects()}
    report = "parcel-delay/reports/data_quality/parcel-delay-prod/Parcel-Delay-Inputs-Hourly/2026/03/09/07"
    assert places[f"{report}/constraint_violations.json"].parent.name == "report"
    assert places["parcel-delay/baseline/data_quality/statistics.json"].parent.name == "baseline"
    assert places["parcel-delay/baseline/data_quality/constraints.json"].parent.name == "baseline"


def test_an_event_is_made_as_the_service_words_it() -> None:
    event = event_of(RUNS[0].job)
    detail = event["detail"]
    assert event["source"] == "aws.sagemaker"
    assert detail["ProcessingEndTime"] > 1_700_000_000_000
    assert detail["ProcessingInputs"][0]["S3Input"]["S3DataType"] == "S3_PREFIX"
    assert not {"ExitMessage", "Environment", "MonitoringScheduleArn"} & detail.keys()


def test_a_missing_event_is_made_from_the_job(folder: Path) -> None:
    stored = json.loads((folder / "event.json").read_text())
    (folder / "event.json").unlink()
    assert read_run(folder).event == stored


def test_a_missing_job_is_made_from_the_event(folder: Path) -> None:
    (folder / "job.json").unlink()
    run = read_run(folder)
    assert run.job == run.event["detail"]


def test_a_missing_manifest_expects_nothing(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    run = read_run(folder)
    assert run.expectation is None
    assert run.title == "run"


def test_one_run_folder_may_be_given_by_itself(folder: Path) -> None:
    assert [run.name for run in read_runs(folder)] == ["run"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("job.json", "{", "job.json"),
        ("job.json", "[]", "not a JSON object"),
        ("job.json", "{}", "ProcessingJobName"),
        ("event.json", '{"detail": {}}', "ProcessingJobStatus"),
        ("manifest.json", '{"expect": {"outcom": "clean"}}', "expect is not as it should be"),
    ],
)
def test_a_damaged_file_is_named(folder: Path, file: str, content: str, message: str) -> None:
    (folder / file).write_text(content)
    with pytest.raises(InvalidRunError, match=message):
        read_run(folder)


def test_a_report_without_a_place_is_refused(folder: Path) -> None:
    job = json.loads((folder / "job.json").read_text())
    del job["ProcessingOutputConfig"]
    (folder / "job.json").write_text(json.dumps(job))
    with pytest.raises(InvalidRunError, match="names no output"):
        list(read_run(folder).objects())


def test_two_folders_of_one_job_are_refused(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("twin"))
    with pytest.raises(InvalidRunError, match="same processing job"):
        read_runs(folder.parent)


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRunError, match="holds no run"):
        read_runs(tmp_path)
    with pytest.raises(InvalidRunError, match="not a folder"):
        read_runs(tmp_path / "absent")
