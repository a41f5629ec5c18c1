"""``guiderail policy``: check, explain, push, pull, history, rollback, digest."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from guiderail.errors import ConflictError, NotFoundError, RejectedRequestError
from guiderail.model.outcome import MonitorKind
from guiderail.rendering.wording import counted, printable
from rich.console import Console
from rich.markup import escape

from guiderail_cli.incident_commands import caller, connect, refusals, span_of
from guiderail_cli.printing import on_stdout, print_json, table_of
from guiderail_cli.stack_outputs import POLICY_BUCKET, find_parts

if TYPE_CHECKING:
    from guiderail.model.policy import Policy

    from guiderail_cli.policy_file import CompiledPolicy, Problem
    from guiderail_cli.policy_file.storage import Kept, PolicyStore

EXIT_DIFFERENCE, EXIT_UNUSABLE = 1, 3

policy_app = typer.Typer(
    help="The policy: which findings matter, for whom, and when people hear of them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

PolicyPath = Annotated[Path, typer.Argument(metavar="FILE", help="The policy's YAML file.")]
Bucket = Annotated[
    str | None,
    typer.Option(
        "--bucket", help="Policy bucket; else $GUIDERAIL_POLICY_BUCKET, else the stack's."
    ),
]
Stack = Annotated[str, typer.Option("--stack", help="CloudFormation stack whose output names it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
By = Annotated[
    str | None, typer.Option("--by", help="Who pushes; else the caller's ARN, as AWS tells it.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change; change nothing.")]


# --- check


@policy_app.command()
def check(file: PolicyPath, as_json: AsJson = False) -> None:
    """Check a policy: errors and warnings with line and column.

    Also told: rules that can match nothing, and rules that others override in everything.

    Exit codes: 0 usable (warnings included), 3 errors or no such file.

    Example: guiderail policy check guiderail.yaml
    """
    with refusals("policy check"):
        _, compiled = _compiled(file)
    if as_json:
        print_json({"file": str(file), **_as_json(compiled)})
    else:
        _print_problems(compiled.problems)
        warnings = len(compiled.problems) - len(compiled.errors)
        if compiled.policy:
            from guiderail_cli.policy_file.receivers import all_receivers
            from guiderail_cli.policy_file.remediation_checks import all_remediations

            for line in (*all_receivers(compiled.policy), *all_remediations(compiled.policy)):
                typer.echo(printable(line))
            rules = len(compiled.policy.rules)
            typer.echo(
                f"{file}: usable, version {compiled.policy.version}, "
                f"{counted(rules, 'rule')}, {counted(warnings, 'warning')}"
            )
        else:
            errors = counted(len(compiled.errors), "error")
            typer.echo(f"{file}: not usable, {errors}, {counted(warnings, 'warning')}")
    if not compiled.policy:
        raise typer.Exit(EXIT_UNUSABLE)


# --- explain


@policy_app.command()
def explain(
    file: PolicyPath,
    check: Annotated[
        str, typer.Option(help="A violation's check, or the outcome of an unhealthy run.")
    ],
    endpoint: Annotated[str, typer.Option(help="Endpoint name.")] = "",
    schedule: Annotated[str, typer.Option(help="Monitoring schedule name.")] = "",
    monitor: Annotated[
        MonitorKind | None, typer.Option(help="The monitor; else the one that writes the check.")
    ] = None,
    feature: Annotated[str | None, typer.Option(help="Feature (column) name.")] = None,
    metric: Annotated[str | None, typer.Option(help="Metric name.")] = None,
    facet: Annotated[str | None, typer.Option(help="Facet of a bias metric.")] = None,
    label: Annotated[str | None, typer.Option(help="Label that attributions are of.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Tag of the schedule; repeatable.")
    ] = None,
    account: Annotated[str, typer.Option(help="Account id.")] = "",
    region: Annotated[str, typer.Option(help="Region.")] = "",
    as_json: AsJson = False,
) -> None:
    """Tell what holds for a finding: each value, the line that set it, and who hears of it.

    Exit codes: 0 explained, 3 unusable file or wrong use.

    Example: guiderail policy explain guiderail.yaml --endpoint loans --check baseline_drift_check --feature age
    """
    from guiderail.model.finding import Subject

    from guiderail_cli.policy_file.explaining import Asked, explain_finding, monitor_of

    with refusals("policy explain"):
        _, compiled = _usable(file)
        assert compiled.policy and compiled.document
        tags = dict(_pair(each) for each in tag or ())
        kind = monitor or monitor_of(check)
        if kind is None:
            raise RejectedRequestError(
                f"no single monitor writes {check}", remedy="Name one with --monitor"
            )
        asked = Asked(
            account=account,
            region=region,
            endpoint=endpoint,
            schedule=schedule,
            monitor=kind,
            check=check,
            subject=Subject(feature=feature, metric=metric, facet=facet, label=label),
            tags=tags,
        )
        explained = explain_finding(compiled.policy, compiled.document, asked)
    if as_json:
        print_json({"file": str(file), "version": compiled.policy.version, **explained.as_json()})
        return
    console = on_stdout()
    table = table_of("value", "is", "set by")
    for value in explained.values:
        by = f"{value.rule} ({file}:{value.line})" if value.line else value.rule
        table.add_row(*(escape(cell) for cell in (value.name, value.text, by)))
    console.print(table)
    for sentence in explained.sentences:
        console.print(escape(sentence), soft_wrap=True)


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise RejectedRequestError(f"{text!r} is no tag", remedy="Write --tag stage=prod")
    return key, value


# --- push, pull, history, rollback


@policy_app.command()
def push(
    file: PolicyPath,
    bucket: Bucket = None,
    stack: Stack = "guiderail",
    by: By = None,
    dry_run: DryRun = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace what somebody pushed since you pulled.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a policy and store it as the newest version; functions read it within a minute.

    A file that was pulled replaces only the version that it was pulled from. An invalid file is never
    stored, --force or not.

    Exit codes: 0 stored or nothing to store, 1 a dry run found a difference, 3 not stored.

    Example: guiderail policy push guiderail.yaml --dry-run
    """
    from guiderail_cli.policy_file.local_file import base_of, remember_base
    from guiderail_cli.policy_file.storage import Base

    with refusals("policy push"):
        source, compiled = _usable(file)
        store = _store(bucket, stack)
        now = store.current()
        base = None if force else base_of(file, store.bucket, store.key)
        if base and base.etag != (now.etag if now else ""):
            there = now.who if now else "nothing"
            raise ConflictError(
                f"{store.place} has changed since {file} was pulled: it now holds {there}",
                remedy="Pull it to another file and take its changes over, or push with --force",
            )
        pushed = _store_anew(store, source, compiled, now, by, dry_run, str(file))
        if pushed.kept:
            remember_base(file, Base(store.bucket, store.key, pushed.kept.etag))
        elif now and not pushed.diff:
            remember_base(file, Base(store.bucket, store.key, now.etag))
    if not as_json:
        _print_problems(compiled.problems)
    _tell_pushed(pushed, store, compiled, dry_run, as_json)


