"""What this web server last agreed to, kept on this machine: the base of each path, and what it was about to do.

An SQLite file in the state folder, for this program alone. A change is noted as *saying* before it is published, as *pending* before
its file is laid, and as agreed after: so a process that was killed between the two takes neither what it said nor what it laid itself
for another's.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import socket
import sqlite3
import tempfile
from contextlib import closing
from typing import TYPE_CHECKING, Final

from holdfast.disk import local_errors
from holdfast.errors import BusyError, LocalError
from holdfast.formats.sync import decode_change, encode_change
from holdfast.sites.recording import change_of, record_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path
    from typing import Self

    from holdfast.sites.changes import Change, Content
    from holdfast.sites.webroot import Fingerprint

__all__ = ["Agreed"]

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS base (path TEXT PRIMARY KEY, change BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pending (path TEXT PRIMARY KEY, change BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS saying (path TEXT PRIMARY KEY, change BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fingerprints (path TEXT PRIMARY KEY, mode, size, mtime, ctime, inode, content BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
"""


class Agreed:
    """The state of one webroot's sync below ``folder``; held by one process at a time. Used in a ``with`` block.

    For a dry run it is a copy in memory, and nothing is made or written on the disk.
    """

    def __init__(self, folder: Path, *, dry_run: bool = False) -> None:
        self.folder = folder
        self._dry = dry_run
        self.base: dict[str, Change] = {}
        self.pending: dict[str, Change] = {}
        self.saying: dict[str, Change] = {}
        self._prints: dict[str, tuple[Fingerprint, Content]] = {}
        self._lock = -1
        self._database: sqlite3.Connection | None = None
        self.node = ""

    @property
    def kept(self) -> Path:
        """What was replaced and is kept: a folder for each run that had to."""
        return self.folder / "kept"

    def __enter__(self) -> Self:
        """Open it.

        Raises:
            BusyError: another process syncs this webroot.
            LocalError: the folder cannot be made or read.
        """
        with local_errors(self.folder):
            if not self._dry:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self._dry or (self.folder / "lock").exists():
                self._take()
        try:
            self._open()
        except sqlite3.Error as error:
            self.__exit__()
            raise _unusable(self.folder, error) from error
        return self

    def _take(self) -> None:
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise BusyError(
                "another process syncs this webroot", subject=str(self.folder), hint="one asset site sync is enough"
            ) from None

    def _open(self) -> None:
        path = self.folder / "agreed.sqlite"
        if self._dry:
            self._database = _copied(path)
        else:
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
        self._database.executescript(_TABLES)
        if not self._dry:
            path.chmod(0o600)
        self.node = str(self.fact("node") or "")
        if not self.node:
            host = re.sub(r"[^A-Za-z0-9-]+", "-", socket.gethostname()).strip("-")[:60] or "server"
            self.node = f"{host}-{secrets.token_hex(4)}"
            self.say(node=self.node)
        self.base = self._changes("base")
        self.pending = self._changes("pending")
        self.saying = self._changes("saying")
        rows = self._database.execute("SELECT path, mode, size, mtime, ctime, inode, content FROM fingerprints")
        for name, *numbers, content in rows:
            found = change_of(decode_change(content)).content
            if found is not None:
                mode, size, mtime, ctime, inode = numbers
                self._prints[name] = ((mode, size, mtime, ctime, int(inode)), found)

    def __exit__(self, *_: object) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
        if self._lock >= 0:
            os.close(self._lock)

    def _changes(self, table: str) -> dict[str, Change]:
        rows = self._db.execute(f"SELECT path, change FROM {table}")  # noqa: S608 - a name of ours
        return {path: change_of(decode_change(data)) for path, data in rows}

    @property
    def _db(self) -> sqlite3.Connection:
        assert self._database is not None, "used outside of its with block"  # noqa: S101
        return self._database

    # facts

    def fact(self, name: str) -> int | str | None:
        """Something said before, by name."""
        row = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else row[0]

    def say(self, **facts: int | str) -> None:
        """Keep these."""
        self._many("INSERT OR REPLACE INTO facts VALUES (?, ?)", facts.items())

    # changes

    def agree(self, changes: Mapping[str, Change]) -> None:
        """Note what the disk shows now."""
        self.base.update(changes)
        self._many("INSERT OR REPLACE INTO base VALUES (?, ?)", _rows(changes))

    def forget(self, paths: Iterable[str]) -> None:
        """Know nothing any more of these."""
        listed = [path for path in paths if self.base.pop(path, None) is not None]
        self._many("DELETE FROM base WHERE path = ?", [(path,) for path in listed])

    def intend(self, changes: Mapping[str, Change]) -> None:
        """Note what is about to be laid; nothing, once it is done."""
        if changes or self.pending:
            self.pending = dict(changes)
            self._note("pending", changes)

    def say_next(self, changes: Mapping[str, Change]) -> None:
        """Note what is about to be published; nothing, once it is done."""
        if changes or self.saying:
            self.saying = dict(changes)
            self._note("saying", changes)

    def _note(self, table: str, changes: Mapping[str, Change]) -> None:
        self._many(f"DELETE FROM {table}", [()])  # noqa: S608 - a name of ours
        self._many(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", _rows(changes))  # noqa: S608

    def rejoin(self) -> None:
        """Forget everything that was agreed, but not who this server is."""
        for table in ("base", "pending", "saying", "fingerprints"):
            self._many(f"DELETE FROM {table}", [()])  # noqa: S608 - a name of ours
        self._many("DELETE FROM facts WHERE name != 'node'", [()])
        self.base, self.pending, self.saying, self._prints = {}, {}, {}, {}

    # fingerprints

    def known(self, path: str, fingerprint: Fingerprint) -> Content | None:
        """What a file held when it had this fingerprint, if it was read then."""
        found = self._prints.get(path)
        return found[1] if found is not None and found[0] == fingerprint else None

    def remember(self, fingerprints: Mapping[str, Fingerprint], entries: Mapping[str, Content]) -> None:
        """Keep the fingerprints of what was read, and no others."""
        gone = [path for path in self._prints if path not in fingerprints]
        new = {path: each for path, each in fingerprints.items() if self.known(path, each) is None}
        for path in gone:
            del self._prints[path]
        self._prints.update({path: (each, entries[path]) for path, each in new.items()})
        self._many("DELETE FROM fingerprints WHERE path = ?", [(path,) for path in gone])
        self._many(
            "INSERT OR REPLACE INTO fingerprints VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(path, *each[:4], str(each[4]), _content_row(path, entries[path])) for path, each in new.items()],
        )

    def _many(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        listed = list(rows)
        if not listed:
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.executemany(statement, listed)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise _unusable(self.folder, error) from error


def _copied(path: Path) -> sqlite3.Connection:
    """A copy of the file in memory, with what a killed process left in its log; empty where there is none.

    SQLite would write that log back, or make files beside it, if it opened the file itself.
    """
    memory = sqlite3.connect(":memory:", isolation_level=None)
    if path.exists():
        with local_errors(path), tempfile.TemporaryDirectory() as scratch:
            for name in (path.name, f"{path.name}-wal"):
                if path.with_name(name).exists():
                    shutil.copyfile(path.with_name(name), os.path.join(scratch, name))
            with closing(sqlite3.connect(os.path.join(scratch, path.name))) as there:
                there.backup(memory)
    return memory


def _rows(changes: Mapping[str, Change]) -> list[tuple[str, bytes]]:
    return [(path, encode_change(record_of(path, change))) for path, change in changes.items()]


def _content_row(path: str, content: Content) -> bytes:
    from holdfast.sites.changes import Change

    return encode_change(record_of(path, Change(content, 0, "=")))


def _unusable(folder: Path, error: sqlite3.Error) -> LocalError:
    hint = "is the disk full? Without this file the server joins anew: nothing is lost, and what differs is kept"
    return LocalError(f"{folder / 'agreed.sqlite'}: {error}", subject=str(folder), hint=hint)
