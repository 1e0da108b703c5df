"""What a Holdfast server and its clients say to each other under ``/api/v1``: one type for both ends (msgspec, JSON).

Names and keys hold slashes, so they travel as query parameters or in bodies, never as pieces of a path. Bytes are base64.
Moments are seconds since the epoch by the server's clock. A failure is an :class:`ErrorReply` with the status that
:data:`holdfast.errors.KINDS` gives its kind; a request whose body is not of its type is a ``usage`` error.

Routes of one project, below ``/api/v1/projects/{project}`` (role: reader, writer or admin of that project)::

    GET  store                               reader  StoreReply
    POST store                               writer  StoreReply        makes .holdfast/store.json where it is absent
    GET  resolve?spec&grants                 reader  ResolveReply      one request: which version, its meta, URLs to begin with
    GET  names?after&limit                   reader  NamesReply
    GET  assets?pattern&after&limit          reader  AssetsReply
    GET  search?q&label&after&limit          reader  AssetsReply
    GET  listed?name                         reader  ListedReply
    GET  record?name                         reader  AssetRecord
    GET  meta?name&version                   reader  MetaReply
    GET  taken?name                          reader  TakenReply
    GET  written?name                        reader  {version: seconds}
    GET  claim?name&version                  reader  Claim, or not_found
    GET  files?spec&after&limit              reader  FilesReply
    GET  diff?one&other                      reader  DiffReply
    GET  list?prefix&level&after&limit       reader  ObjectsReply      keys relative to the project's store
    POST metadata        MetadataRequest     reader  MetadataReply     for bucket URLs (the seed's "S3 proxy")
    POST downloads       KeysRequest         reader  GrantsReply       at most 1,000 keys
    GET  objects?key                         reader  bytes; Range and If-Match are understood; ETag and Last-Modified are told
    POST pushes          PushRequest         writer  PushReply
    POST pushes/{id}/renew|close             writer  PushReply         PushRequest
    POST pushes/{id}/claim|check|withdraw    writer  nothing           NumberRequest
    POST pushes/{id}/publish                 writer  MetaReply         PublishRequest: the commit, every object looked for
    POST uploads         UploadsRequest      writer  GrantsReply       create-only, of one length each; at most 1,000
    PUT  objects?key&push                    writer  ObjectStat        create-only, streamed through the server
    POST pushes/{id}/take                    writer  TakeReply         TakeRequest: what was written through a mount, to its keys
    POST parts           PartsRequest        writer  PartsReply        a large object in parts, begun by the server
    POST parts/complete  PartsDone           writer  ObjectStat
    POST enlist          EnlistRequest       writer  ListedReply
    POST aliases         AliasesRequest      writer  AssetRecord
    POST remove|restore  VersionsRequest     writer  AssetRecord
    POST configure       ConfigureRequest    admin   StoreReply

Everybody else's::

    GET  /api/v1/info                        nobody signed in   InfoReply
    POST /api/v1/login   LoginRequest        nobody signed in   TokenReply
    POST /api/v1/logout                      any token          nothing; the token is revoked
    GET  /api/v1/whoami                      any token          WhoamiReply
    GET  /api/v1/projects                    any token          [ProjectReply], those with a role
    GET|POST /api/v1/tokens                  any token          [TokenRow] · TokenRequest → TokenReply
    DELETE /api/v1/tokens/{id}               its owner, admins
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from holdfast.errors import UsageError
from holdfast.formats.records import StoreRecord  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = [
    "BATCH",
    "AliasesRequest",
    "AssetRow",
    "AssetsReply",
    "ConfigureRequest",
    "DiffReply",
    "EnlistRequest",
    "ErrorBody",
    "ErrorReply",
    "FileRow",
    "FilesReply",
    "Grant",
    "GrantsReply",
    "InfoReply",
    "KeysRequest",
    "ListedReply",
    "LoginRequest",
    "MetaReply",
    "MetadataReply",
    "MetadataRequest",
    "MetadataRow",
    "NamesReply",
    "NumberRequest",
    "ObjectStat",
    "ObjectsReply",
    "PartsDone",
    "PartsReply",
    "PartsRequest",
    "ProjectReply",
    "PublishRequest",
    "PushReply",
    "PushRequest",
    "ResolveReply",
    "Staged",
    "StoreReply",
    "TakeReply",
    "TakeRequest",
    "TakenReply",
    "TokenReply",
    "TokenRequest",
    "TokenRow",
    "UploadsRequest",
    "VersionsRequest",
    "WhoamiReply",
    "decode_reply",
    "decode_request",
    "encode",
]

#: Keys, URLs or grants in one request, at most.
BATCH = 1000

Role = Literal["reader", "writer", "admin"]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a client sends; a field that the server does not know is an error, not a silence."""


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a server answers; a client ignores fields that it does not know."""


class ErrorBody(Reply):
    """A failure: kind (see errors.KINDS), what happened, what to do, to what; ``name`` of the class in errors, which is finer."""

    kind: str
    message: str
    hint: str | None = None
    subject: str | None = None
    name: str | None = None


class ErrorReply(Reply):
    """The body of every answer that is no success."""

    error: ErrorBody


class StoreReply(Reply):
    """The store behind a project: ``url`` is the bucket's, by which a client finds its mount of it."""

    url: str
    record: StoreRecord | None
    now: float
    create: bool = True
    replace: bool = True
    reason: str | None = None
    signs_get: bool = False
    signs_put: bool = False


