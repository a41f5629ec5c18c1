"""The same feature off on several endpoints: one incident of its source."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from guiderail.model.incident import ChangeKind, IncidentState, Ledger
from guiderail.model.notice import Entry, Notice
from guiderail.model.outcome import Reason
from guiderail.model.policy import FeatureGroup, Policy, Severity, Upstream
from guiderail.services import upstream as upstream_module
from guiderail.services.upstream import UPSTREAM_CHECK, correlate, members, upstream_scope

from tests import builders as b
from tests.fakes import ACCOUNT, ENDED_AT, REGION, Cloud, scope_of

THREE = Upstream(endpoints=3, within=3600.0)
EMPTY = Ledger(scope=upstream_scope(ACCOUNT, REGION))


def notice(
    endpoint: str,
    feature: str = "income",
    minutes: float = 0,
    *,
    firing: bool = True,
    **fields: Any,
) -> Notice:
    at = ENDED_AT + timedelta(minutes=minutes)
    made = Entry(
        incident=fields.get("incident", f"{endpoint}-{feature}"),
        kind=ChangeKind.OPENED if firing else ChangeKind.RESOLVED,
        reason=Reason.FIRST_SEEN if firing else Reason.RESOLVED,
        severity=fields.get("severity", Severity.WARNING),
        firing=firing,
        line="",
        labels={
            "endpoint": endpoint,
            "feature": feature,
            "check": fields.get("check", "baseline_drift_check"),
            "feature_group": fields.get("feature_group", ""),
        },
    )
    return Notice(
        id=f"{endpoint}{minutes}",
        group="g",
        route="default",
        group_labels={},
        ledger=endpoint,
        entries=(made,),
        made_at=at,
        due_at=at,
    )


def after(*notices: Notice, ledger: Ledger = EMPTY, minutes: float = 0) -> Any:
    now = ENDED_AT + timedelta(minutes=minutes)
    return correlate(ledger, notices, THREE, now)


def test_enough_endpoints_make_one_incident_that_names_the_feature_group() -> None:
    ledger, changes = after(
        notice("a"),
        notice("b", severity=Severity.CRITICAL, feature_group="bureau"),
        notice("c", feature_group="bureau"),
    )
    (change,) = changes
    assert (change.kind, change.reason) == (ChangeKind.OPENED, Reason.UPSTREAM_SUSPECTED)
    incident = change.incident
    assert (incident.check, incident.subject.feature) == (UPSTREAM_CHECK, "income")
    assert (incident.severity, incident.feature_group) == (Severity.CRITICAL, "bureau")
    assert "off on 3 endpoints (a, b, c)" in incident.description
    assert members(ledger) == {f"{e}-income": incident.id for e in "abc"}


@pytest.mark.parametrize(
    "notices",
    [
        [notice("a"), notice("b")],
        [notice("a"), notice("a", minutes=1), notice("a", minutes=2)],
        [notice("a", incident="1"), notice("b", incident="2"), notice("b", incident="3")],
        [notice("a"), notice("b"), notice("c", "age")],
        [notice("a"), notice("b"), notice("c"), notice("c", minutes=1, firing=False)],
        [notice("a"), notice("b"), notice("c", "")],
        [notice("a"), notice("b"), notice("", "income")],
        [notice("a"), notice("b"), notice("c", check=UPSTREAM_CHECK)],
    ],
)
def test_too_few_endpoints_make_none(notices: list[Notice]) -> None:
    ledger, changes = after(*notices)
    assert changes == ()
    assert members(ledger) == {}


def test_sightings_beyond_the_window_do_not_count() -> None:
    ledger, _ = after(notice("a"))
    ledger, _ = after(notice("b", minutes=30), ledger=ledger, minutes=30)
    ledger, changes = after(notice("c", minutes=61), ledger=ledger, minutes=61)
    assert changes == ()
    _, changes = after(notice("d", minutes=62), ledger=ledger, minutes=62)
    assert len(changes) == 1


def test_the_same_notices_again_change_nothing() -> None:
    notices = [notice("a"), notice("b"), notice("c")]
    ledger, _ = after(*notices)
    assert after(*notices, ledger=ledger, minutes=1) == (ledger, ())


def test_a_further_endpoint_joins_without_a_word() -> None:
    ledger, _ = after(notice("a"), notice("b"), notice("c"))
    ledger, changes = after(notice("d", minutes=300), ledger=ledger, minutes=300)
    assert changes == ()
    assert len(members(ledger)) == 4


def test_it_ends_when_no_endpoint_has_it_any_more() -> None:
    ledger, _ = after(notice("a"), notice("b"), notice("c"))
    for endpoint in "ab":
        ledger, changes = after(notice(endpoint, minutes=9, firing=False), ledger=ledger, minutes=9)
        assert changes == ()
    ledger, (change,) = after(notice("c", minutes=9, firing=False), ledger=ledger, minutes=9)
    assert (change.kind, change.reason) == (ChangeKind.RESOLVED, Reason.RESOLVED)
    assert change.incident.state is IncidentState.RESOLVED
    assert members(ledger) == {} and ledger.sightings == {}


def test_it_opens_again_when_it_comes_back() -> None:
    ledger, _ = after(notice("a"), notice("b"), notice("c"))
    over = [notice(e, minutes=9, firing=False) for e in "abc"]
    ledger, _ = after(*over, ledger=ledger, minutes=9)
    ledger, (change,) = after(*(notice(e, minutes=20) for e in "abc"), ledger=ledger, minutes=20)
    assert change.incident.occurrence == 2
    assert change.incident.state is IncidentState.OPEN


def test_only_so_many_features_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_module, "MOST_FEATURES", 3)
    ledger, _ = after(*(notice("a", f"f{n}", minutes=-n) for n in range(9)))
    assert set(ledger.sightings) == {"f0", "f1", "f2"}


def test_without_a_ledger_nothing_is_hidden() -> None:
    assert members(None) == {}


# --- together with the clock


def cloud() -> Cloud:
    group = FeatureGroup(name="bureau", features=("income",))
    return Cloud(policy=Policy(upstream=THREE, feature_groups=(group,)))


def runs(cloud: Cloud, *endpoints: str, violations: bool = True) -> None:
    for endpoint in endpoints:
        cloud.now += timedelta(seconds=1)
        found = [b.judgement(feature_group="bureau")] if violations else []
        cloud.run_ends(*found, scope=scope_of(endpoint))


def test_three_endpoints_are_told_as_one_incident_of_the_feature_group() -> None:
    these = cloud()
    runs(these, "churn", "fraud", "loan")
    these.pass_time(minutes=10)

    (alert,) = these.alerts
    assert alert.attributes["reason"] == "upstream_suspected"
    assert "bureau" in alert.rows[0].line
    assert "churn, fraud, loan" in alert.rows[0].line
    hidden = [d.reason for e in these.store.audit_entries for d in e.decisions]
    assert hidden.count(Reason.PART_OF_UPSTREAM) == 3

    these.pass_time(hours=3, tick=300)
    assert len(these.alerts) == 1


def test_when_it_is_over_people_hear_of_the_end_once() -> None:
    these = cloud()
    runs(these, "churn", "fraud", "loan")
    these.pass_time(minutes=10)
    for _ in range(2):
        these.now += timedelta(minutes=30)
        runs(these, "churn", "fraud", "loan", violations=False)
    these.pass_time(minutes=10)
    assert [a.detail_type for a in these.alerts] == ["IncidentOpened", "IncidentResolved"]
    assert not any(i.state.is_firing for i in these.all_incidents())


def test_a_redelivered_minute_makes_no_second_incident() -> None:
    these = cloud()
    runs(these, "churn", "fraud", "loan")
    these.now += timedelta(minutes=2)
    for cut in range(1, 40):
        these.steps.clear()
        these.crash_after = cut
        try:
            these.due_changes()(these.now)
        except BaseException as error:
            assert type(error).__name__ == "Crash"
        else:
            break
    these.crash_after = None
    these.pass_time(minutes=10)
    assert len(these.alerts) == 1
