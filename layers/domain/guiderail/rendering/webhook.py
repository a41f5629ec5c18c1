"""A notification for programs: versioned JSON, signed as Standard Webhooks (standardwebhooks.com) says.

What a receiver can rely on stands in docs/webhook.md; the shape is docs/webhook.schema.json.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from datetime import UTC, datetime
from typing import Any

import msgspec

from guiderail.errors import SettingsError
from guiderail.model.message import (
    Distribution,
    Facts,
    MessageKind,
    Notification,
    RemediationPart,
    Rendering,
    Row,
)

SCHEMA = "guiderail.notification/1"
"""Fields may come to it; if one goes or means something else, the number changes."""

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
KEY_PREFIX = "whsec_"


def render(notification: Notification, rendering: Rendering) -> bytes:
    """The body, in UTF-8, exactly as it is to be signed and sent."""
    n = notification
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "id": n.id,
        "kind": n.kind.value,
        "test": n.kind is MessageKind.TEST,
        "group": n.group,
        "episode": n.episode,
        "number": n.number,
        "route": n.route,
        "receiver": n.receiver,
        "made_at": n.made_at,
        "severity": n.severity.value,
        "reasons": [reason.value for reason in n.reasons],
        "title": n.title,
        "place": n.place,
        "why": n.why,
        "rows": [_row(row) for row in n.rows],
        "more_rows": n.more,
        "firing": n.firing,
        "over": n.over,
        "hidden": n.hidden,
        "runs": [{name: getattr(run, name) for name in run.__struct_fields__} for run in n.runs],
        "more_runs": n.more_runs,
        "owner": n.owner,
        "runbook": n.runbook,
        "labels": n.fingerprint,
        "distributions": [_distribution(d, rendering.show_values) for d in n.distributions],
        "listed": n.listed,
        "remediation": _remediation(n.remediation) if n.remediation else None,
        "replies": [
            {"action": reply.action.value, "label": reply.label, "url": reply.url}
            for reply in rendering.replies
        ],
        "note": rendering.note,
    }
    return msgspec.json.encode(document)


def headers(delivery: str, body: bytes, key: str, at: datetime) -> dict[str, str]:
    """The headers of one try, after Standard Webhooks 1.0.0: what it is, when it was signed, with what.

    Args:
        delivery: Id of the delivery, the same for every try: receivers drop what they have seen.
        body: What ``render`` made.
        key: Secret that the receiver shares: ``whsec_`` and Base64, or any other text.
        at: Time of this try.

    Raises:
        SettingsError: What follows ``whsec_`` is not Base64.
    """
    timestamp = str(int(at.astimezone(UTC).timestamp()))
    return {
        "content-type": "application/json",
        ID_HEADER: delivery,
        TIMESTAMP_HEADER: timestamp,
        SIGNATURE_HEADER: f"v1,{signature(delivery, timestamp, body, key)}",
    }


def signature(delivery: str, timestamp: str, body: bytes, key: str) -> str:
    """HMAC-SHA256 of ``<id>.<timestamp>.<body>`` in Base64. Raises SettingsError as ``headers`` does."""
    signed = f"{delivery}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(_key_bytes(key), signed, hashlib.sha256)).decode()


def _key_bytes(key: str) -> bytes:
    if not key.startswith(KEY_PREFIX):
        return key.encode()
    try:
        return base64.b64decode(key.removeprefix(KEY_PREFIX), validate=True)
    except ValueError:
        # no `from error`: it would carry the key into a log
        raise SettingsError(
            f"The webhook's key begins with {KEY_PREFIX}, but no Base64 follows",
            remedy="Put the key into the channel's secret as the receiver shows it",
        ) from None


def _row(row: Row) -> dict[str, Any]:
    return {
        "incident": row.incident,
        "name": row.name,
        "check": row.check,
        "severity": row.severity.value,
        "reason": row.reason.value,
        "state": row.state.value,
        "line": row.line,
        "news": row.news,
        "count": row.count,
        "endpoint": row.endpoint,
        "facts": _facts(row.facts) if row.facts else None,
    }


def _remediation(part: RemediationPart) -> dict[str, Any]:
    fields = {name: getattr(part, name) for name in part.__struct_fields__}
    return {
        **fields,
        "parameters": dict(part.parameters),
        "result": dict(part.result),
        "gates": [
            {"gate": a.gate.value, "passed": a.passed, "reason": a.reason.value, "text": a.text}
            for a in part.gates
        ],
    }


def _facts(facts: Facts) -> dict[str, Any]:
    fields = {name: getattr(facts, name) for name in facts.__struct_fields__}
    observed = facts.observed
    if observed is not None and math.isinf(observed):
        # JSON has no infinity: the number is null, and this says which
        fields["observed_text"] = "Infinity" if observed > 0 else "-Infinity"
    return fields


def _distribution(distribution: Distribution, show_values: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "feature": distribution.feature,
        "baseline": distribution.baseline,
        "current": distribution.current,
    }
    return {**shown, "labels": distribution.labels} if show_values else shown
