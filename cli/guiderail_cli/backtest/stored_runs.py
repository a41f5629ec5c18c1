"""Stored runs: which there are, and what their files say.

Two layouts are known, also mixed:

- run folders: ``job.json`` (the answer of DescribeProcessingJob) or ``event.json``, with ``schedule.json``,
  ``report/`` and ``baseline/`` beside it, as ``guiderail inspect`` reads them;
- what Model Monitor writes: ``<endpoint>/<schedule>/YYYY/MM/DD/HH/*.json``. Endpoint, schedule and time are
  taken from the path. A job that failed left no report, so it is not among them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import Any, TypeVar

import msgspec
from guiderail.errors import GuiderailError, MalformedEventError, NotFoundError
from guiderail.model.event import TERMINAL_STATUSES
from guiderail.model.job import MonitoringSchedule, ProcessingJob, job_from, moment, schedule_from
from guiderail.model.run import Run
from guiderail.reports.run_files import (
    ANALYSIS,
    CONSTRAINTS,
    STATISTICS,
    Files,
    ParsedRun,
    parse_run,
)
from guiderail.reports.violations import FILE_NAMES
from guiderail.services.identify import ruled_out, ruled_out_by_event
from guiderail.services.report_places import baseline_places

from guiderail_cli.backtest.shelves import Folders, Shelf, StoredFile, read_or_error

T = TypeVar("T")

_RESULTS = (*FILE_NAMES, STATISTICS, ANALYSIS)
"""Files of a report that decide; constraints.json of a report only suggests."""

_DATED = re.compile(r"(?:(?P<above>.*)/)?(?P<time>\d{4}/\d{2}/\d{2}/\d{2})")


class StoredRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run and where its files are; ``run.ended_at`` is set."""

    run: Run
    ended_at: datetime
    job: ProcessingJob | None = None
    schedule: MonitoringSchedule | None = None
    report: dict[str, StoredFile] = {}
    baseline: dict[str, StoredFile] = {}


class Skipped(msgspec.Struct, frozen=True):
    """A folder that looks like a run and is not replayed."""

    place: str
    why: str


class Found(msgspec.Struct, frozen=True):
    """All runs of a shelf in time order, and what was passed over."""

    runs: tuple[StoredRun, ...]
    skipped: tuple[Skipped, ...]
    ignored: int


def find_runs(shelf: Shelf, since: timedelta | None = None) -> Found:
    """Find the runs of a shelf.

    Args:
        shelf: Where they lie.
        since: Only runs that ended within this time before the newest one.

    Raises:
        NotFoundError: There is no run that can be replayed.
        GuiderailError: The place cannot be listed.
    """
    folders = shelf.folders()
    reading = _Reading(shelf, folders)
    runs: dict[str, StoredRun] = {}
    skipped: list[Skipped] = []
    ignored = 0
    of_runs = sorted(
        f for f, files in folders.items() if "job.json" in files or "event.json" in files
    )
    for folder, found in zip(of_runs, shelf.mapped(reading.run_folder, of_runs), strict=True):
        if isinstance(found, GuiderailError):
            skipped.append(Skipped(_at(shelf, folder), str(found)))
        elif found is None or found.run.key in runs:
            ignored += 1
        else:
            runs[found.run.key] = found
    inside = {*of_runs, *(f"{f}/report" if f else "report" for f in of_runs)}
    for folder, files in folders.items():
        if folder not in inside and any(name in files for name in _RESULTS):
            if plain := _plain_run(shelf, folder, files):
                runs[plain.run.key] = plain
    if not runs:
        why = f": {skipped[0].place}: {skipped[0].why}" if skipped else ""
        raise NotFoundError(
            f"{shelf.place} holds no monitoring run{why}",
            remedy="Pass a folder of run folders (job.json and report/), or the S3 prefix that Model "
            "Monitor writes to (<endpoint>/<schedule>/YYYY/MM/DD/HH/)",
        )
    ordered = sorted(runs.values(), key=lambda r: (r.ended_at, r.run.key))
    if since is not None:
        oldest = ordered[-1].ended_at - since
        ordered = [r for r in ordered if r.ended_at >= oldest]
    return Found(tuple(ordered), tuple(skipped), ignored)


class _Reading:
    """Makes runs of folders; a schedule's description that many runs share is read once."""

    def __init__(self, shelf: Shelf, folders: Folders) -> None:
        self._shelf = shelf
        self._folders = folders
        self._schedules: dict[str, MonitoringSchedule] = {}

    def run_folder(self, folder: str) -> StoredRun | GuiderailError | None:
        """A run folder's run; None for a job that is no ended monitoring run."""
        try:
            return self._run_folder(folder)
        except GuiderailError as error:
            return error

    def _run_folder(self, folder: str) -> StoredRun | None:
        files = self._folders[folder]
        name = "job.json" if "job.json" in files else "event.json"
        described = _object(self._shelf.read(files[name]), name)
        if name == "event.json":
            detail = described.get("detail")
            described = detail if isinstance(detail, dict) else {}
        job = job_from(described)
        if job.status not in TERMINAL_STATUSES:
            return None
        schedule = self._schedule(files.get("schedule.json"))
        # an event does not name its schedule, the file beside it does
        is_other = ruled_out_by_event if schedule and name == "event.json" else ruled_out
        if is_other(job):
            return None
        within = f"{folder}/" if folder else ""
        report = self._folders.get(f"{within}report") or files
        ended_at = job.ended_at or moment(described.get("LastModifiedTime"))
        if ended_at is None:
            raise MalformedEventError(
                f"{name}: ProcessingEndTime is missing",
                remedy="Pass what DescribeProcessingJob returns",
            )
        run = Run(
            key=f"{job.arn}#{job.status}",
            job_name=job.name,
            job_arn=_whole_arn(job.arn),
            status=job.status,
            endpoint=job.endpoint or (schedule.endpoint if schedule else ""),
            schedule=schedule.name if schedule else job.schedule_name,
            report_uri=job.report_uri,
            window_start=job.environment.get("start_time", ""),
            window_end=job.environment.get("end_time", ""),
            ended_at=ended_at,
        )
        return StoredRun(
            run=run,
            ended_at=ended_at,
            job=job,
            schedule=schedule,
            # a job that failed or was stopped left nothing to rely on
            report=_of(report, _RESULTS) if job.status == "Completed" else {},
            baseline=_of(
                self._folders.get(f"{within}baseline") or {}, (STATISTICS, CONSTRAINTS, ANALYSIS)
            ),
        )

    def _schedule(self, file: StoredFile | None) -> MonitoringSchedule | None:
        if file is None:
            return None
        version = self._shelf.version(file)
        if version and version in self._schedules:
            return self._schedules[version]
        schedule = schedule_from(_object(self._shelf.read(file), "schedule.json"))
        if version:
            self._schedules[version] = schedule
        return schedule


