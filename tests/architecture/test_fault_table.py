"""docs/delivery.md agrees with the tests and the code that it names."""

from __future__ import annotations

import ast
import re
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import pytest
from guiderail.adapters.secrets import SHAPES
from guiderail.model.delivery import DeliveryState
from guiderail.model.policy import ChannelKind

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "delivery.md").read_text()
FAULTS = TEXT.partition("\n## Faults\n")[2]

NO_FAULTS = {
    "test_delivering.py": {
        "test_delivered_is_what_the_channel_said_it_has",
        "test_a_delivery_takes_three_calls_besides_the_channels_own",
        "test_a_batch_is_read_at_once_and_each_message_stands_for_itself",
        "test_an_acknowledgement_is_passed_on_to_tools_that_keep_incidents",
        "test_a_thread_is_handed_to_the_next_message_of_its_episode",
        "test_links_are_opaque_tokens_kept_hashed",
        "test_there_are_no_links_where_nobody_can_answer",
        "test_approvals_are_opaque_tokens_that_end_with_the_remediation",
        "test_nothing_is_approved_where_nobody_can",
        "test_approvers_of_an_action_are_enough_to_be_asked",
    },
    "test_delivery_faults.py": set(),
    "test_channels.py": {
        "test_every_channel_takes_every_message",
        "test_receipts_are_the_channels_own_ids",
        "test_pagerduty_and_jsm_follow_an_incident_to_its_end",
        "test_pagerduty_and_jsm_are_told_of_a_remediation_beside_its_incident",
        "test_a_remediation_is_told_in_the_thread_and_leaves_its_root_alone",
        "test_a_hundred_at_once_all_arrive",
        "test_a_webhook_of_ones_own_may_answer_any_2xx",
        "test_news_goes_into_the_thread_and_the_root_is_kept_up_to_date",
        "test_pictures_hang_in_the_thread_of_the_first_message",
        "test_slack_sdks_own_client",
        "test_slack_sdks_own_webhook_client",
        "test_the_topic",
        "test_amazon_q",
        "test_the_bus",
        "test_email",
        "test_pictures_come_from_their_function",
    },
}
"""Tests of these files that inject nothing; every other one has its row in the table."""


def named_tests(file: str) -> set[str]:
    """Names of the test functions of all files of that name."""
    found = list((ROOT / "tests").rglob(file))
    assert found, f"docs/delivery.md names {file}, which is not there"
    return {
        node.name
        for path in found
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def rows() -> list[list[str]]:
    lines = [line for line in FAULTS.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if row[0] != "fault" and not row[0].startswith("---")]


NAMED = re.findall(r"`(test_\w+\.py)::(test_\w+)`", FAULTS)


def test_every_row_has_a_fault_an_outcome_and_a_proof() -> None:
    assert len(rows()) > 60
    for row in rows():
        assert len(row) == 3 and all(row), row
        proofs = row[2].split(", ")
        assert all(re.fullmatch(r"`test_\w+\.py::test_\w+`", proof) for proof in proofs), row


def test_every_test_that_is_named_is_there() -> None:
    there = {file: named_tests(file) for file, _ in NAMED}
    assert [f"{file}::{name}" for file, name in NAMED if name not in there[file]] == []


@pytest.mark.parametrize("file", NO_FAULTS)
def test_every_injected_fault_is_in_the_table(file: str) -> None:
    listed = {name for named, name in NAMED if named == file}
    assert NO_FAULTS[file] <= named_tests(file), "a name that no test has any more"
    assert not NO_FAULTS[file] & listed
    assert named_tests(file) - NO_FAULTS[file] - listed == set(), "add a row to docs/delivery.md"


def table(heading: str) -> list[list[str]]:
    """Rows below a heading, up to the next one, without the table's head."""
    section = re.split(r"^#+ ", TEXT.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.M)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_states() -> None:
    assert [row[0] for row in table("Delivery")] == [f"`{state}`" for state in DeliveryState]


def test_channels_and_the_fields_of_their_secrets() -> None:
    assert [row[0] for row in table("Channels")] == [f"`{kind}`" for kind in ChannelKind]
    for row in table("Channels"):
        shape = SHAPES.get(ChannelKind(row[0].strip("`")))
        needed, _, optional = row[2].partition("(")
        assert re.findall(r"`(\w+)`", needed) == list(shape.needed if shape else ())
        assert re.findall(r"`(\w+)`", optional) == list(shape.optional if shape else ())


UNITS = {"s": 1, "min": 60, "h": 3600, "KB": 1024, "bytes": 1, "characters": 1, "messages": 1}


@pytest.mark.parametrize("row", table("Numbers"), ids=lambda row: row[2].strip("`"))
def test_numbers(row: list[str]) -> None:
    number, unit = row[1].split()
    module, _, name = row[2].strip("`").rpartition(".")
    constant = getattr(import_module(f"guiderail.{module}"), name)
    seconds = constant.total_seconds() if isinstance(constant, timedelta) else constant
    assert seconds == int(number.replace(",", "")) * UNITS[unit]
