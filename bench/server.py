"""The server of the measurements, a Ceph object gateway by ``tests/services``, and what it says it was asked."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.services.base import make_bucket
from tests.services.ceph import start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.services.base import Service


@dataclass
class Gateway:
    """A running server."""

    service: Service
    directory: Path

    @property
    def env(self) -> dict[str, str]:
        return self.service.env

    def requests(self) -> int:
        """How many requests it has answered."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.connect(str(self.directory / "run" / "client.rgw.asok"))
            admin.sendall(b'{"prefix": "perf dump"}\0')
            stream = admin.makefile("rb")
            (length,) = struct.unpack(">I", stream.read(4))
            return int(json.loads(stream.read(length))["rgw"]["req"])

    def cpu(self) -> float:
        """CPU seconds of all its processes."""
        ticks = 0
        for pid in self.service.pids:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def bucket(self, name: str) -> str:
        """A new bucket, so that nobody pays for the index that others have filled."""
        make_bucket(self.env, name)
        return name

    def drop(self, name: str) -> None:
        """Remove a bucket and give its space back at once."""
        command = ["radosgw-admin", "-c", str(self.directory / "ceph.conf"), "-n", "client.admin", "bucket", "rm"]
        subprocess.run(
            [*command, f"--bucket={name}", "--purge-objects", "--bypass-gc"], capture_output=True, check=False
        )


@contextmanager
def gateway(directory: Path) -> Iterator[Gateway]:
    """Run the server in a fresh directory."""
    with start(directory) as service:
        yield Gateway(service, directory)
