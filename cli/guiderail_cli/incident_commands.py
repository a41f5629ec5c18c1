"""``guiderail incidents``: what is wrong now, and what people do about it."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from guiderail.errors import GuiderailError, NotFoundError, RejectedRequestError
from guiderail.model.incident import Incident, IncidentState, Ledger, ledger_of
from guiderail.model.notice import Silence
from guiderail.model.policy import GROUP_KEYS, Policy, Severity
from guiderail.ports import Incidents
from guiderail.rendering.wording import figure, printable
from guiderail.services.acts import LONGEST_SILENCE, Acts
from guiderail.services.explaining import REASON_TEXTS, moment, named, place, seen_pattern, span
from guiderail.services.incident_cycle import Act, act
from guiderail.services.labels import labels_match, labels_of
from guiderail.settings import Settings
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from guiderail_cli.printing import on_stdout, print_json, table_of
from guiderail_cli.stack_outputs import POLICY_BUCKET, RUN_TABLE, find_parts

if TYPE_CHECKING:
    from guiderail.adapters.dynamo_deliveries import DynamoDeliveries

EXIT_REFUSED = 3

SHORTEST_PREFIX = 6
"""Characters of an id that are enough if no other id begins with them."""

_LONGEST_GLOB = 256
_LONGEST_SPAN = timedelta(days=3660)
_MOST_CANDIDATES = 10
_LEDGER_DIGITS = 20
_FIRING = tuple(state for state in IncidentState if state.is_firing)
_UNITS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_COLOURS = {"info": "cyan", "warning": "yellow", "error": "red", "critical": "bold red"}

incidents_app = typer.Typer(
    help="What is wrong now, and what people do about it: list, show, ack, silence, resolve.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
silence_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
incidents_app.add_typer(silence_app, name="silence")

TableName = Annotated[
    str | None,
    typer.Option("--table", help="DynamoDB table; else $GUIDERAIL_TABLE, else the stack's."),
]
StackName = Annotated[
    str, typer.Option("--stack", help="CloudFormation stack whose outputs name table and policy.")
]
PolicyBucket = Annotated[
    str | None,
    typer.Option("--policy-bucket", help="Else $GUIDERAIL_POLICY_BUCKET, else the stack's."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
By = Annotated[
    str | None, typer.Option("--by", help="Who acts; else the caller's ARN, as AWS tells it.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change; change nothing.")]
Comment = Annotated[str, typer.Option("--comment", help="Kept with the act, for whoever asks why.")]
Ids = Annotated[
    list[str],
    typer.Argument(
        metavar="ID...", help=f"Ids of incidents; {SHORTEST_PREFIX} characters may be enough."
    ),
]


# --- the stack


def connect(table: str | None, stack: str, policy_bucket: str | None) -> Acts:
    """Open the stores of a stack.

    What no option and no variable names is asked of the stack's outputs. Region and credentials come
    from where boto3 takes them.

    Raises:
        SettingsError: Nothing names the table or the bucket.
        GuiderailError: CloudFormation did not answer.
    """
    # powertools and the adapters take their time: --help and tests do without
    from guiderail.bootstrap import build_acts

    table, bucket = find_parts(stack, {RUN_TABLE: table, POLICY_BUCKET: policy_bucket})
    return build_acts(settings_of(table, bucket))


def connect_outbox(table: str | None, stack: str) -> DynamoDeliveries:
    """Open a stack's deliveries and what people answered. Raises GuiderailError as ``connect`` does."""
    from guiderail.bootstrap import build_deliveries

    (name,) = find_parts(stack, {RUN_TABLE: table})
    return build_deliveries(settings_of(name))


def settings_of(table: str, policy_bucket: str = "", queue: str = "") -> Settings:
    """The settings that commands work with; the others are for what only functions do."""
    return Settings(
        table=table,
        policy_bucket=policy_bucket,
        policy_key=os.environ.get("GUIDERAIL_POLICY_KEY", "policy.json"),
        deliveries_queue=queue,
        dead_letter_queue="",
        deliveries_dead_letter_queue="",
        topic="",
        bus="",
    )


