"""Pipeline definitions as far as a played execution needs them: parameters, steps, what they refer to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from guiderail_local.sagemaker.parts import refused

_TYPES: Mapping[str, type] = {"Integer": int, "Float": float}


class Definition:
    """A definition with the parameters of one execution.

    The language is that of the schema version 2020-12-01, as the SDK writes it: ``Parameters``, ``Steps``,
    ``{"Get": "Parameters.Name"}``, ``{"Get": "Steps.Name.Property"}`` and ``{"Std:Join": ...}``.
    """

    def __init__(self, text: str, given: Mapping[str, str]) -> None:
        """Check the parameters.

        Raises:
            JsonRESTError: One is not defined, not of its type, or missing: what the service refuses.
        """
        content = json.loads(text)
        self.steps: list[Mapping[str, Any]] = content.get("Steps", [])
        defined = content.get("Parameters")
        if defined is None:  # a sketch of a pipeline: it takes whatever it is given
            self.parameters: dict[str, Any] = dict(given)
            return
        names = {parameter["Name"] for parameter in defined}
        for name in given:
            if name not in names:
                raise refused("ValidationException", f"Found undefined parameter: {name}")
        self.parameters = {p["Name"]: _value(p, given.get(p["Name"])) for p in defined}

    def resolved(self, value: Any, execution: str) -> Any:
        """A value without references; what a step would have made becomes an S3 URI of the execution."""
        if isinstance(value, list):
            return [self.resolved(item, execution) for item in value]
        if not isinstance(value, Mapping):
            return value
        if "Get" in value:
            return self._got(str(value["Get"]), execution)
        if "Std:Join" in value:
            join = value["Std:Join"]
            parts = [str(self.resolved(item, execution)) for item in join["Values"]]
            return str(join["On"]).join(parts)
        return {name: self.resolved(item, execution) for name, item in value.items()}

    def _got(self, path: str, execution: str) -> Any:
        kind, _, rest = path.partition(".")
        if kind == "Parameters":
            return self.parameters[rest]
        if kind == "Execution":
            return execution
        step, _, made = rest.partition(".")
        for output in self._outputs(step):
            if f"'{output.get('OutputName')}'" in made or f'"{output.get("OutputName")}"' in made:
                return self.resolved(output["S3Output"]["S3Uri"], execution)
        return f"s3://pipelines/{execution}/{step}/{made}"

    def _outputs(self, step: str) -> Iterator[Mapping[str, Any]]:
        for one in self.steps:
            if one["Name"] == step:
                config = one.get("Arguments", {}).get("ProcessingOutputConfig", {})
                yield from config.get("Outputs", [])


def _value(defined: Mapping[str, Any], given: str | None) -> Any:
    name, kind = defined["Name"], defined["Type"]
    if given is None:
        if "DefaultValue" not in defined:
            raise refused("ValidationException", f"Parameter {name} has neither value nor default")
        return defined["DefaultValue"]
    if given == "":
        raise refused(
            "ValidationException", '[string "" is too short (length: 0, required minimum: 1)]'
        )
    if "EnumValues" in defined and given not in map(str, defined["EnumValues"]):
        raise refused("ValidationException", f"Parameter {name} must be of {defined['EnumValues']}")
    try:
        return _TYPES.get(kind, str)(given)
    except ValueError:
        raise refused("ValidationException", f"Parameter {name} is not of type {kind}") from None
