"""The stack as it is shipped: what `make build` makes, made again where the sources have changed since."""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from pathlib import Path

from layers import build

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = {
    "OnJobFinished": "on_job_finished",
    "Deliver": "deliver",
    "OnReply": "on_reply",
    "DrawPictures": "draw_pictures",
}
"""Functions that are measured, with the folder of their sources."""

LAYERS = ("DependenciesLayer", "DomainLayer")
"""Layers of every function; ``DrawPictures`` has one more."""

PICTURES_LAYER = "PicturesLayer"
MACHINES = {"arm64": "arm64", "aarch64": "arm64", "x86_64": "x86_64"}


def deployed() -> Path:
    """Return the build that is deployed, for the template's own processor."""
    return _up_to_date("default")


def runnable() -> Path:
    """Return the same build for this machine's processor."""
    here = MACHINES.get(platform.machine(), platform.machine())
    for config_env in ("default", "local"):
        if build.environment_settings(config_env)[1] == here:
            return _up_to_date(config_env)
    raise RuntimeError(f"no environment of samconfig.toml builds for {here}")


def unpacked(folder: Path, target: Path, function: str = "OnJobFinished") -> list[Path]:
    """Lay a function and its layers out as Lambda unpacks them; returns where Python finds modules."""
    shutil.rmtree(target, ignore_errors=True)
    task, layers = target / "task", target / "opt"
    shutil.copytree(folder / function, task)
    for layer in LAYERS:
        shutil.copytree(folder / layer / "python", layers, dirs_exist_ok=True)
    return [task, layers]


def _up_to_date(config_env: str) -> Path:
    folder = ROOT / build.environment_settings(config_env)[0]
    if is_stale(folder):
        print(f"building {folder.relative_to(ROOT)}", file=sys.stderr)
        command = [sys.executable, str(ROOT / "layers" / "build.py"), "--config-env", config_env]
        # standard output is for the figures
        if subprocess.run(command, stdout=sys.stderr.fileno(), cwd=ROOT).returncode != 0:
            raise RuntimeError("the build failed, see above")
    return folder


def is_stale(folder: Path) -> bool:
    """Whether a build is missing, or its code is not that of the sources."""
    pairs = [
        *((ROOT / "functions" / name, folder / function) for function, name in FUNCTIONS.items()),
        (ROOT / "layers" / "domain", folder / "DomainLayer" / "python"),
    ]
    return any(_modules(sources) != _modules(built) for sources, built in pairs)


def _modules(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.py")}