def span_of(text: str) -> timedelta:
    """A time span such as 12h or 7d. Raises RejectedRequestError."""
    from guiderail_cli.policy_file.values import seconds_of

    seconds = seconds_of(text)
    if not seconds or seconds > _LONGEST_SPAN.total_seconds():
        raise RejectedRequestError(f"{text!r} is no time span", remedy="Write 12h or 7d")
    return timedelta(seconds=seconds)


def caller(by: str | None) -> tuple[str, str]:
    """Who acts, and from where.

    Raises:
        GuiderailError: AWS does not tell who the caller is, and ``by`` does not either.
    """
    origin = f"cli@{socket.gethostname()}"
    if by is not None:
        if not by.strip():
            raise RejectedRequestError("--by is empty", remedy="Name who acts, or leave it out")
        return by, origin
    import boto3
    from guiderail.adapters.clients import translated

    try:
        with translated("GetCallerIdentity"):
            return str(boto3.client("sts").get_caller_identity()["Arn"]), origin
    except GuiderailError as error:
        raise type(error)(str(error), remedy="Name who acts with --by") from error


@contextmanager
def refusals(command: str) -> Iterator[None]:
    """Say what went wrong on one line of stderr and exit with 3."""
    try:
        yield
    except GuiderailError as error:
        typer.echo(f"guiderail {command}: {' '.join(str(error).split())}", err=True)
        raise typer.Exit(EXIT_REFUSED) from None


# --- finding incidents


class Found(msgspec.Struct, frozen=True):
    """An incident and where it is."""

    ledger: Ledger
    incident: Incident

    @property
    def line(self) -> str:
        """The incident in a few words."""
        where = place(self.ledger.scope, self.incident)
        return f"{self.incident.check} of {named(self.incident)} on {where}"


class Search:
    """Finds incidents by id or its beginning; the ledgers are listed at most once."""

    def __init__(self, incidents: Incidents) -> None:
        """Search in a store."""
        self._incidents = incidents
        self._firing: tuple[Ledger, ...] | None = None

    @property
    def firing(self) -> tuple[Ledger, ...]:
        """Ledgers with an incident that is not resolved."""
        if self._firing is None:
            with Console(stderr=True).status("reading incidents"):
                self._firing = tuple(self._incidents.firing_ledgers())
        return self._firing

    def one(self, text: str) -> Found:
        """Find the incident whose id, or whose id's second half, begins with ``text``.

        Raises:
            NotFoundError: There is none.
            RejectedRequestError: The text is too short, or several begin with it; they are listed.
        """
        wanted = text.strip().lower()
        if len(wanted) < SHORTEST_PREFIX:
            raise RejectedRequestError(
                f"{text!r} is too short for an incident's id",
                remedy=f"Give at least {SHORTEST_PREFIX} characters; guiderail incidents list shows ids",
            )
        candidates = [f for f in self._within(wanted) if _begins(f.incident.id, wanted)]
        exact = [f for f in candidates if f.incident.id == wanted]
        if len(exact or candidates) == 1:
            return (exact or candidates)[0]
        if not candidates:
            raise NotFoundError(
                f"no incident's id begins with {text!r}",
                remedy="List them: guiderail incidents list --all; a resolved one needs its whole id",
            )
        listed = "; ".join(f"{f.incident.id} ({f.line})" for f in candidates[:_MOST_CANDIDATES])
        more = len(candidates) - _MOST_CANDIDATES
        raise RejectedRequestError(
            f"{text!r} begins the ids of {len(candidates)} incidents: {listed}"
            + (f"; and {more} more" if more > 0 else ""),
            remedy="Give more characters",
        )

    def _within(self, wanted: str) -> Iterator[Found]:
        ledgers: Sequence[Ledger] = ()
        if len(ledger_of(wanted)) == _LEDGER_DIGITS:
            known = self._incidents.ledger(ledger_of(wanted))
            ledgers = (known,) if known else ()
        for ledger in ledgers or self.firing:
            for incident in ledger.incidents.values():
                yield Found(ledger, incident)


def _begins(incident_id: str, wanted: str) -> bool:
    return incident_id.startswith(wanted) or incident_id.partition("-")[2].startswith(wanted)


