"""One at a time: commits of one asset that name a parent, of which only the first may find it newest; and writes under one key that the
store itself does not hold to creating, each of which looks first whether anything is there; and what admins do, who must see what the
others have done.

In one process by a lock; between processes on PostgreSQL by its advisory locks, which end with their connection. A server that
stands on SQLite is one process.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

    from holdfast.server.database import Database

__all__ = ["administering", "alone", "writing"]

#: Assets that share a lock wait for each other now and then, which does no harm.
_locks: Final = tuple(threading.Lock() for _ in range(64))
#: Apart, for a write may take long.
_keys: Final = tuple(threading.Lock() for _ in range(256))
#: No asset's number, but by chance; then they wait for each other.
_DEEDS: Final = 4_844_020_127


@contextmanager
def alone(database: Database, project: int, name: str, locks: Sequence[threading.Lock] = _locks) -> Iterator[None]:
    """While the block runs, nobody else is in one for this asset; ``locks`` are those of this process."""
    number = int.from_bytes(blake2b(f"{project}/{name}".encode(), digest_size=8).digest(), "big", signed=True)
    with locks[number % len(locks)]:
        if database.local:
            yield
            return
        with database.write() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})
            yield


def writing(database: Database, project: int, key: str) -> AbstractContextManager[None]:
    """While the block runs, nobody else is in one for this key of the project."""
    return alone(database, project, f"object {key}", _keys)


@contextmanager
def administering(database: Database) -> Iterator[Connection]:
    """A transaction in which no other one of this kind is, so that what it looks at first still holds when it writes. SQLite has one
    writer at any time.
    """
    with database.write() as connection:
        if not database.local:
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _DEEDS})
        yield connection
