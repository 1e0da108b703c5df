"""Looking after a store: repair what crashes and other programs left (design §3). What is whole is told by :mod:`holdfast.verify`.

Every walk yields one :class:`Finding` a subject and goes on after a bad one. Repair destroys nothing that could be a version:
it lists whole versions, puts back what is lost and known here, and frees a number only where no meta is there and the push that
claimed it has expired.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from holdfast.catalog.base import beside_the_bucket
from holdfast.errors import (
    AssetNotFoundError,
    HoldfastError,
    IntegrityError,
    NotFoundError,
    ObjectNotFoundError,
    VersionNotFoundError,
)
from holdfast.formats import layout as keys
from holdfast.formats.records import PushRecord, changed, decode, encode, moment
from holdfast.freshness import is_doubtful, needs_of
from holdfast.mending import mend
from holdfast.model.result import Finding
from holdfast.model.spec import AssetSpec
from holdfast.transfer.proving import Prover
from holdfast.verify import Verifier, verify, verify_cached

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.catalog.base import Listed, Taken
    from holdfast.formats.records import AssetRecord, Claim
    from holdfast.repository import Repository

__all__ = ["check_store", "repair", "verify", "verify_cached"]

#: A push that was not heard of for this long, and for the store's push limit, has expired.
_SLACK: Final = timedelta(hours=1)
#: What a push sent before it said that it has ended has arrived after this long.
_ARRIVED: Final = timedelta(minutes=1)


def repair(repository: Repository, name: str | None = None, *, dry_run: bool = False) -> Iterator[Finding]:
    """List whole versions that are not listed, take removed ones off, rebuild unreadable lists, free expired claims.

    Of versions in packs, the root and pages objects that are lost are put back where their manifest is on this machine.

    Args:
        repository: whose store.
        name: one asset; None for all, those too that have claims only.
        dry_run: say what would be done.

    Raises:
        UsageError: ``name`` has a version, or a sub-path.
    """
    beside_the_bucket(repository.catalog, repository.store.url, "repair")
    with Prover(repository.store, repository.engine, repository.state / "proofs") as prover:
        verifier = Verifier(repository, prover, deep=False)
        for asset in [AssetSpec.name_in(name)] if name else sorted(_all_names(repository)):
            try:
                yield from _repair_asset(verifier, asset, dry_run=dry_run)
            except HoldfastError as error:
                yield Finding(asset, error.kind, error.message)
    if not dry_run:
        yield from _sweep(repository)


def _sweep(repository: Repository) -> Iterator[Finding]:
    """What killed writers left in the store's own workshop, older than any push may be."""
    limits = repository.catalog.store_record()
    count = repository.store.sweep(2 * (limits.push_limit if limits else 24 * 3600))
    if count:
        yield Finding(repository.store.url, "repaired", f"{count} unfinished files of killed writers removed")


def _all_names(repository: Repository) -> set[str]:
    claimed = repository.store.list_level(keys.claims_prefix("")).prefixes
    return {
        *repository.catalog.names(repository.engine.run),
        *(keys.decode_name(p.rpartition("/")[2]) for p in claimed),
    }


def _repair_asset(verifier: Verifier, name: str, *, dry_run: bool) -> Iterator[Finding]:
    repository = verifier.repository
    catalog = repository.catalog
    taken, record = catalog.taken(name), catalog.record(name)
    listed, broken = _listed(repository, name)
    if not (taken.all or broken or (listed is not None and listed.token is not None)):
        raise AssetNotFoundError(f"no asset {name!r}", subject=name)
    if broken and not taken.metas:
        raise IntegrityError(f"{name}: the list is unreadable, and no meta is there to rebuild it from", subject=name)
    for version in sorted(taken.metas):
        if not catalog.is_removed(name, version, record):
            yield from mend(verifier, name, version, dry_run=dry_run)
    whole = list(_whole_unlisted(verifier, name, taken, listed, record))
    gone = [v for v in (listed.versions if listed else ()) if catalog.is_removed(name, v, record)]
    if not dry_run and (whole or gone or broken or (listed is not None and listed.merged)):
        catalog.enlist(name, whole, rebuild=broken)
    if broken:
        yield Finding(name, "repaired", "the list of versions was unreadable: rebuilt from the metas")
    for version in whole:
        yield Finding(f"{name}:{version}", "repaired", "whole, and not listed: listed")
    for version in gone:
        yield Finding(f"{name}:{version}", "repaired", "removed, and still listed: taken off the list")
    for version in sorted(taken.metas):
        yield from _unreadable(repository, name, version)
    for version in sorted(taken.claims - taken.metas):
        yield _repair_claim(repository, name, version, dry_run=dry_run)
    for version in sorted(taken.data - taken.claims - taken.metas):
        yield Finding(f"{name}:{version}", "conflict", "data without claim or meta, another program's: left alone")


