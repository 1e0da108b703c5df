"""PostgreSQL, for servers that are several processes on one database. It refuses to run as root, who lends it to ``nobody``."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.services.base import HOST, free_port, processes, program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["start"]

_PLACES: Final = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
#: What is lost with the machine is no loss to a test.
_OPTIONS: Final = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")


@contextmanager
def start() -> Iterator[Callable[[], str]]:
    """Run it on a free port; a function that makes a new, empty database and tells its URL."""
    initdb, postgres = program("initdb", *_PLACES), program("postgres", *_PLACES)
    # Beside pytest's folders, for those are closed to everybody but who runs the tests.
    directory = Path(tempfile.mkdtemp(prefix="holdfast-postgres-"))
    try:
        with processes("postgres", directory, patience=1) as group:
            as_user: list[str | Path] = []
            if os.geteuid() == 0:
                shutil.chown(directory, "nobody", "nogroup")
                as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "--pdeathsig=KILL", "--"]
            data, port = directory / "data", free_port()
            group.run([*as_user, initdb, "-D", data, "-U", "holdfast", "-A", "trust", "-E", "UTF8", "--no-sync"])
            settings = [piece for option in _OPTIONS for piece in ("-c", option)]
            group.spawn([*as_user, postgres, "-D", data, "-h", HOST, "-p", str(port), "-k", directory, *settings])
            group.wait(lambda: _answers(port), 30)
            yield lambda: _new_database(port)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _answers(port: int) -> bool:
    import psycopg

    try:
        psycopg.connect(f"host={HOST} port={port} user=holdfast dbname=postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _new_database(port: int) -> str:
    import psycopg

    name = f"t{secrets.token_hex(6)}"
    with psycopg.connect(f"host={HOST} port={port} user=holdfast dbname=postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return f"postgresql+psycopg://holdfast@{HOST}:{port}/{name}"