def short_ids(ids: Sequence[str]) -> dict[str, str]:
    """The shortest beginnings, of at least 8 characters, by which ids are told apart.

    All incidents of a schedule share the first half of their ids, so it is the second that is cut.
    """
    tails = {key: key.partition("-")[2] or key for key in ids}
    short = {}
    for key, tail in tails.items():
        length = 8
        while length < len(tail) and any(
            other != key and tails[other].startswith(tail[:length]) for other in ids
        ):
            length += 1
        alone = sum(t == tail for t in tails.values()) == 1
        short[key] = tail[:length] if alone else key
    return short


# --- list and show


@incidents_app.command("list")
def list_incidents(
    endpoint: Annotated[str | None, typer.Option(help="Glob of the endpoint.")] = None,
    owner: Annotated[str | None, typer.Option(help="Glob of the owner.")] = None,
    state: Annotated[
        list[IncidentState] | None, typer.Option(help="Only this state; may be repeated.")
    ] = None,
    severity: Annotated[
        list[Severity] | None, typer.Option(help="Only this severity; may be repeated.")
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Also pending ones, and resolved ones still remembered.")
    ] = False,
    table: TableName = None,
    stack: StackName = "guiderail",
    policy_bucket: PolicyBucket = None,
    as_json: AsJson = False,
) -> None:
    """List incidents, the worst first; without options those that people can act on.

    A ledger without anything that is pending or open is not listed, so `--all` shows resolved
    incidents only beside others of their schedule; `show ID` finds each of them.

    Example: guiderail incidents list --endpoint 'loan-*' --severity error --json
    """
    with refusals("incidents list"):
        acts = connect(table, stack, policy_bucket)
        globs = {"endpoint": endpoint, "owner": owner}
        wanted = {label: glob for label, glob in globs.items() if glob is not None}
        states = tuple(state or (IncidentState if every else _FIRING))
        found = [
            Found(ledger, incident)
            for ledger in Search(acts.incidents).firing
            for incident in ledger.incidents.values()
            if incident.state in states
            and (not severity or incident.severity in severity)
            and labels_match(wanted, labels_of(ledger.scope, incident))
        ]
    found.sort(key=lambda f: (-f.incident.severity.rank, -f.incident.last_seen.timestamp()))
    if as_json:
        print_json({"incidents": [_fields(f) for f in found]})
        return
    if not found:
        typer.echo("no incidents")
        return
    _print_table(found, acts.clock())


def _fields(found: Found) -> dict[str, Any]:
    """An incident as JSON values; numbers that JSON lacks are null."""
    scope = found.ledger.scope
    incident: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(found.incident))
    # to people these are runs, not stamps; the kind is called monitor everywhere else
    for private in ("kind", "seen", "unknown", "changes"):
        incident.pop(private, None)
    return {
        "account": scope.account,
        "region": scope.region,
        "endpoint": scope.endpoint,
        "schedule": scope.schedule,
        **incident,
        "monitor": found.incident.kind.value,
        "meaning": REASON_TEXTS[found.incident.reason],
        "runs": seen_pattern(found.ledger, found.incident),
    }


def _print_table(found: Sequence[Found], present: datetime) -> None:
    short = short_ids([f.incident.id for f in found])
    table = Table(box=SIMPLE_HEAD)
    for heading in ("id", "severity", "state"):
        table.add_column(heading, no_wrap=True)
    for heading in ("where", "finding", "observed", "last seen", "owner"):
        table.add_column(heading, overflow="fold")
    for f in found:
        i = f.incident
        observed = "" if i.observed is None else figure(i.observed, i.unit)
        if i.threshold is not None and observed:
            observed += f" ({figure(i.threshold, i.unit)})"
        cells = (
            short[i.id],
            f"[{_COLOURS[i.severity]}]{i.severity}[/]",
            f"{i.state}{', flapping' if i.flapping else ''}",
            escape(place(f.ledger.scope, i)),
            escape(f"{named(i)}: {i.check}"),
            observed,
            f"{span(present - i.last_seen)} ago",
            escape(printable(i.owner)),
        )
        table.add_row(*cells)
    console = Console(highlight=False)
    console.print(table)
    count = f"{len(found)} incident{'s' * (len(found) != 1)}"
    console.print(f"{count}, thresholds in brackets; more: guiderail explain ID")


