"""Signing in and out in a browser, and the page that everybody sees who is not signed in.

However somebody proved who they are, :func:`welcome` begins the session. :func:`ways` are those that a server offers beside
its own passwords: a label, and the page of this server where it begins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, get, post
from litestar.params import FromQuery
from litestar.response import Response

from holdfast.errors import AccessError
from holdfast.server import given, passwords, sessions
from holdfast.server.audit import Actor, note
from holdfast.server.origin import client_address
from holdfast.server.pages.rendering import page, redirect

if TYPE_CHECKING:
    from holdfast.server.accounts import Proven
    from holdfast.server.service import Service

__all__ = ["START", "handlers", "local_path", "sign_in_page", "ways", "welcome"]

#: Where one is after signing in.
START = "/projects"
_LONGEST = 2000


@get("/", opt={"public": True}, sync_to_thread=False)
def start() -> Response[str]:
    """The first page."""
    return redirect(START)


@get("/signin", opt={"public": True}, sync_to_thread=False)
def show(request: Request[Any, Any, Any], to: FromQuery[str] = START) -> Response[str]:
    """The form."""
    return sign_in_page(request, to)


@post("/signin", opt={"public": True}, status_code=200, sync_to_thread=True)
def sign_in(request: Request[Any, Any, Any], service: given.Service, form: given.Form) -> Response[str]:
    """A session for a name and its password."""
    name, to = form.get("name", "").strip(), form.get("to", START)
    try:
        address = client_address(request, service.settings.behind_proxy)
        proven = passwords.checked(service, name, form.get("password", ""), address)
        return welcome(request, service, proven.account, name, to, proven=proven)
    except AccessError as error:
        return sign_in_page(request, to, status=403, problem=error.message, name=name)


@post("/signout", opt={"signed_in": True}, status_code=200, sync_to_thread=True)
def sign_out(
    request: Request[Any, Any, Any], service: given.Service, principal: given.Principal, actor: given.Actor
) -> Response[str]:
    """The session ends, here and wherever its cookie was copied to."""
    now = service.now()
    with service.database.write() as connection:
        sessions.end(connection, principal, now)
        note(connection, actor, now, "logout", principal.token)
    return redirect("/signin", [sessions.no_session(request, service.settings)])


def welcome(
    request: Request[Any, Any, Any],
    service: Service,
    account: int,
    name: str,
    to: str = START,
    *,
    far: bool = False,
    proven: Proven | None = None,
) -> Response[str]:
    """Begin a session of an account that proved who it is, and go to a page of this server.

    ``far`` says that another site led here: then the browser would not send the cookie along a redirect, and a page leads on.

    Raises:
        AccessError: it was ``proven`` by a password that has been changed since.
    """
    settings, now = service.settings, service.now()
    actor = Actor(name, client_address(request, settings.behind_proxy))
    with service.database.write() as connection:
        if proven is not None:
            passwords.require(connection, proven)
        made = sessions.begin(connection, account, now, settings, request.headers.get("user-agent"))
        note(connection, actor, now, "login", made.id, detail="pages")
    cookies = [sessions.session_cookie(made.text, request, settings), sessions.no_visit(request, settings)]
    if far:
        return page(request, "welcome.html", cookies=cookies, principal=None, to=local_path(to))
    return redirect(local_path(to), cookies)


def sign_in_page(
    request: Request[Any, Any, Any],
    to: str = START,
    *,
    status: int = 200,
    problem: str | None = None,
    name: str = "",
    headers: dict[str, str] | None = None,
) -> Response[str]:
    """The form, with the mark of a visit; ``to`` is where one goes then."""
    settings = given.service_of(request.app).settings
    visit = sessions.visit_of(request, settings) or sessions.new_visit()
    cookies = [sessions.visit_cookie(visit, request, settings)]
    values = {"to": local_path(to), "problem": problem, "name": name, "mark": sessions.form_mark(visit)}
    return page(request, "signin.html", status, cookies, headers, principal=None, ways=ways(request), **values)


def ways(request: Request[Any, Any, Any]) -> list[tuple[str, str]]:
    """The further ways to sign in that this server offers."""
    issuers = given.service_of(request.app).issuers
    return [(f"Sign in with {each.provider.title}", f"/login/oidc/{name}") for name, each in issuers.items()]


def local_path(to: str) -> str:
    """The address, if it is one of a page of this server; else the first page. To a browser two slashes begin another server."""
    plain = to.isascii() and to.isprintable() and len(to) <= _LONGEST
    return to if plain and to.startswith("/") and not to.startswith(("//", "/\\")) else START


handlers = [start, show, sign_in, sign_out]
