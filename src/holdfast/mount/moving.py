"""Lets a writable mount go on from the version that was pushed from it, at no moment of which anything in its directory is missing.

The order, each step of which is gone on with where a process was killed in it:

1. The push notes what it read, and the number that it claims (``edits.noted``). From here on the changes may be a version.
2. The version is whole: it is mounted beside (``edits.mounted``), and writers in the directory are held (``edits.held``). While a file is open
   for writing, by way of whatever mount, they cannot be: then the mount stays as it is, with all changes, and the next command tries again.
3. What was changed after the push read it is linked into new folders (``edits.left``), and the record names these (``edits.moved``).
4. The new overlay takes the place of the old one in the directory (``edits.replaced``), and the old folders go.

Until the record names the new folders, nothing in the old ones is touched; from then on nothing in them is needed.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from holdfast.cache.stats import doubted
from holdfast.disk import local_errors, sync_file_system
from holdfast.errors import BusyError, HoldfastError, VersionNotFoundError
from holdfast.failpoint import reach
from holdfast.mount import overlay
from holdfast.mount.edits import Pending
from holdfast.mount.layers import remaining, table_of
from holdfast.mount.mounted import Identity
from holdfast.mount.table import stacked_at
from holdfast.mount.upper import make_upper, read_upper

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from holdfast.catalog.base import Published
    from holdfast.mount.edits import Edits, EditsRecord
    from holdfast.mount.overlay import Layers
    from holdfast.mount.upper import UpperTree
    from holdfast.repository import Repository

__all__ = ["Mover", "Versions"]


class Versions(Protocol):
    """Who mounts versions, read-only."""

    def mount(self, name: str, version: str, directory: Path) -> None:
        """Mount a version at an empty directory."""
        ...

    def unmount(self, directory: Path) -> None:
        """Take it away there; what an overlay has of it stays until that goes."""
        ...

    def close(self) -> None:
        """Wait until nothing is served any more."""
        ...


class Mover:
    """One folder of changes, whose turn the caller has, and the repository that its version is of."""

    def __init__(self, repository: Repository, edits: Edits, versions: Versions) -> None:
        self.repository = repository
        self.edits = edits
        self.versions = versions

    # what is noted while a push goes on

    def note(
        self, record: EditsRecord, upper: UpperTree, version: str, content_hash: str, alias: str | None
    ) -> EditsRecord:
        """A push claims this number for the changes as they were read: note both, before there can be such a version."""
        self.edits.note_pushed({path: doubted(table, upper.began) for path, table in upper.tables.items()})
        record = replace(record, pending=Pending(version, content_hash, alias))
        self.edits.write(record)
        reach("edits.noted")
        return record

    # going on

    def settle(self, record: EditsRecord) -> EditsRecord:
        """Go on with what a killed process, or one that met an open file, left undone; then it is as the record says.

        Raises:
            UnreachableError: whether a push had ended cannot be asked.
        """
        pending = record.pending
        if pending is not None:
            published = self.published(record, pending)
            if published is None:
                record = replace(record, pending=None)
                self.edits.write(record)
            else:
                self._list(record, pending)
                record = self.move(record, Identity.of(record.base.name, pending.version, published))
        self._put_in_place(record)
        return record

    def published(self, record: EditsRecord, pending: Pending) -> Published | None:
        """The version that was claimed, if it is whole and has that content."""
        try:
            found = self.repository.catalog.published(record.base.name, pending.version)
        except VersionNotFoundError:
            return None
        return found if found.meta.hash == pending.hash else None

    def _list(self, record: EditsRecord, pending: Pending) -> None:
        """See that the version is listed and has its alias: the push may have been killed just before."""
        catalog, name = self.repository.catalog, record.base.name
        if pending.version not in catalog.listed(name).versions:
            self.repository.publisher().list_whole(name, pending.version)
        if pending.alias and catalog.record(name).aliases.get(pending.alias) != pending.version:
            catalog.set_aliases(name, {pending.alias: pending.version})

    def _put_in_place(self, record: EditsRecord) -> None:
        """Let the directory show the changes that the record names, where it shows those of before; those go."""
        directory, layers = record.path, self.edits.layers(record)
        shown = self.shown(record)
        if shown == layers.label:
            overlay.thaw(directory, record.kind)
        elif shown is not None:
            self._mount_lower(record.base, layers)
            overlay.replace(directory, layers)
            reach("edits.replaced")
        for found in self.edits.generations():
            if found.folder != layers.folder:
                self._drop(found)
        reach("edits.cleared")

    def shown(self, record: EditsRecord) -> str | None:
        """The label of what the directory shows, if that are changes of this folder."""
        mounted = stacked_at(record.directory)
        if not mounted or mounted[-1].type != overlay.KINDS[record.kind]:
            return None
        if record.kind != "overlayfs":  # which tells no label, and is never mounted but with the folders of the record
            return self.edits.layers(record).label
        return mounted[-1].source if mounted[-1].source.startswith(f"holdfast-edits:{self.edits.token}.") else None

    def is_dead(self, record: EditsRecord) -> bool:
        """Whether the version below what the directory shows is served by nobody any more."""
        try:
            os.statvfs(self.edits.layers(record).lower)  # a stat may be answered out of the kernel's cache
        except OSError as error:
            return error.errno == errno.ENOTCONN
        return False

    # moving

    def move(self, record: EditsRecord, base: Identity) -> EditsRecord:
        """Go on from a version that was made of the changes as they were noted; what changed since lies above it.

        Where that cannot be now, for somebody writes, the record is as it was, and a warning says so.
        """
        directory = record.path
        is_mounted = self.shown(record) is not None
        layers = self._new_layers(record.generation + 1)
        if is_mounted and record.kind == "overlayfs":
            self._mount_lower(base, layers)
            reach("edits.mounted")
        if is_mounted and not self._hold(record):
            self._drop(layers)
            why = overlay.HELD if record.kind == "overlayfs" else "somebody is in it"
            self.repository.engine.progress.warn(
                f"{directory} stays at {record.base.name}:{record.base.version} while {why};"
                f" asset push {directory} moves it to {base.version} afterwards"
            )
            return record
        reach("edits.held")
        try:
            self._leave(record, layers)
            record = replace(record, base=base, generation=record.generation + 1, pending=None)
            self.edits.write(record)
        except BaseException:
            with suppress(HoldfastError, OSError):
                overlay.thaw(directory, record.kind)
            raise
        reach("edits.moved")
        if is_mounted and record.kind != "overlayfs":
            self.mount(record)
        return record

    def _hold(self, record: EditsRecord) -> bool:
        """Keep everybody from writing in the directory; where only root could do that, nobody may be in it, and it is unmounted."""
        directory = record.path
        if record.kind == "overlayfs":
            return overlay.freeze(directory, record.kind)
        try:
            overlay.unmount(directory, record.kind)
        except BusyError:
            return False
        return True

    def _leave(self, record: EditsRecord, layers: Layers) -> None:
        """Fill new folders with what was changed since the push read the changes."""
        old = self.edits.layers(record).upper
        now = read_upper(str(old), record.kind).tables
        then = self.edits.changes_pushed() or {"": table_of({})}
        with local_errors(layers.folder):
            make_upper(remaining(then, now), str(old), str(layers.upper), record.kind)
            sync_file_system(layers.folder)
        reach("edits.left")

    def _new_layers(self, number: int) -> Layers:
        """Folders for the next changes, without ``upper``, which is made when it is known what is in it."""
        layers = self.edits.generation(number)
        self._drop(layers)
        with local_errors(layers.folder):
            for folder in (layers.lower, layers.work):
                folder.mkdir(parents=True)
        return layers

    def mount(self, record: EditsRecord) -> None:
        """Mount the version and the changes above it at the directory, where nothing of it is mounted."""
        layers = self.edits.open_generation(record.generation)
        self._mount_lower(record.base, layers)
        try:
            overlay.mount_over(record.path, layers, record.kind, others=record.others)
        except BaseException:
            with suppress(HoldfastError, OSError):
                self.versions.unmount(layers.lower)
            raise

    def _mount_lower(self, base: Identity, layers: Layers) -> None:
        if stacked_at(str(layers.lower)):
            with suppress(OSError):
                os.statvfs(layers.lower)
                return
            self.versions.unmount(layers.lower)  # a mount that nobody serves any more
        self.versions.mount(base.name, base.version, layers.lower)

    @contextmanager
    def reading(self, record: EditsRecord) -> Iterator[Path]:
        """Where the version lies while something of it must be read, mounted or not."""
        layers = self.edits.open_generation(record.generation)
        is_shown = self.shown(record) is not None
        if not is_shown:
            self._mount_lower(record.base, layers)
        try:
            yield layers.lower
        finally:
            if not is_shown:
                self.versions.unmount(layers.lower)

    def _drop(self, layers: Layers) -> None:
        """Remove folders that no record names."""
        if stacked_at(str(layers.lower)):
            self.versions.unmount(layers.lower)
        self.edits.remove_generation(layers)

    def close(self) -> None:
        """Remove everything, where nothing of it is mounted at the directory any more."""
        for layers in self.edits.generations():
            if stacked_at(str(layers.lower)):
                self.versions.unmount(layers.lower)
        self.versions.close()
        self.edits.remove()
