"""What the step Evaluate runs: the model's quality, as a model-quality monitor's baseline.

The two files have the shape of what ``ModelQualityMonitor.suggest_baseline`` leaves.
"""

from __future__ import annotations

import argparse
import json
import tarfile
from pathlib import Path

import pandas as pd
import xgboost
from sklearn.metrics import accuracy_score, precision_score, recall_score, roc_auc_score

MARGIN = 0.02
"""How much worse a model may become before its monitor says so."""


def evaluate(model: Path, validation: Path, quality: Path) -> None:
    """Measure the model of ``model.tar.gz`` on labelled rows; write statistics and constraints."""
    with tarfile.open(model / "model.tar.gz") as archive:
        archive.extractall(model, filter="data")
    booster = xgboost.Booster(model_file=str(model / "xgboost-model"))
    rows = pd.read_csv(validation / "data.csv")
    labels, features = rows.iloc[:, 0], rows.iloc[:, 1:]
    scores = booster.predict(xgboost.DMatrix(features))
    predicted = scores >= 0.5
    metrics = {
        "auc": roc_auc_score(labels, scores),
        "accuracy": accuracy_score(labels, predicted),
        "precision": precision_score(labels, predicted),
        "recall": recall_score(labels, predicted),
    }
    _write(
        quality / "statistics.json",
        {
            "version": 0.0,
            "dataset": {"item_count": len(rows)},
            "binary_classification_metrics": {
                name: {"value": value, "standard_deviation": 0.0} for name, value in metrics.items()
            },
        },
    )
    _write(
        quality / "constraints.json",
        {
            "version": 0.0,
            "binary_classification_constraints": {
                name: {"threshold": value - MARGIN, "comparison_operator": "LessThanThreshold"}
                for name, value in metrics.items()
            },
        },
    )


def _write(file: Path, content: dict[str, object]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=2))


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("--folder", type=Path, default=Path("/opt/ml/processing"))
    folder = options.parse_args().folder
    evaluate(folder / "model", folder / "validation", folder / "quality")
