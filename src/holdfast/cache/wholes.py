"""Whole files on this machine, by digest, as plain bytes: what the kernel may read itself, and files of layouts without chunks.

They lie in the folder of the ranges, and go as they do. A file gets its name once all of it was verified, and can be written by nobody from
then on. Whatever was written to since is not used. Of a large one a mark tells other processes that it was verified on this boot of the machine
and which file that was; every other one each process verifies before its first use, for a disk may forget.
"""

from __future__ import annotations

import itertools
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from holdfast.cache.owners import boot, owner
from holdfast.errors import IntegrityError
from holdfast.model.digest import Hasher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from holdfast.cache.ranges import Ranges

__all__ = ["Wholes"]

_STEP: Final = 1024 * 1024
#: Files from this size on have a mark: to verify a smaller one costs no more than a mark would.
_MARKED: Final = 1024 * 1024
_count: Final = itertools.count(1)


class Wholes:
    """The whole files beside some ranges. Digests are hexadecimal."""

    def __init__(self, ranges: Ranges) -> None:
        self._ranges = ranges
        self._folder = ranges.folder / "files"
        self._marks = ranges.folder / "verified"
        self._verified: set[_Identity] = set()

    def open(self, digest: str) -> int | None:
        """A descriptor, open for reading, of a file that was verified and nobody wrote to since; the caller closes it."""
        descriptor = self._descriptor(digest)
        if descriptor is None:
            return None
        if self._is_verified(digest, _identity(descriptor)):
            return descriptor
        os.close(descriptor)
        return None

    def has(self, digest: str) -> bool:
        """Whether a file is here, unchecked."""
        return os.path.lexists(self._path(digest))

    def read(self, digest: str, start: int, length: int) -> bytes | None:
        """Bytes of a file that is here, unchecked; None where it is not."""
        descriptor = self._descriptor(digest)
        if descriptor is None:
            return None
        try:
            return os.pread(descriptor, length, start)
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def verify(self, digest: str, told: Callable[[int], None] = lambda _: None) -> bool:
        """Read a file that is here from end to end, so that it may be used; one that is not as it should be goes. ``told`` hears how it gets on, in bytes."""
        descriptor = self._descriptor(digest)
        if descriptor is None:
            return False
        try:
            identity = _identity(descriptor)
            if self._is_verified(digest, identity):
                return True
            if _digest(descriptor, told) == digest and _identity(descriptor) == identity:
                self._mark(digest, identity)
                return True
        except OSError:
            pass
        finally:
            os.close(descriptor)
        self._ranges.drop(str(self._path(digest)))
        return False

    def admit(
        self, digest: str, size: int, fill: Callable[[Path], None], told: Callable[[int], None] = lambda _: None
    ) -> bool:
        """Make a file of this digest: ``fill`` writes it under another name, and it is read back, as ``told`` hears. False where there is no room.

        Raises:
            IntegrityError: what was written is not it.
            HoldfastError: whatever ``fill`` raises.
        """
        if not self._ranges.has_room(size):
            return False
        try:
            with self._part() as part:
                fill(part)
                self._finish(part, digest, told)
        except OSError as error:
            self._ranges.refused(error.__cause__ if isinstance(error.__cause__, OSError) else error)
            return False
        return True

    @contextmanager
    def _part(self) -> Iterator[Path]:
        """A name for a file in the making."""
        self._ranges.make_folder(self._folder)
        part = self._folder / f".{next(_count)}.{owner()}"
        try:
            yield part
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)

    def _finish(self, part: Path, digest: str, told: Callable[[int], None]) -> None:
        part.chmod(0o400)
        descriptor = os.open(part, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if _digest(descriptor, told) != digest:
                raise IntegrityError(f"a file does not have the digest {digest}", subject=digest)
            path = self._path(digest)
            self._ranges.make_folder(path.parent)
            part.replace(path)
            self._mark(digest, _identity(descriptor))
        finally:
            os.close(descriptor)

    def _is_verified(self, digest: str, identity: _Identity) -> bool:
        if identity not in self._verified and identity.size >= _MARKED:
            with suppress(OSError):
                if self._mark_of(digest).read_bytes() == identity.text():
                    self._verified.add(identity)
        return identity in self._verified

    def _mark(self, digest: str, identity: _Identity) -> None:
        """The file was verified: this process knows, and of a large one so do others."""
        self._verified.add(identity)
        if identity.size >= _MARKED and boot():
            mark = self._mark_of(digest)
            with suppress(OSError):  # costs others another look
                self._ranges.make_folder(mark.parent)
                mark.write_bytes(identity.text())

    def _mark_of(self, digest: str) -> Path:
        return self._marks / digest[:2] / digest

    def _descriptor(self, digest: str) -> int | None:
        """The file, if it is there and may be used: our own, and written by nobody."""
        try:
            descriptor = os.open(self._path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o222:
            return descriptor
        os.close(descriptor)
        return None

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest


class _Identity(NamedTuple):
    """What changes when a file is another, or was written to."""

    device: int
    inode: int
    size: int
    changed: int

    def text(self) -> bytes:
        """As a mark holds it: true on this boot of the machine only."""
        return f"{boot()} {self.device} {self.inode} {self.size} {self.changed}\n".encode()


def _identity(descriptor: int) -> _Identity:
    status = os.fstat(descriptor)
    return _Identity(status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns)


def _digest(descriptor: int, told: Callable[[int], None]) -> str:
    hasher, start = Hasher(), 0
    while piece := os.pread(descriptor, _STEP, start):
        hasher.update(piece)
        start += len(piece)
        told(len(piece))
    return hasher.hexdigest()
