"""Channels against the sink, and against moto: what arrives, what each fault means, and that nothing leaks."""

from __future__ import annotations

import io
import json
import logging
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from email.utils import format_datetime
from typing import Any

import boto3
import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber
from guiderail.adapters import clients, secrets
from guiderail.adapters.channels import ChannelSenders, http
from guiderail.adapters.channels import slack as slack_channel
from guiderail.adapters.lambda_pictures import LambdaPictures
from guiderail.adapters.secrets import Secret, Secrets, SecretShape
from guiderail.errors import (
    AccessDeniedError,
    ChannelFailedError,
    ChannelRefusedError,
    GuiderailError,
    UnavailableError,
)
from guiderail.model.delivery import Receipt, delivery_id
from guiderail.model.message import Notification, Picture, Rendering, Thread
from guiderail.model.policy import Channel, ChannelKind
from guiderail_local.sagemaker import SageMaker
from guiderail_local.sink import Arrival, Fault, Sink
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ses.models import ses_backends
from msgspec.structs import replace
from slack_sdk.errors import SlackApiError
from slack_sdk.web.client import WebClient
from slack_sdk.webhook import WebhookClient

from tests.unit.rendering.notifications import CASES, answerable, fitting, news, replies

WEB = [
    ChannelKind.SLACK,
    ChannelKind.SLACK_WEBHOOK,
    ChannelKind.TEAMS,
    ChannelKind.PAGERDUTY,
    ChannelKind.JSM,
    ChannelKind.WEBHOOK,
]
PICTURE = Picture(name="distribution-1.png", alt="age: baseline and current", png=b"\x89PNG 1")
HOUR = timedelta(hours=1)
REGION = "eu-west-1"


class SinkSecrets(Secrets):
    """The sink's secrets; ``stale`` ones are answered until somebody asks for fresh ones."""

    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self.sink = sink
        self.stale: dict[str, str] = {}
        self.asked: list[tuple[str, bool]] = []
        self.may_refresh = True

    def read(self, name: str, shape: SecretShape, *, fresh: bool = False) -> Secret:
        self.asked.append((name, fresh))
        if fresh and self.may_refresh:
            self.stale.pop(name, None)
        content = self.stale.get(name) or self.sink.secrets()[name]
        return Secret(name, json.loads(content))

    def hidden(self) -> set[str]:
        """All that must never be shown."""
        found = {reply.token for reply in replies()}
        for content in [*self.sink.secrets().values(), *self.stale.values()]:
            for field, value in json.loads(content).items():
                if field != "url":
                    found.add(value)
                elif "/services/" in value or "sig=" in value:
                    found.add(value.rpartition("/")[2].rpartition("=")[2])
        return found


class Noted:
    """A Journal."""

    def __init__(self) -> None:
        self.warnings: list[tuple[str, dict[str, object]]] = []

    def info(self, message: str, **fields: object) -> None:
        raise AssertionError(message)

    def warning(self, message: str, **fields: object) -> None:
        self.warnings.append((message, fields))

    def error(self, message: str, **fields: object) -> None:
        raise AssertionError(message)


class House:
    """Senders, the sink they send to, and a check that nothing secret is told by anything."""

    def __init__(self, sink: Sink, caplog: pytest.LogCaptureFixture) -> None:
        self.sink = sink
        self.secrets = SinkSecrets(sink)
        self.noted = Noted()
        self.caplog = caplog
        self.senders = ChannelSenders(self.secrets, "", "", self.noted)

    def send(
        self,
        kind: ChannelKind,
        notification: Notification | None = None,
        thread: Thread | None = None,
        **rendering: Any,
    ) -> Receipt:
        return self.senders.send(
            self.sink.channels()[kind],
            notification or news(),
            replace(fitting(notification or news()), thread=thread, **rendering),
        )

    def failure(self, kind: ChannelKind, **given: Any) -> ChannelFailedError | ChannelRefusedError:
        """The error that sending ends with; nothing that was told of it holds a secret."""
        with pytest.raises(GuiderailError) as raised:
            self.send(kind, **given)
        error = raised.value
        told = [str(error), repr(error), "".join(traceback.format_exception(error))]
        told += [self.caplog.text, repr(self.noted.warnings)]
        for text in told:
            for secret in self.secrets.hidden():
                assert secret not in text
        assert isinstance(error, ChannelFailedError | ChannelRefusedError)
        return error

    def only(self, kind: ChannelKind) -> Arrival:
        (arrival,) = self.sink.taken(kind)
        return arrival


