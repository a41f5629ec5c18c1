"""Re-ingestion over a store in memory that throttles, refuses, forgets and dies."""

from __future__ import annotations

import itertools
import json
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from guiderail.errors import (
    AccessDeniedError,
    GuiderailError,
    NotFoundError,
    PermanentError,
    RejectedRequestError,
    ThrottledError,
    UnavailableError,
)
from guiderail.model.ingestion import (
    Block,
    FeatureGroup,
    FeatureType,
    ObjectTask,
    OperationMissingError,
    Progress,
    Reject,
    RejectCode,
    SourceChangedError,
)
from guiderail.services import reingesting
from guiderail.services.reingest_planning import SourceObject
from guiderail.services.reingesting import MOST_TRIES, Answer, Pace, Reingest, waves
from hypothesis import given
from hypothesis import strategies as st

CHECKPOINT = "s3://kept/run/checkpoints/000000.json"
REJECTS = "s3://kept/run/rejects/000000"
GROUP = FeatureGroup(
    name="loans",
    identifier="id",
    event_time="at",
    features={"id": FeatureType.STRING, "at": FeatureType.FRACTIONAL},
)

Row = tuple[str, float]
"""Identifier and event time; a row without an identifier is none."""


def body_of(row: Row) -> bytes:
    values = (("id", row[0]), ("at", f"{row[1]:g}"))
    return msgspec.json.encode([{"FeatureName": n, "ValueAsString": v} for n, v in values])


def block_of(rows: Sequence[Row], first: int, again: Sequence[Reject] = ()) -> Block:
    good = [i for i, row in enumerate(rows) if row[0]]
    rejects = [
        Reject(
            feature_group="loans",
            object="s3://lake/a.csv",
            etag="e1",
            row=first + i + 1,
            code=RejectCode.MISSING_IDENTIFIER,
            message="id has no value",
            values={"at": f"{row[1]:g}"},
        )
        for i, row in enumerate(rows)
        if not row[0]
    ]
    return Block(
        rows=len(rows),
        identifiers=[rows[i][0] for i in good],
        times=[rows[i][1] for i in good],
        bodies=[body_of(rows[i]) for i in good],
        numbers=good if again else [first + i + 1 for i in good],
        rejects=[again[i] for i, row in enumerate(rows) if not row[0]] if again else rejects,
    )


class Records:
    """Implements RecordReader over rows; ``alive`` are the blocks that somebody holds."""

    def __init__(self, rows: Sequence[Row], size: int = 10_000) -> None:
        self.rows = rows
        self.size = size
        self.asked: list[tuple[int, int]] = []
        self.most_alive = 0
        self.fails_after: tuple[int, GuiderailError] | None = None
        self._alive: weakref.WeakSet[_Bodies] = weakref.WeakSet()

    def blocks(
        self, task: ObjectTask, group: FeatureGroup, after: int, most: int
    ) -> Iterator[Block]:
        self.asked.append((after, most))
        for first in range(after, len(self.rows), min(most, self.size)):
            if self.fails_after and first >= self.fails_after[0]:
                raise self.fails_after[1]
            block = block_of(self.rows[first : first + min(most, self.size)], first)
            bodies = _Bodies(block.bodies)
            self._alive.add(bodies)
            self.most_alive = max(self.most_alive, len(self._alive))
            yield msgspec.structs.replace(block, bodies=bodies)
            del block, bodies

    def block_of(self, rejects: Sequence[Reject], group: FeatureGroup) -> Block:
        rows = [(r.values.get("id", ""), float(r.values["at"])) for r in rejects]
        return block_of(rows, 0, rejects)


class _Bodies(list[bytes]):
    __hash__ = object.__hash__  # type: ignore[assignment]


