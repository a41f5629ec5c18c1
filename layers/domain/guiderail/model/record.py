"""What is kept of a run."""

from __future__ import annotations

from datetime import datetime

import msgspec

from guiderail.model.judgement import Judgement
from guiderail.model.retraining import RetrainingDecision
from guiderail.model.run import Reading, Run


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A run, its reading, what the policy made of it, and what was done about it."""

    run: Run
    reading: Reading
    retraining: RetrainingDecision
    ledger: str
    judgements: tuple[Judgement, ...]
    policy_version: str
    recorded_at: datetime
