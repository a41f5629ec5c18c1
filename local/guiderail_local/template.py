"""Reading template.yaml, and the small changes a local deployment makes to it.

All functions here are pure: text or mapping in, new mapping out.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import yaml

Template = dict[str, Any]

_SUB_REFERENCE = re.compile(r"\$\{([^!${}.][^${}.]*)(?:\.[^${}]*)?\}")


@dataclass(frozen=True)
class LeftOut:
    """Something of the template that the local deployment does without."""

    type: str
    logical_id: str
    reason: str


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms, ``!Ref`` and the like."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = str(value).split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short_form)  # type: ignore[no-untyped-call, unused-ignore]


def read_template(text: str) -> Template:
    """Read a template; short forms come out in their long form."""
    template = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    if not isinstance(template, dict):
        raise ValueError("the template is not a mapping")
    return template


def strip(template: Mapping[str, Any], provided: Set[str]) -> tuple[Template, list[LeftOut]]:
    """Leave out what the local CloudFormation cannot make.

    Args:
        template: A SAM template; ``AWS::Serverless::*`` is taken as provided, the transform expands it.
        provided: The resource types that can be made.

    Returns:
        A new template without the resources of other types, without the resources and outputs that
        refer to those, and a list of all that was left out, in the order of the template.
    """
    stripped = copy.deepcopy(dict(template))
    resources: dict[str, Any] = stripped.get("Resources", {})
    reasons: dict[str, str] = {}
    for logical_id, resource in resources.items():
        kind = str(resource.get("Type"))
        if not (kind in provided or kind.startswith(("AWS::Serverless::", "Custom::"))):
            reasons[logical_id] = "MiniStack has no such resource type"
    while True:
        more = {}
        for logical_id, resource in resources.items():
            lost = sorted(references(resource.get("Properties")) & reasons.keys())
            if lost and logical_id not in reasons:
                more[logical_id] = f"refers to {', '.join(lost)}"
        if not more:
            break
        reasons |= more
    left_out = [
        LeftOut(str(resources[i].get("Type")), i, reasons[i]) for i in resources if i in reasons
    ]
    for logical_id in reasons:
        del resources[logical_id]
    for resource in resources.values():
        _drop_dependencies(resource, reasons.keys())
    for name, output in list(stripped.get("Outputs", {}).items()):
        lost = sorted(references(output) & reasons.keys())
        if lost:
            left_out.append(LeftOut("Output", name, f"refers to {', '.join(lost)}"))
            del stripped["Outputs"][name]
    return stripped, left_out


def _drop_dependencies(resource: dict[str, Any], gone: Set[str]) -> None:
    depends = resource.get("DependsOn")
    if depends is None:
        return
    names = [depends] if isinstance(depends, str) else depends
    kept = [name for name in names if name not in gone]
    if not kept:
        del resource["DependsOn"]
    elif kept != names:
        resource["DependsOn"] = kept


def references(value: object) -> set[str]:
    """Logical ids (and parameters) that a part of a template refers to, in any of the three ways."""
    return set(_references(value))


def _references(value: object) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _references(item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key == "Ref" and isinstance(item, str):
                yield item
            elif key == "Fn::GetAtt":
                yield item.partition(".")[0] if isinstance(item, str) else str(item[0])
            elif key == "Fn::Sub":
                text, names = (item, {}) if isinstance(item, str) else (item[0], item[1])
                yield from (name for name in _SUB_REFERENCE.findall(text) if name not in names)
                yield from _references(list(names.values()))
            else:
                yield from _references(item)


def with_environment(template: Mapping[str, Any], variables: Mapping[str, str]) -> Template:
    """Give every function further environment variables; its own are kept."""
    changed = copy.deepcopy(dict(template))
    for resource in changed.get("Resources", {}).values():
        if resource.get("Type") == "AWS::Serverless::Function":
            properties = resource.setdefault("Properties", {})
            environment = properties.setdefault("Environment", {})
            environment["Variables"] = {**environment.get("Variables", {}), **variables}
    return changed


@dataclass(frozen=True)
class CodePlace:
    """A folder of code that the template names, and where a runtime looks for it in the archive."""

    logical_id: str
    property: str
    folder: str
    prefix: str


_CODE = {
    "AWS::Serverless::Function": ("CodeUri", ""),
    "AWS::Serverless::LayerVersion": ("ContentUri", "python/"),
}


_MACHINE = "AWS::Serverless::StateMachine"


def code_places(template: Mapping[str, Any]) -> list[CodePlace]:
    """The local folders whose content has to be uploaded before a deployment."""
    inherited = template.get("Globals", {}).get("Function", {}).get("CodeUri")
    places = []
    for logical_id, resource in template.get("Resources", {}).items():
        if resource.get("Type") not in _CODE:
            continue
        name, prefix = _CODE[resource["Type"]]
        folder = resource.get("Properties", {}).get(name, inherited if name == "CodeUri" else None)
        if isinstance(folder, str) and not folder.startswith("s3://"):
            places.append(CodePlace(logical_id, name, folder, prefix))
    return places


def with_code(template: Mapping[str, Any], uploaded: Mapping[str, str]) -> Template:
    """Point functions and layers at uploaded archives: S3 URIs by logical id."""
    changed = copy.deepcopy(dict(template))
    for place in code_places(template):
        resource = changed["Resources"][place.logical_id]
        resource.setdefault("Properties", {})[place.property] = uploaded[place.logical_id]
        # Build instructions are for `sam build`; what is deployed here is built already.
        metadata = {
            k: v for k, v in resource.pop("Metadata", {}).items() if not k.startswith("Build")
        }
        if metadata:
            resource["Metadata"] = metadata
    return changed


def definition_files(template: Mapping[str, Any]) -> dict[str, str]:
    """The local files that state machines are defined in, by logical id."""
    files = {}
    for logical_id, resource in template.get("Resources", {}).items():
        if resource.get("Type") == _MACHINE:
            file = resource.get("Properties", {}).get("DefinitionUri")
            if isinstance(file, str) and not file.startswith("s3://"):
                files[logical_id] = file
    return files


def with_definitions(
    template: Mapping[str, Any], definitions: Mapping[str, Mapping[str, Any]]
) -> Template:
    """Put the definitions of state machines into the template, in place of the files that hold them."""
    changed = copy.deepcopy(dict(template))
    for logical_id, definition in definitions.items():
        properties = changed["Resources"][logical_id]["Properties"]
        del properties["DefinitionUri"]
        properties["Definition"] = copy.deepcopy(dict(definition))
    return changed
