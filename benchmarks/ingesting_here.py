"""Ours in a process of its own, as `benchmarks.reingesting` starts it.

    python -m benchmarks.ingesting_here make FILE RECORDS
    python -m benchmarks.ingesting_here ingest FILE GROUP

The file's name says its format. What is printed is JSON: seconds of the processor and the most memory used.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet
from guiderail.adapters.feature_store import FeatureStoreRuntime, SageMakerFeatureGroups
from guiderail.adapters.record_files import RecordFiles
from guiderail.errors import NotFoundError
from guiderail.model.ingestion import ObjectTask, Progress
from guiderail.services.reingest_planning import SourceObject
from guiderail.services.reingesting import Reingest

CONNECTIONS = 32

_ROWS = 50_000
"""Of a row group, and of what is in memory while a file is made."""

_NO_LIMIT = 1e9
_ENOUGH_SECONDS = 3600.0
_FIRST_SECOND = 1_795_000_000.0


def make(file: Path, count: int) -> None:
    """Write a file of records, a part at a time."""
    parts = (_records(first, min(_ROWS, count - first)) for first in range(0, count, _ROWS))
    if file.suffix == ".jsonl":
        with file.open("w") as lines:
            for part in parts:
                lines.writelines(f"{json.dumps(row)}\n" for row in part.to_pylist())
        return
    writer = {
        ".parquet": pyarrow.parquet.ParquetWriter,
        ".csv": pyarrow.csv.CSVWriter,
    }[file.suffix]
    with writer(str(file), _records(0, 1).schema) as target:
        for part in parts:
            target.write_table(part)


def _records(first: int, count: int) -> pa.Table:
    numbers = {
        f"feature_{number:02}": pc.multiply(pc.random(count, initializer=first + number), 1000.0)
        for number in range(20)
    }
    return pa.table(
        {
            "loan_id": [f"loan-{number:08}" for number in range(first, first + count)],
            "event_time": [_FIRST_SECOND + number for number in range(first, first + count)],
            **numbers,
        }
    )


class _Kept:
    """What a re-ingestion keeps in S3, here in memory: checkpoints; rejects would be a failure."""

    def __init__(self) -> None:
        self._content: dict[str, bytes] = {}

    def read(self, uri: str) -> bytes:
        if uri not in self._content:
            raise NotFoundError(uri)
        return self._content[uri]

    def write(self, uri: str, content: bytes) -> None:
        self._content[uri] = content

    def objects(self, uri: str) -> Iterator[SourceObject]:
        raise AssertionError(f"nobody retries {uri}")


def ingest(file: Path, group: str) -> Progress:
    """Ingest a file by the core that the functions use.

    Raises:
        RuntimeError: Some records were not written.
    """
    core = Reingest(
        groups=SageMakerFeatureGroups(),
        records=RecordFiles(),
        store=FeatureStoreRuntime(connections=CONNECTIONS),
        kept=_Kept(),
        clock=time.monotonic,
        sleep=time.sleep,
        jitter=random.random,
        connections=CONNECTIONS,
    )
    task = ObjectTask(
        uri=f"s3://loans/{file.name}",
        size=file.stat().st_size,
        etag="as-it-was-made",
        feature_group=group,
        rate=_NO_LIMIT,
        checkpoint="s3://kept/checkpoint.json",
        rejects="s3://kept/rejects",
        path=str(file),
    )
    progress = core.ingest(task, lambda: _ENOUGH_SECONDS)
    if not progress.done or progress.rejected or progress.passed_over or progress.one_by_one:
        raise RuntimeError(f"not everything was written by batches: {progress}")
    return progress


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["make", file, count]:
            make(Path(file), int(count))
        case ["ingest", file, group]:
            began = time.process_time()
            ingest(Path(file), group)
            print(
                json.dumps(
                    {
                        "cpu_seconds": time.process_time() - began,
                        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                    }
                )
            )
        case _:
            sys.exit(__doc__)
