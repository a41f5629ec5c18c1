"""A backtest on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from guiderail.rendering.wording import printable
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from guiderail_cli.backtest.page import (
    feedback_words,
    figure,
    never_why,
    noise_names,
    suggestion_name,
)
from guiderail_cli.backtest.result import (
    Backtest,
    FeedbackResult,
    IncidentSummary,
    PolicyResult,
    Share,
)

_MOST_ROWS = 12


def show(result: Backtest, console: Console) -> None:
    """Print a backtest."""
    new, old = result.policy, result.against
    outcomes = ", ".join(f"{count} {name}" for name, count in result.outcomes.items())
    console.print(
        f"[bold]{result.runs} runs[/] of {_text(result.reports)}, {result.begin[:10]} to {result.end[:10]}"
    )
    console.print(f"{outcomes}\n")
    _totals(console, new, old)
    if result.feedback:
        _feedback(console, result.feedback)
    _lines(console, new)
    _shares(console, "owner", new.owners, old.owners if old else None)
    _shares(console, "receiver", new.receivers, old.receivers if old else None)
    _changes(console, result)
    _incidents(console, "opened most often", new.noisiest)
    _suggestions(console, new)
    _counts(console, "remediations that rules name, by incidents opened", new.remediations)
    _counts(console, "retraining, had every endpoint the mode auto, by runs", new.retraining)


def _totals(console: Console, new: PolicyResult, old: PolicyResult | None) -> None:
    days = max(1, len(new.days))
    table = _table("", *(["#" + old.name] if old else []), "#" + new.name)
    policies = [p for p in (old, new) if p]
    for name, counts in (
        ("messages", [f"{p.messages}" for p in policies]),
        ("messages a day", [f"{p.messages / days:.1f}" for p in policies]),
        ("incidents opened", [f"{p.incidents}" for p in policies]),
        ("incidents resolved", [f"{p.resolved}" for p in policies]),
        ("days without a message", [f"{sum(not d.messages for d in p.days)}" for p in policies]),
    ):
        table.add_row(name, *counts)
    for reason in dict.fromkeys(r for p in policies for r in p.told):
        table.add_row(f"  told: {reason}", *(str(p.told.get(reason, 0)) for p in policies))
    console.print(table)


def _feedback(console: Console, feedback: FeedbackResult) -> None:
    console.print(f"{feedback_words(feedback)}\n", soft_wrap=True)
    if feedback.still_told:
        table = _table("called noise, told all the same", "check", "by", "at", "#observed")
        for noise in feedback.still_told[:_MOST_ROWS]:
            table.add_row(
                *(_text(cell) for cell in (*noise_names(noise), noise.by, noise.at[:16])),
                "" if noise.observed is None else figure(noise.observed),
            )
        _print(console, table, len(feedback.still_told))


def _lines(console: Console, policy: PolicyResult) -> None:
    busy = [line for line in policy.lines if line.findings]
    table = _table("line", "#findings", "#counted", "#incidents", "#messages", "held back")
    for line in busy[:_MOST_ROWS]:
        held = ", ".join(f"{count} {reason}" for reason, count in line.held_back.items())
        counts = (line.findings, line.counted, line.incidents, line.messages)
        table.add_row(_line(line.name, line.line), *map(str, counts), held)
    _print(console, table, len(busy))
    if policy.never:
        table = _table("opened no incident", "#findings", "why")
        for line in policy.never[:_MOST_ROWS]:
            why = never_why(line.findings, line.held_back)
            table.add_row(_line(line.name, line.line), str(line.findings), why)
        _print(console, table, len(policy.never))


def _shares(console: Console, head: str, new: Sequence[Share], old: Sequence[Share] | None) -> None:
    before = {share.name: share for share in old or ()}
    now = {share.name: share for share in new}
    names = list(dict.fromkeys([*now, *before]))
    heads = ["#incidents", "#messages"]
    if old is not None:
        heads = [f"{h}{when}" for when in (" before", " now") for h in heads]
    table = _table(head, *heads)
    for name in names[:_MOST_ROWS]:
        shares = [now.get(name, Share(name))]
        if old is not None:
            shares.insert(0, before.get(name, Share(name)))
        cells = [str(n) for share in shares for n in (share.incidents, share.messages)]
        table.add_row(_text(name or "(nobody)"), *cells)
    _print(console, table, len(names))


def _changes(console: Console, result: Backtest) -> None:
    comparison, old = result.comparison, result.against
    if comparison is None or old is None:
        return
    _incidents(console, f"only with {old.name}", comparison.only_old)
    _incidents(console, f"only with {result.policy.name}", comparison.only_new)
    if comparison.severity:
        table = _table("other severity", "check", "subject", "before", "now")
        for change in comparison.severity[:_MOST_ROWS]:
            table.add_row(*_who(change.incident), change.old, change.new)
        _print(console, table, len(comparison.severity))
    if comparison.telling:
        table = _table("told more or less often", "check", "subject", "#before", "#now")
        for told in comparison.telling[:_MOST_ROWS]:
            table.add_row(*_who(told.incident), str(told.old), str(told.new))
        _print(console, table, len(comparison.telling))


def _incidents(console: Console, head: str, incidents: Sequence[IncidentSummary]) -> None:
    if not incidents:
        return
    table = _table(head, "check", "subject", "severity", "#opened", "#messages")
    for incident in incidents[:_MOST_ROWS]:
        counts = (str(incident.opened), str(incident.messages))
        table.add_row(*_who(incident), incident.severity, *counts)
    _print(console, table, len(incidents))


def _suggestions(console: Console, policy: PolicyResult) -> None:
    if not policy.suggestions:
        return
    table = _table("noisy", "#now", "#suggested", "#firings", "#left", "#longest kept", "note")
    for s in policy.suggestions[:_MOST_ROWS]:
        table.add_row(
            _text(suggestion_name(s)),
            figure(s.threshold),
            figure(s.suggested),
            str(s.firings),
            str(s.firings_left),
            f"{s.longest_kept} of {s.longest}",
            s.note,
        )
    _print(console, table, len(policy.suggestions))


def _counts(console: Console, head: str, counts: dict[str, int]) -> None:
    if counts:
        table = _table(head, "#count")
        for name, count in counts.items():
            table.add_row(_text(name), str(count))
        console.print(table)


def _table(*heads: str) -> Table:
    table = Table(box=SIMPLE_HEAD)
    for head in heads:
        is_number = head.startswith("#")
        table.add_column(
            _text(head[1:] if is_number else head),
            justify="right" if is_number else "left",
            overflow="fold",
        )
    return table


def _print(console: Console, table: Table, count: int) -> None:
    console.print(table)
    if count > _MOST_ROWS:
        console.print(f"  and {count - _MOST_ROWS} more; --json lists all\n")


def _who(incident: IncidentSummary) -> Iterable[str]:
    return (
        _text(incident.endpoint or incident.schedule),
        _text(incident.check),
        _text(incident.subject),
    )


def _line(name: str, line: int) -> str:
    return _text(f"{name} (line {line})" if line else name)


def _text(text: str) -> str:
    return escape(printable(text))
