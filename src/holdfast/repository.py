"""The client API: one store, through one door, with one local assets folder.

Example::

    repository = holdfast.open("s3://bucket/prefix")
    repository.push("model/", "nlp/bert", message="first")
    path = repository.fetch("nlp/bert:1")

Thin: resolving and fetching is :mod:`holdfast.retrieve`, pushing :mod:`holdfast.publish`. Methods take specs as text or as
:class:`AssetSpec`, return values of :mod:`holdfast.model.result`, and raise errors of :mod:`holdfast.errors`.
"""

from __future__ import annotations

import io
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from holdfast.cache.checkouts import Checkouts
from holdfast.cache.leases import LeasedFile
from holdfast.catalog.base import Distant
from holdfast.comparison import Side, compare, local_manifest
from holdfast.errors import ConflictError, HoldfastError, UsageError, VersionNotFoundError
from holdfast.local import Local
from holdfast.model.options import checked_fetch, checked_push
from holdfast.model.result import AssetSummary, AssetVersions, Difference, Fetched, Pushed, Shown
from holdfast.model.spec import AssetSpec
from holdfast.resolve import Resolver, is_pinned
from holdfast.retrieve import PATIENCE, Retriever
from holdfast.selection import Selection

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable

    from typing_extensions import Unpack

    from holdfast.cache.assets import AssetsDir
    from holdfast.catalog.base import Catalog, Clock, Published
    from holdfast.formats.convention import Meta
    from holdfast.formats.records import AssetRecord
    from holdfast.model.manifest import Entry, Manifest
    from holdfast.model.result import FetchOptions, PushOptions
    from holdfast.model.version import VersionScheme
    from holdfast.publish import Publisher
    from holdfast.store.base import Store
    from holdfast.transfer.engine import Engine

__all__ = ["Repository"]


