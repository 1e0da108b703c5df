"""Attaching a web server while its buckets' store is away: the directories are mounted from copies of the buckets, and that is told.

A copy is taken only where it was whole once, is of this very bucket, and still has most of what it had then; it is shown read-only unless
web servers may write there. What is compared with the copy here is what is compared with the bucket else. ``asset site run`` goes back to
the buckets once they are well; nothing that is written to a copy is lost by that, for it is new there, and is brought to the bucket.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.catalog.swap import read_or_none
from holdfast.errors import BucketNotFoundError, HoldfastError, IntegrityError, UnreachableError
from holdfast.formats.layout import SITE_MARK, copied_key
from holdfast.formats.sites import BucketMark, decode_record
from holdfast.mount import live
from holdfast.mount.live.finding import found
from holdfast.mount.live.plan import waiting
from holdfast.sites.asking import PATIENCE, Question
from holdfast.sites.attached import AttachedReport, AttachReport, each_of, in_turn, states
from holdfast.sites.attaching import MOUNTED, judge_bucket, sample
from holdfast.sites.buckets import open_bucket
from holdfast.sites.closing import bits_of
from holdfast.sites.comparing import LOOKED_AT, READ_WHOLE, differing
from holdfast.sites.copies import Copies
from holdfast.sites.deployed import deployment_of
from holdfast.sites.failover import FIRST, Choice
from holdfast.sites.filling import fill, to_fill
from holdfast.sites.ground import (
    aside,
    gather_parts,
    make_room,
    owner_of,
    refuse_other,
    refuse_parts,
    undone,
    would_go_to,
)
from holdfast.sites.journal import Journal
from holdfast.sites.localparts import refuse_others_laid
from holdfast.sites.mounting import mount
from holdfast.sites.offload import Found, Wanted
from holdfast.sites.places import ask, keep, shown
from holdfast.sites.showing import copied, is_mountable, showing, shows_copies
from holdfast.sites.sides import Half
from holdfast.sites.trial import end_trial
from holdfast.sites.uniting import mount_branches, take_away
from holdfast.transfer.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from holdfast.sites.attached import Place
    from holdfast.sites.plan import Plan
    from holdfast.sites.showing import Showing
    from holdfast.sites.stores import Stores
    from holdfast.sites.values import CopySettings, SiteSettings

__all__ = ["attach_copies", "leave_copy", "why_copies"]

#: What a store says that is away, or lost.
_AWAY: Final = (UnreachableError, BucketNotFoundError)


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy that may be shown: its number and place, its side of the pair of each bucket, the seconds since it was whole, and how many objects it has."""

    number: int
    place: Place
    halves: tuple[Half, ...]
    two_way: bool
    lag: float
    objects: int


def why_copies(
    plan: Plan, stores: Stores, places: Sequence[Place], *, accept: bool = False, dry_run: bool = False
) -> str | None:
    """Why copies are to be mounted, and not the buckets; None where the buckets are. No store is waited for longer than a moment.

    ``accept``: a bucket is taken though it lacks what was written to its copy, which may be lost for good.
    """
    if not shows_copies(plan):
        return None
    questions = [Question(lambda: deployment_of(stores.all[0].repository, plan.site), stores.all[0].url)]
    parts = [part for place in places for part in place.parts]
    questions += [Question(lambda part=part: ask(plan, part.bucket, FIRST), part.source) for part in parts]  # type: ignore[misc]
    deadline = time.monotonic() + PATIENCE
    for question in questions:
        problem = question.problem(max(0.0, deadline - time.monotonic()))
        if isinstance(problem, _AWAY):
            return problem.message
    return None if accept else _what_is_unsent(plan, parts) or _what_is_lacking(plan, parts, asks=not dry_run)


def _what_is_unsent(plan: Plan, parts: Sequence[Place]) -> str | None:
    """Which copy has not got yet what was written to it before the machine went down: a mount of the same sends it."""
    for part in parts:
        if (now := _left(plan, part)) is not None:
            return f"what was written to the copy {now.place.source} before its mount ended is not sent yet"
    return None


def _left(plan: Plan, part: Place) -> Showing | None:
    """The copy of a bucket that was shown when its mount came to its end, with writes that it has not sent."""
    now = showing(plan, part)
    record = now.place.record if now.is_copy else None
    return now if record is not None and not record.is_served and waiting(record) else None


def _what_is_lacking(plan: Plan, parts: Sequence[Place], *, asks: bool) -> str | None:
    """Which bucket has not got back yet what was written to its copy while that was shown."""
    kept = [shown(plan, part.bucket, Path(plan.state)) for part in parts]
    two_way = [each for each in kept if each.place != FIRST and plan.copies[each.place - 1].two_way]
    if not two_way:
        return None
    now = time.time()
    whole = {
        (each.bucket, each.copy): now - each.lag for each in _copies(plan, asks=asks).status() if each.lag is not None
    }
    for part, each in zip(parts, kept, strict=True):
        if each in two_way:
            last = whole.get((part.bucket, plan.copies[each.place - 1].store.url), 0.0)
            if last < each.since:
                return (
                    f"the bucket {part.bucket} lacks what was written to its copy (--accept-changes takes it as it is)"
                )
    return None


