"""The project's template.yaml as tests see it: transformed by SAM, and resolved to plain values.

`load()` is the file as written, `transform()` is what CloudFormation gets, and `resolve()` is that
with every intrinsic function replaced by the value it has for some parameters. What only AWS knows
(an ARN, a generated name) stands as `<LogicalId>` or `<LogicalId.Attribute>`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from samtranslator.translator.transform import transform as sam_transform
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "template.yaml"
ACCOUNT = "111122223333"
REGION = "eu-central-1"
PSEUDO_PARAMETERS = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "guiderail",
    "AWS::URLSuffix": "amazonaws.com",
}
NO_VALUE = object()

Json = dict[str, Any]


class _NoManagedPolicies:
    """Stands in for the list of managed policies, which SAM would fetch from IAM."""

    def load(self) -> dict[str, str]:
        return {}


def load(path: Path = TEMPLATE) -> Json:
    """Returns the template as written, with short intrinsics (`!Ref x`) in their long form."""
    return cast(Json, yaml_parse(path.read_text(encoding="utf-8")))


def parameters_of(template: Mapping[str, Any], given: Mapping[str, str] | None = None) -> Json:
    """Returns a value for each parameter: the given one, its default, or a bucket that is ours."""
    values = {"ReportBucketArns": "arn:aws:s3:::drift-reports"} | dict(given or {})
    unknown = values.keys() - template["Parameters"].keys()
    if unknown:
        raise KeyError(f"template.yaml has no parameter {', '.join(sorted(unknown))}")
    return {
        name: values.get(name, declared.get("Default"))
        for name, declared in template["Parameters"].items()
    }


def transform(parameters: Mapping[str, str] | None = None, path: Path = TEMPLATE) -> Json:
    """Returns the CloudFormation that SAM makes of the template."""
    source = load(path)
    values = parameters_of(source, parameters)
    for resource in source["Resources"].values():
        for uri in ("CodeUri", "ContentUri", "DefinitionUri"):
            # The transform wants code and definitions to be uploaded already.
            if uri in resource.get("Properties", {}):
                resource["Properties"][uri] = "s3://code/package.zip"
    with patch.dict(os.environ, AWS_DEFAULT_REGION=REGION):
        return cast(Json, sam_transform(source, values, _NoManagedPolicies()))


def resolve(template: Mapping[str, Any], parameters: Mapping[str, str] | None = None) -> Json:
    """Returns a transformed template with its intrinsic functions evaluated.

    Resources whose condition does not hold are left out.
    """
    return _Resolver(template, parameters_of(template, parameters)).resources()


class _Resolver:
    def __init__(self, template: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
        self._template = template
        self._refs: Json = dict(PSEUDO_PARAMETERS)
        for name, value in parameters.items():
            is_list = template["Parameters"][name]["Type"] in {"CommaDelimitedList", "List<Number>"}
            self._refs[name] = str(value).split(",") if is_list else str(value)

    def resources(self) -> Json:
        return {
            name: self.value(deepcopy(resource))
            for name, resource in self._template["Resources"].items()
            if "Condition" not in resource or self.condition(resource["Condition"])
        }

    def condition(self, name: str) -> bool:
        return bool(self.value(self._template["Conditions"][name]))

    def value(self, node: Any) -> Any:
        if isinstance(node, list):
            items = [self.value(item) for item in node]
            return [item for item in items if item is not NO_VALUE]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (key, argument), *_ = node.items()
            if key == "Ref":
                return self.ref(argument)
            if key.startswith("Fn::"):
                return getattr(self, f"fn_{key[4:].lower()}")(argument)
        pairs = ((key, self.value(item)) for key, item in node.items())
        return {key: item for key, item in pairs if item is not NO_VALUE}

    def ref(self, name: str) -> Any:
        if name == "AWS::NoValue":
            return NO_VALUE
        return self._refs.get(name, f"<{name}>")

    def fn_getatt(self, argument: str | list[str]) -> str:
        path = argument if isinstance(argument, str) else ".".join(argument)
        return f"<{path}>"

    def fn_join(self, argument: list[Any]) -> str:
        separator, items = argument
        return str(separator).join(str(item) for item in self.value(items))

    def fn_split(self, argument: list[Any]) -> list[str]:
        separator, text = argument
        return str(self.value(text)).split(separator)

    def fn_sub(self, argument: str | list[Any]) -> str:
        text, extra = (argument, {}) if isinstance(argument, str) else argument
        names = {name: self.value(item) for name, item in extra.items()}

        def replacement(match: re.Match[str]) -> str:
            name = match.group(1)
            if name in names:
                return str(names[name])
            return str(self.fn_getatt(name) if "." in name else self.ref(name))

        return re.sub(r"\$\{([^!}]+)\}", replacement, text)

    def fn_if(self, argument: list[Any]) -> Any:
        name, yes, no = argument
        return self.value(yes if self.condition(name) else no)

    def fn_equals(self, argument: list[Any]) -> bool:
        left, right = (self.value(item) for item in argument)
        return bool(left == right)

    def fn_not(self, argument: list[Any]) -> bool:
        return not self.value(argument[0])


def of_type(resources: Mapping[str, Any], kind: str) -> Json:
    """Returns the properties of each resource of a CloudFormation type, by logical id."""
    return {
        name: resource.get("Properties", {})
        for name, resource in resources.items()
        if resource["Type"] == kind
    }


def statements(resources: Mapping[str, Any]) -> Iterator[tuple[str, Json]]:
    """Yields every policy statement of the stack with the logical id it belongs to."""
    for name, resource in resources.items():
        properties = resource.get("Properties", {})
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        documents += [
            properties[key] for key in ("PolicyDocument", "KeyPolicy") if key in properties
        ]
        for document in documents:
            for statement in document["Statement"]:
                yield name, statement


def as_list(value: Any) -> list[Any]:
    """Returns an IAM value, which may be one thing or a list of them, as a list."""
    return list(value) if isinstance(value, list) else [value]
