"""The store contract on a directory, :class:`holdfast.store.path.PathStore`, and on one that is served to others."""

from __future__ import annotations

import pytest

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


class TestConfinedStore(StoreSuite):
    """The contract, where links are looked at first."""

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, tmp_path_factory):
        """One directory for the class."""
        return ConfinedStore(tmp_path_factory.mktemp("store").resolve())
