"""Ranges of packs on this machine: what mounts have read, for all of them, for ``fetch`` and for ``cat`` (FORMAT.md §8).

One sparse file an object, with the same bytes at the same offsets as far as they are here; so versions that share packs share what
was read, and no file stands for a chunk. Nothing here is trusted: whoever takes bytes checks them by the digest that a manifest gives, and
what does not fit is read from the store again and written over. Hence no lock, no journal and no sync: several processes write the same bytes
at the same places. Files go as a whole, the longest unused first, by unlinking; who has one open goes on reading it.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
import time
import weakref
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.cache.owners import is_dead
from holdfast.cache.quota import Held, choose, excess, least_free
from holdfast.disk import local_errors
from holdfast.errors import LocalError
from holdfast.formats import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from _typeshed import ReadableBuffer

__all__ = ["FOLDER", "Ranges"]

#: The folder, below the user's cache; the number is that of its format.
FOLDER: Final = "ranges-1"
#: How much of ``cache.max_size`` it may take, or of the disk where that is not set.
_SHARE, _DISK_SHARE = 4, 10
#: Room is looked for after so many bytes, or after this part of the limit.
_STEP, _STEP_PART = 64 * 1024 * 1024, 16
#: After the disk refused, nothing is written for so many seconds.
_PAUSE: Final = 10.0
#: A file that is in use says so this often, in seconds.
_TOUCH: Final = 30.0
_OPEN: Final = 128
_PAGE: Final = 4096
#: From so many bytes on, what is written need not stay in memory: who reads it has it there, and so has the kernel what it showed of the mount.
_DIRECT: Final = 3 * 1024 * 1024
#: Bytes a second; a disk that took less is written to as usual for so many seconds, in its own time.
_FAST, _UNHURRIED = 150 * 1000 * 1000, 1.0
_LARGEST: Final = 64 * 1024 * 1024
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class Ranges:
    """The cache in one folder, made and checked by :meth:`open`. Safe in threads; what it cannot keep it leaves out.

    Args:
        folder: where it is.
        limit: bytes of disk that it may take.
        keep_free: bytes of its disk that stay free; None for a share of it.
        warn: told, in a sentence, when the disk refuses.
    """

    def __init__(
        self,
        folder: Path,
        limit: int,
        keep_free: int | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder = folder
        self.limit = limit
        self._keep_free = keep_free
        self._warn = warn
        self._open: OrderedDict[str, _Opened] = OrderedDict()
        self._guard = threading.Lock()
        self._trimming = threading.Lock()
        self._writing = threading.Lock()
        self._step = max(1, min(_STEP, limit // _STEP_PART))
        self._written = self._step  # so that the first write looks for room
        self._refused = 0.0
        self._plain_until = 0.0

    @classmethod
    def open(
        cls,
        state: Path,
        max_size: int | None,
        keep_free: int | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> Ranges:
        """The cache below the user's cache folder, for which ``cache.max_size`` is this.

        Raises:
            LocalError: another user could write there, or the disk refuses.
        """
        folder = state / FOLDER
        with local_errors(folder):
            _make_private(folder)
            limit = shutil.disk_usage(folder).total // _DISK_SHARE if max_size is None else max_size // _SHARE
        return cls(folder, limit, keep_free, warn)

    def read(self, key: str, start: int, length: int) -> memoryview | None:
        """Bytes of an object that were written here, unchecked; None where some are not here."""
        file = self._opened(key, make=False)
        if file is None or not file.has(start, length):
            return None
        try:
            data = os.pread(file.descriptor, length, start)
        except OSError:
            return None
        file.touch()
        return memoryview(data) if len(data) == length else None

    def has(self, key: str, start: int, length: int) -> bool:
        """Whether bytes of an object were written here, as far as the file system tells; of none: whether any were."""
        file = self._opened(key, make=False)
        return file is not None and (not length or file.has(start, length))

    def lacks(self, key: str, start: int, length: int) -> bool:
        """Whether none of these bytes were written here."""
        file = self._opened(key, make=False)
        return file is None or file.lacks(start, length)

    def write(self, key: str, start: int, data: ReadableBuffer) -> None:
        """Keep bytes of an object, if there is room; what goes wrong costs only that they are read again."""
        view = memoryview(data).cast("B")
        if start + len(view) > _LARGEST or not self.has_room(len(view)):
            return
        file = self._opened(key, make=True)
        try:
            with self._writing:  # side by side, the kernel would have them wait for each other, and busily
                if file is not None:
                    self._write(file.descriptor, view, start)
        except OSError as error:
            self.refused(error)

    def _write(self, descriptor: int, view: memoryview, start: int) -> None:
        """Write bytes; of much, the whole pages directly, as long as that goes well and fast: who reads waits for it."""
        begun = time.monotonic()
        if len(view) >= _DIRECT and begun >= self._plain_until:
            head = -start % _PAGE
            pages = (len(view) - head) // _PAGE * _PAGE
            went = _write_directly(descriptor, view[head : head + pages], start + head)
            if not went or pages < _FAST * (time.monotonic() - begun):
                self._plain_until = time.monotonic() + _UNHURRIED
            if went:
                _write_all(descriptor, view[:head], start)
                view, start = view[head + pages :], start + head + pages
        _write_all(descriptor, view, start)

    def refused(self, error: OSError) -> None:
        """The disk would not take something: leave it alone for a while, and say so once."""
        now = time.monotonic()
        if now - self._refused > _PAUSE:
            why = "is full" if error.errno in _FULL else f"refuses ({error.strerror or error})"
            self._warn(f"the disk of {self.folder} {why}: what mounts read is not kept")
        self._refused = now
        self._written = self._step

    def _opened(self, key: str, *, make: bool) -> _Opened | None:
        """The file of an object; one that somebody unlinked is opened anew."""
        with self._guard:
            found = self._open.get(key)
            if found is not None:
                self._open.move_to_end(key)
        if found is not None and not found.is_unlinked():
            return found
        path = self.folder / key.removeprefix(f"{layout.OWN}/")
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if make else 0)
        try:
            try:
                descriptor = os.open(path, flags, 0o600)
            except FileNotFoundError:
                if not make:
                    return None
                self.make_folder(path.parent)
                descriptor = os.open(path, flags, 0o600)
        except OSError as error:
            if make:
                self.refused(error)
            return None
        opened = _Opened(descriptor)
        with self._guard:
            self._open[key] = opened
            if len(self._open) > _OPEN:
                self._open.popitem(last=False)
        return opened

    def make_folder(self, folder: Path) -> None:
        """Make the cache's own folder, which somebody may have removed, or one below it, for its user alone."""
        if folder.is_dir():
            return
        if folder == self.folder:
            _make_private(folder)
        else:
            self.make_folder(folder.parent)
            folder.mkdir(mode=0o700, exist_ok=True)

    # room

    def has_room(self, need: int) -> bool:
        """Whether so many bytes may be written now; what was not used for long goes for them."""
        if time.monotonic() - self._refused < _PAUSE and self._refused:
            return False
        with self._guard:
            self._written += need
            is_due = self._written >= self._step
        if is_due and self._trimming.acquire(blocking=False):
            try:
                self._written = 0
                return self._trim(need)
            except OSError as error:
                self.refused(error)
                return False
            finally:
                self._trimming.release()
        return True

    def _trim(self, need: int) -> bool:
        """Remove the longest unused until there is room for this and for what comes before the next look; not for what cannot fit."""
        self.make_folder(self.folder)
        held = [*self.held()]
        disk = shutil.disk_usage(self.folder)
        total, free = sum(item.bytes for item in held), least_free(disk.total, self._keep_free)

        def over(need: int) -> int:
            return excess(held=total, need=need, limit=self.limit, free=disk.free, keep_free=free)

        fits = choose(held, over(need)).lacking == 0
        for item in choose(held, over(need * fits + self._step), as_far=True).doomed:
            self.drop(item.name)
        return fits

    def held(self) -> Iterator[Held]:
        """Every file, what it takes of the disk, and when it was last used; what killed processes left unfinished goes."""
        for base, _, names in os.walk(self.folder):
            for name in names:
                path = f"{base}/{name}"
                with suppress(OSError):
                    if name.startswith(".") and is_dead(name.rpartition(".")[2]):
                        os.unlink(path)
                        continue
                    status = os.lstat(path)
                    yield Held(path, status.st_blocks * 512, max(status.st_mtime, status.st_atime))

    def drop(self, path: str) -> None:
        """Remove one file; its blocks are free once nobody has it open."""
        with suppress(OSError):
            os.unlink(path)
        with self._guard:
            self._open.pop(f"{layout.OWN}/{os.path.relpath(path, self.folder)}", None)

    def clear(self) -> int:
        """Remove everything; how many bytes it took."""
        freed = 0
        for item in self.held():
            self.drop(item.name)
            freed += item.bytes
        return freed


