"""The store contract on Ceph RGW: a real S3 server, several writers, ETags wanted unquoted."""

from __future__ import annotations

import hashlib

import pytest

from tests.contracts.store_suite import BucketSuite, StoreSuite


class TestCephStore(StoreSuite, BucketSuite):
    """The contract, with the timeouts that users get."""

    read_timeout = 10.0
    bad_credentials = {"secret_key": "not the secret", "session_token": None}  # noqa: RUF012

    @pytest.fixture(scope="class")
    @classmethod
    def service(cls, ceph):
        """The server."""
        return ceph

    def test_bulk__other_bytes_than_were_signed(self, store, key):
        """Bytes that have not the MD5 that stands for them in the signature are not written."""
        digest = hashlib.md5(b"the bytes", usedforsecurity=False).hexdigest()
        items = [(f"{key}-right", b"the bytes"), (f"{key}-wrong", b"other bytes")]
        assert dict(store.put_many(items, 2, lambda _: digest)) == {f"{key}-right": True, f"{key}-wrong": False}
        assert [info.key for info in store.list("") if info.key.startswith(key)] == [f"{key}-right"]
