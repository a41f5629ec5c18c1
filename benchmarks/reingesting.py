"""Re-ingestion against the SageMaker SDK's own ingestion, and against what the feature store itself takes.

All write to the same stand-in, which answers PutRecord after 8 ms and BatchWriteRecord after 12 ms and 0.4 ms
for each entry. Each is a process of its own, in an environment of its own with the same Python, and has both
processors. The rates are the stand-in's: records taken, from the first request to the last answer. So what an
SDK needs to make its processes and clients is left out, which is to its advantage.

ours
    `guiderail.services.reingesting`: one process that reads the records from a Parquet file, checks them
    against the group's schema and writes batches of 25.
version 2, version 3
    `FeatureGroup.ingest`, which knows PutRecord only, and `ingest_dataframe` with BatchWriteRecord, both with
    8 threads in each of 2 processes, the best of the settings tried. Their records are in memory already.
the stand-in
    The same batch, made beforehand, over as many connections as ours had requests at once.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import environments
from benchmarks.result import Result, not_measured, of_pairs
from benchmarks.stub_feature_store import (
    FEATURES,
    GROUP,
    Stub,
    Taken,
    ask_as_fast_as_it_answers,
    serving,
)

COMPARATOR = Path(__file__).parent / "comparators" / "ingests_sagemaker.py"
SDKS = {
    "version 2": ("sagemaker", "sagemaker", 0.066),
    "version 3": ("sagemaker_v3", "sagemaker", 0.125),
}
"""Environment, a module that it must have, and the target: our time for a record by theirs, so 15 times as many
records per second as version 2 writes, and 8 times as many as version 3."""

RECORDS = {"ours": 200_000, "version 2": 10_000, "version 3": 20_000}
"""So many that each writes for some ten seconds."""

CEILING_SECONDS = 3.0
OF_THE_CEILING = 1.42
"""The target against the stand-in's own: 0.7 of the records that it could take."""

MEMORY = (100_000, 1_000_000)
QUICK_MEMORY = (100_000, 200_000)
MEMORY_TARGET = 1.15

_TELEMETRY_OFF = """SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
"""


@dataclass(frozen=True)
class Ingestion:
    """One ingestion: what the stand-in took, and what the process says of itself."""

    taken: Taken
    said: Mapping[str, Any]

    @property
    def rate(self) -> float:
        """Records per second."""
        return self.taken.records / self.taken.seconds


