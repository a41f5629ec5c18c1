"""Charts as SVG elements of an HTML page: no script, no network, tooltips by the browser itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import pygal
from guiderail.rendering.wording import printable
from pygal.style import Style

from guiderail_cli.backtest.result import Day, Suggestion

# pygal leaves a finder of the old protocol behind, for plugins of its own; Python warns of it at each import
sys.meta_path[:] = [f for f in sys.meta_path if type(f).__module__ != pygal.__name__]

WIDTH = 1080
_LONGEST_NAME = 48

_OLD, _NEW = "#a9b2bc", "#2364aa"
TWO_COUNTS = ("#8fb8de", "#2364aa")
_VALUES = ("#2364aa", "#c1440e", "#2e7d32")
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"


def daily(title: str, series: Sequence[tuple[str, Sequence[tuple[str, int]]]]) -> Element:
    """A bar per day and series; series are name and (day, count)."""
    dates = [day for day, _ in series[-1][1]]
    every = max(1, -(-len(dates) // 10))
    chart = pygal.Bar(
        **_common(title, 260),
        x_labels=dates,
        x_labels_major_every=every,
        show_minor_x_labels=False,
        x_label_rotation=0,
        spacing=2,
        style=_style(_colors(len(series))),
    )
    for name, counts in series:
        chart.add(_short(name), [count for _, count in counts])
    return _drawn(chart, title, [name for name, _ in series], _colors(len(series)))


def ranked(
    title: str,
    names: Sequence[str],
    series: Sequence[tuple[str, Sequence[int]]],
    colors: tuple[str, ...] = (_OLD, _NEW),
) -> Element:
    """Horizontal bars, the first name on top; series are name and one count per name."""
    chart = pygal.HorizontalBar(
        **_common(title, 90 + len(names) * (18 + 14 * len(series))),
        # pygal draws the first label at the bottom
        x_labels=[_short(name) for name in reversed(names)],
        spacing=12,
        style=_style(_colors(len(series), colors)),
    )
    for name, counts in series:
        chart.add(_short(name), list(reversed(counts)))
    return _drawn(chart, title, [name for name, _ in series], _colors(len(series), colors))


def values(title: str, suggestion: Suggestion) -> Element:
    """The values that fired over time, with today's threshold and the suggested one."""
    dots = [(datetime.fromtimestamp(v.at, UTC), v.observed) for v in suggestion.values]
    lines = [
        (f"{name}: {threshold:.4g}", threshold)
        for name, threshold in (("now", suggestion.threshold), ("suggested", suggestion.suggested))
        if threshold is not None
    ]
    heights = [*(value for _, value in dots), *(threshold for _, threshold in lines)]
    spare = (max(heights) - min(heights)) * 0.1 or 1.0
    low, high = min(heights) - spare, max(heights) + spare
    chart = pygal.DateTimeLine(
        **{**_common(title, 240), "include_x_axis": False},
        stroke=False,
        dots_size=3,
        range=(low, high),
        y_labels=[low + (high - low) * i / 4 for i in range(5)],
        x_value_formatter=lambda at: f"{at:%Y-%m-%d}",
        value_formatter=lambda value: f"{value:.4g}",
        style=_style(_VALUES),
    )
    chart.add("fired", dots)
    for name, threshold in lines:
        chart.add(
            name,
            [(dots[0][0], threshold), (dots[-1][0], threshold)],
            stroke=True,
            show_dots=False,
            stroke_style={"width": 2},
        )
    return _drawn(chart, title, ["fired", *(name for name, _ in lines)], _VALUES)


def per_day(days: Sequence[Day], field: str) -> list[tuple[str, int]]:
    """A field of each day, as ``daily`` takes it."""
    return [(day.date, getattr(day, field)) for day in days]


def _common(title: str, height: int) -> dict[str, Any]:
    return {
        "js": [],
        "disable_xml_declaration": True,
        "no_prefix": False,
        "width": WIDTH,
        "height": height,
        "explicit_size": False,
        "show_legend": False,
        "truncate_label": -1,
        "show_y_guides": True,
        "margin": 8,
        "no_data_text": "nothing",
        "min_scale": 2,
        "max_scale": 6,
        "order_min": 0,
        "include_x_axis": True,
        "title": None,
    }


def _colors(series: int, colors: tuple[str, ...] = (_OLD, _NEW)) -> tuple[str, ...]:
    """A single series has the colour of the policy that is tried."""
    return colors[-series:] if series < len(colors) else colors


def _style(colors: tuple[str, ...]) -> Style:
    return Style(
        background="transparent",
        plot_background="transparent",
        foreground="#3c4650",
        foreground_strong="#1d252c",
        foreground_subtle="#dfe3e8",
        guide_stroke_color="#e6e9ed",
        major_guide_stroke_color="#dfe3e8",
        guide_stroke_dasharray="none",
        major_guide_stroke_dasharray="none",
        opacity="1",
        opacity_hover=".7",
        transition="none",
        font_family=_FONT,
        label_font_size=11,
        major_label_font_size=11,
        legend_font_size=12,
        value_font_size=11,
        no_data_font_size=14,
        colors=colors,
    )


def _short(name: str) -> str:
    text = printable(name)
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…"


def _drawn(chart: Any, title: str, names: Sequence[str], colors: Sequence[str]) -> Element:
    """Draw a chart and leave of it what needs no script: descriptions become the browser's tooltips.

    The legend stands above it as text: pygal's own runs into the labels.
    """
    figure = Element("figure")
    legend = SubElement(figure, "figcaption")
    for name, color in zip(names, colors, strict=False):
        entry = SubElement(legend, "span")
        SubElement(entry, "i", {"style": f"background: {color}"})
        SubElement(entry, "span").text = _short(name)
    svg = ElementTree.fromstring(chart.render(is_unicode=True))
    for node in list(svg.iter()):
        node.tag = node.tag.rpartition("}")[2]
        described = {d.get("class"): d.text or "" for d in node if d.tag.endswith("desc")}
        for child in list(node):
            name = child.tag.rpartition("}")[2]
            if name in ("desc", "script") or (name == "title" and node is svg):
                node.remove(child)
        if value := described.get("value"):
            label = described.get("x_label")
            SubElement(node, "title").text = f"{label}: {value}" if label else value
    for node in svg.iter():
        if node is not svg:
            # ids of legends stand in every chart
            node.attrib.pop("id", None)
    svg.set("role", "img")
    svg.set("aria-label", printable(title))
    figure.append(svg)
    return figure
