"""``guiderail backtest``: stored runs under a policy, before anybody hears of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from guiderail.errors import GuiderailError, RejectedRequestError, SettingsError
from guiderail.model.policy import Policy
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from guiderail_cli.backtest.result import Backtest

EXIT_UNUSABLE = 3

_EXAMPLE = """
Exit codes: 0 done, 3 unusable input or wrong use.

Example: guiderail backtest --reports s3://my-monitoring/reports --policy new.yaml --html page.html
"""


def backtest(
    reports: Annotated[
        str,
        typer.Option(
            help="Folder or S3 prefix with stored runs: run folders, or what Model Monitor writes.",
            metavar="PATH_OR_S3",
        ),
    ],
    policy: Annotated[
        Path | None, typer.Option(help="Policy to try; the built-in one without it.")
    ] = None,
    against: Annotated[Path | None, typer.Option(help="Policy to compare it with.")] = None,
    since: Annotated[
        str | None,
        typer.Option(help="Only runs of this time before the newest one: 12h, 90d or 8w."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with charts; it needs no network.")
    ] = None,
    feedback: Annotated[
        Path | None,
        typer.Option(help="What people called noise: guiderail incidents feedback --json."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    minimum_rows: Annotated[
        int, typer.Option(help="Fewer rows than this are too few, where the policy says nothing.")
    ] = 30,
    max_mib: Annotated[int, typer.Option(help="Largest file to read, in MiB.")] = 64,
) -> None:
    """Replay stored runs under a policy: what people would have heard, and what differs."""
    try:
        result = run_backtest(
            reports, policy, against, since, minimum_rows, max_mib * 1024 * 1024, feedback
        )
        if html:
            _write_page(html, result)
    except GuiderailError as error:
        for line in str(error).splitlines():
            typer.echo(f"guiderail backtest: {line}", err=True)
        raise typer.Exit(EXIT_UNUSABLE) from None
    for skipped in result.skipped[:5]:
        typer.echo(f"guiderail backtest: {skipped.place} is left out: {skipped.why}", err=True)
    if len(result.skipped) > 5:
        typer.echo(f"guiderail backtest: and {len(result.skipped) - 5} more", err=True)
    if as_json:
        typer.echo(msgspec.json.encode(result).decode())
    else:
        from guiderail_cli.backtest.tables import show

        show(result, Console(highlight=False))
        if html:
            typer.echo(f"page: {html}")


backtest.__doc__ = f"{backtest.__doc__}\n{_EXAMPLE}"


def run_backtest(
    reports: str,
    policy: Path | None,
    against: Path | None,
    since: str | None,
    minimum_rows: int,
    max_bytes: int,
    feedback: Path | None = None,
) -> Backtest:
    """Read the policies, find the runs and replay them, with a progress bar on a terminal.

    Raises:
        GuiderailError: A policy, the feedback or the place of the runs is unusable; says which and
            what to do.
    """
    from guiderail_cli.backtest.feedback import read_feedback
    from guiderail_cli.backtest.run import backtest as replayed
    from guiderail_cli.backtest.shelves import shelf_at
    from guiderail_cli.backtest.stored_runs import find_runs

    policies = [read_policy(policy)]
    if against:
        policies.append(read_policy(against))
    if len({name for name, _ in policies}) < len(policies):
        # two files of one name in two folders
        policies = [
            (str(p), compiled) for p, (_, compiled) in zip((policy, against), policies, strict=True)
        ]
    said = read_feedback(feedback) if feedback else None
    length = _length(since) if since else None
    shelf = shelf_at(reports, max_bytes)
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("looking for runs", total=None)
        found = find_runs(shelf, length)
        bar.update(task, description="replaying", total=len(found.runs))
        return replayed(shelf, found, policies, minimum_rows, lambda: bar.advance(task), said)


def read_policy(path: Path | None) -> tuple[str, Policy]:
    """Compile a policy file; None is the built-in policy.

    Raises:
        SettingsError: It cannot be read, or has errors; names file, line and field.
    """
    if path is None:
        return "built-in", Policy()
    from guiderail_cli.policy_file import compile_policy

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else str(exc)
        raise SettingsError(f"{path}: {why}", remedy="Pass a policy file in YAML") from exc
    compiled = compile_policy(text, str(path), datetime.now(UTC))
    if compiled.policy is None:
        problems = "\n".join(str(problem) for problem in compiled.errors[:10])
        raise SettingsError(problems or f"{path}: not a usable policy")
    return path.name, compiled.policy


_LENGTH = re.compile(r"(\d{1,6})([hdw])")
_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


def _length(text: str) -> timedelta:
    read = _LENGTH.fullmatch(text.strip())
    if read is None or int(read[1]) == 0:
        raise RejectedRequestError(
            f"--since {text!r} is no length of time", remedy="Write 12h, 90d or 8w"
        )
    return timedelta(**{_UNITS[read[2]]: int(read[1])})


def _write_page(file: Path, result: Backtest) -> None:
    from guiderail_cli.backtest.page import page

    try:
        file.write_text(page(result), encoding="utf-8")
    except OSError as exc:
        raise RejectedRequestError(
            f"--html {file}: {exc.strerror}", remedy="Name a file in a folder that is there"
        ) from exc
