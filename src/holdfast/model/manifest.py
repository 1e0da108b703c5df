"""Manifests: the sorted entries of one version, and the content hash over them.

A manifest is checked when it is made, so whoever holds one may lay it out below any directory: paths are relative, unique,
sorted, without ``..``; no entry lies below a file or a symlink; no symlink leads out. A manifest from a store is not trusted
until it has passed here (fault W14 of modelkit: ``../`` in ``contents`` wrote outside).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal
from unicodedata import normalize

from holdfast.errors import IntegrityError, VersionNotFoundError, nearest
from holdfast.model.digest import PREFIX, Hasher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = [
    "HEADER",
    "PERMISSIONS",
    "Entry",
    "Kind",
    "Manifest",
    "check_link",
    "check_path",
    "fold",
    "folded",
    "parents",
]

Kind = Literal["file", "dir", "link"]

#: The nine bits that are recorded; never setuid, setgid, sticky (design §2).
PERMISSIONS = 0o777
#: The first line of what the content hash covers.
HEADER = b"holdfast manifest 1\n"
#: One search a path, because they are checked by the hundred thousand: an empty piece, ``.``, ``..``, a NUL.
_UNSAFE: Final = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)|\0")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, directory or symlink.

    ``size`` in bytes (files; -1 where a foreign manifest does not tell), ``mode`` the nine permission bits or None, ``mtime``
    in nanoseconds since the epoch or None, ``digest`` the BLAKE3 hex of a file or None where it is not known yet.
    """

    path: str
    kind: Kind = "file"
    size: int = 0
    mode: int | None = None
    mtime: int | None = None
    digest: str | None = None
    target: str | None = None

    @property
    def executable(self) -> bool:
        """Whether the owner may execute it; the only bit that the content hash covers."""
        return bool((self.mode or 0) & 0o100)


@dataclass(frozen=True)
class Manifest:
    """The entries of a version, sorted by path as UTF-8 bytes.

    ``single`` marks a file asset: one entry of kind file, whose path is the file's own name and no part of the content hash.

    Raises:
        IntegrityError: a rule of the module docstring is broken; the entry is named.
    """

    entries: tuple[Entry, ...]
    single: bool = False

    def __post_init__(self) -> None:
        _check_entries(self.entries)
        if self.single and (len(self.entries) != 1 or self.entries[0].kind != "file"):
            raise IntegrityError("the manifest of a file asset must have exactly one file")

    @classmethod
    def of(cls, entries: Iterable[Entry], *, single: bool = False) -> Manifest:
        """A manifest of these entries in any order."""
        return cls(tuple(sorted(entries, key=_sort_key)), single)

    def with_digests(self, digests: Mapping[str, str]) -> Manifest:
        """The manifest with these files' digests, by path; itself where there are none."""
        if not digests:
            return self
        entries = (
            replace(entry, digest=digests[entry.path]) if entry.path in digests else entry for entry in self.entries
        )
        return Manifest(tuple(entries), self.single)

    @cached_property
    def files(self) -> tuple[Entry, ...]:
        """The files, sorted."""
        return tuple(entry for entry in self.entries if entry.kind == "file")

    @property
    def size(self) -> int:
        """The bytes of all files whose size is known."""
        return sum(entry.size for entry in self.files if entry.size > 0)

    @cached_property
    def content_hash(self) -> str | None:
        """``blake3:<hex>`` over the canonical form (FORMAT.md), or None where a file's digest is not known."""
        if any(entry.digest is None for entry in self.files):
            return None
        hasher = Hasher()
        hasher.update(HEADER)
        for record in self._canonical():
            hasher.update(record)
        return PREFIX + hasher.hexdigest()

    def _canonical(self) -> Iterator[bytes]:
        occupied = {_parent(entry.path) for entry in self.entries}
        for entry in self.entries:
            if entry.kind == "dir" and entry.path in occupied:
                continue  # implied by what lies in it, as in manifests that list files alone
            name = "" if self.single else entry.path
            if entry.kind == "file":
                mark, value = "x" if entry.executable else "f", entry.digest
            else:
                mark, value = ("d", "") if entry.kind == "dir" else ("l", entry.target)
            yield f"{mark}\0{name}\0{value}\0".encode()

    def below(self, sub_path: str) -> Manifest:
        """The entry at this path and everything below it, paths unchanged.

        Raises:
            VersionNotFoundError: nothing there; the hint names the nearest paths.
        """
        prefix = sub_path + "/"
        chosen = tuple(entry for entry in self.entries if entry.path == sub_path or entry.path.startswith(prefix))
        if self.single or not chosen:
            hint = "a file asset has no sub-paths" if self.single else nearest(sub_path, [e.path for e in self.entries])
            raise VersionNotFoundError(f"no sub-path {sub_path!r}", subject=sub_path, hint=hint)
        return Manifest(chosen)

    def only(self, wanted: Callable[[str], bool]) -> Manifest:
        """The files and symlinks whose path is wanted, with the directories above them."""
        kept = [entry for entry in self.entries if entry.kind != "dir" and wanted(entry.path)]
        above = {parent for entry in kept for parent in parents(entry.path)}
        dirs = [entry for entry in self.entries if entry.kind == "dir" and (entry.path in above or wanted(entry.path))]
        return Manifest.of([*kept, *dirs])