@pytest.fixture
def house(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    caplog.set_level(logging.DEBUG)
    # nothing of the environment may come between
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Sink() as sink:
        yield House(sink, caplog)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TOTAL_SECONDS", 0.2)


# every channel takes every message


@pytest.mark.parametrize("kind", WEB)
@pytest.mark.parametrize("case", CASES)
def test_every_channel_takes_every_message(house: House, kind: ChannelKind, case: str) -> None:
    receipt = house.send(kind, CASES[case]())
    assert receipt.id
    assert house.only(kind).status == receipt.status


def test_receipts_are_the_channels_own_ids(house: House) -> None:
    got = {kind: house.send(kind) for kind in WEB}
    event = house.only(ChannelKind.PAGERDUTY).body
    assert got[ChannelKind.PAGERDUTY].id == event["dedup_key"]
    assert got[ChannelKind.SLACK].id in house.sink.slack.messages
    channel = house.sink.channels()[ChannelKind.WEBHOOK]
    assert got[ChannelKind.WEBHOOK].id == delivery_id(news().id, channel.name)
    assert house.only(ChannelKind.WEBHOOK).headers["webhook-id"] == got[ChannelKind.WEBHOOK].id
    assert got[ChannelKind.SLACK].thread == Thread(
        root=got[ChannelKind.SLACK].id, place="C0GUIDERAIL", number=1
    )
    assert [got[kind].status for kind in WEB] == [200, 200, 202, 202, 202, 204]
    assert {a.headers["user-agent"].partition("/")[0] for a in house.sink.arrived} == {
        "guiderail",
        "Python",  # slack-sdk's own
    }


def test_pagerduty_and_jsm_follow_an_incident_to_its_end(house: House) -> None:
    for case in ("news", "acknowledged", "resolved", "remediation"):
        house.send(ChannelKind.PAGERDUTY, CASES[case]())
        house.send(ChannelKind.JSM, CASES[case]())
    events = house.sink.taken(ChannelKind.PAGERDUTY)
    assert [e.body.get("event_action") for e in events] == [
        "trigger",
        "acknowledge",
        "resolve",
        None,
    ]
    assert [e.path for e in events] == ["/pagerduty/v2/enqueue"] * 3 + [
        "/pagerduty/v2/change/enqueue"
    ]
    assert len({e.body["dedup_key"] for e in events[:3]}) == 1
    ends = [
        call.path.partition("?")[0].rpartition("/")[2] for call in house.sink.taken(ChannelKind.JSM)
    ]
    assert ends == ["alerts", "acknowledge", "close", "notes"]


def test_pagerduty_and_jsm_are_told_of_a_remediation_beside_its_incident(house: House) -> None:
    known = Thread(number=1)
    for case in ("news", "proposal", "not_proven", "proven"):
        house.send(ChannelKind.PAGERDUTY, CASES[case](), known)
        house.send(ChannelKind.JSM, CASES[case](), known)
    paths = [e.path.rpartition("/pagerduty")[2] for e in house.sink.taken(ChannelKind.PAGERDUTY)]
    assert paths == ["/v2/enqueue"] + ["/v2/change/enqueue"] * 3
    calls = house.sink.taken(ChannelKind.JSM)
    alias = calls[0].body["alias"]
    assert [c.path.partition("?")[0].partition("/v2/")[2] for c in calls] == [
        "alerts",
        *[f"alerts/{alias}/notes"] * 3,
    ]


def test_a_proposal_that_has_no_alert_to_be_a_note_of_is_one_itself(house: House) -> None:
    house.send(ChannelKind.JSM, CASES["proposal"]())
    house.send(ChannelKind.JSM)
    own, incident = (call.body["alias"] for call in house.sink.taken(ChannelKind.JSM))
    assert own != incident


def test_a_hundred_at_once_all_arrive(house: House) -> None:
    with ThreadPoolExecutor(100) as pool:
        receipts = list(pool.map(lambda _: house.send(ChannelKind.JSM), range(100)))
    assert len({receipt.id for receipt in receipts}) == 100
    assert len(house.sink.taken(ChannelKind.JSM)) == 100


# what each fault means


@pytest.mark.parametrize("kind", WEB)
@pytest.mark.parametrize("status", [408, 425, 500, 502, 503, 504])
def test_what_passes_is_tried_later(house: House, kind: ChannelKind, status: int) -> None:
    house.sink.fail(kind, Fault.status_of(status))
    error = house.failure(kind)
    assert isinstance(error, ChannelFailedError)
    assert (error.status, error.retry_after) == (status, None)
    assert house.sink.taken(kind) == []
    assert len(house.sink.arrived) == 1, "it tried again by itself"
    assert house.send(kind).id


@pytest.mark.parametrize("kind", WEB)
def test_retry_after_is_handed_on(house: House, kind: ChannelKind) -> None:
    house.sink.fail(kind, Fault.rate_limited(2))
    house.sink.fail(kind, Fault.status_of(503, retry_after="7"))
    waits = []
    for _ in range(2):
        error = house.failure(kind)
        assert isinstance(error, ChannelFailedError)
        waits.append((error.status, error.retry_after))
    assert waits == [(429, 2.0), (503, 7.0)]


NOW = datetime(2026, 11, 23, 15, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", None),
        ("soon", None),
        ("0", 0.0),
        ("2.5", 2.5),
        ("-3", None),
        ("99999999", 21600.0),
        ("1e999", 21600.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - HOUR, usegmt=True), 0.0),
        (format_datetime(NOW + 24 * HOUR, usegmt=True), 21600.0),
        ("Mon, 99 Nov 2026 15:06:30 GMT", None),
    ],
)
def test_retry_after_in_all_its_forms(header: str, seconds: float | None) -> None:
    assert http.retry_after(header, NOW) == seconds


