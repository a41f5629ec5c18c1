"""The function ``on_reply`` over moto: DynamoDB, S3 and Secrets Manager, and a sink for notes to Slack."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from guiderail.adapters import clients, secrets
from guiderail.adapters.dynamo_remediations import DynamoRemediations
from guiderail.adapters.dynamodb import DynamoIncidents
from guiderail.bootstrap import on_reply
from guiderail.model.delivery import Delivery, DeliveryRef, ReplyToken, token_digest
from guiderail.model.incident import IncidentState, Ledger
from guiderail.model.message import INCIDENT_ANSWERS, REMEDIATION_ANSWERS, ReplyAction
from guiderail.model.notice import AuditEntry
from guiderail.model.policy import ChannelKind
from guiderail.model.remediation import Remediation, RemediationState
from guiderail.model.web import WebRequest
from msgspec.structs import replace

from functions.on_reply.app import handler
from tests.integration.conftest import Stack
from tests.replies import (
    AGE,
    ASKED,
    INCOME,
    LABELS,
    POLICY,
    SCOPE,
    SECRET,
    SIGNING,
    SLACK,
    approval_of,
    event_of,
    get,
    interaction,
    post,
    signed,
    token_of,
)

SECRET_NAME = "guiderail/slack-signing"


def now() -> datetime:
    return datetime.now(UTC)


class Place:
    """A stack with two open incidents, and what is kept of them."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        stack.push(POLICY)
        self.incidents = DynamoIncidents(stack.table, 1, 1)
        ledger = Ledger(scope=SCOPE, incidents={i.id: i for i in (INCOME, AGE)})
        first = AuditEntry(
            id="a1", subject=SCOPE.ledger_id, at=INCOME.first_seen, actor="", what="run"
        )
        self.incidents.commit_act(ledger, None, [], first)

    def give(self, action: ReplyAction = ReplyAction.ACKNOWLEDGE, **fields: Any) -> ReplyToken:
        """Keep a token as ``deliver`` does."""
        made = approval_of if action in REMEDIATION_ANSWERS else token_of
        token = made(action, **{"expires_at": now() + timedelta(hours=1), **fields})
        delivery = Delivery(
            id="d1",
            notification=token.notification,
            group=token.group,
            route="risk",
            receiver="risk",
            channel=token.channel,
            kind=ChannelKind.EMAIL,
            made_at=now(),
        )
        ref = DeliveryRef(
            id="d1",
            made_at=delivery.made_at,
            notification=token.notification,
            channel=token.channel,
            thread="t",
            at=delivery.made_at,
        )
        self.stack.outbox.claim(delivery, delivery, ref, [token])
        return token

    def propose(self) -> DynamoRemediations:
        """Keep a remediation that waits for approval, as ``remediate`` does."""
        kept = DynamoRemediations(self.stack.table, 1)
        ends = now() + timedelta(hours=1)
        asked = replace(ASKED, requested_at=now(), expires_at=ends, look_at=ends)
        kept.keep_remediation(None, asked)
        return kept

    def remediation(self) -> Remediation:
        found = DynamoRemediations(self.stack.table, 1).remediation(ASKED.id)
        assert found is not None
        return found

    def ask(self, request: WebRequest) -> tuple[int, str]:
        """Status and body of the function's answer."""
        answer = handler(json.loads(json.dumps(event_of(request))), None)
        return answer["statusCode"], answer["body"]

    def incident(self) -> Any:
        ledger = self.incidents.ledger(SCOPE.ledger_id)
        assert ledger is not None
        return ledger.incidents[INCOME.id]

    def token(self) -> ReplyToken:
        token = self.stack.outbox.token(token_digest(SECRET))
        assert token is not None
        return token


@pytest.fixture
def place(stack: Stack) -> Place:
    return Place(stack)


@pytest.fixture
def calls(place: Place) -> Iterator[Counter[str]]:
    """AWS calls by name, from now on."""
    counted: Counter[str] = Counter()
    for service in ("dynamodb", "s3"):
        clients.client(service).meta.events.register(
            "before-call.*.*", lambda model, **_: counted.update([model.name])
        )
    yield counted


