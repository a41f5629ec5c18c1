"""A batch of SQS messages, handled one by one.

Powertools has this too; importing its batch utility costs more than all the rest of Powertools that
is used here (docs/decisions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def failed_messages(event: Mapping[str, Any], handle: Callable[[str], object]) -> dict[str, Any]:
    """Handle each message's body and return SQS's partial batch response.

    A message whose handling raises is named in ``batchItemFailures``: it alone comes again. What was
    raised is the handler's to log.
    """
    failures = []
    for record in event["Records"]:
        try:
            handle(record["body"])
        except Exception:
            failures.append({"itemIdentifier": record["messageId"]})
    return {"batchItemFailures": failures}
