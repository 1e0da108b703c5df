"""A server for tests: the whole application in this process, on a SQLite database and a project on a folder.

``server`` is made anew for each test and costs some tens of milliseconds; nothing of it is a fake.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

import pytest
from litestar.testing import TestClient
from sqlalchemy import update

from holdfast.formats.people import ProjectRequest
from holdfast.server import accounts, memberships, projects, tables, tokens
from holdfast.server.access import Role, TokenScope
from holdfast.server.app import make_app
from holdfast.server.migrate import upgrade
from holdfast.server.service import Service
from holdfast.server.sessions import form_mark
from holdfast.server.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from litestar import Litestar

PASSWORD = "correct horse battery"
DAY = 86400


@dataclass
class Server:
    """A server with the project ``p`` (on ``folder``) and a token for each kind of people.

    ``root`` is an admin of the server, with a password; ``reader``, ``writer`` and ``keeper`` have these roles in ``p`` (keeper is its
    admin), ``stranger`` has none.
    """

    service: Service
    client: TestClient
    folder: Path
    tokens: dict[str, str] = field(default_factory=dict)
    sessions: dict[str, str] = field(default_factory=dict)
    api: str = "/api/v1"
    p: str = "/api/v1/projects/p"

    def headers(self, who: str | None) -> dict[str, str]:
        """The headers of a request of somebody; none for None."""
        return {} if who is None else {"Authorization": f"Bearer {self.tokens.get(who, who)}"}

    def get(self, path: str, who: str | None = "reader", **more):
        """GET a path, below the project where it does not start with a slash."""
        return self.request("GET", path, who, **more)

    def post(self, path: str, who: str | None = "writer", **more):
        """POST to a path; ``json=`` is its body."""
        return self.request("POST", path, who, **more)

    def request(self, method: str, path: str, who: str | None, **more):
        """Any request."""
        url = path if path.startswith("/") else f"{self.p}/{path}"
        return self.client.request(method, url, headers=self.headers(who) | more.pop("headers", {}), **more)

    def page(self, path: str, who: str | None = "reader", **more):
        """A page as the browser of somebody gets it; a redirect is not followed."""
        headers = cookie(self.sessions.get(who, who) if who else None) | more.pop("headers", {})
        return self.client.get(path, headers=headers, follow_redirects=False, **more)

    def submit(self, path: str, who: str | None, fields: dict[str, str] | None = None, **more):
        """Send a form as the browser of somebody does, with the mark of its session."""
        session = self.sessions.get(who, who) if who else None
        data = {"form_mark": form_mark(session or "")} | (fields or {})
        headers = cookie(session) | more.pop("headers", {})
        return self.client.post(path, data=data, headers=headers, follow_redirects=False, **more)

    def session(self, account: str, who: str, *, seconds: int = DAY, scope: TokenScope | None = None) -> str:
        """A browser in which an account is signed in, under a name for this test."""
        with self.service.database.write() as connection:
            number, now = accounts.find_account(connection, account).id, self.service.now()
            made = tokens.create_token(connection, number, now, seconds=seconds, scope=scope, pages=True)
        self.sessions[who] = made.text
        return made.text

    def account(self, name: str, role: Role | None = None, *, project: str = "p", **more) -> str:
        """A new account with a role in a project; a token of it."""
        with self.service.database.write() as connection:
            number = accounts.add_account(connection, name, None, self.service.now(), **more)
            if role is not None:
                memberships.set_role(connection, projects.find_project(connection, project).id, name, role)
        self.tokens[name] = self.token(number)
        return self.tokens[name]

    def token(self, account: int | str, *, seconds: int = DAY, scope: TokenScope | None = None) -> str:
        """A further token of an account, by number or name."""
        with self.service.database.write() as connection:
            number = accounts.find_account(connection, account).id if isinstance(account, str) else account
            made = tokens.create_token(connection, number, self.service.now(), seconds=seconds, scope=scope)
        return made.text

    def project(self, name: str, url: str | None = None) -> int:
        """A further project, on a folder of the server's own unless told."""
        with self.service.database.write() as connection:
            described = ProjectRequest(name, url)
            return projects.add_project(connection, self.service.settings, self.service.vault, described, 0.0)


_made: list[Litestar] = []


def application(service: Service) -> Litestar:
    """The application over these parts: made once, for it keeps nothing of them but what is in its state."""
    if not _made:
        _made.append(make_app(service))
    _made[0].state["service"] = service
    return _made[0]


@cache
def hashed() -> str:
    """What is kept of the password: slow to make, as it must be, so made once."""
    return accounts._hashed(PASSWORD)


def cookie(session: str | None) -> dict[str, str]:
    """The header that carries a session: the client of these tests is not on this machine, so that its cookies are for TLS."""
    return {} if session is None else {"Cookie": f"__Host-holdfast={session}"}


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """A server on a folder, its client and its people."""
    service = Service(load_settings({"data": folder / "data"}), make=True)
    upgrade(service.database)
    with TestClient(application(service), raise_server_exceptions=False) as client:
        made = Server(service, client, folder / "data" / "stores" / "p")
        made.project("p")
        made.account("root", admin=True)
        with service.database.write() as connection:
            connection.execute(
                update(tables.accounts).where(tables.accounts.c.name == "root").values(password=hashed())
            )
        for name, role in (("reader", Role.READER), ("writer", Role.WRITER), ("keeper", Role.ADMIN)):
            made.account(name, role)
        made.account("stranger")
        yield made


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[], Path]]:
    """A disk of 2 MiB at a folder; what fills it to the last byte is yielded."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "holdfast-test", folder]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("only root can mount a small disk")

    def fill() -> Path:
        with suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
            while file.write(bytes(1024)):
                pass
        return folder / "filler"

    try:
        yield fill
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """The server of one test."""
    with serving(tmp_path) as made:
        yield made
