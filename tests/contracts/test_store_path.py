"""The store contract on a directory, :class:`holdfast.store.path.PathStore`, and on one that is served to others."""

from __future__ import annotations

import pytest

from holdfast.errors import ObjectNotFoundError, UsageError
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


class TestConfinedStore(StoreSuite):
    """The contract, where links are looked at first."""

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, tmp_path_factory):
        """One directory for the class."""
        return ConfinedStore(tmp_path_factory.mktemp("store").resolve())
