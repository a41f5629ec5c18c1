"""What each channel checks and answers, as its documentation says.

Slack: docs.slack.dev (methods, "Block Kit" reference). Teams: Microsoft Learn, "Webhooks and connectors".
PagerDuty: developer.pagerduty.com, "Events API v2". JSM: developer.atlassian.com, "Integration events".
Webhook: docs/webhook.md (Standard Webhooks, standardwebhooks.com).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from time import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

from guiderail.model.policy import ChannelKind

SLACK_CHANNEL = "C0GUIDERAIL"
"""The one channel of the sink's Slack."""

_WEBHOOK_SECONDS = 300
_TEAMS_BYTES = 28 * 1024
_PAGERDUTY_BYTES = 512 * 1024


@dataclass(frozen=True)
class Request:
    """A request as it came; header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def route(self) -> str:
        """The path without its query."""
        return urlsplit(self.path).path

    def query(self, name: str) -> str:
        """A parameter of the query."""
        return parse_qs(urlsplit(self.path).query).get(name, [""])[0]

    def parsed(self) -> Any:
        """The body as JSON, as a form, or as it is."""
        kind = self.headers.get("content-type", "")
        try:
            if "json" in kind:
                return json.loads(self.body)
            if "x-www-form-urlencoded" in kind:
                return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}
        except ValueError:
            pass
        return self.body


@dataclass(frozen=True)
class Reply:
    """An answer; ``taken`` says whether the channel took the message."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    taken: bool = False


def json_reply(status: int, content: Any, *, taken: bool = False) -> Reply:
    """An answer in JSON."""
    return Reply(status, json.dumps(content).encode(), {"Content-Type": "application/json"}, taken)


def text_reply(status: int, text: str, *, taken: bool = False) -> Reply:
    """An answer in plain text."""
    return Reply(status, text.encode(), {"Content-Type": "text/plain"}, taken)


@dataclass
class SlackMessage:
    """A message as Slack has it now; ``edits`` counts its updates."""

    ts: str
    text: str
    blocks: list[dict[str, Any]]
    thread_ts: str = ""
    broadcast: bool = False
    edits: int = 0
    files: list[str] = field(default_factory=list)


