"""Counted AWS calls of the real function against the stand-in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

from guiderail import bootstrap
from guiderail.adapters import clients

from benchmarks.result import Result, counted
from benchmarks.stub_aws import ARN, StubAws, batch, job_event
from functions.on_job_finished.app import handler

PIPELINE = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/retrain-loan-risk"


def measure(quick: bool) -> Iterator[Result]:
    """Count the calls of three messages; the retraining plan says ``auto``."""
    automl = ARN.replace("processing-job", "automl-job")
    cases: list[tuple[str, dict[str, Any], bool, int]] = [
        ("a job that its event rules out", job_event(AutoMLJobArn=automl), True, 0),
        ("a clean run", job_event(), False, 6),
        ("a run with violations", job_event(), True, 10),
    ]
    for name, event, violations, target in cases:
        with (
            StubAws(violations=violations) as stub,
            mock.patch.dict(os.environ, environment(stub.url)),
        ):
            for cached in (clients.client, clients._session, bootstrap.job_finished):
                cached.cache_clear()
            answer = handler(batch(event), None)
            if answer["batchItemFailures"]:
                raise RuntimeError(f"the function did not handle {name}")
            which = ", ".join(f"{n} {operation}" for operation, n in stub.calls.items())
        yield counted(f"AWS calls for {name}", stub.calls.total(), "calls", target, which)


def environment(url: str) -> dict[str, str]:
    """The function's environment, pointed at the stand-in."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_EC2_METADATA_DISABLED": "true",
        "POWERTOOLS_SERVICE_NAME": "guiderail",
        "POWERTOOLS_METRICS_NAMESPACE": "Guiderail",
        "POWERTOOLS_LOG_LEVEL": "CRITICAL",
        "GUIDERAIL_TABLE": "runs",
        "GUIDERAIL_ALERT_STATE_MACHINE": "arn:aws:states:us-east-1:123456789012:stateMachine:alerts",
        "GUIDERAIL_DEAD_LETTER_QUEUE": f"{url}/123456789012/dead",
        "GUIDERAIL_RETRAINING_PLAN": "*=auto",
        "GUIDERAIL_RETRAINING_PIPELINES": PIPELINE,
    }
