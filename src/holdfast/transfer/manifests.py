"""Reads manifests of layout ``packs``: the root, then the pages that are wanted, from this machine where they are here.

Every link of the chain is checked: meta names the root's digest, the root the pages', a page the chunks'.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from holdfast.errors import IntegrityError, LocalError, ObjectNotFoundError
from holdfast.formats import layout as keys
from holdfast.formats.codec import unpack
from holdfast.formats.pages import decode_chunks, decode_digests, decode_page, decode_rows, decode_sums
from holdfast.formats.root import decode_root
from holdfast.model.chunk import CODEC_ZSTD
from holdfast.model.digest import digest_of, raw_digest_of
from holdfast.store.base import Expects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from holdfast.cache.manifests import LocalManifest, Manifests
    from holdfast.formats.pages import Rows, Sums
    from holdfast.formats.root import Page, Root
    from holdfast.model.chunk import Chunk, Placed
    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine

__all__ = ["ManifestReader", "chunks_of", "digests_of", "entries_of", "opened", "raw_of", "rows_of", "sums_of"]

_RANGE: Final = 4 * 1024 * 1024
_FILE: Final = ord("f")


def opened(page: Page, stored: bytes | memoryview) -> list[Placed]:
    """The entries of a page, given its stored bytes, checked against what the root says of it.

    Raises:
        IntegrityError: they are not those bytes, or no page.
    """
    return entries_of(page, raw_of(page, stored))


def entries_of(page: Page, raw: bytes) -> list[Placed]:
    """The entries of a page, given its raw bytes, which were verified.

    Raises:
        IntegrityError: they are no page, or not the one that the root describes.
    """
    entries = decode_page(raw, keys.pages_key(page.object))
    sizes = [entry.size for entry in entries if entry.kind == _FILE]
    _check_named(page, [entries[0].path, entries[-1].path] if entries else [], len(entries), len(sizes), sum(sizes))
    return entries


def rows_of(page: Page, raw: bytes) -> Rows:
    """What ``stat`` shows of the entries of a page: quicker than they; given and raising as :func:`entries_of`."""
    rows = decode_rows(raw, keys.pages_key(page.object))
    _check_named(page, rows.paths, len(rows.paths), rows.kinds.count(_FILE), sum(rows.sizes))
    return rows


def sums_of(page: Page, stored: bytes | memoryview, is_implied: Callable[[bytes], bool]) -> Sums:
    """What a version that has a page as it is takes from it (:class:`holdfast.formats.pages.Sums`), given its stored bytes.

    Raises:
        IntegrityError: these are not its bytes.
    """
    return decode_sums(raw_of(page, stored), keys.pages_key(page.object), is_implied)


def _check_named(page: Page, paths: Sequence[bytes], entries: int, files: int, size: int) -> None:
    """Refuse a page of which the root says something else."""
    if (entries, files, size) != (page.entries, page.files, page.size) or (
        not paths or (paths[0], paths[-1]) != (page.first, page.last)
    ):
        subject = keys.pages_key(page.object)
        raise IntegrityError(
            f"{subject}: the page at {page.offset} is not the one that the root names", subject=subject
        )


def chunks_of(page: Page, stored: bytes | memoryview) -> list[Chunk]:
    """The chunks that a page names: quicker than its entries.

    Raises:
        IntegrityError: these are not its bytes.
    """
    return decode_chunks(raw_of(page, stored), keys.pages_key(page.object))


def digests_of(page: Page, stored: bytes | memoryview) -> list[bytes]:
    """The digests of those chunks: quicker still.

    Raises:
        IntegrityError: these are not its bytes.
    """
    return decode_digests(raw_of(page, stored), keys.pages_key(page.object))


def raw_of(page: Page, stored: bytes | memoryview) -> bytes:
    """The raw bytes of a page, verified.

    Raises:
        IntegrityError: these are not its bytes.
    """
    subject = keys.pages_key(page.object)
    raw = bytes(memoryview(unpack(stored, CODEC_ZSTD, page.raw, subject)))
    if raw_digest_of(raw) != page.digest:
        raise IntegrityError(f"{subject}: the page at {page.offset} does not match its digest", subject=subject)
    return raw


class ManifestReader:
    """Reads the manifests of one store."""

    def __init__(self, store: Store, engine: Engine, local: Manifests) -> None:
        self._store = store
        self._engine = engine
        self.local = local
        #: Bytes of roots and pages that came from the store.
        self.bytes = 0

    def root(self, name: str, version: str, digest: str | None) -> tuple[Root, bytes]:
        """The root of a version and its bytes, from the store; ``digest`` is what its meta says.

        Raises:
            IntegrityError: it is missing, damaged, or another one.
        """
        key = keys.data_key(name, version)
        try:
            data = bytes(memoryview(self._store.get(key).data))
        except ObjectNotFoundError as error:
            raise IntegrityError(f"{key} is missing, though its version is published", subject=key) from error
        if digest_of(data) != digest:
            raise IntegrityError(f"{key} does not match the digest in its meta", subject=key)
        self.bytes += len(data)
        return decode_root(data, key), data

    def whole(self, name: str, version: str, digest: str | None) -> LocalManifest:
        """The whole manifest, brought here if it is not: all pages that it lacks, in few ranges.

        Raises:
            IntegrityError: a part of it is missing or damaged.
            LocalError: there is no room for it here.
        """
        found = self.local.find(name, version, digest or "")
        if found is not None:
            return found
        root, data = self.root(name, version, digest)
        self.expect(root)
        recorder = self.local.record(name)
        try:
            for _, stored in self._stored(root.pages):
                recorder.add(bytes(stored))
        except BaseException:
            recorder.discard()
            raise
        recorder.keep(version, data)
        self.local.trim(name)
        found = self.local.find(name, version, digest or "")
        if found is None:
            raise LocalError(f"the manifest of {name}:{version} cannot be kept on this machine", subject=name)
        return found

    def expect(self, root: Root) -> None:
        """Tell the store, if it wants to know, that pages and packs of this root will be read."""
        if isinstance(self._store, Expects):
            self._store.expect([*map(keys.pages_key, root.objects), *map(keys.pack_key, root.packs)])

    def entries(self, manifest: LocalManifest) -> Iterator[Placed]:
        """Every entry of a manifest that is here."""
        for page, stored in manifest.pages():
            yield from opened(page, stored)

    def some(self, pages: Iterable[Page]) -> Iterator[Placed]:
        """The entries of some pages, from the store."""
        for page, stored in self._stored(pages):
            yield from opened(page, stored)

    def _stored(self, pages: Iterable[Page]) -> Iterator[tuple[Page, memoryview]]:
        """The stored bytes of pages, read in ranges over those that lie side by side."""
        for group, data in self._engine.in_order(self._read, _ranges(pages)):
            self.bytes += len(data)
            for page in group:
                start = page.offset - group[0].offset
                stored = data[start : start + page.stored]
                raw_of(page, stored)
                yield page, stored

    def _read(self, group: Sequence[Page]) -> tuple[Sequence[Page], memoryview]:
        key = keys.pages_key(group[0].object)
        start, end = group[0].offset, group[-1].offset + group[-1].stored
        try:
            data = memoryview(self._store.get_range(key, start, end - start).data).cast("B")
        except ObjectNotFoundError as error:
            raise IntegrityError(f"{key} is missing, though a version needs it", subject=key) from error
        if len(data) != end - start:
            raise IntegrityError(f"{key} is truncated", subject=key)
        return group, data


def _ranges(pages: Iterable[Page]) -> Iterator[list[Page]]:
    """Pages that lie one behind the other in one object, at most a few MiB together."""
    for _, same in groupby(pages, key=lambda page: page.object):
        group: list[Page] = []
        for page in same:
            end = group[-1].offset + group[-1].stored if group else page.offset
            if group and (page.offset != end or end - group[0].offset >= _RANGE):
                yield group
                group = []
            group.append(page)
        if group:
            yield group
