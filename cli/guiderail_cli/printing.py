"""How the commands print."""

from __future__ import annotations

import json

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


def print_json(document: object) -> None:
    """Print one JSON object on one line."""
    typer.echo(json.dumps(document, ensure_ascii=False, allow_nan=False))


def on_stdout() -> Console:
    """The console for tables, which colours nothing by itself."""
    return Console(highlight=False)


def table_of(*headings: str) -> Table:
    """A table whose cells are folded, never cut."""
    table = Table(box=SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
