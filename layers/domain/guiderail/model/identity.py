"""Identities, derived from what they are about: making one again gives the same."""

from __future__ import annotations

import hashlib


def digest(text: str, length: int = 64) -> str:
    """The first hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def notification_id(about: str) -> str:
    """A notification's id."""
    return f"notification-{digest(about, 40)}"
