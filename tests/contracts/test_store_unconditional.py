"""Two S3 servers that keep no conditions: the probe must say so, and why, and the plain verbs work as far as they go.

``rclone serve s3`` ignores a condition without a word, and answers a request for a range with the whole object, which obstore
refuses to take: there, reading by range is unsupported. The other server answers 501 to every condition, as Swift does.
"""

from __future__ import annotations

import io
import json

import pytest

from holdfast.errors import ObjectNotFoundError, UnsupportedError
from holdfast.store.base import CREATE, Replace
from holdfast.store.bucket import BucketStore
from holdfast.store.settings import bucket_settings
from tests.contracts.store_suite import PART, content, unseen


class UnconditionalSuite:
    """What both have in common; ``reason`` is the end of the reason given."""

    reason = ""

    @pytest.fixture(scope="class")
    @classmethod
    def store(cls, service):
        """A store that has not been probed yet."""
        return BucketStore(bucket_settings(service.fresh_store(), service.env))

    def test_promises__none_with_the_reason(self, store):
        """Neither condition is promised, and the reason names the endpoint and what it did."""
        found = store.promises()
        assert (found.create, found.replace) == (False, False)
        assert found.reason is not None
        assert found.reason.startswith("http://127.0.0.1:")
        assert self.reason in found.reason

    def test_promises__kept_for_a_day(self, service, tmp_path):
        """The answer is written to the probe's file, and a store that finds it there asks the server nothing."""
        file, now = tmp_path / "state" / "probe.json", [1_000_000.0]
        settings = bucket_settings(service.fresh_store(), service.env)
        first = BucketStore(settings, probe_cache=file, clock=lambda: now[0]).promises()
        (entry,) = json.loads(file.read_text()).values()
        entry["conditions"]["reason"] = "as remembered"
        (place,) = json.loads(file.read_text())
        file.write_text(json.dumps({place: entry}))
        now[0] += 24 * 3600 - 1
        kept = BucketStore(settings, probe_cache=file, clock=lambda: now[0]).promises()
        assert (kept.reason or "").endswith("as remembered")
        now[0] += 2
        assert BucketStore(settings, probe_cache=file, clock=lambda: now[0]).promises() == first

    def test_put__conditional(self, store, key):
        """A conditional put is refused before anything is written."""
        info = store.put(key, b"there")
        for mode in (CREATE, Replace(info.version)):
            with pytest.raises(UnsupportedError) as caught:
                store.put(key, b"other", mode)
            assert self.reason in caught.value.message
        assert bytes(store.get(key).data) == b"there"

    def test_plain_verbs(self, store, key):
        """Put, get, head, list, copy and delete work, also for a file in parts."""
        data = content(2 * PART + 5)
        info = store.put_file(key, io.BytesIO(data), len(data), unseen)
        store.copy(key, f"{key}-to")
        assert bytes(store.get(f"{key}-to").data) == data
        assert store.head(key).version == info.version
        assert key in {found.key for found in store.list(key.partition("/")[0])}
        store.delete(key)
        with pytest.raises(ObjectNotFoundError):
            store.head(key)


class TestRcloneStore(UnconditionalSuite):
    """Conditions are ignored without a word."""

    reason = "it ignores the condition"

    @pytest.fixture(scope="class")
    @classmethod
    def service(cls, rclone_s3):
        """The server."""
        return rclone_s3

    def test_get_range__unsupported(self, store, key):
        """A range is answered with status 200 and the whole object; that is refused, not cut to size."""
        store.put(key, b"0123456789")
        with pytest.raises(UnsupportedError):
            store.get_range(key, 2, 3)


class TestRefusingStore(UnconditionalSuite):
    """Conditions are answered with 501."""

    reason = "it refuses them"

    @pytest.fixture(scope="class")
    @classmethod
    def service(cls, refusing_s3):
        """The server."""
        return refusing_s3

    def test_get_range(self, store, key):
        """Ranges work here."""
        store.put(key, b"0123456789")
        assert bytes(store.get_range(key, 2, 3).data) == b"234"
