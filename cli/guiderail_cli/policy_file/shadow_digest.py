"""What shadow rules would have done, gathered from the audit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from guiderail.model.incident import Scope
from guiderail.model.notice import AuditEntry
from guiderail.model.outcome import Reason
from guiderail.ports import Incidents

MOST_ENTRIES = 1000
"""Audit entries read per schedule, newest first."""

_SHADOW_LINE = re.compile(r"shadow: (.+) \(line (\d+)\)", re.S)


class RuleDigest(msgspec.Struct, kw_only=True):
    """What one shadow rule would have let through.

    Attributes:
        findings: Findings that would have counted.
        runs: Runs that had one.
        schedules: Where.
        incidents: Ids of the incidents that they would have opened or kept open.
        newest: The sentence of the newest such finding.
    """

    name: str
    line: int
    findings: int = 0
    runs: int = 0
    schedules: set[str] = msgspec.field(default_factory=set)
    incidents: set[str] = msgspec.field(default_factory=set)
    first_at: datetime
    last_at: datetime
    newest: str = ""


class Digest(msgspec.Struct, frozen=True):
    """All shadow rules, the busiest first; ``left_out`` findings are known as a number only."""

    rules: tuple[RuleDigest, ...]
    left_out: int = 0

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "rules": [
                {
                    "rule": rule.name,
                    "line": rule.line,
                    "findings": rule.findings,
                    "runs": rule.runs,
                    "schedules": sorted(rule.schedules),
                    "incidents": sorted(rule.incidents),
                    "first_at": rule.first_at.isoformat(timespec="seconds"),
                    "last_at": rule.last_at.isoformat(timespec="seconds"),
                    "newest": rule.newest,
                }
                for rule in self.rules
            ],
            "left_out": self.left_out,
        }


def shadow_digest(incidents: Incidents, since: datetime, ledgers: Iterable[str] = ()) -> Digest:
    """Gather the decisions with the reason ``shadow``.

    Args:
        incidents: The store; ledgers with an incident that is not resolved are read.
        since: Nothing older counts.
        ledgers: Ids of further ledgers to read.
    """
    wanted = dict.fromkeys([*(ledger.id for ledger in incidents.firing_ledgers()), *ledgers])
    rules: dict[tuple[str, int], RuleDigest] = {}
    left_out = 0
    for ledger in wanted:
        for entry in incidents.audit(ledger, MOST_ENTRIES):
            if entry.at < since:
                break
            left_out += _add(rules, entry)
    busiest = sorted(rules.values(), key=lambda rule: (-rule.findings, rule.name))
    return Digest(tuple(busiest), left_out)


def _add(rules: dict[tuple[str, int], RuleDigest], entry: AuditEntry) -> int:
    """Count one run's decisions; returns how many are known as a number only."""
    shadowed = [d for d in entry.decisions if d.reason is Reason.SHADOW]
    seen = set()
    for decision in shadowed:
        found = next((m for line in decision.lines if (m := _SHADOW_LINE.fullmatch(line))), None)
        name, line = (found[1], int(found[2])) if found else ("unknown", 0)
        rule = rules.get((name, line))
        if rule is None:
            rule = rules[name, line] = RuleDigest(
                name=name, line=line, first_at=entry.at, last_at=entry.at, newest=decision.text
            )
        rule.findings += 1
        rule.schedules.add(str(entry.run.get("schedule") or entry.run.get("endpoint") or ""))
        rule.incidents.add(decision.about)
        rule.first_at = min(rule.first_at, entry.at)
        if entry.at > rule.last_at:
            rule.last_at, rule.newest = entry.at, decision.text
        seen.add((name, line))
    for key in seen:
        rules[key].runs += 1
    return max(0, entry.counts.get(Reason.SHADOW.value, 0) - len(shadowed))


def ledgers_of_schedules(schedules: Iterable[str]) -> tuple[str, ...]:
    """Ledger ids of schedules in the caller's account and region. Raises GuiderailError."""
    import boto3
    from guiderail.adapters.clients import translated

    with translated("GetCallerIdentity"):
        account = str(boto3.client("sts").get_caller_identity()["Account"])
        region = boto3.Session().region_name or ""
    return tuple(
        Scope(account=account, region=region, schedule=schedule).ledger_id for schedule in schedules
    )
