"""The few files that pages load: style, script and htmx, from the package, under addresses that change with their bytes.

htmx (``static/htmx.min.js``, release 2.0.11, unchanged, licence in ``static/htmx.LICENSE``) is part of the package; nothing is loaded from elsewhere.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from litestar import get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import Response

from holdfast.model.digest import digest_of

__all__ = ["address", "handlers"]

_TYPES: Final = {
    "icon.svg": "image/svg+xml",
    "pages.css": "text/css",
    "pages.js": "text/javascript",
    "htmx.min.js": "text/javascript",
    "htmx.LICENSE": "text/plain",
}
_FILES: Final = {name: files("holdfast.server.pages").joinpath("static", name).read_bytes() for name in _TYPES}
_HEADERS: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "Content-Security-Policy": "default-src 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


def address(name: str) -> str:
    """Where a page finds such a file."""
    return f"/static/{name}?{digest_of(_FILES[name])[:12]}"


@get("/static/{file_name:str}", opt={"public": True}, sync_to_thread=False)
def static(file_name: FromPath[str]) -> Response[bytes]:
    """One of the files."""
    if file_name not in _FILES:
        raise NotFoundException
    return Response(_FILES[file_name], media_type=_TYPES[file_name], headers=_HEADERS)


handlers = [static]
