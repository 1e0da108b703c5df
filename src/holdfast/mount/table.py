"""The kernel's table of mounts: what is mounted where, how, and taking it away. Nothing here looks below a mount, which may hang.

A mount through FUSE is a connection, whose number is that of its device: aborting it fails every call that waits, at once and for good.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from holdfast.disk import mount_table
from holdfast.mount.reaching import opened

__all__ = [
    "Mounted",
    "abort",
    "abort_connection",
    "detach",
    "has_waiting",
    "mounted_at",
    "mounts",
    "place_of",
    "restrict",
    "stacked_at",
]

_CONNECTIONS: Final = Path("/sys/fs/fuse/connections")
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND, _MS_RDONLY = 2, 4, 8, 32, 4096, 1
_FLAGS: Final = {"ro": _MS_RDONLY, "nosuid": _MS_NOSUID, "nodev": _MS_NODEV, "noexec": _MS_NOEXEC}
_MNT_DETACH = 2


@dataclass(frozen=True, slots=True)
class Mounted:
    """A line of the table. ``flags`` are those of the mount and of its file system; ``device`` is the minor number.

    ``number`` is the mount's own, ``parent`` that of the mount that it lies on. ``major`` is 0 where no disk is behind it.
    """

    dir: str
    type: str
    source: str
    device: int
    flags: frozenset[str]
    number: int = 0
    parent: int = 0
    major: int = 0

    @property
    def is_fuse(self) -> bool:
        """Whether a program serves it."""
        return self.type == "fuse" or self.type.startswith(("fuse.", "fuseblk"))


def mounts(table: str | None = None) -> list[Mounted]:
    """Everything that is mounted, what was mounted last at its end; ``table`` is the kernel's where it is not given."""
    if table is None:
        table = mount_table()
    found = []
    for line in table.split("\n"):
        before, _, after = line.partition(" - ")
        places, kinds = before.split(" "), after.split(" ")
        if len(places) < 6 or len(kinds) < 3:
            continue
        flags = frozenset((*places[5].split(","), *kinds[2].split(",")))
        major, _, device = places[2].partition(":")
        numbers = int(places[0]), int(places[1]), int(major)
        found.append(Mounted(_unescaped(places[4]), kinds[0], _unescaped(kinds[1]), int(device), flags, *numbers))
    return found


def mounted_at(directory: str) -> Mounted | None:
    """What is mounted at this very directory, uppermost."""
    return next((each for each in reversed(mounts()) if each.dir == directory), None)


def place_of(device: int, directory: str) -> str:
    """Where the file system of a device is mounted: at this directory, or where that was moved to with a directory above it."""
    places = [each.dir for each in mounts() if each.device == device]
    return directory if directory in places or not places else places[-1]


def stacked_at(directory: str) -> list[Mounted]:
    """Everything that is mounted at this very directory, the uppermost last, whatever was mounted first."""
    found = {each.number: each for each in mounts() if each.dir == directory}
    above = {each.parent: each for each in found.values()}
    stack = [each for each in found.values() if each.parent not in found][:1]
    while stack and (following := above.get(stack[-1].number)) is not None:
        stack.append(following)
    return stack


def restrict(mounted: Mounted, wanted: frozenset[str]) -> bool:
    """Set flags that a mount lacks (``ro``, ``nosuid``, ``nodev``, ``noexec``), which needs root; False where it cannot be done."""
    bits = _MS_REMOUNT | _MS_BIND
    for name in wanted | (mounted.flags & _FLAGS.keys()):
        bits |= _FLAGS[name]
    path = os.fsencode(mounted.dir)
    return bool(_libc().mount(None, path, None, ctypes.c_ulong(bits), None) == 0)


def detach(directory: str) -> bool:
    """Take away what is mounted there, uppermost, though it may be in use or hang; False where it stays, or a link leads there."""
    if os.geteuid() == 0:
        with suppress(OSError), opened(directory, last=0) as there:
            return bool(_libc().umount2(f"/proc/self/fd/{there}".encode(), _MNT_DETACH) == 0)
        return False
    command = ["/usr/bin/fusermount3", "-u", "-z", "-q", "--", directory]
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, check=False, capture_output=True, timeout=10, cwd="/").returncode == 0
    return False


def abort(mounted: Mounted) -> bool:
    """End a FUSE connection: who waits for it gets an error. False where the kernel's control files cannot be had."""
    return mounted.is_fuse and abort_connection(mounted.device)


def abort_connection(device: int) -> bool:
    """As :func:`abort`, of a connection whose mount may be detached already."""
    try:
        _control(device, "abort").write_text("1")
    except OSError:
        return False
    return True


def has_waiting(device: int) -> bool:
    """Whether anybody waits for an answer of this FUSE connection; where that cannot be told, somebody may."""
    try:
        return int(_control(device, "waiting").read_text()) > 0
    except (OSError, ValueError):
        return True


def _control(device: int, name: str) -> Path:
    """One of the kernel's files on a FUSE connection; they are mounted where they are not there and may be."""
    control = _CONNECTIONS / str(device) / name
    if not control.exists() and os.geteuid() == 0:
        _libc().mount(b"fusectl", os.fsencode(_CONNECTIONS), b"fusectl", ctypes.c_ulong(0), None)
    return control


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _unescaped(text: str) -> str:
    """Blanks, tabs, line ends and backslashes stand in the table as octal numbers."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text)
