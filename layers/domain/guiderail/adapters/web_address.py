"""Addresses that Guiderail sends to: what they must be, before and after their name is looked up."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

import msgspec

_LOOPBACK = ("127.0.0.1", "localhost")
# what a URL may be written in (RFC 3986); anything else could break out of the request line
_URL_CHARACTERS = re.compile(r"[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+")
# the metadata service by IPv6, which is not link-local: EC2 User Guide, "Instance metadata"
_METADATA = ipaddress.ip_network("fd00:ec2::/32")


class WebAddress(msgspec.Struct, frozen=True):
    """A URL taken apart; ``path`` has the query with it. Its repr shows the host only."""

    host: str
    port: int
    path: str
    is_tls: bool

    def __repr__(self) -> str:
        """Without the path: a webhook's path is its password."""
        return f"WebAddress({self.host})"


def web_address(url: str) -> WebAddress:
    """Take a URL apart: https, or http on this computer; without user, password or fragment.

    Raises:
        ValueError: It is not one that Guiderail sends to; the text says why without the URL.
    """
    if not _URL_CHARACTERS.fullmatch(url):
        raise ValueError("it is empty or has characters that no URL has")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("it is no URL") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise ValueError("it does not begin with https://")
    if not host:
        raise ValueError("it names no host")
    if "@" in parts.netloc:
        raise ValueError("it holds a user or password")
    if parts.fragment:
        raise ValueError("it holds a fragment (#)")
    if is_forbidden(host):
        raise ValueError("it is an address of the cloud's own metadata service")
    is_tls = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebAddress(host, port or (443 if is_tls else 80), path, is_tls)


def is_forbidden(host: str) -> bool:
    """Whether an IP address is link-local or that of a metadata service; names are not looked up."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped.is_link_local
    return address.is_link_local or (address.version == 6 and address in _METADATA)
