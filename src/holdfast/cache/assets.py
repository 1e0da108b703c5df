"""Fetched versions under ``assets_dir``, where modelkit's users look for them (FORMAT.md §8).

``<assets_dir>/<name>/<version>`` is the copy; modelkit's own marker says that it is complete (``.SUCCESS`` in the root of a
directory, ``.<version>.SUCCESS`` beside a file), so that either program finds the other's copy warm. What we know beside it
lies under ``<assets_dir>/.holdfast``. Losing that loses nothing but knowledge.

A copy without a marker may be somebody's own work: it is never deleted, at most moved aside. Locks only save work.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.cache.work import WorkDir, close, open_work_dir, place, write_whole
from holdfast.disk import closed, local_errors, sync_file_system
from holdfast.errors import LocalError
from holdfast.failpoint import reach
from holdfast.formats import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.cache.inventory import CachedVersion
    from holdfast.cache.leases import Leases

__all__ = ["AssetsDir", "Known"]


@dataclass(frozen=True, slots=True)
class Known:
    """What is recorded of a copy: the store's URL it came from, its meta's id, how it was verified, and how large it is."""

    store: str
    id: str
    verified: str
    hash: str | None = None
    bytes: int | None = None


class AssetsDir:
    """The directory; it must exist before anything is fetched into it.

    Args:
        path: where it is.
        limit: bytes that what is fetched may take; None for as many as there are.
        keep_free: bytes of its disk that stay free; None for a share of it (:func:`holdfast.cache.quota.least_free`).
    """

    def __init__(self, path: Path | str, *, limit: int | None = None, keep_free: int | None = None) -> None:
        self.path = Path(path)
        self.limit = limit
        self.keep_free = keep_free
        self._own = self.path / layout.OWN
        self._kept: ExitStack | None = None

    def path_of(self, name: str, version: str) -> Path:
        """Where the copy is or would be."""
        return self.path / name / version

    def is_complete(self, name: str, version: str) -> bool:
        """Whether the marker and the copy are there; nothing else is looked at.

        Raises:
            LocalError: it is another user's, who lets nobody look at it.
        """
        path = self.path_of(name, version)
        try:
            return (path / layout.MARKER).exists() or (self._file_marker(path).exists() and path.is_file())
        except PermissionError as error:
            raise closed(error) from error

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
            return Known(value["store"], value["id"], value["verified"], value.get("hash"), value.get("bytes"))
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
            value: dict[str, object] = {
                "store": known.store,
                "id": known.id,
                "verified": known.verified,
                "hash": known.hash,
            }
            value |= {} if known.bytes is None else {"bytes": known.bytes}
            if digests:
                write_whole(self._record(name, version, ".digests"), json.dumps(digests).encode())
            write_whole(self._record(name, version, ".meta"), meta)
            write_whole(self._record(name, version), json.dumps(value).encode())

    def doubt(self, name: str, version: str) -> None:
        """Note that the copy is about to become another one: until that is recorded, it is no store's."""
        with local_errors(self.path):
            write_whole(self._record(name, version), json.dumps({"store": "", "id": "", "verified": "length"}).encode())

    def touch(self, name: str, version: str, part: Path | None = None) -> None:
        """Remember that the copy, or a part of it, was used; a read-only folder need not."""
        self.keep(name, version)
        try:
            os.utime(self._record(name, version) if part is None else layout.part_record(part))
        except OSError:
            return

    # making a copy

    @contextmanager
    def lock(
        self, name: str, version: str, deadline: float, done: Callable[[], bool] = lambda: False
    ) -> Iterator[None]:
        """Have the turn at fetching the version, waiting up to ``deadline`` seconds or until it is ``done``; it only saves work.

        Raises:
            BusyError: the deadline passed.
            LocalError: the folder is read-only, full or missing.
        """
        from holdfast.cache.turns import hold

        path = self._own / "locks" / layout.encode_name(name) / version
        with local_errors(self.path):
            self._check()
        with local_errors(path), hold(path, f"{name}:{version}", deadline, done):
            yield

    def work_dir(self, final: Path, identity: str) -> WorkDir:
        """A directory beside the final place in which to put a copy of this content together."""
        with local_errors(self.path):
            return open_work_dir(final, identity)

    def install(self, work: WorkDir, final: Path, *, keep_old: bool = False, mark: bool = True) -> Path | None:
        """Give the finished copy its name, at once: whoever looks sees the old copy or the new one.

        The marker of a directory must be in it already; the marker of a file is written after (``mark``). Returns where the
        old copy was moved, if there was one that is kept.
        """
        with local_errors(self.path):
            sync_file_system(work.path)
            reach("fetch.before-rename")
            work = close(work, final)
            aside = place(work.copy, final, self._aside(final) if keep_old else None)
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

    def record_part(self, part: Path) -> None:
        """Note how large a part is that was just fetched, and when that was."""
        with local_errors(self.path):
            from holdfast.cache.inventory import tree_bytes

            value = {"bytes": tree_bytes(str(part)), "fetched": part.lstat().st_ctime_ns}
            write_whole(layout.part_record(part), json.dumps(value).encode())

    # looking after it

    @cached_property
    def leases(self) -> Leases:
        """Who uses what, and who is about to write how much."""
        from holdfast.cache.leases import Leases

        return Leases(self._own / "leases")

    def keep(self, name: str, version: str) -> None:
        """Have the version in use until :meth:`keeping` ends; outside of it, do nothing."""
        if self._kept is not None:
            self._kept.enter_context(self.leases.hold(name, version))

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Until this ends, nothing that is fetched or found here is evicted: for those who fetch several and need them all."""
        with ExitStack() as kept:
            self._kept = kept
            try:
                yield
            finally:
                self._kept = None

    def entries(self) -> Iterator[CachedVersion]:
        """Every local version that carries a marker, and every part that was fetched alone."""
        from holdfast.cache.inventory import marked, parts, recorded  # here, for the shortest fetch only starts up

        ours = list(recorded(self.path))
        others = marked(self.path, {entry.spec for entry in ours})
        pinned = (replace(entry, pinned=self.is_pinned(entry.name, entry.version)) for entry in others)
        yield from sorted((*ours, *pinned), key=lambda entry: (entry.name, entry.version))
        yield from parts(self.path)

    def is_pinned(self, name: str, version: str) -> bool:
        """Whether pruning must leave it."""
        return self._record(name, version, ".pin").exists()

    def pin(self, name: str, version: str, *, on: bool) -> None:
        """Keep the copy from pruning, or no longer."""
        path = self._record(name, version, ".pin")
        with local_errors(self.path):
            if on:
                write_whole(path, b"")
            else:
                path.unlink(missing_ok=True)

    def last_used(self, entry: CachedVersion) -> float:
        """When it was last used, as of now; in seconds since the epoch."""
        try:
            return self._record_of(entry).stat().st_mtime
        except OSError:
            return 0.0

    def fetched_at(self, entry: CachedVersion) -> int | None:
        """When it was fetched, by the clock of its file system, in nanoseconds; None where that is not recorded."""
        try:
            if entry.part:
                found: Any = json.loads(self._record_of(entry).read_bytes())["fetched"]
                return int(found)
            return self._record(entry.name, entry.version, ".meta").stat().st_mtime_ns
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def forget(self, entry: CachedVersion) -> None:
        """Drop what is recorded of a copy that has left its place."""
        if entry.part:
            self._record_of(entry).unlink(missing_ok=True)
            return
        self._file_marker(entry.path).unlink(missing_ok=True)
        for ending in ("", ".meta", ".digests"):
            self._record(entry.name, entry.version, ending).unlink(missing_ok=True)

    def _record_of(self, entry: CachedVersion) -> Path:
        return layout.part_record(entry.path) if entry.part else self._record(entry.name, entry.version)

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
