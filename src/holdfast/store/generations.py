"""Generations of a replaced key on a POSIX file system: compare-and-swap by exclusive link (design §3, POSIX).

``<directory>/<n>`` holds the n-th content, never changed. The first replace records the content that it found as generation 1.
The highest number is the truth. ``mirror`` is the plain key: it lags after a crash (an older generation stands in it: rolled
forward) or holds what another program wrote: *foreign* content, to be merged by the caller. That is content which no generation has,
or an older one's that was written after the newest generation was made.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from holdfast.disk import sync_directory
from holdfast.errors import ChangedError
from holdfast.failpoint import reach
from holdfast.model.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Current", "Generations"]

#: How many generations are kept; only those below the two newest may ever go.
_KEEP: Final = 16


@dataclass(frozen=True, slots=True)
class Current:
    """The truth: generation ``number`` (0: none yet, the plain key) with its bytes, and foreign bytes in the mirror."""

    number: int
    data: bytes
    modified: float
    foreign: bytes | None = None

    @property
    def token(self) -> str:
        """What a replace must name: the generation, its content, and the foreign content that the caller has seen."""
        seen = "" if self.foreign is None else "+" + digest_of(self.foreign)[:24]
        return f"{self.number}:{digest_of(self.data)[:24]}{seen}"


class Generations:
    """The generations of one key. ``link`` makes a hard link unless the target exists; ``write`` makes a synced temporary file."""

    def __init__(
        self,
        key: str,
        directory: Path,
        mirror: Path,
        link: Callable[[Path, Path], bool],
        write: Callable[..., Path],
    ) -> None:
        self._key = key
        self._directory = directory
        self._mirror = mirror
        self._link = link
        self._write = write

    def exist(self) -> bool:
        """Whether the key was ever replaced."""
        return bool(self._numbers())

    def read(self) -> Current | None:
        """The truth, or None where the key was never replaced."""
        while numbers := self._numbers():
            path = self._directory / str(numbers[-1])
            try:
                data, modified = path.read_bytes(), path.stat().st_mtime
            except FileNotFoundError:
                continue  # trimmed: a higher one is there
            current = Current(numbers[-1], data, modified)
            mirror = self._read_mirror()
            return replace(current, foreign=mirror) if self._is_foreign(mirror, current) else current
        return None

    def roll_forward(self, current: Current) -> None:
        """Bring a lagging mirror up to date, as far as rights allow; a reader owes nobody this."""
        try:
            while current.foreign is None and self._read_mirror() != current.data:
                self._write_mirror(current)
                current = self.read() or current  # a swap may have come between, whose mirror this one replaced
        except OSError:
            return

    def swap(self, data: bytes, token: str) -> Current:
        """The next generation, if the truth is still what the token names.

        Raises:
            ChangedError: it is not; or another program wrote the mirror meanwhile, which is then foreign content to merge (the
                generation stands, and reading finds it).
        """
        current = self.read()
        if current is None or current.token != token:
            raise ChangedError(f"{self._key} was changed by another writer", subject=self._key)
        following = self._publish(current.number + 1, data)
        reach("path.generation-linked")
        self._settle_mirror(following, current.foreign)
        self._trim(following.number)
        return following

    def delete(self) -> None:
        """Forget the key."""
        for number in self._numbers():
            (self._directory / str(number)).unlink(missing_ok=True)

    def adopt(self, data: bytes) -> Current:
        """Record what the plain key held as the first generation, so that it is known and never taken for foreign."""
        return self._publish(1, data, alike=True)

    def _publish(self, number: int, data: bytes, *, alike: bool = False) -> Current:
        temporary = self._write([data], sync=True)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            target = self._directory / str(number)
            if not (
                self._link(temporary, target) or target.samefile(temporary) or (alike and target.read_bytes() == data)
            ):
                raise ChangedError(f"{self._key} was changed by another writer", subject=self._key)
            sync_directory(self._directory)
            if self._numbers()[-1] >= number + _KEEP:  # perhaps the number had been, and was trimmed before the link
                raise ChangedError(f"{self._key} was changed by many other writers", subject=self._key)
            return Current(number, data, temporary.stat().st_mtime)
        finally:
            temporary.unlink(missing_ok=True)

    def _settle_mirror(self, current: Current, seen_foreign: bytes | None) -> None:
        """Rewrite the mirror until it equals the highest generation; stop at content that nobody has merged."""
        while True:
            mirror = self._read_mirror()
            if mirror != seen_foreign and self._is_foreign(mirror, current):
                raise ChangedError(f"{self._key} was written by another program", subject=self._key)
            self._write_mirror(current)
            reach("path.mirror-written")
            newest = self.read()
            if newest is None or newest.number == current.number:
                return
            current = newest

    def _write_mirror(self, current: Current) -> None:
        temporary = self._write([current.data], sync=True)
        try:
            self._mirror.parent.mkdir(parents=True, exist_ok=True)
            os.utime(temporary, (current.modified, current.modified))  # a slow writer's mirror is older than the truth
            temporary.replace(self._mirror)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(self._mirror.parent)

    def _read_mirror(self) -> bytes | None:
        try:
            return self._mirror.read_bytes()
        except FileNotFoundError:
            return None

    def _is_foreign(self, mirror: bytes | None, current: Current) -> bool:
        """Whether another program wrote what stands in the mirror; a lagging mirror is older than the generation."""
        if mirror is None or mirror == current.data:
            return False
        try:
            lags = self._mirror.stat().st_mtime <= current.modified
        except FileNotFoundError:
            return False
        return not (lags and self._is_older(mirror))

    def _is_older(self, content: bytes) -> bool:
        for number in reversed(self._numbers()):
            try:
                if (self._directory / str(number)).read_bytes() == content:
                    return True
            except FileNotFoundError:
                continue
        return False

    def _numbers(self) -> list[int]:
        try:
            return sorted(int(name) for name in os.listdir(self._directory) if name.isdecimal())
        except FileNotFoundError:
            return []

    def _trim(self, newest: int) -> None:
        for number in self._numbers():
            if number <= newest - _KEEP:
                (self._directory / str(number)).unlink(missing_ok=True)