@incidents_app.command()
def show(
    incident: Annotated[str, typer.Argument(metavar="ID", help="Id, or its beginning.")],
    table: TableName = None,
    stack: StackName = "guiderail",
    policy_bucket: PolicyBucket = None,
    as_json: AsJson = False,
) -> None:
    """Show all that is kept of one incident; `guiderail explain` tells its story.

    Example: guiderail incidents show 9f31c0aa
    """
    with refusals("incidents show"):
        found = Search(connect(table, stack, policy_bucket).incidents).one(incident)
    fields = _fields(found)
    if as_json:
        print_json(fields)
        return
    for name, value in fields.items():
        if value not in ("", None, [], {}):
            text = (
                json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
            )
            typer.echo(f"{name.replace('_', ' ')}: {printable(str(text))}")


# --- acts


@incidents_app.command()
def ack(
    ids: Ids,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Take an acknowledgement back.")
    ] = False,
    comment: Comment = "",
    by: By = None,
    dry_run: DryRun = False,
    table: TableName = None,
    stack: StackName = "guiderail",
    policy_bucket: PolicyBucket = None,
    as_json: AsJson = False,
) -> None:
    """Acknowledge incidents: people stop hearing of them unless they get worse.

    Exit codes: 0 done (or done before), 3 at least one was refused; the others are done.

    Example: guiderail incidents ack 9f31c0aa 77b2d410 --comment "upstream job is being mended"
    """
    with refusals("incidents ack"):
        acts = connect(table, stack, policy_bucket)
        actor, origin = caller(by)
    doing = Act.WITHDRAW if withdraw else Act.ACKNOWLEDGE
    _each(acts, ids, doing, actor, origin, comment, dry_run, as_json)


@incidents_app.command()
def resolve(
    ids: Ids,
    comment: Comment = "",
    by: By = None,
    dry_run: DryRun = False,
    table: TableName = None,
    stack: StackName = "guiderail",
    policy_bucket: PolicyBucket = None,
    as_json: AsJson = False,
) -> None:
    """End incidents by hand; one that is seen again within the policy's window opens again.

    Exit codes: 0 done (or done before), 3 at least one was refused; the others are done.

    Example: guiderail incidents resolve 9f31c0aa --dry-run
    """
    with refusals("incidents resolve"):
        acts = connect(table, stack, policy_bucket)
        actor, origin = caller(by)
    _each(acts, ids, Act.RESOLVE, actor, origin, comment, dry_run, as_json)


class _Done(msgspec.Struct, frozen=True):
    """What an act came to; ``error`` is set where it was refused."""

    id: str
    what: str = ""
    before: str = ""
    after: str = ""
    changed: bool = False
    error: str = ""


def _each(
    acts: Acts,
    ids: Sequence[str],
    doing: Act,
    actor: str,
    origin: str,
    comment: str,
    dry_run: bool,
    as_json: bool,
) -> None:
    search = Search(acts.incidents)
    results = []
    for text in dict.fromkeys(ids):
        try:
            results.append(_do(acts, search.one(text), doing, actor, origin, comment, dry_run))
        except GuiderailError as error:
            results.append(_Done(text, error=" ".join(str(error).split())))
    _report(results, "incident", actor, origin, dry_run, as_json)


def _report(
    results: Sequence[_Done], what: str, actor: str, origin: str, dry_run: bool, as_json: bool
) -> None:
    """Say what became of each; exit with 3 if one was refused."""
    if as_json:
        listed = [_plain(done) for done in results]
        print_json({"by": actor, "origin": origin, "dry_run": dry_run, f"{what}s": listed})
    for done in results:
        if done.error:
            typer.echo(f"guiderail incidents: {done.error}", err=True)
        elif not as_json:
            typer.echo(f"{done.id}: {printable(done.what)}: {_change(done, dry_run)}")
    if any(done.error for done in results):
        raise typer.Exit(EXIT_REFUSED)


