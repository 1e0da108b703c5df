"""Objects that go through the server: where the store cannot sign, and for whoever cannot reach the bucket."""

from __future__ import annotations

import asyncio
import re
import tempfile
from contextlib import suppress
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, cast

from litestar import Request, Response, get, head, put
from litestar.params import FromQuery
from litestar.response import Stream as StreamResponse

from holdfast.errors import ChangedError, SourceChangedError, UsageError
from holdfast.formats.api import ErrorBody, ObjectStat
from holdfast.server import given, streams, transfers
from holdfast.server.access import Role
from holdfast.server.borders import readable
from holdfast.server.failures import failure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from holdfast.store.base import ObjectInfo, Store

__all__ = ["handlers"]

_READER = {"role": Role.READER}
#: In memory while it is received; what is larger lies on the disk.
_IN_MEMORY = 1 << 20
_TAGS = re.compile(r'(W/)?"([^"]*)"')


@get("/objects", opt=_READER, sync_to_thread=True, media_type="application/octet-stream")
def get_object(project: given.Project, request: Request[Any, Any, Any], key: FromQuery[str]) -> Response[Any]:
    """An object or one range of it; ``If-Match`` pins the version that ``ETag`` told, and ``If-Range`` the range alone."""
    try:
        found = _opened(project.store, key, request.headers)
    except ChangedError as error:
        return failure(412, ErrorBody(error.kind, error.message, None, key, type(error).__name__))
    headers = _headers(found.info)
    if found.length < 0:
        refused = failure(416, ErrorBody("usage", f"{key} has {found.info.size} bytes", None, key))
        refused.headers["Content-Range"] = f"bytes */{found.info.size}"
        return refused
    headers["Content-Length"] = str(found.length)
    partly = found.length != found.info.size or found.start > 0
    if partly:
        headers["Content-Range"] = f"bytes {found.start}-{found.start + found.length - 1}/{found.info.size}"
    pieces, status = streams.in_pieces(found.blocks), 206 if partly else 200
    return StreamResponse(pieces, status_code=status, headers=headers, media_type="application/octet-stream")


@head("/objects", opt=_READER, sync_to_thread=True, media_type="text/plain")
def head_object(project: given.Project, key: FromQuery[str]) -> Response[None]:
    """What is known of an object: its length, version and date."""
    info = project.store.head(readable(key))
    headers = _headers(info) | {"Content-Length": str(info.size)}
    return Response(None, headers=headers, media_type="text/plain")


@put("/objects", opt={"role": Role.WRITER}, status_code=200, request_max_body_size=None)
async def put_object(
    project: given.Project,
    service: given.Service,
    request: Request[Any, Any, Any],
    key: FromQuery[str],
    push: FromQuery[str],
) -> ObjectStat:
    """Create an object; what is there is never overwritten."""
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        raise UsageError("the length of the object must be told", subject=key, hint="send Content-Length")
    allowed = await asyncio.to_thread(transfers.to_write, project, push)
    await asyncio.to_thread(allowed, key, int(length))
    size, room = int(length), service.room
    with (
        room.taken(size if size > _IN_MEMORY else 0),
        tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY, dir=room.folder) as spool,
    ):
        file = cast("BinaryIO", spool)
        await _receive(request, file, key, size, service.settings.silence)
        return await asyncio.to_thread(streams.write, project, service.database, allowed, key, file, size)


async def _receive(request: Request[Any, Any, Any], file: BinaryIO, key: str, size: int, silence: float) -> None:
    """All of a body into a file; one of another length than was told is refused, and so is one of which nothing more comes.

    A client whose line was cut says nothing, for ever: it must not keep the room that it asked for.
    """
    got, held = 0, bytearray()
    try:
        async with asyncio.timeout(silence) as patience:
            async for piece in request.stream():
                patience.reschedule(None)  # our own disk may take its time
                got += len(piece)
                held += piece
                if got > size:
                    break
                if len(held) >= _IN_MEMORY:
                    await asyncio.to_thread(file.write, bytes(held))
                    held.clear()
                patience.reschedule(asyncio.get_running_loop().time() + silence)
    except TimeoutError:
        raise SourceChangedError(
            f"nothing more of {key} came for {silence:g} s: {got} of {size} bytes are here", subject=key
        ) from None
    if got != size:
        raise SourceChangedError(f"{key} was sent with other than {size} bytes", subject=key)
    file.write(held)
    file.seek(0)


def _opened(store: Store, key: str, headers: Mapping[str, str]) -> streams.Stream:
    """What is asked for: of an object that is another than ``If-Range`` names the whole (RFC 9110, 13.1.5)."""
    span, condition = streams.parse_range(headers.get("range")), headers.get("if-range")
    if span is not None and condition is not None:
        with suppress(ChangedError):
            return streams.open_stream(store, key, span, condition.strip().strip('"'))
        span = None
    return streams.open_stream(store, key, span, _pinned(store, key, headers.get("if-match")))


def _headers(info: ObjectInfo) -> dict[str, str]:
    return {
        "ETag": f'"{info.version}"',
        "Last-Modified": formatdate(info.modified, usegmt=True),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-store",
        "Content-Disposition": "attachment",
        "X-Content-Type-Options": "nosniff",
    }


def _pinned(store: Store, key: str, told: str | None) -> str | None:
    """The version that ``If-Match`` wants: any, or of several the one that is there (RFC 9110, 13.1.1)."""
    if told is None or told.strip() == "*":
        return None
    tags = [tag for weak, tag in _TAGS.findall(told) if not weak] or [told.strip().strip('"')]
    there = store.head(readable(key)).version if len(tags) > 1 else None
    return there if there in tags else tags[0]


handlers = [get_object, head_object, put_object]
