"""What tests of live mounts share: a bucket on a real server, settings whose state lies in the test's folder, and readers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from holdfast import wiring
from holdfast.config import Settings, load
from holdfast.mount import live
from holdfast.mount.table import mounted_at, mounts
from tests.services.base import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.mount.registry import Record
    from holdfast.store.base import Store
    from tests.services import Service

READER = Path(__file__).with_name("reader.py")
#: Where the mounters of the tests are installed.
PROGRAMS = f"{Path(sys.executable).parent}:/usr/bin"


def require_fuse() -> None:
    """Skip where nothing can be mounted through FUSE."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK) or shutil.which("fusermount3") is None:
        pytest.skip("no /dev/fuse, or no fusermount3")


@dataclass
class Bucket:
    """A fresh place in a bucket, and a directory to mount it at."""

    service: Service
    folder: Path
    url: str
    programs: str = PROGRAMS

    @property
    def directory(self) -> Path:
        """Where it is mounted."""
        return self.folder / "m"

    @property
    def environ(self) -> dict[str, str]:
        """The environment that the settings are read from."""
        places = {"HOME": str(self.folder), "XDG_STATE_HOME": str(self.folder / "state")}
        return {**self.service.env, **places, "HOLDFAST_MOUNT_PATH": self.programs, "PATH": os.environ["PATH"]}

    @property
    def settings(self) -> Settings:
        """Where credentials, programs and state are."""
        return load({}, self.environ)

    @property
    def store(self) -> Store:
        """The bucket itself, without a mount."""
        return wiring.open_store(self.url, self.settings)

    def mount(self, mounter: str, *options: str, **more: Any) -> Record:
        """Mount it."""
        return live.mount(self.url, self.directory, mounter=mounter, settings=self.settings, options=options, **more)

    def unmount(self, **more: Any) -> None:
        """Unmount it."""
        live.unmount(self.directory, settings=self.settings, **more)

    @property
    def left(self) -> dict[str, object]:
        """What is left of a mount: empty where nothing is mounted, no process and no record are left, and the directory is as before."""
        from tests.mount.conftest import command_line, processes_naming

        records = live.mounting.registry_of(self.settings).folder
        apart = [each.dir for each in mounts() if each.dir.startswith("/run/holdfast/") and each.source == self.url]
        found = {
            "mounted": mounted_at(str(self.directory)),
            "apart": apart,
            "processes": [command_line(pid) for pid in processes_naming(self.folder)],
            "records": list(records.iterdir()) if records.exists() else [],
            "mode": oct(self.directory.stat().st_mode & 0o7777 ^ 0o755),
            "immutable": "i" in attributes(self.directory),
        }
        return {name: value for name, value in found.items() if value not in (None, [], False, "0o0")}

    def events(self) -> dict[str, str]:
        """What happened, by kind of event; the last of each."""
        record = live.status(self.directory, settings=self.settings)
        assert record is not None
        return {each.event: each.text for each in record.events()}


def fresh_bucket(service: Service, folder: Path) -> Bucket:
    """A prefix that nobody has used, with a first object, and an empty directory."""
    bucket = Bucket(service, folder, f"{service.store_url}/{uuid.uuid4().hex[:12]}")
    bucket.directory.mkdir(mode=0o755)
    bucket.store.put("hello.txt", b"hello")
    return bucket


def attributes(directory: Path) -> str:
    """What ``lsattr`` shows."""
    done = subprocess.run(["lsattr", "-d", directory], capture_output=True, text=True, check=False)
    return done.stdout.partition(" ")[0]


def until(ready: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait until it is so; how long that took."""
    began = time.monotonic()
    wait_until(ready, seconds, what)
    return time.monotonic() - began


class Reader:
    """Reads a file, or lists a directory, for some seconds in a process of its own."""

    def __init__(self, path: Path, seconds: float, *, lists: bool = False) -> None:
        command = [sys.executable, str(READER), str(path), str(seconds), *["list"] * lists]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._patience = seconds + 20

    def end(self) -> tuple[list[tuple[float, str]], float]:
        """What it saw, and the longest that one attempt took."""
        out, _ = self._process.communicate(timeout=self._patience)
        value = json.loads(out)
        return [(at, outcome) for at, outcome in value["seen"]], value["worst"]
