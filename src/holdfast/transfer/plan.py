"""What to move, given what a version holds: objects, and ranges of the large ones. Pure.

A layout is a pair of functions here, from a manifest to objects and back; one push loop and one fetch loop serve them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.errors import UsageError
from holdfast.formats import layout as keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from holdfast.model.manifest import Entry, Manifest

__all__ = [
    "PART",
    "WHOLE",
    "ObjectPlan",
    "TransferPlan",
    "check_tree_names",
    "choose_layout",
    "in_flight",
    "plan_objects",
    "ranges",
]

#: Objects up to this many bytes are moved by one request.
WHOLE: Final = 8 * 1024 * 1024
#: The length of one range of a larger one. Against Ceph, 8 MiB is no faster, and twice the memory.
PART: Final = 4 * 1024 * 1024
#: Small objects in flight, by threads and by connections alone. A store answers more of them the more it is asked for at a time,
#: until its disk or its cores are busy; Ceph's gateway a fifth more with 128 connections than with 64.
_THREADS, _LINES = 64, 128
_IN_FLIGHT: Final = 96 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ObjectPlan:
    """One object and the entry whose bytes it holds; None for an archive of all entries."""

    key: str
    entry: Entry | None
    size: int


@dataclass(frozen=True, slots=True)
class TransferPlan:
    """The objects of a version, small ones apart from large ones. An unknown size counts as large."""

    small: tuple[ObjectPlan, ...]
    large: tuple[ObjectPlan, ...]

    @property
    def at_once(self) -> int:
        """How many of the small objects may travel at a time, each by a thread: many, but not more than 96 MiB of them."""
        return in_flight(self._largest, _THREADS)

    @property
    def lines(self) -> int:
        """As ``at_once``, where an object in flight costs a connection and no thread."""
        return in_flight(self._largest)

    @property
    def _largest(self) -> int:
        return max((item.size for item in self.small), default=0)

    @property
    def size(self) -> int | None:
        """The bytes of all objects, None where a size is unknown."""
        sizes = [item.size for item in (*self.small, *self.large)]
        return None if any(size < 0 for size in sizes) else sum(sizes)


def in_flight(largest: int, most: int = _LINES) -> int:
    """How many small objects may travel at a time, the largest of which has so many bytes."""
    return max(1, min(most, _IN_FLIGHT // max(1, largest)))


def plan_objects(
    name: str, version: str, layout: str, files: Sequence[Entry], *, archive_size: int = -1
) -> TransferPlan:
    """The objects that hold these files of a version in this layout."""
    if layout == "tar.gz":
        return _split([ObjectPlan(keys.data_key(name, version), None, archive_size)])
    if layout == "file":
        return _split(ObjectPlan(keys.data_key(name, version), entry, entry.size) for entry in files)
    return _split(ObjectPlan(keys.file_key(name, version, entry.path), entry, entry.size) for entry in files)


def _split(objects: Iterable[ObjectPlan]) -> TransferPlan:
    small: list[ObjectPlan] = []
    large: list[ObjectPlan] = []
    for item in objects:
        (small if 0 <= item.size <= WHOLE else large).append(item)
    return TransferPlan(tuple(small), tuple(large))


def ranges(size: int, start: int = 0, part: int = PART) -> Iterator[tuple[int, int]]:
    """Start and length of each range from ``start`` to the end."""
    while start < size:
        length = min(part, size - start)
        yield start, length
        start += length


def choose_layout(*, single: bool, asked: str | None, default: str | None) -> str:
    """The layout of a push: as asked, else the store's default, else ``file`` for files and ``packs`` for directories.

    Raises:
        UsageError: the layout asked for does not fit, or is not there yet.
    """
    if asked not in (None, "file", "tree", "tar.gz", "packs"):
        raise UsageError(f"layout {asked!r} is not one of file, tree, tar.gz, packs", subject=asked)
    if single:
        if asked not in (None, "file"):
            raise UsageError(f"a single file is pushed in layout file, not {asked}", subject=asked)
        return "file"
    if asked == "file":
        raise UsageError("a directory cannot be pushed in layout file", subject=asked, hint="packs, tree or tar.gz")
    return asked or default or "packs"


def check_tree_names(manifest: Manifest, prefix: str) -> None:
    """Refuse, before anything is written, file names that object stores cannot have as part of a key.

    Raises:
        UsageError: a control character, or a key longer than 1,024 bytes.
    """
    for entry in manifest.files:
        if any(ord(character) < 32 or ord(character) == 127 for character in entry.path):
            problem = "has a control character"
        elif len(prefix.encode()) + len(entry.path.encode()) > 1000:
            problem = "makes a key of more than 1,000 bytes"
        else:
            continue
        raise UsageError(f"file name {entry.path!r} {problem}", subject=entry.path, hint="push with --layout tar.gz")
