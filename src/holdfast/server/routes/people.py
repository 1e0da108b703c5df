"""Signing in and out, who one is, and one's own tokens."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from litestar import Request, delete, get, post
from litestar.params import FromPath, JSONBody

from holdfast.errors import AccessError
from holdfast.formats.api import InfoReply, LoginRequest, TokenReply, TokenRequest, TokenRow, WhoamiReply
from holdfast.server import accounts, given, tokens
from holdfast.server.access import Role
from holdfast.server.audit import Actor, note
from holdfast.server.memberships import projects_of
from holdfast.server.origin import client_address, neighbourhood

__all__ = ["handlers"]

_DAY = 86400


@get("/info", opt={"public": True}, sync_to_thread=False)
def info() -> InfoReply:
    """What the server says to anybody: its release, and how one may sign in."""
    return InfoReply(version("holdfast"), login=["password"])


@post("/login", opt={"public": True}, status_code=200, sync_to_thread=True)
def login(data: JSONBody[LoginRequest], service: given.Service, request: Request[Any, Any, Any]) -> TokenReply:
    """A token for a name and its password."""
    address = client_address(request, service.settings.behind_proxy)
    by_name, by_address = f"name {data.name[:100]}", f"address {neighbourhood(address)}"
    service.attempts.begin(by_name, by_address)
    account = accounts.check_password(service.database, data.name, data.password)
    now = service.now()
    actor = Actor(data.name[:100], address)
    with service.database.write() as connection:
        reply = None
        if account is not None:
            seconds = service.settings.token_days * _DAY
            made = tokens.create_token(connection, account, now, seconds=seconds, label=data.label)
            reply = TokenReply(made.text, _row(tokens.token_row(connection, made.id)), data.name)
        note(connection, actor, now, "login" if reply else "login.refused", reply.row.id if reply else None)
    if reply is None:
        raise AccessError("wrong name or password", hint="an administrator can set another password")
    service.attempts.forget(by_name)
    return reply


@post("/logout", opt={"signed_in": True}, status_code=204, sync_to_thread=True)
def logout(principal: given.Principal, service: given.Service, actor: given.Actor) -> None:
    """The token that is used is revoked."""
    now = service.now()
    with service.database.write() as connection:
        tokens.revoke_token(connection, principal.token, now, principal)
        note(connection, actor, now, "logout", principal.token)


@get("/whoami", opt={"signed_in": True}, sync_to_thread=True)
def whoami(principal: given.Principal, service: given.Service) -> WhoamiReply:
    """Who a token belongs to, and what it opens."""
    with service.database.read() as connection:
        row = accounts.find_account(connection, principal.name)
        token = tokens.token_row(connection, principal.token)
        groups = accounts.groups_of(connection, principal.account)
        found = projects_of(connection, principal)
    return WhoamiReply(principal.name, principal.admin, bool(row.service), groups, _row(token), found)


@get("/tokens", opt={"signed_in": True}, sync_to_thread=True)
def list_tokens(principal: given.Principal, service: given.Service) -> list[TokenRow]:
    """One's own live tokens; never their text."""
    with service.database.read() as connection:
        return [_row(each) for each in tokens.list_tokens(connection, principal, service.now())]


@post("/tokens", opt={"signed_in": True}, status_code=201, sync_to_thread=True)
def create_token(
    data: JSONBody[TokenRequest], principal: given.Principal, service: given.Service, actor: given.Actor
) -> TokenReply:
    """A token of one's own, which is told this once and never again."""
    now = service.now()
    with service.database.write() as connection:
        seconds = tokens.life_of(connection, principal, now, data.expires, service.settings.token_days * _DAY)
        role = None if data.role is None else Role.named(data.role)
        scope = tokens.scope_of(connection, principal, data.project, role)
        made = tokens.create_token(connection, principal.account, now, seconds=seconds, label=data.label, scope=scope)
        note(connection, actor, now, "token.create", made.id, project=data.project)
        row = _row(tokens.token_row(connection, made.id))
    return TokenReply(made.text, row, principal.name)


@delete("/tokens/{token_id:str}", opt={"signed_in": True}, status_code=204, sync_to_thread=True)
def revoke_token(
    token_id: FromPath[str], principal: given.Principal, service: given.Service, actor: given.Actor
) -> None:
    """End one of one's own tokens; an admin of the server may end anybody's."""
    now = service.now()
    with service.database.write() as connection:
        whose = tokens.revoke_token(connection, token_id, now, principal)
        note(connection, actor, now, "token.revoke", token_id, detail=f"of {whose}")


def _row(row: Any) -> TokenRow:
    role = None if row.role is None else Role(row.role).word
    return TokenRow(row.id, row.label, row.created, row.expires, row.project_name, role, row.used)


handlers = [info, login, logout, whoami, list_tokens, create_token, revoke_token]
