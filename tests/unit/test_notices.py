"""What a run or an act tells which group."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from guiderail.model.finding import Subject
from guiderail.model.incident import (
    Change,
    ChangeKind,
    Incident,
    IncidentState,
    Ledger,
    incident_id,
)
from guiderail.model.message import Facts
from guiderail.model.notice import Notice
from guiderail.model.outcome import Direction, MonitorKind, Reason
from guiderail.model.policy import Match, Policy, Route, Severity
from guiderail.services.notices import (
    MOST_ENTRIES,
    MOST_FACTS,
    MOST_GROUPS,
    Telling,
    entry_of,
    facts_of_incident,
    notices_of,
    sources_of,
    with_groups,
)

from tests import builders as b
from tests.fakes import ENDED_AT, Cloud, scope_of

SCOPE = scope_of()


def incident(
    feature: str = "income", check: str = "baseline_drift_check", **fields: Any
) -> Incident:
    subject = Subject(feature=feature) if feature else Subject()
    known: dict[str, Any] = {
        "id": incident_id(SCOPE, MonitorKind.DATA_QUALITY, check, subject),
        "kind": MonitorKind.DATA_QUALITY,
        "check": check,
        "subject": subject,
        "state": IncidentState.OPEN,
        "severity": Severity.WARNING,
        "reason": Reason.FIRST_SEEN,
        "first_seen": ENDED_AT,
        "last_seen": ENDED_AT,
        "times_seen": 1,
    }
    return Incident(**{**known, **fields})


def opened(*incidents: Incident) -> tuple[Ledger, list[Change]]:
    ledger = Ledger(scope=SCOPE, incidents={i.id: i for i in incidents})
    return ledger, [Change(i, ChangeKind.OPENED, Reason.FIRST_SEEN) for i in incidents]


def told(
    ledger: Ledger, changes: Iterable[Change], policy: Policy, telling: str = "run-1"
) -> tuple[Notice, ...]:
    ledger, routed, _ = with_groups(ledger, list(changes), policy, {})
    return notices_of(ledger, routed, policy, Telling(id=telling), ENDED_AT)


def by_group(*keys: str, **fields: Any) -> Policy:
    return Policy(route=Route(name="default", receiver="team", group_by=keys, **fields))


# --- groups


@pytest.mark.parametrize(
    ("keys", "groups"),
    [
        (("endpoint", "monitor"), 1),
        (("check",), 2),
        (("feature",), 2),
        (("feature", "check"), 3),
        ((), 1),
        (("team",), 1),
    ],
)
def test_incidents_come_together_by_what_they_have_in_common(
    keys: tuple[str, ...], groups: int
) -> None:
    ledger, changes = opened(
        incident("income"), incident("age"), incident("age", "completeness_check")
    )
    notices = told(ledger, changes, by_group(*keys))
    assert len({n.group for n in notices}) == len(notices) == groups
    assert sum(len(n.entries) for n in notices) == 3
    assert all(set(n.group_labels) == set(keys) for n in notices)


def test_a_notice_waits_for_the_group_wait_of_its_route() -> None:
    (notice,) = told(*opened(incident()), by_group("endpoint", group_wait=90.0))
    assert (notice.made_at, notice.due_at) == (ENDED_AT, ENDED_AT + timedelta(seconds=90))


def test_the_same_telling_has_the_same_ids_and_another_has_others() -> None:
    ids = [
        told(*opened(incident()), Policy(), telling)[0].id
        for telling in ("run-1", "run-1", "run-2")
    ]
    assert ids[0] == ids[1] != ids[2]


def test_an_incident_that_two_routes_take_is_in_two_groups() -> None:
    first = Route(name="risk", receiver="risk", match=Match(endpoint=("loan-*",)), goes_on=True)
    second = Route(name="all", receiver="all")
    root = Route(name="root", receiver="root", routes=(first, second))
    ledger, changes = opened(incident())
    notices = told(ledger, changes, Policy(route=root))
    assert [n.route for n in notices] == ["risk", "all"]
    assert len({n.group for n in notices}) == 2


def test_a_rule_may_name_the_route() -> None:
    root = Route(
        name="root",
        receiver="root",
        routes=(Route(name="x", receiver="x", match=Match(check=("no",))),),
    )
    ledger, changes = opened(incident())
    key = changes[0].incident.id
    after, routed, _ = with_groups(ledger, changes, Policy(route=root), {key: "x"})
    assert list(after.incidents[key].groups.values()) == ["x"]
    assert routed[0].incident == after.incidents[key]


def test_an_incident_keeps_its_groups_until_it_is_over() -> None:
    ledger, changes = opened(incident())
    before, _, _ = with_groups(ledger, changes, Policy(), {})
    (known,) = before.incidents.values()
    elsewhere = by_group("feature")

    for kind in (ChangeKind.WORSENED, ChangeKind.ACKNOWLEDGED, ChangeKind.RESOLVED):
        after, _, _ = with_groups(before, [Change(known, kind, Reason.WORSENED)], elsewhere, {})
        assert after.incidents[known.id].groups == known.groups

    anew = Change(known, ChangeKind.OPENED, Reason.FIRST_SEEN)
    after, _, _ = with_groups(before, [anew], elsewhere, {})
    assert after.incidents[known.id].groups != known.groups


def test_a_ledger_has_only_so_many_groups_and_says_when_it_folds() -> None:
    features = [incident(f"f{n}") for n in range(MOST_GROUPS + 30)]
    ledger, changes = opened(*features)
    policy = by_group("feature")

    after, routed, folded = with_groups(ledger, changes, policy, {})

    assert folded
    groups = {group for i in after.incidents.values() for group in i.groups}
    assert len(groups) <= MOST_GROUPS + 1
    notices = notices_of(after, routed, policy, Telling(id="run"), ENDED_AT)
    assert len(notices) == len(groups)
    assert sum(e.count for n in notices for e in n.entries) == len(features)
    (wide,) = [n for n in notices if len(n.entries) > 1]
    assert set(wide.group_labels) == {"endpoint", "monitor"}


def test_groups_up_to_the_most_are_not_folded() -> None:
    ledger, changes = opened(*(incident(f"f{n}") for n in range(MOST_GROUPS)))
    _, _, folded = with_groups(ledger, changes, by_group("feature"), {})
    assert not folded


# --- entries


def test_an_entry_says_what_routes_and_people_need() -> None:
    known = incident(observed=0.42, threshold=0.1, unit="fraction", labels={"team": "a"})
    ledger, (change,) = opened(known)
    made = entry_of(ledger, change)
    assert (made.incident, made.kind, made.severity) == (
        known.id,
        ChangeKind.OPENED,
        known.severity,
    )
    assert made.firing and not made.acknowledged and not made.flapping
    assert made.labels["team"] == "a" and made.labels["feature"] == "income"
    assert made.line == (
        "income: baseline_drift_check: last observed 42%, threshold 10%; "
        "in 1 run since 2026-11-23 14:17 UTC"
    )


def test_an_entry_names_its_subject_and_its_runbook() -> None:
    ledger, (change,) = opened(incident(runbook="https://wiki/drift", owner="risk"))
    made = entry_of(ledger, change)
    assert (made.name, made.runbook) == ("income", "https://wiki/drift")
    assert made.labels["owner"] == "risk"


def test_the_name_of_thousands_of_columns_is_cut() -> None:
    columns = Subject(columns=tuple(f"column_{n}" for n in range(12_000)))
    ledger, (change,) = opened(incident(subject=columns))
    assert len(entry_of(ledger, change).name) < 300


def test_an_entry_may_say_what_the_run_saw() -> None:
    ledger, (change,) = opened(incident())
    assert entry_of(ledger, change, "income is off").line == "income is off"


@pytest.mark.parametrize(
    ("state", "flapping", "firing", "acknowledged"),
    [
        (IncidentState.OPEN, False, True, False),
        (IncidentState.ACKNOWLEDGED, False, True, True),
        (IncidentState.RESOLVED, False, False, False),
        (IncidentState.RESOLVED, True, True, False),
    ],
)
def test_what_fires(state: IncidentState, flapping: bool, firing: bool, acknowledged: bool) -> None:
    ledger, (change,) = opened(incident(state=state, flapping=flapping))
    made = entry_of(ledger, change)
    assert (made.firing, made.acknowledged, made.flapping) == (firing, acknowledged, flapping)


@pytest.mark.parametrize("count", [MOST_ENTRIES, MOST_ENTRIES + 1, MOST_ENTRIES + 70])
def test_incidents_beyond_the_most_share_an_entry(count: int) -> None:
    features = [incident(f"f{n}", distance=float(n)) for n in range(count)]
    (notice,) = told(*opened(*features), Policy())
    single = [e for e in notice.entries if not e.incident.endswith("-rest")]
    assert len(single) == min(count, MOST_ENTRIES)
    assert sum(e.count for e in notice.entries) == count
    assert all(e.firing for e in notice.entries)
    if count > MOST_ENTRIES:
        # the worst have one each
        assert single[0].labels["feature"] == f"f{count - 1}"
        (rest,) = [e for e in notice.entries if e.incident.endswith("-rest")]
        assert rest.line == f"and {count - MOST_ENTRIES} more incidents of this schedule"
        assert "feature" not in rest.labels
        assert rest.incident not in notice.facts
        assert rest.labels["endpoint"] == SCOPE.endpoint


def test_the_worst_severity_comes_first() -> None:
    calm = [incident(f"f{n}", distance=9.0) for n in range(MOST_ENTRIES)]
    bad = incident("bad", severity=Severity.CRITICAL, distance=0.0)
    (notice,) = told(*opened(*calm, bad), Policy())
    assert notice.entries[0].incident == bad.id


def test_whatever_number_comes_and_goes_nothing_stays_firing() -> None:
    # Given 130 that come in parts
    cloud = Cloud(policy=by_group("endpoint", "monitor"))
    for count in (45, 90, 130):
        cloud.run_ends(*(b.judgement(f"f{n}") for n in range(count)))
        cloud.pass_time(minutes=10)
    # When most of them end at once, and the others later
    for count in (20, 20, 0, 0):
        cloud.run_ends(*(b.judgement(f"f{n}") for n in range(count)))
        cloud.pass_time(minutes=10)
        (group,) = cloud.store.groups.values()
        open_now = sum(i.state.is_firing for i in cloud.all_incidents())
        assert sum(h.entry.count for h in group.held.values() if h.entry.firing) == open_now
    # Then nobody hears of them any more
    before = len(cloud.alerts)
    cloud.pass_time(hours=30, tick=600)
    assert len(cloud.alerts) == before


def test_the_shared_entry_stays_until_none_of_the_run_is_left() -> None:
    cloud = Cloud()
    many = [b.judgement(f"f{n}", distance=float(n)) for n in range(MOST_ENTRIES + 20)]
    cloud.run_ends(*many)
    cloud.pass_time(minutes=10)
    for left in (many[:10], many[:10], (), ()):
        cloud.run_ends(*left)
        cloud.pass_time(minutes=10)
        (group,) = cloud.store.groups.values()
        assert any(h.entry.firing for h in group.held.values()) is any(
            i.state.is_firing for i in cloud.all_incidents()
        )
    assert cloud.alerts[-1].detail_type == "IncidentResolved"


# --- facts


def test_the_worst_entries_bring_what_was_measured() -> None:
    features = [incident(f"f{n}", distance=float(n)) for n in range(MOST_ENTRIES + 5)]
    (notice,) = told(*opened(*features), Policy())
    assert list(notice.facts) == [entry.incident for entry in notice.entries[:MOST_FACTS]]


def test_what_the_run_measured_goes_before_what_the_ledger_knows() -> None:
    income, age = incident("income", observed=0.2), incident("age", observed=0.3)
    ledger, changes = opened(income, age)
    ledger, routed, _ = with_groups(ledger, changes, Policy(), {})
    measured = Facts(observed=0.9)
    (notice,) = notices_of(
        ledger,
        routed,
        Policy(),
        Telling(id="run"),
        ENDED_AT,
        facts_of=lambda i: measured if i.id == income.id else None,
    )
    assert notice.facts[income.id] == measured
    assert notice.facts[age.id].observed == 0.3


def test_facts_of_a_ledger() -> None:
    known = incident(
        observed=0.42,
        threshold=0.3,
        service_threshold=0.1,
        unit="fraction",
        values=(0.31, 0.42),
        times_seen=2,
        description="off",
    )
    assert facts_of_incident(known) == Facts(
        observed=0.42,
        threshold=0.3,
        report_threshold=0.1,
        unit="fraction",
        trend=(0.31, 0.42),
        first_seen=ENDED_AT,
        times_seen=2,
        description="off",
    )


def test_the_direction_of_a_run_outlives_its_other_facts() -> None:
    before = Facts(direction=Direction.BELOW, notes=("mean 1 (baseline 2)",))
    later = facts_of_incident(incident(), before)
    assert (later.direction, later.notes) == (Direction.BELOW, ())


# --- what hides others


def test_sources_are_the_firing_incidents_that_an_inhibition_names() -> None:
    failed = incident("", "failed")
    over = incident("", "no_data", state=IncidentState.RESOLVED)
    waiting = incident("", "unreadable", state=IncidentState.PENDING)
    ledger, _ = opened(failed, over, waiting, incident("income"))
    (source,) = sources_of(ledger, Policy())
    assert source.incident == failed.id
    assert source.labels["check"] == "failed"
    assert sources_of(ledger, Policy(inhibitions=())) == ()
