"""Opening the stores of projects: with the project's own credentials only, once per state of its row.

The environment of the server's process is no project's, unless its row says ``credentials = "server"``. A store is kept open under
the project's id and revision; when an admin changes the row, the next request finds another revision and opens it anew. Whether it may lie where
it does is judged again then: the operator's rules, what a name stands for and where a link leads may be others than when it was set.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from holdfast.errors import AccessError, UsageError
from holdfast.formats.api import decode_request
from holdfast.server.places import folder_of, place_of
from holdfast.server.rsa import prover
from holdfast.server.tables import projects
from holdfast.store.base import SMALL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from holdfast.server.database import Database
    from holdfast.server.secret import Vault
    from holdfast.server.settings import ServerSettings
    from holdfast.store.base import Store

__all__ = ["NotOpenError", "Stores", "environment", "open_bucket", "purpose_of"]

_log: Final = logging.getLogger("holdfast.server")
#: Requests are not signed at all, so that no library looks for credentials on this machine.
_NOBODY: Final = {f"{cloud}_SKIP_SIGNATURE": "true" for cloud in ("AWS", "GOOGLE", "AZURE")}


def purpose_of(project: str) -> str:
    """What a project's credentials are sealed for."""
    return f"credentials of {project}"


class NotOpenError(Exception):
    """The store is not open yet, and opening it may take a while."""


class Stores:
    """The open stores of this process. ``settings`` gives the server's, with its environment for projects whose row says so."""

    def __init__(self, database: Database, vault: Vault, settings: Callable[[], ServerSettings]) -> None:
        self._database = database
        self._vault = vault
        self._settings = settings
        self._open: dict[int, tuple[int, Store]] = {}
        self._locks = tuple(threading.Lock() for _ in range(16))

    def store(self, project: int, revision: int, *, wait: bool = True) -> Store:
        """The store of a project, as its row is at this revision.

        Raises:
            NotOpenError: it is not open yet, and ``wait`` is not set: opening it may ask for an address.
            AccessError: the project went, or changed, at this moment; or the operator does not allow its place.
            UnreachableError: its endpoint cannot be looked up.
        """
        found = self._open.get(project)
        if found is not None and found[0] == revision:
            return found[1]
        if not wait:
            raise NotOpenError
        with self._locks[project % len(self._locks)]:
            found = self._open.get(project)
            if found is None or found[0] != revision:
                found = self._open[project] = (revision, self._opened(project, revision))
            return found[1]

    def _opened(self, project: int, revision: int) -> Store:
        with self._database.read() as connection:
            row = connection.execute(select(projects).where(projects.c.id == project)).mappings().first()
        if row is None or row["revision"] != revision:
            raise AccessError("the project has just been changed", hint="try again")
        settings = self._settings()
        environ = environment(row, self._vault, settings.environ)
        try:
            place_of(row["url"], row["endpoint"], environ, settings, region=row["region"])
            if row["url"].startswith("file://"):
                return _open_folder(folder_of(row["url"], settings))
        except UsageError as error:
            _log.error("the store of project %s may not be opened: %s", row["name"], error.message)
            raise AccessError(
                "the server may not use this project's store", hint="its operator's log says why"
            ) from None
        return open_bucket(row["url"], environ, row["endpoint"], row["region"], settings.data)


def environment(row: Mapping[Any, Any], vault: Vault, server: Mapping[str, str]) -> Mapping[str, str]:
    """The variables that a project's store is opened with: its own credentials, the server's, or those of nobody."""
    if row["credentials"] == "server":
        return server
    if row["sealed"] is None:
        return _NOBODY
    return decode_request(vault.open(row["sealed"], purpose_of(row["name"])), dict[str, str])


def open_bucket(
    url: str, environ: Mapping[str, str], endpoint: str | None, region: str | None, state: Path | None
) -> Store:
    """The bucket at a URL that has been checked; nothing is asked of it yet."""
    from holdfast.store.bucket import BucketStore
    from holdfast.store.settings import bucket_settings

    options: dict[str, Any] = {"endpoint": endpoint, "region": region, "whole": SMALL, "rsa": prover}
    described = bucket_settings(url, environ, **options)
    return BucketStore(described, probe_cache=None if state is None else state / "probes.json")


def _open_folder(folder: Path) -> Store:
    from holdfast.store.confined import ConfinedStore

    return ConfinedStore(folder)
