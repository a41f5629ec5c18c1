"""S3: the objects of a source, and what a re-ingestion keeps of itself. Reads no records."""

from __future__ import annotations

from collections.abc import Iterator

from guiderail.adapters.clients import client, translated
from guiderail.errors import AlreadyExistsError, RejectedRequestError
from guiderail.services.reingest_planning import SourceObject


class S3ReingestionFiles:
    """Implements ReingestionFiles (services.reingest_tasks)."""

    def objects(self, uri: str) -> Iterator[SourceObject]:
        """The objects whose URI begins so, in the order of their keys; one call per 1,000."""
        bucket, prefix = _place(uri)
        following: dict[str, str] = {}
        while True:
            with translated(f"ListObjectsV2 {uri}"):
                page = client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix, **following)
            for found in page.get("Contents", []):
                yield SourceObject(
                    key=found["Key"], size=found["Size"], etag=found["ETag"].strip('"')
                )
            if not page.get("IsTruncated"):
                return
            following = {"ContinuationToken": page["NextContinuationToken"]}

    def read(self, uri: str) -> bytes:
        """An object's content. Raises NotFoundError, AccessDeniedError, TransientError."""
        bucket, key = _place(uri)
        with translated(f"GetObject {uri}"):
            return bytes(client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())

    def write(self, uri: str, content: bytes) -> None:
        """Keep an object. Raises AccessDeniedError, TransientError."""
        bucket, key = _place(uri)
        with translated(f"PutObject {uri}"):
            client("s3").put_object(Bucket=bucket, Key=key, Body=content)

    def write_new(self, uri: str, content: bytes) -> bool:
        """Keep an object unless there is one already; False if there is. Raises as ``write`` does."""
        bucket, key = _place(uri)
        try:
            with translated(f"PutObject {uri}"):
                client("s3").put_object(Bucket=bucket, Key=key, Body=content, IfNoneMatch="*")
        except AlreadyExistsError:
            return False
        except RejectedRequestError as error:
            if "PreconditionFailed" not in str(error):
                raise
            return False
        return True


def _place(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or not bucket:
        raise RejectedRequestError(f"{uri!r} is not an S3 URI", remedy="Write s3://bucket/key")
    return bucket, key
