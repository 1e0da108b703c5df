"""The half-grace rule: when a push may trust what it read, and what becomes of one that may not."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from holdfast.catalog.bucket import BucketCatalog
from holdfast.clock import since_boot
from holdfast.errors import ConflictError, IntegrityError
from holdfast.formats import layout as keys
from holdfast.formats.convention import Meta
from holdfast.formats.records import CondemnedRecord, encode, join_names
from holdfast.freshness import Freshness, stands
from holdfast.model.manifest import Entry, Manifest
from holdfast.store.memory import MemoryStore
from tests.fakes import ManualClock

A, B = "aa" * 32, "bb" * 32
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store() -> MemoryStore:
    """An empty store."""
    return MemoryStore()


@pytest.fixture
def catalog(store: MemoryStore) -> BucketCatalog:
    """Its catalog."""
    return BucketCatalog(store, ManualClock(), "me")


@pytest.fixture
def push(catalog: BucketCatalog):
    """A push whose version 0.0 of ``n`` has its meta, but is not listed yet."""
    push = catalog.open_push("n", "f" * 32, WHEN)
    catalog.claim(push, "0.0")
    manifest = Manifest.of([Entry("a", size=1, digest=A)])
    catalog.publish(push, "0.0", Meta(WHEN, "tree", True, manifest.content_hash, manifest, push=push.id))
    return push


def condemn(store: MemoryStore, *names: str) -> None:
    store.put(keys.gc_key("e"), encode(CondemnedRecord(1, "", "you", join_names(names))))


def test_freshness__half_the_grace() -> None:
    """An answer counts as late once half the grace, or the limit of the push if that is shorter, has gone since the reading."""
    now = [100.0]
    long, short = (Freshness(grace=100, limit=limit, clock=lambda: now[0]) for limit in (60, 20))
    assert long.is_late
    for each in (long, short):
        each.start()
        assert not each.is_late
    now[0] += 50
    assert (long.is_late, short.is_late) == (False, True)
    now[0] += 1
    assert long.is_late
    long.start()
    assert not long.is_late


def test_clock__goes_on_while_the_machine_sleeps() -> None:
    """The clock is the one that counts suspend, where the system has one, and never goes back."""
    first = since_boot()
    assert since_boot() >= first
    if hasattr(time, "CLOCK_BOOTTIME"):
        assert abs(time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot()) < 5


def test_stands__nothing_condemned(store: MemoryStore, catalog: BucketCatalog, push) -> None:
    """A late version of which nothing is condemned stays."""
    condemn(store, B)
    assert stands(store, catalog, push, "0.0", packs=[A])
    assert not catalog.record("n").tombstones


@pytest.mark.parametrize("kind", ["packs", "pages"])
def test_stands__condemned(store: MemoryStore, catalog: BucketCatalog, push, kind: str) -> None:
    """A late version of which a pack or pages object is condemned is withdrawn, listed or not, and can never be restored."""
    catalog.enlist("n", ["0.0"])
    condemn(store, A)
    assert not stands(store, catalog, push, "0.0", **{kind: [A]})
    assert catalog.listed("n").versions == ()
    assert catalog.record("n").tombstones["0.0"].final
    with pytest.raises(ConflictError, match="cannot come back"):
        catalog.restore("n", "0.0")


def test_stands__claim_lost(store: MemoryStore, catalog: BucketCatalog, push) -> None:
    """A late version whose claim was freed meanwhile is withdrawn, for its data may be deleted."""
    store.delete(keys.claim_key("n", "0.0"))
    assert not stands(store, catalog, push, "0.0")
    assert catalog.is_removed("n", "0.0", catalog.record("n"))


def test_stands__unreadable_list(store: MemoryStore, catalog: BucketCatalog, push) -> None:
    """A condemned list that cannot be read stops the push."""
    store.put(keys.gc_key("e"), b"{")
    with pytest.raises(IntegrityError):
        stands(store, catalog, push, "0.0", packs=[A])
