"""A bucket as a mount shows it: read by plain file operations, each with a deadline, and never written here.

What lies below the mount is taken for objects as a bucket has them: a folder is none, an empty one is no prefix, and what programs
that mount keep there for themselves is not seen. That something is *not* there is believed only after ``authority`` (the store as the
server shows it) has said so, if there is one that answers: mounts remember folders for minutes.

A mount that is missing, stale, hanging, or of another bucket is an :class:`UnreachableError` that names it. Writing needs a server
(:mod:`holdfast.store.staged`), because no mount of a bucket can create an object only if it is absent.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar

from holdfast.errors import (
    AccessError,
    ChangedError,
    HoldfastError,
    LocalError,
    ObjectNotFoundError,
    UnreachableError,
    UnsupportedError,
)
from holdfast.formats import layout
from holdfast.store.base import OVERWRITE, Listing, Object, ObjectInfo, Promises, PutMode
from holdfast.store.keys import checked_key

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

    from holdfast.store.base import Store
    from holdfast.store.far import Far
    from holdfast.store.mountpoint import MountPoint

__all__ = ["MountStore"]

T = TypeVar("T")

#: What programs that mount, and the kernel, leave in folders for files that were removed while open.
_HIDDEN: Final = re.compile(r"\.fuse_hidden[0-9a-f]+|\.nfs[0-9a-f]{8,}")
_ABSENT: Final = frozenset((errno.ENOENT, errno.ENOTDIR, errno.EISDIR))
_TRIES: Final = 3


class MountStore:
    """A :class:`holdfast.store.base.Store` that reads below a mount. ``prove`` is called once, before the first reading.

    No file is handed out to be copied by the kernel, which copies between no two kinds of file systems, and could not be stopped.
    """

    def __init__(
        self, mount: MountPoint, authority: Far[Store] | None = None, prove: Callable[[MountStore], None] | None = None
    ) -> None:
        self.mount = mount
        self._authority = authority
        self._prove = prove
        self._device: int | None = None
        self._lock = threading.RLock()

    @property
    def url(self) -> str:
        """The bucket's URL."""
        return self.mount.url

    def promises(self) -> Promises:
        """Nothing beside reading."""
        kind = self.mount.file_system.type or "this system"
        reason = f"it is mounted at {self.mount.root}, where {kind} cannot be relied on to create a file only if it is absent"
        return Promises(create=False, replace=False, reason=reason)

    def get(self, key: str) -> Object:
        """The whole file; read again where it changed meanwhile."""
        return self._found(key, lambda path: self._whole(key, path), lambda store: store.get(key))

    def get_range(self, key: str, start: int, length: int, *, version: str | None = None) -> Object:
        """A part of the file."""

        def read(path: str) -> Object:
            with open(path, "rb", buffering=0) as file:
                info = _info(key, os.fstat(file.fileno()))
                if version is not None and version != info.version:
                    raise ChangedError(f"{key} changed while it was read", subject=key)
                buffer = bytearray(max(0, min(length, info.size - start)))
                file.seek(start)
                count = _read_into(file, memoryview(buffer))
                return Object(buffer if count == len(buffer) else buffer[:count], info)

        return self._found(key, read, lambda store: store.get_range(key, start, length), size=length)

    def head(self, key: str) -> ObjectInfo:
        """What the server tells of the object, else what the mount shows."""

        def look(path: str) -> ObjectInfo:
            status = os.stat(path)
            if not stat.S_ISREG(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, "a folder", path)
            return _info(key, status)

        return self._told(lambda store: store.head(key), lambda: self._found(key, look, None))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """What the server lists, else a walk."""
        return iter(self._told(lambda store: [*store.list(prefix)], lambda: [*self._walk(prefix)]))

    def list_level(self, prefix: str) -> Listing:
        """What the server lists, else one folder."""
        return self._told(lambda store: store.list_level(prefix), lambda: self._level(prefix))

    def put(self, key: str, data: ReadableBuffer, mode: PutMode = OVERWRITE) -> ObjectInfo:
        """Refused."""
        del data, mode
        raise self._refusal(f"write {key}")

    def put_file(self, key: str, source: BinaryIO, size: int, seen: Callable[[ReadableBuffer], None]) -> ObjectInfo:
        """Refused."""
        del source, size, seen
        raise self._refusal(f"write {key}")

    def delete(self, key: str) -> None:
        """Refused."""
        raise self._refusal(f"delete {key}")

    def copy(self, source: str, target: str) -> None:
        """Refused."""
        raise self._refusal(f"copy {source} to {target}")

    def sweep(self, seconds: float) -> int:
        """Nothing is written here."""
        del seconds
        return 0

    def sign(self, key: str, method: str, seconds: int) -> str:
        """Refused: a mount has no URLs."""
        raise UnsupportedError(f"a mount cannot sign URLs ({method} {key} for {seconds} s)", subject=key)

    def read_near(self, key: str) -> bytes | None:
        """A small object as the mount itself shows it, whoever may know better; None where it shows none."""
        try:
            return bytes(self._at(key, lambda path: self._whole(key, path)).data)
        except ObjectNotFoundError:
            return None

    # how anything is read

    def _found(self, key: str, read: Callable[[str], T], ask: Callable[[Store], T] | None, *, size: int = 0) -> T:
        """What the mount shows under a key; where it shows nothing, what the authority has."""
        self._ready()
        try:
            return self._at(key, read, size=size)
        except ObjectNotFoundError:
            if self._authority is None or ask is None:
                raise
            with suppress(UnreachableError, AccessError):
                return self._authority.ask(ask)
            raise

    def _told(self, ask: Callable[[Store], T], look: Callable[[], T]) -> T:
        """What the authority says, else what the mount shows."""
        self._ready()
        if self._authority is not None:
            with suppress(UnreachableError, AccessError):
                return self._authority.ask(ask)
        return look()

    def _at(self, key: str, read: Callable[[str], T], *, size: int = 0) -> T:
        path = f"{self.mount.folder}/{checked_key(key)}"
        try:
            return self.mount.call(lambda: read(path), size)
        except OSError as error:
            if error.errno in _ABSENT:
                self._check_still_mounted()
                raise ObjectNotFoundError(f"no object {key}", subject=key) from error
            raise _refused(error, key) from error

    def _whole(self, key: str, path: str) -> Object:
        for _ in range(_TRIES):
            with open(path, "rb", buffering=0) as file:
                before = _info(key, os.fstat(file.fileno()))
                data = file.readall()
                after = _info(key, os.fstat(file.fileno()))
            if before == after and len(data) == after.size:
                return Object(data, after)
        raise ChangedError(f"{key} kept changing while it was read", subject=key)

    def _ready(self) -> None:
        if self._device is None:
            with self._lock:
                self._look_once()

    def _look_once(self) -> None:
        """Something is mounted, and it is the bucket that it should be."""
        if self._device is not None:
            return
        device = self.mount.check()
        if self.mount.is_empty():
            raise self.mount.broken("nothing is mounted there, it is an empty folder")
        if self._prove is not None:
            self._prove(self)
        self._device = device

    def _check_still_mounted(self) -> None:
        if self.mount.check() != self._device and self._device is not None:
            raise self.mount.broken("it was unmounted")

    def _walk(self, prefix: str) -> Iterator[ObjectInfo]:
        level = [prefix]
        while level:
            found = self._folder(level.pop())
            yield from found.objects
            level += reversed(found.prefixes)

    def _level(self, prefix: str) -> Listing:
        found = self._folder(prefix)
        return Listing(found.objects, tuple(below for below in found.prefixes if next(self._walk(below), None)))

    def _folder(self, prefix: str) -> Listing:
        """One folder: its files, and its folders whether or not they hold anything."""
        path = f"{self.mount.folder}/{checked_key(prefix)}" if prefix else self.mount.folder
        try:
            return self.mount.call(lambda: _scanned(path, f"{prefix}/" if prefix else ""))
        except OSError as error:
            if error.errno in _ABSENT:
                self._check_still_mounted()
                return Listing((), ())
            raise _refused(error, prefix) from error

    @contextmanager
    def _refusals(self, key: str) -> Iterator[None]:
        """What the system refuses of a key, as our errors."""
        try:
            yield
        except HoldfastError:
            raise
        except OSError as error:
            raise _refused(error, key) from error

    def _refusal(self, what: str) -> UnsupportedError:
        return UnsupportedError(
            f"cannot {what} in {self.url}: {self.promises().reason}",
            subject=self.url,
            hint="set a server and sign in (asset login URL): it writes for the mount; or do without the mount, with keys for the"
            f" bucket (asset config unmount {self.url})",
        )


