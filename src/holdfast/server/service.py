"""What the routes stand on: settings, database, secret, open stores, access and the clock, made once for a process."""

from __future__ import annotations

import logging
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy.exc import SQLAlchemyError

from holdfast.clock import SystemClock
from holdfast.server.access import Access
from holdfast.server.accounts import list_accounts
from holdfast.server.admin import Administration
from holdfast.server.audit import note
from holdfast.server.copies import Copies
from holdfast.server.database import Database
from holdfast.server.discovery import Issuer
from holdfast.server.limits import Attempts
from holdfast.server.metrics import Metrics
from holdfast.server.resolving import Resolving
from holdfast.server.room import Room
from holdfast.server.scanning import Scans
from holdfast.server.secret import Vault, read_secret
from holdfast.server.stores import Stores
from holdfast.server.tokens import note_use

if TYPE_CHECKING:
    from holdfast.catalog.base import Clock
    from holdfast.server.audit import Actor
    from holdfast.server.settings import ServerSettings

__all__ = ["Service"]

_log: Final = logging.getLogger("holdfast.server")


class Service:
    """The parts of a running server. ``make`` says that a secret may be made where there is none."""

    def __init__(self, settings: ServerSettings, *, clock: Clock | None = None, make: bool = False) -> None:
        self.settings = settings
        self.clock: Clock = clock or SystemClock()
        read_secret(settings.secret, make=make)
        self.vault = Vault(lambda: read_secret(settings.secret))
        self.database = Database(settings.database)
        self.stores = Stores(self.database, self.vault, lambda: self.settings)
        self.access = Access(self.database, self.clock, self.stores.store, self._used)
        self.attempts = Attempts(settings.login_attempts, settings.login_window, self.clock)
        self.issuers = {each.name: Issuer(each, self.clock) for each in settings.oidc}
        self.metrics = Metrics()
        self.room = Room(tempfile.gettempdir() if settings.data is None else str(settings.data))
        self.copies = Copies(self.database)
        self.resolving = Resolving(self.copies, self.clock, settings.freshness)
        self.scans = Scans(self.copies, self.clock)
        self._later = ThreadPoolExecutor(1, "holdfast-notes")

    def has_people(self) -> bool:
        """Whether there is anybody who could sign in."""
        with self.database.read() as connection:
            return bool(list_accounts(connection))

    def now(self) -> float:
        """This moment, in seconds since the epoch."""
        return self.clock.now().timestamp()

    def later(self, act: Any, *arguments: Any) -> None:
        """Do something small after the answer; that it fails is logged and no more."""
        self._later.submit(self._try, act, *arguments)

    def administration(self, actor: Actor) -> Administration:
        """What an admin does, in somebody's name."""
        return Administration(self.database, self.settings, self.vault, self.clock, actor)

    def noted(self, actor: Actor, action: str, subject: str, project: str) -> None:
        """Write down what was done in a project; after the answer, for it is done already."""
        self.later(self._note, actor, self.now(), action, subject, project)

    def _note(self, actor: Actor, now: float, action: str, subject: str, project: str) -> None:
        with self.database.write() as connection:
            note(connection, actor, now, action, subject, project=project)

    def close(self) -> None:
        """End what was begun and let go of everything."""
        self.scans.stop()
        self._later.shutdown()
        self.database.close()

    def _used(self, token: str, now: float) -> None:
        self.later(self._note_use, token, now)

    def _note_use(self, token: str, now: float) -> None:
        with self.database.write() as connection:
            note_use(connection, token, now)

    def _try(self, act: Any, *arguments: Any) -> None:
        try:
            act(*arguments)
        except SQLAlchemyError as error:
            _log.warning("%s was not done: %s", getattr(act, "__name__", "work"), type(error).__name__)
