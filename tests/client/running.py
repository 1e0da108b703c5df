"""A server in a process of its own, for tests: ``python -m tests.client.running DATA PORT [PROJECT …]`` makes projects (each a
ProjectRequest in JSON) and serves.

Prints one line of JSON with the tokens of its people once they are made; ``p`` lies in a folder of the server's own. With
HOLDFAST_TEST_DATABASE the database is that one; with HOLDFAST_TEST_SERVER people and projects are there already; with
HOLDFAST_TEST_GRANTS leave to read and write is good for so many seconds.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

PASSWORD = "correct horse battery"


def make(data: Path, projects: list[dict[str, Any]]) -> dict[str, str]:
    """Database, secret, people and projects; the token of each of the people."""
    from holdfast.formats.people import ProjectRequest
    from holdfast.server import accounts, memberships, tokens
    from holdfast.server import projects as known
    from holdfast.server.access import Role
    from holdfast.server.migrate import upgrade
    from holdfast.server.service import Service

    service = Service(_settings(data, projects), make=True)
    upgrade(service.database)
    made: dict[str, str] = {}
    with service.database.write() as connection:
        wanted = [ProjectRequest("p"), *(ProjectRequest(**each) for each in projects)]
        for each in wanted:
            known.add_project(connection, service.settings, service.vault, each, 0.0)
        people = {"root": None, "reader": Role.READER, "writer": Role.WRITER, "keeper": Role.ADMIN}
        for name, role in people.items():
            number = accounts.add_account(
                connection, name, PASSWORD if name == "root" else None, 0.0, admin=name == "root"
            )
            for each in wanted if role is not None else []:
                memberships.set_role(connection, known.find_project(connection, each.name).id, name, role)
            made[name] = tokens.create_token(connection, number, service.now(), seconds=3600).text
    service.close()
    (data / "stores" / "p").mkdir(parents=True, exist_ok=True)
    return made


def _settings(data: Path, projects: list[dict[str, Any]]) -> Any:
    from holdfast.server.settings import load_settings

    endpoints = [each["endpoint"] for each in projects if each.get("endpoint")]
    database = os.environ.get("HOLDFAST_TEST_DATABASE")
    return load_settings(
        {"data": data, "database": database, "allow_endpoints": endpoints, "environ": dict(os.environ)}
    )


def app() -> Any:
    """The application of this process, as granian asks for it."""
    from holdfast.server import transfers
    from holdfast.server.app import make_app
    from holdfast.server.service import Service

    transfers.SECONDS = int(os.environ.get("HOLDFAST_TEST_GRANTS", transfers.SECONDS))
    data, projects = json.loads(os.environ["HOLDFAST_TEST_SERVER"])
    return make_app(Service(_settings(Path(data), projects)))


def main() -> None:
    """Make what is needed, say so, serve."""
    from granian import Granian
    from granian.constants import Interfaces

    data, port, *rest = sys.argv[1:]
    projects = [json.loads(each) for each in rest]
    made = {} if "HOLDFAST_TEST_SERVER" in os.environ else make(Path(data), projects)
    os.environ["HOLDFAST_TEST_SERVER"] = json.dumps([data, projects])
    print(json.dumps(made), flush=True)
    target = "tests.client.running:app"
    Granian(
        target, address="127.0.0.1", port=int(port), interface=Interfaces.ASGI, factory=True, log_enabled=False
    ).serve()


if __name__ == "__main__":
    main()
