"""What a run left behind, put where the function will look for it."""

from __future__ import annotations

from collections.abc import Sequence

from guiderail_local.cloud import LocalCloud
from guiderail_local.runs import RunFolder


def stage(cloud: LocalCloud, runs: Sequence[RunFolder]) -> None:
    """Let the cloud know these runs' jobs, schedules and files, without telling anybody that they ended."""
    s3 = cloud.client("s3")
    there = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for bucket in sorted({bucket for run in runs for bucket in run.buckets()} - there):
        s3.create_bucket(Bucket=bucket)
    for run in runs:
        cloud.sagemaker.register_job(run.job)
        if run.schedule is not None:
            cloud.sagemaker.register_schedule(run.schedule)
        for uri, file in run.objects():
            bucket, _, key = uri.removeprefix("s3://").partition("/")
            s3.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())
