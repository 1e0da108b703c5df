"""The database's tables and their migrations (Alembic): is it at this release's state, and bringing it there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import OperationalError

from holdfast.errors import ConflictError, UnreachableError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from holdfast.server.database import Database

__all__ = ["downgrade", "is_empty", "require_current", "revision", "upgrade"]

_FOLDER: Final = Path(__file__).parent / "migrations"
#: One process at a time migrates a PostgreSQL database; SQLite's own lock does it there.
_LOCK: Final = 4_844_020_126


def upgrade(database: Database, to: str = "head") -> None:
    """Bring the tables to this release's state, in one transaction."""
    with database.write() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        command.upgrade(_config(connection), to)


def downgrade(database: Database, to: str) -> None:
    """Take the tables back to an older state."""
    with database.write() as connection:
        command.downgrade(_config(connection), to)


def revision(database: Database) -> str | None:
    """The state that the tables are in; None where there are none of ours."""
    try:
        with database.read() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except OperationalError as error:
        raise UnreachableError("the database does not answer", subject="database") from error


def is_empty(database: Database) -> bool:
    """Whether nothing is in the database at all."""
    with database.read() as connection:
        return not inspect(connection).get_table_names()


def require_current(database: Database) -> None:
    """Refuse a database that is not at this release's state.

    Raises:
        ConflictError: it is older or newer.
    """
    found, wanted = revision(database), ScriptDirectory(str(_FOLDER)).get_current_head()
    if found != wanted:
        hint = "asset server migrate (with the same --data or --database); make a backup before"
        raise ConflictError(f"the database is at {found or 'nothing'}, not at {wanted}", subject="database", hint=hint)


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
