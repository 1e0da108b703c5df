"""The record of a site's deployment: read, replaced, and ended once no web server has its media mounted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.catalog.swap import read_or_none, swap
from holdfast.errors import ConflictError, HoldfastError, NotFoundError
from holdfast.formats.layout import deployment_key
from holdfast.formats.records import changed
from holdfast.formats.sites import DeploymentRecord, decode_record, encode_record
from holdfast.sites.lease import Lease
from holdfast.sites.media import Media
from holdfast.sites.nodes import publish, said_by

if TYPE_CHECKING:
    from collections.abc import Collection

    from holdfast.repository import Repository
    from holdfast.sites.plan import Plan
    from holdfast.sites.stores import Stores
    from holdfast.sites.values import SiteSettings
    from holdfast.store.base import Object

__all__ = ["deployment_of", "swap_record", "take_offline"]


def deployment_of(repository: Repository, site: str) -> DeploymentRecord | None:
    """The site's deployment, as its store tells."""
    key = deployment_key(site)
    found = read_or_none(repository.store, key)
    return decode_record(found.data, DeploymentRecord, key) if found is not None else None


def swap_record(repository: Repository, site: str, record: DeploymentRecord, *, of: str | None = None) -> None:
    """Write the record; ConflictError where it is to be ``of`` a deployment, and another was begun meanwhile."""
    data, key = encode_record(record), deployment_key(site)

    def change(current: Object | None) -> bytes | None:
        there = None if current is None else decode_record(current.data, DeploymentRecord, key)
        if of is not None and (there is None or there.id != of):
            raise ConflictError(
                f"another deployment of {site} was begun meanwhile", subject=site, hint="asset site status tells which"
            )
        return None if current is not None and bytes(current.data) == data else data

    swap(repository.store, repository.clock, key, change)


def take_offline(
    plan: Plan, settings: SiteSettings, stores: Stores, *, gone: Collection[str] = (), dry_run: bool = False
) -> DeploymentRecord:
    """Say that the site's deployment is over: no web server has its media mounted any more; those that are ``gone`` are not asked.

    A dry run tells which record would be written, and writes none.

    Raises:
        NotFoundError: there is none.
        ConflictError: a web server says that it is attached.
        BusyError: one is under way.
    """
    repository = stores.all[0].repository
    if dry_run:
        return _over(plan, stores, _refuse_to_end(repository, plan.site, gone))
    with Lease.take(repository, plan.site, "deploy", seconds=settings.lease) as lease:
        record = _refuse_to_end(repository, plan.site, gone)
        for node in gone:
            publish(repository, plan.site, node, record.id, {})
        over = _over(plan, stores, record)
        lease.confirm()
        swap_record(repository, plan.site, over, of=record.id)
        try:  # a server that said so since has seen it online; one that says so from now on sees that it is not
            if record.state == "online":
                _refuse_attached(repository, plan.site, gone)
        except HoldfastError:
            swap_record(repository, plan.site, record, of=record.id)
            raise
    return over


def _refuse_to_end(repository: Repository, site: str, gone: Collection[str]) -> DeploymentRecord:
    """The deployment; raise where there is none, or a web server says that it is attached."""
    record = deployment_of(repository, site)
    if record is None:
        raise NotFoundError(f"{site} has no deployment", subject=site)
    if record.state == "online":
        _refuse_attached(repository, site, gone)
    return record


def _over(plan: Plan, stores: Stores, record: DeploymentRecord) -> DeploymentRecord:
    """The deployment as it is once it has ended, with the time of the youngest object."""
    media = [Media(stores.all[0], plan.site, bucket, "") for bucket in record.buckets]
    last = max((each.last_write() for each in media), default=0.0)
    return changed(record, state="offline", last_write=max(last, record.last_write))


def _refuse_attached(repository: Repository, site: str, gone: Collection[str]) -> None:
    """Raise ConflictError where a web server says that it is attached, or being so, and is not ``gone``."""
    said = said_by(repository, site)
    attached = sorted(node for node, record in said.items() if not record.left and node not in gone)
    if attached:
        raise ConflictError(
            f"the media of {site} are mounted on {', '.join(attached)}",
            subject=site,
            hint="there: asset site detach; of a server that will not come back: --gone NAME",
        )