@pytest.fixture
def notes(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Any]]]:
    """Notes to Slack, as path and JSON; the signing secret is kept and known."""
    received: list[tuple[str, Any]] = []

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, json.loads(body)))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    thread = Thread(target=server.serve_forever)
    thread.start()
    place.stack.client("secretsmanager").create_secret(Name=SECRET_NAME, SecretString=SIGNING)
    monkeypatch.setenv("GUIDERAIL_SLACK_SIGNING_SECRET", SECRET_NAME)
    monkeypatch.setenv("GUIDERAIL_SLACK_HOOKS", f"http://127.0.0.1:{server.server_port}/")
    secrets.forget()
    on_reply.cache_clear()
    yield received
    secrets.forget()
    server.shutdown()
    thread.join()
    server.server_close()


def button(secret: str = SIGNING, at: datetime | None = None) -> WebRequest:
    payload = interaction(response_url=f"{os.environ['GUIDERAIL_SLACK_HOOKS']}actions/1")
    return signed(payload, secret=secret, at=at or now())


def test_a_link_is_opened_answered_and_used_up(place: Place) -> None:
    place.give()

    assert place.ask(get())[0] == 200
    assert place.incident().state is IncidentState.OPEN
    status, page = place.ask(post({"do": "acknowledge", "comment": "feed is being mended"}))

    assert (status, "Acknowledged" in page) == (200, True)
    assert place.incident().acknowledged_by == "email:ana@loans.example"
    assert place.token().used_by == "email:ana@loans.example"
    audit = place.incidents.audit(SCOPE.ledger_id, 1)[0]
    assert (audit.what, audit.origin) == ("acknowledge", "link@203.0.113.7")
    status, page = place.ask(post())
    assert (status, "by email:ana@loans.example" in page) == (409, True)
    refused = place.incidents.audit(token_of().group, 9)
    assert [entry.counts for entry in refused] == [{"reply_used": 1}]


@pytest.mark.parametrize("action", INCIDENT_ANSWERS)
def test_every_answer_is_kept_once(place: Place, action: ReplyAction) -> None:
    place.give(action)
    form = {"do": action.value, "to": "bea"}

    with ThreadPoolExecutor(4) as pool:
        statuses = sorted(status for status, _ in pool.map(place.ask, [post(form)] * 4))

    assert statuses == [200, 409, 409, 409]
    silences = place.incidents.silences(now())
    said = list(place.stack.outbox.feedback(now() - timedelta(hours=1)))
    assert len(silences) == action.value.startswith("silence")
    assert all(silence.match == LABELS for silence in silences)
    assert len(said) == (action is ReplyAction.NOISE)
    acts = [entry.what for entry in place.incidents.audit(SCOPE.ledger_id, 99)]
    assert acts.count(action.value) == (
        action in (ReplyAction.ACKNOWLEDGE, ReplyAction.ASSIGN, ReplyAction.NOISE)
    )


@pytest.mark.parametrize("action", REMEDIATION_ANSWERS)
def test_a_remediation_is_decided_once_and_its_state_machine_is_woken(
    place: Place, action: ReplyAction
) -> None:
    kept = place.propose()
    place.give(action)
    status, page = place.ask(get())
    assert (status, "retrain endpoint/loan-risk-prod" in page) == (200, True)
    assert place.remediation().version == 1

    with ThreadPoolExecutor(4) as pool:
        form = post({"do": action.value, "comment": "as agreed"})
        statuses = sorted(status for status, _ in pool.map(place.ask, [form] * 4))

    assert statuses == [200, 409, 409, 409]
    after = place.remediation()
    assert len(after.timeline) == 1 and after.timeline[0].text == "as agreed"
    if action is ReplyAction.APPROVE:
        assert [a.by for a in after.approvals] == ["email:ana@loans.example"]
    else:
        assert (after.state, after.rejected_by) == (
            RemediationState.REJECTED,
            "email:ana@loans.example",
        )
    assert [wake.remediation for wake in kept.wakes(now())] == [ASKED.id]
    (audit,) = [e for e in place.incidents.audit(SCOPE.ledger_id, 9) if e.what == "remediation"]
    assert audit.actor == "email:ana@loans.example"
    assert place.token().used_by == "email:ana@loans.example"


