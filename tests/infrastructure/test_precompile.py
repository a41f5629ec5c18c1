"""layers/precompile.py: bytecode that the runtime uses, and nothing that it does not need."""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest

from tests.template import ROOT

SCRIPT = ROOT / "layers" / "precompile.py"
MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
# Header of a library for each processor, as far as anybody looks.
ELF = {"x86_64": 0x3E, "arm64": 0xB7}


def run(build: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, build, *options],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def library(processor: str) -> bytes:
    return b"\x7fELF" + bytes(14) + ELF[processor].to_bytes(2, "little") + bytes(40)


def bytecode_of(module: Path) -> Path:
    return Path(importlib.util.cache_from_source(str(module)))


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build as SAM makes it, for the Python that runs this test."""
    files = {
        "template.yaml": f"Runtime: python{MINOR}\n  BuildArchitecture: x86_64\n",
        "OnJobFinished/app.py": "import drift\nANSWER = drift.LIMIT\n",
        "OnJobFinished/tests/kept.py": "",
        "DomainLayer/python/drift/__init__.py": "LIMIT = 0.1\n",
        "DependenciesLayer/python/requirements.txt": "wheel==1\n",
        "DependenciesLayer/python/wheel/__init__.py": "",
        "DependenciesLayer/python/wheel/__init__.pyi": "",
        "DependenciesLayer/python/wheel/tests/test_wheel.py": "",
        "DependenciesLayer/python/wheel-1.dist-info/METADATA": "Name: wheel\n",
        "DependenciesLayer/python/wheel-1.data/scripts/wheel": "",
        "DependenciesLayer/python/bin/wheel": "",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "DependenciesLayer/python/wheel/_core.so").write_bytes(library("x86_64"))
    return tmp_path


def test_compiles_every_module_for_use_without_its_source(build: Path) -> None:
    done = run(build, "--json")
    assert done.returncode == 0, done.stderr
    modules = list(build.rglob("*.py"))
    assert len(modules) == 4
    for module in modules:
        header = bytecode_of(module).read_bytes()[:8]
        assert header == importlib.util.MAGIC_NUMBER + b"\x01\0\0\0"


def test_counts_what_is_shipped(build: Path) -> None:
    report = json.loads(run(build, "--json").stdout)
    shipped = {one["name"]: one for one in report["artefacts"]}
    assert {name: one["modules"] for name, one in shipped.items()} == {
        "DependenciesLayer": 1,
        "DomainLayer": 1,
        "OnJobFinished": 2,
    }
    for name, one in shipped.items():
        files = [file for file in (build / name).rglob("*") if file.is_file()]
        assert one["bytes"] == sum(file.stat().st_size for file in files)
    assert report["bytes"] == sum(one["bytes"] for one in shipped.values())


def test_takes_dead_weight_out_of_wheels_only(build: Path) -> None:
    run(build)
    left = {
        str(file.relative_to(build))
        for file in build.rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }
    assert left == {
        "template.yaml",
        "OnJobFinished/app.py",
        "OnJobFinished/tests/kept.py",
        "DomainLayer/python/drift/__init__.py",
        "DependenciesLayer/python/wheel/__init__.py",
        "DependenciesLayer/python/wheel/_core.so",
        "DependenciesLayer/python/wheel-1.dist-info/METADATA",
    }


def test_modification_times_do_not_matter(build: Path) -> None:
    run(build)
    for module in build.rglob("*.py"):
        # Would end the import, were it read.
        module.write_text("raise RuntimeError('the source was read')\n")
        os.utime(module, (0, 0))
    path = os.pathsep.join([str(build / "OnJobFinished"), str(build / "DomainLayer/python")])
    done = subprocess.run(
        [sys.executable, "-c", "import app; print(app.ANSWER)"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    assert done.stdout.strip() == "0.1"


def test_the_same_sources_give_the_same_bytes(build: Path) -> None:
    run(build, PYTHONHASHSEED="1")
    before = {file: file.read_bytes() for file in build.rglob("*.pyc")}
    for module in build.rglob("*.py"):
        os.utime(module, (0, 0))
    run(build, PYTHONHASHSEED="2")
    assert {file: file.read_bytes() for file in build.rglob("*.pyc")} == before


def test_replaces_bytecode_that_was_there(build: Path) -> None:
    module = build / "DomainLayer/python/drift/__init__.py"
    py_compile.compile(str(module))
    other = bytecode_of(module).with_name("__init__.cpython-27.pyc")
    other.write_bytes(b"")
    assert run(build).returncode == 0
    assert not other.exists()
    assert bytecode_of(module).read_bytes()[4:8] == b"\x01\0\0\0"


def test_tracebacks_name_the_place_where_lambda_unpacks(build: Path) -> None:
    run(build)
    assert (
        b"/opt/python/drift/__init__.py"
        in bytecode_of(build / "DomainLayer/python/drift/__init__.py").read_bytes()
    )
    assert b"/var/task/app.py" in bytecode_of(build / "OnJobFinished/app.py").read_bytes()


def test_refuses_wheels_for_another_processor(build: Path) -> None:
    (build / "DependenciesLayer/python/wheel/_core.so").write_bytes(library("arm64"))
    done = run(build)
    assert done.returncode == 1
    assert "_core.so is for arm64, the functions run on x86_64" in done.stderr


def test_refuses_modules_that_do_not_compile(build: Path) -> None:
    (build / "OnJobFinished/app.py").write_text("def (:\n")
    done = run(build)
    assert done.returncode == 1
    assert "does not compile" in done.stderr
    assert "app.py" in done.stderr


def test_refuses_to_compile_through_a_link(
    build: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("cache")
    (elsewhere / "other.py").write_text("")
    (build / "Linked").symlink_to(elsewhere)
    assert run(build).returncode == 1
    assert [file.name for file in elsewhere.iterdir()] == ["other.py"]


def test_wants_the_interpreter_of_the_runtime(build: Path, tmp_path: Path) -> None:
    (build / "template.yaml").write_text("Runtime: python3.99\n")
    nowhere = {
        "PATH": str(tmp_path),
        "PYENV_ROOT": str(tmp_path),
        "UV_PYTHON_INSTALL_DIR": str(tmp_path),
    }
    done = run(build, **nowhere)
    assert done.returncode == 1
    assert "no CPython 3.99 found" in done.stderr


def test_refuses_another_interpreter(build: Path) -> None:
    (build / "template.yaml").write_text("Runtime: python3.99\n")
    done = run(build, "--python", sys.executable)
    assert done.returncode == 1
    assert "is not a CPython 3.99" in done.stderr


def test_wants_a_build(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 1
    assert "run `sam build` first" in done.stderr