def _change(done: _Done, dry_run: bool) -> str:
    if not done.changed:
        return f"is {done.after} already; nothing to do"
    return (
        f"{done.before}, would become {done.after}" if dry_run else f"{done.before} -> {done.after}"
    )


def _do(
    acts: Acts, found: Found, doing: Act, actor: str, origin: str, comment: str, dry_run: bool
) -> _Done:
    """Try it on what was read, then do it: the second reads again, for somebody may have been faster."""
    key = found.incident.id
    after, change = act(found.ledger, key, doing, actor, acts.clock())
    done = _Done(
        key, found.line, found.incident.state, after.incidents[key].state, change is not None
    )
    if not dry_run and change is not None:
        acts.do(doing, key, actor, origin=origin, comment=comment)
    return done


# --- silences


def silence_until(
    lasts: str | None, until: str | None, begins: datetime, longest: timedelta = LONGEST_SILENCE
) -> datetime:
    """When a silence ends.

    Args:
        lasts: How long, such as ``2h`` or ``1d12h``.
        until: Or the time itself, ISO 8601 with its zone.
        begins: When it begins.
        longest: The longest that is accepted.

    Raises:
        RejectedRequestError: Neither or both are given, one cannot be read, or the end is in the past
            or too far away.
    """
    if (lasts is None) == (until is None):
        raise RejectedRequestError(
            "a silence ends", remedy="Say when: either --for 2h or --until 2026-12-24T08:00:00Z"
        )
    ends = begins + _length(lasts, longest) if lasts is not None else _time(until or "")
    if ends <= begins:
        raise RejectedRequestError(
            f"{until or lasts} is not in the future", remedy="Give an end that is still to come"
        )
    if ends - begins > longest:
        raise RejectedRequestError(
            f"a silence until {moment(ends)} is longer than {longest.days} days",
            remedy="Set a shorter one; for good, write mute-until or shadow into the policy",
        )
    return ends


def _length(text: str, longest: timedelta) -> timedelta:
    parts = re.findall(r"(\d{1,9})([wdhms])", text) if text.isascii() else []
    if not parts or "".join(f"{count}{unit}" for count, unit in parts) != text:
        raise RejectedRequestError(
            f"--for {text!r} is no length of time",
            remedy="Write weeks, days, hours, minutes, seconds, such as 30m, 2h or 1d12h",
        )
    seconds = sum(int(count) * _UNITS[unit] for count, unit in parts)
    # what a time cannot hold is refused as too long, like the rest
    return timedelta(seconds=min(seconds, 2 * longest.total_seconds()))


def _time(text: str) -> datetime:
    remedy = "Write date, time and zone, such as 2026-12-24T08:00:00Z"
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise RejectedRequestError(f"--until {text!r} is no time", remedy=remedy) from None
    if at.tzinfo is None:
        raise RejectedRequestError(f"--until {text!r} has no zone", remedy=remedy)
    return at


def matched_labels(texts: Sequence[str], policy: Policy) -> dict[str, str]:
    """Read ``key=glob`` texts.

    Raises:
        RejectedRequestError: None is given, one is malformed or given twice, or its key is neither one
            of Guiderail's nor a label that the policy sets.
    """
    match: dict[str, str] = {}
    own = sorted({name for rule in policy.rules for name in rule.effect.labels or ()})
    for text in texts:
        key, equals, glob = text.partition("=")
        if not equals or not glob:
            raise RejectedRequestError(
                f"--match {text!r} is not key=glob", remedy="Write it as endpoint=loan-*"
            )
        if key not in GROUP_KEYS and key not in own:
            ours = f"; labels of the policy are {', '.join(own)}" if own else ""
            raise RejectedRequestError(
                f"--match {text!r}: no incident has a label {key!r}",
                remedy=f"Keys are {', '.join(GROUP_KEYS)}{ours}",
            )
        if key in match:
            raise RejectedRequestError(
                f"--match names {key} twice", remedy="Set one silence for each of the two"
            )
        if len(glob) > _LONGEST_GLOB:
            raise RejectedRequestError(
                f"the glob of {key} has {len(glob)} characters, the limit is {_LONGEST_GLOB}",
                remedy="Match by a shorter glob",
            )
        match[key] = glob
    if not match:
        raise RejectedRequestError(
            "a silence needs a match", remedy="Say whom it concerns: --match endpoint=loan-*"
        )
    return match


