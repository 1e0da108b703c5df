"""Folders that hypothesis makes, walks of a view beside them, and stores that record or fail what is read from them."""

from __future__ import annotations

import os
import stat
import threading
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from holdfast.mount.base import ROOT
from holdfast.store.base import Object
from holdfast.store.memory import MemoryStore

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from holdfast.mount.base import Attributes, View

NAMES = st.sampled_from(["a", "a-b", "a0", "b", "c.txt", "é", ".h", "z" * 60])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
SIZES = st.sampled_from([0, 1, 255, 256, 257, 5000, 70_000, 300_000, 900_000])
TREES = st.dictionaries(
    PATHS,
    st.tuples(st.sampled_from("fffdl"), SIZES, st.sampled_from([0o644, 0o755, 0o600, 0o400]), st.booleans()),
    max_size=12,
)


def write_tree(folder: Path, tree: dict[str, tuple[str, int, int, bool]], dice: random.Random) -> None:
    """The folder; what lies below a file or link is left out."""
    folder.mkdir()
    for path, (kind, size, mode, is_text) in sorted(tree.items()):
        target = folder / path
        above = [target, *(p for p in target.parents if p.is_relative_to(folder) and p != folder)]
        if os.path.lexists(target) or any(p.is_symlink() or p.is_file() for p in above):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind == "d":
            target.mkdir()
        elif kind == "l":
            target.symlink_to(dice.choice(["a", "b/c", "nowhere", "."]))
        else:
            target.write_bytes((b"%d, " % dice.randrange(9)) * (size // 3 + 1) if is_text else dice.randbytes(size))
            os.truncate(target, size)
            target.chmod(mode)
            os.utime(target, ns=(7, dice.randrange(1 << 60)))


def walk(view: View, node: int = ROOT, path: str = "") -> Iterator[tuple[str, Attributes]]:
    """Every path of a view but the root."""
    for item in view.items(node, 0):
        below = f"{path}/{item.name.decode()}" if path else item.name.decode()
        yield below, item.attributes
        if stat.S_ISDIR(item.attributes.mode):
            yield from walk(view, item.attributes.node, below)


def read_whole(view: View, shown: Attributes, step: int = 131_072) -> bytes:
    """All bytes of a file, read as a kernel does."""
    pieces = []
    at = 0
    while piece := bytes(view.read(shown.node, at, step)):
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces)


def find(view: View, path: str) -> Attributes:
    """What a path shows, by lookups."""
    shown = view.attributes(ROOT)
    for piece in path.split("/"):
        found = view.lookup(shown.node, piece.encode())
        assert found is not None, path
        shown = found
    return shown


def expect_same(view: View, folder: Path, dice: random.Random, *, with_times: bool = True) -> None:
    """The view shows what the folder holds: names, kinds, modes, times, bytes, bytes at random places."""
    found = dict(walk(view))
    paths = [os.path.join(base, name) for base, dirs, files in os.walk(folder) for name in (*dirs, *files)]
    assert sorted(found) == sorted(os.path.relpath(path, folder) for path in paths)
    for path, shown in found.items():
        real = folder / path
        status = real.lstat()
        assert stat.S_IFMT(shown.mode) == stat.S_IFMT(status.st_mode), path
        assert view.attributes(shown.node) == shown
        if stat.S_ISLNK(status.st_mode):
            assert view.target(shown.node) == os.readlink(os.fsencode(real))
            assert shown.size == status.st_size
        elif stat.S_ISREG(status.st_mode):
            assert (shown.size, stat.S_IMODE(shown.mode)) == (status.st_size, stat.S_IMODE(status.st_mode)), path
            assert not with_times or shown.mtime == status.st_mtime_ns
            data = real.read_bytes()
            assert read_whole(view, shown, dice.choice([4096, 131_072, 1 << 20])) == data
            for _ in range(4):
                at, size = dice.randrange(len(data) + 2), dice.choice([1, 4096, 200_000])
                assert bytes(view.read(shown.node, at, size)) == data[at : at + size]


def is_data(key: str) -> bool:
    """Whether a key is of files' bytes, in a pack or by itself."""
    return "/packs/" in key or key.startswith("n/v/0.0/")


class Recording(MemoryStore):
    """A store in memory that remembers what was read of packs, and can spoil or stop what is read of files."""

    def __init__(self, name: str = "recording") -> None:
        super().__init__(name)
        self.reads: list[tuple[str, int, int]] = []
        self.spoil: Callable[[bytes], bytes] | None = None
        self.wait: Callable[[str], None] | None = None
        self._lock = threading.Lock()

    def get_range(self, key, start, length, *, version=None):
        """As a store; ``spoil`` changes what comes, ``wait`` may take its time or raise."""
        with self._lock:
            self.reads.append((key, start, length))
        if self.wait is not None:
            self.wait(key)
        return self._spoiled(super().get_range(key, start, length, version=version))

    def get(self, key):
        """Likewise."""
        if self.wait is not None:
            self.wait(key)
        return self._spoiled(super().get(key))

    def _spoiled(self, found):
        if self.spoil is None or not is_data(found.info.key):
            return found
        return Object(self.spoil(bytes(memoryview(found.data))), found.info)

    @property
    def bytes_of_packs(self) -> int:
        """Bytes that were asked for of packs."""
        return sum(length for key, _, length in self.reads if "/packs/" in key)
