"""Records of files on this machine: what becomes of good rows, bad rows, and of files that are none."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import tracemalloc
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as arrow_parquet
import pytest
from guiderail.adapters import record_files
from guiderail.adapters.record_files import RecordFiles
from guiderail.errors import RejectedRequestError
from guiderail.model.ingestion import (
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
from hypothesis import given
from hypothesis import strategies as st

AT = "2026-11-23T10:00:00Z"
LOANS = FeatureGroup(
    name="loans",
    identifier="id",
    event_time="at",
    features={
        "id": FeatureType.STRING,
        "at": FeatureType.STRING,
        "age": FeatureType.INTEGRAL,
        "income": FeatureType.FRACTIONAL,
        "city": FeatureType.STRING,
    },
)
CLICKS = FeatureGroup(
    name="clicks",
    identifier="id",
    event_time="at",
    features={"id": FeatureType.INTEGRAL, "at": FeatureType.FRACTIONAL},
)
HEADER = "id,at,age,income,city\n"

Read = Callable[..., list[Block]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Read a file's content as an object of that name."""

    def blocks(
        name: str,
        content: bytes | str,
        group: FeatureGroup = LOANS,
        after: int = 0,
        most: int = 1000,
        **task: Any,
    ) -> list[Block]:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        asked = task_of(path, **task)
        return list(RecordFiles().blocks(asked, group, after, most))

    return blocks


def task_of(path: Path, **more: Any) -> ObjectTask:
    return ObjectTask(
        uri=f"s3://lake/{path.name}",
        size=more.pop("size", path.stat().st_size),
        etag="e1",
        feature_group="loans",
        checkpoint="s3://kept/checkpoint.json",
        rejects="s3://kept/rejects",
        path=str(path),
        **more,
    )


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    sink = io.BytesIO()
    arrow_parquet.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


def records(blocks: Sequence[Block]) -> list[dict[str, str]]:
    return [
        {value["FeatureName"]: value["ValueAsString"] for value in json.loads(body)}
        for block in blocks
        for body in block.bodies
    ]


def rejects(blocks: Sequence[Block]) -> list[Reject]:
    return [reject for block in blocks for reject in block.rejects]


def codes(blocks: Sequence[Block]) -> list[tuple[int, str]]:
    return [(reject.row, reject.code.value) for reject in rejects(blocks)]


def written(row: dict[str, Any]) -> dict[str, Any]:
    return {"id": "1", "at": AT, **row}


# --- formats


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://b/a.csv", (FileFormat.CSV, "")),
        ("s3://b/x.y/a.CSV.gz", (FileFormat.CSV, "gzip")),
        ("s3://b/a.csv.zst", (FileFormat.CSV, "zstd")),
        ("s3://b/a.snappy.parquet", (FileFormat.PARQUET, "")),
        ("s3://b/a.pq", (FileFormat.PARQUET, "")),
        ("s3://b/a.jsonl", (FileFormat.JSONL, "")),
        ("s3://b/a.ndjson.bz2", (FileFormat.JSONL, "bz2")),
    ],
)
def test_an_extension_says_the_format(uri: str, expected: tuple[FileFormat, str]) -> None:
    assert format_of(uri) == expected


@pytest.mark.parametrize("name", ["a", "a.txt", "csv", "a.gz", "gz", "data.d/csv"])
def test_an_extension_that_says_nothing_is_an_error_that_names_the_object(name: str) -> None:
    with pytest.raises(MalformedSourceError, match=rf"s3://b/{name} .*csv, parquet or jsonl"):
        format_of(f"s3://b/{name}")


def test_a_named_format_goes_before_the_extension() -> None:
    assert format_of("s3://b/a.txt.gz", "csv") == (FileFormat.CSV, "gzip")
    with pytest.raises(RejectedRequestError, match="'xml' is no format"):
        format_of("s3://b/a.csv", "xml")


EXPECTED = [
    {"id": "a", "at": AT, "age": "5", "income": "1.5", "city": 'x "y"'},
    {"id": "b", "at": AT, "city": ""},
]


