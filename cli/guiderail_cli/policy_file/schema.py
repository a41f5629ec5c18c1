"""The JSON Schema of ``guiderail.yaml``, for editors: ``python -m guiderail_cli.policy_file.schema``.

It says what the shape must be; ``guiderail policy check`` says more.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from guiderail_cli.policy_file.models import PolicyFile

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """The schema as plain values; a key that is optional may be left out, not be null."""
    made = _tidied(PolicyFile.model_json_schema())
    windows = made["properties"]["hours"]["additionalProperties"]
    made["properties"]["hours"]["additionalProperties"] = {"anyOf": [windows["items"], windows]}
    return {"$schema": DIALECT, "title": "Guiderail policy", **made}


def schema_text() -> str:
    """The schema as the published file has it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _tidied(value: Any) -> Any:
    """Without null, generated titles, and defaults that nobody would write like this."""
    if isinstance(value, list):
        return [_tidied(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _tidied(item) for key, item in value.items()}
    if isinstance(kept.get("title"), str):
        del kept["title"]
    default = kept.get("default")
    as_written = isinstance(default, str if kept.get("type") == "string" else str | int | float)
    if not as_written:
        kept.pop("default", None)
    kinds = [kind for kind in kept.pop("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        return {**kinds[0], **kept}
    return {**kept, "anyOf": kinds} if kinds else kept


if __name__ == "__main__":
    sys.stdout.write(schema_text())
