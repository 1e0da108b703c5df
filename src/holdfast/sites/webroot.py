"""Looks at a webroot without trusting it: folders are opened one by one, from the top, and no link is followed.

An application that was broken into can plant ``images -> /etc`` at any moment, so no path is ever opened by its text. What cannot be
synced is told and left alone: it counts as unknown, and never as deleted.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from holdfast.errors import IntegrityError, LocalError
from holdfast.model.digest import Hasher
from holdfast.model.manifest import PERMISSIONS, check_link, parents
from holdfast.sites.changes import Content

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from holdfast.sites.scope import Scope

__all__ = ["QUIET", "Fingerprint", "Look", "Webroot", "confirm_deletions", "fingerprint_of"]

#: How every folder is opened, and every file.
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: What was written less than so many seconds ago may still be being written, and is looked at again.
QUIET: Final = 0.25
#: Where a file system keeps whole seconds only.
_COARSE: Final = 2.0
_STEP: Final = 4 * 1024 * 1024
_SECOND: Final = 1_000_000_000

#: Mode, size, both times in nanoseconds, and inode: what a file that nobody touched still has.
Fingerprint = tuple[int, int, int, int, int]


def fingerprint_of(status: os.stat_result) -> Fingerprint:
    """By which a change is noticed without reading."""
    return status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


@dataclass(slots=True)
class Look:
    """One look at the webroot: contents, fingerprints and times of change (microseconds, this machine's clock) by path.

    ``unknown`` are paths of which nothing is known, with why; nor is anything known of what is below them. ``unsettled`` of them may
    only still be being written.
    """

    entries: dict[str, Content] = field(default_factory=dict)
    fingerprints: dict[str, Fingerprint] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)
    unsettled: set[str] = field(default_factory=set)
    folders: list[str] = field(default_factory=list)

    def is_unknown(self, path: str) -> bool:
        """Whether nothing is known of it."""
        return path in self.unknown or (bool(self.unknown) and any(each in self.unknown for each in parents(path)))


class Webroot:
    """A webroot. ``known`` answers what a file holds that has this fingerprint still, or None."""

    def __init__(self, path: str) -> None:
        self.path = path

    @contextmanager
    def opened(self) -> Iterator[int]:
        """The webroot as a descriptor.

        Raises:
            LocalError: it is not there, or no folder.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise LocalError(
                f"the webroot {self.path} cannot be opened: {error.strerror}",
                subject=self.path,
                hint="look whether its disk is mounted, and at the setting webroot",
            ) from error
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def look(self, scope: Scope, known: Callable[[str, Fingerprint], Content | None]) -> Look:
        """Everything in scope, read as far as it is not known.

        Raises:
            LocalError: the webroot is not there.
        """
        look = Look()
        with self.opened() as root:
            _Walk(look, scope, known, os.fstat(root).st_dev).folder(root, "")
        return look

    @contextmanager
    def folder_of(self, path: str) -> Iterator[tuple[int, str]]:
        """The folder that a path lies in, and its last piece; raises OSError where a link, a file or a mount is in the way."""
        *above, name = path.split("/")
        with self.opened() as root:
            here, device = root, os.fstat(root).st_dev
            try:
                for piece in above:
                    below = os.open(piece, _FOLDER, dir_fd=here)
                    if here != root:
                        os.close(here)
                    here = below
                    if os.fstat(here).st_dev != device:  # mounted since the look: what is there is another's
                        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
                yield here, name
            finally:
                if here != root:
                    os.close(here)

    def read(self, path: str, size: int, step: int) -> Iterator[bytes] | None:
        """The bytes of a file in steps; None where it is not there any more, or no file of this size."""
        try:
            with self.folder_of(path) as (folder, name):
                descriptor = os.open(name, _FILE, dir_fd=folder)
        except OSError:
            return None
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            os.close(descriptor)
            return None
        return _pieces(descriptor, step)


def _pieces(descriptor: int, step: int) -> Iterator[bytes]:
    with open(descriptor, "rb", buffering=0) as file:
        while data := _full(file.read, step):
            yield data


def _full(read: Callable[[int], bytes | None], step: int) -> bytes:
    pieces, left = [], step
    while left and (data := read(left)):
        pieces.append(data)
        left -= len(data)
    return b"".join(pieces)


class _Walk:
    """One walk from the top."""

    def __init__(
        self, look: Look, scope: Scope, known: Callable[[str, Fingerprint], Content | None], device: int
    ) -> None:
        self._look = look
        self._scope = scope
        self._known = known
        self._device = device

    def folder(self, descriptor: int, base: str) -> None:
        """What is in a folder, and below it."""
        look, scope = self._look, self._scope
        look.folders.append(base.rstrip("/"))
        with os.scandir(descriptor) as found:
            listed = list(found)
        for item in listed:
            path = base + item.name
            if not _is_text(path):
                look.unknown[repr(os.fsencode(path))] = "its name is not UTF-8"
            elif scope.leaves_out(path, item.name if base else path):
                continue  # above all: a mount that hangs is not even asked what it is
            else:
                try:
                    self._entry(descriptor, item, path)
                except FileNotFoundError:
                    self._unsettled(path)
                except OSError as error:
                    look.unknown[path] = f"it cannot be read: {error.strerror}"

    def _entry(self, folder: int, item: os.DirEntry[str], path: str) -> None:
        status = item.stat(follow_symlinks=False)
        look = self._look
        look.changed[path] = max(status.st_ctime_ns, 0) // 1000
        if stat.S_ISREG(status.st_mode):
            self._file(folder, item.name, path, status)
        elif stat.S_ISDIR(status.st_mode):
            self._inner(folder, item.name, path, status)
        elif stat.S_ISLNK(status.st_mode):
            self._link(folder, item.name, path)
        else:
            look.unknown[path] = "it is a device, a fifo or a socket"

    def _inner(self, folder: int, name: str, path: str, status: os.stat_result) -> None:
        if status.st_dev != self._device:
            self._look.unknown[path] = "another file system is mounted there"
            return
        descriptor = os.open(name, _FOLDER, dir_fd=folder)
        try:
            opened = os.fstat(descriptor)
            if (opened.st_dev, opened.st_ino) != (status.st_dev, status.st_ino):
                self._unsettled(path)
                return
            self._look.entries[path] = Content("dir", status.st_mode & PERMISSIONS, mtime=status.st_mtime_ns)
            self.folder(descriptor, path + "/")
        finally:
            os.close(descriptor)

    def _link(self, folder: int, name: str, path: str) -> None:
        target = os.readlink(name, dir_fd=folder)
        try:
            check_link(path, target)
            target.encode()
        except (IntegrityError, UnicodeEncodeError):
            self._look.unknown[path] = "it is a symlink that leads out of the webroot"
            return
        self._look.entries[path] = Content("link", target=target)

    def _file(self, folder: int, name: str, path: str, status: os.stat_result) -> None:
        fingerprint = fingerprint_of(status)
        content = self._known(path, fingerprint)
        if content is None:
            if _is_young(status):
                self._unsettled(path)
                return
            content = _hashed(folder, name, fingerprint)
        if content is None:
            self._unsettled(path)
            return
        self._look.entries[path] = content
        self._look.fingerprints[path] = fingerprint

    def _unsettled(self, path: str) -> None:
        self._look.unknown[path] = "it is being written"
        self._look.unsettled.add(path)


def _hashed(folder: int, name: str, fingerprint: Fingerprint) -> Content | None:
    """What a file holds; None where it changed while it was read."""
    descriptor = os.open(name, _FILE, dir_fd=folder)
    with open(descriptor, "rb", buffering=0) as file:
        if fingerprint_of(os.fstat(descriptor)) != fingerprint:
            return None
        hasher = Hasher()
        while data := file.read(_STEP):
            hasher.update(data)
        if fingerprint_of(os.fstat(descriptor)) != fingerprint:
            return None
    mode, size, mtime, *_ = fingerprint
    return Content("file", mode & PERMISSIONS, hasher.hexdigest(), size=size, mtime=mtime)


def _is_young(status: os.stat_result) -> bool:
    newest = max(status.st_mtime_ns, status.st_ctime_ns)
    quiet = QUIET if newest % _SECOND else _COARSE
    return abs(time.time_ns() - status.st_ctime_ns) < quiet * _SECOND


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def confirm_deletions(webroot: Webroot, look: Look, paths: Iterable[str]) -> None:
    """A name that is replaced while its folder is listed may be in no listing: ask for each of these that is missing."""
    for path in paths:
        if path in look.entries or look.is_unknown(path):
            continue
        try:
            with webroot.folder_of(path) as (folder, name):
                os.stat(name, dir_fd=folder, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            look.unknown[path] = f"it cannot be read: {error.strerror}"
            continue
        look.unknown[path] = "it is being written"
        look.unsettled.add(path)
