"""The endpoint back to a former endpoint config.

SageMaker keeps no history of an endpoint's configs, and guessing one by its name or age could put any model
into production. So the policy names it, or the deployment leaves it as a tag of the endpoint.
Source of statuses and of RetainAllVariantProperties: the SageMaker API reference, UpdateEndpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from guiderail.adapters.actions.calls import acting, named, text_of
from guiderail.adapters.clients import client
from guiderail.errors import RejectedRequestError, UnavailableError
from guiderail.model.action_event import endpoint_handle
from guiderail.model.remediation import ActionReport, ActionState, Remediation

PREVIOUS = "guiderail:previous-endpoint-config"
"""Tag of an endpoint: the config that it had before, written by whoever deploys."""

_CHANGING = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack"})


def begin(remediation: Remediation, now: datetime) -> ActionReport:
    """Begin to move the endpoint: at most five calls.

    Raises:
        PermanentError: No such endpoint or config, or nothing says which config it was.
        TransientError: The endpoint is being changed, SageMaker throttled or failed.
    """
    name = text_of(remediation, "endpoint", "Name an endpoint or write {endpoint}")
    endpoint = _endpoint(name)
    target = _target(remediation, endpoint)
    status, current = endpoint["EndpointStatus"], endpoint.get("EndpointConfigName", "")
    pending = endpoint.get("PendingDeploymentSummary", {}).get("EndpointConfigName", "")
    handle, result = endpoint_handle(name), {"endpoint_config": target}
    if status in _CHANGING:
        if target in (current, pending):
            text = f"{name} goes to {target}: it is {status}"
            return ActionReport(state=ActionState.RUNNING, handle=handle, text=text, result=result)
        raise UnavailableError(f"endpoint {name} is {status} to {pending or current}")
    if current == target and status == "InService":
        text = f"{name} has {target} already"
        return ActionReport(state=ActionState.DONE, handle=handle, text=text, result=result)
    with (
        named("endpoint_config", target, "Name one of: aws sagemaker list-endpoint-configs"),
        acting(f"DescribeEndpointConfig {target}"),
    ):
        config = client("sagemaker").describe_endpoint_config(EndpointConfigName=target)
    with acting(f"UpdateEndpoint {name}"):
        client("sagemaker").update_endpoint(
            EndpointName=name,
            EndpointConfigName=target,
            RetainAllVariantProperties=_keeps_its_instances(endpoint, config),
        )
    return ActionReport(
        state=ActionState.RUNNING,
        handle=handle,
        text=f"{name} goes from {current} to {target}{_about_capture(config)}",
        result=result,
        before={"endpoint": name, "endpoint_config": current},
    )


def look(remediation: Remediation, now: datetime) -> ActionReport:
    """How the endpoint stands: one DescribeEndpoint."""
    name = text_of(remediation, "endpoint", "Name an endpoint or write {endpoint}")
    endpoint = _endpoint(name)
    target = _target(remediation, endpoint)
    status, current = str(endpoint["EndpointStatus"]), endpoint.get("EndpointConfigName", "")
    why = endpoint.get("FailureReason", "")
    text = f"{name} is {status} with {current}{f': {why}' if why else ''}"
    if status in _CHANGING:
        state = ActionState.RUNNING
    elif status == "InService" and current == target:
        state = ActionState.DONE
    else:
        state = ActionState.FAILED
        text = f"{text}; it should have {target}"
    return ActionReport(
        state=state,
        handle=endpoint_handle(name),
        text=text,
        result={"endpoint_config": target},
    )


def _endpoint(name: str) -> Mapping[str, Any]:
    with (
        named("endpoint", name, "Name one of: aws sagemaker list-endpoints"),
        acting(f"DescribeEndpoint {name}"),
    ):
        described: Mapping[str, Any] = client("sagemaker").describe_endpoint(EndpointName=name)
    return described


def _target(remediation: Remediation, endpoint: Mapping[str, Any]) -> str:
    """The config to go to: what was begun, else the policy's, else the tag's."""
    given = remediation.result.get("endpoint_config") or remediation.parameters.get(
        "endpoint_config"
    )
    if given:
        return str(given)
    if before := _tags(str(endpoint["EndpointArn"])).get(PREVIOUS):
        return before
    raise RejectedRequestError(
        f"{remediation.action}: nothing says which config {endpoint['EndpointName']} had before "
        f"{endpoint.get('EndpointConfigName', '')}, and SageMaker keeps no history of it",
        remedy=f"Have the deployment tag the endpoint {PREVIOUS}=NAME, "
        "or name endpoint_config in the policy",
    )


def _tags(arn: str) -> dict[str, str]:
    tags: dict[str, str] = {}
    following: dict[str, str] = {}
    while True:
        with acting(f"ListTags {arn}"):
            page = client("sagemaker").list_tags(ResourceArn=arn, **following)
        tags |= {tag["Key"]: tag["Value"] for tag in page["Tags"]}
        if not page.get("NextToken"):
            return tags
        following = {"NextToken": page["NextToken"]}


def _keeps_its_instances(endpoint: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether the fleet keeps its size: a former config's initial count may be far below today's load."""
    now = {variant["VariantName"] for variant in endpoint.get("ProductionVariants", ())}
    then = config["ProductionVariants"]
    serverless = any(variant.get("ServerlessConfig") for variant in then)
    return not serverless and now == {variant["VariantName"] for variant in then}


def _about_capture(config: Mapping[str, Any]) -> str:
    captures = config.get("DataCaptureConfig", {}).get("EnableCapture", False)
    return "" if captures else "; that one captures no data, so no run can prove it"
