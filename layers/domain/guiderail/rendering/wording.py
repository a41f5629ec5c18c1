"""Numbers and lines for people, whatever the channel; each channel escapes on top of it."""

from __future__ import annotations

SUBJECT_LIMIT = 99
"""Characters of a subject: SNS takes fewer than 100 of ASCII, without line breaks or control characters.

Source: Amazon SNS API reference, Publish, ``Subject``.
"""

_LONGEST_LINE = 1600
_LONGEST_NAME = 256


def figure(value: float | None, unit: str | None) -> str:
    """A number for people: percentages for fractions, whole columns, six significant digits."""
    if value is None:
        return "unknown"
    if unit == "fraction":
        return f"{value * 100:.6g}%"
    return f"{value:.6g}"


def counted(number: int, noun: str, many: str = "") -> str:
    """``1 error``, ``2 errors``; ``many`` for a noun that has another plural."""
    return f"{number} {noun if number == 1 else many or f'{noun}s'}"


def printable(line: str) -> str:
    """A line without control characters and of bounded length: names in reports are anybody's."""
    kept = line if line.isprintable() else "".join(c if c.isprintable() else " " for c in line)
    return cut(kept, _LONGEST_LINE)


def cut(text: str, most: int = _LONGEST_NAME) -> str:
    """A text of at most so many characters; one that was longer ends in dots on top of them."""
    return text if len(text) <= most else text[:most] + "..."


def subject_line(text: str) -> str:
    """A subject that SNS takes: ASCII, no line break, fewer than 100 characters."""
    line = f"[Guiderail] {text}"
    ascii_text = "".join(c if " " <= c <= "~" else "?" for c in line)
    return (
        ascii_text if len(ascii_text) <= SUBJECT_LIMIT else ascii_text[: SUBJECT_LIMIT - 3] + "..."
    )
