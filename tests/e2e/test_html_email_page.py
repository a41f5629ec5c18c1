"""The HTML email as a browser without a display shows it, on the width of a phone and of a desk.

Needs Chromium or Chrome on the machine (``apt-get install chromium``); says so where there is none.
"""

from __future__ import annotations

import html
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from guiderail.model.message import Notification, Picture
from guiderail.rendering import html_email
from msgspec.structs import replace

from tests.e2e.test_backtest_page import SECONDS, browser
from tests.unit.rendering.notifications import (
    HOSTILE_NAMES,
    answerable,
    digest,
    hostile,
    huge,
    news,
    test_message,
)

pytestmark = pytest.mark.e2e

ATTACKS = (
    "<script>parent.document.title = 'owned'</script>",
    "<img src=x onerror=\"parent.document.title = 'owned'\">",
    "'\"><svg onload=\"parent.document.title = 'owned'\">",
    "</title></style><script>parent.document.title = 'owned'</script>",
    *HOSTILE_NAMES,
)
CASES = {
    "news": news(),
    "hostile": hostile(ATTACKS),
    "huge": huge(),
    "digest": digest(),
    "test": test_message(),
}
WIDTHS = (360, 390, 900)

# the browser's own window is never narrower than 500 pixels: frames are
MEASURE = """
<script>
const frames = [...document.querySelectorAll('iframe')];
Promise.all(frames.map(f => new Promise(done => { f.onload = done; f.srcdoc = f.dataset.page; })))
  .then(() => {
    const seen = frames.map(frame => {
      const page = frame.contentDocument;
      const button = page.querySelector('a.button');
      return {
        width: frame.clientWidth,
        needed: page.documentElement.scrollWidth,
        height: page.documentElement.scrollHeight,
        button: button ? button.getBoundingClientRect().height : null,
        sticking_out: [...page.querySelectorAll('td,th,p,div,pre,a,span,h1,h2')]
          .filter(e => e.getBoundingClientRect().right > frame.clientWidth + 0.5)
          .map(e => e.outerHTML.slice(0, 200)),
      };
    });
    document.body.innerHTML = '<pre id="seen"></pre>';
    document.getElementById('seen').textContent = JSON.stringify(seen);
  });
</script>
"""


def page_of(notification: Notification) -> str:
    picture = Picture(name="trends.png", alt="trend of income", png=b"")
    return html_email.render(notification, replace(answerable(), pictures=(picture,))).html


@pytest.mark.parametrize("case", CASES)
def test_an_email_fits_a_phone_and_runs_nothing(case: str, tmp_path: Path) -> None:
    chrome = browser()
    page = html.escape(page_of(CASES[case]), quote=True)
    frames = "".join(
        f'<iframe data-page="{page}" style="border:0;width:{width}px;height:900px"></iframe>'
        for width in WIDTHS
    )
    file = tmp_path / "frames.html"
    file.write_text(f'<!doctype html><meta charset="utf-8"><title>quiet</title>{frames}{MEASURE}')

    dumped = subprocess.run(
        [
            chrome,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            "--virtual-time-budget=5000",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True, text=True, timeout=SECONDS, check=True,
    ).stdout  # fmt: skip

    found = re.search(r'<pre id="seen">(.*?)</pre>', dumped, re.DOTALL)
    assert found, dumped[-2000:]
    seen: list[dict[str, Any]] = json.loads(html.unescape(found[1]))
    assert [frame["width"] for frame in seen] == list(WIDTHS)
    for frame in seen:
        assert frame["needed"] <= frame["width"], frame
        assert frame["sticking_out"] == []
        assert frame["height"] > 300
        # large enough for a thumb
        assert frame["button"] >= 40
    assert "<title>quiet</title>" in dumped
