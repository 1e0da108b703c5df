"""Sessions of browsers: a token that is good for the pages alone, in a cookie; and the mark that every form must carry.

A session is a row among the tokens, kept as a digest: revoking it, another password, disabling the account and losing a role
count from the next request on, as for any token. However somebody signs in (a password, OIDC), :func:`begin` makes the session and
:func:`session_cookie` the cookie; the guard reads it with :func:`session_of`.

Before anybody is signed in, a random cookie takes the session's place, so that the sign-in form too is answered only where it was shown.

Example::

    made = begin(connection, account, service.now(), service.settings)
    response = Response(..., cookies=[session_cookie(made.text, request, service.settings), no_visit(request, service.settings)])
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING, Any, Final, Literal

from litestar.datastructures import Cookie

from holdfast.server.origin import is_here
from holdfast.server.tokens import create_token, revoke_token

if TYPE_CHECKING:
    from litestar.connection import ASGIConnection
    from sqlalchemy import Connection

    from holdfast.server.access import Principal
    from holdfast.server.settings import ServerSettings
    from holdfast.server.tokens import Created

    Asked = ASGIConnection[Any, Any, Any, Any]

__all__ = [
    "begin",
    "end",
    "errand_cookie",
    "errand_of",
    "form_mark",
    "is_form_mark",
    "new_visit",
    "no_errand",
    "no_session",
    "no_visit",
    "session_cookie",
    "session_of",
    "visit_cookie",
    "visit_of",
]

_SESSION: Final = "holdfast"
_VISIT: Final = "holdfast-visit"
_ERRAND: Final = "holdfast-errand"
#: Browsers take a cookie of such a name only with Secure, for this host alone and all of it: no other host can plant one.
_HOST: Final = "__Host-"
_HOUR: Final = 3600
_LONGEST: Final = 200
#: The label of a session's row: where the browser says that it is.
_LABEL: Final = 200


def begin(
    connection: Connection, account: int, now: float, settings: ServerSettings, browser: str | None = None
) -> Created:
    """A session of an account; ``browser`` is what it calls itself."""
    seconds = max(1, int(settings.session_hours * _HOUR))
    label = None if browser is None else browser[:_LABEL]
    return create_token(connection, account, now, seconds=seconds, label=label, pages=True)


def end(connection: Connection, who: Principal, now: float) -> None:
    """The session with which somebody asks is no good from now on."""
    revoke_token(connection, who.token, now, who)


def session_cookie(text: str, asked: Asked, settings: ServerSettings) -> Cookie:
    """The cookie of a session."""
    return _cookie(_SESSION, text, asked, settings, max_age=int(settings.session_hours * _HOUR))


def no_session(asked: Asked, settings: ServerSettings) -> Cookie:
    """The cookie that takes a session's away."""
    return _cookie(_SESSION, "", asked, settings, max_age=0)


def session_of(asked: Asked, settings: ServerSettings) -> str | None:
    """The session that a request carries, good or not."""
    return _read(_SESSION, asked, settings)


def new_visit() -> str:
    """What stands for somebody who is not signed in."""
    return secrets.token_urlsafe(32)


def visit_cookie(text: str, asked: Asked, settings: ServerSettings) -> Cookie:
    """The cookie of a visit; it ends with the browser."""
    return _cookie(_VISIT, text, asked, settings)


def no_visit(asked: Asked, settings: ServerSettings) -> Cookie:
    """The cookie that takes a visit's away."""
    return _cookie(_VISIT, "", asked, settings, max_age=0)


def visit_of(asked: Asked, settings: ServerSettings) -> str | None:
    """The visit that a request carries."""
    return _read(_VISIT, asked, settings)


def errand_cookie(text: str, asked: Asked, settings: ServerSettings) -> Cookie:
    """The cookie of a browser that is sent to a provider; it is brought back from there, which a session's never is."""
    return _cookie(_ERRAND, text, asked, settings, max_age=_HOUR, samesite="lax")


def no_errand(asked: Asked, settings: ServerSettings) -> Cookie:
    """The cookie that takes an errand's away."""
    return _cookie(_ERRAND, "", asked, settings, max_age=0, samesite="lax")


def errand_of(asked: Asked, settings: ServerSettings) -> str | None:
    """The errand that a request carries."""
    return _read(_ERRAND, asked, settings)


def form_mark(text: str) -> str:
    """What a form must carry to be answered in this session, or visit: nobody knows it who does not know the cookie."""
    return hmac.new(text.encode("utf-8", "surrogatepass"), b"holdfast form", "sha256").hexdigest()


def is_form_mark(text: str | None, given: str | None) -> bool:
    """Whether a form carries the right one."""
    if not text or not given:
        return False
    return hmac.compare_digest(form_mark(text).encode(), given.encode("utf-8", "surrogatepass"))


def _cookie(
    name: str,
    text: str,
    asked: Asked,
    settings: ServerSettings,
    *,
    max_age: int | None = None,
    samesite: Literal["lax", "strict"] = "strict",
) -> Cookie:
    secure = _is_secure(asked, settings)
    return Cookie(
        key=f"{_HOST}{name}" if secure else name,
        value=text,
        path="/",
        max_age=max_age,
        secure=secure,
        httponly=True,
        samesite=samesite,
    )


def _read(name: str, asked: Asked, settings: ServerSettings) -> str | None:
    text = asked.cookies.get(f"{_HOST}{name}" if _is_secure(asked, settings) else name)
    return text if text and len(text) <= _LONGEST else None


def _is_secure(asked: Asked, settings: ServerSettings) -> bool:
    """Whether the browser speaks TLS: always, but for one on this machine that speaks to the server itself, in the clear."""
    plain = asked.scope.get("scheme") == "http" and not settings.behind_proxy
    return not (plain and is_here(asked.scope, settings.behind_proxy))