@dataclass
class Store:
    """Implements FeatureStore; keeps what it was given, in order, and does what ``plan`` says first."""

    plan: list[Callable[[Sequence[str]], Answer]] = field(default_factory=list)
    always: Callable[[Sequence[str]], Answer] | None = None
    written: list[Row] = field(default_factory=list)
    batches: list[Sequence[str]] = field(default_factory=list)
    puts: int = 0
    put_fails: Callable[[str], None] = lambda identifier: None
    crossed: int = 0
    _under_way: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(
        self, group: FeatureGroup, identifiers: Sequence[str], bodies: Sequence[bytes]
    ) -> Answer:
        with self._lock:
            self.batches.append(list(identifiers))
            self.crossed += len(set(identifiers) & set(self._under_way))
            self.crossed += len(identifiers) - len(set(identifiers))
            self._under_way += identifiers
            step = self.plan.pop(0) if self.plan else self.always
        try:
            answer = step(identifiers) if step else Answer()
        finally:
            with self._lock:
                for identifier in identifiers:
                    self._under_way.remove(identifier)
        failed = {*answer.unprocessed, *(place for place, _, _ in answer.errors)}
        with self._lock:
            self.written += [row_of(b) for i, b in enumerate(bodies) if i not in failed]
        return answer

    def put(self, group: FeatureGroup, body: bytes) -> None:
        row = row_of(body)
        self.puts += 1
        self.put_fails(row[0])
        with self._lock:
            self.written.append(row)


def row_of(body: bytes) -> Row:
    values = {value["FeatureName"]: value["ValueAsString"] for value in json.loads(body)}
    return values["id"], float(values["at"])


class Kept(dict[str, bytes]):
    """Implements KeptFiles; ``dies_at`` counts writes until the process dies, before one or after it."""

    dies_at: int | None = None
    dies_after = False

    def objects(self, uri: str) -> Iterator[SourceObject]:
        for found in sorted(self):
            if found.startswith(uri):
                key = found.removeprefix("s3://").partition("/")[2]
                yield SourceObject(key=key, size=len(self[found]), etag="")

    def read(self, uri: str) -> bytes:
        if uri not in self:
            raise NotFoundError(f"GetObject {uri}: NoSuchKey")
        return self[uri]

    def write(self, uri: str, content: bytes) -> None:
        if self.dies_at is not None:
            self.dies_at -= 1
            if self.dies_at < 0:
                if self.dies_after:
                    self[uri] = content
                raise Death
        self[uri] = content

    def progress(self) -> Progress:
        return msgspec.json.decode(self[CHECKPOINT], type=Progress)

    def rejects(self) -> list[Reject]:
        lines = b"".join(self[uri] for uri in sorted(self) if uri.endswith(".jsonl")).splitlines()
        return [msgspec.json.decode(line, type=Reject) for line in lines]


class Death(BaseException):
    """The process is gone."""