@silence_app.callback()
def silence(
    context: typer.Context,
    match: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=GLOB", help="Label and glob; all that are given must match."),
    ] = None,
    lasts: Annotated[
        str | None, typer.Option("--for", help="How long: 30m, 2h, 1d12h.", metavar="TIME")
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Or until when: 2026-12-24T08:00:00Z.", metavar="TIME")
    ] = None,
    comment: Comment = "",
    by: By = None,
    dry_run: DryRun = False,
    table: TableName = None,
    stack: StackName = "guiderail",
    policy_bucket: PolicyBucket = None,
    as_json: AsJson = False,
) -> None:
    """Tell nobody of incidents whose labels match, until a time; list and end such silences.

    Incidents go on: they open, get worse and resolve, only nobody is told. What still fires when the
    silence ends is told then.

    Example: guiderail incidents silence --match 'endpoint=loan-*' --for 2h
    """
    if context.invoked_subcommand:
        given = [n for n in context.params if _is_given(context, n)]
        with refusals("incidents silence"):
            if given:
                raise RejectedRequestError(
                    f"options stand before {context.invoked_subcommand}",
                    remedy=f"Write them after {context.invoked_subcommand}, as far as it takes them",
                )
        return
    with refusals("incidents silence"):
        acts = connect(table, stack, policy_bucket)
        begins = acts.clock()
        ends = silence_until(lasts, until, begins)
        wanted = matched_labels(match or (), acts.policies.current().policy)
        actor, origin = caller(by)
        hushed = _hushed(Search(acts.incidents), wanted)
        made = None
        if not dry_run:
            made = acts.silence(wanted, ends, actor, comment=comment, origin=origin)
    if as_json:
        print_json(
            {
                "id": made.id if made else None,
                "match": wanted,
                "starts_at": begins.isoformat(),
                "ends_at": ends.isoformat(),
                "by": actor,
                "origin": origin,
                "comment": comment,
                "dry_run": dry_run,
                "incidents": [f.incident.id for f in hushed],
            }
        )
        return
    said = made.id if made else "a silence would be set"
    typer.echo(f"{said}: {_words(wanted)} until {moment(ends)} ({span(ends - begins)})")
    typer.echo(f"it matches {len(hushed)} of the incidents that fire now")
    for f in hushed[:_MOST_CANDIDATES]:
        typer.echo(f"  {f.incident.id}: {f.line}")
    if made:
        typer.echo(f"to end it early: guiderail incidents silence end {made.id}")


def _is_given(context: typer.Context, parameter: str) -> bool:
    source = context.get_parameter_source(parameter)
    return source is not None and source.name == "COMMANDLINE"


def _hushed(search: Search, match: Mapping[str, str]) -> list[Found]:
    return [
        Found(ledger, incident)
        for ledger in search.firing
        for incident in ledger.incidents.values()
        if incident.state.is_firing and labels_match(match, labels_of(ledger.scope, incident))
    ]


def _words(match: Mapping[str, str]) -> str:
    return printable(", ".join(f"{key}={glob}" for key, glob in match.items()))


@silence_app.command("list")
def list_silences(
    table: TableName = None,
    stack: StackName = "guiderail",
    policy_bucket: PolicyBucket = None,
    as_json: AsJson = False,
) -> None:
    """List silences that have not ended.

    Example: guiderail incidents silence list --json
    """
    with refusals("incidents silence list"):
        acts = connect(table, stack, policy_bucket)
        present = acts.clock()
        silences = acts.incidents.silences(present)
    if as_json:
        print_json({"silences": [_plain(s) for s in silences]})
        return
    if not silences:
        typer.echo("no silences")
    for s in sorted(silences, key=lambda s: s.ends_at):
        comment = f": {s.comment}" if s.comment else ""
        typer.echo(
            f"{s.id}: {_words(s.match)} until {moment(s.ends_at)} "
            f"(in {span(s.ends_at - present)}), by {printable(s.author + comment)}"
        )


