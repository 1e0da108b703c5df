"""What lies over a mount on this machine alone: directories and files of its own disk, each at a path of the mounted bucket.

A bind mount over a mounter's file system falls away whenever the mounter takes that name for another one (rclone does so once nobody
asked for a while), and what is written there then goes to the bucket. So mergerfs, which knows names by nothing but themselves, stands
between: it shows the *points* first, empty places that nobody but root may enter, which cannot be written, and the bucket behind them.
The parts are bound over the points. Where one should fall off, a point is what is there, and no way to the bucket.

Every path is opened piece by piece, following no link, and mounted at by its descriptor.
"""

from __future__ import annotations

import ctypes
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from holdfast.errors import LocalError
from holdfast.mount.live.templates import Call
from holdfast.mount.live.union import ALWAYS, SHOWS, permitted, words_of
from holdfast.mount.reaching import opened
from holdfast.mount.table import detach, mounted_at, mounts

if TYPE_CHECKING:
    from holdfast.mount.live.options import Choices

__all__ = ["Parts", "bind", "fallen", "lay", "layer_call", "make_own", "make_points", "remove_places", "show"]

#: What the web user may list: the webroot itself, and the directories above a part.
_SEEN: Final = 0o755
#: What he may pass, for mergerfs acts as him.
_PASSED: Final = 0o711
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT = 1, 2, 4, 8, 32
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
_GUARDED: Final = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC


@dataclass(frozen=True, slots=True)
class Parts:
    """``laid`` are paths below the mount, each with what lies there instead: a directory or a file of this machine.

    ``apart`` is a folder of the operator's in which the mount is put together; ``owner`` whom the directories above the parts belong to.
    """

    apart: str
    laid: dict[str, str]
    owner: tuple[int, int]
    program: str = ""
    arguments: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, value: dict[str, Any]) -> Parts:
        """Out of a record."""
        return cls(**{**value, "owner": tuple(value["owner"])})

    @property
    def bucket(self) -> str:
        """Where the mounter mounts."""
        return f"{self.apart}/bucket"

    @property
    def points(self) -> str:
        """Where the places of the parts are."""
        return f"{self.apart}/points"

    @property
    def whole(self) -> str:
        """Where all is put together, before it is shown."""
        return f"{self.apart}/whole"


def layer_call(parts: Parts, source: str, choices: Choices) -> Call:
    """How mergerfs is called: a name is looked for among the points first; what is new goes to the bucket."""
    options = {"category.create": "ff"} | SHOWS | ALWAYS | permitted(choices) | {"fsname": source, "allow_other": None}
    return Call(("-f", "-o", words_of(options), f"{parts.points}=RO:{parts.bucket}=RW", parts.whole))


def make_points(parts: Parts) -> None:
    """Make the folders in which the mount is put together, and an empty place for every part, which nobody but root can enter.

    The places are in memory, made anew each time, and cannot be written: the owner whom mergerfs tells could come there by a path of his own.

    Raises:
        LocalError: one of the folders is a link, or another user's.
        OSError: the disk refuses, or a part is gone.
    """
    release_points(parts)
    for folder in (parts.apart, parts.bucket, parts.whole, parts.points):
        make_own(folder)
    with opened(parts.points) as points:
        _call("tmpfs", points, _GUARDED, "tmpfs", "mode=0755,size=1m")
    above = set()
    for path, source in parts.laid.items():
        folder, _, _ = f"{parts.points}/{path}".rpartition("/")
        os.makedirs(folder, exist_ok=True)
        above |= {path[:at] for at, sign in enumerate(path) if sign == "/"}
        if stat.S_ISDIR(os.lstat(source).st_mode):
            os.mkdir(f"{parts.points}/{path}", 0)
        else:
            os.close(os.open(f"{parts.points}/{path}", os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
    for path in (*sorted(above, reverse=True), ""):  # what is within before what it is in, which its owner may change
        os.chmod(f"{parts.points}/{path}", _SEEN)
        os.chown(f"{parts.points}/{path}", *parts.owner)
    with opened(parts.points) as points:
        _call(None, points, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _GUARDED)
    os.chmod(parts.apart, _PASSED)


def make_own(folder: str) -> None:
    """Make a folder that its owner alone can enter, or take the one that is there: never one in which another user chooses what programs of root mount at.

    Raises:
        LocalError: it is a link, or others can write it.
        OSError: the disk refuses.
    """
    with suppress(FileExistsError):
        os.mkdir(folder, 0o700)
    status = os.lstat(folder)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise LocalError(
            f"{folder} is a link, or others can write it, and a mount is to be put together there",
            subject=folder,
            hint="look who made it; remove it",
        )


def release_points(parts: Parts) -> None:
    """Take the places of the parts away."""
    while mounted_at(parts.points) is not None and detach(parts.points):
        pass


def remove_places(parts: Parts) -> None:
    """Remove what :func:`make_points` made, as far as nothing is mounted there."""
    release_points(parts)
    for folder in (parts.points, parts.whole, parts.bucket, parts.apart):
        with suppress(OSError):
            os.rmdir(folder)


def lay(parts: Parts) -> bool:
    """Lay every part over the mount that was put together, apart. To be called in a child: the mount may hang."""
    with opened(parts.whole) as whole:
        _call(None, whole, _MS_PRIVATE)
    for path, source in parts.laid.items():
        with opened(source, last=0) as here, opened(f"{parts.whole}/{path}", last=0) as there:
            bind(here, there)
        with opened(f"{parts.whole}/{path}", last=0) as laid:
            _call(None, laid, _MS_REMOUNT | _MS_BIND | _GUARDED)
    return True


def show(parts: Parts, target: int) -> bool:
    """Have what was put together appear at a directory, by its descriptor, with all parts at once."""
    with opened(parts.whole) as whole:
        bind(whole, target, _MS_REC)
    return True


def fallen(parts: Parts, directory: str) -> list[str]:
    """What of it is not mounted: parts over the mount at this directory, and the bucket under it; by the kernel's table."""
    wanted = {f"{directory}/{path}": path for path in parts.laid} | {parts.bucket: "the bucket"}
    there = {each.dir for each in mounts()}
    return [name for place, name in wanted.items() if place not in there]


def bind(source: int, target: int, more: int = 0) -> None:
    """Have what one descriptor is appear at the other."""
    _call(f"/proc/self/fd/{source}", target, _MS_BIND | more)


def _call(source: str | None, target: int, flags: int, kind: str | None = None, options: str | None = None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    here, type_, data = (None if text is None else text.encode() for text in (source, kind, options))
    if libc.mount(here, f"/proc/self/fd/{target}".encode(), type_, ctypes.c_ulong(flags), data) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), os.readlink(f"/proc/self/fd/{target}"))