def _scanned(path: str, base: str) -> Listing:
    objects, prefixes = [], []
    with os.scandir(path) as entries:
        for entry in entries:
            key = base + entry.name
            if _HIDDEN.fullmatch(entry.name) or f"{key}/".startswith(_INTERNAL):
                continue
            try:
                if entry.is_dir():
                    prefixes.append(key)
                elif entry.is_file():
                    objects.append(_info(key, entry.stat()))
            except FileNotFoundError:
                continue
    return Listing(tuple(sorted(objects, key=lambda info: info.key)), tuple(sorted(prefixes)))


#: Folders of a store on a disk that hold no keys.
_INTERNAL: Final = (layout.generations_prefix(""), layout.temporary_prefix() + "/")


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    """Without the number of the file, which mounts make up anew."""
    return ObjectInfo(key, status.st_size, f"{status.st_mtime_ns:x}-{status.st_size:x}", status.st_mtime)


def _read_into(file: io.FileIO, view: memoryview) -> int:
    total = 0
    while total < len(view) and (count := file.readinto(view[total:])):
        total += count
    return total


def _refused(error: OSError, key: str) -> HoldfastError:
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        text = f"{error.strerror}: {error.filename or key}"
        return AccessError(text, subject=key, hint="look at the rights of the mount")
    return LocalError(f"{error.strerror or error}: {error.filename or key}", subject=key)
