"""Who works on the model store: generators that stop before each request, so that anybody may come in between.

The collector decides by the functions of :mod:`holdfast.collecting`, the very ones that the program runs.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from holdfast import collecting
from holdfast.collecting import PushSeen, VersionSeen
from holdfast.formats.records import AssetRecord, CondemnedVersion, Tombstone, changed
from tests.protocol.model import HOUR, LOWERED, SKEW, Meta, World, text

if TYPE_CHECKING:
    from collections.abc import Callable

Actor = Generator[str, None, None]
_NAME = "n"


def pusher(
    world: World, push: str, letters: str, known: tuple[str, ...], *, resumes: str | None = None, unsure: bool = False
) -> Actor:
    """A push of this content, which has seen the objects ``known`` in earlier versions; what design §3 says, step by step.

    ``resumes`` is the number that an earlier run of the same push claimed before it was killed; one
    that is ``unsure`` gets no answer when it publishes, and writes again.
    """
    yield "read lists"
    seen = world.condemned()
    names = {letter: _chosen(world, letter, known, seen) for letter in letters}
    yield "open"
    began, limits = world.now, world.limits
    world.pushes[push] = PushSeen(push, _NAME, push, world.now, 0.0, limits.push_limit, closed=False)
    if resumes is not None and world.metas.get(resumes, Meta("")).push == push:
        yield from _settle(world, push, resumes)
        return
    for name in names.values():
        yield f"upload {name}"
        world.create_object(name)
    for _ in range(2):
        version = yield from _claim(world, push, resumes)
        landed = yield from _publish(world, push, version, names, began, limits, unsure=unsure)
        if landed is not False:
            if landed:
                yield from _finish(world, push, version)
            return
        resumes, began = None, world.now
        for letter in letters:
            names[letter] = _chosen(world, letter, (), world.condemned())
            yield f"upload {names[letter]} again"
            world.create_object(names[letter])


def _chosen(world: World, letter: str, known: tuple[str, ...], condemned: frozenset[str]) -> str:
    """What holds this content: something known that is not condemned, else the first name that is not."""
    avoid = condemned if world.rules.avoid_condemned_names else frozenset()
    for name in known:
        if name[0] == letter and name not in avoid:
            return name
    return next(name for salt in count() if (name := f"{letter}{salt}") not in avoid)


def _claim(world: World, push: str, resumes: str | None) -> Generator[str, None, str]:
    version = resumes
    while True:
        yield "look for a number"
        if version is None:
            used = {*world.claims, *world.metas, *world.record.tombstones}
            version = str(max((int(each) for each in used), default=-1) + 1)
        yield f"claim {version}"
        if world.create_claim(version, push):
            return version
        version = None


def _publish(
    world: World,
    push: str,
    version: str,
    names: dict[str, str],
    began: float,
    limits: collecting.Limits,
    *,
    unsure: bool,
) -> Generator[str, None, bool | None]:
    """Whether the version is whole: False where it was withdrawn, None where the push stopped itself."""
    rules = world.rules
    window = min(limits.grace / 2, limits.push_limit)
    while True:
        if world.now - began > limits.push_limit:
            return None
        record = world.pushes[push]
        world.pushes[push] = replace(record, written=world.now, running=world.now - began)
        start = world.now
        yield "re-read lists"
        condemned = world.condemned() if rules.reread_lists else frozenset()
        if rules.avoid_condemned_names and condemned & set(names.values()):
            for letter, name in list(names.items()):
                names[letter] = _chosen(world, letter, (name,), condemned)
                yield f"upload {names[letter]}"
                world.create_object(names[letter])
            continue
        yield "write root"
        if not world.create_root(version, push):
            return None
        yield "re-read claim"
        if world.claims.get(version) != push:
            return None
        if not rules.check_lateness or world.now - start <= window:
            break
    for _ in range(2 if unsure else 1):
        yield "meta"
        if not world.create_meta(version, Meta(push, frozenset(names.values())), late=world.now - start > window):
            return None
    yield "answer"
    if not rules.check_lateness or world.now - start <= window:
        world.doubtful.discard(version)
        return True
    return (yield from _stands(world, push, version))


def _stands(world: World, push: str, version: str) -> Generator[str, None, bool]:
    """As :func:`holdfast.freshness.stands`."""
    yield "late: re-read claim"
    held = world.claims.get(version) == push or not world.rules.late_check_reads_claim
    yield "late: re-read lists"
    needs = world.metas[version].needs
    good = not needs & world.condemned() if world.rules.late_check_reads_lists else needs <= world.objects.keys()
    if held and good:
        world.doubtful.discard(version)
        return True
    stone = Tombstone(push, text(world.now), push, final=True)
    yield "withdraw"
    world.withdrawn.add((version, push))
    world.swap_record(world.changes, changed(world.record, tombstones=world.record.tombstones | {version: stone}))
    world.doubtful.discard(version)
    return False


def _settle(world: World, push: str, version: str) -> Actor:
    """The end of a push that was killed when its version was whole: nobody knows how late that was."""
    if not world.rules.check_lateness or (yield from _stands(world, push, version)):
        yield from _finish(world, push, version)


def _finish(world: World, push: str, version: str) -> Actor:
    """List it; what else is whole and unlisted, too."""
    world.acknowledged[version] = world.metas[version]
    yield "list"
    whole = {each for each in world.metas if each not in world.record.tombstones}
    world.listed = tuple(sorted({*whole, *world.listed} - {*world.record.tombstones}, key=int, reverse=True))
    yield "close"
    world.pushes[push] = replace(world.pushes[push], closed=True)


def remover(world: World, version: str) -> Actor:
    """A tombstone, then the list."""
    yield "read"
    if version not in world.metas:
        return
    stone = Tombstone(world.metas[version].push, text(world.now), "remover")
    while True:
        before, seen = world.record, world.changes
        yield "tombstone"
        if world.swap_record(seen, changed(before, tombstones=before.tombstones | {version: stone})):
            break
    yield "unlist"
    world.listed = tuple(each for each in world.listed if each != version)


def restorer(world: World, version: str) -> Actor:
    """The tombstone goes again, if the window is open by what was read, and nobody has said that it is final."""
    yield "clock"
    now = world.now
    while True:
        before, seen = world.record, world.changes
        stone = before.tombstones.get(version)
        yield "restore"
        open_ = stone is not None and collecting.finalized(before, now, world.limits, "") == before
        if stone is None or not open_ or stone.final or version not in world.metas:
            return
        rest = {each: other for each, other in before.tombstones.items() if each != version}
        seen = seen if world.rules.final_tombstones else world.changes
        if world.swap_record(seen, changed(before, tombstones=rest)):
            break
    yield "list"
    world.listed = (version, *world.listed)


def repairer(world: World, version: str) -> Actor:
    """Frees a number whose push has ended or expired: the claim is taken from it, it was not run again, no meta has come, leftovers go, then the claim."""
    yield "read claim, push, meta"
    push = world.pushes.get(world.claims.get(version, ""))
    if push is None or collecting.is_alive(push, world.now, world.limits) or version in world.metas:
        return
    yield "take the claim"
    world.claims[version] = f"freed-{push.id}"
    yield "read push again"
    if world.rules.repair_reads_record_again and collecting.is_alive(world.pushes[push.id], world.now, world.limits):
        world.claims[version] = push.id
        return
    yield "read meta"
    if version in world.metas and world.rules.repair_takes_claim_first:
        world.claims[version] = push.id
        return
    yield "delete leftovers"
    world.data.pop(version, None)
    yield "delete the claim"
    world.claims.pop(version, None)


def overwriter(world: World) -> Actor:
    """Another program: reads the list, and writes it back later, whatever was written meanwhile."""
    yield "read the list"
    found = world.listed
    yield "write the list"
    world.listed = found


def foreign_push(world: World, version: str) -> Actor:
    """Another program pushes under a number that was removed, which it knows nothing of."""
    yield "push by another program"
    if version in world.record.tombstones:
        world.overwrite(version, "foreign")
        world.acknowledged[version] = world.metas[version]


def lowerer(world: World) -> Actor:
    """The store's limits are lowered."""
    yield "lower the limits"
    world.limits = LOWERED


