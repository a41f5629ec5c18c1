"""What a policy makes of a finding."""

from __future__ import annotations

from datetime import datetime

import msgspec

from guiderail.model.finding import Finding
from guiderail.model.incident import SetBy
from guiderail.model.outcome import Direction, Reason
from guiderail.model.policy import RunsNeeded, Severity


class Effective(msgspec.Struct, frozen=True, kw_only=True):
    """The values that hold for one finding, with every layer applied."""

    severity: Severity
    threshold: float | None = None
    direction: Direction | None = None
    minimum_rows: int = 0
    runs_needed: RunsNeeded = RunsNeeded()
    owner: str = ""
    route: str = ""
    runbook: str = ""
    labels: dict[str, str] = {}
    mute_until: datetime | None = None
    shadow: bool = False
    remediation: str = ""


class Resolved(msgspec.Struct, frozen=True):
    """Effective values, and which line of the policy set each of them."""

    values: Effective
    set_by: dict[str, SetBy]


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A finding under the policy.

    ``finding`` carries the effective threshold, direction and distance; ``service_threshold`` is the
    report's own. ``reason`` says what becomes of it: ``counts`` goes on to N of M and the incident,
    anything else says why it does not. ``is_derived`` marks a finding that the service did not report.
    """

    finding: Finding
    reason: Reason
    effective: Effective
    set_by: dict[str, SetBy] = {}
    service_threshold: float | None = None
    is_derived: bool = False
    feature_group: str = ""

    @property
    def counts(self) -> bool:
        """Whether the finding takes part in its incident."""
        return self.reason is Reason.COUNTS
