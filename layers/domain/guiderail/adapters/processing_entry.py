"""Entry point of the SageMaker Processing job that ingests in bulk: ``python -m`` this module.

Each machine of the job has a share of the objects as files. It does with each what a Lambda call does, by the
same core; checkpoints and rejects go straight to S3, so that a machine that is lost loses nothing.

Source of the paths: Amazon SageMaker Developer Guide, "How Amazon SageMaker Processing Configures Input and
Output For Your Processing Container".
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from guiderail.adapters.feature_store import FeatureStoreRuntime, SageMakerFeatureGroups
from guiderail.adapters.reingestion_files import S3ReingestionFiles
from guiderail.errors import GuiderailError, PermanentError, TransientError
from guiderail.services.reingest_planning import ObjectOutcome, Plan
from guiderail.services.reingest_tasks import (
    Ingestion,
    ListedObject,
    ObjectIngestion,
    ReingestionFiles,
    outcome_of,
    read_objects,
    read_plan,
)
from guiderail.services.reingesting import Reingest

ROOT = "/opt/ml"
CONNECTIONS = 16

WAITS = (5.0, 15.0, 45.0, 120.0)
"""Seconds before an object is tried once more; the core has tried each request for half a minute by then."""


class _Resources(msgspec.Struct):
    current_host: str


_RESOURCES = msgspec.json.Decoder(_Resources)


def main(arguments: Sequence[str] | None = None, root: Path | None = None) -> int:
    """Ingest this machine's share of a plan.

    Returns:
        0 if each object has an outcome, be it a failure: the summary counts them. 1 if the job cannot run.
    """
    parser = argparse.ArgumentParser(description="Ingests this machine's share of a plan")
    parser.add_argument("--plan", required=True, help="S3 URI of the plan")
    uri = parser.parse_args(arguments).plan
    bucket = uri.removeprefix("s3://").partition("/")[0]
    files = S3ReingestionFiles()
    root = root or Path(ROOT)
    folder = root / "processing" / "input" / "objects"
    try:
        ingestion = ObjectIngestion(_core(files), bucket, str(folder))
        ingest_share(uri, root, files, ingestion, time.sleep)
    except GuiderailError as error:
        print(f"{error.code}: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


def ingest_share(
    uri: str,
    root: Path,
    files: ReingestionFiles,
    ingestion: Ingestion,
    sleep: Callable[[float], object],
) -> None:
    """Ingest what lies below ``<root>/processing/input/objects``, each file by the key that its path is.

    Outcomes are written after each object: SageMaker uploads them as they change.

    Raises:
        PermanentError: There is no such plan, or a file is not of it.
        TransientError: S3 does not give the plan.
    """
    plan = read_plan(files, uri)
    listed = {item.key: item for item in read_objects(files, uri.rpartition("/")[0], plan)}
    folder = root / "processing" / "input" / "objects"
    host = _RESOURCES.decode((root / "config" / "resourceconfig.json").read_bytes()).current_host
    keys = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    if strange := [key for key in keys if key not in listed]:
        raise PermanentError(
            f"the plan {uri} has no object {strange[0]}",
            remedy="The job's input has to be the manifest beside the plan",
        )
    output = root / "processing" / "output" / "outcomes" / f"{host}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    outcomes: list[ObjectOutcome] = []
    for key in keys:
        outcome = _ingest(plan, listed[key], ingestion, sleep)
        outcomes.append(outcome)
        # not in the folder that is uploaded
        unfinished = output.parents[1] / f"{host}.unfinished"
        unfinished.write_bytes(msgspec.json.encode(outcomes))
        unfinished.rename(output)
        print(f"{key}: {msgspec.json.encode(outcome).decode()}", flush=True)


def _ingest(
    plan: Plan, item: ListedObject, ingestion: Ingestion, sleep: Callable[[float], object]
) -> ObjectOutcome:
    for wait in (*WAITS, None):
        try:
            # the job's own time-out ends it; the checkpoint says how far it came
            outcome = outcome_of(ingestion, plan, item, lambda: math.inf)
        except TransientError as error:
            if wait is None:
                return ObjectOutcome(object=item.object, error=f"{error.code}: {error}"[:500])
            sleep(wait)
        else:
            if outcome is None:
                return ObjectOutcome(object=item.object, error="it was left before its end")
            return outcome
    raise AssertionError("the last turn returns")


def _core(files: S3ReingestionFiles) -> Reingest:
    from guiderail.adapters.record_files import RecordFiles

    return Reingest(
        groups=SageMakerFeatureGroups(),
        records=RecordFiles(),
        store=FeatureStoreRuntime(connections=CONNECTIONS),
        kept=files,
        clock=time.monotonic,
        sleep=time.sleep,
        jitter=random.random,
        connections=CONNECTIONS,
    )


if __name__ == "__main__":
    sys.exit(main())