class _Opened:
    """An open file, closed when nobody holds it any more."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._touched = 0.0
        weakref.finalize(
            self, os.close, descriptor
        ).atexit = False  # threads may still use it, and its number another file

    def has(self, start: int, length: int) -> bool:
        """Whether no hole is among these bytes, as far as the file system tells."""
        try:
            return (
                os.lseek(self.descriptor, start, os.SEEK_DATA) == start
                and os.lseek(self.descriptor, start, os.SEEK_HOLE) >= start + length
            )
        except OSError:  # beyond the last byte
            return False

    def lacks(self, start: int, length: int) -> bool:
        """Whether all of these bytes are a hole."""
        try:
            return os.lseek(self.descriptor, start, os.SEEK_DATA) >= start + length
        except OSError:  # beyond the last byte
            return True

    def is_unlinked(self) -> bool:
        """Whether somebody has removed it: what is written to it now, nobody else sees."""
        return os.fstat(self.descriptor).st_nlink == 0

    def touch(self) -> None:
        """It was used; told to the disk now and then."""
        now = time.monotonic()
        if now - self._touched > _TOUCH:
            self._touched = now
            with suppress(OSError):
                os.utime(self.descriptor)


def _write_directly(descriptor: int, pages: memoryview, start: int) -> bool:
    """Write whole pages without a copy in the kernel; False where it could not be done, and may be as usual."""
    try:
        direct = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_CLOEXEC | os.O_DIRECT)
    except (OSError, AttributeError):  # no such thing on this file system, or on this system
        return False
    try:
        return os.pwrite(direct, pages, start) == len(pages)
    except OSError:  # if it is the disk, the usual way says so
        return False
    finally:
        os.close(direct)


def _write_all(descriptor: int, view: memoryview, start: int) -> None:
    while view:
        count = os.pwrite(descriptor, view, start)
        view, start = view[count:], start + count


def _make_private(folder: Path) -> None:
    """Make the cache's folder, where it is not there; raises as :func:`check_private`."""
    folder.parent.parent.mkdir(parents=True, exist_ok=True)
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    check_private(folder)


def check_private(folder: Path) -> None:
    """Refuse a folder in which another user than ours could put something.

    Raises:
        LocalError: it is somebody else's, a link, or below a folder that others may change.
    """
    refuse_shared(folder)
    if os.lstat(folder).st_mode & 0o077:
        os.chmod(folder, 0o700)


def refuse_shared(folder: Path) -> None:
    """As :func:`check_private`, where the folder need not be there yet; nothing is changed."""
    mine = os.geteuid()
    status = os.lstat(folder) if os.path.lexists(folder) else None
    if status is not None and (not stat.S_ISDIR(status.st_mode) or status.st_uid != mine):
        raise _not_private(folder, f"{folder} is not a folder of this user")
    for above in (each for each in folder.resolve().parents if each.exists()):
        status = os.stat(above)
        is_open = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
        if status.st_uid not in (0, mine) or is_open:
            raise _not_private(folder, f"others may change {above}, in which {folder} lies")


def _not_private(folder: Path, message: str) -> LocalError:
    return LocalError(
        message, subject=str(folder), hint="what mounts read is kept where only its own user writes: set XDG_CACHE_HOME"
    )
