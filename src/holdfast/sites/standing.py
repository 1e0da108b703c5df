"""How a site stands: this server's directories, buckets against quota, what is moved aside, and all web servers at a gate."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.errors import HoldfastError
from holdfast.sites.attached import places_of, states
from holdfast.sites.attaching import MOUNTED, not_ready
from holdfast.sites.deploy import deployment_of
from holdfast.sites.held import held_in
from holdfast.sites.media import Media
from holdfast.sites.nodes import nodes_of, publish

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.sites.attached import Place
    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import Stores
    from holdfast.sites.values import SiteSettings

__all__ = ["DirectoryStatus", "SiteStatus", "gate", "here", "status"]

_TICK: Final = 1.0


@dataclass(frozen=True, slots=True)
class DirectoryStatus:
    """One directory: MOUNTED or NOT MOUNTED, and why not; its bucket's objects and bytes (None: it does not answer); what is held here."""

    directory: str
    place: str
    bucket: str
    state: str
    why: str | None
    objects: int | None
    bytes: int | None
    held: tuple[str, ...] = ()
    held_bytes: int = 0


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
    places = places_of(plan, settings)
    told = states(places, plan.site)
    directories = tuple(_directory(plan, stores, place, told[place.directory]) for place in places)
    ok = all(each.state == MOUNTED for each in directories)
    repository = stores.all[0].repository
    identity = state = None
    try:
        record = deployment_of(repository, plan.site)
        identity, state = (record.id, record.state) if record is not None else (None, None)
        own = nodes_of(repository, plan.site).get(node)
        if own is not None and not own[0].left:
            publish(repository, plan.site, node, own[0].deployment, told)
    except HoldfastError:
        if not ok:
            raise
    total = sum(each.bytes or 0 for each in directories)
    return SiteStatus(plan.site, node, identity, state, directories, total, settings.quota, ok)


def _directory(plan: Plan, stores: Stores, place: Place, told: str) -> DirectoryStatus:
    held = [each for each in held_in(place.spot.held) if each.directory == place.directory]
    objects = total = None
    try:
        listed = Media(stores.all[0], plan.site, place.bucket, place.directory).half.listed().values()
        objects, total = len(listed), sum(info.size for info in listed)
    except HoldfastError:
        pass  # whether it is mounted is told all the same
    return DirectoryStatus(
        place.directory,
        place.spot.place,
        place.bucket,
        MOUNTED if told == MOUNTED else f"NOT {MOUNTED}",
        None if told == MOUNTED else told,
        objects,
        total,
        tuple(each.path for each in held),
        sum(each.size()[1] for each in held),
    )


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
