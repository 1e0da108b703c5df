"""Who may use which route: every route of the application, by everybody there is. A new route is here by itself, or does not start."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

import httpx
import pytest
from litestar import WebSocket, asgi, get, websocket
from litestar.types import Receive, Scope, Send  # noqa: TC002 - read by the framework

from holdfast.server import accounts, projects
from holdfast.server.access import Role, TokenScope
from holdfast.server.app import make_app
from holdfast.server.guard import RULES, is_page, routes, rule_of
from holdfast.server.service import Service
from holdfast.server.settings import load_settings
from tests.server.conftest import PASSWORD, cookie

ROLES = {"reader": Role.READER, "writer": Role.WRITER, "keeper": Role.ADMIN, "root": Role.ADMIN, "narrow": Role.READER}
NOBODY = (None, "", "nonsense", "expired", "revoked", "disabled")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH")
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
    sessions(server, other)
    moment = server.service.clock
    server.service.access._clock = type("Later", (), {"now": lambda _: moment.now() + timedelta(seconds=2)})()
    assert server.get("/api/v1/whoami", "expired").status_code == 401
    assert server.page("/tokens", "expired").status_code == 401
    return server


def sessions(server, other):
    """The same people in browsers."""
    for name in ("root", "reader", "writer", "keeper", "stranger", "neighbour"):
        server.session(name, name)
    server.session("shut", "disabled")
    server.session("keeper", "expired", seconds=1)
    server.session("keeper", "narrow", scope=TokenScope(None, Role.READER))
    server.session("keeper", "elsewhere", scope=TokenScope(other, None))
    server.session("keeper", "revoked")
    assert server.submit("/signout", "revoked").status_code == 303


def every(app, *, page=False):
    """Method, path with its parameters filled in, and rule of every route of the API, or of every page."""
    for method, path, handler in routes(app):
        if is_page(handler) != page:
            continue
        url = path.replace("{project_name:str}", "p")
        while "{" in url:
            start, end = url.index("{"), url.index("}")
            url = f"{url[:start]}{'1' if ':int' in url[start:end] else 'some'}{url[end + 1 :]}"
        yield method, url, rule_of(handler)


def asked(server, method, url, who):
    """Status and body of a request whose body is none, so that whoever is let through changes nothing."""
    answer = server.request(method, url, who, content=b"" if method in ("GET", "HEAD") else b"{")
    return answer.status_code, answer.content


@pytest.fixture
def refusals(crowd):
    """The one answer to nobody, and the one to whoever may not: status and body, by method, for a HEAD has no body."""
    answers = [asked(crowd, "GET", f"{crowd.p}/names", who) for who in (None, "stranger")]
    assert [status for status, _ in answers] == [401, 403]
    return {method: [(s, b"" if method == "HEAD" else body) for s, body in answers] for method in METHODS}


def asked_page(server, method, url, who):
    """Status and body of a page, or of a form that names nothing, as somebody's browser gets it."""
    answer = server.submit(url, who) if method == "POST" else server.page(url, who)
    return answer.status_code, answer.content


def test_matrix__roles(crowd, refusals):
    """A project's route lets through whoever has its role, and refuses everybody else in one and the same way, be there the project or not."""
    found = [each for each in every(crowd.client.app) if each[2][0] == "role"]
    assert {need for _, _, (_, need) in found} == set(Role)
    for method, url, (_, need) in found:
        unknown, refused = refusals[method]
        for who in NOBODY:
            assert asked(crowd, method, url, who) == unknown, (method, url, who)
        for who in OUTSIDE:
            for place in (url, url.replace("/projects/p", "/projects/none-such")):
                assert asked(crowd, method, place, who) == refused, (method, place, who)
        for who, role in ROLES.items():
            answer = asked(crowd, method, url, who)
            if role < need:
                assert answer == refused, (method, url, who)
            else:
                assert answer[0] not in (401, 403), (method, url, who, answer)


