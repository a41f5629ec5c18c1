"""The example of a retraining pipeline: what is committed is what the SDK builds, and it can be played."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from guiderail_local.environment import REPOSITORY
from guiderail_local.sagemaker.definitions import Definition
from moto.core.exceptions import JsonRESTError

from benchmarks.environments import EnvironmentMissingError, python_with

pytestmark = pytest.mark.e2e

EXAMPLE = REPOSITORY / "examples" / "pipelines"
DEFINITION = (EXAMPLE / "retrain.json").read_text()
STEPS = ("Prepare", "Baseline", "Train", "Evaluate", "Register-RegisterModel")


@pytest.mark.slow
def test_the_definition_is_what_the_sdk_builds(tmp_path: Path) -> None:
    try:
        python = python_with("sagemaker", "sagemaker")
    except EnvironmentMissingError as missing:
        pytest.skip(f"the SDK cannot be installed here: {missing}")
    done = subprocess.run(
        [str(python), str(EXAMPLE / "retrain.py"), "--check"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "step", "folder"),
    [("ModelDataQuality", "Baseline", "baseline"), ("ModelQuality", "Evaluate", "quality")],
)
def test_a_model_is_registered_with_the_baselines_of_its_own_run(
    kind: str, step: str, folder: str
) -> None:
    definition = Definition(DEFINITION, {"ModelPackageGroup": "tug-dispatch-prod"})
    steps = {defined["Name"]: defined for defined in definition.steps}
    assert tuple(steps) == STEPS

    registered: Any = definition.resolved(steps[STEPS[-1]]["Arguments"], "e1")

    assert registered["ModelPackageGroupName"] == "tug-dispatch-prod"
    place = f"s3://harbour-models/runs/e1/{folder}"
    for part in ("DriftCheckBaselines", "ModelMetrics"):
        assert registered[part][kind]["Constraints"]["S3Uri"] == f"{place}/constraints.json"
    ran = definition.resolved(steps[step]["Arguments"], "e1")
    outputs = ran["ProcessingOutputConfig"]["Outputs"]
    assert [output["S3Output"]["S3Uri"] for output in outputs] == [place]
    assert "Get" not in json.dumps([registered, ran])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"Bucket": "b"}, "undefined parameter: Bucket"),
        ({"InputData": ""}, "too short"),
        ({"Rounds": "many"}, "not of type Integer"),
    ],
)
def test_wrong_parameters_are_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(JsonRESTError, match=said):
        Definition(DEFINITION, given)


def test_the_readme_lists_the_parameters_and_steps() -> None:
    readme = (EXAMPLE / "README.md").read_text()
    for parameter in json.loads(DEFINITION)["Parameters"]:
        assert f"| `{parameter['Name']}` |" in readme
    for step in STEPS:
        assert f"| `{step.partition('-')[0]}` |" in readme