def attach_copies(
    plan: Plan,
    settings: SiteSettings,
    stores: Stores,
    node: str,
    places: Sequence[Place],
    why: str,
    *,
    spec: str | None,
    at: datetime | None,
    still: Callable[[], bool],
    dry_run: bool = False,
) -> AttachReport:
    """Mount copies in the place of buckets that are away; directories that are mounted and answer stay as they are. A dry run says so.

    Raises:
        UnreachableError: a bucket has no copy that can be shown: nothing was touched.
        HoldfastError: as :func:`~holdfast.sites.attach.attach`.
    """
    begun = time.monotonic()
    with in_turn(plan.state, plan.site, still, dry_run=dry_run):
        if not dry_run:
            end_trial(places[0], plan)
        run = _Fallback(plan, places, why, asks=not dry_run)
        run.judge()
        run.begin(dry_run=dry_run)
        if dry_run:
            restored = to_fill(plan, stores, spec, at)
            reports = each_of(places, run.would)
        else:
            restored = fill(plan, settings, stores, spec, at)
            reports = each_of(places, run.one)
            run.journal.end()
    spent = round(time.monotonic() - begun, 3)
    return AttachReport(plan.site, node, "", tuple(reports), restored, spent, why)


def leave_copy(plan: Plan, place: Place) -> None:
    """Make room for a bucket that is well where a copy of it is shown; the directory is closed until that is mounted.

    Raises:
        BusyError: somebody writes to the copy, or it has not sent everything.
    """
    if not shows_copies(plan):
        return
    for part in (place, *place.branches):  # a union before what it stands on
        if (now := showing(plan, part)).is_copy:
            # A site that is visited is read at every moment: who waited for nobody to read would never go back.
            now.place.unmount(closed=True, cut_off=True)
    _keep(plan, place, Choice(FIRST, read_only=False, why="the bucket answers"))


def _keep(plan: Plan, place: Place, choice: Choice) -> None:
    """Have it known what is shown there."""
    for part in place.parts:
        keep(plan, part.bucket, Path(plan.state), choice, time.time())


