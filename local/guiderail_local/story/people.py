"""What the story's people do with a message: follow its link, press its button, or try to get in."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from html import unescape
from typing import Any
from urllib.parse import urlencode

from guiderail.model.message import REPLY_LABELS, ReplyAction

from guiderail_local.cloud import LocalCloud
from guiderail_local.story.receiving import Receiving

TEAM, BEN = "T0SINK", "U0BEN"

_BUTTON = re.compile(r'<button name="([^"]+)" value="([^"]+)">')
_OLD_SECONDS = 600
_SECONDS = 30.0


class People:
    """Each method is one thing that somebody does; it returns the status of the answer."""

    def __init__(self, cloud: LocalCloud, receiving: Receiving) -> None:
        """Let people answer what arrives here; Slack's signing secret is made for them."""
        self._cloud = cloud
        self._receiving = receiving
        self._url = cloud.here(cloud.stack.outputs["ReplyUrl"])
        self._secret = secrets.token_hex(16)
        self._page = self._followed = ""
        self._direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        cloud.client("secretsmanager").create_secret(
            Name=cloud.variables("OnReply")["GUIDERAIL_SLACK_SIGNING_SECRET"],
            SecretString=self._secret,
        )

    def open_link(self) -> int:
        """Follow the acknowledging link of the newest mail that has one."""
        return self._open(ReplyAction.ACKNOWLEDGE)

    def open_approval(self) -> int:
        """Follow the approving one."""
        return self._open(ReplyAction.APPROVE)

    def confirm_link(self) -> int:
        """Press the button of the page that the link led to."""
        form = dict(_BUTTON.findall(self._page))
        return self._ask(self._followed, {name: unescape(form[name]) for name in form})[0]

    def guess_link(self) -> int:
        """Try a link that nobody was sent."""
        return self._ask(f"{self._url}r/{secrets.token_urlsafe(32)}")[0]

    def press(self) -> int:
        """Press the acknowledging button of the newest Slack message that has one."""
        return self._pressed(self._secret, time.time())

    def press_approval(self) -> int:
        """Press the approving button of the newest Slack message that has one."""
        return self._pressed(self._secret, time.time(), ReplyAction.APPROVE)

    def forge_press(self) -> int:
        """Press it without knowing the signing secret."""
        return self._pressed(secrets.token_hex(16), time.time())

    def replay_old_press(self) -> int:
        """Send what Slack signed ten minutes ago."""
        return self._pressed(self._secret, time.time() - _OLD_SECONDS)

    def _open(self, action: ReplyAction) -> int:
        self._followed = self._link(REPLY_LABELS[action])
        status, self._page = self._ask(self._followed)
        return status

    def _link(self, label: str) -> str:
        link = re.compile(rf'<a\b[^>]*\bhref="([^"]+/r/[^"]+)"[^>]*>\s*(?:<[^>]+>\s*)*{label}\b')
        for mail in reversed(self._cloud.mail()):
            if found := link.search(mail.html):
                return self._cloud.here(unescape(found[1]))
        raise LookupError(f"no mail has a link {label!r}")

    def _pressed(
        self, secret: str, at: float, action: ReplyAction = ReplyAction.ACKNOWLEDGE
    ) -> int:
        sink = self._receiving.sink
        message, button = self._button(action)
        payload = {
            "type": "block_actions",
            "user": {"id": BEN, "team_id": TEAM, "username": "ben", "name": "ben"},
            "team": {"id": TEAM, "domain": "harbour"},
            "channel": {"id": message.get("channel", "")},
            "actions": [button],
            "response_url": sink.slack.response_url(sink.url),
        }
        body = urlencode({"payload": json.dumps(payload)})
        signed = f"v0:{int(at)}:{body}".encode()
        signature = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        headers = {
            "X-Slack-Request-Timestamp": str(int(at)),
            "X-Slack-Signature": f"v0={signature}",
        }
        return self._post(f"{self._url}slack", body.encode(), headers)[0]

    def _button(self, action: ReplyAction) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        for arrival in reversed(self._receiving.sink.arrived):
            if not arrival.path.endswith("chat.postMessage") or not arrival.taken:
                continue
            for block in arrival.body.get("blocks", ()):
                for element in block.get("elements", ()):
                    if element.get("action_id") == f"guiderail.{action}":
                        return arrival.body, element
        raise LookupError(f"no Slack message has a button {REPLY_LABELS[action]!r}")

    def _ask(self, url: str, form: Mapping[str, str] | None = None) -> tuple[int, str]:
        if form is None:
            return self._send(urllib.request.Request(url))
        return self._post(url, urlencode(form).encode(), {})

    def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._send(urllib.request.Request(url, body, {**form, **headers}, method="POST"))

    def _send(self, request: urllib.request.Request) -> tuple[int, str]:
        try:
            with self._direct.open(request, timeout=_SECONDS) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()
