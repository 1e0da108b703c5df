"""Two servers on one PostgreSQL database: they are one server to whoever asks."""

from __future__ import annotations

import sys
import threading
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import text

from holdfast import wiring
from holdfast.config import load
from holdfast.errors import AccessError, ConflictError
from holdfast.formats.api import TokenReply
from holdfast.formats.people import MemberRequest, ProjectRequest, ProjectRow
from holdfast.server import accounts, devices, handing, identities, memberships, projects, signins, tokens
from holdfast.server.access import Principal, Role
from holdfast.server.alone import alone
from holdfast.server.audit import Actor
from holdfast.server.backup import backup, restore
from holdfast.server.copies import Copies
from holdfast.server.database import Database
from holdfast.server.idtokens import Person
from holdfast.server.migrate import upgrade
from holdfast.server.providers import Provider
from holdfast.server.scanning import scan
from holdfast.server.service import Service
from holdfast.server.settings import load_settings
from tests.services.base import processes, wait_until

ROOT = Path(__file__).parents[2]
CLIENTS = 50


@pytest.fixture
def service(tmp_path, new_postgres):
    """The parts of a server on a new database, with a project and a token of a writer."""
    url = new_postgres()
    database = Database(url)
    upgrade(database)
    database.close()
    made = Service(load_settings({"data": tmp_path / "data", "database": url}), make=True)
    with made.database.write() as connection:
        projects.add_project(connection, made.settings, made.vault, ProjectRequest("p"), 0.0)
        number = accounts.add_account(connection, "writer", None, made.now())
        memberships.set_role(connection, projects.find_project(connection, "p").id, "writer", Role.WRITER)
        made.token = tokens.create_token(connection, number, made.now(), seconds=3600).text
    yield made
    made.close()


