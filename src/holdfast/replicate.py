"""Versions brought from one store to another: by :func:`copy`, or in a file by :func:`export` and :func:`import_`.

A bundle is read as a store, so importing is copying out of it. Before that every byte of it was looked at: a bundle that was
truncated or changed leaves nothing in the store.

Example::

    copy(holdfast.open("s3://bucket/prefix"), holdfast.open("file:///backup"), "nlp/bert:1.4")
    export(repository, ["nlp/bert:1.5"], Path("bert.bundle"), have=["nlp/bert:1.4"])
    list(import_(other, Path("bert.bundle")))
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from holdfast.cache.assets import AssetsDir
from holdfast.cache.work import work_dir
from holdfast.catalog.bucket import BucketCatalog
from holdfast.copying import copy, copyable
from holdfast.errors import IntegrityError, NotFoundError, ObjectNotFoundError
from holdfast.exporting import export
from holdfast.model.spec import AssetSpec
from holdfast.numbering import check_alias
from holdfast.repository import Repository
from holdfast.store.bundle import BundleStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.formats.bundle import BundleVersion, Other
    from holdfast.model.result import Copied

__all__ = ["copy", "copyable", "export", "import_"]

#: So many of the objects that a store lacks are named.
_NAMED: Final = 3


def import_(
    repository: Repository,
    path: Path,
    *,
    layout: str | None = None,
    aliases: bool = False,
    dry_run: bool = False,
) -> Iterator[Copied]:
    """Bring the versions of a bundle into a store, one after the other; no other store is asked.

    Args:
        repository: where they are wanted.
        path: the bundle.
        layout: the layout that they get there; else the one that they have.
        aliases: set the aliases that named them when they were exported.
        dry_run: check the bundle, and say what would be done.

    Raises:
        IntegrityError: the bundle was truncated or changed, or holds what cannot be; nothing was written.
        NotFoundError: it builds upon versions that the store has not; they are named.
        ConflictError: as :func:`copy`, for the version at hand.
        LocalError: it cannot be read.
    """
    engine = repository.engine
    engine.progress.start("check", path.stat().st_size if path.is_file() else None, 1)
    try:
        store = BundleStore(path, repository.store, engine.progress.advance)
    finally:
        engine.progress.finish()
    with store, work_dir(repository.state / "imports") as work:
        bundle = _opened(store, repository, work.path)
        for version in store.record.versions:  # before anything is written
            _check_version(bundle, version)
        _check_base(store, repository, path)
        for version in store.record.versions:
            copied = copy(bundle, repository, AssetSpec(version.name, version.version), layout=layout, dry_run=dry_run)
            if aliases and version.aliases:
                changes = dict.fromkeys(map(check_alias, version.aliases), version.version)
                if not dry_run:
                    repository.catalog.set_aliases(version.name, changes)
                copied = replace(copied, aliases=version.aliases)
            yield copied


def _check_version(bundle: Repository, version: BundleVersion) -> None:
    spec = f"{version.name}:{version.version}"
    try:
        found = bundle.catalog.published(version.name, version.version).meta.hash
    except NotFoundError:
        raise IntegrityError(f"{bundle.store.url} lacks the meta of {spec}", subject=spec) from None
    if found != version.hash:
        raise IntegrityError(f"{bundle.store.url}: the meta of {spec} has another hash", subject=spec)


def _opened(store: BundleStore, repository: Repository, place: Path) -> Repository:
    """The bundle as a repository that is only read; whatever it remembers goes with its folder."""
    clock = repository.clock
    return Repository(
        store,
        BucketCatalog(store, clock, repository.who),
        repository.engine,
        AssetsDir(place / "assets"),
        clock=clock,
        who=repository.who,
        state=place,
        place=store.url,
        scheme=repository.scheme,
    )


def _check_base(store: BundleStore, repository: Repository, path: Path) -> None:
    """NotFoundError where the store lacks what the bundle only names."""

    def is_there(other: Other) -> bool:
        try:
            return repository.store.head(other.at).size == other.size
        except ObjectNotFoundError:
            return False

    needed = store.needed
    lacking = [o for o, there in zip(needed, repository.engine.run(is_there, needed), strict=True) if not there]
    if lacking:
        specs = ", ".join(dict.fromkeys(str(other.of) for other in lacking))
        named = ", ".join(other.at for other in lacking[:_NAMED])
        more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
        raise NotFoundError(
            f"{path.name} builds upon {specs}, of which {repository.store.url} lacks {named}{more}",
            subject=specs,
            hint="import the bundle that holds it first, or export again without --have and --base",
        )
