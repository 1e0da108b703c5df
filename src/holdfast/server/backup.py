"""What only a backup saves: people, projects, roles, tokens' digests, sealed credentials, the audit log, in one file of JSON.

The secret is not in it, and is kept apart; the copy of the catalog is not, for it is made from the buckets. A backup names the state
of the tables that it was made from, and is put back at that state and migrated from there.
"""

from __future__ import annotations

import base64
import errno
import os
import secrets
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import LargeBinary, MetaData, Table, func, insert, select, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from holdfast.errors import ConflictError, IntegrityError, LocalError, UsageError
from holdfast.formats.api import decode_request, encode
from holdfast.server import migrate, projects
from holdfast.server.alone import administering
from holdfast.server.audit import Actor, note
from holdfast.server.secret import Vault, new_key, read_secret, write_secret
from holdfast.server.stores import purpose_of
from holdfast.server.tables import KEPT

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from holdfast.server.database import Database

__all__ = ["backup", "restore", "rotate_secret", "unopened"]

_FORMAT: Final = "holdfast-server-backup-1"


def backup(database: Database, file: Path, now: float, *, dry_run: bool = False) -> dict[str, int]:
    """Write a backup to a new file that only its owner can read; rows by table. A ``dry_run`` looks whether the file could be written.

    Raises:
        ConflictError: the database is not at this release's state.
        LocalError: the file exists, or cannot be written.
    """
    migrate.require_current(database)
    with database.read() as connection:
        tables = {each.name: [dict(row) for row in connection.execute(select(each)).mappings()] for each in KEPT}
    document = {"format": _FORMAT, "revision": migrate.revision(database), "made": now, "tables": tables}
    if dry_run:
        _refuse_unwritable(file)
    else:
        _write(file, encode(document))
    return {name: len(rows) for name, rows in tables.items()}


def unopened(file: Path, secret: Path) -> list[str]:
    """The projects of a backup whose credentials this secret does not open.

    Raises:
        LocalError: it holds credentials, and there is no such secret file: a new one would open none of them.
        UsageError: the file is no backup, or one of a newer release.
    """
    rows = _read(file)["tables"].get("projects", [])
    sealed = {row["name"]: row["sealed"] for row in rows if isinstance(row, dict) and row.get("sealed")}
    if not sealed:
        return []
    try:
        read_secret(secret)
    except LocalError as error:
        hint = "put the old server's secret there, or name it with --secret-file"
        raise LocalError(
            f"{file} holds credentials of projects, and {error.message}", subject=str(secret), hint=hint
        ) from error
    vault = Vault(lambda: read_secret(secret))
    return sorted(name for name, data in sealed.items() if not _opens(vault, name, data))


def _opens(vault: Vault, name: str, sealed: str) -> bool:
    try:
        vault.open(base64.b64decode(sealed), purpose_of(name))
    except (IntegrityError, ValueError, TypeError):
        return False
    return True


def restore(database: Database, file: Path, *, dry_run: bool = False) -> dict[str, int]:
    """Put a backup of this release or an older one into a database in which nobody is yet, all of it or nothing; rows by table. A
    ``dry_run`` takes it all back.

    Raises:
        UsageError: the file is no backup, or one of a newer release.
        ConflictError: there are people or projects in the database, or it is at another state than the backup.
    """
    document = _read(file)
    state = document["revision"]
    empty = migrate.is_empty(database)
    if not empty and migrate.revision(database) != state:
        raise ConflictError("the database is not at the backup's state", hint="restore into a new, empty database")
    with database.write() as connection:
        if empty:
            migrate.upgrade_in(connection, state)
        try:
            done = _fill(connection, document["tables"])
        except OperationalError:
            raise  # the database's own trouble
        except (SQLAlchemyError, OverflowError, AttributeError, TypeError, ValueError) as error:
            why = f"{file} does not fit its tables: {type(error).__name__}"
            raise UsageError(why, subject=str(file)) from error
        migrate.upgrade_in(connection)
        if dry_run:
            connection.rollback()
    return done


