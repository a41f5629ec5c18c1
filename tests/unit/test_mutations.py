"""Mutations of real report files: none raises, hangs or is taken for clean."""

from __future__ import annotations

import pytest

from benchmarks import mutations


def test_no_mutant_of_a_real_report_is_misread() -> None:
    if not mutations.SAMPLES.is_dir():
        pytest.skip(f"no real reports at {mutations.SAMPLES}; set GUIDERAIL_SAMPLES")
    assert list(mutations.failures(20_000, seed=11)) == []


def test_the_oracle_sees_a_hidden_violation() -> None:
    twice = b'{"violations": [1], "violations": []}'
    assert not mutations._says_clean("constraint_violations.json", b"", twice)
    assert mutations._says_clean("constraint_violations.json", b"", b'{"violations": []}')
