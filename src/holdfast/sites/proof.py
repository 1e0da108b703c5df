"""Proves a backup after it was written: by reading it back from its store.

The meta and the root are read; of the objects that the root needs, those that were not proven before on this machine are read
whole, piece by piece against their digests, and the others must be there with the length that they had. Objects never change, so
what a backup costs here goes with what is new in it. A drill reads everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.cache.work import write_whole
from holdfast.errors import IntegrityError, ObjectNotFoundError
from holdfast.formats import layout
from holdfast.formats.container import PACK, PAGES
from holdfast.model.digest import digest_of
from holdfast.transfer.objects import prove, read_container

if TYPE_CHECKING:
    from pathlib import Path

    from holdfast.repository import Repository

__all__ = ["prove_version"]


def prove_version(repository: Repository, name: str, version: str) -> int:
    """Prove a version of layout ``packs``; how many objects were read whole.

    Raises:
        IntegrityError: something is missing, or not what it must be; the object is named.
    """
    meta = repository.catalog.published(name, version).meta
    if meta.root is None:
        raise IntegrityError(f"{name}:{version} is not in packs", subject=f"{name}:{version}")
    root, _ = repository.local.packed(name, version, meta).root()
    record = _record(repository)
    known = _read(record)
    needed = {layout.pack_key(each): PACK for each in root.packs} | {
        layout.pages_key(each): PAGES for each in root.objects
    }
    fresh = [key for key in needed if key not in known]
    repository.engine.run(lambda key: _look(repository, key, known[key]), [key for key in needed if key in known])
    for key in fresh:
        data = read_container(repository.store, repository.engine, key)
        prove(data, key, needed[key])
        known[key] = len(data)
    if fresh:
        write_whole(record, "".join(f"{known[key]} {key}\n" for key in sorted(known)).encode())
    return len(fresh)


def _look(repository: Repository, key: str, size: int) -> None:
    try:
        found = repository.store.head(key).size
    except ObjectNotFoundError:
        raise IntegrityError(f"{key} is missing, though a version needs it", subject=key) from None
    if found != size:
        raise IntegrityError(f"{key} has {found} bytes instead of {size}", subject=key)


def _record(repository: Repository) -> Path:
    return repository.state / "proven" / digest_of(repository.local.place.encode())[:32]


def _read(record: Path) -> dict[str, int]:
    """What was proven before; nothing where that cannot be read."""
    try:
        lines = record.read_text("utf-8").splitlines()
        return {key: int(size) for size, _, key in (line.partition(" ") for line in lines)}
    except (OSError, ValueError):
        return {}
