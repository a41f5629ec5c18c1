"""Calls to Jira Service Management: documented fields and lengths, and one alert per episode."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from guiderail.model.message import Distribution, MessageKind, Rendering, Thread
from guiderail.model.policy import Severity
from guiderail.rendering import jsm
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped, unused-ignore]
from msgspec import to_builtins
from msgspec.structs import replace

from tests.unit.rendering import notifications
from tests.unit.rendering.golden_files import compare

CASES = pytest.mark.parametrize("case", notifications.CASES)
SCHEMAS = Path(__file__).parent / "schemas"
ALERT, ACTION = (
    Draft202012Validator(json.loads((SCHEMAS / name).read_text()))
    for name in ("jsm-alert.json", "jsm-action.json")
)


def check(call: jsm.JsmCall) -> None:
    assert call.method == "POST"
    creates = call.path == "/v2/alerts"
    assert [e.message for e in (ALERT if creates else ACTION).iter_errors(call.body)] == []
    if not creates:
        assert re.fullmatch(r"/v2/alerts/[a-z0-9-]+/(acknowledge|close|notes)", call.path)
        assert call.query == {"identifierType": "alias"}
    details = call.body.get("details", {})
    assert sum(len(name) + len(value) for name, value in details.items()) <= 8000
    for field in ("message", "description", "note", "entity"):
        text = call.body.get(field, "")
        assert not set("<>") & set(text), "it may be shown as HTML"
        assert "://" not in text


@CASES
def test_golden(case: str) -> None:
    made = to_builtins(jsm.render(notifications.CASES[case](), notifications.answerable(case)))
    compare("jsm", f"{case}.json", json.dumps(made, indent=1, ensure_ascii=False) + "\n")


@CASES
@pytest.mark.parametrize("shown", [False, True])
def test_schema_and_limits(case: str, shown: bool) -> None:
    rendering = replace(notifications.answerable(case), show_values=shown, note="n" * 5000)
    check(jsm.render(notifications.CASES[case](), rendering))


@pytest.mark.parametrize(
    ("case", "path"),
    [
        ("news", "/v2/alerts"),
        ("repeat", "/v2/alerts"),
        ("digest", "/v2/alerts"),
        ("test_message", "/v2/alerts"),
        ("acknowledged", "/v2/alerts/{}/acknowledge"),
        ("resolved", "/v2/alerts/{}/close"),
        ("remediation", "/v2/alerts/{}/notes"),
    ],
)
def test_what_each_kind_does_there(case: str, path: str) -> None:
    call = jsm.render(notifications.CASES[case](), Rendering())
    assert call.path == path.format(jsm.alias(notifications.news()))


def test_an_episode_is_one_alert() -> None:
    known = jsm.alias(notifications.news())
    assert known == jsm.alias(notifications.resolved())
    assert jsm.render(notifications.news(), Rendering()).body["alias"] == known
    assert known != jsm.alias(replace(notifications.news(), episode="later"))
    assert known != jsm.alias(replace(notifications.news(), kind=MessageKind.TEST))
    assert known != jsm.alias(replace(notifications.news(), kind=MessageKind.DIGEST))


@pytest.mark.parametrize(
    ("severity", "priority"),
    [
        (Severity.CRITICAL, "P1"),
        (Severity.ERROR, "P2"),
        (Severity.WARNING, "P3"),
        (Severity.INFO, "P5"),
    ],
)
def test_priorities(severity: Severity, priority: str) -> None:
    call = jsm.render(replace(notifications.news(), severity=severity), Rendering())
    assert call.body["priority"] == priority


def test_a_test_says_so() -> None:
    body = jsm.render(notifications.test_message(), Rendering()).body
    assert body["message"].startswith("TEST: ")
    assert body["description"].startswith("This is a TEST: nothing is wrong.")
    assert body["priority"] == "P5"


def test_a_note_says_who_did_what() -> None:
    note = jsm.render(notifications.acknowledged(), Rendering()).body["note"]
    assert "acknowledged 2 incidents." in note
    done = jsm.render(notifications.remediation(), Rendering()).body["note"]
    assert "Retraining: retraining_started" in done


def test_what_is_left_out_is_counted() -> None:
    body = jsm.render(notifications.huge(), notifications.answerable()).body
    assert "- and 300 more" in body["description"]
    assert len(body["message"]) == 130


def test_answers_and_links_are_details() -> None:
    details = jsm.render(notifications.news(), notifications.answerable()).body["details"]
    assert details["Acknowledge"] == f"{notifications.REPLY_URL}token0"
    assert details["runbook"] == notifications.RUNBOOK
    assert details["command"] == notifications.COMMAND
    assert details["Report"].startswith(notifications.CONSOLE)


def test_a_property_that_has_no_room_is_left_out_whole() -> None:
    run = replace(notifications.news().runs[0], command="x" * 7500)
    n = replace(notifications.news(), runs=(run,))
    call = jsm.render(n, notifications.answerable())
    check(call)
    assert "command" not in call.body["details"]
    assert call.body["details"]["Acknowledge"] == f"{notifications.REPLY_URL}token0"


def test_a_long_label_is_cut_to_a_tag() -> None:
    n = replace(notifications.news(), fingerprint={"endpoint": "e" * 63})
    call = jsm.render(n, Rendering())
    check(call)
    assert call.body["tags"][-1] == "e" * 47 + "..."


def test_raw_values_only_if_the_policy_lets_them() -> None:
    secret = Distribution(feature="city", labels=("Ghent",), baseline=(1.0,), current=(0.2,))
    n = replace(notifications.news(), distributions=(secret,))
    assert "Ghent" not in json.dumps(jsm.render(n, Rendering()).body)
    assert "Ghent" in json.dumps(jsm.render(n, Rendering(show_values=True)).body)


def test_a_notification_that_says_nothing_is_an_alert_all_the_same() -> None:
    bare = replace(
        notifications.news(), title="", place="", rows=(), runs=(), fingerprint={}, why=()
    )
    for kind in MessageKind:
        check(jsm.render(replace(bare, kind=kind), Rendering()))


_NAMES = st.one_of(st.sampled_from(notifications.HOSTILE_NAMES), st.text(max_size=2000))


@settings(max_examples=60, deadline=None)
@given(st.lists(_NAMES, min_size=1, max_size=12), st.sampled_from(MessageKind))
def test_no_name_is_more_than_a_name(names: list[str], kind: MessageKind) -> None:
    hostile = replace(notifications.hostile(tuple(names)), kind=kind, listed=tuple(names))
    check(jsm.render(hostile, replace(notifications.answerable(), note=names[0])))
    proposal = notifications.hostile_proposal(tuple(names))
    for thread in (None, Thread()):
        check(jsm.render(proposal, Rendering(note=names[0], thread=thread)))
