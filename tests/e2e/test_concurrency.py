"""Many runs at once, from real threads, on the local cloud's DynamoDB: nothing is lost or done twice."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest
from guiderail.adapters import clients
from guiderail.adapters.clients import client
from guiderail.adapters.dynamodb import DynamoIncidents
from guiderail.errors import ConflictError
from guiderail.model.incident import Ledger, LedgerRun, Scope
from guiderail.model.notice import Group, Held, Notice
from guiderail.model.outcome import Outcome
from guiderail.model.policy import LifeCycle
from guiderail.services.incident_cycle import observe
from guiderail_local.cloud import ACCOUNT, REGION, LocalCloud
from guiderail_local.environment import prepare
from guiderail_local.sagemaker import SageMaker
from msgspec.structs import replace

from tests.store_contract import (
    SCOPE,
    T0,
    audit,
    digested,
    entry,
    group,
    judgement,
    later,
    notice,
    record,
    scope_of,
    source,
)
from tests.template import of_type, resolve, transform

pytestmark = pytest.mark.e2e

SCHEDULES = 200
RUNS = 3
WRITERS = 8
WRITES = 12
TELLERS = 2

A = TypeVar("A")
R = TypeVar("R")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """MiniStack alone, and the adapters' clients on it."""
    cloud = LocalCloud({})
    home: Path = tmp_path_factory.mktemp("ministack")
    with ExitStack() as running, pytest.MonkeyPatch.context() as environment:
        cloud.sagemaker = running.enter_context(SageMaker())
        cloud._start(running, prepare(), home)
        for name, value in {
            "AWS_ENDPOINT_URL": cloud.url,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCOUNT,
            "AWS_SECRET_ACCESS_KEY": "local",
            "NO_PROXY": "127.0.0.1",
        }.items():
            environment.setenv(name, value)
        for cached in (clients.client, clients._session):
            cached.cache_clear()
        client("dynamodb")  # made once, before the threads
        yield
        for cached in (clients.client, clients._session):
            cached.cache_clear()


@pytest.fixture
def store(endpoint: None) -> Iterator[DynamoIncidents]:
    """A store on an empty table of the template's shape."""
    declared = of_type(resolve(transform()), "AWS::DynamoDB::Table")["RunTable"]
    kept = ("AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes")
    dynamo = client("dynamodb")
    dynamo.create_table(TableName="Incidents", **{name: declared[name] for name in kept})
    yield DynamoIncidents("Incidents", 90, 400)
    dynamo.delete_table(TableName="Incidents")


def at_once(work: Callable[[A], R], arguments: Sequence[A]) -> list[R]:
    """Call ``work`` for each argument in a thread of its own, all beginning at the same moment."""
    gate = threading.Barrier(len(arguments))

    def wait_and_work(argument: A) -> R:
        gate.wait()
        return work(argument)

    with ThreadPoolExecutor(len(arguments)) as threads:
        return list(threads.map(wait_and_work, arguments))


def until_written(write: Callable[[], R]) -> R:
    """Try again after a conflict, as the queue does with a message."""
    while True:
        try:
            return write()
        except ConflictError:
            time.sleep(random.uniform(0, 0.02))


def run_of(store: DynamoIncidents, scope: Scope, name: str, number: int) -> int | None:
    """Commit a run with what follows from it; the version it wrote, or None for a duplicate."""
    run = record(name)
    known, ledger = store.recall(run.run.key, scope.ledger_id)
    if known:
        return None
    ledger = ledger or Ledger(scope=scope)
    seen = LedgerRun(1_000_000 + number, run.run.key, Outcome.VIOLATIONS, True)
    after = observe(ledger, seen, [judgement()], LifeCycle(), T0).ledger
    written = store.commit_run(
        run,
        after,
        [source(f"i-{name}")],
        [notice(name, later(milliseconds=number))],
        audit(name, scope.ledger_id, later(seconds=number)),
    )
    return ledger.version + 1 if written else None


def taken_in(previous: Group | None, notices: Sequence[Notice]) -> Group:
    """The group with an entry for each notice, which tells how often it was taken in."""
    held = dict(previous.held) if previous else {}
    for taken in notices:
        before = held[taken.id].entry.count if taken.id in held else 0
        held[taken.id] = Held(entry=replace(entry(taken.id), count=before + 1), at=T0)
    return replace(group("g1", due_at=later(days=1)), held=held)


