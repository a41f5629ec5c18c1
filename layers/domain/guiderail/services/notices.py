"""What a run, or an act, has to tell: its changes sorted by the groups that will hear of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import replace

from guiderail.model.identity import digest
from guiderail.model.incident import Change, ChangeKind, Incident, Ledger
from guiderail.model.message import Distribution, Facts, RunPart
from guiderail.model.notice import Entry, InhibitionSource, Notice
from guiderail.model.outcome import Reason
from guiderail.model.policy import Policy, Route
from guiderail.rendering.wording import cut, figure, printable
from guiderail.services.labels import labels_of, matches, may_match_check, routes_for

MOST_ENTRIES = 50
"""Firing incidents of one schedule that groups know one by one; the rest share an entry."""

MOST_FACTS = 20
"""Entries of a notice that bring what was measured, the worst: as many as a message names."""

MOST_GROUPS = 80
"""Groups of one ledger, which one run may all have to tell: a transaction takes 100 writes."""

_TREND = 5
"""Newest values that a line names."""

_WIDE = ("endpoint", "monitor")
"""What groups beyond the most are folded by."""


class Telling(msgspec.Struct, frozen=True, kw_only=True):
    """What a message says of the run behind a change; empty for an act of a person."""

    id: str
    subject: str = ""
    run: RunPart | None = None
    distributions: tuple[Distribution, ...] = ()
    detail: dict[str, Any] = {}


def with_groups(
    ledger: Ledger,
    changes: Sequence[Change],
    policy: Policy,
    named_routes: Mapping[str, str],
) -> tuple[Ledger, tuple[Change, ...], bool]:
    """Give incidents that opened their groups; they keep them until they open anew.

    A ledger has at most ``MOST_GROUPS`` groups: further ones are folded together by endpoint and
    monitor, and the last value says so.

    Args:
        ledger: The ledger after the changes.
        changes: What happened.
        policy: Tells the routes.
        named_routes: Routes that rules name themselves, by incident.
    """
    incidents = dict(ledger.incidents)
    known = {group for incident in incidents.values() for group in incident.groups}
    own = Counter(
        group
        for incident in incidents.values()
        if incident.state.is_firing and not incident.folded
        for group in incident.groups
    )
    folded = False
    routed = []
    for change in _worst_first(changes):
        incident = change.incident
        if change.reason is Reason.FIRST_SEEN or not incident.groups:
            labels = labels_of(ledger.scope, incident)
            groups = {}
            for route in routes_for(policy.route, labels, named_routes.get(incident.id, "")):
                group = group_id(route, labels)
                if group not in known and len(known) >= MOST_GROUPS:
                    group, folded = group_id(replace(route, group_by=_WIDE), labels), True
                known.add(group)
                groups[group] = route.name
            is_folded = any(own[group] >= MOST_ENTRIES for group in groups)
            incident = replace(incident, groups=groups, folded=is_folded)
            own.update([] if is_folded else list(groups))
            incidents[incident.id] = incident
        routed.append(Change(incident, change.kind, change.reason, change.by))
    return replace(ledger, incidents=incidents), tuple(routed), folded


def notices_of(
    ledger: Ledger,
    changes: Sequence[Change],
    policy: Policy,
    telling: Telling,
    now: datetime,
    line_of: Callable[[str], str] = lambda _: "",
    facts_of: Callable[[Incident], Facts | None] = lambda _: None,
) -> tuple[Notice, ...]:
    """Sort changes into notices, one per group.

    Args:
        ledger: The ledger after the changes, with groups given.
        changes: What happened, with groups given.
        policy: Tells the routes' waiting times.
        telling: The run or the act; its id makes the notices' ids.
        now: When it was decided.
        line_of: The finding behind a change in one line, by incident; empty for what the ledger knows.
        facts_of: What the run measured of an incident; None for what the ledger knows.
    """
    by_group: dict[str, list[Change]] = {}
    routes: dict[str, Route] = {}
    for change in changes:
        for group, name in change.incident.groups.items():
            by_group.setdefault(group, []).append(change)
            if group not in routes:
                labels = labels_of(ledger.scope, change.incident)
                routes[group] = _route(policy, name, labels)
    made = []
    for group, unsorted in by_group.items():
        its_changes = _worst_first(unsorted)
        labels = labels_of(ledger.scope, its_changes[0].incident)
        route = routes[group]
        if group_id(route, labels) != group:
            route = replace(route, group_by=_WIDE)
        made.append(
            Notice(
                id=digest(f"{telling.id}|{group}", 24),
                group=group,
                route=route.name,
                group_labels=group_labels(route, labels),
                ledger=ledger.id,
                entries=_entries(ledger, group, its_changes, line_of),
                made_at=now,
                version=ledger.version + 1,
                due_at=now + timedelta(seconds=route.group_wait),
                subject=telling.subject,
                run=telling.run,
                facts=_facts(its_changes, facts_of),
                distributions=telling.distributions,
                detail=telling.detail,
            )
        )
    return tuple(made)


def with_sources(
    ledger: Ledger, policy: Policy
) -> tuple[Ledger, tuple[InhibitionSource, ...] | None]:
    """A ledger that knows what of it hides others now; None beside it if that is what was written last."""
    sources = sources_of(ledger, policy)
    hides = tuple(sorted(f"{s.incident} {s.labels['severity']}" for s in sources))
    if hides == ledger.hides:
        return ledger, None
    return replace(ledger, hides=hides), sources


def sources_of(ledger: Ledger, policy: Policy) -> tuple[InhibitionSource, ...]:
    """Firing incidents of a ledger that hide others by an inhibition of the policy."""
    found = []
    # most checks hide nothing: labels are made for the few that may
    hiding = {
        check
        for check in {incident.check for incident in ledger.incidents.values()}
        if any(may_match_check(inhibition.source, check) for inhibition in policy.inhibitions)
    }
    for incident in ledger.incidents.values():
        if incident.check in hiding and incident.state.is_firing:
            labels = labels_of(ledger.scope, incident)
            if any(matches(inhibition.source, labels) for inhibition in policy.inhibitions):
                found.append(InhibitionSource(incident=incident.id, labels=labels))
    return tuple(found)


def group_labels(route: Route, labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that a group of this route has in common."""
    return {key: labels.get(key, "") for key in route.group_by}