def test_what_expired_while_the_link_lived_is_not_approved(place: Place) -> None:
    kept = place.propose()
    place.give(ReplyAction.APPROVE)
    known = place.remediation()
    kept.keep_remediation(known, replace(known, expires_at=now() - timedelta(seconds=1)))
    status, page = place.ask(post({"do": "approve"}))
    assert (status, "Not approved" in page) == (409, True)
    assert place.remediation().approvals == ()
    (refused,) = place.incidents.audit(token_of().group, 9)
    assert (refused.decisions[0].about, refused.counts) == (ASKED.id, {"reply_refused": 1})


def test_opening_an_approval_costs_its_remediation_and_the_policy_besides(
    place: Place, calls: Counter[str]
) -> None:
    place.propose()
    place.give(ReplyAction.APPROVE)
    calls.clear()
    place.ask(get())
    assert calls == {"GetItem": 2, "GetObject": 1}


def test_an_expired_link(place: Place) -> None:
    place.give(expires_at=now() - timedelta(seconds=1))
    assert place.ask(get())[0] == 410
    assert place.ask(post())[0] == 410
    assert place.incident().state is IncidentState.OPEN


def test_a_forged_link(place: Place) -> None:
    place.give()
    path = f"/r/{SECRET[:-1]}A"
    assert place.ask(get(path))[0] == place.ask(post(path=path))[0] == 404


def test_nobody_is_allowed_by_a_policy_that_names_nobody(place: Place) -> None:
    place.stack.push(replace(POLICY, replies=type(POLICY.replies)()))
    place.give()
    assert place.ask(post())[0] == 403
    assert place.token().used_at is None
    (refused,) = place.incidents.audit(token_of().group, 9)
    assert (refused.actor, refused.counts) == ("email:ana@loans.example", {"reply_forbidden": 1})


def test_a_button_in_slack(place: Place, notes: list[tuple[str, Any]]) -> None:
    place.give(channel=SLACK)

    assert place.ask(button()) == (200, "")
    assert place.ask(button()) == (200, "")

    assert place.incident().acknowledged_by == "slack:T0RISK/U0ANA"
    assert [path for path, _ in notes] == ["/actions/1"] * 2
    done, used = (note for _, note in notes)
    assert done["text"].startswith("Acknowledged: 1 finding")
    assert used["text"].startswith("Answered already")
    for note in (done, used):
        assert (note["response_type"], note["replace_original"]) == ("ephemeral", False)
        assert note["blocks"][0]["text"]["type"] == "plain_text"


def test_a_forged_and_an_old_button(place: Place, notes: list[tuple[str, Any]]) -> None:
    place.give(channel=SLACK)
    assert place.ask(button(secret="another"))[0] == 401
    assert place.ask(button(at=now() - timedelta(minutes=6)))[0] == 401
    assert place.incident().state is IncidentState.OPEN
    assert notes == []


def test_a_signing_secret_that_is_replaced_while_the_function_runs(
    place: Place, notes: list[tuple[str, Any]]
) -> None:
    place.give(channel=SLACK)
    assert place.ask(button(secret="the new one"))[0] == 401
    on_reply.cache_clear()
    place.stack.client("secretsmanager").put_secret_value(
        SecretId=SECRET_NAME, SecretString=json.dumps({"signing_secret": "the new one"})
    )
    # the old one is still kept in memory
    assert place.ask(button(secret="the new one"))[0] == 200
    assert place.incident().state is IncidentState.ACKNOWLEDGED


def test_without_a_signing_secret_slack_finds_nothing(place: Place) -> None:
    assert place.ask(signed(at=now()))[0] == 404


def test_opening_a_link_is_one_call_and_answering_few(place: Place, calls: Counter[str]) -> None:
    place.give()
    calls.clear()
    place.ask(get())
    assert calls == {"GetItem": 1}
    calls.clear()
    place.ask(post())
    assert calls == {"GetItem": 2, "GetObject": 1, "TransactWriteItems": 1, "UpdateItem": 1}


def test_a_table_that_is_not_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUIDERAIL_TABLE", "NoSuchTable")
    on_reply.cache_clear()
    status, page = place.ask(post())
    assert (status, "Something is wrong on our side" in page) == (500, True)
