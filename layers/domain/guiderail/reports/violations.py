"""constraint_violations.json, also spelt constraints_violations.json: what broke.

One reader for the four monitors and for own containers; the item's keys tell them apart
(``facet``: bias, ``label``: explainability, ``metric_name`` alone: model quality, ``feature_name``:
data quality). Own containers may leave the description out and add keys of their own.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from guiderail.errors import MalformedReportError
from guiderail.model.outcome import MonitorKind
from guiderail.reports.json_text import decode

OWN_CONTAINER_FILE_NAMES = ("constraints_violations.json", "community_constraint_violations.json")
"""Names that only own containers write; the documentation gives them the first one."""

FILE_NAMES = ("constraint_violations.json", *OWN_CONTAINER_FILE_NAMES)
"""Names of the file, the service's own first."""

_SERVICE_KEYS = frozenset(
    {
        "feature_name",
        "constraint_check_type",
        "description",
        "metric_name",
        "facet",
        "facet_value",
        "label",
    }
)

COLUMN_CHECKS = frozenset({"missing_column_check", "extra_column_check"})
FEED_CHECKS = COLUMN_CHECKS | {"data_type_check", "completeness_check", "categorical_values_check"}
"""Checks that fail when the feed is broken, whatever the model."""

DRIFT_CHECK = "baseline_drift_check"
DATA_QUALITY_CHECKS = FEED_CHECKS | {DRIFT_CHECK}
MODEL_QUALITY_CHECKS = frozenset({"LessThanThreshold", "GreaterThanThreshold"})
BIAS_CHECK = "bias_drift_check"
ATTRIBUTION_CHECK = "feature_attribution_drift_check"
KNOWN_CHECKS = DATA_QUALITY_CHECKS | MODEL_QUALITY_CHECKS | {BIAS_CHECK, ATTRIBUTION_CHECK}


class Violation(msgspec.Struct, frozen=True):
    """One item as written; a field that is absent or not text is empty."""

    check: str = ""
    description: str = ""
    feature_name: str = ""
    metric_name: str = ""
    facet: str = ""
    facet_value: str = ""
    label: str = ""
    has_own_keys: bool = False

    @property
    def kind(self) -> MonitorKind:
        """Which monitor writes items like this one."""
        if self.check == BIAS_CHECK or self.facet:
            return MonitorKind.BIAS
        if self.check == ATTRIBUTION_CHECK or (self.label and self.metric_name):
            return MonitorKind.EXPLAINABILITY
        if self.has_own_keys or self.check not in KNOWN_CHECKS:
            return MonitorKind.CUSTOM
        if self.check in MODEL_QUALITY_CHECKS:
            return MonitorKind.MODEL_QUALITY
        return MonitorKind.DATA_QUALITY


_EMPTY_FILE_BYTES = 24
"""Size of the file that the analyzer writes when there are no violations."""


class _File(msgspec.Struct):
    violations: list[dict[str, Any]]


_DECODER = msgspec.json.Decoder(_File)


def read_violations(content: bytes, file: str = FILE_NAMES[0]) -> tuple[Violation, ...]:
    """Read a violations file; no violations are an empty tuple.

    Raises:
        MalformedReportError: It is not JSON, has no list ``violations``, has it twice (JSON keeps the
            last one, and an empty one must not hide the other), or an item is not an object.
    """
    listed = decode(content, _DECODER, file).violations
    if content.count(b'"violations"') > 1 or (not listed and len(content) > _EMPTY_FILE_BYTES):
        _refuse_repeated_key(content, file)
    return tuple(_violation(item) for item in listed)


def _violation(item: dict[str, Any]) -> Violation:
    def text(key: str) -> str:
        value = item.get(key)
        return value if isinstance(value, str) else "" if value is None else str(value)

    return Violation(
        check=text("constraint_check_type"),
        description=text("description"),
        feature_name=text("feature_name"),
        metric_name=text("metric_name"),
        facet=text("facet"),
        facet_value=text("facet_value"),
        label=text("label"),
        has_own_keys=not _SERVICE_KEYS.issuperset(item),
    )


def _refuse_repeated_key(content: bytes, file: str) -> None:
    def pairs(entries: list[tuple[str, Any]]) -> dict[str, Any]:
        if sum(key == "violations" for key, _ in entries) > 1:
            raise MalformedReportError(
                f"{file}: the key violations stands twice", remedy="Look at the file: it is damaged"
            )
        return dict(entries)

    try:
        json.loads(content.decode("utf-8-sig"), object_pairs_hook=pairs)
    except (ValueError, RecursionError) as exc:
        raise MalformedReportError(f"{file}: {exc}") from exc
