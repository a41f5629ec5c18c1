"""A policy for the local cloud: checked, compiled and stored as ``guiderail policy push`` does."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
from guiderail.model.policy import STORED_FORMAT, StoredPolicy
from guiderail_cli.policy_file import compile_policy

from guiderail_local.cloud import LocalCloud
from guiderail_local.errors import InvalidRunError

NOTHING_SET = "version: 1\n"
"""The policy that sets nothing: what is built in holds."""


def read_policy(file: Path) -> str:
    """The text of a policy file.

    Raises:
        InvalidRunError: It cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as exc:
        raise InvalidRunError(f"cannot read the policy {file}: {exc}") from exc


def store_policy(cloud: LocalCloud, text: str, file: Path | str) -> None:
    """Put a policy into the stack's bucket.

    Raises:
        InvalidRunError: It has errors; names file, line and what to do.
    """
    now = datetime.now(UTC)
    compiled = compile_policy(text, str(file), now)
    if compiled.policy is None:
        raise InvalidRunError(
            "\n".join(f"{file}:{p.line}: {p.message}. {p.remedy}" for p in compiled.errors)
        )
    stored = StoredPolicy(
        format=STORED_FORMAT,
        source=text,
        policy=compiled.policy,
        pushed_by="the local cloud",
        pushed_at=now.isoformat(),
    )
    cloud.client("s3").put_object(
        Bucket=cloud.stack.physical_id("PolicyBucket"),
        Key=cloud.variables("OnDue")["GUIDERAIL_POLICY_KEY"],
        Body=msgspec.json.encode(stored),
    )
