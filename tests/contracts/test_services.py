"""The servers that the tests start do what the other tests rely on; spoken to by obstore alone."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import obstore
import pytest
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import from_url

from tests.services import SERVERS, base

CONDITIONAL = ["ceph", "localstack", "azurite", "gcs_double"]


@pytest.fixture
def opened(request, service_environment):
    """Start the server that the test names, and open a store on it from nothing but its environment."""

    def open_store(name: str):
        service = request.getfixturevalue(name)
        service_environment(service)
        options = {"allow_http": True}
        retry = {"max_retries": 0}
        return from_url(service.fresh_store(), client_options=options, retry_config=retry)

    return open_store


@pytest.mark.parametrize("name", SERVERS)
def test_service__puts_and_gets(opened, name):
    """Each server keeps a key, lists it, and forgets it."""
    store = opened(name)
    obstore.put(store, "a/b c+é.bin", b"hello")
    assert bytes(obstore.get(store, "a/b c+é.bin").bytes()) == b"hello"
    assert [row["path"] for row in obstore.list(store).collect()] == ["a/b c+é.bin"]
    obstore.delete(store, "a/b c+é.bin")
    assert obstore.list(store).collect() == []


@pytest.mark.parametrize("name", [*CONDITIONAL, "refusing_s3"])
def test_service__ranges_copies_parts_and_pages(opened, name):
    """A part of an object, a copy, an upload in parts, and a listing by delimiter in pages."""
    store = opened(name)
    data = os.urandom(12 * 2**20)
    obstore.put(store, "big", data, use_multipart=True, chunk_size=5 * 2**20, max_concurrency=2)
    assert bytes(obstore.get_range(store, "big", start=7, end=5_300_000)) == data[7:5_300_000]
    obstore.copy(store, "big", "dir/copy")
    assert obstore.head(store, "dir/copy")["size"] == len(data)
    found = obstore.list_with_delimiter(store)
    assert ([row["path"] for row in found["objects"]], list(found["common_prefixes"])) == (["big"], ["dir"])


@pytest.mark.parametrize("name", ["gcs_double", "refusing_s3"])
def test_double__pages_of_a_listing(opened, name):
    """Our own servers cut listings into pages of 1000 and lose nothing between them."""
    store = opened(name)
    keys = [f"p/{number:04d}" for number in range(1501)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: obstore.put(store, key, b"x", use_multipart=False), keys))
    assert [row["path"] for row in obstore.list(store).collect()] == keys


@pytest.mark.parametrize("name", CONDITIONAL)
def test_service__one_creator_wins(opened, name):
    """Of eight writers that create one key, exactly one does."""
    store = opened(name)

    def create(number: int) -> bool:
        try:
            obstore.put(store, "claim", b"%d" % number, mode="create")
        except AlreadyExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1


@pytest.mark.parametrize("name", CONDITIONAL)
def test_service__one_replacer_wins(opened, name):
    """Of eight writers that replace one version of a key, exactly one does.

    Ceph wants the ETag without quotes, and tells some of the losers 500 instead of 412.
    """
    store = opened(name)
    made = obstore.put(store, "list", b"0")
    version = {key: value for key, value in made.items() if value}
    if name == "ceph":
        version["e_tag"] = version["e_tag"].strip('"')

    def replace(number: int) -> bool:
        try:
            obstore.put(store, "list", b"%d" % number, mode=version)
        except PreconditionError:
            return False
        except BaseError as error:
            if name == "ceph" and "500 Internal" in str(error):
                return False
            raise
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(replace, range(1, 9))) == 1


def test_ceph__a_quoted_etag_never_matches(opened):
    """The oddity that a client must know of."""
    store = opened("ceph")
    made = obstore.put(store, "list", b"0")
    with pytest.raises(PreconditionError):
        obstore.put(store, "list", b"1", mode={"e_tag": made["e_tag"]})


def test_rclone__ignores_conditions(opened):
    """A second creator is told that it won."""
    store = opened("rclone_s3")
    obstore.put(store, "claim", b"1", mode="create")
    obstore.put(store, "claim", b"2", mode="create")
    assert bytes(obstore.get(store, "claim").bytes()) == b"2"


def test_refusing__says_501(opened):
    """A conditional write is refused for its condition."""
    store = opened("refusing_s3")
    with pytest.raises(BaseError, match=r"501|NotImplemented"):
        obstore.put(store, "claim", b"1", mode="create")


def test_stop__leaves_no_process(tmp_path):
    """A server is gone when its block ends, also by an error."""
    with pytest.raises(ZeroDivisionError):  # noqa: PT012, SIM117
        with SERVERS["refusing_s3"](tmp_path / "s") as service:
            assert base.answers(service.env["AWS_ENDPOINT_URL"] + "/holdfast")
            raise ZeroDivisionError
    time.sleep(0.05)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in service.pids)
