"""``guiderail reingest``: what a re-ingestion would do, one from this computer, and rejects once more."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
import typer
from guiderail.errors import PermanentError, SettingsError, TransientError
from guiderail.model.identity import digest
from guiderail.model.ingestion import FeatureGroup, ObjectTask, Progress
from guiderail.rendering.wording import printable
from guiderail.services.reingest_planning import (
    DEFAULT_RATE,
    Listing,
    Plan,
    ReingestionRequest,
    listing_of,
    plan_of,
    request_of,
)
from rich.console import Console
from rich.markup import escape

from guiderail_cli.incident_commands import AsJson, DryRun, StackName, refusals
from guiderail_cli.printing import on_stdout, print_json, table_of
from guiderail_cli.stack_outputs import Part, find_parts

if TYPE_CHECKING:
    from guiderail.adapters.reingestion_files import S3ReingestionFiles
    from guiderail.services.reingesting import FeatureGroups, Reingest

EXIT_NOT_ALL = 1

REINGESTION_BUCKET = Part(
    "ReingestionBucketName",
    "GUIDERAIL_REINGESTION_BUCKET",
    "--bucket",
    "bucket of checkpoints and rejects",
)

_NAMED = 10

reingest_app = typer.Typer(
    help="Records from S3 into a feature group again: plan, run, retry.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Group = Annotated[str, typer.Option("--group", help="Feature group: its name or ARN.")]
Source = Annotated[str, typer.Option(help="s3://bucket/object, or what keys begin with.")]
Format = Annotated[
    str, typer.Option("--format", help="csv, parquet or jsonl; auto goes by the extension.")
]
Features = Annotated[
    list[str] | None,
    typer.Option(
        "--feature", help="Write these besides identifier and event time; else all. Repeatable."
    ),
]
From = Annotated[str, typer.Option("--from", help="First event time, as 2026-11-23T00:00:00Z.")]
Until = Annotated[str, typer.Option(help="Event time that is not written any more.")]
Rate = Annotated[float, typer.Option(help="Records per second.")]
Bucket = Annotated[
    str | None,
    typer.Option(
        "--bucket",
        help="Bucket of checkpoints and rejects; else $GUIDERAIL_REINGESTION_BUCKET,"
        " else the stack's.",
    ),
]


class Tools(NamedTuple):
    """S3, SageMaker, and the core that reads from one and writes to the other."""

    files: S3ReingestionFiles
    groups: FeatureGroups
    core: Reingest


class Outcome(NamedTuple):
    """What became of an object; ``error`` says why not all of it was read."""

    uri: str
    progress: Progress
    error: str = ""


@reingest_app.callback()
def reingest() -> None:
    """Records from S3 into a feature group again."""


@reingest_app.command()
def plan(
    group: Group,
    source: Source,
    layout: Format = "auto",
    feature: Features = None,
    since: From = "",
    until: Until = "",
    rate: Rate = DEFAULT_RATE,
    machines: Annotated[
        int, typer.Option(min=0, help="Machines of a Processing job; 0: the stack has no image.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Show what a remediation would read, in which way and why. Reads no records, writes nothing.

    Exit codes: 0 it can be done, 3 it cannot.

    Example: guiderail reingest plan --group loans --source s3://loan-feeds/2026/11/
    """
    with refusals("reingest plan"):
        request = _request(group, source, layout, feature, since, until, rate)
        tools = connect()
        found, _, planned = _planned(tools, request, machines)
    if as_json:
        fields = {name: getattr(planned, name) for name in ("objects", "size", "workers", "why")}
        print_json(
            {
                "way": planned.way.value,
                **fields,
                "passed_over": found.passed_over,
                "loses": list(planned.loses),
                "text": planned.text,
            }
        )
        return
    typer.echo(f"way: {planned.way.value}")
    typer.echo(printable(planned.text))


