"""Versions into one file, to be carried where no network leads: planned first, then written in one go (FORMAT.md §10).

Every byte is verified while it is written. What the other side has already, by what it is said to have, is only named.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Final

from holdfast.cache.owners import owner
from holdfast.cache.work import leftovers
from holdfast.disk import local_errors, sync_directory
from holdfast.errors import AlreadyExistsError, IntegrityError, LocalError, NotFoundError
from holdfast.failpoint import reach
from holdfast.formats import layout as keys
from holdfast.formats.bundle import (
    END,
    RECORD,
    BundleRecord,
    BundleVersion,
    Member,
    Other,
    encode_record,
    header,
    padding,
)
from holdfast.formats.container import PACK, PAGES
from holdfast.formats.records import stamp
from holdfast.model.digest import Hasher
from holdfast.model.result import Exported
from holdfast.model.spec import AssetSpec
from holdfast.store.bundle import read_record
from holdfast.transfer.objects import prove, read_container
from holdfast.transfer.plan import WHOLE, plan_objects, ranges
from holdfast.transfer.proving import Prover
from holdfast.verify import Verifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from holdfast.catalog.base import Published
    from holdfast.repository import Repository
    from holdfast.transfer.plan import ObjectPlan

__all__ = ["export"]

_FORMAT: Final = 1


def export(
    repository: Repository,
    specs: Sequence[AssetSpec | str],
    path: Path,
    *,
    have: Sequence[AssetSpec | str] = (),
    base: Sequence[Path] = (),
    force: bool = False,
    dry_run: bool = False,
) -> Exported:
    """Write versions into one file, which :func:`holdfast.replicate.import_` reads.

    Args:
        repository: where they are.
        specs: the versions; without a version, the newest.
        path: the file; it has its name only once it is whole.
        have: versions that the other side has: what they share with these is left out.
        base: bundles that the other side has imported, likewise.
        force: replace a file that exists.
        dry_run: say what would be in it, and how long it would be.

    Raises:
        NotFoundError: no such version.
        AlreadyExistsError: the file exists.
        IntegrityError: bytes in the store are not what was pushed; no file was made.
        LocalError: it cannot be written.
    """
    begun = time.monotonic()
    _check_place(path, force=force)
    with Prover(repository.store, repository.engine, repository.state / "proofs") as prover:
        plan = _Plan(repository, prover)
        for spec in [*have, *(known for bundle in base for known in _known(repository, bundle))]:
            plan.had(*_found(repository, spec))
        for spec in specs:
            plan.add(*_found(repository, spec))
    size = _length(repository, plan) if dry_run else _write(repository, plan, path)
    needs = tuple(dict.fromkeys(other.of for other in plan.others if other.of is not None))
    versions = tuple(f"{each.name}:{each.version}" for each in plan.versions)
    return Exported(str(path), versions, len(plan.items), size, needs, round(time.monotonic() - begun, 3))


def _check_place(path: Path, *, force: bool) -> None:
    if path.is_dir():
        raise AlreadyExistsError(f"{path} is a directory", subject=str(path), hint="FILE is the name of a file")
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):  # renamed over, /dev/stdout would be a file
        raise AlreadyExistsError(f"{path} is no regular file", subject=str(path), hint="give the name of a file")
    if not force and os.path.lexists(path):
        raise AlreadyExistsError(f"{path} exists", subject=str(path), hint="another name, or --force")
    if not path.parent.is_dir():
        raise LocalError(f"no directory {path.parent}", subject=str(path), hint="make it, or give another name")


def _found(repository: Repository, spec: AssetSpec | str) -> tuple[str, str, Published]:
    parsed = (AssetSpec.parse(spec) if isinstance(spec, str) else spec).whole("exported")
    version = repository.resolve(parsed)
    return parsed.name, version, repository.resolver.published(parsed.name, version)


def _known(repository: Repository, bundle: Path) -> Iterator[str]:
    """The versions in a bundle that this store has, too, with the same content."""
    for each in read_record(bundle).versions:
        spec = f"{each.name}:{each.version}"
        try:
            here = repository.resolver.published(each.name, each.version).meta.hash
        except NotFoundError:
            here = None
        if here is not None and here == each.hash:
            yield spec
        else:
            repository.engine.progress.warn(f"{spec} of {bundle} is not in this store: nothing is left out for it")


@dataclass(slots=True)
class _Item:
    """An object to be written: ``digest`` (hex) is that of its bytes, ``magic`` that of a pack or pages object."""

    key: str
    size: int
    digest: str | None = None
    magic: bytes = b""
    data: bytes | None = None


@dataclass
class _Plan:
    """What goes into a bundle, and what is only named."""

    repository: Repository
    prover: Prover
    versions: list[BundleVersion] = field(default_factory=list)
    items: list[_Item] = field(default_factory=list)
    others: list[Other] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._objects: dict[str, str | None] = {}  # key of a pack or pages object → who has it, None for this bundle
        self._files: dict[
            tuple[str, int], tuple[str, str | None]
        ] = {}  # digest and size of a file → where, and likewise

    def had(self, name: str, version: str, published: Published) -> None:
        """The other side has this version."""
        spec, meta = f"{name}:{version}", published.meta
        if meta.layout == "packs":
            root, _ = self.repository.local.packed(name, version, meta).root()
            for key, _ in _objects_of(root.packs, root.objects):
                self._objects.setdefault(key, spec)
        elif meta.manifest is not None and meta.hash is not None and meta.layout != "tar.gz":
            plan = plan_objects(name, version, meta.layout, meta.manifest.files)
            for item in (*plan.small, *plan.large):
                if item.entry is not None and item.entry.digest is not None:
                    self._files.setdefault((item.entry.digest, item.size), (item.key, spec))

    def add(self, name: str, version: str, published: Published) -> None:
        """This version goes into the bundle."""
        meta = published.meta
        if any((each.name, each.version) == (name, version) for each in self.versions):
            return
        if meta.layout == "packs":
            self._packs(name, version, published)
        elif meta.layout == "tar.gz":
            Verifier(self.repository, self.prover, deep=True).data(name, version, published)
            self._whole(keys.data_key(name, version))
        elif meta.manifest is None:
            self._whole(keys.data_key(name, version))
        else:
            plan = plan_objects(name, version, meta.layout, meta.manifest.files)
            for item in (*plan.small, *plan.large):
                self._file(item)
        self.items.append(_Item(keys.meta_key(name, version), len(published.data), data=published.data))
        record = self.repository.catalog.record(name)
        aliases = tuple(alias for alias, named in record.aliases.items() if named == version)
        self.versions.append(BundleVersion(name, version, meta.hash, aliases))

    def _packs(self, name: str, version: str, published: Published) -> None:
        meta = published.meta
        root, data = self.repository.local.packed(name, version, meta).root()
        damages = self.prover.check(root, meta.hash)
        if damages:
            raise IntegrityError(f"{name}:{version} is not whole: {damages[0]}", subject=damages[0].key)
        new = []
        for key, magic in _objects_of(root.packs, root.objects):
            if key not in self._objects:
                new.append((key, magic))
            elif (of := self._objects[key]) is not None:
                self.others.append(Other(key, key, self.repository.store.head(key).size, of))
            self._objects[key] = None
        sizes = self.repository.engine.run(lambda each: self.repository.store.head(each[0]).size, new)
        self.items += [_Item(key, size, magic=magic) for (key, magic), size in zip(new, sizes, strict=True)]
        self.items.append(_Item(keys.data_key(name, version), len(data), data=data))

    def _whole(self, key: str) -> None:
        self.items.append(_Item(key, self.repository.store.head(key).size))

    def _file(self, item: ObjectPlan) -> None:
        digest = item.entry.digest if item.entry is not None else None
        if digest is None:
            self._whole(item.key)
            return
        known = self._files.setdefault((digest, item.size), (item.key, None))
        if known[0] == item.key:
            self.items.append(_Item(item.key, item.size, digest))
        else:
            self.others.append(Other(item.key, known[0], item.size, known[1]))


def _objects_of(packs: Iterable[str], pages: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    yield from ((keys.pack_key(name), PACK) for name in packs)
    yield from ((keys.pages_key(name), PAGES) for name in pages)


def _write(repository: Repository, plan: _Plan, path: Path) -> int:
    """The file, under its name once it is whole; its length."""
    part = path.with_name(keys.work_name(path.name, "export", owner()))
    engine = repository.engine
    engine.progress.start("export", sum(item.size for item in plan.items), len(plan.items))
    try:
        with local_errors(path, keys.meant):
            for left, _ in leftovers(path):
                left.unlink(missing_ok=True)
            with open(part, "wb") as file:
                _Writer(repository, file).write(plan)
                file.flush()
                os.fsync(file.fileno())
                size = file.tell()
            part.replace(path)
            sync_directory(path.parent)
    finally:
        engine.progress.finish()
        part.unlink(missing_ok=True)
    return size


def _length(repository: Repository, plan: _Plan) -> int:
    """How long the file would be: digests, which are known once it is written, are all of one length."""
    members = [Member(item.key, item.size, "0" * 64) for item in plan.items]
    record = _record(repository, plan, members)
    sizes = [(item.key, item.size) for item in plan.items] + [(RECORD, len(record))]
    return sum(len(header(key, size)) + size + len(padding(size)) for key, size in sizes) + len(END)


def _record(repository: Repository, plan: _Plan, members: Iterable[Member]) -> bytes:
    """The last member of the tar, which lists the others."""
    return encode_record(
        BundleRecord(
            _FORMAT,
            stamp(repository.clock.now()),
            repository.who,
            repository.store.url,
            tuple(plan.versions),
            tuple(members),
            tuple(plan.others),
        )
    )


class _Writer:
    """Objects of a store into a tar."""

    def __init__(self, repository: Repository, file: BinaryIO) -> None:
        self._repository = repository
        self._store = repository.store
        self._engine = repository.engine
        self._file = file
        self._members: list[Member] = []

    def write(self, plan: _Plan) -> None:
        """All of it, the record last."""
        ahead = self._engine.in_order(self._small, plan.items)
        for item, data in ahead:
            self._add(item, [data] if data is not None else self._large(item))
            reach("export.member-written")
        data = _record(self._repository, plan, self._members)
        self._file.write(header(RECORD, len(data)) + data + padding(len(data)) + END)

    def _small(self, item: _Item) -> tuple[_Item, bytes | None]:
        """The bytes of a small object; None for one that is read when its turn comes."""
        if item.data is not None:
            return item, item.data
        if item.magic or item.size > WHOLE:
            return item, None
        return item, bytes(self._store.get_range(item.key, 0, item.size + 1).data)

    def _large(self, item: _Item) -> Iterable[bytes | memoryview]:
        if item.magic:
            data = read_container(self._store, self._engine, item.key)
            prove(data, item.key, item.magic)
            return [data]
        parts = self._engine.in_order(lambda part: self._store.get_range(item.key, *part), ranges(item.size))
        return (memoryview(found.data) for found in parts)

    def _add(self, item: _Item, pieces: Iterable[bytes | memoryview]) -> None:
        hasher, count = Hasher(), 0
        self._file.write(header(item.key, item.size))
        for piece in pieces:
            hasher.update(piece)
            count += len(piece)
            self._file.write(piece)
            self._engine.moved(len(piece))
        if count != item.size:
            raise IntegrityError(f"{item.key} has {count} bytes instead of {item.size}", subject=item.key)
        digest = hasher.hexdigest()
        if item.digest is not None and digest != item.digest:
            raise IntegrityError(f"{item.key} does not match its digest", subject=item.key, hint="asset verify")
        self._file.write(padding(item.size))
        self._members.append(Member(item.key, item.size, digest))
