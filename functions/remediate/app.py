"""Takes the steps of a remediation, called by the state machine ``RemediationMachine``."""

from __future__ import annotations

from typing import Any

from guiderail.bootstrap import remediate


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take one step; the answer says what is next, and for how long a wait may last."""
    return remediate()(event)
