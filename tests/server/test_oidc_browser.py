"""Signing in at a provider with a real browser, which keeps its own counsel on cookies of other sites and on where a form may lead."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlencode

import pytest

from holdfast.cli.browser import _brought, _listening
from tests.server import browser
from tests.services import oidc
from tests.services.base import answers, free_port, wait_until

pytestmark = pytest.mark.skipif(browser.MISSING is not None, reason=str(browser.MISSING))

ROOT = Path(__file__).parents[2]


@pytest.fixture
def address(tmp_path):
    """A server, by its number, whose provider is another site, by its name."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with oidc.started([f"{url}/login/oidc/test/back"]) as provider:
        provider.issuer = provider.issuer.replace("127.0.0.1", "localhost")
        (tmp_path / "secret").write_text(oidc.SECRET)
        (tmp_path / "server.toml").write_text(
            f'data = "{tmp_path}/data"\nurl = "{url}"\n[[oidc]]\nname = "test"\nissuer = "{provider.issuer}"\n'
            f'client_id = "{oidc.CLIENT}"\nclient_secret_file = "{tmp_path}/secret"\ndomains = ["example.com"]\n'
        )
        line = [sys.executable, "-m", "holdfast.cli", "server", "start", "--port", str(port)]
        line += ["--config", str(tmp_path / "server.toml")]
        with subprocess.Popen(line, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}) as process:
            try:
                wait_until(lambda: answers(f"{url}/healthz"), 30, "the server")
                yield url
            finally:
                process.terminate()
                process.wait(20)


def test_program__by_a_provider(address, tmp_path):
    """A browser that a program opened signs in at another site, comes back signed in to what the program asks, and brings it a code."""
    nonce = "n" * 43
    with browser.browsing(tmp_path) as window, _listening(nonce) as listening:
        query = {"port": listening.server_port, "challenge": "c" * 43, "nonce": nonce}
        window.go(f"{address}/login/program?{urlencode(query)}")
        window.log()  # the form came with a 401, which the console tells
        window.click("//a[.='Sign in with test']")
        window.find("//h1[.='Sign in a program?']")
        assert window.text("//span[@class='who']") == "ann@example.com"
        assert {each["name"] for each in window.cookies()} == {"holdfast"}
        found: list[dict[str, str]] = []
        thread = threading.Thread(target=lambda: found.append(_brought(listening)), daemon=True)
        thread.start()
        window.click("//button[@value='allow']")
        thread.join(20)
        assert list(found[0]) == ["code"]
        assert "Back to the terminal" in window.text("//p")
        assert window.log() == []
