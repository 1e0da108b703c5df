"""The changes of one asset mounted at one directory, in a folder of the cache that nobody prunes: found again after a crash or a reboot.

    <state>/edits/<name>-<digest of store and directory>/
        edits.json        what is mounted where, and what a push is about to make of it    replaced by rename
        pushed            the changes that the last push read
        turn              locked while somebody works on it
        <generation>/     upper, work (the changes), lower (where the version is mounted)

The generation that the record names holds the changes; any other one is a leftover. Owns the folder and what is noted in it; what is
done with it is said in :mod:`holdfast.mount.editing`.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.disk import local_errors, sync_directory
from holdfast.errors import BusyError, LocalError
from holdfast.formats import layout
from holdfast.formats.stats import TreeStats, decode_stats, encode_stats
from holdfast.model.digest import digest_of
from holdfast.mount.mounted import Identity
from holdfast.mount.overlay import Layers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from holdfast.formats.stats import DirTable

__all__ = ["Edits", "EditsRecord", "Pending", "all_edits"]

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Pending:
    """A version that a push claimed for the changes as they are noted in ``pushed``: whole or not, its meta tells. ``alias`` was to name it."""

    version: str
    hash: str
    alias: str | None = None


@dataclass(frozen=True, slots=True)
class EditsRecord:
    """What is mounted: which version of which store, where, by which kind of overlay, for ``others`` or for its user alone, and which generation of changes lies above."""

    place: str
    directory: str
    kind: str
    base: Identity
    generation: int = 0
    pending: Pending | None = None
    others: bool = False

    @property
    def path(self) -> Path:
        """The directory that it is mounted at."""
        return Path(self.directory)


class Edits:
    """One such folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, state: Path, place: str, name: str, directory: Path) -> Edits:
        """That of an asset of the store at a place, mounted at a directory, whether it is there or not."""
        token = digest_of(f"{place}\0{directory}".encode(errors="surrogateescape"))[:16]
        return cls(state / "edits" / f"{layout.encode_name(name)}-{token}")

    @property
    def token(self) -> str:
        """What tells it from others, in few letters."""
        return self.folder.name.rpartition("-")[2]

    def layers(self, record: EditsRecord) -> Layers:
        """The folders that the record names."""
        return self.generation(record.generation)

    def generation(self, number: int) -> Layers:
        """The folders of a generation. Their label says which it is, in the kernel's table of mounts."""
        return Layers(self.folder / str(number), f"holdfast-edits:{self.token}.{number}")

    def read(self) -> EditsRecord | None:
        """The record; None where there is none.

        Raises:
            LocalError: it cannot be read. The changes beside it are untouched.
        """
        path = self.folder / "edits.json"
        try:
            return _record_of(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LocalError(
                f"{path} cannot be read: {error}",
                subject=str(path),
                hint=f"the changes lie in {self.folder}; move it away to begin anew",
            ) from error

    def write(self, record: EditsRecord) -> None:
        """Replace the record, durably."""
        value = {"format": _FORMAT, **asdict(record)}
        self._write("edits.json", json.dumps(value).encode())

    def changes_pushed(self) -> Mapping[str, DirTable] | None:
        """The changes that the last push read, None where they are not known: then all count as changed since."""
        try:
            stats = decode_stats((self.folder / "pushed").read_bytes())
        except OSError:
            return None
        return None if stats is None else stats.tables

    def note_pushed(self, changes: Mapping[str, DirTable]) -> None:
        """Note the changes that a push read, durably."""
        self._write("pushed", encode_stats(TreeStats("", "", "", "", "", 0, 0, dict(changes))))

    def _write(self, name: str, data: bytes) -> None:
        part = self.folder / f"{name}.part"
        with local_errors(self.folder):
            with open(part, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.folder / name)
            sync_directory(self.folder)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Work on it alone; the folder is made where it is not there.

        Raises:
            BusyError: another process does.
        """
        with local_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.folder / "turn", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_nlink == 0:
                    raise BlockingIOError  # it went with the folder of who had the turn just now
            except OSError:
                where = self._directory()
                hint = "wait until it is done"
                raise BusyError(f"another process works on the changes in {where}", subject=where, hint=hint) from None
            yield
        finally:
            os.close(descriptor)

    def _directory(self) -> str:
        """Where its users know it."""
        record = None
        with suppress(LocalError):
            record = self.read()
        return str(self.folder) if record is None else record.directory

    def open_generation(self, number: int) -> Layers:
        """The folders of a generation, made where they are not there; changes in them stay."""
        layers = self.generation(number)
        with local_errors(self.folder):
            for folder in (layers.lower, layers.work, layers.upper):
                folder.mkdir(parents=True, exist_ok=True)
        return layers

    def generations(self) -> list[Layers]:
        """The folders of every generation that is there."""
        try:
            return [self.generation(int(name)) for name in os.listdir(self.folder) if name.isdecimal()]
        except OSError:
            return []

    def remove_generation(self, layers: Layers) -> None:
        """Remove the folders of a generation that no record names; what cannot be removed stays, to be removed another time."""
        if not layers.lower.is_mount():
            shutil.rmtree(layers.folder, onerror=_once_allowed)

    def remove(self) -> None:
        """Remove all of it, the record first: without it, what is left is nobody's."""
        with suppress(OSError):
            (self.folder / "edits.json").unlink(missing_ok=True)
        for layers in self.generations():
            self.remove_generation(layers)
        shutil.rmtree(self.folder, ignore_errors=True)


def _once_allowed(_function: object, path: str, _error: object) -> None:
    """Once more, after giving ourselves the right to do so: the changes may have directories that may not be written."""
    with suppress(OSError):
        os.chmod(os.path.dirname(path), 0o700)
        if os.path.isdir(path) and not os.path.islink(path):
            os.chmod(path, 0o700)
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)


def all_edits(state: Path, directory: Path | None = None) -> list[tuple[Edits, EditsRecord]]:
    """Every folder of changes whose record can be read, or those of one directory."""
    found = []
    with suppress(OSError):
        for path in sorted((state / "edits").iterdir()):
            with suppress(LocalError):
                record = Edits(path).read()
                if record is not None and directory in (None, Path(record.directory)):
                    found.append((Edits(path), record))
    return found


def _record_of(value: dict[str, Any]) -> EditsRecord:
    if value.pop("format") != _FORMAT:
        raise ValueError("it was written by a later release")
    pending = value.pop("pending")
    record = EditsRecord(**(value | {"base": Identity(**value["base"])}))
    return record if pending is None else replace(record, pending=Pending(**pending))
