"""Compares ways to make a PNG chart: size, cold start, time per picture, and whether fonts are brought along.

    python -m benchmarks.picture_libraries                    prints a table
    python -m benchmarks.picture_libraries --keep /tmp/looks  keeps the pictures, to be looked at

Times are of the processor, which other work on the machine changes least; what reading from disk takes comes
on top, and grows with the size. Each way has an environment of its own, with the Python of the functions,
pinned in ``benchmarks/requirements/pictures_*.txt``. A start is a new process with an empty environment. For
the start without fonts the folders of the system's fonts are hidden, which needs Linux and ``unshare``.
What was decided by it: docs/decisions/0013-pictures.md.

Exit codes: 0 it was measured, 2 it could not be, or wrong use.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import ROOT, EnvironmentMissingError, python_with

WAYS = {
    "resvg": "resvg_py",
    "cairosvg": "cairosvg",
    "vl_convert": "vl_convert",
    "matplotlib": "matplotlib",
}
"""Ways by name, with the module that has to be there."""

_QUESTION = """
import pathlib, sysconfig
files = pathlib.Path(sysconfig.get_path("platlib")).rglob("*")
print(sum(f.stat().st_size for f in files if f.is_file() and f.suffix != ".pyc"))
"""

_START = """
import importlib, json, pathlib, resource, sys, time
began = time.process_time()
way = importlib.import_module("benchmarks.comparators.pictures_" + sys.argv[1])
imported = time.process_time()
labels = ("< 10", "10-20", "20-30", "30-40", "40-50", "50-60", "60-70", ">= 70")
baseline = (0.05, 0.12, 0.2, 0.22, 0.18, 0.12, 0.08, 0.03)
current = (0.04, 0.1, 0.17, 0.18, 0.16, 0.12, 0.08, 0.15)
png = way.draw(labels, baseline, current)
first = time.process_time()
for _ in range(5):
    way.draw(labels, baseline, current)
ended = time.process_time()
pathlib.Path(sys.argv[2]).write_bytes(png)
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([imported - began, first - imported, (ended - first) / 5, memory]))
"""

_WITHOUT_FONTS = (
    "for d in /usr/share/fonts /usr/local/share/fonts; do"
    ' if [ -d "$d" ]; then mount -t tmpfs none "$d" || exit 1; fi; done; exec "$@"'
)


@dataclass(frozen=True)
class Start:
    """One new process: seconds of the processor, MB and the picture that it drew."""

    importing: float
    first: float
    later: float
    memory: float
    png: bytes


def start(way: str, python: Path, folder: Path, *, fonts: bool = True) -> Start:
    """Draw in a new process. Raises EnvironmentMissingError if it cannot."""
    picture = folder / f"{way}{'' if fonts else '_without_fonts'}.png"
    path = f"{ROOT}:{ROOT / 'layers' / 'domain'}"
    command = ["env", "-i", f"HOME={folder}", f"PYTHONPATH={path}", str(python)]
    command += ["-c", _START, way, str(picture)]
    if not fonts:
        command = ["unshare", "-rm", "sh", "-c", _WITHOUT_FONTS, "sh", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EnvironmentMissingError((done.stderr.strip() or "it failed").splitlines()[-1])
    importing, first, later, memory = json.loads(done.stdout)
    return Start(importing, first, later, memory, picture.read_bytes())


def main() -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.picture_libraries",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=7, help="starts of each (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="folder to keep the pictures in")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    folder = options.keep or ROOT / ".local" / "bench" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        pythons = {way: python_with(f"pictures_{way}", module) for way, module in WAYS.items()}
        for way, python in pythons.items():
            start(way, python, folder)  # not counted: it fills the disk's cache
        starts: dict[str, list[Start]] = {way: [] for way in WAYS}
        for _ in range(options.runs):
            for way, python in pythons.items():
                starts[way].append(start(way, python, folder))
    except EnvironmentMissingError as exc:
        print(f"picture_libraries: {exc}", file=sys.stderr)
        return 2
    print("way         installed  cold start  next picture  memory     PNG  fonts")
    for way, those in starts.items():
        size = int(subprocess.check_output([pythons[way], "-c", _QUESTION])) / 1e6
        cold = statistics.median(one.importing + one.first for one in those)
        later = statistics.median(one.later for one in those)
        memory = statistics.median(one.memory for one in those)
        png = those[-1].png
        print(
            f"{way:<11}{size:>7.1f} MB{cold:>10.2f} s{later:>12.3f} s{memory:>5.0f} MB"
            f"{len(png) / 1000:>5.0f} KB  {_fonts(way, pythons[way], folder, png)}"
        )
    return 0


def _fonts(way: str, python: Path, folder: Path, png: bytes) -> str:
    if shutil.which("unshare") is None:
        return "unknown: no unshare here"
    try:
        without = start(way, python, folder, fonts=False).png
    except EnvironmentMissingError as exc:
        return f"unknown: {exc}"
    return "its own" if without == png else "the system's: another picture without them"


if __name__ == "__main__":
    sys.exit(main())
