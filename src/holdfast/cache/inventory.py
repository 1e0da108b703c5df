"""What lies in an assets folder: fetched versions, parts of versions, and what killed processes left.

Cheap, because every fetch under a quota asks: sizes are read from the records that fetches write, and a copy is walked only
where none tells its size.
"""

from __future__ import annotations

import json
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.cache.owners import is_dead, is_visible
from holdfast.formats import layout
from holdfast.model.name import is_readable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CachedVersion", "leftovers", "marked", "parts", "recorded", "tree_bytes"]

_RECORD: Final = ".json"
_PIN: Final = ".pin"
#: Seconds after which what a dead process left is of no use to a fetch that goes on; and what one left that cannot be asked for.
_STALE: Final = 86_400.0
_STRANGE: Final = 7 * 86_400.0


@dataclass(frozen=True, slots=True)
class CachedVersion:
    """One local version, or a part of one. ``used`` in seconds since the epoch, as far as it is known.

    ``fetched``: there is our record of it, so that it can be fetched again.
    """

    name: str
    version: str
    place: str
    complete: bool
    pinned: bool
    bytes: int
    used: float
    fetched: bool = True
    part: bool = False

    @property
    def spec(self) -> str:
        """Name and version."""
        return f"{self.name}:{self.version}"

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.place)


def recorded(root: Path) -> Iterator[CachedVersion]:
    """The complete versions that have our record."""
    folder = f"{root}/{layout.OWN}/versions"
    for piece in _names(folder):
        name = layout.decode_name(piece)
        files = set(_names(f"{folder}/{piece}"))
        for file in sorted(files):
            version = file.removesuffix(_RECORD)
            path = f"{root}/{name}/{version}"
            if version == file or file.startswith(".") or not is_marked(path):
                continue
            record = _read(f"{folder}/{piece}/{file}")
            if record is not None:
                size = tree_bytes(path) if record[0] is None else record[0]
                yield CachedVersion(name, version, path, True, version + _PIN in files, size, record[1])


def parts(root: Path) -> Iterator[CachedVersion]:
    """The parts that were fetched alone."""
    folder = f"{root}/{layout.OWN}/parts"
    for piece in _names(folder):
        for file in sorted(_names(f"{folder}/{piece}")):
            version = file.rsplit("-", 2)[0]
            if file.startswith(".") or version == file:
                continue
            path = f"{folder}/{piece}/{file}"
            size, used = _read(str(layout.part_record(Path(path)))) or (None, _used(path))
            size = tree_bytes(path) if size is None else size
            yield CachedVersion(layout.decode_name(piece), version, path, True, False, size, used, part=True)


def marked(root: Path, known: set[str]) -> Iterator[CachedVersion]:
    """The complete versions of other programs: those that carry a marker and are not among the specs that are known."""
    for directory, names, files in os.walk(root):
        name = os.path.relpath(directory, root)
        found = {child for child in names if os.path.exists(f"{directory}/{child}/{layout.MARKER}")}
        names[:] = sorted(child for child in names if not child.startswith(".") and child not in found)
        if not is_readable(name):  # nobody can ask for it: not an asset's
            continue
        here = set(files)
        beside = (f[1 : -len(layout.MARKER)] for f in files if f.startswith(".") and f.endswith(layout.MARKER))
        for version in sorted(found | {stem for stem in beside if stem and stem in here}):
            if f"{name}:{version}" not in known:
                path = f"{directory}/{version}"
                size = tree_bytes(path)
                yield CachedVersion(name, version, path, True, False, size, _used(path), fetched=False)


def is_marked(path: str) -> bool:
    """Whether a copy and its marker are there."""
    if os.path.exists(f"{path}/{layout.MARKER}"):
        return True
    folder, _, version = path.rpartition("/")
    return os.path.exists(f"{folder}/.{version}{layout.MARKER}") and os.path.isfile(path)


def leftovers(root: Path, now: float | None = None) -> Iterator[Path]:
    """What is of no use any more: doomed copies, and work directories that nobody goes on with, of processes that are gone."""
    now = time.time() if now is None else now
    doomed = f"{root}/{layout.OWN}/doomed"
    yield from (Path(doomed, name) for name in _names(doomed) if _is_over(f"{doomed}/{name}", "", now))
    for directory, names, _ in os.walk(root):
        if directory == f"{root}/{layout.OWN}":
            names[:] = [name for name in names if name == "parts"]
            continue
        for name in names:
            pieces = layout.work_pieces(name)
            if pieces is not None and _is_over(f"{directory}/{name}", pieces[1], now):
                yield Path(directory, name)
        inner = directory.startswith(f"{root}/{layout.OWN}/parts/")
        names[:] = [n for n in names if not inner and (n == layout.OWN or _may_be_name(directory, n))]


def _may_be_name(directory: str, child: str) -> bool:
    """Whether a folder may be a piece of an asset's name: what lies in a version is nobody's leftover."""
    from holdfast.model.version import BUILT_IN

    if child.startswith(".") or any(scheme.is_full(child) for scheme in BUILT_IN.values()):
        return False
    return not os.path.exists(f"{directory}/{child}/{layout.MARKER}")


def _is_over(path: str, identity: str, now: float) -> bool:
    """Whether nobody wants it: ``identity`` names the content of a copy in the making, which the next fetch would go on with."""
    holder = path.removesuffix(".part").rpartition(".")[2]
    try:
        if is_dead(holder):
            resumable = identity not in ("", "removed") and not identity.startswith("closed-")
            return not resumable or now - _newest(path) > _STALE
        return not is_visible(holder) and now - _newest(path) > _STRANGE
    except OSError:
        return False


def _newest(path: str) -> float:
    """When anything in a tree was last written."""
    times = [os.lstat(path).st_mtime]
    for directory, names, files in os.walk(path):
        times += [os.lstat(f"{directory}/{name}").st_mtime for name in (*names, *files)]
    return max(times)


def tree_bytes(path: str) -> int:
    """The bytes of all files of a copy, as far as they are there."""
    if not os.path.isdir(path):
        return _size(path)
    return sum(_size(f"{directory}/{name}") for directory, _, files in os.walk(path) for name in files)


def _size(path: str) -> int:
    try:
        status = os.lstat(path)
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def _used(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _read(path: str) -> tuple[int | None, float] | None:
    """Bytes, where they are recorded, and when the record was last touched; None where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        used = os.fstat(descriptor).st_mtime
        value: Any = json.loads(os.read(descriptor, 65536))
        size = value.get("bytes")
    except (OSError, ValueError, AttributeError):
        return None
    finally:
        os.close(descriptor)
    return (size if isinstance(size, int) and size >= 0 else None), used


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