def passing(world: World, hours: float) -> Actor:
    """Time passes for all."""
    yield f"{hours} hours pass"
    world.now += hours * HOUR


def collector(world: World) -> Actor:
    """One run, as :class:`holdfast.collect.Collector`: everything is read, then what is due is deleted, then condemned."""
    rules, limits = world.rules, world.limits
    yield "clock, pushes, lists"
    now = world.now if rules.store_clock else world.now + SKEW
    pushes = list(world.pushes.values()) if rules.open_pushes_count else []
    pending = [each for each in world.lists.values() if not each.done]
    judged = limits if rules.undo_window else replace(limits, undo=-1.0)
    record = yield from _finalize(world, now, judged)
    yield "metas"
    todo, versions, live = sorted(world.metas), [], set()
    for number, version in enumerate(todo):
        if number:
            yield f"meta {version}"
        meta = world.metas.get(version)
        if meta is None or (not rules.unlisted_are_roots and version not in world.listed):
            continue
        if not meta.readable:
            if rules.stop_at_unreadable:
                return
            continue
        seen = VersionSeen(_NAME, version, _id(world, version, meta, record), "packs")
        versions.append(seen)
        if collecting.is_root(seen.meta, record.tombstones.get(version)):
            live |= meta.needs
    stored = world.stored()
    for each in pending:
        if not rules.grace or collecting.due_at(each.written, limits, pushes, now) <= now:
            stay = collecting.survivors(each.names, live) if rules.mark_again else frozenset()
            for version in each.versions:
                yield from _delete_version(world, version, each.written)
            for name in sorted(each.names - stay):
                yield f"delete {name}"
                world.objects.pop(name, None)
            yield "done"
            world.lists[each.epoch] = replace(world.lists[each.epoch], done=True)
    names = frozenset(name for each in pending for name in each.names)
    old = collecting.age_limit(now, limits, pushes)
    garbage = frozenset(each.name for each in collecting.garbage(stored, live, names, old))
    stones = {(_NAME, version): stone for version, stone in record.tombstones.items()}
    gone = collecting.removed(versions, stones, [version for each in pending for version in each.versions])
    if garbage or gone:
        yield "condemn"
        world.write_list(garbage, tuple(gone))


