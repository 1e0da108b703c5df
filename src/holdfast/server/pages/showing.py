"""One file of a version: as text that is escaped into a page, as an image, or as an attachment. Never as a document of its own.

What is an image is decided by its first bytes, not by its name, and only a few kinds of pixels are; SVG is a program. Whatever the
bytes are, the browser is told not to guess, and not to run anything of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from litestar import Request, get
from litestar.params import FromQuery
from litestar.response import Response, Stream

from holdfast.errors import UsageError
from holdfast.server import given
from holdfast.server.access import Role
from holdfast.server.contents import open_content
from holdfast.server.pages.browsing import commands
from holdfast.server.pages.rendering import HEADERS, page
from holdfast.server.streams import in_pieces

if TYPE_CHECKING:
    from holdfast.server.contents import Content

__all__ = ["image_type", "project_handlers", "text_of"]

_READER: Final = {"role": Role.READER}
#: So much of a text is shown.
TEXT: Final = 64 * 1024
#: No larger image is shown.
IMAGE: Final = 4 * 1024 * 1024
#: Bytes of a file, and not a page: nothing of it may load, run, or be framed.
_POLICY: Final = {"Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'; base-uri 'none'"}
_IMAGES: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBPVP8", re.DOTALL), "image/webp"),
)
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]")


@get("/file", opt=_READER, sync_to_thread=True)
def show(
    request: Request[Any, Any, Any],
    project: given.Project,
    name: FromQuery[str],
    version: FromQuery[str],
    path: FromQuery[str],
) -> Response[str]:
    """A file with a preview, if it is text or an image."""
    content = open_content(project.store, project.catalog, name, version, path)
    first = content.first(TEXT)
    image = image_type(first) if content.size <= IMAGE else None
    return page(
        request,
        "file.html",
        project=project,
        content=content,
        image=image,
        text=None if image else text_of(first, whole=content.size <= TEXT),
        shown=min(content.size, TEXT),
        commands=commands(request, project, f"{content.name}:{content.version}[{content.path}]"),
    )


@get("/image", opt=_READER, sync_to_thread=True)
def image(
    project: given.Project, name: FromQuery[str], version: FromQuery[str], path: FromQuery[str]
) -> Response[bytes]:
    """An image of a kind that is nothing but pixels, whole and checked."""
    content = open_content(project.store, project.catalog, name, version, path)
    if content.size > IMAGE:
        raise UsageError("the image is too large to be shown", subject=path)
    data = content.first(IMAGE)
    kind = image_type(data)
    if kind is None:
        raise UsageError("the file is no image that can be shown", subject=path)
    return Response(data, media_type=kind, headers=HEADERS | _POLICY | {"Content-Disposition": "inline"})


@get("/download", opt=_READER, sync_to_thread=True)
def download(
    project: given.Project, name: FromQuery[str], version: FromQuery[str], path: FromQuery[str]
) -> Response[Any]:
    """Any file, as an attachment."""
    content = open_content(project.store, project.catalog, name, version, path)
    headers = HEADERS | _POLICY | {"Content-Disposition": _attachment(content), "Content-Length": str(content.size)}
    return Stream(in_pieces(content.blocks()), headers=headers, media_type="application/octet-stream")


def image_type(data: bytes) -> str | None:
    """The type of an image of the list, by its first bytes; None for everything else."""
    return next((kind for pattern, kind in _IMAGES if pattern.match(data)), None)


def text_of(data: bytes, *, whole: bool) -> str | None:
    """The text that these bytes are, the cut character at the end apart; None where they are none."""
    for cut in range(1 if whole else 4):
        try:
            text = data[: len(data) - cut].decode("utf-8")
        except UnicodeDecodeError:
            continue
        return None if _CONTROLS.search(text) else text
    return None


def _attachment(content: Content) -> str:
    """The header that names a file: in ASCII, and as it is called (RFC 6266)."""
    called = content.path.rpartition("/")[2]
    plain = re.sub(r"[^A-Za-z0-9._ -]", "_", called)[:150]
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(called, safe='', errors='replace')[:600]}"


project_handlers = [show, image, download]
