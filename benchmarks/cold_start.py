"""Cold starts on the Lambda runtime interface emulator, no Docker.

What is compared is the time from sending the first request to its answer: init and first invocation
together. (The emulator's REPORT line names a wrong init duration, and its cold Duration holds the init; the
true one stands in the line ``INIT REPORT(durationMs: …)``.) Functions are started in turn, round by
round, each in a process of its own.

ours
    `on_job_finished` with its layers as `make build` makes them for this machine's processor. The first
    message is a run with violations: the whole path runs against a stand-in for AWS on loopback.
deliver
    Its first message goes over the webhook channel to the sink: policy, secret and outbox are read from the
    stand-in, the message is claimed, rendered, signed, sent and kept.
on_reply
    Answers GET of a link with its confirmation page; the token is read from the stand-in.
bare
    Creates the same boto3 clients, answers, and asks AWS nothing. Built the same way: with bytecode.
usual
    Powertools' logger, metrics, tracer, idempotency, batch and event models, pydantic models, the same
    eager clients; asks AWS nothing. Its packages have no bytecode, as plain `sam build` ships them, and
    Python may write none, as in Lambda. The X-Ray SDK brings botocore into them, where Python finds it
    before the runtime's; measured a second time without that, to its advantage.
sagemaker, evidently
    Import the package and answer. With bytecode, which is more than they get in practice.

The runtime's own boto3 has bytecode everywhere.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import repeat
from pathlib import Path
from typing import Any

from guiderail import bootstrap
from guiderail.model.delivery import ReplyToken, token_digest
from guiderail.model.message import ReplyAction
from guiderail.model.policy import Channel, ChannelKind
from guiderail.settings import settings_from
from guiderail_local.sink import Sink

from benchmarks import environments, shipped
from benchmarks.delivering import RECEIVER, batches, outgoing, policy_of, refs_of
from benchmarks.functions_here import as_deployed, environment
from benchmarks.result import Result, not_measured, of_pairs
from benchmarks.stub_aws import ARN, StubAws, batch, job_event

COMPARATORS = Path(__file__).parent / "comparators"
LINK_PAGE = shipped.ROOT / "events" / "on_reply" / "link_page.json"
HEAVY = ("sagemaker", "evidently")
HEAVY_ROUNDS = 3
"""They have no target, and one start of them takes seconds."""

_INIT = re.compile(r"INIT REPORT\(durationMs: ([\d.]+)")
_INVOKE = "/2015-03-31/functions/function/invocations"


@dataclass(frozen=True)
class Function:
    """A function to start cold: interpreter, module, where it imports from, and its first requests.

    ``requests`` has one for each start; ``is_answered`` says whether an answer is as it should be.
    """

    name: str
    python: Path
    module: str
    path: tuple[Path, ...]
    requests: Iterator[Mapping[str, object]]
    rounds: int
    is_answered: Callable[[Any], bool] = lambda answer: answer == {"batchItemFailures": []}


@dataclass(frozen=True)
class Start:
    """One cold start, in milliseconds."""

    init: float
    first_answer: float


def measure(quick: bool) -> Iterator[Result]:
    """Start every function cold, round by round."""
    rounds = 3 if quick else 15
    with (
        tempfile.TemporaryDirectory() as folder,
        Sink() as sink,
        StubAws(policy=policy_of(sink.channels(RECEIVER)), secrets=sink.secrets()) as stub,
    ):
        emulator = environments.emulator()
        functions, missing = _functions(Path(folder), rounds, with_heavy=not quick)
        with as_deployed(stub.url):
            functions += _of_delivery(Path(folder), rounds, sink.channels(RECEIVER))
        starts: dict[str, list[Start]] = {f.name: [] for f in functions}
        # the first round warms the disk's cache and is not counted
        for number in range(rounds + 1):
            turn = number % len(functions)
            for function in (*functions[turn:], *functions[:turn]):
                if number <= function.rounds:
                    start = start_cold(emulator, function, stub.url)
                    if number:
                        starts[function.name].append(start)
        taken = len(sink.taken(ChannelKind.WEBHOOK))
        if taken != rounds + 1:
            raise RuntimeError(f"{taken} of {rounds + 1} messages of deliver arrived")
    yield from _results(starts)
    for name, why in missing.items():
        yield not_measured(f"cold start, ours / {name}", why)


def start_cold(emulator: Path, function: Function, stub: str) -> Start:
    """Start a function in a new process and send it its first request.

    Raises:
        RuntimeError: It did not answer, or named a message that failed; holds the end of its log.
    """
    port, api = _free_ports()
    command = [emulator, "--log-level", "info"]
    command += ["--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
    command += ["--runtime-api-address", f"127.0.0.1:{api}"]
    command += [function.python, "-m", "awslambdaric", f"{function.module}.handler"]
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(function, stub) | {"HOME": home},
            cwd=function.path[0],
            start_new_session=True,
        )
        answer: object = None
        try:
            _wait_for(port)
            body = json.dumps(next(function.requests)).encode()
            request = urllib.request.Request(f"http://127.0.0.1:{port}{_INVOKE}", data=body)
            began = time.perf_counter()
            with urllib.request.urlopen(request, timeout=120) as response:
                content = response.read()
            took = (time.perf_counter() - began) * 1000
            answer = json.loads(content)
        except OSError as exc:
            answer = exc
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.seek(0)
        text = log.read().decode(errors="replace")
    init = _INIT.search(text)
    if init is None or not function.is_answered(answer):
        raise RuntimeError(f"{function.name} answered {answer}:\n{text[-3000:]}")
    return Start(float(init[1]), took)


def _functions(
    folder: Path, rounds: int, *, with_heavy: bool
) -> tuple[list[Function], dict[str, str]]:
    python = environments.python_with("runtime")
    ours = tuple(shipped.unpacked(shipped.runnable(), folder / "ours"))
    plain = tuple(shipped.unpacked(shipped.runnable(), folder / "plain"))
    for cache in [c for place in plain for c in place.rglob("__pycache__")]:
        shutil.rmtree(cache)
    compiled = _compiled_comparators(python, folder / "compiled")
    sources = folder / "sources"
    shutil.copytree(COMPARATORS, sources, ignore=shutil.ignore_patterns("__pycache__"))
    own, also = environments.packages_without_bytecode("usual")
    run = repeat(batch(job_event()))
    ignored = repeat(batch(job_event(AutoMLJobArn=ARN.replace("processing-job", "automl-job"))))
    functions = [
        Function("ours", python, "app", ours, run, rounds),
        Function("bare", python, "bare", (compiled,), run, rounds),
        Function("usual", python, "usual", (sources, own, also), run, rounds),
        Function("usual, runtime's botocore", python, "usual", (sources, own), run, rounds),
        Function("ours, job ruled out", python, "app", ours, ignored, rounds),
        Function("ours, no bytecode", python, "app", plain, run, rounds),
    ]
    missing = {}
    for name in HEAVY if with_heavy else ():
        try:
            heavy = environments.python_with(name, module=name)
        except environments.EnvironmentMissingError as error:
            missing[name] = str(error)
        else:
            module = f"imports_{name}"
            functions.append(Function(name, heavy, module, (compiled,), run, HEAVY_ROUNDS))
    return functions, missing


def _of_delivery(
    folder: Path, rounds: int, channels: Mapping[ChannelKind, Channel]
) -> list[Function]:
    """The functions of delivery; what they are asked for is kept in the stand-in."""
    python = environments.python_with("runtime")
    built = shipped.runnable()
    deliver = tuple(shipped.unpacked(built, folder / "deliver", "Deliver"))
    on_reply = tuple(shipped.unpacked(built, folder / "on_reply", "OnReply"))
    messages = batches(rounds + 1, channels[ChannelKind.WEBHOOK], size=1)
    page = repeat(link_page())
    return [
        Function("deliver", python, "app", deliver, iter(messages), rounds),
        Function("on_reply", python, "app", on_reply, page, rounds, _is_page),
    ]


def link_page() -> dict[str, Any]:
    """The request for a link's page; its token is kept in the stand-in."""
    request: dict[str, Any] = json.loads(LINK_PAGE.read_text())
    now = datetime.now(UTC)
    (sent,) = outgoing(1, Channel(kind=ChannelKind.EMAIL, name="team/email"), now)
    token = ReplyToken(
        digest=token_digest(request["rawPath"].rpartition("/")[2]),
        action=ReplyAction.ACKNOWLEDGE,
        incidents=tuple(row.incident for row in sent.notification.rows),
        labels=sent.notification.fingerprint,
        group=sent.notification.group,
        notification=sent.notification.id,
        channel="team/email",
        title=sent.notification.title,
        expires_at=now + timedelta(days=7),
    )
    (delivery,), (ref,) = sent.deliveries, refs_of(sent)
    bootstrap.build_deliveries(settings_from()).claim(delivery, delivery, ref, [token])
    return request


