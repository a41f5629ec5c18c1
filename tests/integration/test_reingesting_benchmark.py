"""What the re-ingestion benchmark measures with: its stand-in counts all that comes, and answers boto3."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.validate import ParamValidator

from benchmarks.environments import REQUIREMENTS, ROOT
from benchmarks.reingesting import Ingestion, _of_speed, _whole
from benchmarks.stub_feature_store import (
    FEATURES,
    GROUP,
    Stub,
    Taken,
    ask_as_fast_as_it_answers,
    describe_group,
    serving,
)


@pytest.fixture(scope="module")
def stub() -> Iterator[Stub]:
    with serving(put=0.0, batch=0.001, entry=0.0) as stub:
        yield stub


def client(stub: Stub, service: str) -> Any:
    make: Any = boto3.client
    return make(
        service,
        endpoint_url=stub.url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}, max_pool_connections=8),
    )


def record() -> list[dict[str, str]]:
    names = [defined["FeatureName"] for defined in describe_group()["FeatureDefinitions"]]
    return [{"FeatureName": name, "ValueAsString": "1"} for name in names]


def test_it_counts_records_and_values(stub: Stub) -> None:
    runtime = client(stub, "sagemaker-featurestore-runtime")
    stub.taken()
    runtime.put_record(FeatureGroupName=GROUP, Record=record())
    entry = {"FeatureGroupName": GROUP, "Record": record()}
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(runtime.batch_write_record, Entries=[entry] * 25) for _ in range(20)]
        for call in calls:
            assert (call.result()["Errors"], call.result()["UnprocessedEntries"]) == ([], [])
    taken = stub.taken()
    assert (taken.requests, taken.records) == (21, 501)
    assert taken.values == 501 * FEATURES
    assert 1 <= taken.at_once <= 8
    assert taken.seconds > 0
    assert stub.taken() == Taken(), "it counts anew"


def test_it_describes_the_group_as_the_service_does(stub: Stub) -> None:
    sagemaker = client(stub, "sagemaker")
    described = sagemaker.describe_feature_group(FeatureGroupName=GROUP)
    described.pop("ResponseMetadata")
    shape = sagemaker.meta.service_model.operation_model("DescribeFeatureGroup").output_shape
    # all of them but the one that tells where the next page begins
    report = ParamValidator().validate({**described, "NextToken": ""}, shape)
    assert not report.has_errors(), report.generate_report()
    assert len(described["FeatureDefinitions"]) == FEATURES


def test_what_asks_as_fast_as_it_can_sends_whole_records(stub: Stub) -> None:
    stub.taken()
    assert ask_as_fast_as_it_answers(stub.url, connections=4, seconds=0.1) > 0
    taken = stub.taken()
    assert taken.records == taken.requests * 25 > 0
    assert taken.values == taken.records * FEATURES
    assert taken.at_once == 4


def ingestion(records: int, seconds: float, values: int = FEATURES) -> Ingestion:
    taken = Taken(records=records, values=records * values, at_once=16, first=1.0, last=1 + seconds)
    return Ingestion(taken, {"failed": 0, "cpu_seconds": 1.0})


def test_ratios_are_of_time_per_record() -> None:
    done = {"ours": [ingestion(3000, 1)], "version 2": [ingestion(100, 1)]}
    sdk, ceiling = _of_speed(done, [6000.0])
    assert sdk.median == pytest.approx(1 / 30)
    assert (sdk.met, ceiling.median, ceiling.met) == (True, 2.0, False)


def test_records_that_are_lost_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    _whole("version 3", ingestion(99, 1), 100)
    assert "version 3 lost 1 of 100 records, and says that 0 failed" in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="99 of 100 records arrived"):
        _whole("ours", ingestion(99, 1), 100)
    with pytest.raises(RuntimeError, match="sent 2,100 values in 100 records"):
        _whole("ours", ingestion(100, 1, values=21), 100)


def test_ours_has_the_packages_of_its_layers() -> None:
    def pins(file: Path) -> dict[str, str]:
        found = re.findall(r"^([\w-]+)==([^\s;]+)", file.read_text(), re.MULTILINE)
        return dict(found)

    ours = pins(REQUIREMENTS / "columns.txt")
    layers = ROOT / "layers"
    shipped = pins(layers / "columns" / "requirements.txt")
    shipped |= pins(layers / "dependencies" / "requirements.txt")
    assert {name: ours[name] for name in ("pyarrow", "msgspec")} == {
        name: shipped[name] for name in ("pyarrow", "msgspec")
    }
