"""The page of ``guiderail backtest`` over a generated history, opened in a real browser without a display.

Needs Chromium or Chrome on the machine (``apt-get install chromium``); says so where there is none.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from guiderail_cli.backtest.page import page
from guiderail_cli.backtest_command import run_backtest

from benchmarks.history import write_history

pytestmark = pytest.mark.e2e

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
SECONDS = 120

OLD = """version: 1
defaults: {owner: ml-platform}
routes: {receiver: ml-oncall, repeat_interval: 1d}
"""
NEW = """version: 1
defaults: {owner: ml-platform}
rules:
  - name: drift twice
    match: {check: baseline_drift_check}
    set: {for: 2 of 3}
  - name: fraud team
    match: {endpoint: "card-fraud-*"}
    set: {owner: "fraud <b>team</b>", severity: error}
routes:
  receiver: ml-oncall
  repeat_interval: 1d
  routes:
    - {name: fraud, match: {owner: "fraud*"}, receiver: fraud-oncall}
"""


def browser() -> str:
    """A browser of this machine: of its packages, or one that Playwright keeps."""
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    kept = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH", Path.home() / ".cache/ms-playwright"))
    for found_path in sorted(kept.glob("chromium*/chrome-linux*/*")):
        if found_path.name in ("chrome", "headless_shell"):
            return str(found_path)
    pytest.skip("no Chromium or Chrome on this machine: apt-get install chromium")


def test_the_page_opens_and_its_charts_are_drawn(tmp_path: Path) -> None:
    chrome = browser()
    write_history(tmp_path / "history", days=30, endpoints=25, columns=12)
    for name, text in (("old.yaml", OLD), ("new.yaml", NEW)):
        (tmp_path / name).write_text(text)
    result = run_backtest(
        str(tmp_path / "history"), tmp_path / "new.yaml", tmp_path / "old.yaml", None, 30, 10**8
    )
    file = tmp_path / "page.html"
    file.write_text(page(result), encoding="utf-8")
    base = [
        chrome,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path / 'profile'}",
        # nothing may be asked of the network: every host is nowhere
        "--host-resolver-rules=MAP * ~NOTFOUND",
    ]
    screenshot = tmp_path / "page.png"

    dumped = subprocess.run(
        [*base, "--dump-dom", file.as_uri()],
        capture_output=True, text=True, timeout=SECONDS, check=True,
    )  # fmt: skip
    subprocess.run(
        [*base, "--window-size=1200,2000", f"--screenshot={screenshot}", file.as_uri()],
        capture_output=True, timeout=SECONDS, check=True,
    )  # fmt: skip

    dom = dumped.stdout
    # by day twice, by line, by owner, by receiver
    assert len(re.findall(r"<svg\b", dom)) >= 5
    days = len(result.policy.days)
    bars = re.findall(r'<rect [^>]*height="([\d.]+)"[^>]*class="rect', dom)
    assert len(bars) >= 4 * days
    assert sum(float(height) > 1 for height in bars) > days
    assert "fraud &lt;b&gt;team&lt;/b&gt;" in dom and "<b>team" not in dom
    assert "Refused to" not in dumped.stderr and "Content Security Policy" not in dumped.stderr
    assert screenshot.stat().st_size > 30_000
