"""Views for tests: a plain folder, and one made of nothing. Node numbers come from the content alone, as a version's do."""

from __future__ import annotations

import errno
import gc
import os
import stat
import time
from bisect import bisect_right
from pathlib import Path

from holdfast.cache.ranges import Ranges
from holdfast.mount.base import ROOT, Attributes, Item
from holdfast.mount.serving import Server
from holdfast.mount.view import open_version
from holdfast.store.memory import MemoryStore
from tests.fakes import repository_on


class FolderView:
    """A plain folder, walked once in order."""

    def __init__(
        self,
        folder: Path,
        *,
        slow: str = "",
        seconds: float = 0.0,
        whole: bool = True,
        hang: str = "",
        totals: tuple[int, int] = (0, 0),
    ) -> None:
        self.totals = totals
        self.folder = os.fsencode(folder)
        self.slow, self.hang = os.fsencode(slow), os.fsencode(hang)
        self.seconds = seconds
        self.is_whole = whole
        self.paths: list[bytes] = []
        self.found: dict[int, Attributes] = {}
        self.below: dict[int, list[Item]] = {}
        self.names: dict[tuple[int, bytes], Attributes] = {}
        self._walk(self.folder)

    def _walk(self, path: bytes) -> Attributes:
        self.paths.append(path)
        node = len(self.paths)
        status = os.lstat(path)
        mode = status.st_mode & (0o7777 | stat.S_IFMT(status.st_mode))
        found = Attributes(node, mode, status.st_size, status.st_mtime_ns, status.st_nlink)
        self.found[node] = found
        if stat.S_ISDIR(mode):
            items = self.below[node] = []
            for number, name in enumerate(sorted(os.listdir(path)), start=1):
                child = self._walk(os.path.join(path, name))
                items.append(Item(name, number * 3, child))
                self.names[node, name] = child
        return found

    def _of(self, node: int) -> bytes:
        if not 1 <= node <= len(self.paths):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return self.paths[node - 1]

    def lookup(self, parent: int, name: bytes) -> Attributes | None:
        if self.hang and name == self.hang + b"-name":
            time.sleep(3600)
        return self.names.get((parent, name))

    def attributes(self, node: int) -> Attributes:
        self._of(node)
        return self.found[node]

    def items(self, node: int, position: int):
        found = self.below[node]
        return iter(found[bisect_right(found, position, key=lambda item: item.position) :])

    def target(self, node: int) -> bytes:
        return os.readlink(self._of(node))

    def read(self, node: int, offset: int, size: int):
        path = self._of(node)
        if self.slow and path.endswith(self.slow):
            time.sleep(self.seconds)
        if self.hang and path.endswith(self.hang):
            time.sleep(3600)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            return os.pread(descriptor, size, offset)
        finally:
            os.close(descriptor)

    def whole(self, node: int) -> int | None:
        return os.open(self._of(node), os.O_RDONLY) if self.is_whole else None

    def close(self) -> None:
        pass


def open_folder(arguments: dict) -> FolderView:
    """Below ``folder``; reads of a path that ends in ``slow`` take ``seconds``, of one that ends in ``hang`` (and the lookup of ``hang``-name) for ever."""
    return FolderView(**arguments)


class _Trickling(MemoryStore):
    def get_range(self, key, start, length, *, version=None):
        time.sleep(0.7)
        return super().get_range(key, start, length, version=version)


def open_trickling(arguments: dict):
    """A version of one large file, in layout ``file``, of a store that gives it a part at a time: its bytes come for some seconds."""
    folder = Path(arguments["folder"])
    store = _Trickling("trickling")
    repository_on(store, folder / "one").push(folder / "source" / "large", "n/v")
    ranges = Ranges.open(folder / "cache", None)
    return open_version(repository_on(store, folder / "two"), "n/v", "0.0", ranges)


class HostileView:
    """A root with entries that no directory can hold."""

    def __init__(self, names: list[str], positions: list[int] | None = None) -> None:
        self.names = [os.fsencode(name) for name in names]
        self.positions = positions or list(range(1, len(names) + 1))

    def lookup(self, parent: int, name: bytes) -> Attributes | None:
        return Attributes(2, stat.S_IFREG | 0o644, 10, 0, 1) if name in self.names else None

    def attributes(self, node: int) -> Attributes:
        if node == ROOT:
            return Attributes(ROOT, stat.S_IFDIR | 0o755, 0, 0, 2)
        return Attributes(2, stat.S_IFREG | 0o644, 10, 0, 1)

    def items(self, node: int, position: int):
        for name, place in zip(self.names, self.positions, strict=True):
            if place > position:
                yield Item(name, place, self.attributes(2))

    def target(self, node: int) -> bytes:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def read(self, node: int, offset: int, size: int):
        return b"x" * (size + 100)  # more than anybody asked for

    def whole(self, node: int) -> int | None:
        return None

    def close(self) -> None:
        pass


def open_hostile(arguments: dict) -> HostileView:
    return HostileView(**arguments)


def open_nothing(arguments: dict):
    """Fails as a version does that is not there."""
    from holdfast.errors import VersionNotFoundError

    raise VersionNotFoundError("there is no version 9 of a/b", subject="a/b:9", hint="asset versions a/b")


def open_late(arguments: dict):
    """Opens after so many ``seconds``, once there is the ``mark``."""
    Path(arguments["mark"]).touch()
    time.sleep(arguments["seconds"])
    return FolderView(Path(arguments["folder"]))


def open_dying(arguments: dict):
    """Ends the process at once, from the second time on."""
    mark = Path(arguments["mark"])
    if mark.exists():
        os._exit(9)
    mark.touch()
    return FolderView(Path(arguments["folder"]))


def open_hanging(arguments: dict):
    """Never opens, from the second time on."""
    mark = Path(arguments["mark"])
    if mark.exists():
        time.sleep(3600)
    mark.touch()
    return FolderView(Path(arguments["folder"]))


def open_second_late(arguments: dict):
    """Takes three seconds the second time; ``mark`` grows by a byte each time."""
    with open(arguments["mark"], "ab") as mark:
        mark.write(b".")
        mark.flush()
        if mark.tell() == 2:
            time.sleep(3.0)
    return FolderView(Path(arguments["folder"]))


class _Poisoned(FolderView):
    def read(self, node: int, offset: int, size: int):
        if self._of(node).endswith(b"poison"):
            os._exit(7)
        return super().read(node, offset, size)


def open_poisoned(arguments: dict):
    """Ends the process whenever a path that ends in ``poison`` is read."""
    return _Poisoned(**arguments)


def open_hanging_once(arguments: dict) -> FolderView:
    """Reads of what ends in ``hang`` hang for ever in the first process that opens it, and in no later one."""
    mark = Path(arguments.pop("mark"))
    if mark.exists():
        arguments.pop("hang")
    mark.touch()
    return FolderView(**arguments)


class _Wedged(FolderView):
    def __init__(self, mark: Path, folder: Path) -> None:
        super().__init__(folder)
        self._mark = mark

    def read(self, node: int, offset: int, size: int):
        if self._of(node).endswith(b"wedge") and not self._mark.exists():
            (server,) = (each for each in gc.get_objects() if isinstance(each, Server))
            server._lock.acquire()
            self._mark.touch()
            time.sleep(3600)
        return super().read(node, offset, size)


def open_wedged(arguments: dict) -> FolderView:
    """Once what ends in ``wedge`` is read, no thread of the first process answers anything any more, and it lives on."""
    return _Wedged(Path(arguments["mark"]), Path(arguments["folder"]))
