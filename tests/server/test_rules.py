"""Who may use which route: every route of the application, by everybody there is. A new route is here by itself, or does not start."""

from __future__ import annotations

from datetime import timedelta

import pytest
from litestar import get

from holdfast.server import accounts, projects
from holdfast.server.access import Role, TokenScope
from holdfast.server.app import make_app
from holdfast.server.guard import routes, rule_of
from holdfast.server.service import Service
from holdfast.server.settings import load_settings
from tests.server.conftest import PASSWORD

ROLES = {"reader": Role.READER, "writer": Role.WRITER, "keeper": Role.ADMIN, "root": Role.ADMIN, "narrow": Role.READER}
NOBODY = (None, "nonsense", "expired", "revoked", "disabled")
#: Who has a good token, but no role in the project ``p``: of nowhere, of another project, or narrowed to another.
OUTSIDE = ("stranger", "neighbour", "elsewhere")


@pytest.fixture
def crowd(server):
    """The server with everybody on it."""
    for name in ("gone", "shut"):
        server.account(name, Role.ADMIN)
    server.project("q")
    server.account("neighbour", Role.ADMIN, project="q")
    with server.service.database.write() as connection:
        other = projects.find_project(connection, "q").id
        accounts.set_disabled(connection, "shut", disabled=True)
    server.tokens |= {
        "disabled": server.tokens["shut"],
        "expired": server.token("keeper", seconds=1),
        "revoked": server.token("keeper"),
        "narrow": server.token("keeper", scope=TokenScope(None, Role.READER)),
        "elsewhere": server.token("keeper", scope=TokenScope(other, None)),
    }
    assert server.post("/api/v1/logout", "revoked").status_code < 300
    moment = server.service.clock
    server.service.access._clock = type("Later", (), {"now": lambda _: moment.now() + timedelta(seconds=2)})()
    assert server.get("/api/v1/whoami", "expired").status_code == 401
    return server


def every(app):
    """Method, path with its parameters filled in, and rule of every route."""
    for method, path, handler in routes(app):
        url = path.replace("{project_name:str}", "p")
        while "{" in url:
            start, end = url.index("{"), url.index("}")
            url = f"{url[:start]}{'1' if ':int' in url[start:end] else 'some'}{url[end + 1 :]}"
        yield method, url, rule_of(handler)


def status_of(server, method, url, who):
    answer = server.request(method, url, who, headers={"Content-Length": "0"} if method != "GET" else {})
    return answer.status_code, answer.content if method != "HEAD" else b""


def test_matrix__roles(crowd):
    """A project's route lets through whoever has its role, and refuses everybody else in one and the same way."""
    refusals = set()
    for method, url, (rule, need) in every(crowd.client.app):
        if rule != "role":
            continue
        for who in NOBODY:
            assert status_of(crowd, method, url, who)[0] == 401, (method, url, who)
        for who in OUTSIDE:
            status, body = status_of(crowd, method, url, who)
            assert status == 403, (method, url, who)
            refusals.add(body)
            assert status_of(crowd, method, url.replace("/projects/p", "/projects/none-such"), who) == (status, body)
        for who, role in ROLES.items():
            status, body = status_of(crowd, method, url, who)
            assert (status == 403 and body in refusals | {b""}) == (role < need), (method, url, who, status)
    assert len(refusals - {b""}) == 1


def test_matrix__others(crowd):
    """Other routes are anybody's, those of whoever is signed in, or a server admin's with a token that is not narrowed."""
    narrow = crowd.token("root", scope=TokenScope(None, Role.ADMIN))
    for method, url, (rule, _) in every(crowd.client.app):
        if rule in ("role", "operator"):
            continue
        for who in NOBODY:
            status = status_of(crowd, method, url, who)[0]
            assert (status == 401) == (rule != "public") or url.endswith("/login"), (method, url, who, status)
        if rule == "server_admin":
            for who in ("reader", "keeper", "stranger", narrow):
                assert status_of(crowd, method, url, who)[0] == 403, (method, url, who)
            assert status_of(crowd, method, url, "root")[0] not in (401, 403), (method, url)


def test_next_request(crowd):
    """A role that is taken, and an account that is shut out, count from the next request on."""
    assert crowd.get("names").status_code == 200
    with crowd.service.database.write() as connection:
        number = projects.find_project(connection, "p").id
        from holdfast.server.memberships import set_role

        set_role(connection, number, "reader", None)
    assert crowd.get("names").status_code == 403
    with crowd.service.database.write() as connection:
        accounts.set_disabled(connection, "reader", disabled=True)
    assert crowd.get("names").status_code == 401


@pytest.mark.parametrize("rule", [{}, {"public": True, "signed_in": True}, {"role": Role.READER}])
def test_route_without_a_rule(tmp_path, rule):
    """An application with a route that has no rule, several, or a role outside of projects does not start."""

    @get("/api/v1/new", opt=rule, sync_to_thread=False)
    def handler() -> str:
        return "new"

    service = Service(load_settings({"data": tmp_path / "data"}), make=True)
    try:
        with pytest.raises(RuntimeError):
            make_app(service, more=[handler])
    finally:
        service.close()


def test_openapi__lists_every_route(server):
    """The description of the API names every route and method below /api/v1."""
    told = server.get("/api/v1/openapi.json", "reader").json()["paths"]
    known = {(method.lower(), path) for path, methods in told.items() for method in methods}
    for method, path, _ in routes(server.client.app):
        if path.startswith("/api/v1") and method != "HEAD" and "openapi" not in path:
            plain = path.replace(":str}", "}").replace(":int}", "}")
            assert (method.lower(), plain) in known, (method, path)


def test_login__is_slowed_down(server):
    """Too many wrong passwords for one name are refused before they are looked at, the right one too."""
    wrong = {"name": "root", "password": "wrong password"}
    statuses = [server.post("/api/v1/login", None, json=wrong).status_code for _ in range(12)]
    assert statuses[0] in (401, 403)
    assert statuses[-1] == 429
    right = {"name": "root", "password": PASSWORD}
    assert server.post("/api/v1/login", None, json=right).status_code == 429