class Repository:
    """Assets in one store, without its upkeep, which :class:`holdfast.upkeep.Repository` adds."""

    def __init__(
        self,
        store: Store,
        catalog: Catalog,
        engine: Engine,
        assets: AssetsDir,
        *,
        clock: Clock,
        who: str,
        state: Path,
        place: str,
        scheme: VersionScheme,
        patience: float = PATIENCE,
    ) -> None:
        self.store = store
        self.catalog = catalog
        self.engine = engine
        self.assets = assets
        self.scheme = scheme
        self.state = state
        self._clock = clock
        self._who = who
        self._place = place
        self._checkouts = Checkouts(state, place)
        self.resolver = Resolver(store, catalog, engine)
        self.local = Local(store, engine, assets, scheme, place=place, state=state)
        self.retriever = Retriever(store, self.resolver, engine, assets, self.local, patience=patience)

    def push(self, source: Path | str, name: str, **options: Unpack[PushOptions]) -> Pushed:
        """Push a file or directory as the next version of an asset.

        Args:
            source: the file or directory.
            name: the asset's name; a new one must keep the rules of FORMAT.md §1.
            **options: see :class:`holdfast.model.result.PushOptions`.

        Returns:
            The version; ``created`` is False where the newest one has the same content already.

        Raises:
            UsageError: a name, version, file or option that cannot be; nothing was written.
            ConflictError: the version exists or is claimed; or another program wrote over it at the same moment.
            SourceChangedError: a file changed while it was pushed; no version was published.
            UnsupportedError: the store has no conditional writes.
        """
        return self.publisher().push(Path(source), name, checked_push(options))

    def publisher(self, origin: Meta | None = None, claimed: Callable[[str, str], None] | None = None) -> Publisher:
        """Who pushes into this store; ``origin`` and ``claimed`` as in :class:`holdfast.publish.Publisher`."""
        from holdfast.publish import Publisher

        return Publisher(
            self.store,
            self.catalog,
            self.engine,
            self._clock,
            who=self._who,
            state=self.state,
            place=self._place,
            origin=origin,
            claimed=claimed,
        )

    def fetch(self, spec: AssetSpec | str, **options: Unpack[FetchOptions]) -> Path:
        """Bring a version to this machine and return where it is; see :meth:`fetch_info`."""
        return Path(self.fetch_info(spec, **options).path)

    def fetch_info(self, spec: AssetSpec | str, **options: Unpack[FetchOptions]) -> Fetched:
        """Bring a version to this machine, verified, unless it is here; a pinned, cached spec asks nobody.

        Args:
            spec: ``name[:version][[sub/path]]``.
            **options: see :class:`holdfast.model.result.FetchOptions`.

        Raises:
            UsageError: there is no such option, or not with this value.
            NotFoundError: no such asset, version, alias or sub-path; the hint names the nearest.
            IntegrityError: the store's bytes are not what was pushed; the old copy stays.
            LocalError: the disk is full, or the folder missing or read-only; nothing is left half done.
        """
        spec, chosen = _spec(spec), checked_fetch(options)
        fetched = self.retriever.fetch(spec, chosen)
        to = chosen.get("to")
        if to is not None and fetched.meta.get("is_directory"):
            if spec.sub_path is None and not chosen.get("include"):
                self._checkouts.remember(Path(to), fetched.name, fetched.version)
            else:  # a part, which no push may take for the whole
                self._checkouts.forget(Path(to))
        return fetched

    @property
    def place(self) -> str:
        """The store's URL and endpoint, by which what is remembered on this machine is told apart."""
        return self._place

    @property
    def clock(self) -> Clock:
        """The time, as this repository is told it."""
        return self._clock

    @property
    def who(self) -> str:
        """Who stands in claims and records: ``user@machine``."""
        return self._who

    def resolve(self, spec: AssetSpec | str) -> str:
        """The full version that a spec names now."""
        spec = _spec(spec)
        if spec.version is not None and is_pinned(spec.version):
            return spec.version
        return self.resolver.resolve(spec)

    def read(self, spec: AssetSpec | str) -> BinaryIO:
        """One file of a version as a verified stream: a file asset, or ``name:1[path/to/file]``; in use until it is closed."""
        fetched = self.fetch_info(spec)
        with ExitStack() as kept:
            kept.enter_context(self.assets.leases.hold(fetched.name, fetched.version))
            path = Path(fetched.path)
            if not path.exists():  # evicted, before it was in use
                path = Path(self.fetch_info(replace(_spec(spec), version=fetched.version)).path)
            return io.BufferedReader(self._opened(spec, path, kept))

    @staticmethod
    def _opened(spec: AssetSpec | str, path: Path, kept: ExitStack) -> LeasedFile:
        if not path.is_file():
            raise UsageError(
                f"{spec} is a directory", subject=str(spec), hint="name a file in it: 'name:version[path]'"
            )
        return LeasedFile(path, kept)

    def list(self, pattern: str | None = None) -> builtins.list[AssetSummary]:
        """Every asset, or those whose name fits the glob pattern; one that cannot be read is listed with its problem."""
        from fnmatch import fnmatchcase

        if isinstance(self.catalog, Distant):
            return [*self.catalog.summaries(pattern)]
        names = [n for n in self.catalog.names(self.engine.run) if pattern is None or fnmatchcase(n, pattern)]
        return self.engine.run(self._summary, names)

    def _summary(self, name: str) -> AssetSummary:
        try:
            known = self.versions(name)
        except HoldfastError as error:
            return AssetSummary(name, None, 0, {}, None, error.message)
        latest = known.versions[0] if known.versions else None
        problem = f"unknown versions: {', '.join(known.unknown)}" if known.unknown else None
        size = None
        if latest is not None:
            try:
                size = self.catalog.published(name, latest).meta.size
            except HoldfastError as error:
                problem = error.message
        return AssetSummary(name, latest, len(known.versions), known.aliases, size, problem)

    def versions(self, name: str) -> AssetVersions:
        """The listed versions of an asset, newest first, and its aliases."""
        listed, record = self.engine.both(lambda: self.resolver.listed(name), lambda: self.catalog.record(name))
        alive = tuple(v for v in listed.versions if not self.catalog.is_removed(name, v, record))
        return AssetVersions(name, alive, dict(record.aliases), listed.unknown)

    def show(self, spec: AssetSpec | str) -> Shown:
        """Everything known of one version.

        Raises:
            UsageError: a sub-path is named; :meth:`files` knows what is in it.
        """
        spec = _spec(spec).whole("shown")
        version = self.resolve(spec)
        published = self.resolver.published(spec.name, version)
        meta = published.meta
        aliases = tuple(a for a, target in self.catalog.record(spec.name).aliases.items() if target == version)
        return Shown(
            name=spec.name,
            version=version,
            spec=f"{spec.name}:{version}",
            layout=meta.layout,
            hash=meta.hash,
            files=meta.files,
            bytes=meta.size,
            pushed=meta.pushed.isoformat(),
            who=meta.who,
            message=meta.message,
            parent=meta.parent,
            labels=meta.labels,
            inputs=meta.inputs,
            aliases=aliases,
            meta=meta.raw,
        )

    def files(self, spec: AssetSpec | str) -> tuple[Entry, ...]:
        """The entries of a version, or of the sub-path named."""
        spec = _spec(spec)
        manifest = self.manifest(spec)
        return (manifest.below(spec.sub_path) if spec.sub_path else manifest).entries

    def manifest(self, spec: AssetSpec) -> Manifest:
        """The manifest of a version; of a foreign one without digests as it is after fetching it."""
        version = self.resolve(spec)
        published: Published = self.resolver.published(spec.name, version)
        meta, manifest = published.meta, published.meta.manifest
        if meta.layout == "packs":
            packed = self.local.packed(spec.name, version, meta)
            return packed.select(Selection(spec.sub_path))[0] if spec.sub_path else packed.manifest()
        if manifest is None or manifest.content_hash is None:
            return local_manifest(Path(self.fetch_info(AssetSpec(spec.name, version)).path))
        return manifest

    def diff(self, one: AssetSpec | str, other: AssetSpec | str | Path) -> Difference:
        """What changed from one version to another, or to a local file or directory (given as a Path).

        Sub-paths are compared from where they lie; of the same one of two versions, paths are told as :meth:`files` lists them.
        """
        first = self.side(_spec(one))
        return compare(first, Side.of(local_manifest(other)) if isinstance(other, Path) else self.side(_spec(other)))

    def side(self, spec: AssetSpec) -> Side:
        """A version, or the sub-path of it that is named, as one side of a comparison."""
        return Side.of(self.manifest(spec), spec.sub_path)

    def status(self, directory: Path | str) -> Difference:
        """What changed in a fetched version since it was fetched: its folder, under ``assets_dir`` or elsewhere."""
        name, version = self.identify(directory)
        return compare(self.side(AssetSpec(name, version)), Side.of(local_manifest(Path(directory))))

    def identify(self, directory: Path | str) -> tuple[str, str]:
        """The asset and version that a folder is a copy of: under ``assets_dir``, or laid out by ``fetch --to``.

        Raises:
            UsageError: it is none.
        """
        path, root = Path(directory).resolve(), self.assets.path.resolve()
        if (known := self._checkouts.find(path)) is not None:
            return known
        if path != root and path.is_relative_to(root):
            name, _, version = path.relative_to(root).as_posix().rpartition("/")
            if name and is_pinned(version):
                return name, version
        raise UsageError(
            f"{directory} is no fetched version",
            subject=str(directory),
            hint=f"a folder {root}/NAME/VERSION, or give the name",
        )

    def alias(self, name: str, alias: str, version: str | None) -> str | None:
        """Let an alias name a version (full, partial or another alias), or remove it (None). Returns the full version."""
        from holdfast.numbering import check_alias

        check_alias(alias)
        if version is None:
            if alias not in self.catalog.record(name).aliases:
                raise VersionNotFoundError(f"no alias {alias!r} of {name}", subject=f"{name}:{alias}")
            self.catalog.set_aliases(name, {alias: None})
            return None
        full = self.resolve(AssetSpec(name, version))
        self.resolver.published(name, full)
        self.catalog.set_aliases(name, {alias: full})
        return full

    def remove(self, *specs: AssetSpec | str, all_versions: bool = False, dry_run: bool = False) -> builtins.list[str]:
        """Remove full versions: a tombstone each, then off the list; ``restore`` brings them back within the undo window.

        Raises:
            UsageError: a spec without a full version, unless ``all_versions``.
            ConflictError: an alias or a hold names the version.
        """
        wanted: dict[str, builtins.list[str]] = {}
        for spec in map(_spec, specs):
            if spec.sub_path or (not all_versions and not is_pinned(spec.version)):
                raise UsageError(
                    f"{spec} names no full version", subject=str(spec), hint="NAME:MAJOR.MINOR, or --all-versions"
                )
            versions = [*self.versions(spec.name).versions] if spec.version is None else [spec.version]
            wanted.setdefault(spec.name, []).extend(versions)
        removed = []
        for name, versions in wanted.items():
            record = self.catalog.record(name)
            aliased = {v: a for a, v in record.aliases.items()}
            for version in versions:
                if not self._is_half_removed(name, version, record):
                    self.resolver.published(name, version)
                if version in aliased and dry_run:
                    raise ConflictError(
                        f"the alias {aliased[version]!r} names {name}:{version}", subject=f"{name}:{version}"
                    )
            if not dry_run:
                self.catalog.remove(name, versions)
            removed += [f"{name}:{version}" for version in versions]
        return removed

    def prune(
        self, name: str, *, keep_last: int | None = None, keep_within: float | None = None, dry_run: bool = False
    ) -> builtins.list[str]:
        """Remove the listed versions that no rule keeps and no alias or hold names; returns their specs.

        Args:
            name: the asset.
            keep_last: keep so many of the newest.
            keep_within: keep what was pushed within so many seconds, by the store's clock.
            dry_run: remove nothing.

        Raises:
            UsageError: no rule is given, or one that keeps nothing.
        """
        from holdfast.collecting import plan_prune

        rules = [rule for rule in (keep_last, keep_within) if rule is not None]
        if not rules or min(rules) <= 0:
            hint = "--keep-last N, --keep-within TIME, or both, each more than nothing"
            raise UsageError("a prune must be told what to keep", subject=name, hint=hint)
        versions = self.versions(name).versions
        protected = {*(record := self.catalog.record(name)).aliases.values(), *record.holds}
        doomed = plan_prune(
            versions,
            self.catalog.written(name),
            protected,
            self.catalog.store_now().timestamp(),
            keep_last=keep_last,
            keep_within=keep_within,
        )
        if doomed and not dry_run:
            self.catalog.remove(name, doomed)
        return [f"{name}:{version}" for version in doomed]

    def _is_half_removed(self, name: str, version: str, record: AssetRecord) -> bool:
        """Whether a removal was killed between its tombstone and the list."""
        return self.catalog.is_removed(name, version, record) and version in self.catalog.listed(name).versions

    def restore(self, spec: AssetSpec | str, *, dry_run: bool = False) -> str:
        """Bring a removed version back; returns its spec.

        Raises:
            UsageError: a spec without a full version, or with a sub-path.
            NotFoundError: there is no such version, or its bytes are gone.
            ConflictError: the undo window is over, which a dry run does not ask.
        """
        spec = _spec(spec).whole("restored")
        if spec.version is None or not is_pinned(spec.version):
            raise UsageError(f"{spec} names no full version", subject=str(spec))
        if dry_run:
            self.catalog.published(spec.name, spec.version)
        else:
            self.catalog.restore(spec.name, spec.version)
        return f"{spec.name}:{spec.version}"


def _spec(spec: AssetSpec | str) -> AssetSpec:
    return AssetSpec.parse(spec) if isinstance(spec, str) else spec
