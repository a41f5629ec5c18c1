"""Where stored runs lie: a folder of this machine, or an S3 prefix."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec
from guiderail.errors import (
    GuiderailError,
    NotFoundError,
    RejectedRequestError,
    ReportTooLargeError,
)

T = TypeVar("T")
R = TypeVar("R")

_READ_AT_ONCE = 16
"""Files that are fetched from S3 at the same time."""


class StoredFile(msgspec.Struct, frozen=True, gc=False):
    """A file of a shelf; ``version`` is the same for the same content, as far as the listing tells."""

    address: str
    size: int = -1
    version: str = ""


Folders = dict[str, dict[str, StoredFile]]
"""Files by name, by the path of their folder below the shelf; the shelf itself is the empty path."""


class Shelf(Protocol):
    """What a backtest needs of the place where runs lie."""

    place: str
    """What people call it, with the parts of the path above it."""

    def folders(self) -> Folders:
        """List everything. Raises GuiderailError."""
        ...

    def version(self, file: StoredFile) -> str:
        """What is the same for the same content; empty if it is not known."""
        ...

    def read(self, file: StoredFile) -> bytes:
        """Read a file. Raises GuiderailError."""
        ...

    def mapped(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Do work that reads, in order; several at once where that helps."""
        ...


def shelf_at(place: str, max_bytes: int) -> Shelf:
    """The shelf at a folder or S3 URI.

    Raises:
        NotFoundError: There is no such folder.
        RejectedRequestError: It is not a place on S3.
    """
    if "://" in place:
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        if not place.startswith("s3://") or not bucket:
            raise RejectedRequestError(
                f"--reports {place!r} is no place on S3",
                remedy="Write s3://bucket/prefix or a folder",
            )
        return S3Shelf(bucket, prefix.rstrip("/"), max_bytes)
    folder = Path(place)
    if not folder.is_dir():
        raise NotFoundError(
            f"--reports {place}: no such folder",
            remedy="Pass a folder of run folders, or s3://bucket/prefix",
        )
    return FolderShelf(folder, max_bytes)


class FolderShelf:
    """A folder; hidden ones below it are passed over."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Refuse files over ``max_bytes``."""
        self.place = str(folder.absolute())
        self._root = str(folder)
        self._max_bytes = max_bytes

    def folders(self) -> Folders:
        """Walk the folder; links to folders are followed once."""
        found: Folders = {}
        waiting = [("", self._root)]
        seen: set[tuple[int, int]] = set()
        while waiting:
            path, address = waiting.pop()
            files = {}
            try:
                with os.scandir(address) as entries:
                    for entry in entries:
                        if entry.name.startswith("."):
                            continue
                        if entry.is_dir():
                            if entry.is_symlink():
                                status = entry.stat()
                                if (known := (status.st_dev, status.st_ino)) in seen:
                                    continue
                                seen.add(known)
                            below = f"{path}/{entry.name}" if path else entry.name
                            waiting.append((below, entry.path))
                        else:
                            files[entry.name] = StoredFile(entry.path)
            except OSError as exc:
                raise NotFoundError(
                    f"{address}: {exc.strerror}", remedy="Make the folder readable"
                ) from exc
            if files:
                found[path] = files
        return found

    def version(self, file: StoredFile) -> str:
        """The inode: hard links to one file have the same."""
        try:
            status = Path(file.address).stat()
        except OSError:
            return ""
        return f"{status.st_dev}-{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"

    def read(self, file: StoredFile) -> bytes:
        """Read a file."""
        try:
            with Path(file.address).open("rb", buffering=0) as opened:
                content = opened.read(self._max_bytes + 1)
        except OSError as exc:
            raise NotFoundError(
                f"{file.address}: {exc.strerror}", remedy="Make the file readable"
            ) from exc
        if len(content) > self._max_bytes:
            raise ReportTooLargeError(
                f"{file.address} has more than {self._max_bytes} bytes", remedy="Raise --max-mib"
            )
        return content

    def mapped(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """One after the other: threads do not read a disk's cache faster."""
        return map(work, items)


class S3Shelf:
    """An S3 prefix, listed page by page and read with several requests at once."""

    def __init__(self, bucket: str, prefix: str, max_bytes: int) -> None:
        """Refuse files over ``max_bytes``."""
        self.place = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._max_bytes = max_bytes

    def folders(self) -> Folders:
        """List the prefix."""
        from guiderail.adapters.clients import translated

        found: Folders = {}
        with translated(f"ListObjectsV2 {self.place}"):
            pages = self._client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix):
                for listed in page.get("Contents", ()):
                    key = listed["Key"]
                    folder, _, name = key.removeprefix(self._prefix).rpartition("/")
                    if name:
                        found.setdefault(folder, {})[name] = StoredFile(
                            key, int(listed["Size"]), str(listed.get("ETag", ""))
                        )
        return found

    def version(self, file: StoredFile) -> str:
        """The ETag."""
        return file.version

    def read(self, file: StoredFile) -> bytes:
        """Get an object."""
        from guiderail.adapters.clients import translated

        uri = f"s3://{self._bucket}/{file.address}"
        if file.size > self._max_bytes:
            raise ReportTooLargeError(
                f"{uri} has {file.size} bytes, the limit is {self._max_bytes}",
                remedy="Raise --max-mib",
            )
        with translated(f"GetObject {uri}"):
            answer = self._client().get_object(Bucket=self._bucket, Key=file.address)
            return bytes(answer["Body"].read())

    def mapped(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Several at once, a bounded number ahead, handed out in order."""
        waiting: deque[Future[R]] = deque()
        with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
            try:
                for item in items:
                    waiting.append(pool.submit(work, item))
                    if len(waiting) >= 4 * _READ_AT_ONCE:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _client(self) -> Any:
        from guiderail.adapters.clients import client

        return client("s3")


def read_or_error(shelf: Shelf, file: StoredFile) -> bytes | GuiderailError:
    """A file's content, or why it cannot be had."""
    try:
        return shelf.read(file)
    except GuiderailError as error:
        return error
