"""A distribution as PNG by Vega-Lite in vl-convert."""

import vl_convert


def draw(labels, baseline, current):
    """Return a PNG picture."""
    rows = [
        {"bucket": label, "side": side, "share": share}
        for side, shares in (("baseline", baseline), ("current", current))
        for label, share in zip(labels, shares, strict=True)
    ]
    legend = {"orient": "top", "title": None}
    colors = {"range": ["#c9bfae", "#0b5fa5"]}
    chart = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "white",
        "width": 530,
        "height": 190,
        "title": {"text": "income", "anchor": "start"},
        "data": {"values": rows},
        "mark": {"type": "bar", "stroke": "#5c4a32"},
        "encoding": {
            "x": {"field": "bucket", "sort": None, "title": None, "axis": {"labelAngle": 0}},
            "xOffset": {"field": "side"},
            "y": {"field": "share", "type": "quantitative", "title": None, "axis": {"format": "%"}},
            "color": {"field": "side", "scale": colors, "legend": legend},
        },
        "config": {
            "axis": {"labelFontSize": 16},
            "legend": {"labelFontSize": 16},
            "title": {"fontSize": 19},
        },
    }
    return vl_convert.vegalite_to_png(chart, scale=2)
