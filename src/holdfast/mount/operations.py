"""Which reply a request of the kernel gets, out of a :class:`~holdfast.mount.base.View`: no device, no threads.

Everything that writes is refused with EROFS. What the view cannot say at all (extended attributes, holes, birth times) is answered
with ENOSYS, after which the kernel does not ask again. A view is not trusted: names that no directory can hold, positions that
do not rise and bytes beyond what was asked for never reach the kernel.

Example::

    operations = Operations(view, Owner(0, 0), no_open)
    reply = operations.answer(request)      # parts to write in one go; None: the kernel waits for none
"""

from __future__ import annotations

import errno
import os
from stat import S_IFDIR
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeAlias

from holdfast.mount import wire
from holdfast.mount.base import ROOT
from holdfast.mount.wire import Opcode, Owner

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.mount.base import Buffer, View

__all__ = ["KEEP_CACHE", "PASSTHROUGH", "Opened", "Opening", "Operations", "Reply", "Request", "no_open", "plain_open"]

Reply: TypeAlias = "tuple[Buffer, ...] | None"
Opened: TypeAlias = "tuple[int, int, int]"

#: FOPEN flags: what was read stays when a file is opened again; the kernel reads the file of the cache itself.
KEEP_CACHE: Final = 1 << 1
PASSTHROUGH: Final = 1 << 7

_NAME_MAX: Final = 255
#: Positions of ``.`` and ``..``; those of a view come behind them.
_DOTS: Final = 2
_NO_NAMES: Final = (b".", b"..")
_SLASH: Final = ord("/")
_LAST_POSITION: Final = 2**63 - 1 - _DOTS

_WRITING: Final = (
    Opcode.SETATTR,
    Opcode.SYMLINK,
    Opcode.MKNOD,
    Opcode.MKDIR,
    Opcode.UNLINK,
    Opcode.RMDIR,
    Opcode.RENAME,
    Opcode.RENAME2,
    Opcode.LINK,
    Opcode.WRITE,
    Opcode.SETXATTR,
    Opcode.REMOVEXATTR,
    Opcode.CREATE,
    Opcode.FALLOCATE,
    Opcode.COPY_FILE_RANGE,
    Opcode.COPY_FILE_RANGE_64,
    Opcode.TMPFILE,
)
#: What needs no view: the errno of what is refused, 0 for what there is nothing to do about. All others are ENOSYS.
_FIXED: Final[dict[int, int]] = {
    **dict.fromkeys(_WRITING, errno.EROFS),
    **dict.fromkeys((Opcode.FSYNC, Opcode.FSYNCDIR, Opcode.SYNCFS, Opcode.RELEASEDIR, Opcode.DESTROY), 0),
    Opcode.IOCTL: errno.ENOTTY,
}
_SILENT: Final = (Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT, Opcode.NOTIFY_REPLY)


class Opening(Protocol):
    """How a mount opens files."""

    def open(self, node: int) -> Opened:
        """A handle, FOPEN flags, and a backing id (0: none). Raises OSError; with ENOSYS the kernel opens without asking from then on."""
        ...

    def release(self, handle: int) -> None:
        """A handle is not used any more."""
        ...


class _NoOpen:
    """Opens nothing: reads name nodes, so the kernel may leave out OPEN and RELEASE."""

    def open(self, node: int) -> Opened:  # noqa: ARG002 - the protocol's
        """Raise ENOSYS, once for the whole mount."""
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def release(self, handle: int) -> None:
        """Do nothing."""


class _PlainOpen:
    """Opens without a handle, for a kernel that insists on asking."""

    def open(self, node: int) -> Opened:  # noqa: ARG002 - the protocol's
        """Any file, for reads through the daemon."""
        return 0, KEEP_CACHE, 0

    def release(self, handle: int) -> None:
        """Do nothing."""


no_open: Final[Opening] = _NoOpen()
plain_open: Final[Opening] = _PlainOpen()


class Request(NamedTuple):
    """A request whose header was read; ``length`` bytes of ``data`` are its own."""

    opcode: int
    unique: int
    node: int
    data: Buffer
    length: int