def test_matrix__what_is_let_through(server):
    """What changes something in a project is no reader's to do, what is about its people or limits is its admin's, and little is anybody's."""
    found = [(method, url.removeprefix(server.p), *rule) for method, url, rule in every(server.client.app)]
    asking = {url for method, url, rule, need in found if method not in ("GET", "HEAD") and need is Role.READER}
    assert asking == {"/downloads", "/metadata"}
    admins = {(method, url) for method, url, rule, need in found if need is Role.ADMIN}
    assert admins == {("GET", "/members"), ("PUT", "/members"), ("POST", "/configure")}
    public = {url for _, url, rule, _ in found if rule == "public" and not url.startswith("/api/v1/openapi")}
    codes = {"/api/v1/login/code", "/api/v1/login/device", "/api/v1/login/device/token"}
    assert public == {"/healthz", "/readyz", "/api/v1/info", "/api/v1/login"} | codes
    pages = {url for _, url, rule in every(server.client.app, page=True) if rule[0] == "public"}
    assert pages == {"/", "/signin", "/static/some", "/login/oidc/some", "/login/oidc/some/back"}
    assert all(rule == "server_admin" for _, url, rule, _ in found if url.startswith("/api/v1/admin"))


def test_matrix__names(crowd, refusals):
    """Whatever is no project's name is refused as a project without a role is; to an admin of the server, too."""
    for name in ("P", "p%20", "p%00", "%70%2e", "n" * 3000, "é", "'%20or%201=1"):
        for who in ("keeper", "root"):
            assert asked(crowd, "GET", f"/api/v1/projects/{name}/names", who) == refusals["GET"][1], (name, who)
        assert asked(crowd, "GET", f"/api/v1/projects/{name}/names", None) == refusals["GET"][0]


def test_matrix__others(crowd, refusals):
    """Other routes are anybody's, those of whoever is signed in, or a server admin's with a token that is not narrowed."""
    whole = crowd.tokens
    narrow = crowd.token("root", scope=TokenScope(None, Role.ADMIN))
    people = {*ROLES, *OUTSIDE}
    rules = set()
    for method, url, (rule, _) in every(crowd.client.app):
        rules.add(rule)
        if rule == "role" or url.endswith("/logout"):  # which would end the tokens that are asked with
            continue
        unknown, refused = refusals[method]
        for who in NOBODY:
            answer = asked(crowd, method, url, who)
            assert (answer == unknown) if rule != "public" else answer[0] not in (401, 403), (method, url, who, answer)
        for who in (*sorted(people), narrow):
            answer = asked(crowd, method, url, who)
            if rule in ("server_admin", "operator") and whole.get(who) != whole["root"]:
                assert answer == refused, (method, url, who)
            else:
                assert answer[0] not in (401, 403), (method, url, who, answer)
    assert rules == set(RULES)


def test_matrix__pages_roles(crowd):
    """A project's page lets through whoever has its role, and refuses everybody else in one and the same way, be there the project or not."""
    refused = asked_page(crowd, "GET", "/projects/p", "stranger")
    assert refused[0] == 403
    found = [each for each in every(crowd.client.app, page=True) if each[2][0] == "role"]
    for method, url, (_, need) in found:
        for who in NOBODY:
            assert asked_page(crowd, method, url, who)[0] == 401, (method, url, who)
        for who in OUTSIDE:
            for place in (url, url.replace("/projects/p", "/projects/none-such")):
                assert asked_page(crowd, method, place, who) == refused, (method, place, who)
        for who, role in ROLES.items():
            answer = asked_page(crowd, method, url, who)
            if role < need:
                assert answer == refused, (method, url, who)
            else:
                assert answer[0] not in (401, 403), (method, url, who, answer)


def test_matrix__pages_others(crowd):
    """Other pages are anybody's, those of whoever is signed in, or a server admin's with a session that is not narrowed."""
    crowd.session("root", "narrow root", scope=TokenScope(None, Role.ADMIN))
    seen = set()
    for method, url, (rule, _) in every(crowd.client.app, page=True):
        seen.add(rule)
        if rule == "role":
            continue
        for who in NOBODY:
            assert (asked_page(crowd, method, url, who)[0] == 401) == (rule != "public"), (method, url, who)
        if rule == "server_admin":
            for who in ("reader", "keeper", "stranger", "narrow root"):
                assert asked_page(crowd, method, url, who)[0] == 403, (method, url, who)
            assert asked_page(crowd, method, url, "root")[0] == 200, (method, url)
    assert seen == {"public", "signed_in", "server_admin", "role"}