class Grant(Reply):
    """Leave to GET or PUT one object until ``expires``. Without a URL, it goes through ``objects?key=`` of the server.

    ``headers`` are part of the signature and must be sent as they are. ``size`` and ``etag`` where the server knows them.
    """

    key: str
    url: str | None = None
    headers: dict[str, str] = {}
    expires: float = 0.0
    size: int | None = None
    etag: str | None = None


class GrantsReply(Reply):
    """In the order of the keys asked for; ``now`` tells the client how far its clock is off."""

    grants: list[Grant]
    now: float


class ResolveReply(Reply):
    """The version that a spec names, its meta as it lies in the store, the id that a tombstone of it would name, and
    grants for the objects that a fetch begins with (the file, the archive, the root, or the first files of a tree).
    """

    name: str
    version: str
    id: str
    data: bytes
    grants: list[Grant] = []
    now: float = 0.0


class NamesReply(Reply):
    """Names in order; ``next`` is what to give as ``after``, None at the end."""

    names: list[str]
    next: str | None = None


class AssetRow(Reply):
    """An asset in a list: as AssetSummary."""

    name: str
    latest: str | None
    versions: int
    aliases: dict[str, str] = {}
    bytes: int | None = None
    problem: str | None = None
    message: str | None = None
    who: str | None = None
    pushed: str | None = None


class AssetsReply(Reply):
    """A page of assets by name."""

    assets: list[AssetRow]
    next: str | None = None


class ListedReply(Reply):
    """An asset's list: as catalog.base.Listed, the scheme by name; ``token`` is None where there is no such asset."""

    versions: list[str]
    unknown: list[str]
    scheme: str
    token: str | None = None
    merged: bool = False


class MetaReply(Reply):
    """A meta as it lies in the store, and its id."""

    id: str
    data: bytes


class TakenReply(Reply):
    """The numbers in use: as catalog.base.Taken."""

    metas: list[str]
    data: list[str]
    claims: list[str]


class FileRow(Reply):
    """An entry of a version."""

    path: str
    kind: Literal["file", "dir", "link"] = "file"
    bytes: int = 0
    mode: int | None = None
    mtime: int | None = None
    digest: str | None = None
    target: str | None = None


class FilesReply(Reply):
    """A page of a version's entries, by path."""

    name: str
    version: str
    files: list[FileRow]
    next: str | None = None


