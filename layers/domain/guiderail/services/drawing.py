"""Charts of a message: baseline against current, and trends. SVG is drawn by pygal, PNG made of it by resvg.

Both libraries are in the layer of ``draw_pictures`` alone, so they are imported when a picture is drawn.
What comes out is the same for the same input, and needs no style sheet, script or font of the reader's.
"""

from __future__ import annotations

import math
import sys
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import msgspec

from guiderail.errors import MalformedEventError
from guiderail.model.message import Distribution, Picture
from guiderail.rendering.wording import printable

WIDTH = 600
HEIGHT = 300
"""Size of a distribution's picture in units; a trend's is as high as it has rows."""

PIXELS = 2
"""Pixels per unit of a PNG: phones and mail programs show it at half its size."""

MOST_DISTRIBUTIONS = 3
MOST_TRENDS = 4
MOST_BUCKETS = 40
"""Buckets drawn; of more, neighbours are drawn as one."""

MOST_RUNS = 24
"""Values of a trend that are drawn: the newest."""

_LONGEST_NAME = 40
_LONGEST_LABEL = 16
_NAMESPACE = "http://www.w3.org/2000/svg"
_FONT = "'Source Sans Pro', system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
_FONT_FILES = ("SourceSansPro-Regular.ttf", "SourceSansPro-Semibold.ttf")

_PAPER, _INK, _SOFT_INK, _GUIDE = "#ffffff", "#1d252c", "#4d5862", "#dfe3e8"
# Apart by lightness and by hatching, so also for the colour-blind and on paper.
_BASELINE, _CURRENT = "#5c4a32", "#0b5fa5"
_HATCHING = "guiderail-baseline"
_EDGE = 14
_SIZE = 16  # on a phone the picture is 0.6 as wide: still 10 pixels
_LETTER = 0.53 * _SIZE  # mean width of a letter
_LABEL = {"fill": _INK}
_STRONG = {"font-weight": "600"}
_TITLE = _STRONG | {"font-size": "19"}


class DrawRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``draw_pictures`` is asked for; trends are values by name, oldest first."""

    distributions: tuple[Distribution, ...] = ()
    trends: dict[str, tuple[float, ...]] = {}
    show_values: bool = False
    format: Literal["png", "svg"] = "png"


class Drawing(msgspec.Struct, frozen=True, kw_only=True):
    """A chart as SVG text; ``alt`` says in words what it shows."""

    name: str
    alt: str
    svg: str


def answer(event: Mapping[str, Any]) -> dict[str, Any]:
    """Draw what an event asks for.

    Returns:
        ``{"pictures": [{"name", "alt", "png": base64}]}``, or ``svg`` with the text in place of ``png``.

    Raises:
        MalformedEventError: A field is missing, unknown or cannot be drawn; the message names it.
    """
    try:
        request = msgspec.convert(event, DrawRequest)
    except msgspec.ValidationError as exc:
        raise MalformedEventError(f"the event cannot be drawn: {exc}") from exc
    asked = (request.distributions, request.trends, request.show_values)
    if request.format == "svg":
        return {"pictures": [msgspec.to_builtins(drawing) for drawing in drawings(*asked)]}
    return {
        "pictures": [
            {"name": picture.name, "alt": picture.alt, "png": b64encode(picture.png).decode()}
            for picture in draw(*asked)
        ]
    }


def draw(
    distributions: Sequence[Distribution],
    trends: Mapping[str, Sequence[float]],
    show_values: bool = False,
) -> tuple[Picture, ...]:
    """Draw PNG pictures, ``PIXELS`` to the unit. See ``drawings``."""
    return tuple(
        Picture(name=f"{drawing.name}.png", alt=drawing.alt, png=_png(drawing.svg))
        for drawing in drawings(distributions, trends, show_values)
    )


def drawings(
    distributions: Sequence[Distribution],
    trends: Mapping[str, Sequence[float]],
    show_values: bool = False,
) -> tuple[Drawing, ...]:
    """Draw SVG pictures: one per distribution, the first three, and one of all trends.

    Args:
        distributions: Shares of rows, 0 to 1, over at least one bucket.
        trends: Observed values by name, oldest first, at least one each; they are measurements, not
            values of data.
        show_values: Whether the labels of buckets, which are raw data, may be shown. Buckets are
            numbered otherwise.

    Raises:
        MalformedEventError: Something cannot be drawn; the message names the field, never its content.
    """
    for place, distribution in enumerate(distributions):
        _check_distribution(f"distributions[{place}]", distribution)
    for place, values in enumerate(trends.values()):
        _check_trend(f"trends[{place}]", values)
    made = [
        Drawing(
            name=f"distribution-{number}",
            alt=distribution_in_words(distribution, show_values),
            svg=_distribution_chart(distribution, show_values),
        )
        for number, distribution in enumerate(distributions[:MOST_DISTRIBUTIONS], start=1)
    ]
    if trends:
        made.append(Drawing(name="trends", alt=trends_in_words(trends), svg=_trend_chart(trends)))
    return tuple(made)


def distribution_in_words(distribution: Distribution, show_values: bool) -> str:
    """Say what a distribution's picture shows, in one sentence."""
    baseline, current = distribution.baseline, distribution.current
    said = f"Baseline and current distribution of {_name(distribution.feature)}: "
    for side, shares in (("baseline", baseline), ("current", current)):
        if not any(shares):
            return f"{said}no {side} rows in any bucket."
    changes = [now - before for before, now in zip(baseline, current, strict=True)]
    gained, lost = sum(c for c in changes if c > 0), -sum(c for c in changes if c < 0)
    moved = max(gained, lost)
    if moved < 0.0005:
        return f"{said}the same share of rows in each bucket."
    most = max(changes) if gained >= lost else min(changes)
    at = changes.index(most)
    way = "into" if most > 0 else "out of"
    label = _cut(printable(distribution.labels[at]), _LONGEST_LABEL)
    bucket = f"bucket “{label}”" if show_values else f"bucket {at + 1} of {len(changes)}"
    all_of_it = abs(most) >= 0.995 * moved
    return (
        f"{said}{_percent(moved)} of rows moved{'' if all_of_it else ', most of them'} {way} {bucket} "
        f"({_percent(baseline[at])} before, {_percent(current[at])} now)."
    )


