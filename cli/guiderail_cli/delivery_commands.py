"""``guiderail deliveries``: what is on its way to people, what arrived, and what has to be sent again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, NamedTuple

import msgspec
import typer
from guiderail.errors import GuiderailError, RejectedRequestError
from guiderail.model.delivery import Delivery, DeliveryState
from guiderail.model.outcome import Reason
from guiderail.ports import Clock, Deliveries, DeliveryQueue
from guiderail.rendering.wording import counted, printable
from guiderail.services.explaining import REASON_TEXTS, moment
from guiderail.services.redelivery import (
    REPLAYED_STATES,
    Redelivery,
    Wanted,
    deliveries_wanted,
)
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from guiderail_cli.incident_commands import (
    SHORTEST_PREFIX,
    AsJson,
    DryRun,
    StackName,
    TableName,
    connect_outbox,
    refusals,
    settings_of,
    span_of,
)
from guiderail_cli.printing import on_stdout, print_json, table_of
from guiderail_cli.stack_outputs import DELIVERIES_QUEUE, RUN_TABLE, find_parts

EXIT_DIFFERENCE, EXIT_REFUSED = 1, 3

_COLOURS = {
    DeliveryState.DELIVERED: "green",
    DeliveryState.FAILED: "yellow",
    DeliveryState.DEAD: "red",
}

deliveries_app = typer.Typer(
    help="What is on its way to people, what arrived, and what has to be sent again.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

QueueUrl = Annotated[
    str | None,
    typer.Option(
        "--queue",
        help="URL of the queue of deliveries; else $GUIDERAIL_DELIVERIES_QUEUE, else the stack's.",
    ),
]
Since = Annotated[str, typer.Option(help="How far back: 12h, 7d.", metavar="TIME")]
ChannelGlob = Annotated[
    str, typer.Option("--channel", help="Glob of the channel's name, such as 'on-call/*'.")
]


class Post(NamedTuple):
    """The outbox, and the queue that wakes ``deliver``."""

    outbox: Deliveries
    queue: DeliveryQueue
    clock: Clock


def connect_post(table: str | None, stack: str, queue: str | None) -> Post:
    """Open outbox and queue of a stack. Raises GuiderailError."""
    from guiderail.bootstrap import build_deliveries, build_delivery_queue, now

    table, queue = find_parts(stack, {RUN_TABLE: table, DELIVERIES_QUEUE: queue})
    settings = settings_of(table, queue=queue)
    return Post(build_deliveries(settings), build_delivery_queue(settings), now)


@deliveries_app.command("list")
def list_deliveries(
    since: Since = "24h",
    state: Annotated[
        list[DeliveryState] | None, typer.Option(help="Only this state; may be repeated.")
    ] = None,
    channel: ChannelGlob = "",
    table: TableName = None,
    stack: StackName = "guiderail",
    as_json: AsJson = False,
) -> None:
    """List deliveries, oldest first: one message on its way to one channel each.

    Exit codes: 0 listed, 3 not listed.

    Example: guiderail deliveries list --since 24h --state dead
    """
    with refusals("deliveries list"):
        present = datetime.now(UTC)
        wanted = _wanted(since, present, tuple(state or ()), channel)
        outbox = connect_outbox(table, stack)
        with Console(stderr=True).status("reading deliveries"):
            found = deliveries_wanted(outbox, wanted)
    if as_json:
        print_json({"since": wanted.since.isoformat(), "deliveries": [_fields(d) for d in found]})
        return
    if not found:
        typer.echo(f"no deliveries since {moment(wanted.since)}")
        return
    _print_table(found)


@deliveries_app.command()
def replay(
    since: Since = "24h",
    ids: Annotated[
        list[str] | None,
        typer.Option("--id", help="Id of a delivery, or its beginning; may be repeated."),
    ] = None,
    channel: ChannelGlob = "",
    state: Annotated[
        list[DeliveryState] | None, typer.Option(help="dead or failed; both without it.")
    ] = None,
    dry_run: DryRun = False,
    table: TableName = None,
    stack: StackName = "guiderail",
    queue: QueueUrl = None,
    as_json: AsJson = False,
) -> None:
    """Try dead and failed deliveries again at once; tries and time are counted anew.

    A message whose place a newer one took is left out. People whom a fallback told get it as well.

    Exit codes: 0 on their way or nothing to do, 1 a dry run found some, 3 at least one was refused.

    Example: guiderail deliveries replay --since 6h --channel 'on-call/slack' --dry-run
    """
    with refusals("deliveries replay"):
        present = datetime.now(UTC)
        if wrong := set(state or ()).difference(REPLAYED_STATES):
            raise RejectedRequestError(
                f"--state {' '.join(wrong)}: such deliveries are tried anyway, or arrived",
                remedy="Write --state dead or --state failed",
            )
        prefixes = tuple(_prefix(text) for text in ids or ())
        states = tuple(state or (REPLAYED_STATES if not prefixes else ()))
        wanted = _wanted(since, present, states, channel, prefixes)
        post = None if dry_run else connect_post(table, stack, queue)
        outbox: Deliveries = post.outbox if post else connect_outbox(table, stack)
        with Console(stderr=True).status("reading deliveries"):
            found = deliveries_wanted(outbox, wanted)
        if not prefixes:
            found = [d for d in found if d.reason is not Reason.SUPERSEDED]
    results = _replayed(post, found) if post else [_Result(d, d) for d in found]
    _tell(results, dry_run, as_json)


class _Result(NamedTuple):
    """A delivery before and after; ``error`` says why it is not tried again."""

    before: Delivery
    after: Delivery
    error: str = ""


def _replayed(post: Post, found: Sequence[Delivery]) -> list[_Result]:
    again = Redelivery(outbox=post.outbox, queue=post.queue, clock=post.clock)
    console = Console(stderr=True)
    columns = (TextColumn("sending again"), BarColumn(), MofNCompleteColumn())
    results = []
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        for delivery in bar.track(found):
            try:
                results.append(_Result(delivery, again(delivery)))
            except GuiderailError as error:
                results.append(_Result(delivery, delivery, " ".join(str(error).split())))
    return results


def _tell(results: Sequence[_Result], dry_run: bool, as_json: bool) -> None:
    refused = [r for r in results if r.error]
    if as_json:
        listed = [
            {**_fields(r.after), "before": r.before.state.value, "refused": r.error}
            for r in results
        ]
        print_json({"dry_run": dry_run, "deliveries": listed})
    elif not results:
        typer.echo("nothing to send again")
    elif dry_run:
        _print_table([r.before for r in results])
        typer.echo(
            f"dry run: {counted(len(results), 'delivery', 'deliveries')} would be tried again"
        )
    else:
        done = len(results) - len(refused)
        typer.echo(f"tried again at once: {counted(done, 'delivery', 'deliveries')}")
    for result in refused:
        typer.echo(f"guiderail deliveries replay: {printable(result.error)}", err=True)
    if refused:
        raise typer.Exit(EXIT_REFUSED)
    if dry_run and results:
        raise typer.Exit(EXIT_DIFFERENCE)


def _wanted(
    since: str,
    present: datetime,
    states: Sequence[DeliveryState],
    channel: str,
    ids: tuple[str, ...] = (),
) -> Wanted:
    # the clock of who made a message may run ahead of this one
    until = present + timedelta(minutes=5)
    begin = present - span_of(since)
    return Wanted(since=begin, until=until, states=states, channel=channel, ids=ids)


def _prefix(text: str) -> str:
    wanted = text.strip().lower()
    if len(wanted) < SHORTEST_PREFIX:
        raise RejectedRequestError(
            f"--id {text!r} is too short for a delivery's id",
            remedy=f"Give at least {SHORTEST_PREFIX} characters; guiderail deliveries list shows ids",
        )
    return wanted


def _fields(delivery: Delivery) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.structs.asdict(delivery)
    plain: dict[str, Any] = msgspec.to_builtins(fields)
    return {**plain, "meaning": meaning_of(delivery)}


def meaning_of(delivery: Delivery) -> str:
    """Why a delivery is in its state, in words."""
    return REASON_TEXTS.get(delivery.reason, "") if delivery.reason else ""


def answer_of(delivery: Delivery) -> str:
    """What the channel said: its own id of what it accepted, or why it did not."""
    if delivery.state is DeliveryState.DELIVERED:
        return printable(delivery.receipt)
    status = f"HTTP {delivery.status}: " if delivery.status and delivery.error else ""
    return printable(f"{status}{delivery.error}")


def coloured(state: DeliveryState) -> str:
    """A state for a table."""
    colour = _COLOURS.get(state)
    return f"[{colour}]{state}[/]" if colour else state.value


def _print_table(found: Sequence[Delivery]) -> None:
    rows = table_of("id", "made", "state", "reason", "tries", "channel", "message", "answer")
    for d in found:
        rows.add_row(
            d.id[:12],
            f"{d.made_at:%Y-%m-%d %H:%M}",
            coloured(d.state),
            d.reason.value if d.reason else "",
            str(d.attempts),
            escape(printable(d.channel)),
            escape(printable(d.subject)),
            escape(answer_of(d)),
        )
    on_stdout().print(rows)
    over = sum(d.state is DeliveryState.DEAD for d in found)
    dead = f", {over} dead: guiderail deliveries replay" if over else ""
    typer.echo(f"{counted(len(found), 'delivery', 'deliveries')}{dead}")
