"""Damaged reports, descriptions and events: none may raise, hang, eat memory or be taken for clean.

Every file of every run that is here is damaged in ten ways: the demo's own runs, and the runs that the
samples make. After each damage the whole run is read again.

What counts as a failure:

- an exception that is not ours comes out, or a reading takes longer than ``MOST_SECONDS``;
- the process needs more than ``MOST_MEGABYTES`` more than at its start, or does not come back;
- a run with violations becomes clean, whichever of its files was damaged;
- any other run becomes clean though the damaged file no longer says so. A violations file says so if it
  decodes, strictly, to an object in which ``violations`` stands once and is an empty list; a statistics,
  constraints or analysis file if it decodes to an object that still has its features, metrics or
  explanations. (A changed digit inside a number is damage that nobody can see.) A failed, stopped
  or unreadable run does not become clean at all;
- what follows cannot be written, or a message's subject is not what SNS takes. The policy asks for
  thresholds of every check, so that findings are made from damaged numbers too.

    python -m benchmarks --only mutations
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from guiderail.errors import GuiderailError
from guiderail.model.event import parse_job_event
from guiderail.model.job import MonitoringSchedule, ProcessingJob, job_from, schedule_from
from guiderail.model.outcome import Outcome
from guiderail.model.run import Reading
from guiderail.rendering.wording import SUBJECT_LIMIT
from guiderail.reports.run_files import (
    ANALYSIS,
    CONSTRAINTS,
    STATISTICS,
    Files,
    ParsedRun,
    parse_run,
)
from guiderail.services.identify import ruled_out, ruled_out_by_event
from guiderail.services.reading import read_outcome

from benchmarks.parsing import JUDGES_EVERYTHING, decide
from benchmarks.result import Result, counted
from tests.e2e.sample_runs import build, samples_folder

ROOT = Path(__file__).resolve().parent.parent
MOST_SECONDS = 2.0
MOST_MEGABYTES = 512
HUNG_AFTER = 30
"""Seconds after which a mutant is given up from outside; no reader looks at the clock itself."""

_EVENT = "event.json"
_JOB = "job.json"
_SCHEDULE = "schedule.json"
_BY_NUMBERS = {Outcome.TOO_FEW_ROWS, Outcome.DEGENERATE, Outcome.NO_DATA}
_MINIMUM_ROWS = 30


@dataclass(frozen=True)
class RunFolder:
    """A run's files by their place in its folder, and how it reads undamaged."""

    name: str
    files: Mapping[str, bytes]

    def readings(self) -> list[Reading]:
        """How the run reads: with the job's description, and from its files alone, as `inspect` may."""
        job, schedule = _described(self.files)
        parsed = self.parsed()
        return [
            read_outcome(parsed, job, schedule, _MINIMUM_ROWS),
            read_outcome(parsed, None, None, _MINIMUM_ROWS),
        ]

    def parsed(self) -> ParsedRun:
        """What its files hold."""
        parts: dict[str, dict[str, bytes]] = {"report": {}, "baseline": {}}
        for place, content in self.files.items():
            folder, slash, name = place.partition("/")
            if slash:
                parts[folder][name] = content
        return parse_run(Files(parts["report"]), Files(parts["baseline"]))


@dataclass
class Examined:
    """What came of a number of mutants."""

    mutants: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    megabytes: float = 0.0
    failures: list[str] = field(default_factory=list)


def measure(quick: bool, count: int = 100_000) -> Iterator[Result]:
    """Examine mutants in processes of their own, one for each core."""
    if samples_folder() is None:
        print("no sample reports: set GUIDERAIL_SAMPLES; damaging our own only", file=sys.stderr)
    began = time.monotonic()
    cores = os.cpu_count() or 1
    share = (2_000 if quick else count) // cores
    started = [_start(share, seed) for seed in range(cores)]
    ended = [_end(process) for process in started]
    total = sum(examined.mutants for examined in ended)
    failures = [failure for examined in ended for failure in examined.failures]
    note = (
        f"{time.monotonic() - began:.0f} s on {cores} cores; {sum(e.refused for e in ended)} refused as damaged, "
        f"slowest {max(e.slowest for e in ended) * 1000:.0f} ms, "
        f"memory grew by {max(e.megabytes for e in ended):.0f} MB"
    )
    if failures:
        note += f"; first: {failures[0]}"
    yield counted(f"mutants misread, of {total:,}", len(failures), "mutants", 0, note)


