"""Re-ingestion: records of one S3 object into a feature group, the same in Lambda, map and Processing job.

An object is read in blocks. Of each, what cannot be a record goes into a reject file with its reason, the
others are written, and then the checkpoint says so: what breaks off is done again from there, and writing a
record twice leaves it as it was.

Order: blocks follow each other. Within one, records of the same identifier are written by event time, one
after the other, never in two requests at a time nor twice in one; those of different identifiers side by side.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

import msgspec

from guiderail.errors import (
    AccessDeniedError,
    NotFoundError,
    PermanentError,
    RejectedRequestError,
    ThrottledError,
    TransientError,
)
from guiderail.model.ingestion import (
    MOST_ENTRIES,
    Block,
    FeatureGroup,
    ObjectTask,
    OperationMissingError,
    Progress,
    Reject,
    RejectCode,
)
from guiderail.services.reingest_planning import SourceObject

CHUNK = 20_000
"""Most rows between two checkpoints: about a second's work for a process."""

CHUNK_VALUES = 500_000
"""Most values of these rows: about 50 bytes each, encoded."""

CHUNK_SECONDS = 10.0
"""What a chunk may take at the rate that is allowed: a call's time must be enough for some."""

SECONDS_TO_SPARE = 20.0
"""No chunk is begun with less time than this, or than twice what the one before took."""

LAST_SECONDS = 5.0
"""A chunk that is under way is left with less time than this, to be done again."""

MOST_TRIES = 9
"""Of a request; with the waiting between them about half a minute."""

FIRST_WAIT, LONGEST_WAIT = 0.1, 10.0
"""Seconds before a request is sent again: at random up to the first, which doubles, up to the longest."""

_CHECKPOINT = msgspec.json.Decoder(Progress)
_REJECT = msgspec.json.Decoder(Reject)
_TEMPORARY = frozenset(
    {
        "InternalFailure",
        "InternalServerError",
        "ServiceUnavailable",
        "ThrottlingException",
        "Throttling",
    }
)

_Item = TypeVar("_Item")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the store says of a batch; entries by their place in it.

    Attributes:
        unprocessed: To be sent again.
        errors: Place, code and message of those that failed.
    """

    unprocessed: Sequence[int] = ()
    errors: Sequence[tuple[int, str, str]] = ()


class FeatureGroups(Protocol):
    """SageMaker's word on feature groups."""

    def describe(self, name: str) -> FeatureGroup:
        """Describe a group. Raises NotFoundError, AccessDeniedError, TransientError."""
        ...


class RecordReader(Protocol):
    """Objects, read as records of a feature group."""

    def blocks(
        self, task: ObjectTask, group: FeatureGroup, after: int, most: int
    ) -> Iterator[Block]:
        """The rows after so many, in order, in blocks of at most so many.

        Raises:
            SourceChangedError: The object is another one than the task's.
            MalformedSourceError: It cannot be read as a whole.
            GuiderailError: S3 does not give it.
        """
        ...

    def block_of(self, rejects: Sequence[Reject], group: FeatureGroup) -> Block:
        """Check rejected records once more; those that still are none stay rejects, in their order."""
        ...


class FeatureStore(Protocol):
    """Feature Store's runtime: one request each, not repeated."""

    def write(
        self, group: FeatureGroup, identifiers: Sequence[str], bodies: Sequence[bytes]
    ) -> Answer:
        """Write at most 25 records, no two with the same identifier.

        Raises:
            OperationMissingError, AccessDeniedError: Not by this operation.
            RejectedRequestError: Not this batch.
            GuiderailError: Not now, or not at all.
        """
        ...

    def put(self, group: FeatureGroup, body: bytes) -> None:
        """Write one record. Raises as ``write`` does."""
        ...


class KeptFiles(Protocol):
    """S3, for checkpoints and rejects."""

    def objects(self, uri: str) -> Iterator[SourceObject]:
        """The objects whose URI begins so, in the order of their keys."""
        ...

    def read(self, uri: str) -> bytes:
        """An object's content. Raises NotFoundError."""
        ...

    def write(self, uri: str, content: bytes) -> None:
        """Keep an object."""
        ...