class SlackApi:
    """The part of Slack's Web API that posts, updates and uploads."""

    kind = ChannelKind.SLACK

    def __init__(self) -> None:
        """A workspace with one channel and a fresh token."""
        self.token = "xoxb-" + secrets.token_hex(16)
        self.messages: dict[str, SlackMessage] = {}
        self._uploads: dict[str, bytes | None] = {}
        self._actions = f"/slack/actions/T0SINK/{secrets.token_hex(12)}"
        self._lock = threading.Lock()
        self._last = 0

    def secret(self, url: str) -> dict[str, str]:
        """What the channel's secret holds."""
        return {"token": self.token, "url": f"{url}/slack/api/"}

    def takes(self, route: str) -> bool:
        """Whether a path is Slack's."""
        return route.startswith(("/slack/api/", "/slack/upload/", "/slack/actions/"))

    def response_url(self, url: str) -> str:
        """Where a press of a button is answered to ("Handling user interaction", docs.slack.dev)."""
        return url + self._actions

    def answer(self, request: Request, url: str) -> Reply:
        """Do what a method does."""
        method = request.route.rpartition("/")[2]
        if request.route.startswith("/slack/upload/"):
            return self._take_upload(method, request.body)
        if request.route.startswith("/slack/actions/"):
            known = request.route == self._actions and isinstance(request.parsed(), dict)
            return text_reply(200, "ok", taken=True) if known else text_reply(404, "used_url")
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return json_reply(200, {"ok": False, "error": "invalid_auth"})
        given = request.parsed() if request.body else {}
        if not isinstance(given, dict):
            return json_reply(200, {"ok": False, "error": "invalid_json"})
        given = {
            **{name: v[0] for name, v in parse_qs(urlsplit(request.path).query).items()},
            **given,
        }
        with self._lock:
            said = self._do(method, given, url)
        return json_reply(200, said, taken=bool(said["ok"]))

    def forget(self, ts: str) -> None:
        """Somebody deletes a message."""
        with self._lock:
            self.messages.pop(ts, None)

    def failure(self, code: str) -> Reply:
        """What it says when it does not take a message, in a 200."""
        return json_reply(200, {"ok": False, "error": code})

    def _do(self, method: str, given: dict[str, Any], url: str) -> dict[str, Any]:
        match method:
            case "auth.test":
                return {"ok": True, "team": "sink", "team_id": "T0SINK", "user_id": "U0GUIDERAIL"}
            case "chat.postMessage" | "chat.update":
                wrong = _wrong_message(given)
                if wrong:
                    return {"ok": False, "error": wrong}
                return self._post(given) if method == "chat.postMessage" else self._update(given)
            case "files.getUploadURLExternal":
                if not given.get("filename") or not str(given.get("length", "")).isdigit():
                    return {"ok": False, "error": "invalid_arguments"}
                file = f"F{len(self._uploads):08d}"
                self._uploads[file] = None
                return {"ok": True, "upload_url": f"{url}/slack/upload/{file}", "file_id": file}
            case "files.completeUploadExternal":
                return self._share(given)
            case _:
                return {"ok": False, "error": "unknown_method"}

    def _post(self, given: dict[str, Any]) -> dict[str, Any]:
        thread = str(given.get("thread_ts", ""))
        if thread and thread not in self.messages:
            return {"ok": False, "error": "thread_not_found"}
        self._last += 1
        message = SlackMessage(
            ts=f"{1_764_000_000 + self._last}.{self._last:06d}",
            text=str(given.get("text", "")),
            blocks=list(given.get("blocks") or ()),
            thread_ts=thread,
            broadcast=bool(given.get("reply_broadcast")),
        )
        self.messages[message.ts] = message
        return {"ok": True, "channel": SLACK_CHANNEL, "ts": message.ts}

    def _update(self, given: dict[str, Any]) -> dict[str, Any]:
        message = self.messages.get(str(given.get("ts", "")))
        if message is None:
            return {"ok": False, "error": "message_not_found"}
        message.text = str(given.get("text", ""))
        message.blocks = list(given.get("blocks") or ())
        message.edits += 1
        return {"ok": True, "channel": SLACK_CHANNEL, "ts": message.ts}

    def _take_upload(self, file: str, content: bytes) -> Reply:
        with self._lock:
            if file not in self._uploads:
                return text_reply(404, "not found")
            self._uploads[file] = content
        return text_reply(200, f"OK - {len(content)}", taken=True)

    def _share(self, given: dict[str, Any]) -> dict[str, Any]:
        files = given.get("files", "[]")
        ids = [str(f["id"]) for f in (json.loads(files) if isinstance(files, str) else files)]
        if not ids or any(self._uploads.get(file) is None for file in ids):
            return {"ok": False, "error": "file_not_found"}
        if given.get("channel_id") != SLACK_CHANNEL:
            return {"ok": False, "error": "channel_not_found"}
        thread = self.messages.get(str(given.get("thread_ts", "")))
        if thread:
            thread.files.extend(ids)
        return {"ok": True, "files": [{"id": file} for file in ids]}


def _wrong_message(given: dict[str, Any]) -> str:
    """Slack's error for a message that is not within its limits; empty if it is."""
    if given.get("channel") != SLACK_CHANNEL:
        return "channel_not_found"
    blocks = given.get("blocks") or ()
    if not blocks and not given.get("text"):
        return "no_text"
    if len(str(given.get("text", ""))) > 40_000:
        return "msg_too_long"
    return "" if _are_blocks(blocks) else "invalid_blocks"


def _are_blocks(blocks: Any) -> bool:
    if not isinstance(blocks, list | tuple) or len(blocks) > 50:
        return False
    for block in blocks:
        if not isinstance(block, dict) or not block.get("type"):
            return False
        longest = 150 if block["type"] == "header" else 3000
        if isinstance(block.get("text"), dict) and not 0 < len(block["text"]["text"]) <= longest:
            return False
        for element in block.get("elements", ()):
            if element.get("type") == "button" and (
                len(element["text"]["text"]) > 75 or len(element.get("value", "")) > 2000
            ):
                return False
    return True


class SlackWebhook:
    """An incoming webhook."""

    kind = ChannelKind.SLACK_WEBHOOK

    def __init__(self) -> None:
        """A webhook with a fresh path."""
        self._token = secrets.token_hex(12)

    def secret(self, url: str) -> dict[str, str]:
        """What the channel's secret holds."""
        return {"url": f"{url}/slack/services/T0SINK/B0SINK/{self._token}"}

    def takes(self, route: str) -> bool:
        """Whether a path is its own."""
        return route.startswith("/slack/services/")

    def answer(self, request: Request, url: str) -> Reply:
        """Take a message."""
        if request.route.rpartition("/")[2] != self._token:
            return text_reply(404, "no_service")
        given = request.parsed()
        if not isinstance(given, dict):
            return text_reply(400, "invalid_payload")
        if not given.get("text") and not given.get("blocks"):
            return text_reply(400, "no_text")
        if not _are_blocks(given.get("blocks") or ()):
            return text_reply(400, "invalid_blocks")
        return text_reply(200, "ok", taken=True)

    def failure(self, code: str) -> Reply:
        """What it says when it does not take a message, in a 200."""
        return text_reply(200, code)


