"""A folder whose insides are reached piece by piece, following no link and entering no mount.

Whoever may write into a webroot can plant ``images -> /etc`` at any moment. So no path below is ever handed to the system whole:
each directory is opened in the one above it, must be a directory, and must lie on the folder's own file system, unless the caller
says otherwise. The folder itself is the operator's, and its own path may have links; one that lies below such a folder is reached as
its insides are.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.disk import exchange, move_new
from holdfast.errors import ConflictError, LocalError
from holdfast.model.digest import Hasher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self

__all__ = ["Below", "Met", "unlinked"]

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STEP: Final = 1024 * 1024


class Met:
    """Something met on a walk: its path, its stat (of a link itself), and where a link leads."""

    __slots__ = ("path", "status", "target")

    def __init__(self, path: str, status: os.stat_result, target: str | None) -> None:
        self.path = path
        self.status = status
        self.target = target

    @property
    def kind(self) -> str:
        """As a manifest calls it; ``other`` for what no manifest has."""
        mode = self.status.st_mode
        return (
            "dir" if stat.S_ISDIR(mode) else "file" if stat.S_ISREG(mode) else "link" if stat.S_ISLNK(mode) else "other"
        )


class Below:
    """The insides of one folder; paths are relative, with slashes. Used in a ``with`` block.

    ``path`` leads from an operator's folder to one that others may replace: no piece of it is followed where it is a link.
    """

    def __init__(self, root: Path | str, path: str = "") -> None:
        self.root = str(root)
        try:
            self._descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise LocalError(f"{error.strerror}: {self.root}", subject=self.root) from error
        for piece in path.split("/") if path else ():
            self._enter(piece)
        self._device = os.fstat(self._descriptor).st_dev

    def _enter(self, piece: str) -> None:
        above = self._descriptor
        try:
            self._descriptor = os.open(piece, _DIRECTORY, dir_fd=above)
        except OSError as error:
            raise self._refused(piece, error) from error
        finally:
            os.close(above)
        self.root = f"{self.root.rstrip('/')}/{piece}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    @property
    def status(self) -> os.stat_result:
        """The stat of the folder itself."""
        return os.fstat(self._descriptor)

    @contextmanager
    def directory(self, path: str, *, make: bool = False) -> Iterator[int]:
        """A directory, open; ``make`` makes those that are missing.

        Raises:
            LocalError: a piece is missing, a link, or no directory.
            ConflictError: something is mounted there.
        """
        current = os.dup(self._descriptor)
        try:
            done = ""
            for piece in path.split("/") if path else ():
                done = f"{done}/{piece}" if done else piece
                inner = self._opened(current, piece, done, make=make)
                os.close(current)
                current = inner
            yield current
        finally:
            os.close(current)

    def _opened(self, current: int, piece: str, done: str, *, make: bool) -> int:
        if piece in ("", ".", ".."):
            raise LocalError(f"{done!r} is no path below {self.root}", subject=done)
        if make:
            try:
                os.mkdir(piece, 0o755, dir_fd=current)
            except FileExistsError:
                pass
            except OSError as error:
                raise self._refused(done, error) from error
        try:
            inner = os.open(piece, _DIRECTORY, dir_fd=current)
        except OSError as error:
            raise self._refused(done, error) from error
        if os.fstat(inner).st_dev != self._device:
            os.close(inner)
            raise ConflictError(
                f"{self.root}/{done} is mounted: nothing is changed through a mount",
                subject=done,
                hint="asset site detach unmounts it",
            )
        return inner

    def _refused(self, path: str, error: OSError) -> LocalError:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            return LocalError(
                f"{self.root}/{path} is a link or no directory: it is not followed",
                subject=path,
                hint="look who made it; move it away",
            )
        return LocalError(f"{error.strerror}: {self.root}/{path}", subject=path)

    @contextmanager
    def _parent(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        above, _, name = path.rpartition("/")
        with self.directory(above, make=make) as descriptor:
            try:
                yield descriptor, name
            except OSError as error:
                if isinstance(error, LocalError):
                    raise
                raise self._refused(path, error) from error

    def look(self, path: str) -> os.stat_result | None:
        """What lies there, a link as itself; None: nothing does."""
        try:
            with self._parent(path) as (descriptor, name):
                return os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        except LocalError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    def make(self, path: str, mode: int | None = None, owner: tuple[int, int] | None = None) -> None:
        """Make a directory, and those above it; given away by its descriptor, for its name may be another's by then."""
        with self.directory(path, make=True) as descriptor:
            if owner is not None:
                os.fchown(descriptor, *owner)
            if mode is not None:
                os.fchmod(descriptor, mode)

    def own(self, path: str, user: int, group: int) -> None:
        """Give something to a user, a link itself."""
        with self._parent(path) as (descriptor, name):
            os.chown(name, user, group, dir_fd=descriptor, follow_symlinks=False)

    def move(self, path: str, other: Below, to: str) -> None:
        """Give something another name below another folder of the same file system; directories above it are made there.

        Raises:
            LocalError: it cannot be. Where something has that name by now, its cause is FileExistsError, and nothing was moved.
        """
        with self._parent(path) as (here, name), other._parent(to, make=True) as (there, new):
            move_new(name, new, here, there)

    def exchange(self, path: str, other: Below, to: str) -> None:
        """Exchange two names of the same file system at once; where it cannot, one after the other, and both are there in the end."""
        with self._parent(path) as (here, name), other._parent(to) as (there, new):
            one, two = Path(f"/proc/self/fd/{here}/{name}"), Path(f"/proc/self/fd/{there}/{new}")
            if not exchange(one, two):
                spare = f".{new}.part"
                os.rename(new, spare, src_dir_fd=there, dst_dir_fd=there)
                os.rename(name, new, src_dir_fd=here, dst_dir_fd=there)
                os.rename(spare, name, src_dir_fd=there, dst_dir_fd=here)

    def remove(self, path: str, like: os.stat_result) -> bool:
        """Remove a file that is still as it was seen; False where it is not."""
        with self._parent(path) as (descriptor, name):
            now = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
            same = ("st_ino", "st_dev", "st_size", "st_mtime_ns", "st_ctime_ns")
            if any(getattr(now, field) != getattr(like, field) for field in same):
                return False
            os.unlink(name, dir_fd=descriptor)
        return True

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory."""
        with self._parent(path) as (descriptor, name):
            os.rmdir(name, dir_fd=descriptor)

    def digest(self, path: str, beside: Callable[[bytes], object] = lambda _: None) -> str:
        """The digest of a regular file; ``beside`` gets its bytes as well."""
        hasher = Hasher()
        with self._parent(path) as (descriptor, name):
            opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=descriptor)
            with open(opened, "rb", buffering=0) as file:
                while data := file.read(_STEP):
                    hasher.update(data)
                    beside(data)
        return hasher.hexdigest()

    def walk(self, path: str = "", *, skip: Callable[[str, str], bool] = lambda _path, _name: False) -> Iterator[Met]:
        """Everything below, directories before what is in them; ``skip`` is asked with path and name, and mounts are not entered."""
        with self.directory(path) as descriptor:
            names = sorted(os.listdir(descriptor))
            found = [(name, os.stat(name, dir_fd=descriptor, follow_symlinks=False)) for name in names]
            links = {n: os.readlink(n, dir_fd=descriptor) for n, status in found if stat.S_ISLNK(status.st_mode)}
        for name, status in found:
            inner = f"{path}/{name}" if path else name
            if skip(inner, name) or status.st_dev != self._device:
                continue
            yield Met(inner, status, links.get(name))
            if stat.S_ISDIR(status.st_mode):
                yield from self.walk(inner, skip=skip)

    def sync(self) -> None:
        """Make the folder's own entries durable."""
        os.fsync(self._descriptor)


def unlinked(root: str, path: str) -> Path:
    """A directory below an operator's folder; LocalError where a link stands between them, which could show anybody's files."""
    with Below(root, path):
        return Path(root, path)
