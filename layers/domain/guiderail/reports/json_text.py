"""Decoding of report files: fast when they keep to JSON, tolerant where real files do not."""

from __future__ import annotations

import codecs
import math
import re
from typing import TypeVar

import msgspec

from guiderail.errors import MalformedReportError

T = TypeVar("T")

Number = float | str | None
"""A number as reports write it: JSON number, null, or the strings NaN, Infinity, -Infinity."""


def number(value: object) -> float | None:
    """Return the number that a report's field holds; None for null, NaN and anything else."""
    if type(value) is float:
        return None if value != value else value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        read = float(value)
    except (ValueError, OverflowError):
        return None
    return None if math.isnan(read) else read


def decode(content: bytes, decoder: msgspec.json.Decoder[T], file: str) -> T:
    """Decode a report file into the decoder's type.

    The typed decoder skips what nobody asks for (the KLL sketches are most of a statistics file)
    without building it. Files with bare NaN or Infinity, which JSON forbids and reports contain, or
    with a byte-order mark, are mended first, which is slower.

    Raises:
        MalformedReportError: The content is not JSON or has another shape; names file and place.
    """
    if not content.isascii():
        # the typed decoder does not look at the encoding of what it skips
        try:
            content.decode()
        except UnicodeDecodeError as exc:
            raise _malformed(file, exc) from exc
    try:
        return decoder.decode(content)
    except msgspec.ValidationError as exc:
        # an overflowing number such as 1e999 is the one shape error that can be mended
        if "out of range" not in str(exc):
            raise _malformed(file, exc) from exc
        strict_error: Exception = exc
    except (ValueError, RecursionError) as exc:
        strict_error = exc
    try:
        return decoder.decode(_mended(content))
    except msgspec.ValidationError as exc:
        raise _malformed(file, exc) from exc
    except (ValueError, RecursionError):
        raise _malformed(file, strict_error) from strict_error


_STRINGS_AND_ODD_NUMBERS = re.compile(
    rb'"[^"\\]*(?:\\.[^"\\]*)*"'  # passed over: what looks like a number in text is none
    rb"|-?(?:NaN|Infinity)\b"
    rb"|(?<![\w.+-])-?(?:0|[1-9]\d*)(?:\.\d+)?[eE]\+?\d{3,}"
    rb"|(?<![\w.+-])-?[1-9]\d{18,}(?![\d.eE])",
    re.DOTALL,
)


def _mended(content: bytes) -> bytes:
    """Put the numbers that JSON lacks, or that no float holds, into quotes; drop a byte-order mark.

    Works on the bytes: Python objects of a large file would not fit into a function's memory.
    """
    return _STRINGS_AND_ODD_NUMBERS.sub(_quoted, content.removeprefix(codecs.BOM_UTF8))


def _quoted(token: re.Match[bytes]) -> bytes:
    return token[0] if token[0].startswith(b'"') else b'"' + token[0] + b'"'


def _malformed(file: str, exc: Exception) -> MalformedReportError:
    return MalformedReportError(
        f"{file}: {str(exc) or type(exc).__name__}",
        remedy="Look at the file: it is damaged or not a report of this kind",
    )
