"""The same SVG as ``draw_pictures`` makes, turned into PNG by CairoSVG."""

import cairosvg
from guiderail.model.message import Distribution
from guiderail.services import drawing


def draw(labels, baseline, current):
    """Return a PNG picture."""
    one = Distribution(feature="income", labels=labels, baseline=baseline, current=current)
    (chart,) = drawing.drawings([one], {}, show_values=True)
    return cairosvg.svg2png(bytestring=chart.svg.encode(), scale=2)
