"""A real server on loopback, and the client's door to its projects; one server for each module."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from holdfast import wiring
from holdfast.config import load
from holdfast.errors import UnreachableError
from holdfast.formats.api import InfoReply
from holdfast.remote import Server
from tests.client.running import PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.repository import Repository

ROOT = Path(__file__).parents[2]


@dataclass
class Running:
    """A server: its address, the folder of its project ``p``, and everybody's token."""

    url: str
    folder: Path
    tokens: dict[str, str]
    password: str = PASSWORD
    bucket: str = ""
    process: int = 0

    def die(self) -> None:
        """Kill the server and its worker, as a machine's failure does."""
        os.killpg(self.process, signal.SIGKILL)

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return int(self.url.rpartition(":")[2])

    def open(self, home: Path, who: str = "writer", project: str = "p", **more) -> Repository:
        """The door of somebody to a project, with an empty cache."""
        (home / "assets").mkdir(parents=True, exist_ok=True)
        environ = {"HOME": str(home), "ASSET_SERVER_URL": self.url, "HOLDFAST_TOKEN": self.tokens[who]}
        arguments = {"store": f"{self.url}/{project}", "assets_dir": home / "assets"}
        return wiring.open_settings(load(arguments, environ), **more)


@contextmanager
def running(
    data: Path, *more: dict[str, Any], environ: dict[str, str] | None = None, port: int = 0
) -> Iterator[Running]:
    """A server on this folder; ``more`` are projects beside ``p``. At a ``port`` it is one that is started anew."""
    if not port:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.client.running", str(data), str(port), *map(json.dumps, more)]
    path = f"{ROOT / 'src'}:{ROOT}"
    log = data.with_suffix(".log")
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | {"PYTHONPATH": path} | (environ or {}),
            cwd=ROOT,
            start_new_session=True,
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log.read_text()
            url = f"http://127.0.0.1:{port}"
            _wait(url, process, log)
            yield Running(url, data / "stores" / "p", json.loads(line), process=process.pid)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(200):
        assert process.poll() is None, log.read_text()
        try:
            Server(url).ask("GET", "info", InfoReply, again=False)
        except UnreachableError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(log.read_text())


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Running]:
    """A server whose project ``p`` is a folder: it streams."""
    with running(tmp_path_factory.mktemp("server") / "data") as found:
        yield found


@pytest.fixture(scope="module")
def signing(tmp_path_factory, ceph) -> Iterator[Running]:
    """A server whose project ``s`` is in a bucket, for which it signs URLs."""
    env = ceph.env
    project = {
        "name": "s",
        "url": ceph.fresh_store(),
        "endpoint": env["AWS_ENDPOINT_URL"],
        "region": "us-east-1",
        "credentials": {name: env[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")},
    }
    with running(tmp_path_factory.mktemp("signing") / "data", project) as found:
        found.bucket = project["url"]
        yield found
