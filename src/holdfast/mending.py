"""Putting back what of a version in packs is lost: its root and pages objects, from the manifests on this machine.

Both are told by their digests, so what is put back is what was there. Packs cannot be made anew from here: which files went
with them is said.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.catalog.condemned import read_condemned
from holdfast.errors import IntegrityError, NotFoundError, ObjectNotFoundError
from holdfast.formats import layout as keys
from holdfast.formats.container import PAGES, encode_table
from holdfast.formats.root import MAGIC
from holdfast.model.chunk import CODEC_ZSTD
from holdfast.model.result import Finding
from holdfast.store.base import CREATE, OVERWRITE, PutMode
from holdfast.transfer.manifests import opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.cache.manifests import LocalManifest
    from holdfast.formats.convention import Meta
    from holdfast.formats.root import Page
    from holdfast.transfer.proving import Damage
    from holdfast.verify import Verifier

__all__ = ["mend"]

_PAGES_FOLDER: Final = keys.PAGES + "/"


def mend(verifier: Verifier, name: str, version: str, *, dry_run: bool) -> Iterator[Finding]:
    """What is wrong with a version in packs, and what of it was put back; nothing for versions of other layouts."""
    try:
        meta = verifier.repository.catalog.published(name, version).meta
    except (IntegrityError, NotFoundError):
        return
    if meta.layout != "packs":
        return
    spec = f"{name}:{version}"
    try:
        damages = verifier.damages(name, version, meta)
    except IntegrityError as error:
        if not _mend_root(verifier, name, version, meta, dry_run=dry_run):
            yield Finding(spec, error.kind, error.message)
            return
        yield Finding(spec, "repaired", f"{keys.data_key(name, version)} was lost: put back from this machine")
        damages = [] if dry_run else verifier.damages(name, version, meta)
    for damage in damages:
        yield _mended(verifier, name, spec, damage, dry_run=dry_run)


def _mended(verifier: Verifier, name: str, spec: str, damage: Damage, *, dry_run: bool) -> Finding:
    if damage.key.startswith(_PAGES_FOLDER) and _mend_pages(verifier, name, damage.key, dry_run=dry_run):
        return Finding(spec, "repaired", f"{damage.key} was lost: put back from this machine")
    return Finding(spec, "integrity", str(damage))


def _mend_root(verifier: Verifier, name: str, version: str, meta: Meta, *, dry_run: bool) -> bool:
    """Put the root back. Whatever lies there and is no root of ours may be another program's, and stays."""
    store, key = verifier.repository.store, keys.data_key(name, version)
    local = verifier.repository.local.manifests.local.find(name, version, meta.root or "")
    if local is None:
        return False
    mode: PutMode = CREATE
    with suppress(ObjectNotFoundError):
        if bytes(store.get_range(key, 0, len(MAGIC)).data) != MAGIC:
            return False
        mode = OVERWRITE
    if not dry_run:
        store.put(key, local.data(), mode)
    return True


def _mend_pages(verifier: Verifier, name: str, key: str, *, dry_run: bool) -> bool:
    """Put a pages object back, if all that was in it is known here, and its name is not condemned."""
    store, wanted = verifier.repository.store, key.rpartition("/")[2]
    manifests = verifier.repository.local.manifests.local.known(name)
    data = _rebuilt(wanted, manifests)
    if data is None or wanted in read_condemned(store):
        return False
    if not dry_run:
        store.put(key, data)
        verifier.prover.forget(key)
    return True


def _rebuilt(wanted: str, manifests: list[LocalManifest]) -> bytes | None:
    """The object of this name, from the pages that lie in it; None where some are not known here, or it had a salt."""
    pieces: dict[int, tuple[Page, bytes]] = {}
    for manifest in manifests:
        with suppress(OSError, IntegrityError):
            for page, stored in manifest.pages():
                if page.object == wanted:
                    opened(page, stored)
                    pieces[page.offset] = page, stored
    found = [pieces[offset] for offset in sorted(pieces)]
    pages = [page for page, _ in found]
    name, tail = encode_table(
        [page.stored for page in pages],
        [page.raw for page in pages],
        bytes([CODEC_ZSTD]) * len(pages),
        b"".join(page.digest for page in pages),
        magic=PAGES,
    )
    return b"".join([*(stored for _, stored in found), tail]) if name.hex() == wanted else None