class DiffReply(Reply):
    """As ``asset diff --json``."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    bytes_added: int
    bytes_removed: int


class ObjectStat(Reply):
    """What a store tells of an object: as store.base.ObjectInfo."""

    key: str
    size: int
    version: str
    modified: float
    etag: str | None = None


class ObjectsReply(Reply):
    """Objects below a prefix, by key; with ``level`` one level only and the prefixes one piece longer."""

    objects: list[ObjectStat]
    prefixes: list[str] = []
    next: str | None = None


class MetadataRequest(Request):
    """Bucket URLs (``s3://bucket/key``) inside the project's own URL."""

    urls: list[str]


class MetadataRow(Reply):
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


class MetadataReply(Reply):
    """In the order of the URLs asked for."""

    objects: list[MetadataRow]


class KeysRequest(Request):
    """Keys relative to the project's store."""

    keys: list[str]


class PushRequest(Request):
    """A push: its id (32 hex digits, chosen by the client), the asset, when it began (ISO 8601)."""

    id: str
    name: str
    started: str


class PushReply(Reply):
    """An open push; ``limit`` in seconds from its start."""

    id: str
    name: str
    started: str
    renewed: str
    limit: float


class NumberRequest(Request):
    """A number of an asset."""

    name: str
    version: str


class PublishRequest(Request):
    """The meta to write (its bytes; who and when are the server's word), after which the version is whole.

    ``parent`` is the version that must still be the newest (that of the meta, where the push named one), else ``conflict``.
    """

    name: str
    version: str
    meta: bytes
    parent: str | None = None


class Upload(Request):
    """An object to be: its key and length; ``md5`` in base64 where the client knows it."""

    key: str
    size: int
    md5: str | None = None


class UploadsRequest(Request):
    """Objects that the push will write: packs, pages, or data under its own claim."""

    push: str
    objects: list[Upload]


class Staged(Request):
    """An object that the push wrote through a mount: ``piece`` of ``layout.staged_key``, the key that it is meant for, its length, and
    the MD5 of its bytes in hex where the client knows it.
    """

    piece: str
    key: str
    size: int
    md5: str | None = None


class TakeRequest(Request):
    """Objects to be taken to their keys, at most 1,000, once each shows its length in the store. ``wait``: for so many seconds at most
    (the server may answer earlier). Asked again for what was taken already, the server says so again.
    """

    objects: list[Staged]
    wait: float = 20.0


class TakeReply(Reply):
    """The pieces that are under their keys now, and those that the store does not show whole yet: to be asked for again.

    An object under a key that has another length (or other bytes, where the store tells them apart) is ``already_exists``.
    """

    taken: list[str]
    waiting: list[str] = []


class PartsRequest(Request):
    """A large object in parts: begun where ``upload`` is None, else more URLs for these part numbers."""

    push: str
    key: str
    size: int
    upload: str | None = None
    numbers: list[int] = []


class PartsReply(Reply):
    """The upload's id, the length of each part but the last, and grants for the parts, whose ``key`` is their number."""

    upload: str
    part: int
    grants: list[Grant]
    now: float


class PartsDone(Request):
    """Every part's tag, in order."""

    push: str
    key: str
    size: int
    upload: str
    tags: list[str]


class EnlistRequest(Request):
    """Whole versions to be listed."""

    name: str
    versions: list[str]


class AliasesRequest(Request):
    """Aliases to set, or to remove (None)."""

    name: str
    changes: dict[str, str | None]


class VersionsRequest(Request):
    """Full versions of an asset."""

    name: str
    versions: list[str]


class ConfigureRequest(Request):
    """A limit or default of the store; None takes it away."""

    key: str
    value: str | None = None


class InfoReply(Reply):
    """What the server says to anybody: its release, and how one may sign in."""

    version: str
    api: int = 1
    login: list[Literal["password", "oidc"]] = []


class LoginRequest(Request):
    """A local account; the token is for these scopes, by default all that the account may."""

    name: str
    password: str
    label: str | None = None


class TokenRequest(Request):
    """A token of one's own: for how long (seconds), for which project (None: all), with which role at most (None: one's own)."""

    label: str | None = None
    expires: int | None = None
    project: str | None = None
    role: Role | None = None


class TokenRow(Reply):
    """A token as it is listed; never its text."""

    id: str
    label: str | None
    created: float
    expires: float
    project: str | None = None
    role: Role | None = None
    used: float | None = None


class TokenReply(Reply):
    """A new token, the only time that its text is told."""

    token: str
    row: TokenRow
    name: str


class ProjectReply(Reply):
    """A project that one has a role in: ``url`` is its bucket's, ``store`` the id in its store.json where there is one."""

    name: str
    role: Role
    url: str
    store: str | None = None


class WhoamiReply(Reply):
    """Who a token belongs to."""

    name: str
    admin: bool
    service: bool
    groups: list[str]
    token: TokenRow
    projects: list[ProjectReply] = []


_encoder = msgspec.json.Encoder()
Any_ = TypeVar("Any_")


def encode(value: Any) -> bytes:
    """The JSON of a request or reply."""
    return _encoder.encode(value)


def decode_request(data: ReadableBuffer, kind: type[Any_]) -> Any_:
    """A request of a type.

    Raises:
        UsageError: it is none.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the request is no {kind.__name__}: {error}") from None


def decode_reply(data: ReadableBuffer, kind: type[Any_]) -> Any_ | None:
    """A reply of a type, or None where it is none: the client then says what it got."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
