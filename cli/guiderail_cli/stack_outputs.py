"""Where the parts of a deployed stack are: named by an option, by a variable, or by the stack's outputs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from guiderail.errors import GuiderailError, SettingsError


class Part(NamedTuple):
    """A part of the stack: its output in the template, and the variable and option that name it too."""

    output: str
    variable: str
    option: str
    what: str


RUN_TABLE = Part("RunTableName", "GUIDERAIL_TABLE", "--table", "table")
POLICY_BUCKET = Part("PolicyBucketName", "GUIDERAIL_POLICY_BUCKET", "--policy-bucket", "policy")
DELIVERIES_QUEUE = Part(
    "DeliveriesQueueUrl", "GUIDERAIL_DELIVERIES_QUEUE", "--queue", "queue of deliveries"
)


def find_parts(stack: str, wanted: Mapping[Part, str | None]) -> list[str]:
    """What each part is called: as given, else by its variable, else by the stack's outputs.

    Args:
        stack: Name of the CloudFormation stack; it is asked only if something is not named otherwise.
        wanted: Parts with what their options say.

    Raises:
        SettingsError: Nothing names a part.
        GuiderailError: CloudFormation did not answer, or knows no such stack.
    """
    found = {part: given or os.environ.get(part.variable, "") for part, given in wanted.items()}
    missing = [part for part, name in found.items() if not name]
    if missing:
        outputs = _outputs_of(stack, [part.option for part in wanted])
        found |= {part: outputs.get(part.output, "") for part in missing}
    for part, name in found.items():
        if not name:
            raise SettingsError(
                f"stack {stack} has no output that names the {part.what}",
                remedy=f"Deploy a newer version, or pass {part.option}",
            )
    return list(found.values())


def _outputs_of(stack: str, options: Sequence[str]) -> Mapping[str, str]:
    import boto3
    from guiderail.adapters.clients import translated

    try:
        with translated(f"DescribeStacks {stack}"):
            described = boto3.client("cloudformation").describe_stacks(StackName=stack)
    except GuiderailError as error:
        comma = "," if len(options) > 1 else ""
        raise type(error)(
            str(error), remedy=f"Pass --stack{comma} or {' and '.join(options)}"
        ) from error
    return {o["OutputKey"]: o["OutputValue"] for o in described["Stacks"][0].get("Outputs", ())}
