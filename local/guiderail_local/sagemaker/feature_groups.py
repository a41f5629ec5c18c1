"""Descriptions of feature groups; moto's forget the online store and need an offline one."""

from __future__ import annotations

import json
from typing import Any

from guiderail_local.sagemaker.parts import Operations, Shared, not_found, refused


class FeatureGroups:
    """The part of SageMaker that keeps feature groups; their records are not here."""

    def __init__(self, shared: Shared) -> None:
        """There are none yet."""
        self._shared = shared
        self._groups: dict[str, dict[str, Any]] = {}

    def operations(self) -> Operations:
        """What is put in place of moto's own."""
        return {
            "create_feature_group": self._create,
            "describe_feature_group": self._describe,
            "delete_feature_group": self._delete,
            "list_feature_groups": self._list,
        }

    def described(self, name: str) -> dict[str, Any] | None:
        """What DescribeFeatureGroup answers for a name or an ARN; None if there is no such group."""
        with self._shared.lock:
            return self._groups.get(name.rpartition("/")[2].lower())

    def _create(self, request: Any) -> str:
        asked = json.loads(request.body)
        name = str(asked["FeatureGroupName"])
        arn = (
            f"arn:aws:sagemaker:{request.region}:{request.current_account}"
            f":feature-group/{name.lower()}"
        )
        with self._shared.lock:
            if name.lower() in self._groups:
                raise refused("ResourceInUse", f"Feature group with name {name} already exists")
            asked.pop("Tags", None)
            self._groups[name.lower()] = {
                "ThroughputConfig": {"ThroughputMode": "OnDemand"},
                **asked,
                "FeatureGroupArn": arn,
                "FeatureGroupStatus": "Created",
                "CreationTime": self._shared.now().timestamp(),
            }
        return json.dumps({"FeatureGroupArn": arn})

    def _describe(self, request: Any) -> str:
        name = str(request._get_param("FeatureGroupName"))
        group = self.described(name)
        if group is None:
            raise not_found(f"Resource Not Found: Amazon SageMaker can't find a group {name}")
        return json.dumps(group)

    def _delete(self, request: Any) -> str:
        name = str(request._get_param("FeatureGroupName"))
        with self._shared.lock:
            self._groups.pop(name.rpartition("/")[2].lower(), None)
        return ""

    def _list(self, request: Any) -> str:
        keys = ("FeatureGroupName", "FeatureGroupArn", "CreationTime", "FeatureGroupStatus")
        with self._shared.lock:
            found = [{key: group[key] for key in keys} for group in self._groups.values()]
        return json.dumps({"FeatureGroupSummaries": found})