def _is_page(answer: Any) -> bool:
    return (
        isinstance(answer, dict) and answer.get("statusCode") == 200 and "<form" in answer["body"]
    )


def _compiled_comparators(python: Path, target: Path) -> Path:
    shutil.copytree(COMPARATORS, target, ignore=shutil.ignore_patterns("__pycache__"))
    compile_all = [python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    subprocess.run([str(part) for part in (*compile_all, target)], check=True)
    return target


def _results(starts: Mapping[str, list[Start]]) -> Iterator[Result]:
    def ratio(name: str, ours: str, theirs: str, target: float | None = None) -> Result:
        a, b = starts[ours], starts[theirs]
        pairs = [(x.first_answer, y.first_answer) for x, y in zip(a, b, strict=False)]
        return of_pairs(name, pairs, target, f"{_typical(a)} / {_typical(b)}")

    yield ratio("cold start, ours / bare", "ours", "bare", 1.25)
    yield ratio("cold start, deliver / bare", "deliver", "bare", 1.5)
    yield ratio("cold start, on_reply / bare", "on_reply", "bare", 1.5)
    yield ratio("cold start, ours / usual as built", "ours", "usual", 0.45)
    yield ratio(
        "cold start, ours / usual with the runtime's botocore", "ours", "usual, runtime's botocore"
    )
    for name in HEAVY:
        if name in starts:
            yield ratio(f"cold start, ours / {name}", "ours", name)
    yield ratio("cold start, job ruled out by its event / bare", "ours, job ruled out", "bare")
    yield ratio("cold start, ours / ours without bytecode", "ours", "ours, no bytecode")


def _typical(starts: list[Start]) -> str:
    answered = statistics.median(s.first_answer for s in starts)
    return f"{answered:.0f} ms, init {statistics.median(s.init for s in starts):.0f}"


def _environment(function: Function, stub: str) -> dict[str, str]:
    return environment(stub) | {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(map(str, function.path)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_LAMBDA_FUNCTION_NAME": function.name.partition(",")[0],
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "60",
        "AWS_XRAY_CONTEXT_MISSING": "IGNORE_ERROR",
        "GUIDERAIL_RETRAINING_PLAN": "*=suggest",
        "LAMBDA_TASK_ROOT": str(function.path[0]),
        # neither package may call home
        "DO_NOT_TRACK": "1",
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
    }


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1]), int(other.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(500):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise RuntimeError("the runtime emulator did not start")
