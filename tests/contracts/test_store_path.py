"""The store contract on a directory, :class:`holdfast.store.path.PathStore`, and on one that is served to others."""

from __future__ import annotations

import io
import os

import pytest

from holdfast.errors import AlreadyExistsError, LocalError, ObjectNotFoundError, UsageError
from holdfast.store.base import CREATE, OVERWRITE
from holdfast.store.confined import ConfinedStore
from holdfast.store.path import PathStore
from tests.contracts.store_suite import StoreSuite


class TestPathStore(StoreSuite):
    """The contract, on whatever file system the tests' temporary directory is on."""

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, tmp_path_factory):
        """One directory for the class."""
        return PathStore(tmp_path_factory.mktemp("store"))

    def test_key__too_long_for_a_file(self, store):
        """Nothing lies under a key that no file can be named by, and it cannot be written; the error does not name the folder."""
        key = "a/" + "n" * 300
        for read in (store.get, store.head):
            with pytest.raises(ObjectNotFoundError):
                read(key)
        assert (list(store.list(key)), store.list_level(key).objects) == ([], ())
        with pytest.raises(UsageError) as caught:
            store.put(key, b"x")
        assert str(store.root) not in str(caught.value)

    @pytest.mark.parametrize("mode", [OVERWRITE, CREATE])
    @pytest.mark.parametrize(("there", "key"), [("below/file", "below/file/key"), ("above/key/file", "above/key")])
    def test_key__below_another(self, store, there, key, mode):
        """A folder holds no object below another: such a write is refused in words that do not name the folder, and changes nothing."""
        store.put(there, b"there")
        with pytest.raises((LocalError, AlreadyExistsError)) as caught:
            store.put(key, b"new", mode)
        assert str(store.root) not in str(caught.value)
        assert bytes(store.get(there).data) == b"there"


def test_create__syncs_what_came_while_another_did(tmp_path, monkeypatch):
    """What must not be there before data is on the disk waits for all of it, also for what came while somebody else had the disk sync."""
    store, synced = PathStore(tmp_path), []

    def sync(_):
        synced.append(1)
        if len(synced) == 1:
            store.put("data/late", b"while the first one syncs")

    monkeypatch.setattr("holdfast.store.path.sync_file_system", sync)
    store.put("data/early", b"x")
    store.put("first.meta", b"{}", CREATE)
    assert len(synced) == 1
    store.put("second.meta", b"{}", CREATE)
    assert len(synced) == 2
    store.put("third.meta", b"{}", CREATE)
    assert len(synced) == 2


def test_put_file__is_on_the_disk(tmp_path, monkeypatch):
    """A large file is synced before it has its name: whoever publishes it may be another process."""
    store, done, real = PathStore(tmp_path), [], os.fsync

    def fsync(descriptor):
        assert not (tmp_path / "data").exists()
        done.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    store.put_file("data", io.BytesIO(b"x" * 100_000), 100_000, lambda _: None)
    assert 100_000 in done


class TestConfinedStore(StoreSuite):
    """The contract, where links are looked at first."""

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, tmp_path_factory):
        """One directory for the class."""
        return ConfinedStore(tmp_path_factory.mktemp("store").resolve())
