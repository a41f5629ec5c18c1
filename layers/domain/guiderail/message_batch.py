"""A batch of SQS messages, each handled by itself.

Powertools has this too; importing its batch utility costs more than all the rest of Powertools that
is used here (docs/decisions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def failed_messages(
    event: Mapping[str, Any], handle: Callable[[str], object], at_once: int = 1
) -> dict[str, Any]:
    """Handle each message's body, ``at_once`` of them side by side; return SQS's partial batch response.

    A message whose handling raises is named in ``batchItemFailures``: it alone comes again. What was
    raised is the handler's to log.
    """

    def fails(record: Mapping[str, Any]) -> bool:
        try:
            handle(record["body"])
        except Exception:
            return True
        return False

    records = event["Records"]
    if at_once == 1:
        failed = [fails(record) for record in records]
    else:
        with ThreadPoolExecutor(at_once) as threads:
            failed = list(threads.map(fails, records))
    return {
        "batchItemFailures": [
            {"itemIdentifier": record["messageId"]}
            for record, is_failed in zip(records, failed, strict=True)
            if is_failed
        ]
    }
