"""Answers what people reply to a message, at a Lambda Function URL."""

from __future__ import annotations

from typing import Any

from guiderail.bootstrap import on_reply
from guiderail.model.web import web_request


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer one web request: a link's page, its form, or a button in Slack."""
    return on_reply()(web_request(event)).response()
