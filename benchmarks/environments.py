"""Environments that cold starts are measured in, made by uv once and kept under ``.local/bench``.

Their contents are pinned in ``benchmarks/requirements``; the Python is of the functions' own runtime.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from layers import build, precompile

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = Path(__file__).resolve().parent / "requirements"
KEPT = ROOT / ".local" / "bench"

# the runtime itself holds boto3 and what it needs
OF_THE_RUNTIME = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six.py", "urllib3")

_QUESTION = """
import pathlib, platform, samcli
here = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())
print(pathlib.Path(samcli.__file__).parent / "local" / "rapid" / f"aws-lambda-rie-{here}")
"""


class EnvironmentMissingError(Exception):
    """An environment cannot be made here; the message says why."""


def emulator() -> Path:
    """Return the Lambda runtime interface emulator that aws-sam-cli brings along."""
    command = build.sam_command()
    if command[-1] != "sam":
        raise EnvironmentMissingError(f"{' '.join(command)} does not end in the program sam")
    found = Path(_output([*command[:-1], "python", "-c", _QUESTION]).strip())
    if not os.access(found, os.X_OK):
        raise EnvironmentMissingError(f"aws-sam-cli holds no {found.name}")
    return found


def python_with(name: str, module: str = "awslambdaric") -> Path:
    """Return the Python of a virtual environment with bytecode for all that is in it.

    Raises:
        EnvironmentMissingError: It cannot be made, or ``module`` cannot be imported in it.
    """
    folder = _place(name)
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        print(f"making the environment {name}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        interpreter = precompile.find_interpreter(build.runtime_version()).path
        _uv("venv", "--python", str(interpreter), str(folder))
        _uv("pip", "install", "--python", str(python), "--compile-bytecode", "-r", _pins(name))
        _output([str(python), "-c", f"import {module}"])
        (folder / "ready").touch()
    return python


def packages_without_bytecode(name: str) -> tuple[Path, Path]:
    """Return two folders as `sam build` fills one: packages, and those that the runtime has as well."""
    folder = _place(name)
    own, also = folder / "own", folder / "also_in_the_runtime"
    if not (folder / "ready").exists():
        print(f"making the packages {name}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        python = str(python_with("runtime"))
        _uv("pip", "install", "--python", python, "--target", str(own), "-r", _pins(name))
        also.mkdir()
        for package in OF_THE_RUNTIME:
            if (own / package).exists():
                (own / package).rename(also / package)
        (folder / "ready").touch()
    return own, also


def _place(name: str) -> Path:
    key = hashlib.sha256(Path(_pins(name)).read_bytes()).hexdigest()[:8]
    return KEPT / f"{name}-{key}"


def _pins(name: str) -> str:
    return str(REQUIREMENTS / f"{name}.txt")


def _uv(*arguments: str) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=Path(sys.executable).parent)
    if uv is None:
        raise EnvironmentMissingError("there is no uv")
    _output([uv, *arguments, "--quiet"])


def _output(command: list[str]) -> str:
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise EnvironmentMissingError(
            f"{Path(command[0]).name} {command[1]}: {said[-1] if said else 'failed'}"
        )
    return done.stdout