def measure(quick: bool) -> Iterator[Result]:
    """Ingest by each in turn, round by round; then a lot, for the memory."""
    rounds = 1 if quick else 3
    counts = {name: count // 5 if quick else count for name, count in RECORDS.items()}
    with tempfile.TemporaryDirectory() as folder, serving() as stub:
        bench = _Bench(Path(folder), stub)
        sdks, missing = bench.sdks()
        done: dict[str, list[Ingestion]] = {name: [] for name in ("ours", *sdks)}
        ceilings: list[float] = []
        for number in range(rounds):
            turn = number % len(done)
            for name in (*list(done)[turn:], *list(done)[:turn]):
                count = counts[name]
                one = bench.ours(count) if name == "ours" else bench.sdk(sdks[name], count)
                done[name].append(_whole(name, one, count))
            at_once = done["ours"][-1].taken.at_once
            ceilings.append(ask_as_fast_as_it_answers(stub.url, at_once, CEILING_SECONDS))
            stub.taken()
        yield from _of_speed(done, ceilings)
        for name, why in missing.items():
            yield not_measured(f"re-ingestion, ours / {name} of the SDK", why)
        yield from bench.memory(QUICK_MEMORY if quick else MEMORY)


class _Bench:
    """Processes that ingest, pointed at a stand-in; files of records are kept in a folder."""

    def __init__(self, folder: Path, stub: Stub) -> None:
        self._folder = folder
        self._stub = stub
        self._python = environments.python_with("columns", "pyarrow")
        settings = folder / "sagemaker.yaml"
        settings.write_text(_TELEMETRY_OFF)
        self._environment = {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "AWS_ENDPOINT_URL": stub.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_EC2_METADATA_DISABLED": "true",
            # neither SDK may call home
            "SAGEMAKER_USER_CONFIG_OVERRIDE": str(settings),
            "DO_NOT_TRACK": "1",
            "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
        }

    @staticmethod
    def sdks() -> tuple[dict[str, Path], dict[str, str]]:
        """The Python of each SDK; or why there is none."""
        pythons: dict[str, Path] = {}
        missing: dict[str, str] = {}
        for name, (environment, module, _) in SDKS.items():
            try:
                pythons[name] = environments.python_with(environment, module)
            except environments.EnvironmentMissingError as exc:
                missing[name] = str(exc)
        return pythons, missing

    def ours(self, count: int, kind: str = "parquet") -> Ingestion:
        """Ingest a file of so many records."""
        file = self._folder / f"{count}.{kind}"
        if not file.exists():
            self._run(self._python, "-m", "benchmarks.ingesting_here", "make", file, count)
        self._stub.taken()
        said = self._run(self._python, "-m", "benchmarks.ingesting_here", "ingest", file, GROUP)
        return Ingestion(self._stub.taken(), json.loads(said))

    def sdk(self, python: Path, count: int) -> Ingestion:
        """Ingest so many rows by the SDK of an environment."""
        self._stub.taken()
        said = self._run(python, COMPARATOR, count, GROUP)
        return Ingestion(self._stub.taken(), json.loads(said.splitlines()[-1]))

    def memory(self, counts: Sequence[int]) -> Iterator[Result]:
        """Peak memory of ours with many records by that with few, for each format."""
        few, many = counts
        for kind in ("parquet", "csv", "jsonl"):
            pair = []
            for count in counts:
                one = _whole("ours", self.ours(count, kind), count)
                pair.append((one.said["peak_mb"], one.rate))
            (small, _), (large, rate) = pair
            yield of_pairs(
                f"re-ingestion, memory for {many:,} records / for {few:,}, {kind}",
                [(large, small)],
                MEMORY_TARGET,
                f"{large:.0f} MB / {small:.0f} MB, {rate:,.0f} records/s",
            )

    def _run(self, python: Path, *arguments: object) -> str:
        paths = (environments.ROOT, environments.ROOT / "layers" / "domain")
        done = subprocess.run(
            [str(python), *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            env={**self._environment, "PYTHONPATH": os.pathsep.join(map(str, paths))},
            cwd=self._folder,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{arguments[0]} failed: {done.stderr.strip()[-2000:]}")
        return done.stdout


def _whole(name: str, one: Ingestion, count: int) -> Ingestion:
    """See that all records arrived with all of their features; an SDK may lose some, and says so or not.

    Raises:
        RuntimeError: Ours did not write everything, or somebody sent less than a whole record.
    """
    taken = one.taken
    if taken.values != taken.records * FEATURES:
        raise RuntimeError(f"{name} sent {taken.values:,} values in {taken.records:,} records")
    if name == "ours" and taken.records != count:
        raise RuntimeError(f"{taken.records:,} of {count:,} records arrived")
    if taken.records != count:
        print(
            f"{name} lost {count - taken.records:,} of {count:,} records,"
            f" and says that {one.said['failed']:,} failed",
            file=sys.stderr,
        )
    return one


def _of_speed(
    done: Mapping[str, Sequence[Ingestion]], ceilings: Sequence[float]
) -> Iterator[Result]:
    ours = done["ours"]
    used = statistics.median(one.said["cpu_seconds"] / one.taken.records for one in ours)
    for name, theirs in done.items():
        if name != "ours":
            yield of_pairs(
                f"re-ingestion, time for a record, ours / {name} of the SDK",
                [(b.rate, a.rate) for a, b in zip(ours, theirs, strict=True)],
                SDKS[name][2],
                f"{_typical(ours)} / {_typical(theirs)} records/s",
            )
    at_once = max(one.taken.at_once for one in ours)
    yield of_pairs(
        f"re-ingestion, time for a record, ours / the feature store's own, {at_once} requests at once",
        [(b, a.rate) for a, b in zip(ours, ceilings, strict=True)],
        OF_THE_CEILING,
        f"{_typical(ours)} / {statistics.median(ceilings):,.0f} records/s,"
        f" {used * 1e6:.0f} µs of the processor for each",
    )


def _typical(done: Sequence[Ingestion]) -> str:
    return f"{statistics.median(one.rate for one in done):,.0f}"
