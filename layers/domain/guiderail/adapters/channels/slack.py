"""Slack's Web API through slack-sdk: one thread per incident, whose root is kept up to date.

The root is updated before the news is posted into its thread: an update can be repeated, a post cannot.
``chat.postMessage`` has no key against repeats. So a crash, or an answer that never comes, after Slack
took a post leaves at most one message twice: the root of a first message, or one reply of a later one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any
from urllib.request import Request

from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.client import WebClient
from slack_sdk.web.file_upload_v2_result import FileUploadV2Result

from guiderail.adapters.channels import http
from guiderail.adapters.secrets import Secret
from guiderail.errors import ChannelFailedError, ChannelRefusedError, GuiderailError
from guiderail.model.delivery import Receipt
from guiderail.model.message import Notification, Picture, Rendering, Thread
from guiderail.model.policy import Channel
from guiderail.ports import Journal
from guiderail.rendering import slack
from guiderail.rendering.slack import SlackMessage

URL = "https://slack.com/api/"

SEND_SECONDS = 20.0
"""For all calls of one delivery, pictures included."""

# "Errors" of chat.postMessage and chat.update, docs.slack.dev; whatever is not here is refused
_PASSING = frozenset(
    {
        "ratelimited",
        "rate_limited",
        "message_limit_exceeded",
        "fatal_error",
        "internal_error",
        "service_unavailable",
        "team_added_to_org",
        "request_timeout",
    }
)
_MAY_BE_STALE = frozenset(
    {
        "invalid_auth",
        "not_authed",
        "token_revoked",
        "token_expired",
        "account_inactive",
        "missing_scope",
        "no_permission",
    }
)
_ROOT_IS_GONE = frozenset(
    {"message_not_found", "thread_not_found", "cant_update_message", "edit_window_closed"}
)
_REMEDIES = {
    "not_in_channel": "Invite the app to the channel",
    "channel_not_found": "Invite the app to the channel, and look at the channel's id in the policy",
    "is_archived": "Unarchive the channel, or name another one in the policy",
    "missing_scope": "Give the app the scopes chat:write and files:write and install it again",
}
_CODE = re.compile(r"[a-z0-9_]{2,60}")
_CHANNEL_ID = re.compile(r"[CDG][A-Z0-9]{6,}")
# switches that keep Slack from making anything of our text; the text itself is escaped
_AS_WRITTEN: dict[str, Any] = {
    "mrkdwn": False,
    "parse": "none",
    "link_names": False,
    "unfurl_links": False,
    "unfurl_media": False,
}


def send(
    channel: Channel,
    notification: Notification,
    rendering: Rendering,
    secret: Secret,
    journal: Journal,
) -> Receipt:
    """Post a root, or update it and post the news into its thread."""
    calls = _Calls(secret)
    thread = rendering.thread
    if notification.remediation is not None:
        return _beside(calls, channel, notification, rendering)
    if thread and thread.root and not _elsewhere(thread, channel):
        receipt = _go_on(calls, thread, notification, rendering)
        if receipt:
            return receipt
    root = calls.post(channel.target, slack.root_message(notification, rendering))
    if rendering.pictures:
        _attach(calls, root, rendering.pictures, journal, channel)
    begun = Thread(root=root.root, place=root.place, number=notification.number)
    return Receipt(id=root.root, thread=begun)


def _go_on(
    calls: _Calls, thread: Thread, notification: Notification, rendering: Rendering
) -> Receipt | None:
    """The receipt of what was added to a thread; None if its root is gone."""
    # an older message that comes late must not take back what a newer one said
    if notification.number >= thread.number:
        if not calls.update(thread, slack.root_message(notification, rendering)):
            return None
        thread = Thread(root=thread.root, place=thread.place, number=notification.number)
    reply = slack.thread_reply(notification, rendering)
    if reply is None:
        return Receipt(id=thread.root, thread=thread)
    posted = calls.post(thread.place, reply, thread.root)
    return Receipt(id=posted.root, thread=thread)


def _beside(
    calls: _Calls, channel: Channel, notification: Notification, rendering: Rendering
) -> Receipt:
    """Post what is said of a remediation into the incident's thread, or alone; no root comes of it."""
    message, thread = slack.remediation_message(notification, rendering), rendering.thread
    if thread and thread.root and not _elsewhere(thread, channel):
        try:
            return Receipt(id=calls.post(thread.place, message, thread.root).root)
        except _RootIsGoneError:
            # somebody deleted it: the message still has to be seen
            pass
    return Receipt(id=calls.post(channel.target, message).root)


def _elsewhere(thread: Thread, channel: Channel) -> bool:
    """Whether the policy names another channel by now; a name instead of an id says nothing."""
    return bool(_CHANNEL_ID.fullmatch(channel.target)) and thread.place != channel.target


def _attach(
    calls: _Calls, root: Thread, pictures: Sequence[Picture], journal: Journal, channel: Channel
) -> None:
    """Put pictures into the thread; the message is delivered without them too."""
    try:
        calls.upload(root, pictures)
    except GuiderailError as error:
        journal.warning("Pictures were not attached", channel=channel.name, error=str(error))