class Operations:
    """Answers requests; called by many threads at once."""

    def __init__(
        self,
        view: View,
        owner: Owner,
        opening: Opening = no_open,
        *,
        size: int = 0,
        files: int = 0,
        hit: Callable[[int, int], None] | None = None,
    ) -> None:
        """``size`` (bytes) and ``files`` are what ``df`` shows of the mount; ``hit`` is told the directory of each name that is looked up and
        found, and where a listing begins with it, of a view that has ``position``.
        """
        self._view = view
        self._owner = owner
        self._opening = opening
        self._totals = size, files
        self._hit = hit
        self._position: Callable[[int], int] = getattr(view, "position", lambda _: 0)
        self._moved: Callable[[int], float] = getattr(view, "moved", lambda _: 0.0)
        self._answers: dict[int, Callable[[Request], Reply]] = {
            Opcode.LOOKUP: self._lookup,
            Opcode.GETATTR: self._attributes,
            Opcode.READLINK: self._target,
            Opcode.OPEN: self._open,
            Opcode.READ: self._read,
            Opcode.RELEASE: self._release,
            Opcode.READDIR: self._list,
            Opcode.READDIRPLUS: self._list,
            Opcode.STATFS: self._file_system,
        }

    def answer(self, request: Request) -> Reply:
        """The reply to a request: parts to write in one go, None where the kernel waits for none.

        Raises:
            OSError: what the view refuses; to be answered with its errno.
        """
        answer = self._answers.get(request.opcode)
        if answer is not None:
            return answer(request)
        if request.opcode in _SILENT:
            return None
        return (wire.error_reply(request.unique, _FIXED.get(request.opcode, errno.ENOSYS)),)

    def moved(self, node: int) -> float:
        """When something last came of a file that is brought whole, by the clock that only rises; 0: it is not. Never waits."""
        return self._moved(node)

    def _lookup(self, request: Request) -> Reply:
        _, unique, node, data, length = request
        name = wire.name_of(data, length)
        if len(name) > _NAME_MAX:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        found = self._view.lookup(node, name)
        if found is None:
            return (wire.negative_reply(unique),)
        if self._hit is not None:
            self._hit(node, self._position(found.node) + _DOTS)
        return (wire.entry_reply(unique, found, self._owner),)

    def _attributes(self, request: Request) -> Reply:
        return (wire.attributes_reply(request.unique, self._view.attributes(request.node), self._owner),)

    def _target(self, request: Request) -> Reply:
        return (wire.data_reply(request.unique, self._view.target(request.node)),)

    def _open(self, request: Request) -> Reply:
        if wire.read_open(request.data) & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        handle, flags, backing = self._opening.open(request.node)
        return (wire.open_reply(request.unique, handle, flags, backing),)

    def _release(self, request: Request) -> Reply:
        self._opening.release(wire.read_release(request.data))
        return (wire.error_reply(request.unique, 0),)

    def _read(self, request: Request) -> Reply:
        _, offset, size = wire.read_read(request.data)
        found = self._view.read(request.node, offset, size)
        if len(found) > size:
            found = memoryview(found)[:size]
        return wire.data_header(request.unique, len(found)), found

    def _list(self, request: Request) -> Reply:
        opcode, unique, node, data, _ = request
        _, position, size = wire.read_read(data)
        listing = wire.Listing(size, self._owner, plus=opcode == Opcode.READDIRPLUS)
        if position < 1:
            listing.add_plain(b".", 1, node, S_IFDIR)
        if position < _DOTS:  # the kernel knows which directory is above, and asks only for a number
            listing.add_plain(b"..", _DOTS, ROOT, S_IFDIR)
        last = max(position - _DOTS, 0)
        for name, following, attributes in self._view.items(node, last):
            if not following > last or not _is_name(name) or following > _LAST_POSITION:
                raise OSError(errno.EIO, "a directory holds what no directory can", name)
            if not listing.add(name, following + _DOTS, attributes):
                break
            last = following
        return (listing.reply(unique),)

    def _file_system(self, request: Request) -> Reply:
        return (wire.statfs_reply(request.unique, *self._totals),)


def _is_name(name: bytes) -> bool:
    """Whether a file can have this name."""
    return 0 < len(name) <= _NAME_MAX and _SLASH not in name and 0 not in name and name not in _NO_NAMES
