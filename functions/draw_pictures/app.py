"""Draws the pictures of a message; ``Deliver`` asks for them, and no other function needs the libraries."""

from __future__ import annotations

from typing import Any

from guiderail.services.drawing import answer


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Draw what the event holds; the answer names each picture, says it in words and carries it."""
    return answer(event)
