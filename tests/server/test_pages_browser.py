"""The pages in a real browser: from signing in to signing out, over loopback.

``HOLDFAST_TEST_SHOTS=$PWD/docs/pages python -m pytest tests/server/test_pages_browser.py`` makes the pictures of the guide.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import holdfast
from holdfast.formats.people import ProjectRequest
from holdfast.server import accounts, memberships, projects
from holdfast.server.access import Role
from holdfast.server.settings import load_settings
from holdfast.server.start import prepare
from tests.server import browser
from tests.server.conftest import PASSWORD
from tests.server.test_pages import EVIL, png

pytestmark = pytest.mark.skipif(browser.MISSING is not None, reason=str(browser.MISSING))

ROOT = Path(__file__).parents[2]
#: In a picture no machine is named.
NAMELESS = r"""
for (const each of document.querySelectorAll("td, dd, .facts span")) {
  if (!each.children.length) {
    const text = each.textContent.replace(/file:\S+\/stores/, "file:///srv/holdfast/stores");
    each.textContent = text.replace(/[\w-]+@[\w.-]+/, "ann@desk");
  }
}"""
RUNS = '<img src="x" onerror="window.ran = 1"><script>window.ran = 1</script>'


@pytest.fixture
def address(tmp_path):
    """A server in a process of its own, with a project that ann is an admin of; its address."""
    fill(tmp_path)
    data, file = tmp_path / "data", tmp_path / "address"
    line = [sys.executable, "-m", "tests.server.serving", str(data), f"sqlite:///{data}/holdfast.db", str(file)]
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    with subprocess.Popen(line, cwd=tmp_path, env=env) as process:
        try:
            yield browser.until(lambda: file.exists() and file.read_text(), "the server")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def fill(folder):
    """People, and assets whose texts would run if they could."""
    service = prepare(load_settings({"data": folder / "data"}))
    with service.database.write() as connection:
        accounts.add_account(connection, "ann", PASSWORD, service.now(), admin=True)
        accounts.add_account(connection, "bob", PASSWORD, service.now())
        projects.add_project(connection, service.settings, service.vault, ProjectRequest("models"), service.now())
        memberships.set_role(connection, projects.find_project(connection, "models").id, "bob", Role.WRITER)
    service.close()
    repo = holdfast.open(f"file://{folder}/data/stores/models", assets_dir=folder / "assets")
    model = folder / "model"
    (model / "layers").mkdir(parents=True)
    (model / "README.md").write_text(f"# BERT, in small\n\nTrained on the spring data.\n{RUNS}\n")
    (model / "config.json").write_text('{\n  "hidden": 768,\n  "layers": 12\n}\n')
    (model / "curve.png").write_bytes(png(200))
    (model / "page.html").write_text(f"<html><body>{RUNS}</body></html>")
    (model / "layers" / "00.bin").write_bytes(bytes(100_000))
    repo.push(model, "nlp/bert", message="the first run", labels={"stage": "draft"})
    (model / "config.json").write_text('{\n  "hidden": 1024,\n  "layers": 24\n}\n')
    (model / "layers" / "01.bin").write_bytes(bytes(200_000))
    (model / f"{EVIL.replace('/', '-')}.txt").write_text("badly named\n")
    repo.push(model, "nlp/bert", message=f"more layers {RUNS}", alias="stable")
    for name in ("nlp/tokenizer", "vision/resnet", "speech/whisper"):
        repo.push(model / "config.json", name, message="as it came")


@pytest.fixture
def window(tmp_path):
    """The browser."""
    with browser.browsing(tmp_path) as opened:
        yield opened


def test_from_signing_in_to_signing_out(address, window, tmp_path):
    """One signs in, finds an asset, looks at versions, files and a difference, makes a token and signs out; nothing of an asset ever runs."""
    shots = Path(os.environ.get("HOLDFAST_TEST_SHOTS", tmp_path / "shots"))
    shots.mkdir(exist_ok=True)

    def shoot(name):
        assert window.run("return window.ran === undefined"), name
        window.run(NAMELESS)
        window.shoot(shots / f"{name}.png")

    window.go(address)
    shoot("signin")
    window.type("//input[@name='name']", "ann")
    window.type("//input[@name='password']", PASSWORD)
    window.log()  # the form came with a 401, which the console tells
    window.click("//main//button")
    window.click("//a[.='models']")
    assets(window, shoot)
    versions(window, shoot)
    files(window, address, shoot)
    tokens(window, shoot)
    assert [line for line in window.log() if "Content Security Policy" in line] == []
    told = {each["name"]: each for each in window.cookies()}["holdfast"]
    assert told["httpOnly"]
    assert told["sameSite"] == "Strict"
    assert window.run("return document.cookie") == ""
    window.click("//button[.='Sign out']")
    window.find("//h1[.='Sign in']")
    window.go(f"{address}/projects/models")
    window.find("//h1[.='Sign in']")


def assets(window, shoot):
    """Search as one types."""
    window.find("//a[.='vision/resnet']")
    shoot("assets")
    window.type("//input[@name='q']", "bert")
    browser.until(lambda: not window.all("//a[.='vision/resnet']"), "the search")
    assert "q=bert" in window.url
    window.click("//a[.='nlp/bert']")


def versions(window, shoot):
    """Two versions, what is in one, and what differs."""
    assert window.text("(//tbody/tr)[1]/td[3]") == f"more layers {RUNS}"
    shoot("asset")
    window.click("//button[.='Copy']")
    window.find("//button[.='Copied' or .='Selected']")
    window.click("//button[.='Compare']")
    window.find("//h1[.='nlp/bert: 0.0 → 0.1']")
    window.find("//h2[.='Changed (1)']")
    shoot("diff")
    window.click("//p[@class='trail']/a[.='nlp/bert']")
    window.click("//td/a[.='0.1']")
    window.find("//a[.='config.json']")
    shoot("version")


def files(window, address, shoot):
    """Text, HTML and a picture; and a download, which is no page."""
    at = f"{address}/projects/models"
    window.click("//a[.='README.md']")
    assert RUNS in window.text("//pre")
    shoot("text")
    window.go(f"{at}/file?name=nlp/bert&version=0.1&path=curve.png")
    browser.until(lambda: window.run("return document.querySelector('img').naturalWidth") == 200, "the picture")
    shoot("image")
    window.go(f"{at}/file?name=nlp/bert&version=0.1&path=page.html")
    assert RUNS in window.text("//pre")
    assert window.all("//main//img | //main//script") == []
    before = window.url
    window.go(f"{at}/download?name=nlp/bert&version=0.1&path=page.html")
    assert window.url == before
    assert window.run("return window.ran === undefined")


def tokens(window, shoot):
    """A token, seen once; and who is a member, and what was done."""
    window.click("//nav/a[.='Tokens']")
    window.type("//input[@name='label']", "ci")
    window.click("//button[.='Create']")
    assert window.text("//code[@id='token']").startswith("hft_")
    assert window.text("//tbody/tr/td") == "ci"
    window.run("document.getElementById('token').textContent = 'hft_' + '•'.repeat(43)")
    shoot("tokens")
    window.click("//nav/a[.='Audit']")
    window.find("//td[.='token.create']")
    shoot("audit")
    window.click("//nav/a[.='Projects']")
    window.click("//a[.='models']")
    window.click("//a[.='Members']")
    window.find("//td[.='bob']")
    shoot("members")
