"""Whether every object that a meta promises is in the store, with its size: asked before the meta is written.

By listing, and not by a question for each: one listing of a tree's version; of packs and pages the shelves (by the first two letters
of their names) that the root's names stand on, or a question for each where those are fewer than the shelves would cost.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from holdfast.errors import ConflictError, IntegrityError, ObjectNotFoundError
from holdfast.formats import layout
from holdfast.formats.root import decode_root
from holdfast.model.digest import digest_of
from holdfast.transfer.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from holdfast.formats.convention import Meta
    from holdfast.formats.root import Root
    from holdfast.model.manifest import Entry
    from holdfast.store.base import Store

__all__ = ["check_objects"]

#: So many names on one shelf make listing it cheaper than asking for each.
_WORTH_LISTING: Final = 8
_AT_ONCE: Final = 16


def check_objects(store: Store, name: str, version: str, meta: Meta) -> None:
    """Look for every object of a version.

    Raises:
        ConflictError: one is missing or has another size, or the root is not the one that the meta names; it is named.
    """
    key = layout.data_key(name, version)
    if meta.layout == "packs":
        _check_packs(store, key, meta)
    elif meta.layout == "tree":
        files = meta.manifest.files if meta.manifest is not None else ()
        _check_tree(store, key, files)
    else:
        size = _size(store, key)
        if meta.layout == "file" and meta.manifest is not None:
            _check_size(key, size, meta.manifest.entries[0].size)


def _check_tree(store: Store, prefix: str, files: Iterable[Entry]) -> None:
    wanted = {f"{prefix}/{entry.path}": entry.size for entry in files}
    if not wanted:
        return
    sizes = {info.key: info.size for info in store.list(prefix) if info.key in wanted}
    for key, size in wanted.items():
        if key not in sizes:
            raise _missing(key)
        _check_size(key, sizes[key], size)


def _check_packs(store: Store, key: str, meta: Meta) -> None:
    root = _root(store, key, meta)
    if (sum(page.files for page in root.pages), sum(page.size for page in root.pages)) != (meta.files, meta.size):
        raise ConflictError(f"{key} holds other files than its meta says", subject=key)
    ends: dict[str, int] = {}
    for page in root.pages:
        where = layout.pages_key(page.object)
        ends[where] = max(ends.get(where, 0), page.offset + page.stored)
    wanted = dict.fromkeys(map(layout.pack_key, root.packs), 1) | ends
    sizes = _sizes(store, wanted)
    for each, least in wanted.items():
        if each not in sizes:
            raise _missing(each)
        if sizes[each] < least:
            raise ConflictError(f"{each} has {sizes[each]} bytes, fewer than {key} needs", subject=each)


def _root(store: Store, key: str, meta: Meta) -> Root:
    try:
        data = store.get(key).data
    except ObjectNotFoundError:
        raise _missing(key) from None
    if digest_of(data) != meta.root:
        raise ConflictError(f"{key} is not the root that its meta names", subject=key)
    try:
        return decode_root(data, key)
    except IntegrityError as error:
        raise ConflictError(error.message, subject=key) from error


def _sizes(store: Store, wanted: Mapping[str, int]) -> dict[str, int]:
    """The sizes of those that are there, several questions at a time."""
    shelves: defaultdict[str, list[str]] = defaultdict(list)
    for key in wanted:
        shelves[key.rpartition("/")[0]].append(key)
    alone = [key for keys in shelves.values() if len(keys) < _WORTH_LISTING for key in keys]
    whole = [shelf for shelf, keys in shelves.items() if len(keys) >= _WORTH_LISTING]
    engine = Engine(_AT_ONCE)
    sizes = dict(zip(alone, engine.run(lambda key: _size_or_none(store, key), alone), strict=True))
    for found in engine.run(lambda shelf: {info.key: info.size for info in store.list(shelf)}, whole):
        sizes |= {key: size for key, size in found.items() if key in wanted}
    return {key: size for key, size in sizes.items() if size is not None}


def _size_or_none(store: Store, key: str) -> int | None:
    try:
        return store.head(key).size
    except ObjectNotFoundError:
        return None


def _size(store: Store, key: str) -> int:
    size = _size_or_none(store, key)
    if size is None:
        raise _missing(key)
    return size


def _check_size(key: str, size: int, expected: int) -> None:
    if size != expected:
        raise ConflictError(f"{key} has {size} bytes, its meta says {expected}", subject=key)


def _missing(key: str) -> ConflictError:
    return ConflictError(
        f"{key} is not there, though the version needs it", subject=key, hint="send it, and commit again"
    )
