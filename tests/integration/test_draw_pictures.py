"""``DrawPictures`` as it is invoked: JSON in, JSON out, on a machine that has nothing of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from guiderail.errors import MalformedEventError
from guiderail.model.message import Picture

from functions.draw_pictures.app import handler

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "events" / "draw_pictures"
ANSWER_LIMIT = 6 * 1024 * 1024
"""Bytes that Lambda gives back of a function that is invoked and waited for."""


def event(name: str) -> Any:
    return json.loads((EVENTS / f"{name}.json").read_text(encoding="utf-8"))


def test_pictures_of_a_message() -> None:
    answer = json.dumps(handler(event("message_png"), None))
    assert len(answer) < ANSWER_LIMIT
    income, trends = msgspec.convert(json.loads(answer)["pictures"], list[Picture])
    assert income.name == "distribution-1.png"
    assert income.alt == (
        "Baseline and current distribution of income: 12% of rows moved into bucket “>= 70” "
        "(3% before, 15% now)."
    )
    assert trends.name == "trends.png"
    for picture in (income, trends):
        assert picture.png.startswith(b"\x89PNG")
        assert picture.png.endswith(b"IEND\xaeB`\x82")
        assert 5_000 < len(picture.png) <= 100_000


def test_pictures_of_a_page_show_no_labels_unless_they_may() -> None:
    (picture,) = handler(event("page_svg_hidden_labels"), None)["pictures"]
    assert set(picture) == {"name", "alt", "svg"}
    assert ElementTree.fromstring(picture["svg"]).get("width") == "600"
    assert "bucket 3 of 3" in picture["alt"]
    labels = event("page_svg_hidden_labels")["distributions"][0]["labels"]
    assert [label for label in labels if label in picture["svg"] + picture["alt"]] == []


def test_png_and_labels_hidden_is_what_is_drawn_unless_asked_otherwise() -> None:
    asked = event("message_png")
    del asked["format"], asked["show_values"]
    income, _ = handler(asked, None)["pictures"]
    assert set(income) == {"name", "alt", "png"}
    assert "bucket 8 of 8" in income["alt"]


def test_nothing_to_draw() -> None:
    assert handler({}, None) == {"pictures": []}


def test_near_miss() -> None:
    with pytest.raises(MalformedEventError, match=r"distributions\[0\]\.current\[0\] is 40"):
        handler(event("near_miss_shares_above_one"), None)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"distributions": "income"}, r"\$\.distributions"),
        ({"distributions": [{"feature": "income"}]}, "`labels`"),
        ({"trends": {"drift": ["high"]}}, r"\$\.trends"),
        ({"trends": {"drift": [float("nan")]}}, r"trends\[0\]\[0\]"),
        ({"show_values": "yes"}, r"\$\.show_values"),
        ({"format": "gif"}, r"\$\.format"),
        ({"shape": "round"}, "`shape`"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(MalformedEventError, match=named):
        handler(wrong, None)


def test_every_event_is_tested() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [file.stem for file in EVENTS.iterdir() if f'"{file.stem}"' not in source] == []


def test_the_same_picture_in_an_empty_environment() -> None:
    code = (
        "import json, sys; from functions.draw_pictures.app import handler; "
        "print(json.dumps(handler(json.load(sys.stdin), None)))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        input=json.dumps(event("message_png")),
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'domain'}"},
    )
    assert json.loads(done.stdout) == handler(event("message_png"), None)
