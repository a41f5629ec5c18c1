"""The files of one run and of its baseline, read together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from guiderail.errors import GuiderailError
from guiderail.reports.analysis import (
    Analysis,
    AnalysisConfig,
    read_analysis,
    read_analysis_config,
)
from guiderail.reports.constraints import Constraints, read_constraints
from guiderail.reports.statistics import Statistics, read_statistics
from guiderail.reports.violations import FILE_NAMES, Violation, read_violations

T = TypeVar("T")

STATISTICS = "statistics.json"
CONSTRAINTS = "constraints.json"
ANALYSIS = "analysis.json"
ANALYSIS_CONFIG = "analysis_config.json"
BASELINE = "baseline/"


class Files(msgspec.Struct):
    """Contents by file name, and the errors of files that are there but could not be fetched."""

    contents: dict[str, bytes] = {}
    failures: dict[str, GuiderailError] = {}

    def with_those_of(self, other: Files) -> Files:
        """Both together."""
        return Files({**self.contents, **other.contents}, {**self.failures, **other.failures})

    def left(self, names: Iterable[str]) -> list[str]:
        """Those of some names that the run left, fetched or not."""
        return [n for n in names if n in self.contents or n in self.failures]


class ParsedRun(msgspec.Struct):
    """What the files of a run hold; None for a file that is absent or that ``errors`` explains.

    ``violations`` are those of every violations file: an empty one must not hide another.

    ``errors`` is keyed by file name; those of the baseline by ``baseline/`` and the name.
    """

    violations: tuple[Violation, ...] | None = None
    violations_file: str | None = None
    statistics: Statistics | None = None
    constraints: Constraints | None = None
    analysis: Analysis | None = None
    analysis_config: AnalysisConfig | None = None
    baseline_statistics: Statistics | None = None
    baseline_constraints: Constraints | None = None
    baseline_analysis: Analysis | None = None
    errors: dict[str, GuiderailError] = {}

    @property
    def report_errors(self) -> dict[str, GuiderailError]:
        """Errors of the run's own result; the baseline and Clarify's configuration are inputs of it."""
        return {
            file: error
            for file, error in self.errors.items()
            if not file.startswith(BASELINE) and file != ANALYSIS_CONFIG
        }


def parse_run(run: Files, baseline: Files | None = None) -> ParsedRun:
    """Read every file that is there; a file that cannot be read becomes an entry of ``errors``."""
    errors: dict[str, GuiderailError] = {}

    def read(
        files: Files, name: str, reader: Callable[[bytes, str], T], place: str = ""
    ) -> T | None:
        if name in files.failures:
            errors[place + name] = files.failures[name]
        elif name in files.contents:
            try:
                return reader(files.contents[name], place + name)
            except GuiderailError as exc:
                errors[place + name] = exc
        return None

    base = baseline or Files()
    violations_files = run.left(FILE_NAMES)
    lists = [read(run, name, read_violations) for name in violations_files]
    listed = [violations for violations in lists if violations is not None]
    return ParsedRun(
        violations=tuple(v for violations in listed for v in violations) if listed else None,
        violations_file=violations_files[0] if violations_files else None,
        statistics=read(run, STATISTICS, read_statistics),
        constraints=read(run, CONSTRAINTS, read_constraints),
        analysis=read(run, ANALYSIS, read_analysis),
        analysis_config=read(run, ANALYSIS_CONFIG, read_analysis_config),
        baseline_statistics=read(base, STATISTICS, read_statistics, BASELINE),
        baseline_constraints=read(base, CONSTRAINTS, read_constraints, BASELINE),
        baseline_analysis=read(base, ANALYSIS, read_analysis, BASELINE),
        errors=errors,
    )
