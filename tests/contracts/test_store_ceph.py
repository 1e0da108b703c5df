"""The store contract on Ceph RGW: a real S3 server, several writers, ETags wanted unquoted."""

from __future__ import annotations

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
