"""One side of a copy: a store of media, or the part of a store that holds a copy of one; objects are read, written and proven here.

A write never goes over what was not expected: by a condition where the store keeps them, by a look right before it in a folder. What was
written counts once the store's own tag is the MD5 of the bytes sent, or they were read back. Keys of ours are no media.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.errors import ChangedError, IntegrityError, ObjectNotFoundError
from holdfast.formats.layout import OWN
from holdfast.model.digest import Hasher
from holdfast.sites.secondary import Seen
from holdfast.store.base import CREATE, OVERWRITE, OpensFiles, PutMode, Replace
from holdfast.transfer.plan import ranges
from holdfast.transfer.relay import Pieces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

    from holdfast.store.base import ObjectInfo, Store
    from holdfast.transfer.engine import Engine

__all__ = ["WHOLE", "Half", "Written", "seen"]

#: Objects up to this size, in bytes, are in memory as a whole, as many as there are threads.
WHOLE: Final = 8 * 1024 * 1024
#: A server copies objects up to this size within itself (S3: 5 GiB).
_BY_SERVER: Final = 4 << 30
_MD5: Final = re.compile(r"[0-9a-f]{32}\Z")


@dataclass(frozen=True, slots=True)
class Written:
    """An object that went over and was proven: as it was read, and as it was written."""

    source: Seen
    target: Seen


def seen(info: ObjectInfo) -> Seen:
    """An object of a listing, or of a look at it."""
    return Seen(info.etag or info.version, info.size, info.modified)


class Half:
    """One side; all its keys lie below ``prefix``. ``shared`` says that others write there too while we do."""

    def __init__(self, store: Store, engine: Engine, prefix: str = "", *, shared: bool) -> None:
        self.store = store
        self.prefix = prefix
        self._engine = engine
        self._shared = shared
        self._conditions: bool | None = None

    def key(self, key: str) -> str:
        """Where an object lies in the store."""
        return f"{self.prefix}/{key}" if self.prefix else key

    def listed(self) -> dict[str, ObjectInfo]:
        """Every object of the media, by key."""
        start = len(self.prefix) + 1 if self.prefix else 0
        found = ((info.key[start:], info) for info in self.store.list(self.prefix))
        return {key: info for key, info in found if not key.startswith(f"{OWN}/")}

    def look(self, key: str) -> ObjectInfo | None:
        """What is there now."""
        try:
            return self.store.head(self.key(key))
        except ObjectNotFoundError:
            return None

    def pieces(self, key: str, info: ObjectInfo) -> Iterator[memoryview]:
        """The bytes of just this version, piece by piece, some ahead."""
        if info.size <= WHOLE:
            data = memoryview(self.store.get_range(self.key(key), 0, info.size, version=info.version).data).cast("B")
            if len(data) != info.size:
                raise ChangedError(f"{key} changed while it was read", subject=key)
            yield data
            return
        read = self.store.get_range
        parts = self._engine.in_order(
            lambda part: read(self.key(key), *part, version=info.version), ranges(info.size), ahead=4
        )
        for found in parts:
            yield memoryview(found.data).cast("B")

    def digest(self, key: str, info: ObjectInfo) -> str:
        """The digest of its bytes, all read."""
        hasher = Hasher()
        for piece in self.pieces(key, info):
            hasher.update(piece)
        return hasher.hexdigest()

    def take(
        self, key: str, source: Half, info: ObjectInfo, expected: Seen | None, *, own: str | None = None
    ) -> Written:
        """Write what lies under a key of the other side, over just what is expected here; ``own`` is another key of this store.

        Raises:
            ChangedError, AlreadyExistsError: it is not as expected, or changed while it was read.
            IntegrityError: what arrived is not what was sent; it was removed again.
        """
        at = own or self.key(key)
        blake, md5 = Hasher(), hashlib.md5(usedforsecurity=False)

        def taken(piece: ReadableBuffer) -> None:
            blake.update(piece)
            md5.update(piece)

        if info.size <= WHOLE:
            data = b"".join(source.pieces(key, info))
            taken(data)
            put = self._put(at, data, expected, fresh=own is not None)
        else:
            self._look_for(at, expected)
            stream: BinaryIO = Pieces(source.pieces(key, info))  # type: ignore[assignment]
            put = self.store.put_file(at, stream, info.size, taken)
        return Written(seen(info), self._proven(at, put, info.size, md5.hexdigest(), blake.hexdigest()))

    def keep(self, key: str, expected: Seen, at: str) -> None:
        """Put aside, inside this store, what lies under a key."""
        self._look_for(self.key(key), expected)
        if expected.size > _BY_SERVER:
            info = self.store.head(self.key(key))
            self.take(key, self, info, None, own=at)
        else:
            self.store.copy(self.key(key), at)
            if self.store.head(at).size != expected.size:
                raise ChangedError(f"{key} changed while it was put aside", subject=key)
        self._look_for(self.key(key), expected)

    def remove(self, key: str, expected: Seen) -> None:
        """Delete just what is expected."""
        self._look_for(self.key(key), expected)
        self.store.delete(self.key(key))

    def _put(self, at: str, data: bytes, expected: Seen | None, *, fresh: bool) -> ObjectInfo:
        mode: PutMode = OVERWRITE
        if not fresh and self._keeps_conditions():
            if expected is None:
                mode = CREATE
            elif not isinstance(self.store, OpensFiles):
                current = self._look_for(at, expected)
                assert current is not None  # noqa: S101 - it was looked for
                mode = Replace(current.version)
        if mode is OVERWRITE and not fresh and (self._shared or expected is not None):
            self._look_for(at, expected)
        return self.store.put(at, data, mode)

    def _look_for(self, at: str, expected: Seen | None) -> ObjectInfo | None:
        try:
            found = self.store.head(at)
        except ObjectNotFoundError:
            found = None
        there = None if found is None else seen(found)
        if (there is None) != (expected is None) or (there and expected and not there.has_bytes_of(expected)):
            raise ChangedError(f"{at} was changed meanwhile", subject=at)
        return found

    def _keeps_conditions(self) -> bool:
        """Asked of a store once; of a folder that only we write to, never: its conditions cost a sync each."""
        if self._conditions is None:
            if isinstance(self.store, OpensFiles) and not self._shared:
                self._conditions = False
            else:
                promises = self.store.promises()
                self._conditions = promises.create and promises.replace
        return self._conditions

    def _proven(self, at: str, put: ObjectInfo, size: int, md5: str, digest: str) -> Seen:
        if put.size == size and put.etag is not None and _MD5.match(put.etag) and put.etag == md5:
            return Seen(put.etag, size, 0.0)
        info = self.store.head(at)
        if self._shared and seen(info).tag != seen(put).tag:
            raise ChangedError(f"{at} was written by another just after us", subject=at)
        if info.size != size or self._read(at, info) != digest:
            self.store.delete(at)
            message = f"{at} is not what was sent to {self.store.url}: it was removed again"
            raise IntegrityError(
                message, subject=at, hint="the next run sends it again; look at the store's disks and network"
            )
        return seen(info)

    def _read(self, at: str, info: ObjectInfo) -> str:
        bare = Half(self.store, self._engine, shared=False)
        return bare.digest(at, info)
