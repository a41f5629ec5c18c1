"""Counted calls of the real functions: to AWS, which is the stand-in, and to channels, which are the sink."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from guiderail.model.policy import Channel, ChannelKind
from guiderail_local.sink import Sink
from msgspec.structs import replace

from benchmarks import remediating
from benchmarks.delivering import RECEIVER, batches, deliver_all, policy_of
from benchmarks.functions_here import as_deployed
from benchmarks.report_files import no_violations_file, violations_file
from benchmarks.result import Result, counted
from benchmarks.stub_aws import ARN, StubAws, batch, job_event
from functions.on_due.app import handler as on_due
from functions.on_job_finished.app import handler as on_job_finished

CALLS_OF_A_DELIVERY = 5


def measure(quick: bool) -> Iterator[Result]:
    """Count the calls of single messages; the retraining plan says ``auto``.

    A function that has just started reads the policy, which is one call; a warm one asks again after
    a minute. Deliveries are those of a warm function, which has the channel's secret as well.
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
        yield _counted(f"AWS calls for {name}", stub.calls, target)
    with StubAws(violations_file(60)) as stub:
        handle(job_event(), stub.url)
        stub.calls.clear()
        handle(job_event(f"{ARN}-next"), stub.url, just_started=False)
        repeat = stub.calls.copy()
        stub.calls.clear()
        tell(datetime.now(UTC) + timedelta(minutes=1), stub.url)
    yield _counted("AWS calls for a repeat of a known incident, warm", repeat, 8)
    yield _counted("AWS calls for a message that the clock tells, policy read", stub.calls)
    yield from _of_deliveries()
    yield from remediating.measure()


def handle(event: dict[str, Any], url: str, *, just_started: bool = True) -> None:
    """Let the function handle one event in this process, by default as if it had just started.

    Raises:
        RuntimeError: It did not.
    """
    with as_deployed(url, just_started=just_started):
        answer = on_job_finished(batch(event), None)
    if answer["batchItemFailures"]:
        raise RuntimeError("the function did not handle its message")


def tell(now: datetime, url: str) -> None:
    """Let the clock's function tell what is due, as if it had just started."""
    with as_deployed(url):
        on_due({"time": now.isoformat()}, None)


def _of_deliveries() -> Iterator[Result]:
    with Sink() as sink:
        there = sink.channels(RECEIVER)
        slack, webhook = there[ChannelKind.SLACK], there[ChannelKind.WEBHOOK]
        email = Channel(
            kind=ChannelKind.EMAIL,
            name=f"{RECEIVER}/email",
            sender="guiderail@bank.example",
            to=("risk@bank.example",),
        )
        cases = [
            ("a delivery by webhook", webhook, CALLS_OF_A_DELIVERY),
            ("a delivery by email, with pictures", email, CALLS_OF_A_DELIVERY),
            ("a first message in Slack", replace(slack, pictures=False), CALLS_OF_A_DELIVERY),
            ("a first message in Slack, with a picture", slack, None),
        ]
        for name, channel, target in cases:
            policy = policy_of({channel.kind: channel})
            with StubAws(policy=policy, secrets=sink.secrets()) as stub, as_deployed(stub.url):
                # the first one reads policy and secret
                first, second = batches(2, channel, size=1)
                deliver_all([first])
                stub.calls.clear()
                sink.arrived.clear()
                deliver_all([second])
                asked = Counter(a.path.rpartition("/")[2][:24] for a in sink.arrived)
            yield _counted(f"calls for {name}, warm", stub.calls + asked, target)


def _counted(name: str, calls: Counter[str], target: int | None = None) -> Result:
    which = ", ".join(f"{n} {operation}" for operation, n in calls.items())
    return counted(name, calls.total(), "calls", target, which)
