"""A store that counts the bytes that go through it, and can fail when enough of them have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.store.path import PathStore
from tests.fakes import FaultyStore, repository_on

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CountingStore", "Yard"]


@dataclass
class CountingStore(FaultyStore):
    """``reads`` and ``writes`` are (key, bytes), in order."""

    reads: list[tuple[str, int]] = field(default_factory=list)
    writes: list[tuple[str, int]] = field(default_factory=list)

    def get(self, key):
        """The store's, counted."""
        found = super().get(key)
        self.reads.append((key, memoryview(found.data).nbytes))
        return found

    def get_range(self, key, start, length, *, version=None):
        """The store's, counted."""
        found = super().get_range(key, start, length, version=version)
        self.reads.append((key, memoryview(found.data).nbytes))
        return found

    def put(self, key, data, *mode):
        """The store's, counted."""
        found = super().put(key, data, *mode)
        self.writes.append((key, memoryview(data).nbytes))
        return found

    def read(self, word: str = "") -> int:
        """Bytes read of objects with this word in their key."""
        return sum(size for key, size in list(self.reads) if word in key)

    def written(self, word: str = "") -> int:
        """Bytes written."""
        return sum(size for key, size in list(self.writes) if word in key)


class Yard:
    """A store in a folder, and machines that each have a cache, a state and a counter of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.store.mkdir()
        self._count = 0

    def machine(self, plan=None):
        """A new machine: its repository, and the store as it sees it."""
        self._count += 1
        counted = CountingStore(PathStore(self.store), *([plan] if plan else []))
        return repository_on(counted, self.folder / "machines" / str(self._count)), counted

    def packs(self) -> dict[str, int]:
        """The packs that are there, and their sizes."""
        return {path.name: path.stat().st_size for path in (self.store / ".holdfast" / "packs").glob("??/*")}
