"""Records of CSV, Parquet and JSON Lines objects, checked and encoded column by column.

Arrow does what all values of a column have in common; a value that it finds unusual is looked at by itself.
This module alone loads pyarrow: import it where records are read, not where things are put together.
"""

from __future__ import annotations

import csv
import io
import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv
import pyarrow.parquet as arrow_parquet
from botocore.exceptions import ClientError

from guiderail.adapters.clients import client, translated
from guiderail.errors import NotFoundError, UnavailableError
from guiderail.model.ingestion import (
    DELETED_MARK,
    LARGEST_RECORD,
    LONGEST_IDENTIFIER,
    Block,
    FeatureGroup,
    FeatureType,
    FileFormat,
    MalformedSourceError,
    ObjectTask,
    Reject,
    RejectCode,
    SourceChangedError,
    format_of,
)

READ_BYTES = 8 * 1024 * 1024
"""Bytes of one GetObject: large enough for S3's throughput, small enough to be read again whole."""

CSV_BYTES = 1024 * 1024
"""Bytes that Arrow reads of a CSV object at a time, 32 of them ahead; no row may be longer."""

BLOCK_BYTES = 4 * 1024 * 1024
"""Bytes that are read of JSON Lines at a time, and that blocks of CSV are put together to."""

CHUNK_BYTES = 16 * 1024 * 1024
"""Bytes of Parquet or JSON Lines, uncompressed, that a block is made of: however long its values are."""

HEADER_BYTES = 1024 * 1024
"""Bytes of a CSV object that its column names stand in: 2,500 features have at most 64 characters each."""

_PAGE_BYTES = 1024 * 1024
"""Bytes that Parquet reads ahead, per column: it would take a whole row group at once."""

_READ_TRIES = 3
_LAST_SECOND = 253_402_300_799.0
_LARGEST_INTEGER = 2**63 - 1

# what nearly every value looks like; others are looked at one by one
_USUAL = {
    FeatureType.INTEGRAL: r"^-?[0-9]{1,18}$",
    FeatureType.FRACTIONAL: r"^-?[0-9]{1,17}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?$",
}
_WHOLE = re.compile(r"[+-]?[0-9]{1,40}(\.0*)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)
_NO_NUMBER = frozenset({"", "nan"})
# Developer Guide, CreateFeatureGroup, EventTimeFeatureName: these two forms, T and Z as they are
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{3})?Z$"
_TO_ESCAPE = r'["\\\x00-\x1f]'

_LINE = msgspec.json.Decoder(dict[str, Any])

_Fault = tuple[RejectCode, str]


class _Rows(NamedTuple):
    """Rows of an object as columns, without those that are broken: number, what is wrong, text.

    Attributes:
        columns: As long as there are rows.
        covers: Rows of the object, the broken ones among them if they count where reading goes on.
        number: What a row is called, by its place.
        original: A row's values as they stand, by its place.
        faults: Rows that can be no record, by place.
    """

    columns: Mapping[str, pa.Array]
    covers: int
    number: Callable[[int], int]
    original: Callable[[int], Mapping[str, Any]]
    faults: Mapping[int, _Fault] = {}
    broken: Sequence[tuple[int, str, str]] = ()


