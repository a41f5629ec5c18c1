"""template.yaml reads like a document."""

from __future__ import annotations

import re

from tests.template import TEMPLATE, Json

SECTIONS = [
    "Parameters", "Globals", "Storage", "Bus and rules", "Queues", "Clock", "Alerts", "Layers",
    "Functions", "State machines", "Alarms", "Outputs",
]  # fmt: skip


def test_has_its_sections_in_order() -> None:
    banners = re.findall(
        r"^ *# =+ ([A-Z][a-z ]+)$", TEMPLATE.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert banners == SECTIONS


def test_describes_every_parameter_and_output(written: Json) -> None:
    entries = written["Parameters"] | written["Outputs"]
    assert [name for name, entry in entries.items() if not entry.get("Description")] == []


def test_asks_for_the_buckets_and_nothing_else(written: Json) -> None:
    required = [
        name for name, declared in written["Parameters"].items() if "Default" not in declared
    ]
    assert required == ["ReportBucketArns"]


def test_suggests_pipelines_and_starts_none_by_default(written: Json) -> None:
    assert written["Parameters"]["RetrainingPlan"]["Default"] == "*=suggest"
    assert written["Parameters"]["RetrainingPipelineArns"]["Default"] == ""


def test_line_length() -> None:
    lines = TEMPLATE.read_text(encoding="utf-8").splitlines()
    assert [number for number, line in enumerate(lines, 1) if len(line) > 120] == []
