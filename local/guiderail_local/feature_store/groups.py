"""Feature groups: their schema, and what a record of theirs must look like."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from guiderail_local.feature_store.errors import ResourceNotFound, ValidationError
from guiderail_local.feature_store.wire import LONGEST_VALUE, FeatureValue, TtlDuration

Describe = Callable[[str], Mapping[str, Any] | None]
"""What DescribeFeatureGroup answers for a name; None where there is no such group."""

LONGEST_IDENTIFIER = 2048
"""Bytes. Source: SageMaker developer guide, "Quotas, naming rules and data types" of Feature Store; a
record, and a value, may have 350 KB."""

_SMALLEST_INTEGRAL, _LARGEST_INTEGRAL = -(2**63), 2**63 - 1
_INTEGRAL = re.compile(r"[+-]?[0-9]{1,19}")
# Source: API reference, CreateFeatureGroup, EventTimeFeatureName; 'T' and Z are constants.
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")


@dataclass(frozen=True)
class Feature:
    """A feature definition: Integral, Fractional or String, or a collection of such."""

    name: str
    kind: str
    collection: str = ""

    def check(self, given: FeatureValue) -> None:
        """See that a value is of this feature's type; null is.

        Raises:
            ValidationError: It is not.
        """
        one, many = given.value_as_string, given.value_as_string_list
        if self.collection and one is not None:
            raise self._wrong(f"is a {self.collection} and wants ValueAsStringList")
        if not self.collection and many is not None:
            raise self._wrong("is no collection and wants ValueAsString")
        for value in many or () if one is None else (one,):
            if self.kind == "Integral" and not _is_integral(value):
                raise self._wrong(f"has type Integral; {_shown(value)} is no 64-bit integer")
            if self.kind == "Fractional" and not _is_fractional(value):
                raise self._wrong(f"has type Fractional; {_shown(value)} is no finite number")

    def _wrong(self, why: str) -> ValidationError:
        return ValidationError(f"Validation Error: feature {self.name} {why}")


@dataclass(frozen=True)
class CheckedRecord:
    """A record that its group takes; times are seconds since 1970."""

    identifier: str
    event_time: float
    values: Sequence[FeatureValue]


@dataclass(frozen=True)
class FeatureGroup:
    """A group's schema, as DescribeFeatureGroup tells it, and the time to live of its records in seconds."""

    name: str
    identifier: str
    event_time: str
    features: Mapping[str, Feature]
    online: bool = False
    time_to_live: int | None = None

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> FeatureGroup:
        """Take the schema from a description."""
        store = described.get("OnlineStoreConfig", {})
        kept = store.get("TtlDuration")
        return cls(
            name=described["FeatureGroupName"],
            identifier=described["RecordIdentifierFeatureName"],
            event_time=described["EventTimeFeatureName"],
            features={
                d["FeatureName"]: Feature(
                    d["FeatureName"], d.get("FeatureType", "String"), d.get("CollectionType") or ""
                )
                for d in described["FeatureDefinitions"]
            },
            online=store.get("EnableOnlineStore", False),
            time_to_live=TtlDuration(kept["Unit"], kept["Value"]).seconds if kept else None,
        )

    def check(self, record: Sequence[FeatureValue]) -> CheckedRecord:
        """Check a record against the schema.

        Raises:
            ValidationError: It does not fit; the message names the feature.
        """
        given: dict[str, str | None] = {}
        size = 0
        for value in record:
            name = value.feature_name
            feature = self.features.get(name)
            if feature is None:
                raise ValidationError(
                    f"Validation Error: FeatureNames [{name}] are not in feature group {self.name}"
                )
            if name in given:
                raise ValidationError(f"Validation Error: feature {name} is given twice")
            feature.check(value)
            given[name] = value.value_as_string
            size += len(name) + len(value.value_as_string or "")
            size += sum(map(len, value.value_as_string_list or ()))
        for name in (self.identifier, self.event_time):
            if not given.get(name):
                raise ValidationError(f"Validation Error: missing value for feature {name}")
        identifier = str(given[self.identifier])
        if len(identifier.encode()) > LONGEST_IDENTIFIER:
            raise ValidationError("Validation Error: record identifier is longer than 2KB")
        if size > LONGEST_VALUE:
            raise ValidationError("Validation Error: record is larger than 350KB")
        return CheckedRecord(identifier, self.moment(str(given[self.event_time])), record)

    def moment(self, event_time: str) -> float:
        """Read an event time.

        Raises:
            ValidationError: It has not the group's format.
        """
        feature = self.features[self.event_time]
        if feature.kind == "Fractional":
            if not _is_fractional(event_time):
                raise ValidationError(
                    f"Validation Error: event time {_shown(event_time)} is no Unix time in seconds"
                )
            return float(event_time)
        try:
            if _ISO.fullmatch(event_time):
                return datetime.fromisoformat(event_time).astimezone(UTC).timestamp()
        except ValueError:
            pass
        raise ValidationError(
            f"Validation Error: event time {_shown(event_time)} is neither"
            " yyyy-MM-dd'T'HH:mm:ssZ nor yyyy-MM-dd'T'HH:mm:ss.SSSZ"
        )

    def choose(
        self, record: Iterable[FeatureValue], names: Sequence[str] | None
    ) -> list[FeatureValue]:
        """The named features of a record, or all.

        Raises:
            ValidationError: The group has no such feature.
        """
        if not names:
            return list(record)
        if unknown := sorted(set(names) - set(self.features)):
            raise ValidationError(
                f"Validation Error: FeatureNames {unknown} are not in feature group {self.name}"
            )
        return [value for value in record if value.feature_name in names]


def find(describe: Describe, name_or_arn: str) -> FeatureGroup:
    """The group of a name or ARN.

    Raises:
        ResourceNotFound: There is none.
        ValidationError: It is being made or deleted.
    """
    name = name_or_arn.rpartition("/")[2]
    described = describe(name)
    if described is None:
        raise ResourceNotFound(
            f"Resource Not Found: Amazon SageMaker can't find a FeatureGroup with name {name}"
        )
    status = described.get("FeatureGroupStatus", "Created")
    if status != "Created":
        raise ValidationError(f"Validation Error: feature group {name} has status {status}")
    return FeatureGroup.of(described)


def _is_integral(value: str) -> bool:
    return (
        _INTEGRAL.fullmatch(value) is not None
        and _SMALLEST_INTEGRAL <= int(value) <= _LARGEST_INTEGRAL
    )


def _is_fractional(value: str) -> bool:
    try:
        return math.isfinite(float(value)) and "_" not in value
    except ValueError:
        return False


def _shown(value: str) -> str:
    return repr(value if len(value) <= 40 else f"{value[:40]}…")
