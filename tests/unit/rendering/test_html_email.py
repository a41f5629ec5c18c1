"""The HTML email: what is in it, what never is, and the MIME that carries it."""

from __future__ import annotations

import email
import email.policy
import html
import re
from collections.abc import Callable
from email.message import EmailMessage
from html.parser import HTMLParser

import pytest
from guiderail.model.message import Notification, Picture, Rendering
from guiderail.rendering import html_email, plain_text
from guiderail.rendering.html_email import EmailContent
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.unit.rendering.golden_files import compare
from tests.unit.rendering.notifications import (
    CASES,
    COMMAND,
    GROUP,
    RUNBOOK,
    fitting,
    hostile,
    hostile_proposal,
    huge,
    news,
    replies,
    resolved,
    test_message,
)
from tests.unit.rendering.test_escaping import LINKED, NAMES

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 40
PICTURES = (
    Picture(name="distribution-1.png", alt="debt_ratio moved up", png=PNG),
    Picture(name="trends.png", alt="<b>trend</b> of evil.example", png=PNG),
)
TAGS = set(
    "html head meta title style body table tr th td div span h1 h2 p b br bdi a pre code img".split()
)
SENDER, TO = "Guiderail <alerts@loans.example>", ("oncall@loans.example", "ml@loans.example")