@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress], ids=["", "gz", "bz2"])
@pytest.mark.parametrize("layout", ["csv", "jsonl"])
def test_text_formats_give_the_same_records(
    layout: str, compress: Callable[[bytes], bytes], read: Read
) -> None:
    text = {
        "csv": f'{HEADER}a,{AT},5,1.5,"x ""y"""\nb,{AT},,NaN,""\n',
        "jsonl": "".join(
            json.dumps(row) + "\n"
            for row in (
                {"id": "a", "at": AT, "age": 5, "income": 1.5, "city": 'x "y"', "more": [1]},
                {"id": "b", "at": AT, "age": None, "city": ""},
            )
        ),
    }[layout]
    ending = {bytes: "", gzip.compress: ".gz", bz2.compress: ".bz2"}[compress]
    (block,) = read(f"a.{layout}{ending}", compress(text.encode()))
    assert records([block]) == EXPECTED
    assert list(block.identifiers) == ["a", "b"]
    assert list(block.times) == [datetime.fromisoformat(AT).timestamp()] * 2
    assert list(block.numbers) == [1, 2]
    assert (block.rows, block.passed_over, list(block.rejects)) == (2, 0, [])


def test_parquet_gives_the_same_records_from_types_of_its_own(read: Read) -> None:
    content = parquet(
        {
            "id": pa.array(["a", "b"]).dictionary_encode(),
            "at": pa.array([datetime(2026, 11, 23, 10, tzinfo=UTC)] * 2, pa.timestamp("ns", "UTC")),
            # pandas makes floats of integers where some are missing
            "age": [5.0, float("nan")],
            "income": [Decimal("1.5"), None],
            "city": ['x "y"', ""],
            "unused": [[1], [2]],
        }
    )
    expected = [{**row, "at": "2026-11-23T10:00:00.000Z"} for row in EXPECTED]
    assert records(read("a.parquet", content)) == expected


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([True]), {"age": "1", "income": "1", "city": "true"}),
        (pa.array([2**63], pa.uint64()), {"age": None, "income": str(2**63), "city": str(2**63)}),
        (pa.array([-(2**63)]), {name: str(-(2**63)) for name in ("age", "income", "city")}),
        (pa.array([2.5]), {"age": None, "income": "2.5", "city": "2.5"}),
        (pa.array([2.5], pa.float32()), {"age": None, "income": "2.5", "city": "2.5"}),
        (pa.array([1e300]), {"age": None, "income": "1e+300", "city": "1e+300"}),
        (pa.array([Decimal("5.00")]), {"age": "5", "income": "5.00", "city": "5.00"}),
        (pa.array([date(2026, 1, 2)]), {"age": None, "income": None, "city": "2026-01-02T00:00:00.000Z"}),
        (pa.array([b"7"]), {"age": "7", "income": "7", "city": "7"}),
    ],
    ids=["bool", "uint64", "int64", "double", "float", "large", "decimal", "date", "binary"],
)  # fmt: skip
def test_types_of_parquet(column: pa.Array, expected: dict[str, str | None], read: Read) -> None:
    for name, value in expected.items():
        blocks = read("a.parquet", parquet({"id": ["1"], "at": [AT], name: column}))
        if value is None:
            assert codes(blocks) == [(1, "wrong_type")], name
        else:
            assert records(blocks) == [written({name: value})], name


def test_nan_of_parquet_is_no_value_whatever_the_feature_is(read: Read) -> None:
    for name in ("age", "income", "city"):
        content = parquet({"id": ["1"], "at": [AT], name: [float("nan")]})
        assert records(read("a.parquet", content)) == [written({})]


def test_event_times_in_seconds(read: Read) -> None:
    rows = '{"id":1,"at":1700000000}\n{"id":2,"at":1700000000.25}\n{"id":3,"at":"1700000001.5"}\n'
    (block,) = read("a.jsonl", rows, CLICKS)
    assert [record["at"] for record in records([block])] == [
        "1700000000", "1700000000.25", "1700000001.5",
    ]  # fmt: skip
    assert list(block.times) == [1700000000, 1700000000.25, 1700000001.5]
    at = pa.array([datetime(2023, 11, 14, 22, 13, 20, 250_000)])
    (block,) = read("a.parquet", parquet({"id": [1], "at": at}), CLICKS)
    assert records([block]) == [{"id": "1", "at": "1700000000.25"}]


# --- rows that are no record

