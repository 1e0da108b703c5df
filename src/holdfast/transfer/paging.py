"""Entries in order into pages, a root and the content hash: the end of a push of layout ``packs`` (FORMAT.md §9.2, §9.3).

A page that an earlier version has is not stored again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.errors import UsageError
from holdfast.formats.codec import pack
from holdfast.formats.container import PAGES
from holdfast.formats.pages import LARGEST_PAGE, Cutter, encode_page
from holdfast.formats.root import Page, Root
from holdfast.model.chunk import CODEC_ZSTD
from holdfast.model.digest import PREFIX, Hasher, raw_digest_of
from holdfast.model.manifest import HEADER
from holdfast.transfer.containers import ContainerWriter
from holdfast.transfer.manifests import opened, sums_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from holdfast.model.chunk import Placed
    from holdfast.transfer.containers import Container

__all__ = ["PageWriter"]

_FILE, _DIR = b"fd"


class PageWriter:
    """Takes entries in order. ``known`` are pages of earlier versions; ``keep`` gets each page's stored form, in order."""

    def __init__(
        self,
        send: Callable[[Container], None],
        known: Iterable[Page],
        condemned: frozenset[str],
        keep: Callable[[Page, bytes | None], None],
    ) -> None:
        self._writer = ContainerWriter(PAGES, send, condemned)
        self._known = {page.digest: page for page in known if page.object not in condemned}
        self._spans = {(page.first, page.last, page.entries): page for page in self._known.values()}
        self._kept = 0
        self._keep = keep
        self._cutter = Cutter()
        self._hasher = Hasher()
        self._hasher.update(HEADER)
        self._implied: set[bytes] = set()
        self._packs: set[bytes] = set()
        self._pages: list[Page] = []
        self.files = 0
        self.bytes = 0

    def implied(self, path: bytes, *, implied: bool) -> None:
        """Say of a directory, before it is added, whether something lies in it: then the content hash leaves it out."""
        if implied:
            self._implied.add(path)

    def add(self, entry: Placed, *, kept: bool) -> None:
        """The next entry; ``kept``: it is, untouched, of the manifest whose pages are known."""
        self._kept += kept
        page = self._cutter.add(entry)
        if page is not None:
            self._page(page)

    def untouched(self, page: Page, stored: bytes, *, is_implied: Callable[[bytes], bool]) -> None:
        """All entries of a page of the manifest whose pages are known: the page itself, where the one before ends where it begins."""
        if self._cutter.is_empty and page.digest in self._known:
            sums = sums_of(page, stored, is_implied)
            self._hasher.update(sums.canonical)
            self._packs.update(sums.packs)
            self._take(page, None)
            return
        for entry in opened(page, stored):
            if entry.kind == _DIR:
                self.implied(entry.path, implied=is_implied(entry.path))
            self.add(entry, kept=True)

    def finish(self) -> tuple[Root, str]:
        """The root and the content hash, once every entry was added."""
        rest = self._cutter.rest()
        if rest:
            self._page(rest)
        self._writer.close()
        pages = [replace(page, object=self._final(page.object)) for page in self._pages]
        root = Root(tuple(pages), tuple(sorted(name.hex() for name in self._packs)))
        return root, PREFIX + self._hasher.hexdigest()

    def _final(self, name: str) -> str:
        return self._writer.final(bytes.fromhex(name)).hex()

    def _page(self, entries: Sequence[Placed]) -> None:
        kept, self._kept = self._kept, 0
        page = self._spans.get((entries[0].path, entries[-1].path, kept)) if kept == len(entries) else None
        self._hash(entries)
        if page is None:
            self._new_page(entries)
        else:  # as many entries, all of them kept, between the same two: it is that page
            self._take(page, None)

    def _take(self, page: Page, stored: bytes | None) -> None:
        self.files += page.files
        self.bytes += page.size
        self._pages.append(page)
        self._keep(page, stored)
        if self._writer.full:
            self._writer.close()

    def _new_page(self, entries: Sequence[Placed]) -> None:
        raw = encode_page(entries)
        if len(raw) > LARGEST_PAGE:
            path = max(entries, key=lambda entry: entry.size).path.decode()
            raise UsageError(f"{path!r} is too large for layout packs", subject=path, hint="push with --layout tree")
        sizes = [entry.size for entry in entries if entry.kind == _FILE]
        digest = raw_digest_of(raw)
        known = self._known.get(digest)
        stored = None
        if known is None:
            stored = pack(raw, CODEC_ZSTD)
            self._writer.make_room(len(stored))
            name = self._writer.provisional.hex()
            offset = self._writer.add(stored, len(stored), len(raw), CODEC_ZSTD, digest)
            first, last = entries[0].path, entries[-1].path
            known = Page(first, last, len(entries), len(sizes), sum(sizes), name, offset, len(stored), len(raw), digest)
        self._take(known, stored)

    def _hash(self, entries: Sequence[Placed]) -> None:
        packs = self._packs
        texts = []
        for entry in entries:
            if isinstance(entry.content, tuple):
                packs.update([chunk.pack for chunk in entry.content])
            if entry.path in self._implied:
                self._implied.discard(entry.path)
            else:
                texts.append(entry.canonical())
        self._hasher.update(b"".join(texts))
