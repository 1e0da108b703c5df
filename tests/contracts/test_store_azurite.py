"""The store contract on Azurite, Microsoft's own emulator of Azure Blob Storage."""

from __future__ import annotations

import pytest

from tests.contracts.store_suite import BucketSuite, StoreSuite


class TestAzuriteStore(StoreSuite, BucketSuite):
    """The contract."""

    bad_credentials = {"azure_key": "bm90IHRoZSBrZXk="}  # noqa: RUF012
    put_headers = {"x-ms-blob-type": "BlockBlob"}  # noqa: RUF012

    @pytest.fixture(scope="class")
    @classmethod
    def service(cls, azurite):
        """The server."""
        return azurite
