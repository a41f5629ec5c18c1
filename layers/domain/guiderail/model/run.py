"""A run: one monitoring execution, and what was read of it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from guiderail.model.finding import Finding
from guiderail.model.outcome import MonitorKind, Outcome, Reason


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Identity of one monitoring execution; times are those of the data window and of the job's end."""

    key: str
    job_name: str
    job_arn: str
    status: str
    endpoint: str
    schedule: str
    report_uri: str
    window_start: str = ""
    window_end: str = ""
    ended_at: datetime | None = None
    is_probe: bool = False

    @property
    def account(self) -> str:
        """Account of the job, from its ARN."""
        return self.job_arn.split(":")[4]

    @property
    def place(self) -> str:
        """What people call the place where it happened."""
        return self.endpoint or self.schedule or self.job_name

    @property
    def region(self) -> str:
        """Region of the job, from its ARN: the event's envelope has been seen to disagree."""
        return self.job_arn.split(":")[3]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a run's files say: outcome with its reasons and evidence, and the findings.

    ``rows`` is the number of rows analysed, None where no file says it. ``evidence`` holds one
    sentence per reason that needs one.
    """

    outcome: Outcome
    monitor: MonitorKind
    reasons: tuple[Reason, ...]
    findings: tuple[Finding, ...] = ()
    rows: int | None = None
    evidence: tuple[str, ...] = ()
