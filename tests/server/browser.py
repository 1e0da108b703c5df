"""A browser for tests: headless Chromium, driven by the WebDriver protocol over plain HTTP."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1200,800",
)
#: Why there is none, or None.
MISSING = next((f"no {name}: tools/services" for name in ("chromium", "chromedriver") if not shutil.which(name)), None)
DEADLINE = 20.0


class Browser:
    """One window. What is looked for is waited for."""

    def __init__(self, driver: str, profile: Path) -> None:
        self._driver = driver
        options = {"args": [*FLAGS, f"--user-data-dir={profile}"], "binary": shutil.which("chromium")}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        self._session = f"/session/{self._ask('POST', '/session', capabilities={'alwaysMatch': wanted})['sessionId']}"

    def go(self, url: str) -> None:
        """Open a page."""
        self._do("POST", "/url", url=url)

    @property
    def url(self) -> str:
        """Where it is."""
        return self._do("GET", "/url")

    @property
    def source(self) -> str:
        """The page as it is now."""
        return self._do("GET", "/source")

    def find(self, xpath: str) -> str:
        """An element, as soon as it is there."""
        return until(lambda: self.all(xpath), f"{xpath} in {self.url}")[0]

    def all(self, xpath: str) -> list[str]:
        """The elements that are there now."""
        return [each[ELEMENT] for each in self._do("POST", "/elements", using="xpath", value=xpath)]

    def click(self, xpath: str) -> None:
        """Click on an element."""
        self._do("POST", f"/element/{self.find(xpath)}/click")

    def type(self, xpath: str, text: str) -> None:
        """Type into a field."""
        self._do("POST", f"/element/{self.find(xpath)}/value", text=text)

    def text(self, xpath: str) -> str:
        """The text that is seen of an element."""
        return self._do("GET", f"/element/{self.find(xpath)}/text")

    def run(self, script: str) -> object:
        """What a script says, run in the page."""
        return self._do("POST", "/execute/sync", script=script, args=[])

    def cookies(self) -> list[dict]:
        """The cookies of the page."""
        return self._do("GET", "/cookie")

    def log(self) -> list[str]:
        """What the console said since it was asked last."""
        return [each["message"] for each in self._do("POST", "/se/log", type="browser")]

    def shoot(self, file: Path) -> None:
        """A picture of the window."""
        file.write_bytes(base64.b64decode(self._do("GET", "/screenshot")))

    def close(self) -> None:
        """End it."""
        self._do("DELETE", "")

    def _do(self, method: str, path: str, **body):
        return self._ask(method, self._session + path, **body)

    def _ask(self, method: str, path: str, **body):
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(self._driver + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                raise AssertionError(f"{method} {path} {body}: {error.read().decode()[:500]}") from None


@contextmanager
def browsing(folder: Path):
    """A browser with an empty profile; it and its driver end by their process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    profile = folder / "profile"
    profile.mkdir()
    with (folder / "driver.log").open("wb") as log:
        driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=log, stderr=log)
    try:
        until(lambda: _listens(port), "chromedriver")
        browser = Browser(f"http://127.0.0.1:{port}", profile)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        driver.send_signal(signal.SIGTERM)
        driver.wait(20)


def until(ask, what: str):
    """What is asked, as soon as it is something."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        found = ask()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"in vain waited for {what}")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
