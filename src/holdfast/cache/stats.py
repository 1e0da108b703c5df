"""Walks a folder for its stats alone, and keeps them from one push to the next.

A file counts as unchanged where its mode, size, times and inode are those that were recorded, and it was not so young when they
were recorded that it could have been written again within one tick of the file system's clock ("racily clean", as git has it).
"""

from __future__ import annotations

import os
import stat
import time
from array import array
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from holdfast.cache.listing import Seen, identity, listing
from holdfast.cache.tree import Exclusion
from holdfast.cache.work import write_whole
from holdfast.errors import LocalError, SourceChangedError, UsageError
from holdfast.formats import layout
from holdfast.formats.stats import CHANGED, COLUMNS, DirTable, decode_stats, encode_stats, signed
from holdfast.model.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from holdfast.formats.stats import TreeStats

__all__ = ["StatCache", "Walked", "doubted", "walk"]

#: Times this young, in nanoseconds, may be written again unseen; where a file system keeps seconds only, those.
_TICK: Final = 50_000_000
_COARSE_TICK: Final = 2_000_000_000
_SECOND: Final = 1_000_000_000


class Walked:
    """A folder's tables, by directory, and when the walk began, in nanoseconds since the epoch.

    ``beside`` are directories that lie elsewhere and appear at the top of the folder under names that it has not.
    """

    def __init__(
        self, root: str, exclude: Sequence[str], *, follow_links: bool, beside: Mapping[str, str] | None = None
    ) -> None:
        self.root = root
        self.began = time.time_ns()
        self.tables: dict[str, DirTable] = {}
        self._exclude = Exclusion(exclude) if exclude else None
        self._follow = follow_links
        self._beside = dict(beside or {})
        self._seen: dict[str, Seen] = {}  # which directory it was, in its parent's listing

    def path(self, directory: str, name: str = "") -> str:
        """Where something lies on this machine."""
        inner = f"{directory}/{name}".strip("/")
        if self._beside:
            top, _, rest = inner.partition("/")
            if top in self._beside:
                return f"{self._beside[top]}/{rest}" if rest else self._beside[top]
        return f"{self.root}/{inner}" if inner else self.root

    def run(self) -> None:
        """Fill the tables."""
        above: tuple[Seen, ...] = ()
        pending = [("", above)]
        while pending:
            directory, above = pending.pop()
            table = self.table(directory)
            self.tables[directory] = table
            for name, mode in zip(table.names, table.rows[0::COLUMNS], strict=True):
                if stat.S_ISDIR(mode):
                    inner = f"{directory}/{name}" if directory else name
                    pending.append((inner, self._below(inner, above)))

    def _below(self, path: str, above: tuple[Seen, ...]) -> tuple[Seen, ...]:
        """The directories above what lies in this one: needed only where links are followed, and a loop could be."""
        if not self._follow:
            return above
        here = self._seen[path]
        if here in above or here == identity(os.stat(self.root)):
            raise UsageError(f"link loop: {path!r} leads back to a directory above it", subject=path)
        return (*above, here)

    def table(self, directory: str) -> DirTable:
        """One directory as it is now."""
        with listing(self.path(directory), self._seen.get(directory)) as found:
            listed = sorted(found, key=_name)
            if self._exclude is not None or not directory:
                listed = [item for item in listed if not self._left_out(directory, item)]
            if self._beside and not directory:
                return self._with_beside(listed)
            return self._rows(directory, listed)

    def _with_beside(self, listed: list[os.DirEntry[str]]) -> DirTable:
        """The top, with what appears there."""
        taken = sorted(self._beside.keys() & {item.name for item in listed})
        if taken:
            hint = "move it away, or leave it out"
            raise UsageError(f"{self.root} has {taken[0]!r} itself", subject=taken[0], hint=hint)
        return self._rows("", sorted([*listed, *(_Placed(*pair) for pair in self._beside.items())], key=_name))

    def _rows(self, directory: str, listed: Sequence[os.DirEntry[str] | _Placed]) -> DirTable:
        names: list[str] = []
        rows = array("q")
        follow = self._follow
        for item in listed:
            status = item.stat(follow_symlinks=follow)
            numbers = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            try:
                rows.extend(numbers)
            except OverflowError:
                del rows[len(names) * COLUMNS :]
                rows.extend(_fitting(self.path(directory, item.name), numbers))
            names.append(item.name)
            if stat.S_ISDIR(status.st_mode):
                self._seen[f"{directory}/{item.name}" if directory else item.name] = identity(status)
        _check_names(directory, names)
        return DirTable(names, rows)

    def _left_out(self, directory: str, item: os.DirEntry[str]) -> bool:
        path = f"{directory}/{item.name}" if directory else item.name
        if self._exclude is not None and self._exclude.fits(path, item.name):
            return True
        if directory:
            return False
        if layout.is_work_dir(path):
            return item.is_dir(follow_symlinks=False)
        return path == layout.MARKER and item.is_file() and item.stat().st_size == 0

    def check(self, directory: str, names: Sequence[str]) -> None:
        """Raise SourceChangedError, naming the first, unless these entries of a directory are as they were walked."""
        table = self.tables[directory]
        places = {name: at * COLUMNS for at, name in enumerate(table.names)}
        for name in names:
            path = self.path(directory, name)
            try:
                status = os.stat(path, follow_symlinks=self._follow)
            except OSError as error:
                raise _changed(path) from error
            at = places[name]
            now = (status.st_mode, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
            if tuple(table.rows[at : at + COLUMNS]) not in (now, tuple(map(signed, now))):
                raise _changed(path)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A directory that lies elsewhere, as an entry of the one in which it appears."""

    name: str
    path: str

    def stat(self, *, follow_symlinks: bool) -> os.stat_result:
        """As of an entry."""
        return os.stat(self.path, follow_symlinks=follow_symlinks)


def _fitting(path: str, numbers: tuple[int, int, int, int, int]) -> tuple[int, ...]:
    """Numbers of which one is beyond what a table holds, as one that it does: an inode is only ever compared."""
    if abs(numbers[2]) >= 1 << 63:
        raise UsageError(
            f"{path} has a time that no file can have", subject=path, hint=f"give it another one: touch {path}"
        )
    return tuple(map(signed, numbers))


def _changed(path: str) -> SourceChangedError:
    return SourceChangedError(
        f"{path} changed while it was pushed", subject=path, hint="push again once nothing writes to it"
    )


def _name(item: os.DirEntry[str] | _Placed) -> str:
    return item.name


def _check_names(directory: str, names: list[str]) -> None:
    try:
        "\0".join(names).encode()
    except UnicodeEncodeError:
        for name in names:
            data = os.fsencode(f"{directory}/{name}" if directory else name)
            if not _is_text(data):
                raise UsageError(f"file name is not UTF-8: {data!r}", subject=repr(data)) from None


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def walk(
    source: Path,
    *,
    exclude: Sequence[str] = (),
    follow_links: bool = False,
    beside: Mapping[str, Path] | None = None,
) -> Walked:
    """The tables of a directory.

    Raises:
        LocalError: it does not exist or cannot be read.
        UsageError: a name that is not UTF-8, a loop of links, or a name of ``beside`` that the directory has itself.
    """
    placed = {name: str(path) for name, path in (beside or {}).items()}
    walked = Walked(str(source), tuple(exclude), follow_links=follow_links, beside=placed)
    try:
        walked.run()
    except OSError as error:
        raise LocalError(f"{error.strerror}: {error.filename or source}", subject=str(source)) from error
    return walked


class StatCache:
    """The stats of one folder, pushed with these options to one asset of one store, in the state folder."""

    def __init__(self, state: Path, source: Path, *identity: str) -> None:
        token = digest_of("\0".join([os.path.realpath(source), *identity]).encode(errors="surrogateescape"))[:32]
        self._path = state / "stats" / token

    def read(self) -> TreeStats | None:
        """What was recorded, if it can be read."""
        try:
            return decode_stats(self._path.read_bytes())
        except OSError:
            return None

    def write(self, stats: TreeStats, began: int) -> None:
        """Record what was walked from ``began`` on; what was too young then will count as changed."""
        tables = {path: doubted(table, began) for path, table in stats.tables.items()}
        try:
            write_whole(self._path, encode_stats(replace(stats, tables=tables)))
        except OSError:
            self.forget()

    def forget(self) -> None:
        """Remove it."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError:
            return


def doubted(table: DirTable, began: int) -> DirTable:
    """A table that was walked from ``began`` on (nanoseconds since the epoch), in which what was too young then counts as changed."""
    limit = began - _COARSE_TICK
    mtimes, ctimes = table.rows[2::COLUMNS], table.rows[3::COLUMNS]
    if max(mtimes, default=0) < limit and max(ctimes, default=0) < limit:
        return table
    rows = array("q", table.rows)
    for index, (mtime, ctime) in enumerate(zip(mtimes, ctimes, strict=True)):
        newest = max(mtime, ctime)
        tick = _TICK if newest % _SECOND else _COARSE_TICK
        if newest >= began - tick:
            rows[index * COLUMNS + 4] = CHANGED
    return DirTable(table.names, rows)