def folded(entries: Iterable[Entry]) -> tuple[str, str] | None:
    """The first two paths that are one to a file system that folds case or normalises names, or None."""
    listed = tuple(entries)
    paths = {entry.path for entry in listed}
    for directory in {_parent(path) for path in paths}:
        paths.update(parents(f"{directory}/"))
    if len(set(map(fold, paths))) == len(paths):
        return None  # nearly always; who it is that meets whom takes longer to find out
    seen: dict[str, str] = {}
    for entry in listed:
        for path in (entry.path, *parents(entry.path)):
            other = seen.get(folded_path := fold(path))
            if other is None:
                seen[folded_path] = path
            elif other != path:
                return other, path
            elif path != entry.path:
                break  # this directory and those above it have been seen
    return None


def fold(path: str) -> str:
    """What such a file system makes of a path."""
    return path if path.isascii() and path.islower() else normalize("NFC", path).casefold()


def check_path(path: str) -> str:
    """The path, if it is relative, in normal form and safe to join to a directory.

    Raises:
        IntegrityError: absolute, empty pieces, ``.``, ``..``, a NUL, or not UTF-8.
    """
    if _UNSAFE.search(path):
        raise IntegrityError(f"unsafe path {path!r} in a manifest", subject=path)
    try:
        path.encode()
    except UnicodeEncodeError:
        raise IntegrityError(f"path {path!r} is not UTF-8", subject=path) from None
    return path


def check_link(path: str, target: str) -> str:
    """The target, if a symlink at this path may point there.

    It must be relative, and ``..`` may stand only at its start and not climb above the root: the directories above an entry
    are real, so those climb as written, and what follows only descends. ``a/../..`` through another link could lead out.

    Raises:
        IntegrityError: it leads, or could lead, outside.
    """
    pieces = [piece for piece in target.split("/") if piece not in ("", ".")]
    climbs = 0
    while climbs < len(pieces) and pieces[climbs] == "..":
        climbs += 1
    if not target or target.startswith("/") or "\0" in target or ".." in pieces[climbs:] or climbs > path.count("/"):
        raise IntegrityError(f"symlink {path!r} leads outside the asset: {target!r}", subject=path)
    return target


def _check_entries(entries: tuple[Entry, ...]) -> None:
    previous = ""
    for entry in entries:
        path = check_path(entry.path)
        if path <= previous:  # characters are in the order of their bytes in UTF-8
            what = "appears twice" if path == previous else "is out of order"
            raise IntegrityError(f"path {path!r} {what} in a manifest", subject=path)
        previous = path
        if entry.kind == "link":
            check_link(path, entry.target or "")
        elif entry.target is not None:
            raise IntegrityError(f"{entry.kind} {path!r} has a link target", subject=path)
    _check_above(entries)


def _check_above(entries: tuple[Entry, ...]) -> None:
    """Nothing lies below a file or a symlink; each directory is looked at once."""
    leaves = {entry.path for entry in entries if entry.kind != "dir"}
    sound = {""}
    for entry in entries:
        directory = entry.path
        while (directory := _parent(directory)) not in sound:
            if directory in leaves:
                message = f"{entry.path!r} lies below {directory!r}, which is no directory"
                raise IntegrityError(message, subject=entry.path)
            sound.add(directory)


def _sort_key(entry: Entry) -> bytes:
    return entry.path.encode(errors="surrogateescape")


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def parents(path: str) -> Iterator[str]:
    """The directories above a path, nearest first."""
    while path := _parent(path):
        yield path
