"""The real functions in this process, pointed at the stand-in for AWS."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from unittest import mock

from guiderail import bootstrap
from guiderail.adapters import clients, secrets

from benchmarks.stub_aws import ACCOUNT, POLICY_BUCKET, TABLE

PIPELINE = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:pipeline/retrain-loan-risk"


def environment(url: str) -> dict[str, str]:
    """The functions' environment, pointed at the stand-in."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_EC2_METADATA_DISABLED": "true",
        "POWERTOOLS_SERVICE_NAME": "guiderail",
        "POWERTOOLS_METRICS_NAMESPACE": "Guiderail",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "GUIDERAIL_TABLE": TABLE,
        "GUIDERAIL_POLICY_BUCKET": POLICY_BUCKET,
        "GUIDERAIL_DEAD_LETTER_QUEUE": f"{url}/{ACCOUNT}/dead",
        "GUIDERAIL_DELIVERIES_QUEUE": f"{url}/{ACCOUNT}/deliveries",
        "GUIDERAIL_DELIVERIES_DEAD_LETTER_QUEUE": f"{url}/{ACCOUNT}/dead-deliveries",
        "GUIDERAIL_ACTIONS_DEAD_LETTER_QUEUE": f"{url}/{ACCOUNT}/dead-actions",
        "GUIDERAIL_REMEDIATION_MACHINE": f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:remediation",
        "GUIDERAIL_TOPIC": f"arn:aws:sns:us-east-1:{ACCOUNT}:alerts",
        "GUIDERAIL_BUS": "guiderail",
        "GUIDERAIL_REPLY_URL": "https://replies.lambda-url.us-east-1.on.aws/",
        "GUIDERAIL_DRAW_FUNCTION": "draw-pictures",
        "GUIDERAIL_RETRAINING_PLAN": "*=auto",
        "GUIDERAIL_RETRAINING_PIPELINES": PIPELINE,
    }


class _Nowhere(io.TextIOBase):
    """Takes metrics and log lines, which cost what they cost, and keeps nothing."""

    def write(self, text: str, /) -> int:
        return len(text)


_CACHED = (
    bootstrap.job_finished,
    bootstrap.due_changes,
    bootstrap.deliver,
    bootstrap.remediate,
    bootstrap.action_finished,
)
_NOWHERE = _Nowhere()
"""One for all: Powertools' logger keeps the first standard output that it sees."""


@contextlib.contextmanager
def as_deployed(url: str, *, just_started: bool = True) -> Iterator[None]:
    """Let this process be a function whose AWS is the stand-in at ``url``."""
    with mock.patch.dict(os.environ, environment(url)), contextlib.redirect_stdout(_NOWHERE):
        if just_started:
            clients.forget()
            secrets.forget()
            for cached in _CACHED:
                cached.cache_clear()
        yield
