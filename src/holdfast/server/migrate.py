"""The database's tables and their migrations (Alembic): is it at this release's state, and bringing it there.

Alembic is loaded only where tables are changed: commands that look whether they must be start without it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import inspect, text
from sqlalchemy.exc import DatabaseError, OperationalError

from holdfast.errors import ConflictError, IntegrityError, LocalError, UnreachableError, UsageError
from holdfast.server.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.config import Config
    from sqlalchemy import Connection

    from holdfast.server.settings import ServerSettings

__all__ = [
    "answering",
    "downgrade",
    "is_empty",
    "newest",
    "next_state",
    "open_as_it_is",
    "open_database",
    "require_current",
    "revision",
    "revisions",
    "upgrade",
    "upgrade_in",
]

_FOLDER: Final = Path(__file__).parent / "migrations"
#: One process at a time migrates a PostgreSQL database; SQLite's own lock does it there.
_LOCK: Final = 4_844_020_126


def open_database(settings: ServerSettings, *, current: bool = True, make: bool = True) -> Database:
    """The database of a server. With ``current`` at this release's state, to which a new SQLite database is brought at once.

    Raises:
        ConflictError: ``current`` is asked for, and it is older or newer.
        LocalError: it cannot be made.
        UsageError: there is none, and ``make`` is not set.
    """
    if make:
        if settings.data is not None:
            _make_folder(settings.data)
        _make_file(settings.database)
    else:
        _require_file(settings.database)
    database = Database(settings.database)
    try:
        if current and database.local and is_empty(database):
            with answering():
                upgrade(database)
        if current:
            require_current(database)
    except BaseException:
        database.close()
        raise
    return database


def open_as_it_is(settings: ServerSettings, *, current: bool = True, make: bool = True) -> Database:
    """As :func:`open_database`, and nothing is made: an empty database in memory stands for one that would be, with its tables if ``current``.

    Raises:
        ConflictError, UsageError: as there.
    """
    path = _file_of(settings.database)
    if not make:
        _require_file(settings.database)
    database = Database(None if path and not (os.path.exists(path) and os.path.getsize(path)) else settings.database)
    try:
        if current and database.local and is_empty(database):
            database.close()
            database = Database(None)
            upgrade(database)
        if current:
            require_current(database)
    except BaseException:
        database.close()
        raise
    return database


def upgrade(database: Database, to: str = "head") -> None:
    """Bring the tables to this release's state, in one transaction."""
    with database.write() as connection:
        upgrade_in(connection, to)


def next_state(before: str | None) -> str:
    """The state that :func:`upgrade` would bring the tables to.

    Raises:
        ConflictError: they are at one that this release does not know.
    """
    if before is not None and before not in revisions():
        raise ConflictError(f"the database is at {before}, which is newer than {newest()}", subject="database")
    return newest()


def upgrade_in(connection: Connection, to: str = "head") -> None:
    """The same in a transaction that does more."""
    from alembic import command

    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    command.upgrade(_config(connection), to)


def downgrade(database: Database, to: str) -> None:
    """Take the tables back to an older state."""
    from alembic import command

    with database.write() as connection:
        command.downgrade(_config(connection), to)


def revision(database: Database) -> str | None:
    """The state that the tables are in; None where there are none of ours."""
    with answering(), database.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return found


def newest() -> str:
    """The state that this release needs: that of the last migration."""
    return max(revisions())


def revisions() -> set[str]:
    """The states that this release knows: each is the number that begins the name of its migration's file."""
    return {path.name.partition("_")[0] for path in (_FOLDER / "versions").glob("[0-9]*.py")}


def is_empty(database: Database) -> bool:
    """Whether nothing is in the database at all."""
    with answering(), database.read() as connection:
        return not inspect(connection).get_table_names()


@contextmanager
def answering() -> Iterator[None]:
    """What the database cannot do in the block, as our errors.

    Raises:
        UnreachableError: it is away, locked, full or read-only.
        IntegrityError: its file is none of a database, or damaged.
    """
    try:
        yield
    except DatabaseError as error:
        why = str(error.orig).partition("\n")[0]
        if isinstance(error, OperationalError):
            raise UnreachableError(f"the database does not answer: {why}", subject="database") from error
        if type(error) is not DatabaseError:  # a statement of ours that is wrong
            raise
        hint = "move its files away, and: asset server restore FILE, with the last backup"
        raise IntegrityError(f"the database is damaged: {why}", subject="database", hint=hint) from error


def require_current(database: Database) -> None:
    """Refuse a database that is not at this release's state.

    Raises:
        ConflictError: it is older or newer.
    """
    found, wanted = revision(database), newest()
    if found != wanted:
        hint = "asset server migrate (with the same --data or --database); make a backup before"
        raise ConflictError(f"the database is at {found or 'nothing'}, not at {wanted}", subject="database", hint=hint)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "stores").mkdir(exist_ok=True)
    except OSError as error:
        raise LocalError(f"cannot make {folder}: {error.strerror}", subject=str(folder)) from error


def _require_file(database: str) -> None:
    """A path that was mistyped is no new server."""
    path = _file_of(database)
    if path and not os.path.lexists(path):
        hint = "--data, --database or --config names a server that there is; asset server start makes one"
        raise UsageError(f"no server's database at {path}", subject=path, hint=hint)


def _file_of(database: str) -> str:
    """The path of a database in a file; of any other nothing."""
    return database.removeprefix("sqlite:///") if database.startswith("sqlite:///") else ""


def _make_file(database: str) -> None:
    """A database in a file is its owner's alone, from its first byte on (SQLite gives its other files the same rights)."""
    path = _file_of(database)
    if path and not os.path.lexists(path):
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise LocalError(f"cannot make {path}: {error.strerror}", subject=path) from error


def _config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
