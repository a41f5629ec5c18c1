"""An alert: what people read and what the bus carries, made once per run."""

from __future__ import annotations

from typing import Any

import msgspec

SUBJECT_LIMIT = 99
"""SNS takes fewer than 100 ASCII characters, no line break (API reference of Publish)."""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert; ``alert_id`` is derived from the run and its outcome, so making it again is the same.

    Attributes:
        detail_type: ``IncidentOpened`` for findings, ``RunUnhealthy`` for an unhealthy outcome.
        attributes: Filterable by subscribers: outcome, endpoint, monitor.
        detail: The event's detail, JSON values only.
    """

    alert_id: str
    subject: str
    message: str
    detail_type: str
    attributes: dict[str, str]
    detail: dict[str, Any]
