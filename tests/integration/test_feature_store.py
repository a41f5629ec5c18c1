"""The local feature store, asked by boto3; its answers are held against botocore's service model."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError
from botocore.validate import ParamValidator
from guiderail_local.feature_store import Fault, FeatureStore
from guiderail_local.feature_store.wire import LONGEST_VALUE

from tests.moto_region import region

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:feature-group"
MODEL = botocore.session.get_session().get_service_model("sagemaker-featurestore-runtime")

LOANS: dict[str, Any] = {
    "FeatureGroupName": "loans",
    "RecordIdentifierFeatureName": "id",
    "EventTimeFeatureName": "at",
    "FeatureDefinitions": [
        {"FeatureName": "id", "FeatureType": "String"},
        {"FeatureName": "at", "FeatureType": "String"},
        {"FeatureName": "age", "FeatureType": "Integral"},
        {"FeatureName": "income", "FeatureType": "Fractional"},
        {"FeatureName": "embedding", "FeatureType": "Fractional", "CollectionType": "Vector"},
    ],
    "FeatureGroupStatus": "Created",
    "OnlineStoreConfig": {"EnableOnlineStore": True},
}
CLICKS = {
    **LOANS,
    "FeatureGroupName": "clicks",
    "FeatureDefinitions": [
        {"FeatureName": "id", "FeatureType": "String"},
        {"FeatureName": "at", "FeatureType": "Fractional"},
    ],
    "OnlineStoreConfig": {
        "EnableOnlineStore": True,
        "TtlDuration": {"Unit": "Minutes", "Value": 1},
    },
}
OFFLINE = {
    **{name: value for name, value in LOANS.items() if name != "OnlineStoreConfig"},
    "FeatureGroupName": "history",
}
MAKING = {**LOANS, "FeatureGroupName": "making", "FeatureGroupStatus": "Creating"}
GROUPS: dict[str, Mapping[str, Any]] = {
    group["FeatureGroupName"]: group for group in (LOANS, CLICKS, OFFLINE, MAKING)
}

NOW = 1_795_000_000.0


def client_of(store: FeatureStore, attempts: int = 1) -> Any:
    """A boto3 client; each answer that it gets is held against the service model."""
    client = boto3.client(
        "sagemaker-featurestore-runtime",
        endpoint_url=store.url,
        region_name="eu-west-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        # the body goes through as it is, for the store to refuse
        config=Config(
            retries={"mode": "standard", "total_max_attempts": attempts},
            max_pool_connections=8,
            parameter_validation=False,
        ),
    )
    client.meta.events.register("before-parse", _hold_against_model)
    return client


def _hold_against_model(
    operation_model: Any, response_dict: dict[str, Any], **given: object
) -> None:
    body, status = response_dict["body"], response_dict["status_code"]
    if status != 200:
        declared = {shape.error_code for shape in operation_model.error_shapes}
        code = response_dict["headers"]["x-amzn-errortype"]
        assert code in declared | {"ThrottlingException", "UnknownOperationException"}
        assert set(json.loads(body)) == {"Message"}
    elif operation_model.output_shape is None:
        assert body == b""
    else:
        report = ParamValidator().validate(json.loads(body), operation_model.output_shape)
        assert not report.has_errors(), report.generate_report()


@pytest.fixture
def store() -> Iterator[FeatureStore]:
    with FeatureStore(GROUPS.get, now=lambda: NOW) as store:
        yield store


@pytest.fixture
def client(store: FeatureStore) -> Any:
    return client_of(store)


def record(**values: str | list[str] | None) -> list[dict[str, Any]]:
    made = {"id": "L-1", "at": "2026-11-24T03:00:00Z", "age": "41", **values}
    return [
        {"FeatureName": name}
        | ({"ValueAsStringList" if isinstance(value, list) else "ValueAsString": value})
        for name, value in made.items()
        if value is not None
    ]


def entry(group: str = "loans", **values: str | list[str] | None) -> dict[str, Any]:
    return {"FeatureGroupName": group, "Record": record(**values)}


def read(client: Any, identifier: str = "L-1", group: str = "loans") -> dict[str, str] | None:
    answer = client.get_record(FeatureGroupName=group, RecordIdentifierValueAsString=identifier)
    if "Record" not in answer:
        return None
    return {value["FeatureName"]: value["ValueAsString"] for value in answer["Record"]}


def refusal(call: Callable[[], object]) -> tuple[int, str, str]:
    with pytest.raises(ClientError) as raised:
        call()
    answer = raised.value.response
    return (
        answer["ResponseMetadata"]["HTTPStatusCode"],
        answer["Error"]["Code"],
        answer["Error"]["Message"],
    )


def test_a_record_is_read_as_it_was_put(client: Any) -> None:
    given = record(income="1.5e3", embedding=["1", "2.5"])
    client.put_record(FeatureGroupName="loans", Record=given)
    answer = client.get_record(FeatureGroupName=f"{ARN}/loans", RecordIdentifierValueAsString="L-1")
    assert answer["Record"] == given
    chosen = client.get_record(
        FeatureGroupName="loans",
        RecordIdentifierValueAsString="L-1",
        FeatureNames=["embedding", "age"],
    )
    assert [value["FeatureName"] for value in chosen["Record"]] == ["age", "embedding"]


def test_what_is_not_there_is_an_empty_answer(client: Any) -> None:
    assert read(client, "nobody") is None


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ("2026-11-24T03:00:00Z", "2026-11-24T03:00:00.001Z", "second"),
        ("2026-11-24T03:00:00.001Z", "2026-11-24T03:00:00Z", "first"),
        ("2026-11-24T03:00:00Z", "2026-11-24T03:00:00.000Z", "first"),
    ],
)
def test_only_a_greater_event_time_replaces_a_record(
    client: Any, store: FeatureStore, first: str, second: str, kept: str
) -> None:
    client.put_record(FeatureGroupName="loans", Record=record(at=first, age="1"))
    client.put_record(FeatureGroupName="loans", Record=record(at=second, age="2"))
    assert read(client) == {
        "id": "L-1",
        "at": {"first": first, "second": second}[kept],
        "age": {"first": "1", "second": "2"}[kept],
    }
    assert store.written["loans"] == 2


def test_the_newest_wins_in_whatever_order_a_batch_is(client: Any) -> None:
    ages = ["1", "2", "3"]
    for number, order in enumerate(itertools.permutations(ages)):
        client.batch_write_record(
            Entries=[
                entry(id=f"L-{number}", at=f"2026-11-24T03:00:0{age}Z", age=age) for age in order
            ]
        )
        assert (read(client, f"L-{number}") or {})["age"] == "3"


def test_event_times_may_be_numbers(client: Any) -> None:
    for at in ("1795000009", "1795000010.5", "1795000010"):
        client.put_record(
            FeatureGroupName="clicks", Record=record(at=at, age=None), TargetStores=["OnlineStore"]
        )
    assert read(client, group="clicks") == {"id": "L-1", "at": "1795000010.5"}


def test_what_is_for_the_offline_store_alone_cannot_be_read(
    client: Any, store: FeatureStore
) -> None:
    client.put_record(FeatureGroupName="loans", Record=record(), TargetStores=["OfflineStore"])
    client.batch_write_record(Entries=[{**entry(), "TargetStores": ["OfflineStore"]}])
    client.put_record(FeatureGroupName="history", Record=record())
    assert read(client) is None
    assert store.written == {"loans": 2, "history": 1}
    assert refusal(lambda: read(client, group="history"))[:2] == (400, "ValidationError")


def test_a_soft_delete_leaves_its_event_time(client: Any) -> None:
    client.put_record(FeatureGroupName="loans", Record=record())
    key = {"FeatureGroupName": "loans", "RecordIdentifierValueAsString": "L-1"}
    client.delete_record(**key, EventTime="2026-11-24T03:00:00Z")
    assert read(client), "it is not later"
    client.delete_record(**key, EventTime="2026-11-24T05:00:00Z")
    assert read(client) is None
    client.put_record(FeatureGroupName="loans", Record=record(at="2026-11-24T04:00:00Z"))
    assert read(client) is None, "it is older than the deletion"
    client.put_record(FeatureGroupName="loans", Record=record(at="2026-11-24T06:00:00Z"))
    assert read(client)


def test_a_hard_delete_leaves_nothing(client: Any, store: FeatureStore) -> None:
    client.put_record(FeatureGroupName="loans", Record=record())
    asked = {
        "FeatureGroupName": "loans",
        "RecordIdentifierValueAsString": "L-1",
        "DeletionMode": "HardDelete",
    }
    early = refusal(lambda: client.delete_record(**asked, EventTime="2026-11-24T03:00:00Z"))
    assert early[:2] == (400, "ValidationError")
    assert store.online.count("loans") == 1
    client.delete_record(**asked, EventTime="2026-11-24T04:00:00Z")
    assert store.online.count("loans") == 0
    client.put_record(FeatureGroupName="loans", Record=record())
    assert read(client), "nothing remembers the deletion"


def test_the_nearest_time_to_live_counts(client: Any, store: FeatureStore) -> None:
    def expires(identifier: str) -> str | None:
        answer = client.get_record(
            FeatureGroupName="clicks",
            RecordIdentifierValueAsString=identifier,
            ExpirationTimeResponse="Enabled",
        )
        return str(answer["ExpiresAt"]) if "ExpiresAt" in answer else None

    def click(identifier: str) -> dict[str, Any]:
        return entry("clicks", id=identifier, at=str(NOW), age=None)

    client.batch_write_record(
        Entries=[
            {**click("own"), "TtlDuration": {"Unit": "Weeks", "Value": 1}},
            click("of the request"),
        ],
        TtlDuration={"Unit": "Days", "Value": 1},
    )
    client.batch_write_record(Entries=[click("of the group")])
    client.batch_write_record(Entries=[entry("clicks", id="over", at=str(NOW - 60), age=None)])
    assert [expires(name) for name in ("own", "of the request", "of the group")] == [
        "2026-11-25T11:06:40Z",
        "2026-11-19T11:06:40Z",
        "2026-11-18T11:07:40Z",
    ]
    assert read(client, "over", "clicks") is None


def test_a_batch_keeps_what_fits_and_names_what_does_not(client: Any, store: FeatureStore) -> None:
    wrong = entry(id="L-2", age="old")
    answer = client.batch_write_record(Entries=[entry(), wrong, entry("clicks", at="1", age=None)])
    (error,) = answer["Errors"]
    assert (error["Entry"], error["ErrorCode"]) == (wrong, "ValidationError")
    assert "feature age has type Integral" in error["ErrorMessage"]
    assert answer["UnprocessedEntries"] == []
    assert store.written == {"loans": 1, "clicks": 1}


def test_a_batch_is_read(client: Any) -> None:
    client.batch_write_record(Entries=[entry(id=f"L-{n}") for n in range(25)])
    answer = client.batch_get_record(
        Identifiers=[
            {
                "FeatureGroupName": "loans",
                "RecordIdentifiersValueAsString": ["L-3", "nobody", "L-24"],
                "FeatureNames": ["id"],
            },
            {"FeatureGroupName": "gone", "RecordIdentifiersValueAsString": ["L-1"]},
        ],
        ExpirationTimeResponse="Enabled",
    )
    assert [found["RecordIdentifierValueAsString"] for found in answer["Records"]] == [
        "L-3",
        "L-24",
    ]
    assert answer["Records"][0]["Record"] == [{"FeatureName": "id", "ValueAsString": "L-3"}]
    assert [error["ErrorCode"] for error in answer["Errors"]] == ["ResourceNotFound"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"id": None}, "missing value for feature id"),
        ({"id": ""}, "missing value for feature id"),
        ({"at": None}, "missing value for feature at"),
        ({"age": "41.0"}, "has type Integral"),
        ({"age": str(2**63)}, "has type Integral"),
        ({"age": "4_1"}, "has type Integral"),
        ({"income": "much"}, "has type Fractional"),
        ({"income": "nan"}, "has type Fractional"),
        ({"income": "1e999"}, "has type Fractional"),
        ({"embedding": "1"}, "wants ValueAsStringList"),
        ({"embedding": ["1", "x"]}, "has type Fractional"),
        ({"age": ["1"]}, "wants ValueAsString"),
        ({"salary": "1"}, "FeatureNames [salary] are not in feature group loans"),
        ({"id": "x" * 2049}, "longer than 2KB"),
        ({"at": "2026-11-24T03:00:00"}, "event time '2026-11-24T03:00:00' is neither"),
        ({"at": "2026-11-24T03:00:00+00:00"}, "is neither"),
        ({"at": "2026-11-24T03:00:00.123456Z"}, "is neither"),
        ({"at": "2026-13-24T03:00:00Z"}, "is neither"),
        ({"at": "1795000000"}, "is neither"),
    ],
)
def test_a_record_has_to_fit_its_group(
    client: Any, values: dict[str, str | list[str] | None], message: str
) -> None:
    status, code, said = refusal(
        lambda: client.put_record(FeatureGroupName="loans", Record=record(**values))
    )
    assert (status, code) == (400, "ValidationError")
    assert message in said
    assert read(client) is None
    assert client.batch_write_record(
        Entries=[{"FeatureGroupName": "loans", "Record": record(**values)}]
    )["Errors"]


def test_a_feature_that_is_no_key_may_be_null(client: Any) -> None:
    client.put_record(FeatureGroupName="loans", Record=[*record(age=None), {"FeatureName": "age"}])
    answer = client.get_record(FeatureGroupName="loans", RecordIdentifierValueAsString="L-1")
    assert answer["Record"][-1] == {"FeatureName": "age"}


def test_a_feature_is_given_once(client: Any) -> None:
    twice = [*record(), {"FeatureName": "age", "ValueAsString": "42"}]
    said = refusal(lambda: client.put_record(FeatureGroupName="loans", Record=twice))
    assert said == (400, "ValidationError", "Validation Error: feature age is given twice")


def test_a_record_has_350_kb(client: Any) -> None:
    wide = {
        **LOANS,
        "FeatureGroupName": "wide",
        "FeatureDefinitions": [
            {"FeatureName": name, "FeatureType": "String"} for name in ("id", "at", "text", "more")
        ],
    }
    fixed = sum(map(len, ("id", "at", "text", "more", "L-1", "2026-11-24T03:00:00Z")))
    with FeatureStore({"wide": wide}.get) as store:
        client = client_of(store)
        text = "x" * (LONGEST_VALUE // 2)
        fits = record(age=None, text=text, more="x" * (LONGEST_VALUE - len(text) - fixed))
        client.put_record(FeatureGroupName="wide", Record=fits)
        fits[-1]["ValueAsString"] += "x"
        assert refusal(lambda: client.put_record(FeatureGroupName="wide", Record=fits)) == (
            400,
            "ValidationError",
            "Validation Error: record is larger than 350KB",
        )
        fits[-1]["ValueAsString"] = "x" * (LONGEST_VALUE + 1)
        said = refusal(lambda: client.put_record(FeatureGroupName="wide", Record=fits))[2]
        assert "validation error detected" in said


@pytest.mark.parametrize("entries", [0, 26])
def test_a_batch_has_1_to_25_entries(client: Any, store: FeatureStore, entries: int) -> None:
    asked = [entry(id=f"L-{n}") for n in range(entries)]
    status, code, message = refusal(lambda: client.batch_write_record(Entries=asked))
    assert (status, code) == (400, "ValidationError")
    assert "Entries" in message
    assert not store.written


@pytest.mark.parametrize(
    "asked",
    [
        {"Record": record(), "TargetStores": ["Nowhere"]},
        {"Record": record(), "TtlDuration": {"Unit": "Days", "Value": 0}},
        {"Record": []},
        {"Record": [{"FeatureName": "", "ValueAsString": "1"}]},
        {"Record": [{"FeatureName": "a b", "ValueAsString": "1"}]},
        {"Record": [{"FeatureName": "age", "ValueAsString": 41}]},
        {},
    ],
)
def test_a_request_has_to_have_its_shape(client: Any, asked: dict[str, Any]) -> None:
    said = refusal(lambda: client.put_record(FeatureGroupName="loans", **asked))
    assert said[:2] == (400, "ValidationError")


def test_a_group_has_to_be_there(client: Any) -> None:
    put = refusal(lambda: client.put_record(FeatureGroupName="gone", Record=record()))
    assert put == (
        400,
        "ValidationError",
        "Resource Not Found: Amazon SageMaker can't find a FeatureGroup with name gone",
    )
    assert refusal(lambda: read(client, group="gone"))[:2] == (404, "ResourceNotFound")
    batch = refusal(lambda: client.batch_write_record(Entries=[entry(), entry("gone")]))
    assert batch[:2] == (404, "ResourceNotFound")
    assert read(client) is None
    making = refusal(lambda: client.put_record(FeatureGroupName="making", Record=record()))
    assert making[2] == "Validation Error: feature group making has status Creating"


def test_what_it_does_not_have_is_an_unknown_operation(client: Any) -> None:
    assert refusal(lambda: client.list_records(FeatureGroupName="loans"))[:2] == (
        404,
        "UnknownOperationException",
    )


# faults


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (Fault.throttled(), (400, "ThrottlingException")),
        (Fault.denied(), (403, "AccessForbidden")),
        (Fault.unknown_operation(), (404, "UnknownOperationException")),
        (Fault.unavailable(), (503, "ServiceUnavailable")),
        (Fault.refused(500, "InternalFailure", "An internal failure."), (500, "InternalFailure")),
    ],
)
def test_it_refuses_as_planned_and_writes_nothing(
    client: Any, store: FeatureStore, fault: Fault, answer: tuple[int, str]
) -> None:
    store.fail("BatchWriteRecord", fault, times=2)
    for _ in range(2):
        said = refusal(lambda: client.batch_write_record(Entries=[entry()]))
        assert said[:2] == answer
    assert not store.written
    client.put_record(FeatureGroupName="loans", Record=record())
    client.batch_write_record(Entries=[entry(id="L-2")])
    assert store.written["loans"] == 2


def test_botocore_tries_again_after_throttling(store: FeatureStore) -> None:
    store.fail("PutRecord", Fault.throttled(), times=1)
    client_of(store, attempts=3).put_record(FeatureGroupName="loans", Record=record())
    assert (store.calls["PutRecord"], store.written["loans"]) == (2, 1)


@pytest.mark.parametrize("taken", [False, True])
def test_the_connection_is_reset_before_or_after_the_write(
    client: Any, store: FeatureStore, taken: bool
) -> None:
    store.fail("BatchWriteRecord", Fault.reset(taken=taken))
    with pytest.raises(ConnectionClosedError):
        client.batch_write_record(Entries=[entry()])
    assert store.online.count("loans") == int(taken)


def test_it_leaves_the_last_entries_unprocessed(client: Any, store: FeatureStore) -> None:
    entries = [entry(id=f"L-{n}") for n in range(5)]
    store.fail("BatchWriteRecord", Fault.unprocessed(2))
    answer = client.batch_write_record(Entries=entries)
    assert (answer["Errors"], answer["UnprocessedEntries"]) == ([], entries[3:])
    store.fail("BatchWriteRecord", Fault.unprocessed(9))
    assert client.batch_write_record(Entries=entries)["UnprocessedEntries"] == entries
    assert store.online.count("loans") == 3


def test_it_fails_the_last_entries(client: Any, store: FeatureStore) -> None:
    store.fail("BatchWriteRecord", Fault.entry_errors(1, "InternalFailure", "no"))
    answer = client.batch_write_record(Entries=[entry(), entry(id="L-2")])
    assert answer["Errors"] == [
        {"Entry": entry(id="L-2"), "ErrorCode": "InternalFailure", "ErrorMessage": "no"}
    ]
    assert store.online.count("loans") == 1


def test_a_fault_may_wait_for_a_record(client: Any, store: FeatureStore) -> None:
    store.fail("PutRecord", Fault.unavailable(), times=None, containing='"L-2"')
    client.put_record(FeatureGroupName="loans", Record=record())
    for _ in range(2):
        refusal(lambda: client.put_record(FeatureGroupName="loans", Record=record(id="L-2")))
    store.heal()
    client.put_record(FeatureGroupName="loans", Record=record(id="L-2"))
    assert store.online.count("loans") == 2


# around it


def test_many_may_write_at_once(store: FeatureStore) -> None:
    client = client_of(store)

    def write(number: int) -> None:
        client.batch_write_record(
            Entries=[
                entry(id=f"L-{n}", at=f"2026-11-24T03:00:{number:02}Z", age=str(number))
                for n in range(5)
            ]
        )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    assert store.written["loans"] == 200
    assert [(read(client, f"L-{n}") or {})["age"] for n in range(5)] == ["39"] * 5


def test_a_file_keeps_records(tmp_path: Path) -> None:
    for _ in range(2):
        with FeatureStore(GROUPS.get, file=tmp_path / "records.sqlite") as store:
            client = client_of(store)
            if store.online.count("loans") == 0:
                client.put_record(FeatureGroupName="loans", Record=record())
    with FeatureStore(GROUPS.get, file=tmp_path / "records.sqlite") as store:
        assert read(client_of(store)) == {"id": "L-1", "at": "2026-11-24T03:00:00Z", "age": "41"}


def test_groups_are_those_of_the_local_sagemaker() -> None:
    with region() as sagemaker, FeatureStore(sagemaker.feature_groups.described) as store:
        api = boto3.client(
            "sagemaker",
            endpoint_url=sagemaker.url,
            region_name="eu-west-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        client = client_of(store)
        assert refusal(lambda: read(client))[1] == "ResourceNotFound"
        api.create_feature_group(
            **{name: value for name, value in LOANS.items() if name != "FeatureGroupStatus"}
        )
        client.put_record(FeatureGroupName="loans", Record=record())
        assert read(client)


def test_operations_are_the_models() -> None:
    assert {
        name: MODEL.operation_model(name).http["method"]
        for name in ("PutRecord", "GetRecord", "DeleteRecord", "BatchGetRecord", "BatchWriteRecord")
    } == {
        "PutRecord": "PUT",
        "GetRecord": "GET",
        "DeleteRecord": "DELETE",
        "BatchGetRecord": "POST",
        "BatchWriteRecord": "POST",
    }
