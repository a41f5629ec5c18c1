"""Damaged files of real runs: none raises, hangs, eats memory or is taken for clean."""

from __future__ import annotations

import random

import pytest
from guiderail.model.outcome import Outcome
from guiderail.model.run import Reading

from benchmarks import mutations
from tests.e2e.sample_runs import samples_folder

EMPTY = b'{\n  "violations" : [ ]\n}'
VIOLATIONS = "report/constraint_violations.json"


@pytest.mark.slow
def test_no_mutant_is_misread() -> None:
    if samples_folder() is None:
        print("no sample reports: set GUIDERAIL_SAMPLES; only our own runs are damaged")

    examined = mutations.examine_apart(2_000, seed=11)

    assert examined.failures == []
    assert examined.mutants == 2_000
    # else the damage is none
    assert examined.refused > 500


def test_every_way_of_damaging_damages() -> None:
    for way in mutations._WAYS:
        changed = {way(EMPTY, random.Random(seed)) for seed in range(30)}
        assert changed - {EMPTY}, way.__name__


@pytest.mark.parametrize(
    "damaged",
    [
        b'{"violations": [{}], "violations": []}',
        b'{"violations": [], "violation\\u0073": []}',
        b'{"violations": [[]]}',
        b'{"violation": []}',
        b'{"violations": []',
        b'[{"violations": []}]',
        b'{"violations": null}',
        b"\xff" + EMPTY,
        EMPTY.decode().encode("utf-16"),
        b"",
    ],
)
def test_a_violations_file_that_no_longer_says_clean(damaged: bytes) -> None:
    assert not mutations.may_be_clean(Outcome.CLEAN, VIOLATIONS, damaged)


@pytest.mark.parametrize(
    "damaged", [EMPTY, b'{"violations":[]}', b'\xef\xbb\xbf{"violations": [], "note": [1e999]}']
)
def test_a_violations_file_that_still_says_clean(damaged: bytes) -> None:
    assert mutations.may_be_clean(Outcome.CLEAN, VIOLATIONS, damaged)
    assert not mutations.may_be_clean(Outcome.VIOLATIONS, VIOLATIONS, damaged)


def test_a_statistics_file_must_keep_its_features() -> None:
    place = "report/statistics.json"

    assert mutations.may_be_clean(Outcome.CLEAN, place, b'{"features": []}')
    assert not mutations.may_be_clean(Outcome.CLEAN, place, b'{"features": null}')
    assert not mutations.may_be_clean(Outcome.CLEAN, place, b'{"featuret": []}')
    assert not mutations.may_be_clean(Outcome.FAILED, place, b'{"features": []}')


def test_a_reader_that_takes_damage_for_clean_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    run = next(run for run in mutations.run_folders() if run.name.startswith("02-"))
    before = run.readings()
    clean = [Reading(outcome=Outcome.CLEAN, monitor=r.monitor, reasons=()) for r in before]
    monkeypatch.setattr(mutations.RunFolder, "readings", lambda self: clean)

    refused, failure = mutations._failure(run, VIOLATIONS, EMPTY, before)

    assert (refused, failure) == (False, "violations became clean")


def test_a_reader_that_raises_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(self: mutations.RunFolder) -> None:
        raise KeyError("features")

    run = next(run for run in mutations.run_folders() if run.name.startswith("01-"))
    before = run.readings()
    monkeypatch.setattr(mutations.RunFolder, "readings", crash)

    refused, failure = mutations._failure(run, VIOLATIONS, EMPTY, before)

    assert failure == "raised KeyError: 'features'"
