"""Counted AWS calls of the real functions against the stand-in."""

from __future__ import annotations

import contextlib
import io
import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

from guiderail import bootstrap
from guiderail.adapters import clients

from benchmarks.report_files import no_violations_file, violations_file
from benchmarks.result import Result, counted
from benchmarks.stub_aws import ARN, POLICY_BUCKET, TABLE, StubAws, batch, job_event
from functions.on_due.app import handler as on_due
from functions.on_job_finished.app import handler as on_job_finished

PIPELINE = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/retrain-loan-risk"


def measure(quick: bool) -> Iterator[Result]:
    """Count the calls of single messages; the retraining plan says ``auto``.

    A function that has just started reads the policy, which is one call; a warm one asks again after
    a minute.
    """
    automl = job_event(AutoMLJobArn=ARN.replace("processing-job", "automl-job"))
    drifted = violations_file(60, complete=True)
    cases: list[tuple[str, dict[str, Any], bytes, int]] = [
        ("a job that its event rules out", automl, violations_file(60), 0),
        ("a clean run, policy read", job_event(), no_violations_file(), 7),
        ("violations, retraining blocked, policy read", job_event(), violations_file(60), 10),
        ("violations, pipeline started, policy read", job_event(), drifted, 10),
    ]
    for name, event, violations, target in cases:
        with StubAws(violations) as stub:
            handle(event, stub.url)
        yield _counted(name, stub.calls, target)
    with StubAws(violations_file(60)) as stub:
        handle(job_event(), stub.url)
        stub.calls.clear()
        handle(job_event(f"{ARN}-next"), stub.url, just_started=False)
        repeat = stub.calls.copy()
        stub.calls.clear()
        tell(datetime.now(UTC) + timedelta(minutes=1), stub.url)
    yield _counted("a repeat of a known incident, warm", repeat, 8)
    yield _counted("a message that the clock tells, policy read", stub.calls)


def _counted(name: str, calls: Counter[str], target: int | None = None) -> Result:
    which = ", ".join(f"{n} {operation}" for operation, n in calls.items())
    return counted(f"AWS calls for {name}", calls.total(), "calls", target, which)


def handle(event: dict[str, Any], url: str, *, just_started: bool = True) -> None:
    """Let the function handle one event in this process, by default as if it had just started.

    Raises:
        RuntimeError: It did not.
    """
    with _as_deployed(url, just_started):
        answer = on_job_finished(batch(event), None)
    if answer["batchItemFailures"]:
        raise RuntimeError("the function did not handle its message")


def tell(now: datetime, url: str) -> None:
    """Let the clock's function tell what is due, as if it had just started."""
    with _as_deployed(url, just_started=True):
        on_due({"time": now.isoformat()}, None)


@contextlib.contextmanager
def _as_deployed(url: str, just_started: bool) -> Iterator[None]:
    # what they print are metrics and log lines
    with (
        mock.patch.dict(os.environ, environment(url)),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        if just_started:
            for cached in (
                clients.client,
                clients._session,
                bootstrap.job_finished,
                bootstrap.due_changes,
            ):
                cached.cache_clear()
        yield


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
        "GUIDERAIL_TABLE": TABLE,
        "GUIDERAIL_POLICY_BUCKET": POLICY_BUCKET,
        "GUIDERAIL_ALERT_STATE_MACHINE": "arn:aws:states:us-east-1:123456789012:stateMachine:alerts",
        "GUIDERAIL_DEAD_LETTER_QUEUE": f"{url}/123456789012/dead",
        "GUIDERAIL_RETRAINING_PLAN": "*=auto",
        "GUIDERAIL_RETRAINING_PIPELINES": PIPELINE,
    }
