"""Files of a version from one store into another under the same keys, each checked against its digest, and none on this machine's disk."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from holdfast.errors import ChangedError, IntegrityError, ObjectNotFoundError, SourceChangedError
from holdfast.failpoint import reach
from holdfast.model.digest import Hasher, digest_of
from holdfast.store.base import OpensFiles
from holdfast.transfer.plan import ranges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from _typeshed import ReadableBuffer, WriteableBuffer

    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine
    from holdfast.transfer.plan import ObjectPlan, TransferPlan

__all__ = ["Pieces", "Relay"]


class Relay:
    """One version's files on their way. ``alive`` is called now and then, and stops it by raising."""

    def __init__(self, origin: Store, target: Store, engine: Engine, alive: Callable[[], None]) -> None:
        self._origin = origin
        self._target = target
        self._engine = engine
        self._alive = alive

    def send(self, plan: TransferPlan) -> None:
        """Write every object of the plan, whose entries all have digests.

        Raises:
            IntegrityError: one is missing or damaged where it comes from; it was not written.
        """
        self._engine.progress.start("copy", plan.size, len(plan.small) + len(plan.large))
        try:
            self._engine.pipe(plan.small, self._small, self._engine.moved, at_once=plan.at_once)
            for item in plan.large:
                self._large(item)
        except ObjectNotFoundError as error:
            raise IntegrityError(
                f"{error.subject} is missing, though its version is published", subject=error.subject
            ) from error
        finally:
            self._engine.progress.finish()

    def _small(self, item: ObjectPlan) -> int:
        self._alive()
        data = self._origin.get(item.key).data
        _check(item, digest_of(data))
        self._target.put(item.key, data)
        reach("push.data-partly")
        return memoryview(data).nbytes

    def _large(self, item: ObjectPlan) -> None:
        hasher, total = Hasher(), 0

        def seen(piece: ReadableBuffer) -> None:
            nonlocal total
            self._alive()
            hasher.update(piece)
            count = memoryview(piece).nbytes
            total += count
            self._engine.moved(count)
            if total == item.size:
                _check(item, hasher.hexdigest())

        source = self._opened(item)
        try:
            with source:
                self._target.put_file(item.key, source, item.size, seen)
        except (SourceChangedError, ChangedError) as error:
            raise IntegrityError(f"{item.key} has not {item.size} bytes", subject=item.key) from error
        reach("push.data-partly")

    def _opened(self, item: ObjectPlan) -> BinaryIO:
        """The object as a file: one of this machine, whose bytes the kernel copies, or what comes range by range."""
        if isinstance(self._origin, OpensFiles):
            return self._origin.open_file(item.key)[0]
        size = self._origin.head(item.key).size
        parts = self._engine.in_order(lambda part: self._origin.get_range(item.key, *part), ranges(size))
        return Pieces(memoryview(found.data).cast("B") for found in parts)  # type: ignore[return-value]


class Pieces(io.RawIOBase):
    """Pieces as a file that is read once."""

    def __init__(self, pieces: Iterator[memoryview]) -> None:
        super().__init__()
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """The next bytes; none at the end."""
        if not self._rest:
            self._rest = next(self._pieces, memoryview(b""))
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _check(item: ObjectPlan, digest: str) -> None:
    if item.entry is None or digest != item.entry.digest:
        raise IntegrityError(
            f"{item.key} does not match its digest", subject=item.key, hint="asset verify tells what else is damaged"
        )
