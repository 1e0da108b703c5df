"""One file of a version, whatever the layout: found by its path, read in pieces, checked against its digest as it passes.

Never more of it is in memory than one piece: four MiB of an object, or one chunk of a pack. A file inside of an archive is not
read here, for that would mean to unpack the archive: whoever wants it fetches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.errors import IntegrityError, ObjectNotFoundError, UnsupportedError, VersionNotFoundError
from holdfast.formats import layout
from holdfast.formats.codec import unpack
from holdfast.model.digest import Hasher, raw_digest_of
from holdfast.model.spec import AssetSpec
from holdfast.server.reading import resolve, root_of
from holdfast.transfer.manifests import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.catalog.base import Catalog
    from holdfast.formats.convention import Meta
    from holdfast.model.chunk import Placed
    from holdfast.store.base import Store

__all__ = ["Content", "open_content"]

_BLOCK: Final = 4 * 1024 * 1024
_FILE: Final = ord("f")


@dataclass(frozen=True, slots=True)
class Content:
    """A file: its version, its path there, its length in bytes, its digest where the manifest has one."""

    name: str
    version: str
    path: str
    size: int
    digest: str | None
    _pieces: Callable[[int], Iterator[bytes]]

    def first(self, most: int) -> bytes:
        """The first bytes, at most so many; all of them are checked against the digest."""
        found = bytearray()
        for piece in self._pieces(most):
            found += piece
            if len(found) >= most:
                break
        if len(found) < min(most, self.size):
            raise self._wrong("ends early")
        if self.size <= most:
            self._check(found)
        return bytes(found[:most])

    def blocks(self) -> Iterator[bytes]:
        """All of it; the last piece comes only if the digest is right, so that nobody takes damaged bytes for whole ones."""
        hasher, held, count = Hasher(), b"", 0
        for piece in self._pieces(self.size):
            if held:
                yield held
            hasher.update(piece)
            held, count = piece, count + len(piece)
        if count != self.size:
            raise self._wrong(f"has {count} bytes and not {self.size}")
        if self.digest is not None and hasher.hexdigest() != self.digest:
            raise self._wrong("does not match its digest")
        yield held

    def _check(self, data: bytes | bytearray) -> None:
        hasher = Hasher()
        hasher.update(data)
        if self.digest is not None and hasher.hexdigest() != self.digest:
            raise self._wrong("does not match its digest")

    def _wrong(self, what: str) -> IntegrityError:
        where = f"{self.name}:{self.version}[{self.path}]"
        return IntegrityError(f"{where} {what}", subject=where, hint="asset verify tells what else is damaged")


def open_content(store: Store, catalog: Catalog, name: str, version: str, path: str) -> Content:
    """A file of a version.

    Raises:
        NotFoundError: there is no such version, or no such file in it.
        UnsupportedError: it lies in an archive.
    """
    AssetSpec.parse(name)
    name, version, published = resolve(store, catalog, f"{name}:{version}")
    meta = published.meta
    if meta.layout == "packs":
        return _packed(store, name, version, meta, path)
    if meta.layout == "tar.gz":
        hint = f"asset fetch {name}:{version}"
        raise UnsupportedError("the file lies in an archive", subject=f"{name}:{version}", hint=hint)
    entries = () if meta.manifest is None else meta.manifest.files
    found = next((entry for entry in entries if entry.path == path), None)
    if found is None:
        raise _absent(name, version, path)
    single = meta.layout == "file"
    key = layout.data_key(name, version) if single else layout.file_key(name, version, path)
    size = found.size if found.size >= 0 else store.head(key).size
    return Content(name, version, path, size, found.digest, lambda most: _object(store, key, min(most, size)))


def _absent(name: str, version: str, path: str) -> VersionNotFoundError:
    return VersionNotFoundError(f"no file {path!r} in {name}:{version}", subject=path)


def _packed(store: Store, name: str, version: str, meta: Meta, path: str) -> Content:
    wanted = path.encode("utf-8", "surrogatepass")
    for page in root_of(store, name, version, meta).within(wanted):
        stored = memoryview(store.get_range(layout.pages_key(page.object), page.offset, page.stored).data).cast("B")
        for placed in opened(page, stored):
            if placed.path == wanted and placed.kind == _FILE:
                pieces = _inline(placed.content) if isinstance(placed.content, bytes) else _chunked(store, placed)
                return Content(name, version, path, placed.size, placed.digest.hex(), pieces)
    raise _absent(name, version, path)


def _inline(data: bytes) -> Callable[[int], Iterator[bytes]]:
    return lambda _: iter((data,))


def _chunked(store: Store, placed: Placed) -> Callable[[int], Iterator[bytes]]:
    def pieces(most: int) -> Iterator[bytes]:
        count = 0
        for chunk in placed.content:
            assert not isinstance(chunk, int)  # noqa: S101 - as the caller knows
            if count >= most:
                return
            key = layout.pack_key(chunk.pack.hex())
            data = store.get_range(key, chunk.offset, chunk.stored).data
            raw = bytes(memoryview(unpack(data, chunk.codec, chunk.raw, key)))
            if raw_digest_of(raw) != chunk.digest:
                raise IntegrityError(f"{key} at {chunk.offset} does not match its digest", subject=key)
            count += len(raw)
            yield raw

    return pieces


def _object(store: Store, key: str, most: int) -> Iterator[bytes]:
    """The first bytes of an object, all of one version of it."""
    start, version = 0, None
    while start < most:
        try:
            found = store.get_range(key, start, min(_BLOCK, most - start), version=version)
        except ObjectNotFoundError as error:
            raise IntegrityError(f"{key} is missing, though its version is published", subject=key) from error
        data = bytes(memoryview(found.data))
        if not data:
            return
        version, start = found.info.version, start + len(data)
        yield data
