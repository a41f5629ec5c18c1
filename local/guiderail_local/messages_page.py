"""One local page with every message that arrived, as its reader would see it, or near to that.

Everything shown came out of the stack, so it is escaped here; only the HTML of mail is shown as it is,
in a frame that runs no script. A link in it may be followed: the confirmation page opens in a new tab.
"""

from __future__ import annotations

import json
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Card = Mapping[str, Any]

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881 }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 1rem }
article { border: 1px solid var(--line); border-radius: 8px; margin: 1rem 0; padding: .5rem 1rem 1rem }
h2 { font-size: 1rem; margin: .4rem 0; overflow-wrap: anywhere }
h2 small { font-weight: normal; opacity: .7 }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--soft); padding: .6rem; margin: .4rem 0 }
iframe { width: 100%; height: 36rem; border: 1px solid var(--line); background: #fff }
img { max-width: 100% } table { border-collapse: collapse } td, th { border: 1px solid var(--line);
padding: .15rem .5rem; text-align: left; vertical-align: top }
.button { display: inline-block; border: 1px solid var(--line); border-radius: 4px; padding: .1rem .6rem;
margin: .15rem } .soft { opacity: .75; font-size: .9em } nav a { margin-right: .8rem }
"""
_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'; "
    "form-action 'none'"
)
_MRKDWN_LINK = re.compile(r"&lt;(https?://(?:(?!&gt;)[^|\s])+)\|((?:(?!&gt;).)*)&gt;")
_IN_THE_FRAME = '<base target="_blank">'


@dataclass(frozen=True)
class Arrived:
    """A message that arrived, with what makes it readable.

    Attributes:
        channel: Name of the channel's kind.
        note: Where it went, or what the receiver made of it.
        text: Plain text of it.
        html: HTML of it, as a mail program shows it.
        content: The JSON that was posted.
        pictures: PNG pictures by name (of mail: their Content-ID).
    """

    channel: str
    title: str
    note: str = ""
    text: str = ""
    html: str = ""
    content: Any = None
    pictures: Mapping[str, bytes] = field(default_factory=dict)


def page(arrived: Sequence[Arrived]) -> str:
    """The page as HTML."""
    by_channel: dict[str, list[Arrived]] = {}
    for one in arrived:
        by_channel.setdefault(one.channel, []).append(one)
    contents = " ".join(
        f'<a href="#{escape(name)}">{escape(name)} ({len(ones)})</a>'
        for name, ones in by_channel.items()
    )
    sections = "".join(
        f'<section id="{escape(name)}">{"".join(map(_article, ones))}</section>'
        for name, ones in by_channel.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Messages of the demo</title><style>{_STYLE}</style></head><body>"
        f"<h1>Messages of the demo</h1><nav>{contents or 'None arrived.'}</nav>{sections}"
        "</body></html>"
    )


@contextmanager
def served(arrived: Sequence[Arrived]) -> Iterator[str]:
    """Serve the page on 127.0.0.1, on a free port, as long as the context lasts; yields its URL."""
    body = page(arrived).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            there = self.path == "/"
            self.send_response(200 if there else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Security-Policy", _POLICY)
            self.send_header("Content-Length", str(len(body) if there else 0))
            self.end_headers()
            self.wfile.write(body if there else b"")

        def log_message(self, *_: object) -> None:
            """The demo's output is for the demo."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


def _article(one: Arrived) -> str:
    return (
        f"<article><h2>{escape(one.title)} <small>{escape(one.channel)}"
        f"{' · ' + escape(one.note) if one.note else ''}</small></h2>{''.join(_body(one))}</article>"
    )


def _body(one: Arrived) -> Iterator[str]:
    if one.html:
        yield _frame(one.html, one.pictures)
        if one.text:
            yield f"<details><summary>its plain text</summary><pre>{escape(one.text)}</pre></details>"
        return
    if one.text:
        yield f"<pre>{escape(one.text)}</pre>"
    if one.content is not None:
        readable = "".join(_readable(one.content))
        raw = f"<pre>{escape(json.dumps(one.content, indent=2, ensure_ascii=False))}</pre>"
        yield f"{readable}<details><summary>as posted</summary>{raw}</details>" if readable else raw
    for name, png in one.pictures.items():
        yield f'<p><img alt="{escape(name)}" src="{_data_uri(png)}"></p>'


def _frame(html: str, pictures: Mapping[str, bytes]) -> str:
    for name, png in pictures.items():
        html = html.replace(f"cid:{name}", _data_uri(png))
    # after <head>, for what stands before the doctype makes the browser lay it out as in 1999
    html = html.replace("<head>", f"<head>{_IN_THE_FRAME}", 1)
    # no script, no form, nothing of this page's origin
    allowed = "allow-popups allow-popups-to-escape-sandbox"
    return f'<iframe sandbox="{allowed}" srcdoc="{escape(html)}"></iframe>'


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode()}"


