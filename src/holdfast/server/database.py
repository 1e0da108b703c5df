"""The server's database: SQLite in a file, or PostgreSQL. Connections with the right settings, and nothing about tables.

``read`` and ``write`` give connections of SQLAlchemy Core; a write is one transaction, and on SQLite it takes the lock at its
beginning, so that it waits for another writer and never fails half-way. :class:`Prepared` is a single read for the hot path: the
statement is put into words once, and a call costs little more than the driver's own work.

Example::

    database = Database("sqlite:////srv/holdfast/holdfast.db")
    with database.read() as connection:
        connection.execute(select(accounts.c.name)).scalars()
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import StaticPool

from holdfast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Engine, Select, Table

__all__ = ["Database", "Prepared", "insert_new", "sqlite_url", "upsert"]

#: How long a writer waits for another one, in milliseconds.
_BUSY: Final = 10_000
_WRITES: Final = "holdfast_writes"
_DIALECTS: Final = ("sqlite", "postgresql")


def sqlite_url(path: object) -> str:
    """The URL of a database in a file."""
    return f"sqlite:///{path}"


class Database:
    """A database that is there; whether its tables are is asked of ``migrate``. Without a URL it is an empty one in memory.

    Raises:
        UsageError: the URL is none of a database that the server can use.
    """

    def __init__(self, url: str | None) -> None:
        self.engine: Engine = _in_memory() if url is None else _engine(url)
        # A transaction of SQLite's sees one state as it is.
        options = {} if self.local else {"isolation_level": "REPEATABLE READ"}
        self._reading = self.engine.execution_options(**options)
        self._threads = threading.local()
        self._owned: list[sqlite3.Connection] = []

    @property
    def local(self) -> bool:
        """Whether a read is a matter of microseconds, and may be done where nothing else may wait."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one state of the database."""
        with self._reading.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection in a transaction: committed at the end, taken back on an error."""
        with self.engine.connect().execution_options(**{_WRITES: True}) as connection, connection.begin():
            yield connection

    def own(self) -> sqlite3.Connection:
        """This thread's own connection to a file, out of the pool: a read is quicker than the pool's bookkeeping."""
        found: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        if found is None:
            pooled = self.engine.raw_connection()
            found = self._threads.connection = cast(sqlite3.Connection, pooled.driver_connection)
            pooled.detach()
            self._owned.append(found)
        return found

    def close(self) -> None:
        """Let go of every connection."""
        self.engine.dispose()
        while self._owned:
            self._owned.pop().close()


class Prepared:
    """One SELECT for one row, made ready. Names of its ``bindparam`` are the arguments of a call."""

    def __init__(self, database: Database, statement: Select[Any]) -> None:
        compiled = statement.compile(dialect=database.engine.dialect)
        self._engine = database.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._text = compiled.string
        self._order = tuple(compiled.positiontup) if compiled.positiontup else None
        self._fixed = {name: value for name, value in compiled.params.items() if value is not None}
        self._database = database

    def one(self, **values: Any) -> tuple[Any, ...] | None:
        """The first row, or None."""
        given = self._fixed | values
        arguments = given if self._order is None else tuple(given[name] for name in self._order)
        if not self._database.local:
            with self._engine.connect() as connection:
                found = connection.exec_driver_sql(self._text, arguments).first()
            return None if found is None else tuple(found)
        try:
            rows = self._database.own().execute(self._text, arguments).fetchall()  # all, so that nothing stays open
        except sqlite3.Error as error:
            raise OperationalError(self._text, None, error) from error
        return rows[0] if rows else None


def upsert(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, all of the same columns, or overwrite those of the same primary key, whoever else does so at this moment."""
    keys = [column.name for column in table.primary_key]
    new = _insert(connection, table)
    changed = {name: new.excluded[name] for name in (rows[0] if rows else {}) if name not in keys}
    if rows:
        connection.execute(new.on_conflict_do_update(index_elements=keys, set_=changed), rows)


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows, but for those that would break a rule of uniqueness: somebody was first."""
    if rows:
        connection.execute(_insert(connection, table).on_conflict_do_nothing(), rows)


def _insert(connection: Connection, table: Table) -> Any:
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


def _in_memory() -> Engine:
    """An engine over one connection, with which the database goes."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _engine(url: str) -> Engine:
    hint = "sqlite:////path/to/file or postgresql+psycopg://user@host/name"
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() not in _DIALECTS:
            raise UsageError(f"no database {parsed.get_backend_name()}", subject="database", hint=hint)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        options: dict[str, Any] = {"pool_size": 10, "max_overflow": 40, "hide_parameters": True}
        if parsed.get_backend_name() == "sqlite":
            options["connect_args"] = {"check_same_thread": False, "timeout": _BUSY / 1000}
        else:
            options |= {"pool_pre_ping": True, "pool_timeout": 10, "connect_args": {"connect_timeout": 5}}
        engine = create_engine(parsed, **options)
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError("the database's URL is none", subject="database", hint=hint) from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """WAL: readers and the writer do not wait for each other. Transactions are begun by us, not by the driver."""
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={_BUSY}", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
