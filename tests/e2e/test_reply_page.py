"""The pages behind a reply link, opened and answered in a real browser without a display.

Needs Chromium or Chrome on the machine (``apt-get install chromium``); says so where there is none.
"""

from __future__ import annotations

import json
import os
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from guiderail.model.incident import IncidentState
from guiderail.model.message import ReplyAction
from guiderail.model.web import web_request

from tests.e2e.test_backtest_page import browser
from tests.replies import SECRET, World, token_of

pytestmark = pytest.mark.e2e

PHONE = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
DESKTOP = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
LONG = "3 findings: data quality of loan-risk-prod in eu-west-1, worst: " + "income_after_tax_" * 6
SCREENSHOTS = os.environ.get("GUIDERAIL_SCREENSHOTS")
"""Folder that keeps the pictures, for people to look at."""


class Page:
    """One tab of a browser, driven over its pipe (Chrome DevTools Protocol)."""

    def __init__(self, profile: Path) -> None:
        ours, theirs = os.pipe(), os.pipe()

        def as_three_and_four() -> None:
            # where --remote-debugging-pipe reads and writes
            reading, writing = os.dup(ours[0]), os.dup(theirs[1])
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        self.process = subprocess.Popen(
            [
                browser(),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--remote-debugging-pipe",
                f"--user-data-dir={profile}",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                "about:blank",
            ],
            stderr=subprocess.DEVNULL,
            preexec_fn=as_three_and_four,
            close_fds=False,
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._to, self._from = os.fdopen(ours[1], "wb", 0), os.fdopen(theirs[0], "rb", 0)
        self._left = b""
        self._number = 0
        self._session = ""
        self.complaints: list[str] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        attached = self("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Log", "Runtime"):
            self(f"{domain}.enable")

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        self._to.write(json.dumps(command).encode() + b"\0")
        while True:
            message = self._read()
            if message.get("id") == self._number:
                assert "error" not in message, message
                return dict(message["result"])

    def wait_for(self, method: str) -> None:
        """Wait for an event."""
        while self._read().get("method") != method:
            pass

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            chunk = self._from.read(65536)
            assert chunk, "the browser has gone"
            self._left += chunk
        raw, _, self._left = self._left.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        if message.get("method") == "Log.entryAdded":
            self.complaints.append(message["params"]["entry"]["text"])
        return message

    def open(self, url: str, screen: dict[str, Any]) -> None:
        """Open a URL on a screen of a size."""
        self("Emulation.setDeviceMetricsOverride", **screen)
        self("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")

    def value(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return self("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get(
            "value"
        )

    def press(self) -> None:
        """Press the page's button, and wait for the next page."""
        self("Runtime.evaluate", expression="document.querySelector('button').click()")
        self.wait_for("Page.loadEventFired")

    def picture(self, file: Path) -> int:
        """Take a picture of the whole page; its size in bytes."""
        data = self("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        file.write_bytes(b64decode(data))
        return file.stat().st_size


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    page = Page(tmp_path_factory.mktemp("profile"))
    yield page
    page._to.close()
    page._from.close()
    page.process.terminate()
    page.process.wait(timeout=20)


@contextmanager
def served(world: World) -> Iterator[str]:
    """The replies of a world at a URL of this machine, through Function URL events."""
    replying = world.replying()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            http = {"method": self.command, "path": self.path, "sourceIp": "127.0.0.1"}
            event = {
                "rawPath": self.path,
                "headers": {name.lower(): value for name, value in self.headers.items()},
                "requestContext": {"http": http},
                "body": body.decode(),
                "isBase64Encoded": False,
            }
            response = replying(web_request(event)).response()
            content = response["body"].encode()
            self.send_response(response["statusCode"])
            for name, value in {**response["headers"], "Content-Length": len(content)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = _answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/r/{SECRET}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
BOX = (
    "(({width,height}) => [width,height])(document.querySelector('button').getBoundingClientRect())"
)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("screen", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("action", [ReplyAction.ASSIGN, ReplyAction.SILENCE_24H])
def test_the_page_fits_its_screen(
    tab: Page, tmp_path: Path, action: ReplyAction, screen: dict[str, Any], dark: bool
) -> None:
    labels = {"endpoint": "loan-risk-prod", "feature": "income_after_tax_" * 8}
    world = World(token_of(action, title=LONG, labels=labels))
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    tab("Emulation.setEmulatedMedia", features=[scheme])
    folder = Path(SCREENSHOTS) if SCREENSHOTS else tmp_path
    name = f"{action}-{screen['width']}-{scheme['value']}.png"
    with served(world) as url:
        tab.open(url, screen)
        assert tab.value(FITS) is True
        width, height = tab.value(BOX)
        # a thumb hits it: 44 CSS pixels is what Apple's and W3C's guidelines (2.5.5) ask for
        assert height >= 44
        assert width >= 0.7 * screen["width"] if screen is PHONE else width < 400
        assert tab.picture(folder / name) > 10_000
    # the style sheet is in force: its hash is that of the policy
    ground = tab.value("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(17, 22, 29)" if dark else "rgb(243, 244, 246)")
    assert world.is_untouched()


@pytest.mark.parametrize("screen", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_a_person_assigns_and_comes_again(
    tab: Page, tmp_path: Path, screen: dict[str, Any]
) -> None:
    world = World(token_of(ReplyAction.ASSIGN))
    folder = Path(SCREENSHOTS) if SCREENSHOTS else tmp_path
    tab("Emulation.setEmulatedMedia", features=[])
    with served(world) as url:
        tab.open(url, screen)
        tab.value("document.querySelector('#to').value = 'Bea <b>of</b> risk'")
        tab.value("document.querySelector('#comment').value = 'feed is being mended'")
        assert world.is_untouched()
        tab.press()
        assert tab.value("document.querySelector('h1').textContent") == "Assigned"
        assert "assigned to Bea <b>of</b> risk" in tab.value("document.body.innerText")
        assert tab.value(FITS) is True
        tab.picture(folder / f"assigned-{screen['width']}.png")
        tab.open(url, screen)
        assert tab.value("document.querySelector('h1').textContent") == "Answered already"
        tab.picture(folder / f"used-{screen['width']}.png")
    assert world.incident().state is IncidentState.ACKNOWLEDGED
    assert world.incident().acknowledged_by == "Bea <b>of</b> risk"


def test_an_empty_name_is_not_sent(tab: Page) -> None:
    world = World(token_of(ReplyAction.ASSIGN))
    with served(world) as url:
        tab.open(url, PHONE)
        tab.value("document.querySelector('button').click()")
        assert tab.value("document.querySelector('#to').validity.valueMissing") is True
    assert world.is_untouched()


def test_a_form_sent_without_its_button_does_nothing(tab: Page) -> None:
    # Given a scanner that submits whatever form it finds
    world = World()
    with served(world) as url:
        tab.open(url, PHONE)
        tab("Runtime.evaluate", expression="document.querySelector('form').submit()")
        tab.wait_for("Page.loadEventFired")
        assert "Nothing was done" in tab.value("document.body.innerText")
    assert world.is_untouched()


def test_scripts_and_frames_are_kept_out(tab: Page) -> None:
    world = World()
    with served(world) as url:
        tab.open(url, DESKTOP)
        # even if somebody smuggled markup in, the browser would not run it
        smuggled = "var s=document.createElement('script');s.textContent='window.smuggled=1';"
        tab.value(smuggled + "document.body.append(s)")
        assert tab.value("window.smuggled") is None
        frame = f"document.body.innerHTML = '<iframe src={json.dumps(url)}></iframe>'"
        tab.complaints.clear()
        tab.value(frame)
        assert tab.value("window.frames[0].document.body?.innerText ?? ''") in ("", None)
    assert any("Content Security Policy" in text for text in tab.complaints)
