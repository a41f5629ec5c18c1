"""Adaptive Cards for Teams: the published schema, the size limit, and names that try to be more than names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from guiderail.model.message import Distribution, MessageKind, Rendering
from guiderail.rendering import teams
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft6Validator  # type: ignore[import-untyped, unused-ignore]
from msgspec.structs import replace

from tests.unit.rendering import notifications
from tests.unit.rendering.golden_files import compare

CASES = pytest.mark.parametrize("case", notifications.CASES)
SCHEMAS = Path(__file__).parent / "schemas"
PUBLISHED = Draft6Validator(json.loads((SCHEMAS / "adaptive-card-1.5.json").read_text()))


def card_of(body: dict[str, Any]) -> dict[str, Any]:
    assert set(body) == {"type", "attachments"} and body["type"] == "message"
    (attachment,) = body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card: dict[str, Any] = attachment["content"]
    return card


def elements(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if "type" in value:
            yield value
        for inner in value.values():
            yield from elements(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from elements(inner)


def said(card: dict[str, Any]) -> str:
    return "\n".join(e["text"] for e in elements(card["body"]) if e["type"] == "TextRun")


def check(body: dict[str, Any]) -> None:
    """The schema, the limits of Teams, and no element that knows Markdown."""
    assert len(json.dumps(body)) <= 28 * 1024
    card = dict(card_of(body))
    # Teams' own extension, which the schema of cards does not know
    assert card.pop("msteams") == {"width": "Full"}
    assert [error.message for error in PUBLISHED.iter_errors(card)] == []
    assert len(card.get("actions", [])) <= 6
    for element in elements(card["body"]):
        assert element["type"] not in ("TextBlock", "FactSet"), "both know Markdown"
        if element["type"] == "Action.OpenUrl":
            assert element["url"].startswith("https://")
        if element["type"] == "TextRun":
            assert element["text"]
            assert "{{" not in element["text"]
            if "aws sagemaker" not in element["text"]:
                assert "://" not in element["text"]
    assert not set("*_`[]<>~#") & set(card["fallbackText"])


def test_the_schema_refuses_what_is_no_card() -> None:
    card = dict(card_of(teams.render(notifications.news(), Rendering())))
    del card["msteams"]
    card["body"] = [*card["body"], {"type": "RichTextBlock", "inlines": [{"type": "TextRun"}]}]
    assert list(PUBLISHED.iter_errors(card))


@CASES
def test_golden(case: str) -> None:
    made = teams.render(notifications.CASES[case](), notifications.answerable(case))
    compare("teams", f"{case}.json", json.dumps(made, indent=1, ensure_ascii=False) + "\n")


@CASES
@pytest.mark.parametrize("shown", [False, True])
def test_schema_and_limits(case: str, shown: bool) -> None:
    rendering = replace(notifications.answerable(case), show_values=shown, note="n" * 5000)
    check(teams.render(notifications.CASES[case](), rendering))


def test_a_button_opens_the_page_that_asks() -> None:
    card = card_of(teams.render(notifications.news(), notifications.answerable()))
    assert card["actions"][0] == {
        "type": "Action.OpenUrl",
        "title": "Acknowledge",
        "url": f"{notifications.REPLY_URL}token0",
    }
    assert len(card["actions"]) == 6


def test_nothing_can_be_answered_when_it_is_over() -> None:
    card = card_of(teams.render(notifications.resolved(), notifications.answerable()))
    assert "actions" not in card
    assert card["body"][0]["style"] == "good"
    assert "was 91.4%" in said(card)


def test_observed_stands_beside_its_threshold() -> None:
    card = card_of(teams.render(notifications.news(), Rendering()))
    (table,) = [element for element in card["body"] if element["type"] == "Table"]
    first = [cell["items"][0]["inlines"][0]["text"] for cell in table["rows"][1]["cells"]]
    assert first == [
        "income · completeness_check · first seen · error",
        "91.4%",
        "98%, bad below (the report's own: 100%)",
    ]


def test_what_is_left_out_is_counted_and_linked() -> None:
    huge = notifications.huge()
    card = card_of(teams.render(huge, notifications.answerable()))
    rows = sum(len(e["rows"]) - 1 for e in card["body"] if e["type"] == "Table")
    left = sum(row.count for row in huge.rows[rows:]) + huge.more
    (more,) = [e for e in elements(card["body"]) if e.get("text") == f"and {left} more"]
    assert more["selectAction"]["url"].startswith(notifications.CONSOLE)


def test_a_test_says_so_first() -> None:
    card = card_of(teams.render(notifications.test_message(), Rendering()))
    assert card["fallbackText"].startswith("TEST: ")
    assert said(card).startswith("TEST: ")
    assert "A TEST: nothing is wrong" in said(card)


def test_a_digest_lists_what_was_held_back() -> None:
    assert "failed: model quality" in said(
        card_of(teams.render(notifications.digest(), Rendering()))
    )
    many = replace(notifications.digest(), listed=tuple(f"message {n}" for n in range(50)))
    assert "and 30 more" in said(card_of(teams.render(many, Rendering())))


def test_raw_values_only_if_the_policy_lets_them() -> None:
    secret = Distribution(
        feature="city", labels=("Aarhus", "Ghent"), baseline=(0.9, 0.1), current=(0.2, 0.8)
    )
    n = replace(notifications.news(), distributions=(secret,))
    assert "Aarhus" not in json.dumps(teams.render(n, Rendering()))
    assert "Aarhus" in json.dumps(teams.render(n, Rendering(show_values=True)))


def test_a_card_that_fits_at_no_level_is_short() -> None:
    long = "\u4e00" * 400
    row = replace(notifications.news().rows[0], line=long, name=long, facts=None)
    n = replace(
        notifications.huge(),
        rows=(row,) * 10,
        why=(long,) * 4,
        listed=(long,) * 40,
        hidden=(long,) * 4,
    )
    body = teams.render(n, notifications.answerable())
    check(body)
    assert len(card_of(body)["actions"]) == 6


_NAMES = st.one_of(
    st.sampled_from(notifications.HOSTILE_NAMES),
    st.text(min_size=0, max_size=60),
    st.text(alphabet="<>&@!*_~`|[](){}#:/.\"' \\ah\n", max_size=400),
    st.sampled_from(
        ["{{DATE(2017-02-14T06:08:39Z, SHORT)}}", "<at>everybody</at>", "{{{", "\U0001f600" * 300]
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_NAMES, min_size=1, max_size=12), st.sampled_from(MessageKind))
def test_no_name_is_more_than_a_name(names: list[str], kind: MessageKind) -> None:
    hostile = replace(notifications.hostile(tuple(names)), kind=kind, listed=tuple(names))
    check(teams.render(hostile, replace(notifications.answerable(), note=names[0])))
    proposal = notifications.hostile_proposal(tuple(names))
    check(teams.render(proposal, replace(notifications.fitting(proposal), note=names[0])))
