"""What was measured, in short phrases that every channel can put where it likes; nothing is escaped yet."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from guiderail.model.message import (
    Distribution,
    Facts,
    MessageKind,
    Notification,
    Row,
    RowState,
    RunPart,
)
from guiderail.model.outcome import Direction
from guiderail.rendering.wording import cut, figure

_BARS = "▁▂▃▄▅▆▇█"
_MOST_TRENDING = 6
_MOST_BUCKETS = 12

_BAD = {
    Direction.ABOVE: "bad above",
    Direction.BELOW: "bad below",
    Direction.FARTHER_FROM_ZERO: "bad farther from zero",
    Direction.OUTSIDE: "bad outside",
    Direction.MISMATCH: "has to match",
}


def headline(row: Row) -> str:
    """Name, check, and how it stands: ``income · completeness_check · new``."""
    parts = [cut(row.name)] if row.name else []
    if row.check and row.check != row.name:
        parts.append(cut(row.check))
    if row.state is not RowState.FIRING:
        parts.append(row.state.value)
    elif row.news:
        parts.append(row.reason.value.replace("_", " "))
    if row.count > 1:
        parts.append(f"{row.count} incidents")
    return " · ".join(parts)


def measured(facts: Facts) -> Iterator[tuple[str, str]]:
    """Label and phrase of each thing that is known, the most important first."""
    if facts.observed is not None:
        yield "Observed", figure(facts.observed, facts.unit)
    if facts.threshold is not None:
        yield "Threshold", threshold(facts)
    if facts.trend:
        yield "Last runs", trend(facts)
    if facts.notes:
        yield "Against baseline", "; ".join(facts.notes)
    if facts.first_seen:
        yield "Since", since(facts)


def threshold(facts: Facts) -> str:
    """The threshold, on which side of it values are bad, and the report's own where it is another."""
    said = figure(facts.threshold, facts.unit)
    if facts.direction:
        said += f", {_BAD[facts.direction]}"
    if facts.report_threshold is not None and facts.report_threshold != facts.threshold:
        said += f" (the report's own: {figure(facts.report_threshold, facts.unit)})"
    return said


def trend(facts: Facts) -> str:
    """Values of the last runs, oldest first, behind a small drawing of them."""
    shown = facts.trend[-_MOST_TRENDING:]
    values = ", ".join(figure(value, facts.unit) for value in shown)
    return f"{bars(shown)} {values}" if len(shown) > 1 else values


def since(facts: Facts) -> str:
    """When it was first seen, and in how many runs since."""
    assert facts.first_seen is not None
    runs = f", in {facts.times_seen} runs" if facts.times_seen > 1 else ""
    return f"{moment(facts.first_seen)}{runs}"


def moment(at: datetime) -> str:
    """A time in UTC to the minute."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def bars(values: Sequence[float]) -> str:
    """Values as bars of a line of text, from the least to the greatest; those without a size are dots."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    # halves: the difference of two numbers may be more than a number can be
    least, span = min(finite) / 2, max(finite) / 2 - min(finite) / 2
    heights = (
        ((v / 2 - least) / span if span else 0.0) if math.isfinite(v) else None for v in values
    )
    return "".join("·" if h is None else _BARS[round(h * (len(_BARS) - 1))] for h in heights)


def shares(distribution: Distribution, show_values: bool) -> str:
    """Baseline against current shares as bars, and in numbers by bucket where values may be shown.

    Both are drawn to one scale, so that they can be compared.
    """
    count = len(distribution.baseline)
    both = bars((*distribution.baseline, *distribution.current, 0.0))
    drawn = f"baseline {both[:count]} now {both[count:-1]}"
    if not show_values:
        return drawn
    listed = zip(distribution.labels, distribution.baseline, distribution.current, strict=False)
    buckets = [
        f"{cut(label, 40)}: {before * 100:.3g}% to {now * 100:.3g}%"
        for label, before, now in listed
    ]
    more = f"; and {len(buckets) - _MOST_BUCKETS} more" if len(buckets) > _MOST_BUCKETS else ""
    return f"{drawn} ({'; '.join(buckets[:_MOST_BUCKETS])}{more})"


def run_line(run: RunPart) -> str:
    """One run: its outcome, monitor, place, window and rows."""
    place = run.endpoint or run.schedule
    parts = [run.outcome, run.monitor.replace("_", " ") + (f" of {cut(place)}" if place else "")]
    if run.window_start or run.window_end:
        parts.append(f"{cut(run.window_start, 40) or '?'} to {cut(run.window_end, 40) or '?'}")
    parts.append("rows unknown" if run.rows is None else f"{run.rows} rows")
    return " · ".join(parts)


def explain(notification: Notification) -> str:
    """The command that says all that is known of a group or remediation; empty for what is of neither."""
    if notification.remediation is not None:
        return f"guiderail remediation show {cut(notification.remediation.id, 100)}"
    if notification.kind in (MessageKind.TEST, MessageKind.DIGEST):
        return ""
    return f"guiderail explain {cut(notification.group, 100)}"
