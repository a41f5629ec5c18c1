"""What differs between two policies over the same runs."""

from __future__ import annotations

from collections.abc import Mapping

from guiderail.model.policy import Severity

from guiderail_cli.backtest.result import (
    Comparison,
    IncidentSummary,
    SeverityChange,
    TellingChange,
)


def compare(old: Mapping[str, IncidentSummary], new: Mapping[str, IncidentSummary]) -> Comparison:
    """Compare the incidents of two policies by their ids, which hold nothing that a policy sets."""
    both = [(old[key], new[key]) for key in sorted(old.keys() & new.keys())]
    severity = [
        SeverityChange(n, o.severity, n.severity) for o, n in both if o.severity != n.severity
    ]
    telling = [
        TellingChange(n, o.messages, n.messages) for o, n in both if o.messages != n.messages
    ]
    severity.sort(key=lambda c: (-abs(_rank(c.new) - _rank(c.old)), c.incident.id))
    telling.sort(key=lambda c: (-abs(c.new - c.old), c.incident.id))
    return Comparison(
        only_old=_worst_first(old, old.keys() - new.keys()),
        only_new=_worst_first(new, new.keys() - old.keys()),
        severity=tuple(severity),
        telling=tuple(telling),
    )


def _worst_first(
    incidents: Mapping[str, IncidentSummary], keys: set[str]
) -> tuple[IncidentSummary, ...]:
    chosen = [incidents[key] for key in keys]
    return tuple(sorted(chosen, key=lambda s: (-_rank(s.severity), -s.opened, -s.messages, s.id)))


def _rank(severity: str) -> int:
    return Severity(severity).rank
