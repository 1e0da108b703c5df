"""The store contract on the project's own double of Google Cloud Storage.

No emulator in the registries keeps the XML API's generation conditions. What passes here shows that we speak the XML API as
the project understands it, not that Google's servers agree.
"""

from __future__ import annotations

import pytest

from tests.contracts.store_suite import BucketSuite, StoreSuite


class TestGcsDoubleStore(StoreSuite, BucketSuite):
    """The contract; signing is left out, because the double's service account has no key."""

    signs = False
    knows_buckets = False

    @pytest.fixture(scope="class")
    @classmethod
    def service(cls, gcs_double):
        """The server."""
        return gcs_double
