"""Verifying: what lies in a store, or in the cache, is what was pushed. Nothing is changed (repair is :mod:`holdfast.maintain`).

Every walk yields one :class:`Finding` a version and goes on after a bad one. Without ``deep`` metas, roots and pages are read and
every object is looked at; with it every byte of a store is read, once, however many versions need it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.cache.manifests import Manifests
from holdfast.cache.work import work_dir
from holdfast.comparison import Side, compare, local_manifest
from holdfast.errors import AccessError, HoldfastError, IntegrityError, ObjectNotFoundError
from holdfast.formats import layout as keys
from holdfast.formats.convention import decode_meta
from holdfast.model.digest import Hasher
from holdfast.model.manifest import Manifest
from holdfast.model.result import Finding
from holdfast.model.spec import AssetSpec
from holdfast.transfer.manifests import opened
from holdfast.transfer.plan import PART, plan_objects, ranges
from holdfast.transfer.proving import Prover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from holdfast.cache.assets import AssetsDir
    from holdfast.catalog.base import Published
    from holdfast.formats.convention import Meta
    from holdfast.repository import Repository
    from holdfast.transfer.plan import ObjectPlan
    from holdfast.transfer.proving import Damage

__all__ = ["Verifier", "verify", "verify_cached"]


def verify(repository: Repository, spec: str | None = None, *, deep: bool = False) -> Iterator[Finding]:
    """Check versions: metas read, every object there with its size; ``deep`` also reads every byte against its digest.

    Args:
        repository: whose store.
        spec: a version, or a name for all its versions; None for every asset.
        deep: read the bytes.

    Raises:
        UsageError: a sub-path is named.
    """
    parsed = AssetSpec.parse(spec).whole("verified") if spec is not None else None
    with Prover(repository.store, repository.engine, repository.state / "proofs", deep=deep) as prover:
        verifier = Verifier(repository, prover, deep=deep)
        if parsed is not None and parsed.version is not None:
            yield verifier.version(parsed.name, repository.resolve(parsed))
            return
        for name in [parsed.name] if parsed else repository.catalog.names(repository.engine.run):
            yield from verifier.asset(name)


class Verifier:
    """Checks versions of one store; what several of them share is looked at once."""

    def __init__(self, repository: Repository, prover: Prover, *, deep: bool) -> None:
        self.repository = repository
        self.prover = prover
        self._deep = deep

    def asset(self, name: str) -> Iterator[Finding]:
        """Its list, its aliases, and each of its versions, those too that are in no list."""
        try:
            known = self.repository.versions(name)
        except HoldfastError as error:
            yield Finding(name, error.kind, error.message)
            return
        for entry in known.unknown:
            yield Finding(f"{name}:{entry}", "integrity", f"listed version {entry!r} is none of any known scheme")
        for alias, version in known.aliases.items():
            if version not in known.versions:
                yield Finding(f"{name}:{alias}", "not_found", f"the alias names {version}, which is not listed")
        for version in (*known.versions, *self._unlisted(name, known.versions)):
            yield self.version(name, version)

    def _unlisted(self, name: str, listed: tuple[str, ...]) -> list[str]:
        """The versions that have a meta, are in no list, and were not removed: they can be fetched, too."""
        catalog = self.repository.catalog
        try:
            metas = catalog.taken(name).metas
        except AccessError:  # without the right to list, those that are listed must do
            return []
        record = catalog.record(name)
        return [v for v in sorted(metas.difference(listed)) if not catalog.is_removed(name, v, record)]

    def version(self, name: str, version: str) -> Finding:
        """One version."""
        spec = f"{name}:{version}"
        try:
            proof = self.data(name, version, self.repository.resolver.published(name, version))
        except HoldfastError as error:
            kind = "integrity" if isinstance(error, ObjectNotFoundError) else error.kind
            return Finding(spec, kind, error.message)
        return Finding(spec, "ok", proof)

    def data(self, name: str, version: str, published: Published) -> str:
        """How the data of a version was proven.

        Raises:
            IntegrityError, ObjectNotFoundError: something is missing or wrong.
        """
        meta = published.meta
        if meta.layout == "packs":
            return self._packs(name, version, meta)
        if meta.layout == "tar.gz":
            return self._archive(name, version, meta.manifest)
        files = meta.manifest.files if meta.manifest is not None else None
        if files is None:
            self.repository.store.head(keys.data_key(name, version))
            return "there; nothing else is known of it"
        plan = plan_objects(name, version, meta.layout, files)
        return self._objects(name, version, meta.layout, [*plan.small, *plan.large])

    def _objects(self, name: str, version: str, layout: str, objects: list[ObjectPlan]) -> str:
        repository = self.repository
        if layout == "tree":
            found = {info.key: info.size for info in repository.store.list(keys.data_key(name, version))}
        else:
            found = {item.key: repository.store.head(item.key).size for item in objects}
        for item in objects:
            _check_size(item, found.get(item.key))
        if self._deep:
            repository.engine.run(lambda item: _check_bytes(repository, item), objects)
        return f"{len(objects)} objects, {'every byte' if self._deep else 'sizes'} checked"

    def _packs(self, name: str, version: str, meta: Meta) -> str:
        damages = self.damages(name, version, meta)
        if damages:
            more = f" (and {len(damages) - 1} more objects)" if len(damages) > 1 else ""
            raise IntegrityError(f"{damages[0]}{more}", subject=damages[0].key)
        return f"{meta.files} files in packs, {'every byte' if self._deep else 'pages and sizes'} checked"

    def damages(self, name: str, version: str, meta: Meta) -> list[Damage]:
        """What is wrong with the packs and pages objects of a version of layout packs.

        Raises:
            IntegrityError: the root is missing or damaged, or the entries cannot be.
        """
        root, _ = self.repository.local.packed(name, version, meta).root()
        return self.prover.check(root, meta.hash)

    def _archive(self, name: str, version: str, manifest: Manifest | None) -> str:
        from holdfast.transfer.download import Download

        repository = self.repository
        info = repository.store.head(keys.data_key(name, version))
        if not self._deep:
            return f"an archive of {info.size} bytes is there"
        with work_dir(repository.state / "archives") as work:
            download = Download(repository.store, repository.engine, work.copy, work.scratch)
            plan = plan_objects(name, version, "tar.gz", ())
            found = download.archive(plan.large[0], manifest)
        return f"{len(found.files)} files unpacked and checked"


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
        data = memoryview(repository.store.get_range(item.key, start, length).data)
        repository.engine.spend(len(data))
        hasher.update(data)
    if hasher.hexdigest() != item.entry.digest:
        raise IntegrityError(f"{item.key} does not match its digest", subject=item.key)


def verify_cached(assets: AssetsDir, name: str, version: str, state: Path | None = None) -> Finding:
    """Check a local copy against what is recorded of it (its meta, or the digests found when it was fetched).

    ``state`` is the folder that holds the manifests of layout packs; without it a file that changed is not named.
    """
    path, spec = assets.path_of(name, version), f"{name}:{version}"
    data, digests = assets.meta(name, version), assets.digests(name, version)
    meta = decode_meta(data, spec) if data is not None else None
    if not digests and (meta is None or meta.hash is None):
        return Finding(spec, "ok", "fetched by another program: nothing is known to check it against")
    try:
        found = _with_modes(local_manifest(path), lambda: _recorded(assets, name, version, state))
    except HoldfastError as error:
        return Finding(spec, error.kind, error.message)
    if not digests and meta is not None and found.content_hash == meta.hash:
        return Finding(spec, "ok", f"{len(found.files)} files")
    wrong = _changed_since(assets, name, version, state, found)
    if wrong:
        what = f"{len(wrong)} files differ from what was fetched, first {wrong[0]!r}"
        return Finding(spec, "integrity", f"{what}: asset fetch --force")
    if not digests:
        return Finding(spec, "integrity", "it differs from what was fetched: asset fetch --force")
    return Finding(spec, "ok", f"{len(found.files)} files")


def _with_modes(found: Manifest, recorded: Callable[[], Manifest | None]) -> Manifest:
    """A copy on a file system that keeps no modes, with those that it was fetched with: its content is what can be compared."""
    if all(entry.mode is not None for entry in found.entries) or (fetched := recorded()) is None:
        return found
    modes = {entry.path: entry.mode for entry in fetched.entries}
    if found.single:  # its name is the version here
        modes = dict(zip((entry.path for entry in found.files), modes.values(), strict=False))
    return Manifest.of([replace(entry, mode=modes.get(entry.path)) for entry in found.entries], single=found.single)


def _changed_since(assets: AssetsDir, name: str, version: str, state: Path | None, found: Manifest) -> list[str]:
    """The paths that are not what was fetched, as far as it is known here what that was."""
    digests = assets.digests(name, version)
    if digests:
        actual = {entry.path: entry.digest or "" for entry in found.files}
        if found.single:  # its name is the version here, and its own in what was noted
            actual = dict(zip(digests, actual.values(), strict=False))
        return sorted(path for path in actual.keys() | digests.keys() if actual.get(path) != digests.get(path))
    manifest = _recorded(assets, name, version, state)
    if manifest is None:
        return []
    difference = compare(Side.of(manifest), Side.of(found))
    return [*difference.changed, *difference.removed, *difference.added]


def _recorded(assets: AssetsDir, name: str, version: str, state: Path | None) -> Manifest | None:
    """The manifest of a copy: from its meta, or in layout packs from the manifests on this machine."""
    data, known = assets.meta(name, version), assets.known(name, version)
    meta = decode_meta(data, f"{name}:{version}") if data is not None else None
    if meta is None or meta.root is None:
        return meta.manifest if meta is not None else None
    local = Manifests(state, known.store).find(name, version, meta.root) if state and known else None
    if local is None:
        return None
    return Manifest(tuple(placed.entry for page, stored in local.pages() for placed in opened(page, stored)))
