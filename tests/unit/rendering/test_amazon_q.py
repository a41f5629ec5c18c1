"""Custom notifications of Amazon Q Developer in chat applications."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from guiderail.model.message import Notification, Rendering
from guiderail.rendering import amazon_q
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped, unused-ignore]
from msgspec.structs import replace

from tests.unit.rendering.golden_files import compare
from tests.unit.rendering.notifications import (
    CASES,
    COMMAND,
    EPISODE,
    GROUP,
    digest,
    fitting,
    hostile,
    hostile_proposal,
    huge,
    news,
    resolved,
    test_message,
)
from tests.unit.rendering.test_escaping import LINKED, NAMES
from tests.unit.rendering.test_plain_text import without_ours

TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "array", "items": TEXT}
# the administrator guide's event schema and parameter details
SCHEMA = {
    "type": "object",
    "required": ["version", "source", "content"],
    "additionalProperties": False,
    "properties": {
        "version": {"const": "1.0"},
        "source": {"const": "custom"},
        "id": TEXT,
        "content": {
            "type": "object",
            "required": ["description"],
            "additionalProperties": False,
            "properties": {
                "textType": {"const": "client-markdown"},
                "title": {**TEXT, "maxLength": 250},
                "description": {**TEXT, "maxLength": 8000},
                "nextSteps": TEXTS,
                "keywords": TEXTS,
            },
        },
        "metadata": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "threadId": {**TEXT, "maxLength": 255},
                "summary": TEXT,
                "eventType": TEXT,
                "relatedResources": TEXTS,
                "additionalContext": {"type": "object", "additionalProperties": TEXT},
            },
        },
    },
}
MARKUP = re.compile(r"[<>*`~]|\]\(|@\w|(?<!\w)_|_(?!\w)|(?<!\w):[\w+-]+:")


def rendered(notification: Notification) -> dict[str, Any]:
    return amazon_q.render(notification, fitting(notification))


@pytest.mark.parametrize("case", sorted(CASES))
def test_messages_read_as_they_were_reviewed(case: str) -> None:
    text = json.dumps(rendered(CASES[case]()), indent=2, ensure_ascii=False)
    compare("amazon_q", f"{case}.json", f"{text}\n")


@pytest.mark.parametrize("case", sorted(CASES))
def test_messages_have_the_documented_form(case: str) -> None:
    Draft202012Validator(SCHEMA).validate(rendered(CASES[case]()))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(NAMES, min_size=1, max_size=6).map(tuple),
    st.sampled_from([hostile, hostile_proposal]),
)
@example(("WWW.[", "mailto:(x)", "a.(b)"), hostile)
@example(("WWW.[", "mailto:(x)", "a.(b)"), hostile_proposal)
def test_no_name_becomes_markup_a_mention_or_a_link(
    names: tuple[str, ...], made: Callable[[tuple[str, ...]], Notification]
) -> None:
    message = rendered(made(names))
    Draft202012Validator(SCHEMA).validate(message)
    content = message["content"]
    steps = [step for step in content["nextSteps"] if not re.fullmatch("`guiderail [^`]*`", step)]
    headings = re.compile(r"^\*([^*\n]*)\*$", re.MULTILINE)
    description = headings.sub(r"\1", content["description"])
    for text in (content["title"], description, *steps, *content["keywords"]):
        theirs = without_ours(text)
        assert not MARKUP.search(theirs), theirs
        assert not LINKED.search(theirs), theirs


def test_one_episode_is_one_thread() -> None:
    first, later = rendered(news()), rendered(resolved())
    other = rendered(replace(news(), episode="2027-01-01T00:00:00+00:00"))
    threads = [message["metadata"]["threadId"] for message in (first, later, other)]
    assert threads[0] == threads[1] != threads[2]
    assert GROUP not in threads[0] and EPISODE not in threads[0]


def test_a_command_of_markup_is_left_out() -> None:
    known = news()
    assert f"`{COMMAND}`" in rendered(known)["content"]["nextSteps"]
    for command in ("aws x '<!channel>'", "aws `x`", "aws x\ny"):
        run = replace(known.runs[0], command=command)
        steps = rendered(replace(known, runs=(run,)))["content"]["nextSteps"]
        assert not any("aws" in step.partition("://")[0] for step in steps)


def test_long_lists_end_in_a_count_and_a_link() -> None:
    lines = rendered(huge())["content"]["description"].split("\n")
    (more,) = [line for line in lines if re.match(r"and \d+ more: https://", line)]
    shown = sum(line.startswith("- feature_") for line in lines)
    left_out = sum(row.count for row in huge().rows[shown:])
    assert shown and more.startswith(f"and {300 + left_out} more")
    listed = tuple(f"subject {number}" for number in range(30))
    description = rendered(replace(digest(), listed=listed))["content"]["description"]
    assert "and 5 more" in description


def test_a_test_says_so_in_title_and_text() -> None:
    content = rendered(test_message())["content"]
    assert content["title"].startswith("TEST: ") and "TEST" in content["description"]


def test_without_replies_there_are_no_reply_links() -> None:
    steps = amazon_q.render(news(), Rendering())["content"]["nextSteps"]
    assert not any("Acknowledge" in step for step in steps)
