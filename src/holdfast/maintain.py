"""Looking after a store and a cache: verify what is there, repair what crashes and other programs left (design §3).

Every walk yields one :class:`Finding` a subject and goes on after a bad one. Repair destroys nothing that could be a version:
it lists whole versions, and frees a number only where no meta is there and the push that claimed it has expired.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.errors import (
    AssetNotFoundError,
    HoldfastError,
    IntegrityError,
    NotFoundError,
    ObjectNotFoundError,
    VersionNotFoundError,
)
from holdfast.formats import layout as keys
from holdfast.formats.convention import decode_meta
from holdfast.formats.records import PushRecord, changed, decode, encode, moment
from holdfast.model.digest import Hasher
from holdfast.model.result import Finding
from holdfast.model.spec import AssetSpec
from holdfast.repository import compare, local_manifest
from holdfast.transfer.plan import PART, plan_objects, ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.cache.assets import AssetsDir
    from holdfast.catalog.base import Listed, Published, Taken
    from holdfast.formats.records import AssetRecord, Claim
    from holdfast.model.manifest import Manifest
    from holdfast.repository import Repository
    from holdfast.transfer.plan import ObjectPlan

__all__ = ["check_store", "repair", "verify", "verify_cached"]

#: A push that was not heard of for this long, and for the store's push limit, has expired.
_SLACK: Final = timedelta(hours=1)


def verify(repository: Repository, spec: str | None = None, *, deep: bool = False) -> Iterator[Finding]:
    """Check versions: metas read, every object there with its size; ``deep`` also reads every byte against its digest.

    Args:
        repository: whose store.
        spec: a version, or a name for all its versions; None for every asset.
        deep: read the bytes.
    """
    if spec is not None:
        parsed = AssetSpec.parse(spec)
        if parsed.version is not None:
            yield _verify_version(repository, parsed.name, repository.resolve(parsed), deep=deep)
            return
    for name in [AssetSpec.parse(spec).name] if spec else repository.catalog.names(repository.engine.run):
        yield from _verify_asset(repository, name, deep=deep)


def _verify_asset(repository: Repository, name: str, *, deep: bool) -> Iterator[Finding]:
    try:
        known = repository.versions(name)
    except HoldfastError as error:
        yield Finding(name, error.kind, error.message)
        return
    for entry in known.unknown:
        yield Finding(f"{name}:{entry}", "integrity", f"listed version {entry!r} is none of any known scheme")
    for alias, version in known.aliases.items():
        if version not in known.versions:
            yield Finding(f"{name}:{alias}", "not_found", f"the alias names {version}, which is not listed")
    for version in known.versions:
        yield _verify_version(repository, name, version, deep=deep)


def _verify_version(repository: Repository, name: str, version: str, *, deep: bool) -> Finding:
    spec = f"{name}:{version}"
    try:
        published = repository.resolver.published(name, version)
        proof = _verify_data(repository, name, version, published, deep=deep)
    except HoldfastError as error:
        kind = "integrity" if isinstance(error, ObjectNotFoundError) else error.kind
        return Finding(spec, kind, error.message)
    return Finding(spec, "ok", proof)


def _verify_data(repository: Repository, name: str, version: str, published: Published, *, deep: bool) -> str:
    meta = published.meta
    if meta.layout == "tar.gz":
        return _verify_archive(repository, name, version, meta.manifest, deep=deep)
    files = meta.manifest.files if meta.manifest is not None else None
    if files is None:
        repository.store.head(keys.data_key(name, version))
        return "there; nothing else is known of it"
    plan = plan_objects(name, version, meta.layout, files)
    objects = [*plan.small, *plan.large]
    if meta.layout == "tree":
        found = {info.key: info.size for info in repository.store.list(keys.data_key(name, version))}
    else:
        found = {item.key: repository.store.head(item.key).size for item in objects}
    for item in objects:
        _check_size(item, found.get(item.key))
    if deep:
        repository.engine.run(lambda item: _check_bytes(repository, item), objects)
    return f"{len(objects)} objects, {'every byte' if deep else 'sizes'} checked"


def _check_size(item: ObjectPlan, size: int | None) -> None:
    if size is None:
        raise IntegrityError(f"{item.key} is missing", subject=item.key)
    if item.size >= 0 and size != item.size:
        raise IntegrityError(f"{item.key} has {size} bytes instead of {item.size}", subject=item.key)


def _check_bytes(repository: Repository, item: ObjectPlan) -> None:
    if item.entry is None or item.entry.digest is None:
        return
    hasher = Hasher()
    for start, length in ranges(item.size, part=PART):
        hasher.update(memoryview(repository.store.get_range(item.key, start, length).data))
    if hasher.hexdigest() != item.entry.digest:
        raise IntegrityError(f"{item.key} does not match its digest", subject=item.key)


def _verify_archive(repository: Repository, name: str, version: str, manifest: Manifest | None, *, deep: bool) -> str:
    from holdfast.transfer.download import Download

    info = repository.store.head(keys.data_key(name, version))
    if not deep:
        return f"an archive of {info.size} bytes is there"
    folder = repository.state / "archives"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        download = Download(repository.store, repository.engine, Path(place) / "copy", Path(place) / "archive")
        plan = plan_objects(name, version, "tar.gz", ())
        found = download.archive(plan.large[0], manifest)
    return f"{len(found.files)} files unpacked and checked"


def verify_cached(assets: AssetsDir, name: str, version: str) -> Finding:
    """Check a local copy against what is recorded of it (its meta, or the digests found when it was fetched)."""
    path, spec = assets.path_of(name, version), f"{name}:{version}"
    data, digests = assets.meta(name, version), assets.digests(name, version)
    manifest = decode_meta(data, spec).manifest if data is not None else None
    if (manifest is None or manifest.content_hash is None) and not digests:
        return Finding(spec, "ok", "fetched by another program: nothing is known to check it against")
    try:
        found = local_manifest(path)
    except HoldfastError as error:
        return Finding(spec, error.kind, error.message)
    if digests:
        actual = {"" if found.single else entry.path: entry.digest or "" for entry in found.files}
        wrong = sorted(
            p for p in actual.keys() | digests.keys() if actual.get(p) != _digest(digests, p, single=found.single)
        )
    else:
        assert manifest is not None  # noqa: S101 - or there are digests
        difference = compare(manifest, found)
        wrong = [*difference.changed, *difference.removed, *difference.added]
    if wrong:
        return Finding(
            spec,
            "integrity",
            f"{len(wrong)} files differ from what was fetched, first {wrong[0]!r}: asset fetch --force",
        )
    return Finding(spec, "ok", f"{len(found.files)} files")


def _digest(digests: dict[str, str], path: str, *, single: bool) -> str | None:
    return next(iter(digests.values()), None) if single else digests.get(path)


def repair(repository: Repository, name: str | None = None, *, dry_run: bool = False) -> Iterator[Finding]:
    """List whole versions that are not listed, take removed ones off, rebuild unreadable lists, free expired claims.

    Args:
        repository: whose store.
        name: one asset; None for all, those too that have claims only.
        dry_run: say what would be done.
    """
    for asset in [AssetSpec.parse(name).name] if name else sorted(_all_names(repository)):
        try:
            yield from _repair_asset(repository, asset, dry_run=dry_run)
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


def _repair_asset(repository: Repository, name: str, *, dry_run: bool) -> Iterator[Finding]:
    catalog = repository.catalog
    taken, record = catalog.taken(name), catalog.record(name)
    listed, broken = _listed(repository, name)
    if not (taken.all or broken or (listed is not None and listed.token is not None)):
        raise AssetNotFoundError(f"no asset {name!r}", subject=name)
    if broken and not taken.metas:
        raise IntegrityError(f"{name}: the list is unreadable, and no meta is there to rebuild it from", subject=name)
    whole = list(_whole_unlisted(repository, name, taken, listed, record))
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
    repository: Repository, name: str, taken: Taken, listed: Listed | None, record: AssetRecord
) -> Iterator[str]:
    for version in sorted(taken.metas - set(listed.versions if listed else ())):
        if repository.catalog.is_removed(name, version, record):
            continue
        try:
            published = repository.catalog.published(name, version)
            if published.meta.listed:
                _verify_data(repository, name, version, published, deep=False)
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
    if not dry_run:
        _free(repository, name, version, claim)
    return Finding(
        spec, "repaired", f"claimed by {claim.who} since {claim.at} and never finished: the number is free again"
    )


def _expiry(repository: Repository, claim: Claim) -> datetime:
    """When the push counts as dead: at once where it closed, else its limit, and a little, after it was last heard of.

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
    if push.closed is not None:
        return datetime.fromtimestamp(0, UTC)
    return datetime.fromtimestamp(found.info.modified, UTC) + 1.1 * timedelta(seconds=max(limit, push.limit or 0))


def _free(repository: Repository, name: str, version: str, claim: Claim) -> None:
    """First the claim is taken from the push, so that it could not publish any more; then leftovers, then the claim go."""
    store = repository.store
    try:
        repository.catalog.published(name, version)
    except VersionNotFoundError:
        pass
    else:
        return
    store.put(keys.claim_key(name, version), encode(changed(claim, push=f"freed-{claim.push}")))
    for info in store.list(keys.data_key(name, version)):
        store.delete(info.key)
    store.delete(keys.data_key(name, version))
    store.delete(keys.claim_key(name, version))


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
