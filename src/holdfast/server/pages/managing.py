"""One's own tokens and sessions, a project's members, and the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from litestar import Request, get, post
from litestar.params import FromQuery
from litestar.response import Response

from holdfast.errors import UsageError
from holdfast.formats.api import TokenRequest
from holdfast.formats.people import MemberRequest
from holdfast.server import given, own_tokens
from holdfast.server.access import Role
from holdfast.server.memberships import projects_of
from holdfast.server.pages.rendering import page, redirect

if TYPE_CHECKING:
    from holdfast.formats.api import Role as RoleName
    from holdfast.formats.api import TokenReply

__all__ = ["handlers", "project_handlers"]

_DAY: Final = 86400
_ROLES: Final = tuple(role.word for role in Role)
_LINES: Final = 100


@get("/tokens", opt={"signed_in": True}, sync_to_thread=True)
def tokens(request: Request[Any, Any, Any], service: given.Service, principal: given.Principal) -> Response[str]:
    """One's own tokens, and where one is signed in."""
    return _tokens_page(request, service, principal)


@post("/tokens", opt={"signed_in": True}, status_code=200, sync_to_thread=True)
def create_token(
    request: Request[Any, Any, Any],
    service: given.Service,
    principal: given.Principal,
    actor: given.Actor,
    form: given.Form,
) -> Response[str]:
    """A token, shown this once."""
    days = form.get("days", "").strip()
    if days and not (days.isascii() and days.isdigit() and len(days) <= 3):
        raise UsageError("days is a number", subject="days")
    wanted = TokenRequest(
        label=form.get("label", "").strip() or None,
        expires=int(days) * _DAY if days else None,
        project=form.get("project") or None,
        role=_role(form),
    )
    return _tokens_page(request, service, principal, own_tokens.make(service, principal, actor, wanted))


@post("/tokens/revoke", opt={"signed_in": True}, status_code=200, sync_to_thread=True)
def revoke_token(
    service: given.Service, principal: given.Principal, actor: given.Actor, form: given.Form
) -> Response[str]:
    """End a token, or a session elsewhere."""
    own_tokens.revoke(service, principal, actor, form.get("token", ""))
    return redirect("/tokens")


@get("/audit", opt={"server_admin": True}, sync_to_thread=True)
def audit(request: Request[Any, Any, Any], admin: given.Admin, before: FromQuery[int | None] = None) -> Response[str]:
    """Who did what, the newest first."""
    return page(request, "audit.html", found=admin.audit(before, _LINES))


@get("/members", opt={"role": Role.ADMIN}, sync_to_thread=True)
def members(request: Request[Any, Any, Any], project: given.Project, admin: given.Admin) -> Response[str]:
    """Who has which role in a project."""
    return page(request, "members.html", project=project, members=admin.members(project.name), roles=_ROLES)


@post("/members", opt={"role": Role.ADMIN}, status_code=200, sync_to_thread=True)
def set_role(project: given.Project, admin: given.Admin, form: given.Form) -> Response[str]:
    """Give somebody a role, or take it away."""
    admin.set_role(project.name, MemberRequest(form.get("whom", "").strip(), _role(form)))
    return redirect(f"/projects/{project.name}/members")


def _tokens_page(
    request: Request[Any, Any, Any], service: given.Service, principal: given.Principal, made: TokenReply | None = None
) -> Response[str]:
    with service.database.read() as connection:
        found = projects_of(connection, principal)
    return page(
        request,
        "tokens.html",
        made=made,
        tokens=own_tokens.listed(service, principal),
        sessions=own_tokens.listed(service, principal, pages=True),
        projects=found,
        roles=_ROLES,
        usual=service.settings.token_days,
    )


def _role(form: dict[str, str]) -> RoleName | None:
    """The role that a form names; None for no word at all."""
    word = form.get("role", "")
    if word and word not in _ROLES:
        raise UsageError("a role is reader, writer or admin", subject="role")
    return word or None


handlers = [tokens, create_token, revoke_token, audit]
project_handlers = [members, set_role]
