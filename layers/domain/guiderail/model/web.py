"""A web request as a Lambda Function URL hands it on, and the answer to it.

Shapes: "Invoking Lambda function URLs" in the AWS Lambda developer guide, payload format 2.0.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

import msgspec


class WebRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody asked; everything in it is a stranger's word but ``source``.

    Attributes:
        path: As it came, not decoded.
        headers: By lower-case name.
        body: None where it was said to be base64 and is not.
        source: IP address that it came from, as AWS saw it.
    """

    method: str
    path: str
    headers: Mapping[str, str] = {}
    body: bytes | None = b""
    source: str = ""

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def __repr__(self) -> str:
        """Without path and body: both may hold a token."""
        return f"WebRequest({self.method})"


class WebAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What is answered."""

    status: int
    headers: Mapping[str, str]
    body: str = ""

    def response(self) -> dict[str, Any]:
        """The answer as a Lambda Function URL takes it."""
        return {
            "statusCode": self.status,
            "headers": dict(self.headers),
            "body": self.body,
            "isBase64Encoded": False,
        }


def web_request(event: Mapping[str, Any]) -> WebRequest:
    """Read a Function URL's event; what is missing or of another type is empty, never an error."""
    http = _mapping(_mapping(event.get("requestContext")).get("http"))
    headers = _mapping(event.get("headers"))
    return WebRequest(
        method=_text(http.get("method")),
        path=_text(event.get("rawPath")),
        headers={str(name).lower(): _text(value) for name, value in headers.items()},
        body=_body(_text(event.get("body")), event.get("isBase64Encoded") is True),
        source=_text(http.get("sourceIp")),
    )


def _body(text: str, encoded: bool) -> bytes | None:
    if not encoded:
        # a lone surrogate is no text that can be sent
        return text.encode(errors="replace")
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
