"""S3: the files of a report, read up to a size and never executed."""

from __future__ import annotations

from collections.abc import Mapping

from guiderail.adapters.clients import client, translated
from guiderail.errors import (
    GuiderailError,
    NotFoundError,
    RejectedRequestError,
    ReportTooLargeError,
    TransientError,
)
from guiderail.reports.run_files import Files


class S3ReportFiles:
    """Implements ReportFiles: one GetObject per file.

    A missing key is told from a forbidden one only if the role may list the bucket (S3 answers 403
    otherwise): the template grants it.
    """

    def __init__(self, max_bytes: int) -> None:
        """Refuse files over ``max_bytes``."""
        self._max_bytes = max_bytes

    def fetch(self, places: Mapping[str, str]) -> Files:
        """Fetch files by name and S3 URI."""
        files = Files({}, {})
        for name, uri in places.items():
            try:
                content = self._get(uri)
            except TransientError:
                raise
            except GuiderailError as error:
                files.failures[name] = error
            else:
                if content is not None:
                    files.contents[name] = content
        return files

    def _get(self, uri: str) -> bytes | None:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        if not uri.startswith("s3://") or not bucket or not key:
            raise RejectedRequestError(f"{uri!r} is not the S3 URI of a file")
        try:
            with translated(f"GetObject {uri}"):
                answer = client("s3").get_object(Bucket=bucket, Key=key)
                size = answer["ContentLength"]
                if size > self._max_bytes:
                    answer["Body"].close()
                    raise ReportTooLargeError(
                        f"{uri} has {size} bytes, the limit is {self._max_bytes}",
                        remedy="Raise GUIDERAIL_MAX_REPORT_BYTES and the function's memory",
                    )
                return bytes(answer["Body"].read())
        except NotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise
            return None
