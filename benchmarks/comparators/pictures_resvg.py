"""A distribution as PNG the way ``draw_pictures`` does it."""

from guiderail.model.message import Distribution
from guiderail.services import drawing


def draw(labels, baseline, current):
    """Return a PNG picture."""
    one = Distribution(feature="income", labels=labels, baseline=baseline, current=current)
    (picture,) = drawing.draw([one], {}, show_values=True)
    return picture.png
