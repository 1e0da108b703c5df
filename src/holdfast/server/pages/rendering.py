"""From values to HTML: the templates, how numbers and moments are written, and the headers that every page has.

Everything that a template is given is escaped; a name that it is not given is an error.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from litestar import MediaType
from litestar.response import Response

from holdfast.server import sessions
from holdfast.server.forms import MARK
from holdfast.server.given import PRINCIPAL, service_of
from holdfast.server.pages.assets import address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar import Request
    from litestar.datastructures import Cookie

__all__ = ["HEADERS", "POLICY", "page", "redirect"]

#: What a page may load, run and be sent to: itself alone.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
#: What every answer to a browser has. Pages are nobody else's, and are not kept: after signing out, Back shows nothing.
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def page(
    request: Request[Any, Any, Any],
    template: str,
    status: int = 200,
    cookies: Sequence[Cookie] = (),
    headers: dict[str, str] | None = None,
    **values: Any,
) -> Response[str]:
    """A page from its template."""
    settings, state = service_of(request.app).settings, request.scope["state"]
    session = sessions.session_of(request, settings) if PRINCIPAL in state else None
    shared = {
        "principal": state.get(PRINCIPAL),
        "mark_name": MARK,
        "mark": "" if session is None else sessions.form_mark(session),
    }
    text = _environment.get_template(template).render(shared | values)
    return Response(
        text, status_code=status, media_type=MediaType.HTML, headers=HEADERS | (headers or {}), cookies=list(cookies)
    )


def redirect(to: str, cookies: Sequence[Cookie] = ()) -> Response[str]:
    """To another page of this server, which is asked for by GET."""
    return Response(
        "", status_code=303, media_type=MediaType.TEXT, headers=HEADERS | {"Location": to}, cookies=list(cookies)
    )


def _size(count: int | None) -> str:
    """A number of bytes for people: ``1.4 GiB``; nothing where it is not known."""
    if count is None:
        return ""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{count} B" if unit == 0 else f"{value:.3g} {_UNITS[unit]}"


def _when(moment: float | str | None) -> str:
    """A moment for people, in UTC; text that is no moment as it stands, for another program may have written it."""
    if moment is None:
        return ""
    try:
        at = datetime.fromisoformat(moment) if isinstance(moment, str) else datetime.fromtimestamp(moment, UTC)
        return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError):
        return str(moment)[:40]


def _many(count: int, word: str) -> str:
    """A number of things: ``1 version``, ``2 versions``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _made() -> Environment:
    environment = Environment(
        loader=PackageLoader("holdfast.server.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"size": _size, "when": _when, "many": _many}
    environment.globals["static"] = address
    return environment


_environment: Final = _made()
