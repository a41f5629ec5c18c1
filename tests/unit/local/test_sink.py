"""The sink checks what the real services check; its server is tested with the channels."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from guiderail.model.policy import ChannelKind
from guiderail_local.sink import Sink
from guiderail_local.sink.protocols import (
    SLACK_CHANNEL,
    JsmAlerts,
    PagerDutyEvents,
    Protocol,
    Reply,
    Request,
    SignedWebhook,
    SlackApi,
    SlackWebhook,
    TeamsWorkflow,
)

URL = "http://sink"


def ask(
    protocol: Protocol, path: str, body: Any, kind: str = "application/json", **headers: str
) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    path = path.removeprefix(URL)
    assert protocol.takes(path.partition("?")[0])
    return protocol.answer(Request(path, {"content-type": kind, **named}, content), URL)


def said(reply: Reply) -> Any:
    return json.loads(reply.body)


# Slack


def slack(api: SlackApi, method: str, **given: Any) -> dict[str, Any]:
    reply = ask(api, f"/slack/api/{method}", given, authorization=f"Bearer {api.token}")
    assert reply.status == 200
    assert reply.taken is said(reply)["ok"]
    return dict(said(reply))


@pytest.mark.parametrize("authorization", ["", "Bearer ", "Bearer xoxb-wrong"])
def test_slack_knows_its_token(authorization: str) -> None:
    reply = ask(SlackApi(), "/slack/api/auth.test", {}, authorization=authorization)
    assert (said(reply), reply.taken) == ({"ok": False, "error": "invalid_auth"}, False)


BUTTON = {"type": "button", "text": {"type": "plain_text", "text": "x" * 76}}


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"channel": "C0OTHER", "text": "x"}, "channel_not_found"),
        ({}, "no_text"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"blocks": [{"type": "divider"}] * 51}, "invalid_blocks"),
        ({"blocks": [{"type": "header", "text": {"text": "x" * 151}}]}, "invalid_blocks"),
        ({"blocks": [{"type": "section", "text": {"text": "x" * 3001}}]}, "invalid_blocks"),
        ({"blocks": [{"type": "section", "text": {"text": ""}}]}, "invalid_blocks"),
        ({"blocks": [{"type": "actions", "elements": [BUTTON]}]}, "invalid_blocks"),
        ({"blocks": [{}]}, "invalid_blocks"),
        ({"text": "x", "thread_ts": "1.2"}, "thread_not_found"),
    ],
)
def test_slack_refuses(given: dict[str, Any], error: str) -> None:
    api = SlackApi()
    answer = slack(api, "chat.postMessage", **{"channel": SLACK_CHANNEL, **given})
    assert answer["error"] == error
    assert api.messages == {}


def test_slack_keeps_messages_as_they_stand() -> None:
    api = SlackApi()
    ts = slack(api, "chat.postMessage", channel=SLACK_CHANNEL, text="root")["ts"]
    slack(api, "chat.postMessage", channel=SLACK_CHANNEL, text="reply", thread_ts=ts)
    slack(api, "chat.update", channel=SLACK_CHANNEL, ts=ts, text="root, newer")
    texts = [(m.text, m.thread_ts, m.edits) for m in api.messages.values()]
    assert texts == [("root, newer", "", 1), ("reply", ts, 0)]
    api.forget(ts)
    answer = slack(api, "chat.update", channel=SLACK_CHANNEL, ts=ts, text="too late")
    assert answer["error"] == "message_not_found"


def test_slack_shares_only_files_that_came() -> None:
    api = SlackApi()
    ts = slack(api, "chat.postMessage", channel=SLACK_CHANNEL, text="root")["ts"]
    asked = slack(api, "files.getUploadURLExternal", filename="a.png", length=3)
    share = {"files": [{"id": asked["file_id"]}], "channel_id": SLACK_CHANNEL, "thread_ts": ts}
    assert slack(api, "files.completeUploadExternal", **share)["error"] == "file_not_found"
    assert ask(api, asked["upload_url"], b"png", "image/png").taken
    assert slack(api, "files.completeUploadExternal", **share)["ok"]
    assert api.messages[ts].files == [asked["file_id"]]
    assert ask(api, "/slack/upload/F999", b"png", "image/png").status == 404


def test_slack_takes_the_answer_to_a_button() -> None:
    api = SlackApi()
    assert ask(api, api.response_url(URL), {"text": "Acknowledged"}).taken
    assert ask(api, "/slack/actions/T0SINK/wrong", {"text": "Acknowledged"}).status == 404


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b'{"text":"x"}', 200, b"ok"),
        (b"text", 400, b"invalid_payload"),
        (b"{}", 400, b"no_text"),
        (b'{"blocks":[{}]}', 400, b"invalid_blocks"),
    ],
)
def test_slacks_webhook(body: bytes, status: int, text: bytes) -> None:
    webhook = SlackWebhook()
    reply = ask(webhook, webhook.secret(URL)["url"], body)
    assert (reply.status, reply.body, reply.taken) == (status, text, status == 200)


def test_slacks_webhook_knows_its_path() -> None:
    reply = ask(SlackWebhook(), "/slack/services/T0SINK/B0SINK/wrong", {"text": "x"})
    assert (reply.status, reply.body) == (404, b"no_service")


# Teams


def card(size: int = 0) -> dict[str, Any]:
    content = {"type": "AdaptiveCard", "body": [{"type": "TextBlock", "text": "x" * size}]}
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "content": content}]}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (card(), 202),
        (card(28 * 1024), 413),
        ({}, 400),
        ({"attachments": [{"contentType": "text/plain"}]}, 400),
    ],
)
def test_teams(body: dict[str, Any], status: int) -> None:
    teams = TeamsWorkflow()
    reply = ask(teams, teams.secret(URL)["url"], body)
    assert (reply.status, reply.taken) == (status, status == 202)
    assert ("x-ms-workflow-run-id" in reply.headers) is (status == 202)


def test_teams_knows_its_signature() -> None:
    path = "/teams/workflows/sink/triggers/manual/paths/invoke?sig=wrong"
    assert ask(TeamsWorkflow(), path, card()).status == 401


# PagerDuty


def event(**more: Any) -> dict[str, Any]:
    payload = {"summary": "s", "source": "x", "severity": "error", **more.pop("payload", {})}
    return {"event_action": "trigger", "dedup_key": "k", "payload": payload, **more}


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        (event(), ""),
        ({"event_action": "resolve", "dedup_key": "k"}, ""),
        ({"event_action": "resolve"}, "dedup_key"),
        (event(event_action="open"), "event_action"),
        (event(routing_key="short"), "routing_key"),
        (event(routing_key="x" * 32), "routing_key"),
        (event(payload={"summary": ""}), "payload.summary"),
        (event(payload={"summary": "x" * 1025}), "payload.summary"),
        (event(payload={"severity": "bad"}), "payload.severity"),
        (event(payload={"source": ""}), "payload.source"),
        (event(dedup_key="x" * 256), "dedup_key"),
    ],
)
def test_pagerduty(given: dict[str, Any], wrong: str) -> None:
    pagerduty = PagerDutyEvents()
    key = {"routing_key": pagerduty.secret(URL)["routing_key"]}
    reply = ask(pagerduty, "/pagerduty/v2/enqueue", {**key, **given})
    if wrong:
        assert (reply.status, reply.taken) == (400, False)
        assert wrong in said(reply)["errors"][0]
    else:
        assert (reply.status, reply.taken, said(reply)["dedup_key"]) == (202, True, "k")


def test_pagerduty_takes_changes_and_nothing_huge() -> None:
    pagerduty = PagerDutyEvents()
    change = {**pagerduty.secret(URL), "payload": {"summary": "retrained"}}
    reply = ask(pagerduty, "/pagerduty/v2/change/enqueue", change)
    assert (reply.status, "dedup_key" in said(reply)) == (202, False)
    huge = {**change, "payload": {"summary": "x", "custom_details": "x" * 512 * 1024}}
    assert ask(pagerduty, "/pagerduty/v2/change/enqueue", huge).status == 413


# JSM


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("", {"message": "m", "alias": "a", "priority": "P2"}, 202),
        ("", {}, 422),
        ("", {"message": "x" * 131}, 422),
        ("", {"message": "m", "alias": "x" * 513}, 422),
        ("", {"message": "m", "description": "x" * 15_001}, 422),
        ("", {"message": "m", "priority": "P6"}, 422),
        ("", b"text", 400),
        ("/a/close?identifierType=alias", {}, 202),
        ("/a/acknowledge?identifierType=alias", {}, 202),
        ("/a/notes?identifierType=alias", {"note": "n"}, 202),
        ("/a/close", {}, 400),
        ("/a/delete?identifierType=alias", {}, 404),
    ],
)
def test_jsm(path: str, body: Any, status: int) -> None:
    jsm = JsmAlerts()
    key = f"GenieKey {jsm.secret(URL)['api_key']}"
    reply = ask(jsm, f"/jsm/v2/alerts{path}", body, authorization=key)
    assert (reply.status, reply.taken) == (status, status == 202)
    assert ("requestId" in said(reply)) is (status == 202)


def test_jsm_knows_its_key() -> None:
    reply = ask(JsmAlerts(), "/jsm/v2/alerts", {"message": "m"}, authorization="GenieKey wrong")
    assert (reply.status, said(reply)["message"]) == (401, "Could not authenticate")


# a webhook of one's own


def signed(key: str, body: bytes, at: int, delivery: str = "d") -> dict[str, str]:
    digest = hmac.new(key.encode(), f"{delivery}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook_id": delivery,
        "webhook_timestamp": str(at),
        "webhook_signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def test_a_webhook_takes_what_is_signed() -> None:
    webhook = SignedWebhook()
    now = int(time.time())
    key = webhook.secret(URL)["key"]
    body = b'{"schema":"guiderail.notification/1"}'
    right = signed(key, body, now)
    assert ask(webhook, "/webhook", body, **right).status == 204
    several = {**right, "webhook_signature": f"v1,AAAA v2,x {right['webhook_signature']}"}
    assert ask(webhook, "/webhook", body, **several).status == 204
    for wrong in (
        {},
        signed("another key", body, now),
        signed(key, b"another body", now),
        signed(key, body, now - 301),
        signed(key, body, now + 302),
        {**right, "webhook_id": "another"},
        {**right, "webhook_timestamp": str(now - 1)},
        {**right, "webhook_timestamp": "soon"},
        {**right, "webhook_signature": "v1,not base64"},
    ):
        reply = ask(webhook, "/webhook", body, **wrong)
        assert (reply.status, reply.taken) == (401, False), wrong
    assert ask(webhook, "/webhook", b"[]", **signed(key, b"[]", now)).status == 400


# all of it


def test_each_path_is_one_channels() -> None:
    sink = Sink()
    paths = (
        "/slack/api/chat.update",
        "/slack/services/T/B/x",
        "/teams/workflows/x",
        "/pagerduty/v2/enqueue",
        "/jsm/v2/alerts",
        "/webhook",
    )
    takers = [[kind for kind, p in sink._protocols.items() if p.takes(path)] for path in paths]
    assert takers == [
        [ChannelKind.SLACK],
        [ChannelKind.SLACK_WEBHOOK],
        [ChannelKind.TEAMS],
        [ChannelKind.PAGERDUTY],
        [ChannelKind.JSM],
        [ChannelKind.WEBHOOK],
    ]


def test_a_sink_has_other_keys_every_time() -> None:
    def keys(sink: Sink) -> list[dict[str, str]]:
        return [protocol.secret(URL) for protocol in sink._protocols.values()]

    sink = Sink()
    first = keys(sink)
    sink.rotate()
    for one, two, other in zip(first, keys(sink), keys(Sink()), strict=True):
        assert one != two != other != one
