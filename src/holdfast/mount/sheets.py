"""The entries of a version in sheets: the pages of a manifest, read when they are first looked at, or a list that is here already.

Owns what is refused before anybody sees it: a path that could lead elsewhere, entries out of order. What was decoded is kept within
a bound.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from itertools import accumulate, takewhile
from operator import lt
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from holdfast.errors import IntegrityError
from holdfast.formats.pages import Rows
from holdfast.transfer.manifests import entries_of, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.formats.root import Page
    from holdfast.model.chunk import Placed
    from holdfast.model.manifest import Entry, Manifest

__all__ = ["Kept", "ListedSheets", "PagedSheets", "check_rows"]

#: What decoded sheets may take of memory, in bytes, about: what ``stat`` shows, and whole entries.
_ROWS: Final = 96 * 1024 * 1024
_ENTRIES: Final = 64 * 1024 * 1024
#: What one takes beside its paths, at most, by measurement: a row of numbers, an entry with its chunks.
_ROW_BYTES, _ENTRY_BYTES, _CHUNK_BYTES = 160, 400, 300
#: Pages that are looked at one after the other are read so many at a time.
_AHEAD, _AHEAD_BYTES = 16, 16 * 1024 * 1024
_SHEET: Final = 1024
_UNSAFE: Final = re.compile(rb"[\0/]\.{0,2}(?=[\0/])")
_KINDS: Final = {"file": b"f", "dir": b"d", "link": b"l"}

K = TypeVar("K")
V = TypeVar("V")


class Kept(Generic[K, V]):
    """Values by key, as many as fit into a bound; what was not used lately goes. Safe in threads without a lock.

    There are two tables: what is used moves to the young one, and once that is half full it becomes the old one, whose values go.
    """

    def __init__(self, limit: int) -> None:
        self._half = limit // 2
        self._young: dict[K, tuple[V, int]] = {}
        self._old: dict[K, tuple[V, int]] = {}
        self._size = 0

    def get(self, key: K) -> V | None:
        """The value, if it is still here."""
        found = self._young.get(key)
        if found is not None:
            return found[0]
        found = self._old.get(key)
        if found is None:
            return None
        self._put(key, found)
        return found[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value of about so many bytes."""
        self._put(key, (value, size))

    def _put(self, key: K, item: tuple[V, int]) -> None:
        if self._size + item[1] > self._half:
            self._old, self._young, self._size = self._young, {}, 0
        self._young[key] = item
        self._size += item[1]


class PagedSheets:
    """The pages of a root. ``load`` gives the raw bytes of pages that lie one behind the other, each verified, or as many as it likes from the first on."""

    def __init__(self, pages: Sequence[Page], load: Callable[[Sequence[Page]], Sequence[bytes]]) -> None:
        self._pages = pages
        self._load = load
        self.firsts = [page.first for page in pages]
        self.lasts = [page.last for page in pages]
        self.starts = [*accumulate((page.entries for page in pages), initial=0)]
        self._rows: Kept[int, Rows] = Kept(_ROWS)
        self._raw: Kept[int, bytes] = Kept(_ROWS)
        self._entries: Kept[int, list[Placed]] = Kept(_ENTRIES)
        self._last = -2

    def sheet(self, number: int) -> Rows:
        """What ``stat`` shows of the entries of one page.

        Raises:
            IntegrityError: it is not what the root says, or holds a path that could lead elsewhere.
        """
        rows = self._rows.get(number)
        if rows is None:
            page = self._pages[number]
            rows = check_rows(rows_of(page, self._bytes_of(number)), page.object)
            self._rows.put(number, rows, sum(map(len, rows.paths)) + len(rows.paths) * _ROW_BYTES)
        return rows

    def entries(self, number: int) -> list[Placed]:
        """The entries of one page, with the places of their bytes; raises as ``sheet``."""
        found = self._entries.get(number)
        if found is None:
            self.sheet(number)  # which refuses paths
            found = entries_of(self._pages[number], self._bytes_of(number))
            chunks = sum(len(entry.content) for entry in found if not isinstance(entry.content, bytes))
            inline = sum(len(entry.content) for entry in found if isinstance(entry.content, bytes))
            self._entries.put(number, found, len(found) * _ENTRY_BYTES + chunks * _CHUNK_BYTES + inline)
        return found

    def _bytes_of(self, number: int) -> bytes:
        """The raw bytes of a page; where the one before it was looked at last, those behind it are read with it."""
        raw = self._raw.get(number)
        if raw is None:
            count = _AHEAD if number == self._last + 1 else 1
            wanted = [*takewhile(_within(_AHEAD_BYTES), self._pages[number : number + count])]
            for behind, found in enumerate(self._load(wanted or [self._pages[number]])):
                self._raw.put(number + behind, found, len(found))
                raw = found if raw is None else raw
                self._last = number + behind
        assert raw is not None  # noqa: S101 - load gives the first at least
        return raw


