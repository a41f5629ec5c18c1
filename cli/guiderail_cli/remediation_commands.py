"""``guiderail remediation``: start, approve and reject what would mend an incident, and stop it all."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from shlex import quote
from typing import Annotated, Any

import msgspec
import typer
from guiderail.errors import NotFoundError, RejectedRequestError
from guiderail.model.remediation import (
    EVERYTHING,
    Gate,
    GateAnswer,
    Guard,
    Remediation,
    RemediationState,
)
from guiderail.rendering.wording import counted, printable
from guiderail.services.explaining import REASON_TEXTS, moment
from guiderail.services.gates import OVERRIDABLE, stands_in_the_way
from guiderail.services.judging import Alternatives, is_glob
from guiderail.services.remediation_acts import RemediationActs
from rich.console import Console
from rich.markup import escape

from guiderail_cli.delivery_commands import QueueUrl
from guiderail_cli.incident_commands import (
    SHORTEST_PREFIX,
    AsJson,
    Comment,
    DryRun,
    Found,
    PolicyBucket,
    Search,
    StackName,
    TableName,
    caller,
    refusals,
    settings_of,
    span_of,
)
from guiderail_cli.printing import on_stdout, print_json, table_of
from guiderail_cli.stack_outputs import (
    DELIVERIES_QUEUE,
    POLICY_BUCKET,
    RUN_TABLE,
    Part,
    find_parts,
)

EXIT_BLOCKED = 1

REMEDIATION_MACHINE = Part(
    "RemediationMachineArn", "GUIDERAIL_REMEDIATION_MACHINE", "--machine", "state machine"
)

_SEARCHED = timedelta(days=90)
"""How far back a remediation is found by the beginning of its id."""

_MOST_CANDIDATES = 10
_WHOLE_ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{12}")
_PRIVATE = ("scope", "token", "seen", "changes", "version", "look_at")
_COLOURS = {
    RemediationState.PROVEN: "green",
    RemediationState.ASKED: "yellow",
    RemediationState.FAILED: "red",
    RemediationState.NOT_PROVEN: "red",
}

app = typer.Typer(
    help="What would mend an incident: start, approve and reject it, see why, and stop it all.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

MachineArn = Annotated[
    str | None,
    typer.Option(
        "--machine",
        help="ARN of the state machine; else $GUIDERAIL_REMEDIATION_MACHINE, else the stack's.",
    ),
]
IncidentId = Annotated[
    str, typer.Argument(metavar="INCIDENT", help="Id of an incident, or its beginning.")
]
RemediationId = Annotated[
    str, typer.Argument(metavar="ID", help="Id of a remediation, or the beginning of a half of it.")
]
ActionName = Annotated[
    str | None,
    typer.Option(
        "--action", help="Name in the policy's remediations; else the one that a rule named."
    ),
]
Overrides = Annotated[
    list[Gate] | None,
    typer.Option(
        "--override", help=f"Gate to let pass: {', '.join(OVERRIDABLE)}; may be repeated."
    ),
]
Endpoint = Annotated[
    str | None,
    typer.Option("--endpoint", help="Name of an endpoint, or of a schedule that has none."),
]
Everything = Annotated[bool, typer.Option("--all", help="Every remediation of the stack.")]


def connect(
    table: str | None,
    stack: str,
    policy_bucket: str | None,
    queue: str | None = None,
    machine: str | None = None,
    *,
    acting: bool = False,
) -> RemediationActs:
    """Open the remediations of a stack.

    Args:
        table: As its option says.
        stack: As its option says.
        policy_bucket: As its option says.
        queue: As its option says.
        machine: As its option says.
        acting: Whether queue and state machine are needed too.

    Raises:
        GuiderailError: Nothing names a part, or CloudFormation did not answer.
    """
    from guiderail.bootstrap import build_remediation_acts

    parts = {RUN_TABLE: table, POLICY_BUCKET: policy_bucket}
    if acting:
        parts |= {DELIVERIES_QUEUE: queue, REMEDIATION_MACHINE: machine}
    table, bucket, *rest = find_parts(stack, parts)
    queue, machine = rest or ("", "")
    settings = msgspec.structs.replace(
        settings_of(table, bucket, queue), remediation_machine=machine
    )
    return build_remediation_acts(settings)


def actor_of_command() -> tuple[str, str]:
    """Who acts, as AWS vouches for it, and from where: nobody names themselves, since two may be needed."""
    return caller(None)


# --- start and gates


@app.command()
def start(
    incident: IncidentId,
    action: ActionName = None,
    override: Overrides = None,
    comment: Comment = "",
    dry_run: DryRun = False,
    table: TableName = None,
    stack: StackName = "guiderail",
    policy_bucket: PolicyBucket = None,
    queue: QueueUrl = None,
    machine: MachineArn = None,
    as_json: AsJson = False,
) -> None:
    """Start a remediation by hand; the gates are asked all the same.

    Mode suggest is no obstacle then, and you count as one of those who are for it. With --dry-run
    nothing is started, and each gate says what it would say.

    Exit codes: 0 started, or nothing stands in its way; 1 a dry run found it blocked; 3 not started.

    Example: guiderail remediation start 9f31c0aa --action 'retrain loans' --dry-run
    """
    if dry_run:
        _tell_gates("start", incident, action, override, (table, stack, policy_bucket), as_json)
        return
    with refusals("remediation start"):
        acts = connect(table, stack, policy_bucket, queue, machine, acting=True)
        found = Search(acts.incidents).one(incident)
        name = _action_for(found, action)
        actor, origin = actor_of_command()
        made = acts.request(
            found.incident.id, name, actor, origin, comment, overrides=tuple(override or ())
        )
    if as_json:
        print_json(_fields(made))
        return
    typer.echo(f"{made.id}: {_line(made)}, for {printable(found.line)}")
    typer.echo(f"what the gates say: guiderail remediation show {made.id}")


@app.command()
def gates(
    incident: IncidentId,
    action: ActionName = None,
    override: Overrides = None,
    table: TableName = None,
    stack: StackName = "guiderail",
    policy_bucket: PolicyBucket = None,
    as_json: AsJson = False,
) -> None:
    """Tell what each gate would say if you started a remediation now; nothing is changed.

    Exit codes: 0 nothing stands in its way, 1 blocked, 3 not told.

    Example: guiderail remediation gates 9f31c0aa --action 'retrain loans'
    """
    _tell_gates("gates", incident, action, override, (table, stack, policy_bucket), as_json)


def _tell_gates(
    command: str,
    incident: str,
    action: str | None,
    override: Sequence[Gate] | None,
    place: tuple[str | None, str, str | None],
    as_json: bool,
) -> None:
    with refusals(f"remediation {command}"):
        acts = connect(*place)
        found = Search(acts.incidents).one(incident)
        name = _action_for(found, action)
        actor, _ = actor_of_command()
        answers = acts.gates(found.incident.id, name, actor, tuple(override or ()))
    in_the_way = stands_in_the_way(answers)
    if as_json:
        print_json(
            {
                "incident": found.incident.id,
                "action": name,
                "by": actor,
                "blocked": in_the_way is not None,
                "blocked_by": in_the_way.gate if in_the_way else None,
                "gates": [_answer(answer) for answer in answers],
            }
        )
    else:
        typer.echo(f"{printable(name)} for {printable(found.line)}")
        _print_gates(answers)
        waits = [answer.gate for answer in answers if not answer.passed]
        if in_the_way:
            typer.echo(f"it would be blocked by {in_the_way.gate}: {in_the_way.reason}")
        elif waits:
            typer.echo(f"nothing stands in its way; it would wait for {' and '.join(waits)}")
        else:
            typer.echo("nothing stands in its way: it would act at once")
    if in_the_way:
        raise typer.Exit(EXIT_BLOCKED)


def _action_for(found: Found, action: str | None) -> str:
    if action:
        return action
    if not found.incident.remediation:
        raise RejectedRequestError(
            f"no rule names a remediation for {found.incident.id}",
            remedy="Name one of the policy's with --action",
        )
    return found.incident.remediation


# --- approve and reject


@app.command()
def approve(
    remediation: RemediationId,
    comment: Comment = "",
    dry_run: DryRun = False,
    table: TableName = None,
    stack: StackName = "guiderail",
    policy_bucket: PolicyBucket = None,
    queue: QueueUrl = None,
    machine: MachineArn = None,
    as_json: AsJson = False,
) -> None:
    """Be for a remediation that asks; it goes on once enough people are, if the gates still let it.

    You are known by the ARN of your credentials; the policy's approvers may name it.

    Exit codes: 0 done, or done before; 3 refused.

    Example: guiderail remediation approve 20261124T035145-5c1fa2b3d4e5 --comment "labels checked"
    """
    with refusals("remediation approve"):
        acts = connect(table, stack, policy_bucket, queue, machine, acting=True)
        actor, origin = actor_of_command()
        known = _one(acts, remediation)
        after = _tried(acts, known, actor) if dry_run else None
        after = after or acts.approve(known.id, actor, origin, comment)
    was_new = len(after.approvals) > len(known.approvals)
    _tell_decided(after, actor, origin, "approved", dry_run, was_new or dry_run, as_json)


@app.command()
def reject(
    remediation: RemediationId,
    comment: Comment = "",
    dry_run: DryRun = False,
    table: TableName = None,
    stack: StackName = "guiderail",
    policy_bucket: PolicyBucket = None,
    queue: QueueUrl = None,
    machine: MachineArn = None,
    as_json: AsJson = False,
) -> None:
    """Be against a remediation that asks: it is over.

    Exit codes: 0 done, 3 refused.

    Example: guiderail remediation reject 20261124T035145-5c1fa2b3d4e5 --comment "campaign week"
    """
    with refusals("remediation reject"):
        acts = connect(table, stack, policy_bucket, queue, machine, acting=True)
        actor, origin = actor_of_command()
        known = _one(acts, remediation)
        after = _tried(acts, known, actor) if dry_run else None
        after = after or acts.reject(known.id, actor, origin, comment)
    _tell_decided(after, actor, origin, "rejected", dry_run, True, as_json)


def _tried(acts: RemediationActs, known: Remediation, actor: str) -> Remediation:
    """What may be decided by somebody, untouched. Raises RejectedRequestError."""
    if known.state is not RemediationState.ASKED:
        raise RejectedRequestError(
            f"remediation {known.id} is {known.state}; only one that is asked can be decided about"
        )
    if not acts.may_decide(known, actor):
        raise RejectedRequestError(
            f"{actor} is none of those who may decide about {known.action}",
            remedy="The policy's remediations name them as approvers",
        )
    return known


def _tell_decided(
    after: Remediation,
    actor: str,
    origin: str,
    what: str,
    dry_run: bool,
    changed: bool,
    as_json: bool,
) -> None:
    if as_json:
        told = {"by": actor, "origin": origin, "dry_run": dry_run, "changed": changed}
        print_json({**told, "remediation": _fields(after)})
        return
    verb = f"would be {what}" if dry_run else what if changed else f"had been {what}"
    typer.echo(f"{after.id}: {_line(after)}: {verb} by {printable(actor)}")
    if not dry_run and not after.state.is_over:
        typer.echo(f"what becomes of it: guiderail remediation show {after.id}")


# --- show and history


@app.command()
def show(
    remediation: RemediationId,
    table: TableName = None,
    stack: StackName = "guiderail",
    policy_bucket: PolicyBucket = None,
    as_json: AsJson = False,
) -> None:
    """Show one remediation: each gate's answer, approvals, what it did and left, and its timeline.

    Exit codes: 0 shown, 3 not shown.

    Example: guiderail remediation show 5c1fa2b3
    """
    with refusals("remediation show"):
        acts = connect(table, stack, policy_bucket)
        known = _one(acts, remediation)
    if as_json:
        print_json(_fields(known))
        return
    for line in _told(known):
        typer.echo(printable(line))
    if known.gates:
        _print_gates(known.gates)
    if known.timeline:
        rows = table_of("at", "state", "reason", "by", "what")
        for at in known.timeline:
            cells = (moment(at.at), at.state, at.reason, at.by, at.text)
            rows.add_row(*(escape(printable(cell)) for cell in cells))
        on_stdout().print(rows)
    for line in _what_next(known):
        typer.echo(line)


def _told(known: Remediation) -> Iterator[str]:
    yield f"{known.id}: {_line(known)}"
    yield f"{known.reason}: {REASON_TEXTS[known.reason]}"
    where = known.scope.endpoint or known.scope.schedule
    policy = f", policy {known.policy_version}" if known.policy_version else ""
    yield f"requested: {moment(known.requested_at)} by {known.requested_by}, for {where}{policy}"
    yield f"incidents: {', '.join(known.incidents)}"
    if known.cause:
        yield f"cause: {known.cause}"
    if known.doubts:
        yield f"doubts: {', '.join(known.doubts)}"
    if known.overrides:
        yield f"overrides: {', '.join(known.overrides)}"
    for approval in known.approvals:
        over = f" from {approval.origin}" if approval.origin else ""
        said = f": {approval.comment}" if approval.comment else ""
        yield f"approved: {moment(approval.at)} by {approval.by}{over}{said}"
    if known.rejected_by:
        yield f"rejected: by {known.rejected_by}"
    for name in ("parameters", "handle", "result", "before"):
        if value := getattr(known, name):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{name}: {text}"
    for name, at in (
        ("may be approved until", known.expires_at),
        ("started", known.started_at),
        ("has to end by", known.ends_by),
        ("ended", known.ended_at),
        ("proven by runs of data since", known.verify_from),
        ("has to be proven by", known.verify_until),
    ):
        if at:
            yield f"{name}: {moment(at)}"


def _what_next(known: Remediation) -> Iterator[str]:
    if known.state is RemediationState.ASKED:
        yield f"to decide: guiderail remediation approve {known.id}, or reject {known.id}"
    elif known.state is RemediationState.SUGGESTED and known.incidents:
        yield (
            f"to do it: guiderail remediation start {known.incidents[0]} "
            f"--action {printable(quote(known.action))}"
        )


@app.command()
def history(
    since: Annotated[str, typer.Option(help="How far back: 12h, 30d.", metavar="TIME")] = "30d",
    endpoint: Annotated[str, typer.Option(help="Glob of the endpoint.")] = "",
    state: Annotated[
        list[RemediationState] | None, typer.Option(help="Only this state; may be repeated.")
    ] = None,
    table: TableName = None,
    stack: StackName = "guiderail",
    policy_bucket: PolicyBucket = None,
    as_json: AsJson = False,
) -> None:
    """List remediations, newest first; below them kill switches and what is locked now.

    Exit codes: 0 listed, 3 not listed.

    Example: guiderail remediation history --since 7d --endpoint 'loan-*'
    """
    with refusals("remediation history"):
        acts = connect(table, stack, policy_bucket)
        present = acts.clock()
        begin = present - span_of(since)
        globs = Alternatives((endpoint,)) if endpoint else None
        with Console(stderr=True).status("reading remediations"):
            found = [
                known
                for known in acts.remediations.remediations(begin, present)
                if (not state or known.state in state)
                and (globs is None or globs.match(known.endpoint))
            ]
            guard = acts.remediations.guard()
    locks = {target: lock for target, lock in guard.locks.items() if lock.until > present}
    if as_json:
        print_json(
            {
                "since": begin.isoformat(),
                "remediations": [_fields(known) for known in found],
                "stops": _stops(guard),
                "locks": {target: msgspec.to_builtins(lock) for target, lock in locks.items()},
            }
        )
        return
    if found:
        _print_history(found)
    else:
        typer.echo(f"no remediations since {moment(begin)}")
    for scope, stop in guard.stops.items():
        why = f": {stop.why}" if stop.why else ""
        typer.echo(printable(f"stopped: {_named(scope)} since {moment(stop.at)} by {stop.by}{why}"))
    for target, lock in locks.items():
        typer.echo(printable(f"locked: {target} by {lock.owner} until {moment(lock.until)}"))


def _print_history(found: Iterable[Remediation]) -> None:
    rows = table_of("id", "requested", "where", "remediation", "state", "reason", "by")
    for known in found:
        colour = _COLOURS.get(known.state)
        state = f"[{colour}]{known.state}[/]" if colour else known.state.value
        people = [approval.by for approval in known.approvals] or [known.requested_by]
        cells = (known.id, f"{known.requested_at:%Y-%m-%d %H:%M}", known.endpoint, known.action)
        rows.add_row(
            *(escape(printable(cell)) for cell in cells),
            state,
            known.reason,
            escape(printable(", ".join(people))),
        )
    on_stdout().print(rows)


# --- the kill switch


@app.command()
def stop(
    why: Annotated[str, typer.Option("--why", help="Shown to whoever is held up by it.")],
    endpoint: Endpoint = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    table: TableName = None,
    stack: StackName = "guiderail",
    policy_bucket: PolicyBucket = None,
    as_json: AsJson = False,
) -> None:
    """Throw the kill switch: no remediation begins any more, of one endpoint or at all.

    What runs already goes on. Who is asked for approval meanwhile can approve, and the gates then block.

    Exit codes: 0 thrown, 3 not thrown.

    Example: guiderail remediation stop --endpoint loans --why "migration until Friday"
    """
    with refusals("remediation stop"):
        scope = _scope(endpoint, everything)
        if not why.strip():
            raise RejectedRequestError("--why is empty", remedy="Say why, for whoever is held up")
        acts = connect(table, stack, policy_bucket)
        actor, origin = actor_of_command()
        guard = acts.remediations.guard() if dry_run else acts.stop(scope, actor, why, origin)
        under_way = [
            lock.owner
            for lock in guard.locks.values()
            if lock.until > acts.clock() and scope in (EVERYTHING, lock.endpoint)
        ]
    _tell_switch(guard, scope, actor, "stopped", dry_run, as_json, under_way)


@app.command()
def resume(
    why: Annotated[str, typer.Option("--why", help="Kept in the audit.")] = "",
    endpoint: Endpoint = None,
    everything: Everything = False,
    dry_run: DryRun = False,
    table: TableName = None,
    stack: StackName = "guiderail",
    policy_bucket: PolicyBucket = None,
    as_json: AsJson = False,
) -> None:
    """Reset a kill switch; each that was thrown needs its own.

    Remediations that were blocked meanwhile stay blocked: start them by hand if they are still wanted.

    Exit codes: 0 reset, 3 it was not thrown.

    Example: guiderail remediation resume --endpoint loans
    """
    with refusals("remediation resume"):
        scope = _scope(endpoint, everything)
        acts = connect(table, stack, policy_bucket)
        actor, origin = actor_of_command()
        if dry_run:
            guard = acts.remediations.guard()
            if scope not in guard.stops:
                raise NotFoundError(f"the kill switch of {_named(scope)} is not thrown")
        else:
            guard = acts.resume(scope, actor, why, origin)
    _tell_switch(guard, scope, actor, "resumed", dry_run, as_json)


def _scope(endpoint: str | None, everything: bool) -> str:
    if (endpoint is None) == (not everything):
        raise RejectedRequestError(
            "a kill switch is for one endpoint or for everything",
            remedy="Write either --endpoint NAME or --all",
        )
    if endpoint is None:
        return EVERYTHING
    if not endpoint.strip() or is_glob(endpoint):
        raise RejectedRequestError(
            f"{endpoint!r} is no endpoint's name", remedy="Write one whole name, or --all"
        )
    return endpoint


def _tell_switch(
    guard: Guard,
    scope: str,
    actor: str,
    what: str,
    dry_run: bool,
    as_json: bool,
    under_way: Sequence[str] = (),
) -> None:
    if as_json:
        document = {
            "scope": scope,
            "by": actor,
            "dry_run": dry_run,
            "stops": _stops(guard),
            "under_way": list(under_way),
        }
        print_json(document)
        return
    would = "would be " if dry_run else ""
    typer.echo(printable(f"{_named(scope)}: {would}{what} by {actor}"))
    for owner in under_way:
        typer.echo(printable(f"under way already, and going on: {owner}"))
    others = [_named(other) for other in guard.stops if other != scope]
    if others and what == "resumed":
        typer.echo(printable(f"still stopped: {', '.join(others)}"))


def _named(scope: str) -> str:
    return "all remediations" if scope == EVERYTHING else f"remediations of {scope}"


def _stops(guard: Guard) -> dict[str, Any]:
    return {scope: msgspec.to_builtins(stop) for scope, stop in guard.stops.items()}


# --- finding and printing


def _one(acts: RemediationActs, text: str) -> Remediation:
    """The remediation whose id, or whose id's second half, begins with ``text``.

    Raises:
        NotFoundError: There is none.
        RejectedRequestError: The text is too short, or several begin with it; they are listed.
    """
    wanted = text.strip()
    if _WHOLE_ID.fullmatch(wanted):
        return acts.find(wanted)
    if len(wanted) < SHORTEST_PREFIX:
        raise RejectedRequestError(
            f"{text!r} is too short for a remediation's id",
            remedy=f"Give at least {SHORTEST_PREFIX} characters; guiderail remediation history has ids",
        )
    present = acts.clock()
    with Console(stderr=True).status("reading remediations"):
        found = [
            known
            for known in acts.remediations.remediations(present - _SEARCHED, present)
            if known.id.startswith(wanted) or known.id.partition("-")[2].startswith(wanted)
        ]
    if not found:
        raise NotFoundError(
            f"no remediation's id begins with {text!r}",
            remedy="List them: guiderail remediation history --since 90d",
        )
    if len(found) > 1:
        listed = "; ".join(f"{known.id} ({_line(known)})" for known in found[:_MOST_CANDIDATES])
        raise RejectedRequestError(
            f"{text!r} begins the ids of {counted(len(found), 'remediation')}: {listed}",
            remedy="Give more characters",
        )
    return found[0]


def _line(known: Remediation) -> str:
    return printable(f"{known.action} ({known.kind} of {known.target}), {known.state}")


def _fields(known: Remediation) -> Mapping[str, Any]:
    """A remediation as JSON values, without what the state machine keeps for itself."""
    fields = msgspec.structs.asdict(known)
    for private in _PRIVATE:
        del fields[private]
    scope = known.scope
    where = {
        "account": scope.account,
        "region": scope.region,
        "endpoint": scope.endpoint,
        "schedule": scope.schedule,
    }
    shown: dict[str, Any] = msgspec.to_builtins(fields)
    shown["gates"] = [_answer(answer) for answer in known.gates]
    return {
        **where,
        **shown,
        "is_over": known.state.is_over,
        "meaning": REASON_TEXTS[known.reason],
    }


def _answer(answer: GateAnswer) -> dict[str, Any]:
    return {name: getattr(answer, name) for name in answer.__struct_fields__}


def _print_gates(answers: Iterable[GateAnswer]) -> None:
    rows = table_of("gate", "lets it pass", "reason", "says")
    for answer in answers:
        passed = "[green]yes[/]" if answer.passed else "[red]no[/]"
        rows.add_row(answer.gate, passed, answer.reason, escape(printable(answer.text)))
    on_stdout().print(rows)
