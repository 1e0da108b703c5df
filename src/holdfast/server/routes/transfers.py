"""Leave to read and write objects of the bucket directly."""

from __future__ import annotations

from litestar import post
from litestar.params import JSONBody

from holdfast.formats.api import GrantsReply, KeysRequest, UploadsRequest
from holdfast.server import given, transfers
from holdfast.server.access import Role

__all__ = ["handlers"]


@post("/downloads", opt={"role": Role.READER}, status_code=200, sync_to_thread=True)
def downloads(project: given.Project, data: JSONBody[KeysRequest], service: given.Service) -> GrantsReply:
    """URLs to GET objects."""
    return transfers.downloads(project.store, data.keys, service.now())


@post("/uploads", opt={"role": Role.WRITER}, status_code=200, sync_to_thread=True)
def uploads(project: given.Project, data: JSONBody[UploadsRequest], service: given.Service) -> GrantsReply:
    """URLs to create objects, of one length each."""
    return transfers.uploads(project, data, service.now())


handlers = [downloads, uploads]
