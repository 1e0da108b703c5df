"""Signing in, and putting a backup back, against whoever means harm."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading

import httpx
import pytest
from sqlalchemy import func, select

from holdfast.errors import UsageError
from holdfast.remote import Server as RemoteServer
from holdfast.server.audit import Actor
from holdfast.server.backup import backup, restore
from holdfast.server.database import Database, sqlite_url
from holdfast.server.migrate import upgrade
from holdfast.server.origin import neighbourhood
from holdfast.server.tables import accounts
from tests.server.conftest import PASSWORD
from tests.server.test_pages_people import session_in
from tests.server.test_pages_people import sign_in as sign_in_at_the_page

LOGIN = "/api/v1/login"
#: Twelve sign-ins at one moment; how many KiB more the process then has had.
MANY = """
import resource, sys, threading
from holdfast.server import accounts
from holdfast.server.database import Database
from holdfast.server.migrate import upgrade
database = Database(sys.argv[1])
upgrade(database)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
threads = [threading.Thread(target=accounts.check_password, args=(database, f"n{n}", "wrong")) for n in range(12)]
[each.start() for each in threads]
[each.join() for each in threads]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_login__memory(tmp_path):
    """However many sign in at one moment, a few passwords at a time are looked at, each of which takes much memory."""
    command = [sys.executable, "-c", MANY, sqlite_url(tmp_path / "x.db")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 6 * 64 * 1024


def test_login__from_many_addresses_of_one_network(server):
    """Who is given a whole network of addresses has no more attempts than who has one."""

    async def statuses():
        found = []
        for number in range(12):
            transport = httpx.ASGITransport(server.client.app, client=(f"2001:db8::{number:x}", 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
                body = {"name": f"n{number}", "password": "wrong password"}
                found.append((await client.post(LOGIN, json=body)).status_code)
        return found

    assert asyncio.run(statuses()) == [403] * 10 + [429] * 2


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
    ],
)
def test_neighbourhood(one, other, same):
    """Addresses of one network of IPv6 are one client's; those of IPv4 are each its own, however they are spelled."""
    assert (neighbourhood(one) == neighbourhood(other)) == same


@pytest.mark.parametrize("by", ["api", "page"])
def test_login__while_the_password_is_changed(server, by):
    """Whoever signs in with the old password at the moment at which it is changed has no token or session in the end."""
    made, enough = [], threading.Semaphore(0)

    def sign_in():
        while True:
            by_api = {"json": {"name": "root", "password": PASSWORD}}
            answer = server.client.post(LOGIN, **by_api) if by == "api" else sign_in_at_the_page(server)
            enough.release()
            if answer.status_code not in (200, 303):
                return
            made.append(answer.json()["token"] if by == "api" else session_in(answer))

    threads = [threading.Thread(target=sign_in) for _ in range(6)]
    for thread in threads:
        thread.start()
    for _ in threads:
        enough.acquire()
    server.service.administration(Actor("root")).set_password("root", "another long password")
    for thread in threads:
        thread.join()
    ask = server.get if by == "api" else server.page
    answers = [ask("/api/v1/whoami" if by == "api" else "/projects", token).status_code for token in made]
    assert len(made) >= len(threads)
    assert 200 not in answers


def test_login__answers_alike(server):
    """A wrong password, a name that nobody has, a service and an account that is shut out are told the same."""
    server.account("robot", service=True)
    with server.service.database.write() as connection:
        from holdfast.server.accounts import add_account, set_disabled

        add_account(connection, "shut", PASSWORD, 0.0)
        set_disabled(connection, "shut", disabled=True)
    sent = [("root", "wrong password"), ("nobody", PASSWORD), ("robot", PASSWORD), ("shut", PASSWORD), ("", "")]
    replies = [server.post(LOGIN, None, json={"name": name, "password": word}) for name, word in sent]
    assert {(reply.status_code, reply.content) for reply in replies} == {(403, replies[0].content)}


def damaged(document):
    """Backups that are none any more, each in another way."""
    people = document["tables"]["accounts"]
    return [
        document | {"revision": "head"},
        document | {"revision": ["x"]},
        document | {"tables": []},
        document | {"tables": {"accounts": [{**people[0], "no_such_column": 1}]}},
        document | {"tables": {"accounts": [{"id": 1}]}},
        document | {"tables": {"accounts": ["x"]}},
        document | {"tables": {"accounts": [people[0], people[0]]}},
        document | {"tables": {"accounts": people, "tokens": [{**document["tables"]["tokens"][0], "digest": "!"}]}},
        document | {"tables": {"accounts": [{**people[0], "id": 1 << 70}]}},
    ]


def test_restore__damaged(server, tmp_path):
    """A file that was changed is refused with a reason, and nothing of it is in the database then."""
    file = tmp_path / "whole"
    backup(server.service.database, file, 0.0)
    assert file.stat().st_mode & 0o777 == 0o600
    for number, document in enumerate(damaged(json.loads(file.read_text()))):
        other = tmp_path / f"damaged{number}"
        other.write_text(json.dumps(document))
        database = Database(sqlite_url(tmp_path / f"{number}.db"))
        upgrade(database)
        try:
            with pytest.raises(UsageError):
                restore(database, other)
            with database.read() as connection:
                assert connection.execute(select(func.count()).select_from(accounts)).scalar() == 0
        finally:
            database.close()


@pytest.mark.parametrize("url", ["https://:secret@host/", "https://user@host", "https://@host", "https://a\\@host"])
def test_address__with_somebody_in_it(url):
    """An address that names somebody is no server's: what it shows and what is asked might be two hosts."""
    with pytest.raises(UsageError):
        RemoteServer(url)


def test_openapi__is_made_once(server):
    """The description of the API, which anybody may ask for, is made once."""
    first = server.get("/api/v1/openapi.json", None)
    assert server.client.app.state["openapi"] == first.content == server.get("/api/v1/openapi.json", None).content
