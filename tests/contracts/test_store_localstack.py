"""The store contract on LocalStack's S3, which takes any signature in a header but checks signed URLs."""

from __future__ import annotations

import pytest

from tests.contracts.store_suite import BucketSuite, StoreSuite


class TestLocalStackStore(StoreSuite, BucketSuite):
    """The contract; wrong credentials are left out, because this server takes any."""

    bad_credentials = {}  # noqa: RUF012

    @pytest.fixture(scope="class")
    @classmethod
    def service(cls, localstack):
        """The server."""
        return localstack