class TeamsWorkflow:
    """A workflow that posts cards."""

    kind = ChannelKind.TEAMS

    def __init__(self) -> None:
        """A workflow with a fresh signature."""
        self._signature = secrets.token_hex(16)

    def secret(self, url: str) -> dict[str, str]:
        """What the channel's secret holds."""
        path = "/teams/workflows/sink/triggers/manual/paths/invoke"
        return {"url": f"{url}{path}?api-version=1&sp=%2Ftriggers&sv=1.0&sig={self._signature}"}

    def takes(self, route: str) -> bool:
        """Whether a path is its own."""
        return route.startswith("/teams/")

    def answer(self, request: Request, url: str) -> Reply:
        """Take a card."""
        if request.query("sig") != self._signature:
            return json_reply(401, {"error": {"code": "DirectApiAuthorizationRequired"}})
        if len(request.body) > _TEAMS_BYTES:
            return json_reply(413, {"error": {"code": "RequestEntityTooLarge"}})
        given = request.parsed()
        cards = given.get("attachments") if isinstance(given, dict) else None
        if not cards or any(
            card.get("contentType") != "application/vnd.microsoft.card.adaptive"
            or card.get("content", {}).get("type") != "AdaptiveCard"
            for card in cards
        ):
            return json_reply(400, {"error": {"code": "TriggerInputSchemaMismatch"}})
        run = secrets.token_hex(12)
        return Reply(202, b"", {"x-ms-workflow-run-id": run}, taken=True)

    def failure(self, code: str) -> Reply:
        """What a connector of old says when Teams did not take a message, in a 200."""
        return text_reply(
            200,
            "Webhook message delivery failed with error: Microsoft Teams endpoint returned "
            f"HTTP error {code} with ContextId sink.",
        )


class PagerDutyEvents:
    """The Events API v2 of one service."""

    kind = ChannelKind.PAGERDUTY

    def __init__(self) -> None:
        """An integration with a fresh key."""
        self._key = secrets.token_hex(16)

    def secret(self, url: str) -> dict[str, str]:
        """What the channel's secret holds."""
        return {"routing_key": self._key, "url": f"{url}/pagerduty"}

    def takes(self, route: str) -> bool:
        """Whether a path is its own."""
        return route in ("/pagerduty/v2/enqueue", "/pagerduty/v2/change/enqueue")

    def answer(self, request: Request, url: str) -> Reply:
        """Take an event."""
        if len(request.body) > _PAGERDUTY_BYTES:
            return json_reply(413, {"status": "invalid event", "message": "too large"})
        given = request.parsed()
        is_change = "/change/" in request.route
        wrong = self._wrong(given, is_change) if isinstance(given, dict) else ["no JSON object"]
        if wrong:
            said = {
                "status": "invalid event",
                "message": "Event object is invalid",
                "errors": wrong,
            }
            return json_reply(400, said)
        if is_change:
            said_ok = {"status": "success", "message": "Change event processed"}
        else:
            key = str(given.get("dedup_key") or secrets.token_hex(16))
            said_ok = {"status": "success", "message": "Event processed", "dedup_key": key}
        return json_reply(202, said_ok, taken=True)

    def failure(self, code: str) -> Reply:
        """What it would say when it does not take an event, in a 200."""
        return json_reply(200, {"status": code, "message": "not taken"})

    def _wrong(self, given: dict[str, Any], is_change: bool) -> list[str]:
        wrong = []
        if len(str(given.get("routing_key", ""))) != 32:
            wrong.append("Length of 'routing_key' is incorrect (should be 32 characters)")
        elif given["routing_key"] != self._key:
            wrong.append("'routing_key' is unknown")
        payload = given.get("payload")
        action = given.get("event_action")
        if not is_change and action not in ("trigger", "acknowledge", "resolve"):
            wrong.append("'event_action' is invalid")
        if not is_change and action != "trigger":
            if not given.get("dedup_key"):
                wrong.append("'dedup_key' is missing or blank")
            return wrong
        if not isinstance(payload, dict) or not payload.get("summary"):
            return [*wrong, "'payload.summary' is missing or blank"]
        if len(str(payload["summary"])) > 1024:
            wrong.append("'payload.summary' is too long")
        if len(str(given.get("dedup_key", ""))) > 255:
            wrong.append("'dedup_key' is too long")
        severities = ("critical", "error", "warning", "info")
        if not is_change and payload.get("severity") not in severities:
            wrong.append("'payload.severity' is invalid")
        if not is_change and not payload.get("source"):
            wrong.append("'payload.source' is missing or blank")
        return wrong


