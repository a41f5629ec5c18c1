"""What the parts of the local SageMaker have in common."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from moto.core.exceptions import JsonRESTError

Event = dict[str, Any]
"""An EventBridge event with its envelope, as the service sends it."""

Operations = Mapping[str, Callable[[Any], Any]]
"""Methods in place of moto's own, by moto's name; each is called with moto's request."""

# Members whose type is a timestamp; on the wire they are epoch seconds.
_TIMES = frozenset(
    {
        "CreationTime",
        "LastModifiedTime",
        "ProcessingStartTime",
        "ProcessingEndTime",
        "ScheduledTime",
    }
)


@dataclass
class Shared:
    """One lock, one clock and one way to tell for all parts.

    Attributes:
        now: The clock; what is made or ends carries its time.
        tell: Takes each event; nobody does until somebody wants them.
    """

    lock: threading.RLock = field(default_factory=threading.RLock)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    tell: Callable[[Event], None] = lambda _: None


def event(detail_type: str, resources: list[str], detail: Mapping[str, Any], at: datetime) -> Event:
    """Wrap a detail as EventBridge does; account and region are those of the first resource."""
    _, _, _, region, account, _ = resources[0].split(":", 5)
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": detail_type,
        "source": "aws.sagemaker",
        "account": account,
        "time": text_of(at),
        "region": region,
        "resources": resources,
        "detail": dict(detail),
    }


def text_of(moment: datetime) -> str:
    """A time as events spell it."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def refused(code: str, message: str) -> JsonRESTError:
    """An answer that refuses a call."""
    return JsonRESTError(code, message)


def not_found(message: str) -> JsonRESTError:
    """The answer where nothing is."""
    return refused("ResourceNotFound", message)


def on_the_wire(described: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a description as a client shows it into what the service sends.

    Times become epoch seconds; ``ResponseMetadata`` is the client's own addition.
    """
    return {
        name: _wire(name, value) for name, value in described.items() if name != "ResponseMetadata"
    }


def _wire(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {inner: _wire(inner, member) for inner, member in value.items()}
    if name in _TIMES and isinstance(value, str):
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return value