class RecordFiles:
    """Implements RecordReader (services.reingesting)."""

    def blocks(
        self, task: ObjectTask, group: FeatureGroup, after: int, most: int
    ) -> Iterator[Block]:
        """Read an object in blocks."""
        features = group.chosen(task.features)
        layout, compression = format_of(task.uri, task.format)
        wanted = (*features, DELETED_MARK)
        needed = set(task.features) | {group.identifier, group.event_time}
        with _opened(task) as file:
            try:
                match layout:
                    case FileFormat.CSV:
                        parts = _csv(task, file, compression, wanted, needed, after, most)
                    case FileFormat.PARQUET:
                        parts = _parquet(task, file, wanted, needed, after, most)
                    case FileFormat.JSONL:
                        parts = _jsonl(task, file, compression, features, after, most)
                for rows in parts:
                    yield _block(task, group, features, rows)
            except (pa.ArrowException, UnicodeError, OSError, EOFError) as error:
                raise MalformedSourceError(
                    f"{task.uri} cannot be read as {layout}: {error}",
                    remedy="Mend the object, or name its format; what was read before stays written",
                ) from error

    def block_of(self, rejects: Sequence[Reject], group: FeatureGroup) -> Block:
        """Check rejected records again, by their values; places are the numbers."""
        one = rejects[0]
        features = group.chosen(one.features)
        faults: dict[int, _Fault] = {
            place: (reject.code, reject.message)
            for place, reject in enumerate(rejects)
            if not reject.values
        }
        columns, wrong = _columns([reject.values for reject in rejects], features)
        rows = _Rows(
            columns, len(rejects), lambda i: i, lambda i: rejects[i].values, faults | wrong
        )
        task = ObjectTask(
            uri=one.object, size=0, etag=one.etag, feature_group=one.feature_group,
            features=one.features, checkpoint="", rejects="",
        )  # fmt: skip
        block = _block(task, group, features, rows)
        again = [
            msgspec.structs.replace(rejects[reject.row], code=reject.code, message=reject.message)
            for reject in block.rejects
        ]
        return msgspec.structs.replace(block, rejects=again)


# --- objects


