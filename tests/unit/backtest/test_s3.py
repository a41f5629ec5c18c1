"""Runs on S3: listed page by page, read several at once, errors of AWS named."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from guiderail.adapters import clients
from guiderail.errors import NotFoundError, RejectedRequestError
from guiderail.model.policy import Policy
from guiderail_cli.backtest.run import backtest
from guiderail_cli.backtest.shelves import S3Shelf, shelf_at
from guiderail_cli.backtest.stored_runs import find_runs
from moto import mock_aws

from tests import builders as b

BUCKET = "loan-reports"
MAX_BYTES = 1_000_000
HOURS = 120


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    clients.forget()
    with mock_aws():
        s3 = boto3.resource("s3").Bucket(BUCKET)
        s3.create(CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield s3
    clients.forget()


def test_a_prefix_is_replayed(bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for hour in range(HOURS):
        place = f"reports/loan-risk/hourly/2026/11/{1 + hour // 24:02d}/{hour % 24:02d}"
        items = [b.drifted("income")] if hour < 3 else []
        bucket.put_object(Key=f"{place}/constraint_violations.json", Body=b.violations(*items))
        bucket.put_object(Key=f"{place}/statistics.json", Body=b.statistics())
    # many pages, as with more than a thousand objects
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "50")
    shelf = shelf_at(f"s3://{BUCKET}/reports/", MAX_BYTES)

    result = backtest(shelf, find_runs(shelf), [("built-in", Policy())], 30)

    assert isinstance(shelf, S3Shelf)
    assert (result.runs, result.outcomes) == (HOURS, {"clean": HOURS - 3, "violations": 3})
    assert (result.policy.incidents, result.policy.resolved) == (1, 1)
    [incident] = result.policy.owners
    assert incident.incidents == 1


def test_a_prefix_does_not_take_in_its_neighbour(bucket: Any) -> None:
    for prefix in ("reports", "reports-old"):
        place = f"{prefix}/loan-risk/hourly/2026/11/01/00"
        bucket.put_object(Key=f"{place}/statistics.json", Body=b.statistics())

    assert len(find_runs(shelf_at(f"s3://{BUCKET}/reports", MAX_BYTES)).runs) == 1
    assert len(find_runs(shelf_at(f"s3://{BUCKET}", MAX_BYTES)).runs) == 2


def test_an_empty_prefix_and_a_missing_bucket_are_named(bucket: Any) -> None:
    with pytest.raises(NotFoundError, match=f"s3://{BUCKET}/nowhere holds no monitoring run"):
        find_runs(shelf_at(f"s3://{BUCKET}/nowhere", MAX_BYTES))
    with pytest.raises((NotFoundError, RejectedRequestError), match="s3://no-such-bucket/x"):
        find_runs(shelf_at("s3://no-such-bucket/x", MAX_BYTES))