class _Fallback:
    """One attach of copies under way."""

    def __init__(self, plan: Plan, places: Sequence[Place], why: str, *, asks: bool) -> None:
        self.plan, self.places, self.why = plan, places, why
        self.copies = _copies(plan, asks=asks)
        self.journal = Journal(plan.state, "attach")
        self.owner = owner_of(plan.web_user)
        self.chosen: dict[str, _Copy] = {}

    def judge(self) -> None:
        """Choose what to show in each directory, before anything is touched."""
        now = {place.directory: showing(self.plan, place).place for place in self.places}
        told = states(list(now.values()), self.plan.site)
        for place in self.places:
            there = now[place.directory]
            if place.mount.is_whole and there.is_ours:
                refuse_others_laid(place)
            if not (there.is_ours and told[place.directory] == MOUNTED):
                refuse_parts(place, self.plan.config_file, stands=there.is_ours)
                self.chosen[place.directory] = self._choose(place)

    def begin(self, *, dry_run: bool) -> None:
        """Begin the journal, but for a dry run."""
        if not self.journal.is_open:  # else it knows what a killed run moved aside
            self.journal.begin({"site": self.plan.site, "deployment": ""}, dry_run=dry_run)

    def _choose(self, place: Place) -> _Copy:
        reasons = []
        left = next((each for part in place.parts if (each := _left(self.plan, part)) is not None), None)
        for number in range(1, len(self.plan.copies) + 1) if left is None else (left.number,):
            try:
                return self._judged(place, number)
            except HoldfastError as error:
                reasons.append(error.message)
        raise UnreachableError(
            f"{self.why}; and no copy of {place.bucket} can be shown: {'; '.join(reasons)}",
            subject=place.bucket,
            hint="asset site replicate --status tells how the copies are",
        )

    def _judged(self, place: Place, number: int) -> _Copy:
        """A copy, if it may be shown.

        Raises:
            HoldfastError: why it may not.
        """
        copy, there = self.plan.copies[number - 1], copied(self.plan, place, number)
        if not is_mountable(there):
            raise IntegrityError(f"{there.source} cannot be mounted: mounters know buckets on S3")
        found(live.MOUNTERS[self.plan.mounter], there.settings.mount_path, there.settings.environ)
        if there.branches:
            found(live.MERGERFS, there.settings.mount_path, there.settings.environ)
        parts = [self._judged_part(copy, part) for part in there.parts]
        halves = tuple(half for half, _, _ in parts)
        return _Copy(number, there, halves, copy.two_way, max(lag for _, lag, _ in parts), sum(n for _, _, n in parts))

    def _judged_part(self, copy: CopySettings, there: Place) -> tuple[Half, float, int]:
        """The copy of one bucket, if it may be shown: its side, the seconds since it was whole, and how many objects it has."""
        store = open_bucket(copy.store)
        known = self.copies.pairs(copy, there.bucket)
        if known is None or known[1] is None:
            raise IntegrityError(f"{there.source} was never whole")
        rows, lag = known
        if _marked(store, there.bucket) != self.plan.site:
            raise IntegrityError(
                f"{there.source} carries no mark of {self.plan.site}: asset site replicate puts one there"
            )
        half = Half(store, Engine(), copied_key(there.bucket, ""), shared=copy.two_way)
        listed = half.listed()
        checked = judge_bucket(
            {key: Wanted(size, "") for key, size in rows.items()},
            {key: Found(info.size, "") for key, info in listed.items()},
            served=True,
            accept=False,
        )
        if checked.problem is not None:
            raise IntegrityError(f"{there.source} {checked.problem.replace('deployed', 'copied')}")
        assert lag is not None  # noqa: S101 - it was looked at above
        return half, lag, len(listed)

    def one(self, place: Place) -> AttachedReport:
        """Have one directory show something, whatever was there before."""
        copy = self.chosen.get(place.directory)
        if copy is None:
            now = showing(self.plan, place)
            if now.is_copy:  # a run that was killed may not have said so
                _keep(self.plan, place, self._choice(now.number))
            return self._standing(place, "was")
        there = copy.place
        take_away(showing(self.plan, place).place)
        fresh: list[Place] = []
        with undone(there, self.journal, fresh):
            mount_branches(there, self.plan, self.journal, self.owner, fresh, read_only=not copy.two_way)
            make_room(there, self.journal, self.owner)
            gather_parts(there, self.plan.config_file, self.journal, self.owner)
            bits = bits_of(there, self.journal)
            mount(there, self.plan, self.owner, read_only=not copy.two_way, bits=bits)
            _compare(copy)
        _keep(self.plan, place, self._choice(copy.number))
        return self._report(place, copy, "mounted from a copy", aside(there, self.journal))

    def would(self, place: Place) -> AttachedReport:
        """What :meth:`one` would do; nothing is changed.

        Raises:
            BusyError: somebody uses a mount that does not answer.
            ConflictError: something else is mounted there, or what lies there cannot go aside.
        """
        copy = self.chosen.get(place.directory)
        if copy is None:
            return self._standing(place, "is")
        broken = showing(self.plan, place).place
        if broken.record is not None and broken.record.is_served:
            broken.refuse_used()
        else:
            refuse_other(copy.place)
        return self._report(place, copy, "would be mounted from a copy", would_go_to(copy.place, self.journal))

    def _standing(self, place: Place, verb: str) -> AttachedReport:
        """One that is mounted and answers."""
        now = showing(self.plan, place)
        state = f"{verb} mounted from a copy" if now.is_copy else f"{verb} mounted"
        return AttachedReport(place.directory, place.spot.place, place.bucket, state, store=now.place.source)

    def _report(self, place: Place, copy: _Copy, state: str, held: str | None) -> AttachedReport:
        return AttachedReport(
            place.directory,
            place.spot.place,
            place.bucket,
            state,
            copy.objects,
            held=held,
            store=copy.place.source,
            read_only=not copy.two_way,
            lag=round(copy.lag, 3),
            local=place.local,
        )

    def _choice(self, number: int) -> Choice:
        return Choice(number, read_only=not self.plan.copies[number - 1].two_way, why="the bucket fails")


def _copies(plan: Plan, *, asks: bool = True) -> Copies:
    return Copies(plan, engine=Engine(), asks=asks)


def _marked(store: object, bucket: str) -> str | None:
    """The site whose mark a copy carries."""
    key = copied_key(bucket, SITE_MARK)
    found = read_or_none(store, key)  # type: ignore[arg-type]
    return None if found is None else decode_record(found.data, BucketMark, key).site


def _compare(copy: _Copy) -> None:
    """Read files through the mount, and see that they are those of the copy; twice, for others may write.

    Raises:
        IntegrityError: they are not.
        UnreachableError: the mount does not read its store.
    """
    wrong: list[str] = []
    for _ in range(2):
        listed = {key: (half, info) for half in reversed(copy.halves) for key, info in half.listed().items()}
        objects = {
            key: Found(info.size, half.digest(key, info) if info.size <= READ_WHOLE else None)
            for key, (half, info) in ((key, listed[key]) for key in sample(listed, LOOKED_AT))
        }
        wrong = differing(copy.place, objects)
        if not wrong:
            return
    raise IntegrityError(
        f"what is read at {copy.place.spot.place} is not what {copy.place.source} holds: {', '.join(wrong[:3])}",
        subject=copy.place.spot.place,
        hint="its events.log and mounter.log say more: asset mounts",
    )
