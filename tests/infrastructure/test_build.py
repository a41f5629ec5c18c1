"""What `make build` made, for the runtime it was made for.

Skipped for what is not built; where GUIDERAIL_REQUIRE_BUILD is set, that is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from layers import build, precompile
from tests.template import ROOT

MACHINES = {"arm64": 0xB7, "x86_64": 0x3E}
FUNCTIONS = ["OnDue", "OnJobFinished"]
MEGABYTE = 1_000_000

# Imports the function and every module of ours. botocore belongs to the runtime, not to the layers.
IMPORT_EVERYTHING = """
import importlib, pkgutil, sys
from unittest.mock import MagicMock

class Runtime:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"boto3", "botocore"}:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        return MagicMock(__path__=[], __spec__=spec)
    def exec_module(self, module):
        pass

sys.meta_path.append(Runtime())
import app, guiderail, msgspec
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.utilities import batch
for module in pkgutil.walk_packages(guiderail.__path__, "guiderail."):
    importlib.import_module(module.name)
print(len([name for name in sys.modules if name.startswith("guiderail")]))
"""


def built(config_env: str) -> tuple[Path, str]:
    """Folder and processor of a build, if there is one."""
    folder, architecture = build.environment_settings(config_env)
    if not (ROOT / folder / "template.yaml").is_file():
        message = f"{folder} is not there: python layers/build.py --config-env {config_env}"
        if os.environ.get("GUIDERAIL_REQUIRE_BUILD"):
            pytest.fail(message)
        pytest.skip(message)
    return ROOT / folder, architecture


@pytest.mark.parametrize("config_env", ["default", "local"])
def test_libraries_are_for_the_processor(config_env: str) -> None:
    folder, architecture = built(config_env)
    libraries = list((folder / "DependenciesLayer").rglob("*.so"))
    assert libraries
    for library in libraries:
        assert library.read_bytes()[18] == MACHINES[architecture], library


@pytest.mark.parametrize("config_env", ["default", "local"])
def test_every_module_has_bytecode_for_the_runtime(config_env: str) -> None:
    folder, _ = built(config_env)
    interpreter = precompile.find_interpreter(precompile.runtime_version(folder))
    counted = {
        one.name: precompile.check_bytecode(one, interpreter)
        for one in folder.iterdir()
        if one.is_dir()
    }
    assert counted.keys() == {*FUNCTIONS, "DomainLayer", "DependenciesLayer"}
    assert all(counted[function] == 1 for function in FUNCTIONS)
    sources = list((ROOT / "layers" / "domain" / "guiderail").rglob("*.py"))
    assert counted["DomainLayer"] == len(sources), (
        "the build is older than the sources: build again"
    )


@pytest.mark.parametrize("config_env", ["default", "local"])
def test_nothing_but_code_is_shipped(config_env: str) -> None:
    folder, _ = built(config_env)
    for function in FUNCTIONS:
        assert [
            entry.name for entry in (folder / function).iterdir() if entry.name != "__pycache__"
        ] == ["app.py"]
    assert [entry.name for entry in (folder / "DomainLayer" / "python").iterdir()] == ["guiderail"]
    shipped = {entry.name for entry in (folder / "DependenciesLayer" / "python").iterdir()}
    assert not {"boto3", "botocore", "bin", "requirements.txt"} & shipped


@pytest.mark.parametrize("config_env", ["default", "local"])
def test_size(config_env: str) -> None:
    folder, _ = built(config_env)
    artefacts = [entry for entry in folder.iterdir() if entry.is_dir()]
    size = sum(
        file.stat().st_size for one in artefacts for file in one.rglob("*") if file.is_file()
    )
    assert size <= 30 * MEGABYTE


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_runtime_loads_the_bytecode_and_never_the_source(function: str, tmp_path: Path) -> None:
    folder, architecture = built("local")
    interpreter = precompile.find_interpreter(precompile.runtime_version(folder))
    if os.uname().machine != architecture:
        pytest.skip(f"the build is for {architecture}, this machine is not")
    shipped = tmp_path / "shipped"
    shutil.copytree(folder, shipped)
    for module in shipped.rglob("*.py"):
        # Unpacking gives files other times; and a source that is read would end the import.
        module.write_text("raise RuntimeError('the source was read')\n")
        os.utime(module, (0, 0))
    done = subprocess.run(
        [interpreter.path, "-S", "-c", IMPORT_EVERYTHING],
        capture_output=True,
        text=True,
        check=False,
        env={
            "PYTHONPATH": os.pathsep.join(
                str(shipped / place)
                for place in (function, "DomainLayer/python", "DependenciesLayer/python")
            ),
            "POWERTOOLS_SERVICE_NAME": "guiderail",
            "POWERTOOLS_METRICS_NAMESPACE": "Guiderail",
        },
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10
