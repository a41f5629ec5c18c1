"""The operator's copy of the policy, and the note beside it of which stored version it comes from."""

from __future__ import annotations

from pathlib import Path

import msgspec
from guiderail.errors import MalformedEventError, NotFoundError, RejectedRequestError

from guiderail_cli.policy_file.document import LARGEST_FILE
from guiderail_cli.policy_file.storage import Base


class UnreadableTextError(MalformedEventError):
    """The policy file is no text, or too large to be a policy."""

    code = "unreadable_text"


def read_text(path: Path) -> str:
    """Read a policy file, no further than its size limit.

    Raises:
        NotFoundError: It is not there or may not be read.
        UnreadableTextError: It is too large, or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
            size = len(content) if len(content) <= LARGEST_FILE else path.stat().st_size
    except OSError as exc:
        raise NotFoundError(
            f"{path}: {exc.strerror}", remedy="Pass the policy's YAML file"
        ) from exc
    if size > LARGEST_FILE:
        raise UnreadableTextError(
            f"{path}: the file has {size} bytes, the limit is {LARGEST_FILE}",
            remedy="Use globs instead of one rule per name",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = content[: exc.start].count(b"\n") + 1
        raise UnreadableTextError(
            f"{path}:{line}: not UTF-8 text", remedy="Save the file as UTF-8"
        ) from exc


def write_text(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a policy file. Raises RejectedRequestError if another text is there already."""
    if not overwrite and path.exists() and read_text(path) != text:
        raise RejectedRequestError(
            f"{path} is there and differs", remedy="Pass another name, or --force to overwrite it"
        )
    path.write_text(text, encoding="utf-8")


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.base.json")


def remember_base(path: Path, base: Base) -> None:
    """Note which stored version a file comes from."""
    _beside(path).write_bytes(msgspec.json.encode(base) + b"\n")


def base_of(path: Path, bucket: str, key: str) -> Base | None:
    """Which stored version of this bucket a file comes from; None if that is not known."""
    try:
        base = msgspec.json.decode(_beside(path).read_bytes(), type=Base)
    except (OSError, msgspec.DecodeError):
        return None
    return base if (base.bucket, base.key) == (bucket, key) else None