def test_pages__tokens_are_no_sessions(crowd):
    """A token opens no page, in a header or as a cookie, and a session opens nothing of the API."""
    session, token = crowd.sessions["root"], crowd.tokens["root"]
    assert crowd.client.get("/projects", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    assert crowd.client.get("/projects", headers=cookie(token)).status_code == 401
    for headers in ({"Authorization": f"Bearer {session}"}, cookie(session)):
        assert crowd.client.get("/api/v1/whoami", headers=headers).status_code == 401
    assert crowd.client.get("/projects", headers=cookie(session)).status_code == 200


def test_matrix__logout(crowd, refusals):
    """Nobody signs out, and anybody who is signed in does."""
    for who in NOBODY:
        assert asked(crowd, "POST", "/api/v1/logout", who) == refusals["POST"][0]
    for who in (*ROLES, *OUTSIDE):
        assert asked(crowd, "POST", "/api/v1/logout", who)[0] == 204
        assert asked(crowd, "GET", "/api/v1/whoami", who) == refusals["GET"][0]


PEERS = [
    ("127.0.0.1", (), {}, True),
    ("::1", (), {}, True),
    ("10.0.0.1", (), {}, False),
    ("127.0.0.1", (), {"X-Forwarded-For": "127.0.0.1"}, False),
    ("127.0.0.1", (), {"Forwarded": "for=127.0.0.1"}, False),
    ("127.0.0.1", ("127.0.0.0/8",), {}, False),
    ("127.0.0.1", ("127.0.0.0/8",), {"X-Forwarded-For": "127.0.0.1"}, False),
    ("10.0.0.1", ("10.0.0.0/8",), {"X-Forwarded-For": "127.0.0.1"}, False),
    ("127.0.0.1", ("10.0.0.0/8",), {}, True),
]


def test_operator__on_this_machine(server):
    """The counters are shown without a token where the settings say so, to this machine itself and to nobody through a proxy on it."""
    app = server.client.app
    paths = [path for _, path, (rule, _) in every(app) if rule == "operator"]

    async def statuses(peer, sent):
        transport = httpx.ASGITransport(app, client=(peer, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            return {(await client.get(path, headers=sent)).status_code for path in paths}

    for peer, proxies, headers, is_let_in in PEERS:
        known = tuple(map(ip_network, proxies))
        server.service.settings = replace(server.service.settings, behind_proxy=known, local_metrics=True)
        assert asyncio.run(statuses(peer, headers)) == {200 if is_let_in else 401}, (peer, proxies, headers)
        server.service.settings = replace(server.service.settings, local_metrics=False)
        assert asyncio.run(statuses(peer, headers)) == {401}, (peer, proxies, headers)
        assert asyncio.run(statuses(peer, headers | server.headers("root"))) == {200}


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


def test_shut_out_and_let_in(crowd):
    """An account that is let in again has no token or session from before it was shut out."""
    crowd.session("reader", "page")
    assert crowd.get("names").status_code == 200
    for disabled in (True, False):
        with crowd.service.database.write() as connection:
            accounts.set_disabled(connection, "reader", disabled=disabled)
        assert crowd.get("names").status_code == 401
        assert crowd.page("/projects", "page").status_code == 401


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


@asgi("/mounted", copy_scope=True)
async def mounted(scope: Scope, receive: Receive, send: Send) -> None:
    """A mounted application."""
    raise AssertionError


@websocket("/socket")
async def talk(socket: WebSocket) -> None:
    """A socket."""
    raise AssertionError


@pytest.mark.parametrize("handler", [mounted, talk])
def test_route_of_another_kind_without_a_rule(tmp_path, handler):
    """Nor does one with a mounted application, or a socket, that has none."""
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


def test_login__right_ones_are_not_counted(server):
    """As many may sign in from one address as like; only wrong passwords count."""
    right = {"name": "root", "password": PASSWORD}
    assert {server.post("/api/v1/login", None, json=right).status_code for _ in range(12)} == {200}
