"""Deploying the project's own template to the local cloud, as it stands."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guiderail_local.environment import MiniStackEnvironment, install_for
from guiderail_local.errors import DeploymentError
from guiderail_local.template import (
    CodePlace,
    LeftOut,
    Template,
    code_places,
    definition_files,
    read_template,
    strip,
    with_code,
    with_definitions,
    with_environment,
)

STACK_NAME = "guiderail-local"
_CODE_BUCKET = "guiderail-local-code"
_NOT_SHIPPED = ("__pycache__", ".egg-info", ".pytest_cache", ".mypy_cache", ".ruff_cache")
# CloudFormation is asked for the stack this often; MiniStack makes one in about a second.
_DEPLOY_SECONDS = 60


@dataclass(frozen=True)
class Stack:
    """A deployed template: what its logical ids and outputs became, and what was left out."""

    resources: Mapping[str, str]
    types: Mapping[str, str]
    outputs: Mapping[str, str]
    left_out: tuple[LeftOut, ...]

    def physical_id(self, logical_id: str) -> str:
        """What a resource of the template is called in the cloud.

        Raises:
            DeploymentError: The deployed template has no such resource.
        """
        try:
            return self.resources[logical_id]
        except KeyError:
            raise DeploymentError(
                f"the deployed template has no resource {logical_id}",
                f"It has {', '.join(sorted(self.resources))}.",
            ) from None


def deploy(
    client: Callable[[str], Any],
    environment: MiniStackEnvironment,
    template_file: Path,
    parameters: Mapping[str, str],
    variables: Mapping[str, str],
) -> Stack:
    """Deploy a template through CloudFormation.

    Args:
        client: Makes a boto3 client of the local cloud by service name.
        environment: Tells which resource types there are, and what Python layers are built for.
        template_file: The template; its code folders are relative to it.
        parameters: Values for the template's parameters.
        variables: Environment variables that every function gets besides its own.

    Raises:
        DeploymentError: The template is missing or wrong, or the stack failed.
    """
    template = _read(template_file)
    unknown = parameters.keys() - template.get("Parameters", {}).keys()
    if unknown:
        raise DeploymentError(f"{template_file.name} has no parameter {', '.join(sorted(unknown))}")
    template, left_out = strip(template, environment.resource_types)
    template = with_definitions(
        template,
        {
            logical_id: _read(template_file.parent / file)
            for logical_id, file in definition_files(template).items()
        },
    )
    uploaded = _upload(client("s3"), environment, template_file.parent, code_places(template))
    template = with_environment(with_code(template, uploaded), variables)
    cloudformation = client("cloudformation")
    client("s3").put_object(
        Bucket=_CODE_BUCKET, Key="template.json", Body=json.dumps(template).encode()
    )
    cloudformation.create_stack(
        StackName=STACK_NAME,
        TemplateURL=f"https://s3.amazonaws.com/{_CODE_BUCKET}/template.json",
        Parameters=[
            {"ParameterKey": k, "ParameterValue": v} for k, v in sorted(parameters.items())
        ],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    _await_creation(cloudformation)
    summaries = [
        summary
        for page in cloudformation.get_paginator("list_stack_resources").paginate(
            StackName=STACK_NAME
        )
        for summary in page["StackResourceSummaries"]
    ]
    described = cloudformation.describe_stacks(StackName=STACK_NAME)["Stacks"][0]
    return Stack(
        resources={s["LogicalResourceId"]: s["PhysicalResourceId"] for s in summaries},
        types={s["LogicalResourceId"]: s["ResourceType"] for s in summaries},
        outputs={o["OutputKey"]: o["OutputValue"] for o in described.get("Outputs", [])},
        left_out=tuple(left_out),
    )


def _read(template_file: Path) -> Template:
    try:
        return read_template(template_file.read_text())
    except (OSError, ValueError) as exc:
        raise DeploymentError(f"cannot read {template_file}: {exc}") from exc
    except Exception as exc:
        if type(exc).__module__.startswith("yaml"):
            raise DeploymentError(f"{template_file} is not YAML: {exc}") from exc
        raise


def _await_creation(cloudformation: Any) -> None:
    waiter = cloudformation.get_waiter("stack_create_complete")
    try:
        waiter.wait(
            StackName=STACK_NAME, WaiterConfig={"Delay": 0.25, "MaxAttempts": _DEPLOY_SECONDS * 4}
        )
    except Exception as exc:
        events = cloudformation.describe_stack_events(StackName=STACK_NAME)["StackEvents"]
        failures = [
            f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}"
            for event in events
            if event.get("ResourceStatus", "").endswith("FAILED")
        ]
        raise DeploymentError("the stack was not created\n" + "\n".join(failures)) from exc


def _upload(
    s3: Any, environment: MiniStackEnvironment, base: Path, places: list[CodePlace]
) -> dict[str, str]:
    s3.create_bucket(Bucket=_CODE_BUCKET)
    uploaded = {}
    for place in places:
        folder = (base / place.folder).resolve()
        if not folder.is_dir():
            raise DeploymentError(
                f"{place.logical_id}: {place.property} {place.folder} is not a folder"
            )
        key = f"{place.logical_id}.zip"
        s3.put_object(Bucket=_CODE_BUCKET, Key=key, Body=archive(environment, folder, place.prefix))
        uploaded[place.logical_id] = f"s3://{_CODE_BUCKET}/{key}"
    return uploaded


def archive(environment: MiniStackEnvironment, folder: Path, prefix: str) -> bytes:
    """Pack a code folder as ``sam build`` would, with its requirements for MiniStack's interpreter."""
    packed = io.BytesIO()
    requirements = folder / "requirements.txt"
    if requirements.is_file():
        packed.write(_packages(install_for(environment, requirements), prefix))
    with zipfile.ZipFile(packed, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archived:
        for file in sorted(folder.rglob("*")):
            relative = file.relative_to(folder)
            if not file.is_dir() and not _is_left_behind(relative):
                archived.write(file, f"{prefix}{relative.as_posix()}")
    return packed.getvalue()


def _packages(folder: Path, prefix: str) -> bytes:
    """Installed packages, packed once: there are hundreds of megabytes of them."""
    kept = folder.with_name(f"{folder.name}{prefix.replace('/', '-')}.zip")
    if not kept.is_file():
        unfinished = kept.with_name(f"{kept.name}.{os.getpid()}")
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archived:
            for file in sorted(folder.rglob("*")):
                if file.is_file():
                    archived.write(file, f"{prefix}{file.relative_to(folder).as_posix()}")
        unfinished.rename(kept)
    return kept.read_bytes()


def _is_left_behind(relative: Path) -> bool:
    return any(part.endswith(_NOT_SHIPPED) for part in relative.parts)