@pytest.mark.parametrize("kind", WEB)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 413, 422])
def test_what_will_not_pass_is_refused(house: House, kind: ChannelKind, status: int) -> None:
    house.sink.fail(kind, Fault.status_of(status), times=None)
    error = house.failure(kind)
    assert isinstance(error, ChannelRefusedError)
    assert error.status == status
    assert "127.0.0.1 answered" in str(error)
    expected = {401, 403, 404, 410} | ({400} if kind is ChannelKind.PAGERDUTY else set())
    assert error.may_be_stale is (status in expected)


@pytest.mark.parametrize("kind", WEB)
def test_a_redirect_is_not_followed(house: House, kind: ChannelKind) -> None:
    house.sink.fail(kind, Fault.redirect(f"{house.sink.url}/elsewhere"))
    error = house.failure(kind)
    assert isinstance(error, ChannelRefusedError)
    assert error.status == 302
    assert len(house.sink.arrived) == 1


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", WEB)
@pytest.mark.parametrize(
    "fault",
    [Fault.silence(), Fault.slow_body(), Fault.slow_headers()],
    ids=["silence", "slow body", "slow headers"],
)
def test_the_deadline_holds(house: House, kind: ChannelKind, fault: Fault) -> None:
    house.sink.fail(kind, fault)
    error = house.failure(kind)
    assert isinstance(error, ChannelFailedError)
    assert str(error) == "127.0.0.1 did not answer in time"


@pytest.mark.parametrize("kind", WEB)
def test_a_reset_connection_is_tried_later(house: House, kind: ChannelKind) -> None:
    house.sink.fail(kind, Fault.reset())
    error = house.failure(kind)
    assert isinstance(error, ChannelFailedError)
    assert error.status == 0


@pytest.mark.parametrize("kind", WEB)
def test_nobody_listens(house: House, kind: ChannelKind) -> None:
    stopped = Sink()
    with stopped:
        house.secrets.stale = stopped.secrets()
    error = house.failure(kind)
    assert isinstance(error, ChannelFailedError)
    assert "refused" in str(error).lower()


@pytest.mark.parametrize("kind", [kind for kind in WEB if kind is not ChannelKind.WEBHOOK])
def test_a_page_instead_of_an_answer_is_no_success(house: House, kind: ChannelKind) -> None:
    house.sink.fail(kind, Fault.garbage())
    error = house.failure(kind)
    assert isinstance(error, ChannelFailedError)
    assert error.status == 200


def test_a_webhook_of_ones_own_may_answer_any_2xx(house: House) -> None:
    house.sink.fail(ChannelKind.WEBHOOK, Fault.garbage())
    assert house.send(ChannelKind.WEBHOOK).status == 200


@pytest.mark.parametrize("kind", [kind for kind in WEB if kind is not ChannelKind.WEBHOOK])
def test_200_that_says_no_is_no_success(house: House, kind: ChannelKind) -> None:
    code = "429" if kind is ChannelKind.TEAMS else "internal_error"
    house.sink.fail(kind, Fault.not_ok(code))
    assert isinstance(house.failure(kind), ChannelFailedError)
    assert house.sink.taken(kind) == []


@pytest.mark.parametrize(
    ("code", "error"), [("413", ChannelRefusedError), ("502", ChannelFailedError)]
)
def test_teams_names_the_status_in_the_text(
    house: House, code: str, error: type[GuiderailError]
) -> None:
    house.sink.fail(ChannelKind.TEAMS, Fault.not_ok(code))
    assert isinstance(house.failure(ChannelKind.TEAMS), error)


def test_an_answer_larger_than_64_kb_is_not_read_whole() -> None:
    answer = http.Answer("host", 200, {}, b"x" * http.LARGEST_ANSWER)
    with pytest.raises(ChannelFailedError, match="not its JSON"):
        answer.json()


# Slack's own words


