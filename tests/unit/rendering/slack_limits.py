"""Slack's documented limits of a message in Block Kit, and what stands in one.

Sources: docs.slack.dev, "Block Kit" reference: blocks (at most 50), header, section, context, actions, button,
text object; "Truncating really long messages" (text). Of the sum of all blocks: slackapi/bolt-js issue 2509.
Only the kinds of blocks that we send are known; any other is a violation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

MOST_BLOCKS = 50
MOST_CHARACTERS = 13_172
"""From here on Slack answered ``msg_blocks_too_long``."""

_SECTION = {"type", "text", "fields", "block_id", "accessory", "expand"}


def units(text: str) -> int:
    """Length in UTF-16 units, as JavaScript counts: never less than Slack's count."""
    return len(text.encode("utf-16-le")) // 2


def violations(text: str, blocks: list[dict[str, Any]]) -> list[str]:
    """What Slack would refuse or cut, one a line; empty if all is well."""
    found = list(_of_text("text", text, 40_000))
    if not 1 <= len(blocks) <= MOST_BLOCKS:
        found.append(f"{len(blocks)} blocks")
    size = units(json.dumps(blocks, ensure_ascii=False, separators=(",", ":")))
    if size >= MOST_CHARACTERS:
        found.append(f"{size} characters in all blocks")
    for number, block in enumerate(blocks):
        found += [f"block {number}: {said}" for said in _of_block(block)]
    return found


def _of_block(block: dict[str, Any]) -> Iterator[str]:
    match block["type"]:
        case "header":
            if block["text"]["type"] != "plain_text":
                yield "a header is plain text"
            yield from _of_object(block["text"], 150)
        case "section":
            if extra := set(block) - _SECTION:
                yield f"unknown {extra}"
            if "text" not in block and not block.get("fields"):
                yield "neither text nor fields"
            if "text" in block:
                yield from _of_object(block["text"], 3000)
            fields = block.get("fields", [None])
            if not 1 <= len(fields) <= 10:
                yield f"{len(fields)} fields"
            for field in block.get("fields", []):
                yield from _of_object(field, 2000)
        case "context":
            if not 1 <= len(block["elements"]) <= 10:
                yield f"{len(block['elements'])} elements"
            for element in block["elements"]:
                yield from _of_object(element, 3000)
        case "actions":
            yield from _of_actions(block["elements"])
        case "divider":
            pass
        case other:
            yield f"unknown type {other}"


def _of_actions(elements: list[dict[str, Any]]) -> Iterator[str]:
    if not 1 <= len(elements) <= 25:
        yield f"{len(elements)} elements"
    ids = [element["action_id"] for element in elements]
    if len(set(ids)) < len(ids):
        yield "action ids repeat"
    for button in elements:
        if button["type"] != "button":
            yield f"unknown element {button['type']}"
        if button["text"]["type"] != "plain_text":
            yield "a button's text is plain text"
        if button.get("style", "primary") not in ("primary", "danger"):
            yield f"style {button['style']}"
        yield from _of_object(button["text"], 75)
        if "confirm" in button:
            yield from _of_confirmation(button["confirm"])
        yield from _of_text("action_id", button["action_id"], 255)
        yield from _of_text("value", button.get("value", "-"), 2000)
        yield from _of_text("url", button.get("url", "-"), 3000)


def _of_confirmation(asked: dict[str, Any]) -> Iterator[str]:
    if set(asked) - {"style"} != {"title", "text", "confirm", "deny"}:
        yield f"a confirmation of {sorted(asked)}"
    for part, most in (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30)):
        if asked[part]["type"] != "plain_text":
            yield f"{part} of a confirmation is plain text"
        yield from _of_object(asked[part], most)


def _of_object(text: dict[str, Any], most: int) -> Iterator[str]:
    allowed = {"plain_text": {"type", "text", "emoji"}, "mrkdwn": {"type", "text", "verbatim"}}
    if set(text) - allowed.get(text["type"], set()):
        yield f"{sorted(text)} of {text['type']}"
    if text["type"] == "mrkdwn" and not text.get("verbatim"):
        yield "mrkdwn in which Slack looks for links and mentions by itself"
    if text["type"] == "plain_text" and text.get("emoji", True):
        yield "plain text in which Slack looks for emoji"
    yield from _of_text(text["type"], text["text"], most)


def _of_text(name: str, text: str, most: int) -> Iterator[str]:
    if not text:
        yield f"{name} is empty"
    if units(text) > most:
        yield f"{name} has {units(text)} characters, of {most}"


def texts(value: Any, kind: str) -> Iterator[str]:
    """The texts of all text objects of a kind (``plain_text`` or ``mrkdwn``) in blocks."""
    if isinstance(value, dict):
        if value.get("type") == kind:
            yield value["text"]
        for inner in value.values():
            yield from texts(inner, kind)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner, kind)
