"""How a site stands: this server's directories, buckets against quota, what is moved aside, and all web servers at a gate."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.errors import HoldfastError
from holdfast.formats.layout import copied_key
from holdfast.sites.asking import PATIENCE, within
from holdfast.sites.attached import places_of, states
from holdfast.sites.attaching import FROM_COPY, MOUNTED, not_ready
from holdfast.sites.branching import doubled
from holdfast.sites.buckets import open_bucket
from holdfast.sites.copies import Copies
from holdfast.sites.deployed import deployment_of
from holdfast.sites.held import held_in
from holdfast.sites.media import Media
from holdfast.sites.nodes import nodes_of, publish
from holdfast.sites.showing import showing
from holdfast.sites.sides import Half
from holdfast.transfer.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.sites.plan import Plan
    from holdfast.sites.showing import Showing
    from holdfast.sites.stores import Stores
    from holdfast.sites.values import CopySettings, SiteSettings
    from holdfast.store.base import ObjectInfo

__all__ = ["DirectoryStatus", "SiteStatus", "gate", "here", "status"]

_TICK: Final = 1.0


@dataclass(frozen=True, slots=True)
class DirectoryStatus:
    """One directory: MOUNTED, MOUNTED from a copy, or NOT MOUNTED, and why; objects and bytes of what is shown (None: it does not answer).

    ``held`` lies aside here. Of a copy, ``store`` is its URL, ``read_only`` whether nothing may be written there, and ``lag`` the seconds
    since it was equal to its bucket.

    Of a merged directory they are those of all branches, and ``doubled`` the names that two of them have.
    ``local`` are paths below it that stay on this machine.
    """

    directory: str
    place: str
    bucket: str
    state: str
    why: str | None
    objects: int | None
    bytes: int | None
    held: tuple[str, ...] = ()
    held_bytes: int = 0
    store: str | None = None
    read_only: bool = False
    lag: float | None = None
    doubled: tuple[str, ...] = ()
    local: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """A site, from this server. ``bytes`` are those of all buckets, ``quota`` what they may hold (0: unknown)."""

    site: str
    node: str
    deployment: str | None
    deployment_state: str | None
    directories: tuple[DirectoryStatus, ...]
    bytes: int
    quota: int
    ok: bool


def status(plan: Plan, settings: SiteSettings, stores: Stores, node: str) -> SiteStatus:
    """Look at everything once, and tell the other servers what is mounted here, where this one was attached.

    Raises:
        UsageError: the settings mount nothing.
        HoldfastError: the store does not answer, and nothing is mounted either.
    """
    now = [showing(plan, place) for place in places_of(plan, settings)]
    told = states([each.place for each in now], plan.site)
    told |= {each.place.directory: FROM_COPY for each in now if each.is_copy and told[each.place.directory] == MOUNTED}
    directories = tuple(_directory(plan, stores, each, told[each.place.directory]) for each in now)
    ok = all(each.state == MOUNTED for each in directories)
    repository = stores.all[0].repository
    identity = state = None
    try:
        record = within(PATIENCE, lambda: deployment_of(repository, plan.site), repository.store.url)
        identity, state = (record.id, record.state) if record is not None else (None, None)
        own = nodes_of(repository, plan.site).get(node)
        if own is not None and not own[0].left:
            publish(repository, plan.site, node, own[0].deployment, told)
        elif record is not None and FROM_COPY in told.values():  # it could not say so when it was attached
            publish(repository, plan.site, node, record.id, told)
    except HoldfastError:
        if not ok and FROM_COPY not in told.values():
            raise
    total = sum(each.bytes or 0 for each in directories)
    return SiteStatus(plan.site, node, identity, state, directories, total, settings.quota, ok)


def _directory(plan: Plan, stores: Stores, now: Showing, told: str) -> DirectoryStatus:
    place = now.place
    held = [each for each in held_in(place.spot.held) if each.directory == place.directory]
    objects = total = None
    twice: list[str] = []
    try:
        listed = _listed(plan, stores, now)
        infos = [info for each in listed for info in each.values()]
        objects, total, twice = len(infos), sum(info.size for info in infos), doubled(listed)
    except HoldfastError:
        pass  # whether it is mounted is told all the same
    copy = plan.copies[now.number - 1] if told == FROM_COPY else None
    return DirectoryStatus(
        place.directory,
        place.spot.place,
        place.bucket,
        told if told in (MOUNTED, FROM_COPY) else f"NOT {MOUNTED}",
        None if told in (MOUNTED, FROM_COPY) else told,
        objects,
        total,
        tuple(each.path for each in held),
        sum(each.size()[1] for each in held),
        None if copy is None else place.source,
        copy is not None and not copy.two_way,
        None if copy is None else _lag(plan, copy, [part.bucket for part in place.parts]),
        tuple(twice),
        place.local,
    )


def _listed(plan: Plan, stores: Stores, now: Showing) -> list[dict[str, ObjectInfo]]:
    """The objects of what is shown, of each branch of a merged directory."""
    place = now.place
    if now.is_copy:
        store = open_bucket(plan.copies[now.number - 1].store)
        return [Half(store, Engine(), copied_key(part.bucket, ""), shared=False).listed() for part in place.parts]
    return [Media(stores.all[0], plan.site, part.bucket, place.directory).half.listed() for part in place.parts]


def _lag(plan: Plan, copy: CopySettings, buckets: Sequence[str]) -> float | None:
    """Seconds since the copies were equal to their buckets; None where that is not known of one."""
    copies = Copies(plan, engine=Engine())
    try:
        lags = [None if (known := copies.pairs(copy, bucket)) is None else known[1] for bucket in buckets]
    except HoldfastError:
        return None
    return None if None in lags else max(lag for lag in lags if lag is not None)


def here(plan: Plan, settings: SiteSettings, stores: Stores, node: str, *, seconds: float) -> SiteStatus:
    """How this server stands; waits so long for all of it to be mounted. Raises as :func:`status`."""
    deadline = time.monotonic() + seconds
    while True:
        report = status(plan, settings, stores, node)
        if report.ok or time.monotonic() >= deadline:
            return report
        time.sleep(_TICK)


def gate(
    plan: Plan,
    settings: SiteSettings,
    stores: Stores,
    nodes: Sequence[str],
    *,
    seconds: float,
    oldest: float,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, str]:
    """Wait until each of these web servers says that all its directories are mounted; those that are not, with the reason.

    Raises:
        HoldfastError: the store does not answer.
    """
    directories = [place.directory for place in places_of(plan, settings)]
    repository = stores.all[0].repository
    deadline, said = time.monotonic() + seconds, ""
    while True:
        record = deployment_of(repository, plan.site)
        identity = record.id if record is not None and record.state == "online" else ""
        waiting = not_ready(nodes, nodes_of(repository, plan.site), identity, directories, oldest=oldest)
        if not waiting or time.monotonic() >= deadline:
            return waiting
        text = "; ".join(f"{node}: {why}" for node, why in waiting.items())
        if text != said:
            say(f"waiting for {text}")
            said = text
        time.sleep(_TICK)
