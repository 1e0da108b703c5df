"""A project's catalog as readers and writers ask for it."""

from __future__ import annotations

from litestar import get, post
from litestar.params import FromQuery, JSONBody

from holdfast.formats.api import (
    AliasesRequest,
    AssetsReply,
    ConfigureRequest,
    DiffReply,
    EnlistRequest,
    FilesReply,
    ListedReply,
    MetaReply,
    NamesReply,
    ObjectsReply,
    StoreReply,
    TakenReply,
    VersionsRequest,
)
from holdfast.formats.records import AssetRecord, Claim
from holdfast.server import changing, given, reading, searching
from holdfast.server.access import Role

__all__ = ["handlers"]

_READER = {"role": Role.READER}
_WRITER = {"role": Role.WRITER}


@get("/store", opt=_READER, sync_to_thread=True)
def get_store(project: given.Project, service: given.Service) -> StoreReply:
    """The store behind the project."""
    return reading.store_reply(project, service.clock)


@post("/store", opt=_WRITER, status_code=200, sync_to_thread=True)
def make_store(project: given.Project, service: given.Service) -> StoreReply:
    """The same; the store's record is made where it is absent."""
    return reading.store_reply(project, service.clock, create=True)


@get("/names", opt=_READER, sync_to_thread=True)
def names(
    project: given.Project,
    service: given.Service,
    after: FromQuery[str | None] = None,
    limit: FromQuery[int | None] = None,
) -> NamesReply:
    """Names in order."""
    service.scans.ensure(project)
    return searching.names(service.database, project.id, after, limit)


@get("/assets", opt=_READER, sync_to_thread=True)
def list_assets(
    project: given.Project,
    service: given.Service,
    pattern: FromQuery[str | None] = None,
    after: FromQuery[str | None] = None,
    limit: FromQuery[int | None] = None,
) -> AssetsReply:
    """Assets in order, with what a list shows of them."""
    service.scans.ensure(project)
    return searching.list_assets(service.database, project.id, pattern, after, limit)


@get("/search", opt=_READER, sync_to_thread=True)
def search(
    project: given.Project,
    service: given.Service,
    q: FromQuery[str] = "",
    label: FromQuery[str | None] = None,
    after: FromQuery[str | None] = None,
    limit: FromQuery[int | None] = None,
) -> AssetsReply:
    """Assets in whose names, messages or labels all the words are found."""
    service.scans.ensure(project)
    return searching.search(service.database, project.id, q, label, after, limit)


@get("/listed", opt=_READER, sync_to_thread=True)
def listed(project: given.Project, name: FromQuery[str]) -> ListedReply:
    """An asset's list."""
    return reading.listed(project.catalog, name)


@get("/record", opt=_READER, sync_to_thread=True)
def record(project: given.Project, name: FromQuery[str]) -> AssetRecord:
    """An asset's aliases, tombstones and holds."""
    return reading.record(project.catalog, name)


@get("/meta", opt=_READER, sync_to_thread=True)
def meta(project: given.Project, name: FromQuery[str], version: FromQuery[str]) -> MetaReply:
    """The meta of a version."""
    return reading.meta(project.catalog, name, version)


@get("/taken", opt=_READER, sync_to_thread=True)
def taken(project: given.Project, name: FromQuery[str]) -> TakenReply:
    """The numbers in use."""
    return reading.taken(project.catalog, name)


@get("/written", opt=_READER, sync_to_thread=True)
def written(project: given.Project, name: FromQuery[str]) -> dict[str, float]:
    """When the meta of each version was written."""
    return reading.written(project.catalog, name)


@get("/claim", opt=_READER, sync_to_thread=True)
def claim(project: given.Project, name: FromQuery[str], version: FromQuery[str]) -> Claim:
    """Who holds a number."""
    return reading.claim(project.catalog, name, version)


@get("/files", opt=_READER, sync_to_thread=True)
def files(
    project: given.Project,
    spec: FromQuery[str],
    after: FromQuery[str | None] = None,
    limit: FromQuery[int | None] = None,
) -> FilesReply:
    """A page of a version's entries."""
    return reading.files(project.store, project.catalog, spec, after, limit)


@get("/diff", opt=_READER, sync_to_thread=True)
def diff(project: given.Project, one: FromQuery[str], other: FromQuery[str]) -> DiffReply:
    """What changed from one version to another."""
    return reading.diff(project.store, project.catalog, one, other)


@get("/list", opt=_READER, sync_to_thread=True)
def list_objects(
    project: given.Project,
    prefix: FromQuery[str] = "",
    after: FromQuery[str | None] = None,
    limit: FromQuery[int | None] = None,
    level: FromQuery[bool] = False,
) -> ObjectsReply:
    """Objects below a prefix."""
    return reading.objects(project.store, prefix, after, limit, level=level)


@post("/enlist", opt=_WRITER, status_code=200, sync_to_thread=True)
def enlist(project: given.Project, data: JSONBody[EnlistRequest], service: given.Service) -> ListedReply:
    """Whole versions into the list, and removed ones out of it."""
    now, reply = service.now(), changing.enlist(project, data)
    service.copies.follow(project, data.name, now, data.versions)
    return reply


@post("/aliases", opt=_WRITER, status_code=200, sync_to_thread=True)
def aliases(
    project: given.Project, data: JSONBody[AliasesRequest], service: given.Service, actor: given.Actor
) -> AssetRecord:
    """Set or remove aliases."""
    now, reply = service.now(), changing.set_aliases(project, data)
    service.copies.follow(project, data.name, now)
    service.noted(actor, "aliases", data.name, project.name)
    return reply


@post("/remove", opt=_WRITER, status_code=200, sync_to_thread=True)
def remove(
    project: given.Project, data: JSONBody[VersionsRequest], service: given.Service, actor: given.Actor
) -> AssetRecord:
    """Tombstones, then the list."""
    now, reply = service.now(), changing.remove(project, data)
    service.copies.follow(project, data.name, now)
    service.noted(actor, "remove", f"{data.name}:{','.join(data.versions)}"[:500], project.name)
    return reply


@post("/restore", opt=_WRITER, status_code=200, sync_to_thread=True)
def restore(
    project: given.Project, data: JSONBody[VersionsRequest], service: given.Service, actor: given.Actor
) -> AssetRecord:
    """Tombstones taken back, within the undo window."""
    now, reply = service.now(), changing.restore(project, data)
    service.copies.follow(project, data.name, now, data.versions)
    service.noted(actor, "restore", f"{data.name}:{','.join(data.versions)}"[:500], project.name)
    return reply


@post("/configure", opt={"role": Role.ADMIN}, status_code=200, sync_to_thread=True)
def configure(
    project: given.Project, data: JSONBody[ConfigureRequest], service: given.Service, actor: given.Actor
) -> StoreReply:
    """Change a limit or default of the store."""
    project.catalog.configure(data.key, data.value)
    service.noted(actor, "configure", data.key, project.name)
    return reading.store_reply(project, service.clock)


handlers = [
    get_store,
    make_store,
    names,
    list_assets,
    search,
    listed,
    record,
    meta,
    taken,
    written,
    claim,
    files,
    diff,
    list_objects,
    enlist,
    aliases,
    remove,
    restore,
    configure,
]
