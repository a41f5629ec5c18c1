"""Wakes remediations whose action ended, from the queue ``ActionsQueue``."""

from __future__ import annotations

from typing import Any

from guiderail.bootstrap import action_finished
from guiderail.message_batch import failed_messages


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Handle a batch of messages; those that must come again are named in the answer."""
    return failed_messages(event, action_finished())
