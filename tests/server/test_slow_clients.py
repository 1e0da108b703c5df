"""Clients that ask for much and read little, of a server in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.server.conftest import serving
from tests.services.base import wait_until

ROOT = Path(__file__).parents[2]
MIB = 1 << 20
CLIENTS = 8
#: Of what is sent to each of them: far more than a server may keep in memory.
SIZE = 128 * MIB


def resident(pid):
    """Bytes of memory that a process has."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def settled(pid):
    """The same, once it grows no more."""
    before = -1
    while (now := resident(pid)) > before + MIB:
        before = now
        time.sleep(0.5)
    return now


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_get__by_clients_that_do_not_read(tmp_path):
    """A client that does not read what it asked for costs the server a few blocks of memory, however long the object is."""
    with serving(tmp_path) as made:
        token, data = made.tokens["reader"], made.service.settings
        made.folder.mkdir(parents=True, exist_ok=True)
        with (made.folder / "big").open("wb") as file:
            file.truncate(SIZE)
    told = tmp_path / "url"
    line = [sys.executable, "-m", "tests.server.serving", data.data, data.database, told]
    with (
        subprocess.Popen(line, env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}) as process,
        ExitStack() as stack,
    ):
        stack.callback(process.kill)
        wait_until(lambda: told.exists() and told.read_text() != "", 30, "a server")
        at = urlsplit(told.read_text())
        before = settled(process.pid)
        head = f"Host: {at.netloc}\r\nAuthorization: Bearer {token}\r\n\r\n"
        for _ in range(CLIENTS):
            client = stack.enter_context(socket.create_connection((at.hostname, at.port)))
            client.sendall(f"GET /api/v1/projects/p/objects?key=big HTTP/1.1\r\n{head}".encode())
            assert client.recv(12) == b"HTTP/1.1 200"
        assert settled(process.pid) - before < CLIENTS * 20 * MIB
