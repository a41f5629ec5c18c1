"""One HTTP POST to a channel, under one deadline, and what its answer means.

No redirect is followed, no proxy of the environment is used, nothing is tried again, and no connection
is kept: between two invocations a function is frozen, and a connection from before would be dead.
The standard library's client is used because its reads can be put under a deadline, headers included.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from time import monotonic
from typing import Any, BinaryIO

import msgspec

from guiderail.adapters.web_address import WebAddress, is_forbidden, web_address
from guiderail.errors import ChannelFailedError, ChannelRefusedError, GuiderailError

CONNECT_SECONDS = 3.0
TOTAL_SECONDS = 10.0
LARGEST_ANSWER = 64 * 1024
"""Bytes of an answer that are read."""

LONGEST_WAIT = 6 * 3600.0
"""Seconds of a Retry-After that are believed."""

_PASSING = frozenset({408, 425, 429})
# the address is the password: one that is gone may have been replaced in the secret
_MAY_BE_STALE = frozenset({401, 403, 404, 410})


class Answer(msgspec.Struct, frozen=True):
    """What a channel answered; header names are in lower case."""

    host: str
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text, whatever bytes it has."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            ChannelFailedError: It is something else; the channel may have taken the message.
        """
        try:
            return msgspec.json.decode(self.body, type=dict[str, Any])
        except (msgspec.MsgspecError, ValueError, RecursionError):
            pass
        raise ChannelFailedError(
            f"{self.host} answered {self.status} with something that is not its JSON",
            status=self.status,
        )


def post(url: str, body: bytes, headers: Mapping[str, str], seconds: float | None = None) -> Answer:
    """POST and return the answer if it is 2xx.

    Raises:
        ChannelRefusedError: The address is not one to send to, or the answer is 3xx or 4xx.
        ChannelFailedError: 408, 425, 429, 5xx, or no complete answer in time.
    """
    answer = exchange(url, body, headers, seconds)
    check(answer)
    return answer


def exchange(
    url: str, body: bytes, headers: Mapping[str, str], seconds: float | None = None
) -> Answer:
    """POST and return the answer, whatever its status.

    Raises:
        ChannelRefusedError: The address is not one to send to.
        ChannelFailedError: There was no complete answer in time.
    """
    try:
        address = web_address(url)
    except ValueError as error:
        wrong = str(error)
    else:
        if seconds is None:
            seconds = TOTAL_SECONDS
        done = _exchange(address, body, headers, monotonic() + seconds)
        if isinstance(done, Answer):
            return done
        # outside any handler, so that no traceback shows an error that holds the URL
        raise done
    raise ChannelRefusedError(f"The channel's address cannot be used: {wrong}")


def check(answer: Answer, said: str = "") -> None:
    """Raise what an answer that is not 2xx means; ``said`` is what it says, without secrets."""
    status, host = answer.status, answer.host
    if 200 <= status < 300:
        return
    text = f"{host} answered {status}" + (f": {said}" if said else "")
    if status in _PASSING or status >= 500:
        raise ChannelFailedError(
            text, status=status, retry_after=retry_after(answer.headers.get("retry-after", ""))
        )
    if 300 <= status < 400:
        raise ChannelRefusedError(
            text, status=status, remedy="Put the address that it redirects to into the secret"
        )
    raise ChannelRefusedError(text, status=status, may_be_stale=status in _MAY_BE_STALE)


def retry_after(value: str, now: datetime | None = None) -> float | None:
    """Seconds to wait by a Retry-After header: seconds or an HTTP date (RFC 9110, 10.2.3).

    Between 0 and ``LONGEST_WAIT``; None where the header cannot be read.
    """
    value = value.strip()
    try:
        if value[:1].isdigit():
            seconds = float(value)
        else:
            at = parsedate_to_datetime(value)
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            seconds = (at - (now or datetime.now(UTC))).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    # max first: a NaN becomes 0
    return min(max(0.0, seconds), LONGEST_WAIT)


def _exchange(
    address: WebAddress, body: bytes, headers: Mapping[str, str], ends_at: float
) -> Answer | GuiderailError:
    """The answer, or the error that there was none."""
    host = address.host
    connection = _connection(address, min(CONNECT_SECONDS, max(0.1, ends_at - monotonic())))
    try:
        connection.connect()
        peer = str(connection.sock.getpeername()[0])
        if is_forbidden(peer):
            return ChannelRefusedError(f"{host} is an address of the cloud's own metadata service")
        connection.sock.settimeout(max(0.1, ends_at - monotonic()))
        named = {name.title(): value for name, value in headers.items()}
        ours = {"User-Agent": "guiderail", **named, "Connection": "close"}
        connection.request("POST", address.path, body, ours)
        answer = _Response(_Deadline(connection.sock, ends_at), method="POST")
        try:
            answer.begin()
            content = answer.read(LARGEST_ANSWER)
        finally:
            answer.close()
        received = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(host, answer.status, received, content)
    except TimeoutError:
        return ChannelFailedError(f"{host} did not answer in time")
    except ssl.SSLError as error:
        return ChannelFailedError(f"{host}: TLS failed: {error.reason or type(error).__name__}")
    except OSError as error:
        return ChannelFailedError(f"{host}: {error.strerror or type(error).__name__}")
    except http.client.HTTPException as error:
        return ChannelFailedError(f"{host}: the answer broke off ({type(error).__name__})")
    except ValueError:
        # http.client refuses line breaks and non-Latin letters in headers: those of a secret
        return ChannelRefusedError(
            f"The secret for {host} has characters that no HTTP header takes",
            remedy="Store it again without line breaks",
            may_be_stale=True,
        )
    finally:
        connection.close()


def _connection(address: WebAddress, seconds: float) -> http.client.HTTPConnection:
    if address.is_tls:
        return http.client.HTTPSConnection(
            address.host, address.port, timeout=seconds, context=_tls()
        )
    return http.client.HTTPConnection(address.host, address.port, timeout=seconds)


@cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class _Deadline(io.RawIOBase):
    """A socket's bytes until a moment: its own timeout alone would begin anew with every byte."""

    def __init__(self, sock: socket.socket, ends_at: float) -> None:
        self._socket = sock
        self._ends_at = ends_at

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._ends_at - monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._socket.recv_into(buffer)

    def makefile(self, mode: str) -> BinaryIO:
        """What http.client asks a socket for."""
        return io.BufferedReader(self)


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: _Deadline, method: str) -> None:
        super().__init__(sock, method=method)  # type: ignore[arg-type]
