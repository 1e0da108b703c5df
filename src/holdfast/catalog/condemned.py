"""The condemned lists of a store: what collectors have said that nobody may refer to again (FORMAT.md §6, design §3 'Collect').

A push asks :func:`read_condemned` before it relies on a pack or pages object that is there already, and again before it
publishes; a collector reads the lists with their ages. Whatever cannot be read stops both: a list that is not understood may
name anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdfast.errors import IntegrityError, ObjectNotFoundError
from holdfast.formats import layout
from holdfast.formats.records import CondemnedRecord, CondemnedVersion, decode, split_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from holdfast.store.base import ObjectInfo, Store

__all__ = ["CondemnedList", "read_condemned", "read_lists"]


@dataclass(frozen=True, slots=True)
class CondemnedList:
    """One list: names are hex; ``written`` in seconds since the epoch by the store's clock; ``done`` once it is dealt with."""

    epoch: str
    written: float
    who: str
    packs: tuple[str, ...]
    pages: tuple[str, ...]
    versions: tuple[CondemnedVersion, ...]
    done: bool = False

    @property
    def names(self) -> frozenset[str]:
        """The packs and pages objects together."""
        return frozenset((*self.packs, *self.pages))


def read_condemned(store: Store, run: Callable[..., Iterable[Any]] = map) -> frozenset[str]:
    """The hex names of every pack and pages object that was ever condemned: never to be written or referred to again.

    ``run`` may be a parallel map.

    Raises:
        IntegrityError: a list cannot be read; then nothing may rely on any object that is there already.
    """
    return frozenset(name for each in read_lists(store, run) for name in each.names)


def read_lists(store: Store, run: Callable[..., Iterable[Any]] = map) -> list[CondemnedList]:
    """Every condemned list, the oldest first.

    Raises:
        IntegrityError: one cannot be read.
    """
    found = store.list_level(layout.GC).objects
    done = {info.key for info in found if info.key.endswith(layout.GC_DONE_END)}
    lists = [info for info in found if info.key not in done]
    read = list(run(lambda info: _read(store, info, done=info.key + layout.GC_DONE_END in done), lists))
    return sorted(read, key=lambda each: (each.written, each.epoch))


def _read(store: Store, info: ObjectInfo, *, done: bool) -> CondemnedList:
    key = info.key
    try:
        found = store.get(key)
    except ObjectNotFoundError:
        raise IntegrityError(f"the condemned list {key} went while it was read", subject=key) from None
    record = decode(memoryview(found.data), CondemnedRecord, key)
    packs, pages = split_names(record.packs, key), split_names(record.pages, key)
    epoch = key.rpartition("/")[2]
    return CondemnedList(epoch, found.info.modified, record.who, packs, pages, record.versions, done)
