"""Unzipped size of the function with its layers, as built for arm64."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.result import Result, counted

BUILD = Path(__file__).parent.parent / ".aws-sam" / "build"
PARTS = ("OnJobFinished", "DomainLayer", "DependenciesLayer")


def measure(quick: bool) -> Iterator[Result]:
    """Add up the files of the artefacts."""
    if not all((BUILD / part).is_dir() for part in PARTS):
        raise RuntimeError("nothing is built: run `make build` first")
    files = [p for part in PARTS for p in (BUILD / part).rglob("*") if p.is_file()]
    total = sum(p.stat().st_size for p in files) / 1e6
    yield counted(
        "function with layers, unzipped", round(total, 2), "MB", 30, f"{len(files)} files"
    )
