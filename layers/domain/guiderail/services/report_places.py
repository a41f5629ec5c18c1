"""Which files to fetch for a run: as few as its monitor needs."""

from __future__ import annotations

from guiderail.model.job import ProcessingJob
from guiderail.model.outcome import MonitorKind
from guiderail.reports.run_files import (
    ANALYSIS,
    ANALYSIS_CONFIG,
    CONSTRAINTS,
    STATISTICS,
    ParsedRun,
)
from guiderail.reports.violations import COLUMN_CHECKS, FILE_NAMES, OWN_CONTAINER_FILE_NAMES
from guiderail.services.identify import CLARIFY_KINDS


def violations_places(job: ProcessingJob, kind: MonitorKind | None) -> list[dict[str, str]]:
    """Places of the violations file, to be tried one after the other.

    For own containers the spelling that the documentation gives them comes first.
    """
    names: tuple[str, ...] = FILE_NAMES[:1]
    if kind is MonitorKind.CUSTOM:
        names = (OWN_CONTAINER_FILE_NAMES[0], FILE_NAMES[0], *OWN_CONTAINER_FILE_NAMES[1:])
    return [{name: _within(job.report_uri, name)} for name in names]


def companion_places(job: ProcessingJob, kind: MonitorKind | None) -> dict[str, str]:
    """Places of the files that tell rows and metrics."""
    if kind is None:
        names = [STATISTICS, ANALYSIS]
    else:
        names = [ANALYSIS if kind in CLARIFY_KINDS else STATISTICS]
    return {name: _within(job.report_uri, name) for name in names}


def config_places(job: ProcessingJob) -> dict[str, str]:
    """Place of what Clarify was told to compute, asked where neither schedule nor report tells the monitor."""
    config = job.inputs.get("analysis_config", "")
    return {ANALYSIS_CONFIG: _within(config, ANALYSIS_CONFIG)} if config else {}


def baseline_places(job: ProcessingJob, parsed: ParsedRun) -> dict[str, str]:
    """Places of the baseline files that say more about the violations found; none for a clean run.

    Statistics give a feature's baseline figures. Constraints give thresholds that the wording leaves
    out and the names of columns. Clarify's baseline is an analysis file, given as ``constraints`` too.
    """
    violations = parsed.violations or ()
    if not violations:
        return {}
    places = {}
    shapes = {violation.kind for violation in violations}
    constraints = job.inputs.get("constraints", "")
    if shapes & CLARIFY_KINDS:
        if constraints:
            places[ANALYSIS] = _within(constraints, ANALYSIS)
        return places
    if job.inputs.get("baseline") and any(v.feature_name for v in violations):
        places[STATISTICS] = _within(job.inputs["baseline"], STATISTICS)
    wants_names = any(v.check in COLUMN_CHECKS for v in violations)
    wants_thresholds = any(v.description.startswith("Value") for v in violations)
    if constraints and (wants_names or wants_thresholds):
        places[CONSTRAINTS] = _within(constraints, CONSTRAINTS)
    return places


def _within(uri: str, name: str) -> str:
    """A file under a prefix; an input may name the file itself."""
    return uri if uri.endswith(".json") else f"{uri.rstrip('/')}/{name}"
