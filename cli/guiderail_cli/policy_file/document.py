"""A YAML file as a tree of texts, each with its line and column.

PyYAML's event stream is kept and nothing above it: its constructors read ``on``, ``no``, ``08:00`` and
``0123`` as something else than what is written, let the last of two equal keys win, and forget positions.
Here every scalar stays text, and the field that it is for says what it means.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import msgspec
import yaml

from guiderail_cli.policy_file.problems import Level, Problem

LARGEST_FILE = 1024 * 1024
"""Bytes; a policy of a thousand rules takes a fifth of it."""

MOST_NODES = 200_000
"""Values in the file with every alias counted as often as it stands there."""

DEEPEST = 32
"""Levels of nesting; a policy needs about ten."""

Path: TypeAlias = tuple[str | int, ...]
Plain: TypeAlias = "str | None | list[Plain] | dict[str, Plain]"


class Node(msgspec.Struct):
    """A value: text (None where nothing stands), a list or a mapping, at its line and column from 1."""

    line: int
    column: int
    value: str | None | list[Node] | dict[str, tuple[Node, Node]]
    size: int = 1

    def plain(self) -> Plain:
        """The value without positions."""
        if isinstance(self.value, dict):
            return {key: value.plain() for key, (_, value) in self.value.items()}
        if isinstance(self.value, list):
            return [item.plain() for item in self.value]
        return self.value

    def walk(self, path: Path) -> Iterator[tuple[Node, Node]]:
        """Yield (key, value) from here down a path, as far as it leads; a list item is its own key."""
        here = self
        yield here, here
        for step in path:
            if isinstance(here.value, dict) and step in here.value:
                key, here = here.value[str(step)]
                yield key, here
            elif isinstance(step, int) and not isinstance(here.value, list):
                continue  # one value where a list may stand too
            elif isinstance(here.value, list) and isinstance(step, int) and step < len(here.value):
                here = here.value[step]
                yield here, here
            else:
                return

    def place(self, path: Path, *, of_key: bool = False) -> tuple[int, int]:
        """Line and column of what a path leads to, or of the nearest thing above it."""
        *_, (key, value) = self.walk(path)
        found = key if of_key else value
        return found.line, found.column


def field_name(path: Path) -> str:
    """A path as people write it: ``rules[2].set.threshold``."""
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return name.removeprefix(".")


class _Open(msgspec.Struct):
    """A collection whose end has not come; ``key`` waits for its value."""

    node: Node
    anchor: str | None
    key: Node | None = None


class UnusableFileError(Exception):
    """Nothing can be said of the file but its problems."""

    def __init__(self, problem: Problem) -> None:
        """Keep the problem."""
        super().__init__(str(problem))
        self.problem = problem


def read_document(text: str, file: str) -> tuple[Node, list[Problem]]:
    """Read a YAML file; the problems are keys that stand twice (the first one is kept).

    Raises:
        UnusableFileError: It is too large, no YAML, or uses what a policy does not need: several
            documents, tags, merge keys, aliases of what contains them.
    """
    return _Reader(file).read(text)


class _Reader:
    def __init__(self, file: str) -> None:
        self._file = file
        self._problems: list[Problem] = []
        self._open: list[_Open] = []
        self._anchors: dict[str, Node] = {}
        self._nodes = 0
        self._root: Node | None = None

    def read(self, text: str) -> tuple[Node, list[Problem]]:
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > LARGEST_FILE:
            raise self._stop(
                1,
                1,
                f"the file has {size} bytes, the limit is {LARGEST_FILE}",
                "Use globs instead of one rule per name",
            )
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        try:
            for event in yaml.parse(text, Loader=loader):
                self._take(event)
        except yaml.MarkedYAMLError as exc:
            raise self._syntax_error(exc, text) from exc
        except yaml.reader.ReaderError as exc:
            raise self._unprintable(text, exc) from exc
        except UnicodeError as exc:
            raise self._stop(1, 1, f"not UTF-8 text: {exc}", "Save the file as UTF-8") from exc
        if self._root is None:
            self._root = Node(1, 1, None)
        return self._root, self._problems

    def _take(self, event: yaml.Event) -> None:
        mark = event.start_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        if isinstance(event, yaml.AliasEvent):
            self._put(self._aliased(str(event.anchor), line, column))
        elif isinstance(event, yaml.NodeEvent):
            self._refuse_tag(event, line, column)
            if isinstance(event, yaml.ScalarEvent):
                node = Node(line, column, _scalar(event))
                if event.anchor:
                    self._anchors[event.anchor] = node
                self._put(node)
            else:
                self._begin(event, line, column)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()
        elif isinstance(event, yaml.DocumentStartEvent) and self._root is not None:
            raise self._stop(line, column, "a second YAML document", "Keep one policy in one file")

    def _begin(self, event: yaml.NodeEvent, line: int, column: int) -> None:
        if len(self._open) >= DEEPEST:
            raise self._stop(
                line, column, f"nested deeper than {DEEPEST} levels", "Flatten the file"
            )
        empty: list[Node] | dict[str, tuple[Node, Node]] = (
            {} if isinstance(event, yaml.MappingStartEvent) else []
        )
        opened = self._open[-1] if self._open else None
        if opened and isinstance(opened.node.value, dict) and opened.key is None:
            raise self._stop(line, column, "a key that is not text", "Write a plain word as key")
        self._open.append(_Open(Node(line, column, empty), event.anchor))

    def _end(self) -> None:
        ended = self._open.pop()
        if ended.anchor:
            self._anchors[ended.anchor] = ended.node
        self._put(ended.node, counted=ended.node.size - 1)

    def _aliased(self, anchor: str, line: int, column: int) -> Node:
        if any(opened.anchor == anchor for opened in self._open):
            raise self._stop(line, column, f"*{anchor} stands inside &{anchor}", "Remove the alias")
        node = self._anchors.get(anchor)
        if node is None:
            raise self._stop(
                line,
                column,
                f"*{anchor} is read as an alias, and no anchor has this name",
                f'Quote a glob that begins with *: "*{anchor}"',
            )
        return node

    def _put(self, node: Node, counted: int = 0) -> None:
        """Put a finished node where it belongs; ``counted`` of its size were counted before."""
        self._nodes += node.size - counted
        if self._nodes > MOST_NODES:
            raise self._stop(
                node.line,
                node.column,
                f"more than {MOST_NODES} values, aliases expanded",
                "Remove aliases of aliases",
            )
        if not self._open:
            self._root = node
            return
        opened = self._open[-1]
        into = opened.node.value
        if isinstance(into, list):
            into.append(node)
        elif isinstance(into, dict):
            if opened.key is None:
                opened.key = self._key(node)
                return
            self._add(into, opened.key, node)
            opened.key = None
        opened.node.size += node.size

    def _key(self, node: Node) -> Node:
        if not isinstance(node.value, str):
            raise self._stop(
                node.line, node.column, "a key that is not text", "Write a plain word as key"
            )
        if node.value == "<<":
            raise self._stop(
                node.line,
                node.column,
                "merge keys (<<) are not read",
                "Put what rules share into defaults or models",
            )
        return node

    def _add(self, into: dict[str, tuple[Node, Node]], key: Node, value: Node) -> None:
        name = str(key.value)
        if name in into:
            first = into[name][0]
            self._problems.append(
                self._problem(
                    key.line,
                    key.column,
                    f"the key {name} stands twice, first on line {first.line}",
                    "Keep one of them",
                    field=field_name((*self._above(), name)),
                )
            )
        else:
            into[name] = (key, value)

    def _above(self) -> Path:
        """The path to the collection that is being read."""
        above: list[str | int] = []
        for opened in self._open[:-1]:
            value = opened.node.value
            above.append(
                len(value) if isinstance(value, list) else str(opened.key and opened.key.value)
            )
        return tuple(above)

    def _refuse_tag(self, event: yaml.NodeEvent, line: int, column: int) -> None:
        tag = getattr(event, "tag", None)
        if tag and tag != "!":
            raise self._stop(line, column, f"the tag {tag} is not read", "Remove it")

    def _syntax_error(self, exc: yaml.MarkedYAMLError, text: str) -> UnusableFileError:
        mark = exc.problem_mark or exc.context_mark
        if exc.context_mark and str(exc.context).endswith(("an alias", "an anchor")):
            mark = exc.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        lines = text.splitlines()
        rest = lines[line - 1][column - 1 :] if line <= len(lines) else ""
        remedy = "Quote texts that hold one of : # { } [ ] , & * ! | > @ ` or begin with - or ?"
        if rest.startswith("\t"):
            remedy = "Indent with spaces, not tabs"
        elif rest.startswith(("@", "`", "%", "*", "&")):
            remedy = f'Quote the text: "{rest.strip()}"'
        elif not rest and exc.context_mark:
            remedy = f"Close what begins on line {exc.context_mark.line + 1}"
        told = ": ".join(part for part in (exc.context, exc.problem) if part)
        return self._stop(line, column, f"not YAML: {told}", remedy)

    def _unprintable(self, text: str, exc: yaml.reader.ReaderError) -> UnusableFileError:
        at = max(0, min(exc.position, len(text)))
        before = text[:at]
        line = before.count("\n") + 1
        column = at - (before.rfind("\n") + 1) + 1
        return self._stop(line, column, f"not YAML: {exc.reason}", "Remove the character")

    def _problem(
        self, line: int, column: int, message: str, remedy: str, field: str = ""
    ) -> Problem:
        return Problem(
            level=Level.ERROR,
            file=self._file,
            line=line,
            column=column,
            field=field,
            message=message,
            remedy=remedy,
        )

    def _stop(self, line: int, column: int, message: str, remedy: str) -> UnusableFileError:
        return UnusableFileError(self._problem(line, column, message, remedy))


def _scalar(event: yaml.ScalarEvent) -> str | None:
    plain = event.style in (None, "")
    return None if plain and event.value in ("", "~", "null", "Null", "NULL") else str(event.value)
