"""A distribution as PNG by matplotlib."""

import io

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter


def draw(labels, baseline, current):
    """Return a PNG picture."""
    figure = Figure(figsize=(6, 3), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    places = range(len(labels))
    style = {"color": "white", "edgecolor": "#5c4a32", "hatch": "///"}
    axes.bar([at - 0.2 for at in places], baseline, 0.4, label="baseline", **style)
    axes.bar([at + 0.2 for at in places], current, 0.4, label="current", color="#0b5fa5")
    axes.set_xticks(list(places), labels)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_title("income", loc="left")
    axes.legend(frameon=False, ncols=2)
    axes.spines[["top", "right"]].set_visible(False)
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()
