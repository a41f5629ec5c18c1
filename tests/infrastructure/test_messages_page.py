"""The page of the demo's messages: what came out of the stack is shown, and nothing of it runs."""

from __future__ import annotations

import pytest
from guiderail_local.messages_page import Arrived, page

LINK = "<https://aws.example/s3?bucket=b&amp;prefix=p|Report> and <https://aws.example/x|Job>"


def slack(*blocks: dict[str, object]) -> Arrived:
    return Arrived("slack", "drift", content={"text": "drift", "blocks": list(blocks)})


def test_slack_s_links_lead_where_they_say() -> None:
    shown = page([slack({"type": "section", "text": {"type": "mrkdwn", "text": LINK}})])
    assert '<a href="https://aws.example/s3?bucket=b&amp;prefix=p"' in shown
    assert ">Report</a> and <a" in shown


def test_a_card_is_readable() -> None:
    card = {
        "type": "AdaptiveCard",
        "body": [
            {"type": "TextBlock", "text": "1 finding"},
            {"type": "FactSet", "facts": [{"title": "Observed", "value": "0.4"}]},
            {"type": "Unheard", "of": 1},
        ],
        "actions": [{"type": "Action.OpenUrl", "title": "Report", "url": "https://aws.example/x"}],
    }
    arrived = Arrived("teams", "", content={"attachments": [{"content": card}]})
    shown = page([arrived])
    assert "<p>1 finding</p>" in shown
    assert "<td>Observed</td><td>0.4</td>" in shown
    assert '<a href="https://aws.example/x"' in shown
    assert "&quot;Unheard&quot;" in shown


def test_pictures_of_a_mail_stand_where_it_names_them() -> None:
    mail = Arrived(
        "email", "drift", html='<head></head><img src="cid:a.png">', pictures={"a.png": b"x"}
    )
    shown = page([mail])
    assert "cid:a.png" not in shown
    assert "data:image/png;base64,eA==" in shown
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in shown


HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.mark.parametrize(
    "arrived",
    [
        Arrived(HOSTILE, HOSTILE, HOSTILE, HOSTILE),
        Arrived("email", "", html=HOSTILE + '"><script>alert(2)</script>'),
        Arrived("webhook", "", content={HOSTILE: [HOSTILE]}),
        Arrived("slack", "", pictures={HOSTILE: b""}),
        slack(
            {"type": "header", "text": {"text": HOSTILE}},
            {"type": "section", "text": {"text": f"<javascript:alert(1)|{HOSTILE}>"}},
            {
                "type": "actions",
                "elements": [{"text": {"text": HOSTILE}, "url": "javascript:alert(1)"}],
            },
        ),
    ],
)
def test_nothing_of_a_message_runs(arrived: Arrived) -> None:
    shown = page([arrived])
    assert "<script" not in shown
    assert "<img src=x" not in shown
    assert 'href="javascript' not in shown


def test_says_that_nothing_arrived() -> None:
    assert "None arrived." in page([])