@policy_app.command()
def pull(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Where to write it; else stdout.")
    ] = None,
    version_id: Annotated[
        str | None, typer.Option(help="An earlier version, as history shows it.")
    ] = None,
    bucket: Bucket = None,
    stack: Stack = "guiderail",
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that differs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch the stored policy as it was written.

    Beside FILE a note .FILE.base.json says which version it is, so that push can tell whether somebody
    else pushed in between.

    Exit codes: 0 fetched, 3 not fetched.

    Example: guiderail policy pull guiderail.yaml
    """
    from guiderail_cli.policy_file.local_file import remember_base, write_text
    from guiderail_cli.policy_file.storage import Base

    with refusals("policy pull"):
        store = _store(bucket, stack)
        kept = store.find(version_id) if version_id else store.current()
        if kept is None:
            raise NotFoundError(
                f"{store.place} holds no policy", remedy="Store one with guiderail policy push"
            )
        if kept.stored is None:
            raise RejectedRequestError(
                f"{store.place} is no policy: {kept.trouble}",
                remedy="Store a good one with guiderail policy rollback or push",
            )
        if file:
            write_text(file, kept.stored.source, overwrite=force)
            if not version_id:
                # an earlier version is no base: pushing it must not undo what came after unseen
                remember_base(file, Base(store.bucket, store.key, kept.etag))
    if as_json:
        print_json({**_row(kept), "etag": kept.etag, "source": kept.stored.source})
    elif file:
        typer.echo(f"{file}: {kept.who}")
    else:
        typer.echo(kept.stored.source, nl=False)


@policy_app.command()
def history(
    bucket: Bucket = None,
    stack: Stack = "guiderail",
    limit: Annotated[int, typer.Option(min=1, help="Most versions to list.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the stored versions, newest first: who pushed what and when.

    Exit codes: 0 listed, 3 not listed.

    Example: guiderail policy history --limit 5
    """
    with refusals("policy history"):
        store = _store(bucket, stack)
        versions = []
        with Console(stderr=True).status("reading versions"):
            for number, version_id in enumerate(store.version_ids()):
                if number == limit:
                    break
                versions.append(store.version(version_id))
    if as_json:
        print_json({"place": store.place, "versions": [_row(kept) for kept in versions]})
        return
    if not versions:
        typer.echo(f"{store.place} holds no policy")
        return
    table = table_of("version id", "version", "pushed at", "pushed by", "rules")
    for kept in versions:
        row = _row(kept)
        version = row["version"] or f"no policy: {kept.trouble}"
        rules = "" if row["rules"] is None else row["rules"]
        cells = (row["version_id"], version, row["pushed_at"], row["pushed_by"], rules)
        table.add_row(*(escape(str(cell)) for cell in cells))
    on_stdout().print(table)


