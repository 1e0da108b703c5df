"""Sends the files of one version into a store, checking while it reads that they still are what was scanned.

A file whose digest is not known yet is hashed as it is sent: what is read for it is what goes to the store.

A file that changes while it is pushed stops the push before a meta could promise it (bad input of the seed's users: training
jobs that write while somebody publishes).
"""

from __future__ import annotations

import os
import tarfile
import tempfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from holdfast.cache.tree import Scanned, changed, check_source, gone, read_file, read_whole
from holdfast.errors import HoldfastError
from holdfast.failpoint import reach
from holdfast.model.digest import Hasher, digest_of
from holdfast.store.base import Bulk
from holdfast.transfer.plan import plan_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from _typeshed import ReadableBuffer

    from holdfast.model.manifest import Entry, Manifest
    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine
    from holdfast.transfer.plan import ObjectPlan, TransferPlan

__all__ = ["Sent", "Upload"]


@dataclass(frozen=True, slots=True)
class Sent:
    """What went to the store."""

    objects: int
    bytes: int


class Upload:
    """One version's files to one store. ``alive`` is called now and then, and stops the upload by raising.

    ``found`` has the digests, by path, of what was sent and had none in the manifest.
    """

    def __init__(self, store: Store, engine: Engine, scanned: Mapping[str, Scanned], alive: Callable[[], None]) -> None:
        self._store = store
        self._engine = engine
        self._scanned = scanned
        self._alive = alive
        self.found: dict[str, str] = {}

    def send(self, name: str, version: str, layout: str, manifest: Manifest, scratch: Path) -> Sent:
        """Write every object of the version; ``scratch`` is the folder for an archive in the making.

        Raises:
            SourceChangedError: a file is not what was scanned any more.
        """
        if layout == "tar.gz":
            return self._send_archive(name, version, manifest, scratch)
        plan = plan_objects(name, version, layout, manifest.files)
        self._start(plan)
        try:
            rest = self._sent_in_bulk(plan)
            self._engine.pipe(rest, self._send_small, self._sent_small, at_once=plan.at_once)
            for item in plan.large:
                self._send_large(item)
        finally:
            self._engine.progress.finish()
        return Sent(len(plan.small) + len(plan.large), plan.size or 0)

    def _start(self, plan: TransferPlan) -> None:
        self._engine.progress.start("push", plan.size, len(plan.small) + len(plan.large))

    def _source(self, item: ObjectPlan) -> Scanned:
        assert item.entry is not None  # noqa: S101 - only the plan of an archive has an object without an entry
        scanned = self._scanned[item.entry.path]
        return Scanned(item.entry, scanned.path, scanned.stamp)

    def _read_small(self, item: ObjectPlan) -> tuple[str, bytes]:
        self._alive()
        scanned = self._source(item)
        data = read_whole(scanned)
        self._prove(scanned, digest_of(data))
        return item.key, data

    def _prove(self, scanned: Scanned, digest: str) -> None:
        """See that what was read is what was hashed before, or note what it is."""
        if scanned.entry.digest is None:
            self.found[scanned.entry.path] = digest
        elif digest != scanned.entry.digest:
            raise changed(scanned)

    def _sent_in_bulk(self, plan: TransferPlan) -> Iterator[tuple[str, bytes]]:
        """Send what the store takes in bulk; what is left."""
        items = map(self._read_small, plan.small)
        if not isinstance(self._store, Bulk):
            yield from items
            return
        on_the_way: dict[str, bytes] = {}

        def drawn() -> Iterator[tuple[str, bytes]]:
            for key, data in items:
                on_the_way[key] = data
                yield key, data

        for key, is_sent in self._store.put_many(drawn(), self._engine.bound(plan.lines)):
            data = on_the_way.pop(key)
            if is_sent:
                self._sent_small(len(data))
            else:
                yield key, data

    def _send_small(self, read: tuple[str, bytes]) -> int:
        key, data = read
        self._store.put(key, data)
        return len(data)

    def _sent_small(self, count: int) -> None:
        reach("push.data-partly")
        self._engine.moved(count)

    def _send_large(self, item: ObjectPlan) -> None:
        scanned = self._source(item)
        hasher, total = Hasher(), 0

        def seen(piece: ReadableBuffer) -> None:
            nonlocal total
            self._alive()
            hasher.update(piece)
            count = memoryview(piece).nbytes
            total += count
            self._engine.moved(count)
            if total == item.size:
                self._prove(scanned, hasher.hexdigest())

        check_source(scanned)
        try:
            with open(scanned.path, "rb", buffering=0) as file:
                self._store.put_file(item.key, file, item.size, seen)
        except HoldfastError:  # of the store, also of one whose disk is full, which is an OSError, too
            raise
        except OSError as error:
            raise gone(scanned, error) from error
        check_source(scanned)
        reach("push.data-partly")

    def _send_archive(self, name: str, version: str, manifest: Manifest, scratch: Path) -> Sent:
        """Packed into a file without a name, which a kill takes with it; each file checked against its digest on the way."""
        scratch.mkdir(parents=True, exist_ok=True)
        with cast(BinaryIO, tempfile.TemporaryFile(dir=scratch, buffering=1 << 20)) as file:
            size = self._pack(file, manifest)
            plan = plan_objects(name, version, "tar.gz", (), archive_size=size)
            self._start(plan)
            try:
                self._store.put_file((plan.small or plan.large)[0].key, file, size, self._seen)
            finally:
                self._engine.progress.finish()
        reach("push.data-partly")
        return Sent(1, size)

    def _seen(self, piece: ReadableBuffer) -> None:
        self._alive()
        self._engine.moved(memoryview(piece).nbytes)

    def _pack(self, file: BinaryIO, manifest: Manifest) -> int:
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=6, format=tarfile.PAX_FORMAT) as archive:
            for entry in manifest.entries:
                _add(archive, entry, self._scanned[entry.path])
        file.flush()
        file.seek(0)
        return os.fstat(file.fileno()).st_size


def _add(archive: tarfile.TarFile, entry: Entry, scanned: Scanned) -> None:
    info = tarfile.TarInfo(entry.path)
    info.mode = entry.mode if entry.mode is not None else 0o644
    info.mtime = (entry.mtime or 0) // 1_000_000_000
    if entry.kind == "dir":
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    elif entry.kind == "link":
        info.type, info.linkname = tarfile.SYMTYPE, entry.target or ""
        archive.addfile(info)
    else:
        info.size = entry.size
        reader: Any = _Checked(replace(scanned, entry=entry))
        archive.addfile(info, reader)
        reader.finish()


class _Checked:
    """A file for tarfile that must turn out to have the digest that was scanned."""

    def __init__(self, scanned: Scanned) -> None:
        self._pieces = read_file(scanned)
        self._scanned = scanned
        self._rest = memoryview(b"")
        self._hasher = Hasher()

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes, fewer only at the end."""
        parts = []
        while count and (self._rest or self._advance()):
            parts.append(bytes(self._rest[:count]))
            self._rest = self._rest[count:]
            count -= len(parts[-1])
        return b"".join(parts)

    def _advance(self) -> bool:
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self._hasher.update(piece)
        self._rest = piece
        return True

    def finish(self) -> None:
        """Check length and digest."""
        if self._advance() or self._hasher.hexdigest() != self._scanned.entry.digest:
            raise changed(self._scanned)
