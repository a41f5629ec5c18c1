"""A backtest as one HTML page that needs nothing else: no script, no network.

The page is built as a tree of elements, so every name from reports and policies is text, whatever is in it;
the content security policy allows no script at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from guiderail.rendering.wording import counted, printable

from guiderail_cli.backtest import charts
from guiderail_cli.backtest.result import (
    Backtest,
    CalledNoise,
    FeedbackResult,
    IncidentSummary,
    PolicyResult,
    Share,
    Suggestion,
)

_CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'"

_LOOK = """
:root { color-scheme: light; }
body { margin: 0 auto; max-width: 1120px; padding: 24px 20px 60px; color: #1d252c; background: #fff;
  font: 15px/1.5 system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; }
h2 { font-size: 18px; margin: 40px 0 6px; padding-top: 14px; border-top: 1px solid #dfe3e8; }
h3 { font-size: 15px; margin: 20px 0 4px; }
p { margin: 4px 0 10px; max-width: 90ch; }
.quiet { color: #5b6670; }
.cards { display: flex; flex-wrap: wrap; gap: 12px; margin: 18px 0 6px; }
.card { border: 1px solid #dfe3e8; border-radius: 8px; padding: 10px 16px; min-width: 130px; }
.card b { display: block; font-size: 24px; line-height: 1.3; font-variant-numeric: tabular-nums; }
.card span { color: #5b6670; font-size: 13px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 8px 0 14px; font-size: 14px; min-width: 50%; }
th { text-align: left; font-weight: 600; border-bottom: 2px solid #c9d0d7; padding: 5px 14px 5px 0; }
td { border-bottom: 1px solid #e9ecef; padding: 5px 14px 5px 0; vertical-align: top;
  overflow-wrap: anywhere; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 4px 0 14px; }
figcaption { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; color: #5b6670; }
figcaption i { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 6px; }
svg { display: block; width: 100%; height: auto; }
code { font: 13px/1.4 ui-monospace, Menlo, Consolas, monospace; }
"""

_MOST_ROWS = 30
_MOST_BARS = 12
_MOST_VALUE_CHARTS = 4


def page(result: Backtest) -> str:
    """The page, as the text of an HTML file."""
    html = Element("html", {"lang": "en"})
    head = SubElement(html, "head")
    SubElement(head, "meta", {"charset": "utf-8"})
    SubElement(
        head,
        "meta",
        {"http-equiv": "Content-Security-Policy", "content": _CONTENT_SECURITY_POLICY},
    )
    SubElement(head, "meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"})
    SubElement(head, "title").text = "Guiderail backtest"
    SubElement(head, "style").text = _LOOK
    body = SubElement(html, "body")
    _summary(body, result)
    _time(body, result)
    _lines(body, result)
    _shares(body, result)
    if result.comparison:
        _changes(body, result)
    if result.feedback:
        _feedback(body, result.feedback)
    _noise(body, result.policy)
    _remedies(body, result.policy)
    return "<!doctype html>\n" + ElementTree.tostring(html, encoding="unicode", method="html")


def _summary(body: Element, result: Backtest) -> None:
    new, old = result.policy, result.against
    _add(body, "h1", "Backtest")
    names = f"{new.name} against {old.name}" if old else new.name
    _add(body, "p", f"{names}: {result.runs:,} runs of {result.reports}")
    outcomes = ", ".join(f"{count:,} {name}" for name, count in result.outcomes.items())
    _add(body, "p", f"{result.begin[:10]} to {result.end[:10]} (UTC): {outcomes}", "quiet")
    if result.skipped:
        first = result.skipped[0]
        _add(
            body,
            "p",
            f"{len(result.skipped)} folders could not be read, the first: {first.place}: {first.why}",
        )
    cards = SubElement(body, "div", {"class": "cards"})
    days = max(1, len(new.days))
    for title, value, before in (
        ("messages", new.messages, old.messages if old else None),
        (
            "messages a day",
            round(new.messages / days, 1),
            round(old.messages / days, 1) if old else None,
        ),
        ("incidents", new.incidents, old.incidents if old else None),
        ("resolved", new.resolved, old.resolved if old else None),
    ):
        card = SubElement(cards, "div", {"class": "card"})
        _add(card, "b", f"{value:,}")
        _add(card, "span", title if before is None else f"{title}, {before:,} before")


def _time(body: Element, result: Backtest) -> None:
    _add(body, "h2", "By day")
    for title, field in (("Messages", "messages"), ("Incidents opened", "incidents")):
        _add(body, "h3", title)
        both = [p for p in (result.against, result.policy) if p]
        series = [(p.name, charts.per_day(p.days, field)) for p in both]
        body.append(charts.daily(f"{title} by day", series))
    why = ", ".join(f"{count:,} {reason}" for reason, count in result.policy.told.items())
    _add(
        body,
        "p",
        f"Why messages were sent with {result.policy.name}: {why or 'none was'}.",
        "quiet",
    )


def _lines(body: Element, result: Backtest) -> None:
    _add(body, "h2", "By line of the policy")
    _add(
        body,
        "p",
        "A finding counts for every line that sets a value for it, so lines add up to more than the whole.",
        "quiet",
    )
    for policy in (result.policy, *((result.against,) if result.against else ())):
        if result.against:
            _add(body, "h3", policy.name)
        busy = [line for line in policy.lines if line.incidents]
        if busy and policy is result.policy:
            shown = busy[:_MOST_BARS]
            body.append(
                charts.ranked(
                    "By line of the policy",
                    [_line_name(line.name, line.line) for line in shown],
                    [
                        ("messages", [line.messages for line in shown]),
                        ("incidents", [line.incidents for line in shown]),
                    ],
                    charts.TWO_COUNTS,
                )
            )
        _table(
            body,
            ("line", "layer", "#findings", "#counted", "#incidents", "#messages", "held back"),
            (
                (
                    _line_name(line.name, line.line),
                    line.layer,
                    line.findings,
                    line.counted,
                    line.incidents,
                    line.messages,
                    ", ".join(f"{count} {reason}" for reason, count in line.held_back.items()),
                )
                for line in policy.lines
                if line.findings
            ),
        )
        if policy.never:
            _add(body, "h3", f"Lines that opened no incident ({len(policy.never)})")
            _table(
                body,
                ("line", "#findings", "why"),
                (
                    (_line_name(n.name, n.line), n.findings, never_why(n.findings, n.held_back))
                    for n in policy.never
                ),
            )


def never_why(findings: int, held_back: dict[str, int]) -> str:
    """Why a line opened no incident, in words."""
    if not findings:
        return "set no value for any finding: nothing matches, or stronger lines set all it says"
    most = next(iter(held_back), "")
    return f"mostly {most}" if most else "all of its findings wait for more runs, or were known"


def _shares(body: Element, result: Backtest) -> None:
    new, old = result.policy, result.against
    for title, field in (("By owner", "owners"), ("By receiver", "receivers")):
        _add(body, "h2", title)
        shares: tuple[Share, ...] = getattr(new, field)
        before: dict[str, Share] = {s.name: s for s in getattr(old, field)} if old else {}
        names = list(dict.fromkeys([*(s.name for s in shares), *before]))
        now = {s.name: s for s in shares}
        shown = names[:_MOST_BARS]
        if shown:
            series = [(new.name, [now.get(n, Share(n)).messages for n in shown])]
            if old:
                series.insert(0, (old.name, [before.get(n, Share(n)).messages for n in shown]))
            _add(body, "p", "Messages", "quiet")
            body.append(
                charts.ranked(f"Messages {title.lower()}", [_named(n) for n in shown], series)
            )
        heads = ["name", "#incidents", "#messages"]
        if old:
            heads += ["#incidents before", "#messages before"]
        rows: list[tuple[object, ...]] = []
        for name in names:
            one, two = now.get(name, Share(name)), before.get(name, Share(name))
            row: tuple[object, ...] = (_named(name), one.incidents, one.messages)
            rows.append((*row, two.incidents, two.messages) if old else row)
        _table(body, heads, rows)


def _changes(body: Element, result: Backtest) -> None:
    comparison, old = result.comparison, result.against
    assert comparison and old
    new = result.policy
    _add(body, "h2", "What changed")
    for title, incidents in (
        (f"Incidents only with {old.name}", comparison.only_old),
        (f"Incidents only with {new.name}", comparison.only_new),
    ):
        _add(body, "h3", f"{title} ({len(incidents)})")
        _incidents(body, incidents)
    _add(body, "h3", f"Other severity ({len(comparison.severity)})")
    _table(
        body,
        ("endpoint", "check", "subject", "before", "now"),
        (
            (
                c.incident.endpoint or c.incident.schedule,
                c.incident.check,
                c.incident.subject,
                c.old,
                c.new,
            )
            for c in comparison.severity
        ),
    )
    _add(body, "h3", f"Told more or less often ({len(comparison.telling)})")
    _table(
        body,
        ("endpoint", "check", "subject", "#messages before", "#messages now"),
        (
            (
                c.incident.endpoint or c.incident.schedule,
                c.incident.check,
                c.incident.subject,
                c.old,
                c.new,
            )
            for c in comparison.telling
        ),
    )


def feedback_words(feedback: FeedbackResult) -> str:
    """How much of what people called noise each policy tells, in words."""
    told = ", ".join(f"{p.policy} tells {p.told:,}" for p in feedback.policies)
    outside = feedback.said - feedback.known
    elsewhere = f"; {outside:,} more are not in these runs" if outside else ""
    findings = counted(feedback.known, "finding")
    return f"Of {findings} that people called noise {told}{elsewhere}."


def noise_names(noise: CalledNoise) -> tuple[str, str]:
    """Where and what somebody called noise."""
    labels = noise.labels
    where = labels.get("endpoint") or labels.get("schedule", "")
    subject = " / ".join(
        labels[key] for key in ("feature", "metric", "facet", "label") if labels.get(key)
    )
    return f"{where}: {subject}" if subject else where, labels.get("check", "")


def _feedback(body: Element, feedback: FeedbackResult) -> None:
    _add(body, "h2", "What people called noise")
    _add(body, "p", feedback_words(feedback))
    if feedback.still_told:
        _add(body, "h3", f"Told all the same with {feedback.policies[0].policy}")
        _table(
            body,
            ("finding", "check", "by", "at", "#observed"),
            [
                (*noise_names(noise), noise.by, noise.at[:16], figure(noise.observed))
                for noise in feedback.still_told
            ],
        )


def _noise(body: Element, policy: PolicyResult) -> None:
    _add(body, "h2", "Noise")
    _add(body, "h3", f"Incidents that opened most often with {policy.name}")
    _incidents(body, policy.noisiest)
    _add(body, "h3", "Suggested thresholds")
    _add(
        body,
        "p",
        "Noisy is what opened at least three times and more than once a fortnight. The suggestion is the "
        "mildest value that leaves as many firings as the longest incident has runs, and one more per "
        "incident and 30 days; it never hides that incident's worst run.",
        "quiet",
    )
    _table(
        body,
        ("what", "#now", "#suggested", "#incidents", "#firings", "#left", "#longest kept", "note"),
        (
            (
                suggestion_name(s),
                figure(s.threshold),
                figure(s.suggested),
                s.incidents,
                s.firings,
                s.firings_left,
                f"{s.longest_kept} of {s.longest}",
                s.note,
            )
            for s in policy.suggestions
        ),
    )
    drawn = [s for s in policy.suggestions if s.suggested is not None][:_MOST_VALUE_CHARTS]
    for suggestion in drawn:
        name = suggestion_name(suggestion)
        _add(body, "h3", f"Values that fired: {name}")
        body.append(charts.values(f"Values that fired: {name}", suggestion))


def suggestion_name(suggestion: Suggestion) -> str:
    """What a suggestion is about, as a person would say it."""
    if suggestion.rule:
        return f"{_line_name(suggestion.rule, suggestion.line)}: {suggestion.check}"
    about = [value for key, value in suggestion.match.items() if key not in ("check", "monitor")]
    return f"{' / '.join(about)}: {suggestion.check}"


def figure(value: float | None) -> str:
    """A threshold with as many digits as matter."""
    return "" if value is None else f"{value:.4g}"


def _remedies(body: Element, policy: PolicyResult) -> None:
    _add(body, "h2", "What would have been done")
    _add(body, "h3", "Remediations that rules name, by incidents opened")
    _table(body, ("remediation", "#incidents"), policy.remediations.items())
    _add(body, "h3", "Retraining, had every endpoint the mode auto, by runs")
    _table(body, ("decision", "#runs"), policy.retraining.items())


def _incidents(body: Element, incidents: Sequence[IncidentSummary]) -> None:
    _table(
        body,
        (
            "endpoint",
            "monitor",
            "check",
            "subject",
            "severity",
            "owner",
            "#opened",
            "#messages",
            "lines",
        ),
        (
            (
                i.endpoint or i.schedule,
                i.monitor,
                i.check,
                i.subject,
                i.severity,
                i.owner,
                i.opened,
                i.messages,
                ", ".join(i.lines),
            )
            for i in incidents
        ),
    )


def _table(body: Element, heads: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """A table; heads that begin with # are of numbers. An empty one says so."""
    listed = [tuple(row) for row in rows]
    if not listed:
        _add(body, "p", "None.", "quiet")
        return
    wide = SubElement(body, "div", {"class": "wide"})
    table = SubElement(wide, "table")
    row_of_heads = SubElement(SubElement(table, "thead"), "tr")
    for head in heads:
        _add(row_of_heads, "th", head.lstrip("#"), "n" if head.startswith("#") else "")
    rows_of = SubElement(table, "tbody")
    for row in listed[:_MOST_ROWS]:
        line = SubElement(rows_of, "tr")
        for head, cell in zip(heads, row, strict=True):
            shown = f"{cell:,}" if isinstance(cell, int) else str(cell)
            _add(line, "td", shown, "n" if head.startswith("#") else "")
    if len(listed) > _MOST_ROWS:
        _add(body, "p", f"and {len(listed) - _MOST_ROWS:,} more; --json lists all.", "quiet")


def _add(parent: Element, tag: str, text: str, style: str = "") -> None:
    SubElement(parent, tag, {"class": style} if style else {}).text = printable(text)


def _line_name(name: str, line: int) -> str:
    return f"{name} (line {line})" if line else name


def _named(name: str) -> str:
    return name or "(nobody)"
