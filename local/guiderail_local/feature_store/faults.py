"""What the store may do instead of answering as it should."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """How the answer goes wrong."""

    STATUS = "status"
    RESET = "reset"
    UNPROCESSED = "unprocessed"
    ENTRY_ERRORS = "entry_errors"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One way to fail.

    Attributes:
        taken: Whether what was written stays although its sender does not hear so.
        status: HTTP status of the answer.
        code: The error's code, of the whole answer or of its entries.
        entries: How many entries of a batch it concerns, the last ones; all if there are fewer.
    """

    kind: FaultKind
    taken: bool = False
    status: int = 0
    code: str = ""
    message: str = ""
    entries: int = 0

    @classmethod
    def throttled(cls) -> Fault:
        """400 ThrottlingException, as the front end says when an account calls too often."""
        return cls.refused(400, "ThrottlingException", "Rate exceeded")

    @classmethod
    def denied(cls) -> Fault:
        """403 AccessForbidden: the service's own, for a role that may not."""
        return cls.refused(403, "AccessForbidden", "You do not have permission to do this.")

    @classmethod
    def unknown_operation(cls) -> Fault:
        """404 UnknownOperationException: a region, or an emulator, that lacks the operation."""
        return cls.refused(404, "UnknownOperationException")

    @classmethod
    def unavailable(cls, *, taken: bool = False) -> Fault:
        """503 ServiceUnavailable, before or (``taken``) after the request took effect."""
        return cls(
            kind=FaultKind.STATUS,
            taken=taken,
            status=503,
            code="ServiceUnavailable",
            message="The service is currently unavailable.",
        )

    @classmethod
    def refused(cls, status: int, code: str, message: str = "") -> Fault:
        """Any other error, such as 500 InternalFailure or 403 AccessDeniedException."""
        return cls(kind=FaultKind.STATUS, status=status, code=code, message=message)

    @classmethod
    def reset(cls, *, taken: bool = False) -> Fault:
        """The connection is reset, before or (``taken``) after the request took effect."""
        return cls(kind=FaultKind.RESET, taken=taken)

    @classmethod
    def unprocessed(cls, entries: int) -> Fault:
        """200 of BatchWriteRecord whose last ``entries`` entries are left to be sent again."""
        return cls(kind=FaultKind.UNPROCESSED, taken=True, entries=entries)

    @classmethod
    def entry_errors(
        cls, entries: int, code: str = "InternalFailure", message: str = "An internal failure."
    ) -> Fault:
        """200 of BatchWriteRecord whose last ``entries`` entries failed."""
        return cls(
            kind=FaultKind.ENTRY_ERRORS, taken=True, entries=entries, code=code, message=message
        )


@dataclass
class Planned:
    """A fault, how often it is still to happen (None: always), and to whose requests."""

    fault: Fault
    times: int | None
    applies: Callable[[bytes], bool]

    def happens(self, content: bytes) -> bool:
        """Whether a request with this content meets it; counted if so."""
        if self.times == 0 or not self.applies(content):
            return False
        if self.times is not None:
            self.times -= 1
        return True
