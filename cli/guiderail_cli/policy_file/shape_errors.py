"""What pydantic finds wrong, in words for the person who wrote the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, get_args, get_origin

from guiderail.model.policy import ActionKind, ChannelKind
from pydantic import BaseModel, ValidationError

from guiderail_cli.policy_file.channels import Channel
from guiderail_cli.policy_file.document import Node, Path, field_name
from guiderail_cli.policy_file.models import (
    IncidentMatch,
    PolicyFile,
    Receiver,
    Rule,
    RuleMatch,
    Settings,
)
from guiderail_cli.policy_file.problems import Level, Problem
from guiderail_cli.policy_file.remediations import Remediation
from guiderail_cli.policy_file.values import TOLD_ELSEWHERE, Section, shown, suggestion

_WANTED = {
    "float_parsing": ("is no number", "Write a number such as 0.25"),
    "float_type": ("is no number", "Write a number such as 0.25"),
    "finite_number": ("is no finite number", "Write a number such as 0.25"),
    "int_parsing": ("is no whole number", "Write a number such as 30"),
    "int_type": ("is no whole number", "Write a number such as 30"),
    "int_from_float": ("is no whole number", "Write a number such as 30"),
    "string_type": ("is not text", "Write one text here"),
    "list_type": ("is not a list", "Write [a, b], or one entry per line after a dash"),
    "dict_type": ("is not a mapping", "Write key: value lines below it, indented"),
    "model_type": ("is not a mapping", "Write key: value lines below it, indented"),
}


def empty_values(document: Node, file: str) -> Iterator[Problem]:
    """Yield keys and list items that have no value; a section at the top may be empty."""
    if isinstance(document.value, dict):
        for name, (_, section) in document.value.items():
            if section.value is not None:
                yield from _empty(section, (name,), file)


def _empty(node: Node, path: Path, file: str) -> Iterator[Problem]:
    below: Iterable[tuple[str | int, Node]] = ()
    if isinstance(node.value, dict):
        below = [(name, value) for name, (_, value) in node.value.items()]
    elif isinstance(node.value, list):
        below = list(enumerate(node.value))
    for step, value in below:
        if value.value is None:
            yield Problem(
                level=Level.ERROR,
                file=file,
                line=value.line,
                column=value.column,
                field=field_name((*path, step)),
                message="nothing stands here",
                remedy="Write a value or remove the line",
            )
        else:
            yield from _empty(value, (*path, step), file)


def shape_problems(error: ValidationError, document: Node, file: str) -> Iterator[Problem]:
    """Yield a problem per error of pydantic, at its place in the file."""
    for detail in error.errors(include_url=False):
        path: Path = tuple(step for step in detail["loc"] if step != "[key]")
        kind, value = detail["type"], detail["input"]
        if kind == TOLD_ELSEWHERE or (value is None and kind != "missing"):
            continue  # an empty value is told by empty_values
        line, column = document.place(path, of_key=kind == "extra_forbidden")
        message, remedy = _words(kind, value, path, detail.get("ctx", {}), detail["msg"])
        yield Problem(
            level=Level.ERROR,
            file=file,
            line=line,
            column=column,
            field=field_name(path),
            message=message,
            remedy=remedy,
        )


def _words(
    kind: str, value: object, path: Path, context: dict[str, Any], otherwise: str
) -> tuple[str, str]:
    given = "a mapping" if isinstance(value, dict) else "a list" if isinstance(value, list) else ""
    given = given or shown(value)
    if "remedy" in context:
        return str(context["told"]), str(context["remedy"])
    if kind == "extra_forbidden":
        return _unknown_key(path)
    if kind == "missing":
        return _missing(path)
    if kind in ("enum", "literal_error"):
        wanted = str(context["expected"]).replace("'", "")
        near = suggestion(given, wanted.replace(" or ", ", ").split(", "))
        return f"{given} is not known", near or f"Write {wanted}"
    if kind in _WANTED:
        told, remedy = _WANTED[kind]
        return f"{given} {told}", remedy
    limits = {"greater_than": "gt", "greater_than_equal": "ge", "less_than_equal": "le"}
    if kind in limits:
        words = {"gt": "more than", "ge": "at least", "le": "at most"}[limits[kind]]
        return f"{given} is out of range", f"Write {words} {context[limits[kind]]:g}"
    return f"{given}: {otherwise}", ""


def _missing(path: Path) -> tuple[str, str]:
    if path == ("version",):
        return "the version of the format is missing", "Begin the file with version: 1"
    return f"{path[-1]} is missing", f"Add {path[-1]}:"


def _unknown_key(path: Path) -> tuple[str, str]:
    key, model = str(path[-1]), _model_at(path[:-1])
    message = f"the key {shown(key)} is not known"
    if path == ("silences",):
        return message, "Silences do not live in the policy: use guiderail incidents silence"
    if model is RuleMatch and key in ("severity", "owner"):
        return message, f"Rules set {key}; only routes and inhibitions match it"
    if model is RuleMatch and key in ("labels", "tags"):
        return message, "A rule matches tags of the monitoring schedule: write tag:"
    if model is IncidentMatch and key in ("tag", "tags"):
        return message, "An incident has no tags: set labels in a rule and match labels: here"
    if model is Channel and key == ChannelKind.BUS:
        return message, "Every message goes to the event bus anyway: remove it"
    if model is Receiver and key in _keys(Channel):
        return message, f"Write it below channels: with a dash, - {key}:"
    if model is Rule and key in _keys(Settings):
        return message, f"Write {key} below set:"
    if model is Rule and key in _keys(RuleMatch):
        return message, f"Write {key} below match:"
    if model is Remediation and (action := _action_with(key)):
        return message, f"Write {key} below {action}:"
    known = _keys(model) if model else ()
    return message, suggestion(key, known) or f"Known keys are {', '.join(known)}"


def _keys(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _action_with(key: str) -> str:
    """The first action that has a parameter; empty if none has."""
    for kind in ActionKind:
        parts = _parts(Remediation.model_fields[kind].annotation)
        if any(key in _keys(p) for p in parts if isinstance(p, type) and issubclass(p, Section)):
            return kind
    return ""


def _model_at(path: Path) -> type[BaseModel] | None:
    model: type[BaseModel] | None = PolicyFile
    steps = iter(path)
    for step in steps:
        if isinstance(step, int) or model is None:
            continue
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        if step not in fields:
            return None
        annotation = fields[step].annotation
        if any(get_origin(part) is dict for part in _parts(annotation)):
            next(steps, None)
        model = next(
            (p for p in _parts(annotation) if isinstance(p, type) and issubclass(p, BaseModel)),
            None,
        )
    return model


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)