def examine_apart(count: int, seed: int) -> Examined:
    """Examine mutants in another process, with limits on memory and time."""
    return _end(_start(count, seed))


def examine(count: int, seed: int) -> Examined:
    """Examine mutants; each is made from its own number, so one alone can be made again."""
    runs = list(run_folders())
    targets = [(run, place) for run in runs for place in run.files]
    undamaged = {run.name: run.readings() for run in runs}
    examined = Examined()
    memory = _peak_megabytes()
    began = time.perf_counter()
    for number in range(count):
        generator = random.Random(f"{seed}:{number}")
        run, place = generator.choice(targets)
        kind, damaged = mutate(run.files[place], generator)
        faulthandler.dump_traceback_later(HUNG_AFTER, exit=True)
        started = time.perf_counter()
        refused, failure = _failure(run, place, damaged, undamaged[run.name])
        took = time.perf_counter() - started
        if failure is None and took > MOST_SECONDS:
            failure = f"took {took:.1f} s"
        if failure:
            examined.failures.append(f"{seed}:{number} {run.name}/{place} {kind}: {failure}")
        examined.refused += refused
        examined.slowest = max(examined.slowest, took)
    faulthandler.cancel_dump_traceback_later()
    examined.mutants = count
    examined.seconds = time.perf_counter() - began
    examined.megabytes = _peak_megabytes() - memory
    return examined


def run_folders() -> Iterator[RunFolder]:
    """Yield the demo's runs, the events of `sam local invoke`, and the runs that the samples make."""
    for folder in sorted((ROOT / "local" / "guiderail_local" / "runs").iterdir()):
        yield _loaded(folder)
    for event in sorted((ROOT / "events" / "on_job_finished").glob("*.json")):
        yield RunFolder(f"events-{event.stem}", {_EVENT: event.read_bytes()})
    samples = samples_folder()
    if samples is not None:
        with tempfile.TemporaryDirectory() as made:
            yield from [_loaded(folder) for folder in build(samples, Path(made))]


def _loaded(folder: Path) -> RunFolder:
    paths = [p for p in sorted(folder.rglob("*.json")) if p.name != "manifest.json"]
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}
    if _EVENT not in files:
        files[_EVENT] = json.dumps(
            {
                "source": "aws.sagemaker",
                "detail-type": "SageMaker Processing Job State Change",
                "detail": json.loads(files[_JOB]),
            }
        ).encode()
    return RunFolder(folder.name, files)


# --- the oracle


def _failure(
    run: RunFolder, place: str, damaged: bytes, undamaged: list[Reading]
) -> tuple[bool, str | None]:
    """Whether the mutant was refused as damaged, and what went wrong with it."""
    try:
        if place == _EVENT:
            event = parse_job_event(damaged)
            ruled_out_by_event(event.job)
            return False, None
        mutant = RunFolder(run.name, {**run.files, place: damaged})
        readings = mutant.readings()
        job, schedule = _described(mutant.files)
        followed, messages = decide(
            mutant.parsed(), policy=JUDGES_EVERYTHING, job=job, schedule=schedule
        )
        msgspec.msgpack.encode(followed)
    except GuiderailError:
        return True, None
    except BaseException as exc:
        return False, f"raised {type(exc).__name__}: {str(exc)[:200]}"
    for before, after in zip(undamaged, readings, strict=True):
        if after.outcome is Outcome.CLEAN and not may_be_clean(before.outcome, place, damaged):
            return False, f"{before.outcome} became clean"
    for message in messages:
        subject = message.subject
        if not (subject.isascii() and subject.isprintable() and len(subject) <= SUBJECT_LIMIT):
            return False, f"subject {subject!r}"
    return any(reading.outcome is Outcome.UNREADABLE for reading in readings), None


