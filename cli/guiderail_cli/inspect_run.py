"""``guiderail inspect``: one run's outcome and findings."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from guiderail.errors import GuiderailError, JobNotFinishedError
from guiderail.model.event import TERMINAL_STATUSES
from guiderail.model.finding import Finding
from guiderail.model.outcome import Outcome
from guiderail.model.run import Reading
from guiderail.rendering.wording import figure, printable
from guiderail.reports.run_files import Files, parse_run
from guiderail.services.alerting import finding_fields, finding_notes, next_step, worst_first
from guiderail.services.identify import ruled_out
from guiderail.services.reading import read_outcome
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from guiderail_cli.run_folder import baseline_place, read_files, read_job, read_schedule

EXIT_CLEAN, EXIT_VIOLATIONS, EXIT_UNHEALTHY, EXIT_UNREADABLE = 0, 1, 2, 3

_EXAMPLE = """
Exit codes: 0 clean, 1 violations, 2 unhealthy run, 3 unreadable input or wrong use.

Example: guiderail inspect reports/2026/11/23/14 --job job.json --baseline baseline/ --json
"""


def inspect(
    path: Annotated[
        str, typer.Argument(help="Folder or S3 prefix of the run's report.", metavar="PATH_OR_S3")
    ],
    job: Annotated[
        Path | None, typer.Option(help="File with the answer of DescribeProcessingJob.")
    ] = None,
    schedule: Annotated[
        Path | None, typer.Option(help="File with the answer of DescribeMonitoringSchedule.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option(help="Folder or S3 prefix of the baseline.")
    ] = None,
    minimum_rows: Annotated[
        int, typer.Option(help="Fewer rows than this are too few to call a run clean.")
    ] = 30,
    max_mib: Annotated[int, typer.Option(help="Largest file to read, in MiB.")] = 64,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Read one run's folder and print its outcome and findings."""
    try:
        reading = read_run(path, job, schedule, baseline, minimum_rows, max_mib * 1024 * 1024)
    except GuiderailError as error:
        typer.echo(f"guiderail inspect: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(EXIT_UNREADABLE) from None
    if as_json:
        typer.echo(_json(reading))
    else:
        _print(path, reading)
    if reading.outcome is Outcome.UNREADABLE:
        why = "; ".join(reading.evidence) or ", ".join(reading.reasons)
        typer.echo(f"guiderail inspect: {path}: {' '.join(why.split())}", err=True)
        raise typer.Exit(EXIT_UNREADABLE)
    if reading.outcome is not Outcome.CLEAN:
        raise typer.Exit(
            EXIT_VIOLATIONS if reading.outcome is Outcome.VIOLATIONS else EXIT_UNHEALTHY
        )


inspect.__doc__ = f"{inspect.__doc__}\n{_EXAMPLE}"


def read_run(
    place: str,
    job_file: Path | None,
    schedule_file: Path | None,
    baseline: str | None,
    minimum_rows: int,
    max_bytes: int,
) -> Reading:
    """Read a run as the function on AWS does.

    Raises:
        GuiderailError: The input cannot be read, or the job is no ended monitoring run.
    """
    job, schedule = read_job(job_file, place), read_schedule(schedule_file, place)
    if job and (reason := ruled_out(job)):
        raise GuiderailError(
            f"{job.name} is no monitoring run: {reason.value}",
            remedy="Pass the job of a monitoring run",
        )
    if job and job.status not in TERMINAL_STATUSES:
        raise JobNotFinishedError(
            f"{job.name} is {job.status}", remedy="Wait until the job has ended"
        )
    files = read_files(place, max_bytes)
    beside = baseline or baseline_place(place)
    parsed = parse_run(files, read_files(beside, max_bytes) if beside else Files())
    return read_outcome(parsed, job, schedule, minimum_rows)


def _json(reading: Reading) -> str:
    document = {
        "outcome": reading.outcome.value,
        "monitor": reading.monitor.value,
        "reasons": [reason.value for reason in reading.reasons],
        "evidence": list(reading.evidence),
        "rows": reading.rows,
        "findings": [_finding(f) for f in reading.findings],
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False)


def _finding(finding: Finding) -> dict[str, Any]:
    fields = finding_fields(finding)
    fields["reasons"] = [reason.value for reason in finding.reasons]
    for name, summary in (("baseline", finding.baseline), ("current", finding.current)):
        if summary:
            fields[name] = _strict(summary)
    if finding.standard_deviation is not None and math.isfinite(finding.standard_deviation):
        fields["standard_deviation"] = finding.standard_deviation
    if finding.shifts:
        fields["attribution_shifts"] = [_strict(shift) for shift in finding.shifts]
    return fields


def _strict(value: object) -> Any:
    """A value as JSON values; msgspec writes numbers that JSON lacks as null."""
    return msgspec.json.decode(msgspec.json.encode(value))


def _print(path: str, reading: Reading) -> None:
    console = Console(highlight=False)
    colour = {"clean": "green", "violations": "yellow"}.get(reading.outcome.value, "red")
    rows = "rows unknown" if reading.rows is None else f"{reading.rows} rows"
    console.print(
        f"[bold {colour}]{reading.outcome.value}[/]  {reading.monitor.value}  {rows}  {escape(printable(path))}"
    )
    console.print(f"reasons: {', '.join(reading.reasons)}")
    for sentence in reading.evidence:
        console.print(f"evidence: {escape(printable(sentence))}")
    if reading.findings:
        worst = worst_first(reading.findings)
        table = Table(box=SIMPLE_HEAD)
        for heading in ("subject", "check", "observed", "threshold", "bad when"):
            table.add_column(heading, overflow="fold")
        for f in worst:
            direction = f.direction.value.replace("_", " ") if f.direction else "unknown"
            numbers = (figure(f.observed, f.unit), figure(f.threshold, f.unit))
            cells = (str(f.subject), f.check, *numbers, direction)
            table.add_row(*(escape(printable(cell)) for cell in cells))
        console.print(table)
        for f in worst:
            unparsed = [] if f.parsed else [f"unparsed: {f.description or 'no description'}"]
            if notes := "; ".join([*unparsed, *finding_notes(f)]):
                console.print(escape(printable(f"{f.subject}: {notes}")))
    if reading.outcome is not Outcome.CLEAN:
        console.print(f"next step: {next_step(reading)}")
