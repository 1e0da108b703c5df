"""Leave to read and write objects of the bucket directly."""

from __future__ import annotations

from litestar import post
from litestar.params import FromPath, JSONBody

from holdfast.formats.api import (
    GrantsReply,
    KeysRequest,
    MetadataReply,
    MetadataRequest,
    ObjectStat,
    PartsDone,
    PartsReply,
    PartsRequest,
    TakeReply,
    TakeRequest,
    UploadsRequest,
)
from holdfast.server import given, parts, taking, transfers
from holdfast.server.access import Role
from holdfast.server.metadata import metadata as objects_by_url

__all__ = ["handlers"]


@post("/downloads", opt={"role": Role.READER}, status_code=200, sync_to_thread=True)
def downloads(project: given.Project, data: JSONBody[KeysRequest], service: given.Service) -> GrantsReply:
    """URLs to GET objects."""
    return transfers.downloads(project.store, data.keys, service.now())


@post("/uploads", opt={"role": Role.WRITER}, status_code=200, sync_to_thread=True)
def uploads(project: given.Project, data: JSONBody[UploadsRequest], service: given.Service) -> GrantsReply:
    """URLs to create objects, of one length each."""
    return transfers.uploads(project, data, service.now())


@post("/metadata", opt={"role": Role.READER}, status_code=200, sync_to_thread=True)
def metadata(project: given.Project, data: JSONBody[MetadataRequest]) -> MetadataReply:
    """What is known of objects by their bucket URLs."""
    return objects_by_url(project, data.urls)


@post("/pushes/{push:str}/take", opt={"role": Role.WRITER}, status_code=200)
async def take(
    project: given.Project, push: FromPath[str], data: JSONBody[TakeRequest], service: given.Service
) -> TakeReply:
    """What the push wrote through a mount, to its keys; waits for it."""
    return await taking.take(project, service.database, push, data)


@post("/parts", opt={"role": Role.WRITER}, status_code=200, sync_to_thread=True)
def begin_parts(project: given.Project, data: JSONBody[PartsRequest], service: given.Service) -> PartsReply:
    """A large object in parts: begin, or URLs for more of them."""
    return parts.begin(project, data, service.now())


@post("/parts/complete", opt={"role": Role.WRITER}, status_code=200, sync_to_thread=True)
def complete_parts(project: given.Project, data: JSONBody[PartsDone], service: given.Service) -> ObjectStat:
    """Make one object of the parts."""
    return parts.complete(project, service.database, data)


handlers = [downloads, uploads, metadata, take, begin_parts, complete_parts]