FAULTS: list[tuple[dict[str, Any], str, str]] = [
    ({"id": None}, "missing_identifier", "id has no value"),
    ({"id": ""}, "missing_identifier", "id has no value"),
    ({"id": "x" * 2049}, "too_long", "id has 2049 bytes, the limit is 2048"),
    ({"at": None}, "missing_event_time", "no value"),
    ({"at": ""}, "missing_event_time", "no value"),
    ({"at": "2026-02-30T10:00:00Z"}, "unreadable_event_time", "is not like"),
    ({"at": "2026-11-23T10:00:00+00:00"}, "unreadable_event_time", "is not like"),
    ({"at": "2026-11-23 10:00:00"}, "unreadable_event_time", "is not like"),
    ({"at": "2026-11-23T10:00:00.123456Z"}, "unreadable_event_time", "is not like"),
    ({"at": "1700000000"}, "unreadable_event_time", "'1700000000' is not like"),
    ({"age": "old"}, "wrong_type", "age: 'old' is no integer of 64 bits"),
    ({"age": "1.5"}, "wrong_type", "age: '1.5' is no integer"),
    ({"age": "9223372036854775808"}, "wrong_type", "age: "),
    ({"age": "9" * 5000}, "wrong_type", "age: "),
    ({"age": "1e3"}, "wrong_type", "age: "),
    ({"income": "much"}, "wrong_type", "income: 'much' is no finite number"),
    ({"income": "inf"}, "wrong_type", "income: "),
    ({"income": "1e999"}, "wrong_type", "income: "),
    ({"income": "1_000"}, "wrong_type", "income: "),
    ({"income": "१"}, "wrong_type", "income: "),
    ({"city": "x" * 358_401}, "too_long", "bytes, the limit is 358400"),
]


