"""Names made harmless: invisible characters, addresses, markup, and which links are followed."""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser

import pytest
from guiderail.rendering.escaping import (
    clipped,
    clipped_bytes,
    copyable,
    defanged,
    host_of,
    html_text,
    safe_link,
    visible,
)
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.rendering.notifications import HOSTILE_NAMES

LINKED = re.compile(
    r"(?i)[a-z][a-z0-9+.-]*://|www\.[a-z]|(?<![a-z])(mailto|javascript|data):\S|\b[a-z0-9-]+\.(?!(?:json|csv|html|tar|gz|txt|log|yaml|yml|xml|sql|png|ipynb|parquet|jsonl)\b)[a-z]{2,}|\d+(\.\d+){3}|\\\\"
)
"""What mail clients make links of, written without a look at how it is taken apart."""

PIECES = st.sampled_from(
    [
        *HOSTILE_NAMES,
        "www.", "http", "https", "ftp", ":", "//", "/", ".", "com", "a", "1", "0.42", "\\\\", "@", "<", ">",
        "&", '"', "'", "[", "]", "(", ")", "*", "_", "`", "~", "!", "|", "\n", "\r", "\t", "\u202e", "\u200b",
        "\u2028", "\ufe0f", "\U000e0041", "\u3164", "。", "．", "：", "é", "中", "🙂", "mailto:", "10.0.0.1",
    ]
)  # fmt: skip
NAMES = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=12).map("".join))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("income", "income"),
        ("0.42", "0.42"),
        ("observed 91.4%, threshold 1.5e-05.", "observed 91.4%, threshold 1.5e-05."),
        ("ends here. And goes on.", "ends here. And goes on."),
        ("no data: bias of loan-offers-prod", "no data: bias of loan-offers-prod"),
        ("arn:aws:sagemaker:eu-west-1:123456789012:x/y", "arn:aws:sagemaker:eu-west-1:123456789012:x/y"),
        ("http://evil.example/a?b=1", "http[:]//evil[.]example/a?b=1"),
        ("evil.example", "evil[.]example"),
        ("ceo@evil.example", "ceo@evil[.]example"),
        ("constraint_violations.json", "constraint_violations.json"),
        ("part-0.jsonl, model.tar.gz", "part-0.jsonl, model.tar.gz"),
        ("report.json.evil.com", "report.json[.]evil[.]com"),
        ("a.jsonx www.json", "a[.]jsonx www[.]json"),
        ("a.evil.co.uk", "a[.]evil[.]co[.]uk"),
        ("evil。example", "evil[.]example"),
        ("mailto:ceo", "mailto[:]ceo"),
        ("JavaScript:alert(1)", "JavaScript[:]alert(1)"),
        ("10.0.0.1", "10[.]0.0.1"),
        ("\\\\server\\share", "[\\]\\server\\share"),
    ],
)  # fmt: skip
def test_addresses_are_taken_apart_and_nothing_else(name: str, shown: str) -> None:
    assert defanged(name) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("one\r\ntwo\tthree", "one  two three"),
        ("invoice\u202egnp.exe", "invoicegnp.exe"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("tag\U000e0041 and\ufe0f more", "tag and more"),
        ("a\u3164b\u2800c", "abc"),
        ("no\u00a0break\u2028line", "no break line"),
        ("\ud800lone", "lone"),
        ("grün 中文 🙂", "grün 中文 🙂"),
    ],
)
def test_what_cannot_be_seen_goes(name: str, shown: str) -> None:
    assert visible(name) == shown


@given(NAMES)
@example("a://b.cc")
@example("http:http://x")
def test_no_name_looks_like_an_address(name: str) -> None:
    shown = defanged(name)
    assert not LINKED.search(shown)
    assert defanged(shown) == shown
    assert all(c == " " or unicodedata.category(c)[0] not in "CZ" for c in shown)


class Texts(HTMLParser):
    """Collects texts; anything else makes it fail."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        raise AssertionError(f"a tag: {tag} {attrs}")

    handle_endtag = handle_comment = handle_decl = handle_pi = handle_starttag  # type: ignore[assignment]


@given(NAMES)
def test_html_shows_a_name_as_it_is(name: str) -> None:
    texts = Texts()
    texts.feed(html_text(name))
    texts.close()
    assert "".join(texts.texts) == defanged(name)
    assert not set(html_text(name)) & set("<>\"'")


@pytest.mark.parametrize(
    "url",
    [
        "https://eu-west-1.console.aws.amazon.com/s3/buckets/b?region=eu-west-1&prefix=a/",
        "https://a.example:8443/x%20y#/processing-jobs/1",
        "https://host",
    ],
)
def test_our_links_are_followed(url: str) -> None:
    assert safe_link(url) == url
    assert host_of("https://a.example:8443/x") == "a.example:8443"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://a.example",
        "javascript:alert(1)",
        "https://good.example@evil.example/",
        "https://good.example\\@evil.example/",
        "https://a.example/\"onclick='x'",
        "https://a.example/<b>",
        "https://a.example/|label",
        "https://a.example/ b",
        "https://a.example/\n",
        "https://a.example\n",
        "https://аpple.example/",
        "https:///path",
        "data:text/html,x",
    ],
)
def test_other_links_are_not(url: str) -> None:
    assert safe_link(url) == ""


def test_a_command_is_copied_as_it_is_or_not_shown() -> None:
    assert copyable("aws s3 ls 's3://a.b'") == "aws s3 ls 's3://a.b'"
    assert copyable("aws s3 ls\nrm -rf x") == ""
    assert copyable("aws \u202e ls") == ""


@given(st.text(max_size=50), st.integers(min_value=3, max_value=20))
def test_cuts_keep_to_the_limit(text: str, most: int) -> None:
    assert len(clipped(text, most)) <= most
    assert len(clipped_bytes(text, most).encode(errors="replace")) <= max(most, 3)
    if len(text.encode(errors="replace")) <= most:
        assert clipped(text, most) == clipped_bytes(text, most) == text
