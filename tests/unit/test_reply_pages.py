"""The pages behind a reply link: what stands on them, and that nothing runs there."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from html.parser import HTMLParser

import pytest
from guiderail.model.message import REPLY_LABELS, ReplyAction
from guiderail.model.outcome import Reason
from guiderail.rendering import reply_pages as pages
from guiderail.rendering.reply_pages import ReplyOutcome
from guiderail.services.remediation_parts import part_of
from msgspec.structs import replace

from tests.replies import ASKED, NOW, POLICY, approval_of, token_of
from tests.unit.rendering.notifications import HOSTILE_NAMES

REFUSALS = [r for r in Reason if r.name.startswith("REPLY_") and r is not Reason.REPLY_DONE]
VOID = {"meta", "input"}


class Elements(HTMLParser):
    """Every element with its attributes, the text, and whether all are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs))
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def every_page() -> Iterator[str]:
    for action in ReplyAction:
        token = token_of(action)
        yield pages.confirmation(token, NOW)
        yield pages.confirmation(token, NOW, "Nothing was done: press the button.")
        yield pages.result(token, Reason.REPLY_DONE, ReplyOutcome(("a",), ("b",)), "c")
        yield pages.result(token, Reason.REPLY_REFUSED, ReplyOutcome((), ("b",)))
    for reason in REFUSALS:
        yield pages.refusal(reason)
        yield pages.refusal(reason, token_of(used_at=NOW, used_by="ana"))
        yield pages.refusal(reason, approval_of(used_at=NOW, used_by="ana"))
    part = part_of(ASKED, POLICY.remediations["retrain loans"])
    yield pages.confirmation(approval_of(), NOW, "", part)
    yield pages.trouble(True)
    yield pages.trouble(False)


PAGES = list(every_page())


@pytest.mark.parametrize("page", PAGES, ids=range(len(PAGES)))
def test_nothing_runs_and_nothing_comes_from_elsewhere(page: str) -> None:
    elements = Elements(page).found
    tags = {tag for tag, _ in elements}
    assert not tags & {"script", "img", "link", "iframe", "object", "svg", "base", "a"}
    for _, attributes in elements:
        assert not any(name.startswith("on") for name in attributes)
        assert not attributes.keys() & {"style", "src", "href", "action", "formaction"}
    assert "url(" not in pages.STYLE and "@import" not in pages.STYLE


@pytest.mark.parametrize("page", PAGES, ids=range(len(PAGES)))
def test_every_page_has_one_heading_and_fits_phones(page: str) -> None:
    elements = Elements(page)
    assert [tag for tag, _ in elements.found].count("h1") == 1
    assert ("meta", {"name": "viewport", "content": "width=device-width,initial-scale=1"}) in (
        elements.found
    )
    assert re.search(r"<title>\S[^<]* - Guiderail</title>", page)


def test_the_policy_names_the_style_sheet_that_is_there() -> None:
    (style,) = re.findall(r"<style>(.*?)</style>", pages.trouble(True), flags=re.S)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    assert pages.style_source() == f"'sha256-{digest}'"


@pytest.mark.parametrize("action", ReplyAction)
def test_the_form_of_an_action(action: ReplyAction) -> None:
    elements = Elements(pages.confirmation(token_of(action), NOW))
    (form,) = [a for tag, a in elements.found if tag == "form"]
    assert form == {"method": "post", "accept-charset": "utf-8"}
    (button,) = [a for tag, a in elements.found if tag == "button"]
    assert button == {"name": "do", "value": action.value}
    assert REPLY_LABELS[action] in elements.text
    fields = [a["name"] for tag, a in elements.found if tag in ("input", "textarea")]
    assert fields == ["to"] * (action is ReplyAction.ASSIGN) + ["name", "comment"]
    labelled = {a["for"] for tag, a in elements.found if tag == "label"}
    assert labelled == set(fields)
    # a hidden field is one that a scanner sends as well
    assert not any(a.get("type") == "hidden" for _, a in elements.found)


def test_an_approval_shows_what_would_be_done_before_its_button() -> None:
    part = part_of(ASKED, POLICY.remediations["retrain loans"])
    page = pages.confirmation(approval_of(), NOW, "", part)
    text = Elements(page).text
    for said in ("Approve this remediation?", "retrain endpoint/loan-risk-prod", "about $12.50"):
        assert said in text, said
        text = text.split(said, 1)[1]
    assert "NOT passed: approval: nobody approved it yet" in text
    assert page.index("What its gates said") < page.index("<form")


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_hostile_names_of_a_remediation_are_text(name: str) -> None:
    def made(given: str) -> str:
        known = replace(ASKED, action=given, target=given, facts={"report_uri": given})
        part = part_of(known, POLICY.remediations["retrain loans"])
        return pages.confirmation(approval_of(title=given), NOW, "", part)

    assert Elements(made(name)).found == Elements(made("x")).found
    assert "\u202e" not in made(name) and "\u200b" not in made(name)


def test_a_silence_says_what_and_until_when() -> None:
    text = Elements(pages.confirmation(token_of(ReplyAction.SILENCE_7D), NOW)).text
    assert "Nobody is told until 30 Nov 2026, 15:05 UTC of what has these labels" in text
    assert "endpointloan-risk-prod" in text and "checkbaseline_drift_check" in text


def test_what_was_done_stands_before_what_was_left() -> None:
    outcome = ReplyOutcome(("income: done",), ("age: is resolved",))
    text = Elements(pages.result(token_of(), Reason.REPLY_DONE, outcome, "known")).text
    for part in ("Acknowledged", "income: done", "Left as it was", "age: is resolved", "known"):
        assert part in text
        text = text.split(part, 1)[1]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
@pytest.mark.parametrize("action", ReplyAction)
def test_hostile_names_are_text(action: ReplyAction, name: str) -> None:
    token = token_of(
        action, title=name, channel=name, labels={name: name}, used_at=NOW, used_by=name
    )
    plain = token_of(action, title="t", channel="c", labels={"l": "l"}, used_at=NOW, used_by="u")

    def made(given: str, of: object) -> list[str]:
        assert isinstance(of, type(token))
        outcome = ReplyOutcome((given,), (given,))
        return [
            pages.confirmation(of, NOW, given),
            pages.result(of, Reason.REPLY_DONE, outcome, given),
            pages.refusal(Reason.REPLY_USED, of),
        ]

    for hostile, harmless in zip(made(name, token), made("x", plain), strict=True):
        # the same elements, whatever the names
        assert Elements(hostile).found == Elements(harmless).found
        text = Elements(hostile).text
        assert all(c.isprintable() or c == "\n" for c in text)
        assert "\u202e" not in hostile and "\u200b" not in hostile


@pytest.mark.parametrize("reason", REFUSALS)
def test_every_refusal_has_its_words(reason: Reason) -> None:
    assert pages.heading_of(reason)
    used = token_of(used_at=NOW, used_by="ana")
    said = pages.explanation_of(reason, used)
    assert said or reason is Reason.REPLY_REFUSED


def test_times_are_for_people() -> None:
    assert pages.moment(NOW) == "23 Nov 2026, 15:05 UTC"
    assert pages.moment(NOW - timedelta(days=20, hours=14)) == "3 Nov 2026, 01:05 UTC"
