"""The same feature off on several endpoints: one incident of its source instead of many of its readers."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from msgspec.structs import replace

from guiderail.model.finding import Subject
from guiderail.model.incident import (
    Change,
    ChangeKind,
    Incident,
    IncidentState,
    Ledger,
    Scope,
    Sighting,
    incident_id,
)
from guiderail.model.notice import Entry, Notice
from guiderail.model.outcome import MonitorKind, Reason
from guiderail.model.policy import Severity, Upstream

UPSTREAM_CHECK: Final = "upstream"
"""Check of an upstream incident; its subject is the feature."""

MOST_FEATURES = 2000
"""Features whose sightings are remembered; those seen longest ago go first."""


def upstream_scope(account: str, region: str) -> Scope:
    """The ledger of upstream incidents: one per account and region."""
    return Scope(account=account, region=region, schedule="guiderail-upstream")


def correlate(
    ledger: Ledger, notices: Iterable[Notice], upstream: Upstream, now: datetime
) -> tuple[Ledger, tuple[Change, ...]]:
    """Take in what notices say of features, and open or resolve upstream incidents.

    An incident opens when the feature was seen on ``endpoints`` endpoints within ``within`` seconds; it
    ends when none of them has it any more. Taking in the same notices again changes nothing.
    """
    sightings = {feature: list(seen) for feature, seen in ledger.sightings.items()}
    groups: dict[str, str] = {}
    severities: dict[str, Severity] = {}
    for notice in notices:
        for entry in notice.entries:
            feature, endpoint = entry.labels.get("feature"), entry.labels.get("endpoint")
            if not feature or not endpoint or entry.labels.get("check") == UPSTREAM_CHECK:
                continue
            _see(sightings, entry, feature, endpoint, notice.made_at)
            groups[feature] = groups.get(feature) or entry.labels.get("feature_group", "")
            if entry.severity.rank >= severities.get(feature, entry.severity).rank:
                severities[feature] = entry.severity
    incidents = dict(ledger.incidents)
    changes: list[Change] = []
    for feature, seen in list(sightings.items()):
        key = incident_id(
            ledger.scope, MonitorKind.CUSTOM, UPSTREAM_CHECK, Subject(feature=feature)
        )
        known = incidents.get(key)
        if known is None or not known.state.is_firing:
            seen = [s for s in seen if now.timestamp() - s.at <= upstream.within]
            sightings[feature] = seen
        endpoints = sorted({s.endpoint for s in seen})
        members = tuple(sorted({s.incident for s in seen}))
        if known is not None and known.state.is_firing:
            if not seen:
                over = replace(
                    known,
                    state=IncidentState.RESOLVED,
                    reason=Reason.RESOLVED,
                    changed_at=now,
                    members=(),
                )
                incidents[key] = over
                changes.append(Change(over, ChangeKind.RESOLVED, Reason.RESOLVED))
            elif members != known.members:
                incidents[key] = replace(known, members=members, last_seen=now)
        elif len(endpoints) >= upstream.endpoints:
            group = groups.get(feature, "") or (known.feature_group if known else "")
            source = f"feature group {group}" if group else "its source"
            opened = Incident(
                id=key,
                kind=MonitorKind.CUSTOM,
                check=UPSTREAM_CHECK,
                subject=Subject(feature=feature),
                state=IncidentState.OPEN,
                severity=max(severities.get(feature, Severity.ERROR), Severity.ERROR, key=_rank),
                reason=Reason.UPSTREAM_SUSPECTED,
                first_seen=known.first_seen if known else now,
                last_seen=now,
                opened_at=now,
                changed_at=now,
                times_seen=(known.times_seen if known else 0) + 1,
                occurrence=(known.occurrence if known else 0) + 1,
                description=f"off on {len(endpoints)} endpoints ({', '.join(endpoints[:10])}): look at {source}",
                feature_group=group,
                members=members,
            )
            incidents[key] = opened
            changes.append(Change(opened, ChangeKind.OPENED, Reason.UPSTREAM_SUSPECTED))
    kept = {feature: tuple(seen) for feature, seen in sightings.items() if seen}
    if len(kept) > MOST_FEATURES:
        newest = sorted(kept, key=lambda feature: -max(s.at for s in kept[feature]))
        kept = {feature: kept[feature] for feature in newest[:MOST_FEATURES]}
    return replace(ledger, sightings=kept, incidents=incidents), tuple(changes)


def members(ledger: Ledger | None) -> dict[str, str]:
    """Incidents that a firing upstream incident stands for, with its id."""
    return {
        member: incident.id
        for incident in (ledger.incidents.values() if ledger else ())
        if incident.state.is_firing
        for member in incident.members
    }


def _see(
    sightings: dict[str, list[Sighting]], entry: Entry, feature: str, endpoint: str, at: datetime
) -> None:
    seen = [s for s in sightings.get(feature, ()) if s.incident != entry.incident]
    if entry.firing:
        seen.append(Sighting(endpoint, entry.incident, at.timestamp()))
    sightings[feature] = seen


def _rank(severity: Severity) -> int:
    return severity.rank
