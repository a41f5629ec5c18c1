"""The model registry: moto keeps it; that a package was approved or rejected is told."""

from __future__ import annotations

from typing import Any

from moto.sagemaker.responses import SageMakerResponse

from guiderail_local.sagemaker.parts import Event, Operations, Shared, event, text_of

PACKAGE_CHANGED = "SageMaker Model Package State Change"

_update = SageMakerResponse.update_model_package


class Registry:
    """The part of SageMaker that keeps model packages."""

    def __init__(self, shared: Shared) -> None:
        """Tell through what is shared."""
        self._shared = shared

    def operations(self) -> Operations:
        """What is put in place of moto's own."""

        def update_model_package(request: Any) -> Any:
            answer = _update(request)
            package = request.sagemaker_backend.describe_model_package(
                request._get_param("ModelPackageArn")
            )
            self._shared.tell(self._event(package))
            return answer

        return {"update_model_package": update_model_package}

    def _event(self, package: Any) -> Event:
        """The event as in the published example, where times are text."""
        now = self._shared.now()
        detail = {
            "ModelPackageGroupName": package.model_package_group_name,
            "ModelPackageVersion": package.model_package_version,
            "ModelPackageArn": package.arn,
            "CreationTime": text_of(package.creation_time),
            "ModelPackageStatus": package.model_package_status,
            "ModelApprovalStatus": package.model_approval_status,
            "MetadataProperties": package.metadata_properties or {},
            "LastModifiedTime": text_of(now),
        }
        return event(PACKAGE_CHANGED, [package.arn], detail, now)