def may_be_clean(before: Outcome, place: str, damaged: bytes) -> bool:
    """Whether a run may be clean after the file at ``place`` became ``damaged``."""
    if before is not Outcome.CLEAN and before not in _BY_NUMBERS:
        return False
    folder, _, name = place.rpartition("/")
    if folder != "report":
        return before is Outcome.CLEAN
    try:
        # the pairs of a repeated key are kept, unlike in the readers under test; any number is one
        text = damaged.decode("utf-8-sig")
        pairs = json.loads(text, object_pairs_hook=_Pairs, parse_int=float)
    except (ValueError, RecursionError):
        return False
    if not isinstance(pairs, _Pairs):
        return False
    if "violations" in name:
        return [value for key, value in pairs if key == "violations"] == [[]]
    holds = {STATISTICS: "_metrics", CONSTRAINTS: "_constraints", ANALYSIS: "_bias_metrics"}[name]
    return any(
        value is not None and (key in ("features", "explanations") or key.endswith(holds))
        for key, value in pairs
    )


class _Pairs(list[tuple[str, Any]]):
    """An object's pairs, told from a list."""


def _described(
    files: Mapping[str, bytes],
) -> tuple[ProcessingJob | None, MonitoringSchedule | None]:
    job = job_from(_answer(files[_JOB])) if _JOB in files else None
    schedule = schedule_from(_answer(files[_SCHEDULE])) if _SCHEDULE in files else None
    if job is not None:
        ruled_out(job)
    return job, schedule


def _answer(content: bytes) -> dict[str, Any]:
    """What botocore makes of an answer: a JSON object, whatever is in it."""
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise GuiderailError("no answer of AWS") from exc
    if not isinstance(answer, dict):
        raise GuiderailError("no answer of AWS")
    return answer


# --- the damage

_KEY = re.compile(rb'"[^"\\]{1,80}"(?=\s*:)')
_NUMBER = re.compile(rb"(?<![\w.\"-])-?\d[\d.eE+-]*")
_BLOWN_UP = [b"1e999", b"-1e400", b"1e-999", b"9" * 30, b"9" * 5_000, b"0.", b"00", b"--1"]
_BLOWN_UP += [b"NaN", b"-Infinity", b"0x1f", b"1_000", b"1" + b"0" * 400 + b".5", b'"12"', b"true"]
_SWAPS: list[Any] = [None, True, 0, -1.5, 1e300, "", "x", "NaN", [], {}, [[]], [None], [{}]]
_SWAPS += [{"violations": []}, {"": 0}, "\u2028\x00", "𝟙"]
_DEPTHS = (50, 1_000, 60_000)


def mutate(content: bytes, generator: random.Random) -> tuple[str, bytes]:
    """Damage a file in one way, one time in four in two; returns the way's name and the outcome."""
    ways = [generator.choice(_WAYS)]
    if generator.random() < 0.25:
        ways.append(generator.choice(_WAYS))
    damaged = content
    for way in ways:
        damaged = way(damaged, generator)
    return "+".join(way.__name__.strip("_") for way in ways), damaged


