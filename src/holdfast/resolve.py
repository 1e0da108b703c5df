"""Which version a spec names: by the list, the asset's record, and the meta of the version itself.

A removed version is not found, listed or not; a pinned spec never needs the list.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.catalog.base import Distant
from holdfast.errors import AssetNotFoundError, HoldfastError, IntegrityError, VersionNotFoundError, nearest
from holdfast.formats import layout as keys
from holdfast.model.version import BUILT_IN, all_schemes

if TYPE_CHECKING:
    from holdfast.catalog.base import Catalog, Listed, Published
    from holdfast.formats.records import AssetRecord
    from holdfast.model.spec import AssetSpec
    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine

__all__ = ["Resolver", "is_pinned"]


def is_pinned(version: str | None) -> bool:
    """Whether a version text names exactly one version; built-in schemes are asked first."""
    if version is None:
        return False
    if any(scheme.is_full(version) for scheme in BUILT_IN.values()):
        return True
    if any(scheme.is_partial(version) for scheme in BUILT_IN.values()):
        return False
    return any(scheme.is_full(version) for scheme in all_schemes().values())


class Resolver:
    """Answers from one catalog; the store is asked for names only to say which are near."""

    def __init__(self, store: Store, catalog: Catalog, engine: Engine) -> None:
        self._store = store
        self._catalog = catalog
        self._engine = engine

    def find(self, spec: AssetSpec) -> tuple[str, Published | None]:
        """The full version that a spec names now, and its meta where that came with the answer; a pinned spec asks nobody."""
        if spec.version is not None and is_pinned(spec.version):
            return spec.version, None
        if isinstance(self._catalog, Distant):
            return self._catalog.resolve(str(replace(spec, sub_path=None)))
        return self.resolve(spec), None

    def resolve(self, spec: AssetSpec) -> str:
        """The full version that a spec names now, by the list and the asset's record.

        Raises:
            AssetNotFoundError, VersionNotFoundError: with the nearest names.
        """
        if isinstance(self._catalog, Distant):
            return self._catalog.resolve(str(replace(spec, sub_path=None)))[0]
        listed, record = self._engine.both(lambda: self.listed(spec.name), lambda: self._catalog.record(spec.name))
        alive = tuple(v for v in listed.versions if not self._catalog.is_removed(spec.name, v, record))
        listed = replace(listed, versions=alive)
        if spec.version is None:
            version = listed.newest()
        elif listed.scheme.is_full(spec.version) or is_pinned(spec.version):
            return spec.version
        elif listed.scheme.is_partial(spec.version):
            version = listed.newest(spec.version)
        else:
            version = self._aliased(spec, listed, record)
        if version is None:
            raise self._no_version(spec, listed, record)
        return version

    @staticmethod
    def _aliased(spec: AssetSpec, listed: Listed, record: AssetRecord) -> str | None:
        """What an alias names; a record is not trusted with a version that could be a path."""
        version = record.aliases.get(spec.version or "")
        if version is not None and not (listed.scheme.is_full(version) or is_pinned(version)):
            raise IntegrityError(f"the alias {spec} names {version!r}, which is no version", subject=str(spec))
        return version

    def listed(self, name: str) -> Listed:
        """The list of an asset that exists."""
        listed = self._catalog.listed(name)
        if listed.token is None:
            raise AssetNotFoundError(f"no asset {name!r}", subject=name, hint=self._nearest_name(name))
        return listed

    def _nearest_name(self, name: str) -> str | None:
        """From the names beside it, and those at the top; the hint is not worth an error or a walk of the store."""
        with suppress(HoldfastError):
            parents = dict.fromkeys([name.rpartition("/")[0], ""])
            found = [info.key for parent in parents for info in self._store.list_level(parent).objects]
            return nearest(name, [known for key in found if (known := keys.name_of_versions_key(key))])
        return None

    def _no_version(self, spec: AssetSpec, listed: Listed, record: AssetRecord) -> VersionNotFoundError:
        known = [*listed.versions, *record.aliases]
        hint = nearest(spec.version, known) if spec.version else None
        aliases = f"; aliases: {', '.join(record.aliases)}" if record.aliases else ""
        wanted = f"version {spec.version}" if spec.version else "version"
        return VersionNotFoundError(
            f"no {wanted} of {spec.name}", subject=str(spec), hint=hint or _newest(listed) + aliases
        )

    def published(self, name: str, version: str) -> Published:
        """The meta of a version that was not removed."""
        spec = f"{name}:{version}"
        if isinstance(self._catalog, Distant):
            return self._catalog.resolve(spec)[1]
        try:
            published, record = self._engine.both(
                lambda: self._catalog.published(name, version), lambda: self._catalog.record(name)
            )
        except VersionNotFoundError as error:
            listed = self.listed(name)
            hint = nearest(version, list(listed.versions)) or _newest(listed)
            raise VersionNotFoundError(error.message, subject=spec, hint=hint) from error
        tombstone = record.tombstones.get(version)
        if tombstone is not None and tombstone.meta == published.id:
            hint = f"asset restore {spec} brings it back within the undo window"
            raise VersionNotFoundError(
                f"{spec} was removed on {tombstone.at} by {tombstone.who}", subject=spec, hint=hint
            )
        return published


def _newest(listed: Listed) -> str:
    """What there is, for a hint."""
    return f"newest versions: {', '.join(listed.versions[:5])}" if listed.versions else "it has no versions"
