"""A bundle as a store that is only read: objects by their keys, out of one file, and out of the store that it builds upon.

It is opened with every byte looked at, so that nothing of a bundle that was truncated or changed is ever used.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from holdfast.disk import local_errors
from holdfast.errors import IntegrityError, LocalError, ObjectNotFoundError, UnsupportedError
from holdfast.formats.bundle import RECORD, BundleRecord, Found, decode_record, walk
from holdfast.model.digest import Hasher
from holdfast.store.base import SMALL, Listing, Object, ObjectInfo, Promises

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO, Self

    from _typeshed import ReadableBuffer

    from holdfast.formats.bundle import Other
    from holdfast.store.base import PutMode, Store

__all__ = ["BundleStore", "read_record"]

_STEP: Final = 4 * 1024 * 1024
_MOST: Final = 256 * 1024 * 1024


def read_record(path: Path) -> BundleRecord:
    """What a bundle says of itself; its members are not read.

    Raises:
        IntegrityError: truncated, or no bundle.
        LocalError: it cannot be opened.
    """
    with local_errors(path), _open(path) as file:
        return _record(file, list(walk(file, str(path))), str(path))


def _open(path: Path) -> BinaryIO:
    """The file. A pipe is not waited for: a bundle is read at many places, and twice."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        hint = "write it to a file first" if not path.is_dir() else "give the name of a file"
        raise LocalError(f"{path} is no regular file", subject=str(path), hint=hint)
    return open(path, "rb", buffering=0)


def _record(file: BinaryIO, found: list[Found], subject: str) -> BundleRecord:
    if not found or found[-1].key != RECORD or found[-1].size > _MOST:
        raise IntegrityError(f"{subject} does not end with {RECORD}: truncated, or no bundle", subject=subject)
    file.seek(found[-1].offset)
    record = decode_record(_exactly(file, found[-1].size, subject), subject)
    told = [(member.key, member.size) for member in record.members]
    if told != [(member.key, member.size) for member in found[:-1]]:
        raise IntegrityError(f"{subject}: its members are not those that it lists", subject=subject)
    return record


def _exactly(file: BinaryIO, size: int, subject: str) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = file.read(min(_STEP, size - len(data)))
        if not piece:
            raise IntegrityError(f"{subject} is truncated", subject=subject)
        data += piece
    return bytes(data)


class BundleStore:
    """A bundle and the store that has what it lacks. Used in a ``with`` block; safe to use from several threads."""

    def __init__(self, path: Path, base: Store, seen: Callable[[int], None] = lambda _: None) -> None:
        """Read and check all of it; ``seen`` is told the bytes that were.

        Raises:
            IntegrityError: truncated, changed, or no bundle.
            LocalError: it cannot be read.
        """
        self._path = path
        self._base = base
        with local_errors(path):
            self._file = _open(path)  # closed by __exit__
            try:
                found = list(walk(self._file, str(path)))
                self.record = _record(self._file, found, str(path))
                self._check(found[:-1], seen)
                self._modified = os.fstat(self._file.fileno()).st_mtime
            except BaseException:
                self._file.close()
                raise
        self._members = {member.key: member for member in found}
        self._others: dict[str, Other] = {}
        for other in self.record.others:
            at = self._members.get(other.at)
            if other.key in self._members or (other.of is None and (at is None or at.size != other.size)):
                raise IntegrityError(f"{path}: {other.key!r} is where it says that it is not", subject=str(path))
            self._others[other.key] = other

    def _check(self, found: list[Found], seen: Callable[[int], None]) -> None:
        for member, told in zip(found, self.record.members, strict=True):
            hasher, left = Hasher(), member.size
            self._file.seek(member.offset)
            while left:
                piece = self._file.read(min(_STEP, left))
                if not piece:
                    raise IntegrityError(f"{self._path} is truncated", subject=str(self._path))
                hasher.update(piece)
                left -= len(piece)
                seen(len(piece))
            if hasher.hexdigest() != told.blake3:
                raise IntegrityError(f"{self._path}: {member.key!r} does not match its digest", subject=str(self._path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def url(self) -> str:
        """``bundle://`` and the path."""
        return f"bundle://{self._path}"

    @property
    def needed(self) -> list[Other]:
        """Those objects that the base must have."""
        return [other for other in self.record.others if other.of is not None]

    # reading

    def promises(self) -> Promises:
        """None."""
        return Promises(create=False, replace=False, reason="a bundle is only read")

    def get(self, key: str) -> Object:
        """The whole object."""
        size = self.head(key).size
        if size > SMALL:
            raise IntegrityError(f"{key} has {size} bytes, too many for what it is", subject=key)
        return self.get_range(key, 0, size)

    def get_range(self, key: str, start: int, length: int, *, version: str | None = None) -> Object:
        """A part of a member, or of what the base has."""
        other = self._others.get(key)
        if other is not None and other.of is not None:
            return self._base.get_range(other.at, start, length, version=version)
        member = self._member(key)
        length = max(0, min(length, member.size - start))
        with local_errors(self._path):
            data = os.pread(self._file.fileno(), length, member.offset + start)
        return Object(data, self._info(key, member))

    def head(self, key: str) -> ObjectInfo:
        """Its length."""
        other = self._others.get(key)
        if other is not None and other.of is not None:
            return self._base.head(other.at)
        return self._info(key, self._member(key))

    def _member(self, key: str) -> Found:
        other = self._others.get(key)
        member = self._members.get(other.at if other is not None else key)
        if member is None:
            raise ObjectNotFoundError(f"no object {key} in {self._path}", subject=key)
        return member

    def _info(self, key: str, member: Found) -> ObjectInfo:
        return ObjectInfo(key, member.size, str(member.offset), self._modified)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Members and others below the prefix."""
        start = prefix + "/" if prefix else ""
        for key in [*self._members, *self._others]:
            if key.startswith(start):
                yield self.head(key)

    def list_level(self, prefix: str) -> Listing:
        """One level below the prefix."""
        return Listing.of(self.list(prefix), len(prefix) + 1 if prefix else 0)

    # writing: never

    def put(self, key: str, data: ReadableBuffer, mode: PutMode | None = None) -> ObjectInfo:  # noqa: ARG002
        """Refused."""
        raise self._refused(key)

    def put_file(self, key: str, source: BinaryIO, size: int, seen: Callable[[ReadableBuffer], None]) -> ObjectInfo:  # noqa: ARG002
        """Refused."""
        raise self._refused(key)

    def delete(self, key: str) -> None:
        """Refused."""
        raise self._refused(key)

    def copy(self, source: str, target: str) -> None:  # noqa: ARG002
        """Refused."""
        raise self._refused(target)

    def sweep(self, seconds: float) -> int:  # noqa: ARG002
        """Nothing."""
        return 0

    def sign(self, key: str, method: str, seconds: int) -> str:  # noqa: ARG002
        """Refused."""
        raise self._refused(key)

    def _refused(self, key: str) -> UnsupportedError:
        return UnsupportedError(f"a bundle is only read: {self._path}", subject=key)
