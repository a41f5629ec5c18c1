"""Tells people what is due by now, woken every minute by ``DueSchedule``."""

from __future__ import annotations

from typing import Any

from guiderail.bootstrap import due_changes
from guiderail.model.event import parse_clock_event


def handler(event: dict[str, Any], _context: object) -> dict[str, int]:
    """Tell what is due at the event's ``time``, or now if it names none; the answer is counts."""
    return due_changes()(parse_clock_event(event)).counts()
