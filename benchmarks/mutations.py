"""Damaged reports: mutations of real ones, and none of them clean.

For each mutant: no exception comes out of the readers, it does not hang, memory stays bounded, and it is
never taken for clean when it is damaged. A mutant of a run *with* violations must not be clean at all. A
mutant of a *clean* run may be clean only if what it decodes to still says so: an empty list ``violations``
and nothing else under that name, and for Clarify an analysis that still has metrics.
"""

from __future__ import annotations

import json
import os
import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from guiderail.errors import GuiderailError
from guiderail.model.event import parse_job_event
from guiderail.model.outcome import Outcome
from guiderail.reports.run_files import Files, parse_run
from guiderail.services.reading import read_outcome

from benchmarks.result import Result, counted

SAMPLES = Path(
    os.environ.get("GUIDERAIL_SAMPLES", Path(__file__).parents[2] / "shared" / "samples")
)
MOST_SECONDS = 2.0
"""One mutant may take this long; the largest sample takes a millisecond."""


def measure(quick: bool, count: int = 100_000) -> Iterator[Result]:
    """Read mutants of every sample, and of events."""
    if not SAMPLES.is_dir():
        raise RuntimeError(f"no samples at {SAMPLES}: set GUIDERAIL_SAMPLES")
    began = time.monotonic()
    memory = _peak_megabytes()
    wrong = list(failures(1_000 if quick else count))
    seconds = time.monotonic() - began
    note = f"{seconds:.0f} s, memory grew by {_peak_megabytes() - memory:.0f} MB"
    if wrong:
        note += f"; first: {wrong[0]}"
    yield counted(
        f"mutants misread, of {1_000 if quick else count}", len(wrong), "mutants", 0, note
    )


def failures(count: int, seed: int = 7) -> Iterator[str]:
    """Yield what went wrong with any of ``count`` mutants."""
    generator = random.Random(seed)
    runs = list(sample_runs())
    events = sorted((SAMPLES / "events").rglob("*.json"))
    for number in range(count):
        if number % 20 == 0 and events:
            source = generator.choice(events)
            wrong = _event_failure(mutated(source.read_bytes(), generator))
        else:
            source, name, content = generator.choice(runs)
            wrong = _run_failure(name, content, mutated(content, generator))
        if wrong:
            yield f"mutant {number} of {source.name}: {wrong}"


def sample_runs() -> Iterator[tuple[Path, str, bytes]]:
    """Yield (source, file name in the run, content) of every sample that is a report file."""
    places = {
        "violations/extracted/*.json": "constraint_violations.json",
        "data_quality/*violations.json": "constraint_violations.json",
        "byoc/*.json": "constraints_violations.json",
        "clarify_analysis/**/*.json": "analysis.json",
        "data_quality/*statistics.json": "statistics.json",
        "model_quality/**/*statistics.json": "statistics.json",
        "data_quality/*constraints.json": "constraints.json",
        "model_quality/*constraints.json": "constraints.json",
    }
    for pattern, name in places.items():
        for path in sorted(SAMPLES.glob(pattern)):
            yield path, name, path.read_bytes()


def mutated(content: bytes, generator: random.Random) -> bytes:
    """Damage a file in one to three ways."""
    damaged = bytearray(content)
    for _ in range(generator.randint(1, 3)):
        at = generator.randrange(len(damaged) + 1)
        to = min(len(damaged), at + generator.randint(1, 60))
        match generator.randrange(10):
            case 0:
                damaged = damaged[:at]
            case 1 if damaged:
                damaged[at % len(damaged)] ^= 1 << generator.randrange(8)
            case 2:
                del damaged[at:to]
            case 3:
                damaged[at:at] = damaged[at:to]
            case 4:
                damaged[at:at] = generator.randbytes(generator.randint(1, 8))
            case 5:
                damaged[at:at] = generator.choice(
                    [b"[" * 5000, b'{"a":' * 5000, b"9" * 400, b"1e999", b"NaN"]
                )
            case 6:
                damaged = damaged.replace(
                    b'"violations"', generator.choice([b'"violation"', b'"Violations"', b'""'])
                )
            case 7:
                damaged = damaged.replace(b"[", generator.choice([b"{", b"null", b'"[']), 1)
            case 8:
                damaged = damaged.replace(
                    b":", generator.choice([b": -", b": null", b": []", b"="]), 1
                )
            case _:
                damaged = damaged + damaged[at:to]
    return bytes(damaged)


def _run_failure(name: str, original: bytes, damaged: bytes) -> str | None:
    # an empty list of violations beside it is all that a damaged companion needs to look clean
    companions = (
        {}
        if name.endswith("violations.json")
        else {"constraint_violations.json": b'{"violations": []}'}
    )
    if name == "analysis.json":
        companions = {}
    began = time.monotonic()
    try:
        reading = read_outcome(parse_run(Files({name: damaged, **companions})), None, None, 0)
    except BaseException as exc:
        return f"raised {exc!r}"
    if time.monotonic() - began > MOST_SECONDS:
        return "took too long"
    if reading.outcome is Outcome.CLEAN and not _says_clean(name, original, damaged):
        return "is clean"
    return None


def _says_clean(name: str, original: bytes, damaged: bytes) -> bool:
    """Whether a mutant still says of itself what a clean run's file says."""
    try:
        # with every pair of a repeated key kept, unlike the readers under test
        document = json.loads(damaged.decode("utf-8-sig"), object_pairs_hook=_pairs)
    except (ValueError, RecursionError):
        return False
    if not isinstance(document, list):
        return False
    keys = dict(document)
    if name.endswith("violations.json"):
        return [value for key, value in document if key == "violations"] == [[]]
    if name == "statistics.json":
        return bool({"features"} & keys.keys() or any(k.endswith("_metrics") for k in keys))
    if name == "constraints.json":
        return bool({"features"} & keys.keys() or any(k.endswith("_constraints") for k in keys))
    return bool(
        {"explanations", "pre_training_bias_metrics", "post_training_bias_metrics"} & keys.keys()
    )


def _pairs(pairs: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return pairs


def _event_failure(damaged: bytes) -> str | None:
    try:
        parse_job_event(damaged)
    except GuiderailError:
        return None
    except BaseException as exc:
        return f"event raised {exc!r}"
    return None


def _peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
