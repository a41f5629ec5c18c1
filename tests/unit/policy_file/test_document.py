"""YAML with positions: what is read, what is refused, and where."""

from __future__ import annotations

import pytest
from guiderail_cli.policy_file.document import (
    LARGEST_FILE,
    UnusableFileError,
    field_name,
    read_document,
)
from hypothesis import given
from hypothesis import strategies as st


def test_scalars_stay_as_they_are_written() -> None:
    text = "a: [no, on, 08:30, 0123, 1e3, 2026-01-02, true, '~', \"\"]\nb: ~\nc:\nd: null\n"
    document, problems = read_document(text, "p.yaml")
    assert document.plain() == {
        "a": ["no", "on", "08:30", "0123", "1e3", "2026-01-02", "true", "~", ""],
        "b": None,
        "c": None,
        "d": None,
    }
    assert problems == []


def test_positions_count_from_one() -> None:
    document, _ = read_document("a: 1\nb:\n  - c\n  - d: é\n    e: x\n", "p.yaml")
    assert document.place(("b", 1, "e")) == (5, 8)
    assert document.place(("b", 1, "e"), of_key=True) == (5, 5)
    assert document.place(("b", 0)) == (3, 5)
    # what is missing is where it should stand
    assert document.place(("b", 1, "z")) == (4, 5)
    assert document.place(()) == (1, 1)


def test_one_value_stands_for_a_list() -> None:
    document, _ = read_document("a: x\nb: {c: y}\n", "p.yaml")
    assert document.place(("a", 0)) == (1, 4)
    assert document.place(("b", 0, "c")) == (2, 8)


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "remedy"),
    [
        ("a: [1, 2\nb: 3", 2, 2, "not YAML", "Quote"),
        ("a: 'x\nb: 2\n", 3, 1, "not YAML", "Close what begins on line 1"),
        ("a:\n\tb: 1", 2, 1, "not YAML", "spaces, not tabs"),
        ("a: b: c", 1, 5, "not YAML", "Quote"),
        ("a: 1\nb: @x", 2, 4, "not YAML", 'Quote the text: "@x"'),
        ("a: 1\nendpoint: *-prod", 2, 11, "alias", 'begins with *: "*-prod"'),
        ("a: *", 1, 4, "not YAML", 'Quote the text: "*"'),
        ("a: 1\nb: \x01", 2, 4, "not YAML", "Remove the character"),
        ("a: \ud800", 1, 1, "not UTF-8", "UTF-8"),
        ("a: 1\n---\nb: 2", 2, 1, "a second YAML document", "one policy in one file"),
        ("a: &x [*x]", 1, 8, "*x stands inside &x", "Remove the alias"),
        ("a: &x {b: 1}\nc: {<<: *x}", 2, 5, "merge keys", "defaults or models"),
        ("? [a]\n: 1", 1, 3, "a key that is not text", "plain word"),
        ("~: 1", 1, 1, "a key that is not text", "plain word"),
        ("a: !!python/object:os.system x", 1, 4, "the tag", "Remove it"),
        ("[" * 300_000, 1, 33, "nested deeper than 32", "Flatten"),
        ("x" * (LARGEST_FILE + 1), 1, 1, "1048577 bytes, the limit is 1048576", "globs"),
    ],
)
def test_what_is_refused(text: str, line: int, column: int, message: str, remedy: str) -> None:
    with pytest.raises(UnusableFileError) as refused:
        read_document(text, "p.yaml")
    problem = refused.value.problem
    assert (problem.file, problem.line, problem.column) == ("p.yaml", line, column)
    assert message in problem.message
    assert remedy in problem.remedy


def test_aliases_of_aliases_do_not_explode() -> None:
    lines = ["a0: &a0 [" + "x, " * 99 + "x]"]
    lines += [f"a{n}: &a{n} [" + f"*a{n - 1}, " * 99 + f"*a{n - 1}]" for n in range(1, 9)]
    with pytest.raises(UnusableFileError, match="more than 200000 values"):
        read_document("\n".join(lines), "p.yaml")


def test_an_alias_is_what_it_names() -> None:
    document, problems = read_document("a: &x {b: [1]}\nc: *x\nd: [*x, *x]\n", "p.yaml")
    assert document.plain() == {"a": {"b": ["1"]}, "c": {"b": ["1"]}, "d": [{"b": ["1"]}] * 2}
    assert problems == []


def test_a_key_that_stands_twice() -> None:
    document, (problem,) = read_document("a:\n  - b: 1\n    c: 2\n    b: 3\n", "p.yaml")
    assert document.plain() == {"a": [{"b": "1", "c": "2"}]}
    assert str(problem) == (
        "p.yaml:4:5: error: a[0].b: the key b stands twice, first on line 2. Keep one of them"
    )


def test_field_names() -> None:
    assert field_name(("rules", 2, "set", "threshold")) == "rules[2].set.threshold"
    assert field_name(()) == ""


@given(st.text(alphabet="ab:-[]{}#&*!|>'\"%@`,? \n\t~<é\u2028\x00", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        document, _ = read_document(text, "p.yaml")
    except UnusableFileError as refused:
        assert refused.problem.line >= 1 <= refused.problem.column
        assert refused.problem.remedy
    else:
        document.plain()
