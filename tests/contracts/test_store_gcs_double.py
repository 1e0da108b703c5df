"""The store contract on the project's own double of Google Cloud Storage.

No emulator in the registries keeps the XML API's generation conditions. What passes here shows that we speak the XML API as
the project understands it, not that Google's servers agree.
"""

from __future__ import annotations

import pytest

from holdfast.server.rsa import prover
from holdfast.store.settings import bucket_settings
from tests.contracts.store_suite import BucketSuite, StoreSuite


class TestGcsDoubleStore(StoreSuite, BucketSuite):
    """The contract, with somebody who can sign by the service account's key."""

    knows_buckets = False

    @pytest.fixture(scope="class")
    @classmethod
    def service(cls, gcs_double):
        """The server."""
        return gcs_double

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls, service):
        """As a server reaches it."""
        return bucket_settings(service.fresh_store(), service.env, rsa=prover)
