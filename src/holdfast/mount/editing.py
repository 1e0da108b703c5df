"""Versions that are changed where they are mounted: mount, status, push and unmount, as functions that the commands call.

A writable mount is the version, mounted read-only, and an overlay above it, whose changes lie in a folder of the cache
(:mod:`holdfast.mount.edits`). A push reads what changed, and the mount goes on from the new version (:mod:`holdfast.mount.moving`).

Example::

    mount_writable(repository, "nlp/bert:1.2", Path("/mnt/bert"), lambda edits: versions)
    ...
    push_edits(repository, find_edits(repository, Path("/mnt/bert")), {"message": "fixed"}, versions)
    unmount_writable(repository, find_edits(repository, Path("/mnt/bert")), versions)
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import BusyError, ConflictError, HoldfastError, LocalError, UsageError
from holdfast.failpoint import reach
from holdfast.model.result import Difference, Pushed
from holdfast.model.spec import AssetSpec
from holdfast.mount import overlay
from holdfast.mount.changes import Changes, changes_of, edited_manifest
from holdfast.mount.edits import Edits, EditsRecord, all_edits
from holdfast.mount.live.underneath import checked, resolved
from holdfast.mount.mounted import BaseVersion, Identity, edited_scan
from holdfast.mount.moving import Mover
from holdfast.mount.naming import named
from holdfast.mount.refusing import END_THEM, LET_GO, refuse_held, refuse_lost, refuse_other, refuse_shown
from holdfast.mount.table import detach, stacked_at
from holdfast.mount.upper import read_upper

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.model.result import PushOptions
    from holdfast.mount.moving import Versions
    from holdfast.mount.upper import UpperTree
    from holdfast.repository import Repository

__all__ = [
    "above",
    "diff_with",
    "find_edits",
    "mount_writable",
    "named_base",
    "names_alone",
    "push_edits",
    "status_of",
    "unmount_writable",
]


def find_edits(repository: Repository, directory: Path | str) -> Edits | None:
    """The changes of a directory, mounted or not, of a version of this store; None where there are none.

    Raises:
        ConflictError: there are those of several assets, none of which is mounted.
    """
    path = Path(resolved(os.fspath(directory)))
    found = [(edits, record) for edits, record in all_edits(repository.state, path) if record.place == repository.place]
    if len(found) > 1:
        shown = {each.source.rpartition(".")[0] for each in stacked_at(str(path))}
        found = [pair for pair in found if f"holdfast-edits:{pair[0].token}" in shown] or found
    if len(found) > 1:
        names = ", ".join(record.base.name for _, record in found)
        raise ConflictError(
            f"{path} has changes of several assets, none of which is mounted: {names}",
            subject=str(path),
            hint="mount the one that is meant with --writable",
        )
    return found[0][0] if found else None


def mount_writable(
    repository: Repository,
    spec: AssetSpec | str,
    directory: Path | str,
    versions: Callable[[Edits], Versions],
    *,
    others: bool = False,
) -> Edits:
    """Mount a version so that it can be changed. Changes that lie there from before are there again.

    Args:
        repository: that of the store.
        spec: ``name[:version]``; what it names is fixed when it is mounted.
        directory: an empty directory.
        versions: who mounts the version below, given the folder of changes.
        others: other users may go into it, as far as its files' rights let them.

    Raises:
        UsageError: the version is a file.
        NotFoundError, AlreadyExistsError, LocalError: the directory is none, or not empty.
        ConflictError: it lies inside another mount; or there are unpushed changes of another version; they are named.
        BusyError: it is mounted already; or the processes of that mount are gone, and somebody is in it still.
        UnsupportedError: no overlay can be mounted here.
    """
    spec = AssetSpec.parse(spec) if isinstance(spec, str) else spec
    path = Path(resolved(os.fspath(directory)))
    edits = Edits.of(repository.state, repository.place, spec.name, path)
    if not edits.folder.exists():  # nothing is made for what cannot be mounted
        checked(str(path))
        named_base(repository, spec)
    with edits.turn():
        mover, record = Mover(repository, edits, versions(edits)), edits.read()
        if record is not None:
            record = mover.settle(record)  # of which a version may come that the spec names
            _make_free(mover, record)
        checked(str(path))
        base, is_new = named_base(repository, spec), record is None
        if record is None or record.base.version != base.version:
            record = _begin(mover, record, base, path, others=others)
        elif record.others != others:
            record = _open_to(mover, record, others=others)
        try:
            mover.mount(record)
        except BaseException:
            if is_new and mover.shown(record) is None:  # a folder of changes in which there are none
                with suppress(HoldfastError, OSError):
                    mover.close()
            raise
    return edits


def named_base(repository: Repository, spec: AssetSpec) -> Identity:
    """The version that a spec names, which can be mounted so that it can be changed.

    Raises:
        NotFoundError, UsageError: there is none, or it is a file.
    """
    if spec.sub_path is not None:
        raise UsageError(f"{spec} is a part of a version", subject=str(spec), hint="only whole versions are writable")
    version = repository.resolve(spec)
    published = repository.resolver.published(spec.name, version)
    if not published.meta.is_directory:
        raise UsageError(f"{spec} is a file, not a folder", subject=str(spec), hint="fetch it, change it, push it")
    return Identity.of(spec.name, version, published)


def _make_free(mover: Mover, record: EditsRecord) -> None:
    """Refuse what is mounted; take away what nobody serves any more: every change of it is kept, and is mounted anew."""
    if not refuse_shown(mover, record):
        return
    _hold(record, END_THEM)
    try:
        overlay.unmount(record.path, record.kind)
    except BaseException:
        overlay.thaw(record.path, record.kind)
        raise


def _begin(mover: Mover, before: EditsRecord | None, base: Identity, path: Path, *, others: bool) -> EditsRecord:
    """The record of a version that nothing lies above yet."""
    if before is None:
        record = EditsRecord(mover.repository.place, str(path), overlay.choose(), base)
    else:
        refuse_other(before, _changes(mover.repository, mover.edits, before))
        record = replace(before, base=base, generation=before.generation + 1)
    return _open_to(mover, record, others=others)


def _open_to(mover: Mover, record: EditsRecord, *, others: bool) -> EditsRecord:
    """The record of a mount for other users, or for its own user alone, before it is mounted."""
    record = replace(record, others=others)
    layers = mover.edits.open_generation(record.generation)
    layers.upper.chmod(0o755 if others else 0o700)  # which is the directory's own, and is kept when it moves
    mover.edits.write(record)
    return record


def _changes(repository: Repository, edits: Edits, record: EditsRecord) -> Changes:
    """What lies above the version."""
    return above(repository, record.base, _upper(edits, record))


def above(repository: Repository, base: Identity, upper: UpperTree) -> Changes:
    """What an upper directory makes of a version; where it has nothing at all, the version's manifest is not read."""
    if upper.tables.keys() == {""} and not upper.tables[""].names:
        return Changes(Difference((), (), (), 0, 0))
    return changes_of(BaseVersion.read(repository, base), upper)


