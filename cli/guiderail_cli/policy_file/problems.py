"""What is wrong with a policy file: where, what, and what to do about it."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Level(StrEnum):
    """Whether a problem makes the file unusable."""

    ERROR = "error"
    WARNING = "warning"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One problem; line and column count from 1, ``field`` is the path in the file."""

    level: Level
    file: str
    line: int
    column: int
    field: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        """One line: place, level, field, what is wrong, what to do."""
        where = f"{self.file}:{self.line}:{self.column}: {self.level.value}: "
        field = f"{self.field}: " if self.field else ""
        return f"{where}{field}{self.message}" + (f". {self.remedy}" if self.remedy else "")
