"""Which runs a place holds, in both layouts, and what is passed over."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest
from guiderail.errors import NotFoundError, RejectedRequestError, ReportTooLargeError
from guiderail.model.outcome import Outcome
from guiderail.reports.run_files import BASELINE
from guiderail.services.reading import read_outcome
from guiderail_cli.backtest.shelves import Folders, FolderShelf, StoredFile, shelf_at
from guiderail_cli.backtest.stored_runs import Found, Reader, StoredRun, find_runs

from tests import builders as b
from tests.unit.backtest.conftest import MAX_BYTES, History

T = TypeVar("T")
R = TypeVar("R")


class Prefix:
    """An S3 prefix as listed, in memory; counts what is read."""

    def __init__(self, place: str, files: dict[str, bytes]) -> None:
        self.place = place
        self._files = files
        self.read_files: list[str] = []

    def folders(self) -> Folders:
        found: Folders = {}
        for key in self._files:
            folder, _, name = key.rpartition("/")
            found.setdefault(folder, {})[name] = StoredFile(key)
        return found

    def version(self, file: StoredFile) -> str:
        return str(hash(self._files[file.address]))

    def read(self, file: StoredFile) -> bytes:
        self.read_files.append(file.address)
        return self._files[file.address]

    def mapped(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        return map(work, items)


def found(folder: Path, since: timedelta | None = None) -> Found:
    return find_runs(shelf_at(str(folder), MAX_BYTES), since)


def test_run_folders_come_in_time_order(history: History) -> None:
    history.add_distances([None])
    history.add([], ProcessingEndTime="2026-11-01T00:00:00+00:00")

    runs = found(history.folder).runs

    assert [r.ended_at.isoformat() for r in runs] == [
        "2026-11-01T00:00:00+00:00",
        "2026-11-02T06:00:00+00:00",
    ]
    assert {(r.run.endpoint, r.run.schedule) for r in runs} == {
        ("loan-risk-prod", "loan-risk-prod-hourly")
    }
    assert all(r.run.account == b.ACCOUNT and r.run.region == b.REGION for r in runs)


def test_since_counts_back_from_the_newest_run(history: History) -> None:
    history.add_distances([None] * 10)

    assert len(found(history.folder, timedelta(hours=3)).runs) == 4


def test_the_layout_of_model_monitor_tells_endpoint_schedule_and_time() -> None:
    prefix = Prefix(
        "s3://bucket/reports",
        {
            "loan-risk/hourly/2026/11/02/06/constraint_violations.json": b.violations(
                b.drifted("income")
            ),
            "loan-risk/hourly/2026/11/02/06/statistics.json": b.statistics(),
            "nightly/2026/11/01/00/constraint_violations.json": b.violations(),
            "data_quality/churn/daily/2026/11/03/07/statistics.json": b.statistics(),
            "baseline/statistics.json": b.statistics(),
            "loan-risk/hourly/2026/13/02/06/statistics.json": b.statistics(),
            "notes.txt": b"",
        },
    )

    runs = find_runs(prefix).runs

    assert [(r.run.endpoint, r.run.schedule, r.ended_at.isoformat()[:13]) for r in runs] == [
        ("", "nightly", "2026-11-01T00"),
        ("loan-risk", "hourly", "2026-11-02T06"),
        ("churn", "daily", "2026-11-03T07"),
    ]
    readings = [
        read_outcome(p, None, None, 30)
        for _, p in Reader(prefix, with_baselines=False).all_of(runs)
    ]
    assert [r.outcome for r in readings] == [Outcome.CLEAN, Outcome.VIOLATIONS, Outcome.UNREADABLE]


def test_a_prefix_within_the_layout_still_tells_endpoint_and_schedule() -> None:
    prefix = Prefix(
        "s3://bucket/reports/loan-risk/hourly", {"2026/11/02/06/statistics.json": b.statistics()}
    )

    [run] = find_runs(prefix).runs

    assert (run.run.endpoint, run.run.schedule) == ("loan-risk", "hourly")


def test_jobs_that_are_no_ended_monitoring_runs_are_ignored(history: History) -> None:
    history.add_distances([None])
    history.add([], ProcessingJobStatus="InProgress")
    history.add([], ProcessingJobName="groundtruth-merge-202611021400-aabb")
    history.add_distances([None])
    jobs = sorted(history.folder.glob("*/job.json"))
    jobs[-1].write_bytes(jobs[0].read_bytes())

    result = found(history.folder)

    assert (len(result.runs), result.ignored) == (1, 3)


def test_an_event_and_a_schedule_are_enough(history: History) -> None:
    for name in ("model-monitoring-202611021400-aabb", "groundtruth-merge-202611021400-aabb"):
        place = history.add([])
        (place / "job.json").unlink()
        arn = f"{b.ARN}:processing-job/{name}"
        event = b.job_event(ProcessingJobName=name, ProcessingJobArn=arn)
        (place / "event.json").write_text(json.dumps(event))

    result = found(history.folder)

    [run] = result.runs
    assert (run.run.endpoint, run.run.schedule) == ("loan-risk-prod", "loan-risk-prod-hourly")
    assert result.ignored == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "job.json: "),
        ("[]", "job.json: "),
        ('{"ProcessingJobName": "x"}', "ProcessingJobArn is missing"),
        (
            json.dumps({**b.described_job(), "ProcessingEndTime": None, "LastModifiedTime": None}),
            "ProcessingEndTime is missing",
        ),
        (
            json.dumps(b.described_job(ProcessingJobArn="model-monitoring")),
            "not the ARN of a processing job",
        ),
    ],
)
def test_a_damaged_description_is_left_out_and_named(
    history: History, content: str, said: str
) -> None:
    history.add_distances([None])
    damaged = history.add([])
    (damaged / "job.json").write_text(content)

    result = found(history.folder)

    assert len(result.runs) == 1
    [skipped] = result.skipped
    assert skipped.place == str(damaged)
    assert said in skipped.why


def test_a_place_without_runs_is_refused_with_the_first_reason(history: History) -> None:
    damaged = history.add([])
    (damaged / "job.json").write_text("{")

    with pytest.raises(NotFoundError, match="holds no monitoring run.*0001.*job.json"):
        found(history.folder)


def test_places_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such folder"):
        shelf_at(str(tmp_path / "nowhere"), MAX_BYTES)
    with pytest.raises(RejectedRequestError, match="no place on S3"):
        shelf_at("https://bucket/reports", MAX_BYTES)
    with pytest.raises(RejectedRequestError, match="no place on S3"):
        shelf_at("s3://", MAX_BYTES)


def test_a_failed_job_leaves_nothing_to_rely_on(history: History) -> None:
    history.add(
        [b.drifted("income")], ProcessingJobStatus="Failed", FailureReason="Job inputs had no data"
    )
    shelf = shelf_at(str(history.folder), MAX_BYTES)
    [(stored, parsed)] = Reader(shelf, with_baselines=False).all_of(find_runs(shelf).runs)

    assert parsed.violations is None
    assert read_outcome(parsed, stored.job, stored.schedule, 30).outcome is Outcome.NO_DATA


def with_baseline(prefix: str, *items: b.Document) -> dict[str, bytes]:
    job = json.dumps(
        b.described_job(
            ProcessingJobName=f"model-monitoring-{prefix}",
            ProcessingJobArn=f"{b.ARN}:processing-job/model-monitoring-{prefix}",
        )
    )
    return {
        f"{prefix}/job.json": job.encode(),
        f"{prefix}/report/statistics.json": b.statistics(),
        f"{prefix}/report/constraint_violations.json": b.violations(*items),
        f"{prefix}/baseline/statistics.json": b.statistics(),
        f"{prefix}/baseline/constraints.json": b.constraints("income"),
    }


def test_a_baseline_is_read_for_violations_only_and_once() -> None:
    prefix = Prefix(
        "s3://bucket",
        {
            **with_baseline("a", b.drifted("income")),
            **with_baseline("b", b.drifted("income")),
            **with_baseline("c"),
        },
    )
    runs = find_runs(prefix).runs

    parsed = [p for _, p in Reader(prefix, with_baselines=False).all_of(runs)]

    assert [p.baseline_statistics is not None for p in parsed] == [True, True, False]
    read = [name for name in prefix.read_files if f"/{BASELINE}" in name]
    assert read == ["a/baseline/statistics.json"]


def test_a_policy_with_thresholds_may_need_every_baseline() -> None:
    prefix = Prefix("s3://bucket", with_baseline("a"))
    [(_, parsed)] = Reader(prefix, with_baselines=True).all_of(find_runs(prefix).runs)

    assert parsed.baseline_statistics and parsed.baseline_constraints


def test_a_file_over_the_limit_is_unreadable_not_clean(history: History) -> None:
    history.add_distances([None])
    shelf = FolderShelf(history.folder, 100)
    stored = StoredRun(
        run=b.run(),
        ended_at=datetime(2026, 11, 2, tzinfo=UTC),
        report={"statistics.json": StoredFile(str(history.folder / "0001/report/statistics.json"))},
    )

    parsed = Reader(shelf, with_baselines=False)(stored)

    assert isinstance(parsed.errors["statistics.json"], ReportTooLargeError)
    assert read_outcome(parsed, None, None, 30).outcome is Outcome.UNREADABLE


def test_links_that_run_in_circles_end(history: History) -> None:
    history.add_distances([None])
    (history.folder / "again").symlink_to(history.folder)

    assert len(found(history.folder).runs) == 1
