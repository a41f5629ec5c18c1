"""Bodies of requests, with the limits that the service model sets.

Source: botocore's service model sagemaker-featurestore-runtime 2020-07-01.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from guiderail_local.feature_store.errors import ValidationError

LONGEST_VALUE = 358_400

_GROUP = r"(arn:aws[a-z\-]*:sagemaker:[a-z0-9\-]*:[0-9]{12}:feature-group/)?[a-zA-Z0-9]([-_]*[a-zA-Z0-9]){0,63}"
_FEATURE = r"^[a-zA-Z0-9]([-_]*[a-zA-Z0-9]){0,63}$"

Name = Annotated[str, Meta(min_length=1, max_length=150, pattern=f"^{_GROUP}$")]
FeatureName = Annotated[str, Meta(min_length=1, max_length=64, pattern=_FEATURE)]
Value = Annotated[str, Meta(max_length=LONGEST_VALUE)]
TargetStore = Literal["OnlineStore", "OfflineStore"]
TargetStores = Annotated[list[TargetStore], Meta(min_length=1, max_length=2)]
Presence = Literal["Enabled", "Disabled"]


class FeatureValue(Struct, rename="pascal", omit_defaults=True):
    """A feature's value; a list where the feature is a collection, neither where it is null."""

    feature_name: FeatureName
    value_as_string: Value | None = None
    value_as_string_list: Annotated[list[Value], Meta(max_length=LONGEST_VALUE)] | None = None


Record = Annotated[list[FeatureValue], Meta(min_length=1)]


class TtlDuration(Struct, rename="pascal"):
    """How long after its event time a record is kept."""

    unit: Literal["Seconds", "Minutes", "Hours", "Days", "Weeks"]
    value: Annotated[int, Meta(ge=1)]

    @property
    def seconds(self) -> int:
        """The same in seconds."""
        units = {"Seconds": 1, "Minutes": 60, "Hours": 3600, "Days": 86_400, "Weeks": 604_800}
        return self.value * units[self.unit]


class Entry(Struct, rename="pascal", omit_defaults=True):
    """An entry of BatchWriteRecord."""

    feature_group_name: Name
    record: Record
    target_stores: TargetStores | None = None
    ttl_duration: TtlDuration | None = None


class PutRecord(Struct, rename="pascal"):
    """Body of PutRecord."""

    record: Record
    target_stores: TargetStores | None = None
    ttl_duration: TtlDuration | None = None


class BatchWriteRecord(Struct, rename="pascal"):
    """Body of BatchWriteRecord."""

    entries: Annotated[list[Entry], Meta(min_length=1, max_length=25)]
    ttl_duration: TtlDuration | None = None


class Identifiers(Struct, rename="pascal", omit_defaults=True):
    """Records of one group that BatchGetRecord is asked for."""

    feature_group_name: Name
    record_identifiers_value_as_string: Annotated[list[Value], Meta(min_length=1, max_length=100)]
    feature_names: Annotated[list[FeatureName], Meta(min_length=1)] | None = None


class BatchGetRecord(Struct, rename="pascal"):
    """Body of BatchGetRecord."""

    identifiers: Annotated[list[Identifiers], Meta(min_length=1, max_length=100)]
    expiration_time_response: Presence = "Disabled"


_Body = PutRecord | BatchWriteRecord | BatchGetRecord
_Kind = TypeVar("_Kind", PutRecord, BatchWriteRecord, BatchGetRecord)
_DECODERS: dict[type, msgspec.json.Decoder[_Body]] = {
    kind: msgspec.json.Decoder(kind) for kind in (PutRecord, BatchWriteRecord, BatchGetRecord)
}


def read(kind: type[_Kind], content: bytes) -> _Kind:
    """Decode a body.

    Raises:
        ValidationError: It is not one; the message names the member.
    """
    try:
        body = _DECODERS[kind].decode(content)
    except msgspec.DecodeError as exc:
        raise ValidationError(f"1 validation error detected: {exc}") from exc
    assert isinstance(body, kind)
    return body
