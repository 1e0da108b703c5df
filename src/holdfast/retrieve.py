"""Fetching: resolve, meet the cache, download beside the final place, verify, give it its name (design §3 'Fetch').

A pinned spec that is cached costs no network call. Whoever looks at the final place sees nothing, the old copy, or the new one.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from holdfast.cache.assets import AssetsDir, Known
from holdfast.cache.inventory import tree_bytes
from holdfast.cache.target import Target, copy_files, discarding, trim
from holdfast.cache.tree import hash_file, scan
from holdfast.disk import local_errors
from holdfast.errors import (
    AccessError,
    HoldfastError,
    LocalError,
)
from holdfast.failpoint import reach
from holdfast.formats import layout as keys
from holdfast.local import fetched
from holdfast.model.digest import digest_of
from holdfast.model.manifest import Entry, Manifest
from holdfast.selection import Selection
from holdfast.store.base import Expects
from holdfast.transfer.plan import plan_objects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from holdfast.cache.work import WorkDir
    from holdfast.catalog.base import Published
    from holdfast.local import Local
    from holdfast.model.result import Fetched, FetchOptions, Verified
    from holdfast.model.spec import AssetSpec
    from holdfast.resolve import Resolver
    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine
    from holdfast.unpacked import PackedVersion

__all__ = ["PATIENCE", "Retriever"]

#: How long to wait for another process that fetches the same version, in seconds.
PATIENCE: Final = 3600.0
#: Other versions of an asset whose copies are looked at for bytes that need not travel.
_OTHERS: Final = 3


class Retriever:
    """Fetches from one store into one assets folder; ``local`` is what is in it already."""

    def __init__(
        self,
        store: Store,
        resolver: Resolver,
        engine: Engine,
        assets: AssetsDir,
        local: Local,
        *,
        patience: float = PATIENCE,
    ) -> None:
        self._store = store
        self._resolver = resolver
        self._engine = engine
        self._assets = assets
        self.local = local
        self._place = local.place
        self._patience = patience

    def fetch(self, spec: AssetSpec, options: FetchOptions) -> Fetched:
        """See :meth:`holdfast.repository.Repository.fetch_info`."""
        begun = time.monotonic()
        selection = Selection(spec.sub_path, tuple(options.get("include") or ()))
        result = self._fetch(spec, selection, options)
        return replace(result, seconds=round(time.monotonic() - begun, 4))

    def _fetch(self, spec: AssetSpec, selection: Selection, options: FetchOptions) -> Fetched:
        to = options.get("to")
        force = bool(options.get("force"))
        if options.get("offline"):
            local = self.local.resolve(spec)
            if to is not None:
                with self._assets.leases.hold(spec.name, local):
                    return self._from_cache(spec.name, local, selection, Path(to), force=force)
            return self.local.serve(spec.name, local, selection)
        version, found = self._resolver.find(spec)
        reach("fetch.resolved")
        if to is None and not force and self.local.is_hit(spec.name, version, selection):
            return self.local.serve(spec.name, version, selection)
        published = found or self._resolver.published(spec.name, version)
        if to is not None:
            return self._fetch_to(spec.name, version, published, selection, Path(to), force=force)
        done = partial(self.local.is_hit, spec.name, version, selection) if not force else _never
        with self._assets.lock(spec.name, version, self._patience, done):
            if not force and self.local.is_hit(spec.name, version, selection):
                return self.local.serve(spec.name, version, selection)
            if selection.whole or published.meta.layout == "tar.gz":  # an archive comes whole anyway
                whole = self._fetch_whole(spec.name, version, published, force=force)
                return whole if selection.whole else self.local.within(whole, selection)
            return self._fetch_part(spec.name, version, published, selection)

    # bringing it here

    def _fetch_whole(self, name: str, version: str, published: Published, *, force: bool) -> Fetched:
        final = self._assets.path_of(name, version)
        complete = self._assets.is_complete(name, version)
        if final.exists() and not complete and not force and self._matches(final, published):
            self._assets.mark(name, version)
            self._record(name, version, published, "digest", {}, final)
            return fetched(name, version, final, published.meta.raw, from_cache=True, verified="digest")
        with self._room(name, version, final, published, Selection()):
            return self._bring_whole(name, version, published, complete=complete, force=force)

    def _bring_whole(self, name: str, version: str, published: Published, *, complete: bool, force: bool) -> Fetched:
        final = self._assets.path_of(name, version)
        work = self._assets.work_dir(final, digest_of(published.data)[:12])
        reach("fetch.temp-made")
        _, count, verified, digests = self._download(name, version, published, work, Selection())
        reach("fetch.verified")
        if published.meta.is_directory:
            with local_errors(work.copy):
                (work.copy / keys.MARKER).touch()
        known = self._assets.known(name, version)
        kept = self._why_kept(name, version, complete=complete, force=force)  # which the record tells, as it still is
        if not complete:
            self._record(name, version, published, verified, digests, work.copy)
        elif known is None or (known.store, known.id) != (self._place, published.id):
            self._assets.doubt(name, version)
        aside = self._assets.install(work, final, keep_old=kept is not None)
        if aside is not None:
            self._engine.progress.warn(f"{final} was {kept}: moved to {aside}")
        if complete:
            self._record(name, version, published, verified, digests, final)
        reach("fetch.recorded")
        return fetched(name, version, final, published.meta.raw, from_cache=False, verified=verified, count=count)

    def _why_kept(self, name: str, version: str, *, complete: bool, force: bool) -> str | None:
        """Why what is in the final place is moved aside and not replaced; None where nobody loses anything."""
        final = self._assets.path_of(name, version)
        if not final.exists() or (complete and force):
            return None
        if not complete:
            return f"no complete copy of {name}:{version}"
        from holdfast.cache.eviction import worked_in
        from holdfast.cache.inventory import CachedVersion

        return worked_in(self._assets, CachedVersion(name, version, str(final), True, False, 0, 0.0))

    def _fetch_part(self, name: str, version: str, published: Published, selection: Selection) -> Fetched:
        final = self.local.part_dir(name, version, selection)
        with self._room(name, version, final, published, selection):
            work = self._assets.work_dir(final, digest_of(published.data)[:12])
            _, count, verified, _ = self._download(name, version, published, work, selection)
            self._assets.install(work, final, mark=False)
            self._assets.record_part(final)
        path = final / selection.sub_path if selection.sub_path else final
        return fetched(name, version, path, published.meta.raw, from_cache=False, verified=verified, count=count)

    def _room(
        self, name: str, version: str, final: Path, published: Published, selection: Selection
    ) -> AbstractContextManager[None]:
        """Room in the cache for what is about to come, as far as the meta tells how large it is."""
        from holdfast.cache.room import room

        meta = published.meta
        size, files = meta.size, meta.files or 0
        if not selection.whole and meta.layout != "tar.gz":
            chosen = selection.of(meta.manifest) if meta.manifest is not None and size is not None else None
            size, files = (chosen.size, len(chosen.files)) if chosen is not None else (None, 0)
        scratch = (size or 0) if meta.layout == "tar.gz" else 0
        return room(self._assets, (name, version), final, size, files, scratch=scratch, patience=self._patience)

    def _fetch_to(
        self, name: str, version: str, published: Published, selection: Selection, to: Path, *, force: bool
    ) -> Fetched:
        """Laid out in a folder of the user's choice, the cache untouched."""
        meta = published.meta
        found: list[tuple[int, Verified]] = []

        def bring(work: WorkDir) -> Manifest:
            chosen, count, verified, _ = self._bring(name, version, published, work, selection)
            found.append((count, verified))
            return chosen

        file_name = None if meta.is_directory else meta.file_name or version
        known = selection.of(meta.manifest) if meta.manifest is not None else None
        if meta.layout == "packs":
            known, _ = self.local.packed(name, version, meta).select(selection)
        identity = digest_of(published.data + selection.token.encode())[:12]
        path = self._lay_out(Target(to, file_name), identity, known, bring, force=force)
        count, verified = found[0]
        path = path / selection.sub_path if selection.sub_path else path
        return fetched(name, version, path, meta.raw, from_cache=False, verified=verified, count=count)

    def _lay_out(
        self,
        target: Target,
        identity: str,
        known: Manifest | None,
        bring: Callable[[WorkDir], Manifest],
        *,
        force: bool,
    ) -> Path:
        target.refuse(self._assets.path, _folder_of(self._store))
        target.check(known, force=force)
        target.check_room(known)
        work = target.open(identity)
        with discarding(work):
            target.check(bring(work), force=force)
        target.fill(work)
        return target.path

    def _from_cache(self, name: str, version: str, selection: Selection, to: Path, *, force: bool) -> Fetched:
        """Offline and into a folder: a copy of the cached copy, as it would be laid out online."""
        cached = self.local.serve(name, version, Selection())
        source = Path(cached.path)
        meta = self.local.recorded(name, version)
        with local_errors(source):
            items = {item.entry.path: item for item in scan(source)}
        manifest = meta.manifest if meta is not None else None
        if meta is not None and meta.root and self.local.manifests.local.find(name, version, meta.root) is not None:
            manifest = self.local.packed(name, version, meta).manifest()
        if manifest is None:
            manifest = Manifest.of([item.entry for item in items.values()], single=source.is_file())
        if manifest.single and source.is_file():
            items = {manifest.entries[0].path: items[source.name]}
        chosen = selection.of(manifest)
        digests = self._assets.digests(name, version)
        proven = [replace(entry, digest=entry.digest or digests.get(entry.path)) for entry in chosen.files]

        def bring(work: WorkDir) -> Manifest:
            copy_files(f"{name}:{version}", proven, items, chosen, work.copy, self._engine.run)
            return chosen

        file_name = manifest.entries[0].path if manifest.single else None
        identity = digest_of(f"{source}{selection.token}".encode())[:12]
        path = self._lay_out(Target(to, file_name), identity, chosen, bring, force=force)
        verified: Verified = "digest" if all(entry.digest for entry in proven) else cached.verified
        return replace(cached, path=str(path / selection.sub_path if selection.sub_path else path), verified=verified)

    def _download(
        self, name: str, version: str, published: Published, work: WorkDir, selection: Selection
    ) -> tuple[Manifest, int, Verified, dict[str, str]]:
        """Into the work directory, which is kept for the next try where only the store did not answer."""
        with discarding(work):
            return self._bring(name, version, published, work, selection)

    def bring(self, name: str, version: str, published: Published, work: WorkDir) -> Manifest:
        """The whole version as ``work.copy``, verified, beside the cache; its manifest, or what a foreign meta tells of it."""
        return self._download(name, version, published, work, Selection())[0]

    def _bring(
        self, name: str, version: str, published: Published, work: WorkDir, selection: Selection
    ) -> tuple[Manifest, int, Verified, dict[str, str]]:
        from holdfast.transfer.download import Download

        meta = published.meta
        if meta.layout == "packs":
            packed, others = self.local.packed(name, version, meta), self._others(name, version)
            laid_out, count = packed.fetch(self._store, self._engine, work.copy, selection, others, self.local.ranges)
            return laid_out, count, "digest", {}
        manifest = meta.manifest
        if manifest is None and meta.layout != "tar.gz":
            manifest = Manifest((Entry(name.rpartition("/")[2], size=-1),), single=True)
        chosen = selection.of(manifest) if manifest is not None else None
        if chosen is not None and meta.layout == "tree":
            chosen = self._sized(name, version, chosen)
        plan = plan_objects(name, version, meta.layout, chosen.files if chosen is not None else ())
        if isinstance(self._store, Expects):
            self._store.expect(item.key for item in (*plan.small, *plan.large))
        download = Download(self._store, self._engine, work.copy, work.scratch)
        self._engine.progress.start(f"{name}:{version}", plan.size, len(plan.small) + len(plan.large))
        try:
            if meta.layout == "tar.gz":
                chosen = download.archive(plan.large[0], manifest)
                if not selection.whole:
                    whole, chosen = chosen, selection.of(chosen)
                    trim(work.copy, whole, chosen)
            else:
                assert chosen is not None  # noqa: S101 - only archives come without a manifest
                download.files(plan, chosen)
        finally:
            self._engine.progress.finish()
        outcome = download.outcome
        verified: Verified = "digest" if manifest is not None and meta.hash is not None else outcome.verified
        return chosen, outcome.bytes, verified, {} if meta.hash else outcome.digests

    def _others(self, name: str, version: str) -> Iterator[tuple[Path, PackedVersion]]:
        """Other versions of the asset whose copies and manifests are on this machine."""
        for other in self._assets.versions(name)[-_OTHERS:]:
            if other == version or not self._is_source(name, other):
                continue
            meta = self.local.recorded(name, other)
            if meta is not None and meta.root and self.local.manifests.local.find(name, other, meta.root) is not None:
                yield self._assets.path_of(name, other), self.local.packed(name, other, meta)

    def _is_source(self, name: str, version: str) -> bool:
        """Whether a local copy may be read in place of the store."""
        try:
            return self._assets.is_complete(name, version) and self.local.is_ours(name, version)
        except LocalError:
            return False

    def _sized(self, name: str, version: str, manifest: Manifest) -> Manifest:
        """A foreign tree's manifest with the sizes that the store knows: small files then travel side by side."""
        if all(entry.size >= 0 for entry in manifest.files):
            return manifest
        prefix = keys.data_key(name, version)
        try:
            sizes = {info.key: info.size for info in self._store.list(prefix)}
        except AccessError:
            infos = self._engine.run(self._store.head, [keys.file_key(name, version, e.path) for e in manifest.files])
            sizes = {info.key: info.size for info in infos}
        found = (replace(entry, size=sizes.get(f"{prefix}/{entry.path}", -1)) for entry in manifest.entries)
        return Manifest(tuple(found))

    def _record(
        self, name: str, version: str, published: Published, verified: str, digests: dict[str, str], copy: Path
    ) -> None:
        size = published.meta.size
        size = tree_bytes(str(copy)) if size is None else size
        known = Known(self._place, published.id, verified, published.meta.hash, size)
        self._assets.record(name, version, known, published.data, digests)

    @staticmethod
    def _matches(path: Path, published: Published) -> bool:
        """Whether a copy without a marker is the published version, whole: then it only lacks the marker."""
        expected = published.meta.hash
        if expected is None:
            return False
        try:
            found = scan(path)
            entries = [hash_file(item) if item.entry.kind == "file" else item.entry for item in found]
            return Manifest.of(entries, single=path.is_file()).content_hash == expected
        except (HoldfastError, LocalError):
            return False


def _never() -> bool:
    return False


def _folder_of(store: Store) -> Path | None:
    """Where a store in a folder lies."""
    if not store.url.startswith("file://"):
        return None
    return Path(unquote(urlsplit(store.url).path)).resolve()
