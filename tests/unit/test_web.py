"""Function URL events become requests, and answers what a Function URL takes."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from guiderail.model.web import WebAnswer, web_request

from tests.template import ROOT

EVENTS = sorted((ROOT / "events" / "on_reply").glob("*.json"))


def event(**fields: Any) -> dict[str, Any]:
    http = {"method": "POST", "path": "/slack", "sourceIp": "203.0.113.7", "userAgent": "x"}
    return {
        "version": "2.0",
        "rawPath": "/slack",
        "headers": {"Content-Type": "Text/Plain; charset=utf-8", "X-Slack-Signature": "v0=1"},
        "requestContext": {"http": http},
        "body": "a=b",
        "isBase64Encoded": False,
        **fields,
    }


def test_what_is_read_of_an_event() -> None:
    request = web_request(event())
    assert (request.method, request.path, request.source) == ("POST", "/slack", "203.0.113.7")
    assert request.body == b"a=b"
    assert request.headers["x-slack-signature"] == "v0=1"
    assert request.media_type == "text/plain"


def test_a_body_in_base64() -> None:
    content = bytes(range(256))
    encoded = b64encode(content).decode()
    assert web_request(event(body=encoded, isBase64Encoded=True)).body == content
    assert web_request(event(body=encoded)).body == encoded.encode()


@pytest.mark.parametrize("body", ["a", "ZG8=\n", "ZG8", "ZG8*", "\u00e9", "ZG8=ZG8="])
def test_a_body_that_is_no_base64_is_none(body: str) -> None:
    assert web_request(event(body=body, isBase64Encoded=True)).body is None


@pytest.mark.parametrize(
    "fields",
    [
        {"requestContext": None},
        {"requestContext": {"http": []}},
        {"requestContext": {"http": {"method": 7}}},
    ],
)
def test_an_event_of_another_shape_has_no_method(fields: dict[str, Any]) -> None:
    assert web_request(event(**fields)).method == ""


def test_what_is_missing_is_empty() -> None:
    request = web_request({})
    assert (request.path, request.headers, request.body, request.media_type) == ("", {}, b"", "")
    assert web_request(event(body=None, headers={"a": None})).headers == {"a": ""}


def test_a_lone_surrogate_is_no_error() -> None:
    assert web_request(event(body="a\ud800b")).body == b"a?b"


def test_an_answer_as_a_function_url_takes_it() -> None:
    answer = WebAnswer(status=404, headers={"Cache-Control": "no-store"}, body="\u00e9")
    assert answer.response() == {
        "statusCode": 404,
        "headers": {"Cache-Control": "no-store"},
        "body": "\u00e9",
        "isBase64Encoded": False,
    }


def test_a_request_shows_nothing_of_itself() -> None:
    request = web_request(event(rawPath="/r/secret-token", body="payload=secret-token"))
    assert "secret" not in f"{request!r} {request}"


@pytest.mark.parametrize("file", EVENTS, ids=lambda file: file.stem)
def test_every_stored_event_is_read(file: Any) -> None:
    request = web_request(json.loads(file.read_text(encoding="utf-8")))
    assert request.method in ("GET", "POST")
    assert request.path.startswith("/")
    assert request.source
