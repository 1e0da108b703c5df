"""What is on this machine already: which copies of a store's versions are here, and what they are, without asking anybody.

A pinned version that is cached is answered by this alone.
"""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.disk import closed
from holdfast.errors import LocalError, VersionNotFoundError
from holdfast.formats import layout as keys
from holdfast.model.digest import digest_of
from holdfast.model.result import Fetched
from holdfast.model.version import newest_matching
from holdfast.resolve import is_pinned
from holdfast.selection import Selection

if TYPE_CHECKING:
    from holdfast.cache.assets import AssetsDir
    from holdfast.cache.ranges import Ranges
    from holdfast.formats.convention import Meta
    from holdfast.model.manifest import Manifest
    from holdfast.model.spec import AssetSpec
    from holdfast.model.version import VersionScheme
    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine
    from holdfast.transfer.manifests import ManifestReader
    from holdfast.unpacked import PackedVersion

__all__ = ["Local", "fetched"]


class Local:
    """The copies of one store's versions in one assets folder; ``place`` is the store's URL and endpoint, ``state`` where manifests are."""

    def __init__(
        self, store: Store, engine: Engine, assets: AssetsDir, scheme: VersionScheme, *, place: str, state: Path
    ) -> None:
        self._store = store
        self._engine = engine
        self._assets = assets
        self._scheme = scheme
        self.place = place
        self._state = state
        self._packed: PackedVersion | None = None  # the last that was asked for

    def resolve(self, spec: AssetSpec) -> str:
        versions = [v for v in self._assets.versions(spec.name) if self._assets.is_complete(spec.name, v)]
        if spec.version in versions:
            return str(spec.version)
        found = newest_matching(versions, spec.version, self._scheme) if not is_pinned(spec.version) else None
        if found is None:
            known = ", ".join(versions) or "none"
            raise VersionNotFoundError(
                f"{spec} is not in {self._assets.path}", subject=str(spec), hint=f"cached versions: {known}"
            )
        return found

    def is_ours(self, name: str, version: str) -> bool:
        """Whether a local copy is of this store, or of nobody known: not what was fetched from another store."""
        known = self._assets.known(name, version)
        return known is None or known.store == self.place

    def cached_path(self, name: str, version: str) -> Path | None:
        """Where a complete copy is, if one is here; for those who want no meta, whose reading costs with its length."""
        if not (self._assets.is_complete(name, version) and self.is_ours(name, version)):
            return None
        self._assets.touch(name, version)
        return self._assets.path_of(name, version)

    def is_hit(self, name: str, version: str, selection: Selection) -> bool:
        """A complete copy from this store, or of another program's making; else, for a part, that part."""
        if self._assets.is_complete(name, version) and self.is_ours(name, version):
            return True
        part = self.part_dir(name, version, selection)
        return not selection.whole and part.exists()

    def part_dir(self, name: str, version: str, selection: Selection) -> Path:
        return self._assets.parts_dir(name, version, f"{selection.token}-{digest_of(self.place.encode())[:8]}")

    def serve(self, name: str, version: str, selection: Selection) -> Fetched:
        path, part = self._assets.path_of(name, version), None
        if not selection.whole and not self._assets.is_complete(name, version):
            path = part = self.part_dir(name, version, selection)
        known = self._assets.known(name, version)
        self._assets.touch(name, version, part)
        verified = known.verified if known is not None else "length"
        result = fetched(name, version, path, self._meta(name, version), from_cache=True, verified=verified)
        return self.within(result, selection)

    def within(self, whole: Fetched, selection: Selection) -> Fetched:
        """The sub-path of a whole copy.

        Raises:
            VersionNotFoundError: it has none of this name.
            LocalError: it may not be looked at.
        """
        if selection.sub_path is None:
            return whole
        path = Path(whole.path) / selection.sub_path
        if not _is_there(path):
            manifest = self.manifest(whole.name, whole.version)
            if manifest is not None:
                Selection(selection.sub_path).of(manifest)  # raises, and knows the nearest
            if not os.path.islink(path):
                spec = f"{whole.name}:{whole.version}"
                raise VersionNotFoundError(f"no sub-path {selection.sub_path!r} in {spec}", subject=selection.sub_path)
        return replace(whole, path=str(path))

    def recorded(self, name: str, version: str) -> Meta | None:
        """The meta as it was fetched, if it is recorded."""
        from holdfast.formats.convention import decode_meta

        data = self._assets.meta(name, version)
        return None if data is None else decode_meta(data, keys.meta_key(name, version))

    def manifest(self, name: str, version: str) -> Manifest | None:
        """The manifest of a cached version, as far as this machine knows it."""
        meta = self.recorded(name, version)
        if meta is not None and meta.root and self.manifests.local.find(name, version, meta.root) is not None:
            return self.packed(name, version, meta).manifest()
        return meta.manifest if meta is not None else None

    def _meta(self, name: str, version: str) -> dict[str, Any]:
        data = self._assets.meta(name, version)
        if data is None:
            return {"is_directory": self._assets.path_of(name, version).is_dir()}
        import json

        value: dict[str, Any] = json.loads(data)
        return value

    @cached_property
    def manifests(self) -> ManifestReader:
        """The manifests of versions in packs. Made when it is needed: a cached version is served without what it imports."""
        from holdfast.cache.manifests import Manifests
        from holdfast.transfer.manifests import ManifestReader

        return ManifestReader(self._store, self._engine, Manifests(self._state, self.place))

    @cached_property
    def ranges(self) -> Ranges | None:
        """What mounts have read of packs, if any mount has."""
        from holdfast.cache.ranges import FOLDER, Ranges

        if not (self._state / FOLDER).is_dir():
            return None
        try:
            return Ranges.open(self._state, self._assets.limit, self._assets.keep_free)
        except LocalError:
            return None

    def packed(self, name: str, version: str, meta: Meta) -> PackedVersion:
        """A version of layout packs."""
        from holdfast.unpacked import PackedVersion

        if self._packed is None or not self._packed.is_of(name, version, meta):
            self._packed = PackedVersion(self.manifests, name, version, meta)
        return self._packed


def _is_there(path: Path) -> bool:
    """Whether something is there; a folder that is closed to us hides whether it is, which is no answer.

    Raises:
        LocalError: it is closed.
    """
    try:
        os.stat(path)
    except PermissionError as error:
        raise closed(error) from error
    except (OSError, ValueError):
        return False
    return True


def fetched(
    name: str,
    version: str,
    path: Path,
    meta: dict[str, Any],
    *,
    from_cache: bool,
    verified: str,
    count: int = 0,
) -> Fetched:
    """The record of a version that is here now; ``count`` bytes came over the wire for it."""
    return Fetched(
        path=str(path),
        from_cache=from_cache,
        version=version,
        name=name,
        meta=meta,
        object_name=keys.data_key(name, version),
        meta_object_name=keys.meta_key(name, version),
        versions_object_name=keys.versions_key(name),
        downloaded_bytes=count,
        verified=verified,  # type: ignore[arg-type]
    )
