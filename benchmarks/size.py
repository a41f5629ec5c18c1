"""Unzipped size of functions with their layers, as they are deployed."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import shipped
from benchmarks.result import Result, counted


def measure(quick: bool) -> Iterator[Result]:
    """Add up the files of the artefacts."""
    folder = shipped.deployed()
    for name, parts in (
        ("function with layers, unzipped", ("OnJobFinished", *shipped.LAYERS)),
        (
            "function that draws with its layers, unzipped",
            ("DrawPictures", *shipped.LAYERS, shipped.PICTURES_LAYER),
        ),
    ):
        sizes = {
            part: sum(p.stat().st_size for p in (folder / part).rglob("*") if p.is_file()) / 1e6
            for part in parts
        }
        note = ", ".join(f"{part} {size:.2f}" for part, size in sizes.items())
        yield counted(name, round(sum(sizes.values()), 2), "MB", 30, note)
