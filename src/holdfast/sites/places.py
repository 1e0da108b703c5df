"""Where each bucket of media is to be shown now: places are looked at by ``asset site run``, and what was found is kept in a file.

Who mounts reads that file and nothing else, so a store that does not answer delays no mount. Without the file, the bucket itself is shown.
Several processes write to it, one at a time, each on what it holds by then: what an attach mounted while a look asked the stores stays known.
"""

from __future__ import annotations

import fcntl
import json
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from holdfast.cache.work import write_whole
from holdfast.disk import local_errors
from holdfast.errors import HoldfastError
from holdfast.formats.layout import copied_key
from holdfast.sites.asking import PATIENCE, within
from holdfast.sites.buckets import bucket_settings, buckets_of_media, open_bucket
from holdfast.sites.failover import FIRST, Choice, Health, choose, noted
from holdfast.sites.notices import FAILED, OK, Observation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from holdfast.sites.plan import Plan
    from holdfast.sites.values import StoreSettings

__all__ = ["FILE", "Shown", "ask", "keep", "look", "place_settings", "shown"]

#: The file's name in the site's state folder.
FILE: Final = "places.json"
#: What is known of one bucket: the choice, how its places are, and since when it is chosen.
_Known = tuple[Choice, list[Health], float]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a mount of a bucket shows: a store's URL, with its endpoint and credentials; whether it is read-only, and why.

    ``place`` is its number, ``since`` when it was chosen, in seconds since the epoch.
    """

    store: StoreSettings
    read_only: bool
    why: str
    place: int = FIRST
    since: float = 0.0


def shown(plan: Plan, bucket: str, folder: Path) -> Shown:
    """What to mount for a bucket now, by what is known; no store is asked."""
    kept = _read(folder / FILE).get(bucket)
    if kept is None or kept[0].place > len(plan.copies):
        return Shown(place_settings(plan, bucket, FIRST), read_only=False, why="nothing else is known")
    choice, _, since = kept
    return Shown(place_settings(plan, bucket, choice.place), choice.read_only, choice.why, choice.place, since)


def keep(plan: Plan, bucket: str, folder: Path, choice: Choice, now: float) -> None:
    """Have it known what a mount shows that could not wait to be told."""
    health = [
        Health(choice.place == FIRST, now),
        *(Health(ok=True, since=now, two_way=each.two_way) for each in plan.copies),
    ]
    with _alone(folder):
        known = _read(folder / FILE)
        old = known.get(bucket)
        if (FIRST if old is None else old[0].place) != choice.place:
            _write(folder / FILE, {**known, bucket: (choice, health, now)})


def look(
    plan: Plan, folder: Path, whole: Mapping[tuple[str, str], float], now: float, *, moves: bool = True
) -> list[Observation]:
    """Ask every place of every bucket, choose, and keep it; how each place is.

    ``whole`` is when a copy (bucket and URL) was last equal to its bucket; a copy that is not in it never was. Where no directory
    ``moves``, none is to show a copy, whatever its bucket is like.
    """
    places = range(len(plan.copies) + 1)
    wrong = {bucket: [_why_not(plan, bucket, place) for place in places] for bucket in buckets_of_media(plan)}
    with _alone(folder):
        before = _read(folder / FILE)
        after = {
            bucket: _chosen(plan, bucket, before.get(bucket), messages, whole, now, moves=moves)
            for bucket, messages in wrong.items()
        }
        _write(folder / FILE, after)
    seen = [
        Observation("store", place_settings(plan, bucket, place).url, FAILED if message else OK, message)
        for bucket, messages in wrong.items()
        for place, message in enumerate(messages)
    ]
    moved = [
        Observation("bucket", bucket, OK if choice.place == FIRST else FAILED, f"{choice.why}: {place_settings(plan, bucket, choice.place).url} is to be shown")
        for bucket, (choice, _, _) in after.items()
    ]  # fmt: skip
    return seen + moved


def _chosen(
    plan: Plan,
    bucket: str,
    old: _Known | None,
    wrong: Sequence[str],
    whole: Mapping[tuple[str, str], float],
    now: float,
    *,
    moves: bool,
) -> _Known:
    """What is known of a bucket after another look, by what was known and what is ``wrong`` with each place. Pure."""
    health: list[Health] = []
    for place, message in enumerate(wrong):
        known = old[1][place] if old is not None and place < len(old[1]) else None
        health.append(noted(known, _health(plan, bucket, place, not message, whole, now, old)))
    current = old[0].place if old is not None else FIRST
    times = {"failover_after": plan.run.failover_after, "failback_after": plan.run.failback_after}
    choice = choose(current, health if moves else health[:1], now, **times)
    return choice, health, old[2] if old is not None and old[0].place == choice.place else now


def _health(
    plan: Plan,
    bucket: str,
    place: int,
    ok: bool,
    whole: Mapping[tuple[str, str], float],
    now: float,
    old: _Known | None,
) -> Health:
    if place == FIRST:
        return Health(ok, now)
    copy = plan.copies[place - 1]
    last = whole.get((bucket, copy.store.url), 0.0)
    shown_since = old[2] if old is not None and old[0].place == place else 0.0
    return Health(ok, now, last > 0, copy.two_way, behind=copy.two_way and bool(shown_since) and last < shown_since)


def ask(plan: Plan, bucket: str, place: int) -> None:
    """Raise what a place that cannot be read says. One page of a listing tells: an empty one is an answer too."""
    if place == FIRST:
        found = open_bucket(bucket_settings(plan.stores[0], bucket)).list("")
    else:
        found = open_bucket(plan.copies[place - 1].store).list(copied_key(bucket, ""))
    next(iter(found), None)


def _why_not(plan: Plan, bucket: str, place: int) -> str:
    """Why a place cannot be read; empty where it can."""
    try:
        within(PATIENCE, lambda: ask(plan, bucket, place), place_settings(plan, bucket, place).url)
    except HoldfastError as error:
        return error.message
    return ""


def place_settings(plan: Plan, bucket: str, place: int) -> StoreSettings:
    """The bucket itself, or its copy of this number. Pure."""
    if place == FIRST:
        return bucket_settings(plan.stores[0], bucket)
    store = plan.copies[place - 1].store
    return replace(store, url=f"{store.url.rstrip('/')}/{copied_key(bucket, '')}")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other thread, and no other process of this site, writes meanwhile."""
    with local_errors(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open((folder / FILE).with_suffix(".lock"), "w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _read(path: Path) -> dict[str, _Known]:
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        value = json.loads(path.read_text("utf-8"))
        return {
            bucket: (Choice(**each["choice"]), [Health(**health) for health in each["health"]], float(each["since"]))
            for bucket, each in value.items()
        }
    return {}


def _write(path: Path, places: Mapping[str, _Known]) -> None:
    value = {
        bucket: {"choice": asdict(choice), "health": [asdict(each) for each in health], "since": since}
        for bucket, (choice, health, since) in places.items()
    }
    with local_errors(path.parent):
        write_whole(path, json.dumps(value).encode())
