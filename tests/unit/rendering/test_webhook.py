"""The generic webhook: its published schema, its signature, and the lines that docs/webhook.md shows."""

from __future__ import annotations

import base64
import json
import math
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from guiderail.errors import SettingsError
from guiderail.model.delivery import delivery_id
from guiderail.model.message import MessageKind, Notification, Rendering
from guiderail.rendering import webhook
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped, unused-ignore]
from msgspec.structs import replace

from tests.unit.rendering import notifications
from tests.unit.rendering.golden_files import compare

CASES = pytest.mark.parametrize("case", notifications.CASES)
DOCS = Path(__file__).parents[3] / "docs"
SCHEMA = json.loads((DOCS / "webhook.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA, format_checker=FormatChecker())
KEY = "whsec_" + base64.b64encode(bytes(range(32))).decode()
ID = delivery_id("notification-1", "ops/webhook")
AT = datetime(2026, 11, 23, 15, 5, 7, 900_000, tzinfo=UTC)


def body_of(notification: Notification, rendering: Rendering) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(webhook.render(notification, rendering))
    return body


def strict(schema: Any) -> Any:
    """The schema as the sender has to meet it: every field that is sent is described."""
    if isinstance(schema, dict):
        closed = {name: strict(inner) for name, inner in schema.items()}
        if "properties" in schema and isinstance(schema["properties"], dict):
            closed.setdefault("additionalProperties", False)
        return closed
    return [strict(inner) for inner in schema] if isinstance(schema, list) else schema


STRICT = Draft202012Validator(strict(SCHEMA), format_checker=FormatChecker())


@pytest.mark.parametrize("case", [case for case in notifications.CASES if case != "huge"])
def test_golden(case: str) -> None:
    body = body_of(notifications.CASES[case](), notifications.answerable(case))
    compare("webhook", f"{case}.json", json.dumps(body, indent=1, ensure_ascii=False) + "\n")


@CASES
@pytest.mark.parametrize("shown", [False, True])
def test_schema(case: str, shown: bool) -> None:
    rendering = replace(notifications.answerable(case), show_values=shown, note="over the fallback")
    body = body_of(notifications.CASES[case](), rendering)
    Draft202012Validator.check_schema(SCHEMA)
    assert [error.message for error in STRICT.iter_errors(body)] == []


def test_a_reader_of_version_1_takes_fields_that_came_later() -> None:
    body = body_of(notifications.news(), Rendering())
    assert VALIDATOR.is_valid({**body, "new": 1})
    assert not VALIDATOR.is_valid({**body, "schema": "guiderail.notification/2"})
    assert not VALIDATOR.is_valid({**body, "severity": "fatal"})
    del body["rows"]
    assert not VALIDATOR.is_valid(body)


@pytest.mark.parametrize("kind", MessageKind)
def test_only_a_test_is_one(kind: MessageKind) -> None:
    body = body_of(replace(notifications.news(), kind=kind), Rendering())
    assert (body["kind"], body["test"]) == (kind.value, kind is MessageKind.TEST)


def test_raw_values_only_if_the_policy_lets_them() -> None:
    hidden = body_of(notifications.news(), Rendering())["distributions"]
    assert "labels" not in hidden[0] and hidden[0]["baseline"] == [0.4, 0.3, 0.2, 0.1]
    shown = body_of(notifications.news(), Rendering(show_values=True))["distributions"]
    assert shown[0]["labels"][0] == "0 to 0.2"


@pytest.mark.parametrize(
    ("observed", "number", "text"),
    [
        (math.inf, None, "Infinity"),
        (-math.inf, None, "-Infinity"),
        (math.nan, None, None),
        (None, None, None),
        (0.5, 0.5, None),
    ],
)
def test_numbers_that_json_lacks(observed: float | None, number: Any, text: str | None) -> None:
    row = notifications.news().rows[0]
    assert row.facts is not None
    facts = replace(row.facts, observed=observed, trend=(math.inf, 1.0))
    body = body_of(replace(notifications.news(), rows=(replace(row, facts=facts),)), Rendering())
    sent = body["rows"][0]["facts"]
    assert (sent["observed"], sent.get("observed_text")) == (number, text)
    assert sent["trend"] == [None, 1.0]
    assert STRICT.is_valid(body)


def test_headers() -> None:
    body = webhook.render(notifications.news(), Rendering())
    made = webhook.headers(ID, body, KEY, AT.astimezone(timezone(timedelta(hours=5))))
    assert made["webhook-id"] == ID
    assert made["webhook-timestamp"] == str(int(AT.timestamp()))
    assert re.fullmatch(r"v1,[A-Za-z0-9+/]{43}=", made["webhook-signature"])


def test_the_signature_is_that_of_standard_webhooks() -> None:
    # the example of the specification, "Verifying webhooks" of standardwebhooks.com
    made = webhook.signature(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        b'{"test": 2432232314}',
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    )
    assert made == "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "changed",
    [
        {"delivery": "another"},
        {"timestamp": "1"},
        {"body": b"{}"},
        {"key": "whsec_AAAA"},
        {"key": KEY.removeprefix("whsec_")},
    ],
)
def test_the_signature_covers_everything(changed: dict[str, Any]) -> None:
    signed: dict[str, Any] = {"delivery": "d", "timestamp": "0", "body": b"{ }", "key": KEY}
    assert webhook.signature(**signed) != webhook.signature(**{**signed, **changed})


def test_a_key_that_is_no_base64_is_refused_without_being_said() -> None:
    with pytest.raises(SettingsError, match="no Base64 follows") as caught:
        webhook.headers(ID, b"{}", "whsec_not base64!", AT)
    assert "not base64!" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_lines_of_the_document_verify_what_is_sent() -> None:
    document = (DOCS / "webhook.md").read_text()
    (lines,) = re.findall(r"```python\n(.*?)```", document, flags=re.DOTALL)
    body = webhook.render(notifications.news(), notifications.answerable())
    now = datetime.now(UTC)

    def verified(**changed: Any) -> tuple[bool, bool]:
        known = {
            "headers": webhook.headers(ID, body, KEY, now), "body": body, "key": KEY, **changed
        }  # fmt: skip
        exec(lines, known)
        return known["is_genuine"], known["is_fresh"]

    assert verified() == (True, True)
    assert verified(body=body + b" ") == (False, True)
    assert verified(key="whsec_AAAA") == (False, True)
    old = webhook.headers(ID, body, KEY, now - timedelta(hours=1))
    assert verified(headers=old) == (True, False)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=200), min_size=1, max_size=5))
def test_any_name_is_valid_json(names: list[str]) -> None:
    body = body_of(notifications.hostile(tuple(names)), notifications.answerable())
    assert STRICT.is_valid(body)
    assert [row["name"] for row in body["rows"]] == names
    proposal = notifications.hostile_proposal(tuple(names))
    assert STRICT.is_valid(body_of(proposal, notifications.fitting(proposal)))
