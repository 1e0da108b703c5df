"""The store contract on a project of a server, streamed and signed: what a push may do there; the rest is refused, and says so."""

from __future__ import annotations

import io
import secrets
from datetime import UTC, datetime

import pytest

from holdfast.errors import AccessError, AlreadyExistsError, ObjectNotFoundError, UnsupportedError
from holdfast.store.base import Bulk, Expects, Replace
from tests.contracts.store_suite import PART, StoreSuite, content, unseen


class ProjectSuite(StoreSuite):
    """The contract, but for what needs a second write under one key, a delete or a copy."""

    project = "p"
    test_get_range__pinned_to_an_older_version = None
    test_get_range__pinned_and_gone = None
    test_list__version_is_good_for_replace = None
    test_missing_key = None
    test_odd_keys = None
    test_put_overwrite__changes_the_version = None
    test_put_create__new = None
    test_put_replace__another_version = None
    test_put_replace__key_is_gone = None
    test_put_replace__sixteen_writers = None
    test_put_file__source_of_another_size = None
    test_delete = None
    test_delete__missing_key = None
    test_copy = None
    test_bad_keys = None

    @pytest.fixture(scope="class")
    @classmethod
    def opened(cls, service, tmp_path_factory):
        """The writer's door, with a push of its own open."""
        repository = service.open(tmp_path_factory.mktemp("contract"), project=cls.project)
        repository.catalog.store_record(create=True)
        push = repository.catalog.open_push("k", secrets.token_hex(16), datetime.now(UTC))
        return repository, push, iter(range(10_000))

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, opened):
        """The store."""
        return opened[0].store

    @pytest.fixture
    def key(self, opened):
        """A key under a claim that no other test has."""
        repository, push, numbers = opened
        version = f"0.{next(numbers)}"
        repository.catalog.claim(push, version)
        return f"k/{version}"

    def test_missing_object(self, store, key):
        """A key that is not there is not found by any verb that reads it."""
        for read in (store.get, store.head, lambda k: store.get_range(k, 0, 1)):
            with pytest.raises(ObjectNotFoundError) as caught:
                read(key)
            assert caught.value.subject == key
        assert [found for _, found in store.get_many([key], 2)] == [None]

    def test_odd_names(self, store, key):
        """A key with odd characters is kept as it is."""
        for odd in (
            "with space",
            "plus+and=sign&",
            "ünïcode/日本語",
            "hash#tag",
            "question?mark",
            "quotes'\"`",
            "a:b@c$",
        ):
            store.put(f"{key}/{odd}", b"odd")
            assert bytes(store.get(f"{key}/{odd}").data) == b"odd"
            assert store.head(f"{key}/{odd}").size == 3
        assert len(list(store.list(key))) == 7

    def test_bulk(self, store, key):
        """Small objects are written and read side by side, and ranges come straight into the memory given."""
        assert isinstance(store, Bulk)
        assert isinstance(store, Expects)
        items = {f"{key}/{n}": content(n * 10) for n in range(300)}
        for name, is_sent in store.put_many(items.items(), 8):
            if not is_sent:
                store.put(name, items[name])
        store.expect(items)
        for name, found in store.get_many(items, 8):
            data = found.data if found is not None else store.get(name).data
            assert bytes(data) == items[name]
        view = memoryview(bytearray(100))
        got = store.get_range_into(f"{key}/20", 50, view)
        assert bytes(got.data) == items[f"{key}/20"][50:150]
        assert bytes(view) == items[f"{key}/20"][50:150]
        assert bytes(store.get_range_into(f"{key}/1", 4, view).data) == items[f"{key}/1"][4:]

    def test_list__many(self, store, key):
        """A listing of more than a page has every key once."""
        names = [f"{key}/{n:05}" for n in range(1050)]
        assert all(is_sent for _, is_sent in store.put_many(((name, b"") for name in names), 16))
        assert sorted(info.key for info in store.list(key)) == names
        assert len(store.list_level(key).objects) == len(names)

    def test_put__the_same_again(self, store, key):
        """An overwrite of what a killed push left is kept where it is the same, and refused where it is not."""
        store.put(key, b"the same")
        assert store.put(key, b"the same").size == 8
        for other in (b"THE SAME", b"longer than that"):
            with pytest.raises(AlreadyExistsError, match="never written over"):
                store.put(key, other)
        assert bytes(store.get(key).data) == b"the same"

    def test_put_file__the_same_again(self, store, key):
        """A large object that is there already is compared and kept; another one is refused; the bytes stay."""
        data = content(2 * PART + 7)
        store.put_file(key, io.BytesIO(data), len(data), unseen)
        seen = []
        assert store.put_file(key, io.BytesIO(data), len(data), lambda b: seen.append(bytes(b))).size == len(data)
        assert b"".join(seen) == data
        other = bytearray(data)
        other[-1] ^= 1
        for wrong in (bytes(other), data + b"x"):
            with pytest.raises(AlreadyExistsError):
                store.put_file(key, io.BytesIO(wrong), len(wrong), unseen)
        assert bytes(store.get(key).data) == data

    def test_what_is_refused(self, store, key):
        """Replacing, deleting, copying and signing need the bucket itself, and the error says so."""
        for use in (
            lambda: store.put(key, b"x", Replace("1")),
            lambda: store.delete(key),
            lambda: store.copy(key, key + "2"),
            lambda: store.sign(key, "GET", 60),
        ):
            with pytest.raises(UnsupportedError, match="through the server") as found:
                use()
            assert "--store s3://" in (found.value.hint or "")

    @pytest.mark.parametrize(
        "elsewhere", ["k/9.999999/x", "other/0.0/x", "k.versions", ".holdfast/store.json", ".holdfast/gc/1"]
    )
    def test_put__elsewhere(self, store, elsewhere):
        """What is under nobody's claim, or the server's own, cannot be written."""
        with pytest.raises(AccessError):
            store.put(elsewhere, b"x")


class TestStreamed(ProjectSuite):
    """Through the server, from a folder of its own."""

    test_list__many = None  # as the signed one, and each object would be a request

    @pytest.fixture(scope="class")
    @classmethod
    def service(cls, server):
        """The server."""
        return server


class TestSigned(ProjectSuite):
    """By URLs, directly to a bucket."""

    project = "s"

    @pytest.fixture(scope="class")
    @classmethod
    def service(cls, signing):
        """The server."""
        return signing
