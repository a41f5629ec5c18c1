"""A way from containers to servers that listen on this computer's loopback alone."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

_CHUNK = 1 << 16


@contextmanager
def forwarded(urls: Sequence[str], address: str) -> Iterator[dict[str, str]]:
    """Make servers of the loopback reachable at another address of this computer.

    Args:
        urls: Where they listen, such as `http://127.0.0.1:4566`.
        address: One of this computer's own addresses; nothing is opened on any other.

    Yields:
        Each URL with the one that leads to it, as long as the context lasts.

    Raises:
        OSError: The address is not one of this computer.
    """
    with ExitStack() as running:
        ways = {}
        for url in urls:
            server = running.enter_context(_Forwarder((address, 0), urlsplit(url).port or 80))
            thread = threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
            )
            thread.start()
            running.callback(thread.join)
            running.callback(server.shutdown)
            ways[url] = f"http://{address}:{server.server_address[1]}"
        yield ways


class _Forwarder(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, listen: tuple[str, int], port: int) -> None:
        self.port = port
        super().__init__(listen, _Connection)


class _Connection(socketserver.BaseRequestHandler):
    server: _Forwarder
    request: socket.socket

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.port)) as upstream:
            back = threading.Thread(target=_copy, args=(upstream, self.request), daemon=True)
            back.start()
            _copy(self.request, upstream)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Passes on what comes until it ends, and says so to the other side."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(_CHUNK):
            target.sendall(chunk)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