def _id(world: World, version: str, meta: Meta, record: AssetRecord) -> str:
    stone = record.tombstones.get(version)
    return stone.meta if stone is not None and not world.rules.match_meta_id else meta.push


def _finalize(world: World, now: float, limits: collecting.Limits) -> Generator[str, None, AssetRecord]:
    """Tombstones whose window is over become final, by a swap; without that rule they are only taken for it."""
    while True:
        yield "read record"
        before, seen = world.record, world.changes
        after = collecting.finalized(before, now, limits, "")
        if after == before or not world.rules.final_tombstones:
            return after
        yield "swap record"
        if world.swap_record(seen, after):
            return after


def _delete_version(world: World, condemned: CondemnedVersion, written: float) -> Actor:
    """Meta first. What is read again right before and the deletion are one step: another program's write in between is lost."""
    version = condemned.version
    yield f"delete meta {version}"
    meta, stone = world.metas.get(version), world.record.tombstones.get(version)
    if not world.rules.final_tombstones:
        stone = None if stone is None else changed(stone, final=True)
    found = None if meta is None else _id(world, version, meta, world.record)
    if not collecting.may_delete(condemned, found, stone):
        return
    steps: list[Callable[[], None]] = [
        lambda: world.delete_meta(version),
        lambda: _delete_data(world, version, written),
    ]
    for number, step in enumerate(steps if world.rules.meta_before_data else reversed(steps)):
        if number:
            yield f"delete {version}, second half"
        step()
    if not world.rules.keep_numbers:
        world.claims.pop(version, None)
        rest = {each: stone for each, stone in world.record.tombstones.items() if each != version}
        world.swap_record(world.changes, changed(world.record, tombstones=rest))


def _delete_data(world: World, version: str, written: float) -> None:
    found = world.data.get(version)
    if found is not None and found[1] < written:
        del world.data[version]
