"""The plain text that a topic's subscribers read."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from guiderail.model.message import Distribution, Notification, Rendering
from guiderail.rendering import plain_text
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.unit.rendering.golden_files import compare
from tests.unit.rendering.notifications import (
    CASES,
    COMMAND,
    CONSOLE,
    GROUP,
    REPLY_URL,
    RUNBOOK,
    answerable,
    digest,
    fitting,
    hostile,
    hostile_proposal,
    huge,
    news,
    test_message,
)
from tests.unit.rendering.test_escaping import LINKED, NAMES

LONGEST_LINE = 998


@pytest.mark.parametrize("case", sorted(CASES))
def test_messages_read_as_they_were_reviewed(case: str) -> None:
    compare("plain_text", f"{case}.txt", plain_text.render(CASES[case](), answerable(case)))


def without_ours(text: str) -> str:
    """The text without our own links."""
    for url in (CONSOLE, REPLY_URL):
        text = re.sub(re.escape(url) + r"\S*", "", text)
    return text.replace(RUNBOOK, "")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(NAMES, min_size=1, max_size=6).map(tuple),
    st.sampled_from([hostile, hostile_proposal]),
)
def test_no_name_becomes_a_link_or_a_line(
    names: tuple[str, ...], made: Callable[[tuple[str, ...]], Notification]
) -> None:
    def rendered(notification: Notification) -> str:
        # a command that may not be shown as it is takes its two lines with it
        part = notification.remediation
        without = replace(part, command="") if part else None
        notification = replace(notification, remediation=without)
        return plain_text.render(notification, fitting(notification))

    text = rendered(made(names))
    plain = rendered(made(tuple(f"name{names.index(n)}" for n in names)))
    assert not LINKED.search(without_ours(text))
    if all(names):
        assert text.count("\n") == plain.count("\n")
    assert "\r" not in text


@pytest.mark.parametrize("case", sorted(CASES))
def test_lines_and_message_keep_to_their_limits(case: str) -> None:
    text = plain_text.render(CASES[case](), answerable(case))
    assert len(text.encode()) <= plain_text.MOST_BYTES
    for line in text.split("\n"):
        assert len(line.encode()) <= LONGEST_LINE or line.strip().startswith("aws ")


@settings(max_examples=20, deadline=None)
@given(st.sampled_from("n\U0001f642<"), st.integers(min_value=200, max_value=5000))
def test_the_longest_names_fit(character: str, length: int) -> None:
    text = plain_text.render(hostile((character * length,) * 20), answerable())
    assert len(text.encode()) <= plain_text.MOST_BYTES
    assert f"guiderail explain {GROUP}" in text


def test_the_command_can_be_copied() -> None:
    assert f"Command:\n  {COMMAND}\n" in plain_text.render(news(), Rendering())


def test_a_command_that_cannot_be_seen_is_not_shown() -> None:
    known = news()
    run = replace(known.runs[0], command="aws x\nrm -rf y")
    text = plain_text.render(replace(known, runs=(run,)), Rendering())
    assert "rm -rf" not in text and plain_text.HIDDEN_COMMAND in text


def test_without_replies_nothing_is_said_of_answers() -> None:
    assert "Answer" not in plain_text.render(news(), Rendering())


def test_what_is_too_long_is_cut_at_the_end_and_says_so() -> None:
    text = plain_text.render(huge(), answerable())
    assert "and 300 more: https://" in text
    assert "Acknowledge:" in text and "left out" in text
    assert text.endswith(f"guiderail explain {GROUP}\n")


def test_without_a_link_the_rest_is_found_by_command() -> None:
    text = plain_text.render(replace(huge(), runs=()), Rendering())
    assert f"and 300 more: guiderail explain {GROUP}\n" in text


def test_a_long_digest_counts_the_rest() -> None:
    listed = tuple(f"subject {number}" for number in range(plain_text.MOST_LISTED + 5))
    text = plain_text.render(replace(digest(), listed=listed), Rendering())
    assert "- subject 0\n" in text and "and 5 more" in text
    assert "subject 100\n" not in text


def test_a_test_says_so_in_title_and_text() -> None:
    text = plain_text.render(test_message(), Rendering())
    assert text.startswith("TEST: ") and plain_text.TEST_NOTE in text
    assert "explain" not in text


def test_the_note_of_a_delivery_is_told() -> None:
    text = plain_text.render(news(), Rendering(note="Sent here as loans-oncall/slack refused it."))
    assert "Note:               Sent here as loans-oncall/slack refused it.\n" in text


def test_bucket_labels_are_shown_only_where_values_may_be() -> None:
    shares = Distribution(feature="f", labels=("secret",), baseline=(1.0,), current=(1.0,))
    known = replace(news(), distributions=(shares,))
    assert "secret" not in plain_text.render(known, Rendering())
    assert "secret" in plain_text.render(known, Rendering(show_values=True))
