"""Where each bucket of media is to be shown now: places are looked at by ``asset site run``, and what was found is kept in a file.

Who mounts reads that file and nothing else, so a store that does not answer delays no mount. Without the file, the bucket itself is shown.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from holdfast.cache.work import write_whole
from holdfast.disk import local_errors
from holdfast.errors import HoldfastError
from holdfast.formats.layout import copied_key
from holdfast.sites.buckets import bucket_settings, buckets_of_media, open_bucket
from holdfast.sites.failover import FIRST, Choice, Health, choose, noted
from holdfast.sites.notices import FAILED, OK, Observation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from holdfast.sites.plan import Plan
    from holdfast.sites.values import StoreSettings

__all__ = ["FILE", "Shown", "look", "shown"]

#: The file's name in the site's state folder.
FILE: Final = "places.json"


@dataclass(frozen=True, slots=True)
class Shown:
    """What a mount of a bucket shows: a store's URL, with its endpoint and credentials; whether it is read-only, and why."""

    store: StoreSettings
    read_only: bool
    why: str


def shown(plan: Plan, bucket: str, folder: Path) -> Shown:
    """What to mount for a bucket now, by what is known; no store is asked."""
    kept = _read(folder / FILE).get(bucket)
    place, read_only, why = FIRST, False, "nothing else is known"
    if kept is not None and kept[0].place <= len(plan.copies):
        place, read_only, why = kept[0].place, kept[0].read_only, kept[0].why
    return Shown(_settings(plan, bucket, place), read_only, why)


def look(plan: Plan, folder: Path, whole: Mapping[tuple[str, str], float], now: float) -> list[Observation]:
    """Ask every place of every bucket, choose, and keep it; how each place is.

    ``whole`` is when a copy (bucket and URL) was last equal to its bucket; a copy that is not in it never was.
    """
    before = _read(folder / FILE)
    after: dict[str, tuple[Choice, list[Health], float]] = {}
    wrong: dict[str, str] = {}
    for bucket in buckets_of_media(plan):
        old = before.get(bucket)
        health: list[Health] = []
        for place in range(len(plan.copies) + 1):
            settings = _settings(plan, bucket, place)
            message = _why_not(plan, bucket, place)
            wrong[settings.url] = message
            known = old[1][place] if old is not None and place < len(old[1]) else None
            health.append(noted(known, _health(plan, bucket, place, not message, whole, now, old)))
        current = old[0].place if old is not None else FIRST
        times = {"failover_after": plan.run.failover_after, "failback_after": plan.run.failback_after}
        choice = choose(current, health, now, **times)
        since = old[2] if old is not None and old[0].place == choice.place else now
        after[bucket] = choice, health, since
    _write(folder / FILE, after)
    seen = [Observation("store", url, FAILED if message else OK, message) for url, message in wrong.items()]
    moved = [
        Observation("bucket", bucket, OK if choice.place == FIRST else FAILED, f"{choice.why}: {_settings(plan, bucket, choice.place).url} is to be shown")
        for bucket, (choice, _, _) in after.items()
    ]  # fmt: skip
    return seen + moved


def _health(
    plan: Plan,
    bucket: str,
    place: int,
    ok: bool,
    whole: Mapping[tuple[str, str], float],
    now: float,
    old: tuple[Choice, list[Health], float] | None,
) -> Health:
    if place == FIRST:
        return Health(ok, now)
    copy = plan.copies[place - 1]
    last = whole.get((bucket, copy.store.url), 0.0)
    shown_since = old[2] if old is not None and old[0].place == place else 0.0
    return Health(ok, now, last > 0, copy.two_way, behind=copy.two_way and bool(shown_since) and last < shown_since)


def _why_not(plan: Plan, bucket: str, place: int) -> str:
    """Why a place cannot be read; empty where it can. One page of a listing tells: an empty one is an answer too."""
    try:
        if place == FIRST:
            found = open_bucket(bucket_settings(plan.stores[0], bucket)).list("")
        else:
            found = open_bucket(plan.copies[place - 1].store).list(copied_key(bucket, ""))
        next(iter(found), None)
    except HoldfastError as error:
        return error.message
    return ""


def _settings(plan: Plan, bucket: str, place: int) -> StoreSettings:
    if place == FIRST:
        return bucket_settings(plan.stores[0], bucket)
    store = plan.copies[place - 1].store
    return replace(store, url=f"{store.url.rstrip('/')}/{copied_key(bucket, '')}")


def _read(path: Path) -> dict[str, tuple[Choice, list[Health], float]]:
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        value = json.loads(path.read_text("utf-8"))
        return {
            bucket: (Choice(**each["choice"]), [Health(**health) for health in each["health"]], float(each["since"]))
            for bucket, each in value.items()
        }
    return {}


def _write(path: Path, places: Mapping[str, tuple[Choice, list[Health], float]]) -> None:
    value = {
        bucket: {"choice": asdict(choice), "health": [asdict(each) for each in health], "since": since}
        for bucket, (choice, health, since) in places.items()
    }
    with local_errors(path.parent):
        write_whole(path, json.dumps(value).encode())
