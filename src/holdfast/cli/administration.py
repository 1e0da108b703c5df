"""Which server the commands of ``asset server`` mean, and an admin's deeds: on its database, or by asking it.

On the database whoever can read its secret file may do them; a server that runs is asked with the token of an admin of it.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import click

from holdfast.cli.output import marked, print_json, print_lines
from holdfast.errors import LocalError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.cli.options import Session
    from holdfast.formats.people import (
        GroupRow,
        InvitationRequest,
        InvitationRow,
        MemberRequest,
        MemberRow,
        MembersRequest,
        ProjectRequest,
        ProjectRow,
        UserRequest,
        UserRow,
    )
    from holdfast.server.admin import Administration
    from holdfast.server.settings import ServerSettings

__all__ = ["Deeds", "Place", "administration", "confirmed", "placed", "reached", "reaching", "told"]


class Deeds(Protocol):
    """What an admin does, here or there; ``holdfast.server.admin`` says what each is."""

    def users(self) -> list[UserRow]:
        """Every account."""

    def add_user(self, wanted: UserRequest) -> None:
        """A new account."""

    def invite(self, wanted: InvitationRequest) -> InvitationRow:
        """Somebody with a verified address."""

    def invitations(self) -> list[InvitationRow]:
        """The open invitations."""

    def withdraw(self, email: str) -> None:
        """Take an invitation back."""

    def new_token(self, name: str) -> str:
        """A token of a service account."""

    def set_disabled(self, name: str, *, disabled: bool) -> None:
        """Shut an account out, or let it in again."""

    def set_password(self, name: str, password: str) -> None:
        """Another password."""

    def add_group(self, name: str, members: list[str]) -> None:
        """A new group."""

    def remove_group(self, name: str) -> None:
        """Take a group away."""

    def change_members(self, name: str, change: MembersRequest) -> GroupRow:
        """Accounts into a group and out of it."""

    def projects(self) -> list[ProjectRow]:
        """Every project."""

    def add_project(self, wanted: ProjectRequest) -> ProjectRow:
        """A new project."""

    def remove_project(self, name: str) -> None:
        """Forget a project."""

    def set_role(self, project: str, change: MemberRequest) -> list[MemberRow]:
        """Give a role in a project, or take it away."""


@dataclass(frozen=True, slots=True)
class Place:
    """Which server is meant, as the options say."""

    data: str | None
    database: str | None
    config: str | None
    secret_file: str | None
    server: str | None = None

    @property
    def database_given(self) -> bool:
        """Whether it is named by its database, on whose machine we are."""
        return any(each is not None for each in (self.data, self.database, self.config, self.secret_file))

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


_PLACED: Final = {
    "data": click.option("--data", metavar="DIR", help="The server's folder: database, secret, stores of its own."),
    "database": click.option(
        "--database", metavar="URL", help="postgresql+psycopg://…; an SQLite file in DIR unless told."
    ),
    "config": click.option("--config", metavar="FILE", help="The server's settings, in TOML."),
    "secret_file": click.option(
        "--secret-file", metavar="FILE", help="The key for sealed credentials; DIR/secret unless told."
    ),
}
_REACHED: Final = {
    **_PLACED,
    "server": click.option(
        "--server", metavar="URL", help="The server that runs, as an admin of it; that of the settings unless told."
    ),
}


def placed(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options by which a server's database is named; the function gets them as ``place``."""
    return _with(_PLACED, function)


def reaching(function: Callable[..., Any]) -> Callable[..., Any]:
    """As :func:`placed`, or the address of a server that runs."""
    return _with(_REACHED, function)


def _with(wanted: dict[str, Any], function: Callable[..., Any]) -> Callable[..., Any]:
    def call(session: Session, *arguments: Any, **options: Any) -> Any:
        place = Place(**{name: options.pop(name) for name in wanted})
        return function(session, *arguments, place=place, **options)

    for option in reversed(wanted.values()):
        call = option(call)
    call.__doc__ = function.__doc__
    call.__name__ = function.__name__
    if hasattr(function, "__click_params__"):
        call.__click_params__ = [*function.__click_params__, *call.__click_params__]  # type: ignore[attr-defined]
    return call


@contextmanager
def reached(session: Session, place: Place, *, make: bool = False, dry_run: bool = False) -> Iterator[Deeds]:
    """What an admin does: on the database where the options say where it is, else at the server that runs.

    With ``make`` a new server may begin with it. In a ``dry_run`` each deed is refused as it would be, tells what it would, and changes nothing.

    Raises:
        UsageError: the options say both, or neither they nor the settings name a server.
        AccessError: not signed in there.
    """
    if place.database_given:
        if place.server is not None:
            raise UsageError("a database, or a server that runs", hint="--data DIR, or --server URL, not both")
        with administration(session, place, make=make, dry_run=dry_run) as deeds:
            yield deeds
        return
    from holdfast.cli.rehearsing import RemoteRehearsal
    from holdfast.cli.remotely import RemoteAdministration
    from holdfast.cli.signin import signed_in

    try:
        server = signed_in(session, place.server)
    except UsageError as error:
        hint = f"--data DIR on the server's machine, or {error.hint}"
        raise UsageError(error.message, subject=error.subject, hint=hint) from None
    yield RemoteRehearsal(server) if dry_run else RemoteAdministration(server)


def told(session: Session, value: dict[str, Any], text: str, *, dry_run: bool = False) -> None:
    """Say what was done, or would be."""
    if session.json:
        print_json(marked(value, dry_run=dry_run))
    elif not session.quiet:
        print_lines([text])


def confirmed(session: Session, question: str, *, yes: bool) -> None:
    """Unless the answer is known to be ``yes``, ask on a terminal before something is lost; a program that runs the command has said it by that.

    Raises:
        Abort: no.
    """
    if session.interactive and not yes and not click.confirm(question, err=True):
        raise click.Abort


@contextmanager
def administration(
    session: Session, place: Place, *, current: bool = True, make: bool = False, dry_run: bool = False
) -> Iterator[Administration]:
    """What an admin does, on the server's own database; with ``make`` a new SQLite database and a secret are made where there are none.

    With ``current`` the database is at this release's state; else it is as it is, and a new one is empty. In a ``dry_run`` nothing is made.

    Raises:
        UsageError, LocalError: there is no database, or no secret, and ``make`` is not set.
        UnreachableError, IntegrityError: the database does not answer, also in the block, or is damaged.
    """
    settings = place.settings(session)
    from holdfast.clock import SystemClock
    from holdfast.server.admin import Administration
    from holdfast.server.audit import Actor
    from holdfast.server.migrate import answering, open_as_it_is, open_database
    from holdfast.server.secret import Vault, read_secret, secret_or_new

    database = (open_as_it_is if dry_run else open_database)(settings, current=current, make=make)
    try:
        keys = secret_or_new(settings.secret) if dry_run and make else read_secret(settings.secret, make=make)
        vault = Vault(lambda: keys if dry_run else read_secret(settings.secret))
        with answering():
            yield Administration(database, settings, vault, SystemClock(), Actor(None), dry_run)
    finally:
        database.close()
