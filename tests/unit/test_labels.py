"""Labels of incidents, and what matches them."""

from __future__ import annotations

from typing import Any

import pytest
from guiderail.model.finding import Subject
from guiderail.model.incident import Incident, IncidentState
from guiderail.model.outcome import MonitorKind, Reason
from guiderail.model.policy import Match, Route, Severity
from guiderail.services.labels import labels_match, labels_of, matches, route_named, routes_for

from tests.fakes import ACCOUNT, ENDED_AT, REGION, scope_of


def incident(**fields: Any) -> Incident:
    known: dict[str, Any] = {
        "id": "i",
        "kind": MonitorKind.DATA_QUALITY,
        "check": "baseline_drift_check",
        "subject": Subject(feature="income"),
        "state": IncidentState.OPEN,
        "severity": Severity.ERROR,
        "reason": Reason.FIRST_SEEN,
        "first_seen": ENDED_AT,
        "last_seen": ENDED_AT,
    }
    return Incident(**{**known, **fields})


LABELS = {
    "endpoint": "loan-risk",
    "check": "baseline_drift_check",
    "feature": "income",
    "team": "a",
}


def test_labels_are_the_parts_that_are_there() -> None:
    assert labels_of(scope_of("loan-risk"), incident(owner="risk", feature_group="bureau")) == {
        "account": ACCOUNT,
        "region": REGION,
        "endpoint": "loan-risk",
        "schedule": "loan-risk-hourly",
        "feature_group": "bureau",
        "monitor": "data_quality",
        "check": "baseline_drift_check",
        "feature": "income",
        "severity": "error",
        "owner": "risk",
    }


def test_labels_of_the_policy_do_not_change_ours() -> None:
    labels = labels_of(scope_of(), incident(labels={"team": "a", "endpoint": "another"}))
    assert labels["team"] == "a"
    assert labels["endpoint"] == "loan-risk-prod"


def test_metric_facet_and_label_are_labels() -> None:
    subject = Subject(metric="DI", facet="age", facet_value="(18, 25]", label="default")
    labels = labels_of(scope_of(), incident(subject=subject))
    assert (labels["metric"], labels["facet"], labels["label"]) == ("DI", "age", "default")
    assert "feature" not in labels


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (Match(), True),
        (Match(endpoint=("loan-*",)), True),
        (Match(endpoint=("churn-*", "loan-risk")), True),
        (Match(endpoint=("Loan-*",)), False),
        (Match(endpoint=("loan",)), False),
        (Match(endpoint=("loan-*",), feature=("age",)), False),
        (Match(metric=("*",)), False),  # no value matches nothing
        (Match(check=("baseline_drift_chec[jk]",)), True),
        (Match(tags={"team": "?"}), True),
        (Match(tags={"team": "b"}), False),
        (Match(tags={"stage": "*"}), False),
    ],
)
def test_matches(match: Match, expected: bool) -> None:
    assert matches(match, LABELS) is expected


def test_a_silence_matches_any_label() -> None:
    assert labels_match({"team": "a", "feature": "in*"}, LABELS)
    assert not labels_match({"team": "a", "stage": "*"}, LABELS)


# --- routes


def tree(**of_first: Any) -> Route:
    first = Route(name="risk", receiver="risk", match=Match(endpoint=("loan-*",)), **of_first)
    feeds = Route(name="feeds", receiver="feeds", match=Match(feature=("income",)))
    return Route(name="root", receiver="root", routes=(first, feeds))


def names(root: Route, labels: dict[str, str], named: str = "") -> list[str]:
    return [route.name for route in routes_for(root, labels, named)]


def test_the_first_child_that_matches_takes_it() -> None:
    assert names(tree(), LABELS) == ["risk"]


def test_one_that_goes_on_shares_it_with_the_next() -> None:
    assert names(tree(goes_on=True), LABELS) == ["risk", "feeds"]


def test_the_deepest_that_matches_takes_it() -> None:
    inner = Route(name="drift", receiver="drift", match=Match(check=("baseline_*",)))
    assert names(tree(routes=(inner,)), LABELS) == ["drift"]
    assert names(tree(routes=(inner,)), {**LABELS, "check": "failed"}) == ["risk"]


def test_what_no_child_takes_the_root_takes() -> None:
    assert names(tree(), {"endpoint": "churn"}) == ["root"]


def test_a_rule_may_name_a_route_anywhere() -> None:
    inner = Route(name="drift", receiver="drift", match=Match(check=("other",)))
    root = tree(routes=(inner,))
    assert names(root, LABELS, "drift") == ["drift"]
    assert route_named(root, "root") is root


def test_a_name_that_is_gone_falls_back_to_the_tree() -> None:
    assert names(tree(), LABELS, "renamed") == ["risk"]
    assert route_named(tree(), "renamed") is None
