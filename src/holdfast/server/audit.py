"""The audit log: who did what, when, from where. Written in the transaction of what it tells of; never a secret in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from holdfast.server.copies import LARGEST_NUMBER
from holdfast.server.tables import audit

if TYPE_CHECKING:
    from sqlalchemy import Connection, Row

__all__ = ["Actor", "list_audit", "note"]

_DETAIL = 2000


@dataclass(frozen=True, slots=True)
class Actor:
    """Whoever does something, and the address it comes from; None for the command line on the server's machine."""

    name: str | None
    address: str | None = None


def note(
    connection: Connection,
    actor: Actor,
    now: float,
    action: str,
    subject: str | None = None,
    *,
    project: str | None = None,
    detail: str | None = None,
) -> None:
    """Write a line: ``action`` is a verb of ours, like ``user.add``, the rest what it was done to."""
    connection.execute(
        insert(audit).values(
            at=now,
            who=actor.name,
            address=actor.address,
            action=action,
            project=project,
            subject=None if subject is None else subject[:_DETAIL],
            detail=None if detail is None else detail[:_DETAIL],
        )
    )


def list_audit(
    connection: Connection, before: int | None, limit: int, *, project: str | None = None
) -> list[Row[tuple[object, ...]]]:
    """The newest lines first; ``before`` is the id after which the last page ended."""
    statement = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if before is not None:
        statement = statement.where(audit.c.id < max(0, min(before, LARGEST_NUMBER)))
    if project is not None:
        statement = statement.where(audit.c.project == project)
    return list(connection.execute(statement))
