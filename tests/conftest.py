"""Fixtures for all tests: a clean environment, and real servers that start when a test first asks for one.

A server that is not installed makes its tests fail, because ``make services`` installs all of them;
``HOLDFAST_SKIP_SERVICES=1`` skips those tests instead.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.services import SERVERS, postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.services import Service

#: How busy the machine is decides no test.
settings.register_profile("any-machine", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any-machine")

#: Asked before the environment is cleaned.
_SKIP_SERVICES = os.environ.get("HOLDFAST_SKIP_SERVICES") == "1"
_CLEANED = (
    "AWS_",
    "AZURE_",
    "GOOGLE_",
    "GCLOUD_",
    "CLOUDSDK_",
    "HOLDFAST_",
    "MODELKIT_",
    "ASSETS_",
    "ASSET_",
    "S3_",
    "STORAGE_EMULATOR",
)
_FOLDERS = (
    "unit",
    "formats",
    "contracts",
    "model",
    "protocol",
    "semantics",
    "server",
    "client",
    "compat",
    "mount",
    "conformance",
    "e2e",
    "sites",
    "docs",
    "shape",
)


@pytest.fixture(autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches a test, and no test writes into anyone's home."""
    for name in list(os.environ):
        if name.startswith(_CLEANED) and not name.startswith("HOLDFAST_TEST_"):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    for name, folder in (
        ("CONFIG", ".config"),
        ("CACHE", ".cache"),
        ("DATA", ".local/share"),
        ("STATE", ".local/state"),
    ):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / folder))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def service_environment(monkeypatch: pytest.MonkeyPatch):
    """A function that puts a service's variables into this test's environment."""

    def use(service: Service) -> None:
        for name, value in service.env.items():
            monkeypatch.setenv(name, value)

    return use


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The lowest layer first, so that the first failure is nearest to its cause."""
    order = {name: number for number, name in enumerate(_FOLDERS)}
    items.sort(key=lambda item: next((order[part] for part in item.path.parts if part in order), len(order)))


def _server(name: str, factory: pytest.TempPathFactory) -> Iterator[Service]:
    if _SKIP_SERVICES:
        pytest.skip("HOLDFAST_SKIP_SERVICES=1")
    with SERVERS[name](factory.mktemp(name) / "server") as service:
        yield service


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Ceph's object gateway, the truth about many writers."""
    yield from _server("ceph", tmp_path_factory)


@pytest.fixture(scope="session")
def localstack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """LocalStack, the most complete S3 interface."""
    yield from _server("localstack", tmp_path_factory)


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Azurite, for Azure Blob Storage."""
    yield from _server("azurite", tmp_path_factory)


@pytest.fixture(scope="session")
def gcs_double(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Our own idea of GCS."""
    yield from _server("gcs_double", tmp_path_factory)


@pytest.fixture(scope="session")
def rclone_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """``rclone serve s3``, which ignores conditions."""
    yield from _server("rclone_s3", tmp_path_factory)


@pytest.fixture(scope="session")
def refusing_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An S3 that answers 501 to conditions."""
    yield from _server("refusing_s3", tmp_path_factory)


@pytest.fixture(scope="session")
def new_postgres() -> Iterator[Callable[[], str]]:
    """PostgreSQL: a function that makes a new database and tells its URL."""
    if _SKIP_SERVICES:
        pytest.skip("HOLDFAST_SKIP_SERVICES=1")
    with postgres.start() as new_database:
        yield new_database
