"""What a bucket of media and its copy need: the pure decisions, and random histories of two stores run on them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.sites.secondary import Pair, Seen, Side, Work, decide, expired, newer, planned, proves_equal
from holdfast.sites.values import MaxDelete

if TYPE_CHECKING:
    from holdfast.sites.secondary import Action, Plan

A, B, C = Seen("a", 1, 10.0), Seen("b", 2, 20.0), Seen("c", 3, 30.0)
PAIR = Pair(A, B)
LOOSE = MaxDelete(100.0, 1000)


@pytest.mark.parametrize(
    ("pair", "first", "copy", "two_way", "expected"),
    [
        (None, A, None, False, (Work.SEND, Side.COPY)),
        (None, None, B, False, (Work.SEND, Side.FIRST)),
        (None, A, B, False, (Work.COMPARE, Side.COPY)),
        (PAIR, A, B, False, None),
        (PAIR, None, None, False, (Work.FORGET, Side.COPY)),
        (PAIR, None, B, False, (Work.REMOVE, Side.COPY)),
        (PAIR, None, C, False, (Work.SEND, Side.FIRST)),
        (PAIR, None, Seen("b", 2, 25.0), False, (Work.SEND, Side.FIRST)),
        (PAIR, A, None, False, (Work.SEND, Side.COPY)),
        (PAIR, A, None, True, (Work.REMOVE, Side.FIRST)),
        (PAIR, C, None, True, (Work.SEND, Side.COPY)),
        (PAIR, C, B, False, (Work.SEND, Side.COPY)),
        (PAIR, A, C, False, (Work.SEND, Side.FIRST)),
        (PAIR, C, C, False, (Work.COMPARE, Side.COPY)),
        (PAIR, Seen("a", 1, 99.0), B, False, (Work.REMEMBER, Side.COPY)),
    ],
)
def test_decide__each_case(pair, first, copy, two_way, expected):
    """What is new goes over, what was deleted goes, an edit beats a delete, and what the copy alone lost is put back."""
    action = decide("k", pair, first, copy, two_way=two_way)
    assert (action and (action.work, action.side)) == expected


def test_tags__prove_only_what_they_can():
    """Two tags are proof of the same bytes only where both are an MD5 of them; between providers, bytes are compared."""
    md5 = "0" * 32
    assert proves_equal(Seen(md5, 1, 1.0), Seen(md5, 1, 9.0))
    assert not proves_equal(Seen(f"{md5}-2", 1, 1.0), Seen(f"{md5}-2", 1, 9.0))
    assert not proves_equal(Seen("a", 1, 1.0), Seen("a", 1, 1.0))
    assert not proves_equal(Seen(md5, 1, 1.0), Seen(md5, 2, 1.0))


def test_newer__ties_go_to_the_first():
    """Of two different objects the later one wins, at the same second the first store's."""
    assert newer(Seen("a", 1, 5.0), Seen("b", 1, 5.9)) is Side.FIRST
    assert newer(Seen("a", 1, 5.0), Seen("b", 1, 6.0)) is Side.COPY
    assert newer(Seen("a", 1, 7.0), Seen("b", 1, 6.0)) is Side.FIRST


def _deleted(known: int, gone: int, **options) -> Plan:
    pairs = {f"k{n}": PAIR for n in range(known)}
    first = dict.fromkeys(itertools.islice(pairs, gone, None), A)
    return planned(pairs, first, dict.fromkeys(pairs, B), two_way=False, **({"limit": MaxDelete()} | options))


@pytest.mark.parametrize(
    ("known", "gone", "withheld"), [(200, 50, 0), (200, 51, 51), (2000, 100, 0), (2000, 101, 101), (100, 50, 0)]
)
def test_guard__more_than_the_share_and_the_count(known, gone, withheld):
    """Deletions are withheld where they are more than max_delete says, both in per cent and in number."""
    plan = _deleted(known, gone)
    assert len(plan.withheld) == withheld
    assert bool(plan.reasons) == bool(withheld)
    assert len(_deleted(known, gone, allow_deletes=True).withheld) == 0


@pytest.mark.parametrize(
    ("known", "gone", "limit", "withheld"),
    [
        (50, 49, MaxDelete(), 49),
        (50, 26, MaxDelete(), 26),
        (50, 25, MaxDelete(), 0),
        (7, 6, MaxDelete(), 6),
        (6, 5, MaxDelete(), 0),
        (50, 49, MaxDelete(objects=1000), 49),
        (50, 49, MaxDelete(percent=99.0), 0),
    ],
)
def test_guard__most_of_a_small_bucket(known, gone, limit, withheld):
    """Deletions of more than half of a bucket, and of more than five objects, are withheld however few, unless a greater share was allowed."""
    assert len(_deleted(known, gone, limit=limit).withheld) == withheld


def test_guard__an_empty_source():
    """A store that shows no object at all deletes nothing elsewhere, whoever allows it."""
    for allow in (False, True):
        plan = _deleted(3, 3, allow_deletes=allow)
        assert [each.work for each in plan.withheld] == [Work.REMOVE] * 3
        assert "no object at all" in plan.reasons[0]
    pairs = {"k": PAIR}
    plan = planned(pairs, {"k": A}, {}, two_way=True, limit=LOOSE, allow_deletes=True)
    assert [each.side for each in plan.withheld] == [Side.FIRST]


