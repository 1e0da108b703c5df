"""What a server and its clients say of objects and transfers: a part of :mod:`holdfast.formats.api`, which has it all."""

# ruff: noqa: RUF012 - msgspec gives each value a copy of an empty default
from __future__ import annotations

from holdfast.formats.messages import Reply, Request

__all__ = [
    "Grant",
    "GrantsReply",
    "KeysRequest",
    "MetadataReply",
    "MetadataRequest",
    "MetadataRow",
    "ObjectStat",
    "ObjectsReply",
    "PartsDone",
    "PartsReply",
    "PartsRequest",
    "Staged",
    "TakeReply",
    "TakeRequest",
    "Upload",
    "UploadsRequest",
]


class Grant(Reply, frozen=True):
    """Leave to GET or PUT one object until ``expires``. Without a URL, it goes through ``objects?key=`` of the server.

    ``headers`` are part of the signature and must be sent as they are. ``size`` and ``etag`` where the server knows them.
    """

    key: str
    url: str | None = None
    headers: dict[str, str] = {}
    expires: float = 0.0
    size: int | None = None
    etag: str | None = None


class GrantsReply(Reply, frozen=True):
    """In the order of the keys asked for; ``now`` tells the client how far its clock is off."""

    grants: list[Grant]
    now: float


class ObjectStat(Reply, frozen=True):
    """What a store tells of an object: as store.base.ObjectInfo."""

    key: str
    size: int
    version: str
    modified: float
    etag: str | None = None


class ObjectsReply(Reply, frozen=True):
    """Objects below a prefix, by key; with ``level`` one level only and the prefixes one piece longer."""

    objects: list[ObjectStat]
    prefixes: list[str] = []
    next: str | None = None


class MetadataRequest(Request, frozen=True):
    """Bucket URLs (``s3://bucket/key``) inside the project's own URL."""

    urls: list[str]


class MetadataRow(Reply, frozen=True):
    """What is known of the object at a URL; ``found`` is False where there is none. ``checksums`` by algorithm, as the store
    writes them.
    """

    url: str
    found: bool = True
    size: int | None = None
    version: str | None = None
    etag: str | None = None
    md5: str | None = None
    modified: float | None = None
    checksums: dict[str, str] = {}


class MetadataReply(Reply, frozen=True):
    """In the order of the URLs asked for."""

    objects: list[MetadataRow]


class KeysRequest(Request, frozen=True):
    """Keys relative to the project's store."""

    keys: list[str]


class Upload(Request, frozen=True):
    """An object to be: its key and length; ``md5`` in base64 where the client knows it."""

    key: str
    size: int
    md5: str | None = None


class UploadsRequest(Request, frozen=True):
    """Objects that the push will write: packs, pages, or data under its own claim."""

    push: str
    objects: list[Upload]


class Staged(Request, frozen=True):
    """An object that the push wrote through a mount: ``piece`` of ``layout.staged_key``, the key that it is meant for, its length, and
    the MD5 of its bytes in hex where the client knows it.
    """

    piece: str
    key: str
    size: int
    md5: str | None = None


class TakeRequest(Request, frozen=True):
    """Objects to be taken to their keys, at most 1,000, once each shows its length in the store. ``wait``: for so many seconds at most
    (the server may answer earlier). Asked again for what was taken already, the server says so again.
    """

    objects: list[Staged]
    wait: float = 20.0


class TakeReply(Reply, frozen=True):
    """The pieces that are under their keys now, and those that the store does not show whole yet: to be asked for again.

    An object under a key that has another length (or other bytes, where the store tells them apart) is ``already_exists``.
    """

    taken: list[str]
    waiting: list[str] = []


class PartsRequest(Request, frozen=True):
    """A large object in parts: begun where ``upload`` is None, else more URLs for these part numbers."""

    push: str
    key: str
    size: int
    upload: str | None = None
    numbers: list[int] = []


class PartsReply(Reply, frozen=True):
    """The upload's id, the length of each part but the last, and grants for the parts, whose ``key`` is their number."""

    upload: str
    part: int
    grants: list[Grant]
    now: float


class PartsDone(Request, frozen=True):
    """Every part's tag, in order."""

    push: str
    key: str
    size: int
    upload: str
    tags: list[str]
