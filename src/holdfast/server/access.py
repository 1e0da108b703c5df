"""Who may do what: a token's owner, and the role that it has in a project. Every request asks the database anew.

One query joins token, account, project and roles, so that revoking a token, disabling an account or taking a role away counts from the
next request on, at every server on that database. Whoever may not is told nothing more than that: a project that does not
exist and one without a role are the same refusal.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from sqlalchemy import bindparam, func, select

from holdfast.catalog.bucket import BucketCatalog
from holdfast.errors import AccessError
from holdfast.server.database import Prepared
from holdfast.server.tables import account_roles, accounts, group_roles, members, projects, tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Select

    from holdfast.catalog.base import Clock
    from holdfast.formats.api import Role as RoleName
    from holdfast.server.database import Database
    from holdfast.store.base import Store

__all__ = ["Access", "NotSignedInError", "OpenProject", "Principal", "Role", "TokenScope", "token_digest"]

#: A token's last use is written down when it is older than this, in seconds.
_USE_EVERY: Final = 3600.0


class Role(IntEnum):
    """What one may do in a project; each may do what those below may."""

    READER = 1
    WRITER = 2
    ADMIN = 3

    @property
    def word(self) -> RoleName:
        """As it is written: ``reader``."""
        return _WORDS[self]

    @classmethod
    def named(cls, word: str) -> Role:
        """The role of a name, which the API's types have checked."""
        return cls[word.upper()]


_WORDS: Final[dict[Role, RoleName]] = {Role.READER: "reader", Role.WRITER: "writer", Role.ADMIN: "admin"}


class NotSignedInError(AccessError):
    """No token, or one that is not (any more) good; answered with 401."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, from the token alone. ``token`` is the id of the token's row; ``admin`` is of the server."""

    account: int
    name: str
    admin: bool
    token: str


@dataclass(frozen=True, slots=True)
class TokenScope:
    """What a token is narrowed to: a project, a role at most; nothing where both are None."""

    project: int | None
    role: Role | None


@dataclass(frozen=True, slots=True)
class OpenProject:
    """A project that the principal has a role in, opened as its row was at this revision."""

    id: int
    name: str
    url: str
    revision: int
    store: Store
    catalog: BucketCatalog
    role: Role
    principal: Principal


def token_digest(text: str) -> bytes:
    """What is kept of a token: 256 random bits need no slow hash."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class Access:
    """Answers from the database who a token belongs to and which project it opens.

    ``open_store`` gives the store of a project by id and revision (and ``wait``); ``used`` is told of a token whose use is to be written down.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        open_store: Callable[..., Store],
        used: Callable[[str, float], None],
    ) -> None:
        self._clock = clock
        self._open_store = open_store
        self._used = used
        self._ask = Prepared(database, _question())

    def principal(self, token: str | None, *, pages: bool = False) -> Principal:
        """Whose token it is; with ``pages``, whose session.

        Raises:
            NotSignedInError: it is nobody's, or no longer good.
        """
        return self._asked(token, None, pages)[0]

    def open(
        self, token: str | None, project: str, need: Role, *, wait: bool = True, pages: bool = False
    ) -> OpenProject:
        """A project, for whoever has this role in it; unless ``wait``, only one whose store is open already; with ``pages``, the
        token is a session's.

        Raises:
            NotSignedInError: the token is no good.
            AccessError: the role does not suffice, or there is no such project.
        """
        principal, scope, found = self._asked(token, project, pages)
        if found is None:
            raise refused()
        number, name, url, revision, role = found
        if scope.project not in (None, number):
            raise refused()
        role = role if scope.role is None else min(role, scope.role)
        if role < need:
            raise refused()
        store = self._open_store(number, revision, wait=wait)
        catalog = BucketCatalog(store, self._clock, principal.name)
        return OpenProject(number, name, url, revision, store, catalog, Role(role), principal)

    def _asked(
        self, token: str | None, project: str | None, pages: bool
    ) -> tuple[Principal, TokenScope, tuple[int, str, str, int, int] | None]:
        if project is not None and "\0" in project:  # PostgreSQL has no such text
            project = None
        row = None if not token else self._ask.one(digest=token_digest(token), project=project or "")
        now = self._clock.now().timestamp()
        if row is None:
            raise _unknown()
        (number, expires, revoked, used, scope_project, scope_role, session, account, name, admin, *rest) = row
        disabled, project_id, project_name, url, revision, own, shared = rest
        if revoked is not None or expires <= now or disabled or bool(session) != pages:
            raise _unknown()
        if used is None or now - used > _USE_EVERY:
            self._used(number, now)
        scope = TokenScope(scope_project, None if scope_role is None else Role(scope_role))
        whole = scope.project is None and scope.role is None
        principal = Principal(account, name, bool(admin) and whole, number)
        if project_id is None:
            return principal, scope, None
        role = Role.ADMIN if admin else max(own or 0, shared or 0)
        return principal, scope, (project_id, project_name, url, revision, role)


def refused() -> AccessError:
    """The one answer to whoever may not; it tells nothing of what is there."""
    return AccessError("not allowed", hint="ask an administrator of the server for a role")


def _unknown() -> NotSignedInError:
    return NotSignedInError("not signed in", hint="sign in with: asset login URL")


def _question() -> Select[tuple[object, ...]]:
    """Token, account, and one project with the account's roles in it, by the token's digest and the project's name."""
    own = (
        select(account_roles.c.role)
        .where(account_roles.c.project == projects.c.id, account_roles.c.account == accounts.c.id)
        .scalar_subquery()
    )
    shared = (
        select(func.max(group_roles.c.role))
        .join_from(members, group_roles, group_roles.c.group == members.c.group)
        .where(group_roles.c.project == projects.c.id, members.c.account == accounts.c.id)
        .scalar_subquery()
    )
    life = (tokens.c.id, tokens.c.expires, tokens.c.revoked, tokens.c.used)
    token = (*life, tokens.c.project, tokens.c.role, tokens.c.pages)
    account = (accounts.c.id, accounts.c.name, accounts.c.admin, accounts.c.disabled)
    project = (projects.c.id, projects.c.name, projects.c.url, projects.c.revision)
    return (
        select(*token, *account, *project, own, shared)
        .select_from(tokens)
        .join(accounts, accounts.c.id == tokens.c.account)
        .outerjoin(projects, projects.c.name == bindparam("project"))
        .where(tokens.c.digest == bindparam("digest"))
    )