def test_guard__the_rest_is_copied():
    """While deletions are withheld, what is new is copied all the same."""
    pairs = {f"k{n}": PAIR for n in range(60)}
    plan = planned(pairs, {"new": A}, dict.fromkeys(pairs, B), two_way=False, limit=MaxDelete())
    assert [each.key for each in plan.actions] == ["new"]
    assert len(plan.withheld) == 60
    assert plan.bytes == A.size


def test_expired__by_the_time_kept():
    """What the copy put aside goes once it was kept for longer than keep_deleted."""
    kept = [("a", 0.0), ("b", 69.9), ("c", 70.0), ("d", 100.0)]
    assert expired(kept, now=100.0, seconds=30.0) == ["a", "b"]


# random histories


@dataclass
class World:
    """Two stores as dictionaries, the trash of the copy, and a clock that every write moves."""

    stores: dict[Side, dict[str, tuple[str, float]]] = field(default_factory=lambda: {Side.FIRST: {}, Side.COPY: {}})
    trash: set[tuple[str, str]] = field(default_factory=set)
    pairs: dict[str, Pair] = field(default_factory=dict)
    clock: float = 0.0

    def write(self, side: Side, key: str, content: str) -> None:
        self.clock += 5
        self.stores[side][key] = (content, self.clock)

    def seen(self, side: Side, key: str) -> Seen | None:
        """As the store tells it: each store has tags of its own."""
        found = self.stores[side].get(key)
        return found and Seen(f"{side.value}:{found[0]}", len(found[0]), found[1])

    def listed(self, side: Side) -> dict[str, Seen]:
        return {key: self.seen(side, key) for key in self.stores[side]}

    def plan(self, **options) -> Plan:
        return planned(self.pairs, self.listed(Side.FIRST), self.listed(Side.COPY), **options)

    def keep(self, side: Side, key: str) -> None:
        if key in self.stores[side]:
            self.trash.add((key, self.stores[side][key][0]))

    def send(self, key: str, to: Side) -> None:
        self.keep(to, key)
        self.write(to, key, self.stores[to.other][key][0])

    def carry_out(self, action: Action) -> None:
        """As the doing part: what is overwritten or deleted is kept first, and what was done is remembered."""
        key = action.key
        if action.work is Work.REMOVE:
            self.keep(action.side, key)
            del self.stores[action.side][key]
        elif action.work is Work.SEND:
            self.send(key, action.side)
        elif action.work is Work.COMPARE and self.stores[Side.FIRST][key][0] != self.stores[Side.COPY][key][0]:
            self.send(key, newer(action.first, action.copy).other)

    def remember(self, key: str) -> None:
        both = self.seen(Side.FIRST, key), self.seen(Side.COPY, key)
        if None in both:
            self.pairs.pop(key, None)
        else:
            self.pairs[key] = Pair(*both)

    def everything(self) -> set[tuple[str, str]]:
        return {(key, content) for store in self.stores.values() for key, (content, _) in store.items()} | self.trash


KEYS = st.sampled_from(["a", "b", "c/d", "e"])
EDITS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(list(Side)), KEYS, st.sampled_from(["1", "2", "33", "44"])),
    st.tuples(st.just("delete"), st.sampled_from(list(Side)), KEYS),
    st.tuples(st.just("run"), st.booleans(), st.integers(0, 6)),
    st.tuples(st.just("forget")),
)


@settings(max_examples=400, deadline=None)
@given(history=st.lists(EDITS, max_size=40), two_way=st.booleans())
def test_histories__nothing_is_lost_and_both_sides_converge(history, two_way):
    """Whatever two stores go through, with runs that die anywhere and memory that is lost, a run loses no content that it met."""
    world = World()
    options = {"two_way": two_way, "limit": LOOSE}
    for step in history:
        if step[0] == "write":
            world.write(step[1], step[2], step[3])
        elif step[0] == "delete":
            world.stores[step[1]].pop(step[2], None)
        elif step[0] == "forget":
            world.pairs = {}
        else:
            before = world.everything()
            _, remembers, until = step
            for action in world.plan(**options).actions[:until]:
                world.carry_out(action)
                if remembers:
                    world.remember(action.key)
            assert before <= world.everything()
    for _ in range(3):
        before = world.everything()
        plan = world.plan(**options)
        for action in plan.actions:
            world.carry_out(action)
            world.remember(action.key)
        assert before <= world.everything()
    one, other = world.stores[Side.FIRST], world.stores[Side.COPY]
    if not plan.withheld:
        assert {key: content for key, (content, _) in one.items()} == {
            key: content for key, (content, _) in other.items()
        }
        assert world.plan(**options).actions == ()


@settings(max_examples=200, deadline=None)
@given(history=st.lists(EDITS.filter(lambda step: step[0] in ("write", "run")), max_size=30))
def test_histories__what_is_only_ever_written_is_never_removed(history):
    """While nobody deletes anything, no run deletes anything, on either side."""
    world = World()
    for step in history:
        if step[0] == "write":
            world.write(*step[1:])
            continue
        plan = world.plan(two_way=True, limit=LOOSE)
        assert [each for each in (*plan.actions, *plan.withheld) if each.work is Work.REMOVE] == []
        for action in plan.actions[: step[2]]:
            world.carry_out(action)
            if step[1]:
                world.remember(action.key)
