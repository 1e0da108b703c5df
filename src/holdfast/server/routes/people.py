"""Signing in and out, who one is, and one's own tokens."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Literal

from litestar import Request, delete, get, post
from litestar.params import FromPath, JSONBody

from holdfast.formats.api import InfoReply, LoginRequest, TokenReply, TokenRequest, TokenRow, WhoamiReply
from holdfast.server import accounts, given, own_tokens, passwords, tokens
from holdfast.server.audit import Actor, note
from holdfast.server.memberships import projects_of
from holdfast.server.origin import client_address

__all__ = ["handlers"]

_DAY = 86400


@get("/info", opt={"public": True}, sync_to_thread=False)
def info(service: given.Service) -> InfoReply:
    """What the server says to anybody: its release, and how one may sign in."""
    ways: list[Literal["password", "oidc"]] = ["password", "oidc"] if service.issuers else ["password"]
    return InfoReply(version("holdfast"), login=ways, browser=True)


@post("/login", opt={"public": True}, status_code=200, sync_to_thread=True)
def login(data: JSONBody[LoginRequest], service: given.Service, request: Request[Any, Any, Any]) -> TokenReply:
    """A token for a name and its password."""
    address = client_address(request, service.settings.behind_proxy)
    proven, now = passwords.checked(service, data.name, data.password, address), service.now()
    with service.database.write() as connection:
        passwords.require(connection, proven)
        seconds = service.settings.token_days * _DAY
        made = tokens.create_token(connection, proven.account, now, seconds=seconds, label=data.label)
        note(connection, Actor(data.name[:100], address), now, "login", made.id)
        return TokenReply(made.text, own_tokens.row_of(tokens.token_row(connection, made.id)), data.name)


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
    return WhoamiReply(principal.name, principal.admin, bool(row.service), groups, own_tokens.row_of(token), found)


@get("/tokens", opt={"signed_in": True}, sync_to_thread=True)
def list_tokens(principal: given.Principal, service: given.Service) -> list[TokenRow]:
    """One's own live tokens; never their text."""
    return own_tokens.listed(service, principal)


@post("/tokens", opt={"signed_in": True}, status_code=201, sync_to_thread=True)
def create_token(
    data: JSONBody[TokenRequest], principal: given.Principal, service: given.Service, actor: given.Actor
) -> TokenReply:
    """A token of one's own, which is told this once and never again."""
    return own_tokens.make(service, principal, actor, data)


@delete("/tokens/{token_id:str}", opt={"signed_in": True}, status_code=204, sync_to_thread=True)
def revoke_token(
    token_id: FromPath[str], principal: given.Principal, service: given.Service, actor: given.Actor
) -> None:
    """End one of one's own tokens; an admin of the server may end anybody's."""
    own_tokens.revoke(service, principal, actor, token_id)


handlers = [info, login, logout, whoami, list_tokens, create_token, revoke_token]
