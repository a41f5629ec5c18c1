"""Ingests records by the SageMaker SDK, whichever major version is installed, at its best setting.

    python ingests_sagemaker.py RECORDS GROUP

8 threads in each of 2 processes was the best of those tried, for both. Version 3 writes batches; version 2 has
none. The time is the stub's matter; what is printed are the rows that the SDK says it could not ingest.
"""

import json
import random
import sys
import time

import pandas

WORKERS, PROCESSES = 8, 2


def rows(count):
    """The same records as ours: an identifier, an event time and 20 numbers."""
    generator = random.Random(7)
    frame = {
        "loan_id": [f"loan-{number:08}" for number in range(count)],
        "event_time": [1_795_000_000.0 + number for number in range(count)],
    }
    for number in range(20):
        frame[f"feature_{number:02}"] = [generator.random() * 1000 for _ in range(count)]
    return pandas.DataFrame(frame)


def ingest_v2(frame, group):
    """FeatureGroup.ingest of version 2."""
    from sagemaker.feature_store.feature_group import FeatureGroup, IngestionError
    from sagemaker.session import Session

    try:
        FeatureGroup(name=group, sagemaker_session=Session()).ingest(
            data_frame=frame, max_workers=WORKERS, max_processes=PROCESSES, wait=True
        )
    except IngestionError as failed:
        return failed.failed_rows
    return []


def ingest_v3(frame, group):
    """ingest_dataframe of version 3."""
    from sagemaker.mlops.feature_store import ingest_dataframe
    from sagemaker.mlops.feature_store.ingestion_manager_pandas import IngestionError

    try:
        ingest_dataframe(
            group,
            frame,
            max_workers=WORKERS,
            max_processes=PROCESSES,
            use_batch_write_record=True,
        )
    except IngestionError as failed:
        return failed.failed_rows
    return []


if __name__ == "__main__":
    from importlib.metadata import version

    major = version("sagemaker").partition(".")[0]
    ingest = {"2": ingest_v2, "3": ingest_v3}[major]
    frame = rows(int(sys.argv[1]))
    began = time.perf_counter()
    failed = ingest(frame, sys.argv[2])
    print(json.dumps({"failed": len(failed), "seconds": time.perf_counter() - began}))
