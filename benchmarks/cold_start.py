"""Cold starts on the Lambda runtime interface emulator, no Docker.

The emulator's own REPORT line names a wrong init duration (its cold Duration holds the init); the true one
stands in the line ``INIT REPORT(durationMs: …)``. What is compared is the time from the first request to
its answer: init and first invocation together. Functions are run in turn, round by round.

- ours: `on_job_finished` with its layers as built for this machine's processor, bytecode included. The first
  message is a run with violations; the whole path runs against a stand-in for AWS on loopback.
- bare: creates the same boto3 clients and answers. It asks AWS nothing. Bytecode included.
- usual: Powertools' logger, metrics, tracer, idempotency, batch and models, eager clients, its packages without
  bytecode and on a file system that cannot be written, as plain `sam build` ships them.
- sagemaker, evidently: import the package and answer. With bytecode, which is more than they get in practice.

boto3 belongs to the runtime and has bytecode everywhere.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.calls import environment
from benchmarks.result import Result, of_pairs
from benchmarks.stub_aws import ARN, StubAws, batch, job_event

ROOT = Path(__file__).parent.parent
BUILD = ROOT / ".aws-sam" / "local"
KEPT = ROOT / ".local" / "benchmarks"
COMPARATORS = Path(__file__).parent / "comparators"
RUNTIME = ["boto3==1.43.108", "awslambdaric==4.2.2"]
USUAL = ["aws-lambda-powertools[tracer,parser]==3.37.0", "jmespath"]
HEAVY = {"sagemaker": ["sagemaker==2.257.7"], "evidently": ["evidently==0.7.23"]}
_INIT = re.compile(r"INIT REPORT\(durationMs: ([\d.]+)")


@dataclass(frozen=True)
class Function:
    """A function to start cold: its module, where it imports from, and its first request."""

    name: str
    module: str
    path: tuple[Path, ...]
    request: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """One cold start, in milliseconds."""

    init: float
    first_answer: float


def measure(quick: bool) -> Iterator[Result]:
    """Start every function cold, round by round."""
    parts = [
        BUILD / "OnJobFinished",
        *(BUILD / f"{n}Layer" / "python" for n in ("Domain", "Dependencies")),
    ]
    if not all(part.is_dir() for part in parts):
        raise RuntimeError("nothing is built for this machine: run `make build` first")
    python = _runtime()
    emulator = _emulator()
    usual = _packages("usual", USUAL, compiled=False)
    shutil.copytree(COMPARATORS, KEPT / "comparators", dirs_exist_ok=True)
    compiled = KEPT / "comparators"
    subprocess.run(
        [python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", compiled],
        check=True,
    )
    run = batch(job_event())
    ruled_out = batch(job_event(AutoMLJobArn=ARN.replace("processing-job", "automl-job")))
    functions = [
        Function("ours", "app", tuple(parts), run),
        Function("ours, ruled out", "app", tuple(parts), ruled_out),
        Function("bare", "bare", (compiled,)),
        Function("usual", "usual", (COMPARATORS, usual), {"Records": run["Records"]}),
    ]
    notes = []
    for name, requirements in {} if quick else HEAVY.items():
        try:
            folder = _packages(name, requirements, compiled=True)
        except subprocess.CalledProcessError as exc:
            notes.append(f"{name} could not be installed: {exc}")
        else:
            functions.append(Function(name, f"imports_{name}", (compiled, folder)))
    starts: dict[str, list[Start]] = {f.name: [] for f in functions}
    with StubAws() as stub:
        # the first round warms the disk's cache and is not counted
        for number in range((3 if quick else 9) + 1):
            for function in functions:
                if function.name in HEAVY and number > 3:
                    continue
                start = _start(emulator, python, function, stub.url)
                if number:
                    starts[function.name].append(start)
    yield from _results(starts)
    for note in notes:
        print(note, file=sys.stderr)


def _results(starts: Mapping[str, list[Start]]) -> Iterator[Result]:
    ours = starts["ours"]
    targets = {"bare": 1.25, "usual": 0.45}
    for name in [n for n in starts if n not in ("ours", "ours, ruled out")]:
        pairs = [(a.first_answer, b.first_answer) for a, b in zip(ours, starts[name], strict=False)]
        millis = f"{_median(ours):.0f} ms / {_median(starts[name]):.0f} ms"
        yield of_pairs(f"cold start, ours / {name}", pairs, targets.get(name), millis)
    ignored = starts["ours, ruled out"]
    pairs = [(a.first_answer, b.first_answer) for a, b in zip(ignored, starts["bare"], strict=True)]
    yield of_pairs(
        "cold start, ours with a ruled out job / bare", pairs, None, f"{_median(ignored):.0f} ms"
    )
    pairs = [(a.init, b.init) for a, b in zip(ours, starts["bare"], strict=True)]
    yield of_pairs("init alone, ours / bare", pairs, None, "bare creates its clients at init")


def _median(starts: list[Start]) -> float:
    return sorted(s.first_answer for s in starts)[len(starts) // 2]


def _start(emulator: Path, python: Path, function: Function, stub: str) -> Start:
    port, api = _free_port(), _free_port()
    env = environment(stub) | {
        "PATH": "/usr/bin:/bin",
        "HOME": tempfile.gettempdir(),
        "PYTHONPATH": os.pathsep.join(map(str, function.path)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "60",
        "AWS_XRAY_CONTEXT_MISSING": "IGNORE_ERROR",
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
        "LAMBDA_TASK_ROOT": str(function.path[0]),
    }
    addresses = ["--runtime-interface-emulator-address", f"127.0.0.1:{port}"]
    addresses += ["--runtime-api-address", f"127.0.0.1:{api}"]
    command = [emulator, "--log-level", "info", *addresses, python, "-m", "awslambdaric"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*map(str, command), f"{function.module}.handler"],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )
        try:
            _wait_for(port)
            url = f"http://127.0.0.1:{port}/2015-03-31/functions/function/invocations"
            request = urllib.request.Request(url, data=json.dumps(function.request).encode())
            began = time.perf_counter()
            with urllib.request.urlopen(request, timeout=120) as response:
                answer = json.loads(response.read())
            took = (time.perf_counter() - began) * 1000
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.seek(0)
        text = log.read().decode(errors="replace")
    init = _INIT.search(text)
    if answer != {"batchItemFailures": []} or init is None:
        raise RuntimeError(f"{function.name} answered {answer}:\n{text[-3000:]}")
    return Start(float(init[1]), took)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("the runtime emulator did not start")


def _runtime() -> Path:
    """An environment like the runtime's: CPython 3.13, boto3 and the runtime client, with bytecode."""
    venv = KEPT / "runtime"
    python = venv / "bin" / "python"
    if not python.exists():
        _uv("venv", "-q", "--python", _python_313(), str(venv))
        _uv("pip", "install", "-q", "--python", str(python), "--compile-bytecode", *RUNTIME)
    return python


