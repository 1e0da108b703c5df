"""Which cached versions are in use, and how much room is spoken for by fetches under way.

A lease is an empty file that tells everything by its name: ``<version>@<owner>.<n>.<bytes>`` (FORMAT.md §8). It counts as long as its
process lives; where that cannot be told from here (another machine, another container), until it is six hours old, and whoever
uses it longer renews it. Nothing ever waits for a lease but a removal, which leaves the version alone instead.
"""

from __future__ import annotations

import io
import itertools
import os
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.cache.owners import is_dead, is_visible, owner
from holdfast.formats import layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Lease", "LeasedFile", "Leases"]

#: A lease of a process whose life cannot be told from here counts for so many seconds.
_STRANGE: Final = 6 * 3600.0
_PAUSE: Final = 0.005
#: How long a removal that has begun is waited for; it takes two renames.
_PATIENCE: Final = 2.0
_count = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Lease:
    """One process's use of one version; ``bytes`` that it is about to write, ``since`` in seconds since 1970."""

    name: str
    version: str
    owner: str
    bytes: int
    since: float
    path: Path

    def is_before(self, other: Lease) -> bool:
        """Which of two was first; everybody tells it alike."""
        return (self.since, self.path.name) < (other.since, other.path.name)

    def renew(self) -> None:
        """Still in use."""
        with suppress(OSError):
            os.utime(self.path)


class Leases:
    """The leases in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def hold(self, name: str, version: str, count: int = 0) -> Iterator[Lease | None]:
        """Use a version, and speak for so many bytes; None where the folder cannot be written, and nobody evicts either.

        A removal that began before is over when this returns: what is there then stays.
        """
        lease = self._take(name, version, count)
        try:
            if lease is not None:
                self._outwait(name, version)
            yield lease
        finally:
            if lease is not None:
                with suppress(OSError):
                    lease.path.unlink(missing_ok=True)

    def _take(self, name: str, version: str, count: int) -> Lease | None:
        mine = owner()
        path = self._place(name) / f"{version}@{mine}.{next(_count)}.{count}"
        try:
            try:
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            since = os.fstat(descriptor).st_mtime
            os.close(descriptor)
        except OSError:
            return None
        return Lease(name, version, mine, count, since, path)

    def _place(self, name: str) -> Path:
        return self._folder / layout.encode_name(name)

    def living(self) -> list[Lease]:
        """The leases that count; those of the dead are swept."""
        found = []
        for piece in _names(self._folder):
            for file in _names(self._folder / piece):
                lease = _read(self._folder / piece / file, layout.decode_name(piece))
                if lease is not None:
                    found.append(lease)
        return found

    def of(self, name: str, version: str, mine: Lease | None = None) -> list[Lease]:
        """Those of one version, but for one's own."""
        place = self._place(name)
        own = "" if mine is None else mine.path.name
        found = [_read(place / f, name) for f in _names(place) if f.startswith(f"{version}@") and f != own]
        return [lease for lease in found if lease is not None]

    # a removal, which gives way to leases

    @contextmanager
    def removal(self, name: str, version: str, mine: Lease | None = None) -> Iterator[bool]:
        """The right to take a version away, for a moment; False where it is in use, or another is taking it away."""
        place = self._doom(name, version)
        try:
            if not self._announce(place):
                yield False
                return
        except OSError:
            yield not self.of(name, version, mine)  # no symlinks here: whoever takes it away looks for leases once more
            return
        try:
            yield not self.of(name, version, mine)
        finally:
            with suppress(OSError):
                place.unlink(missing_ok=True)

    def _doom(self, name: str, version: str) -> Path:
        return self._place(name) / f".{version}.doomed"

    def _announce(self, place: Path) -> bool:
        place.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(2):
            try:
                os.symlink(owner(), place)
            except FileExistsError:
                if self._is_doomed(place):
                    return False
                place.unlink(missing_ok=True)
            else:
                return True
        return False

    def _outwait(self, name: str, version: str) -> None:
        end, place = time.monotonic() + _PATIENCE, self._doom(name, version)
        while self._is_doomed(place) and time.monotonic() < end:
            time.sleep(_PAUSE)

    @staticmethod
    def _is_doomed(place: Path) -> bool:
        """Whether a removal is under way; one of the dead is not, nor one that nobody here knows, after a while."""
        try:
            holder = os.readlink(place)
            return not is_dead(holder) and (is_visible(holder) or time.time() - os.lstat(place).st_mtime < _PATIENCE)
        except OSError:
            return False


class LeasedFile(io.FileIO):
    """A file of a version, for reading; takes over what ``kept`` holds, and ends it when it is closed."""

    def __init__(self, path: Path, kept: ExitStack) -> None:
        self._kept = ExitStack()
        super().__init__(path)
        self._kept = kept.pop_all()

    def close(self) -> None:
        """Close it; the version is no longer in use by it."""
        super().close()
        self._kept.close()


def _names(folder: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError:
        return []


def _read(path: Path, name: str) -> Lease | None:
    version, _, rest = path.name.partition("@")
    holder, _, count = rest.rpartition(".")
    holder = holder.rpartition(".")[0]
    if not holder or not count.isdecimal():
        return None
    try:
        since = path.stat().st_mtime
        if is_dead(holder) or (not is_visible(holder) and time.time() - since > _STRANGE):
            path.unlink(missing_ok=True)
            return None
    except OSError:
        return None
    return Lease(name, version, holder, int(count), since, path)
