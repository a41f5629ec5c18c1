"""DynamoDB's store of incidents: the contract of stores, and what is its own: calls, sizes, layout."""

from __future__ import annotations

import random
import time
import zlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ClientError
from guiderail.adapters.clients import client
from guiderail.adapters.dynamo_deliveries import DynamoDeliveries
from guiderail.adapters.dynamo_remediations import DynamoRemediations
from guiderail.adapters.dynamo_table import LARGEST_CONTENT
from guiderail.adapters.dynamodb import INDEX, DynamoIncidents
from guiderail.errors import (
    ConflictError,
    GuiderailError,
    NotFoundError,
    RejectedRequestError,
    ThrottledError,
    TooLargeToKeepError,
    UnavailableError,
)
from guiderail.model.delivery import Outgoing
from guiderail.model.finding import Subject
from guiderail.model.incident import Incident, IncidentState, Ledger, LedgerRun, incident_id
from guiderail.model.outcome import MonitorKind, Outcome, Reason
from guiderail.model.policy import Severity

from tests.moto_region import region
from tests.outbox_contract import OutboxContract
from tests.remediation_contract import RemediationContract
from tests.store_contract import (
    SCOPE,
    T0,
    StoreContract,
    Writes,
    audit,
    group,
    incident,
    later,
    ledger,
    notice,
    notification,
    record,
    scope_of,
    silence,
    source,
)
from tests.template import of_type, resolve, transform

TABLE = "Incidents"
RECORD_DAYS, AUDIT_DAYS = 90, 400


@pytest.fixture(scope="module")
def dynamo() -> Iterator[Any]:
    """A client of a server that all tests here share."""
    with region():
        yield client("dynamodb")


@pytest.fixture(scope="module")
def declared() -> dict[str, Any]:
    """The template's table."""
    table = of_type(resolve(transform()), "AWS::DynamoDB::Table")["RunTable"]
    kept = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
    return {name: table[name] for name in kept}


@pytest.fixture
def table(dynamo: Any, declared: dict[str, Any]) -> Iterator[Any]:
    """The client, with an empty table."""
    dynamo.create_table(TableName=TABLE, **declared)
    yield dynamo
    dynamo.delete_table(TableName=TABLE)


@pytest.fixture
def store(table: Any) -> DynamoIncidents:
    return DynamoIncidents(TABLE, RECORD_DAYS, AUDIT_DAYS)


@pytest.fixture
def calls(store: DynamoIncidents) -> Iterator[list[str]]:
    """Operations that the store called, in order."""
    made: list[str] = []
    events = client("dynamodb").meta.events
    note = lambda model, **_: made.append(model.name)  # noqa: E731
    events.register("before-call.dynamodb", note)
    yield made
    events.unregister("before-call.dynamodb", note)


class TestDynamoDB(StoreContract):
    """The contract."""


def items(table: Any) -> list[dict[str, Any]]:
    return list(table.scan(TableName=TABLE)["Items"])


def item(table: Any, pk: str) -> dict[str, Any]:
    (found,) = [i for i in items(table) if i["pk"]["S"] == pk]
    return found


def test_each_step_of_a_run_is_one_call(store: DynamoIncidents, calls: list[str]) -> None:
    store.recall(record().run.key, SCOPE.ledger_id)
    notices = [notice("n1"), notice("n2")]
    store.commit_run(record(), ledger(incident()), [source("i-1")], notices, audit())
    assert calls == ["BatchGetItem", "TransactWriteItems"]


def test_each_step_of_the_clock_is_one_call(store: DynamoIncidents, calls: list[str]) -> None:
    Writes(store).notices(notice("n1"))
    calls.clear()
    due = store.due(later(hours=1))
    previous = store.group("g1")
    store.commit_group(
        previous,
        group(due_at=T0),
        due.notices,
        [Outgoing(notification=notification())],
        audit(subject="g1"),
    )
    store.silences(T0)
    store.sources("place")
    assert calls == [
        "Query",
        "GetItem",
        "TransactWriteItems",
        "Query",
        "Query",
    ]