def _packages(name: str, requirements: list[str], *, compiled: bool) -> Path:
    folder = KEPT / name
    if not folder.exists():
        making = KEPT / f"{name}.making"
        shutil.rmtree(making, ignore_errors=True)
        flags = ["--compile-bytecode"] if compiled else []
        interpreter = str(_runtime())
        _uv(
            "pip",
            "install",
            "-q",
            "--python",
            interpreter,
            *flags,
            "--target",
            str(making),
            *requirements,
        )
        making.rename(folder)
    return folder


def _emulator() -> Path:
    """The emulator's binary, which comes inside aws-sam-cli."""
    sam = ["tool", "run", "-q", "--from", "aws-sam-cli==1.170.0"]
    where = "import samcli; print(samcli.__path__[0])"
    found = subprocess.run(
        [_found("uv"), *sam, "python", "-c", where], check=True, capture_output=True, text=True
    )
    source = Path(found.stdout.strip(), "local", "rapid", "aws-lambda-rie-x86_64")
    emulator = KEPT / source.name
    shutil.copyfile(source, emulator)
    emulator.chmod(0o755)
    return emulator


def _python_313() -> str:
    from_pyenv = sorted(Path.home().glob(".pyenv/versions/3.13*/bin/python3.13"))
    found = shutil.which("python3.13", path=os.defpath + os.pathsep + os.environ["PATH"])
    if not from_pyenv and not found:
        raise RuntimeError("no CPython 3.13 on PATH or under pyenv")
    return str(from_pyenv[-1]) if from_pyenv else str(found)


def _uv(*arguments: str) -> None:
    KEPT.mkdir(parents=True, exist_ok=True)
    subprocess.run([_found("uv"), *arguments], check=True)


def _found(command: str) -> str:
    beside = Path(sys.executable).parent / command
    found = shutil.which(command) or (str(beside) if beside.exists() else None)
    if found is None:
        raise RuntimeError(f"{command} is not there: `make bench` puts it on PATH")
    return found
