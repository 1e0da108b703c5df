"""``asset login --browser`` and ``--device``, typed against a real server and a real provider; a small program is the browser."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import UnsupportedError
from tests.client.answering import answering
from tests.services import oidc
from tests.services.base import answers, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
PASSWORD = "correct horse battery"


class Machine:
    """A home folder, and a server beside it with an account ``ann`` and one provider."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url
        self.env = {**os.environ, "HOME": str(folder), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        self.env |= {"HOLDFAST_KEYRING": "off", "HOLDFAST_CONFIG": str(folder / "config.toml")}

    def browsing(self, *words: str) -> dict[str, str]:
        """An environment whose browser signs in as these words say."""
        line = f"{sys.executable} -m tests.client.walking {' '.join(words)} %s"
        return self.env | {"BROWSER": line, "WALKING_PASSWORD": PASSWORD}

    def asset(self, *words: str, env: dict[str, str] | None = None, code: int = 0) -> dict:
        """Type a command with --json; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "holdfast.cli", *words, "--json"],
            env=env or self.env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[str]:
    """The address of a server with a local account and a provider."""
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    url = f"http://127.0.0.1:{port}"
    with oidc.started([f"{url}/login/oidc/test/back"]) as provider:
        (folder / "secret").write_text(oidc.SECRET)
        (folder / "server.toml").write_text(
            f'data = "{folder}/data"\nurl = "{url}"\n[[oidc]]\nname = "test"\nissuer = "{provider.issuer}"\n'
            f'client_id = "{oidc.CLIENT}"\nclient_secret_file = "{folder}/secret"\ndomains = ["example.com"]\n'
        )
        env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        line = [sys.executable, "-m", "holdfast.cli", "server"]
        config = ["--config", str(folder / "server.toml")]
        added = [*line, "user", "add", "ann", "--password-stdin", *config]
        subprocess.run(added, input=PASSWORD, text=True, env=env, check=True, capture_output=True)
        with subprocess.Popen([*line, "start", "--port", str(port), *config], env=env) as process:
            try:
                wait_until(lambda: answers(f"{url}/healthz"), 30, "the server")
                yield url
            finally:
                process.terminate()
                process.wait(20)


@pytest.fixture
def machine(tmp_path, served) -> Machine:
    """The machine."""
    return Machine(tmp_path, served)


def test_browser__by_a_provider(machine):
    """With --browser one signs in at the provider, allows the program, and has a token on this machine."""
    out = machine.asset("login", machine.url, "--browser", env=machine.browsing("oidc"))
    assert (out["server"], out["name"]) == (machine.url, "ann@example.com")
    assert machine.asset("whoami")["name"] == "ann@example.com"
    token = machine.asset("token", "list")[0]
    assert token["label"].startswith("asset login on ")


def test_browser__by_a_password(machine):
    """With --browser one signs in with the password of a local account just so."""
    assert machine.asset("login", machine.url, "--browser", env=machine.browsing("password", "ann"))["name"] == "ann"


def test_browser__refused(machine):
    """Who refuses in the browser is not signed in: exit 6, and nothing is kept or set."""
    error = machine.asset("login", machine.url, "--browser", env=machine.browsing("oidc", "refuse"), code=6)
    assert "refused" in error["error"]["message"]
    assert machine.asset("config")["settings"]["server"]["value"] is None


def test_device(machine):
    """With --device the program prints where to go and what to type, waits, and has a token once somebody has typed it."""
    line = [sys.executable, "-m", "holdfast.cli", "login", machine.url, "--device", "--json"]
    with subprocess.Popen(
        line, env=machine.env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        late = threading.Timer(60, process.kill)
        late.start()
        try:
            told = process.stderr.readline()
            found = re.search(r"Open (\S+) in any browser, and type ([A-Z]{4}-[A-Z]{4})$", told.strip())
            assert found, told
            typed = [sys.executable, "-m", "tests.client.walking", "password", "ann", "letters", found.group(2)]
            env = machine.env | {"WALKING_PASSWORD": PASSWORD}
            subprocess.run([*typed, found.group(1)], env=env, cwd=ROOT, check=True, timeout=30)
            out, _ = process.communicate(timeout=30)
        finally:
            late.cancel()
            process.kill()
    assert json.loads(out)["name"] == "ann"
    assert machine.asset("whoami")["name"] == "ann"


def test_no_browser(tmp_path):
    """Where the server offers no sign-in by browser, that is said, with the ways that there are."""
    with answering(lambda _: (200, {}, {"version": "0.1.0", "login": ["password"]})) as (url, _):
        for way in ("--browser", "--device"):
            error = Machine(tmp_path, url).asset("login", url, way, code=1)["error"]
            assert error["kind"] == UnsupportedError.kind
            assert "--password-stdin" in error["hint"]


def test_port__takes_only_what_was_asked_for():
    """The port of the program answers nobody who does not know its nonce, and is on this machine alone."""
    import urllib.error
    import urllib.request

    from holdfast.cli.browser import _brought, _listening

    nonce = "n" * 43
    with _listening(nonce) as listening:
        assert listening.server_address[0] == "127.0.0.1"
        found: list[dict[str, str]] = []
        thread = threading.Thread(target=lambda: found.append(_brought(listening)))
        thread.start()
        base = f"http://127.0.0.1:{listening.server_port}"
        for path in ("/?code=bad", f"/?code=bad&nonce={'m' * 43}", f"/other?code=bad&nonce={nonce}", "/"):
            with pytest.raises(urllib.error.HTTPError) as refusal:
                urllib.request.urlopen(base + path, timeout=10)
            refusal.value.close()
        with urllib.request.urlopen(f"{base}/?code=good&nonce={nonce}", timeout=10) as answer:
            assert answer.status == 200
            assert b"good" not in answer.read()
        thread.join(10)
    assert found == [{"code": "good"}]