def _upper(edits: Edits, record: EditsRecord, *, flush: bool = False) -> UpperTree:
    return read_upper(str(edits.layers(record).upper), record.kind, flush=flush)


def _record(edits: Edits) -> EditsRecord:
    record = edits.read()
    if record is None:
        raise LocalError(f"there are no changes in {edits.folder} any more", subject=str(edits.folder))
    return record


def status_of(repository: Repository, edits: Edits) -> Changes:
    """What was changed in a writable mount since it was mounted, or pushed.

    Raises:
        UsageError: something in it cannot be kept in a version, by name.
    """
    with named(repository, edits):
        return _changes(repository, edits, _record(edits))


def diff_with(repository: Repository, spec: AssetSpec | str, edits: Edits) -> Difference:
    """What differs from any version to a writable mount as it is now; of the mount only what changed is read."""
    from holdfast.comparison import Side, compare

    record = _record(edits)
    spec = AssetSpec.parse(spec) if isinstance(spec, str) else spec
    with named(repository, edits):
        base = BaseVersion.read(repository, record.base)
        entries = repository.manifest(AssetSpec(record.base.name, record.base.version)).entries
        after = Side.of(edited_manifest(base, entries, _upper(edits, record)))
    return compare(repository.side(spec), after)


def push_edits(repository: Repository, edits: Edits, options: PushOptions, versions: Versions) -> Pushed:
    """Push what was changed as the next version, whose parent is the mounted one, and let the mount go on from it.

    Raises:
        UsageError: an option that a mount cannot be pushed with; or something in it that an asset cannot hold, by name.
        ConflictError: as for every push.
        SourceChangedError: a file changed while it was pushed; no version was published, and the changes are all there.
    """
    for name in ("exclude", "follow_links", "beside"):
        if options.get(name):
            raise UsageError(
                f"a mounted version is pushed as a whole, without {name.replace('_', ' ')}",
                subject=f"--{name.replace('_', '-')}",
                hint="give the asset's name after the directory to push it like any folder",
            )
    with named(repository, edits), edits.turn():
        mover = Mover(repository, edits, versions)
        record = mover.settle(_record(edits))
        options = {**options, "parent": options.get("parent") or _newest(record)}
        upper = _upper(edits, record)
        base = BaseVersion.read(repository, record.base)
        is_packed = base.identity.layout == "packs" and options.get("layout") in (None, "packs")
        if not changes_of(base, upper) and options.get("layout") in (None, base.identity.layout) and _is_plain(options):
            return _unchanged(base.identity)
        upper = _upper(edits, record, flush=True)
        return _Push(mover, record, upper, base, options).run(is_packed=is_packed)


