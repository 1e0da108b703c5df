"""Which objects a walk of a store tells: lists and metas, and nothing of what is below versions."""

from __future__ import annotations

import pytest

from holdfast.catalog.walking import walk
from holdfast.store.memory import MemoryStore
from holdfast.store.path import PathStore

TOLD = (
    "a.versions",
    "a/1.0",
    "a/1.0.meta",
    "a/b.versions",
    "a/b/0.1.meta",
    "a-b.versions",
    "a-b/2026-01-01-00-00-00.meta",
    "z/odd.meta",
    "z/x/y.versions",
)
HIDDEN = (
    ".holdfast/assets/a",
    ".holdfast/claims/a/1.0",
    ".holdfast/store.json",
    "a/1.0/f.meta",
    "a/1.0/sub/g.versions",
    "a/2.0/half.versions",
    "z/odd/below.versions",
)


class Levels(MemoryStore):
    """Cannot begin a listing anywhere."""

    lists_in_order = False


class Counting(MemoryStore):
    """Tells how many objects its listings told."""

    told = 0

    def list_after(self, prefix, after):
        """As there."""
        for info in super().list_after(prefix, after):
            self.told += 1
            yield info


@pytest.mark.parametrize("kind", ["in order", "by levels", "folder"])
def test_walk__what_is_told(kind, tmp_path):
    """Lists and metas of every depth are told; what is below a version, be it listed or not, and what is ours is not."""
    store = {"in order": MemoryStore, "by levels": Levels, "folder": lambda: PathStore(tmp_path)}[kind]()
    for key in (*TOLD, *HIDDEN):
        if kind != "folder" or key != "a/1.0":  # where a folder is, no file can be
            store.put(key, b"x")
    told = {info.key for info in walk(store)}
    assert told - {"a/1.0"} == set(TOLD) - {"a/1.0"}


def test_walk__passes_over_large_versions():
    """A version of many files costs no listing of them all, nor do our own keys; what comes behind is told."""
    store = Counting()
    for number in range(5000):
        store.put(f"a/1.0/{number}", b"")
        store.put(f".holdfast/packs/{number}", b"")
    for key in ("a.versions", "a/1.0.meta", "a/1.1.meta", "b.versions"):
        store.put(key, b"x")
    assert {info.key for info in walk(store)} == {"a.versions", "a/1.0.meta", "a/1.1.meta", "b.versions"}
    assert store.told < 1100