class ListedSheets:
    """The entries of a manifest that is here already: it was checked when it was made."""

    def __init__(self, manifest: Manifest) -> None:
        self._entries = manifest.entries
        self._sheets = [_rows_of(self._entries[at : at + _SHEET]) for at in range(0, len(self._entries), _SHEET)]
        self.firsts = [rows.paths[0] for rows in self._sheets]
        self.lasts = [rows.paths[-1] for rows in self._sheets]
        self.starts = [*accumulate((len(rows.paths) for rows in self._sheets), initial=0)]

    def sheet(self, number: int) -> Rows:
        """What ``stat`` shows of the entries of one sheet."""
        return self._sheets[number]

    def entry(self, number: int, row: int) -> Entry:
        """An entry, whole."""
        return self._entries[number * _SHEET + row]


def _within(limit: int) -> Callable[[Page], bool]:
    """Whether this page and those before it unfold to no more than so many bytes."""
    left = limit

    def fits(page: Page) -> bool:
        nonlocal left
        left -= page.raw
        return left >= 0

    return fits


def _rows_of(entries: Sequence[Entry]) -> Rows:
    return Rows(
        [entry.path.encode() for entry in entries],
        b"".join([_KINDS[entry.kind] for entry in entries]),
        [entry.mode for entry in entries],
        [entry.mtime for entry in entries],
        [max(0, entry.size) for entry in entries],
        [entry.target or "" for entry in entries if entry.kind == "link"],
    )


def check_rows(rows: Rows, subject: str) -> Rows:
    """The rows, if their paths are relative, in normal form, and sorted, and none lies below a file or link among them.

    Raises:
        IntegrityError: one breaks these rules; nothing of it is shown.
    """
    paths = rows.paths
    joined = b"\0".join([b"", *paths, b""])
    if joined.count(b"\0") != len(paths) + 1 or _UNSAFE.search(joined):
        raise IntegrityError(f"{subject}: an unsafe path in a manifest", subject=subject)
    if not all(map(lt, paths, paths[1:])):
        raise IntegrityError(f"{subject}: paths out of order in a manifest", subject=subject)
    below = _first_below(rows)
    if below is not None:
        shown = below.decode(errors="replace")
        raise IntegrityError(f"{subject}: entries below {shown!r}, which is no directory", subject=subject)
    if max(rows.sizes, default=0) > _LARGEST:
        raise IntegrityError(f"{subject}: a file larger than any can be", subject=subject)
    return rows


_DIR: Final = ord("d")
_LARGEST: Final = (1 << 63) - 1


def _first_below(rows: Rows) -> bytes | None:
    """A file or link of these rows below which others of them lie."""
    above = {path.rpartition(b"/")[0] for path in rows.paths}
    todo = above
    while todo := {path.rpartition(b"/")[0] for path in todo} - above:
        above |= todo
    for path in above.intersection(rows.paths):
        if rows.kinds[bisect_left(rows.paths, path)] != _DIR:
            return path
    return None
