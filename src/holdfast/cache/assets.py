"""Fetched versions under ``assets_dir``, where modelkit's users look for them (FORMAT.md §8).

``<assets_dir>/<name>/<version>`` is the copy; modelkit's own marker says that it is complete (``.SUCCESS`` in the root of a
directory, ``.<version>.SUCCESS`` beside a file), so that either program finds the other's copy warm. What we know beside it
lies under ``<assets_dir>/.holdfast``. Losing that loses nothing but knowledge.

A copy without a marker may be somebody's own work: it is never deleted, at most moved aside. Locks only save work.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import shutil
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.disk import exchange, sync_file_system
from holdfast.errors import BusyError, LocalError
from holdfast.failpoint import reach
from holdfast.formats import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["AssetsDir", "CachedVersion", "Known", "WorkDir", "local_errors"]

_POLL: Final = (0.01, 0.25)
#: How the identity of a work directory starts that is about to be installed, or was.
_CLOSED: Final = "closed-"
#: What stands for the start of a process that is alive and does not tell.
_UNKNOWN: Final = "0"
_TOKEN: Final = secrets.token_hex(4)
_HOST: Final = socket.gethostname().replace(".", "-")


@dataclass(frozen=True, slots=True)
class Known:
    """What is recorded of a copy: the store's URL it came from, its meta's id, and how it was verified."""

    store: str
    id: str
    verified: str
    hash: str | None = None


@dataclass(frozen=True, slots=True)
class CachedVersion:
    """One local version. ``used`` in seconds since the epoch, as far as it is known."""

    name: str
    version: str
    path: Path
    complete: bool
    pinned: bool
    bytes: int
    used: float


@dataclass(frozen=True, slots=True)
class WorkDir:
    """Where a version is put together, beside its final place: ``copy`` is the file or directory to be."""

    path: Path

    @property
    def copy(self) -> Path:
        """The copy in the making."""
        return self.path / "copy"

    @property
    def scratch(self) -> Path:
        """A file for bytes that are not yet part of the copy (an archive)."""
        return self.path / "scratch"


class AssetsDir:
    """The directory; it must exist before anything is fetched into it."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._own = self.path / layout.OWN

    def path_of(self, name: str, version: str) -> Path:
        """Where the copy is or would be."""
        return self.path / name / version

    def is_complete(self, name: str, version: str) -> bool:
        """Whether the marker and the copy are there; nothing else is looked at."""
        path = self.path_of(name, version)
        return (path / layout.MARKER).exists() or (self._file_marker(path).exists() and path.is_file())

    def versions(self, name: str) -> list[str]:
        """What is there under the asset's name, complete or not, but for names that start with a dot."""
        try:
            return sorted(entry for entry in os.listdir(self.path / name) if not entry.startswith("."))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def known(self, name: str, version: str) -> Known | None:
        """What is recorded of the copy; None for another program's."""
        try:
            value = json.loads((self._record(name, version)).read_bytes())
            return Known(value["store"], value["id"], value["verified"], value.get("hash"))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def meta(self, name: str, version: str) -> bytes | None:
        """The meta's bytes as they were fetched; None where they are not recorded."""
        try:
            return self._record(name, version, ".meta").read_bytes()
        except OSError:
            return None

    def digests(self, name: str, version: str) -> dict[str, str]:
        """Digests of files found at the first fetch, where the meta has none."""
        try:
            value: Any = json.loads(self._record(name, version, ".digests").read_bytes())
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def record(self, name: str, version: str, known: Known, meta: bytes, digests: dict[str, str]) -> None:
        """Note what is known of a copy that is about to be, or is, complete."""
        with local_errors(self.path):
            value = {"store": known.store, "id": known.id, "verified": known.verified, "hash": known.hash}
            if digests:
                _write(self._record(name, version, ".digests"), json.dumps(digests).encode())
            _write(self._record(name, version, ".meta"), meta)
            _write(self._record(name, version), json.dumps(value).encode())

    def doubt(self, name: str, version: str) -> None:
        """Note that the copy is about to become another one: until that is recorded, it is no store's."""
        with local_errors(self.path):
            _write(self._record(name, version), json.dumps({"store": "", "id": "", "verified": "length"}).encode())

    def touch(self, name: str, version: str) -> None:
        """Remember that the copy was used; a read-only folder need not."""
        try:
            os.utime(self._record(name, version))
        except OSError:
            return

    # making a copy

    @contextmanager
    def lock(
        self, name: str, version: str, deadline: float, poll: Callable[[float], None] = time.sleep
    ) -> Iterator[None]:
        """Hold the version's lock, waiting up to ``deadline`` seconds; where the file system has no locks, go on without.

        Raises:
            BusyError: the deadline passed.
            LocalError: the folder is read-only, full or missing.
        """
        path = self._own / "locks" / layout.encode_name(name) / version
        with local_errors(self.path):
            self._check()
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _wait_for_lock(descriptor, f"{name}:{version}", deadline, poll)
            yield
        finally:
            os.close(descriptor)

    def work_dir(self, final: Path, identity: str) -> WorkDir:
        """A directory of our own beside the final place; what a dead process of this machine left there is taken over.

        ``identity`` names the content: leftovers of another content are not taken.
        """
        with local_errors(self.path):
            final.parent.mkdir(parents=True, exist_ok=True)
            mine = final.parent / f".{final.name}.{identity}.{_owner()}.part"
            for left in final.parent.glob(f".{final.name}.*.part"):
                stem, found, owner = left.name.removesuffix(".part").rsplit(".", 2)
                if stem == f".{final.name}" and _is_dead(owner):
                    _take_over(left, mine, same=found == identity and not mine.exists())
            mine.mkdir(exist_ok=True)
            return WorkDir(mine)

    def install(self, work: WorkDir, final: Path, *, keep_old: bool = False, mark: bool = True) -> Path | None:
        """Give the finished copy its name, at once: whoever looks sees the old copy or the new one.

        The marker of a directory must be in it already; the marker of a file is written after (``mark``). Returns where the old copy was
        moved, if there was one that is kept.
        """
        with local_errors(self.path):
            sync_file_system(work.path)
            reach("fetch.before-rename")
            work = _closed(work, final)
            aside = _place(work.copy, final, self._aside(final) if keep_old else None)
            reach("fetch.renamed")
            if mark and final.is_file():
                self._file_marker(final).touch()
            shutil.rmtree(work.path, ignore_errors=True)
            return aside

    def mark(self, name: str, version: str) -> None:
        """Mark a copy, found to be whole, as complete."""
        path = self.path_of(name, version)
        with local_errors(self.path):
            (path / layout.MARKER if path.is_dir() else self._file_marker(path)).touch()

    def parts_dir(self, name: str, version: str, selection: str) -> Path:
        """Where a part of a version, named by a digest of what was selected, lies."""
        return self._own / "parts" / layout.encode_name(name) / f"{version}-{selection}"

    # looking after it

    def entries(self) -> Iterator[CachedVersion]:
        """Every local version that carries a marker or a record."""
        for directory, names, files in os.walk(self.path):
            here = Path(directory)
            name = os.path.relpath(directory, self.path)
            found = [child for child in names if (here / child / layout.MARKER).exists()]
            names[:] = sorted(child for child in names if not child.startswith(".") and child not in found)
            beside = [
                file[1 : -len(layout.MARKER)] for file in files if file.startswith(".") and file.endswith(layout.MARKER)
            ]
            for version in sorted({*found, *(stem for stem in beside if stem and stem in files)}):
                yield self._entry(name, version)

    def _entry(self, name: str, version: str) -> CachedVersion:
        path = self.path_of(name, version)
        size = path.stat().st_size if path.is_file() else sum(_sizes(path))
        record = self._record(name, version)
        used = record.stat().st_mtime if record.exists() else path.stat().st_mtime
        return CachedVersion(
            name, version, path, self.is_complete(name, version), self.is_pinned(name, version), size, used
        )

    def is_pinned(self, name: str, version: str) -> bool:
        """Whether pruning must leave it."""
        return self._record(name, version, ".pin").exists()

    def pin(self, name: str, version: str, *, on: bool) -> None:
        """Keep the copy from pruning, or no longer."""
        path = self._record(name, version, ".pin")
        with local_errors(self.path):
            if on:
                _write(path, b"")
            else:
                path.unlink(missing_ok=True)

    def remove(self, name: str, version: str) -> None:
        """Remove a complete copy: the marker goes first, so that a half-removed one is never served."""
        path = self.path_of(name, version)
        with local_errors(self.path):
            if path.is_dir():
                doomed = (
                    path.parent / f".{version}.removed.{_owner()}.part"
                )  # a killed removal is swept by the next fetch
                path.rename(doomed)
                shutil.rmtree(doomed, ignore_errors=True)
            else:
                self._file_marker(path).unlink(missing_ok=True)
                path.unlink(missing_ok=True)
            for ending in ("", ".meta", ".digests"):  # last: without them a copy passes for any store's
                self._record(name, version, ending).unlink(missing_ok=True)

    def _record(self, name: str, version: str, ending: str = "") -> Path:
        return self._own / "versions" / layout.encode_name(name) / (version + (ending or ".json"))

    def _file_marker(self, path: Path) -> Path:
        return path.parent / f".{path.name}{layout.MARKER}"

    def _aside(self, final: Path) -> Path:
        stem = self._own / "aside" / final.relative_to(self.path)
        return next(p for n in range(1, 1_000_000) if not (p := stem.with_name(f"{stem.name}.{n}")).exists())

    def _check(self) -> None:
        if not self.path.is_dir():
            raise LocalError(
                f"assets_dir {self.path} is not a directory",
                subject=str(self.path),
                hint="make it, or set assets_dir (HOLDFAST_ASSETS_DIR) to a folder that exists",
            )


