"""Unzipped size of the function with its layers, as they are deployed."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import shipped
from benchmarks.result import Result, counted


def measure(quick: bool) -> Iterator[Result]:
    """Add up the files of the artefacts."""
    folder = shipped.deployed()
    sizes = {
        part: sum(p.stat().st_size for p in (folder / part).rglob("*") if p.is_file()) / 1e6
        for part in (shipped.FUNCTION, *shipped.LAYERS)
    }
    note = ", ".join(f"{part} {size:.2f}" for part, size in sizes.items())
    total = round(sum(sizes.values()), 2)
    yield counted("function with layers, unzipped", total, "MB", 30, note)
