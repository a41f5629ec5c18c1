"""Counted AWS calls of the real function against the stand-in."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import Any
from unittest import mock

from guiderail import bootstrap
from guiderail.adapters import clients

from benchmarks.report_files import no_violations_file, violations_file
from benchmarks.result import Result, counted
from benchmarks.stub_aws import ARN, StubAws, batch, job_event
from functions.on_job_finished.app import handler

PIPELINE = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/retrain-loan-risk"


def measure(quick: bool) -> Iterator[Result]:
    """Count the calls of four messages; the retraining plan says ``auto``."""
    automl = job_event(AutoMLJobArn=ARN.replace("processing-job", "automl-job"))
    drifted = violations_file(60, complete=True)
    cases: list[tuple[str, dict[str, Any], bytes, int]] = [
        ("a job that its event rules out", automl, violations_file(60), 0),
        ("a clean run", job_event(), no_violations_file(), 6),
        ("a run with violations, retraining blocked", job_event(), violations_file(60), 10),
        ("a run with violations, pipeline started", job_event(), drifted, 10),
    ]
    for name, event, violations, target in cases:
        with StubAws(violations) as stub:
            handle(event, stub.url)
        which = ", ".join(f"{n} {operation}" for operation, n in stub.calls.items())
        yield counted(f"AWS calls for {name}", stub.calls.total(), "calls", target, which)


def handle(event: dict[str, Any], url: str) -> None:
    """Let the function handle one event in this process, as if it had just started.

    Raises:
        RuntimeError: It did not.
    """
    # what it prints are its metrics and its log
    with (
        mock.patch.dict(os.environ, environment(url)),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        for cached in (clients.client, clients._session, bootstrap.job_finished):
            cached.cache_clear()
        answer = handler(batch(event), None)
    if answer["batchItemFailures"]:
        raise RuntimeError("the function did not handle its message")


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
