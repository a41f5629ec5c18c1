"""What the tests of replies share: tokens, requests of links and of Slack, and a world that remembers."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import msgspec
from guiderail.adapters.slack_signatures import SlackSdkSignatures
from guiderail.errors import GuiderailError
from guiderail.model.delivery import DeliveryRef, ReplyToken, token_digest
from guiderail.model.finding import Subject
from guiderail.model.incident import Incident, IncidentState, Ledger, Scope, incident_id
from guiderail.model.message import ReplyAction
from guiderail.model.outcome import MonitorKind, Reason
from guiderail.model.policy import (
    ActionKind,
    Cause,
    Channel,
    ChannelKind,
    Policy,
    Receiver,
    RemediationAction,
    RemediationMode,
    Replies,
    Severity,
)
from guiderail.model.remediation import Gate, GateAnswer, Remediation, RemediationState
from guiderail.model.web import WebAnswer, WebRequest, web_request
from guiderail.ports import ReplyTokens
from guiderail.services.acts import Acts
from guiderail.services.remediation_acts import RemediationActs
from guiderail.services.replying import Replying
from guiderail_cli.in_memory import FixedPolicies, InMemoryIncidents

NOW = datetime(2026, 11, 23, 15, 5, tzinfo=UTC)
SECRET = "k3yWhr0ss-vN7_tQ2bXc9LdZfE5uGaMj1HpRi8SoT4w"
"""A token as a link carries it."""

SIGNING = "8f742231b10e8888abcd99yyyzzz85a5"
HOOK = "https://hooks.slack.com/actions/T0RISK/123/abc"
FORM = "application/x-www-form-urlencoded"
SCOPE = Scope(
    account="123456789012",
    region="eu-west-1",
    schedule="loan-risk-prod-hourly",
    endpoint="loan-risk-prod",
    monitor=MonitorKind.DATA_QUALITY,
)
LABELS = {"endpoint": "loan-risk-prod", "check": "baseline_drift_check"}

MAIL = "risk/mail"
SHARED_MAIL = "risk/mailing-list"
SLACK = "risk/slack"
TEAMS = "risk/teams"
POLICY = Policy(
    receivers={
        "risk": Receiver(
            name="risk",
            channels=(
                Channel(kind=ChannelKind.EMAIL, name=MAIL, to=("ana@loans.example",)),
                Channel(
                    kind=ChannelKind.EMAIL, name=SHARED_MAIL, to=("a@x.example", "b@x.example")
                ),
                Channel(kind=ChannelKind.SLACK, name=SLACK),
                Channel(kind=ChannelKind.TEAMS, name=TEAMS),
            ),
        )
    },
    replies=Replies(allowed=("email:*@loans.example", "link:risk/*", "slack:T0RISK/U0ANA")),
    remediations={
        "retrain loans": RemediationAction(
            name="retrain loans",
            kind=ActionKind.RETRAIN,
            mode=RemediationMode.ASK,
            parameters={
                "pipeline": "loans-retrain",
                "parameters": {"Input": "{report_uri}", "Password": "hunter2"},
            },
            approvers=("email:ana@loans.example", "slack:T0RISK/*", "link:risk/*"),
            cost=12.5,
        )
    },
)


def incident_of(feature: str, **fields: Any) -> Incident:
    """An open incident of drift."""
    subject = Subject(feature=feature)
    given: dict[str, Any] = {
        "id": incident_id(SCOPE, SCOPE.monitor, "baseline_drift_check", subject),
        "kind": SCOPE.monitor,
        "check": "baseline_drift_check",
        "subject": subject,
        "state": IncidentState.OPEN,
        "severity": Severity.WARNING,
        "reason": Reason.FIRST_SEEN,
        "first_seen": NOW - timedelta(hours=3),
        "last_seen": NOW - timedelta(hours=1),
        "observed": 0.31,
        "threshold": 0.1,
        "distance": 0.21,
    }
    return Incident(**{**given, **fields})


INCOME = incident_of("income")
AGE = incident_of("age")


def token_of(action: ReplyAction = ReplyAction.ACKNOWLEDGE, **fields: Any) -> ReplyToken:
    """A token that mail carried."""
    given: dict[str, Any] = {
        "digest": token_digest(SECRET),
        "action": action,
        "incidents": (INCOME.id,),
        "labels": LABELS,
        "group": "3d35fc3c9f5c4234869e7994",
        "notification": "notification-1a",
        "channel": MAIL,
        "title": "1 finding: data quality of loan-risk-prod",
        "expires_at": NOW + timedelta(days=7),
    }
    return ReplyToken(**{**given, **fields})


ASKED = Remediation(
    id="20261123T150000-5c1fa2b3c4d5",
    action="retrain loans",
    kind=ActionKind.RETRAIN,
    mode=RemediationMode.ASK,
    scope=SCOPE,
    target="endpoint/loan-risk-prod",
    incidents=(INCOME.id,),
    requested_at=NOW - timedelta(minutes=5),
    state=RemediationState.ASKED,
    reason=Reason.REMEDIATION_ASKED,
    version=1,
    cause=Cause.QUALITY,
    facts={"report_uri": "s3://loan-reports/hourly/2026/11/23/14"},
    gates=(
        GateAnswer(gate=Gate.CAUSE, passed=True, reason=Reason.GATE_PASSED, text="quality"),
        GateAnswer(
            gate=Gate.APPROVAL,
            passed=False,
            reason=Reason.APPROVAL_NEEDED,
            text="nobody approved it yet",
        ),
    ),
    token="task-token-of-the-state-machine",
    expires_at=NOW + timedelta(hours=24),
    look_at=NOW + timedelta(hours=24),
)
"""A remediation that waits for approval."""


def approval_of(action: ReplyAction = ReplyAction.APPROVE, **fields: Any) -> ReplyToken:
    """A token that answers to it."""
    given = {
        "labels": {},
        "title": "retrain loans asks for your approval: loan-risk-prod",
        "expires_at": NOW + timedelta(hours=24),
        "remediation": ASKED.id,
    }
    return token_of(action, **{**given, **fields})


def get(path: str = f"/r/{SECRET}", method: str = "GET", **headers: str) -> WebRequest:
    """Somebody opens a link."""
    return WebRequest(method=method, path=path, headers=headers, source="203.0.113.7")


def post(
    fields: Mapping[str, str] | None = None,
    path: str = f"/r/{SECRET}",
    *,
    body: bytes | None = None,
    media_type: str = FORM,
    action: ReplyAction = ReplyAction.ACKNOWLEDGE,
) -> WebRequest:
    """Somebody presses the button of a link's page."""
    form = {"do": action.value} if fields is None else dict(fields)
    return WebRequest(
        method="POST",
        path=path,
        headers={"content-type": media_type},
        body=urlencode(form).encode() if body is None else body,
        source="203.0.113.7",
    )