@silence_app.command("end")
def end_silences(
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="Ids of silences, or their beginnings.")
    ],
    by: By = None,
    dry_run: DryRun = False,
    table: TableName = None,
    stack: StackName = "guiderail",
    policy_bucket: PolicyBucket = None,
    as_json: AsJson = False,
) -> None:
    """End silences before their time; what still fires is told then.

    Exit codes: 0 done, 3 at least one was refused; the others are done.

    Example: guiderail incidents silence end 5d2c19
    """
    with refusals("incidents silence end"):
        acts = connect(table, stack, policy_bucket)
        actor, origin = caller(by)
        known = acts.incidents.silences(acts.clock())
    results = []
    for text in dict.fromkeys(ids):
        try:
            one = silence_of(known, text)
            if not dry_run:
                acts.end_silence(one.id, actor, origin=origin)
            results.append(_Done(one.id, _words(one.match), "active", "ended", True))
        except GuiderailError as error:
            results.append(_Done(text, error=" ".join(str(error).split())))
    _report(results, "silence", actor, origin, dry_run, as_json)


def silence_of(known: Sequence[Silence], text: str) -> Silence:
    """The silence whose id begins with ``text``.

    Raises:
        NotFoundError: There is none that has not ended.
        RejectedRequestError: The text is too short, or several begin with it.
    """
    wanted = text.strip()
    exact = [s for s in known if s.id == wanted]
    if not exact and len(wanted) < SHORTEST_PREFIX:
        raise RejectedRequestError(
            f"{text!r} is too short for a silence's id",
            remedy=f"Give at least {SHORTEST_PREFIX} characters",
        )
    # what people remember of silence-5d2c19… is the digits
    found = exact or [s for s in known if s.id.startswith((wanted, f"silence-{wanted}"))]
    if not found:
        raise NotFoundError(
            f"no silence's id begins with {text!r}, or it has ended",
            remedy="List them: guiderail incidents silence list",
        )
    if len(found) > 1:
        raise RejectedRequestError(
            f"{text!r} begins the ids of {', '.join(s.id for s in found[:_MOST_CANDIDATES])}",
            remedy="Give more characters",
        )
    return found[0]


# --- what people called noise


@incidents_app.command()
def feedback(
    since: Annotated[str, typer.Option(help="How far back: 12h, 90d.", metavar="TIME")] = "90d",
    table: TableName = None,
    stack: StackName = "guiderail",
    as_json: AsJson = False,
) -> None:
    """List what people called noise, newest first; guiderail backtest --feedback takes the JSON.

    Exit codes: 0 listed, 3 not listed.

    Example: guiderail incidents feedback --since 90d --json > noise.json
    """
    with refusals("incidents feedback"):
        begin = datetime.now(UTC) - span_of(since)
        outbox = connect_outbox(table, stack)
        with Console(stderr=True).status("reading feedback"):
            said = sorted(outbox.feedback(begin), key=lambda f: f.at, reverse=True)
    if as_json:
        print_json({"since": begin.isoformat(), "feedback": [_plain(f) for f in said]})
        return
    if not said:
        typer.echo(f"nobody called anything noise since {moment(begin)}")
        return
    rows = table_of("at", "by", "where", "finding", "observed", "comment")
    for one in said:
        labels = one.labels
        subject = next((labels[k] for k in ("feature", "metric", "facet") if labels.get(k)), "")
        observed = "" if one.observed is None else figure(one.observed, None)
        if observed and one.threshold is not None:
            observed += f" ({figure(one.threshold, None)})"
        cells = (
            f"{one.at:%Y-%m-%d %H:%M}",
            one.actor,
            labels.get("endpoint") or labels.get("schedule", ""),
            f"{subject}: {labels.get('check', '')}".removeprefix(": "),
            observed,
            one.comment,
        )
        rows.add_row(*(escape(printable(cell)) for cell in cells))
    on_stdout().print(rows)


def _plain(value: object) -> Any:
    return msgspec.to_builtins(value)
