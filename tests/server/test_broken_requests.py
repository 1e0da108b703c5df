"""Clients that go, or say no more, in the midst of a request; and the end of a server that has such clients."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from tests.server.conftest import serving
from tests.services.base import wait_until

ROOT = Path(__file__).parents[2]


class Running:
    """A server in a process of its own, over the data of one in this process, which knows the tokens."""

    def __init__(self, made, process, url, log):
        self.made, self.process, self.url, self._log = made, process, urlsplit(url), log

    def push(self):
        """A push of ``n`` that has claimed the number 0.0; its id."""
        push = "0" * 32
        opened = {"id": push, "name": "n", "started": datetime.now(UTC).isoformat()}
        assert self.made.post("pushes", json=opened).status_code == 200
        assert self.made.post(f"pushes/{push}/claim", json={"name": "n", "version": "0.0"}).status_code == 204
        return push

    def begin(self, method, path, *more, who="writer"):
        """A connection on which a request with these further headers was begun."""
        head = (f"Host: {self.url.netloc}", f"Authorization: Bearer {self.made.tokens[who]}", *more)
        client = socket.create_connection((self.url.hostname, self.url.port))
        client.settimeout(60)
        client.sendall("\r\n".join((f"{method} {path} HTTP/1.1", *head, "", "")).encode())
        return client

    def counted(self, status):
        """How many requests ended with a status, by the server's counters."""
        headers = self.made.headers("root")
        with urlopen(Request(f"{self.url.geturl()}/metrics", headers=headers)) as answer:
            lines = [line for line in answer.read().decode().splitlines() if f'status="{status}"' in line]
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("holdfast_requests_total"))

    def log(self):
        """What the server said so far."""
        return self._log.read_text()


@contextmanager
def running(folder, *settings):
    """A server with these settings, each ``name=value``."""
    with serving(folder) as made, (folder / "log").open("w") as log:
        told, data = folder / "url", made.service.settings
        line = [sys.executable, "-m", "tests.server.serving", data.data, data.database, told, *settings]
        env = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        with subprocess.Popen(line, env=env, stdout=log, stderr=log) as process:
            try:
                wait_until(lambda: told.exists() and told.read_text() != "", 30, "a server")
                yield Running(made, process, told.read_text(), folder / "log")
            finally:
                process.kill()


@pytest.mark.parametrize(("method", "path"), [("POST", "aliases"), ("PUT", "objects?key=n/0.0&push={push}")])
def test_client_that_goes(tmp_path, method, path):
    """A client that goes in the midst of its request is no failure of the server: it is counted, and no traceback is logged."""
    with running(tmp_path) as server:
        path = f"{server.made.p}/{path.format(push=server.push())}"
        with server.begin(method, path, "Content-Length: 50") as client:
            client.sendall(b"{")
        wait_until(lambda: server.counted(499) == 1, 30, "a request that ended")
        assert server.log() == ""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_client_that_says_no_more(tmp_path):
    """Whoever sends an object and then nothing for as long as the server's `silence` is refused, and what was held for him is free."""
    with running(tmp_path, "silence=0.5") as server:
        path, size = f"{server.made.p}/objects?key=n/0.0&push={server.push()}", 8 << 20
        with server.begin("PUT", path, f"Content-Length: {size}") as client:
            client.sendall(b"x" * (2 << 20))
            assert b"nothing more of n/0.0 came for 0.5 s" in client.recv(4096)
        wait_until(lambda: server.counted(409) == 1, 30, "a request that ended")
        held = [os.readlink(each) for each in Path(f"/proc/{server.process.pid}/fd").iterdir() if each.is_symlink()]
        assert [each for each in held if each.startswith(str(tmp_path)) and each.endswith("(deleted)")] == []
        assert server.log() == ""


@pytest.mark.parametrize(("settings", "signals"), [(["ending=0.5"], 1), (["ending=600"], 2)])
def test_end__clients_that_neither_read_nor_write(tmp_path, settings, signals):
    """A server that is told to end waits for clients that neither read nor write as long as `ending` says, or until it is told again; then it ends in order."""
    with running(tmp_path, *settings) as server, ExitStack() as stack:
        (server.made.folder / "big").write_bytes(bytes(64 << 20))
        path = f"{server.made.p}/objects?key=n/0.0&push={server.push()}"
        writing = stack.enter_context(server.begin("PUT", path, f"Content-Length: {8 << 20}"))
        writing.sendall(b"x" * (2 << 20))
        reading = stack.enter_context(server.begin("GET", f"{server.made.p}/objects?key=big"))
        assert reading.recv(12) == b"HTTP/1.1 200"
        for _ in range(signals):
            server.process.send_signal(signal.SIGTERM)
            wait_until(lambda: is_refused(server.url), 30, "a server that takes no more requests")
        assert server.process.wait(60) == 0
        assert server.log() == "requests that had not ended are broken off\n"


def is_refused(url):
    """Whether nobody listens at an address."""
    try:
        socket.create_connection((url.hostname, url.port)).close()
    except ConnectionRefusedError:
        return True
    return False
