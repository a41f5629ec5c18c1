"""Does one step of a re-ingestion; the state machine ``ReingestionMachine`` asks for it."""

from __future__ import annotations

from typing import Any

from guiderail.bootstrap import reingest


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Do the step; what it raises is tried again, or noted, by the state machine."""
    return reingest()(event, lambda: context.get_remaining_time_in_millis() / 1000)
