"""Decoding of report files: fast when they keep to JSON, tolerant where real files do not."""

from __future__ import annotations

import json
import math
from typing import TypeVar

import msgspec

from guiderail.errors import MalformedReportError

T = TypeVar("T")

Number = float | str | None
"""A number as reports write it: JSON number, null, or the strings NaN, Infinity, -Infinity."""


def number(value: object) -> float | None:
    """Return the number that a report's field holds; None for null, NaN and anything else."""
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
    with a byte-order mark, take the slower way through ``json``.

    Raises:
        MalformedReportError: The content is not JSON or has another shape; names file and place.
    """
    try:
        # the typed decoder does not look at the encoding of what it skips
        if not content.isascii():
            content.decode()
        return decoder.decode(content)
    except msgspec.ValidationError as exc:
        # an overflowing number such as 1e999 is the one shape error that json reads
        if "out of range" not in str(exc):
            raise _malformed(file, exc) from exc
        strict_error: Exception = exc
    except (ValueError, RecursionError) as exc:
        strict_error = exc
    try:
        return decoder.decode(_kept_to_json(content))
    except msgspec.ValidationError as exc:
        raise _malformed(file, exc) from exc
    except (ValueError, RecursionError, OverflowError):
        raise _malformed(file, strict_error) from strict_error


def _kept_to_json(content: bytes) -> bytes:
    """Write a file anew with text in place of the numbers that JSON lacks."""
    loaded = json.loads(
        content.decode("utf-8-sig"), parse_constant=str, parse_float=_float, parse_int=_integer
    )
    return msgspec.json.encode(loaded)


def _float(text: str) -> float | str:
    return value if math.isfinite(value := float(text)) else str(value)


def _integer(text: str) -> int | str:
    # beyond 64 bits it is no count of anything; as text it stays readable
    return int(text) if len(text) < 19 else text


def _malformed(file: str, exc: Exception) -> MalformedReportError:
    return MalformedReportError(
        f"{file}: {str(exc) or type(exc).__name__}",
        remedy="Look at the file: it is damaged or not a report of this kind",
    )
