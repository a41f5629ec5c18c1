"""Damaged and arbitrary input: nothing but our own errors, and never ``clean`` by accident."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from guiderail.errors import GuiderailError, MalformedEventError
from guiderail.model.event import parse_job_event
from guiderail.model.incident import Ledger, Scope
from guiderail.model.message import Rendering
from guiderail.model.notice import Group
from guiderail.model.outcome import MonitorKind, Outcome, Reason
from guiderail.model.policy import Policy
from guiderail.model.retraining import RetrainingDecision
from guiderail.model.run import Reading, Run
from guiderail.rendering import plain_text
from guiderail.reports.analysis import read_analysis
from guiderail.reports.constraints import read_constraints
from guiderail.reports.run_files import ParsedRun
from guiderail.reports.statistics import read_statistics
from guiderail.reports.violations import read_violations
from guiderail.reports.wording import read_wording
from guiderail.services.following import Judged, follow
from guiderail.services.identify import ruled_out, ruled_out_by_event
from guiderail.services.judging import PolicyIndex, RunLabels, judge
from guiderail.services.telling import Surroundings, settle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import builders as b

few = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
more = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

KEYS = [
    "violations",
    "feature_name",
    "constraint_check_type",
    "description",
    "metric_name",
    "facet",
    "facet_value",
    "label",
    "version",
    "features",
    "name",
    "inferred_type",
    "numerical_statistics",
    "common",
    "num_missing",
    "dataset",
    "item_count",
    "regression_metrics",
    "value",
    "standard_deviation",
    "monitoring_config",
    "completeness",
    "post_training_bias_metrics",
    "facets",
    "metrics",
    "explanations",
    "kernel_shap",
    "global_shap_values",
]
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**30, -(10**400), 2**63, 2**64])
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["NaN", "Infinity", "-Infinity", "1e999", "\ud83d", "\x00", "\u2028"])
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=6), inner, max_size=5)
    ),
    max_leaves=12,
)

WHOLE: dict[str, tuple[Callable[[bytes], object], bytes]] = {
    "violations": (
        read_violations,
        b.violations(
            b.mistyped("income", "0.9"),
            b.drifted("age_of_account"),
            b.off_metric("auc", "0.6", "0.8", "1E-3"),
            b.biased("DI", "Infinity", "0.9"),
            b.reordered("0.8"),
            b.columns_differ("missing_column_check", 2, 3),
        ),
    ),
    "statistics": (read_statistics, b.statistics()),
    "quality statistics": (read_statistics, b.quality_statistics({"auc": (0.9, "NaN")})),
    "constraints": (read_constraints, b.constraints("income")),
    "analysis": (read_analysis, b.bias_analysis(post={"DI": 0.9, "TE": None}, pre={"CI": 0.1})),
    "attributions": (read_analysis, b.shap_analysis({"default": {"income": 0.2}})),
}
every_reader = pytest.mark.parametrize(
    ("read", "whole"), [pytest.param(*case, id=name) for name, case in WHOLE.items()]
)


def _flip(content: bytearray, at: int, byte: int) -> None:
    content[at] = byte


def _insert(content: bytearray, at: int, byte: int) -> None:
    content.insert(at, byte)


def _drop(content: bytearray, at: int, byte: int) -> None:
    del content[at : at + 1 + byte % 6]


def _repeat(content: bytearray, at: int, byte: int) -> None:
    content[at:at] = content[at : at + byte]


def _cut(content: bytearray, at: int, byte: int) -> None:
    del content[at:]


edits = st.lists(
    st.tuples(
        st.sampled_from([_flip, _insert, _drop, _repeat, _cut]),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 255) | st.sampled_from(list(b'{}[]",:\\0-eEN')),
    ),
    min_size=1,
    max_size=5,
)


def damaged(whole: bytes, drawn: list[tuple[Callable[..., None], float, int]]) -> bytes:
    content = bytearray(whole)
    for edit, place, byte in drawn:
        if content:
            edit(content, int(place * len(content)), byte)
    return bytes(content)


def tolerated(read: Callable[[bytes], object], content: bytes) -> None:
    try:
        read(content)
    except GuiderailError as error:
        assert str(error)


def transplanted(document: Any, path: list[int], graft: Any) -> Any:
    """The document with the value at a path of child numbers replaced."""
    if not path or not isinstance(document, dict | list) or not document:
        return graft
    if isinstance(document, dict):
        key = list(document)[path[0] % len(document)]
        return {**document, key: transplanted(document[key], path[1:], graft)}
    at = path[0] % len(document)
    return [*document[:at], transplanted(document[at], path[1:], graft), *document[at + 1 :]]


paths = st.lists(st.integers(0, 30), min_size=1, max_size=8)


# --- readers


@every_reader
@few
@given(content=st.binary(max_size=200))
def test_bytes_raise_nothing_but_our_errors(
    read: Callable[[bytes], object], whole: bytes, content: bytes
) -> None:
    tolerated(read, content)


@every_reader
@few
@given(document=values)
def test_any_json_raises_nothing_but_our_errors(
    read: Callable[[bytes], object], whole: bytes, document: object
) -> None:
    tolerated(read, json.dumps(document).encode())


@every_reader
@few
@given(path=paths, graft=values)
def test_a_foreign_value_anywhere_raises_nothing_but_our_errors(
    read: Callable[[bytes], object], whole: bytes, path: list[int], graft: object
) -> None:
    tolerated(read, json.dumps(transplanted(json.loads(whole), path, graft)).encode())


@every_reader
@few
@given(drawn=edits)
def test_a_damaged_file_raises_nothing_but_our_errors(
    read: Callable[[bytes], object],
    whole: bytes,
    drawn: list[tuple[Callable[..., None], float, int]],
) -> None:
    tolerated(read, damaged(whole, drawn))


@every_reader
@pytest.mark.parametrize(
    "odd",
    [
        b"9" * 5000,
        b"-" + b"9" * 5000,
        b"1e" + b"9" * 400,
        b"[" * 900 + b"]" * 900,
        b"[" * 5000 + b"]" * 5000,
        b'"' + b"\\u0000" * 50 + b'"',
        b'"\\ud83d"',
    ],
    ids=lambda odd: f"{odd[:6]!r} {len(odd)}",
)
@pytest.mark.parametrize("place", ["first key", "last key"])
def test_odd_values_beside_the_report_raise_nothing_but_our_errors(
    read: Callable[[bytes], object], whole: bytes, odd: bytes, place: str
) -> None:
    if place == "first key":
        tolerated(read, b'{"of_tomorrow": ' + odd + b"," + whole[1:])
    else:
        tolerated(read, whole.rstrip()[:-1] + b', "of_tomorrow": ' + odd + b"}")


@pytest.mark.parametrize("digits", [400, 5000])
def test_an_empty_list_beside_a_huge_number_raises_nothing_but_our_errors(digits: int) -> None:
    tolerated(read_violations, b'{"violations": [], "of_tomorrow": ' + b"9" * digits + b"}")


@pytest.mark.parametrize("depth", [*range(150, 340, 9), *range(930, 1010, 5), 20_000])
@pytest.mark.parametrize("bracket", [(b"[", b"]"), (b'{"a":', b"}")], ids=["lists", "objects"])
def test_nesting_at_the_edge_of_the_stack_raises_nothing_but_our_errors(
    depth: int, bracket: tuple[bytes, bytes]
) -> None:
    nested = bracket[0] * depth + b"1" + bracket[1] * depth

    tolerated(read_violations, b'{"violations": [{"feature_name": ' + nested + b"}]}")


@more
@given(st.text(max_size=300))
def test_any_description_is_read_or_not(text: str) -> None:
    read_wording(text)


@more
@given(
    st.sampled_from(
        [
            "Metric auc with %s +/- %s was LessThanThreshold '%s'",
            "Baseline drift distance: %s exceeds threshold: %s%s",
            "Metric value %s doesn't meet the baseline constraint requirement %s%s",
            "Expected match: %s%%. Observed: Only %s%% of data is %s",
        ]
    ),
    st.lists(
        st.floats().map(repr) | st.text("0123456789.eE+-", max_size=40), min_size=3, max_size=3
    ),
)
def test_any_number_in_a_sentence_is_read_or_not(sentence: str, numbers: list[str]) -> None:
    said = read_wording(sentence % tuple(numbers))

    assert said.observed is None or isinstance(said.observed, float)


@pytest.mark.parametrize(
    "text",
    ["9" * 100_000, "-" * 100_000, "Metric " * 20_000, "1." * 50_000, "distance: " * 10_000],
    ids=lambda text: text[:8],
)
def test_a_long_description_is_not_searched_for_ever(text: str) -> None:
    assert not read_wording(text).recognised


# --- events


@more
@given(st.binary(max_size=200) | values.map(json.dumps))
def test_any_message_is_an_event_or_our_error(raw: bytes | str) -> None:
    with pytest.raises(MalformedEventError):
        parse_job_event(raw)


@more
@given(paths, values)
def test_a_foreign_value_anywhere_in_an_event_breaks_nothing(path: list[int], graft: Any) -> None:
    try:
        event = parse_job_event(json.dumps(transplanted(b.job_event(), path, graft)))
    except MalformedEventError:
        return

    ruled_out_by_event(event.job)
    ruled_out(event.job)
    run = b.run(key=event.run_key, job_arn=event.job.arn, job_name=event.job.name)
    assert run.region


@more
@given(edits)
def test_a_damaged_event_breaks_nothing(
    drawn: list[tuple[Callable[..., None], float, int]],
) -> None:
    tolerated(parse_job_event, damaged(json.dumps(b.job_event()).encode(), drawn))


# --- the whole reading


def sent(reading: Reading, run: Run | None = None) -> None:
    """What follows a reading must work on whatever was read, up to the message."""
    run, now, policy = run or b.run(), datetime(2026, 11, 23, tzinfo=UTC), Policy()
    scope = Scope(
        account=run.account, region=run.region, endpoint=run.endpoint, schedule=run.schedule
    )
    labels = RunLabels(
        account=run.account,
        region=run.region,
        endpoint=run.endpoint,
        schedule=run.schedule,
        monitor=reading.monitor,
    )
    judgements = judge(PolicyIndex(policy).for_run(labels), reading, ParsedRun(), now)
    judged = Judged(scope=scope, reading=reading, judgements=judgements)
    nothing = RetrainingDecision(reason=Reason.RETRAINING_OFF)
    followed = follow(Ledger(scope=scope), run, judged, policy, lambda _: nothing, now)
    assert bool(followed.notices) is (reading.outcome is not Outcome.CLEAN)
    for notice in followed.notices:
        group = Group(id=notice.group, route=notice.route, labels=notice.group_labels)
        settled = settle(group, [notice], policy.route, Surroundings(policy=policy), now)
        (told,) = settled.notifications
        assert told.subject.isascii() and told.subject.isprintable() and len(told.subject) < 100
        assert msgspec.json.decode(msgspec.json.encode(told.detail)) == told.detail
        assert len(msgspec.msgpack.encode(told)) < 256 * 1024
        assert len(plain_text.render(told, Rendering()).encode()) < 128 * 1024


LISTED = WHOLE["violations"][1]


@settings(max_examples=250, deadline=None)
@given(edits)
def test_a_damaged_violations_file_is_never_clean(
    drawn: list[tuple[Callable[..., None], float, int]],
) -> None:
    reading = b.read(
        {"constraint_violations.json": damaged(LISTED, drawn), "statistics.json": b.statistics()},
        job=b.job(),
        schedule=b.schedule(),
    )

    assert reading.outcome is not Outcome.CLEAN
    sent(reading)


@more
@given(paths, values.filter(lambda graft: graft != []))
def test_a_violations_file_with_a_foreign_value_is_never_clean(
    path: list[int], graft: object
) -> None:
    content = json.dumps(transplanted(json.loads(LISTED), path, graft)).encode()
    ours = isinstance(graft, dict) and graft.get("violations") == []

    reading = b.read({"constraint_violations.json": content}, job=b.job())

    assert ours or reading.outcome is not Outcome.CLEAN
    sent(reading)


@pytest.mark.parametrize("length", range(0, len(LISTED) - 2, 97))
def test_a_violations_file_cut_anywhere_is_unreadable(length: int) -> None:
    reading = b.read({"constraint_violations.json": LISTED[:length]}, job=b.job())

    assert reading.outcome is Outcome.UNREADABLE


@pytest.mark.parametrize("kind", [MonitorKind.BIAS, MonitorKind.EXPLAINABILITY])
@few
@given(drawn=edits)
def test_a_cut_analysis_is_never_clean(
    kind: MonitorKind, drawn: list[tuple[Callable[..., None], float, int]]
) -> None:
    whole = WHOLE["analysis"][1]
    content = damaged(whole[: len(whole) // 2], drawn)

    assert b.read({"analysis.json": content}, job=b.job(kind)).outcome is not Outcome.CLEAN


@few
@given(
    st.dictionaries(
        st.sampled_from(
            [
                "constraint_violations.json",
                "constraints_violations.json",
                "statistics.json",
                "constraints.json",
                "analysis.json",
            ]
        ),
        st.one_of(
            st.binary(max_size=60),
            values.map(lambda v: json.dumps(v).encode()),
            st.sampled_from([whole for _, whole in WHOLE.values()]),
            st.tuples(st.sampled_from([whole for _, whole in WHOLE.values()]), paths, values).map(
                lambda t: json.dumps(transplanted(json.loads(t[0]), t[1], t[2])).encode()
            ),
        ),
    ),
    st.dictionaries(
        st.sampled_from(["statistics.json", "constraints.json", "analysis.json"]),
        st.sampled_from([whole for _, whole in WHOLE.values()]) | st.binary(max_size=40),
    ),
    st.sampled_from(list(MonitorKind)),
)
def test_any_files_have_an_outcome_and_an_alert(
    files: dict[str, bytes], baseline: dict[str, bytes], kind: MonitorKind
) -> None:
    reading = b.read(files, baseline, job=b.job(kind), schedule=b.schedule(kind), minimum_rows=30)

    assert reading.outcome is not Outcome.CLEAN or files
    assert len(reading.reasons) == len(set(reading.reasons)) > 0
    sent(reading)
