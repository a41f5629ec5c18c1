"""Names from data made harmless: nothing invisible, no markup, nothing that a mail client makes a link of."""

from __future__ import annotations

import html
import re
import unicodedata
from urllib.parse import urlsplit

_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
"""Characters that Unicode calls letters or marks and that nobody sees."""

_TIGHT_COLON = re.compile(r"[:\uff1a]\S")
_COLON = re.compile(r"[:\uff1a](?=[/\\\uff0f]{2})")
_SCHEME = re.compile(
    r"(?i)(?<![a-z])(mailto|tel|sms|javascript|vbscript|data|file|callto|skype|msteams|slack)"
    r"[:\uff1a](?=\S)"
)
_UNC = re.compile(r"\\(?=\\)")
_WWW = re.compile(r"(?i)(www)\.(?=\w)")
_DOMAIN_DOT = re.compile(
    r"(?i)(?<=[^\W_])[.\u2024\u3002\uff0e\uff61](?=[^\W\d_]{2})"
    # endings of files that no domain has (https://data.iana.org/TLD/tlds-alpha-by-domain.txt)
    r"(?!(?:csv|gz|html|ipynb|json|jsonl|log|parquet|png|sql|tar|txt|xml|yaml|yml)\b)"
)
_ADDRESS_DOT = re.compile(r"(?<=\d)\.(?=\d{1,3}\.\d{1,3}\.\d)")

_URL = re.compile(r"https://[A-Za-z0-9.-]+(:[0-9]{1,5})?([/?#][!#-;=?-Z\[\]_a-z~]*)?")


def visible(text: str) -> str:
    """A text as one line of characters that are seen and stay in their order.

    Line breaks, other control characters and odd spaces become spaces. What has no width, turns the
    writing direction, or stands for nothing (Unicode categories Cf, Cn, Co, Cs) goes.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_seen, text))


def _seen(character: str) -> str:
    if " " <= character <= "~":
        return character
    category = unicodedata.category(character)
    if category in ("Cc", "Zs", "Zl", "Zp"):
        return " "
    # variation selectors choose between glyphs, and can carry hidden text
    invisible = category[0] == "C" or character in _BLANKS
    return "" if invisible or unicodedata.name(character, "").startswith("VARIATION") else character


def defanged(text: str) -> str:
    """A text as ``visible`` makes it in which nothing looks like an address.

    ``http://evil.example`` becomes ``http[:]//evil[.]example``, the way security people write such
    things: mail clients make links of anything that looks like a URL, a domain or an IP address.
    Numbers (``0.42``) and names of files (``statistics.json``) stay as they are.
    """
    line = visible(text)
    # most lines have none of it, and looking closely takes ten times as long
    if _TIGHT_COLON.search(line):
        line = _SCHEME.sub(r"\1[:]", _COLON.sub("[:]", line))
    if "\\\\" in line:
        line = _UNC.sub(r"[\\]", line)
    if "." in line or not line.isascii():
        line = _DOMAIN_DOT.sub("[.]", _WWW.sub(r"\1[.]", line))
        line = _ADDRESS_DOT.sub("[.]", line)
    return line


def html_text(text: str) -> str:
    """A text for HTML, in an element or a quoted attribute: ``defanged``, and without markup."""
    return html.escape(defanged(text), quote=True)


def safe_link(url: str) -> str:
    """The URL, if it is one that a reader may be led to; else an empty text.

    That is ``https``, a host in ASCII, no user name before it (``https://good@evil``), and no character
    that could end an attribute, a line or a markup link.
    """
    return url if _URL.fullmatch(url) else ""


def host_of(url: str) -> str:
    """The host that a safe link leads to."""
    return urlsplit(url).netloc


def copyable(command: str) -> str:
    """A shell command as it is; empty if it holds what cannot be seen, which nobody should paste."""
    return command if visible(command) == command else ""


def clipped(text: str, most: int) -> str:
    """At most ``most`` characters; what was cut ends in three dots."""
    return text if len(text) <= most else text[: most - 3] + "..."


def clipped_bytes(text: str, most: int) -> str:
    """At most ``most`` bytes of UTF-8; what was cut ends in three dots."""
    raw = text.encode(errors="replace")
    if len(raw) <= most:
        return text
    return raw[: most - 3].decode(errors="ignore") + "..."
