"""Answers to messages, and attacks on them, over in-memory ports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html import unescape
from threading import Barrier
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
from guiderail.errors import (
    AccessDeniedError,
    ChannelFailedError,
    NotFoundError,
    RejectedRequestError,
    ThrottledError,
)
from guiderail.model.delivery import ReplyToken, token_digest
from guiderail.model.incident import Incident, IncidentState, ledger_of
from guiderail.model.message import INCIDENT_ANSWERS, REMEDIATION_ANSWERS, ReplyAction
from guiderail.model.outcome import Reason
from guiderail.model.policy import Channel, ChannelKind, Policy, Receiver, Replies
from guiderail.model.remediation import RemediationState
from guiderail.model.web import WebAnswer, WebRequest, web_request
from guiderail.rendering.reply_pages import SAID_LIMIT
from guiderail.services.labels import labels_match, labels_of
from guiderail.services.replying import LARGEST_FORM, LARGEST_SLACK
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.replies import (
    AGE,
    ASKED,
    FORM,
    HOOK,
    INCOME,
    LABELS,
    MAIL,
    NOW,
    POLICY,
    SCOPE,
    SECRET,
    SHARED_MAIL,
    SIGNING,
    SLACK,
    TEAMS,
    World,
    approval_of,
    event_of,
    get,
    interaction,
    post,
    signed,
    token_of,
)
from tests.template import ROOT

STATUSES = {200, 400, 401, 403, 404, 405, 409, 410, 413, 415, 500, 503}
"""As docs/replies.md lists them."""

SILENCES = {
    ReplyAction.SILENCE_1H: timedelta(hours=1),
    ReplyAction.SILENCE_24H: timedelta(hours=24),
    ReplyAction.SILENCE_7D: timedelta(days=7),
}
EVERY_ACTION = list(INCIDENT_ANSWERS)


def audit_of_group(world: World) -> list[tuple[str, str, dict[str, int]]]:
    """Who was refused, from where, and why."""
    entries = world.store.audit(token_of().group, 99)
    assert all(entry.what == "reply" for entry in entries)
    return [(entry.actor, entry.origin, dict(entry.counts)) for entry in entries]


# --- the page that asks


@pytest.mark.parametrize("action", EVERY_ACTION)
def test_a_link_asks_and_changes_nothing(action: ReplyAction) -> None:
    world = World(token_of(action))
    for _ in range(3):
        page = world(get())
        assert page.status == 200
        assert "1 finding: data quality of loan-risk-prod" in page.body
        assert f'name="do" value="{action}"' in page.body
    assert world.is_untouched()
    assert world.reasons == []


def test_a_head_request_is_answered_like_get_without_a_body() -> None:
    world = World()
    head, page = world(get(method="HEAD")), world(get())
    assert (head.status, head.headers, head.body) == (200, page.headers, "")
    assert world.is_untouched()


def test_the_page_says_until_when() -> None:
    page = World(token_of(ReplyAction.SILENCE_24H))(get()).body
    assert "24 Nov 2026, 15:05 UTC" in page
    assert "The link works once, until 30 Nov 2026, 15:05 UTC" in page


# --- what the answers do


def test_acknowledging_by_a_link() -> None:
    world = World()

    page = world(post({"do": "acknowledge", "name": "Ana", "comment": "feed is being mended"}))

    assert (page.status, "Acknowledged" in page.body) == (200, True)
    incident = world.incident()
    assert incident.state is IncidentState.ACKNOWLEDGED
    assert incident.acknowledged_by == "email:ana@loans.example"
    token = world.token()
    assert (token.used_at, token.used_by) == (NOW, "email:ana@loans.example")
    (entry,) = world.store.audit(SCOPE.ledger_id, 9)
    assert (entry.actor, entry.origin, entry.what) == (
        "email:ana@loans.example",
        "link@203.0.113.7",
        "acknowledge",
    )
    assert entry.decisions[0].text == "feed is being mended (name given: Ana)"
    assert world.reasons == [Reason.REPLY_DONE]


@pytest.mark.parametrize(("action", "length"), SILENCES.items())
def test_silencing_by_a_link(action: ReplyAction, length: timedelta) -> None:
    world = World(token_of(action))

    page = world(post({"do": action.value, "comment": "crane works"}))

    (silence,) = world.store.kept_silences.values()
    assert (silence.match, silence.ends_at - NOW) == (LABELS, length)
    assert (silence.author, silence.comment) == ("email:ana@loans.example", "crane works")
    assert silence.id in page.body
    (entry,) = world.store.audit(silence.id, 9)
    assert entry.origin == "link@203.0.113.7"
    assert world.incident().state is IncidentState.OPEN


def test_a_silence_matches_the_labels_as_they_are_and_no_others() -> None:
    # Given names that would be globs
    odd = {"feature": "x[0]*", "facet": "(18, 25]?"}
    world = World(token_of(ReplyAction.SILENCE_1H, labels=odd))
    world(post(action=ReplyAction.SILENCE_1H))
    (silence,) = world.store.kept_silences.values()
    assert labels_match(silence.match, odd)
    for other in ({"feature": "x0abc", "facet": odd["facet"]}, {**odd, "facet": "(18, 25]y"}):
        assert not labels_match(silence.match, other)


def test_without_labels_schedule_and_check_are_silenced() -> None:
    token = token_of(ReplyAction.SILENCE_1H, labels={}, incidents=(INCOME.id, AGE.id))
    world = World(token)
    assert "the same schedule and check" in world(get()).body
    page = world(post(action=ReplyAction.SILENCE_1H))
    assert page.body.count("<li>") == 1
    (silence,) = world.store.kept_silences.values()
    ledger = world.store.ledgers[SCOPE.ledger_id]
    assert all(labels_match(silence.match, labels_of(SCOPE, i)) for i in ledger.incidents.values())
    other = replace(INCOME, check="completeness_check")
    assert not labels_match(silence.match, labels_of(SCOPE, other))


def test_assigning_by_a_link() -> None:
    world = World(token_of(ReplyAction.ASSIGN))

    world(post({"do": "assign", "to": "  Bea\nof risk ", "comment": "yours"}))

    incident = world.incident()
    assert (incident.state, incident.acknowledged_by) == (
        IncidentState.ACKNOWLEDGED,
        "Bea of risk",
    )
    assert incident.reason is Reason.ASSIGNED
    (entry,) = world.store.audit(SCOPE.ledger_id, 9)
    assert (entry.what, entry.actor) == ("assign", "email:ana@loans.example")
    assert entry.decisions[0].text == "to Bea of risk: yours"


@pytest.mark.parametrize("given", [{}, {"to": ""}, {"to": " \n\u200b "}])
def test_assigning_to_nobody_asks_again(given: dict[str, str]) -> None:
    world = World(token_of(ReplyAction.ASSIGN))
    page = world(post({"do": "assign", **given}))
    assert page.status == 400
    assert "say who it is assigned to" in page.body
    assert "<form" in page.body
    assert world.is_untouched()


def test_calling_it_noise_keeps_what_was_measured() -> None:
    world = World(token_of(ReplyAction.NOISE, incidents=(INCOME.id, AGE.id)))

    page = world(post({"do": "noise", "comment": "always so on Mondays"}))

    assert page.status == 200
    kept = list(world.store.feedback(NOW))
    assert {f.incident for f in kept} == {INCOME.id, AGE.id}
    one = next(f for f in kept if f.incident == INCOME.id)
    assert (one.observed, one.threshold, one.distance) == (0.31, 0.1, 0.21)
    assert (one.actor, one.comment) == ("email:ana@loans.example", "always so on Mondays")
    assert one.labels["feature"] == "income"
    assert world.store.ledgers[SCOPE.ledger_id].version == 1
    audited = world.store.audit(SCOPE.ledger_id, 9)
    assert [entry.counts for entry in audited] == [{"marked_noise": 1}] * 2


def test_what_is_over_meanwhile_is_named() -> None:
    world = World(token_of(incidents=(INCOME.id, AGE.id, f"{ledger_of(AGE.id)}-gone")))
    world.acts().resolve(AGE.id, "bea")

    page = world(post())

    assert page.status == 200
    text = unescape(page.body)
    assert "income, baseline_drift_check: acknowledged by email:ana@loans.example" in text
    assert "age, baseline_drift_check: is resolved" in text
    assert f"{ledger_of(AGE.id)}-gone: is over, and forgotten" in text
    assert world.incident(AGE).state is IncidentState.RESOLVED


def test_where_all_is_over_the_link_is_not_used_up() -> None:
    world = World()
    world.acts().resolve(INCOME.id, "bea")
    page = world(post())
    assert (page.status, world.reasons) == (409, [Reason.REPLY_REFUSED])
    assert "is resolved" in page.body
    assert world.token().used_at is None
    assert audit_of_group(world)[0][2] == {"reply_refused": 1}


def test_many_incidents_are_counted() -> None:
    names = tuple(f"{SCOPE.ledger_id}-gone-{number}" for number in range(70))
    page = World(token_of(incidents=names))(post())
    assert page.body.count("<li>") == 51
    assert "and 20 more" in page.body


# --- who may


def allowed(*globs: str) -> Policy:
    return replace(POLICY, replies=Replies(allowed=globs))


@pytest.mark.parametrize(
    ("channel", "globs", "actor"),
    [
        (MAIL, ("email:ana@loans.example",), "email:ana@loans.example"),
        (MAIL, ("email:*",), "email:ana@loans.example"),
        (SHARED_MAIL, ("link:risk/mailing-list",), "link:risk/mailing-list"),
        (TEAMS, ("link:risk/*",), "link:risk/teams"),
        ("guiderail/topic", ("link:*",), "link:guiderail/topic"),
    ],
)
def test_who_may_answer_by_a_link(channel: str, globs: tuple[str, ...], actor: str) -> None:
    world = World(token_of(channel=channel), policy=allowed(*globs))
    assert world(post()).status == 200
    assert world.token().used_by == actor


@pytest.mark.parametrize(
    ("channel", "globs"),
    [
        (MAIL, ()),
        (MAIL, ("link:*", "slack:*")),
        (MAIL, ("email:ANA@loans.example",)),
        (MAIL, ("email:ana@loans",)),
        # two addresses: nobody knows which of them
        (SHARED_MAIL, ("email:*",)),
        (TEAMS, ("email:*", "link:risk/team")),
        # a button of Slack's whose token somebody opens as a link
        (SLACK, ("link:*", "slack:*")),
    ],
)
def test_who_may_not(channel: str, globs: tuple[str, ...]) -> None:
    world = World(token_of(channel=channel), policy=allowed(*globs))
    page = world(post({"do": "acknowledge", "name": "email:ana@loans.example"}))
    assert (page.status, world.reasons) == (403, [Reason.REPLY_FORBIDDEN])
    assert world.is_untouched()
    ((actor, origin, counts),) = audit_of_group(world)
    assert actor.startswith(("email:", "link:"))
    assert (origin, counts) == ("link@203.0.113.7", {"reply_forbidden": 1})
    assert [level for level, message, _ in world.lines if message == "reply"] == ["warning"]


def test_the_built_in_policy_lets_nobody_answer() -> None:
    world = World(policy=Policy())
    assert world(post()).status == 403
    assert world.is_untouched()


# --- forged, altered, used, expired


@pytest.mark.parametrize("position", range(len(SECRET)))
def test_a_token_altered_anywhere_is_unknown(position: int) -> None:
    other = "A" if SECRET[position] != "A" else "B"
    path = f"/r/{SECRET[:position]}{other}{SECRET[position + 1 :]}"
    world = World()
    assert world(get(path)).status == 404
    assert world(post(path=path)).status == 404
    assert world.is_untouched()
    assert world.reasons == [Reason.REPLY_UNKNOWN] * 2


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/r",
        "/r/",
        "/r/short",
        f"/r/{SECRET.upper()}",
        f"/r/{SECRET.lower()}",
        f"/r/{SECRET.swapcase()}",
        f"/r/{SECRET}/",
        f"/r/{SECRET}x",
        f"/r/{SECRET[:-1]}",
        f"/r/{SECRET}\n",
        f"/r/ {SECRET}",
        f"/R/{SECRET}",
        f"//r/{SECRET}",
        f"/x/../r/{SECRET}",
        f"/r/../r/{SECRET}",
        f"/r/%2e%2e/{SECRET}",
        f"/r/{SECRET}%00",
        f"/r/{token_digest(SECRET)}",
        "/r/" + "A" * 43,
        "/r/" + "A" * 100_000,
        "/r/../../etc/passwd",
        "/slack/",
        "/favicon.ico",
        f"https://elsewhere.example/r/{SECRET}",
    ],
)
def test_a_path_that_is_none_of_ours(path: str) -> None:
    world = World()
    for request in (get(path), post(path=path)):
        answer = world(request)
        assert answer.status == 404
        assert "loan-risk-prod" not in answer.body
    assert world.is_untouched()


def test_a_store_that_answers_with_another_token_is_not_believed() -> None:
    world = World()
    world.store.tokens[token_digest(SECRET)] = token_of(digest=token_digest("another"))
    assert world(post()).status == 404


def test_a_used_link_says_when_and_by_whom() -> None:
    world = World()
    world(post())
    world.now += timedelta(hours=2)
    before = world.store.ledgers[SCOPE.ledger_id]
    for request in (get(), post(), post({})):
        page = world(request)
        assert page.status == 409
        assert "23 Nov 2026, 15:05 UTC by email:ana@loans.example" in page.body
    assert world.store.ledgers[SCOPE.ledger_id] == before
    assert world.reasons == [Reason.REPLY_DONE] + [Reason.REPLY_USED] * 3
    # opening the page is no attempt
    assert [counts for _, _, counts in audit_of_group(world)] == [{"reply_used": 1}]


def test_a_silence_is_not_prolonged_by_a_replay() -> None:
    world = World(token_of(ReplyAction.SILENCE_1H))
    world(post(action=ReplyAction.SILENCE_1H))
    silences = dict(world.store.kept_silences)
    world.now += timedelta(minutes=50)
    assert world(post(action=ReplyAction.SILENCE_1H)).status == 409
    assert world.store.kept_silences == silences


@pytest.mark.parametrize(("late", "status"), [(-1, 200), (0, 410), (1, 410)])
def test_a_link_works_until_it_expires(late: int, status: int) -> None:
    world = World()
    world.now = token_of().expires_at + timedelta(seconds=late)
    assert world(get()).status == status
    page = world(post())
    assert page.status == status
    if status == 410:
        assert "It worked until 30 Nov 2026, 15:05 UTC" in page.body
        assert world.is_untouched()
        assert [counts for _, _, counts in audit_of_group(world)] == [{"reply_expired": 1}]


@pytest.mark.parametrize("action", EVERY_ACTION)
def test_a_double_click_does_it_once(action: ReplyAction) -> None:
    # Given two clicks of which both find the token unused
    world = World(token_of(action))
    both = Barrier(2, timeout=5)
    look_up = world.store.token
    first_looks: list[str] = []

    def together(digest: str) -> ReplyToken | None:
        found = look_up(digest)
        if len(first_looks) < 2:
            first_looks.append(digest)
            both.wait()
        return found

    world.store.token = together  # type: ignore[method-assign]
    fields = {"do": action.value, "to": "bea"}
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: world(post(fields)), range(2)))

    assert sorted(answer.status for answer in answers) == [200, 409]
    loser = max(answers, key=lambda answer: answer.status)
    assert "by email:ana@loans.example" in loser.body
    audited = world.store.audit(SCOPE.ledger_id, 9)
    silences = world.store.kept_silences
    if action in SILENCES:
        assert len(silences) == 1
        assert len(world.store.audit(next(iter(silences)), 9)) == 1
    else:
        assert len(audited) == 1
        assert len(world.store.feedback_rows) == (action is ReplyAction.NOISE)


@pytest.mark.parametrize("action", EVERY_ACTION)
def test_what_broke_off_before_the_token_was_used_is_done_once(action: ReplyAction) -> None:
    world = World(token_of(action))
    use = world.store.use

    def fails(*given: object) -> bool:
        world.store.use = use  # type: ignore[method-assign]
        raise ThrottledError("slow down")

    world.store.use = fails  # type: ignore[method-assign, assignment]
    fields = {"do": action.value, "to": "bea"}
    assert world(post(fields)).status == 503
    world.now += timedelta(seconds=9)
    assert world(post(fields)).status == 200
    assert len(world.store.kept_silences) == (action in SILENCES)
    assert len(world.store.feedback_rows) == (action is ReplyAction.NOISE)
    assert len(world.store.audit(SCOPE.ledger_id, 9)) == (action not in SILENCES)


# --- forms that are none


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"do": ""},
        {"do": "yes"},
        {"do": "silence_7d"},
        {"do": "ACKNOWLEDGE"},
        {"name": "ana", "comment": "a scanner fills in what it finds"},
        {"_method": "DELETE", "token": SECRET},
    ],
)
def test_a_form_without_its_button_asks_again(fields: dict[str, str]) -> None:
    world = World()
    page = world(post(fields))
    assert (page.status, world.reasons) == (400, [Reason.REPLY_MALFORMED])
    assert "Nothing was done: press the button." in page.body
    assert 'name="do" value="acknowledge"' in page.body
    assert world.is_untouched()


def test_the_first_of_two_values_counts() -> None:
    world = World(token_of(ReplyAction.ASSIGN))
    assert world(post(body=b"do=assign&to=bea&to=eve&do=noise")).status == 200
    assert world.incident().acknowledged_by == "bea"


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        (post(body=b"do=acknowledge&x=" + b"a" * LARGEST_FORM), 413, Reason.REPLY_TOO_LARGE),
        (post(body=b"a" * 6_000_000), 413, Reason.REPLY_TOO_LARGE),
        (post(body=b"&".join([b"do=acknowledge"] * 21)), 400, Reason.REPLY_MALFORMED),
        (post(body=b"do=acknowledge&name=%ff%fe"), 400, Reason.REPLY_MALFORMED),
        (post(body=b"do=acknowledge\xff"), 400, Reason.REPLY_MALFORMED),
        (post(media_type=""), 415, Reason.REPLY_MALFORMED),
        (post(media_type="application/json"), 415, Reason.REPLY_MALFORMED),
        (post(media_type="multipart/form-data; boundary=x"), 415, Reason.REPLY_MALFORMED),
        (post(media_type="text/plain; application/x-www-form-urlencoded"), 415, Reason.REPLY_MALFORMED),
    ],
)  # fmt: skip
def test_a_body_that_is_no_form_of_ours(request_: WebRequest, status: int, reason: Reason) -> None:
    world = World()
    assert (world(request_).status, world.reasons) == (status, [reason])
    assert world.is_untouched()


def test_a_form_of_the_largest_size_is_read() -> None:
    body = b"do=acknowledge&comment="
    world = World()
    assert world(post(body=body + b"a" * (LARGEST_FORM - len(body) + 1))).status == 413
    assert world(post(body=body + b"a" * (LARGEST_FORM - len(body)))).status == 200


def test_a_charset_beside_the_content_type_is_fine() -> None:
    assert World()(post(media_type=f"{FORM.upper()}; charset=UTF-8")).status == 200


@pytest.mark.parametrize("path", [f"/r/{SECRET}", "/slack"])
def test_a_body_that_is_no_base64(path: str) -> None:
    world = World(token_of(channel=SLACK))
    event = event_of(post(path=path)) | {"body": "ZG8===YWNr*", "isBase64Encoded": True}
    answer = world.replying()(web_request(event))
    assert (answer.status, world.reasons) == (400, [Reason.REPLY_MALFORMED])
    assert world.is_untouched()


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "", "\n"])
def test_other_methods(method: str) -> None:
    world = World(token_of(channel=MAIL))
    answer = world(replace(post(), method=method))
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, POST")
    answer = world(replace(signed(), method=method))
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    assert world.is_untouched()


def test_no_method_overrides_another() -> None:
    world = World()
    override = {"x-http-method-override": "POST", "x-method-override": "POST"}
    assert world(get(f"/r/{SECRET}", **override)).status == 200
    assert world.is_untouched()


# --- what is said


MARKUP = "\"'><script>alert(1)</script>&lt;<img src=x onerror=alert(1)>"


@pytest.mark.parametrize("action", EVERY_ACTION)
def test_names_from_data_and_from_people_are_never_markup(action: ReplyAction) -> None:
    hostile = replace(INCOME, subject=replace(INCOME.subject, feature=MARKUP), check=MARKUP)
    token = token_of(action, title=MARKUP, channel=MARKUP, labels={MARKUP: MARKUP})
    world = World(token, policy=allowed("link:*"))
    world.store.ledgers[SCOPE.ledger_id].incidents[INCOME.id] = hostile
    fields = {"do": action.value, "to": MARKUP, "name": MARKUP, "comment": MARKUP}
    pages = [world(get()), world(post({**fields, "do": MARKUP})), world(post(fields)), world(get())]
    assert [page.status for page in pages] == [200, 400, 200, 409]
    for page in pages:
        assert "alert(1)" in page.body
        assert "<script" not in page.body
        assert "<img" not in page.body
        assert "\"'>" not in page.body


def test_what_people_say_is_one_bounded_line_of_visible_text() -> None:
    world = World(token_of(ReplyAction.ASSIGN))
    said = "a\r\nb\u202e\x00" + "x" * 5000
    world(post({"do": "assign", "to": said, "comment": said, "name": said}))
    (entry,) = world.store.audit(SCOPE.ledger_id, 9)
    text = entry.decisions[0].text
    assert text.isprintable()
    assert "a b xxx" in text or "a bxxx" in text
    assert len(world.incident().acknowledged_by) <= SAID_LIMIT
    assert len(text) <= 3 * SAID_LIMIT + 50


def test_no_token_is_ever_logged() -> None:
    world = World(token_of(channel=SLACK))
    for request in (get(), post(), get(f"/r/{SECRET}x"), signed(), signed()):
        world(request)
        assert SECRET not in repr(request)
    assert SECRET not in repr(world.lines) + repr(world.metrics)
    assert SECRET not in repr(list(world.store.audit_rows.values()))
    assert all(SECRET not in text for _, text in world.notes)


# --- the store fails


def failing(world: World, name: str, error: Exception) -> None:
    def fails(*_: object) -> Any:
        raise error

    setattr(world.store, name, fails)


@pytest.mark.parametrize("step", ["token", "ledger", "commit_act", "use"])
def test_a_store_that_fails_for_now_is_said_and_nothing_is_used(step: str) -> None:
    world = World()
    failing(world, step, ThrottledError("slow down"))
    answer = world(post())
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert "the link still works" in answer.body
    assert world.token().used_at is None
    assert world.reasons == ["throttled"]


def test_opening_a_page_while_the_store_fails() -> None:
    world = World()
    failing(world, "token", ThrottledError("slow down"))
    assert world(get()).status == 503


def test_a_store_that_refuses_is_an_error_of_ours() -> None:
    world = World()
    failing(world, "commit_act", AccessDeniedError("no"))
    answer = world(post())
    assert (answer.status, world.reasons) == (500, ["access_denied"])
    assert "Retry-After" not in answer.headers
    assert ("error", "an answer could not be handled") in [line[:2] for line in world.lines]


def test_what_the_store_calls_wrong_is_not_said_to_be_over() -> None:
    world = World()
    failing(world, "commit_act", RejectedRequestError("ValidationException"))
    assert (world(post()).status, world.reasons) == (500, ["rejected_request"])


def test_a_refusal_that_cannot_be_audited_is_not_given() -> None:
    world = World(policy=Policy())
    failing(world, "keep_audit", ThrottledError("slow down"))
    assert world(post()).status == 503


def test_a_failure_with_one_of_several_incidents_is_made_good_by_the_next_click() -> None:
    world = World(token_of(incidents=(INCOME.id, AGE.id)))
    commit = world.store.commit_act

    def second_fails(*given: Any) -> None:
        if world.incident().state is IncidentState.ACKNOWLEDGED:
            world.store.commit_act = commit  # type: ignore[method-assign]
            raise ThrottledError("slow down")
        commit(*given)

    world.store.commit_act = second_fails  # type: ignore[method-assign, assignment]
    assert world(post()).status == 503
    assert world(post()).status == 200
    assert {world.incident(i).state for i in (INCOME, AGE)} == {IncidentState.ACKNOWLEDGED}
    assert len(world.store.audit(SCOPE.ledger_id, 9)) == 2


# --- Slack


def slack_world(action: ReplyAction = ReplyAction.ACKNOWLEDGE, **fields: Any) -> World:
    return World(token_of(action, **{"channel": SLACK, **fields}))


def test_acknowledging_by_a_button() -> None:
    world = slack_world()

    answer = world(signed())

    assert (answer.status, answer.body) == (200, "")
    assert world.incident().acknowledged_by == "slack:T0RISK/U0ANA"
    assert world.token().used_by == "slack:T0RISK/U0ANA"
    (entry,) = world.store.audit(SCOPE.ledger_id, 9)
    assert entry.origin == "slack@risk/slack"
    ((url, text),) = world.notes
    assert url == HOOK
    assert text.startswith("Acknowledged: 1 finding")
    assert world.reasons == [Reason.REPLY_DONE]


def test_a_button_assigns_to_whoever_presses_it() -> None:
    world = slack_world(ReplyAction.ASSIGN)
    world(signed())
    assert world.incident().acknowledged_by == "ana"


@pytest.mark.parametrize("action", EVERY_ACTION)
def test_a_button_that_is_replayed(action: ReplyAction) -> None:
    world = slack_world(action)
    request = signed()
    assert (world(request).status, world(request).status) == (200, 200)
    assert world.reasons == [Reason.REPLY_DONE, Reason.REPLY_USED]
    assert "Answered already" in world.notes[1][1]
    assert "by slack:T0RISK/U0ANA" in world.notes[1][1]
    assert [counts for _, _, counts in audit_of_group(world)] == [{"reply_used": 1}]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"value": SECRET[::-1]}, Reason.REPLY_UNKNOWN),
        ({"value": "x" * 2000}, Reason.REPLY_UNKNOWN),
        ({"value": SECRET.upper()}, Reason.REPLY_UNKNOWN),
        ({"user": {"id": "U0EVE", "team_id": "T0RISK"}}, Reason.REPLY_FORBIDDEN),
        ({"user": {"id": "U0ANA", "team_id": "T0ELSE"}}, Reason.REPLY_FORBIDDEN),
    ],
)
def test_a_signed_button_that_is_not_taken(change: dict[str, Any], reason: Reason) -> None:
    world = slack_world()
    value = change.get("value", SECRET)
    answer = world(signed(interaction(**{"value": value, **change})))
    assert (answer.status, answer.body) == (200, "")
    assert world.reasons == [reason]
    assert len(world.notes) == 1
    assert world.is_untouched()


def test_an_expired_button() -> None:
    world = slack_world(expires_at=NOW)
    world(signed())
    assert world.reasons == [Reason.REPLY_EXPIRED]
    assert "has expired" in world.notes[0][1]
    assert world.is_untouched()


def test_a_token_of_mail_is_no_button() -> None:
    world = World(token_of(channel=MAIL), policy=allowed("*"))
    world(signed())
    assert world.reasons == [Reason.REPLY_FORBIDDEN]
    assert world.is_untouched()


def test_the_team_stands_in_where_the_user_names_none() -> None:
    world = slack_world()
    world(signed(interaction(user={"id": "U0ANA"})))
    assert world.token().used_by == "slack:T0RISK/U0ANA"


def test_an_incoming_webhook_may_have_buttons_and_links() -> None:
    hook = Channel(kind=ChannelKind.SLACK_WEBHOOK, name="risk/hook")
    policy = replace(
        allowed("slack:T0RISK/*", "link:*"),
        receivers={"risk": Receiver(name="risk", channels=(hook,))},
    )
    for request in (signed(), post()):
        world = World(token_of(channel="risk/hook"), policy=policy)
        world(request)
        assert world.reasons == [Reason.REPLY_DONE]


ALTERED = signed().body
assert ALTERED is not None


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (signed(secret="another"), Reason.REPLY_BAD_SIGNATURE),
        (replace(signed(), body=ALTERED + b"&x=1"), Reason.REPLY_BAD_SIGNATURE),
        (replace(signed(), body=signed(interaction("x" * 43)).body), Reason.REPLY_BAD_SIGNATURE),
        (replace(signed(), body=b""), Reason.REPLY_BAD_SIGNATURE),
        (signed(at=NOW - timedelta(seconds=301)), Reason.REPLY_STALE),
        (signed(at=NOW + timedelta(seconds=301)), Reason.REPLY_STALE),
        (signed(at=NOW - timedelta(days=400)), Reason.REPLY_STALE),
        (signed(x_slack_signature=""), Reason.REPLY_BAD_SIGNATURE),
        (signed(x_slack_signature="v0="), Reason.REPLY_BAD_SIGNATURE),
        (signed(x_slack_signature="v0=\u00e9"), Reason.REPLY_BAD_SIGNATURE),
        (signed(x_slack_signature=signed().headers["x-slack-signature"].upper()), Reason.REPLY_BAD_SIGNATURE),
        (signed(x_slack_request_timestamp=""), Reason.REPLY_BAD_SIGNATURE),
        (signed(x_slack_request_timestamp="now"), Reason.REPLY_BAD_SIGNATURE),
        (signed(x_slack_request_timestamp="-1"), Reason.REPLY_BAD_SIGNATURE),
        (signed(x_slack_request_timestamp="1e9"), Reason.REPLY_BAD_SIGNATURE),
        (signed(x_slack_request_timestamp="9" * 5000), Reason.REPLY_BAD_SIGNATURE),
        (signed(x_slack_request_timestamp="\u0661\u0662"), Reason.REPLY_BAD_SIGNATURE),
        (replace(signed(), headers={"content-type": FORM}), Reason.REPLY_BAD_SIGNATURE),
        (signed(body=b"payload=\xff\xfe"), Reason.REPLY_BAD_SIGNATURE),
    ],
)  # fmt: skip
def test_what_slack_did_not_sign_is_not_read(request_: WebRequest, reason: Reason) -> None:
    world = slack_world()
    answer = world(request_)
    assert (answer.status, world.reasons) == (401, [reason])
    assert world.is_untouched()
    assert world.notes == []
    assert audit_of_group(world) == []


@pytest.mark.parametrize("seconds", [-300, 300])
def test_a_signature_holds_five_minutes(seconds: int) -> None:
    world = slack_world()
    world(signed(at=NOW + timedelta(seconds=seconds)))
    assert world.reasons == [Reason.REPLY_DONE]


@pytest.mark.parametrize("position", range(0, 67, 3))
def test_a_signature_altered_anywhere(position: int) -> None:
    genuine = signed().headers["x-slack-signature"]
    other = "0" if genuine[position] != "0" else "1"
    altered = f"{genuine[:position]}{other}{genuine[position + 1 :]}"
    assert slack_world()(signed(x_slack_signature=altered)).status == 401


def test_a_signing_secret_that_was_replaced_is_read_anew_once() -> None:
    world = slack_world()
    world.secrets = ["old", SIGNING]
    assert world(signed()).status == 200
    assert world.fresh_reads == 1
    assert world.reasons == [Reason.REPLY_DONE]


def test_forged_requests_do_not_cost_a_look_for_the_secret_each() -> None:
    world = slack_world()
    replying = world.replying()
    for _ in range(20):
        assert replying(signed(secret="forged")).status == 401
    assert world.fresh_reads == 1
    world.now += timedelta(seconds=31)
    replying(signed(secret="forged", at=world.now))
    assert world.fresh_reads == 2


def test_what_is_stale_or_unsigned_costs_no_look_at_all() -> None:
    world = slack_world()
    world(signed(at=NOW - timedelta(hours=1)))
    world(replace(signed(), headers={}))
    assert world.fresh_reads == 0


def test_without_a_signing_secret_there_is_no_way_in_for_slack() -> None:
    world = slack_world()
    answer = world.replying(signing_secret=None)(signed())
    assert (answer.status, world.reasons) == (404, [Reason.REPLY_UNKNOWN])


def test_a_signing_secret_that_cannot_be_read() -> None:
    world = slack_world()

    def unreadable(fresh: bool = False) -> str:
        raise ThrottledError("slow down")

    assert world.replying(signing_secret=unreadable)(signed()).status == 503
    assert world.is_untouched()


@pytest.mark.parametrize(
    ("error", "status"), [(NotFoundError("not there"), 404), (AccessDeniedError("no"), 500)]
)
def test_a_signing_secret_that_is_not_there_is_not_asked_for_each_time(
    error: Exception, status: int
) -> None:
    world = slack_world()
    asked: list[bool] = []

    def missing(fresh: bool = False) -> str:
        asked.append(fresh)
        raise error

    replying = world.replying(signing_secret=missing)
    assert {replying(signed()).status for _ in range(9)} == {status}
    assert asked == [False]
    world.now += timedelta(seconds=31)
    assert replying(signed(at=world.now)).status == status
    assert len(asked) == 2
    # and one that is made later is found
    world.now += timedelta(seconds=31)
    replying._signing_secret = world.secret
    assert replying(signed(at=world.now)).status == 200


def test_a_request_without_a_signature_costs_no_look_for_the_secret() -> None:
    world = slack_world()

    def never(fresh: bool = False) -> str:
        raise AssertionError

    assert world.replying(signing_secret=never)(post(path="/slack")).status == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"payload=",
        b"payload=%7B",
        b"payload=[]",
        b"payload=null",
        b"payload=" + b"[" * 90_000,
        b"notpayload=%7B%7D",
        urlencode({"payload": msgspec.json.encode(interaction(type="view_submission"))}).encode(),
        urlencode({"payload": msgspec.json.encode(interaction(user={"id": "U0/../x"}))}).encode(),
        urlencode({"payload": msgspec.json.encode(interaction(user={"id": 7}))}).encode(),
        urlencode({"payload": msgspec.json.encode(interaction(user={"id": "U"}, team=None))}).encode(),
    ],
)  # fmt: skip
def test_a_signed_payload_that_is_none_of_ours(body: bytes) -> None:
    world = slack_world()
    assert (world(signed(body=body)).status, world.reasons) == (400, [Reason.REPLY_MALFORMED])
    assert world.is_untouched()


def test_a_signed_request_that_is_no_form() -> None:
    world = slack_world()
    assert world(signed(content_type="application/json")).status == 415
    large = b"payload=" + b"a" * LARGEST_SLACK
    # nothing is computed over what is too large
    assert world(signed(body=large)).status == 413
    assert world(signed(body=large, secret="another")).status == 413
    assert world.is_untouched()


@pytest.mark.parametrize(
    "actions",
    [
        [],
        [{"action_id": "open_run", "type": "button", "url": "https://console.aws.example"}],
        [{"action_id": "guiderail.acknowledge", "type": "button", "value": None}],
        [{"action_id": "other.acknowledge", "type": "button", "value": SECRET}],
    ],
)
def test_a_link_that_was_followed_in_slack_needs_no_answer(actions: list[Any]) -> None:
    world = slack_world()
    answer = world(signed(interaction(actions=actions)))
    assert (answer.status, answer.body, world.reasons) == (200, "", [])
    assert world.is_untouched()
    assert world.notes == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://evil.example/x",
        "http://hooks.slack.com/x",
        "https://hooks.slack.com.evil.example/x",
        "https://hooks.slack.com@evil.example/x",
        "https://hooks.slack.com:8443/x",
        "https://hooks.slack.comevil.example/",
        "https://user:pass@hooks.slack.com/x",
        "https://hooks.slack.com\\@evil.example/x",
        "https://hooks.slack.com/x\r\nHost: evil.example",
        "https://hooks.slack.com",
        "//hooks.slack.com/x",
        "HTTPS://HOOKS.SLACK.COM/x",
        "http://127.0.0.1:9001/2018-06-01/runtime/invocation/next",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "https://[::1",
        "https://hooks.slack.com/\u202e",
    ],
)
def test_no_note_goes_anywhere_else(url: str) -> None:
    world = slack_world()
    answer = world(signed(interaction(response_url=url)))
    assert answer.status == 200
    assert world.notes == []
    assert world.reasons == [Reason.REPLY_DONE]
    assert any("response_url" in message for _, message, _ in world.lines)


def test_tests_may_send_notes_to_a_sink() -> None:
    world = slack_world()
    replying = world.replying(slack_hooks="http://127.0.0.1:8099/")
    replying(signed(interaction(response_url="http://127.0.0.1:8099/actions/1")))
    replying(signed(interaction(response_url="http://127.0.0.1:80990/actions/1")))
    world.replying(slack_hooks="http://127.0.0.1:8099")(
        signed(interaction(response_url="http://127.0.0.1:80990/actions/1"))
    )
    assert [url for url, _ in world.notes] == ["http://127.0.0.1:8099/actions/1"]


def test_a_note_that_fails_changes_nothing() -> None:
    world = slack_world()
    world.note_fails = ChannelFailedError("hooks.slack.com did not answer in time")
    assert world(signed()).status == 200
    assert world.incident().state is IncidentState.ACKNOWLEDGED
    assert world.reasons == [Reason.REPLY_DONE]
    assert ("warning", "no note to Slack") in [line[:2] for line in world.lines]


def test_a_button_while_the_store_fails() -> None:
    world = slack_world()
    failing(world, "commit_act", ThrottledError("slow down"))
    answer = world(signed())
    assert (answer.status, answer.body, "Retry-After" in answer.headers) == (200, "", False)
    assert "Try again" in world.notes[0][1]
    assert world.reasons == ["throttled"]
    assert world.token().used_at is None


# --- whatever comes


SECURITY = {
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Strict-Transport-Security": "max-age=63072000",
}


def assert_sound(answer: WebAnswer) -> None:
    assert answer.status in STATUSES
    assert SECURITY.items() <= dict(answer.headers).items()
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in policy and "form-action 'self'" in policy
    assert "unsafe" not in policy and "script-src" not in policy
    response = answer.response()
    msgspec.json.encode(response)
    assert response["isBase64Encoded"] is False


@pytest.mark.parametrize(
    "request_",
    [get(), post(), post({}), get("/"), replace(get(), method="PUT"), signed(), signed(secret="x")],
)
def test_every_answer_has_its_security_headers(request_: WebRequest) -> None:
    assert_sound(World()(request_))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
PATHS = st.sampled_from([f"/r/{SECRET}", "/slack", "/"]) | st.text(max_size=60).map("/r/".__add__)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "rawPath": PATHS | JSON,
        "headers": st.dictionaries(
            st.sampled_from(["content-type", "x-slack-signature", "X-Slack-Request-Timestamp"]),
            st.sampled_from([FORM, str(int(NOW.timestamp()))]) | JSON,
        )
        | JSON,
        "requestContext": st.fixed_dictionaries(
            {"http": st.fixed_dictionaries({"method": st.sampled_from(["GET", "POST", "HEAD"])})}
        )
        | JSON,
        "body": st.text(max_size=200) | JSON,
        "isBase64Encoded": st.booleans() | JSON,
    },
)


@given(event=EVENTS)
def test_any_event_has_an_answer(event: dict[str, Any]) -> None:
    assert_sound(World().replying()(web_request(event)))


@given(fields=st.dictionaries(st.sampled_from(["do", "to", "name", "comment", "x"]), st.text()))
def test_any_form_has_an_answer(fields: dict[str, str]) -> None:
    body = urlencode(fields, errors="replace").encode()
    answer = World(token_of(ReplyAction.ASSIGN))(post(body=body))
    assert_sound(answer)
    assert answer.status in (200, 400, 413)


@given(payload=JSON, value=st.text(max_size=60))
def test_any_signed_payload_has_an_answer(payload: Any, value: str) -> None:
    for content in (payload, interaction(value), interaction(user=payload)):
        assert_sound(slack_world()(signed(msgspec.to_builtins(content))))


def all_states() -> list[Incident]:
    return [replace(INCOME, state=state) for state in IncidentState]


@pytest.mark.parametrize("incident", all_states(), ids=lambda i: i.state)
@pytest.mark.parametrize("action", EVERY_ACTION)
def test_every_answer_to_every_state_is_defined(action: ReplyAction, incident: Incident) -> None:
    world = World(token_of(action))
    world.store.ledgers[SCOPE.ledger_id].incidents[INCOME.id] = incident
    answer = world(post({"do": action.value, "to": "bea"}))
    taken = action in SILENCES or action is ReplyAction.NOISE
    taken |= incident.state in (IncidentState.OPEN, IncidentState.ACKNOWLEDGED)
    assert answer.status == (200 if taken else 409)
    assert (world.token().used_at is not None) == taken


# --- approving and rejecting

FOUR_EYES = replace(
    POLICY,
    remediations={
        name: replace(action, four_eyes=True) for name, action in POLICY.remediations.items()
    },
)
BEA = {"id": "U0BEA", "username": "bea", "team_id": "T0RISK"}


def pressed(action: ReplyAction, **fields: Any) -> WebRequest:
    """Somebody presses a button of a proposal in Slack."""
    button = {"action_id": f"guiderail.{action.value}", "type": "button", "value": SECRET}
    return signed(interaction(actions=[button], **fields))


def waiting(action: ReplyAction = ReplyAction.APPROVE, **fields: Any) -> World:
    """A world in which a button in Slack can approve or reject."""
    return World(approval_of(action, channel=SLACK), **fields)


@pytest.mark.parametrize("action", REMEDIATION_ANSWERS)
def test_the_page_shows_what_would_be_done_and_does_nothing(action: ReplyAction) -> None:
    world = World(approval_of(action))
    page = world(get())
    assert page.status == 200
    said = unescape(page.body)
    for part in (
        f'name="do" value="{action}"',
        "retrain endpoint/loan-risk-prod",
        "about $12.50",
        "s3://loan-reports/hourly/2026/11/23/14",
        "24 Nov 2026, 15:05 UTC",
        "NOT passed: approval: nobody approved it yet",
    ):
        assert part in said, part
    assert "hunter2" not in said and "(not shown)" in said
    assert world.is_untouched() and world.reasons == []


def test_approving_by_a_link() -> None:
    world = World(approval_of())

    page = world(post({"do": "approve", "name": "Ana", "comment": "go"}))

    assert (page.status, "<h1>Approved</h1>" in page.body) == (200, True)
    (approval,) = world.remediation().approvals
    assert (approval.by, approval.origin) == ("email:ana@loans.example", "link@203.0.113.7")
    assert approval.comment == "go (name given: Ana)"
    assert world.went_on == [ASKED.token]
    assert world.token().used_by == "email:ana@loans.example"
    (entry,) = world.store.audit(SCOPE.ledger_id, 9)
    assert (entry.actor, entry.counts) == (approval.by, {"remediation_approved": 1})
    assert world.reasons == [Reason.REPLY_DONE]
    (line,) = [fields for _, message, fields in world.lines if message == "reply"]
    assert (line["action"], line["remediation"]) == ("approve", ASKED.id)


def test_rejecting_by_a_link() -> None:
    world = World(approval_of(ReplyAction.REJECT))
    page = world(post({"do": "reject", "comment": "not on a Friday"}))
    assert (page.status, "<h1>Rejected</h1>" in page.body) == (200, True)
    after = world.remediation()
    assert (after.state, after.rejected_by) == (
        RemediationState.REJECTED,
        "email:ana@loans.example",
    )
    assert after.timeline[-1].text == "not on a Friday"
    assert world.token().used_at == NOW


def test_approving_by_a_button() -> None:
    world = waiting()
    assert world(pressed(ReplyAction.APPROVE)).status == 200
    assert [a.by for a in world.remediation().approvals] == ["slack:T0RISK/U0ANA"]
    ((_, note),) = world.notes
    assert note.startswith("Approved: retrain loans asks for your approval: loan-risk-prod")
    assert "retrain loans: approved by slack:T0RISK/U0ANA" in note


def test_a_form_of_the_other_answer_asks_again() -> None:
    # Given a link that approves
    world = World(approval_of())
    for fields in ({}, {"do": "reject"}, {"do": "acknowledge"}):
        page = world(post(fields))
        assert (page.status, "press the button" in page.body) == (400, True)
        assert "retrain endpoint/loan-risk-prod" in page.body
    assert world.is_untouched()


@pytest.mark.parametrize("action", REMEDIATION_ANSWERS)
def test_who_may_not_decide_changes_nothing_and_is_audited(action: ReplyAction) -> None:
    # Given somebody who may answer to incidents, and is no approver
    only = replace(POLICY.remediations["retrain loans"], approvers=("slack:T0RISK/U0BEA",))
    world = waiting(action, policy=replace(POLICY, remediations={"retrain loans": only}))
    assert world(pressed(action)).status == 200
    assert world.reasons == [Reason.REPLY_FORBIDDEN]
    assert "does not list you among those who approve" in world.notes[0][1]
    assert world.is_untouched()
    (entry,) = world.store.audit(token_of().group, 9)
    assert (entry.actor, entry.decisions[0].about) == ("slack:T0RISK/U0ANA", ASKED.id)
    # When the approver presses the same button
    world(pressed(action, user=BEA))
    assert world.reasons[-1] is Reason.REPLY_DONE


def test_an_approver_need_not_be_one_who_may_answer_to_incidents() -> None:
    nobody = replace(POLICY, replies=Replies())
    world = waiting(policy=nobody)
    world(pressed(ReplyAction.APPROVE))
    assert world.reasons == [Reason.REPLY_DONE]
    # and without approvers, those decide who may answer
    open_ = replace(POLICY.remediations["retrain loans"], approvers=())
    world = waiting(policy=replace(nobody, remediations={"retrain loans": open_}))
    world(pressed(ReplyAction.APPROVE))
    assert world.reasons == [Reason.REPLY_FORBIDDEN]


def test_two_people_approve_by_the_same_button() -> None:
    world = waiting(policy=FOUR_EYES)

    world(pressed(ReplyAction.APPROVE))
    assert world.token().used_at is None
    assert "it waits for another person" in world.notes[-1][1]
    # the same person is no second one, however often
    for _ in range(2):
        world(pressed(ReplyAction.APPROVE))
        assert "another person has to approve it" in world.notes[-1][1]
    assert len(world.remediation().approvals) == 1
    world(pressed(ReplyAction.APPROVE, user=BEA))

    assert [a.by for a in world.remediation().approvals] == [
        "slack:T0RISK/U0ANA",
        "slack:T0RISK/U0BEA",
    ]
    assert world.token().used_by == "slack:T0RISK/U0BEA"
    assert "waits for another" not in world.notes[-1][1]
    assert world.reasons == [
        Reason.REPLY_DONE,
        Reason.REPLY_REFUSED,
        Reason.REPLY_REFUSED,
        Reason.REPLY_DONE,
    ]
    # When it is replayed
    world(pressed(ReplyAction.APPROVE, user=BEA))
    assert world.reasons[-1] is Reason.REPLY_USED


def test_everybody_of_a_shared_link_is_one_person() -> None:
    # Given a link that a whole list has: nobody knows which of them followed it
    world = World(approval_of(channel=SHARED_MAIL), policy=FOUR_EYES)
    assert world(post({"do": "approve"})).status == 200
    page = world(post({"do": "approve", "name": "Somebody else"}))
    assert (page.status, "Not approved" in page.body) == (409, True)
    assert [a.by for a in world.remediation().approvals] == [f"link:{SHARED_MAIL}"]


def test_who_started_it_is_no_second_person() -> None:
    world = waiting(policy=FOUR_EYES)
    world.store.kept_remediations[ASKED.id] = replace(ASKED, requested_by="slack:T0RISK/U0ANA")
    world(pressed(ReplyAction.APPROVE))
    assert world.reasons == [Reason.REPLY_REFUSED]
    world(pressed(ReplyAction.APPROVE, user=BEA))
    assert world.reasons[-1] is Reason.REPLY_DONE and world.token().used_at


@pytest.mark.parametrize("action", REMEDIATION_ANSWERS)
def test_an_answer_that_is_replayed(action: ReplyAction) -> None:
    world = World(approval_of(action))
    assert world(post({"do": action.value})).status == 200
    after = world.remediation()
    page = world(post({"do": action.value}))
    assert (page.status, "by email:ana@loans.example" in page.body) == (409, True)
    assert world.remediation() == after
    assert world.reasons == [Reason.REPLY_DONE, Reason.REPLY_USED]


@pytest.mark.parametrize("action", REMEDIATION_ANSWERS)
def test_two_clicks_at_once_decide_once(action: ReplyAction) -> None:
    world = World(approval_of(action))
    both = Barrier(2, timeout=5)
    look_up, looks = world.store.token, list[str]()

    def together(digest: str) -> ReplyToken | None:
        found = look_up(digest)
        if len(looks) < 2:
            looks.append(digest)
            both.wait()
        return found

    world.store.token = together  # type: ignore[method-assign]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: world(post({"do": action.value})), range(2)))
    assert sorted(answer.status for answer in answers) == [200, 409]
    assert len(world.store.audit(SCOPE.ledger_id, 9)) == 1
    assert len(world.remediation().timeline) == 1


@pytest.mark.parametrize("action", REMEDIATION_ANSWERS)
def test_a_decision_that_broke_off_is_made_once(action: ReplyAction) -> None:
    world = World(approval_of(action))
    use = world.store.use

    def fails(*given: object) -> bool:
        world.store.use = use  # type: ignore[method-assign]
        raise ThrottledError("slow down")

    world.store.use = fails  # type: ignore[method-assign, assignment]
    assert world(post({"do": action.value})).status == 503
    # When the state machine has taken it up before the next click
    going = replace(world.remediation(), state=RemediationState.RUNNING)
    if action is ReplyAction.APPROVE:
        world.store.kept_remediations[ASKED.id] = going
    page = world(post({"do": action.value}))
    assert page.status == 200
    assert ("it is running by now" if action is ReplyAction.APPROVE else "rejected") in page.body
    assert len(world.store.audit(SCOPE.ledger_id, 9)) == 1
    assert world.token().used_at == NOW


@pytest.mark.parametrize("late", [-1, 0, 3600])
def test_an_approval_counts_until_it_expires(late: int) -> None:
    world = World(approval_of())
    world.now = NOW + timedelta(hours=24, seconds=late)
    page = world(post({"do": "approve"}))
    if late < 0:
        assert page.status == 200
        return
    assert page.status == 410
    assert "It could be decided until 24 Nov 2026, 15:05 UTC" in page.body
    assert world.is_untouched()
    assert [counts for _, _, counts in audit_of_group(world)] == [{"reply_expired": 1}]


def test_a_token_that_outlives_its_remediation_does_not_approve_it() -> None:
    # Given a link that would still work, of a remediation that may not be approved any more
    world = World(approval_of(expires_at=NOW + timedelta(days=7)))
    world.now = NOW + timedelta(hours=25)
    page = world(post({"do": "approve"}))
    assert (page.status, "could be approved until" in page.body) == (409, True)
    assert "Not approved" in page.body
    assert world.is_untouched()


OTHER_STATES = [state for state in RemediationState if state is not RemediationState.ASKED]


@pytest.mark.parametrize("state", OTHER_STATES)
@pytest.mark.parametrize("action", REMEDIATION_ANSWERS)
def test_what_went_on_meanwhile_cannot_be_decided(
    action: ReplyAction, state: RemediationState
) -> None:
    world = World(approval_of(action))
    gone_on = replace(ASKED, state=state)
    world.store.kept_remediations[ASKED.id] = gone_on
    # Then neither the page asks, nor the button of an older page does it
    page = world(get())
    assert (page.status, "<form" in page.body) == (409, False)
    answer = world(post({"do": action.value}))
    assert answer.status == 409
    assert f"It is {state.value.replace('_', ' ')} by now" in answer.body
    assert world.remediation() == gone_on
    assert world.token().used_at is None
    assert [counts for _, _, counts in audit_of_group(world)] == [{"reply_refused": 1}]


@pytest.mark.parametrize("action", REMEDIATION_ANSWERS)
def test_a_remediation_that_nobody_knows(action: ReplyAction) -> None:
    for world, words in (
        (World(approval_of(action)), {}),
        (World(approval_of(action)), {"remediations": None}),
    ):
        world.store.kept_remediations.clear()
        page = world.replying(**words)(post({"do": action.value}))
        assert (page.status, "It is over, and forgotten" in page.body) == (409, True)
        assert world.token().used_at is None


def test_a_token_of_an_incident_approves_nothing() -> None:
    world = World(token_of(ReplyAction.ACKNOWLEDGE))
    assert world(post({"do": "approve"})).status == 400
    assert world.is_untouched()


@pytest.mark.parametrize("channel", [SLACK, MAIL])
def test_a_decision_is_bound_to_its_channel(channel: str) -> None:
    world = World(approval_of(channel=channel))
    if channel == SLACK:
        assert world(post({"do": "approve"})).status == 403
    else:
        world(pressed(ReplyAction.APPROVE))
    assert world.reasons == [Reason.REPLY_FORBIDDEN]
    assert world.is_untouched()


@pytest.mark.parametrize("step", ["remediation", "keep_remediation"])
def test_a_store_that_fails_while_something_is_decided(step: str) -> None:
    world = World(approval_of())
    real = getattr(world.store, step)

    def fails(*_: object, **__: object) -> None:
        raise ThrottledError("slow down")

    setattr(world.store, step, fails)
    assert world(post({"do": "approve"})).status == 503
    assert world.is_untouched()
    setattr(world.store, step, real)
    assert world(post({"do": "approve"})).status == 200


def test_a_store_that_refuses_a_decision_is_an_error_of_ours() -> None:
    world = World(approval_of())

    def refuses(*_: object, **__: object) -> None:
        raise RejectedRequestError("the item is wrong")

    world.store.keep_remediation = refuses  # type: ignore[method-assign, assignment]
    page = world(post({"do": "approve"}))
    assert (page.status, "the item is wrong" in page.body) == (500, False)
    assert world.token().used_at is None


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "http://evil.example", "a\u202eb"])
def test_names_of_a_remediation_are_never_markup(name: str) -> None:
    world = World(approval_of())
    world.store.kept_remediations[ASKED.id] = replace(
        ASKED, action=name, target=name, approvals=(), facts={"report_uri": name}
    )
    page = world(get())
    assert "<script" not in page.body and "\u202e" not in page.body and "<a " not in page.body


# --- the stored events

STORED = {
    "link_page": (200, None),
    "link_confirmed": (200, Reason.REPLY_DONE),
    "slack_button": (200, Reason.REPLY_DONE),
    "forged_slack": (401, Reason.REPLY_BAD_SIGNATURE),
    "near_miss_altered_token": (404, Reason.REPLY_UNKNOWN),
    "near_miss_damaged_body": (400, Reason.REPLY_MALFORMED),
    "near_miss_form_without_button": (400, Reason.REPLY_MALFORMED),
    "near_miss_other_path": (404, Reason.REPLY_UNKNOWN),
    "near_miss_slack_of_another_kind": (400, Reason.REPLY_MALFORMED),
    "near_miss_stale_slack": (401, Reason.REPLY_STALE),
}
FOLDER = ROOT / "events" / "on_reply"


@pytest.mark.parametrize(("name", "answer"), STORED.items(), ids=STORED)
def test_a_stored_event(name: str, answer: tuple[int, Reason | None]) -> None:
    event = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    world = World(token_of(channel=SLACK if "slack" in name else MAIL))
    status = world.replying()(web_request(event)).status
    assert (status, world.reasons) == (answer[0], [answer[1]] if answer[1] else [])
    assert world.is_untouched() == (answer[1] is not Reason.REPLY_DONE)


def test_every_stored_event_is_tried() -> None:
    assert {file.stem for file in FOLDER.glob("*.json")} == set(STORED)


def test_the_document_lists_every_status() -> None:
    text = (ROOT / "docs" / "replies.md").read_text(encoding="utf-8")
    listed = {int(status) for status in re.findall(r"^\| (\d{3}) \|", text, flags=re.M)}
    assert listed == STATUSES


def test_the_document_names_tests_that_are_there() -> None:
    text = (ROOT / "docs" / "replies.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    assert named
    assert named <= set(globals())


def test_a_signature_is_checked_without_loading_the_whole_client_of_slack() -> None:
    code = (
        "import sys, datetime as d\n"
        "from guiderail.adapters.slack_signatures import SlackSdkSignatures\n"
        "import guiderail.services.replying\n"
        "now = d.datetime.now(d.UTC)\n"
        "print(SlackSdkSignatures().check('s', b'', str(int(now.timestamp())), 'v0=1', now))\n"
        "print([m for m in sys.modules if m.startswith(('slack_sdk', 'http.client', 'boto'))])\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (answer.stdout, answer.stderr) == ("reply_bad_signature\n[]\n", "")