class JsmAlerts:
    """Integration events of JSM Operations."""

    kind = ChannelKind.JSM

    def __init__(self) -> None:
        """An integration with a fresh key."""
        self._key = secrets.token_hex(16)

    def secret(self, url: str) -> dict[str, str]:
        """What the channel's secret holds."""
        return {"api_key": self._key, "url": f"{url}/jsm"}

    def takes(self, route: str) -> bool:
        """Whether a path is its own."""
        return route.startswith("/jsm/")

    def answer(self, request: Request, url: str) -> Reply:
        """Take an action on an alert."""
        if request.headers.get("authorization") != f"GenieKey {self._key}":
            return json_reply(401, {"message": "Could not authenticate", "took": 0.0})
        parts = request.route.removeprefix("/jsm/v2/alerts").strip("/").split("/")
        given = request.parsed()
        if not isinstance(given, dict):
            return json_reply(400, {"message": "Request body is not processable"})
        if parts == [""]:
            wrong = _wrong_alert(given)
            if wrong:
                return json_reply(422, {"message": "Request body is not processable", **wrong})
        elif len(parts) != 2 or parts[1] not in ("acknowledge", "close", "notes"):
            return json_reply(404, {"message": "No such resource"})
        elif request.query("identifierType") != "alias":
            return json_reply(400, {"message": "Identifier is no alert id"})
        said = {
            "result": "Request will be processed",
            "took": 0.001,
            "requestId": secrets.token_hex(16),
        }
        return json_reply(202, said, taken=True)

    def failure(self, code: str) -> Reply:
        """What it would say when it does not take an action, in a 200."""
        return json_reply(200, {"message": code})


def _wrong_alert(given: dict[str, Any]) -> dict[str, str]:
    limits = {"message": 130, "alias": 512, "description": 15_000, "source": 100, "entity": 512}
    wrong = {
        name: f"longer than {most}"
        for name, most in limits.items()
        if len(str(given.get(name, ""))) > most
    }
    if not given.get("message"):
        wrong["message"] = "missing"
    if given.get("priority", "P3") not in ("P1", "P2", "P3", "P4", "P5"):
        wrong["priority"] = "unknown"
    return wrong


class SignedWebhook:
    """A receiver of signed documents."""

    kind = ChannelKind.WEBHOOK

    def __init__(self) -> None:
        """A receiver with a fresh key."""
        self._key = secrets.token_hex(32)

    def secret(self, url: str) -> dict[str, str]:
        """What the channel's secret holds."""
        return {"url": f"{url}/webhook", "key": self._key}

    def takes(self, route: str) -> bool:
        """Whether a path is its own."""
        return route == "/webhook"

    def answer(self, request: Request, url: str) -> Reply:
        """Check the signature and the age, then take the document."""
        if not self._is_signed(request):
            return json_reply(401, {"error": "signature"})
        if not isinstance(request.parsed(), dict):
            return json_reply(400, {"error": "no JSON object"})
        return Reply(204, taken=True)

    def failure(self, code: str) -> Reply:
        """A receiver of one's own says nothing in a 200."""
        return json_reply(500, {"error": code})

    def _is_signed(self, request: Request) -> bool:
        delivery = request.headers.get("webhook-id", "")
        at = request.headers.get("webhook-timestamp", "")
        if not delivery or not at.isdigit() or abs(time() - int(at)) > _WEBHOOK_SECONDS:
            return False
        signed = f"{delivery}.{at}.".encode() + request.body
        expected = hmac.new(self._key.encode(), signed, hashlib.sha256).digest()
        for given in request.headers.get("webhook-signature", "").split():
            version, _, signature = given.partition(",")
            try:
                decoded = base64.b64decode(signature, validate=True)
            except binascii.Error:
                continue
            if version == "v1" and hmac.compare_digest(decoded, expected):
                return True
        return False


Protocol = SlackApi | SlackWebhook | TeamsWorkflow | PagerDutyEvents | JsmAlerts | SignedWebhook
