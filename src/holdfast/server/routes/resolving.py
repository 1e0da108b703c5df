"""The one question that a fetch begins with: which version a spec names, its meta, and leave to read what comes first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from litestar import get
from litestar.params import FromQuery

from holdfast.errors import UsageError
from holdfast.formats.api import BATCH, ResolveReply
from holdfast.server import given, transfers
from holdfast.server.access import Role

if TYPE_CHECKING:
    from holdfast.server.resolving import Answer

__all__ = ["handlers"]


@get("/resolve", opt={"role": Role.READER})
async def resolve(
    project: given.Project, service: given.Service, spec: FromQuery[str], grants: FromQuery[str | None] = None
) -> ResolveReply:
    """The version that a spec names now; with ``grants``, leave to GET so many of its first objects."""
    most, answer = _most(grants), None
    if service.database.local:
        answer = service.resolving.ready(project, spec)
    if answer is None or most:
        return await asyncio.to_thread(_resolve, project, service, spec, most, answer)
    published = answer.published
    return ResolveReply(answer.name, answer.version, published.id, published.data, [], service.now())


def _resolve(
    project: given.Project, service: given.Service, spec: str, most: int, answer: Answer | None
) -> ResolveReply:
    """Where the bucket, or a database far away, may have to be asked, or URLs are to be signed."""
    if answer is None and not service.database.local:
        answer = service.resolving.ready(project, spec)
    if answer is None:
        answer = service.resolving.resolve(project, spec)
    name, version, published = answer.name, answer.version, answer.published
    now = service.now()
    given = transfers.beginning(project.store, published, name, version, most, now) if most else []
    return ResolveReply(name, version, published.id, published.data, given, now)


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
