"""Endpoints that change their configuration; moto has no UpdateEndpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from moto.core.responses import ActionResult
from moto.sagemaker.responses import SageMakerResponse

from guiderail_local.sagemaker.parts import Event, Operations, Shared, event

ENDPOINT_CHANGED = "SageMaker Endpoint State Change"

_create, _describe = SageMakerResponse.create_endpoint, SageMakerResponse.describe_endpoint


class Endpoints:
    """The part of SageMaker that serves models.

    An updated endpoint is ``Updating`` until it was described once, then it is ``InService``; or, where
    ``refuse`` said so, it goes back to what it served before.
    """

    def __init__(self, shared: Shared) -> None:
        """Nothing is being updated."""
        self._shared = shared
        self._before: dict[str, str] = {}
        self._refused: dict[str, str] = {}

    def refuse(self, endpoint: str, reason: str) -> None:
        """Have the next update of an endpoint rolled back for a reason."""
        self._refused[endpoint] = reason

    def operations(self) -> Operations:
        """What is put in place of moto's own."""

        def create_endpoint(request: Any) -> Any:
            answer = _create(request)
            endpoint = request.sagemaker_backend.endpoints[request._get_param("EndpointName")]
            endpoint.creation_time = endpoint.last_modified_time = self._shared.now()
            return answer

        def describe_endpoint(request: Any) -> Any:
            answer = _describe(request)  # as it is until now
            backend, name = request.sagemaker_backend, str(request._get_param("EndpointName"))
            with self._shared.lock:
                told = self._settle(backend, backend.endpoints[name])
            for one in told:
                self._shared.tell(one)
            return answer

        return {
            "create_endpoint": create_endpoint,
            "describe_endpoint": describe_endpoint,
            "update_endpoint": self._update,
        }

    def _update(self, request: Any) -> ActionResult:
        backend = request.sagemaker_backend
        name = str(request._get_param("EndpointName"))
        config = str(request._get_param("EndpointConfigName"))
        backend.describe_endpoint(name)  # refused if it is not there
        backend.describe_endpoint_config(config)
        with self._shared.lock:
            endpoint = backend.endpoints[name]
            self._before.setdefault(name, endpoint.endpoint_config_name)
            _serve(backend, endpoint, config)
            endpoint.endpoint_status = "Updating"
            endpoint.last_modified_time = self._shared.now()
        return ActionResult({"EndpointArn": endpoint.arn})

    def _settle(self, backend: Any, endpoint: Any) -> list[Event]:
        if endpoint.endpoint_status != "Updating":
            return []
        before = self._before.pop(endpoint.endpoint_name, endpoint.endpoint_config_name)
        reason = self._refused.pop(endpoint.endpoint_name, "")
        if reason:
            _serve(backend, endpoint, before)
            endpoint.failure_reason = reason
        endpoint.endpoint_status = "InService"
        endpoint.last_modified_time = self._shared.now()
        return [self._event(endpoint)]

    def _event(self, endpoint: Any) -> Event:
        """The event as in the published example: its status is not spelt as in the API."""
        now = self._shared.now()
        detail: Mapping[str, Any] = {
            "EndpointName": endpoint.endpoint_name,
            "EndpointArn": endpoint.arn,
            "EndpointConfigName": endpoint.endpoint_config_name,
            "ProductionVariants": endpoint.production_variants,
            "EndpointStatus": "IN_SERVICE",
            "CreationTime": endpoint.creation_time.timestamp() * 1000,
            "LastModifiedTime": now.timestamp() * 1000,
            "Tags": {},
        }
        return event(ENDPOINT_CHANGED, [endpoint.arn], detail, now)


def _serve(backend: Any, endpoint: Any, config: str) -> None:
    variants = backend.describe_endpoint_config(config)["ProductionVariants"]
    endpoint.endpoint_config_name = config
    endpoint.production_variants = endpoint._process_production_variants(variants)
