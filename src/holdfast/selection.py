"""Which part of a version is wanted: everything, a sub-path, files by pattern. Pure: from a manifest to a manifest.

A sub-path leads through the version's own symlinks, and whatever a chosen symlink points to is chosen with it, so that a part
fetched alone answers as the whole copy would.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from holdfast.cache.tree import matches
from holdfast.errors import VersionNotFoundError, nearest
from holdfast.model.digest import digest_of
from holdfast.model.manifest import Entry, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Selection"]

#: So many symlinks in one path are a loop, as in Linux.
_HOPS: Final = 40


@dataclass(frozen=True, slots=True)
class Selection:
    """A sub-path, glob patterns, both or neither."""

    sub_path: str | None = None
    include: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether everything is wanted."""
        return self.sub_path is None and not self.include

    @property
    def token(self) -> str:
        """What names this selection in a path."""
        return digest_of("\0".join([self.sub_path or "", *self.include]).encode(errors="surrogateescape"))[:16]

    def of(self, manifest: Manifest) -> Manifest:
        """The entries that are wanted, paths unchanged.

        Raises:
            VersionNotFoundError: there are none; the hint names the nearest paths.
        """
        if manifest.single and self.sub_path:
            return manifest.below(self.sub_path)  # says that a file has none
        if self.whole or manifest.single:
            return manifest
        tree = _Tree(manifest)
        chosen, crossed = tree.at(self.sub_path) if self.sub_path else (manifest.entries, [])
        if self.include:
            chosen = Manifest.of(chosen).only(lambda path: matches(path, self.include)).entries
            if not chosen:
                raise VersionNotFoundError(f"no file matches {' or '.join(self.include)}", subject=self.include[0])
        return Manifest.of(tree.with_targets([*chosen, *crossed]))

    def at(self, manifest: Manifest) -> tuple[str, Sequence[Entry]]:
        """Where the sub-path leads through the version's symlinks, and the entries there and below; a dangling symlink is itself.

        Raises:
            VersionNotFoundError: nowhere; the hint names the nearest paths.
        """
        sub_path = self.sub_path or ""
        if manifest.single:
            manifest.below(sub_path)  # says that a file has none
        tree = _Tree(manifest)
        found, crossed = tree.at(sub_path)
        return (tree.real(sub_path), found) if found else (crossed[-1].path, crossed[-1:])


class _LoopError(Exception):
    pass


class _Tree:
    """A manifest by path."""

    def __init__(self, manifest: Manifest) -> None:
        self._entries = manifest.entries
        self._paths = [entry.path for entry in manifest.entries]
        self._by_path = {entry.path: entry for entry in manifest.entries}

    def at(self, sub_path: str) -> tuple[Sequence[Entry], list[Entry]]:
        """The entries at and below a path, and the symlinks that lead there."""
        try:
            real, crossed = self._follow(sub_path)
            if found := self._below(real):
                return found, crossed
            if crossed and self._last(sub_path) is not None:
                return [], crossed  # a symlink to what the version has not
        except _LoopError:
            raise VersionNotFoundError(f"the sub-path {sub_path!r} is a loop of symlinks", subject=sub_path) from None
        raise VersionNotFoundError(f"no sub-path {sub_path!r}", subject=sub_path, hint=nearest(sub_path, self._paths))

    def real(self, path: str) -> str:
        """Where a path leads; it is none that loops."""
        return self._follow(path)[0]

    def with_targets(self, chosen: Iterable[Entry]) -> Iterable[Entry]:
        """These entries and all that symlinks among them lead to, if it is there."""
        kept = {entry.path: entry for entry in chosen}
        links = [entry for entry in kept.values() if entry.kind == "link"]
        seen = set()
        while links:
            try:
                real, crossed = self._follow(links.pop().path)
            except _LoopError:
                continue
            below = () if real in seen else self._below(real)
            seen.add(real)
            new = [entry for entry in (*crossed, *below) if entry.path not in kept]
            kept |= {entry.path: entry for entry in new}
            links += [entry for entry in new if entry.kind == "link"]
        return kept.values()

    def _last(self, path: str) -> Entry | None:
        """The symlink that the last piece of the path is, if it is one."""
        above, _, name = path.rpartition("/")
        real = self._follow(above)[0]
        entry = self._by_path.get(f"{real}/{name}" if real else name)
        return entry if entry is not None and entry.kind == "link" else None

    def _below(self, path: str) -> Sequence[Entry]:
        if not path:
            return self._entries
        start, end = bisect_left(self._paths, path + "/"), bisect_left(self._paths, path + "0")  # '0' follows '/'
        own = self._by_path.get(path)
        return (*(() if own is None else (own,)), *self._entries[start:end])

    def _follow(self, path: str) -> tuple[str, list[Entry]]:
        """Where a path leads without symlinks, and those it went through; a target starts with any '..' that it has."""
        done: list[str] = []
        crossed: list[Entry] = []
        ahead = path.split("/")[::-1]
        while ahead:
            piece = ahead.pop()
            if piece == "..":
                del done[-1:]
            elif piece not in ("", "."):
                entry = self._by_path.get("/".join([*done, piece]))
                if entry is None or entry.kind != "link":
                    done.append(piece)
                    continue
                crossed.append(entry)
                if len(crossed) > _HOPS:
                    raise _LoopError
                ahead += (entry.target or "").split("/")[::-1]
        return "/".join(done), crossed