def _readable(content: Any) -> Iterator[str]:
    """A posted JSON as near to what people see as a few lines get; nothing if it is not for people."""
    if not isinstance(content, dict):
        return
    for block in content.get("blocks") or ():
        yield _slack_block(block)
    for attachment in content.get("attachments") or ():
        card = attachment.get("content") if isinstance(attachment, dict) else None
        if isinstance(card, dict) and card.get("type") == "AdaptiveCard":
            yield from map(_card_element, card.get("body", ()))
            yield _buttons(card.get("actions", ()), "title")


def _slack_block(block: Card) -> str:
    kind = block.get("type")
    if kind == "header":
        return f"<h3>{escape(_slack_text(block.get('text')))}</h3>"
    if kind == "divider":
        return "<hr>"
    if kind in ("section", "context"):
        texts = [block.get("text"), *block.get("fields", ()), *block.get("elements", ())]
        lines = "<br>".join(_mrkdwn(_slack_text(text)) for text in texts if text)
        return f'<p class="{"soft" if kind == "context" else ""}">{lines}</p>'
    if kind == "actions":
        return _buttons(block.get("elements", ()), "text")
    if kind == "table":
        return _table([[_slack_text(cell) for cell in row] for row in block.get("rows", ())])
    return f"<pre>{escape(json.dumps(block, indent=1, ensure_ascii=False))}</pre>"


def _slack_text(text: Any) -> str:
    return str(text.get("text") or text.get("alt_text") or "") if isinstance(text, dict) else ""


def _mrkdwn(text: str) -> str:
    # what it is given is escaped for Slack already: &lt; would be shown as it is written
    shown = escape(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    shown = _MRKDWN_LINK.sub(r'<a href="\1" target="_blank" rel="noreferrer">\2</a>', shown)
    shown = re.sub(r"\*([^*\n]+)\*", r"<b>\1</b>", shown)
    return re.sub(r"`([^`\n]+)`", r"<code>\1</code>", shown).replace("\n", "<br>")


_CARD_ELEMENTS: dict[str, Callable[[Card], str]] = {
    "TextBlock": lambda e: f"<p>{escape(str(e.get('text', '')))}</p>",
    "RichTextBlock": lambda e: f"<p>{escape(_runs(e))}</p>",
    "FactSet": lambda e: _table([[f["title"], f["value"]] for f in e.get("facts", ())]),
    "Table": lambda e: _table(
        [
            [" ".join(_card_texts(cell.get("items", ()))) for cell in row.get("cells", ())]
            for row in e.get("rows", ())
        ]
    ),
    "Container": lambda e: "".join(map(_card_element, e.get("items", ()))),
    "ColumnSet": lambda e: "".join(map(_card_element, e.get("columns", ()))),
    "Column": lambda e: "".join(map(_card_element, e.get("items", ()))),
    "ActionSet": lambda e: _buttons(e.get("actions", ()), "title"),
}


def _card_element(element: Card) -> str:
    shown = _CARD_ELEMENTS.get(str(element.get("type")))
    if shown is None:
        return f"<pre>{escape(json.dumps(element, indent=1, ensure_ascii=False))}</pre>"
    return shown(element)


def _card_texts(elements: Sequence[Card]) -> Iterator[str]:
    for element in elements:
        yield str(element.get("text") or _runs(element))


def _runs(element: Card) -> str:
    return "".join(
        str(run.get("text", "")) if isinstance(run, dict) else str(run)
        for run in element.get("inlines", ())
    )


def _buttons(elements: Sequence[Card], label: str) -> str:
    made = []
    for element in elements:
        text = element.get(label)
        said = escape(_slack_text(text) if isinstance(text, dict) else str(text or ""))
        url = str(element.get("url") or "")
        if url.startswith(("http://", "https://")):
            said = f'<a href="{escape(url)}" target="_blank" rel="noreferrer">{said}</a>'
        made.append(f'<span class="button">{said}</span>')
    return f"<p>{''.join(made)}</p>" if made else ""


def _table(rows: Sequence[Sequence[object]]) -> str:
    cells = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in rows)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>" if rows else ""
