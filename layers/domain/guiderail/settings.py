"""Settings of the functions; the only place that reads the environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

import msgspec

from guiderail.errors import SettingsError
from guiderail.model.retraining import RetrainingMode, RetrainingRule
from guiderail.services.retraining import PARAMETER_FIELDS


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the functions; each field is the variable ``GUIDERAIL_<NAME>``."""

    table: str
    dead_letter_queue: str
    topic: str
    bus: str
    deliveries_queue: str
    deliveries_dead_letter_queue: str
    reply_url: str = ""
    draw_function: str = ""
    slack_signing_secret: str = ""
    slack_hooks: str = "https://hooks.slack.com/"
    retraining_plan: tuple[RetrainingRule, ...] = ()
    retraining_pipelines: tuple[str, ...] = ()
    pipeline_parameters: dict[str, str] = {}
    minimum_rows: int = 30
    max_report_bytes: int = 64 * 1024 * 1024
    worst_features: int = 10
    record_days: int = 90
    policy_bucket: str = ""
    policy_key: str = "policy.json"
    policy_seconds: int = 60
    audit_days: int = 400
    remediation_machine: str = ""
    actions_dead_letter_queue: str = ""
    reingestion_machine: str = ""
    reingestion_bucket: str = ""
    reingestion_image: str = ""
    reingestion_role: str = ""
    reingestion_instance_type: str = "ml.m5.xlarge"
    reingestion_instances: int = 4


def settings_from(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: A variable is missing or cannot be read; names the variable and its form.
    """

    def text(name: str, default: str | None = None) -> str:
        value = environment.get(name, default)
        if value is None or (default is None and not value):
            raise SettingsError(
                f"{name} is not set", remedy="The template sets it; deploy it again"
            )
        return value

    def whole(name: str, default: int) -> int:
        value = text(name, str(default))
        if not value.isascii() or not value.isdigit():
            raise SettingsError(f"{name} is {value!r}, not a whole number")
        return int(value)

    return Settings(
        table=text("GUIDERAIL_TABLE"),
        topic=text("GUIDERAIL_TOPIC"),
        bus=text("GUIDERAIL_BUS"),
        deliveries_queue=text("GUIDERAIL_DELIVERIES_QUEUE"),
        deliveries_dead_letter_queue=text("GUIDERAIL_DELIVERIES_DEAD_LETTER_QUEUE"),
        reply_url=text("GUIDERAIL_REPLY_URL", ""),
        draw_function=text("GUIDERAIL_DRAW_FUNCTION", ""),
        slack_signing_secret=text("GUIDERAIL_SLACK_SIGNING_SECRET", ""),
        slack_hooks=text("GUIDERAIL_SLACK_HOOKS", "https://hooks.slack.com/"),
        dead_letter_queue=text("GUIDERAIL_DEAD_LETTER_QUEUE"),
        retraining_plan=_plan(text("GUIDERAIL_RETRAINING_PLAN", "*=suggest")),
        retraining_pipelines=tuple(_listed(text("GUIDERAIL_RETRAINING_PIPELINES", ""))),
        pipeline_parameters=_parameters(text("GUIDERAIL_PIPELINE_PARAMETERS", "")),
        minimum_rows=whole("GUIDERAIL_MINIMUM_ROWS", 30),
        max_report_bytes=whole("GUIDERAIL_MAX_REPORT_BYTES", 64 * 1024 * 1024),
        worst_features=whole("GUIDERAIL_WORST_FEATURES", 10),
        record_days=whole("GUIDERAIL_RECORD_DAYS", 90),
        policy_bucket=text("GUIDERAIL_POLICY_BUCKET", ""),
        policy_key=text("GUIDERAIL_POLICY_KEY", "policy.json"),
        policy_seconds=whole("GUIDERAIL_POLICY_SECONDS", 60),
        audit_days=whole("GUIDERAIL_AUDIT_DAYS", 400),
        remediation_machine=text("GUIDERAIL_REMEDIATION_MACHINE", ""),
        actions_dead_letter_queue=text("GUIDERAIL_ACTIONS_DEAD_LETTER_QUEUE", ""),
        reingestion_machine=text("GUIDERAIL_REINGESTION_MACHINE", ""),
        reingestion_bucket=text("GUIDERAIL_REINGESTION_BUCKET", ""),
        reingestion_image=text("GUIDERAIL_REINGESTION_IMAGE", ""),
        reingestion_role=text("GUIDERAIL_REINGESTION_ROLE", ""),
        reingestion_instance_type=text("GUIDERAIL_REINGESTION_INSTANCE_TYPE", "ml.m5.xlarge"),
        reingestion_instances=whole("GUIDERAIL_REINGESTION_INSTANCES", 4),
    )


def _listed(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _plan(value: str) -> tuple[RetrainingRule, ...]:
    rules = []
    for entry in _listed(value):
        endpoints, _, what = entry.rpartition("=")
        mode, _, pipeline = what.partition(":")
        if not endpoints or mode not in list(RetrainingMode):
            raise SettingsError(
                f"GUIDERAIL_RETRAINING_PLAN: cannot read {entry!r}",
                remedy="Write endpoint-glob=off|suggest|auto[:pipeline-name], separated by commas",
            )
        rules.append(RetrainingRule(endpoints, RetrainingMode(mode), pipeline))
    return tuple(rules)


def _parameters(value: str) -> dict[str, str]:
    parameters = {}
    for entry in _listed(value):
        name, equals, template = entry.partition("=")
        unknown = set(re.findall(r"\{(\w*)\}", template)) - set(PARAMETER_FIELDS)
        if not equals or not name or unknown:
            raise SettingsError(
                f"GUIDERAIL_PIPELINE_PARAMETERS: cannot read {entry!r}",
                remedy="Write Name={field}, separated by commas; "
                f"fields are {', '.join(PARAMETER_FIELDS)}",
            )
        parameters[name] = template
    return parameters