def _bit_flips(content: bytes, generator: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(generator.choice((1, 1, 2, 8)) if damaged else 0):
        damaged[generator.randrange(len(damaged))] ^= 1 << generator.randrange(8)
    return bytes(damaged)


def _truncation(content: bytes, generator: random.Random) -> bytes:
    at = generator.randrange(len(content) + 1)
    return content[:at] if generator.random() < 0.8 else content[at:]


def _deletion(content: bytes, generator: random.Random) -> bytes:
    at, to = _span(content, generator)
    return content[:at] + content[to:]


def _insertion(content: bytes, generator: random.Random) -> bytes:
    at, _ = _span(content, generator)
    rubbish = generator.choice(
        [
            generator.randbytes(generator.randint(1, 12)),
            b"\x00",
            b"\xff",
            b"\xef\xbb\xbf",
            b'"',
            b"\\",
        ]
        + [b"{", b"}", b"[", b"]", b",", b":", b"null", b"\n", b"/*", b"\xed\xa0\x80", b"\\ud800"]
    )
    return content[:at] + rubbish + content[at:]


def _duplication(content: bytes, generator: random.Random) -> bytes:
    at, to = _span(content, generator)
    times = generator.choice((1, 1, 2, 200))
    where, _ = _span(content, generator) if generator.random() < 0.5 else (at, to)
    return content[:where] + content[at:to] * times + content[where:]


def _blown_up_number(content: bytes, generator: random.Random) -> bytes:
    return _in_place_of(_NUMBER, content, generator, generator.choice(_BLOWN_UP))


def _renamed_key(content: bytes, generator: random.Random) -> bytes:
    found = list(_KEY.finditer(content))
    if not found:
        return content
    key = generator.choice(found)
    name = key[0][1:-1]
    other = generator.choice(
        [name.upper(), name[:-1], name + b"_", b"", name[::-1], b"violations", b"__class__"]
        + [name[:-1] + f"\\u{name[-1]:04x}".encode(), generator.choice(found)[0][1:-1]]
    )
    return content[: key.start()] + b'"' + other + b'"' + content[key.end() :]


def _repeated_key(content: bytes, generator: random.Random) -> bytes:
    """Put a key in again, in front of itself or at the end, with another value."""
    found = list(_KEY.finditer(content))
    if not found:
        return content
    key = generator.choice(found)
    value = generator.choice([b"[]", b"{}", b"null", b"0", b'""', b"[{}]"])
    if generator.random() < 0.5:
        return content[: key.start()] + key[0] + b":" + value + b"," + content[key.start() :]
    end = content.rfind(b"}")
    return content[:end] + b"," + key[0] + b":" + value + content[end:]


def _swapped_type(content: bytes, generator: random.Random) -> bytes:
    """Replace one value, at any depth, by one of another type."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return content
    places: list[tuple[Any, Any]] = []
    waiting: list[Any] = [document] if isinstance(document, dict | list) else []
    while waiting and len(places) < 5_000:
        holder = waiting.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        for key in keys:
            places.append((holder, key))
            waiting += [holder[key]] if isinstance(holder[key], dict | list) else []
    if not places:
        return b"7"
    holder, key = generator.choice(places)
    others = [value for value in _SWAPS if type(value) is not type(holder[key])]
    if key == "violations":
        # an empty list in their place is no damage but another report
        others = [value for value in others if value != []]
    holder[key] = generator.choice(others)
    return json.dumps(document).encode()


def _deep_nesting(content: bytes, generator: random.Random) -> bytes:
    depth = generator.choice(_DEPTHS)
    opened, closed = generator.choice([(b"[", b"]"), (b'{"a":', b"}")])
    nested = opened * depth
    if generator.random() < 0.7:
        nested += (b"0" if opened == b'{"a":' else b"") + closed * depth
    if generator.random() < 0.3:
        return nested
    return _in_place_of(_NUMBER, content, generator, nested)


def _other_encoding(content: bytes, generator: random.Random) -> bytes:
    text = content.decode("utf-8", "replace")
    encoding = generator.choice(["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "cp037"])
    return text.encode(encoding, "replace")


_WAYS: list[Callable[[bytes, random.Random], bytes]] = [
    _bit_flips,
    _bit_flips,
    _truncation,
    _deletion,
    _insertion,
    _duplication,
    _blown_up_number,
    _renamed_key,
    _repeated_key,
    _swapped_type,
    _swapped_type,
    _deep_nesting,
    _other_encoding,
]


def _span(content: bytes, generator: random.Random) -> tuple[int, int]:
    at = generator.randrange(len(content) + 1)
    longest = generator.choice((1, 4, 40, 400))
    return at, min(len(content), at + generator.randint(1, longest))


def _in_place_of(
    pattern: re.Pattern[bytes], content: bytes, generator: random.Random, other: bytes
) -> bytes:
    found = list(pattern.finditer(content))
    if not found:
        at = generator.randrange(len(content) + 1)
        return content[:at] + other + content[at:]
    chosen = generator.choice(found)
    return content[: chosen.start()] + other + content[chosen.end() :]


# --- processes


def _start(count: int, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.mutations", "--count", str(count)]
    command += ["--seed", str(seed)]
    paths = [ROOT, *(ROOT / part for part in ("layers/domain", "cli", "local"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _end(process: subprocess.Popen[str]) -> Examined:
    said, complaint = process.communicate()
    if process.returncode != 0:
        # a watchdog that fired, a memory limit below Python's own needs, or a crash
        return Examined(failures=[f"the process ended by itself: {complaint.strip()[-800:]}"])
    return Examined(**json.loads(said))


def _peak_megabytes() -> float:
    # getrusage would count what the process that started this one held
    status = Path("/proc/self/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(peak[1]) / 1024 if peak else 0.0


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MOST_MEGABYTES * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> int:
    """Examine mutants in this process and print what came of it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutations")
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    _limit_memory()
    print(json.dumps(asdict(examine(options.count, options.seed))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