def trends_in_words(trends: Mapping[str, Sequence[float]]) -> str:
    """Say what the trends' picture shows, a sentence each."""
    sentences = []
    for name, values in _shown_trends(trends):
        last = f"{_name(name)} is {_number(values[-1])}"
        if len(values) > 1:
            last += f" after {_number(values[-2])}"
            last += (
                f", between {_number(min(values))} and {_number(max(values))} in {len(values)} runs"
            )
        sentences.append(f"{last}.")
    if more := len(trends) - len(sentences):
        sentences.append(f"And {more} more.")
    return " ".join(["Trend of the last runs.", *sentences])


def _check_distribution(place: str, distribution: Distribution) -> None:
    buckets = len(distribution.labels)
    if not buckets:
        raise MalformedEventError(f"{place}.labels is empty: it must name at least one bucket")
    for field, shares in (("baseline", distribution.baseline), ("current", distribution.current)):
        if len(shares) != buckets:
            raise MalformedEventError(
                f"{place}.{field} has {len(shares)} shares for {buckets} labels: it must have one each"
            )
        for number, share in enumerate(shares):
            if not 0 <= share <= 1:
                raise MalformedEventError(
                    f"{place}.{field}[{number}] is {share}: it must be a share of rows, from 0 to 1"
                )
        if sum(shares) > 1.01:
            raise MalformedEventError(
                f"{place}.{field} adds up to {sum(shares):.6g}: shares of rows are at most 1 together"
            )


def _check_trend(place: str, values: Sequence[float]) -> None:
    if not values:
        raise MalformedEventError(f"{place} is empty: it must have at least one value")
    for number, value in enumerate(values):
        if not math.isfinite(value):
            raise MalformedEventError(f"{place}[{number}] is {value}: it must be a finite number")


def _shown_trends(trends: Mapping[str, Sequence[float]]) -> list[tuple[str, Sequence[float]]]:
    return [(name, values[-MOST_RUNS:]) for name, values in [*trends.items()][:MOST_TRENDS]]