def _plain_run(shelf: Shelf, folder: str, files: Mapping[str, StoredFile]) -> StoredRun | None:
    """A run of Model Monitor's own layout; None where the path does not end with a time."""
    dated = _DATED.fullmatch(folder)
    if dated is None:
        return None
    below = PurePosixPath(dated["above"] or "").parts
    above = PurePosixPath(shelf.place.removeprefix("s3://")).parts
    # with one part below the prefix it is a batch monitor, whose path names no endpoint
    named = below or above[-2:]
    schedule, endpoint = (named[-1] if named else ""), (named[-2] if len(named) > 1 else "")
    try:
        ended_at = datetime.strptime(dated["time"], "%Y/%m/%d/%H").replace(tzinfo=UTC)
    except ValueError:
        return None
    place = _at(shelf, folder)
    name = f"stored-{hashlib.sha256(place.encode()).hexdigest()[:16]}"
    arn = f"arn:aws:sagemaker:::processing-job/{name}"
    run = Run(
        key=f"{arn}#Completed",
        job_name=name,
        job_arn=arn,
        status="Completed",
        endpoint=endpoint,
        schedule=schedule,
        report_uri=place,
        ended_at=ended_at,
    )
    return StoredRun(run=run, ended_at=ended_at, report=_of(files, _RESULTS))


class Reader:
    """Reads and parses runs, each file once; a baseline that many runs share is parsed once."""

    def __init__(self, shelf: Shelf, *, with_baselines: bool) -> None:
        """Read baselines of runs without violations too if a policy may need them."""
        self._shelf = shelf
        self._with_baselines = with_baselines
        self._baselines: dict[tuple[str, str], ParsedRun] = {}

    def __call__(self, stored: StoredRun) -> ParsedRun:
        """Parse a run's files; one that cannot be read becomes an entry of ``errors``."""
        parsed = parse_run(self._files(stored.report))
        wanted: set[str] = set()
        if self._with_baselines:
            wanted = set(stored.baseline)
        elif parsed.violations:
            wanted = (
                set(baseline_places(stored.job, parsed)) if stored.job else set(stored.baseline)
            )
        for name in sorted(wanted & stored.baseline.keys()):
            self._add(parsed, self._baseline(name, stored.baseline[name]))
        return parsed

    def all_of(self, runs: tuple[StoredRun, ...]) -> Iterator[tuple[StoredRun, ParsedRun]]:
        """Every run with what its files say, in order."""
        return zip(runs, self._shelf.mapped(self, runs), strict=True)

    def _files(self, stored: Mapping[str, StoredFile]) -> Files:
        files = Files({}, {})
        for name, file in stored.items():
            content = read_or_error(self._shelf, file)
            if isinstance(content, bytes):
                files.contents[name] = content
            else:
                files.failures[name] = content
        return files

    def _baseline(self, name: str, file: StoredFile) -> ParsedRun:
        key = (name, self._shelf.version(file) or file.address)
        if (parsed := self._baselines.get(key)) is None:
            parsed = self._baselines[key] = parse_run(Files(), self._files({name: file}))
        return parsed

    @staticmethod
    def _add(parsed: ParsedRun, baseline: ParsedRun) -> None:
        parsed.baseline_statistics = parsed.baseline_statistics or baseline.baseline_statistics
        parsed.baseline_constraints = parsed.baseline_constraints or baseline.baseline_constraints
        parsed.baseline_analysis = parsed.baseline_analysis or baseline.baseline_analysis
        parsed.errors.update(baseline.errors)


_OBJECT = msgspec.json.Decoder(dict[str, Any])


def _object(content: bytes, name: str) -> dict[str, Any]:
    try:
        return _OBJECT.decode(content)
    except (ValueError, RecursionError) as exc:
        raise MalformedEventError(
            f"{name}: {exc}", remedy="Pass SageMaker's answer as a JSON object"
        ) from exc


def _whole_arn(arn: str) -> str:
    if arn.count(":") < 5:
        raise MalformedEventError(
            f"ProcessingJobArn is {arn[:100]!r}, not the ARN of a processing job",
            remedy="Pass what DescribeProcessingJob returns",
        )
    return arn


def _of(files: Mapping[str, StoredFile], names: tuple[str, ...]) -> dict[str, StoredFile]:
    return {name: files[name] for name in names if name in files}


def _at(shelf: Shelf, folder: str) -> str:
    return f"{shelf.place}/{folder}" if folder else shelf.place
