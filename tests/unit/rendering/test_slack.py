"""Slack messages: what they say, Slack's limits, and names that try to be more than names."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from guiderail.model.message import Distribution, MessageKind, Rendering, Reply, ReplyAction
from guiderail.rendering import slack
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import to_builtins
from msgspec.structs import replace
from slack_sdk.models.blocks import Block

from tests.unit.rendering import notifications, slack_limits
from tests.unit.rendering.golden_files import compare

CASES = pytest.mark.parametrize("case", notifications.CASES)
_LINK = re.compile(r"<https://[^<>|]+\|[^<>|&]*(&amp;[^<>|&]*)*>")


def messages(notification: Any, rendering: Rendering) -> list[slack.SlackMessage]:
    reply = slack.thread_reply(notification, rendering)
    made = [
        slack.root_message(notification, rendering),
        slack.webhook_message(notification, rendering),
    ]
    if notification.remediation:
        made.append(slack.remediation_message(notification, rendering))
    return [*made, reply] if reply else made


def plain(message: slack.SlackMessage) -> str:
    return "\n".join(slack_limits.texts(message.blocks, "plain_text"))


def buttons(message: slack.SlackMessage) -> list[dict[str, Any]]:
    return [e for block in message.blocks if block["type"] == "actions" for e in block["elements"]]


def check(notification: Any, rendering: Rendering) -> None:
    """Within limits, nothing active but links of ours, in each of its messages."""
    for message in messages(notification, rendering):
        assert slack_limits.violations(message.text, message.blocks) == []
        for block in Block.parse_all(message.blocks):
            assert block is not None
            block.validate_json()
        for text in slack_limits.texts(message.blocks, "mrkdwn"):
            assert all(_LINK.fullmatch(link) for link in text.split(" · ")), text
            assert not re.search(r"<[@#!]", text)
        for text in (*slack_limits.texts(message.blocks, "plain_text"), message.text):
            assert "<" not in text and ">" not in text
            assert re.fullmatch(r"[^&]*(&(amp|lt|gt);[^&]*)*", text)
            assert "://" not in text
        assert not re.search(r"[*~`@]|(?<![^\W_])_|_(?![^\W_])", message.text)


@CASES
def test_golden(case: str) -> None:
    notification, rendering = notifications.CASES[case](), notifications.answerable(case)
    made: dict[str, slack.SlackMessage | None]
    made = {"webhook": slack.webhook_message(notification, rendering)}
    if notification.remediation:
        made |= {"message": slack.remediation_message(notification, rendering)}
    else:
        reply = slack.thread_reply(notification, rendering)
        made = {"root": slack.root_message(notification, rendering), "reply": reply, **made}
    text = json.dumps(to_builtins(made), indent=1, ensure_ascii=False)
    compare("slack", f"{case}.json", text + "\n")


@CASES
@pytest.mark.parametrize("shown", [False, True])
def test_limits(case: str, shown: bool) -> None:
    rendering = replace(notifications.answerable(case), show_values=shown, note="n" * 5000)
    check(notifications.CASES[case](), rendering)


def test_buttons_carry_opaque_tokens_and_what_they_do() -> None:
    made = buttons(slack.root_message(notifications.news(), notifications.answerable()))
    assert [(b["action_id"], b["value"]) for b in made] == [
        ("guiderail.acknowledge", "token0"),
        ("guiderail.silence_1h", "token1"),
        ("guiderail.silence_24h", "token2"),
        ("guiderail.silence_7d", "token3"),
        ("guiderail.assign", "token4"),
        ("guiderail.noise", "token5"),
    ]
    assert not any("url" in button for button in made)


def test_nothing_can_be_answered_when_it_is_over() -> None:
    message = slack.root_message(notifications.resolved(), notifications.answerable())
    assert buttons(message) == []
    assert message.blocks[0]["text"]["text"].startswith("✅ resolved")
    assert "income · completeness_check · over · was 91.4%" in plain(message)
    over = slack.webhook_message(notifications.resolved(), notifications.answerable())
    assert "token0" not in json.dumps(over.blocks)


def test_a_button_that_approves_asks_first() -> None:
    notification = notifications.proposal()
    message = slack.remediation_message(notification, notifications.answerable("proposal"))
    approve, reject = buttons(message)
    assert [b["action_id"] for b in (approve, reject)] == ["guiderail.approve", "guiderail.reject"]
    assert [b["style"] for b in (approve, reject)] == ["primary", "danger"]
    assert approve["confirm"]["title"]["text"] == "Approve retrain loans?"
    said = approve["confirm"]["text"]["text"]
    assert "retrain endpoint/loan-risk-prod" in said and "$12.50" in said
    assert "nothing else is by itself" in reject["confirm"]["text"]["text"]
    ordinary = buttons(slack.root_message(notifications.news(), notifications.answerable()))
    assert not any("confirm" in button for button in ordinary)


def test_a_proposal_is_seen_in_the_channel_and_what_asks_for_nothing_is_not() -> None:
    loud = slack.remediation_message(notifications.blocked(), Rendering())
    quiet = slack.remediation_message(notifications.proven(), Rendering())
    assert (loud.broadcast, quiet.broadcast) == (True, False)
    assert buttons(loud) == [] and buttons(quiet) == []


def test_a_webhook_has_links_and_no_buttons() -> None:
    message = slack.webhook_message(notifications.news(), notifications.answerable())
    assert buttons(message) == []
    links = "".join(slack_limits.texts(message.blocks, "mrkdwn"))
    assert f"<{notifications.REPLY_URL}token0|Acknowledge>" in links


def test_a_link_of_a_local_cloud_is_one_too() -> None:
    reply = Reply(
        action=ReplyAction.ACKNOWLEDGE, token="t", url="http://127.0.0.1:4566/r/t|x>y<z?a&b"
    )
    message = slack.webhook_message(notifications.news(), Rendering(replies=(reply,)))
    links = "".join(slack_limits.texts(message.blocks, "mrkdwn"))
    assert "<http://127.0.0.1:4566/r/t%7Cx%3Ey%3Cz?a&amp;b|Acknowledge>" in links


def test_what_is_left_out_is_counted_and_linked() -> None:
    huge = notifications.huge()
    message = slack.root_message(huge, notifications.answerable())
    left = sum(row.count for row in huge.rows[10:]) + huge.more
    more = [t for t in slack_limits.texts(message.blocks, "mrkdwn") if " more>" in t]
    assert len(more) == 1 and more[0].endswith(f"|and {left} more>")


def test_without_a_link_a_command_says_where_the_rest_is() -> None:
    huge = replace(notifications.huge(), runs=())
    assert f"more: guiderail explain {huge.group}" in plain(slack.root_message(huge, Rendering()))


def test_what_is_hidden_is_counted() -> None:
    n = replace(notifications.news(), hidden=tuple(f"{number} muted" for number in range(9)))
    assert "• 3 muted\nand 5 more" in plain(slack.root_message(n, Rendering()))


def test_a_link_too_long_to_be_one_leaves_the_count() -> None:
    run = notifications.news().runs[0]
    long = replace(run.links[0], url="https://console.example/" + "x" * 4000)
    n = replace(notifications.huge(), runs=(replace(run, links=(long,)),))
    assert f"more: guiderail explain {n.group}" in plain(slack.root_message(n, Rendering()))


def test_a_message_that_fits_at_no_level_is_short_and_can_be_answered() -> None:
    quotes = '"' * 400
    row = replace(notifications.news().rows[0], name=quotes, line=quotes, facts=None)
    wide = replace(
        notifications.huge(),
        why=(quotes,) * 4,
        rows=(row,) * 10,
        listed=(quotes,) * 30,
        hidden=(quotes,) * 4,
    )
    message = slack.root_message(wide, notifications.answerable())
    assert "The rest is too long for Slack" in plain(message)
    assert len(buttons(message)) == 6
    check(wide, notifications.answerable())


def test_a_reply_tells_what_changed() -> None:
    reply = slack.thread_reply(notifications.news(), notifications.answerable())
    assert reply is not None
    said = plain(reply)
    assert "income: completeness_check: observed 91.4%" in said
    assert "age" not in said
    assert reply.broadcast
    noted = slack.thread_reply(notifications.news(), Rendering(note="over the fallback"))
    assert noted is not None and "over the fallback" in plain(noted)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("acknowledged", "acknowledged 2 incidents."),
        ("remediation", "Retraining: retraining_started"),
        ("resolved", "2 incidents are over after 2 clean runs in a row."),
    ],
)
def test_a_reply_that_asks_for_nothing_stays_in_its_thread(case: str, said: str) -> None:
    reply = slack.thread_reply(notifications.CASES[case](), notifications.answerable(case))
    assert reply is not None
    assert not reply.broadcast
    assert said in plain(reply)


@pytest.mark.parametrize("case", ["digest", "test_message", "proposal", "proven"])
def test_what_changes_no_incident_has_no_reply(case: str) -> None:
    notification = notifications.CASES[case]()
    assert slack.thread_reply(notification, notifications.answerable()) is None


def test_a_test_says_so_first() -> None:
    message = slack.root_message(notifications.test_message(), Rendering())
    assert message.text.startswith("🧪 TEST")
    assert message.blocks[0]["text"]["text"].startswith("🧪 TEST")
    assert "A TEST: nothing is wrong" in plain(message)


def test_a_digest_lists_what_was_held_back() -> None:
    said = plain(slack.root_message(notifications.digest(), Rendering()))
    assert "failed: model quality of loan-risk-prod" in said
    many = replace(notifications.digest(), listed=tuple(f"message {n}" for n in range(50)))
    assert "and 30 more" in plain(slack.root_message(many, Rendering()))


def test_raw_values_only_if_the_policy_lets_them() -> None:
    secret = Distribution(
        feature="city", labels=("Aarhus", "Ghent"), baseline=(0.9, 0.1), current=(0.2, 0.8)
    )
    n = replace(notifications.news(), distributions=(secret,))
    assert "Aarhus" not in json.dumps(to_builtins(messages(n, Rendering())))
    assert "Aarhus: 90% to 20%" in plain(slack.root_message(n, Rendering(show_values=True)))


def test_a_runbook_that_is_no_link_is_none() -> None:
    n = replace(notifications.news(), runbook="javascript:alert(1)", runs=())
    assert list(slack_limits.texts(slack.root_message(n, Rendering()).blocks, "mrkdwn")) == []


_NAMES = st.one_of(
    st.sampled_from(notifications.HOSTILE_NAMES),
    st.text(min_size=0, max_size=60),
    st.text(alphabet="<>&@!*_~`|[]()#:/.\"' \\ah", max_size=400),
    st.text(alphabet="\U0001f600", min_size=200, max_size=400),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(_NAMES, min_size=1, max_size=12), st.sampled_from(MessageKind))
def test_no_name_is_more_than_a_name(names: list[str], kind: MessageKind) -> None:
    hostile = replace(notifications.hostile(tuple(names)), kind=kind, listed=tuple(names))
    check(hostile, replace(notifications.answerable(), note=names[0], show_values=True))
    proposal = notifications.hostile_proposal(tuple(names))
    check(proposal, replace(notifications.fitting(proposal), note=names[0]))