def group_id(route: Route, labels: Mapping[str, str]) -> str:
    """Derived from the route's name and the labels its group has in common."""
    return _group_id(route.name, tuple(sorted(group_labels(route, labels).items())))


@lru_cache(maxsize=256)
def _group_id(route: str, common: tuple[tuple[str, str], ...]) -> str:
    return digest("|".join([route, *(f"{key}={value}" for key, value in common)]), 24)


def entry_of(ledger: Ledger, change: Change, line: str = "") -> Entry:
    """One change as its group knows it."""
    incident = change.incident
    return Entry(
        incident=incident.id,
        kind=change.kind,
        reason=change.reason,
        severity=incident.severity,
        # one that flaps is not over before it is calm
        firing=incident.state.is_firing or incident.flapping,
        line=line or incident_line(incident),
        labels=labels_of(ledger.scope, incident),
        name=cut(str(incident.subject)),
        runbook=incident.runbook,
        acknowledged=incident.state.value == "acknowledged",
        flapping=incident.flapping,
        stilled=change.kind is ChangeKind.STILLED,
    )


def incident_line(incident: Incident) -> str:
    """An incident in one line, as its ledger knows it: newest value, trend, how often and since when."""
    line = f"{incident.subject}: {incident.check}"
    if incident.observed is not None:
        line += f": last observed {figure(incident.observed, incident.unit)}"
        line += f", threshold {figure(incident.threshold, incident.unit)}"
    elif incident.description:
        line += f": {incident.description}"
    if len(incident.values) > 1:
        trend = ", ".join(figure(value, incident.unit) for value in incident.values[-_TREND:])
        line += f"; lately {trend}"
    times = f"{incident.times_seen} run{'s' * (incident.times_seen != 1)}"
    return printable(f"{line}; in {times} since {incident.first_seen:%Y-%m-%d %H:%M} UTC")


def facts_of_incident(incident: Incident, before: Facts | None = None) -> Facts:
    """What a ledger knows to be measured of an incident.

    A ledger keeps no direction: that of ``before``, what was known of the incident earlier, goes on.
    """
    own = incident.service_threshold
    return Facts(
        observed=incident.observed,
        threshold=incident.threshold,
        report_threshold=own if own != incident.threshold else None,
        unit=incident.unit,
        direction=before.direction if before else None,
        trend=incident.values,
        first_seen=incident.first_seen,
        times_seen=incident.times_seen,
        description=incident.description,
    )


def _facts(
    changes: Sequence[Change], facts_of: Callable[[Incident], Facts | None]
) -> dict[str, Facts]:
    single = [c.incident for c in changes if not c.incident.folded]
    return {i.id: facts_of(i) or facts_of_incident(i) for i in single[:MOST_FACTS]}


def _entries(
    ledger: Ledger, group: str, changes: Sequence[Change], line_of: Callable[[str], str]
) -> tuple[Entry, ...]:
    entries = [
        entry_of(ledger, change, line_of(change.incident.id))
        for change in changes
        if not change.incident.folded
    ]
    folded = [change for change in changes if change.incident.folded]
    return (*entries, _shared_entry(ledger, group, folded)) if folded else tuple(entries)


def _shared_entry(ledger: Ledger, group: str, changes: Sequence[Change]) -> Entry:
    """The entry of all folded incidents; it ends when none of them is firing."""
    firing = [
        incident
        for incident in ledger.incidents.values()
        if incident.folded and incident.state.is_firing and group in incident.groups
    ]
    # what ends among many that go on is no news
    newest = next((c for c in changes if c.kind is not ChangeKind.RESOLVED), changes[0])
    shown = firing or [change.incident for change in changes]
    labels = labels_of(ledger.scope, newest.incident)
    shared = ("account", "region", "endpoint", "schedule", "monitor", "severity")
    return Entry(
        incident=f"{ledger.id}-rest",
        kind=newest.kind,
        reason=newest.reason,
        severity=max((incident.severity for incident in shown), key=lambda s: s.rank),
        firing=bool(firing),
        line=f"and {len(shown)} more incidents of this schedule",
        labels={key: labels[key] for key in shared if key in labels},
        name=f"{len(shown)} more",
        count=len(shown),
    )


def _worst_first(changes: Sequence[Change]) -> list[Change]:
    return sorted(
        changes,
        key=lambda c: (-c.incident.severity.rank, -abs(c.incident.distance or 0.0)),
    )


def _route(policy: Policy, name: str, labels: Mapping[str, str]) -> Route:
    return next(iter(routes_for(policy.route, labels, name)))
