"""The media of a backup on their way into buckets: read from whichever store gives them, verified, and never on this machine's disk."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, TypeVar

from holdfast.errors import HoldfastError, IntegrityError
from holdfast.store.base import OpensFiles
from holdfast.transfer.streaming import pieces_of, whole_files

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from _typeshed import ReadableBuffer

    from holdfast.model.chunk import Placed
    from holdfast.sites.stores import SiteStore

__all__ = ["Streamed"]

Result = TypeVar("Result")


class Streamed:
    """Files of one backup, by their keys below ``within``. Stores on this machine are asked before those far away, and each for what others did not give."""

    def __init__(self, stores: Sequence[SiteStore], name: str, version: str, within: str) -> None:
        self._stores = sorted(stores, key=lambda store: not isinstance(store.repository.store, OpensFiles))
        self._name = name
        self._version = version
        self._prefix = f"{within}/" if within else ""

    def whole(self, keys: Collection[str], use: Callable[[str, ReadableBuffer], Result]) -> Iterator[Result]:
        """``use(key, bytes)`` of every file, in no certain order, in the threads that read; where it raises, another store is asked.

        Raises:
            HoldfastError: of the last store, where none gives a file.
        """
        left = set(keys)

        def used(path: str, data: ReadableBuffer) -> tuple[str, Result]:
            key = path[len(self._prefix) :]
            return key, use(key, data)

        for number, store in enumerate(self._stores, 1):
            try:
                files = self._placed(store, left)
                for key, result in whole_files(store.repository.store, store.repository.engine, files, used):
                    left.discard(key)
                    yield result
            except HoldfastError:
                if number == len(self._stores):
                    raise
            else:
                return

    def sources(self, keys: Collection[str]) -> list[Callable[[str], Iterator[memoryview]]]:
        """What opens one of these files in each store, whose bytes come piece by piece: the next is for who failed with the one before.

        A store's manifest is gone through once, when the first file is opened there: it may have a million entries.
        """
        return [partial(self._pieces, store, keys, {}) for store in self._stores]

    def _pieces(
        self, store: SiteStore, keys: Collection[str], known: dict[bytes, Placed], key: str
    ) -> Iterator[memoryview]:
        if not known:
            known |= {file.path: file for file in self._placed(store, keys)}
        file = known[f"{self._prefix}{key}".encode()]
        return pieces_of(store.repository.store, store.repository.engine, file)

    def _placed(self, store: SiteStore, keys: Collection[str]) -> list[Placed]:
        repository = store.repository
        meta = repository.catalog.published(self._name, self._version).meta
        if meta.root is None:
            raise IntegrityError(f"{self._name}:{self._version} is not in packs", subject=self._name)
        wanted = {f"{self._prefix}{key}".encode() for key in keys}
        packed = repository.local.packed(self._name, self._version, meta)
        files = [file for file in packed.each() if file.path in wanted]
        if len(files) != len(wanted):
            raise IntegrityError(f"{self._name}:{self._version} lacks files in {store.url}", subject=self._name)
        return files
