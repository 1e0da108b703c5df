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
    GET  objects?key                         reader  bytes; Range and If-Match (else 412) are understood; ETag, the object's version, and
                                                     Last-Modified are told; HEAD tells them without the bytes
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

# ruff: noqa: RUF012 - msgspec gives each value a copy of an empty default
from __future__ import annotations

from typing import Literal

from holdfast.formats.messages import Reply, Request, decode_reply, decode_request, encode
from holdfast.formats.records import StoreRecord  # noqa: TC001 - msgspec reads the annotations
from holdfast.formats.transfers import (
    Grant,
    GrantsReply,
    KeysRequest,
    MetadataReply,
    MetadataRequest,
    MetadataRow,
    ObjectsReply,
    ObjectStat,
    PartsDone,
    PartsReply,
    PartsRequest,
    Staged,
    TakeReply,
    TakeRequest,
    Upload,
    UploadsRequest,
)

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
    "Reply",
    "Request",
    "ResolveReply",
    "Role",
    "Staged",
    "StoreReply",
    "TakeReply",
    "TakeRequest",
    "TakenReply",
    "TokenReply",
    "TokenRequest",
    "TokenRow",
    "Upload",
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


class ErrorBody(Reply, frozen=True):
    """A failure: kind (see errors.KINDS), what happened, what to do, to what; ``name`` of the class in errors, which is finer."""

    kind: str
    message: str
    hint: str | None = None
    subject: str | None = None
    name: str | None = None


class ErrorReply(Reply, frozen=True):
    """The body of every answer that is no success."""

    error: ErrorBody


class StoreReply(Reply, frozen=True):
    """The store behind a project: ``url`` is the bucket's, by which a client finds its mount of it."""

    url: str
    record: StoreRecord | None
    now: float
    create: bool = True
    replace: bool = True
    reason: str | None = None
    signs_get: bool = False
    signs_put: bool = False


class ResolveReply(Reply, frozen=True):
    """The version that a spec names, its meta as it lies in the store, the id that a tombstone of it would name, and
    grants for the objects that a fetch begins with (the file, the archive, the root, or the first files of a tree).
    """

    name: str
    version: str
    id: str
    data: bytes
    grants: list[Grant] = []
    now: float = 0.0


class NamesReply(Reply, frozen=True):
    """Names in order; ``next`` is what to give as ``after``, None at the end."""

    names: list[str]
    next: str | None = None


class AssetRow(Reply, frozen=True):
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


class AssetsReply(Reply, frozen=True):
    """A page of assets by name."""

    assets: list[AssetRow]
    next: str | None = None


class ListedReply(Reply, frozen=True):
    """An asset's list: as catalog.base.Listed, the scheme by name; ``token`` is None where there is no such asset."""

    versions: list[str]
    unknown: list[str]
    scheme: str
    token: str | None = None
    merged: bool = False


class MetaReply(Reply, frozen=True):
    """A meta as it lies in the store, and its id."""

    id: str
    data: bytes


class TakenReply(Reply, frozen=True):
    """The numbers in use: as catalog.base.Taken."""

    metas: list[str]
    data: list[str]
    claims: list[str]


class FileRow(Reply, frozen=True):
    """An entry of a version."""

    path: str
    kind: Literal["file", "dir", "link"] = "file"
    bytes: int = 0
    mode: int | None = None
    mtime: int | None = None
    digest: str | None = None
    target: str | None = None


class FilesReply(Reply, frozen=True):
    """A page of a version's entries, by path."""

    name: str
    version: str
    files: list[FileRow]
    next: str | None = None


class DiffReply(Reply, frozen=True):
    """As ``asset diff --json``."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    bytes_added: int
    bytes_removed: int


class PushRequest(Request, frozen=True):
    """A push: its id (32 hex digits, chosen by the client), the asset, when it began (ISO 8601)."""

    id: str
    name: str
    started: str


class PushReply(Reply, frozen=True):
    """An open push; ``limit`` in seconds from its start."""

    id: str
    name: str
    started: str
    renewed: str
    limit: float


class NumberRequest(Request, frozen=True):
    """A number of an asset."""

    name: str
    version: str


class PublishRequest(Request, frozen=True):
    """The meta to write (its bytes; who and when are the server's word), after which the version is whole.

    ``parent`` is the version that must still be the newest (that of the meta, where the push named one), else ``conflict``.
    """

    name: str
    version: str
    meta: bytes
    parent: str | None = None


class EnlistRequest(Request, frozen=True):
    """Whole versions to be listed."""

    name: str
    versions: list[str]


class AliasesRequest(Request, frozen=True):
    """Aliases to set, or to remove (None)."""

    name: str
    changes: dict[str, str | None]


class VersionsRequest(Request, frozen=True):
    """Full versions of an asset."""

    name: str
    versions: list[str]


class ConfigureRequest(Request, frozen=True):
    """A limit or default of the store; None takes it away."""

    key: str
    value: str | None = None


class InfoReply(Reply, frozen=True):
    """What the server says to anybody: its release, and how one may sign in; ``browser`` is whether programs are signed in by one."""

    version: str
    api: int = 1
    login: list[Literal["password", "oidc"]] = []
    browser: bool = False


class LoginRequest(Request, frozen=True):
    """A local account; the token is for these scopes, by default all that the account may."""

    name: str
    password: str
    label: str | None = None


class TokenRequest(Request, frozen=True):
    """A token of one's own: for how long (seconds), for which project (None: all), with which role at most (None: one's own)."""

    label: str | None = None
    expires: int | None = None
    project: str | None = None
    role: Role | None = None


class TokenRow(Reply, frozen=True):
    """A token as it is listed; never its text."""

    id: str
    label: str | None
    created: float
    expires: float
    project: str | None = None
    role: Role | None = None
    used: float | None = None


class TokenReply(Reply, frozen=True):
    """A new token, the only time that its text is told."""

    token: str
    row: TokenRow
    name: str


class ProjectReply(Reply, frozen=True):
    """A project that one has a role in: ``url`` is its bucket's, ``store`` the id in its store.json where there is one."""

    name: str
    role: Role
    url: str
    store: str | None = None


class WhoamiReply(Reply, frozen=True):
    """Who a token belongs to."""

    name: str
    admin: bool
    service: bool
    groups: list[str]
    token: TokenRow
    projects: list[ProjectReply] = []
