"""What globs have in common, as far as it is certain."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from guiderail.services.judging import Alternatives, is_glob

_TOKEN = re.compile(r"\[!?+\]?+[^]]*+\]|.", re.S)


def matches_any(pattern: str, names: Iterable[str]) -> bool:
    """Whether a glob or literal matches one of the names."""
    return any(_known(pattern).match(name) for name in names)


@lru_cache(maxsize=4096)
def _known(pattern: str) -> Alternatives:
    return Alternatives((pattern,))


def contains(wide: str, narrow: str) -> bool:
    """Whether everything that ``narrow`` matches is certainly matched by ``wide``."""
    if wide == narrow or not is_glob(narrow):
        return wide == narrow or _known(wide).match(narrow)
    if not is_glob(wide):
        return False
    # the wide glob read over the narrow one's tokens: only * takes a *, and only * or ? take a ?
    reached = {0}
    tokens, over = _TOKEN.findall(wide), _TOKEN.findall(narrow)
    for token in tokens:
        if token == "*":
            reached = set(range(min(reached), len(over) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(over) and _takes(token, over[at])}
        if not reached:
            return False
    return len(over) in reached


def _takes(token: str, other: str) -> bool:
    if token == "?":
        return other != "*"
    return token == other or (
        token.startswith("[") and len(other) == 1 and _known(token).match(other)
    )


def are_apart(one: str, other: str) -> bool:
    """Whether certainly no text is matched by both."""
    if not is_glob(one):
        return not matches_any(other, (one,))
    if not is_glob(other):
        return not matches_any(one, (other,))
    heads, tails = zip(*((_fixed(glob, 0), _fixed(glob, -1)) for glob in (one, other)), strict=True)
    begin_alike = heads[0].startswith(heads[1]) or heads[1].startswith(heads[0])
    end_alike = tails[0].endswith(tails[1]) or tails[1].endswith(tails[0])
    return not (begin_alike and end_alike)


def _fixed(glob: str, end: int) -> str:
    """The literal text at the beginning (0) or end (-1) of a glob."""
    return re.split(r"\[!?+\]?+[^]]*+\]|[*?[]", glob)[end]