@contextmanager
def local_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals below this folder into LocalError, saying what to look at."""
    try:
        yield
    except LocalError:
        raise
    except OSError as error:
        hint = {
            errno.ENOSPC: "free some space on this disk, or set assets_dir to another one",
            errno.EDQUOT: "the disk quota is used up",
            errno.EROFS: "the folder is read-only: set assets_dir to one that can be written",
            errno.EACCES: "the folder may not be written: look at its rights, or set assets_dir to another one",
        }.get(error.errno or 0)
        where = error.filename or path
        raise LocalError(f"{error.strerror or error}: {where}", subject=str(where), hint=hint) from error


def _closed(work: WorkDir, final: Path) -> WorkDir:
    """The work directory under a name that no later fetch goes on with, for an old copy is about to be exchanged into it."""
    if not os.path.lexists(final):
        return work
    return WorkDir(work.path.rename(final.parent / f".{final.name}.{_CLOSED}{secrets.token_hex(6)}.{_owner()}.part"))


def _place(copy: Path, final: Path, aside: Path | None) -> Path | None:
    if not os.path.lexists(final):
        copy.rename(final)
        return None
    if aside is not None:  # somebody's own work: it is never where a leftover could be swept, not even for a moment
        aside.parent.mkdir(parents=True, exist_ok=True)
        final.rename(aside)
        copy.rename(final)
        return aside
    if copy.is_dir() or final.is_dir():
        if not exchange(copy, final):  # no exchange here: the name is away for a moment, the copies never are
            spare = copy.with_name("old")
            final.rename(spare)
            copy.rename(final)
            spare.rename(copy)
    else:
        copy.replace(final)
    return None


def _wait_for_lock(descriptor: int, what: str, deadline: float, sleep: Callable[[float], None]) -> None:
    end = time.monotonic() + deadline
    pause = _POLL[0]
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise BusyError(
                    f"another process is fetching {what}, and did not finish within {deadline:.0f} s",
                    subject=what,
                    hint="wait for it, or raise the timeout",
                ) from None
            sleep(pause)
            pause = min(_POLL[1], pause * 1.5)
        except OSError:
            return  # no locks on this file system: two may do the same work, each in its own work directory
        else:
            return


def _owner() -> str:
    return f"{_HOST}-{os.getpid()}-{_birth(os.getpid())}-{_TOKEN}"


def _is_dead(owner: str) -> bool:
    """Whether the process that this names ran on this machine and is gone."""
    pieces = owner.rsplit("-", 3)
    if len(pieces) != 4 or pieces[0] != _HOST or not pieces[1].isdecimal():
        return False
    birth = _birth(int(pieces[1]))
    return birth not in (pieces[2], _UNKNOWN)


def _birth(pid: int) -> str:
    """When a process started, so that a reused id is not taken for the old one; empty where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        except PermissionError:
            pass
        return _UNKNOWN
    except OSError:
        return _UNKNOWN
    return text.rpartition(")")[2].split()[19]


def _take_over(left: Path, mine: Path, *, same: bool) -> None:
    """Rename is atomic: of several who want a leftover one gets it."""
    try:
        if same:
            left.rename(mine)
        else:
            shutil.rmtree(left, ignore_errors=True)
    except OSError:
        return


def _sizes(root: Path) -> Iterator[int]:
    for directory, _, files in os.walk(root):
        for name in files:
            try:
                yield os.lstat(os.path.join(directory, name)).st_size
            except FileNotFoundError:
                continue


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{_TOKEN}.{os.getpid()}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)
