"""What the step Prepare runs: drop rows without a label, put the label first, keep a fifth for validation."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd


def prepare(data: Path, train: Path, validation: Path, label: str) -> None:
    """Read every CSV file of a folder and write one file each to train on and to validate with."""
    rows = pd.concat([pd.read_csv(file) for file in sorted(data.rglob("*.csv"))])
    rows = rows.dropna(subset=[label])
    rows = rows[[label, *rows.columns.drop(label)]].sample(frac=1.0, random_state=7)
    kept = len(rows) // 5
    for folder, part in ((validation, rows[:kept]), (train, rows[kept:])):
        folder.mkdir(parents=True, exist_ok=True)
        part.to_csv(folder / "data.csv", index=False)


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--folder", type=Path, default=Path("/opt/ml/processing"))
    options.add_argument("--label", default="label")
    given = options.parse_args()
    prepare(given.folder / "data", given.folder / "train", given.folder / "validation", given.label)