@reingest_app.command()
def run(
    group: Group,
    source: Source,
    layout: Format = "auto",
    feature: Features = None,
    since: From = "",
    until: Until = "",
    rate: Rate = DEFAULT_RATE,
    run_id: Annotated[
        str, typer.Option("--id", help="Goes on with the run of this id; else today's.")
    ] = "",
    bucket: Bucket = None,
    stack: StackName = "guiderail",
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Write the records from this computer, whatever their number; the same command goes on where it stopped.

    With --dry-run all records are read and checked, and nothing is written.

    Exit codes: 0 all are written, 1 some are rejected or an object cannot be read, 3 nothing was done
    or it broke off.

    Example: guiderail reingest run --group loans --source s3://loan-feeds/2026/11/ --dry-run
    """
    with refusals("reingest run"):
        request = _request(group, source, layout, feature, since, until, rate)
        tools = connect()
        found, described, _ = _planned(tools, request, 0)
        home = "" if dry_run else _home(bucket, stack, run_id, request)
        outcomes = []
        with _status() as tell:
            for number, item in enumerate(found.objects, 1):
                task = _task(request, found.bucket, item, home)
                say = _progress_of(tell, f"{number} of {len(found.objects)} objects: {task.uri}")
                outcomes.append(_ingested(tools.core, task, say, dry_run))
    loses = described.left_out(request.features)
    _tell(outcomes, f"{home}/rejects/" if home else "", loses, dry_run, as_json)


@reingest_app.command()
def retry(
    place: Annotated[str, typer.Argument(help="What the reject files' URIs begin with.")],
    rate: Rate = DEFAULT_RATE,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Try rejected records again; what is written leaves its reject file, the others stay there.

    Values may be corrected in the file before: each line is a JSON object with ``values``.

    Exit codes: 0 no reject is left, 1 some are, 3 there was none or it broke off.

    Example: guiderail reingest retry s3://guiderail-reingestion/20261124-ab12cd34/rejects/
    """
    with refusals("reingest retry"):
        if not place.startswith("s3://"):
            raise SettingsError(f"{place!r} is not an S3 URI", remedy="Write s3://bucket/prefix")
        tools = connect()
        with _status() as tell:
            say = _progress_of(tell, "rejects")
            progress = tools.core.retry(place, _no_end, rate, say, dry_run)
    _tell([Outcome(place, progress)], place, (), dry_run, as_json)


def connect() -> Tools:
    """Make what the commands work with; region and credentials are those of boto3.

    Raises:
        SettingsError: pyarrow is not installed.
    """
    import random
    import time

    from guiderail.adapters.feature_store import FeatureStoreRuntime, SageMakerFeatureGroups
    from guiderail.adapters.reingestion_files import S3ReingestionFiles
    from guiderail.services.reingesting import Reingest

    try:
        from guiderail.adapters.record_files import RecordFiles
    except ImportError as exc:
        raise SettingsError(f"{exc.name} is missing", remedy="Install guiderail[columns]") from exc
    files, groups = S3ReingestionFiles(), SageMakerFeatureGroups()
    core = Reingest(
        groups=groups,
        records=RecordFiles(),
        store=FeatureStoreRuntime(),
        kept=files,
        clock=time.monotonic,
        sleep=time.sleep,
        jitter=random.random,
    )
    return Tools(files, groups, core)


def _request(
    group: str,
    source: str,
    layout: str,
    feature: list[str] | None,
    since: str,
    until: str,
    rate: float,
) -> ReingestionRequest:
    return request_of(
        {
            "feature_group": group,
            "source": source,
            "format": layout,
            "features": feature or [],
            "from": since,
            "until": until,
            "rate": rate,
        }
    )


def _planned(
    tools: Tools, request: ReingestionRequest, machines: int
) -> tuple[Listing, FeatureGroup, Plan]:
    described = tools.groups.describe(request.feature_group)
    loses = described.left_out(request.features)
    found = listing_of(request.source, tools.files.objects(request.source))
    return found, described, plan_of("plan", request, found, machines, loses)


def _home(bucket: str | None, stack: str, run_id: str, request: ReingestionRequest) -> str:
    (found,) = find_parts(stack, {REINGESTION_BUCKET: bucket})
    # another request has checkpoints of its own, whatever its id
    about = digest(msgspec.json.encode(request).decode(), 8)
    name = run_id or f"{datetime.now(UTC):%Y%m%d}"
    return f"s3://{found.removeprefix('s3://').rstrip('/')}/{name}-{about}"


def _task(request: ReingestionRequest, bucket: str, item: Any, home: str) -> ObjectTask:
    name = digest(item.key, 16)
    return ObjectTask(
        uri=f"s3://{bucket}/{item.key}",
        size=item.size,
        etag=item.etag,
        feature_group=request.feature_group,
        format=request.format,
        features=request.features,
        since=_seconds(request.since),
        until=_seconds(request.until),
        rate=request.rate,
        checkpoint=f"{home}/checkpoints/{name}.json",
        rejects=f"{home}/rejects/{name}",
    )


def _seconds(moment: str) -> float | None:
    return datetime.fromisoformat(moment).timestamp() if moment else None


def _ingested(
    core: Reingest, task: ObjectTask, say: Callable[[Progress], object], dry_run: bool
) -> Outcome:
    last = Progress(etag=task.etag)

    def heard(progress: Progress) -> None:
        nonlocal last
        last = progress
        say(progress)

    try:
        return Outcome(task.uri, core.ingest(task, _no_end, heard, dry_run))
    except PermanentError as error:
        # the others go on, and this one is told of
        return Outcome(task.uri, last, f"{error.code}: {error}")
    except TransientError as error:
        raise type(error)(
            str(error), remedy="What is written is noted; the same command goes on there"
        ) from error


def _no_end() -> float:
    return float("inf")


@contextmanager
def _status() -> Iterator[Callable[[str], object]]:
    with Console(stderr=True).status("reading") as status:
        yield lambda text: status.update(escape(printable(text)))


def _progress_of(tell: Callable[[str], object], what: str) -> Callable[[Progress], object]:
    return lambda progress: tell(
        f"{what}: {progress.written} written, {progress.rejected} rejected"
    )


def _tell(
    outcomes: list[Outcome],
    rejects: str,
    loses: tuple[str, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    reasons: dict[str, int] = {}
    for outcome in outcomes:
        for code, count in outcome.progress.reasons.items():
            reasons[code.value] = reasons.get(code.value, 0) + count
    written = sum(outcome.progress.written for outcome in outcomes)
    passed_over = sum(outcome.progress.passed_over for outcome in outcomes)
    failed = [outcome for outcome in outcomes if outcome.error]
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "written": written,
                "rejected": sum(reasons.values()),
                "reasons": reasons,
                "passed_over": passed_over,
                "loses": list(loses),
                "rejects": rejects if reasons else "",
                "failed": [{"object": one.uri, "error": one.error} for one in failed],
            }
        )
    else:
        _print(written, passed_over, reasons, failed, dry_run)
        if loses:
            typer.echo(f"not selected, so no more in these records: {', '.join(loses)}")
        if reasons and rejects and not dry_run:
            typer.echo(f"rejects: {rejects}\ntry again: guiderail reingest retry {rejects}")
    if failed or reasons:
        raise typer.Exit(EXIT_NOT_ALL)


def _print(
    written: int,
    passed_over: int,
    reasons: Mapping[str, int],
    failed: list[Outcome],
    dry_run: bool,
) -> None:
    rows = table_of("records", "what became of them")
    rows.add_row(str(written), "would be written" if dry_run else "written")
    if passed_over:
        rows.add_row(str(passed_over), "out of the time range, or deleted")
    for code, count in sorted(reasons.items()):
        rows.add_row(str(count), f"rejected: {code}")
    on_stdout().print(rows)
    for one in failed[:_NAMED]:
        typer.echo(printable(f"{one.uri}: {one.error}"))
    if len(failed) > _NAMED:
        typer.echo(f"and {len(failed) - _NAMED} more objects that cannot be read")
