"""The rules of collecting and pruning, one by one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from holdfast.collecting import (
    Limits,
    PushSeen,
    Stored,
    VersionSeen,
    age_limit,
    due_at,
    finalized,
    garbage,
    is_alive,
    is_ended,
    is_left_over,
    is_root,
    may_delete,
    old_data,
    plan_prune,
    removed,
    survivors,
)
from holdfast.errors import IntegrityError
from holdfast.formats.records import AssetRecord, CondemnedVersion, Tombstone

LIMITS = Limits(push_limit=100, grace=200, undo=1000)
NOW = 10_000.0


def stone(meta: str = "p", at: float = 0.0, *, final: bool = False) -> Tombstone:
    return Tombstone(meta, datetime.fromtimestamp(at, UTC).isoformat(), "me", final)


def push(written: float, *, running: float = 0.0, limit: float = 100.0, closed: bool = False) -> PushSeen:
    return PushSeen("id", "n", "me", written, running, limit, closed)


def test_finalized__when_the_window_is_over() -> None:
    """A tombstone becomes final once the undo window is over, not at its last moment, and stays so."""
    record = AssetRecord(
        tombstones={"0.0": stone(at=NOW - 1000), "0.1": stone(at=NOW - 1001), "0.2": stone(final=True)}
    )
    after = finalized(record, NOW, LIMITS, "k")
    assert [each.final for each in after.tombstones.values()] == [False, True, True]
    assert finalized(after, 0.0, LIMITS, "k") == after


def test_finalized__bad_date() -> None:
    """A tombstone whose date is none stops the collector."""
    with pytest.raises(IntegrityError):
        finalized(AssetRecord(tombstones={"0.0": Tombstone("p", "yesterday", "me")}), NOW, LIMITS, "k")


def test_is_root() -> None:
    """A version is a root without a tombstone, with one that is not final, and with one that names another meta."""
    assert is_root("p", None)
    assert is_root("p", stone())
    assert is_root("q", stone(final=True))
    assert not is_root("p", stone(final=True))


def test_is_alive__by_the_larger_limit() -> None:
    """A push counts as alive for its own limit or the store's, whichever is larger, and a tenth; a closed one never."""
    assert is_alive(push(NOW - 110), NOW, LIMITS)
    assert not is_alive(push(NOW - 111), NOW, LIMITS)
    assert is_alive(push(NOW - 500, limit=500), NOW, LIMITS)
    assert is_alive(push(NOW - 110, limit=0), NOW, LIMITS)
    assert not is_alive(push(NOW, closed=True), NOW, LIMITS)


def test_is_ended__long_ago() -> None:
    """The record of a push is of no more use once it is over and older than the grace."""
    assert not is_ended(push(NOW - 200, closed=True), NOW, LIMITS)
    assert is_ended(push(NOW - 201, closed=True), NOW, LIMITS)
    assert not is_ended(push(NOW - 201, limit=300), NOW, LIMITS)


def test_is_left_over__staged_objects() -> None:
    """What was staged is left over once it is older than the grace, and its push ended as long ago or has no record any more."""
    ended = push(NOW - 201, closed=True)
    assert is_left_over(ended, NOW - 201, NOW, LIMITS)
    assert is_left_over(None, NOW - 201, NOW, LIMITS)
    assert not is_left_over(ended, NOW - 200, NOW, LIMITS)
    assert not is_left_over(None, NOW - 200, NOW, LIMITS)
    assert not is_left_over(push(NOW - 201, limit=300), NOW - 201, NOW, LIMITS)


def test_age_limit__oldest_open_push() -> None:
    """What was written since the oldest living push began, or within the limit of pushes and a tenth, is too young."""
    assert age_limit(NOW, LIMITS, []) == NOW - 110
    assert age_limit(NOW, LIMITS, [push(NOW - 10, running=300), push(NOW, running=20)]) == NOW - 310
    assert age_limit(NOW, LIMITS, [push(NOW - 10, running=300, closed=True)]) == NOW - 110


def test_garbage() -> None:
    """Garbage is what no root needs, is old enough, and stands on no list that is yet to be dealt with."""
    objects = [Stored(name, written) for name, written in (("live", 1), ("pending", 1), ("young", 50), ("old", 49))]
    assert [each.name for each in garbage(objects, {"live"}, {"pending"}, 50)] == ["old"]


def test_removed() -> None:
    """Versions are condemned once, when their tombstone is final and names their meta."""
    versions = [VersionSeen("n", version, "p", "tree") for version in ("0.0", "0.1", "0.2")]
    stones = {("n", "0.0"): stone(final=True), ("n", "0.1"): stone(), ("n", "0.2"): stone(final=True)}
    pending = [CondemnedVersion("n", "0.2", "p", "tree")]
    assert removed(versions, stones, pending) == [CondemnedVersion("n", "0.0", "p", "tree")]


def test_due_at() -> None:
    """A list is due after the grace, and not while a push lives that began before it."""
    assert due_at(NOW, LIMITS, [], NOW) == NOW + 200
    assert due_at(NOW, LIMITS, [push(NOW - 1, limit=1000)], NOW) == NOW - 1 + 1.1 * 1000
    assert due_at(NOW - 9, LIMITS, [push(NOW, running=3, limit=1000)], NOW) == NOW - 9 + 200
    assert due_at(NOW - 9, LIMITS, [push(NOW, running=9, limit=1000)], NOW) == NOW + 1.1 * 1000


def test_survivors() -> None:
    """What is needed again stays."""
    assert survivors({"a", "b"}, {"b", "c"}) == {"b"}


@pytest.mark.parametrize(
    ("meta", "tombstone", "may"),
    [
        ("p", stone(final=True), True),
        (None, stone(final=True), True),
        ("foreign", stone(final=True), False),
        ("p", stone(), False),
        ("p", None, False),
        ("p", stone("q", final=True), False),
        (None, stone("q", final=True), False),
    ],
)
def test_may_delete(meta: str | None, tombstone: Tombstone | None, may: bool) -> None:
    """A condemned version goes only while its final tombstone stands and no other meta is there."""
    assert may_delete(CondemnedVersion("n", "0.0", "p", "tree"), meta, tombstone) is may


def test_old_data() -> None:
    """Data that was written after the list is another program's."""
    assert old_data([Stored("a", 1), Stored("b", 5)], 5) == ["a"]


def test_plan_prune__any_rule_keeps() -> None:
    """A version stays if it is among the newest, young enough, or named by an alias or hold; what has no date stays."""
    versions = ["0.5", "0.4", "0.3", "0.2", "0.1", "0.0"]
    pushed = {"0.5": NOW - 50, "0.4": NOW - 40, "0.3": NOW - 20, "0.2": NOW - 99, "0.1": NOW - 100}
    assert plan_prune(versions, pushed, {"0.1"}, NOW, keep_last=1, keep_within=30) == ["0.4", "0.2"]
    assert plan_prune(versions, pushed, (), NOW, keep_last=2, keep_within=None) == ["0.3", "0.2", "0.1"]
    assert plan_prune(versions, pushed, (), NOW, keep_last=None, keep_within=99) == ["0.1"]
    assert plan_prune(versions, pushed, (), NOW, keep_last=9, keep_within=None) == []