@pytest.mark.parametrize(
    "code",
    ["ratelimited", "fatal_error", "internal_error", "service_unavailable", "request_timeout"],
)
def test_slack_says_later(house: House, code: str) -> None:
    house.sink.fail(ChannelKind.SLACK, Fault.not_ok(code))
    error = house.failure(ChannelKind.SLACK)
    assert isinstance(error, ChannelFailedError)
    assert code in str(error)


@pytest.mark.parametrize("code", ["invalid_auth", "token_revoked", "account_inactive"])
def test_slack_does_not_know_the_token(house: House, code: str) -> None:
    house.sink.fail(ChannelKind.SLACK, Fault.not_ok(code), times=None)
    error = house.failure(ChannelKind.SLACK)
    assert isinstance(error, ChannelRefusedError)
    assert error.may_be_stale
    assert house.secrets.asked == [("guiderail/sink/slack", False), ("guiderail/sink/slack", True)]
    assert len(house.sink.arrived) == 1, "the same token was tried again"


@pytest.mark.parametrize(
    "code",
    ["channel_not_found", "not_in_channel", "is_archived", "msg_too_long", "invalid_blocks", "x9"],
)
def test_slack_says_never(house: House, code: str) -> None:
    house.sink.fail(ChannelKind.SLACK, Fault.not_ok(code))
    error = house.failure(ChannelKind.SLACK)
    assert isinstance(error, ChannelRefusedError)
    assert not error.may_be_stale
    assert code in str(error)


def test_words_that_are_none_of_slacks_are_not_repeated(house: House) -> None:
    token = house.sink.slack.token
    house.sink.fail(ChannelKind.SLACK, Fault.not_ok(f"no such token: {token}"))
    assert isinstance(house.failure(ChannelKind.SLACK), ChannelFailedError)
    house.sink.fail(ChannelKind.SLACK_WEBHOOK, Fault.not_ok(f"Sent to {token}"))
    assert isinstance(house.failure(ChannelKind.SLACK_WEBHOOK), ChannelFailedError)


# one thread per incident


def second(number: int = 2) -> Notification:
    return replace(CASES["repeat"](), number=number)


def test_news_goes_into_the_thread_and_the_root_is_kept_up_to_date(house: House) -> None:
    first = house.send(ChannelKind.SLACK)
    later = house.send(ChannelKind.SLACK, second(), first.thread)
    assert first.thread
    assert later.thread == replace(first.thread, number=2)
    root, reply = house.sink.slack.messages.values()
    assert (root.ts, root.edits, root.thread_ts) == (first.id, 1, "")
    assert (reply.ts, reply.thread_ts, reply.broadcast) == (later.id, first.id, True)
    methods = [a.path.rpartition("/")[2] for a in house.sink.arrived]
    assert methods == ["chat.postMessage", "chat.update", "chat.postMessage"]


def test_an_older_message_does_not_take_back_what_a_newer_one_said(house: House) -> None:
    first = house.send(ChannelKind.SLACK)
    third = house.send(ChannelKind.SLACK, second(3), first.thread)
    late = house.send(ChannelKind.SLACK, second(2), third.thread)
    assert late.thread == third.thread
    assert house.sink.slack.messages[first.id].edits == 1


def test_a_root_that_was_deleted_is_posted_anew(house: House) -> None:
    first = house.send(ChannelKind.SLACK)
    house.sink.slack.forget(first.id)
    later = house.send(ChannelKind.SLACK, second(), first.thread)
    (message,) = house.sink.slack.messages.values()
    assert later.id == message.ts != first.id
    assert later.thread == Thread(root=message.ts, place="C0GUIDERAIL", number=2)


def test_a_remediation_is_told_in_the_thread_and_leaves_its_root_alone(house: House) -> None:
    first = house.send(ChannelKind.SLACK)
    asked = house.send(ChannelKind.SLACK, CASES["proposal"](), first.thread)
    done = house.send(ChannelKind.SLACK, CASES["proven"](), first.thread)
    root, proposal, proven = house.sink.slack.messages.values()
    assert (root.ts, root.edits) == (first.id, 0)
    assert (proposal.ts, proposal.thread_ts, proposal.broadcast) == (asked.id, first.id, True)
    assert (proven.ts, proven.thread_ts, proven.broadcast) == (done.id, first.id, False)
    assert "guiderail.approve" in json.dumps(proposal.blocks)
    # what is remembered of the thread stays as it is
    assert asked.thread is None and done.thread is None


def test_a_remediation_without_a_thread_stands_alone_and_begins_none(house: House) -> None:
    asked = house.send(ChannelKind.SLACK, CASES["proposal"]())
    assert asked.thread is None
    # or the next news would write over its buttons
    house.send(ChannelKind.SLACK, second())
    proposal, news_ = house.sink.slack.messages.values()
    assert (proposal.thread_ts, proposal.edits) == ("", 0)
    assert news_.thread_ts == ""