@pytest.mark.parametrize("layout", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize(
    ("wrong", "code", "message"), FAULTS, ids=[f"{list(f[0])[0]}-{i}" for i, f in enumerate(FAULTS)]
)
def test_a_row_that_is_no_record_is_kept_with_its_reason(
    wrong: dict[str, Any], code: str, message: str, layout: str, read: Read
) -> None:
    """Given three rows, when the second is wrong, then the others are records, and it says why it is none."""
    bad = written({"age": "5", "income": "1.5", "city": "c"}) | wrong
    rows = [written({"id": "before"}), bad, written({"id": "after"})]
    if layout == "csv":
        lines = (",".join(row.get(name) or "" for name in LOANS.features) for row in rows)
        content = (HEADER + "\n".join(lines)).encode()
    elif layout == "jsonl":
        content = "\n".join(json.dumps(row) for row in rows).encode()
    else:
        content = parquet({name: [row.get(name) for row in rows] for name in LOANS.features})
    blocks = read(f"a.{layout}", content)
    assert [record["id"] for record in records(blocks)] == ["before", "after"]
    (reject,) = rejects(blocks)
    assert (reject.row, reject.code.value) == (2, code)
    assert message in reject.message
    assert reject.values == {
        name: value for name, value in bad.items() if value not in (None, "")
    } | ({name: "" for name, value in bad.items() if value == "" and layout != "csv"})
    assert (reject.object, reject.etag, reject.feature_group) == (
        f"s3://lake/a.{layout}", "e1", "loans",
    )  # fmt: skip


def test_rows_of_csv_that_have_too_few_or_too_many_values(read: Read) -> None:
    rows = f'a,{AT},1,1,"two\nlines"\nb,{AT}\nc,{AT},1,1,x\nd,{AT},1,1,x,y\ne,{AT},1,1,x\nf\n'
    for most in (1, 2, 1000):
        blocks = read("a.csv", HEADER + rows, most=most)
        assert [number for block in blocks for number in block.numbers] == [1, 3, 5]
        assert codes(blocks) == [(row, "malformed_row") for row in (2, 4, 6)]
        assert [reject.text for reject in rejects(blocks)] == [
            f"b,{AT}", f"d,{AT},1,1,x,y", "f",
        ]  # fmt: skip
        assert "2 values in place of 5" in rejects(blocks)[0].message


def test_csv_of_nothing_but_broken_rows(read: Read) -> None:
    assert codes(read("a.csv", HEADER + "a\nb\n")) == [(1, "malformed_row"), (2, "malformed_row")]


def test_lines_that_are_no_json_object(read: Read) -> None:
    lines = [json.dumps(written({})), "{", "", "[1]", "\xff", json.dumps(written({"id": "2"}))]
    content = "\n".join(lines).encode("latin-1")
    blocks = read("a.jsonl", content)
    assert codes(blocks) == [(row, "malformed_row") for row in (2, 4, 5)]
    assert [number for block in blocks for number in block.numbers] == [1, 6]
    assert sum(block.rows for block in blocks) == 6


def test_bytes_that_are_no_utf_8(read: Read) -> None:
    content = f"{HEADER}a,{AT},1,1,x\nb,{AT},1,1,\xff\n".encode("latin-1")
    blocks = read("a.csv", content)
    assert records(blocks) == [{"id": "a", "at": AT, "age": "1", "income": "1", "city": "x"}]
    assert codes(blocks) == [(2, "wrong_type")]


def test_json_lines_whose_values_are_of_several_types(read: Read) -> None:
    rows = [
        {"id": 1, "at": AT, "age": 5, "city": 7},
        {"id": "2", "at": AT, "age": "6", "city": True},
        {"id": "3", "at": AT, "age": [7], "city": None},
        {"id": "4", "at": AT, "age": 2**70, "city": {"a": 1}},
    ]
    blocks = read("a.jsonl", "\n".join(json.dumps(row) for row in rows))
    assert records(blocks) == [
        {"id": "1", "at": AT, "age": "5", "city": "7"},
        {"id": "2", "at": AT, "age": "6", "city": "true"},
    ]
    assert codes(blocks) == [(3, "wrong_type"), (4, "wrong_type")]
    assert rejects(blocks)[0].message == "age is [7], not one value"
    assert rejects(blocks)[0].values["age"] == [7]


# --- what is asked for


def test_selected_features_are_written_with_identifier_and_event_time(read: Read) -> None:
    blocks = read("a.csv", f"{HEADER}a,{AT},no number,1.5,x\n", features=("income",))
    assert records(blocks) == [{"id": "a", "at": AT, "income": "1.5"}]


def test_a_feature_that_no_column_holds_is_left_out_unless_it_is_selected(read: Read) -> None:
    content = f"id,at\na,{AT}\n"
    assert records(read("a.csv", content)) == [{"id": "a", "at": AT}]
    for layout, text in {
        "csv": content.encode(), "parquet": parquet({"id": ["a"], "at": [AT]}),
    }.items():  # fmt: skip
        with pytest.raises(
            MalformedSourceError, match=rf"a.{layout} has no column age; its columns"
        ):
            read(f"a.{layout}", text, features=("age",))


@pytest.mark.parametrize("layout", ["csv", "parquet"])
def test_columns_of_identifier_and_event_time_have_to_be_there(layout: str, read: Read) -> None:
    content = b"age\n1\n" if layout == "csv" else parquet({"age": [1]})
    with pytest.raises(MalformedSourceError, match="has no column at, id; its columns are age"):
        read(f"a.{layout}", content)


def test_unknown_features_and_collections_are_refused(read: Read) -> None:
    with pytest.raises(RejectedRequestError, match="loans has no feature agee. It has id, at"):
        read("a.csv", HEADER, features=("agee",))
    group = msgspec.structs.replace(LOANS, collections=frozenset({"city"}))
    with pytest.raises(RejectedRequestError, match="features city of loans are collections"):
        read("a.csv", HEADER, group)
    assert group.left_out(("age",)) == ("income", "city")


def test_only_event_times_in_range_count_and_others_are_no_rejects(read: Read) -> None:
    rows = [
        f"{hour},2026-11-23T{hour:02}:00:00Z,{'wrong' if hour in (9, 11) else 1},1,x"
        for hour in range(9, 13)
    ]
    start = datetime(2026, 11, 23, 10, tzinfo=UTC).timestamp()
    blocks = read("a.csv", HEADER + "\n".join([*rows, "x,,1,1,x"]), since=start, until=start + 7200)
    assert [record["id"] for record in records(blocks)] == ["10"]
    assert codes(blocks) == [(3, "wrong_type"), (5, "missing_event_time")]
    assert blocks[0].passed_over == 2


def test_deleted_records_of_an_offline_store_are_passed_over(read: Read) -> None:
    content = parquet({"id": ["a", "b"], "at": [AT, AT], "is_deleted": [False, True]})
    (block,) = read("a.parquet", content)
    assert list(block.identifiers) == ["a"]
    assert block.passed_over == 1


# --- files that are none


@pytest.mark.parametrize("name", ["a.parquet", "a.csv.gz", "a.jsonl.gz", "a.csv"])
def test_what_is_not_what_it_is_said_to_be(name: str, read: Read) -> None:
    content = b"\n\n" if name == "a.csv" else b"PAR1 this is none"
    with pytest.raises(MalformedSourceError, match=f"s3://lake/{name} "):
        read(name, content)


def test_nested_columns_of_parquet_are_refused_by_name(read: Read) -> None:
    content = parquet({"id": ["a"], "at": [AT], "age": [[1]]})
    with pytest.raises(MalformedSourceError, match="column age holds list"):
        read("a.parquet", content)


def test_a_column_twice(read: Read) -> None:
    with pytest.raises(MalformedSourceError, match="column at more than once"):
        read("a.csv", f"id,at,at\na,{AT},{AT}\n")


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.csv.gz"])
def test_an_empty_file_holds_no_record(name: str, read: Read) -> None:
    assert read(name, b"") == []
    assert read("b.csv", HEADER) == []
    none = pa.array([], pa.string())
    assert read("b.parquet", parquet({"id": none, "at": none})) == []


def test_a_line_without_end_is_refused(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_files, "READ_BYTES", 100)
    with pytest.raises(MalformedSourceError, match="a line of more than 100 bytes"):
        read("a.jsonl", b"x" * 101)


def test_a_row_of_csv_that_is_longer_than_a_block_is_refused(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_files, "CSV_BYTES", 100)
    with pytest.raises(MalformedSourceError, match=r"s3://lake/a.csv cannot be read as csv"):
        read("a.csv", f"{HEADER}a,{AT},1,1,x\nb,{AT},1,1,{'x' * 500}\nc,{AT},1,1,x\n")


def test_a_copy_of_another_size_is_not_the_object(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(HEADER)
    with pytest.raises(SourceChangedError, match="s3://lake/a.csv was changed"):
        list(RecordFiles().blocks(task_of(path, size=3), LOANS, 0, 10))


# --- blocks


def made(layout: str, rows: int) -> bytes:
    columns = {"id": [f"id {i}" for i in range(rows)], "at": [AT] * rows, "age": list(range(rows))}
    if layout == "parquet":
        return parquet(columns, row_group_size=7)
    if layout == "jsonl":
        lines = [json.dumps(row) for row in pa.table(columns).to_pylist()]
        lines[rows // 2 : rows // 2] = ["", "broken"]
        return "\n".join(lines).encode()
    sink = io.BytesIO()
    arrow_csv.write_csv(pa.table(columns), sink)
    lines = sink.getvalue().decode().splitlines()
    lines[rows // 2 : rows // 2] = ["broken", "broken"]
    return "\n".join([*lines, "broken"]).encode()


@pytest.mark.parametrize("layout", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("most", [1, 3, 50])
def test_reading_goes_on_after_any_row(
    layout: str, most: int, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given the blocks of an object, when it is read again after any of them, then the rest is the same."""
    for name in ("BLOCK_BYTES", "CSV_BYTES"):
        monkeypatch.setattr(record_files, name, 200)
    content = made(layout, 30)
    all_rows = read(f"a.{layout}", content, most=most)
    assert [record["age"] for record in records(all_rows)] == [str(i) for i in range(30)]
    assert max(block.rows for block in all_rows) <= most
    after = 0
    for i, block in enumerate(all_rows):
        rest = read(f"a.{layout}", content, after=after, most=most)
        assert records(rest) == records(all_rows[i:])
        assert codes(rest) == codes(all_rows[i:])
        assert [n for b in rest for n in b.numbers] == [n for b in all_rows[i:] for n in b.numbers]
        after += block.rows
    assert read(f"a.{layout}", content, after=after, most=most) == []


@pytest.mark.parametrize("layout", ["csv", "jsonl", "parquet"])
def test_reading_goes_on_in_blocks_of_another_size(layout: str, read: Read) -> None:
    content = made(layout, 30)
    whole = read(f"a.{layout}", content, most=30)
    for after in range(1, 30):
        read_before = read(f"a.{layout}", content, most=after)[0]
        rest = read(f"a.{layout}", content, after=read_before.rows, most=7)
        assert records([read_before, *rest]) == records(whole)
        assert codes([read_before, *rest]) == codes(whole)


def test_values_of_csv_may_hold_line_ends_wherever_a_block_ends(
    read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_files, "CSV_BYTES", 150)
    city = "one\ntwo\r\nthree\n"
    rows = [f'{i},{AT},1,1,"{city}"' for i in range(40)]
    found = records(read("a.csv", HEADER + "\n".join(rows)))
    assert [(record["id"], record["city"]) for record in found] == [
        (str(i), city) for i in range(40)
    ]


@pytest.mark.parametrize("layout", ["csv", "jsonl", "parquet"])
def test_memory_is_that_of_a_block_however_many_there_are(layout: str, tmp_path: Path) -> None:
    """Given a file ten times as long, when both are read block by block, then neither is held as a whole."""
    peaks = []
    for rows in (20_000, 200_000):
        path = tmp_path / f"{rows}.{layout}"
        columns = {"id": [f"identifier {i}" for i in range(rows)], "at": [AT] * rows}
        if layout == "parquet":
            path.write_bytes(parquet(columns))
        elif layout == "csv":
            arrow_csv.write_csv(pa.table(columns), str(path))
        else:
            path.write_text("".join(f'{{"id":"{i:030}","at":"{AT}"}}\n' for i in range(rows)))
        pa.default_memory_pool().release_unused()
        before = pa.total_allocated_bytes()
        peak = 0
        tracemalloc.start()
        for _ in RecordFiles().blocks(task_of(path), LOANS, 0, 1000):
            arrow = pa.total_allocated_bytes() - before
            peak = max(peak, arrow + tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        peaks.append(peak)
    assert peaks[1] < 3 * peaks[0] + 20_000_000
    assert peaks[1] < 40_000_000


@pytest.mark.parametrize("layout", ["jsonl", "parquet"])
def test_a_block_of_long_values_has_fewer_rows(
    layout: str, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_files, "CHUNK_BYTES", 10_000)
    rows = [written({"id": str(i), "city": f"{i}" * 2000}) for i in range(10)]
    content = "\n".join(json.dumps(row) for row in rows).encode()
    if layout == "parquet":
        content = parquet({name: [row[name] for row in rows] for name in rows[0]})
    blocks = read(f"a.{layout}", content)
    assert records(blocks) == rows
    assert max(block.rows for block in blocks) <= 5


texts = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.lists(st.tuples(texts.filter(bool), texts), min_size=1, max_size=20))
def test_any_text_is_written_as_it_stood(values: list[tuple[str, str]]) -> None:
    rows = [{"id": name, "at": AT, "city": city} for name, city in values]
    block = RecordFiles().block_of([reject_of(row) for row in rows], LOANS)
    assert records([block]) == rows


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_number_is_written_as_one_that_is_equal(number: float) -> None:
    block = RecordFiles().block_of([reject_of(written({"income": number}))], LOANS)
    assert float(records([block])[0]["income"]) == number


# --- rejects once more


def reject_of(values: dict[str, Any], row: int = 1, **more: Any) -> Reject:
    return Reject(
        feature_group="loans",
        object="s3://lake/a.csv",
        etag="e1",
        row=row,
        code=RejectCode.WRONG_TYPE,
        message="was wrong",
        values=values,
        **more,
    )


def test_rejects_are_checked_again(read: Read) -> None:
    """Given rejects, of which one was mended, when they are checked, then it is a record."""
    given_rejects = [
        reject_of(written({"age": "old"}), 7),
        reject_of(written({"id": "mended", "age": "8"}), 8),
        reject_of({}, 9, text="a,b"),
    ]
    block = RecordFiles().block_of(given_rejects, LOANS)
    assert records([block]) == [written({"id": "mended", "age": "8"})]
    assert [given_rejects[number].row for number in block.numbers] == [8]
    assert [(reject.row, reject.text) for reject in block.rejects] == [(7, ""), (9, "a,b")]
    assert "'old' is no integer" in block.rejects[0].message
    assert block.rejects[1].message == "was wrong"


def test_what_was_rejected_can_be_written_by_its_values(read: Read) -> None:
    """Given rows of Parquet with times, when one is rejected and mended, then its other values are as before."""
    content = parquet(
        {
            "id": ["a"],
            "at": pa.array([datetime(2026, 11, 23, 10)]),
            "age": [1.5],
            "income": [2.25],
        }
    )
    (reject,) = rejects(read("a.parquet", content))
    assert reject.values == {
        "id": "a", "at": "2026-11-23T10:00:00.000Z", "age": 1.5, "income": "2.25",
    }  # fmt: skip
    mended = msgspec.structs.replace(reject, values={**reject.values, "age": 1})
    assert records([RecordFiles().block_of([mended], LOANS)]) == [
        {"id": "a", "at": "2026-11-23T10:00:00.000Z", "age": "1", "income": "2.25"}
    ]