def test_times_of_expiry(store: DynamoIncidents, table: Any) -> None:
    store.commit_run(record(), ledger(), [source("i-1")], [notice("n1")], audit())
    store.commit_group(None, group(), (), [Outgoing(notification=notification())], None)
    store.keep_silence(silence("s1", later(hours=2)), audit("a2", "s1"))

    def expiry(days: int) -> str:
        return str(int((T0 + timedelta(days=days)).timestamp()))

    assert {
        f"{i['pk']['S'].partition('#')[0]} {i['sk']['S'].partition('#')[0]}": i["expires_at"]["N"]
        for i in items(table)
        if "expires_at" in i
    } == {
        "run Completed": expiry(RECORD_DAYS),
        "audit 2026-09-01T06:00:00.000000+00:00": expiry(AUDIT_DAYS),
        "message message": expiry(AUDIT_DAYS),
        "silences s1": str(int(later(hours=2).timestamp())),
    }


def test_a_ledger_is_listed_while_it_fires(store: DynamoIncidents, table: Any) -> None:
    store.commit_act(ledger(incident()), None, (), audit())
    kept = item(table, f"ledger#{SCOPE.ledger_id}")
    assert kept["listing"]["S"] == f"open#{SCOPE.ledger_id[0]}"
    assert (kept["endpoint"]["S"], kept["schedule"]["S"]) == ("loan-risk", "loan-risk-hourly")
    store.commit_act(ledger(incident(state=IncidentState.RESOLVED), version=1), None, (), audit())
    assert "listing" not in item(table, f"ledger#{SCOPE.ledger_id}")


def test_what_another_version_wrote_is_read(store: DynamoIncidents, table: Any) -> None:
    """A field that is new has its default, one that is gone is passed over."""
    key = {"pk": {"S": f"ledger#{SCOPE.ledger_id}"}, "sk": {"S": "ledger"}}
    store.commit_act(ledger(incident()), None, (), audit())
    plain, columns = msgspec.msgpack.decode(zlib.decompress(_content(table, key)))
    del columns["members"]
    columns["gone"] = [1]
    packed = zlib.compress(msgspec.msgpack.encode((plain, columns)))
    table.put_item(TableName=TABLE, Item={**key, "content": {"B": packed}})
    assert store.ledger(SCOPE.ledger_id) == ledger(incident(), version=1)


def _content(table: Any, key: dict[str, Any]) -> bytes:
    return bytes(table.get_item(TableName=TABLE, Key=key)["Item"]["content"]["B"])


# ------------------------------------------------------------------------------------------ size


def full_ledger(count: int) -> Ledger:
    """A schedule on which many features drift, differently in each of its remembered runs."""
    chance = random.Random(7)
    words = (
        "customer account balance days since last max count ratio income region score limit".split()
    )
    runs = tuple(
        LedgerRun(
            stamp=1_788_220_800_000 + number * 3_600_000 + chance.randrange(60_000),
            key="arn:aws:sagemaker:eu-west-1:123456789012:processing-job/"
            f"model-monitoring-20260901{number:02}00-{chance.randbytes(12).hex()}#Completed",
            outcome=Outcome.VIOLATIONS,
            judged=True,
        )
        for number in range(24)
    )
    incidents: dict[str, Incident] = {}
    for number in range(count):
        subject = Subject(feature="_".join([*chance.choices(words, k=4), str(number)]))
        check = chance.choice(["baseline_drift_check", "completeness_check", "data_type_check"])
        key = incident_id(SCOPE, MonitorKind.DATA_QUALITY, check, subject)
        observed = chance.random()
        incidents[key] = Incident(
            id=key,
            kind=MonitorKind.DATA_QUALITY,
            check=check,
            subject=subject,
            state=IncidentState.OPEN,
            severity=Severity.WARNING,
            reason=Reason.SUPPRESSED_DUPLICATE,
            first_seen=later(seconds=chance.randrange(100_000)),
            last_seen=later(seconds=chance.randrange(100_000)),
            opened_at=T0,
            changed_at=T0,
            times_seen=chance.randrange(1, 200),
            occurrence=1,
            seen=tuple(run.stamp for run in runs if chance.random() < 0.8),
            values=tuple(chance.random() for _ in range(12)),
            observed=observed,
            threshold=0.1,
            service_threshold=0.1,
            distance=observed - 0.1,
            told_distance=chance.random(),
            unit="fraction",
            description=f"Baseline drift distance: {observed} exceeds threshold: 0.1",
            changes=(T0.timestamp(),),
            owner="risk-models",
            runbook="https://wiki.example.com/runbooks/drift",
            labels={"team": "risk"},
            feature_group="customers",
            groups={"default": "b0a1c2d3e4f5a6b7c8d9"},
        )
    return Ledger(scope=SCOPE, runs=runs, incidents=incidents)


