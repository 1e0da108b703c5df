"""What somebody does with tokens of their own, through the API or the pages: list, make, revoke, each with its line in the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from holdfast.formats.api import TokenReply, TokenRow
from holdfast.server import tokens
from holdfast.server.access import Role
from holdfast.server.audit import note

if TYPE_CHECKING:
    from holdfast.formats.api import TokenRequest
    from holdfast.server.access import Principal
    from holdfast.server.audit import Actor
    from holdfast.server.service import Service

__all__ = ["listed", "make", "revoke", "row_of"]

_DAY: Final = 86400


def listed(service: Service, who: Principal, *, pages: bool = False) -> list[TokenRow]:
    """Somebody's live tokens, or sessions; never their text."""
    with service.database.read() as connection:
        return [row_of(each) for each in tokens.list_tokens(connection, who, service.now(), pages=pages)]


def make(service: Service, who: Principal, actor: Actor, wanted: TokenRequest) -> TokenReply:
    """A token, whose text is told this once.

    Raises:
        AccessError: it would be wider than what it is made with.
    """
    now = service.now()
    with service.database.write() as connection:
        seconds = tokens.life_of(connection, who, now, wanted.expires, service.settings.token_days * _DAY)
        role = None if wanted.role is None else Role.named(wanted.role)
        scope = tokens.scope_of(connection, who, wanted.project, role)
        made = tokens.create_token(connection, who.account, now, seconds=seconds, label=wanted.label, scope=scope)
        note(connection, actor, now, "token.create", made.id, project=wanted.project)
        row = row_of(tokens.token_row(connection, made.id))
    return TokenReply(made.text, row, who.name)


def revoke(service: Service, who: Principal, actor: Actor, token: str) -> None:
    """End a token or session of one's own; an admin of the server may end anybody's.

    Raises:
        NotFoundError: there is none that one may end.
    """
    now = service.now()
    with service.database.write() as connection:
        whose = tokens.revoke_token(connection, token, now, who)
        note(connection, actor, now, "token.revoke", token, detail=f"of {whose}")


def row_of(row: Any) -> TokenRow:
    """A token's row as it is told."""
    role = None if row.role is None else Role(row.role).word
    return TokenRow(row.id, row.label, row.created, row.expires, row.project_name, role, row.used)