class _Calls:
    """The calls of one delivery, under one deadline, with Slack's errors as ours."""

    def __init__(self, secret: Secret) -> None:
        self._client = _Client(secret["token"], secret.get("url", URL), monotonic() + SEND_SECONDS)

    def post(self, place: str, message: SlackMessage, root: str | None = None) -> Thread:
        """Post into a channel or thread; the channel's id and the time stamp that Slack gave it."""
        said = self._call(
            "chat.postMessage",
            channel=place,
            text=message.text,
            blocks=message.blocks,
            thread_ts=root,
            reply_broadcast=True if root and message.broadcast else None,
            **_AS_WRITTEN,
        )
        if not said.get("ts"):
            raise ChannelFailedError("Slack answered chat.postMessage without a ts", status=200)
        return Thread(root=str(said["ts"]), place=str(said.get("channel") or place))

    def update(self, thread: Thread, message: SlackMessage) -> bool:
        """Write a root anew; False if it is gone."""
        try:
            self._call(
                "chat.update",
                channel=thread.place,
                ts=thread.root,
                text=message.text,
                blocks=message.blocks,
                parse="none",
                link_names=False,
            )
        except _RootIsGoneError:
            return False
        return True

    def upload(self, root: Thread, pictures: Sequence[Picture]) -> None:
        """Upload pictures and share them in a thread."""
        uploads = [
            {
                "filename": picture.name,
                "title": picture.alt,
                "alt_txt": picture.alt,
                "file": picture.png,
            }
            for picture in pictures
        ]
        self._mapped(
            "files.completeUploadExternal",
            lambda: (
                self._client.files_upload_v2(
                    file_uploads=uploads, channel=root.place, thread_ts=root.root
                ).data
            ),
        )

    def _call(self, method: str, **arguments: Any) -> Mapping[str, Any]:
        given = {name: value for name, value in arguments.items() if value is not None}
        return self._mapped(method, lambda: self._client.api_call(method, json=given).data)

    def _mapped(self, method: str, call: Any) -> Mapping[str, Any]:
        # raised outside the handler: slack-sdk's errors hold whole requests and answers
        try:
            said = call()
        except SlackApiError as error:
            failure: GuiderailError = _ours(method, error)
        except SlackClientError:
            failure = ChannelFailedError(f"Slack did not take {method}")
        else:
            if isinstance(said, Mapping):
                return said
            failure = ChannelFailedError(f"Slack answered {method} with no object", status=200)
        raise failure


class _RootIsGoneError(ChannelRefusedError):
    """The message that a thread hangs on is not there any more."""


def _ours(method: str, error: SlackApiError) -> GuiderailError:
    said = error.response.data
    code = str(said.get("error", "")) if isinstance(said, Mapping) else ""
    if not _CODE.fullmatch(code):
        # no JSON, or an error text that is none of Slack's: it may have taken the message
        return ChannelFailedError(f"Slack answered {method} with something else", status=200)
    text = f"Slack answered {method}: {code}"
    if code in _PASSING:
        return ChannelFailedError(text, status=200, retry_after=_asked_to_wait(said))
    if code in _ROOT_IS_GONE:
        return _RootIsGoneError(text, status=200)
    return ChannelRefusedError(
        text,
        status=200,
        may_be_stale=code in _MAY_BE_STALE,
        remedy=_REMEDIES.get(code, ""),
    )


def _asked_to_wait(said: Mapping[str, Any]) -> float | None:
    seconds = said.get("retry_after")
    if isinstance(seconds, int | float) and not isinstance(seconds, bool):
        return min(max(0.0, float(seconds)), http.LONGEST_WAIT)
    return None


class _Client(WebClient):
    """slack-sdk's client over our own exchange.

    Its own follows redirects with the token, takes proxies from the environment, and has no deadline.
    """

    def __init__(self, token: str, base_url: str, ends_at: float) -> None:
        # a logger of its own that nobody hears: its messages hold requests and answers
        silent = logging.Logger("slack", logging.CRITICAL)
        super().__init__(token, base_url, int(http.TOTAL_SECONDS), retry_handlers=[], logger=silent)
        self._ends_at = ends_at

    def _perform_urllib_http_request_internal(self, url: str, req: Request) -> dict[str, Any]:
        body = req.data if isinstance(req.data, bytes) else b""
        headers = {
            name: value for name, value in req.header_items() if name.lower() != "content-length"
        }
        answer = http.exchange(url, body, headers, self._left())
        http.check(answer)
        found = {name.title(): value for name, value in answer.headers.items()}
        return {"status": answer.status, "headers": found, "body": answer.text}

    def _upload_file(self, *, url: str, data: bytes, **_: Any) -> FileUploadV2Result:
        answer = http.exchange(
            url, data, {"Content-Type": "application/octet-stream"}, self._left()
        )
        http.check(answer)
        return FileUploadV2Result(answer.status, answer.text)

    def _left(self) -> float:
        left = self._ends_at - monotonic()
        if left <= 0:
            raise ChannelFailedError(f"Slack took longer than {SEND_SECONDS:.0f} s")
        return min(left, http.TOTAL_SECONDS)