def test_a_remediation_whose_thread_was_deleted_is_told_all_the_same(house: House) -> None:
    first = house.send(ChannelKind.SLACK)
    house.sink.slack.forget(first.id)
    asked = house.send(ChannelKind.SLACK, CASES["proposal"](), first.thread)
    (message,) = house.sink.slack.messages.values()
    assert (message.ts, message.thread_ts) == (asked.id, "")


def test_another_channel_in_the_policy_gets_a_thread_of_its_own(house: House) -> None:
    first = house.send(ChannelKind.SLACK)
    moved = replace(first.thread or Thread(), place="C0ELSEWHERE")
    later = house.send(ChannelKind.SLACK, second(), moved)
    assert later.thread
    assert later.thread.root == later.id != first.id


def test_a_reply_that_fails_after_the_update_is_lost_to_nobody(house: House) -> None:
    """The update is repeated without effect; a reply that never arrived is posted once."""
    first = house.send(ChannelKind.SLACK)
    house.sink.fail(ChannelKind.SLACK, Fault.status_of(503), on="chat.postMessage")
    house.failure(ChannelKind.SLACK, notification=second(), thread=first.thread)
    house.send(ChannelKind.SLACK, second(), first.thread)
    assert [m.edits for m in house.sink.slack.messages.values()] == [2, 0]


def test_a_reply_whose_answer_is_lost_comes_twice_at_most(house: House) -> None:
    """Slack has no key against repeats: this is the one duplicate (docs/delivery.md)."""
    first = house.send(ChannelKind.SLACK)
    house.sink.fail(ChannelKind.SLACK, Fault.reset(taken=True), on="chat.postMessage")
    house.failure(ChannelKind.SLACK, notification=second(), thread=first.thread)
    house.send(ChannelKind.SLACK, second(), first.thread)
    assert [m.thread_ts for m in house.sink.slack.messages.values()] == ["", first.id, first.id]


@pytest.mark.parametrize("kind", [ChannelKind.PAGERDUTY, ChannelKind.JSM, ChannelKind.WEBHOOK])
def test_a_repeat_carries_the_key_by_which_the_channel_drops_it(
    house: House, kind: ChannelKind
) -> None:
    house.sink.fail(kind, Fault.reset(taken=True))
    house.failure(kind)
    house.send(kind)
    keys = [
        (a.body.get("dedup_key"), a.body.get("alias"), a.headers.get("webhook-id"))
        for a in house.sink.taken(kind)
    ]
    assert len(keys) == 2
    assert keys[0] == keys[1]
    assert any(keys[0])


def test_pictures_hang_in_the_thread_of_the_first_message(house: House) -> None:
    first = house.send(ChannelKind.SLACK, pictures=(PICTURE, PICTURE))
    assert len(house.sink.slack.messages[first.id].files) == 2
    house.send(ChannelKind.SLACK, second(), first.thread, pictures=(PICTURE,))
    assert len(house.sink.slack.messages[first.id].files) == 2
    assert house.noted.warnings == []
    uploads = [a.body for a in house.sink.taken(ChannelKind.SLACK) if "/upload/" in a.path]
    assert uploads == [PICTURE.png, PICTURE.png]


@pytest.mark.parametrize(
    "on", ["files.getUploadURLExternal", "F00000000", "files.completeUploadExternal"]
)
@pytest.mark.parametrize(
    "fault", [Fault.status_of(500), Fault.reset(), Fault.garbage(), Fault.not_ok("missing_scope")]
)
def test_a_message_is_delivered_though_its_pictures_are_not(
    house: House, on: str, fault: Fault
) -> None:
    house.sink.fail(ChannelKind.SLACK, fault, times=None, on=on)
    receipt = house.send(ChannelKind.SLACK, pictures=(PICTURE,))
    assert house.sink.slack.messages[receipt.id].files == []
    ((message, fields),) = house.noted.warnings
    assert message == "Pictures were not attached"
    assert house.sink.slack.token not in repr(fields)


def test_slack_as_a_whole_has_a_deadline(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack_channel, "SEND_SECONDS", 0.0)
    assert isinstance(house.failure(ChannelKind.SLACK), ChannelFailedError)
    assert house.sink.arrived == []


# secrets that were replaced


@pytest.mark.parametrize("kind", WEB)
def test_a_replaced_secret_is_read_again_and_used(house: House, kind: ChannelKind) -> None:
    house.send(kind)
    house.secrets.stale = house.sink.secrets()
    house.sink.rotate()
    house.secrets.asked.clear()
    assert house.send(kind).id
    name = f"guiderail/sink/{kind}"
    assert house.secrets.asked == [(name, False), (name, True)]
    assert len(house.sink.taken(kind)) == 2


