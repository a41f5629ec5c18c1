"""``guiderail notify``: whether each channel works, by a message that is marked as a test."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from guiderail.errors import RejectedRequestError
from guiderail.model.delivery import Delivery, DeliveryState
from guiderail.model.policy import Policy
from guiderail.rendering.wording import printable
from guiderail.services.probe_messages import Probing, known_receiver, receivers_of_route
from rich.console import Console
from rich.markup import escape

from guiderail_cli.delivery_commands import (
    QueueUrl,
    answer_of,
    coloured,
    connect_post,
    meaning_of,
)
from guiderail_cli.incident_commands import (
    AsJson,
    By,
    PolicyBucket,
    StackName,
    TableName,
    caller,
    connect,
    refusals,
)
from guiderail_cli.printing import on_stdout, print_json, table_of

EXIT_NOT_DELIVERED = 1

notify_app = typer.Typer(
    help="Messages that people ask for themselves.", no_args_is_help=True, rich_markup_mode=None
)


@notify_app.callback()
def notify() -> None:
    """Messages that people ask for themselves."""


@notify_app.command()
def test(
    route: Annotated[
        str, typer.Option(help="A route: its receiver and those of its escalation are told.")
    ] = "",
    receiver: Annotated[str, typer.Option(help="Or one receiver.")] = "",
    timeout: Annotated[
        float, typer.Option(min=1, max=3600, help="Seconds to wait for the channels' answers.")
    ] = 60,
    by: By = None,
    table: TableName = None,
    stack: StackName = "guiderail",
    policy_bucket: PolicyBucket = None,
    queue: QueueUrl = None,
    as_json: AsJson = False,
) -> None:
    """Send a message that is marked as a TEST over each channel, and tell what each answered.

    Its way is that of every other message: policy, queue, secrets, pictures. It opens no incident of
    Guiderail's and falls back to nobody; incident tools open one, to be closed by hand. The functions
    read a policy that was just pushed within a minute: a new channel is not known before.

    Exit codes: 0 all delivered, 1 some are not (yet), 3 nothing was sent.

    Example: guiderail notify test --route urgent --timeout 30
    """
    with refusals("notify test"):
        if bool(route) == bool(receiver):
            raise RejectedRequestError(
                "name a route or a receiver", remedy="Write --route NAME or --receiver NAME"
            )
        policy = connect(table, stack, policy_bucket).policies.current().policy
        receivers = receivers_of_route(policy, route) if route else known_receiver(policy, receiver)
        post = connect_post(table, stack, queue)
        actor, _ = caller(by)
        probing = Probing(outbox=post.outbox, queue=post.queue, clock=post.clock, wait=time.sleep)
        sent = probing.send(policy, receivers, route, actor)
        began = sent[0].notification.made_at
        standing: Sequence[Delivery] = ()
        with Console(stderr=True).status("waiting for the channels") as status:
            for standing in probing.answers(sent, timeout):
                over = sum(d.state.is_over for d in standing)
                status.update(f"{over} of {len(standing)} channels have answered")
        waited = (post.clock() - began).total_seconds()
    _tell(policy, standing, waited, as_json)
    if any(d.state is not DeliveryState.DELIVERED for d in standing):
        raise typer.Exit(EXIT_NOT_DELIVERED)


test.__test__ = False  # type: ignore[attr-defined]  # a command, whatever pytest makes of its name


def _tell(policy: Policy, standing: Sequence[Delivery], waited: float, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "policy_version": policy.version,
                "delivered": all(d.state is DeliveryState.DELIVERED for d in standing),
                "waited": round(waited, 1),
                "channels": [_fields(d) for d in standing],
            }
        )
        return
    rows = table_of("receiver", "channel", "kind", "state", "seconds", "answer")
    for d in standing:
        seconds = _seconds(d)
        rows.add_row(
            escape(printable(d.receiver)),
            escape(printable(d.channel)),
            d.kind.value,
            coloured(d.state),
            "" if seconds is None else f"{seconds:.1f}",
            escape(answer_of(d) or meaning_of(d)),
        )
    on_stdout().print(rows)
    open_ones = sum(not d.state.is_over for d in standing)
    if open_ones:
        typer.echo(
            f"after {waited:.0f} s {open_ones} of {len(standing)} are not over and go on being tried: "
            "guiderail deliveries list"
        )


def _fields(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "receiver": delivery.receiver,
        "channel": delivery.channel,
        "kind": delivery.kind.value,
        "state": delivery.state.value,
        "reason": delivery.reason.value if delivery.reason else None,
        "meaning": meaning_of(delivery),
        "attempts": delivery.attempts,
        "status": delivery.status or None,
        "receipt": delivery.receipt,
        "error": delivery.error,
        "seconds": _seconds(delivery),
        "delivered_at": _iso(delivery.delivered_at),
    }


def _seconds(delivery: Delivery) -> float | None:
    """From the message to the channel's answer; None while there is none."""
    if delivery.delivered_at is None:
        return None
    return max(0.0, round((delivery.delivered_at - delivery.made_at).total_seconds(), 1))


def _iso(at: datetime | None) -> str | None:
    return at.isoformat(timespec="seconds") if at else None
