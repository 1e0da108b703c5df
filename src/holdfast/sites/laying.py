"""Lays changes of other servers below a webroot, as the web user, without following a link and without losing what lies there.

Bytes are staged in a folder of ours at the top of the webroot (one file system, so that a name changes at once), verified and
made durable; then names are exchanged one by one, and what came out is looked at: where somebody wrote it meanwhile, it goes back or is
kept. What is to be kept goes below ``kept`` in the state folder, outside of what is served.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.disk import exchange, sync_file_system
from holdfast.errors import IntegrityError, LocalError, NotFoundError
from holdfast.failpoint import reach
from holdfast.formats import layout
from holdfast.model.digest import Hasher
from holdfast.sites.webroot import fingerprint_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from _typeshed import ReadableBuffer

    from holdfast.errors import HoldfastError
    from holdfast.sites.changes import Content
    from holdfast.sites.merging import Deed
    from holdfast.sites.webroot import Fingerprint, Webroot

__all__ = ["Laying", "Owner"]

#: User and group of what is laid, where this process may give files away.
Owner = tuple[int, int]
_IN: Final = "in-"
_OUT: Final = "out-"
_FOLDER_MODE: Final = 0o755


@dataclass(slots=True)
class Laying:
    """Lays deeds. ``kept`` is the folder of this run below ``kept``; ``told`` hears of what was kept, and why."""

    webroot: Webroot
    identity: str
    kept: Path
    owner: Owner | None
    told: Callable[[str, str], None]
    failed: dict[str, HoldfastError] = field(default_factory=dict)
    _staged: int = 0
    _stage: int = -1

    @property
    def name(self) -> str:
        """What the stage is called at the top of the webroot: no other process has this one, and no walk of ours goes into it."""
        return layout.work_name(layout.WORK_STEM, self.identity, "sync")

    def begin(self) -> None:
        """Make the stage; of a process that was killed, what it displaced is kept, and what it staged removed.

        Raises:
            LocalError: somebody else has made a folder of this name.
            OSError: the webroot cannot be written.
        """
        with self.webroot.opened() as root:
            try:
                self._stage = _own_folder(self.name, root)
            except (NotADirectoryError, OSError) as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                    raise
                os.unlink(self.name, dir_fd=root)  # a link, or a file
                self._stage = _own_folder(self.name, root)
        if os.fstat(self._stage).st_uid != os.geteuid():
            self.end()
            raise LocalError(
                f"{self.name} in {self.webroot.path} belongs to somebody else", subject=self.name, hint="remove it"
            )
        for left in sorted(os.listdir(self._stage)):
            if left.startswith(_OUT):
                self._keep(left, f"displaced/{left}", "a process was killed before it was looked at")
            else:
                os.unlink(left, dir_fd=self._stage)

    def end(self) -> None:
        """Remove the stage; what is in it after a failure stays for the next :meth:`begin`."""
        os.close(self._stage)
        self._stage = -1
        with suppress(OSError), self.webroot.opened() as root:
            os.rmdir(self.name, dir_fd=root)

    def _at(self, name: str = "") -> Path:
        """Something in the stage: the folder that was made, whatever has its name by now."""
        return Path(f"/proc/self/fd/{self._stage}/{name}")

    def lay(
        self,
        deeds: Mapping[str, Deed],
        fingerprints: Mapping[str, Fingerprint],
        read: Callable[[str, Deed], Iterator[ReadableBuffer]],
    ) -> list[str]:
        """Do as many of these as can be done; those that are done. The others find something else there than they were decided on.

        Bytes that are not what the change says leave their path alone, and are told in ``failed``.

        Raises:
            OSError: the disk is full, or refuses; what is done is done, and nothing is half done.
            UnreachableError: the store does not answer; nothing was laid.
        """
        staged: dict[str, str] = {}
        try:
            self._stage_all(deeds, read, staged)
        except BaseException:
            self._unstage(staged)
            raise
        if staged:
            sync_file_system(self._at())
        done = []
        for path in _in_order(deeds.keys() - self.failed.keys(), deeds):
            if self._one(path, deeds[path], fingerprints.get(path), staged.get(path)):
                done.append(path)
            reach("sync.laid-partly")
        self._unstage(staged)
        if done:
            sync_file_system(self._at())
        return done

    # staging

    def _stage_all(
        self,
        deeds: Mapping[str, Deed],
        read: Callable[[str, Deed], Iterator[ReadableBuffer]],
        staged: dict[str, str],
    ) -> None:
        self.failed = {}
        for path, deed in deeds.items():
            content = deed.change.content
            if content is None or content.kind != "file" or content.same_bytes(deed.there):
                continue
            try:
                staged[path] = self._stage_file(path, content, read(path, deed))
            except (IntegrityError, NotFoundError) as error:
                self.failed[path] = error
            reach("sync.staged")

    def _unstage(self, staged: Mapping[str, str]) -> None:
        """Remove what did not get its name."""
        for name in staged.values():
            self._at(name).unlink(missing_ok=True)

    def _next(self, prefix: str) -> str:
        self._staged += 1
        return f"{prefix}{self._staged}"

    def _stage_file(self, path: str, content: Content, pieces: Iterator[ReadableBuffer]) -> str:
        name, hasher = self._next(_IN), Hasher()
        descriptor = os.open(self._at(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with open(descriptor, "wb", buffering=0) as file:
                for piece in pieces:
                    hasher.update(piece)
                    _write(file.write, piece)
                _check(path, hasher, content)
                self._attributes(descriptor, content)
        except BaseException:
            self._at(name).unlink(missing_ok=True)
            raise
        return name

    def _attributes(self, descriptor: int, content: Content) -> None:
        if self.owner is not None:
            os.fchown(descriptor, *self.owner)
        os.fchmod(descriptor, content.mode)
        if content.mtime is not None and content.kind == "file":
            os.utime(descriptor, ns=(content.mtime, content.mtime))

    # names

    def _one(self, path: str, deed: Deed, before: Fingerprint | None, staged: str | None) -> bool:
        content = deed.change.content
        try:
            if content is not None:
                self._make_parents(path)
            with self.webroot.folder_of(path) as (folder, name):
                if not _is_there(folder, name, deed.there, before):
                    return False
                if content is None:
                    return self._remove(path, folder, name, deed, before)
                if content.kind == "dir":
                    return self._folder(path, folder, name, deed, before)
                if staged is None and content.kind == "file":
                    return self._retouch(folder, name, content, before)
                return self._put(path, folder, name, deed, before, staged)
        except (FileNotFoundError, NotADirectoryError, FileExistsError):
            return content is None and deed.there is None
        except OSError as error:
            if error.errno in _IN_THE_WAY:
                return False
            raise

    def _make_parents(self, path: str) -> None:
        above = path.split("/")[:-1]
        for end in range(1, len(above) + 1):
            with self.webroot.folder_of("/".join(above[:end])) as (folder, name), suppress(FileExistsError):
                os.mkdir(name, _FOLDER_MODE, dir_fd=folder)
                self._own(folder, name, _FOLDER_MODE)

    def _own(self, folder: int, name: str, mode: int) -> None:
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
        try:
            if self.owner is not None:
                os.fchown(descriptor, *self.owner)
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)

    def _folder(self, path: str, folder: int, name: str, deed: Deed, before: Fingerprint | None) -> bool:
        content = deed.change.content
        assert content is not None  # noqa: S101 - as the caller knows
        if deed.there is not None and deed.there.kind != "dir" and not self._remove(path, folder, name, deed, before):
            return False
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=folder)
        self._own(folder, name, content.mode)
        return True

    def _retouch(self, folder: int, name: str, content: Content, before: Fingerprint | None) -> bool:
        """The bytes are there already: the mode is not."""
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        try:
            if before is None or fingerprint_of(os.fstat(descriptor)) != before:
                return False
            os.fchmod(descriptor, content.mode)
            return True
        finally:
            os.close(descriptor)

    def _remove(self, path: str, folder: int, name: str, deed: Deed, before: Fingerprint | None) -> bool:
        if deed.there is None:
            return True
        if deed.there.kind == "dir":
            with suppress(OSError):  # what is still in it was changed here, or is none of ours: that keeps it
                os.rmdir(name, dir_fd=folder)
            return True
        out = self._next(_OUT)
        os.rename(name, self._at(out), src_dir_fd=folder)
        reach("sync.displaced")
        if not _is_same(os.lstat(self._at(out)), before):
            try:
                os.link(self._at(out), name, dst_dir_fd=folder, follow_symlinks=False)
                self._at(out).unlink()
            except FileExistsError:
                self._keep(out, path, "it was written while it was being deleted")
            return False
        self._leave(out, path, keep=deed.keep)
        return True

    def _put(
        self, path: str, folder: int, name: str, deed: Deed, before: Fingerprint | None, staged: str | None
    ) -> bool:
        content = deed.change.content
        assert content is not None  # noqa: S101 - as the caller knows
        if staged is None:
            staged = self._next(_IN)
            os.symlink(content.target or "", self._at(staged))
            if self.owner is not None:
                os.lchown(self._at(staged), *self.owner)
        if deed.there is not None and deed.there.kind == "dir":
            os.rmdir(name, dir_fd=folder)
        if deed.there is None or deed.there.kind == "dir":
            os.link(self._at(staged), name, dst_dir_fd=folder, follow_symlinks=False)
            self._at(staged).unlink()
            return True
        out = self._swap(folder, name, staged)
        reach("sync.displaced")
        if _is_same(os.lstat(self._at(out)), before):
            self._leave(out, path, keep=deed.keep)
        else:
            self._keep(out, path, "it was written at that very moment")
        return True

    def _swap(self, folder: int, name: str, staged: str) -> str:
        """Let the name have what is staged; under which name of the stage lies what it had."""
        out = self._next(_OUT)
        os.rename(self._at(staged), self._at(out))  # killed after the exchange, what came out is not taken for ours
        if exchange(self._at(out), Path(f"/proc/self/fd/{folder}/{name}")):
            return out
        displaced = self._next(_OUT)
        os.link(name, self._at(displaced), src_dir_fd=folder, follow_symlinks=False)
        os.replace(self._at(out), name, dst_dir_fd=folder)
        return displaced

    # what is kept

    def _leave(self, out: str, path: str, *, keep: bool) -> None:
        if keep:
            self._keep(out, path, "another server's change is newer and was not made from it")
        else:
            self._at(out).unlink()

    def _keep(self, out: str, path: str, why: str) -> None:
        """Move what was displaced to what is kept; the first free name there."""
        target = self.kept / path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = 1
        while os.path.lexists(target):
            number += 1
            target = self.kept / f"{path}.{number}"
        part = target.with_name(f".{target.name}.part")
        try:
            os.rename(self._at(out), target)
        except OSError:  # another file system
            with suppress(FileNotFoundError):
                part.unlink()
            shutil.copy2(self._at(out), part, follow_symlinks=False)
            sync_file_system(part.parent)
            os.rename(part, target)
            self._at(out).unlink()
        self.told(str(target), f"{path}: {why}")


def _check(path: str, hasher: Hasher, content: Content) -> None:
    if hasher.hexdigest() != content.digest:
        raise IntegrityError(f"the bytes of {path} are not what its change says", subject=path)


def _own_folder(name: str, root: int) -> int:
    """A folder for this user alone, made or found."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=root)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=root)