def _unreadable(repository: Repository, name: str, version: str) -> Iterator[Finding]:
    """A meta that says nothing cannot be repaired: its version is lost, or of a later release."""
    try:
        repository.catalog.published(name, version)
    except IntegrityError as error:
        yield Finding(f"{name}:{version}", error.kind, error.message)
    except VersionNotFoundError:
        return


def _listed(repository: Repository, name: str) -> tuple[Listed | None, bool]:
    try:
        return repository.catalog.listed(name), False
    except IntegrityError:
        return None, True


def _whole_unlisted(
    verifier: Verifier, name: str, taken: Taken, listed: Listed | None, record: AssetRecord
) -> Iterator[str]:
    repository = verifier.repository
    for version in sorted(taken.metas - set(listed.versions if listed else ())):
        if repository.catalog.is_removed(name, version, record):
            continue
        try:
            published = repository.catalog.published(name, version)
            if not published.meta.listed:
                continue
            verifier.data(name, version, published)
            if not is_doubtful(repository.store, *needs_of(repository.store, name, version, published.meta)):
                yield version
        except (IntegrityError, NotFoundError):
            continue  # not whole: verify says so once it is asked for that version


def _repair_claim(repository: Repository, name: str, version: str, *, dry_run: bool) -> Finding:
    """Free a number whose push has expired: leftovers first, then the claim (design §3)."""
    spec = f"{name}:{version}"
    claim = repository.catalog.claim_of(name, version)
    if claim is None:
        return Finding(spec, "ok", "the claim is gone")
    ends = _expiry(repository, claim)
    if ends > repository.catalog.store_now():
        when = f"until {ends.isoformat(timespec='minutes')}"
        return Finding(
            spec, "conflict", f"claimed by {claim.who} since {claim.at}, and its push counts as alive {when}"
        )
    kept = None if dry_run else _free(repository, name, version, claim)
    return kept or Finding(
        spec, "repaired", f"claimed by {claim.who} since {claim.at} and never finished: the number is free again"
    )


def _expiry(repository: Repository, claim: Claim) -> datetime:
    """When the push counts as dead: a minute after it closed, else its limit, and a little, after it was last heard of.

    A push stops itself at the limit that it read when it began, which its record tells; the store's may be another by now.
    """
    limits = repository.catalog.store_record()
    limit = limits.push_limit if limits else 24 * 3600
    key = keys.push_key(claim.push)
    try:
        found = repository.store.get(key)
    except ObjectNotFoundError:
        return moment(claim.at, keys.claim_key(claim.name, claim.version)) + timedelta(seconds=limit) + _SLACK
    push = decode(memoryview(found.data), PushRecord, key)
    heard = datetime.fromtimestamp(found.info.modified, UTC)
    if push.closed is not None:
        return heard + _ARRIVED
    return heard + 1.1 * timedelta(seconds=max(limit, push.limit or 0))


def _free(repository: Repository, name: str, version: str, claim: Claim) -> Finding | None:
    """Take the claim from the push, and only then look at its record and for a meta; leftovers go, then the claim. Why not, where it is needed.

    A push that wakes up late looks at its claim after its meta is there: one of the two sees the other. So does an interrupted
    one that is run again: it opens its record before it looks at its claim, and the record is read here once the claim is taken; before
    the meta, for a push that has published closes its record.
    """
    store, key, spec = repository.store, keys.claim_key(name, version), f"{name}:{version}"
    store.put(key, encode(changed(claim, push=f"freed-{claim.push}")))
    if _expiry(repository, claim) > repository.catalog.store_now():
        store.put(key, encode(claim))
        return Finding(spec, "conflict", "its push goes on again at this moment")
    if version in repository.catalog.taken(name).metas:
        store.put(key, encode(claim))
        return Finding(spec, "ok", "its push has just made it whole")
    for info in store.list(keys.data_key(name, version)):
        store.delete(info.key)
    store.delete(keys.data_key(name, version))
    store.delete(key)
    return None


def check_store(repository: Repository) -> Iterator[Finding]:
    """What a doctor asks of a store: is it reached, what can it promise, whose is it, can the cache be written."""
    store = repository.store
    try:
        level = store.list_level("")
        yield Finding(
            "reach", "ok", f"{store.url}: {len(level.objects)} objects and {len(level.prefixes)} folders at the top"
        )
        record = repository.catalog.store_record()
        made = (
            f"format {record.format}, made by {record.origin}, id {record.id}"
            if record
            else "no push was made here by Holdfast"
        )
        yield Finding("store", "ok", made)
    except HoldfastError as error:
        yield Finding("reach", error.kind, f"{error.message}{f' ({error.hint})' if error.hint else ''}")
        return
    try:
        promises = store.promises()
        whole = promises.create and promises.replace
        yield Finding(
            "push", "ok" if whole else "unsupported", "conditional writes work" if whole else str(promises.reason)
        )
    except HoldfastError as error:
        yield Finding("push", error.kind, f"{error.message}: this user can fetch, not push")
    folder = repository.assets.path
    yield Finding(
        "assets_dir", "ok" if folder.is_dir() else "local", f"{folder}{'' if folder.is_dir() else ' does not exist'}"
    )
