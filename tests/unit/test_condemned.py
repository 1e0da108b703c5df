"""Condemned lists: written, read, and refused where they cannot be."""

from __future__ import annotations

import pytest

from holdfast.catalog.condemned import read_condemned, read_lists
from holdfast.errors import IntegrityError
from holdfast.formats import layout as keys
from holdfast.formats.records import CondemnedRecord, CondemnedVersion, encode, join_names
from holdfast.store.memory import MemoryStore

A, B, C = "aa" * 32, "bb" * 32, "cc" * 32


def write(store: MemoryStore, epoch: str, packs: list[str], pages: list[str], *versions: CondemnedVersion) -> None:
    record = CondemnedRecord(1, "2026-01-01T00:00:00+00:00", "me", join_names(packs), join_names(pages), versions)
    store.put(keys.gc_key(epoch), encode(record))


def test_condemned__empty_store() -> None:
    """In a store where nothing was collected nothing is condemned."""
    assert read_condemned(MemoryStore()) == frozenset()


def test_condemned__lists_stay_in_force_when_done() -> None:
    """A name stays condemned for ever, also when its list is dealt with; packs and pages objects are one set."""
    times = iter((1.0, 2.0, 3.0))
    store = MemoryStore(clock=lambda: next(times))
    write(store, "later", [C], [])
    write(store, "earlier", [B, A], [C], CondemnedVersion("n", "0.0", "p", "tree"))
    store.put(keys.gc_done_key("later"), b"{}")
    assert read_condemned(store) == {A, B, C}
    lists = read_lists(store)
    assert [(each.epoch, each.written, each.done, each.packs) for each in lists] == [
        ("later", 1.0, True, (C,)),
        ("earlier", 2.0, False, (A, B)),
    ]
    assert lists[1].versions == (CondemnedVersion("n", "0.0", "p", "tree"),)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"format":2,"at":"","who":""}', b'{"format":1,"at":"","who":"","packs":"QUJD"}'],
    ids=["empty", "no object", "fields missing", "newer", "half a name"],
)
def test_condemned__unreadable(data: bytes) -> None:
    """A list that cannot be read is an integrity error: it may name anything."""
    store = MemoryStore()
    write(store, "good", [A], [])
    store.put(keys.gc_key("bad"), data)
    with pytest.raises(IntegrityError, match="gc/bad"):
        read_condemned(store)