class Clock:
    """Time goes on while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.slept.append(seconds)
            self.now += seconds


@dataclass
class Setting:
    """A re-ingestion of an object with these rows."""

    records: Records
    store: Store = field(default_factory=Store)
    kept: Kept = field(default_factory=Kept)
    clock: Clock = field(default_factory=Clock)
    connections: int = 4
    jitter: float = 0.5
    heard: list[Progress] = field(default_factory=list)

    @property
    def core(self) -> Reingest:
        """A new process."""
        return Reingest(
            groups=self,
            records=self.records,
            store=self.store,
            kept=self.kept,
            clock=self.clock,
            sleep=self.clock.sleep,
            jitter=lambda: self.jitter,
            connections=self.connections,
        )

    def describe(self, name: str) -> FeatureGroup:
        return GROUP

    def ingest(self, seconds: float = 1e9, dry_run: bool = False, **more: Any) -> Progress:
        task = ObjectTask(
            uri="s3://lake/a.csv",
            size=1,
            feature_group="loans",
            checkpoint=CHECKPOINT,
            rejects=REJECTS,
            **{"etag": "e1", "rate": 1e9, **more},
        )
        end = self.clock.now + seconds
        return self.core.ingest(task, lambda: end - self.clock.now, self.heard.append, dry_run)

    def retry(self, seconds: float = 1e9, dry_run: bool = False) -> Progress:
        end = self.clock.now + seconds
        return self.core.retry(
            "s3://kept/run/rejects/", lambda: end - self.clock.now, 1e9, dry_run=dry_run
        )


def rows_of(count: int) -> list[Row]:
    return [(f"i{i}", float(i)) for i in range(count)]


def fails(error: GuiderailError) -> Callable[[Sequence[str]], Answer]:
    def step(identifiers: Sequence[str]) -> Answer:
        raise error

    return step


def without(*identifiers: str) -> Callable[[Sequence[str]], Answer]:
    """A store that knows no better than to refuse the whole batch that one of these is in."""

    def step(given: Sequence[str]) -> Answer:
        if set(given) & set(identifiers):
            raise RejectedRequestError("BatchWriteRecord: ValidationError: bad value")
        return Answer()

    return step


# --- what goes well


def test_all_records_are_written_in_batches_of_25() -> None:
    setting = Setting(Records(rows_of(60)))
    progress = setting.ingest()
    assert sorted(setting.store.written) == sorted(rows_of(60))
    assert sorted(len(batch) for batch in setting.store.batches) == [10, 25, 25]
    assert progress == Progress(etag="e1", rows=60, written=60, done=True)
    assert setting.kept.progress() == progress
    assert list(setting.kept) == [CHECKPOINT]


def test_an_object_without_records_is_done() -> None:
    setting = Setting(Records([]))
    assert setting.ingest() == Progress(etag="e1", done=True)
    assert setting.store.batches == []


def test_what_is_done_is_not_done_again() -> None:
    setting = Setting(Records(rows_of(3)))
    first = setting.ingest()
    assert setting.ingest() == first
    assert len(setting.store.written) == 3
    assert len(setting.records.asked) == 1


def test_an_object_that_was_replaced_is_read_from_its_beginning() -> None:
    setting = Setting(Records(rows_of(3)))
    setting.ingest()
    assert setting.ingest(etag="e2").written == 3
    assert setting.records.asked == [(0, reingesting.CHUNK), (0, reingesting.CHUNK)]


def test_progress_is_told_after_each_chunk() -> None:
    setting = Setting(Records(rows_of(30), size=10))
    setting.ingest()
    assert [progress.written for progress in setting.heard] == [10, 20, 30]


def test_at_most_the_block_that_is_written_and_the_next_ones_are_held() -> None:
    setting = Setting(Records(rows_of(2000), size=20))
    setting.ingest()
    assert len(setting.store.written) == 2000
    assert setting.records.most_alive <= 4


def test_a_dry_run_checks_everything_and_writes_nothing() -> None:
    setting = Setting(Records([("a", 1), ("", 2), ("b", 3)]))
    progress = setting.ingest(dry_run=True)
    assert (progress.written, progress.reasons) == (2, {RejectCode.MISSING_IDENTIFIER: 1})
    assert (setting.store.batches, setting.kept) == ([], {})


# --- order


def test_records_of_one_identifier_go_one_after_the_other_by_event_time() -> None:
    """Given many records of few identifiers, out of order, then none is written before an older one of its own."""
    rows = [(f"i{i % 7}", float((i * 37) % 101)) for i in range(200)]
    setting = Setting(Records(rows))
    setting.ingest()
    assert sorted(setting.store.written) == sorted(rows)
    assert setting.store.crossed == 0
    for identifier in {row[0] for row in rows}:
        times = [at for name, at in setting.store.written if name == identifier]
        assert times == sorted(times)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3).map(float))))
def test_each_turn_has_an_identifier_once_and_turns_keep_the_order(rows: list[Row]) -> None:
    turns = [list(turn) for turn in waves([r[0] for r in rows], [r[1] for r in rows])]
    assert sorted(itertools.chain(*turns)) == list(range(len(rows)))
    for turn in turns:
        assert len({rows[place][0] for place in turn}) == len(turn)
    for name in "abc":
        order = [place for turn in turns for place in turn if rows[place][0] == name]
        assert order == sorted(order, key=lambda place: (rows[place][1], place))


# --- what goes wrong with records


def test_rows_that_are_no_records_are_kept_with_their_reason() -> None:
    setting = Setting(Records([("a", 1), ("", 2), ("b", 3)]))
    progress = setting.ingest()
    assert (progress.written, progress.rejected) == (2, 1)
    (reject,) = setting.kept.rejects()
    assert (reject.row, reject.code, reject.values) == (
        2, RejectCode.MISSING_IDENTIFIER, {"at": "2"},
    )  # fmt: skip


def test_errors_of_entries_become_rejects_with_their_values() -> None:
    answer = Answer(errors=[(1, "ValidationError", "no such feature")])
    setting = Setting(Records(rows_of(3)), Store(plan=[lambda given: answer]))
    progress = setting.ingest()
    assert (progress.written, progress.reasons) == (2, {RejectCode.REFUSED: 1})
    (reject,) = setting.kept.rejects()
    assert reject.row == 2
    assert reject.message == "ValidationError: no such feature"
    assert reject.values == {"id": "i1", "at": "1"}


def test_a_batch_that_is_refused_as_a_whole_is_halved_until_it_is_known_why() -> None:
    setting = Setting(Records(rows_of(50)), Store(always=without("i7", "i31")))
    progress = setting.ingest()
    assert (progress.written, progress.rejected) == (48, 2)
    assert [reject.values["id"] for reject in setting.kept.rejects()] == ["i7", "i31"]
    assert len(setting.store.written) == 48
    assert len(setting.store.batches) < 25


@pytest.mark.parametrize(
    "temporary", ["InternalFailure", "ServiceUnavailable", "ThrottlingException"]
)
def test_unprocessed_entries_and_passing_errors_are_sent_again(temporary: str) -> None:
    answer = Answer(unprocessed=[0, 2], errors=[(4, temporary, "later")])
    setting = Setting(Records(rows_of(6)), Store(plan=[lambda given: answer]))
    assert setting.ingest().written == 6
    assert setting.store.batches[1] == ["i0", "i2", "i4"]
    assert sorted(setting.store.written) == rows_of(6)
    assert setting.clock.slept == [0.05]


def test_throttling_is_waited_out_longer_each_time() -> None:
    error = ThrottledError("BatchWriteRecord: ThrottlingException")
    setting = Setting(Records(rows_of(3)), Store(plan=[fails(error)] * 4))
    assert setting.ingest().written == 3
    assert setting.clock.slept == [0.05, 0.1, 0.2, 0.4]


@pytest.mark.parametrize(
    "always",
    [fails(UnavailableError("BatchWriteRecord: 503")), lambda given: Answer(unprocessed=[0])],
    ids=["unavailable", "unprocessed"],
)
def test_a_store_that_stays_away_ends_the_call_and_loses_nothing(always: Any) -> None:
    """Given a store that takes nothing, when tries are used up, then the next call goes on from the checkpoint."""
    setting = Setting(Records(rows_of(30), size=10))
    setting.store.plan = [lambda given: Answer()]
    setting.store.always = always
    with pytest.raises((UnavailableError, ThrottledError)):
        setting.ingest()
    assert len(setting.store.batches) == 1 + MOST_TRIES
    assert setting.kept.progress().rows == 10
    setting.store.always = None
    assert setting.ingest().written == 30
    assert set(setting.store.written) == set(rows_of(30))


@pytest.mark.parametrize(
    "error", [OperationMissingError("BatchWriteRecord: unknown"), AccessDeniedError("denied")]
)
def test_without_batch_write_record_each_is_put(error: GuiderailError) -> None:
    setting = Setting(Records(rows_of(60), size=30), Store(always=fails(error)), connections=1)
    progress = setting.ingest()
    assert sorted(setting.store.written) == sorted(rows_of(60))
    assert (setting.store.puts, len(setting.store.batches)) == (60, 1)
    assert (progress.written, progress.one_by_one) == (60, True)


def test_single_puts_are_refused_and_repeated_singly() -> None:
    busy = iter([ThrottledError("PutRecord: ThrottlingException")])

    def put(identifier: str) -> None:
        if identifier == "i2":
            raise RejectedRequestError("PutRecord: ValidationError: bad value")
        if identifier == "i4" and (error := next(busy, None)):
            raise error

    setting = Setting(Records(rows_of(6)), Store(always=fails(OperationMissingError("unknown"))))
    setting.store.put_fails = put
    progress = setting.ingest()
    assert (progress.written, progress.rejected) == (5, 1)
    assert setting.kept.rejects()[0].values["id"] == "i2"
    # what was put before the throttled one is not put again
    assert sorted(row[0] for row in setting.store.written) == ["i0", "i1", "i3", "i4", "i5"]


def test_a_role_that_may_neither_is_told_so() -> None:
    setting = Setting(Records(rows_of(3)), Store(always=fails(AccessDeniedError("batch"))))

    def put(identifier: str) -> None:
        raise AccessDeniedError("PutRecord: denied")

    setting.store.put_fails = put
    with pytest.raises(AccessDeniedError, match="PutRecord"):
        setting.ingest()
    assert CHECKPOINT not in setting.kept


# --- what goes wrong with the object


def test_an_object_that_changes_in_the_middle_is_an_error_and_what_was_written_is_noted() -> None:
    records = Records(rows_of(30), size=10)
    records.fails_after = (20, SourceChangedError("s3://lake/a.csv was changed"))
    setting = Setting(records)
    with pytest.raises(SourceChangedError):
        setting.ingest()
    assert setting.kept.progress().rows == 20
    assert not setting.kept.progress().done


def test_a_checkpoint_that_is_none_is_named() -> None:
    setting = Setting(Records(rows_of(3)))
    setting.kept[CHECKPOINT] = b"{}"
    with pytest.raises(PermanentError, match=f"{CHECKPOINT} is no checkpoint"):
        setting.ingest()


# --- interruptions


@pytest.mark.parametrize("after", [False, True], ids=["before the write", "after it"])
def test_a_process_that_dies_at_any_write_loses_nothing(after: bool) -> None:
    """Given chunks with rejects, when the process dies at each write, then at most one chunk comes twice."""
    rows = [(f"i{i}" if i % 4 else "", float(i)) for i in range(50)]
    good = [row for row in rows if row[0]]
    for dies_at in itertools.count():
        setting = Setting(Records(rows, size=10))
        setting.kept.dies_at, setting.kept.dies_after = dies_at, after
        try:
            setting.ingest()
        except Death:
            setting.kept.dies_at = None
            progress = setting.ingest()
        else:
            break
        assert set(setting.store.written) == set(good)
        assert len(setting.store.written) <= len(good) + 8
        assert (progress.written, progress.rejected, progress.done) == (len(good), 13, True)
        assert sorted(reject.row for reject in setting.kept.rejects()) == [
            i + 1 for i, row in enumerate(rows) if not row[0]
        ]
    # five chunks with a reject file and a checkpoint each, and the end
    assert dies_at == 11


def test_a_call_ends_before_its_time_does_and_the_next_goes_on() -> None:
    """Given a rate of 10 a second and calls of a minute, when they follow each other, then each gets on."""
    setting = Setting(Records(rows_of(1000)), connections=1)
    ends = []
    while not (progress := setting.ingest(seconds=60, rate=10)).done:
        ends.append(progress.rows)
        assert setting.clock.now <= 60 * len(ends) - 5
        setting.clock.now = 60.0 * len(ends)
    assert ends == [500]
    assert sorted(setting.store.written) == sorted(rows_of(1000))


def test_time_that_runs_out_within_a_chunk_leaves_it_undone() -> None:
    """Given a store so busy that a chunk takes too long, when time is up, then the chunk is written again."""
    setting = Setting(Records(rows_of(20), size=10), jitter=1)
    setting.store.plan = [lambda given: Answer()]
    setting.store.always = fails(ThrottledError("busy"))
    assert setting.ingest(seconds=21) == Progress(etag="e1", rows=10, written=10)
    assert setting.kept.progress().rows == 10
    setting.store.always = None
    assert setting.ingest().written == 20


def test_a_call_without_time_does_nothing() -> None:
    setting = Setting(Records(rows_of(3)))
    assert not setting.ingest(seconds=1).done
    assert (setting.store.batches, setting.kept) == ([], {})


# --- pace


def test_the_rate_holds_over_all_batches_and_objects() -> None:
    setting = Setting(Records(rows_of(500)), connections=1)
    core = setting.core
    for name in ("a", "b"):
        task = ObjectTask(
            uri=f"s3://lake/{name}.csv",
            size=1,
            etag="e1",
            feature_group="loans",
            checkpoint=f"s3://kept/{name}.json",
            rejects=f"s3://kept/{name}",
            rate=50,
        )
        core.ingest(task, lambda: 1e9)
    assert len(setting.store.written) == 1000
    # all but the last batch have been waited for
    assert setting.clock.now == pytest.approx((1000 - 25) / 50)


def test_a_pace_saves_nothing_up() -> None:
    clock = Clock()
    pace = Pace(10, clock)
    assert pace.turn(5) == 0
    assert pace.turn(5) == pytest.approx(0.5)
    clock.now = 100
    assert pace.turn(50) == 0
    assert pace.turn(1) == pytest.approx(5)


def test_a_chunk_of_wide_records_has_fewer_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reingesting, "CHUNK_VALUES", 200)
    setting = Setting(Records(rows_of(1)))
    setting.ingest()
    assert setting.records.asked == [(0, 100)]


def test_a_chunk_is_as_large_as_its_rate_allows() -> None:
    for rate, most in ((1, 25), (100, 1000), (1e9, reingesting.CHUNK)):
        setting = Setting(Records(rows_of(1)))
        setting.ingest(rate=rate)
        assert setting.records.asked == [(0, most)]


# --- rejects once more


def rejected() -> Setting:
    setting = Setting(Records([("a", 1), ("", 2), ("b", 3), ("", 4)], size=2))
    setting.ingest()
    setting.store.written.clear()
    return setting


def mend(setting: Setting, row: int, **values: str) -> None:
    """Correct a value in its reject file."""
    for uri in [uri for uri in setting.kept if uri.endswith(".jsonl")]:
        lines = [json.loads(line) for line in setting.kept[uri].splitlines()]
        for line in lines:
            if line["row"] == row:
                line["values"] |= values
        setting.kept[uri] = b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_mended_rejects_are_written_and_the_others_stay() -> None:
    setting = rejected()
    mend(setting, 2, id="mended")
    progress = setting.retry()
    assert setting.store.written == [("mended", 2.0)]
    assert (progress.written, progress.rejected, progress.done) == (1, 1, True)
    assert [reject.row for reject in setting.kept.rejects()] == [4]
    again = setting.retry()
    assert (again.written, again.rejected) == (0, 1)


def test_rejects_that_the_store_refuses_again_stay() -> None:
    setting = rejected()
    mend(setting, 2, id="bad")
    setting.store.always = without("bad")
    assert setting.retry().reasons == {RejectCode.REFUSED: 1, RejectCode.MISSING_IDENTIFIER: 1}
    first = setting.kept.rejects()[0]
    assert (first.row, first.code) == (2, RejectCode.REFUSED)
    assert first.values == {"at": "2", "id": "bad"}


def test_a_dry_retry_changes_nothing() -> None:
    setting = rejected()
    mend(setting, 2, id="mended")
    before = dict(setting.kept)
    assert setting.retry(dry_run=True).written == 1
    assert (setting.kept, setting.store.written) == (before, [])


def test_a_retry_without_time_leaves_all_as_it_was() -> None:
    setting = rejected()
    before = dict(setting.kept)
    assert not setting.retry(seconds=1).done
    assert setting.kept == before


def test_a_retry_that_dies_can_be_repeated() -> None:
    setting = rejected()
    mend(setting, 2, id="one")
    mend(setting, 4, id="two")
    setting.kept.dies_at = 1
    with pytest.raises(Death):
        setting.retry()
    setting.kept.dies_at = None
    setting.retry()
    assert set(setting.store.written) == {("one", 2.0), ("two", 4.0)}
    assert setting.kept.rejects() == []


def test_a_place_without_reject_files_is_named() -> None:
    with pytest.raises(NotFoundError, match="no reject file under s3://kept/run/rejects/"):
        Setting(Records([])).retry()


def test_a_line_that_is_no_reject_is_named() -> None:
    setting = rejected()
    uri = next(uri for uri in setting.kept if uri.endswith(".jsonl"))
    setting.kept[uri] += b"\n{broken"
    with pytest.raises(PermanentError, match=f"{uri}, line 3, is no rejected record"):
        setting.retry()
