"""The one question that a fetch begins with: which version a spec names, its meta, and leave to read what comes first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from litestar import MediaType, Request, Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery

from holdfast.errors import UsageError
from holdfast.formats.api import BATCH, ResolveReply, encode
from holdfast.server import given, transfers
from holdfast.server.access import Role

if TYPE_CHECKING:
    from holdfast.server.access import OpenProject
    from holdfast.server.resolving import Answer
    from holdfast.server.service import Service

__all__ = ["handlers"]


@get("/resolve", opt={"role": Role.READER}, responses={200: ResponseSpec(ResolveReply, generate_examples=False)})
async def resolve(
    request: Request[Any, Any, Any], spec: FromQuery[str], grants: FromQuery[str | None] = None
) -> Response[bytes]:
    """The version that a spec names now (ResolveReply); with ``grants``, leave to GET so many of its first objects."""
    # Nothing is injected, and the answer is encoded here: both would cost as much as all the rest.
    project, service = request.scope["state"][given.PROJECT], given.service_of(request.app)
    most, answer = _most(grants), None
    if service.database.local:
        answer = service.resolving.ready(project, spec)
    if answer is None or most:
        reply = await asyncio.to_thread(_resolve, project, service, spec, most, answer)
    else:
        published = answer.published
        reply = ResolveReply(answer.name, answer.version, published.id, published.data, [], service.now())
    return Response(encode(reply), media_type=MediaType.JSON)


def _resolve(project: OpenProject, service: Service, spec: str, most: int, answer: Answer | None) -> ResolveReply:
    """Where the bucket, or a database far away, may have to be asked, or URLs are to be signed."""
    if answer is None and not service.database.local:
        answer = service.resolving.ready(project, spec)
    if answer is None:
        answer = service.resolving.resolve(project, spec)
    name, version, published = answer.name, answer.version, answer.published
    now = service.now()
    grants = transfers.beginning(project.store, published, name, version, most, now) if most else []
    return ResolveReply(name, version, published.id, published.data, grants, now)


def _most(grants: str | None) -> int:
    """How many grants are asked for: a number, or ``true`` for as many as there may be."""
    if not grants or grants == "false":
        return 0
    if grants == "true":
        return BATCH
    if not (grants.isascii() and grants.isdigit()):
        raise UsageError("grants is a number, or true", subject="grants")
    return min(int(grants[:6]), BATCH)


handlers = [resolve]
