"""What is between a mount's behaviour and the kernel: the operations of a read-only tree, without a word of FUSE.

A :class:`View` answers them (a version: :mod:`holdfast.mount.view`); the daemon asks. Nodes are numbers that a view makes from
its content alone, so that a worker that was started anew answers for numbers that its predecessor gave out. There are no handles:
a read names a node, which lets the kernel leave out OPEN and RELEASE altogether.

Every operation raises :class:`OSError` with an errno (ENOENT, ENOTDIR, EISDIR, EIO ...) and nothing else. They are called by
many threads at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

__all__ = ["ROOT", "Attributes", "Buffer", "Item", "View"]

#: The node of a mount's own directory.
ROOT: Final = 1

Buffer: TypeAlias = "bytes | bytearray | memoryview"


class Attributes(NamedTuple):
    """What ``stat`` shows of a node. ``mode`` has the file type's bits; ``mtime`` is in nanoseconds since the epoch."""

    node: int
    mode: int
    size: int
    mtime: int
    links: int


class Item(NamedTuple):
    """An entry of a directory. ``position`` is where a listing goes on behind it: greater than zero, rising."""

    name: bytes
    position: int
    attributes: Attributes


class View(Protocol):
    """A tree that can be looked at.

    It may have more, which is asked for by name: ``totals`` (bytes and files), ``bytes_fetched`` (a count), ``is_exhausted`` (no thread is left
    that could read), ``trouble`` (why reads fail at present; else nothing), ``listen(tell)``, which gives it somebody to tell what goes wrong, and ``watch(changed)``, which gives it somebody to tell the names in the root that show something else by now;
    ``moved(node)``, when something last came of a file that is brought whole (``time.monotonic``; 0: it is not), told without waiting;
    ``position(node)``, the position of a listing of its directory that begins with this node, and with it ``path(node)``, where in the tree a directory
    lies (None: not in the one that is shown now).
    """

    def lookup(self, parent: int, name: bytes) -> Attributes | None:
        """What lies in a directory under this name; None: nothing, and nothing ever will."""
        ...

    def attributes(self, node: int) -> Attributes:
        """What ``stat`` shows of a node."""
        ...

    def items(self, node: int, position: int) -> Iterator[Item]:
        """What lies in a directory, from behind this position on (0: from the start); without ``.`` and ``..``."""
        ...

    def target(self, node: int) -> bytes:
        """Where a symlink leads, as written."""
        ...

    def read(self, node: int, offset: int, size: int) -> Buffer:
        """Verified bytes of a file; fewer than ``size`` at its end only. Blocks until they are here or a deadline has passed (EIO)."""
        ...

    def whole(self, node: int) -> int | None:
        """A descriptor, open for reading, of a file in the cache that is whole, verified, and written by nobody since; else None.

        The caller closes it. Such a file the kernel may read itself.
        """
        ...

    def close(self) -> None:
        """Stop what reads ahead, and let go of the cache."""
        ...
