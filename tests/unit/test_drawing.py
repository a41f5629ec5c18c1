"""Charts: what is drawn is what was measured, nothing hidden is shown, and no name does harm."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import pytest
from guiderail.errors import MalformedEventError
from guiderail.model.message import Distribution
from guiderail.services import drawing
from hypothesis import given
from hypothesis import strategies as st

LABELS = ("< 10", "10-20", "20-30", ">= 30")
BASELINE = (0.1, 0.3, 0.57, 0.03)
CURRENT = (0.1, 0.3, 0.45, 0.15)
HOSTILE = [
    "<script>alert(1)</script>",
    "</text></svg><svg onload=alert(1)>",
    "&amp; & ]]> <!-- ",
    "url(#x); } * { display: none",
    "zero\u200bwidth\u202egnp\x00\x1b[31m\ud800\ufffe",
    "n" * 500,
    "",
]
KNOWN_TAGS = {"svg", "rect", "defs", "pattern", "text", "g", "path", "title", "circle"}
WORST = 100_000


def income(
    baseline: Sequence[float] = BASELINE,
    current: Sequence[float] = CURRENT,
    labels: Sequence[str] = LABELS,
    feature: str = "income",
) -> Distribution:
    return Distribution(
        feature=feature, labels=tuple(labels), baseline=tuple(baseline), current=tuple(current)
    )


def chart(distribution: Distribution, show_values: bool = False) -> Element:
    (drawn,) = drawing.drawings([distribution], {}, show_values)
    return ElementTree.fromstring(drawn.svg)


def named(root: Element, tag: str) -> list[Element]:
    return list(root.iter(f"{{http://www.w3.org/2000/svg}}{tag}"))


def bars(root: Element, side: str) -> list[Element]:
    return [rect for rect in named(root, "rect") if rect.get("class") == side]


def heights(root: Element, side: str) -> list[float]:
    return [float(bar.attrib["height"]) for bar in bars(root, side)]


def texts(root: Element) -> list[str]:
    return [text.text or "" for text in named(root, "text")]


def png_size(png: bytes) -> tuple[int, int]:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def pixels(png: bytes) -> bytes:
    """Filtered pixels, as PNG keeps them."""
    at, packed = 8, b""
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        if png[at + 4 : at + 8] == b"IDAT":
            packed += png[at + 8 : at + 8 + length]
        at += 12 + length
    return zlib.decompress(packed)


@st.composite
def distributions(draw: st.DrawFn, most: int = 90) -> Distribution:
    count = draw(st.integers(1, most))
    sides = []
    for _ in range(2):
        weights = draw(st.lists(st.integers(0, 10**9), min_size=count, max_size=count))
        total = sum(weights) or 1
        sides.append([weight / total for weight in weights])
    labels = draw(st.lists(st.text(), min_size=count, max_size=count))
    return income(sides[0], sides[1], labels, draw(st.text()))


# ------------------------------------------------------------------------------ what is drawn


@given(distribution=distributions(), show_values=st.booleans())
def test_heights_agree_with_shares(distribution: Distribution, show_values: bool) -> None:
    root = chart(distribution, show_values)
    step = -(-len(distribution.labels) // drawing.MOST_BUCKETS)
    pooled = [
        [sum(side[at : at + step]) for at in range(0, len(side), step)]
        for side in (distribution.baseline, distribution.current)
    ]
    drawn = [*heights(root, "baseline"), *heights(root, "current")]
    shares = [*pooled[0], *pooled[1]]
    assert len(pooled[0]) <= drawing.MOST_BUCKETS
    assert len(drawn) == len(shares)
    unit = max(drawn) / max(shares) if any(shares) else 0
    assert max(drawn, default=0) <= drawing.HEIGHT
    for height, share in zip(drawn, shares, strict=True):
        assert math.isclose(height, share * unit, abs_tol=1e-6)


def test_the_highest_bar_is_as_high_as_the_axis_says() -> None:
    root = chart(income())
    lines = [
        float(path.attrib["d"].split()[1])
        for path in named(root, "path")
        if "stroke" in path.attrib
    ]
    ticks = [text for text in texts(root) if text.endswith("%")]
    assert ticks == ["0%", "20%", "40%", "60%"]
    (top,) = (min(float(bar.attrib["y"]) for bar in bars(root, "baseline")),)
    # the lines are those of the ticks, from the bottom up
    per_share = (max(lines) - min(lines)) / 0.6
    assert math.isclose(max(lines) - top, 0.57 * per_share, abs_tol=0.01)


@pytest.mark.parametrize(
    ("highest", "ticks"),
    [
        (1.0, ["0%", "25%", "50%", "75%", "100%"]),
        (0.22, ["0%", "10%", "20%", "30%"]),
        (0.004, ["0%", "0.1%", "0.2%", "0.3%", "0.4%"]),
        (0.0, ["0%", "0.0025%", "0.005%", "0.0075%", "0.01%"]),
    ],
)
def test_ticks_are_round_and_few(highest: float, ticks: list[str]) -> None:
    root = chart(income([highest], [0.0], ["all"]))
    assert [text for text in texts(root) if text.endswith("%")] == ticks


@given(st.floats(0, 1))
def test_ticks_reach_the_highest_share(highest: float) -> None:
    ticks = drawing._ticks(highest)
    assert ticks[0] == 0
    assert ticks[-1] >= highest * (1 - 1e-6)
    assert 2 <= len(ticks) <= 6


def test_sides_differ_by_more_than_colour() -> None:
    root = chart(income())
    (pattern,) = named(root, "pattern")
    assert {bar.get("fill") for bar in bars(root, "baseline")} == {f"url(#{pattern.get('id')})"}
    (solid,) = {bar.get("fill") for bar in bars(root, "current")}
    assert solid is not None
    assert solid.startswith("#")
    assert {"baseline", "current"} <= set(texts(root))


def test_bars_say_what_they_are() -> None:
    said = [title.text for title in named(chart(income(), show_values=True), "title")]
    assert said[3] == ">= 30, baseline: 3%"
    assert said[7] == ">= 30, current: 15%"


def test_labels_are_left_out_where_they_have_no_room() -> None:
    count = 20
    labels = [f"{number * 1000}-{number * 1000 + 1000}" for number in range(count)]
    root = chart(income([1 / count] * count, [1 / count] * count, labels), show_values=True)
    shown = [text for text in texts(root) if text in labels]
    assert 2 < len(shown) < count / 2


@pytest.mark.parametrize("count", [1, 2, 24])
def test_a_trend_has_a_dot_per_run_higher_for_more(count: int) -> None:
    values = [float(number) for number in range(count)]
    (drawn,) = drawing.drawings([], {"drift": values})
    root = ElementTree.fromstring(drawn.svg)
    dots = named(root, "circle")
    assert len(dots) == count
    rising = [float(dot.attrib["cy"]) for dot in dots]
    assert rising == sorted(rising, reverse=True)
    assert dots[-1].attrib["r"] > dots[0].attrib["r"] or count == 1
    assert len(named(root, "path")) == (count > 1)


@given(
    st.dictionaries(
        st.text(),
        st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=60),
        min_size=1,
        max_size=9,
    )
)
def test_any_finite_trend_is_drawn_inside_its_picture(trends: dict[str, list[float]]) -> None:
    (drawn,) = drawing.drawings([], trends)
    root = ElementTree.fromstring(drawn.svg)
    shown = [*trends.values()][: drawing.MOST_TRENDS]
    dots = named(root, "circle")
    assert len(dots) == sum(min(len(values), drawing.MOST_RUNS) for values in shown)
    for dot in dots:
        assert 0 < float(dot.attrib["cy"]) < 80
        assert 0 < float(dot.attrib["cx"]) < drawing.WIDTH


def test_a_constant_trend_is_level() -> None:
    (drawn,) = drawing.drawings([], {"missing": [0.2] * 5})
    dots = named(ElementTree.fromstring(drawn.svg), "circle")
    assert len({dot.attrib["cy"] for dot in dots}) == 1


def test_the_newest_runs_are_kept() -> None:
    values = [*([100.0] * 20), *map(float, range(drawing.MOST_RUNS))]
    (drawn,) = drawing.drawings([], {"drift": values})
    assert "between 0 and 23 in 24 runs" in drawn.alt


def test_few_pictures() -> None:
    trends = {f"feature {number}": [1.0, 2.0] for number in range(8)}
    drawn = drawing.drawings([income()] * 5, trends)
    assert [one.name for one in drawn] == [
        "distribution-1",
        "distribution-2",
        "distribution-3",
        "trends",
    ]
    shown = texts(ElementTree.fromstring(drawn[-1].svg))
    assert "feature 3" in shown
    assert "feature 4" not in shown
    assert "and 4 more" in shown
    assert drawn[-1].alt.endswith("And 4 more.")
    assert drawing.drawings([], {}) == ()


def test_the_same_picture_every_time() -> None:
    asked = ([income()], {"drift": [0.1, 0.2]}, True)
    assert drawing.drawings(*asked) == drawing.drawings(*asked)
    assert drawing.draw(*asked) == drawing.draw(*asked)


# ------------------------------------------------------------------------------ in words


@pytest.mark.parametrize(
    ("distribution", "words"),
    [
        (income(), "12% of rows moved into bucket 4 of 4 (3% before, 15% now)."),
        (
            income([0.5, 0.5, 0, 0], [0.3, 0.5, 0.12, 0.08]),
            "20% of rows moved, most of them into bucket 3 of 4 (0% before, 12% now).",
        ),
        (
            income([0.5, 0.5, 0, 0], [0.5, 0.2, 0, 0]),
            "30% of rows moved out of bucket 2 of 4 (50% before, 20% now).",
        ),
        (income(BASELINE, BASELINE), "the same share of rows in each bucket."),
        (income(BASELINE, [0.0] * 4), "no current rows in any bucket."),
        (income([0.0] * 4, CURRENT), "no baseline rows in any bucket."),
    ],
)
def test_distributions_in_words(distribution: Distribution, words: str) -> None:
    (drawn,) = drawing.drawings([distribution], {})
    assert drawn.alt == f"Baseline and current distribution of income: {words}"
    assert ElementTree.fromstring(drawn.svg).get("aria-label") == drawn.alt


def test_the_bucket_is_named_where_values_may_be_shown() -> None:
    (drawn,) = drawing.drawings([income()], {}, show_values=True)
    assert "moved into bucket “>= 30” (3% before, 15% now)" in drawn.alt


def test_trends_in_words() -> None:
    said = drawing.trends_in_words({"drift of income": [0.05, 0.31, 0.42], "age": [3.0]})
    assert said == (
        "Trend of the last runs. drift of income is 0.42 after 0.31, between 0.05 and 0.42 in 3 runs. "
        "age is 3."
    )


# ------------------------------------------------------------------------------ what is not shown


@given(distribution=distributions(most=60), secret=st.from_regex(r"[A-Z]{8}", fullmatch=True))
def test_labels_are_hidden_unless_they_may_be_shown(
    distribution: Distribution, secret: str
) -> None:
    count = len(distribution.labels)
    labels = [secret] * count
    hidden = income(distribution.baseline, distribution.current, labels)
    (drawn,) = drawing.drawings([hidden], {})
    assert secret not in drawn.svg
    assert secret not in drawn.alt
    (shown,) = drawing.drawings([hidden], {}, show_values=True)
    assert secret in shown.svg


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("show_values", [False, True])
def test_names_are_text(name: str, show_values: bool) -> None:
    distribution = income([0.5, 0.5], [0.2, 0.8], [name, f"{name}."], name)
    for drawn in drawing.drawings([distribution], {name: [1.0, 2.0]}, show_values):
        root = ElementTree.fromstring(drawn.svg)
        assert {node.tag.rpartition("}")[2] for node in root.iter()} <= KNOWN_TAGS
        attributes = {key for node in root.iter() for key in node.attrib}
        assert not {key for key in attributes if key.startswith("on") or "href" in key}
        written = [*texts(root), drawn.alt, *(title.text or "" for title in named(root, "title"))]
        assert all(line.isprintable() for line in written)
        assert max(map(len, texts(root))) <= 40


def test_a_name_that_is_cut_says_so() -> None:
    assert f"{'n' * 39}…" in texts(chart(income(feature="n" * 41)))
    assert "n" * 40 in texts(chart(income(feature="n" * 40)))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_becomes_a_picture_too(name: str) -> None:
    (picture,) = drawing.draw([income(feature=name)], {})
    assert png_size(picture.png) == (1200, 600)


# ------------------------------------------------------------------------------ PNG


def test_a_png_is_twice_the_size_on_white() -> None:
    distribution, trends = drawing.draw([income()], {"drift": [0.1, 0.2], "missing": [0.0]})
    assert (distribution.name, trends.name) == ("distribution-1.png", "trends.png")
    assert png_size(distribution.png) == (1200, 600)
    assert png_size(trends.png)[0] == 1200
    for picture in (distribution, trends):
        width, height = png_size(picture.png)
        raw = pixels(picture.png)
        line = len(raw) // height
        channels = (line - 1) // width
        # the first line is filtered against nothing: its first pixel is as it is
        assert raw[1 : 1 + channels] == b"\xff" * channels
        assert len(set(raw)) > 50


def test_text_is_drawn_without_fonts_of_the_system() -> None:
    (income_,), (outcome,) = (
        drawing.draw([income(feature=name)], {}) for name in ("income", "outcome")
    )
    assert pixels(income_.png) != pixels(outcome.png)


def test_no_picture_is_large() -> None:
    count = drawing.MOST_BUCKETS
    jagged = income(
        [0.04 if number % 2 else 0.01 for number in range(count)],
        [0.01 if number % 2 else 0.04 for number in range(count)],
        [f"a rather long label {number}" for number in range(count)],
        "W" * 40,
    )
    runs = [float(number * 7919 % 31) for number in range(drawing.MOST_RUNS)]
    trends = {f"{number}{'W' * 40}": runs for number in range(9)}
    for picture in drawing.draw([jagged], trends, show_values=True):
        assert len(picture.png) <= WORST


# ------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf, -0.1, 1.5])
@pytest.mark.parametrize("side", ["baseline", "current"])
def test_a_share_that_is_none_is_refused(wrong: float, side: str) -> None:
    sides = {"baseline": BASELINE, "current": CURRENT} | {side: (0.1, 0.2, wrong, 0.1)}
    with pytest.raises(MalformedEventError, match=rf"distributions\[1\]\.{side}\[2\] is .*0 to 1"):
        drawing.drawings([income(), income(sides["baseline"], sides["current"])], {})


@pytest.mark.parametrize(
    ("distribution", "message"),
    [
        (income([], [], []), r"distributions\[0\]\.labels is empty"),
        (income([0.1]), r"distributions\[0\]\.baseline has 1 shares for 4 labels"),
        (income(current=[0.1] * 5), r"distributions\[0\]\.current has 5 shares for 4 labels"),
        (income(current=[0.5] * 4), r"distributions\[0\]\.current adds up to 2"),
    ],
)
def test_a_distribution_that_is_none_is_refused(distribution: Distribution, message: str) -> None:
    with pytest.raises(MalformedEventError, match=message):
        drawing.drawings([distribution], {})


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_trend_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(MalformedEventError, match=r"trends\[1\]\[1\] is .*finite"):
        drawing.drawings([], {"a": [1.0], "b": [1.0, wrong]})
    with pytest.raises(MalformedEventError, match=r"trends\[0\] is empty"):
        drawing.drawings([], {"a": []})


def test_a_refusal_shows_no_name() -> None:
    secret = income([2.0], [0.0], ["SECRET LABEL"], "SECRET NAME")
    with pytest.raises(MalformedEventError) as refused:
        drawing.drawings([secret], {})
    assert "SECRET" not in str(refused.value)


# ------------------------------------------------------------------------------ what it needs


def test_the_libraries_are_loaded_when_a_picture_is_drawn() -> None:
    code = (
        "import sys, guiderail.services.drawing as d; heavy = {'pygal', 'resvg_py'}; "
        "print(sorted(heavy & set(sys.modules))); d.draw([], {'a': [1.0]}); "
        "print(sorted(heavy & set(sys.modules)))"
    )
    layer = Path(drawing.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(layer)},
    )
    assert done.stdout.splitlines() == ["[]", "['pygal', 'resvg_py']"]


def test_pygal_leaves_no_finder_behind() -> None:
    drawing.drawings([], {"a": [1.0]})
    assert [type(f).__module__ for f in sys.meta_path if type(f).__module__ == "pygal"] == []