def test_a_channel_without_a_secret_says_so(house: House) -> None:
    channel = replace(house.sink.channels()[ChannelKind.TEAMS], secret="")
    with pytest.raises(ChannelRefusedError, match="names no secret.*in the policy"):
        house.senders.send(channel, news(), Rendering())


@pytest.mark.parametrize("kind", [ChannelKind.SLACK, ChannelKind.JSM])
def test_a_token_that_is_no_header_is_not_shown(house: House, kind: ChannelKind) -> None:
    name = f"guiderail/sink/{kind}"
    field = "token" if kind is ChannelKind.SLACK else "api_key"
    good = json.loads(house.sink.secrets()[name])
    house.secrets.stale[name] = json.dumps({**good, field: "hush\nhush"})
    house.secrets.may_refresh = False
    error = house.failure(kind)
    assert isinstance(error, ChannelRefusedError)
    assert "characters that no HTTP header takes" in str(error)


# addresses


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://hooks.example.com/hush",
        "ftp://127.0.0.1/hush",
        "https://user:hush@hooks.example.com/",
        "https://169.254.169.254/latest/hush",
        "https://[fe80::1]/hush",
        "https://[::ffff:169.254.169.254]/hush",
        "https://[fd00:ec2::254]/hush",
        "https:///hush",
        "https://hooks.example.com:99999/hush",
        "https://hooks.example.com/hush#top",
        "https://hooks.example.com/hush me",
        "https://hooks.example.com/hush\r\nHost: evil",
        "https://[hush",
        "http://127.0.0.1.evil.example/hush",
        "http://localhost@evil.example/hush",
    ],
)
def test_addresses_that_are_not_sent_to(url: str) -> None:
    with pytest.raises(ChannelRefusedError) as raised:
        http.exchange(url, b"", {})
    assert "hush" not in "".join(traceback.format_exception(raised.value))


def test_a_name_that_leads_to_the_metadata_service_is_not_sent_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Sink() as sink:
        monkeypatch.setattr(http, "is_forbidden", lambda peer: peer == "127.0.0.1")
        with pytest.raises(ChannelRefusedError, match="metadata"):
            http.exchange(f"{sink.url}/webhook", b"{}", {})
        assert sink.arrived == []


def test_a_certificate_nobody_vouches_for_is_not_accepted(house: House) -> None:
    url = house.sink.url.replace("http://", "https://")
    with pytest.raises(ChannelFailedError, match="TLS failed"):
        http.exchange(f"{url}/webhook", b"{}", {})
    context = http._tls()
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"


# slack-sdk's own clients take the sink for Slack


@pytest.fixture
def own_way(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """slack-sdk by itself takes the environment's proxies, as ours must not."""
    monkeypatch.delenv("HTTP_PROXY")
    monkeypatch.delenv("HTTPS_PROXY")


@pytest.mark.usefixtures("own_way")
def test_slack_sdks_own_client(house: House) -> None:
    client = WebClient(house.sink.slack.token, f"{house.sink.url}/slack/api/", retry_handlers=[])
    assert client.auth_test()["ok"]
    root = client.chat_postMessage(channel="C0GUIDERAIL", text="root")
    client.chat_postMessage(channel="C0GUIDERAIL", text="reply", thread_ts=root["ts"])
    client.chat_update(channel="C0GUIDERAIL", ts=root["ts"], text="new root")
    client.files_upload_v2(
        filename="a.png", file=PICTURE.png, channel="C0GUIDERAIL", thread_ts=root["ts"]
    )
    message = house.sink.slack.messages[root["ts"]]
    assert (message.text, message.edits, len(message.files)) == ("new root", 1, 1)
    house.sink.fail(ChannelKind.SLACK, Fault.rate_limited(2))
    with pytest.raises(SlackApiError) as raised:
        client.chat_postMessage(channel="C0GUIDERAIL", text="too much")
    assert raised.value.response.status_code == 429
    assert raised.value.response.headers["Retry-After"] == "2"
    with pytest.raises(SlackApiError, match="invalid_auth"):
        WebClient("xoxb-wrong", f"{house.sink.url}/slack/api/").auth_test()


@pytest.mark.usefixtures("own_way")
def test_slack_sdks_own_webhook_client(house: House) -> None:
    url = json.loads(house.sink.secrets()["guiderail/sink/slack_webhook"])["url"]
    assert WebhookClient(url).send(text="news").body == "ok"
    assert WebhookClient(f"{url}x").send(text="news").status_code == 404


# AWS


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[SageMaker]:
    with SageMaker() as server:
        for name, value in {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }.items():
            monkeypatch.setenv(name, value)
        clients.forget()
        secrets.forget()
        yield server
        clients.forget()
        secrets.forget()


def subscribed_queue(topic: str) -> str:
    sqs = boto3.client("sqs")
    url = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    boto3.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn["QueueArn"])
    return str(url)