def interaction(value: str = SECRET, **fields: Any) -> dict[str, Any]:
    """The payload of a button, as Slack's documentation shows it."""
    return {
        "type": "block_actions",
        "user": {"id": "U0ANA", "username": "ana", "name": "ana", "team_id": "T0RISK"},
        "api_app_id": "A0GUIDE",
        "container": {"type": "message", "message_ts": "1795446000.000100", "channel_id": "C0RISK"},
        "trigger_id": "12345.98765.abcd2358fdea",
        "team": {"id": "T0RISK", "domain": "risk"},
        "channel": {"id": "C0RISK", "name": "risk"},
        "response_url": HOOK,
        "actions": [
            {
                "action_id": "guiderail.acknowledge",
                "block_id": "replies",
                "text": {"type": "plain_text", "text": "Acknowledge"},
                "value": value,
                "type": "button",
                "action_ts": "1795446300.000200",
            }
        ],
        **fields,
    }


def signed(
    payload: object = None,
    *,
    secret: str = SIGNING,
    at: datetime = NOW,
    body: bytes | None = None,
    **headers: str,
) -> WebRequest:
    """A request as Slack signs it."""
    if body is None:
        encoded = msgspec.json.encode(interaction() if payload is None else payload)
        body = urlencode({"payload": encoded.decode()}).encode()
    timestamp = str(int(at.timestamp()))
    mac = hmac.new(secret.encode(), f"v0:{timestamp}:".encode() + body, hashlib.sha256)
    given = {
        "content-type": FORM,
        "x-slack-request-timestamp": timestamp,
        "x-slack-signature": f"v0={mac.hexdigest()}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return WebRequest(method="POST", path="/slack", headers=given, body=body)


def event_of(request: WebRequest) -> dict[str, Any]:
    """The Function URL's event of a request."""
    return {
        "version": "2.0",
        "rawPath": request.path,
        "rawQueryString": "",
        "headers": dict(request.headers),
        "requestContext": {
            "http": {
                "method": request.method,
                "path": request.path,
                "sourceIp": request.source,
            }
        },
        "body": b64encode(request.body or b"").decode(),
        "isBase64Encoded": True,
    }


class World:
    """In-memory ports under a ``Replying``; what it was asked for stays readable."""

    def __init__(self, *tokens: ReplyToken, policy: Policy = POLICY) -> None:
        self.now = NOW
        self.store = InMemoryIncidents()
        incidents = {incident.id: incident for incident in (INCOME, AGE)}
        self.store.ledgers[SCOPE.ledger_id] = Ledger(scope=SCOPE, version=1, incidents=incidents)
        self.store.kept_remediations = {ASKED.id: ASKED}
        self.went_on: list[str] = []
        self.store.tokens = {token.digest: token for token in tokens or (token_of(),)}
        self.policies = FixedPolicies(policy)
        self.secrets = [SIGNING]
        self.fresh_reads = 0
        self.notes: list[tuple[str, str]] = []
        self.note_fails: GuiderailError | None = None
        self.lines: list[tuple[str, str, dict[str, object]]] = []
        self.metrics: list[dict[str, str]] = []

    def clock(self) -> datetime:
        return self.now

    def secret(self, fresh: bool = False) -> str:
        self.fresh_reads += fresh
        if fresh and len(self.secrets) > 1:
            self.secrets.pop(0)
        return self.secrets[0]

    def tell(self, url: str, text: str) -> None:
        if self.note_fails:
            raise self.note_fails
        self.notes.append((url, text))

    def info(self, message: str, **fields: object) -> None:
        self.lines.append(("info", message, fields))

    def warning(self, message: str, **fields: object) -> None:
        self.lines.append(("warning", message, fields))

    def error(self, message: str, **fields: object) -> None:
        self.lines.append(("error", message, fields))

    def record(self, name: str, value: float, dimensions: Mapping[str, str]) -> None:
        assert (name, value) == ("Replies", 1)
        self.metrics.append(dict(dimensions))

    def acts(self) -> Acts:
        return Acts(incidents=self.store, policies=self.policies, clock=self.clock)

    def start(self, remediation_id: str, at: datetime, again: str = "") -> None:
        raise AssertionError("an answer starts no state machine")

    def go_on(self, token: str, at: datetime) -> bool:
        self.went_on.append(token)
        return True

    def put(self, refs: Sequence[DeliveryRef], delay: float = 0.0) -> None:
        assert refs

    def remediation_acts(self) -> RemediationActs:
        return RemediationActs(
            remediations=self.store,
            incidents=self.store,
            policies=self.policies,
            driver=self,
            queue=self,
            journal=self,
            clock=self.clock,
        )

    def remediation(self) -> Remediation:
        """The remediation as it stands."""
        return self.store.kept_remediations[ASKED.id]

    def replying(self, **instead: Any) -> Replying:
        tokens: ReplyTokens = self.store
        given: dict[str, Any] = {
            "acts": self.acts(),
            "tokens": tokens,
            "signatures": SlackSdkSignatures(),
            "signing_secret": self.secret,
            "slack": self,
            "meter": self,
            "journal": self,
            "remediations": self.remediation_acts(),
        }
        return Replying(**{**given, **instead})

    def __call__(self, request: WebRequest) -> WebAnswer:
        """Ask as AWS would, through an event."""
        if request.body is None:
            return self.replying()(request)
        return self.replying()(web_request(event_of(request)))

    def incident(self, incident: Incident = INCOME) -> Incident:
        """An incident as it stands."""
        return self.store.ledgers[SCOPE.ledger_id].incidents[incident.id]

    def token(self) -> ReplyToken:
        """The token as it stands."""
        return self.store.tokens[token_digest(SECRET)]

    def is_untouched(self) -> bool:
        """Whether no answer changed anything."""
        ledger = self.store.ledgers[SCOPE.ledger_id]
        return (
            (ledger.incidents, ledger.version) == ({i.id: i for i in (INCOME, AGE)}, 1)
            and not self.store.kept_silences
            and self.store.kept_remediations == {ASKED.id: ASKED}
            and not self.store.feedback_rows
            and all(token.used_at is None for token in self.store.tokens.values())
        )

    @property
    def reasons(self) -> list[object]:
        """Reasons that were logged, each of them counted as well."""
        logged = [f["reason"] for _, m, f in self.lines if m == "reply" and "reason" in f]
        assert logged == [metric["reason"] for metric in self.metrics]
        return logged
