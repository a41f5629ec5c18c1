"""The store in memory: the contract of stores, threads, and what tests look at inside."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from guiderail.errors import ConflictError
from guiderail.model.delivery import Outgoing
from guiderail.model.outcome import Outcome, Reason
from guiderail.model.policy import Policy
from guiderail_cli.in_memory import FixedPolicies, InMemoryIncidents

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
)

WRITERS = 8
WRITES = 25


@pytest.fixture
def store() -> InMemoryIncidents:
    return InMemoryIncidents()


class TestInMemory(StoreContract):
    """The contract."""


def test_writers_of_one_ledger_lose_nothing(store: InMemoryIncidents) -> None:
    def write(writer: int) -> None:
        for number in range(WRITES):
            name = f"{writer}-{number}"
            while True:
                _, known = store.recall("", SCOPE.ledger_id)
                state = ledger(
                    *(known.incidents.values() if known else ()),
                    incident(name),
                    version=known.version if known else 0,
                )
                try:
                    assert store.commit_run(record(name), state, None, [notice(name)], audit(name))
                except ConflictError:
                    continue
                break

    with ThreadPoolExecutor(WRITERS) as writers:
        list(writers.map(write, range(WRITERS)))
    kept = store.ledgers[SCOPE.ledger_id]
    assert kept.version == len(kept.incidents) == WRITERS * WRITES
    assert len(store.runs) == len(store.due_rows) == len(store.audit_entries) == WRITERS * WRITES


def test_what_is_inside_can_be_looked_at(store: InMemoryIncidents) -> None:
    Writes(store).run(record(), 0, notice("n1", later(seconds=5)))
    store.commit_group(None, group(due_at=T0), (), [Outgoing(notification=notification())], None)
    assert store.next_due == T0
    store.commit_group(store.groups["g1"], group(), (), (), None)
    assert store.next_due == later(seconds=5)
    assert store.runs == {record().run.key: record()}
    assert store.groups["g1"].version == 2
    assert store.messages == {"n1": notification()}
    assert store.audit_entries == [audit()]


def test_records_of_runs_need_not_stay() -> None:
    store = InMemoryIncidents(keep_runs=False)
    assert Writes(store).run(record())
    assert Writes(store).run(record(), 1) is False
    assert store.runs == {}
    assert store.recall(record().run.key, "")[0] is Outcome.VIOLATIONS
    assert store.next_due is None


def test_a_fixed_policy_is_the_one_that_was_set_last() -> None:
    policies = FixedPolicies()
    assert policies.current().policy == Policy()
    policies.policy = Policy(version="v2")
    policies.trouble, policies.evidence = Reason.POLICY_UNREADABLE, "not JSON"
    now = policies.current()
    assert (now.policy.version, now.trouble, now.evidence) == (
        "v2",
        Reason.POLICY_UNREADABLE,
        "not JSON",
    )


class TestOutboxInMemory(OutboxContract):
    """The contract of the outbox."""

    @pytest.fixture
    def incidents(self, store: InMemoryIncidents) -> InMemoryIncidents:
        return store

    @pytest.fixture
    def outbox(self, store: InMemoryIncidents) -> InMemoryIncidents:
        return store


class TestRemediationsInMemory(RemediationContract):
    """The contract of remediations."""

    @pytest.fixture
    def incidents(self, store: InMemoryIncidents) -> InMemoryIncidents:
        return store

    @pytest.fixture
    def outbox(self, store: InMemoryIncidents) -> InMemoryIncidents:
        return store

    @pytest.fixture
    def remediations(self, store: InMemoryIncidents) -> InMemoryIncidents:
        return store