def first_of(queue: str) -> Any:
    (message,) = boto3.client("sqs").receive_message(QueueUrl=queue)["Messages"]
    return json.loads(message["Body"])


def senders(topic: str = "", bus: str = "") -> ChannelSenders:
    return ChannelSenders(Secrets(), topic, bus, Noted())


@pytest.mark.parametrize("named", [True, False], ids=["own topic", "the stack's topic"])
@pytest.mark.usefixtures("aws")
def test_the_topic(named: bool) -> None:
    topic = boto3.client("sns").create_topic(Name="alerts")["TopicArn"]
    queue = subscribed_queue(topic)
    channel = Channel(kind=ChannelKind.TOPIC, name="t", target=topic if named else "")
    told = replace(news(), attributes={"receiver": "loans", "owner": ""})
    receipt = senders("" if named else topic).send(channel, told, answerable())
    got = first_of(queue)
    assert (got["MessageId"], got["Subject"]) == (receipt.id, told.subject)
    assert "loan-risk-prod" in got["Message"]
    assert got["MessageAttributes"] == {"receiver": {"Type": "String", "Value": "loans"}}


@pytest.mark.usefixtures("aws")
def test_amazon_q() -> None:
    topic = boto3.client("sns").create_topic(Name="chat")["TopicArn"]
    queue = subscribed_queue(topic)
    channel = Channel(kind=ChannelKind.AMAZON_Q, name="q", target=topic)
    receipt = senders().send(channel, news(), answerable())
    got = first_of(queue)
    assert got["MessageId"] == receipt.id
    assert json.loads(got["Message"])["source"] == "custom"


@pytest.mark.usefixtures("aws")
def test_the_bus() -> None:
    events = boto3.client("events")
    events.create_event_bus(Name="guiderail")
    sqs = boto3.client("sqs")
    queue = sqs.create_queue(QueueName="heard")["QueueUrl"]
    events.put_rule(Name="all", EventBusName="guiderail", EventPattern='{"source":["guiderail"]}')
    arn = f"arn:aws:sqs:{REGION}:{DEFAULT_ACCOUNT_ID}:heard"
    events.put_targets(Rule="all", EventBusName="guiderail", Targets=[{"Id": "1", "Arn": arn}])
    told = replace(news(), detail_type="IncidentOpened", detail={"receiver": "loans"})
    channel = Channel(kind=ChannelKind.BUS, name="bus")
    receipt = senders(bus="guiderail").send(channel, told, Rendering())
    got = first_of(queue)
    assert (got["id"], got["detail-type"]) == (receipt.id, "IncidentOpened")
    assert got["detail"] == {"receiver": "loans", "alert_id": told.id}


@pytest.mark.usefixtures("aws")
def test_email() -> None:
    boto3.client("sesv2").create_email_identity(EmailIdentity="guiderail@loans.example")
    channel = Channel(
        kind=ChannelKind.EMAIL,
        name="e",
        sender="guiderail@loans.example",
        to=("ana@loans.example", "bo@loans.example"),
    )
    receipt = senders().send(channel, news(), replace(answerable(), pictures=(PICTURE,)))
    sent = ses_backends[DEFAULT_ACCOUNT_ID][REGION].sent_messages[-1]
    assert sent.id == receipt.id
    assert set(sent.destinations) == set(channel.to)
    mail = message_from_bytes(sent.raw_data.encode(), policy=default)
    assert (mail["From"], mail["To"]) == (channel.sender, ", ".join(channel.to))
    kinds = [part.get_content_type() for part in mail.walk()]
    assert {"text/plain", "text/html", "image/png"} <= set(kinds)


@pytest.mark.parametrize("name", ["sender", "to"])
def test_an_addressee_with_a_line_break_is_refused(name: str) -> None:
    given: dict[str, Any] = {"sender": "a@loans.example", "to": ("b@loans.example",)}
    given[name] = "x\r\nBcc: y@evil.example" if name == "sender" else ("x\r\nBcc: y@evil",)
    channel = Channel(kind=ChannelKind.EMAIL, name="loans/email", **given)
    with pytest.raises(ChannelRefusedError, match="Channel loans/email.*in the policy"):
        senders().send(channel, news(), answerable())


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("kind", "target", "text"),
    [
        (ChannelKind.TOPIC, f"arn:aws:sns:{REGION}:{DEFAULT_ACCOUNT_ID}:gone", "Publish .*:gone"),
        (
            ChannelKind.AMAZON_Q,
            f"arn:aws:sns:{REGION}:{DEFAULT_ACCOUNT_ID}:gone",
            "Publish .*:gone",
        ),
        (ChannelKind.EMAIL, "", "SendEmail from nobody@"),
    ],
)
def test_what_aws_refuses_is_refused(kind: ChannelKind, target: str, text: str) -> None:
    channel = Channel(
        kind=kind, name="c", target=target, to=("ana@loans.example",), sender="nobody@loans.example"
    )
    with pytest.raises(ChannelRefusedError, match=text):
        senders().send(channel, news(), answerable())