class Page(HTMLParser):
    """What an HTML part is made of."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.sources: list[str] = []
        self.attributes: set[str] = set()
        self.texts: list[str] = []
        self._inside: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "br", "img"):
            self._inside.append(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "href":
                self.links.append(value or "")
            if name == "src":
                self.sources.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self._inside.pop() == tag

    def handle_data(self, data: str) -> None:
        # the command is copied as it is; a link's label is where the link leads
        if not {"style", "pre", "a"} & set(self._inside):
            self.texts.append(data)

    def is_whole(self) -> bool:
        return not self._inside


def ours(notification: Notification) -> set[str]:
    links = {link.url for run in notification.runs for link in run.links}
    return links | {RUNBOOK} | {reply.url for reply in replies()}


def rendered(notification: Notification, pictures: tuple[Picture, ...] = ()) -> EmailContent:
    return html_email.render(notification, replace(fitting(notification), pictures=pictures))


@pytest.mark.parametrize("case", sorted(CASES))
def test_messages_read_as_they_were_reviewed(case: str) -> None:
    pictures = PICTURES if case == "news" else ()
    content = rendered(CASES[case](), pictures)
    compare("html_email", f"{case}.html", content.html)
    compare("html_email", f"{case}.subject.txt", f"{content.subject}\n")


@pytest.mark.parametrize("case", sorted(CASES))
def test_html_is_whole_and_loads_nothing(case: str) -> None:
    content = rendered(CASES[case](), PICTURES)
    page = Page(content.html)
    assert page.is_whole()
    assert set(page.tags) <= TAGS
    assert set(page.links) <= ours(CASES[case]())
    assert page.sources == [f"cid:{picture.content_id}" for picture in content.pictures]
    assert not re.search(r"url\(|@import|http://", content.html)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(NAMES, min_size=1, max_size=6).map(tuple),
    st.sampled_from([hostile, hostile_proposal]),
)
def test_no_name_becomes_a_tag_an_attribute_or_a_link(
    names: tuple[str, ...], made: Callable[[tuple[str, ...]], Notification]
) -> None:
    known = made(names)
    page, plain = Page(rendered(known).html), Page(rendered(made(("name",))).html)
    assert page.is_whole()
    assert set(page.tags) <= TAGS and page.attributes <= plain.attributes
    assert set(page.links) <= ours(known) - {RUNBOOK}
    for text in page.texts:
        assert not LINKED.search(text), text


@settings(max_examples=60, deadline=None)
@given(NAMES)
def test_no_name_becomes_a_header(name: str) -> None:
    known = replace(news(), title=name)
    raw = html_email.mime_bytes(rendered(known), SENDER, TO)
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert set(message.keys()) == {
        "From", "To", "Subject", "Auto-Submitted", "References", "MIME-Version", "Content-Type",
    }  # fmt: skip
    subject = html_email.subject(known)
    assert len(subject) <= html_email.LONGEST_SUBJECT and subject.isprintable()
    assert message["Subject"].split() == subject.split()


@pytest.mark.parametrize("case", sorted(CASES))
def test_sizes_keep_to_their_limits(case: str) -> None:
    content = rendered(CASES[case]())
    assert len(content.html.encode()) <= html_email.MOST_BYTES
    assert len(content.text.encode()) <= plain_text.MOST_BYTES
    assert len(content.subject) <= html_email.LONGEST_SUBJECT


@settings(max_examples=20, deadline=None)
@given(st.sampled_from('n\U0001f642<"'), st.integers(min_value=200, max_value=5000))
def test_the_longest_names_fit_and_buttons_stay(character: str, length: int) -> None:
    content = rendered(hostile((character * length,) * 20))
    assert len(content.html.encode()) <= html_email.MOST_BYTES
    page = Page(content.html)
    assert page.is_whole()
    assert {reply.url for reply in replies()} <= set(page.links)


def test_long_lists_end_in_a_count_and_a_link() -> None:
    content = rendered(huge())
    shown = content.html.count("<bdi>feature_")
    left_out = sum(row.count for row in huge().rows[shown:])
    assert shown and f"and {300 + left_out} more: <a" in content.html
    assert "and runs of 95 more schedules" in content.html or "left out" in content.html


def test_the_command_can_be_copied() -> None:
    content = rendered(news())
    message = html_email.mime(content, SENDER, TO)
    page = message.get_body(("html",))
    assert isinstance(page, EmailMessage)
    pre = re.search(r"<pre[^>]*>(.*?)</pre>", page.get_content(), re.DOTALL)
    assert pre

    assert html.unescape(pre[1]) == COMMAND


def test_a_link_to_a_runbook_shows_its_host_and_others_are_text() -> None:
    assert ">runbooks.loans.example</a>" in rendered(news()).html
    for runbook in ("http://loans.example/x", "javascript:alert(1)", "https://good@evil.example/"):
        page = Page(rendered(replace(news(), runbook=runbook)).html)
        assert runbook not in page.links


def test_pictures_stand_in_the_mail_and_a_crowd_of_them_is_left_out() -> None:
    raw = html_email.mime_bytes(rendered(news(), PICTURES), SENDER, TO)
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert message.get_content_type() == "multipart/alternative"
    text, related = message.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert related.get_content_type() == "multipart/related"
    page, *pictures = related.iter_parts()
    assert page.get_content_type() == "text/html"
    called = re.findall(r'src="cid:([^"]+)"', page.get_content())
    assert [f"<{cid}>" for cid in called] == [picture["Content-ID"] for picture in pictures]
    assert [picture.get_content() for picture in pictures] == [PNG, PNG]
    assert all(picture.get_content_disposition() == "inline" for picture in pictures)
    large = Picture(name="x", alt="x", png=b"x" * (html_email.MOST_PICTURE_BYTES - 1))
    assert len(rendered(news(), (large, large)).pictures) == 1


def test_text_and_html_arrive_as_they_were_rendered() -> None:
    content = rendered(hostile())
    raw = html_email.mime_bytes(content, SENDER, TO)
    message = email.message_from_bytes(raw, policy=email.policy.default)
    text, page = message.iter_parts()
    for part, said in ((text, content.text), (page, content.html)):
        assert part.get_content().replace("\r\n", "\n") == said
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998
    assert raw.count(b"\n") == raw.count(b"\r\n")
    assert message["From"] == SENDER and message["To"] == ", ".join(TO)


def test_one_episode_is_one_thread() -> None:
    first, later = rendered(news()), rendered(resolved())
    other = rendered(replace(news(), episode="2027-01-01T00:00:00+00:00"))
    assert first.thread == later.thread != other.thread
    assert html_email.mime(first, SENDER, TO)["References"] == f"<{first.thread}@guiderail.invalid>"


def test_an_address_with_a_line_break_is_refused() -> None:
    with pytest.raises(ValueError, match="linefeed"):
        html_email.mime(rendered(news()), "a@loans.example\r\nBcc: b@evil.example", TO)


def test_a_test_says_so_in_subject_title_and_text() -> None:
    content = rendered(test_message())
    assert content.subject.startswith("[Guiderail] TEST: ")
    assert ">TEST</span>" in content.html and plain_text.TEST_NOTE in content.html
    assert content.text.startswith("TEST: ")
    assert "guiderail explain" not in content.html


def test_without_replies_nothing_is_said_of_answers() -> None:
    html = html_email.render(news(), Rendering()).html
    assert "Answer" not in html and "button" not in html.partition("</head>")[2]


def test_the_footer_and_the_note_are_told() -> None:
    html = html_email.render(news(), Rendering(note="Sent here as <slack> refused it.")).html
    assert f"guiderail explain {GROUP}" in html
    assert "Sent here as &lt;slack&gt; refused it." in html