def test_a_ledger_of_2000_incidents_fits_one_item(store: DynamoIncidents, table: Any) -> None:
    state = full_ledger(2000)
    store.commit_act(state, None, (), audit())
    assert store.ledger(SCOPE.ledger_id) == msgspec.structs.replace(state, version=1)
    kept = item(table, f"ledger#{SCOPE.ledger_id}")
    texts = (part for name, value in kept.items() for part in (name, *value.values()))
    # what counts is the length of names and values
    assert sum(map(len, texts)) < 400 * 1024


def test_a_ledger_that_fits_no_item_is_an_error_that_says_so(store: DynamoIncidents) -> None:
    with pytest.raises(TooLargeToKeepError, match=r"loan-risk-hourly takes \d{6} bytes") as error:
        store.commit_act(full_ledger(4000), None, (), audit())
    assert error.value.remedy
    assert store.ledger(SCOPE.ledger_id) is None


def test_notices_of_more_than_4_mb_are_an_error_that_says_so(store: DynamoIncidents) -> None:
    notices = [
        msgspec.structs.replace(
            notice(f"n{number}"), subject=random.Random(number).randbytes(180_000).hex()
        )
        for number in range(25)
    ]
    with pytest.raises(TooLargeToKeepError, match="a transaction takes"):
        store.commit_act(ledger(), None, notices, audit())


def test_the_largest_content_leaves_room_for_keys() -> None:
    assert LARGEST_CONTENT + 4096 <= 400 * 1024


# ------------------------------------------------------------------------------------ AWS's word


def cancelled(*codes: str) -> ClientError:
    answer: Any = {
        "Error": {"Code": "TransactionCanceledException", "Message": "cancelled"},
        "CancellationReasons": [{"Code": code} for code in codes],
    }
    return ClientError(answer, "TransactWriteItems")


@pytest.mark.parametrize(
    ("codes", "error"),
    [
        (("None", "ConditionalCheckFailed", "None"), ConflictError),
        (("None", "TransactionConflict", "None"), ConflictError),
        (("TransactionConflict", "None", "None"), ConflictError),
        (("None", "ThrottlingError", "None"), ThrottledError),
        (("None", "None", "ProvisionedThroughputExceeded"), ThrottledError),
        (("None", "ValidationError", "None"), RejectedRequestError),
        ((), RejectedRequestError),
    ],
)
def test_why_a_transaction_was_cancelled(
    store: DynamoIncidents,
    monkeypatch: pytest.MonkeyPatch,
    codes: tuple[str, ...],
    error: type[GuiderailError],
) -> None:
    def refuse(**_: Any) -> None:
        raise cancelled(*codes)

    monkeypatch.setattr(client("dynamodb"), "transact_write_items", refuse)
    with pytest.raises(error):
        store.commit_run(record(), ledger(), None, (), audit())