@policy_app.command()
def rollback(
    version: Annotated[
        str, typer.Argument(metavar="VERSION_ID", help="S3's id or the policy's own version.")
    ],
    bucket: Bucket = None,
    stack: Stack = "guiderail",
    by: By = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Store an earlier version anew, as the newest; nothing is deleted.

    Exit codes: 0 stored or nothing to store, 1 a dry run found a difference, 3 not stored.

    Example: guiderail policy rollback 3f2a9c01b7de --dry-run
    """
    with refusals("policy rollback"):
        store = _store(bucket, stack)
        earlier = store.find(version)
        if earlier.stored is None:
            raise RejectedRequestError(
                f"{version} of {store.place} is no policy: {earlier.trouble}",
                remedy="Choose another version",
            )
        compiled = _checked(earlier.stored.source, f"version {version}")
        pushed = _store_anew(
            store, earlier.stored.source, compiled, store.current(), by, dry_run, version
        )
    _tell_pushed(pushed, store, compiled, dry_run, as_json)


class _Pushed:
    """What a push changed, or would change."""

    def __init__(self, diff: Sequence[str], kept: Kept | None) -> None:
        self.diff = diff
        self.kept = kept


def _store_anew(
    store: PolicyStore,
    source: str,
    compiled: CompiledPolicy,
    now: Kept | None,
    by: str | None,
    dry_run: bool,
    name: str,
) -> _Pushed:
    from guiderail_cli.policy_file.storage import stored_policy

    assert compiled.policy
    before = now.stored.source if now and now.stored else ""
    title = now.who if now else "nothing"
    diff = list(
        unified_diff(before.splitlines(), source.splitlines(), title, name, lineterm="", n=2)
    )
    # the same text may compile to something else in a newer version of Guiderail
    same = now is not None and now.stored is not None and now.stored.source == source
    if same and now and now.stored and now.stored.policy == compiled.policy:
        return _Pushed([], None)
    diff = diff or ["the text is the same, what it compiles to is not"]
    if dry_run:
        return _Pushed(diff, None)
    who, _ = caller(by)
    stored = stored_policy(source, compiled.policy, who, datetime.now(UTC))
    return _Pushed(diff, store.put(stored, now.etag if now else ""))


def _tell_pushed(
    pushed: _Pushed, store: PolicyStore, compiled: CompiledPolicy, dry_run: bool, as_json: bool
) -> None:
    assert compiled.policy
    version = compiled.policy.version
    if as_json:
        document = {
            "place": store.place,
            "version": version,
            "stored": pushed.kept is not None,
            "version_id": pushed.kept.version_id if pushed.kept else None,
            "dry_run": dry_run,
            "difference": list(pushed.diff),
            "problems": [_problem(problem) for problem in compiled.problems],
        }
        print_json(document)
    elif not pushed.diff:
        typer.echo(f"{store.place} holds version {version} already: nothing to store")
    else:
        for line in pushed.diff:
            typer.echo(printable(line))
        if pushed.kept:
            typer.echo(f"stored version {version} in {store.place} ({pushed.kept.version_id})")
        else:
            typer.echo(f"dry run: version {version} would be stored in {store.place}")
    if dry_run and pushed.diff:
        raise typer.Exit(EXIT_DIFFERENCE)


def _store(bucket: str | None, stack: str) -> PolicyStore:
    from guiderail_cli.policy_file.storage import KEY, PolicyStore

    (name,) = find_parts(stack, {POLICY_BUCKET._replace(option="--bucket"): bucket})
    return PolicyStore(name, os.environ.get("GUIDERAIL_POLICY_KEY") or KEY)


# --- digest


@policy_app.command()
def digest(
    since: Annotated[str, typer.Option(help="How far back: 12h, 7d.")] = "7d",
    schedule: Annotated[
        list[str] | None,
        typer.Option(help="Schedules to read too, though nothing of theirs is open; repeatable."),
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="DynamoDB table; else $GUIDERAIL_TABLE, else the stack's.")
    ] = None,
    bucket: Bucket = None,
    stack: Stack = "guiderail",
    as_json: AsJson = False,
) -> None:
    """Tell what rules with shadow: true would have done, from the audit.

    Read are schedules with an incident that is not resolved, and those that --schedule names.

    Exit codes: 0 told, 3 not told.

    Example: guiderail policy digest --since 7d --schedule loans-drift
    """
    from guiderail_cli.policy_file.shadow_digest import ledgers_of_schedules, shadow_digest

    with refusals("policy digest"):
        begin = datetime.now(UTC) - span_of(since)
        incidents = connect(table, stack, bucket).incidents
        with Console(stderr=True).status("reading the audit"):
            named = ledgers_of_schedules(schedule) if schedule else ()
            told = shadow_digest(incidents, begin, named)
    if as_json:
        print_json({"since": begin.isoformat(timespec="seconds"), **told.as_json()})
        return
    if not told.rules:
        typer.echo(f"no shadow rule would have done anything since {begin:%Y-%m-%d %H:%M} UTC")
    else:
        rows = table_of(
            "rule", "line", "findings", "runs", "schedules", "incidents", "last", "newest"
        )
        for rule in told.rules:
            cells = (rule.name, rule.line, rule.findings, rule.runs, len(rule.schedules))
            last = f"{rule.last_at:%Y-%m-%d %H:%M}"
            rows.add_row(
                *(escape(str(c)) for c in (*cells, len(rule.incidents), last, rule.newest))
            )
        on_stdout().print(rows)
    if told.left_out:
        typer.echo(
            f"{counted(told.left_out, 'finding')} more stand in the audit as a number only: "
            "of each run its worst findings are kept in full"
        )


# --- reading and printing


def _compiled(file: Path) -> tuple[str, CompiledPolicy]:
    from guiderail_cli.policy_file import compile_policy
    from guiderail_cli.policy_file.local_file import read_text

    text = read_text(file)
    return text, compile_policy(text, str(file), datetime.now(UTC))


def _usable(file: Path) -> tuple[str, CompiledPolicy]:
    """A file's text and policy; one with errors is told and refused."""
    text, compiled = _compiled(file)
    return text, _refused_if_unusable(compiled, str(file))


def _checked(source: str, name: str) -> CompiledPolicy:
    from guiderail_cli.policy_file import compile_policy

    return _refused_if_unusable(compile_policy(source, name, datetime.now(UTC)), name)


def _refused_if_unusable(compiled: CompiledPolicy, name: str) -> CompiledPolicy:
    if not compiled.policy:
        for problem in compiled.errors:
            typer.echo(printable(str(problem)), err=True)
        raise RejectedRequestError(
            f"{name} has {counted(len(compiled.errors), 'error')}",
            remedy="Mend what guiderail policy check tells",
        )
    return compiled


def _as_json(compiled: CompiledPolicy) -> dict[str, Any]:
    return {
        "usable": compiled.policy is not None,
        "version": compiled.policy.version if compiled.policy else None,
        "receivers": _receivers(compiled.policy),
        "remediations": _remediations(compiled.policy),
        "errors": len(compiled.errors),
        "warnings": len(compiled.problems) - len(compiled.errors),
        "problems": [_problem(problem) for problem in compiled.problems],
    }


def _receivers(policy: Policy | None) -> dict[str, Any]:
    from guiderail_cli.policy_file.receivers import fallbacks

    known = policy.receivers if policy else {}
    return {
        name: {
            "channels": [{"name": c.name, "kind": c.kind.value} for c in receiver.channels],
            "fallbacks": list(fallbacks(known, name)),
        }
        for name, receiver in known.items()
    }


def _remediations(policy: Policy | None) -> dict[str, Any]:
    from guiderail.services.triage import eligible_causes

    known = policy.remediations if policy else {}
    return {
        name: {
            "kind": action.kind.value,
            "mode": action.mode.value,
            "causes": [cause.value for cause in eligible_causes(action)],
        }
        for name, action in known.items()
    }


def _problem(problem: Problem) -> dict[str, Any]:
    return {name: getattr(problem, name) for name in problem.__struct_fields__}


def _row(kept: Kept) -> dict[str, Any]:
    stored = kept.stored
    at = kept.at.isoformat(timespec="seconds") if kept.at else ""
    return {
        "version_id": kept.version_id,
        "version": stored.policy.version if stored else None,
        "pushed_at": (stored.pushed_at if stored else "") or at,
        "pushed_by": stored.pushed_by if stored else "",
        "rules": len(stored.policy.rules) if stored else None,
        "trouble": kept.trouble,
    }


def _print_problems(problems: Sequence[Problem]) -> None:
    for problem in problems:
        typer.echo(printable(str(problem)))
