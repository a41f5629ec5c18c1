"""The events that are shipped for `sam local invoke` keep to the event model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from guiderail.errors import MalformedEventError
from guiderail.model.event import parse_job_event
from guiderail.services.identify import ruled_out_by_event

EVENTS = Path(__file__).parents[2] / "events" / "on_job_finished"
FILES = sorted(EVENTS.glob("*.json"))
REAL = [f for f in FILES if not f.stem.startswith(("near_miss", "sqs"))]


@pytest.mark.parametrize("file", REAL, ids=lambda f: f.stem)
def test_shipped_event_is_a_job_event(file: Path) -> None:
    event = parse_job_event(file.read_bytes())
    assert event.is_probe is file.stem.endswith("from_probe")
    assert (ruled_out_by_event(event.job) is not None) is file.stem.startswith("ignored")


@pytest.mark.parametrize("file", sorted(EVENTS.glob("near_miss*.json")), ids=lambda f: f.stem)
def test_near_miss_is_refused(file: Path) -> None:
    with pytest.raises(MalformedEventError):
        parse_job_event(file.read_bytes())


@pytest.mark.parametrize("file", sorted(EVENTS.glob("sqs*.json")), ids=lambda f: f.stem)
def test_queued_form_holds_shipped_events(file: Path) -> None:
    shipped = [json.loads(f.read_text()) for f in REAL]
    for record in json.loads(file.read_text())["Records"]:
        assert json.loads(record["body"]) in shipped


FORMS = {
    "on_job_finished": ("sqs", "near_miss"),
    "on_due": ("tick",),
    "deliver": ("sqs",),
    "on_reply": ("link", "slack", "forged"),
    "draw_pictures": ("",),
    "on_action_finished": ("sqs", "near_miss", "pipeline"),
    "remediate": ("step_judge", "step_wait", "step_give_up", "near_miss"),
    "reingest": ("plan", "ingest", "note", "sum_up"),
}


def test_every_function_has_events_in_all_its_forms() -> None:
    for function in Path(__file__).parents[2].joinpath("functions").iterdir():
        stems = [f.stem for f in EVENTS.parent.joinpath(function.name).glob("*.json")]
        for form in FORMS[function.name]:
            assert any(s.startswith(form) for s in stems), f"{function.name}: {form}"
