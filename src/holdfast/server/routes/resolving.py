"""The one question that a fetch begins with: which version a spec names, its meta, and leave to read what comes first."""

from __future__ import annotations

from litestar import get
from litestar.params import FromQuery

from holdfast.errors import UsageError
from holdfast.formats.api import BATCH, ResolveReply
from holdfast.server import given, reading, transfers
from holdfast.server.access import Role

__all__ = ["handlers"]


@get("/resolve", opt={"role": Role.READER}, sync_to_thread=True)
def resolve(
    project: given.Project, service: given.Service, spec: FromQuery[str], grants: FromQuery[str | None] = None
) -> ResolveReply:
    """The version that a spec names now; with ``grants``, leave to GET so many of its first objects."""
    name, version, published = reading.resolve(project.store, project.catalog, spec)
    now, most = service.now(), _most(grants)
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
