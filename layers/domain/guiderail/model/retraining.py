"""Whether a run's findings start a retraining pipeline, and the operator's plan for it."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from guiderail.model.outcome import Reason


class RetrainingMode(StrEnum):
    """How far Guiderail goes by itself."""

    OFF = "off"
    SUGGEST = "suggest"
    AUTO = "auto"


class RetrainingRule(msgspec.Struct, frozen=True):
    """One line of the plan: endpoints by glob, their mode, and a pipeline other than the default."""

    endpoints: str
    mode: RetrainingMode
    pipeline: str = ""


class RetrainingDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What was decided about retraining, and why.

    ``token`` makes starting idempotent; ``execution_arn`` is set once the pipeline was started.
    """

    reason: Reason
    pipeline_arn: str = ""
    token: str = ""
    parameters: dict[str, str] = {}
    execution_arn: str = ""
    note: str = ""

    @property
    def pipeline_name(self) -> str:
        """The pipeline's name, from its ARN."""
        return self.pipeline_arn.rpartition("/")[2]
