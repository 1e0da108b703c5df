"""Backups of a server: what they bring back, of which releases, and what is refused."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from litestar.testing import TestClient

from holdfast.errors import ConflictError, UsageError
from holdfast.server.app import make_app
from holdfast.server.backup import restore
from holdfast.server.migrate import is_empty, open_database, upgrade
from holdfast.server.projects import list_projects
from holdfast.server.service import Service
from holdfast.server.settings import load_settings
from holdfast.server.stores import purpose_of
from holdfast.server.tables import metadata
from tests.fakes import ManualClock

GOLDEN = Path(__file__).parent / "golden"
#: Made by the first release: ann, an admin, and bob with a password; ci with this token; the projects p and m.
FIRST = GOLDEN / "backup-0001.json"
TOKEN = "hft_H2lIGclZp1qKGB5VCATlh1PGs8OOYkPgxGrRVmkcEIk"


@pytest.fixture
def settings(tmp_path):
    """A new machine that has the old one's secret."""
    (tmp_path / "data").mkdir()
    shutil.copy(GOLDEN / "secret", tmp_path / "data" / "secret")
    (tmp_path / "data" / "secret").chmod(0o600)
    return load_settings({"data": tmp_path / "data"})


def restored(settings, file: Path):
    """Rows by table."""
    database = open_database(settings, current=False)
    try:
        return restore(database, file)
    finally:
        database.close()


def test_restore__first_release(settings):
    """What the first release backed up works in a server of this one: passwords, tokens, groups, roles and credentials."""
    assert restored(settings, FIRST)["audit"] == 10
    service = Service(settings, clock=ManualClock(datetime(2026, 12, 1, tzinfo=UTC)))  # the token's days are not over
    with TestClient(make_app(service)) as client:
        asked = {"name": "ann", "password": "correct horse battery"}
        assert client.post("/api/v1/login", json=asked).status_code == 200
        told = client.get("/api/v1/whoami", headers={"Authorization": f"Bearer {TOKEN}"}).json()
        assert (told["name"], [(each["name"], each["role"]) for each in told["projects"]]) == ("ci", [("p", "reader")])
        with service.database.read() as connection:
            sealed = {each.name: each.sealed for each in list_projects(connection)}
        assert b"very/secret" in service.vault.open(sealed["m"], purpose_of("m"))


def test_restore__all_or_nothing(settings, tmp_path):
    """A backup with rows that its tables do not take is refused, and the database stays empty."""
    broken = json.loads(FIRST.read_text())
    broken["tables"]["audit"].append({"id": 1, "nonsense": True})
    (tmp_path / "broken").write_text(json.dumps(broken))
    with pytest.raises(UsageError, match="does not fit"):
        restored(settings, tmp_path / "broken")
    database = open_database(settings, current=False)
    assert is_empty(database)
    database.close()
    assert restored(settings, FIRST)["accounts"] == 3


@pytest.mark.parametrize("change", [{"revision": "9999"}, {"revision": None}, {"format": "x"}, {"tables": []}])
def test_restore__of_another_kind(settings, tmp_path, change):
    """A backup of a newer release, or of another format, is refused."""
    (tmp_path / "other").write_text(json.dumps(json.loads(FIRST.read_text()) | change))
    with pytest.raises(UsageError):
        restored(settings, tmp_path / "other")


def test_restore__over_people(settings):
    """Nothing is restored over people."""
    restored(settings, FIRST)
    with pytest.raises(ConflictError):
        restored(settings, FIRST)


def test_migrations__make_the_tables(settings):
    """The migrations make the very tables that the program uses."""
    database = open_database(settings, current=False)
    upgrade(database)
    with database.read() as connection:
        found = compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)
    database.close()
    assert found == []
