"""Grants: leave to GET or PUT single objects of the bucket for a quarter of an hour, in batches.

What the store cannot sign gets a grant without a URL, and goes through the server (:mod:`holdfast.server.streams`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.errors import UnsupportedError, UsageError
from holdfast.formats import layout
from holdfast.formats.api import BATCH, Grant, GrantsReply
from holdfast.server import pushing
from holdfast.server.borders import readable, writable
from holdfast.store.base import SignsUploads, UploadWish

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.catalog.base import OpenPush, Published
    from holdfast.formats.api import UploadsRequest
    from holdfast.server.access import OpenProject
    from holdfast.store.base import Store

__all__ = ["SECONDS", "beginning", "checked_batch", "downloads", "to_write", "uploads"]

#: How long a grant is good for.
SECONDS: Final = 15 * 60


def downloads(store: Store, keys: Sequence[str], now: float) -> GrantsReply:
    """Leave to GET objects.

    Raises:
        AccessError: a key that is none of the store's.
        UsageError: more than a batch.
    """
    checked_batch(keys)
    return GrantsReply(_grants(store, [readable(key) for key in keys], now), now)


def beginning(store: Store, published: Published, name: str, version: str, most: int, now: float) -> list[Grant]:
    """Leave to GET what a fetch of this version begins with: the file, the archive, the root, or the first files of a tree."""
    key = layout.data_key(name, version)
    meta = published.meta
    keys = [key]
    if meta.layout == "tree":
        files = meta.manifest.files if meta.manifest is not None else ()
        keys = [layout.file_key(name, version, entry.path) for entry in files[: min(most, BATCH)]]
    return _grants(store, keys[:most], now)


def uploads(project: OpenProject, asked: UploadsRequest, now: float) -> GrantsReply:
    """Leave to create objects of one length each, for an open push of the account's own.

    Raises:
        AccessError: a key that this push may not write, or a push that is not the account's.
        UsageError: more than a batch, or a length that cannot be.
    """
    checked_batch(asked.objects)
    allowed = to_write(project, asked.push)
    for each in asked.objects:
        allowed(each.key, each.size)
    store = project.store
    if not (isinstance(store, SignsUploads) and store.signs_uploads):
        return GrantsReply([Grant(each.key) for each in asked.objects], now)
    wishes = [UploadWish(each.key, each.size, each.md5) for each in asked.objects]
    signed = store.sign_uploads(wishes, SECONDS)
    pairs = zip(asked.objects, signed, strict=True)
    return GrantsReply([Grant(w.key, s.url, s.headers, now + SECONDS, w.size) for w, s in pairs], now)


def to_write(project: OpenProject, push_id: str) -> Callable[[str, int], OpenPush]:
    """What says of a key that this push may write so many bytes there, or raises; the push's record and claims are read once.

    Raises:
        AccessError: the push is not the account's.
        ConflictError: it has ended, or is past its limit.
    """
    push = pushing.found(project, push_id)
    project.catalog.renew(push)
    known: dict[str, bool] = {}

    def claims(version: str) -> bool:
        if version not in known:
            held = project.catalog.claim_of(push.name, version)
            known[version] = held is not None and held.push == push.id
        return known[version]

    def check(key: str, size: int) -> OpenPush:
        writable(key, size, push.id, push.name, claims)
        return push

    return check


def checked_batch(items: Sequence[object]) -> None:
    """Refuse more than a batch.

    Raises:
        UsageError: there are more.
    """
    if len(items) > BATCH:
        raise UsageError(f"{len(items)} in one request: at most {BATCH}")


def _grants(store: Store, keys: Sequence[str], now: float) -> list[Grant]:
    if keys and isinstance(store, SignsUploads):
        try:
            urls = store.sign_downloads(keys, SECONDS)
        except UnsupportedError:
            urls = []
        if urls:
            pairs = zip(keys, urls, strict=True)
            return [Grant(key) if url is None else Grant(key, url, {}, now + SECONDS) for key, url in pairs]
    return [Grant(key) for key in keys]
