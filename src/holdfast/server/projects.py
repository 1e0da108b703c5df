"""Projects: a store under a name. What a URL, an endpoint and credentials may be, and the rows that hold them.

Only an admin of the server comes here, and even he cannot point a project at the server's own disk or network by mistake: ``places`` has the
rules. Credentials are sealed before they are written, and nothing here gives them back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from sqlalchemy import delete, insert, select, update

from holdfast.errors import AlreadyExistsError, NotFoundError, UsageError
from holdfast.formats.api import encode
from holdfast.model.people import check_project
from holdfast.server.copies import forget_copy
from holdfast.server.credentials import checked_credentials
from holdfast.server.places import Place, is_listed, place_of
from holdfast.server.stores import environment, purpose_of
from holdfast.server.tables import projects

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Row

    from holdfast.formats.people import ProjectRequest
    from holdfast.server.secret import Vault
    from holdfast.server.settings import ServerSettings

__all__ = [
    "add_project",
    "change_project",
    "find_project",
    "list_projects",
    "remove_project",
    "reseal",
]


def add_project(
    connection: Connection,
    settings: ServerSettings,
    vault: Vault,
    wanted: ProjectRequest,
    now: float,
    *,
    dry_run: bool = False,
) -> int:
    """A new project; its id. In a ``dry_run`` no folder is made for it.

    Raises:
        UsageError: a name, URL, endpoint or credentials that may not be.
        AlreadyExistsError: the name is taken, or its place overlaps another project's.
    """
    check_project(wanted.name)
    if connection.execute(select(projects.c.id).where(projects.c.name == wanted.name)).first():
        raise AlreadyExistsError(f"there is a project {wanted.name} already", subject=wanted.name)
    values = _values(connection, settings, vault, wanted, None)
    if not wanted.url and not dry_run:
        _make_folder(settings, wanted.name)
    new = insert(projects).values(name=wanted.name, revision=1, created=now, **values)
    return int(connection.execute(new.returning(projects.c.id)).scalar_one())


def change_project(connection: Connection, settings: ServerSettings, vault: Vault, wanted: ProjectRequest) -> None:
    """Give a project another place or other credentials, checked as a new one's; open stores are opened anew."""
    row = find_project(connection, wanted.name)
    values = _values(connection, settings, vault, wanted, row.id)
    if not wanted.url:
        _make_folder(settings, wanted.name)
    connection.execute(
        update(projects).where(projects.c.id == row.id).values(revision=projects.c.revision + 1, **values)
    )
    forget_copy(connection, row.id)  # it is of the place before


def find_project(connection: Connection, name: str) -> Row[Any]:
    """A project's row.

    Raises:
        NotFoundError: there is none.
    """
    found = connection.execute(select(projects).where(projects.c.name == name)).first()
    if found is None:
        raise NotFoundError(f"no project {name!r}", subject=name, hint="asset server project list")
    return found


def list_projects(connection: Connection) -> list[Row[Any]]:
    """Every project's row, by name."""
    return list(connection.execute(select(projects).order_by(projects.c.name)))


def remove_project(connection: Connection, name: str) -> None:
    """Forget a project, its roles and the tokens for it alone; its store stays as it is."""
    row = find_project(connection, name)
    connection.execute(delete(projects).where(projects.c.id == row.id))


def reseal(connection: Connection, vault: Vault) -> int:
    """Seal every project's credentials anew, with the key that now seals; how many."""
    rows = connection.execute(select(projects).where(projects.c.sealed.is_not(None))).all()
    for row in rows:
        purpose = purpose_of(row.name)
        sealed = vault.seal(vault.open(row.sealed, purpose), purpose)
        connection.execute(update(projects).where(projects.c.id == row.id).values(sealed=sealed))
    return len(rows)


def _values(
    connection: Connection, settings: ServerSettings, vault: Vault, wanted: ProjectRequest, own: int | None
) -> dict[str, Any]:
    url = wanted.url or _default_url(settings, wanted.name)
    own_credentials = None if wanted.credentials is None else checked_credentials(url, wanted.credentials)
    if own_credentials is not None and wanted.server:
        raise UsageError("a project has its own credentials or the server's", subject="credentials")
    sealed = None if own_credentials is None else vault.seal(encode(own_credentials), purpose_of(wanted.name))
    if wanted.server and wanted.endpoint and not is_listed(wanted.endpoint, settings):
        hint = "the server's operator may list it: allow_endpoints in the settings file"
        raise UsageError("the server's own credentials are shown to no such endpoint", subject="endpoint", hint=hint)
    kind = "server" if wanted.server else "none" if sealed is None else "own"
    values: dict[str, Any] = {"endpoint": wanted.endpoint, "region": wanted.region}
    values |= {"credentials": kind, "sealed": sealed}
    variables = environment({**values, "name": wanted.name}, vault, settings.environ)
    place = place_of(url, wanted.endpoint, variables, settings, region=wanted.region)
    for row in connection.execute(select(projects).where(projects.c.id != (own or 0))).mappings():
        other = _place_of_row(row, vault, settings)
        if place.overlaps(other):
            raise AlreadyExistsError(f"{url} overlaps the store of project {row['name']}", subject=url)
    return {**values, "url": place.url}


def _place_of_row(row: Mapping[Any, Any], vault: Vault, settings: ServerSettings) -> Place:
    return place_of(row["url"], row["endpoint"], environment(row, vault, settings.environ), settings, judge=False)


def _make_folder(settings: ServerSettings, name: str) -> None:
    """The folder of a project without a URL of its own."""
    Path(unquote(urlsplit(_default_url(settings, name)).path)).mkdir(parents=True, exist_ok=True)


def _default_url(settings: ServerSettings, name: str) -> str:
    if settings.stores is None:
        raise UsageError("which store?", subject="url", hint="s3://bucket/prefix (a server with --data has a default)")
    return (settings.stores / name).as_uri()