class S3Object(io.RawIOBase):
    """An object that is read in ranges, each under the condition that it is still the same."""

    def __init__(self, uri: str, size: int, etag: str) -> None:
        """Name what is read, as it was listed."""
        self._uri = uri
        self._bucket, _, self._key = uri.removeprefix("s3://").partition("/")
        self._size = size
        self._etag = etag
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go on reading elsewhere."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, as far as the object goes.

        Raises:
            SourceChangedError: The object is another one, or gone.
            GuiderailError: S3 does not give it.
        """
        last = min(self._at + len(buffer), self._size) - 1
        if last < self._at:
            return 0
        content = self._range(self._at, last)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)

    def _range(self, first: int, last: int) -> bytes:
        for attempt in range(1, _READ_TRIES + 1):
            try:
                with translated(f"GetObject {self._uri}"):
                    return self._get(first, last)
            except UnavailableError:
                # the connection broke off in the middle, which botocore does not try again
                if attempt == _READ_TRIES:
                    raise
            except NotFoundError as error:
                raise SourceChangedError(
                    f"{self._uri} is gone since it was listed", remedy="Start another re-ingestion"
                ) from error
        raise AssertionError

    def _get(self, first: int, last: int) -> bytes:
        try:
            answer = client("s3").get_object(
                Bucket=self._bucket,
                Key=self._key,
                IfMatch=f'"{self._etag}"',
                Range=f"bytes={first}-{last}",
            )
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            # 416: it has become shorter
            if status in (412, 416):
                raise SourceChangedError(
                    f"{self._uri} was changed since it was listed",
                    remedy="Start another re-ingestion; what was written before stays written",
                ) from error
            raise
        return bytes(answer["Body"].read())


def _opened(task: ObjectTask, ahead: int = 0) -> io.BufferedReader:
    if not task.path:
        return io.BufferedReader(S3Object(task.uri, task.size, task.etag), ahead or READ_BYTES)
    copy = Path(task.path)
    if copy.stat().st_size != task.size:
        raise SourceChangedError(
            f"{task.uri} was changed since it was listed: its copy has {copy.stat().st_size} bytes,"
            f" not {task.size}",
            remedy="Start another re-ingestion",
        )
    return copy.open("rb")


def _stream(file: io.BufferedReader, compression: str) -> Any:
    source = pa.PythonFile(file, mode="r")
    return pa.CompressedInputStream(source, compression) if compression else source


def _has_all(task: ObjectTask, names: Sequence[str], needed: set[str]) -> None:
    if missing := sorted(needed - set(names)):
        shown = ", ".join(names[:30]) or "none"
        raise MalformedSourceError(
            f"{task.uri} has no column {', '.join(missing)}; its columns are {shown}",
            remedy="Select other features, or add a line with the columns' names",
        )
    twice = {name for name in names if names.count(name) > 1} & needed
    if twice:
        raise MalformedSourceError(
            f"{task.uri} has column {', '.join(sorted(twice))} more than once",
            remedy="Leave one of them",
        )


# --- formats


def _csv(
    task: ObjectTask,
    file: io.BufferedReader,
    compression: str,
    wanted: Sequence[str],
    needed: set[str],
    after: int,
    most: int,
) -> Iterator[_Rows]:
    broken: list[tuple[int, str, str]] = []

    def note(row: Any) -> str:
        # the header counts as the first row
        said = f"{row.actual_columns} values in place of {row.expected_columns}"
        broken.append((row.number - 1, said, row.text))
        return "skip"

    if not task.size:
        return
    parsing = arrow_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=note)
    reading = arrow_csv.ReadOptions(block_size=CSV_BYTES, use_threads=False)
    # by a file of its own: the reader below reads ahead in the other
    with _opened(task, HEADER_BYTES) as beginning:
        top = _stream(beginning, compression).read(HEADER_BYTES)
    names = next(csv.reader(io.StringIO(top.decode("utf-8-sig", errors="replace"), "")), [])
    _has_all(task, names, needed)
    present = [name for name in wanted if name in names]
    converting = arrow_csv.ConvertOptions(
        include_columns=present,
        # bytes, as one value that is no UTF-8 would fail all of a block
        column_types=dict.fromkeys(present, pa.binary()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=[""],
    )
    read = told = 0
    last: tuple[pa.RecordBatch, int] | None = None
    with arrow_csv.open_csv(
        _stream(file, compression),
        read_options=reading,
        parse_options=parsing,
        convert_options=converting,
    ) as batches:
        for batch in _gathered(batches, most):
            for start in range(0, batch.num_rows, most):
                part = batch.slice(start, most)
                first, read = read, read + part.num_rows
                if read <= after:
                    told = _told(broken, read)
                    continue
                if first < after:
                    part = part.slice(after - first)
                    first = after
                    told = _told(broken, first)
                if last:
                    until = _told(broken, first)
                    yield _rows_of(last[0], _numbers(broken, last[1]), broken[told:until])
                    told = until
                last = part, first
    # what is broken at the end belongs to the last rows
    if last:
        yield _rows_of(last[0], _numbers(broken, last[1]), broken[told:])
    elif not after and broken:
        yield _Rows({}, 0, _counting(0), lambda place: {}, broken=broken)


def _gathered(batches: Iterable[pa.RecordBatch], most: int) -> Iterator[pa.RecordBatch]:
    """Small blocks put together until they have so many rows, or bytes enough."""
    together: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        together.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= most or size >= BLOCK_BYTES:
            yield pa.concat_batches(together)
            together, rows, size = [], 0, 0
    if together:
        yield pa.concat_batches(together)


def _told(broken: Sequence[tuple[int, str, str]], read: int) -> int:
    """How many broken rows stand before the last of so many good ones."""
    return bisect_right(range(len(broken)), read - 1, key=lambda j: broken[j][0] - 1 - j)


def _numbers(broken: Sequence[tuple[int, str, str]], first: int) -> Callable[[int], int]:
    """What a good row is called, by its place after the first ones: broken ones are counted in."""
    return lambda place: first + place + 1 + _told(broken, first + place + 1)


def _parquet(
    task: ObjectTask,
    file: io.BufferedReader,
    wanted: Sequence[str],
    needed: set[str],
    after: int,
    most: int,
) -> Iterator[_Rows]:
    # its own buffers are enough: it asks for pages of columns, here and there
    parquet = arrow_parquet.ParquetFile(file.raw, buffer_size=_PAGE_BYTES, pre_buffer=False)
    schema = parquet.schema_arrow
    _has_all(task, schema.names, needed)
    present = [name for name in wanted if name in schema.names]
    for name in present:
        if pa.types.is_nested(schema.field(name).type):
            raise MalformedSourceError(
                f"{task.uri}: column {name} holds {schema.field(name).type}, not single values",
                remedy="Select features without it",
            )
    first = 0
    for group in range(parquet.num_row_groups):
        rows = parquet.metadata.row_group(group).num_rows
        if first + rows > after:
            # long values make fewer rows
            size = parquet.metadata.row_group(group).total_byte_size // max(1, rows) + 1
            few = min(most, max(1, CHUNK_BYTES // size))
            for batch in parquet.iter_batches(few, [group], present):
                start = max(0, min(after - first, batch.num_rows))
                if part := batch.num_rows - start:
                    number = _counting(first + start)
                    yield _rows_of(batch.slice(start, part), number, ())
                first += batch.num_rows
        else:
            first += rows


def _counting(first: int) -> Callable[[int], int]:
    return lambda place: first + place + 1


def _rows_of(
    batch: pa.RecordBatch,
    number: Callable[[int], int],
    broken: Sequence[tuple[int, str, str]],
) -> _Rows:
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))

    def original(place: int) -> Mapping[str, Any]:
        values = {name: column[place].as_py() for name, column in columns.items()}
        return {name: _plain(value) for name, value in values.items() if value is not None}

    return _Rows(columns, batch.num_rows, number, original, broken=broken)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, bool | int | float) else str(value)


def _jsonl(
    task: ObjectTask,
    file: io.BufferedReader,
    compression: str,
    features: Mapping[str, FeatureType],
    after: int,
    most: int,
) -> Iterator[_Rows]:
    lines = _lines(task, _stream(file, compression))
    first = sum(1 for _ in islice(lines, after))
    while chunk := _next_lines(lines, most):
        rows: list[dict[str, Any]] = []
        places: list[int] = []
        broken: list[tuple[int, str, str]] = []
        for place, line in enumerate(chunk):
            try:
                rows.append(_LINE.decode(line))
                places.append(place)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if line.strip():
                    broken.append((first + place + 1, str(error), line.decode(errors="replace")))
        columns, wrong = _columns(rows, features)
        yield _Rows(
            columns,
            len(chunk),
            lambda place, first=first, places=places: first + places[place] + 1,  # type: ignore[misc]
            lambda place, rows=rows: rows[place],  # type: ignore[misc]
            wrong,
            broken,
        )
        first += len(chunk)


def _next_lines(lines: Iterator[bytes], most: int) -> list[bytes]:
    taken: list[bytes] = []
    size = 0
    while len(taken) < most and size < CHUNK_BYTES and (line := next(lines, None)) is not None:
        taken.append(line)
        size += len(line)
    return taken


def _lines(task: ObjectTask, stream: Any) -> Iterator[bytes]:
    rest = b""
    while content := stream.read(BLOCK_BYTES):
        *lines, rest = (rest + content).split(b"\n")
        if len(rest) > READ_BYTES:
            raise MalformedSourceError(
                f"{task.uri} has a line of more than {READ_BYTES} bytes",
                remedy="Write one record per line",
            )
        yield from lines
    if rest:
        yield rest


def _columns(
    rows: Sequence[Mapping[str, Any]], features: Mapping[str, FeatureType]
) -> tuple[dict[str, pa.Array], dict[int, _Fault]]:
    columns: dict[str, pa.Array] = {}
    wrong: dict[int, _Fault] = {}
    for name, kind in {**features, DELETED_MARK: FeatureType.STRING}.items():
        values = [row.get(name) for row in rows]
        try:
            column = pa.array(values)
        except (pa.ArrowException, OverflowError, TypeError):
            column = None
        if column is None or pa.types.is_nested(column.type):
            for place, value in enumerate(values):
                if isinstance(value, list | dict):
                    values[place] = None
                    wrong.setdefault(
                        place, (RejectCode.WRONG_TYPE, f"{name} is {_shown(value)}, not one value")
                    )
            texts = [_mixed(value, kind) for value in values]
            column = pa.array(texts, pa.string())
        columns[name] = column
    return columns, wrong


def _mixed(value: Any, kind: FeatureType) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower() if kind is FeatureType.STRING else str(int(value))
    return repr(value)


# --- records


def _block(
    task: ObjectTask, group: FeatureGroup, features: Mapping[str, FeatureType], rows: _Rows
) -> Block:
    faults = dict(rows.faults)
    if not (columns := rows.columns) or not (count := len(columns[group.identifier])):
        return Block(
            rows=rows.covers, identifiers=(), times=(), bodies=(), numbers=(),
            rejects=_rejects(task, rows, {}, {}),
        )  # fmt: skip
    event_times, times = _event_times(columns[group.event_time], features[group.event_time], faults)
    keep = _in_range(times, task)
    if (mark := columns.get(DELETED_MARK)) is not None:
        # writing it would bring a deleted record back
        deleted = pc.equal(pc.utf8_lower(_texts(mark, FeatureType.STRING)[0]), "true")
        keep = pc.and_(keep, pc.invert(pc.fill_null(deleted, False)))
    passed_over = count - pc.sum(keep).as_py()
    texts = {group.event_time: event_times}
    for name, kind in features.items():
        if name != group.event_time and name in columns:
            texts[name] = _checked(name, columns[name], kind, faults)
    _identified(texts[group.identifier], group.identifier, faults)
    _fitting(texts, faults)
    # where no event time can be read, the row is a fault whatever the range
    faults = {place: fault for place, fault in faults.items() if keep[place].as_py()}
    if faults:
        bad = pa.array(list(faults), pa.int64())
        keep = pc.and_(keep, pc.invert(pc.is_in(pa.array(range(count)), value_set=bad)))
    rejects = _rejects(task, rows, texts, faults)
    if passed_over or faults:
        texts = {name: column.filter(keep) for name, column in texts.items()}
        times = times.filter(keep)
        places: Sequence[int] = pc.indices_nonzero(keep).to_pylist()
    else:
        places = range(count)
    ordered = {name: texts[name] for name in features if name in texts}
    return Block(
        rows=rows.covers,
        identifiers=texts[group.identifier].to_pylist(),
        times=times.to_pylist(),
        bodies=_encoded(ordered, features),
        numbers=_Numbers(places, rows.number),
        rejects=rejects,
        passed_over=passed_over,
    )


class _Numbers(Sequence[int]):
    """Numbers of rows, worked out when somebody asks: few are."""

    def __init__(self, places: Sequence[int], number: Callable[[int], int]) -> None:
        self._places = places
        self._number = number

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: Any) -> Any:
        return self._number(self._places[index])


def _rejects(
    task: ObjectTask,
    rows: _Rows,
    texts: Mapping[str, pa.Array],
    faults: Mapping[int, _Fault],
) -> list[Reject]:
    def reject(number: int, code: RejectCode, message: str, **more: Any) -> Reject:
        return Reject(
            feature_group=task.feature_group,
            features=task.features,
            object=task.uri,
            etag=task.etag,
            row=number,
            code=code,
            message=message,
            **more,
        )

    def values(place: int) -> dict[str, Any]:
        # as they would be written, so that they can be tried again; what cannot be as it stands
        stood = rows.original(place)
        known = {name: column[place].as_py() for name, column in texts.items()}
        found = {name: stood.get(name) if value is None else value for name, value in known.items()}
        return {name: value for name, value in found.items() if value is not None}

    found = [
        reject(rows.number(place), code, message, values=values(place))
        for place, (code, message) in faults.items()
    ]
    found += [
        reject(number, RejectCode.MALFORMED_ROW, message, text=text[:LARGEST_RECORD])
        for number, message, text in rows.broken
    ]
    return sorted(found, key=lambda one: one.row)


def _texts(column: pa.Array, kind: FeatureType) -> tuple[pa.Array, dict[int, str]]:
    """A column as texts, null where there is no value, and what is wrong with which."""
    made = column.type
    if pa.types.is_dictionary(made):
        return _texts(column.dictionary_decode(), kind)
    if pa.types.is_boolean(made):
        # casting to text says true and false
        return (column if kind is FeatureType.STRING else column.cast(pa.int8())).cast(
            pa.string()
        ), {}
    if pa.types.is_floating(made):
        column = pc.if_else(pc.is_nan(column), None, column)
        if kind is FeatureType.INTEGRAL:
            # Arrow writes 1e15 so, and pandas makes floats of integers where some are missing
            whole = pc.and_(pc.equal(column, pc.trunc(column)), pc.less(pc.abs(column), 2.0**53))
            if pc.all(whole).as_py() is not False:
                return column.cast(pa.int64()).cast(pa.string()), {}
        elif pc.all(pc.is_finite(column)).as_py() is not False:
            return column.cast(pa.string()), {}
        return _unlike(column.cast(pa.string()), kind)
    if pa.types.is_integer(made):
        text = column.cast(pa.string())
        return _unlike(text, kind) if made == pa.uint64() else (text, {})
    if pa.types.is_temporal(made) and kind is FeatureType.STRING:
        if pa.types.is_timestamp(made) or pa.types.is_date(made):
            return _written(column), {}
        return column.cast(pa.string()), {}
    try:
        text = column.cast(pa.string())
    except pa.ArrowInvalid:
        values = column.to_pylist()
        wrong = {}
        for place, value in enumerate(values):
            try:
                values[place] = value.decode() if value is not None else None
            except UnicodeDecodeError:
                values[place] = None
                wrong[place] = f"{_shown(value)} is no UTF-8"
        text, others = _unlike(pa.array(values, pa.string()), kind)
        return text, others | wrong
    return _unlike(text, kind)


def _unlike(text: pa.Array, kind: FeatureType) -> tuple[pa.Array, dict[int, str]]:
    """Look at the texts that do not look as most of their kind do."""
    if kind is FeatureType.STRING:
        return text, {}
    usual = pc.match_substring_regex(text, _USUAL[kind])
    if pc.all(usual).as_py() is not False:
        return text, {}
    values = text.to_pylist()
    wrong: dict[int, str] = {}
    for place in pc.indices_nonzero(pc.invert(usual)).to_pylist():
        value = values[place]
        values[place] = None
        if value.lower() in _NO_NUMBER:
            continue
        if kind is FeatureType.INTEGRAL:
            whole = int(value.partition(".")[0]) if _WHOLE.fullmatch(value) else None
            if whole is not None and -_LARGEST_INTEGER - 1 <= whole <= _LARGEST_INTEGER:
                values[place] = str(whole)
            else:
                wrong[place] = f"{_shown(value)} is no integer of 64 bits"
        elif _NUMBER.fullmatch(value) and math.isfinite(float(value)):
            values[place] = value
        else:
            wrong[place] = f"{_shown(value)} is no finite number"
    return pa.array(values, pa.string()), wrong


def _checked(name: str, column: pa.Array, kind: FeatureType, faults: dict[int, _Fault]) -> pa.Array:
    text, wrong = _texts(column, kind)
    for place, said in wrong.items():
        faults.setdefault(place, (RejectCode.WRONG_TYPE, f"{name}: {said}"))
    return text


def _identified(text: pa.Array, name: str, faults: dict[int, _Fault]) -> None:
    length = pc.binary_length(text)
    for place in _where(pc.fill_null(pc.equal(length, 0), True)):
        # what is wrong with its value goes before its being none
        faults.setdefault(place, (RejectCode.MISSING_IDENTIFIER, f"{name} has no value"))
    for place in _where(pc.greater(length, LONGEST_IDENTIFIER)):
        said = f"{name} has {length[place]} bytes, the limit is {LONGEST_IDENTIFIER}"
        faults[place] = (RejectCode.TOO_LONG, said)


def _fitting(texts: Mapping[str, pa.Array], faults: dict[int, _Fault]) -> None:
    """The limit of a value and of a record is the same; so the record's is enough."""
    lengths = [pc.fill_null(pc.binary_length(column), 0) for column in texts.values()]
    total = lengths[0].cast(pa.int64())
    for length in lengths[1:]:
        total = pc.add(total, length.cast(pa.int64()))
    for place in _where(pc.greater(total, LARGEST_RECORD)):
        said = f"the values have {total[place]} bytes, the limit is {LARGEST_RECORD}"
        faults[place] = (RejectCode.TOO_LONG, said)


