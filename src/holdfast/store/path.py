"""A directory as a store: local disk, or any POSIX file system with hard links (design §3, POSIX).

Every write goes to a temporary file first. Create-only is an exclusive ``link()``; overwrite is a rename. A *replaced* key has
generations: files ``gen/<key>/<n>``, each made by exclusive link, the highest of which is the truth; the plain key is a mirror
for readers that know only the convention (modelkit), rewritten until it equals the highest. Content in the mirror that no
generation has was written by another program: it is handed to the caller as ``Object.foreign`` and never overwritten unseen.

Durability: what publishes (create, replace) reaches the disk before it returns, and all that was overwritten before it too.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from holdfast.disk import begin_write_back, sync_directory, sync_file_system
from holdfast.errors import (
    AccessError,
    AlreadyExistsError,
    BucketNotFoundError,
    ChangedError,
    HoldfastError,
    LocalError,
    ObjectNotFoundError,
    UnsupportedError,
    UsageError,
)
from holdfast.failpoint import reach
from holdfast.formats import layout
from holdfast.store.base import CREATE, OVERWRITE, Listing, Object, ObjectInfo, Promises, PutMode, Replace
from holdfast.store.copying import copy_range, copy_shown, write_pieces
from holdfast.store.generations import Generations
from holdfast.store.keys import checked_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

__all__ = ["PathStore"]

#: What the system says where nothing is, or where a name is so long that nothing can be.
_NOTHING_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
#: What a file system says where a file would have to be a folder, or the other way about.
_IN_THE_WAY: Final = (errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EEXIST)
#: After so many bytes of a large object the disk begins with them.
_STRETCH: Final = 8 * 1024 * 1024
#: Directories below our own that are this module's business and no keys.
_INTERNAL: Final = (layout.generations_prefix(""), layout.temporary_prefix() + "/")


class PathStore:
    """A :class:`holdfast.store.base.Store` on a directory, which must exist once something is read or written."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._temporary = self.root / layout.temporary_prefix()
        # How many files were written here whose bytes the disk may not have yet, and how many of these it surely has.
        self._written = self._synced = 0
        self._counting, self._syncing = threading.Lock(), threading.Lock()

    @property
    def url(self) -> str:
        """``file://`` and the absolute path."""
        return "file://" + quote(str(self.root.absolute()))

    def promises(self) -> Promises:
        """Everything but signing, where the file system has hard links; found out by making one."""
        try:
            with _os_errors(str(self.root)):
                temporary = self._write_temporary([b""], sync=False)
                try:
                    self._link(temporary, Path(f"{temporary}.link"))
                finally:
                    Path(f"{temporary}.link").unlink(missing_ok=True)
                    temporary.unlink(missing_ok=True)
        except UnsupportedError as error:
            return Promises(create=False, replace=False, reason=error.message)
        return Promises(create=True, replace=True)

    def get(self, key: str) -> Object:
        """The truth of a replaced key is its highest generation; the mirror is rolled forward where it lags."""
        path = self._path(key)
        generations = self._generations(key)
        with _os_errors(key, path):
            current = generations.read()
            if current is None:
                data, info = _read_whole(key, path)
                return Object(data, info)
            generations.roll_forward(current)
            size, modified = len(current.data), current.modified
            return Object(current.data, ObjectInfo(key, size, current.token, modified), current.foreign)

    def get_range(self, key: str, start: int, length: int, *, version: str | None = None) -> Object:
        """A part of the plain file."""
        with _os_errors(key, self._path(key)), self._path(key).open("rb", buffering=0) as file:
            info = _info(key, os.fstat(file.fileno()))
            if version is not None and version != info.version:
                raise ChangedError(f"{key} changed while it was read", subject=key)
            wanted = max(0, min(length, info.size - start))
            buffer = bytearray(wanted)
            file.seek(start)
            count = _read_into(file, memoryview(buffer))
        return Object(buffer if count == wanted else buffer[:count], info)

    def open_file(self, key: str) -> tuple[BinaryIO, ObjectInfo]:
        """The plain file."""
        with _os_errors(key, self._path(key)):
            file = self._path(key).open("rb", buffering=0)
            return file, _info(key, os.fstat(file.fileno()))

    def get_range_to(
        self, key: str, start: int, length: int, descriptor: int, offset: int, *, version: str | None = None
    ) -> ObjectInfo | None:
        """Copied by the kernel."""
        file, info = self.open_file(key)
        with file:
            if version not in (None, info.version) or start + length > info.size:
                return None
            return info if copy_range(file.fileno(), start, descriptor, offset, length) else None

    def head(self, key: str) -> ObjectInfo:
        """From the file's stat; a replaced key is read."""
        path = self._path(key)
        with _os_errors(key, path):
            if self._generations(key).exist():
                return self.get(key).info
            status = path.stat()
            if not _is_file(status):
                raise ObjectNotFoundError(f"no object {key}", subject=key)
            return _info(key, status)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """A walk; the store's internals are no keys."""
        self._check_root()
        start = self._path(prefix) if prefix else self.root
        for directory, _, names in os.walk(start, onerror=_unless_gone):
            below = os.path.relpath(directory, self.root)
            base = "" if below == "." else below + "/"
            if (base + "/").startswith(_INTERNAL) or base.startswith(_INTERNAL):
                continue
            for name in names:
                try:
                    yield _info(base + name, os.stat(os.path.join(directory, name)))
                except FileNotFoundError:
                    continue

    @property
    def lists_in_order(self) -> bool:
        """Always."""
        return True

    def list_after(self, prefix: str, after: str) -> Iterator[ObjectInfo]:
        """A walk in order; folders whose keys all come before are not entered."""
        self._check_root()
        return self._in_order(self._path(prefix) if prefix else self.root, f"{prefix}/" if prefix else "", after)

    def _in_order(self, directory: Path | str, base: str, after: str) -> Iterator[ObjectInfo]:
        try:
            with os.scandir(directory) as entries:
                found = sorted((_piece(entry), entry.path) for entry in entries if self._shows(entry))
        except OSError as error:
            if error.errno not in _NOTHING_THERE:
                raise _error(error, base) from error
            return
        for piece, path in found:
            key = base + piece
            if piece.endswith("/"):
                if (key > after or after.startswith(key)) and not key.startswith(_INTERNAL):
                    yield from self._in_order(path, key, after)
            elif key > after:
                with suppress(FileNotFoundError, NotADirectoryError):
                    status = os.stat(path)
                    if _is_file(status):
                        yield _info(key, status)

    def list_level(self, prefix: str) -> Listing:
        """One directory."""
        self._check_root()
        objects, prefixes = [], []
        base = prefix + "/" if prefix else ""
        try:
            with os.scandir(self._path(prefix) if prefix else self.root) as entries:
                for entry in entries:
                    if (base + entry.name + "/").startswith(_INTERNAL) or not self._shows(entry):
                        continue
                    with suppress(FileNotFoundError, NotADirectoryError):  # it went meanwhile: the others are there
                        if entry.is_dir():
                            if _holds_object(entry.path):
                                prefixes.append(base + entry.name)
                        elif entry.is_file():
                            objects.append(_info(base + entry.name, entry.stat()))
        except OSError as error:
            if error.errno not in _NOTHING_THERE:
                raise _error(error, prefix) from error
        return Listing(tuple(sorted(objects, key=_by_key)), tuple(sorted(prefixes)))

    def _shows(self, entry: os.DirEntry[str]) -> bool:
        """Whether a listing of its folder tells of an entry: for those who show less."""
        del entry
        return True

    def put(self, key: str, data: ReadableBuffer, mode: PutMode = OVERWRITE) -> ObjectInfo:
        """Create by link, overwrite by rename, replace by the next generation."""
        return self.put_pieces(key, [data], mode)

    def put_pieces(self, key: str, pieces: Sequence[ReadableBuffer], mode: PutMode) -> ObjectInfo:
        """As :meth:`put`."""
        path = self._path(key)
        with _os_errors(key):
            if isinstance(mode, Replace):
                return self._replace(key, b"".join(pieces), mode.version)
            if mode is CREATE:
                return self._create(key, path, pieces)
            generations = self._generations(key)
            if generations.exist():
                return self._replace(key, b"".join(pieces), self.get(key).info.version)
            info = self._rename(key, path, self._write_temporary(pieces, sync=False))
            with self._counting:
                self._written += 1
            return info

    def put_file(self, key: str, source: BinaryIO, size: int, seen: Callable[[ReadableBuffer], None]) -> ObjectInfo:
        """Copied in steps and synced; visible by rename."""

        def write(file: BinaryIO) -> None:
            copy_shown(source, file, size, seen)
            os.fsync(file.fileno())

        with _os_errors(key):
            return self._rename(key, self._path(key), self._temporary_file(write))

    def delete(self, key: str) -> None:
        """The file and its generations; a directory is no object, and one that became empty is left to other writers."""
        with _os_errors(key):
            self._generations(key).delete()
            if not self._path(key).is_dir():
                self._path(key).unlink(missing_ok=True)

    def copy(self, source: str, target: str) -> None:
        """A copy of the bytes."""
        with _os_errors(source, self._path(source)), self._path(source).open("rb") as file:
            self.put_file(target, file, os.fstat(file.fileno()).st_size, lambda _: None)

    def sweep(self, seconds: float) -> int:
        """Temporary files."""
        count = 0
        with _os_errors(str(self.root)):
            probe = self._write_temporary([b""], sync=False)
            now = probe.stat().st_mtime
            probe.unlink()
            for path in self._temporary.iterdir():
                with suppress(FileNotFoundError):
                    if now - path.stat().st_mtime > seconds:
                        path.unlink()
                        count += 1
        return count

    def sign(self, key: str, method: str, seconds: int) -> str:
        """Refused: a path needs no signature, and there is no server to honour one."""
        raise UnsupportedError(f"a local store cannot sign URLs ({method} {key} for {seconds} s)", subject=key)

    def _create(self, key: str, path: Path, pieces: Sequence[ReadableBuffer]) -> ObjectInfo:
        if self._generations(key).exist():
            raise AlreadyExistsError(f"{key} exists", subject=key)
        self._sync_all()
        temporary = self._write_temporary(pieces, sync=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                with suppress(OSError):  # what is not empty is in the way, which the link says
                    _clear(path)
            if not self._link(temporary, path) and not os.path.samefile(temporary, path):
                raise AlreadyExistsError(f"{key} exists", subject=key)  # NFS may answer EEXIST to the link that it made
            reach("path.linked")
            sync_directory(path.parent)
            return _info(key, path.stat())
        finally:
            temporary.unlink(missing_ok=True)

    def _replace(self, key: str, data: bytes, version: str) -> ObjectInfo:
        self._sync_all()
        generations = self._generations(key)
        if not generations.exist():
            version = self._adopt(key, generations, version)
        current = generations.swap(data, version)
        return ObjectInfo(key, len(data), current.token, current.modified)

    def _adopt(self, key: str, generations: Generations, version: str) -> str:
        """Make the plain key's content, if it is still the version named, the first generation; its token."""
        path = self._path(key)
        try:
            data, info = _read_whole(key, path)
            found = info.version
        except FileNotFoundError:
            data, found = b"", ""
        if found != version:
            raise ChangedError(f"{key} was changed by another writer", subject=key)
        return generations.adopt(data).token

    def _rename(self, key: str, path: Path, temporary: Path) -> ObjectInfo:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            info = _info(key, temporary.stat())
            try:
                temporary.replace(path)
            except IsADirectoryError:
                _clear(path)
                temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return info

    def _link(self, source: Path, target: Path) -> bool:
        try:
            os.link(source, target)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise UnsupportedError(
                    f"the file system of {self.root} has no hard links, so it cannot create a file only if it is absent",
                    hint="push to a local disk, to the bucket itself, or through a server",
                ) from error
            raise
        return True

    def _write_temporary(self, pieces: Iterable[ReadableBuffer], *, sync: bool) -> Path:
        def write(file: BinaryIO) -> None:
            begun = 0
            for end in write_pieces(file, pieces):
                if sync and end - begun >= _STRETCH:
                    begin_write_back(file.fileno(), begun, end - begun)
                    begun = end
            if sync:
                os.fsync(file.fileno())

        return self._temporary_file(write)

    def _temporary_file(self, write: Callable[[BinaryIO], None]) -> Path:
        self._check_root()
        self._temporary.mkdir(parents=True, exist_ok=True)
        path = self._temporary / secrets.token_hex(12)
        try:
            with path.open("x+b", buffering=0) as file:
                write(file)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        reach("path.temp-written")
        return path

    def _generations(self, key: str) -> Generations:
        directory = self.root / layout.generations_prefix(key)
        return Generations(key, directory, self._path(key), self._link, self._write_temporary)

    def _sync_all(self) -> None:
        """Have the disk keep whatever was written here by now; who asks while another does waits for that."""
        with self._syncing:
            written = self._written
            if written != self._synced:
                sync_file_system(self.root)
                self._synced = written

    def _path(self, key: str) -> Path:
        return self.root / checked_key(key)

    def _check_root(self) -> None:
        if not self.root.is_dir():
            raise BucketNotFoundError(
                f"no directory {self.root}",
                subject=str(self.root),
                hint="make the directory, or correct the store's URL",
            )


def _clear(path: Path) -> None:
    """Remove the directories of a tree that was deleted, if nothing is in them: a prefix is no object."""
    for directory, _, _ in os.walk(path, topdown=False):
        os.rmdir(directory)


@contextmanager
def _os_errors(key: str, path: Path | None = None) -> Iterator[None]:
    """Turn the operating system's errors into ours; where the path is given, its absence is 'no object'."""
    try:
        yield
    except HoldfastError:
        raise
    except OSError as error:
        raise _error(error, key, missing_object=path is not None) from error


def _error(error: OSError, key: str, *, missing_object: bool = False) -> HoldfastError:
    if missing_object and error.errno in (*_NOTHING_THERE, errno.EISDIR):
        return ObjectNotFoundError(f"no object {key}", subject=key)
    if error.errno == errno.ENAMETOOLONG:
        return UsageError("the key is longer than the store's file system allows", subject=key)
    if error.errno in _IN_THE_WAY:
        return LocalError(
            f"{key}: a store in a folder cannot hold one object below another",
            subject=key,
            hint="look at what lies at a part of that path, or where a part of it would be a folder",
        )
    where = error.filename2 or error.filename or key  # of a link or a rename: where to
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return AccessError(f"{error.strerror}: {where}", subject=key, hint="look at the rights of the folder")
    return LocalError(f"{error.strerror or error}: {where}", subject=key)


def _piece(entry: os.DirEntry[str]) -> str:
    """As keys have it: what lies in a folder comes where its slash puts it; links to folders are not followed."""
    return f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name


def _by_key(info: ObjectInfo) -> str:
    return info.key


def _info(key: str, status: os.stat_result, size: int | None = None) -> ObjectInfo:
    version = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
    return ObjectInfo(key, status.st_size if size is None else size, version, status.st_mtime)


def _read_whole(key: str, path: Path) -> tuple[bytes, ObjectInfo]:
    """The bytes of a file and the version that they are of, though another program may write it meanwhile."""
    while True:
        with path.open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            data = file.readall()
            info = _info(key, os.fstat(file.fileno()))
        if info == _info(key, before) and len(data) == info.size:
            return data, info


def _holds_object(directory: str) -> bool:
    """Whether a file lies anywhere below: as in a bucket, an empty directory is no prefix. Ends at the first."""
    return any(files for _, _, files in os.walk(directory, onerror=_unless_gone))


def _unless_gone(error: OSError) -> None:
    """A directory that cannot be read is not an empty one: what a listing leaves out may be deleted by a collector."""
    if error.errno not in _NOTHING_THERE:
        raise error


def _is_file(status: os.stat_result) -> bool:
    return (status.st_mode & 0o170000) == 0o100000


def _read_into(file: BinaryIO, view: memoryview) -> int:
    total = 0
    while total < len(view) and (count := file.readinto(view[total:])):  # type: ignore[attr-defined]
        total += count
    return total