def rotate_secret(database: Database, path: Path, now: float, *, dry_run: bool = False) -> int:
    """Another key in the secret file, and every credential sealed with it; how many. Killed at any moment, it can be run again; several at one
    moment wait for each other.

    The old key stays in the file until nothing is sealed with it, so that servers at work go on. A ``dry_run`` opens every credential,
    and leaves all as it is.
    """
    if dry_run:
        keys = read_secret(path)
        with database.write() as connection:
            count = projects.reseal(connection, Vault(lambda: keys))
            connection.rollback()
        return count
    made = new_key()
    with administering(database) as connection:
        write_secret(path, [made, *read_secret(path)])
        count = projects.reseal(connection, Vault(lambda: read_secret(path)))
        note(connection, Actor(None), now, "secret.rotate", detail=f"{count} projects")
    with administering(database):
        # Else another one has begun meanwhile, and takes ours away once nothing needs it.
        if read_secret(path)[0] == made:
            write_secret(path, [made])
    return count


def _fill(connection: Connection, tables: dict[str, list[dict[str, Any]]]) -> dict[str, int]:
    known = MetaData()
    names = {each.name for each in KEPT}
    known.reflect(connection, only=lambda name, _: name in names)
    done: dict[str, int] = {}
    for name in (each.name for each in KEPT if each.name in known.tables):  # an older release has fewer
        table = known.tables[name]
        if connection.execute(select(func.count()).select_from(table)).scalar_one():
            raise ConflictError(f"the database has {name} already", hint="restore into a new, empty database")
        rows = [_row(table, row) for row in tables.get(name, [])]
        if rows:
            connection.execute(insert(table), rows)
        done[name] = len(rows)
        if connection.dialect.name == "postgresql" and "id" in table.c and name != "tokens":
            count_on = (
                "SELECT setval(pg_get_serial_sequence(:name, 'id'), (SELECT coalesce(max(id), 0) + 1 FROM {}), false)"
            )
            connection.execute(text(count_on.format(name)), {"name": name})
    return done


def _row(table: Table, row: dict[str, Any]) -> dict[str, Any]:
    if not set(row) <= set(table.c.keys()):
        raise ValueError("a column that there is not")
    binary = {column.name for column in table.c if isinstance(column.type, LargeBinary)}
    return {
        name: base64.b64decode(value, validate=True) if name in binary and value else value
        for name, value in row.items()
    }


def _read(file: Path) -> dict[str, Any]:
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"there is no {file}", subject=str(file)) from None
    except OSError as error:
        raise LocalError(f"cannot read {file}: {error.strerror}", subject=str(file)) from error
    try:
        document = decode_request(data, dict[str, Any])
    except UsageError:
        document = {}
    if document.get("format") != _FORMAT or not isinstance(document.get("tables"), dict):
        raise UsageError(f"{file} is no backup of a server", subject=str(file))
    if str(document.get("revision")) not in migrate.revisions():
        raise UsageError(f"{file} is of a newer release", subject=str(file), hint="upgrade Holdfast first")
    return document


def _refuse_unwritable(file: Path) -> None:
    """Raise LocalError where :func:`_write` would, as far as looking tells it."""
    folder = file.parent
    if os.path.lexists(file):
        code = errno.EEXIST
    elif not folder.is_dir():
        code = errno.ENOTDIR if folder.exists() else errno.ENOENT
    elif not os.access(folder, os.W_OK | os.X_OK):
        code = errno.EACCES
    else:
        return
    raise LocalError(f"cannot write {file}: {os.strerror(code)}", subject=str(file))


def _write(file: Path, data: bytes) -> None:
    part = file.with_name(f"{file.name}.{secrets.token_hex(4)}.part")
    try:
        try:
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            os.link(part, file)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise LocalError(f"cannot write {file}: {error.strerror}", subject=str(file)) from error
