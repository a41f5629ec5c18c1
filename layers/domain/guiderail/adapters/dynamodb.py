"""DynamoDB: the record of runs."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from guiderail.adapters.clients import client, translated
from guiderail.errors import AlreadyExistsError
from guiderail.model.outcome import Outcome
from guiderail.model.record import RunRecord
from guiderail.services.alerting import brief_findings

_NOT_RECORDED = "attribute_not_exists(pk) OR (outcome = :unreadable AND outcome <> :outcome)"
"""A run recorded as unreadable may be replaced by what it turned out to be."""


class DynamoRunRecords:
    """Implements RunRecords: one item per run (job ARN and status), one call each way."""

    def __init__(self, table: str, days: int) -> None:
        """Keep records in ``table`` for ``days`` (its TTL attribute is ``expires_at``)."""
        self._table = table
        self._days = days

    def outcome(self, run_key: str) -> Outcome | None:
        """The recorded outcome, read consistently: a duplicate may follow within milliseconds."""
        with translated(f"GetItem {self._table}"):
            answer = client("dynamodb").get_item(
                TableName=self._table,
                Key=_key(run_key),
                ProjectionExpression="outcome",
                ConsistentRead=True,
            )
        item = answer.get("Item")
        return Outcome(item["outcome"]["S"]) if item else None

    def keep(self, record: RunRecord) -> bool:
        """Record a run once."""
        try:
            with translated(f"PutItem {self._table}"):
                client("dynamodb").put_item(
                    TableName=self._table,
                    Item=self._item(record),
                    ConditionExpression=_NOT_RECORDED,
                    ExpressionAttributeValues={
                        ":unreadable": {"S": Outcome.UNREADABLE.value},
                        ":outcome": {"S": record.reading.outcome.value},
                    },
                )
        except AlreadyExistsError:
            return False
        return True

    def _item(self, record: RunRecord) -> dict[str, Any]:
        run, reading = record.run, record.reading
        expires = record.recorded_at + timedelta(days=self._days)
        texts = {
            "outcome": reading.outcome.value,
            "monitor": reading.monitor.value,
            "endpoint": run.endpoint,
            "schedule": run.schedule,
            "report_uri": run.report_uri,
            "window_start": run.window_start,
            "window_end": run.window_end,
            "alert_id": record.alert_id,
            "retraining": record.retraining.reason.value,
            "pipeline_execution_arn": record.retraining.execution_arn,
            "findings": msgspec.json.encode(brief_findings(reading)).decode(),
            "recorded_at": record.recorded_at.isoformat(),
        }
        item: dict[str, Any] = {
            **_key(run.key),
            **{name: {"S": value} for name, value in texts.items() if value},
        }
        item["reasons"] = {"L": [{"S": reason.value} for reason in reading.reasons]}
        item["evidence"] = {"L": [{"S": sentence} for sentence in reading.evidence]}
        item["finding_count"] = {"N": str(len(reading.findings))}
        if reading.rows is not None:
            item["rows"] = {"N": str(reading.rows)}
        item["expires_at"] = {"N": str(int(expires.timestamp()))}
        return item


def _key(run_key: str) -> dict[str, dict[str, str]]:
    arn, _, status = run_key.rpartition("#")
    return {"pk": {"S": f"run#{arn}"}, "sk": {"S": status}}