def test_a_duplicate_outweighs_a_conflict(
    store: DynamoIncidents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        raise cancelled("ConditionalCheckFailed", "ConditionalCheckFailed", "None")

    monkeypatch.setattr(client("dynamodb"), "transact_write_items", refuse)
    assert store.commit_run(record(), ledger(), None, (), audit()) is False


def test_a_transaction_that_is_still_running_is_tried_again(
    store: DynamoIncidents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: Any) -> None:
        answer: Any = {"Error": {"Code": "TransactionInProgressException", "Message": "wait"}}
        raise ClientError(answer, "TransactWriteItems")

    monkeypatch.setattr(client("dynamodb"), "transact_write_items", refuse)
    with pytest.raises(UnavailableError):
        store.commit_act(ledger(), None, (), audit())


def test_a_table_that_is_gone_is_no_conflict(dynamo: Any) -> None:
    with pytest.raises(NotFoundError):
        DynamoIncidents("no-table", 1, 1).commit_act(ledger(), None, (), audit())


def forgetful(answers: int) -> Callable[..., Any]:
    """A BatchGetItem that leaves the last key of a request out, and all of them at first."""
    ask = client("dynamodb").batch_get_item
    left = iter(range(answers))

    def batch_get_item(RequestItems: dict[str, Any]) -> Any:
        asked = RequestItems[TABLE]
        some = 0 if next(left, None) is not None else 1
        answer: Any = {"Responses": {}, "UnprocessedKeys": {}}
        if asked["Keys"][:some]:
            answer = ask(RequestItems={TABLE: {**asked, "Keys": asked["Keys"][:some]}})
        if asked["Keys"][some:]:
            answer["UnprocessedKeys"] = {TABLE: {**asked, "Keys": asked["Keys"][some:]}}
        return answer

    return batch_get_item


def test_keys_that_were_left_out_are_asked_for_again(
    store: DynamoIncidents, monkeypatch: pytest.MonkeyPatch
) -> None:
    Writes(store).run(record())
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(client("dynamodb"), "batch_get_item", forgetful(2))
    outcome, known = store.recall(record().run.key, SCOPE.ledger_id)
    assert (outcome, known) == (Outcome.VIOLATIONS, ledger(incident(), version=1))
    assert len(waited) == 2


def test_keys_that_are_left_out_again_and_again_are_throttling(
    store: DynamoIncidents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(client("dynamodb"), "batch_get_item", forgetful(99))
    with pytest.raises(ThrottledError):
        store.recall(record().run.key, SCOPE.ledger_id)


def test_all_pages_of_a_partition_are_read(store: DynamoIncidents) -> None:
    # a page holds 1 MB: more than one page of sources
    large = msgspec.structs.replace(
        source("i-1"), labels={"text": random.Random(1).randbytes(150_000).hex()}
    )
    for number in range(9):
        scope = scope_of(f"schedule-{number}")
        store.commit_act(ledger(scope=scope), [large], (), audit())
    assert len(store.sources("123456789012#eu-west-1#loan-risk")) == 9


def test_the_index_is_the_templates(table: Any) -> None:
    described = table.describe_table(TableName=TABLE)["Table"]
    (index,) = described["GlobalSecondaryIndexes"]
    assert index["IndexName"] == INDEX
    assert index["Projection"] == {"ProjectionType": "KEYS_ONLY"}


class TestOutboxInDynamoDB(OutboxContract):
    """The contract of the outbox."""

    @pytest.fixture
    def incidents(self, store: DynamoIncidents) -> DynamoIncidents:
        return store

    @pytest.fixture
    def outbox(self, store: DynamoIncidents) -> DynamoDeliveries:
        return DynamoDeliveries(TABLE, AUDIT_DAYS)


class TestRemediationsInDynamoDB(RemediationContract):
    """The contract of remediations."""

    @pytest.fixture
    def incidents(self, store: DynamoIncidents) -> DynamoIncidents:
        return store

    @pytest.fixture
    def outbox(self, store: DynamoIncidents) -> DynamoDeliveries:
        return DynamoDeliveries(TABLE, AUDIT_DAYS)

    @pytest.fixture
    def remediations(self, table: Any) -> DynamoRemediations:
        return DynamoRemediations(TABLE, AUDIT_DAYS)