#: A link, a folder, a mount, or something that is not empty where something else is to be: it is looked at again.
_IN_THE_WAY: Final = frozenset((errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.ELOOP, errno.EXDEV))


def _is_there(folder: int, name: str, there: Content | None, before: Fingerprint | None) -> bool:
    """Whether what was decided on still lies there."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return there is None
    if there is None:
        return False
    if there.kind == "dir":
        return stat.S_ISDIR(status.st_mode)
    if there.kind == "link":
        return stat.S_ISLNK(status.st_mode) and os.readlink(name, dir_fd=folder) == there.target
    return fingerprint_of(status) == before


def _is_same(status: os.stat_result, before: Fingerprint | None) -> bool:
    """Whether what was displaced is what was looked at; its time of change is that of the displacement."""
    if before is None:
        return stat.S_ISLNK(status.st_mode)
    mode, size, mtime, _, inode = before
    return (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ino) == (mode, size, mtime, inode)


def _in_order(paths: Iterable[str], deeds: Mapping[str, Deed]) -> list[str]:
    """Deletions first, the deepest before what it lies in; then folders from above, then files and links."""

    def place(path: str) -> tuple[int, int, str]:
        content = deeds[path].change.content
        depth = path.count("/")
        if content is None:
            return 0, -depth, path
        return (1, depth, path) if content.kind == "dir" else (2, 0, path)

    return sorted(paths, key=place)


def _write(write: Callable[[ReadableBuffer], int | None], data: ReadableBuffer) -> None:
    view = memoryview(data)
    while view.nbytes:
        view = view[write(view) or 0 :]
