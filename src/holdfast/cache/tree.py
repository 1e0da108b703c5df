"""A local file or directory as entries, and entries as a local copy.

Scanning reads names and stats, never contents; hashing is another call, so that several threads can share it. What cannot be
kept is refused by name (design §2): names that are not UTF-8, devices, fifos, sockets, links that lead out. A link loop is an
error (modelkit made a thousand copies of it, fault W8).
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase, translate
from typing import TYPE_CHECKING, Final

from holdfast.cache.listing import Seen, identity, listing
from holdfast.errors import HoldfastError, IntegrityError, LocalError, SourceChangedError, UsageError
from holdfast.formats import layout
from holdfast.model.digest import Hasher, digest_of
from holdfast.model.manifest import PERMISSIONS, Entry, check_link, folded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


__all__ = [
    "Exclusion",
    "Scanned",
    "changed",
    "check_readable",
    "check_source",
    "check_source_link",
    "file_mode",
    "finish_copy",
    "gone",
    "hash_file",
    "matches",
    "prepare_copy",
    "read_file",
    "read_whole",
    "scan",
    "umask_now",
]

_STEP: Final = 4 * 1024 * 1024
#: What the owner of a file may always do with it.
_LEAST: Final = 0o400
#: What a file system says that has no symlinks: FAT and exFAT, by the kernel or by FUSE.
_NO_SYMLINKS: Final = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)


@dataclass(frozen=True, slots=True)
class Scanned:
    """An entry, where it lies on this machine, and the stat by which a change is noticed."""

    entry: Entry
    path: str
    stamp: tuple[int, int, int, int]


def scan(source: Path, *, exclude: Sequence[str] = (), follow_links: bool = False) -> list[Scanned]:
    """The entries of a file (one, of its own name) or directory, unsorted, files without digests.

    Raises:
        LocalError: the source does not exist or cannot be read.
        UsageError: something in it cannot be kept; it is named, with the way out.
    """
    try:
        status = source.stat()
        if stat.S_ISREG(status.st_mode):
            return [_file(source.name, str(source), status)]
        if not stat.S_ISDIR(status.st_mode):
            raise UsageError(f"{source} is neither a file nor a directory", subject=str(source))
        return list(_Walk(str(source), exclude, follow_links=follow_links).run())
    except OSError as error:
        raise LocalError(f"{error.strerror}: {error.filename or source}", subject=str(source)) from error


class _Walk:
    def __init__(self, root: str, exclude: Sequence[str], *, follow_links: bool) -> None:
        self._root = root
        self._exclude = Exclusion(exclude)
        self._follow = follow_links

    def run(self) -> Iterator[Scanned]:
        yield from self._directory(self._root, "", (identity(os.stat(self._root)),))

    def _directory(self, directory: str, base: str, above: tuple[Seen, ...]) -> Iterator[Scanned]:
        with listing(directory, above[-1]) as found:
            entries = sorted(found, key=lambda item: item.name)
            kept = [item for item in entries if not self._left_out(item, base)]
            items = [self._item(item, os.path.join(directory, item.name), base + item.name, above) for item in kept]
        for item, here in items:
            if item is None:
                continue
            yield item
            if here is not None:
                yield from self._directory(item.path, item.entry.path + "/", (*above, here))

    def _left_out(self, item: os.DirEntry[str], base: str) -> bool:
        if self._exclude.fits(base + item.name, item.name):
            return True
        return not base and item.is_dir(follow_symlinks=False) and layout.is_work_dir(item.name)

    def _item(
        self, item: os.DirEntry[str], where: str, path: str, above: tuple[Seen, ...]
    ) -> tuple[Scanned | None, Seen | None]:
        """An entry, if it is content; and which one it is, if it is a directory."""
        _check_name(path)
        if item.is_symlink() and not self._follow:
            return self._link(item, where, path), None
        status = item.stat(follow_symlinks=self._follow)
        if stat.S_ISDIR(status.st_mode):
            here = identity(status)
            if here in above:
                raise UsageError(f"link loop: {path!r} leads back to a directory above it", subject=path)
            return Scanned(_entry(path, "dir", status), where, _stamp(status)), here
        if not stat.S_ISREG(status.st_mode):
            raise UsageError(f"{path!r} is a device, fifo or socket, which an asset cannot hold", subject=path)
        if path == layout.MARKER and status.st_size == 0:  # the cache's marker is never content
            return None, None
        return _file(path, where, status), None

    def _link(self, item: os.DirEntry[str], where: str, path: str) -> Scanned:
        target = check_source_link(path, where)
        status = item.stat(follow_symlinks=False)
        return Scanned(Entry(path, "link", mtime=status.st_mtime_ns, target=target), where, _stamp(status))


def check_source_link(path: str, where: str) -> str:
    """The target of a symlink, if an asset can hold it.

    Raises:
        UsageError: it leads outside.
    """
    target = os.readlink(where)
    try:
        check_link(path, target)
        target.encode()
    except (IntegrityError, UnicodeEncodeError):
        raise UsageError(
            f"symlink {path!r} leads outside the directory: {target!r}",
            subject=path,
            hint="push with --follow-links to store what it points to, or --exclude it",
        ) from None
    return target


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether a glob pattern fits the path, its last piece, or a directory above it; one that starts with ``/``, from the top only."""
    if not patterns:
        return False
    pieces = path.split("/")
    above = ["/".join(pieces[: end + 1]) for end in range(len(pieces))]
    return any(
        fnmatchcase(tail, pattern.strip("/"))
        for pattern in patterns
        for tail in (above if pattern.startswith("/") else [pieces[-1], *above])
    )


