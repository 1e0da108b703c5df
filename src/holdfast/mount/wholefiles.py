"""Brings whole files of layouts without chunks, each once however many wait for it, verified before the first byte is served.

They lie in the range cache, under their digests. Where that has no room, files up to a size are held in memory, and larger ones refused: nobody
could tell whether their bytes are right before the last of them was read.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from holdfast.errors import HoldfastError, IntegrityError, LocalError, UnreachableError
from holdfast.model.digest import digest_of
from holdfast.model.manifest import Manifest
from holdfast.model.result import NoProgress
from holdfast.mount.sheets import Kept
from holdfast.mount.workers import Workers
from holdfast.transfer.plan import plan_objects

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from holdfast.cache.wholes import Wholes
    from holdfast.model.manifest import Entry
    from holdfast.store.base import Store

__all__ = ["StoredFiles", "WholeFiles"]

#: Larger files are not held in memory.
_MEMORY: Final = 64 * 1024 * 1024
_JOBS: Final = 4
_TRIES: Final = 3
_LOOK: Final = 0.25
_ENDED: Final = 1024
_STEP: Final = 1024 * 1024


class StoredFiles:
    """The files of a version of layout ``file`` or ``tree`` in its store."""

    def __init__(self, store: Store, name: str, version: str, layout: str) -> None:
        self._store = store
        self._of = name, version, layout
        self._guard = threading.Lock()
        #: Bytes that came from the store.
        self.fetched = 0

    def into(self, entry: Entry, path: Path, moved: Callable[[int], None]) -> None:
        """A file into its place, verified; ``moved`` is told of bytes as they come."""
        from holdfast.transfer.download import Download
        from holdfast.transfer.engine import Engine

        came: list[int] = []

        def told(count: int) -> None:
            came.append(count)
            self._count(count)
            moved(count)

        engine = Engine(_JOBS, progress=_Moved(told))
        download = Download(self._store, engine, path, path.with_name(path.name + ".scratch"))
        plain = replace(entry, mode=None, mtime=None)
        try:
            download.files(plan_objects(*self._of, [plain]), Manifest((plain,), single=True))
        finally:
            self._count(download.outcome.bytes - sum(came))

    def data(self, entry: Entry) -> bytes:
        """A small file, verified.

        Raises:
            IntegrityError: the store has another.
        """
        plan = plan_objects(*self._of, [entry])
        key = (*plan.small, *plan.large)[0].key
        data = bytes(memoryview(self._store.get(key).data))
        self._count(len(data))
        if digest_of(data) != entry.digest:
            raise IntegrityError(f"{key} does not match its digest", subject=key)
        return data

    def _count(self, count: int) -> None:
        with self._guard:
            self.fetched += count


class _Moved(NoProgress):
    def __init__(self, moved: Callable[[int], None]) -> None:
        self._moved = moved

    def advance(self, count: int) -> None:
        self._moved(count)


class _Job:
    """A file on its way."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.moved = time.monotonic()
        self.error: HoldfastError | None = None
        self.data: bytes | None = None