def _where(mask: pa.Array) -> list[int]:
    found: list[int] = pc.indices_nonzero(mask).to_pylist()
    return found


def _event_times(
    column: pa.Array, kind: FeatureType, faults: dict[int, _Fault]
) -> tuple[pa.Array, pa.Array]:
    """Event times as the group takes them, and in Unix seconds, null where there is none."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        text = _written(column) if kind is FeatureType.STRING else _seconds_of(column, kind)
        wrong: dict[int, str] = {}
    else:
        text, wrong = _texts(column, kind)
    if kind is FeatureType.STRING:
        text = pc.if_else(pc.equal(pc.binary_length(text), 0), None, text)
        good = pc.match_substring_regex(text, _TIME)
        times = _parsed(pc.if_else(good, text, None))
        remedy = "is not like 2026-11-23T10:00:00Z or 2026-11-23T10:00:00.000Z"
    else:
        times = text.cast(pa.float64())
        possible = pc.and_(pc.greater_equal(times, 0.0), pc.less_equal(times, _LAST_SECOND))
        times = pc.if_else(possible, times, None)
        remedy = "is no time in Unix seconds"
    for place in _where(pc.is_null(times)):
        shown = column[place].as_py()
        if text[place].is_valid or place in wrong:
            fault = (RejectCode.UNREADABLE_EVENT_TIME, f"{_shown(shown)} {remedy}")
        else:
            fault = (RejectCode.MISSING_EVENT_TIME, "the event time has no value")
        faults.setdefault(place, fault)
    return text, times


def _written(column: pa.Array) -> pa.Array:
    """Timestamps as event times are written; without a zone they are taken as UTC."""
    # from a zone to none: Arrow keeps the instant, in UTC
    plain = column.cast(pa.timestamp("ms"), safe=False)
    text = pc.replace_substring(plain.cast(pa.string()), " ", "T")
    return pc.binary_join_element_wise(text, "Z", "")


def _seconds_of(column: pa.Array, kind: FeatureType) -> pa.Array:
    millis = column.cast(pa.timestamp("ms"), safe=False).cast(pa.int64())
    seconds = pc.divide(millis.cast(pa.float64()), 1000.0)
    if kind is FeatureType.INTEGRAL:
        seconds = pc.floor(seconds).cast(pa.int64())
    return seconds.cast(pa.string())


def _parsed(text: pa.Array) -> pa.Array:
    # without a zone, which Arrow would look up where there may be no table of them
    plain = pc.utf8_rtrim(text, "Z")
    try:
        instants = plain.cast(pa.timestamp("ms"))
    except pa.ArrowInvalid:
        # 30 February, or an hour 24
        instants = pa.array([_instant(value) for value in plain.to_pylist()], pa.timestamp("ms"))
    return pc.divide(instants.cast(pa.int64()).cast(pa.float64()), 1000.0)


def _instant(value: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if value else None
    except ValueError:
        return None


def _in_range(times: pa.Array, task: ObjectTask) -> pa.Array:
    """Rows that are asked for; those without a readable event time are, to be told of."""
    keep = pa.repeat(pa.scalar(True), len(times))
    if task.since is not None:
        keep = pc.and_(keep, pc.greater_equal(times, task.since))
    if task.until is not None:
        keep = pc.and_(keep, pc.less(times, task.until))
    return pc.fill_null(keep, True)


def _encoded(texts: Mapping[str, pa.Array], features: Mapping[str, FeatureType]) -> list[bytes]:
    """Each row as a JSON array of feature values, without those that are null; glued together by Arrow."""
    # what stands between values; a column with nulls is made by itself, as its piece may be left out
    pieces: list[Any] = []
    glue = "["
    for place, (name, text) in enumerate(texts.items()):
        if features[name] is FeatureType.STRING:
            text = _escaped(text)
        opening = "," if place else ""
        opening += f'{{"FeatureName":"{name}","ValueAsString":"'
        if text.null_count:
            piece = pc.binary_join_element_wise(opening, text, '"}', "")
            pieces += [glue, pc.fill_null(piece, "")]
            glue = ""
        else:
            pieces += [glue + opening, text]
            glue = '"}'
    joined = pc.binary_join_element_wise(*pieces, glue + "]", "")
    bodies: list[bytes] = joined.cast(pa.binary()).to_pylist()
    return bodies


def _escaped(text: pa.Array) -> pa.Array:
    special = pc.match_substring_regex(text, _TO_ESCAPE)
    if not pc.any(special).as_py():
        return text
    values = text.to_pylist()
    for place in _where(special):
        values[place] = msgspec.json.encode(values[place])[1:-1].decode()
    return pa.array(values, pa.string())


def _shown(value: Any) -> str:
    shown = value.decode(errors="replace") if isinstance(value, bytes) else value
    if isinstance(shown, datetime | date | Decimal):
        shown = str(shown)
    text = repr(shown)
    return text if len(text) <= 80 else f"{text[:77]}…"