@pytest.fixture
def urls(service, tmp_path):
    """The addresses of two servers."""
    files = [tmp_path / f"url{number}" for number in range(2)]
    with processes("servers", tmp_path / "servers") as group:
        for file in files:
            command = [sys.executable, "-m", "tests.server.serving"]
            arguments = [service.settings.data, service.settings.database, file]
            group.spawn([*command, *arguments], {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"})
        wait_until(lambda: all(file.exists() and file.read_text() for file in files), 30, "two servers")
        yield [file.read_text() for file in files]


def together(work, count):
    """Run the work so many times at one moment; what it returned, or raised."""
    results, barrier = [], threading.Barrier(count)

    def run(number):
        barrier.wait()
        try:
            results.append(work(number))
        except BaseException as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_codes__are_good_once(service):
    """Of many who bring one code, or ask with one program's secret, at one moment to two servers, one has a token."""
    other = Service(service.settings)
    try:
        with service.database.read() as connection:
            number = accounts.find_account(connection, "writer").id
        who = Principal(number, "writer", admin=False, token="")
        asked = handing.asking("54321", signins.challenge_of("v" * 43), "n" * 22)
        code = parse_qs(urlsplit(handing.hand_over(service, who, asked)).query)["code"][0]
        two = (service, other)
        found = together(lambda n: handing.exchange(two[n % 2], code, "v" * 43, None, None), 8)
        assert sum(isinstance(each, TokenReply) for each in found) == 1, found
        assert sum(isinstance(each, AccessError) for each in found) == 7
        begun = devices.ask(service, "a box", None)
        devices.decide(other, who, Actor("writer"), begun.letters, allow=True)
        found = together(lambda n: devices.poll(two[n % 2], begun.code, Actor(None)), 8)
        assert sum(getattr(each, "token", None) is not None for each in found) == 1, found
    finally:
        other.close()


def test_arrival__many_at_one_moment(service):
    """Somebody who comes for the first time to two servers at one moment has one account."""
    provider = Provider(name="t", issuer="https://id.example", client_id="c", domains=("example.com",))
    person = Person(provider.issuer, "1", "ann@example.com", ("none",))

    def arrive(_):
        with service.database.write() as connection:
            return identities.arrive(connection, provider, person, 0.0)

    found = together(arrive, 6)
    assert len({each.account for each in found if isinstance(each, identities.Arrived)}) == 1, found
    assert all(isinstance(each, identities.Arrived | ConflictError) for each in found), found
    with service.database.read() as connection:
        assert [each.name for each in accounts.list_accounts(connection)] == ["ann@example.com", "writer"]


def test_push__many_clients_through_two_servers(service, urls, tmp_path):
    """Fifty clients push one asset through two servers at one moment: fifty versions, and both servers tell them all at once."""

    def opened(number, who):
        url, home = urls[number % 2], tmp_path / who
        (home / "assets").mkdir(parents=True)
        environ = {"HOME": str(home), "ASSET_SERVER_URL": url, "HOLDFAST_TOKEN": service.token}
        return wiring.open_settings(load({"store": f"{url}/p", "assets_dir": home / "assets"}, environ))

    def push(number):
        source = tmp_path / f"source{number}"
        source.write_text(f"content {number}")
        return opened(number, f"home{number}").push(source, "a/b", message=f"number {number}").version

    made = together(push, CLIENTS)
    assert sorted(map(str, made)) == sorted(f"0.{number}" for number in range(CLIENTS))
    for number in range(2):
        repository = opened(number, f"reader{number}")
        assert len(repository.versions("a/b").versions) == CLIENTS
        assert repository.resolve("a/b") == f"0.{CLIENTS - 1}"
        assert [(row.latest, row.versions) for row in repository.list()] == [(f"0.{CLIENTS - 1}", CLIENTS)]


def test_scan__by_two_at_once(service, tmp_path):
    """Two servers that scan one bucket at one moment make one copy of it, and neither fails."""
    project = service.access.open(service.token, "p", Role.WRITER)
    repository = wiring.open_on(project.store, load({"assets_dir": tmp_path / "assets"}, {"HOME": str(tmp_path)}))
    for number in range(8):
        (tmp_path / "source").write_text(f"content {number}")
        repository.push(tmp_path / "source", f"a/n{number % 4}")
    copies = [Copies(Database(service.settings.database)) for _ in range(4)]
    made = together(lambda n: scan(copies[n], project.id, project.catalog, service.clock), 4)
    for each in copies:
        each.database.close()
    assert made == [4] * 4


def test_administration__at_one_moment(service):
    """What admins do at one moment, at several servers, is done one after the other: no project overlaps another, and an admin is left."""
    with service.database.write() as connection:
        for number in range(2):
            accounts.add_account(connection, f"admin{number}", None, 0.0, admin=True)
    admin = service.administration(Actor("admin0"))

    def refused(found):
        assert all(each is None or isinstance(each, ConflictError | list | ProjectRow) for each in found), found
        return sum(isinstance(each, ConflictError) for each in found)

    places = [f"s3://bucket/x{'/y' * (number % 2)}" for number in range(8)]
    assert refused(together(lambda n: admin.add_project(ProjectRequest(f"q{n}", places[n])), 8)) == 7
    assert refused(together(lambda _: admin.add_project(ProjectRequest("q")), 8)) == 7
    assert refused(together(lambda _: admin.set_role("q", MemberRequest("writer", "reader")), 8)) == 0
    assert refused(together(lambda n: admin.set_disabled(f"admin{n % 2}", disabled=True), 8)) > 0
    assert len([each for each in admin.users() if each.admin and not each.disabled]) == 1


def test_backup__of_one_moment(service, new_postgres, tmp_path):
    """A backup shows one moment, whatever happens at the servers while it is made, and can be put back."""
    backing = threading.Thread(target=backup, args=(service.database, tmp_path / "backup", 0.0))
    with service.database.write() as connection:
        connection.execute(text("LOCK TABLE tokens IN ACCESS EXCLUSIVE MODE"))  # the backup has the accounts by then
        backing.start()
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        with closing(Database(service.settings.database)) as database, database.read() as other:
            wait_until(lambda: other.execute(waiting).scalar(), 30, "the backup to come to the tokens")
        late = accounts.add_account(connection, "late", None, 0.0)
        tokens.create_token(connection, late, 0.0, seconds=3600)
    backing.join()
    with closing(Database(new_postgres())) as database:
        assert restore(database, tmp_path / "backup")["accounts"] == 1


def test_alone__between_processes(service):
    """What one process does alone, another one waits for."""
    inside, most = [0], [0]
    databases = [Database(service.settings.database) for _ in range(4)]

    def work(number):
        # Each under another lock of this process's own, as in a process of its own.
        with alone(databases[number], 1, "a/b", locks=[threading.Lock()]):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            threading.Event().wait(0.05)
            inside[0] -= 1

    assert together(work, 4) == [None] * 4
    for each in databases:
        each.close()
    assert most == [1]
