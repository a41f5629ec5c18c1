"""The pictures of the state machines in docs/ show what their files say."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from docs.draw_machine import Transition, states, transitions

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "statemachines").glob("*.asl.yaml"))
SVG = "{http://www.w3.org/2000/svg}"
REDRAW = "python docs/draw_machine.py draws it anew"


def drawn(picture: Path, kind: str) -> list[str]:
    """Titles of a picture's nodes or edges."""
    return [
        group.findtext(f"{SVG}title", "")
        for group in ElementTree.parse(picture).iter(f"{SVG}g")
        if group.get("class") == kind
    ]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_shows_every_state_and_every_way(file: Path) -> None:
    machine = yaml.safe_load(file.read_text(encoding="utf-8"))
    picture = ROOT / "docs" / f"{file.name.removesuffix('.asl.yaml')}-machine.svg"
    named = ["begin", *(name for name, _ in states(machine))]
    assert sorted(drawn(picture, "node")) == sorted(named), REDRAW
    ways = [f"begin->{machine['StartAt']}"]
    ways += [f"{way.source}->{way.target}" for way in transitions(machine)]
    assert sorted(drawn(picture, "edge")) == sorted(ways), REDRAW
    words = set(re.findall(r"<text[^>]*>([^<]*)</text>", picture.read_text(encoding="utf-8")))
    labels = {way.label for way in transitions(machine) if way.label}
    assert labels <= {word.strip() for word in words}, REDRAW


def test_finds_every_kind_of_way() -> None:
    machine = {
        "StartAt": "Wait",
        "States": {
            "Wait": {
                "Catch": [
                    {"ErrorEquals": ["States.Timeout"], "Next": "Ask"},
                    {"ErrorEquals": ["States.ALL"], "Next": "End"},
                ],
                "Next": "Ask",
            },
            "Ask": {
                "Choices": [{"Condition": '{% $x = "over" and $y in ["a", "b"] %}', "Next": "End"}],
                "Default": "Each",
            },
            "Each": {"ItemProcessor": {"StartAt": "One", "States": {"One": {}}}, "Next": "End"},
            "End": {},
        },
    }
    assert [name for name, _ in states(machine)] == ["Wait", "Ask", "Each", "One", "End"]
    assert list(transitions(machine)) == [
        Transition("Wait", "Ask", "next"),
        Transition("Wait", "Ask", "time over"),
        Transition("Wait", "End", "error"),
        Transition("Ask", "End", "choice", "over: a, b"),
        Transition("Ask", "Each", "choice", "else"),
        Transition("Each", "End", "next"),
        Transition("Each", "One", "each", "each item"),
    ]
