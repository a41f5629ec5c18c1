"""The history that benchmarks write: the same bytes each time, and a life worth a backtest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from guiderail.model.policy import Policy
from guiderail_cli.backtest.run import backtest
from guiderail_cli.backtest.shelves import shelf_at
from guiderail_cli.backtest.stored_runs import find_runs
from guiderail_local.runs import read_runs

from benchmarks.history import Life, write_history

MAX_BYTES = 10_000_000


def digest(folder: Path) -> str:
    names = sorted(p for p in folder.rglob("*") if p.is_file())
    lines = [f"{p.relative_to(folder)} {hashlib.sha256(p.read_bytes()).hexdigest()}" for p in names]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def test_the_same_arguments_write_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_history(tmp_path / name, days=3, endpoints=4, seed=seed, columns=12)

    assert digest(tmp_path / "a") == digest(tmp_path / "b") != digest(tmp_path / "c")


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")

    with pytest.raises(FileExistsError, match="name a new folder"):
        write_history(tmp_path, days=1, endpoints=1)


def test_every_life_shows_and_the_runs_can_be_played(tmp_path: Path) -> None:
    folder = tmp_path / "history"
    count = write_history(folder, days=30, endpoints=25, columns=12)

    shelf = shelf_at(str(folder), MAX_BYTES)
    result = backtest(shelf, find_runs(shelf), [("built-in", Policy())], 30)

    assert result.runs == count == len(read_runs(folder))
    assert not result.skipped
    assert {"clean", "violations", "no_data", "too_few_rows", "failed"} <= result.outcomes.keys()
    checks = {(i.endpoint.rsplit("-", 1)[0], i.check) for i in result.policy.noisiest}
    assert any(check == "baseline_drift_check" for _, check in checks)
    assert result.policy.suggestions
    assert result.policy.incidents > len(Life)
