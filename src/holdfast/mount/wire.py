"""The kernel's FUSE protocol as bytes: requests are unpacked here, replies and notifications packed; nothing is decided.

The layouts are those of ``linux/fuse.h``, in the machine's byte order. What a connection agrees on first is in
:mod:`~holdfast.mount.negotiation`; which reply a request gets in :mod:`~holdfast.mount.operations`.

Example::

    request = read_header(bytes_from_the_device)
    os.write(device, error_reply(request.unique, errno.EROFS))
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.mount.base import Attributes, Buffer

__all__ = [
    "BODY",
    "FOREVER",
    "REPLY_HEADER",
    "RESENT",
    "Header",
    "Listing",
    "Opcode",
    "Owner",
    "ReadRequest",
    "attributes_reply",
    "data_header",
    "data_reply",
    "entry_reply",
    "error_reply",
    "invalid_entry",
    "invalid_node",
    "name_of",
    "negative_reply",
    "open_reply",
    "read_header",
    "read_interrupt",
    "read_open",
    "read_read",
    "read_release",
    "resend",
    "statfs_reply",
]


class Opcode(IntEnum):
    """What a request asks for; numbers of the kernel."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    GETLK = 31
    SETLK = 32
    SETLKW = 33
    ACCESS = 34
    CREATE = 35
    INTERRUPT = 36
    BMAP = 37
    DESTROY = 38
    IOCTL = 39
    POLL = 40
    NOTIFY_REPLY = 41
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    COPY_FILE_RANGE = 47
    SETUPMAPPING = 48
    REMOVEMAPPING = 49
    SYNCFS = 50
    TMPFILE = 51
    STATX = 52
    COPY_FILE_RANGE_64 = 53


#: Where a request's own part begins, behind the header.
BODY: Final = 40
#: Seconds for which the kernel may keep what cannot change: 68 years.
FOREVER: Final = 2**31 - 1
#: Set in the number of a request that the kernel sends again.
RESENT: Final = 1 << 63

_NOTIFY_INVAL_INODE: Final = 2
_NOTIFY_INVAL_ENTRY: Final = 3
_NOTIFY_RESEND: Final = 7

_HEADER: Final = Struct("=IIQQIIIHH")
REPLY_HEADER: Final = Struct("=IiQ")
_ATTRIBUTES: Final = "QQQqqqIIIIIIIIII"
_ENTRY: Final = "QQQQII" + _ATTRIBUTES
_ENTRY_REPLY: Final = Struct("=IiQ" + _ENTRY)
_ATTRIBUTES_REPLY: Final = Struct("=IiQQII" + _ATTRIBUTES)
_NEGATIVE_REPLY: Final = Struct("=IiQQQQQII88x")
_OPEN_REPLY: Final = Struct("=IiQQIi")
_STATFS_REPLY: Final = Struct("=IiQQQQQQIIII24x")
_READ: Final = Struct("=QQIIQII")
_OPEN: Final = Struct("=II")
_RELEASE: Final = Struct("=Q")
_INTERRUPT: Final = Struct("=Q")
_RECORD: Final = Struct("=QQII")
_PLUS_RECORD: Final = Struct("=" + _ENTRY + "QQII")
_INVALID_NODE: Final = Struct("=IiQQqq")
_INVALID_ENTRY: Final = Struct("=IiQQII")
_PADDING: Final = [bytes(-length % 8) for length in range(8)]
_BLOCK: Final = 4096
_SECOND: Final = 1_000_000_000


class Header(NamedTuple):
    """What every request begins with. ``pid`` is the asking thread's."""

    length: int
    opcode: int
    unique: int
    node: int
    uid: int
    gid: int
    pid: int


class ReadRequest(NamedTuple):
    """What READ, READDIR and READDIRPLUS ask for; ``offset`` is a position where a directory is read."""

    handle: int
    offset: int
    size: int


class Owner(NamedTuple):
    """Whom every file of a mount belongs to."""

    uid: int
    gid: int


def read_header(data: Buffer) -> Header:
    """The header of a request."""
    return Header._make(_HEADER.unpack_from(data)[:7])


def name_of(data: Buffer, length: int) -> bytes:
    """The name that LOOKUP's body is, without the zero at its end; ``length`` is the whole request's."""
    return bytes(data[BODY : length - 1])


def read_read(data: Buffer) -> ReadRequest:
    """What READ, READDIR or READDIRPLUS asks for."""
    return ReadRequest._make(_READ.unpack_from(data, BODY)[:3])


def read_open(data: Buffer) -> int:
    """The flags (O_RDONLY ...) of an OPEN."""
    flags, _ = _OPEN.unpack_from(data, BODY)
    return int(flags)


def read_release(data: Buffer) -> int:
    """The handle that RELEASE gives back."""
    return int(_RELEASE.unpack_from(data, BODY)[0])


def read_interrupt(data: Buffer) -> int:
    """The number of the request that INTERRUPT speaks of."""
    return int(_INTERRUPT.unpack_from(data, BODY)[0])


def error_reply(unique: int, error: int) -> bytes:
    """A refusal with this errno; with 0, a success that has nothing to say."""
    return REPLY_HEADER.pack(16, -error, unique)