def test_200_schedules_of_one_endpoint_at_once(store: DynamoIncidents) -> None:
    scopes = [scope_of(f"loan-risk-{number}") for number in range(SCHEDULES)]

    def runs(scope: Scope) -> list[int | None]:
        # no retry: schedules of one endpoint are not in each other's way
        return [run_of(store, scope, f"{scope.schedule}-{n}", n) for n in range(RUNS)]

    versions = at_once(runs, scopes)

    assert versions == [[1, 2, 3]] * SCHEDULES
    for scope in scopes:
        ledger = store.ledger(scope.ledger_id)
        assert ledger
        assert ledger.version == len(ledger.runs) == RUNS
        assert [i.times_seen for i in ledger.incidents.values()] == [RUNS]
        names = [f"{scope.schedule}-{n}" for n in range(RUNS)]
        assert [a.id for a in store.audit(scope.ledger_id, 99)] == names[::-1]
        for name in names:
            assert store.recall(record(name).run.key, "") == (Outcome.VIOLATIONS, None)
    assert len(list(store.firing_ledgers())) == SCHEDULES
    assert {s.incident for s in store.sources(SCOPE.place)} == {
        f"i-{scope.schedule}-{RUNS - 1}" for scope in scopes
    }


def test_every_notice_is_taken_in_once_while_more_arrive(store: DynamoIncidents) -> None:
    arriving = [scope_of(f"loan-risk-{number}") for number in range(40)]
    done = threading.Event()
    written: list[int] = []

    def bring(scope: Scope) -> None:
        for number in range(RUNS):
            run_of(store, scope, f"{scope.schedule}-{number}", number)

    def take_in() -> bool:
        """Take in what is due; whether there was anything."""
        notices = store.due(later(hours=1)).notices[:50]
        if not notices:
            return False
        previous = store.group("g1")
        version = previous.version if previous else 0
        message = digested(f"n{version + 1}", later(milliseconds=version))
        store.commit_group(previous, taken_in(previous, notices), notices, [message], None)
        written.append(version + 1)
        return True

    def tell() -> None:
        while until_written(take_in) or not done.is_set():
            pass

    with ThreadPoolExecutor(TELLERS) as tellers:
        telling = [tellers.submit(tell) for _ in range(TELLERS)]
        try:
            at_once(bring, arriving)
        finally:
            done.set()
        for teller in telling:
            teller.result()
    assert not until_written(take_in)

    last = store.group("g1")
    assert last
    names = {f"{scope.schedule}-{number}" for scope in arriving for number in range(RUNS)}
    assert set(last.held) == names
    assert {held.entry.count for held in last.held.values()} == {1}
    assert sorted(written) == list(range(1, last.version + 1))
    waiting = store.due(later(days=2))
    assert {one.notification.id for one in waiting.digested} == {
        f"n{version}" for version in written
    }
    assert (waiting.notices, waiting.groups) == ((), ("g1",))


def test_many_writers_of_one_ledger(store: DynamoIncidents) -> None:
    """Every run comes to two writers at the same time: one of them records it."""
    conflicts: Counter[str] = Counter()

    def write(writer: int) -> list[int | None]:
        versions = []
        for number in range(WRITES):
            name = f"{writer // 2}-{number}"

            def attempt(name: str = name, number: int = number) -> int | None:
                try:
                    return run_of(store, SCOPE, name, 100 * (writer // 2) + number)
                except ConflictError:
                    conflicts["ledger"] += 1
                    raise

            versions.append(until_written(attempt))
        return versions

    versions = at_once(write, range(WRITERS))

    runs = WRITERS // 2 * WRITES
    for one, other in zip(versions[::2], versions[1::2], strict=True):
        assert all((a is None) is not (b is None) for a, b in zip(one, other, strict=True))
    assert sorted(v for of in versions for v in of if v) == list(range(1, runs + 1))
    ledger = store.ledger(SCOPE.ledger_id)
    assert ledger and ledger.version == runs
    assert [i.times_seen for i in ledger.incidents.values()] == [runs]
    assert len(store.audit(SCOPE.ledger_id, 999)) == runs
    assert len(store.due(later(hours=1)).notices) == runs
    assert conflicts, "the writers were never in each other's way: this proves nothing"