class Pace:
    """So many records per second, for all threads together; what is not used is not saved up."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        """Let ``rate`` records per second pass, by a clock in seconds."""
        self._each = 1.0 / rate
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = clock()

    def turn(self, records: int) -> float:
        """Seconds until these may be written; whoever asks later waits longer."""
        with self._lock:
            now = self._clock()
            turn = max(self._free_at, now)
            self._free_at = turn + records * self._each
            return turn - now


class _TimeIsUp(Exception):
    """The call has to end; what the chunk has written so far is written again by the next one."""


class _Refused(msgspec.Struct, frozen=True):
    """A record, by its place in its block, that the store would refuse again."""

    place: int
    message: str


class Reingest:
    """Ingests objects and rejects; safe to call again after whatever happened."""

    def __init__(
        self,
        *,
        groups: FeatureGroups,
        records: RecordReader,
        store: FeatureStore,
        kept: KeptFiles,
        clock: Callable[[], float],
        sleep: Callable[[float], object],
        jitter: Callable[[], float],
        connections: int = 32,
    ) -> None:
        """Take the ports, a clock in seconds, and numbers from 0 to 1 that are not foreseeable.

        ``connections`` is how many requests are under way at a time.
        """
        self._groups = groups
        self._records = records
        self._store = store
        self._kept = kept
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._connections = connections
        self._paces: dict[tuple[str, float], Pace] = {}

    def ingest(
        self,
        task: ObjectTask,
        seconds_left: Callable[[], float],
        heard: Callable[[Progress], object] = lambda progress: None,
        dry_run: bool = False,
    ) -> Progress:
        """Ingest an object from where its checkpoint says.

        Args:
            task: The object.
            seconds_left: How long this call may take yet.
            heard: Told of the progress after each chunk.
            dry_run: Check all records, from the beginning; write nothing anywhere.

        Returns:
            How far it is; not ``done`` if time was up.

        Raises:
            PermanentError: It cannot be read, or the group cannot be written.
            TransientError: It may work later, from the checkpoint on.
        """
        fresh = Progress(etag=task.etag)
        progress = fresh if dry_run else self._checkpoint(task) or fresh
        if progress.done:
            return progress
        group = self._groups.describe(task.feature_group)
        # unknown features are an error of the task, whatever the object holds
        width = len(group.chosen(task.features))
        rows = min(CHUNK, CHUNK_VALUES // width, int(task.rate * CHUNK_SECONDS))
        most = max(MOST_ENTRIES, rows)
        blocks = self._records.blocks(task, group, progress.rows, most)
        with _Writing(self, group, task.rate, seconds_left, progress.one_by_one) as writing:
            for block in _one_ahead(blocks, lambda: writing.has_time):
                if block is None:
                    return progress
                rejects = list(block.rejects)
                if not dry_run:
                    try:
                        refused = writing.write(block)
                    except _TimeIsUp:
                        return progress
                    rejects += [_reject_of(task, block, one, group) for one in refused]
                    if rejects:
                        self._keep(f"{task.rejects}-{progress.rows:09d}.jsonl", rejects)
                progress = _after(progress, block, rejects, writing.one_by_one)
                if not dry_run:
                    self._kept.write(task.checkpoint, msgspec.json.encode(progress))
                heard(progress)
        progress = msgspec.structs.replace(progress, done=True)
        if not dry_run:
            self._kept.write(task.checkpoint, msgspec.json.encode(progress))
        return progress

    def retry(
        self,
        place: str,
        seconds_left: Callable[[], float],
        rate: float,
        heard: Callable[[Progress], object] = lambda progress: None,
        dry_run: bool = False,
    ) -> Progress:
        """Try rejected records again; each reject file is left with those that are rejected once more.

        Args:
            place: S3 URI that the reject files' URIs begin with.
            seconds_left: How long this call may take yet.
            rate: Records per second.
            heard: Told of the progress after each file.
            dry_run: Check the records; write nothing anywhere.

        Returns:
            What came of it; not ``done`` if time was up.

        Raises:
            NotFoundError: There is no reject file.
            PermanentError: One cannot be read, or a group cannot be written.
            TransientError: It may work later; what was written is in no reject file any more.
        """
        bucket = place.removeprefix("s3://").partition("/")[0]
        found = [item for item in self._kept.objects(place) if item.key.endswith(".jsonl")]
        if not found:
            raise NotFoundError(
                f"there is no reject file under {place}",
                remedy="Name the place that the run told: s3://bucket/…/rejects",
            )
        progress = Progress(etag="")
        for item in found:
            if item.size:
                uri = f"s3://{bucket}/{item.key}"
                try:
                    progress = self._retry_file(uri, progress, seconds_left, rate, dry_run)
                except _TimeIsUp:
                    return progress
                heard(progress)
        return msgspec.structs.replace(progress, done=True)

    def _retry_file(
        self,
        uri: str,
        progress: Progress,
        seconds_left: Callable[[], float],
        rate: float,
        dry_run: bool,
    ) -> Progress:
        rejects = _rejects_in(uri, self._kept.read(uri))
        asked: dict[tuple[str, tuple[str, ...]], list[Reject]] = {}
        for reject in rejects:
            asked.setdefault((reject.feature_group, reject.features), []).append(reject)
        left: list[Reject] = []
        for (name, _), together in asked.items():
            group = self._groups.describe(name)
            block = self._records.block_of(together, group)
            again = list(block.rejects)
            with _Writing(self, group, rate, seconds_left, progress.one_by_one) as writing:
                if not writing.has_time:
                    raise _TimeIsUp
                # a block's numbers are places in what it was made of
                for one in () if dry_run else writing.write(block):
                    was = together[block.numbers[one.place]]
                    again.append(
                        msgspec.structs.replace(was, code=RejectCode.REFUSED, message=one.message)
                    )
                progress = _after(progress, block, again, writing.one_by_one)
            left += again
        if not dry_run:
            left.sort(key=lambda reject: reject.row)
            self._keep(uri, left)
        return progress

    def _checkpoint(self, task: ObjectTask) -> Progress | None:
        try:
            progress = _CHECKPOINT.decode(self._kept.read(task.checkpoint))
        except NotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise PermanentError(
                f"{task.checkpoint} is no checkpoint: {error}",
                remedy="Start the re-ingestion anew, under another id",
            ) from error
        # of an object that was replaced since, nothing is done
        return progress if progress.etag == task.etag else None

    def _pace(self, group: str, rate: float) -> Pace:
        """One for all objects of a group: many small ones must not add up to more."""
        return self._paces.setdefault((group, rate), Pace(rate, self._clock))

    def _keep(self, uri: str, rejects: Sequence[Reject]) -> None:
        lines = (msgspec.json.encode(reject) + b"\n" for reject in rejects)
        self._kept.write(uri, b"".join(lines))


class _Writing:
    """Writes blocks of one group, by threads of its own."""

    def __init__(
        self,
        of: Reingest,
        group: FeatureGroup,
        rate: float,
        seconds_left: Callable[[], float],
        one_by_one: bool,
    ) -> None:
        """Begin with BatchWriteRecord unless it is known not to work."""
        self._of = of
        self._group = group
        self._pace = of._pace(group.name, rate)
        self._seconds_left = seconds_left
        self._took = 0.0
        self._threads = ThreadPoolExecutor(of._connections, "write")
        self._ended = threading.Event()
        self.one_by_one = one_by_one

    def __enter__(self) -> _Writing:
        """Ready to write."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is under way after this."""
        self._ended.set()
        self._threads.shutdown(cancel_futures=True)

    @property
    def has_time(self) -> bool:
        """Whether another chunk can be begun."""
        return self._seconds_left() >= max(SECONDS_TO_SPARE, 2 * self._took)

    def write(self, block: Block) -> list[_Refused]:
        """Write a block's records; returns those that were refused, by place.

        Raises:
            _TimeIsUp: Not all are written.
            GuiderailError: The same.
        """
        began = self._of._clock()
        refused: list[_Refused] = []
        for wave in waves(block.identifiers, block.times):
            batches = (wave[i : i + MOST_ENTRIES] for i in range(0, len(wave), MOST_ENTRIES))
            under_way = [self._threads.submit(self._deliver, block, batch) for batch in batches]
            refused += self._gathered(under_way)
        self._took = self._of._clock() - began
        return sorted(refused, key=lambda one: one.place)

    def _gathered(self, under_way: Sequence[Future[list[_Refused]]]) -> list[_Refused]:
        try:
            return [one for future in under_way for one in future.result()]
        except BaseException:
            # what was not begun is not, and nothing is left to write behind our back
            self._ended.set()
            for future in under_way:
                future.cancel()
            raise

    def _deliver(self, block: Block, batch: Sequence[int]) -> list[_Refused]:
        refused: list[_Refused] = []
        left = batch
        wait = FIRST_WAIT
        for attempt in range(1, MOST_TRIES + 1):
            waiting = self._pace.turn(len(left))
            if self._ended.is_set() or self._seconds_left() - waiting < LAST_SECONDS:
                raise _TimeIsUp
            if waiting:
                self._of._sleep(waiting)
            trouble: TransientError
            try:
                left, failed = self._send(block, left)
            except TransientError as error:
                trouble = error
            except RejectedRequestError as error:
                if len(left) == 1:
                    return [*refused, _Refused(left[0], str(error))]
                # it is not said which one is wrong: halves tell
                middle = len(left) // 2
                for half in (left[:middle], left[middle:]):
                    refused += self._deliver(block, half)
                return refused
            else:
                refused += failed
                if not left:
                    return refused
                trouble = ThrottledError(
                    f"{self._group.name}: {len(left)} of {len(batch)} records were left unprocessed"
                )
            if attempt < MOST_TRIES:
                self._of._sleep(self._of._jitter() * wait)
                wait = min(2 * wait, LONGEST_WAIT)
        raise trouble

    def _send(self, block: Block, batch: Sequence[int]) -> tuple[Sequence[int], list[_Refused]]:
        """Places to send again, and those that are refused."""
        store = self._of._store
        if not self.one_by_one:
            try:
                answer = store.write(
                    self._group,
                    [block.identifiers[i] for i in batch],
                    [block.bodies[i] for i in batch],
                )
            except (OperationMissingError, AccessDeniedError):
                # older regions and roles know PutRecord alone; if that is denied too, it says so
                self.one_by_one = True
            else:
                again = [batch[i] for i in answer.unprocessed]
                again += [batch[i] for i, code, _ in answer.errors if code in _TEMPORARY]
                return again, [
                    _Refused(batch[i], f"{code}: {message}")
                    for i, code, message in answer.errors
                    if code not in _TEMPORARY
                ]
        refused: list[_Refused] = []
        for done, i in enumerate(batch):
            try:
                store.put(self._group, block.bodies[i])
            except RejectedRequestError as error:
                refused.append(_Refused(i, str(error)))
            except TransientError:
                if not done:
                    raise
                return batch[done:], refused
        return (), refused