class WholeFiles:
    """Files of one version.

    Args:
        stored: where they come from; None where only the copy has them.
        wholes: where they are kept, if anywhere.
        copy: a fetched copy, which anybody may have changed since, if there is one.
        single: the version is one file, which the copy is.
        deadline: seconds without a byte after which whoever waits gets an error.
    """

    def __init__(
        self, stored: StoredFiles | None, wholes: Wholes | None, copy: Path | None, *, single: bool, deadline: float
    ) -> None:
        self.wholes = wholes
        self._stored = stored
        self._copy = copy
        self._single = single
        self._deadline = deadline
        self._workers = Workers(deadline)
        self._jobs: dict[str, _Job] = {}
        self._ended: Kept[str, float] = Kept(_ENDED)  # when jobs that are done were, for whoever still has to wake
        self._guard = threading.Lock()

    @property
    def fetched(self) -> int:
        """Bytes that came from the store."""
        return 0 if self._stored is None else self._stored.fetched

    def bring(self, entry: Entry) -> int | bytes:
        """A descriptor of the file, which the caller closes, or its bytes.

        Raises:
            IntegrityError: the store has other bytes, or none.
            UnreachableError: nothing came within the deadline.
            LocalError: it is too large for memory, and there is no room on the disk.
        """
        digest = entry.digest or ""
        for _ in range(_TRIES):
            found = self.wholes.open(digest) if self.wholes is not None else None
            if found is not None:
                return found
            job = self._job(entry, digest)
            self._wait(job, entry)
            if job.error is not None:
                raise job.error
            if job.data is not None:
                return job.data
        raise LocalError(f"{entry.path}: what was read is removed at once", subject=entry.path, hint=_HINT)

    def moved(self, entry: Entry) -> float:
        """When something last came of a file that is on its way, by the clock that only rises; 0: it is not."""
        digest = entry.digest or ""
        job = self._jobs.get(digest)
        return (self._ended.get(digest) or 0.0) if job is None else job.moved

    @property
    def is_exhausted(self) -> bool:
        """Whether the threads that read are used up by reads that do not come back."""
        return self._workers.is_exhausted

    def close(self) -> None:
        """Read no more."""
        self._workers.close()

    def _job(self, entry: Entry, digest: str) -> _Job:
        with self._guard:
            job = self._jobs.get(digest)
            if job is None or time.monotonic() - job.moved > self._deadline:
                job = self._jobs[digest] = _Job()
                mine = job
                self._workers.submit(lambda: self._run(mine, entry, digest), urgent=True)
        return job

    def _wait(self, job: _Job, entry: Entry) -> None:
        begun = time.monotonic()
        while not job.done.wait(min(_LOOK, self._deadline)):
            if time.monotonic() - max(job.moved, begun) > self._deadline:
                raise UnreachableError(f"nothing of {entry.path!r} came for {self._deadline:g} seconds")

    def _run(self, job: _Job, entry: Entry, digest: str) -> None:
        try:
            self._keep(job, entry, digest)
        except HoldfastError as error:
            job.error = error
        except Exception as error:  # noqa: BLE001 - else those who wait would ask again and again
            job.error = UnreachableError(f"{entry.path}: {error!r}")
        finally:
            self._ended.put(digest, time.monotonic(), 1)
            with self._guard:
                if self._jobs.get(digest) is job:
                    del self._jobs[digest]
            job.done.set()

    def _keep(self, job: _Job, entry: Entry, digest: str) -> None:
        """Put the file where it belongs, from the copy or from the store; or into memory."""

        def moved(_: int) -> None:
            job.moved = time.monotonic()

        if self.wholes is not None and self.wholes.verify(digest, moved):
            return
        if self.wholes is not None:
            with suppress(IntegrityError, FileNotFoundError):
                if self._copy is not None and self.wholes.admit(
                    digest, entry.size, lambda path: self._copied(entry, path, moved), moved
                ):
                    return
            if self._stored is not None:
                stored = self._stored
                if self.wholes.admit(digest, entry.size, lambda path: stored.into(entry, path, moved), moved):
                    return
        if entry.size > _MEMORY:
            size = f"{entry.path!r} has {entry.size:,} bytes"
            raise LocalError(f"{size}, for which there is no room", subject=entry.path, hint=_HINT)
        job.data = self._in_memory(entry)

    def _in_memory(self, entry: Entry) -> bytes:
        if self._copy is not None:
            with suppress(OSError):
                data = self._source(entry).read_bytes()
                if digest_of(data) == entry.digest:
                    return data
        if self._stored is None:
            raise IntegrityError(f"{entry.path!r} is not as it was fetched", subject=entry.path, hint=_AGAIN)
        return self._stored.data(entry)

    def _source(self, entry: Entry) -> Path:
        assert self._copy is not None  # noqa: S101 - as the caller knows
        return self._copy if self._single else self._copy / entry.path

    def _copied(self, entry: Entry, path: Path, moved: Callable[[int], None]) -> None:
        with open(self._source(entry), "rb") as source, open(path, "wb") as target:
            while piece := source.read(_STEP):
                moved(target.write(piece))


_HINT: Final = "versions in packs need no such room; else raise cache.max_size, or free some of the disk"
_AGAIN: Final = "asset fetch --force brings it anew"
