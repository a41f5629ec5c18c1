"""Golden files: what each channel makes of each example notification, compared to the last character.

``GUIDERAIL_REWRITE_GOLDEN=1 pytest tests/unit/rendering`` writes them anew. Read each of them afterwards as
the person would who gets it: `git diff tests/unit/rendering/golden`.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent / "golden"


def compare(channel: str, file: str, text: str) -> None:
    """Compare a rendering with ``golden/<channel>/<file>``, or write it where that is asked for."""
    path = FOLDER / channel / file
    if os.environ.get("GUIDERAIL_REWRITE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    assert path.is_file(), f"{path} is missing: GUIDERAIL_REWRITE_GOLDEN=1 writes it"
    # bytes: universal newlines would hide a carriage return
    assert text == path.read_bytes().decode(), (
        f"{path} differs: GUIDERAIL_REWRITE_GOLDEN=1 rewrites it"
    )
