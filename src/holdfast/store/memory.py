"""A store in a dict: for tests, examples and ``memory://``.

It promises every mode and is exact: versions are a counter, so even the same bytes written again are another version.
It refuses to sign, for nobody outside the process could follow the URL.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from holdfast.errors import AlreadyExistsError, ChangedError, ObjectNotFoundError, SourceChangedError, UnsupportedError
from holdfast.store.base import CREATE, OVERWRITE, Listing, Object, ObjectInfo, Promises, PutMode, Replace
from holdfast.store.keys import checked_key, checked_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

__all__ = ["MemoryStore"]

_PART = 8 * 1024 * 1024


class MemoryStore:
    """Objects in a dict under a lock. Time is passed in, so that tests can age objects."""

    def __init__(self, name: str = "", clock: Callable[[], float] = time.time) -> None:
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._count = 0
        self._objects: dict[str, tuple[bytes, ObjectInfo]] = {}

    @property
    def url(self) -> str:
        """``memory://`` and the name given."""
        return f"memory://{self._name}"

    def promises(self) -> Promises:
        """Both conditions, no signing."""
        return Promises(create=True, replace=True)

    def get(self, key: str) -> Object:
        """The whole object."""
        return Object(*self._find(key))

    def get_range(self, key: str, start: int, length: int, *, version: str | None = None) -> Object:
        """Up to ``length`` bytes from ``start``, of this version where one is given."""
        data, info = self._find(key)
        if version is not None and info.version != version:
            raise ChangedError(f"{key} was written again while it was read", subject=key)
        return Object(data[start : start + length], info)

    def head(self, key: str) -> ObjectInfo:
        """What is known of the object."""
        return self._find(key)[1]

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object below the prefix, in the order of keys, as of the first step of the iteration."""
        start = checked_prefix(prefix)
        with self._lock:
            found = sorted((key, info) for key, (_, info) in self._objects.items() if key.startswith(start))
        yield from (info for _, info in found)

    @property
    def lists_in_order(self) -> bool:
        """Always."""
        return True

    def list_after(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        """As :meth:`list`, from there on."""
        return (info for info in self.list(prefix) if info.key > after)

    def list_level(self, prefix: str) -> Listing:
        """One level below the prefix."""
        return Listing.of(self.list(prefix), len(checked_prefix(prefix)))

    def put(self, key: str, data: ReadableBuffer, mode: PutMode = OVERWRITE) -> ObjectInfo:
        """Write an object, in any mode."""
        checked_key(key)
        with self._lock:
            there = self._objects.get(key)
            if mode is CREATE and there is not None:
                raise AlreadyExistsError(f"{key} exists", subject=key)
            if isinstance(mode, Replace) and (there is None or there[1].version != mode.version):
                raise ChangedError(f"{key} is not the version to be replaced", subject=key)
            return self._write(key, bytes(data))

    def put_file(self, key: str, source: BinaryIO, size: int, seen: Callable[[ReadableBuffer], None]) -> ObjectInfo:
        """Read exactly ``size`` bytes, show each to ``seen``, then write them at once."""
        checked_key(key)
        held = bytearray()
        while len(held) < size:
            block = source.read(min(_PART, size - len(held)))
            if not block:
                raise SourceChangedError(f"the source of {key} ended after {len(held)} of {size} bytes", subject=key)
            seen(block)
            held += block
        if source.read(1):
            raise SourceChangedError(f"the source of {key} is longer than {size} bytes", subject=key)
        with self._lock:
            return self._write(key, bytes(held))

    def delete(self, key: str) -> None:
        """Remove the object, if it is there."""
        checked_key(key)
        with self._lock:
            self._objects.pop(key, None)

    def copy(self, source: str, target: str) -> None:
        """Write the source's bytes under the target."""
        checked_key(target)
        data, _ = self._find(source)
        with self._lock:
            self._write(target, data)

    def sweep(self, seconds: float) -> int:  # noqa: ARG002  the protocol's
        """Nothing: a dict is never half written."""
        return 0

    def sign(self, key: str, method: str, seconds: int) -> str:  # noqa: ARG002  the protocol's
        """Refused: there is no URL to a dict."""
        raise UnsupportedError("a store in memory cannot sign URLs", subject=key)

    def _find(self, key: str) -> tuple[bytes, ObjectInfo]:
        checked_key(key)
        with self._lock:
            try:
                return self._objects[key]
            except KeyError:
                raise ObjectNotFoundError(f"no object {key} in {self.url}", subject=key) from None

    def _write(self, key: str, data: bytes) -> ObjectInfo:
        """Store the bytes under the next version; the lock is held."""
        self._count += 1
        info = ObjectInfo(key, len(data), str(self._count), self._clock())
        self._objects[key] = data, info
        return info
