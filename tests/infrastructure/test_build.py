"""What `make build` made, for the runtime it was made for.

Skipped for what is not built; where GUIDERAIL_REQUIRE_BUILD is set, that is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from guiderail.services import drawing

from layers import build, precompile
from tests.template import ROOT

MACHINES = {"arm64": 0xB7, "x86_64": 0x3E}
FUNCTIONS = [
    "Deliver", "DrawPictures", "OnActionFinished", "OnDue", "OnJobFinished", "OnReply", "Reingest",
    "Remediate",
]  # fmt: skip
LAYERS = ["DependenciesLayer", "DomainLayer"]
PICTURES = "PicturesLayer"
COLUMNS = "ColumnsLayer"
OF_THEIR_OWN = {"DrawPictures": PICTURES, "Reingest": COLUMNS}
MEGABYTE = 1_000_000

# Imports the function and every module of ours, but for what needs the layer of Reingest where that is
# not. botocore belongs to the runtime, not to the layers.
IMPORT_EVERYTHING = """
import importlib, importlib.util, pkgutil, sys
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
    if module.name != "guiderail.adapters.record_files" or importlib.util.find_spec("pyarrow"):
        importlib.import_module(module.name)
print(len([name for name in sys.modules if name.startswith("guiderail")]))
"""

DRAW = """
import base64, json, sys, app
(picture,) = app.handler({"trends": {"drift": [0.1, 0.4]}}, None)["pictures"]
sys.stdout.buffer.write(base64.b64decode(picture["png"]))
"""


def layers_of(function: str) -> list[str]:
    """Layers in the order in which they are laid over each other."""
    return [*LAYERS, OF_THEIR_OWN[function]] if function in OF_THEIR_OWN else LAYERS


def search_path(folder: Path, function: str) -> str:
    """Where Python finds a function's modules."""
    layers = [folder / layer / "python" for layer in reversed(layers_of(function))]
    return os.pathsep.join(str(place) for place in (folder / function, *layers))


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
    for layer in ("DependenciesLayer", PICTURES, COLUMNS):
        libraries = list((folder / layer).rglob("*.so"))
        assert libraries, layer
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
    assert counted.keys() == {*FUNCTIONS, *LAYERS, PICTURES, COLUMNS}
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
    pictures = {entry.name for entry in (folder / PICTURES / "python").iterdir()}
    assert {"pygal", "resvg_py", "font_source_sans_pro"} <= pictures
    assert pictures & shipped <= {"__pycache__"}


@pytest.mark.parametrize("config_env", ["default", "local"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_size_with_layers(config_env: str, function: str) -> None:
    folder, _ = built(config_env)
    size = sum(
        file.stat().st_size
        for name in (function, *layers_of(function))
        for file in (folder / name).rglob("*")
        if file.is_file()
    )
    # Lambda takes 250 MiB of function and layers; what is no larger than needed starts sooner
    assert size <= (250 * 1024 * 1024 if function == "Reingest" else 30 * MEGABYTE)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_runtime_loads_the_bytecode_and_never_the_source(function: str, tmp_path: Path) -> None:
    shipped, interpreter = without_sources(tmp_path)
    done = subprocess.run(
        [interpreter, "-S", "-c", IMPORT_EVERYTHING],
        capture_output=True,
        text=True,
        check=False,
        env={
            "PYTHONPATH": search_path(shipped, function),
            "POWERTOOLS_SERVICE_NAME": "guiderail",
            "POWERTOOLS_METRICS_NAMESPACE": "Guiderail",
        },
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def test_what_is_shipped_draws(tmp_path: Path) -> None:
    shipped, interpreter = without_sources(tmp_path)
    done = subprocess.run(
        [interpreter, "-S", "-c", DRAW],
        capture_output=True,
        check=False,
        env={"PYTHONPATH": search_path(shipped, "DrawPictures")},
    )
    assert done.returncode == 0, done.stderr.decode()
    (here,) = drawing.draw([], {"drift": [0.1, 0.4]})
    assert done.stdout == here.png, "the layer draws another picture than the tests looked at"


def without_sources(target: Path) -> tuple[Path, Path]:
    """A copy of the build for this machine in which only bytecode can be loaded, and its Python."""
    folder, architecture = built("local")
    interpreter = precompile.find_interpreter(precompile.runtime_version(folder))
    if os.uname().machine != architecture:
        pytest.skip(f"the build is for {architecture}, this machine is not")
    shipped = target / "shipped"
    shutil.copytree(folder, shipped)
    for module in shipped.rglob("*.py"):
        # Unpacking gives files other times; and a source that is read would end the import.
        module.write_text("raise RuntimeError('the source was read')\n")
        os.utime(module, (0, 0))
    return shipped, interpreter.path
