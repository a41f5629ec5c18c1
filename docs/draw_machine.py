"""Draws the state machines: docs/<name>-machine.svg from statemachines/<name>.asl.yaml.

    python docs/draw_machine.py     needs `dot`, of Debian's package graphviz

tests/architecture/test_machine_pictures.py tells when a picture is not that of its file any more.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parent.parent

_LOOKS = {
    "Choice": 'shape=diamond, style=filled, fillcolor="#fff7e0", color="#b7791f", height=0.9',
    "Succeed": 'shape=box, style="rounded,filled", fillcolor="#e3f5e6", color="#2f855a"',
    "Fail": 'shape=box, style="rounded,filled", fillcolor="#fde4e1", color="#c53030"',
    "Map": 'shape=box3d, style=filled, fillcolor="#e8f0fb", color="#2b6cb0"',
    "Task": 'shape=box, style=filled, fillcolor="#e8f0fb", color="#2b6cb0"',
}
_WAITS = 'shape=box, style="filled,dashed", fillcolor="#f1ecfb", color="#6b46c1"'
_WAY = {
    "next": 'color="#4a5568"',
    "choice": 'color="#b7791f"',
    "time over": 'color="#6b46c1", style=dashed',
    "error": 'color="#c53030", style=dotted, arrowsize=0.6',
    "each": 'color="#2b6cb0", style=bold',
}
_LEGEND = (
    "\\ndashed box: waits for its token    dashed line: its time is over"
    "    dotted line: an error that no retry helped"
)


class Transition(NamedTuple):
    """A way from one state to another; ``kind`` is a key of the picture's lines."""

    source: str
    target: str
    kind: str
    label: str = ""


def states(machine: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every state by name, those within a Map after it; names are unique in a whole machine."""
    for name, state in machine["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from states(state["ItemProcessor"])


def transitions(machine: Mapping[str, Any]) -> Iterator[Transition]:
    """Every way from state to state, in the order of the file."""
    for name, state in states(machine):
        if "Next" in state:
            yield Transition(name, state["Next"], "next")
        for choice in state.get("Choices", []):
            yield Transition(name, choice["Next"], "choice", _asked(choice["Condition"]))
        if "Default" in state:
            yield Transition(name, state["Default"], "choice", "else")
        for catch in state.get("Catch", []):
            is_time = catch["ErrorEquals"] == ["States.Timeout"]
            yield Transition(name, catch["Next"], "time over" if is_time else "error")
        if "ItemProcessor" in state:
            yield Transition(name, state["ItemProcessor"]["StartAt"], "each", "each item")


def _asked(condition: str) -> str:
    """A choice's condition in short: the words that it compares with."""
    first, *more = re.findall(r'"([^"]*)"', condition) or [condition.strip("{%} ")]
    return f"{first}: {', '.join(more)}" if more else first


def dot(machine: Mapping[str, Any]) -> str:
    """The machine in Graphviz's language."""
    lines = [
        "digraph machine {",
        'graph [bgcolor="white", nodesep=0.3, ranksep=0.45, pad=0.3]',
        f'graph [label="{_LEGEND}", fontname="Helvetica,Arial,sans-serif", fontsize=10]',
        'node [fontname="Helvetica,Arial,sans-serif", fontsize=12, margin="0.18,0.08"]',
        'edge [fontname="Helvetica,Arial,sans-serif", fontsize=10, fontcolor="#4a5568"]',
        '"begin" [shape=circle, style=filled, fillcolor="#4a5568", label="", width=0.18]',
        f'"begin" -> "{machine["StartAt"]}" [color="#4a5568"]',
    ]
    for name, state in states(machine):
        waits = str(state.get("Resource", "")).endswith(".waitForTaskToken")
        lines.append(f'"{name}" [{_WAITS if waits else _LOOKS[state["Type"]]}]')
    for way in transitions(machine):
        label = f', label=" {way.label} "' if way.label else ""
        lines.append(f'"{way.source}" -> "{way.target}" [{_WAY[way.kind]}{label}]')
    return "\n".join([*lines, "}"])


def svg(machine: Mapping[str, Any]) -> str:
    """The picture."""
    drawn = subprocess.run(
        ["dot", "-Tsvg"], input=dot(machine), capture_output=True, text=True, check=True
    ).stdout
    # comments name the version of Graphviz: the picture would change where nothing has
    return re.sub(r"<!--.*?-->\n", "", drawn, flags=re.DOTALL)


def main() -> int:
    """Draw all; 3 if Graphviz is not here."""
    for file in sorted((ROOT / "statemachines").glob("*.asl.yaml")):
        machine = yaml.safe_load(file.read_text(encoding="utf-8"))
        target = ROOT / "docs" / f"{file.name.removesuffix('.asl.yaml')}-machine.svg"
        try:
            target.write_text(svg(machine), encoding="utf-8")
        except FileNotFoundError:
            print("there is no `dot` here: apt-get install graphviz", file=sys.stderr)
            return 3
        print(target.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