def data_header(unique: int, length: int) -> bytes:
    """The header of a reply whose bytes are written behind it, so that they need not be copied."""
    return REPLY_HEADER.pack(16 + length, 0, unique)


def data_reply(unique: int, data: bytes) -> bytes:
    """A reply that is plain bytes: READLINK's, or a small READ's."""
    return REPLY_HEADER.pack(16 + len(data), 0, unique) + data


def entry_reply(unique: int, found: Attributes, owner: Owner) -> bytes:
    """LOOKUP's reply: a node and what ``stat`` shows of it, both valid for ever."""
    node, mode, size, mtime, links = found
    second, nano = divmod(mtime, _SECOND)
    uid, gid = owner
    # fmt: off
    return _ENTRY_REPLY.pack(
        144, 0, unique, node, 0, FOREVER, FOREVER, 0, 0,
        node, size, (size + 511) >> 9, second, second, second, nano, nano, nano, mode, links, uid, gid, 0, _BLOCK, 0,
    )
    # fmt: on


def negative_reply(unique: int) -> bytes:
    """LOOKUP's reply where nothing lies there, and nothing ever will."""
    return _NEGATIVE_REPLY.pack(144, 0, unique, 0, 0, FOREVER, 0, 0, 0)


def attributes_reply(unique: int, found: Attributes, owner: Owner) -> bytes:
    """GETATTR's reply, valid for ever."""
    node, mode, size, mtime, links = found
    second, nano = divmod(mtime, _SECOND)
    uid, gid = owner
    # fmt: off
    return _ATTRIBUTES_REPLY.pack(
        120, 0, unique, FOREVER, 0, 0,
        node, size, (size + 511) >> 9, second, second, second, nano, nano, nano, mode, links, uid, gid, 0, _BLOCK, 0,
    )
    # fmt: on


def open_reply(unique: int, handle: int, flags: int, backing: int = 0) -> bytes:
    """OPEN's reply: a handle, FOPEN flags, and the id of the file that the kernel reads itself."""
    return _OPEN_REPLY.pack(32, 0, unique, handle, flags, backing)


def statfs_reply(unique: int, size: int, files: int) -> bytes:
    """STATFS's reply: a file system of this many bytes and files, which is full."""
    return _STATFS_REPLY.pack(96, 0, unique, -(-size // _BLOCK), 0, 0, files, 0, _BLOCK, 255, _BLOCK, 0)


class Listing:
    """The entries of a READDIR or READDIRPLUS reply, as many as fit into the size that was asked for."""

    def __init__(self, size: int, owner: Owner, *, plus: bool) -> None:
        self._left = size
        self._owner = owner
        self._plus = plus
        self._parts: list[bytes] = []

    def add_plain(self, name: bytes, position: int, node: int, mode: int) -> bool:
        """Add an entry without attributes (``.`` and ``..``); False: it does not fit."""
        record = _RECORD.pack(node, position, len(name), mode >> 12)
        return self._add((bytes(128) if self._plus else b"") + record, name)

    def add(self, name: bytes, position: int, found: Attributes) -> bool:
        """Add an entry; ``position`` is where the listing goes on behind it. False: it does not fit."""
        node, mode, size, mtime, links = found
        if not self._plus:
            return self._add(_RECORD.pack(node, position, len(name), mode >> 12), name)
        second, nano = divmod(mtime, _SECOND)
        uid, gid = self._owner
        length = len(name)
        self._left -= _PLUS_RECORD.size + (length + 7 & ~7)
        if self._left < 0:
            return False
        # fmt: off
        self._parts.append(_PLUS_RECORD.pack(
            node, 0, FOREVER, FOREVER, 0, 0,
            node, size, (size + 511) >> 9, second, second, second, nano, nano, nano, mode, links, uid, gid, 0, _BLOCK, 0,
            node, position, length, mode >> 12,
        ) + name + _PADDING[length & 7])
        # fmt: on
        return True

    def _add(self, record: bytes, name: bytes) -> bool:
        padding = _PADDING[len(name) & 7]
        self._left -= len(record) + len(name) + len(padding)
        if self._left < 0:
            return False
        self._parts.append(record + name + padding)
        return True

    def reply(self, unique: int) -> bytes:
        """The reply; without entries it ends the listing."""
        data = b"".join(self._parts)
        return data_header(unique, len(data)) + data


def resend() -> bytes:
    """The notification that has the kernel send again what nobody has answered."""
    return REPLY_HEADER.pack(16, _NOTIFY_RESEND, 0)


def invalid_node(node: int) -> bytes:
    """The notification that what ``stat`` shows of a node, and what was read of it, holds no longer."""
    return _INVALID_NODE.pack(40, _NOTIFY_INVAL_INODE, 0, node, 0, 0)


def invalid_entry(parent: int, name: bytes) -> Iterable[bytes]:
    """The notification that a name in a directory holds no longer; parts to write in one go."""
    header = _INVALID_ENTRY.pack(32 + len(name) + 1, _NOTIFY_INVAL_ENTRY, 0, parent, len(name), 0)
    return header, name, b"\0"
