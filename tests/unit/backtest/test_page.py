"""The page: nothing from reports or policies becomes markup, and nothing comes from the network."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from guiderail.model.policy import Effect, Layer, Match, Policy, Rule
from guiderail_cli.backtest.page import page

from tests.unit.backtest.conftest import History, Tell

HOSTILE = """<script>alert(1)</script>"'><img src=x onerror=alert(2)>&amp;"""


class Elements(HTMLParser):
    """All elements with their attributes, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.found)


@pytest.fixture
def elements(history: History, told: Tell) -> Elements:
    """A page over noise in a feature, of an endpoint and under a rule of hostile names."""
    for n in range(8):
        history.add_distances([0.3 + n / 100, None, None], HOSTILE, endpoint=f"e{HOSTILE}")
    named = Rule(
        name=HOSTILE,
        layer=Layer.RULE,
        line=3,
        match=Match(feature=("*",)),
        effect=Effect(owner=HOSTILE),
    )
    return Elements(page(told(Policy(rules=(named,)), Policy())))


def test_names_stay_text(elements: Elements) -> None:
    assert elements.count("script") == elements.count("img") == 0
    assert HOSTILE in elements.text
    assert not any(name.startswith("on") for _, attributes in elements.found for name in attributes)


def test_the_page_allows_and_needs_nothing_from_elsewhere(elements: Elements) -> None:
    [policy] = [
        attributes["content"] for tag, attributes in elements.found
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]  # fmt: skip
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    for tag, attributes in elements.found:
        assert not {"href", "xlink:href", "src"} & attributes.keys(), tag
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/)", elements.text)


def test_charts_are_drawn_with_tooltips(elements: Elements) -> None:
    # by day twice, by line, owner, receiver, and one of values
    assert elements.count("svg") == 6
    bars = [a for tag, a in elements.found if tag == "rect" and "rect" in (a.get("class") or "")]
    assert len(bars) > 8
    assert elements.count("circle") == 8
    assert "2026-11-02: " in elements.text


def test_control_characters_do_not_break_the_page(history: History, told: Tell) -> None:
    for n in range(4):
        history.add_distances([0.3 + n / 100, None, None], "a\u0000b\u001b\ud7ff\uffff")

    text = page(told())

    assert Elements(text).count("svg") == 6
    assert "\u001b" not in text and "\u0000" not in text


def test_a_quiet_history_makes_a_page_too(history: History, told: Tell) -> None:
    history.add_distances([None, None])

    text = Elements(page(told(Policy(), Policy()))).text

    assert "None." in text
