"""One DynamoDB table: items, transactions, and how values are packed into items.

Times are UTC with microseconds, all of one width, so they sort. ``content`` is msgpack (JSON has no
infinity, measured values do), deflated.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
from botocore.exceptions import ClientError

from guiderail.adapters.clients import client, translated
from guiderail.errors import (
    ConflictError,
    RejectedRequestError,
    ThrottledError,
    TooLargeToKeepError,
)

LARGEST_CONTENT = 396 * 1024
"""Bytes; an item may have 400 KB, and the other attributes take less than 4."""

MOST_ACTIONS = 100
"""Items of one transaction."""

LARGEST_TRANSACTION = 4 * 1024 * 1024 - MOST_ACTIONS * 4096
"""Bytes of content in one transaction: 4 MB less what keys and attributes take."""

FAILED_CONDITION = "ConditionalCheckFailed"
_SLOW_DOWN = frozenset({"ThrottlingError", "ProvisionedThroughputExceeded", "RequestLimitExceeded"})
_WAITS = (0.05, 0.1, 0.2, 0.4)

T = TypeVar("T")

Item = dict[str, Any]


class Table:
    """The table by name; each method says which calls it makes."""

    def __init__(self, name: str) -> None:
        """Work on this table."""
        self.name = name

    def put(self, item: Item) -> Item:
        """The action that puts an item."""
        return {"Put": {"TableName": self.name, "Item": item}}

    def put_after(self, version: int, item: Item) -> Item:
        """Put an item in place of the one with this version; 0 is none at all."""
        put = self.put(item)
        if version:
            put["Put"]["ConditionExpression"] = "version = :version"
            put["Put"]["ExpressionAttributeValues"] = {":version": {"N": str(version)}}
        else:
            put["Put"]["ConditionExpression"] = "attribute_not_exists(pk)"
        return put

    def delete(self, key: Item, *, must_exist: bool = False) -> Item:
        """The action that deletes an item."""
        delete: Item = {"TableName": self.name, "Key": key}
        if must_exist:
            delete["ConditionExpression"] = "attribute_exists(pk)"
        return {"Delete": delete}

    def transact(self, what: str, actions: list[Item]) -> tuple[str, ...]:
        """Write everything, or nothing: then the reasons come back, one code per action."""
        size = sum(
            len(action["Put"]["Item"].get("content", {"B": b""})["B"])
            for action in actions
            if "Put" in action
        )
        if len(actions) > MOST_ACTIONS or size > LARGEST_TRANSACTION:
            raise TooLargeToKeepError(
                f"{what}: {len(actions)} items with {size} bytes, a transaction takes "
                f"{MOST_ACTIONS} items and {LARGEST_TRANSACTION} bytes",
                remedy="Route this schedule's findings to fewer groups",
            )
        with translated(f"TransactWriteItems {self.name}: {what}"):
            try:
                client("dynamodb").transact_write_items(TransactItems=actions)
            except ClientError as error:
                if error.response["Error"]["Code"] != "TransactionCanceledException":
                    raise
                reasons = error.response.get("CancellationReasons", [])
                return tuple(str(reason.get("Code", "")) for reason in reasons) or ("unknown",)
        return ()

    def get(self, key: Item) -> Item | None:
        """Read an item consistently: one GetItem."""
        with translated(f"GetItem {self.name}"):
            answer: Item = client("dynamodb").get_item(
                TableName=self.name, Key=key, ConsistentRead=True
            )
        return answer.get("Item")

    def batch_get(self, keys: Sequence[Item], attributes: str) -> Iterator[Item]:
        """Read items, in no order; what DynamoDB leaves out (16 MB, throttling) is asked for again."""
        waits = iter(_WAITS)
        while keys:
            asked = {"Keys": keys, "ConsistentRead": True, "ProjectionExpression": attributes}
            with translated(f"BatchGetItem {self.name}"):
                answer = client("dynamodb").batch_get_item(RequestItems={self.name: asked})
            yield from answer["Responses"].get(self.name, [])
            left = answer.get("UnprocessedKeys", {}).get(self.name, {}).get("Keys", [])
            if len(left) == len(keys):
                wait = next(waits, None)
                if wait is None:
                    raise ThrottledError(f"BatchGetItem {self.name}: nothing was read")
                time.sleep(wait)
            keys = left

    def query(self, *, pk: str = "", **arguments: Any) -> Iterator[Item]:
        """Read all pages; of one partition, consistently, if ``pk`` is given."""
        if pk:
            arguments |= {
                "KeyConditionExpression": "pk = :pk",
                "ExpressionAttributeValues": {":pk": {"S": pk}},
                "ConsistentRead": True,
            }
        while True:
            with translated(f"Query {self.name}"):
                page = client("dynamodb").query(TableName=self.name, **arguments)
            yield from page["Items"]
            if "LastEvaluatedKey" not in page:
                return
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def complain(what: str, cancelled: tuple[str, ...]) -> None:
    """Raise what a cancelled transaction means; nothing was cancelled without codes."""
    codes = {code for code in cancelled if code not in ("", "None")}
    if not cancelled:
        return
    if codes & {FAILED_CONDITION, "TransactionConflict"}:
        raise ConflictError(f"{what}: somebody else wrote in between ({', '.join(sorted(codes))})")
    if codes & _SLOW_DOWN:
        raise ThrottledError(f"{what}: {', '.join(sorted(codes))}")
    raise RejectedRequestError(f"{what}: cancelled: {', '.join(sorted(codes))}")


def item_key(pk: str, sk: str) -> Item:
    """The key of an item."""
    return {"pk": {"S": pk}, "sk": {"S": sk}}


def iso(at: datetime) -> str:
    """A time as it stands in keys."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def expiry(at: datetime, days: int) -> Item:
    """When an item expires, for the table's TTL."""
    return {"N": str(int((at + timedelta(days=days)).timestamp()))}


def packed(value: object, what: str) -> Item:
    """A value as an item's ``content``; raises TooLargeToKeepError."""
    plain = msgspec.msgpack.encode(value)
    content = zlib.compress(plain, 1)
    if len(content) > LARGEST_CONTENT:
        content = zlib.compress(plain, 9)
    if len(content) > LARGEST_CONTENT:
        raise TooLargeToKeepError(
            f"{what} takes {len(content)} bytes, an item holds {LARGEST_CONTENT}",
            remedy="Raise thresholds or mute checks, so that fewer findings are kept at once",
        )
    return {"B": content}


def unpacked(decoder: msgspec.msgpack.Decoder[T], item: Item) -> T:
    """The value of an item's ``content``.

    Decoders are made when a module is loaded: msgspec learns a type on its first use, which two
    threads must not do at the same time (0.22 crashes).
    """
    return decoder.decode(zlib.decompress(item["content"]["B"]))
