"""A version of layout ``packs`` as others see it: its manifest, or the part of it that a selection needs, and its files.

A sub-path costs the root and the pages that may hold it, not the manifest; only where symlinks lead elsewhere is all of it read.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.cache.reuse import Reuse
from holdfast.errors import HoldfastError, VersionNotFoundError
from holdfast.model.manifest import Manifest
from holdfast.transfer.manifests import opened
from holdfast.transfer.unpacking import Unpacking

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from holdfast.cache.ranges import Ranges
    from holdfast.formats.convention import Meta
    from holdfast.formats.root import Root
    from holdfast.model.chunk import Placed
    from holdfast.selection import Selection
    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine
    from holdfast.transfer.manifests import ManifestReader

__all__ = ["PackedVersion"]

#: Other copies are looked at only where there is a file this large: small ones are as quickly read from packs.
_WORTH_REUSE: Final = 64 * 1024


class PackedVersion:
    """One version of layout ``packs``."""

    def __init__(self, reader: ManifestReader, name: str, version: str, meta: Meta) -> None:
        self._reader = reader
        self._name = name
        self._version = version
        self._root = meta.root
        self._selected: tuple[Selection, Manifest, list[Placed]] | None = None

    def is_of(self, name: str, version: str, meta: Meta) -> bool:
        """Whether it is this version."""
        return (self._name, self._version, self._root) == (name, version, meta.root)

    def root(self) -> tuple[Root, bytes]:
        """The root and its bytes, from the store.

        Raises:
            IntegrityError: it is missing, damaged, or another one.
        """
        return self._reader.root(self._name, self._version, self._root)

    def manifest(self) -> Manifest:
        """Every entry."""
        return Manifest(tuple(placed.entry for placed in self.placed()))

    def placed(self) -> list[Placed]:
        """Every entry, with the place of its bytes."""
        return list(self.each())

    def each(self) -> Iterator[Placed]:
        """Every entry, one after the other: a version may have a million."""
        return self._reader.entries(self._reader.whole(self._name, self._version, self._root))

    def select(self, selection: Selection) -> tuple[Manifest, list[Placed]]:
        """What is wanted, and where its bytes are.

        Raises:
            VersionNotFoundError: nothing is; the hint names the nearest paths.
        """
        if self._selected is None or self._selected[0] != selection:
            self._selected = (selection, *self._select(selection))
        return self._selected[1:]

    def _select(self, selection: Selection) -> tuple[Manifest, list[Placed]]:
        found = self._some(selection) if selection.sub_path else None
        if found is not None:
            return found
        return _chosen(self.placed(), selection)

    def _some(self, selection: Selection) -> tuple[Manifest, list[Placed]] | None:
        """From the pages alone that may hold the sub-path; None where they do not tell everything."""
        assert selection.sub_path  # noqa: S101 - as the caller knows
        path = selection.sub_path.encode(errors="surrogateescape")
        local = self._reader.local.find(self._name, self._version, self._root or "")
        if local is None:
            root = self.root()[0]
            self._reader.expect(root)
            some = list(self._reader.some(root.within(path)))
        else:
            some = [entry for page in local.root.within(path) for entry in opened(page, local.stored(page))]
        try:
            manifest, placed = _chosen(some, selection)
        except VersionNotFoundError:
            return None
        return None if any(entry.kind == "link" for entry in manifest.entries) else (manifest, placed)

    def fetch(
        self,
        store: Store,
        engine: Engine,
        copy: Path,
        selection: Selection,
        others: Iterable[tuple[Path, PackedVersion]] = (),
        ranges: Ranges | None = None,
    ) -> tuple[Manifest, int]:
        """Lay out what is wanted in ``copy``; returns it, and the bytes that came over the wire.

        ``others`` are versions of the asset on this machine: where their copies lie, and what they are. ``ranges`` are what mounts
        have read.
        """
        before = self._reader.bytes
        manifest, placed = self.select(selection)
        reuse = Reuse()
        if any(entry.size >= _WORTH_REUSE for entry in placed):
            for path, other in others:
                with suppress(HoldfastError):  # what cannot be read any more is fetched
                    reuse.add(path, other.each())
        engine.progress.start(f"{self._name}:{self._version}", manifest.size, len(manifest.files))
        try:
            unpacking = Unpacking(store, engine, copy, reuse, ranges)
            unpacking.run(placed, manifest)
        finally:
            engine.progress.finish()
        return manifest, unpacking.bytes + self._reader.bytes - before


def _chosen(placed: list[Placed], selection: Selection) -> tuple[Manifest, list[Placed]]:
    whole = Manifest(tuple(entry.entry for entry in placed))
    manifest = selection.of(whole)
    if manifest is whole:
        return whole, placed
    wanted = {entry.path for entry in manifest.entries}
    return manifest, [entry for entry in placed if entry.path.decode() in wanted]