def waves(identifiers: Sequence[str], times: Sequence[float]) -> Iterator[Sequence[int]]:
    """Places of records, by turns: in each turn an identifier once, with its earliest time that is left."""
    if len(set(identifiers)) == len(identifiers):
        yield range(len(identifiers))
        return
    turns: list[list[int]] = []
    seen: dict[str, int] = {}
    # sorted() keeps the order of rows where times are equal
    for place in sorted(range(len(times)), key=times.__getitem__):
        turn = seen.get(identifiers[place], 0)
        seen[identifiers[place]] = turn + 1
        if turn == len(turns):
            turns.append([])
        turns[turn].append(place)
    yield from turns


def _one_ahead(blocks: Iterator[_Item], has_time: Callable[[], bool]) -> Iterator[_Item | None]:
    """Read the next block while one is being written; None, at last, if there is no time for it."""
    with ThreadPoolExecutor(1, "read") as reader:
        following = reader.submit(next, blocks, None)
        while (block := following.result()) is not None:
            if not has_time():
                yield None
                return
            following = reader.submit(next, blocks, None)
            yield block


def _after(
    progress: Progress, block: Block, rejects: Sequence[Reject], one_by_one: bool
) -> Progress:
    reasons = dict(progress.reasons)
    for reject in rejects:
        reasons[reject.code] = reasons.get(reject.code, 0) + 1
    # of the store's refusals, none is among the block's own
    refused = len(rejects) - len(block.rejects)
    return msgspec.structs.replace(
        progress,
        rows=progress.rows + block.rows,
        written=progress.written + len(block.bodies) - refused,
        passed_over=progress.passed_over + block.passed_over,
        reasons=reasons,
        one_by_one=one_by_one,
    )


def _reject_of(task: ObjectTask, block: Block, one: _Refused, group: FeatureGroup) -> Reject:
    return Reject(
        feature_group=task.feature_group,
        features=task.features,
        object=task.uri,
        etag=task.etag,
        row=block.numbers[one.place],
        code=RejectCode.REFUSED,
        message=one.message,
        values=values_of(block.bodies[one.place]),
    )


def values_of(body: bytes) -> dict[str, str]:
    """An encoded record's values by feature."""
    return {value["FeatureName"]: value["ValueAsString"] for value in msgspec.json.decode(body)}


def _rejects_in(uri: str, content: bytes) -> list[Reject]:
    rejects = []
    for number, line in enumerate(content.splitlines(), 1):
        if not line.strip():
            continue
        try:
            rejects.append(_REJECT.decode(line))
        except msgspec.DecodeError as error:
            raise PermanentError(
                f"{uri}, line {number}, is no rejected record: {error}",
                remedy="Mend or remove the line; values may be corrected, the rest stays as it was",
            ) from error
    return rejects
