"""Versions from one store to another, as they are or converted to another layout.

A copy keeps number, date, author, message, labels, parent and inputs, and is published in the order of every push: so it may
be killed at any line, and run again. What the target has already is not sent again; a number that it has with other content is
a conflict.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from holdfast.cache.work import work_dir
from holdfast.copied import StoredFiles, StoredPacks, hashed, listed_source, unremembered_scan
from holdfast.errors import AlreadyExistsError, ConflictError, IntegrityError, VersionNotFoundError
from holdfast.freshness import is_doubtful, needs_of
from holdfast.model.digest import digest_of
from holdfast.model.result import Copied
from holdfast.model.spec import AssetSpec
from holdfast.model.version import newest_first
from holdfast.transfer.plan import choose_layout
from holdfast.transfer.proving import Prover

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from holdfast.cache.work import WorkDir
    from holdfast.catalog.base import OpenPush, Published
    from holdfast.model.manifest import Manifest
    from holdfast.model.result import Pushed, PushOptions
    from holdfast.publish import Publisher
    from holdfast.repository import Repository

__all__ = ["copy", "copyable"]


def copyable(source: Repository, name: str) -> list[str]:
    """The full specs of every version of an asset: the oldest first, those too that are whole and in no list.

    Raises:
        AssetNotFoundError: there is none of this name.
        IntegrityError: its list cannot be read.
    """
    listed, record = source.resolver.listed(name), source.catalog.record(name)
    metas = source.catalog.taken(name).metas
    found = {*listed.versions, *(version for version in metas if listed.scheme.is_full(version))}
    alive = [version for version in found if not source.catalog.is_removed(name, version, record)]
    return [f"{name}:{version}" for version in reversed(newest_first(alive, listed.scheme))]


def copy(
    source: Repository,
    target: Repository,
    spec: AssetSpec | str,
    *,
    layout: str | None = None,
    aliases: bool = False,
    dry_run: bool = False,
) -> Copied:
    """Bring one version to another store, every byte verified on the way.

    Args:
        source: where it is.
        target: where it is wanted.
        spec: the version; without one, the newest.
        layout: the layout that it gets there; else the one that it has.
        aliases: let the aliases that name it here name it there, too.
        dry_run: say what would be done.

    Raises:
        NotFoundError: no such version.
        ConflictError: the target has this number with other content, had it and removed it, or another push has claimed it.
        IntegrityError: bytes of the source are not what was pushed; nothing was published.
        UsageError: a layout that does not fit.
    """
    begun = time.monotonic()
    parsed = (AssetSpec.parse(spec) if isinstance(spec, str) else spec).whole("copied")
    version = source.resolve(parsed)
    published = source.resolver.published(parsed.name, version)
    copied = _Copy(source, target, parsed.name, version, published, layout).run(dry_run=dry_run)
    if aliases:
        record = source.catalog.record(parsed.name)
        names = tuple(alias for alias, named in record.aliases.items() if named == version)
        if names and not dry_run:
            target.catalog.set_aliases(parsed.name, dict.fromkeys(names, version))
        copied = replace(copied, aliases=names)
    return replace(copied, seconds=round(time.monotonic() - begun, 3))


class _Copy:
    """One version on its way."""

    def __init__(
        self, source: Repository, target: Repository, name: str, version: str, published: Published, layout: str | None
    ) -> None:
        self._source = source
        self._target = target
        self._name = name
        self._version = version
        self._published = published
        self._meta = meta = published.meta
        self._layout = choose_layout(single=not meta.is_directory, asked=layout or meta.layout, default=None)
        self._spec = f"{name}:{version}"

    def run(self, *, dry_run: bool) -> Copied:
        """Look whether it is there; else make it."""
        there = self._there()
        if there is not None:
            self._check_same(there)
            if self._meta.listed and there.meta.listed and not dry_run:
                self._list(there)
            return self._copied(there, created=False)
        if dry_run:
            self._target.publisher(self._meta).check_number(self._name, self._options())
            return self._copied(self._published, created=True)
        pushed = (self._direct() if self._layout == self._meta.layout else None) or self._through_here()
        return replace(
            self._copied(self._published, created=True),
            hash=pushed.hash,
            files=pushed.files,
            bytes=pushed.bytes,
            uploaded_bytes=pushed.uploaded_bytes,
            uploaded_objects=pushed.uploaded_objects,
        )

    def _copied(self, published: Published, *, created: bool) -> Copied:
        meta = published.meta
        layout = self._layout if created else meta.layout
        files, size = meta.files or 0, meta.size or 0
        return Copied(self._name, self._version, self._spec, created, meta.hash or "", layout, files, size)

    # what the target has

    def _there(self) -> Published | None:
        """The version of this number that the target has.

        Raises:
            AlreadyExistsError: it had one that was removed: numbers are never used again.
        """
        catalog = self._target.catalog
        if catalog.is_removed(self._name, self._version, catalog.record(self._name)):
            raise AlreadyExistsError(
                f"{self._spec} was removed from {self._target.store.url}; numbers are never used again",
                subject=self._spec,
                hint="asset restore brings it back within the undo window",
            )
        try:
            return catalog.published(self._name, self._version)
        except VersionNotFoundError:
            return None

    def _check_same(self, there: Published) -> None:
        """ConflictError unless it is the same content."""
        ours = self._hash_of(self._source, self._published)
        theirs = self._hash_of(self._target, there)
        if ours != theirs:
            raise AlreadyExistsError(
                f"{self._target.store.url} has {self._spec} with other content: {theirs} instead of {ours}",
                subject=self._spec,
                hint="versions never change: push it there under another number",
            )

    def _hash_of(self, repository: Repository, published: Published) -> str | None:
        """The content hash; of another program's version, which tells none, by fetching it."""
        if published.meta.hash is not None:
            return published.meta.hash
        with self._work(repository, published) as work:
            return self._laid_out(repository, published, work).content_hash

    def _list(self, there: Published) -> None:
        """What a copy that was killed left to do.

        Raises:
            ConflictError: nobody relied on the version yet, and what it needs may be collected.
        """
        catalog, store = self._target.catalog, self._target.store
        if self._version in catalog.listed(self._name).versions:
            return
        if is_doubtful(store, *needs_of(store, self._name, self._version, there.meta)):
            raise ConflictError(
                f"{self._spec} is there, in no list, and what it needs is being collected", subject=self._spec
            )
        catalog.enlist(self._name, [self._version])

    # making it

    def _options(self) -> PushOptions:
        meta = self._meta
        return {
            "version": self._version,
            "message": meta.message,
            "labels": meta.labels,
            "inputs": meta.inputs,
            "listed": meta.listed,
            "unchanged": False,
        }

    def _opened(self, publisher: Publisher) -> OpenPush:
        """The record of the push, which comes before what is sent without a claim."""
        publisher.desk.check_store()
        self._target.catalog.store_record(create=True)
        return self._target.catalog.open_push(self._name, secrets.token_hex(16), publisher.clock.now())

    def _direct(self) -> Pushed | None:
        """The objects as they are, where their digests are known and the target may have them; else None."""
        meta = self._meta
        if self._layout == "packs":
            return self._packs()
        if self._layout == "tar.gz" or meta.manifest is None or meta.manifest.content_hash is None:
            return None
        publisher = self._target.publisher(meta)
        files = StoredFiles(self._source.store, publisher, self._layout, meta.manifest)
        return publisher.publish(files, self._name, self._options())

    def _packs(self) -> Pushed | None:
        """Packs and pages objects under their names; None where the target has condemned some of them."""
        source, target, meta = self._source, self._target, self._meta
        root, data = source.local.packed(self._name, self._version, meta).root()
        with Prover(source.store, source.engine, source.state / "proofs") as prover:
            damages = prover.check(root, meta.hash)
        if damages:
            raise IntegrityError(
                f"{self._spec} is not whole: {damages[0]}", subject=damages[0].key, hint=f"asset verify {self._spec}"
            )
        publisher = target.publisher(meta)
        packs = StoredPacks(source.store, publisher, source.engine, meta, root, data)
        if packs.is_condemned:
            return None
        opened = self._opened(publisher)
        packs.bring(lambda: target.catalog.renew(opened))
        return publisher.publish(packs, self._name, self._options(), opened)

    def _through_here(self) -> Pushed:
        """Any layout to any: laid out on this machine, verified, and pushed."""
        publisher = self._target.publisher(self._meta)
        with self._work(self._source, self._published) as work:
            manifest = self._laid_out(self._source, self._published, work)
            if self._layout == "packs":
                return self._packed(publisher, work)
            source = listed_source(publisher, work.copy, manifest, self._name, self._layout)
            return publisher.publish(source, self._name, self._options())

    def _packed(self, publisher: Publisher, work: WorkDir) -> Pushed:
        target = self._target
        opened = self._opened(publisher)
        newest = target.catalog.listed(self._name).newest()
        scan = unremembered_scan(work.copy)
        with publisher.packer.pack(scan, self._name, newest, alive=lambda: target.catalog.renew(opened)) as packed:
            self._check_hash(packed.content_hash)
            return publisher.publish(packed, self._name, self._options(), opened)

    def _work(self, repository: Repository, published: Published) -> AbstractContextManager[WorkDir]:
        return work_dir(repository.state / "copies", digest_of(self._spec.encode() + published.data)[:12])

    def _laid_out(self, repository: Repository, published: Published, work: WorkDir) -> Manifest:
        """The version as it is now in the work directory, with every digest."""
        found = repository.retriever.bring(self._name, self._version, published, work)
        manifest = hashed(work.copy, found, repository.engine)
        if published.meta.hash is not None and manifest.content_hash != published.meta.hash:
            raise IntegrityError(f"{self._spec} does not have the content hash of its meta", subject=self._spec)
        return manifest

    def _check_hash(self, found: str) -> None:
        expected = self._meta.hash
        if expected is not None and found != expected:
            raise IntegrityError(
                f"{self._spec} came out as {found} instead of {expected}", subject=self._spec, hint="copy it again"
            )
