"""Errors as pages: the same status and words as the API's, and the form to sign in for whoever is not signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from litestar.exceptions import HTTPException

from holdfast.formats.api import ErrorReply, decode_reply
from holdfast.server.access import NotSignedInError
from holdfast.server.failures import HANDLERS
from holdfast.server.pages.rendering import page
from holdfast.server.pages.signing import START, sign_in_page

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar import Request
    from litestar.exceptions import NotFoundException
    from litestar.response import Response

__all__ = ["PAGE_HANDLERS", "nowhere"]

_TITLES: Final = {403: "Not allowed", 404: "Not found", 413: "Too large", 429: "Too many attempts"}
_KEPT: Final[tuple[str, ...]] = ("Allow", "Retry-After")


def _not_signed_in(request: Request[Any, Any, Any], _error: NotSignedInError) -> Response[str]:
    """The form. Where a link of another site led here the cookie was not sent: from here on it is."""
    to = START
    if request.method == "GET" and request.scope["path"] != "/signout":
        query = request.scope["query_string"].decode("latin-1")
        to = quote(request.scope["path"]) + (f"?{query}" if query else "")
    headers = {"HX-Redirect": "/signin"} if request.headers.get("hx-request") else {}
    return sign_in_page(request, to, status=401, headers=headers)


def _paged(answer: Callable[[Request[Any, Any, Any], Any], Response[bytes]]) -> Callable[..., Response[str]]:
    def told(request: Request[Any, Any, Any], error: Any) -> Response[str]:
        made = answer(request, error)
        reply, status = decode_reply(made.content, ErrorReply), made.status_code or 500
        title = _TITLES.get(status, "The request cannot be answered" if status < 500 else "The server failed")
        headers: dict[str, str] = {name: made.headers[name] for name in _KEPT if name in made.headers}
        values: dict[str, Any] = {"title": title, "error": None if reply is None else reply.error}
        if status == 403:  # whoever may not is told nothing more than that, and everybody the same
            values["principal"] = None
        return page(request, "error.html", status, headers=headers, **values)

    return told


#: What a page answers to each class of error.
PAGE_HANDLERS: Final[dict[Any, Any]] = {
    **{kind: _paged(answer) for kind, answer in HANDLERS.items()},
    NotSignedInError: _not_signed_in,
}


def nowhere(request: Request[Any, Any, Any], error: NotFoundException) -> Response[Any]:
    """Where no route is: a page for a browser, and for programs what the API answers."""
    is_browser = "text/html" in request.headers.get("accept", "") and not request.scope["path"].startswith("/api/")
    answer: Response[Any] = (PAGE_HANDLERS if is_browser else HANDLERS)[HTTPException](request, error)
    return answer
