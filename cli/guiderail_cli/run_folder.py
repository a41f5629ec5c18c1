"""A run's files from a folder or an S3 prefix."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from guiderail.errors import GuiderailError, MalformedEventError, NotFoundError, ReportTooLargeError
from guiderail.model.job import MonitoringSchedule, ProcessingJob, job_from, schedule_from
from guiderail.reports.run_files import ANALYSIS, ANALYSIS_CONFIG, CONSTRAINTS, STATISTICS, Files
from guiderail.reports.violations import FILE_NAMES

T = TypeVar("T")

REPORT_FILES = (*FILE_NAMES, STATISTICS, CONSTRAINTS, ANALYSIS, ANALYSIS_CONFIG)


def read_files(place: str, max_bytes: int) -> Files:
    """Read the report files of a folder, an S3 prefix, or the folder's ``report``.

    Raises:
        NotFoundError: The folder is not there.
        GuiderailError: S3 did not answer.
    """
    if place.startswith("s3://"):
        from guiderail.adapters.s3 import S3ReportFiles

        return S3ReportFiles(max_bytes).fetch(
            {name: f"{place.rstrip('/')}/{name}" for name in REPORT_FILES}
        )
    folder = Path(place)
    if folder.is_file():
        return _one_file(folder, max_bytes)
    if not folder.is_dir():
        raise NotFoundError(
            f"{place}: no such folder", remedy="Pass a run's report folder or its S3 prefix"
        )
    if (folder / "report").is_dir():
        folder /= "report"
    files = Files({}, {})
    for name in REPORT_FILES:
        if (folder / name).exists():
            _read(folder / name, name, files, max_bytes)
    return files


def _one_file(path: Path, max_bytes: int) -> Files:
    if path.name not in REPORT_FILES:
        raise NotFoundError(
            f"{path}: not the name of a report file", remedy=f"Names are {', '.join(REPORT_FILES)}"
        )
    files = Files({}, {})
    _read(path, path.name, files, max_bytes)
    return files


def _read(path: Path, name: str, files: Files, max_bytes: int) -> None:
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise ReportTooLargeError(f"{path} has {size} bytes, the limit is {max_bytes}")
        files.contents[name] = path.read_bytes()
    except ReportTooLargeError as error:
        files.failures[name] = error
    except OSError as exc:
        files.failures[name] = NotFoundError(
            f"{path}: {exc.strerror}", remedy="Make the file readable"
        )


def read_job(path: Path | None, folder: str) -> ProcessingJob | None:
    """Read a DescribeProcessingJob answer: the file named, else ``job.json`` of a run folder."""
    described = _described(path, folder, "job.json", "DescribeProcessingJob")
    return _made(described, path, folder, "job.json", job_from)


def read_schedule(path: Path | None, folder: str) -> MonitoringSchedule | None:
    """Read a DescribeMonitoringSchedule answer: the file named, else ``schedule.json`` of a run folder."""
    described = _described(path, folder, "schedule.json", "DescribeMonitoringSchedule")
    return _made(described, path, folder, "schedule.json", schedule_from)


def _made(
    described: Mapping[str, Any] | None,
    path: Path | None,
    folder: str,
    name: str,
    make: Callable[[Mapping[str, Any]], T],
) -> T | None:
    if described is None:
        return None
    try:
        return make(described)
    except GuiderailError as error:
        raise MalformedEventError(f"{path or Path(folder, name)}: {error}") from error


def _described(path: Path | None, folder: str, name: str, call: str) -> Mapping[str, Any] | None:
    if path is None:
        path = Path(folder, name)
        if folder.startswith("s3://") or not path.is_file():
            return None
    try:
        described = json.loads(path.read_bytes())
    except OSError as exc:
        raise NotFoundError(
            f"{path}: {exc.strerror}", remedy=f"Pass a file with the answer of {call}"
        ) from exc
    except (ValueError, RecursionError) as exc:
        raise MalformedEventError(
            f"{path}: not JSON: {exc}", remedy=f"Pass the answer of {call} as JSON"
        ) from exc
    if not isinstance(described, dict):
        raise MalformedEventError(
            f"{path}: not a JSON object", remedy=f"Pass the answer of {call} as JSON"
        )
    return described


def baseline_place(folder: str) -> str | None:
    """The ``baseline`` folder beside a run folder's ``report``."""
    beside = Path(folder, "baseline")
    return str(beside) if not folder.startswith("s3://") and beside.is_dir() else None
