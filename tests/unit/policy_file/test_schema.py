"""docs/policy.schema.json: up to date, and of one mind with the command."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped, unused-ignore]
import pytest
import yaml
from guiderail_cli.policy_file import compile_policy
from guiderail_cli.policy_file.schema import schema, schema_text

from tests.unit.policy_file.test_compiling import WHOLE
from tests.unit.policy_file.test_errors import WRONG
from tests.unit.policy_file.test_examples import EXAMPLES

FILE = Path(__file__).parents[3] / "docs" / "policy.schema.json"
VALIDATOR = jsonschema.Draft202012Validator(schema())

# what a schema cannot say: names, order, N and M, zones, what is certain to be useless …
SHAPE = ("not known", "is no number", "not a list", "not a mapping", "not text", "out of range",
         "is missing", "nothing stands here", "no duration", "no time of day")  # fmt: skip


def test_the_file_is_up_to_date() -> None:
    assert FILE.read_text() == schema_text(), "run python -m guiderail_cli.policy_file.schema"


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


def document(text: str) -> Any:
    return json.loads(json.dumps(yaml.safe_load(text), default=str))


@pytest.mark.parametrize(
    "text", [WHOLE.replace("012345678901", "'012345678901'"), *(e.values[0] for e in EXAMPLES)]
)
def test_what_compiles_is_valid(text: str) -> None:
    assert compile_policy(text, "p.yaml", datetime(2026, 11, 1, tzinfo=UTC)).policy
    assert list(VALIDATOR.iter_errors(document(text))) == []


@pytest.mark.parametrize(
    "text",
    [w[0] for w in WRONG if any(part in w[4] for part in SHAPE) and w[3] not in ("", "version")],
)
def test_what_has_a_wrong_shape_is_invalid(text: str) -> None:
    found = list(VALIDATOR.iter_errors(document("version: 1\n" + text)))
    # YAML reads .inf as a number
    assert found or ".inf" in text
