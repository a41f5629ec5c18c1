"""Finishes what `sam build` made: takes dead weight out and puts bytecode in.

`sam build` ships sources only, and the file system of a running function is read-only, so each cold
start would compile every module again. This compiles them once, with a CPython of the runtime's own
minor version. The bytecode is of the kind `unchecked-hash`: the runtime loads it without looking at
the source's modification time, which zipping and unpacking change.

    python layers/precompile.py [.aws-sam/build]

Run it after every `sam build` (layers/build.py does). Standard library only, any Python >= 3.11.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

DEFAULT_BUILD = Path(".aws-sam/build")

# What a wheel brings along and no import ever touches.
DEAD_DIRECTORIES = {"__pycache__", "tests", "test", "bin"}
DEAD_DIRECTORY_SUFFIXES = (".data",)
DEAD_FILE_SUFFIXES = (".pyi", ".c", ".h", ".pyx")
DEAD_FILES = {"requirements.txt"}

# importlib's pyc header: 4 bytes magic number, 4 bytes flags; these flags say "hash-based, unchecked".
UNCHECKED_HASH = (0b01).to_bytes(4, "little")
ELF_MACHINES = {0x3E: "x86_64", 0xB7: "arm64"}


class PrecompileError(Exception):
    """The build cannot be shipped as it is; the message says why and what to do."""


@dataclass(frozen=True)
class Interpreter:
    """A CPython, and what its bytecode looks like."""

    path: Path
    tag: str
    magic: bytes


@dataclass(frozen=True)
class Artefact:
    """One function or layer, after the work on it."""

    name: str
    modules: int
    pruned_files: int
    bytes_before: int
    bytes: int


def runtime_version(build: Path) -> str:
    """Returns the Python version of the functions in a build, such as `3.13`."""
    template = build / "template.yaml"
    if not template.is_file():
        raise PrecompileError(f"{build} holds no template.yaml: run `sam build` first")
    versions = set(re.findall(r"\bRuntime: python(3\.\d+)\b", template.read_text(encoding="utf-8")))
    if len(versions) != 1:
        found = ", ".join(sorted(versions)) or "none"
        raise PrecompileError(f"{template} must name one Python runtime, it names {found}")
    return str(versions.pop())


def build_architecture(build: Path) -> str | None:
    """Returns the processor a build was made for, where its template says so."""
    text = (build / "template.yaml").read_text(encoding="utf-8")
    found = re.search(r"\bBuildArchitecture: (\w+)", text)
    return found.group(1) if found else None


def find_interpreter(version: str) -> Interpreter:
    """Returns a CPython of a minor version from PATH, pyenv or uv, or this very one.

    Raises:
        PrecompileError: None of them has it.
    """
    for path in _candidates(version):
        if found := _probe(path, version):
            return found
    raise PrecompileError(
        f"no CPython {version} found on PATH, under pyenv or under uv: bytecode of another version would "
        f"be ignored by the runtime. Install it (`uv python install {version}`), or name it with --python"
    )


def _candidates(version: str) -> Iterator[Path]:
    name = f"python{version}"
    yield Path(sys.executable)
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        yield Path(directory) / name
    homes = [
        Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions",
        Path(os.environ.get("UV_PYTHON_INSTALL_DIR", Path.home() / ".local/share/uv/python")),
    ]
    for home in homes:
        yield from sorted(home.glob(f"*{version}*/bin/{name}"), reverse=True)


def _probe(path: Path, version: str) -> Interpreter | None:
    """Asks an interpreter what it is: pyenv's shims are there even where they lead nowhere."""
    if not os.access(path, os.X_OK):
        return None
    question = (
        "import importlib.util, json, sys; print(json.dumps([sys.executable, sys.implementation.name, "
        "'%d.%d' % sys.version_info[:2], sys.implementation.cache_tag, importlib.util.MAGIC_NUMBER.hex()]))"
    )
    answer = subprocess.run([path, "-c", question], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        return None
    executable, implementation, minor, tag, magic = json.loads(answer.stdout)
    if (implementation, minor) != ("cpython", version):
        return None
    # a shim works only in the environment that it was asked in
    return Interpreter(Path(executable), tag, bytes.fromhex(magic))


def precompile(build: Path, python: Path | None = None) -> list[Artefact]:
    """Prunes, compiles and checks every artefact of a build.

    Args:
        build: The folder that `sam build` wrote.
        python: The interpreter to compile with, if it should not be searched for.

    Raises:
        PrecompileError: The build, or the interpreter, is not what the runtime needs.
    """
    version = runtime_version(build)
    interpreter = _probe(python, version) if python else find_interpreter(version)
    if interpreter is None:
        raise PrecompileError(f"{python} is not a CPython {version}, which the functions run on")
    architecture = build_architecture(build)
    artefacts = []
    for folder in sorted(entry for entry in build.iterdir() if entry.is_dir()):
        if folder.is_symlink():
            raise PrecompileError(
                f"{folder} is a link: compiling there would change what it leads to"
            )
        before = _size(folder)
        pruned = prune(folder)
        if architecture:
            check_processor(folder, architecture)
        compile_modules(folder, interpreter)
        modules = check_bytecode(folder, interpreter)
        artefacts.append(Artefact(folder.name, modules, pruned, before, _size(folder)))
    if not artefacts:
        raise PrecompileError(f"{build} holds no functions and no layers: run `sam build` first")
    return artefacts


def prune(folder: Path) -> int:
    """Removes from an artefact what no import touches, and returns how many files that were."""
    removed = 0
    packages = [entry.parent for entry in folder.rglob("*.dist-info")]
    for site in {folder, *packages}:
        for path in sorted(site.rglob("*"), reverse=True):
            if _is_dead(path, of_wheels=site in packages):
                removed += (
                    sum(1 for file in path.rglob("*") if file.is_file()) if path.is_dir() else 1
                )
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    return removed


def _is_dead(path: Path, *, of_wheels: bool) -> bool:
    if path.is_dir():
        if path.name == "__pycache__":
            return True
        return of_wheels and (
            path.name in DEAD_DIRECTORIES or path.name.endswith(DEAD_DIRECTORY_SUFFIXES)
        )
    return of_wheels and (path.name in DEAD_FILES or path.suffix in DEAD_FILE_SUFFIXES)


def check_processor(folder: Path, architecture: str) -> None:
    """Makes sure that every shared library of an artefact is for the processor it will run on."""
    for library in folder.rglob("*.so*"):
        header = library.read_bytes()[:20]
        machine = (
            ELF_MACHINES.get(int.from_bytes(header[18:20], "little"))
            if header[:4] == b"\x7fELF"
            else None
        )
        if machine != architecture:
            raise PrecompileError(
                f"{library} is for {machine or 'another system'}, the functions run on {architecture}: "
                "remove the build folder and build again with the Architecture parameter as it should be"
            )


def compile_modules(folder: Path, interpreter: Interpreter) -> None:
    """Compiles an artefact; tracebacks will name the path at which Lambda unpacks it."""
    is_layer = {entry.name for entry in folder.iterdir()} == {"python"}
    command: list[str | Path] = [interpreter.path, "-m", "compileall", "-q", "-f", "-j", "0"]
    command += ["--invalidation-mode", "unchecked-hash"]
    command += ["-s", folder, "-p", "/opt" if is_layer else "/var/task", folder]
    # The order of a frozen set in the bytecode depends on the hash seed: same input, same artefact.
    environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise PrecompileError(f"{folder} does not compile:\n{done.stdout}{done.stderr}")


def check_bytecode(folder: Path, interpreter: Interpreter) -> int:
    """Makes sure that the runtime will use the bytecode of each module; returns how many there are."""
    modules = sorted(folder.rglob("*.py"))
    for module in modules:
        bytecode = module.parent / "__pycache__" / f"{module.stem}.{interpreter.tag}.pyc"
        header = bytecode.read_bytes()[:8] if bytecode.is_file() else b""
        if header != interpreter.magic + UNCHECKED_HASH:
            raise PrecompileError(f"{module} has no bytecode that the runtime would use")
    return len(modules)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _report(artefacts: list[Artefact]) -> str:
    lines = [f"{'artefact':<24}{'modules':>9}{'pruned':>9}{'built, MB':>12}{'shipped, MB':>14}"]
    for one in artefacts:
        counts = f"{one.modules:>9}{one.pruned_files:>9}"
        lines.append(
            f"{one.name:<24}{counts}{one.bytes_before / 1e6:>12.2f}{one.bytes / 1e6:>14.2f}"
        )
    total = sum(one.bytes for one in artefacts) / 1e6
    return "\n".join([*lines, f"{'unzipped, all of them':<54}{total:>14.2f}"])


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="precompile.py",
        description="Prune and precompile what `sam build` made, for the Python its functions run on.",
    )
    parser.add_argument(
        "build",
        nargs="?",
        type=Path,
        default=DEFAULT_BUILD,
        help="folder of the build (default: %(default)s)",
    )
    parser.add_argument(
        "--python", type=Path, help="interpreter to compile with (default: found by version)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of a table"
    )
    options = parser.parse_args(arguments)
    try:
        artefacts = precompile(options.build, options.python)
    except PrecompileError as error:
        print(f"precompile: {error}", file=sys.stderr)
        return 1
    if options.json:
        total = sum(one.bytes for one in artefacts)
        print(json.dumps({"artefacts": [asdict(one) for one in artefacts], "bytes": total}))
    else:
        print(_report(artefacts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
