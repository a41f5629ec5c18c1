"""Events for PagerDuty: their documented fields and lengths, and one alert per episode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from guiderail.model.message import Distribution, MessageKind, Rendering
from guiderail.model.policy import Severity
from guiderail.rendering import pagerduty
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped, unused-ignore]
from msgspec.structs import replace

from tests.unit.rendering import notifications
from tests.unit.rendering.golden_files import compare

CASES = pytest.mark.parametrize("case", notifications.CASES)
SCHEMAS = Path(__file__).parent / "schemas"
VALIDATORS = {
    path: Draft202012Validator(json.loads((SCHEMAS / name).read_text()))
    for path, name in (
        ("/v2/enqueue", "pagerduty-event.json"),
        ("/v2/change/enqueue", "pagerduty-change.json"),
    )
}


def check(notification: Any, event: dict[str, Any]) -> None:
    sent = {**event, "routing_key": "r" * 32}
    validator = VALIDATORS[pagerduty.path(notification)]
    assert [error.message for error in validator.iter_errors(sent)] == []
    assert len(json.dumps(sent)) < 512 * 1024
    texts = json.dumps({**event, "links": []}, ensure_ascii=False)
    assert "://" not in texts


@CASES
def test_golden(case: str) -> None:
    made = pagerduty.render(notifications.CASES[case](), notifications.answerable(case))
    compare("pagerduty", f"{case}.json", json.dumps(made, indent=1, ensure_ascii=False) + "\n")


@CASES
@pytest.mark.parametrize("shown", [False, True])
def test_schema_and_limits(case: str, shown: bool) -> None:
    notification = notifications.CASES[case]()
    rendering = replace(notifications.answerable(case), show_values=shown, note="n" * 5000)
    check(notification, pagerduty.render(notification, rendering))


@pytest.mark.parametrize(
    ("case", "action"),
    [
        ("news", "trigger"),
        ("repeat", "trigger"),
        ("digest", "trigger"),
        ("test_message", "trigger"),
        ("acknowledged", "acknowledge"),
        ("resolved", "resolve"),
    ],
)
def test_what_each_kind_does_there(case: str, action: str) -> None:
    notification = notifications.CASES[case]()
    event = pagerduty.render(notification, Rendering())
    assert event["event_action"] == action
    assert pagerduty.path(notification) == "/v2/enqueue"
    if action != "trigger":
        assert set(event) == {"event_action", "dedup_key"}


def test_a_remediation_is_a_change_that_wakes_nobody() -> None:
    event = pagerduty.render(notifications.remediation(), Rendering())
    assert pagerduty.path(notifications.remediation()) == "/v2/change/enqueue"
    assert "event_action" not in event and "dedup_key" not in event
    assert event["payload"]["summary"].startswith("retraining started")
    answerable = pagerduty.render(notifications.remediation(), notifications.answerable())
    assert notifications.REPLY_URL not in json.dumps(answerable)


@pytest.mark.parametrize("case", notifications.REMEDIATIONS)
def test_what_is_said_of_a_remediation_is_a_change_too(case: str) -> None:
    notification = notifications.CASES[case]()
    event = pagerduty.render(notification, notifications.answerable(case))
    assert pagerduty.path(notification) == "/v2/change/enqueue"
    assert "event_action" not in event
    details = event["payload"]["custom_details"]
    assert details["what"] and details["gates"]
    asks = "proposal" in case
    assert (notifications.REPLY_URL in json.dumps(event["links"])) == asks


def test_a_long_title_is_cut() -> None:
    n = replace(notifications.news(), title="t" * 3000)
    event = pagerduty.render(n, Rendering())
    assert event["payload"]["summary"] == "t" * 1021 + "..."
    check(n, event)


def test_an_episode_is_one_alert() -> None:
    keys = {
        pagerduty.dedup_key(made())
        for made in (notifications.news, notifications.acknowledged, notifications.resolved)
    }
    assert len(keys) == 1
    later = replace(notifications.news(), episode="2026-11-30T09:05:00+00:00")
    elsewhere = replace(notifications.news(), group="another")
    assert len({*keys, pagerduty.dedup_key(later), pagerduty.dedup_key(elsewhere)}) == 3


def test_a_test_and_a_digest_touch_no_alert_of_an_episode() -> None:
    episode = {"group": notifications.GROUP, "episode": notifications.EPISODE}
    known = pagerduty.dedup_key(notifications.news())
    test = replace(notifications.test_message(), **episode)
    assert pagerduty.dedup_key(test) != known
    assert pagerduty.dedup_key(replace(notifications.digest(), **episode)) != known
    event = pagerduty.render(test, Rendering())
    assert event["payload"]["summary"].startswith("TEST: ")
    assert event["payload"]["severity"] == "info"
    assert event["payload"]["custom_details"]["test"] == "nothing is wrong"


@pytest.mark.parametrize("severity", Severity)
def test_severities_have_the_same_words(severity: Severity) -> None:
    event = pagerduty.render(replace(notifications.news(), severity=severity), Rendering())
    assert event["payload"]["severity"] == severity.value
    check(notifications.news(), event)


def test_what_is_left_out_is_counted() -> None:
    details = pagerduty.render(notifications.huge(), Rendering())["payload"]["custom_details"]
    assert len(details["incidents"]) == 21
    assert details["incidents"][-1] == "and 300 more"
    assert details["evidence"][-1] == "and 80 more"


def test_answers_are_links() -> None:
    links = pagerduty.render(notifications.news(), notifications.answerable())["links"]
    assert {"href": notifications.RUNBOOK, "text": "Runbook"} in links
    assert {
        "href": f"{notifications.REPLY_URL}token0",
        "text": "Guiderail: Acknowledge",
    } in links


def test_raw_values_only_if_the_policy_lets_them() -> None:
    secret = Distribution(feature="city", labels=("Ghent",), baseline=(1.0,), current=(0.2,))
    n = replace(notifications.news(), distributions=(secret,))
    assert "Ghent" not in json.dumps(pagerduty.render(n, Rendering()))
    assert "Ghent" in json.dumps(pagerduty.render(n, Rendering(show_values=True)))


def test_a_notification_that_says_nothing_is_an_event_all_the_same() -> None:
    bare = replace(
        notifications.news(), title="", place="", rows=(), runs=(), fingerprint={}, why=()
    )
    check(bare, pagerduty.render(bare, Rendering()))


_NAMES = st.one_of(st.sampled_from(notifications.HOSTILE_NAMES), st.text(max_size=2000))


@settings(max_examples=60, deadline=None)
@given(st.lists(_NAMES, min_size=1, max_size=12), st.sampled_from(MessageKind))
def test_no_name_breaks_an_event(names: list[str], kind: MessageKind) -> None:
    hostile = replace(notifications.hostile(tuple(names)), kind=kind, listed=tuple(names))
    check(hostile, pagerduty.render(hostile, replace(notifications.answerable(), note=names[0])))
    proposal = notifications.hostile_proposal(tuple(names))
    check(proposal, pagerduty.render(proposal, Rendering(note=names[0])))