def _newest(record: EditsRecord) -> str:
    """The version that the changes were last made into, which the mount may not have moved to yet."""
    return record.base.version if record.pending is None else record.pending.version


def _is_plain(options: PushOptions) -> bool:
    """Whether a push that finds nothing changed has nothing else to do."""
    return not any(options.get(name) for name in ("version", "major", "new_major", "only", "alias"))


def _unchanged(found: Identity) -> Pushed:
    return Pushed(
        name=found.name,
        version=found.version,
        spec=f"{found.name}:{found.version}",
        created=False,
        hash=found.hash or "",
        layout=found.layout,
        files=found.files or 0,
        bytes=found.size or 0,
    )


class _Push:
    """One push of the changes that were read in ``upper``."""

    def __init__(
        self, mover: Mover, record: EditsRecord, upper: UpperTree, base: BaseVersion, options: PushOptions
    ) -> None:
        self._mover = mover
        self._record = record
        self._upper = upper
        self._base = base
        self._options = options

    def run(self, *, is_packed: bool) -> Pushed:
        """Push, then move. What is not in packs, or is to become so, is read through the mount, as any folder is."""
        repository, record = self._mover.repository, self._record
        publisher = repository.publisher(claimed=self._note)
        if is_packed:
            with self._mover.reading(record) as lower:
                scan = edited_scan(repository.place, str(lower), self._upper, self._base)
                pushed = publisher.push_scanned(scan, record.base.name, self._options)
        else:
            pushed = publisher.push(self._folder(), record.base.name, self._options)
        if self._options.get("dry_run"):
            return pushed
        reach("edits.pushed")
        if not pushed.created:  # another push has made the same of it, and there was nothing to claim
            self._note(pushed.version, pushed.hash)
        self._mover.settle(self._record)
        return pushed

    def _note(self, version: str, content_hash: str) -> None:
        alias = self._options.get("alias")
        self._record = self._mover.note(self._record, self._upper, version, content_hash, alias)

    def _folder(self) -> Path:
        if self._mover.shown(self._record) is None:
            name, version = self._record.base.name, self._record.base.version
            raise UsageError(
                f"{self._record.path} is not mounted, and a version in layout {self._record.base.layout} is pushed from its mount",
                subject=self._record.directory,
                hint=f"asset mount {name}:{version} {self._record.path} --writable",
            )
        return self._record.path


def unmount_writable(repository: Repository, edits: Edits, versions: Versions, *, discard: bool = False) -> Changes:
    """Unmount it and remove its folder; returns what was thrown away.

    Raises:
        ConflictError: there are unpushed changes, which are named. All is as it was.
        BusyError: it is in use. With ``discard`` neither counts.
    """
    with named(repository, edits), edits.turn():
        mover = Mover(repository, edits, versions)
        record = _record(edits)
        try:
            record = mover.settle(record)
        except HoldfastError:
            if not discard:
                raise
        is_mounted = mover.shown(record) is not None
        if not is_mounted or discard:
            changes = _lost(repository, edits, record, discard=discard)
            while mover.shown(record) is not None and detach(record.directory):
                pass
        else:
            changes = _unmount(repository, edits, record)
        mover.close()
    return changes


def _unmount(repository: Repository, edits: Edits, record: EditsRecord) -> Changes:
    """Unmount what nobody uses and nothing is lost with."""
    _hold(record, LET_GO)
    try:
        changes = _lost(repository, edits, record, discard=False)
        overlay.unmount(record.path, record.kind)
    except BaseException:
        overlay.thaw(record.path, record.kind)
        raise
    if record.kind != "overlayfs":  # nobody could be kept from writing until now
        changes = _lost(repository, edits, record, discard=False)
    return changes


def _hold(record: EditsRecord, hint: str) -> None:
    """Keep everybody from writing in the directory, as far as we may.

    Raises:
        BusyError: it is in use, with what to do about it.
    """
    refuse_held(record, hint)
    if record.kind == "overlayfs" and not overlay.freeze(record.path, record.kind):
        raise BusyError(f"{record.path} is in use: {overlay.HELD}", subject=record.directory, hint=hint)


def _lost(repository: Repository, edits: Edits, record: EditsRecord, *, discard: bool) -> Changes:
    """The changes that would be lost, if they may be."""
    try:
        changes = _changes(repository, edits, record)
    except HoldfastError:
        if not discard:
            raise
        return names_alone(edits, record)
    if not discard:
        refuse_lost(record, changes)
    return changes


def names_alone(edits: Edits, record: EditsRecord) -> Changes:
    """The names of changes, where no more can be told of them."""
    upper = edits.layers(record).upper
    return Changes(Difference((), (), tuple(sorted(os.listdir(upper))), 0, 0))