def stubbed(service: str, *given: Any) -> Stubber:
    return Stubber(clients.client(service, *given))


@pytest.mark.usefixtures("aws")
def test_what_aws_cannot_take_now_is_tried_later() -> None:
    with stubbed("sns", *clients.ONE_TRY) as sns:
        sns.add_client_error("publish", "Throttling", "Rate exceeded", 400)
        channel = Channel(kind=ChannelKind.TOPIC, name="t", target="arn:aws:sns:eu-west-1:1:a")
        with pytest.raises(ChannelFailedError, match="Rate exceeded"):
            senders().send(channel, news(), answerable())


@pytest.mark.parametrize(
    "kind", [ChannelKind.TOPIC, ChannelKind.AMAZON_Q, ChannelKind.EMAIL, ChannelKind.BUS]
)
@pytest.mark.usefixtures("aws")
def test_botocore_does_not_send_twice_by_itself(kind: ChannelKind) -> None:
    """A message that AWS took without answering must not go out again unseen."""
    with Sink() as deaf, pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ENDPOINT_URL", deaf.url)
        clients.forget()
        asked: list[str] = []
        clients._session().register("before-send", lambda request, **_: asked.append(request.url))
        deaf.unknown = 503
        channel = Channel(
            kind=kind,
            name="c",
            target=f"arn:aws:sns:{REGION}:1:a",
            to=("a@b.example",),
            sender="c@d.example",
        )
        told = replace(news(), detail_type="IncidentOpened")
        with pytest.raises(ChannelFailedError):
            senders(bus="guiderail").send(channel, told, answerable())
        assert len(asked) == 1
    clients.forget()


@pytest.mark.usefixtures("aws")
def test_what_a_role_may_not_do_keeps_its_remedy() -> None:
    with stubbed("sns", *clients.ONE_TRY) as sns:
        sns.add_client_error("publish", "AuthorizationError", "not yours", 403)
        channel = Channel(kind=ChannelKind.TOPIC, name="t", target="arn:aws:sns:eu-west-1:1:a")
        with pytest.raises(ChannelRefusedError) as raised:
            senders().send(channel, news(), answerable())
    assert raised.value.remedy.startswith("Grant the function's role")
    assert str(raised.value).count("Grant") == 1
    assert isinstance(raised.value.__cause__, AccessDeniedError)


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("ThrottlingException", ChannelFailedError),
        ("InternalFailure", ChannelFailedError),
        ("NotAuthorizedForDetailTypeException", ChannelRefusedError),
    ],
)
def test_an_event_that_failed_inside_a_200(code: str, error: type[GuiderailError]) -> None:
    with stubbed("events", *clients.ONE_TRY) as events:
        answer = {"FailedEntryCount": 1, "Entries": [{"ErrorCode": code, "ErrorMessage": "why"}]}
        events.add_response("put_events", answer)
        channel = Channel(kind=ChannelKind.BUS, name="bus")
        with pytest.raises(error, match=f"{code}: why"):
            senders(bus="guiderail").send(channel, news(), Rendering())


# pictures


def drawing(content: bytes, **more: Any) -> Stubber:
    stub = stubbed("lambda", 8.0, 1)
    body = StreamingBody(io.BytesIO(content), len(content))
    stub.add_response("invoke", {"StatusCode": 200, "Payload": body, **more})
    return stub


@pytest.mark.usefixtures("aws")
def test_pictures_come_from_their_function() -> None:
    content = b'{"pictures":[{"name":"a.png","alt":"age","png":"iVBORw=="}]}'
    with drawing(content):
        drawn = LambdaPictures("draw").draw(news().distributions, {"age": [1.0, 2.0]})
    assert drawn == (Picture(name="a.png", alt="age", png=b"\x89PNG"),)


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("content", [b"", b"{}", b'{"pictures":[{"name":"a"}]}'])
def test_an_answer_without_pictures_is_an_error(content: bytes) -> None:
    with drawing(content), pytest.raises(UnavailableError, match="answered no pictures"):
        LambdaPictures("draw").draw((), {})


@pytest.mark.usefixtures("aws")
def test_a_function_that_failed_is_an_error() -> None:
    failed = drawing(b'{"errorMessage":"x"}', FunctionError="Unhandled")
    with failed, pytest.raises(UnavailableError, match="draw failed: Unhandled"):
        LambdaPictures("draw").draw((), {})
