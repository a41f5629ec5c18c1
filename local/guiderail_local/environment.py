"""The Python environment MiniStack has to itself, and layers built for its interpreter.

MiniStack pins its own botocore, so it never shares an environment with the project. It runs Lambda
functions on the interpreter it runs on itself: third-party code of a layer is therefore installed
for that one, whatever Python the deployed functions use.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from guiderail_local.errors import SetUpError

REPOSITORY = Path(__file__).resolve().parents[2]
"""The checkout this package is run from: template, layers and functions are beside it."""

_REQUIREMENTS = Path("local", "ministack-requirements.txt")
_INSTALL_SECONDS = 600.0
# The registry of CloudFormation types is private in MiniStack; its version is pinned, so this holds.
_PRINT_TYPES = (
    "import json; from ministack.services.cloudformation import provisioners as p;"
    " print(json.dumps(sorted(p._RESOURCE_HANDLERS)))"
)


@dataclass(frozen=True)
class MiniStackEnvironment:
    """An installed MiniStack: its interpreter and the CloudFormation types it provides."""

    python: Path
    cache: Path
    resource_types: frozenset[str]


def prepare(repository: Path = REPOSITORY) -> MiniStackEnvironment:
    """Make MiniStack's environment, or find the one made before.

    It lies in ``.local/`` of the checkout, one per Python version, and is made anew when the locked
    requirements or the interpreter change.

    Raises:
        SetUpError: It could not be made.
    """
    requirements = repository / _REQUIREMENTS
    if not requirements.is_file():
        raise SetUpError(
            f"{requirements} is missing", "Run the local cloud from a checkout of the project."
        )
    cache = repository / ".local"
    home = cache / f"ministack-{platform.python_version()}"
    python = home / "bin" / "python"
    types = home / "resource-types.json"
    # Not sys.executable: every virtual environment of one interpreter shares what is made here.
    key = _digest(requirements.read_bytes(), sys.base_prefix.encode())
    with _only_one(cache):
        stamp = home / "made-for"
        if not (stamp.is_file() and stamp.read_text() == key and python.exists()):
            shutil.rmtree(home, ignore_errors=True)
            _make_venv(home)
            _install(python, requirements)
            types.write_text(
                _run([str(python), "-c", _PRINT_TYPES], "ask MiniStack for its resource types")
            )
            stamp.write_text(key)
    return MiniStackEnvironment(python, cache, frozenset(json.loads(types.read_text())))


def install_for(environment: MiniStackEnvironment, requirements: Path) -> Path:
    """Install hash-pinned requirements for MiniStack's interpreter.

    Returns:
        A folder with the packages, compiled; kept, and found again by the requirements' hash.

    Raises:
        SetUpError: They cannot be installed for this Python.
    """
    key = _digest(
        requirements.read_bytes(), platform.python_version().encode(), platform.machine().encode()
    )
    packages = environment.cache / "packages" / key
    with _only_one(environment.cache):
        if not packages.is_dir():
            unfinished = packages.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            _install(environment.python, requirements, target=unfinished)
            # A worker unpacks the layer into a new folder each time: only pyc that do not look at times help.
            _run(
                [str(environment.python), "-m", "compileall", "-qq", "--invalidation-mode",
                 "unchecked-hash", str(unfinished)],
                "compile a layer",
            )  # fmt: skip
            unfinished.rename(packages)
    return packages


def find_uv() -> str | None:
    """Path of uv: the one that started us, one beside the interpreter, or one on the PATH."""
    beside = Path(sys.executable).with_name("uv")
    for candidate in (os.environ.get("UV"), str(beside), shutil.which("uv")):
        if candidate and Path(candidate).is_file():
            return candidate
    return None


def _make_venv(home: Path) -> None:
    uv = find_uv()
    if uv is not None:
        _run(
            [uv, "venv", "--quiet", "--python", sys.executable, str(home)],
            "make MiniStack's environment",
        )
    else:
        _run([sys.executable, "-m", "venv", str(home)], "make MiniStack's environment")


def _install(python: Path, requirements: Path, target: Path | None = None) -> None:
    uv = find_uv()
    if uv is not None:
        command = [uv, "pip", "install", "--quiet", "--python", str(python)]
        if target is None:
            command.append("--compile-bytecode")
    else:
        if not _has_pip(python):
            _run([str(python), "-m", "ensurepip"], "put pip into MiniStack's environment")
        command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command += ["--require-hashes", "--requirement", str(requirements)]
    if target is not None:
        command += ["--target", str(target)]
    _run(command, f"install {requirements.name}")


def _has_pip(python: Path) -> bool:
    return (
        subprocess.run(
            [str(python), "-c", "import pip"], capture_output=True, check=False
        ).returncode
        == 0
    )


def _run(command: list[str], purpose: str) -> str:
    # Of the caller's environment, these would redirect the child's imports or uv's choice of venv.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")
    }
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            timeout=_INSTALL_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise SetUpError(f"could not {purpose}: {exc}") from exc
    if done.returncode != 0:
        raise SetUpError(
            f"could not {purpose}: {' '.join(command)} ended with {done.returncode}\n{done.stderr.strip()}",
            "A first run needs the package index; after that no network is used.",
        )
    return done.stdout


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:20]


@contextlib.contextmanager
def _only_one(cache: Path) -> Iterator[None]:
    """Let one process at a time make things in the cache."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