class Exclusion:
    """Glob patterns as :func:`matches` has them, for whoever walks a tree from its top and does not go into what they fit."""

    def __init__(self, patterns: Sequence[str]) -> None:
        top = [pattern.strip("/") for pattern in patterns if pattern.startswith("/")]
        self._literal = frozenset(pattern for pattern in top if not any(sign in pattern for sign in "*?["))
        self._top = _any_of([pattern for pattern in top if pattern not in self._literal])
        self._free = _any_of([pattern.rstrip("/") for pattern in patterns if not pattern.startswith("/")])

    def fits(self, path: str, name: str) -> bool:
        """Whether it fits a path, whose last piece is ``name``; the directories above it were asked about before."""
        if path in self._literal:
            return True
        if self._free is not None and (self._free.match(name) or self._free.match(path)):
            return True
        return self._top is not None and self._top.match(path) is not None


def _any_of(patterns: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(translate, patterns))) if patterns else None


def hash_file(scanned: Scanned, seen: Callable[[int], None] = lambda _: None) -> Entry:
    """The entry with its digest.

    Raises:
        SourceChangedError: the file is not what was scanned, before or after reading.
    """
    if scanned.entry.size <= _STEP:
        data = read_whole(scanned)
        seen(len(data))
        return replace(scanned.entry, digest=digest_of(data))
    hasher = Hasher()
    for piece in read_file(scanned):
        hasher.update(piece)
        seen(len(piece))
    return replace(scanned.entry, digest=hasher.hexdigest())


def read_whole(scanned: Scanned) -> bytes:
    """The bytes of a scanned file that is small, in as few calls of the system as it takes.

    Raises:
        SourceChangedError: as :func:`hash_file`.
    """
    try:
        descriptor = os.open(scanned.path, os.O_RDONLY)
        try:
            data = os.read(descriptor, scanned.entry.size + 1)
            _check_stamp(scanned, os.fstat(descriptor))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise gone(scanned, error) from error
    if len(data) != scanned.entry.size:
        raise changed(scanned)
    return data


def read_file(scanned: Scanned) -> Iterator[memoryview]:
    """The bytes of a scanned file in steps; each step is overwritten by the next.

    Raises:
        SourceChangedError: as :func:`hash_file`.
    """
    buffer = memoryview(bytearray(min(_STEP, scanned.entry.size + 1)))
    total = 0
    try:
        with open(scanned.path, "rb", buffering=0) as file:
            _check_stamp(scanned, os.fstat(file.fileno()))
            while count := file.readinto(buffer):
                total += count
                yield buffer[:count]
            _check_stamp(scanned, os.fstat(file.fileno()))
    except OSError as error:
        raise gone(scanned, error) from error
    if total != scanned.entry.size:
        raise changed(scanned)


def check_readable(scanned: Scanned) -> None:
    """Find out, before anything is written, that a file may not be read.

    Raises:
        LocalError: it may not.
        SourceChangedError: it is gone, or another, since it was scanned.
    """
    if scanned.entry.kind == "file" and not os.access(
        scanned.path, os.R_OK, effective_ids=os.access in os.supports_effective_ids
    ):
        check_source(scanned)
        raise LocalError(f"{scanned.path} may not be read", subject=scanned.path)


def check_source(scanned: Scanned) -> None:
    """Raise SourceChangedError unless the file still has the stat that was scanned."""
    try:
        _check_stamp(scanned, os.stat(scanned.path))
    except OSError as error:
        raise gone(scanned, error) from error


def gone(scanned: Scanned, error: OSError) -> HoldfastError:
    """The error for a file that cannot be read."""
    if isinstance(error, PermissionError):
        return LocalError(f"{scanned.path} may not be read: {error.strerror}", subject=scanned.path)
    return SourceChangedError(f"{scanned.path} cannot be read any more: {error.strerror}", subject=scanned.path)


