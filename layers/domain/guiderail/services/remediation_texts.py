"""Parameters of actions, filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_FIELD = re.compile(r"\{(\w+)\}")


def filled(value: Any, facts: Mapping[str, str]) -> Any:
    """A parameter with ``{fields}`` filled in, texts inside lists and mappings too; unknown ones stay."""
    if isinstance(value, str):
        return _FIELD.sub(lambda field: facts.get(field[1], field[0]), value)
    if isinstance(value, Mapping):
        return {key: filled(inner, facts) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [filled(inner, facts) for inner in value]
    return value
