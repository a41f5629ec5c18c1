"""What a channel may do instead of answering as it should."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """How the answer goes wrong."""

    STATUS = "status"
    SILENCE = "silence"
    SLOW_HEADERS = "slow_headers"
    SLOW_BODY = "slow_body"
    RESET = "reset"
    NOT_OK = "not_ok"
    GARBAGE = "garbage"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One way to fail.

    Attributes:
        taken: Whether the message counts as taken although its sender does not hear so.
        seconds: How long silence or slowness lasts; it ends with the sink as well.
        code: The ``error`` of an ``ok: false``.
    """

    kind: FaultKind
    taken: bool = False
    status: int = 0
    retry_after: str = ""
    location: str = ""
    seconds: float = 0.0
    code: str = ""

    @classmethod
    def rate_limited(cls, retry_after: float | str = 2) -> Fault:
        """429 with Retry-After: seconds, or the text of an HTTP date."""
        return cls(kind=FaultKind.STATUS, status=429, retry_after=str(retry_after))

    @classmethod
    def status_of(cls, status: int, retry_after: str = "") -> Fault:
        """Any status, such as 500, 503, 401 or 410."""
        return cls(kind=FaultKind.STATUS, status=status, retry_after=retry_after)

    @classmethod
    def redirect(cls, location: str) -> Fault:
        """302 to another address."""
        return cls(kind=FaultKind.STATUS, status=302, location=location)

    @classmethod
    def silence(cls, seconds: float = 60.0, *, taken: bool = False) -> Fault:
        """No answer at all: a time-out."""
        return cls(kind=FaultKind.SILENCE, seconds=seconds, taken=taken)

    @classmethod
    def slow_body(cls, seconds: float = 60.0, *, taken: bool = False) -> Fault:
        """A good status, then a byte now and then."""
        return cls(kind=FaultKind.SLOW_BODY, seconds=seconds, taken=taken)

    @classmethod
    def slow_headers(cls, seconds: float = 60.0) -> Fault:
        """A header's bytes, one now and then."""
        return cls(kind=FaultKind.SLOW_HEADERS, seconds=seconds)

    @classmethod
    def reset(cls, *, taken: bool = False) -> Fault:
        """The connection is reset, before or (``taken``) after the message was taken."""
        return cls(kind=FaultKind.RESET, taken=taken)

    @classmethod
    def not_ok(cls, code: str = "internal_error") -> Fault:
        """200 with ``ok: false``, or what the channel says instead of that."""
        return cls(kind=FaultKind.NOT_OK, code=code)

    @classmethod
    def garbage(cls) -> Fault:
        """200 with a page of HTML, as from a proxy on the way."""
        return cls(kind=FaultKind.GARBAGE)