def _check_stamp(scanned: Scanned, status: os.stat_result) -> None:
    if _stamp(status) != scanned.stamp:
        raise changed(scanned)


def changed(scanned: Scanned) -> SourceChangedError:
    """The error for a file that is not what was scanned."""
    return SourceChangedError(
        f"{scanned.path} changed while it was pushed", subject=scanned.path, hint="push again once nothing writes to it"
    )


def prepare_copy(root: str, entries: Sequence[Entry]) -> None:
    """Make the directories that the entries need; the root must exist.

    Raises:
        LocalError: two entries need one name here (a file system that folds case or normalises).
    """
    _check_folding(root, entries)
    made: set[str] = set()
    for entry in entries:
        directory = entry.path if entry.kind == "dir" else entry.path.rpartition("/")[0]
        if directory and directory not in made:
            os.makedirs(f"{root}/{directory}", exist_ok=True)
            while directory and directory not in made:
                made.add(directory)
                directory = directory.rpartition("/")[0]


def _check_folding(root: str, entries: Sequence[Entry]) -> None:
    """Where two names differ only in case or normalisation, find out by a scratch file whether both can be held."""
    pair = folded(entries)
    if pair is None:
        return
    for one, other in zip(pair[0].split("/"), pair[1].split("/"), strict=True):
        if one != other:
            probe, twin = f"{root}/.{one}", f"{root}/.{other}"
            open(probe, "wb").close()
            alike = os.path.lexists(twin)
            os.unlink(probe)
            if alike:
                raise LocalError(
                    f"this file system holds {pair[0]!r} and {pair[1]!r} to be one name",
                    subject=pair[1],
                    hint="fetch it to a file system that keeps them apart",
                )


def finish_copy(root: str, entries: Sequence[Entry]) -> None:
    """Make the symlinks, then set modes (through the umask) and times, directories last and deepest first.

    The owner keeps the right to write in every directory: otherwise no cache could ever remove it.
    """
    umask = umask_now()
    for entry in entries:
        if entry.kind == "link":
            _make_link(f"{root}/{entry.path}", entry)
    for entry in entries:
        if entry.kind == "file":
            _set_attributes(f"{root}/{entry.path}", entry, _LEAST, umask)
    for entry in reversed(entries):
        if entry.kind == "dir":
            _set_attributes(f"{root}/{entry.path}", entry, 0o700, umask)


def umask_now() -> int:
    """The process's umask, which can only be read by setting it."""
    umask = os.umask(0)
    os.umask(umask)
    return umask


def file_mode(mode: int, umask: int) -> int:
    """What a file of this recorded mode gets here: what the umask leaves, and the right of its owner to read it."""
    return (mode & ~umask & PERMISSIONS) | _LEAST


def _make_link(path: str, entry: Entry) -> None:
    target = entry.target or ""
    try:
        os.symlink(target, path)
    except FileExistsError:
        if not os.path.islink(path) or os.readlink(path) != target:
            raise LocalError(f"{path} is in the way of a symlink", subject=entry.path) from None
    except OSError as error:  # by itself it would name what the link leads to
        if error.errno not in _NO_SYMLINKS:
            raise OSError(error.errno, error.strerror, path) from error
        raise LocalError(
            f"the symlink {entry.path!r} cannot be made: {error.strerror}",
            subject=entry.path,
            hint="fetch it to a file system that has symlinks, or fetch without it: --include, or a sub-path",
        ) from error


def _set_attributes(path: str, entry: Entry, least: int, umask: int) -> None:
    if entry.mode is not None:
        os.chmod(path, (entry.mode & ~umask & PERMISSIONS) | least)
    if entry.mtime is not None:
        os.utime(path, ns=(entry.mtime, entry.mtime))


def _file(path: str, where: str, status: os.stat_result) -> Scanned:
    _check_name(path)
    return Scanned(replace(_entry(path, "file", status), size=status.st_size), where, _stamp(status))


def _entry(path: str, kind: str, status: os.stat_result) -> Entry:
    return Entry(path, kind, mode=status.st_mode & PERMISSIONS, mtime=status.st_mtime_ns)  # type: ignore[arg-type]


def _stamp(status: os.stat_result) -> tuple[int, int, int, int]:
    """The time of change with it: who sets the time of writing back cannot set that."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _check_name(path: str) -> None:
    try:
        path.encode()
    except UnicodeEncodeError:
        raise UsageError(f"file name is not UTF-8: {os.fsencode(path)!r}", subject=repr(os.fsencode(path))) from None
