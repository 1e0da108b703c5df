"""Which server the commands of ``asset server`` mean, and an admin's deeds on its database.

They work on the server's own database: whoever can read its secret file may use them.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdfast.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.cli.options import Session
    from holdfast.server.admin import Administration
    from holdfast.server.settings import ServerSettings

__all__ = ["Place", "administration", "placed"]


@dataclass(frozen=True, slots=True)
class Place:
    """Which server is meant, as the options say."""

    data: str | None
    database: str | None
    config: str | None
    secret_file: str | None

    def settings(self, session: Session, **more: Any) -> ServerSettings:
        """The server's settings.

        Raises:
            LocalError: the server's libraries are not installed.
            UsageError: the options name no server.
        """
        try:
            from holdfast.server.settings import load_settings
        except ModuleNotFoundError as error:
            hint = "pip install 'holdfast[server]'"
            raise LocalError(f"the server needs the library {error.name}", subject=error.name, hint=hint) from None
        given = {"data": self.data, "database": self.database, "secret_file": self.secret_file, **more}
        file = None if self.config is None else Path(self.config)
        return load_settings({**given, "environ": session.settings.environ}, file)


def placed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options by which a server is named; the function gets them as ``place``."""

    def call(
        session: Session,
        *arguments: Any,
        data: str | None,
        database: str | None,
        config: str | None,
        secret_file: str | None,
        **options: Any,
    ) -> Any:
        return function(session, *arguments, place=Place(data, database, config, secret_file), **options)

    for option in (
        click.option("--secret-file", metavar="FILE", help="The key for sealed credentials; DIR/secret unless told."),
        click.option("--config", metavar="FILE", help="The server's settings, in TOML."),
        click.option("--database", metavar="URL", help="postgresql+psycopg://…; an SQLite file in DIR unless told."),
        click.option("--data", metavar="DIR", help="The server's folder: database, secret, stores of its own."),
    ):
        call = option(call)
    call.__doc__ = function.__doc__
    call.__name__ = function.__name__
    if hasattr(function, "__click_params__"):
        call.__click_params__ = [*function.__click_params__, *call.__click_params__]  # type: ignore[attr-defined]
    return call


@contextmanager
def administration(session: Session, place: Place, *, current: bool = True) -> Iterator[Administration]:
    """What an admin does, on the server's own database; a new SQLite database and a secret are made where there are none.

    With ``current`` the database is at this release's state; else it is as it is, and a new one is empty.
    """
    settings = place.settings(session)
    from holdfast.clock import SystemClock
    from holdfast.server.admin import Administration
    from holdfast.server.audit import Actor
    from holdfast.server.migrate import open_database
    from holdfast.server.secret import Vault, read_secret

    database = open_database(settings, current=current)
    try:
        read_secret(settings.secret, make=True)
        vault = Vault(lambda: read_secret(settings.secret))
        yield Administration(database, settings, vault, SystemClock(), Actor(None))
    finally:
        database.close()
