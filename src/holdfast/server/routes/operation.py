"""What those who run the server ask it: whether it lives, whether it can work, and its counters."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get

from holdfast.errors import HoldfastError
from holdfast.formats.api import encode
from holdfast.server import given
from holdfast.server.description import truthful
from holdfast.server.metrics import CONTENT_TYPE
from holdfast.server.migrate import require_current
from holdfast.server.secret import read_secret

__all__ = ["handlers", "openapi"]


@get("/healthz", opt={"public": True}, sync_to_thread=False, media_type="text/plain")
def healthz() -> str:
    """The process lives and answers."""
    return "ok\n"


@get("/readyz", opt={"public": True}, sync_to_thread=True, media_type="text/plain")
def readyz(service: given.Service) -> Response[str]:
    """It can work: the database answers and is at this release's state, the secret is there."""
    try:
        require_current(service.database)
        read_secret(service.settings.secret)
    except HoldfastError:
        return Response("not ready\n", status_code=503, media_type="text/plain")
    return Response("ready\n", media_type="text/plain")


@get("/metrics", opt={"operator": True}, sync_to_thread=False, media_type=CONTENT_TYPE)
def metrics(service: given.Service) -> Response[bytes]:
    """The counters, for Prometheus: with the token of an admin of the server, or from this machine where the settings say so."""
    return Response(service.metrics.text(), media_type=CONTENT_TYPE)


@get("/openapi.json", opt={"public": True}, sync_to_thread=False, include_in_schema=False)
def openapi(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The API as an OpenAPI document, made from the handlers: once, for anybody may ask and it takes a while."""
    document: bytes | None = request.app.state.get("openapi")
    if document is None:
        document = request.app.state["openapi"] = encode(truthful(request.app.openapi_schema.to_schema()))
    return Response(document, media_type="application/json")


handlers = [healthz, readyz, metrics]
