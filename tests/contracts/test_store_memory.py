"""The store contract on :class:`holdfast.store.memory.MemoryStore`."""

from __future__ import annotations

import pytest

from holdfast.store.memory import MemoryStore
from tests.contracts.store_suite import StoreSuite


class TestMemoryStore(StoreSuite):
    """The contract; nothing is left out."""

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls):
        """One store for the class."""
        return MemoryStore()

    def test_put_overwrite__same_bytes(self, store, key):
        """The same bytes written again are another version: this store is exact where S3's ETags are not."""
        assert store.put(key, b"x").version != store.put(key, b"x").version
