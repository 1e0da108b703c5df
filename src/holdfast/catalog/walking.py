"""Every object of a store that may be a list or a meta, however many objects there are below its versions.

A bucket that lists in the order of keys is listed in one go: a request for a thousand keys, and not one for every asset. Where a page
told nothing but what is below one version, the listing begins again behind it. Other stores are walked level by level. What is below a
version, be it whole, half or not listed yet, is never told; a name of which a piece reads as a version, which only other programs make, is
found by asking for it.

Example::

    lists = [info for info in walk(store, engine.run) if layout.name_of_versions_key(info.key)]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from holdfast.formats import layout
from holdfast.model.version import all_schemes
from holdfast.store.base import ListsInOrder, OpensFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from holdfast.store.base import Listing, ObjectInfo, Store

__all__ = ["walk"]

#: After so many objects in one row that are not told, the listing begins again behind them.
_PAGE: Final = 1000
#: Comes after every key below the prefix that it ends.
_LAST: Final = "/" + chr(0x10FFFF)


def walk(store: Store, run: Callable[..., Iterable[Any]] = map) -> Iterator[ObjectInfo]:
    """The objects in no certain order; ``run`` is a ``map`` that may ask for several levels at a time.

    Raises:
        HoldfastError: the store cannot be listed.
    """
    if isinstance(store, OpensFiles):
        return _by_levels(store, map)  # a folder on this machine answers at once: threads would wait for Python's lock
    if isinstance(store, ListsInOrder) and store.lists_in_order:
        return _in_order(store)
    return _by_levels(store, run)


def _by_levels(store: Store, run: Callable[..., Iterable[Any]]) -> Iterator[ObjectInfo]:
    level = [""]
    while level:
        below: list[str] = []
        for prefix, listing in zip(level, run(store.list_level, level), strict=True):
            yield from listing.objects
            below += _to_enter(prefix, listing)
        level = below


def _to_enter(prefix: str, listing: Listing) -> list[str]:
    metas = {info.key.removesuffix(layout.META_END) for info in listing.objects if info.key.endswith(layout.META_END)}
    own = {layout.OWN} if not prefix else set()
    skipped = metas | own
    return [p for p in listing.prefixes if p not in skipped and not _is_version(p)]


def _in_order(store: ListsInOrder) -> Iterator[ObjectInfo]:
    hidden, after = _Hidden(), ""
    while True:
        passed, of = 0, ""
        for info in store.list_after("", after):
            below = hidden.root_of(info.key)
            if below is None:
                hidden.meet(info.key)
                yield info
                continue
            passed, of = (passed + 1 if below == of else 1), below
            if passed >= _PAGE or below == layout.OWN:
                after = below + _LAST
                break
        else:
            return


class _Hidden:
    """Which prefixes are a version's, or our own: known once for all the keys below."""

    def __init__(self) -> None:
        self._metas: set[str] = set()
        self._roots: dict[str, str | None] = {"": None, layout.OWN: layout.OWN}

    def meet(self, key: str) -> None:
        """A meta comes before what is below its version, as a dot comes before a slash."""
        if key.endswith(layout.META_END):
            self._metas.add(key.removesuffix(layout.META_END))

    def root_of(self, key: str) -> str | None:
        """The prefix that hides the key; None for a key that is told."""
        parent = key.rpartition("/")[0]
        if parent not in self._roots:
            above = self.root_of(parent)
            self._roots[parent] = above or (parent if parent in self._metas or _is_version(parent) else None)
        return self._roots[parent]


def _is_version(prefix: str) -> bool:
    piece = prefix.rpartition("/")[2]
    return any(scheme.is_full(piece) for scheme in all_schemes().values())
