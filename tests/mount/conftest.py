"""What all tests of mounts share: nothing that they mount or start outlives them, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def left_clean(tmp_path: Path) -> Iterator[None]:
    """Whatever is mounted below the test's folder, or runs with it in its command line, ends with the test."""
    yield
    for _ in range(3):
        for pid in processes_naming(tmp_path):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for place in mounted_below(tmp_path):
            subprocess.run(["umount", "-l", place], check=False, capture_output=True)
        if not processes_naming(tmp_path) and not mounted_below(tmp_path):
            break
    for root in (Path(folder) for folder, _, _ in os.walk(tmp_path)):
        subprocess.run(["chattr", "-i", root], check=False, capture_output=True)  # so that pytest can remove it
        with suppress(OSError):
            os.chmod(root, 0o700)


def mounted_below(folder: Path) -> list[str]:
    """Where something is mounted at or below this folder, the last mounted first; nothing there is touched."""
    places = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [place for place in reversed(places) if f"{place}/".startswith(f"{folder}/")]


def processes_naming(folder: Path) -> list[int]:
    """The processes, but this one, whose command line names this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            pid = int(entry.name) if entry.name.isdecimal() else os.getpid()
            if pid != os.getpid() and f"{folder}/" in f"{command_line(pid)}/":
                found.append(pid)
    return found


def command_line(pid: int) -> str:
    """The words that a process was started with; empty where it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
    return ""