def _distribution_chart(distribution: Distribution, show_values: bool) -> str:
    # more would be thinner than their outlines
    step = -(-len(distribution.labels) // MOST_BUCKETS)
    names = _bucket_names(distribution.labels, step, show_values)
    sides = {
        "baseline": _pooled(distribution.baseline, step),
        "current": _pooled(distribution.current, step),
    }
    looks = {
        "baseline": {"fill": f"url(#{_HATCHING})", "stroke": _BASELINE},
        "current": {"fill": _CURRENT, "stroke": _CURRENT},
    }
    svg = _sheet(HEIGHT, distribution_in_words(distribution, show_values))
    _hatching(svg)
    _text(svg, _EDGE, 28, _name(distribution.feature), _TITLE)
    for side, x in (("baseline", _EDGE), ("current", 116)):
        place = {"x": f"{x}", "y": "41", "width": "18", "height": "14"}
        SubElement(svg, "rect", place | looks[side])
        _text(svg, x + 25, 54, side)
    said = "share of rows by bucket" if step == 1 else f"share of rows, {step} buckets a bar"
    _text(svg, WIDTH - _EDGE, 54, said, {"text-anchor": "end", "fill": _SOFT_INK})

    ticks = _ticks(max(map(max, sides.values())))
    plot = _plotted(
        svg,
        (0, 62),
        "Bar",
        list(sides.values()),
        width=WIDTH,
        height=HEIGHT - 62,
        margin=8,
        margin_left=_EDGE,
        spacing=8,
        x_labels=_that_fit(names),
        y_labels=ticks,
        range=(0, ticks[-1]),
        value_formatter=_percent,
    )
    for (side, shares), series in zip(sides.items(), plot.iter("bars"), strict=True):
        bars = [*series.iter("rect")]
        for bar, name, share in zip(bars, names, shares, strict=True):
            bar.attrib |= {"class": side} | looks[side]
            SubElement(bar, "title").text = f"{name}, {side}: {_percent(share)}"
        series.tag = "g"
    return _written(svg)


def _trend_chart(trends: Mapping[str, Sequence[float]]) -> str:
    shown = _shown_trends(trends)
    more = len(trends) - len(shown)
    top, row = 44, 80
    svg = _sheet(top + row * len(shown) + (28 if more else 4), trends_in_words(trends))
    _text(svg, _EDGE, 28, "Last runs, oldest first", _TITLE)
    for number, (name, values) in enumerate(shown):
        y = top + row * number
        _text(svg, _EDGE, y + 17, _name(name))
        _text(svg, WIDTH - _EDGE, y + 17, _number(values[-1]), {"text-anchor": "end"} | _STRONG)
        plot = _plotted(
            svg,
            (0, y + 22),
            "Line",
            [_levels(values)],
            width=WIDTH,
            height=row - 28,
            margin=6,
            margin_left=_EDGE,
            margin_right=_EDGE,
            show_x_labels=False,
            show_y_labels=False,
            range=(0, 1),
        )
        dots = [*plot.iter("circle")]
        for line in plot.iter("path"):
            line.attrib |= {"fill": "none", "stroke": _CURRENT, "stroke-width": "2.5"}
        for dot, value in zip(dots, values, strict=True):
            dot.attrib |= {"fill": _CURRENT, "r": "5" if dot is dots[-1] else "2.5"}
            SubElement(dot, "title").text = _number(value)
    if more:
        _text(svg, _EDGE, top + row * len(shown) + 14, f"and {more} more", {"fill": _SOFT_INK})
    return _written(svg)


def _plotted(
    svg: Element, place: tuple[int, int], kind: str, series: Sequence[Sequence[float]], **given: Any
) -> Element:
    """Put what pygal plots into a picture, as bare shapes: its styles, scripts and descriptions stay out.

    The groups of a series' bars are elements ``bars`` until the caller has styled them.
    """
    style = _pygal().style.Style(label_font_size=_SIZE, major_label_font_size=_SIZE)
    chart = getattr(_pygal(), kind)(
        js=[], show_legend=False, truncate_label=-1, style=style, **given
    )
    for values in series:
        chart.add("", values)
    drawn = ElementTree.fromstring(chart.render(is_unicode=True))
    holder = SubElement(svg, "g", {"transform": f"translate({place[0]} {place[1]})"})
    for group in [*drawn.iter(f"{{{_NAMESPACE}}}g")]:
        if group.get("class") in ("plot", "plot overlay"):
            _bare(group)
            holder.append(group)
    return holder


def _bare(group: Element, axis: str = "") -> None:
    group.tag = group.tag.rpartition("}")[2]
    was = group.attrib.pop("class", "").split()
    if "axis" in was:
        axis = was[1]
    if "bars" in was:
        group.tag = "bars"
    if group.tag == "text":
        group.attrib |= {"text-anchor": "middle" if axis == "x" else "end"} | _LABEL
    if group.tag == "path" and axis == "y":
        group.attrib |= {"stroke": _SOFT_INK if "axis" in was else _GUIDE}
    for child in list(group):
        name = child.tag.rpartition("}")[2]
        classes = child.get("class", "").split()
        if name in ("desc", "title") or "background" in classes or (axis == "x" and name == "path"):
            group.remove(child)
        else:
            _bare(child, axis)


@cache
def _pygal() -> Any:
    import pygal
    import pygal.style

    # pygal leaves a finder of the old protocol behind, for plugins of its own; Python warns of it
    sys.meta_path[:] = [f for f in sys.meta_path if type(f).__module__ != pygal.__name__]
    return pygal


@cache
def _fonts() -> list[str]:
    """Files of the font: a function's machine has none of its own, and text would be left out."""
    package = find_spec("font_source_sans_pro")
    if package is None or not package.submodule_search_locations:
        raise ImportError("font_source_sans_pro is missing: install guiderail[pictures]")
    (folder,) = package.submodule_search_locations
    return [f"{folder}/files/{name}" for name in _FONT_FILES]


def _png(svg: str) -> bytes:
    import resvg_py

    return resvg_py.svg_to_bytes(
        svg_string=svg, zoom=PIXELS, skip_system_fonts=True, font_files=_fonts()
    )


def _sheet(height: int, alt: str) -> Element:
    """A picture with its own white ground: what it is shown on may be dark."""
    size = {"width": f"{WIDTH}", "height": f"{height}"}
    shown_as = {"role": "img", "aria-label": alt, "font-family": _FONT, "font-size": f"{_SIZE}"}
    svg = Element(
        "svg", {"xmlns": _NAMESPACE, "viewBox": f"0 0 {WIDTH} {height}"} | size | shown_as
    )
    SubElement(svg, "rect", size | {"fill": _PAPER})
    return svg


def _hatching(svg: Element) -> None:
    size = {"width": "7", "height": "7", "patternUnits": "userSpaceOnUse"}
    turned = {"id": _HATCHING, "patternTransform": "rotate(45)"}
    pattern = SubElement(SubElement(svg, "defs"), "pattern", size | turned)
    SubElement(pattern, "rect", {"width": "7", "height": "7", "fill": _PAPER})
    SubElement(pattern, "rect", {"width": "2", "height": "7", "fill": _BASELINE})


def _text(svg: Element, x: float, y: float, text: str, look: Mapping[str, str] = _LABEL) -> None:
    SubElement(svg, "text", {"x": f"{x}", "y": f"{y}"} | _LABEL | dict(look)).text = text


def _written(svg: Element) -> str:
    return ElementTree.tostring(svg, encoding="unicode")


def _pooled(shares: Sequence[float], step: int) -> list[float]:
    return [sum(shares[at : at + step]) for at in range(0, len(shares), step)]


def _bucket_names(labels: Sequence[str], step: int, show_values: bool) -> list[str]:
    every = range(0, len(labels), step)
    if show_values:
        return [_cut(printable(labels[at]), _LONGEST_LABEL) for at in every]
    return [f"{at + 1}" for at in every]


def _that_fit(names: Sequence[str]) -> list[str]:
    """Each name that has room below its bar; the others are empty."""
    room = (WIDTH - 80) / len(names)
    every = math.ceil((max(map(len, names)) + 1) * _LETTER / room)
    shown = range(every // 2, len(names) - (every - 1) // 2, every)
    return [name if at in shown else "" for at, name in enumerate(names)]


def _ticks(highest: float) -> list[float]:
    """Where lines cross the plot: from 0 to the first round number that is not below the highest share."""
    highest = max(highest, 0.0001)
    power = 10.0 ** math.floor(math.log10(highest))
    for step in (0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 2.5):
        if highest <= 4 * step * power * (1 + 1e-9):
            break
    count = math.ceil(highest / (step * power) - 1e-9)
    return [number * step * power for number in range(count + 1)]


def _levels(values: Sequence[float]) -> list[float]:
    """Values between the lowest (0) and the highest (1); halved, as their distance may be infinite."""
    low, high = min(values) / 2, max(values) / 2
    if low == high:
        return [0.5] * len(values)
    return [(value / 2 - low) / (high - low) for value in values]


def _name(name: str) -> str:
    return _cut(printable(name).strip() or "(no name)", _LONGEST_NAME)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _percent(share: float) -> str:
    return f"{share * 100:.3g}%"


def _number(value: float) -> str:
    return f"{value:.4g}"
