"""INIT: what the kernel offers, what a mount takes of it, and the kernels that it cannot serve.

The supervisor agrees once; every worker gets what was agreed, for the kernel does not ask again.

Example::

    offer = read_offer(bytes_from_the_device)
    os.write(device, agreement_reply(offer, agree(offer)))
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from holdfast.errors import UnsupportedError
from holdfast.mount.order import READ_AHEAD
from holdfast.mount.wire import BODY, Opcode, read_header

if TYPE_CHECKING:
    from holdfast.mount.base import Buffer

__all__ = [
    "PAGES",
    "Agreement",
    "Offer",
    "agree",
    "agreement_reply",
    "is_newer",
    "major_reply",
    "read_offer",
]

_MAJOR: Final = 7
#: Linux 4.20: pages of a request, kept listings, and kept symlinks came with it.
_OLDEST_MINOR: Final = 28
#: The layouts of `wire` are those of this version; a newer kernel speaks it too.
_NEWEST_MINOR: Final = 45

#: Pages of one request: 1 MiB.
PAGES: Final = 256
#: Reads that the kernel has under way on its own account; more than these wait in it.
_BACKGROUND: Final = 64
#: Bytes of a write, which no mount takes: small, so that the buffer for a request can be small.
_MAX_WRITE: Final = 4096

_ASYNC_READ: Final = 1 << 0
_READDIRPLUS: Final = 1 << 13
_ASYNC_DIO: Final = 1 << 15
_NO_OPEN: Final = 1 << 17
_PARALLEL_DIROPS: Final = 1 << 18
_MAX_PAGES: Final = 1 << 22
_CACHE_SYMLINKS: Final = 1 << 23
_NO_OPENDIR: Final = 1 << 24
_INIT_EXT: Final = 1 << 30
_PASSTHROUGH: Final = 1 << 37
_HAS_RESEND: Final = 1 << 39

#: Taken wherever it is offered.
_WANTED: Final = (
    _ASYNC_READ
    | _READDIRPLUS
    | _ASYNC_DIO
    | _NO_OPEN
    | _PARALLEL_DIROPS
    | _MAX_PAGES
    | _CACHE_SYMLINKS
    | _NO_OPENDIR
    | _INIT_EXT
)

_INIT: Final = Struct("=IIII")
_FLAGS2: Final = Struct("=I")
_INIT_REPLY: Final = Struct("=IiQIIIIHHIIHHIIH22x")


class Offer(NamedTuple):
    """What a kernel can do. ``flags`` are 64 bits."""

    unique: int
    major: int
    minor: int
    read_ahead: int
    flags: int


class Agreement(NamedTuple):
    """What kernel and mount do.

    ``can_skip_open``: the kernel need not ask to open. ``resends``: it sends again what a dead worker left. ``passes``: it reads
    files of the cache itself.
    """

    minor: int
    flags: int
    can_skip_open: bool
    resends: bool
    passes: bool


def read_offer(data: Buffer) -> Offer:
    """What the kernel's INIT says.

    Raises:
        UnsupportedError: the first request is none.
    """
    header = read_header(data)
    if header.opcode != Opcode.INIT:
        raise UnsupportedError(
            f"the kernel began with request {header.opcode} where INIT was expected",
            hint="the FUSE device was used by another program: mount again",
        )
    major, minor, read_ahead, flags = _INIT.unpack_from(data, BODY)
    if flags & _INIT_EXT and header.length >= BODY + 20:
        flags |= _FLAGS2.unpack_from(data, BODY + 16)[0] << 32
    return Offer(header.unique, major, minor, read_ahead, flags)


def agree(offer: Offer, *, passthrough: bool = False, resend: bool = True) -> Agreement:
    """What a mount takes of an offer; ``passthrough`` where kernel and mount are to share files of the cache, not
    ``resend`` where it is not to send again what a dead worker left.

    Raises:
        UnsupportedError: the kernel is too old.
    """
    if offer.major < _MAJOR or (offer.major == _MAJOR and offer.minor < _OLDEST_MINOR):
        raise UnsupportedError(
            f"this kernel speaks FUSE {offer.major}.{offer.minor}, and a mount needs {_MAJOR}.{_OLDEST_MINOR} (Linux 4.20)",
            hint="use a newer kernel, or `asset fetch`, which needs none",
        )
    flags = offer.flags & (_WANTED | (_PASSTHROUGH if passthrough else 0) | (_HAS_RESEND if resend else 0))
    return Agreement(
        minor=min(offer.minor, _NEWEST_MINOR),
        flags=flags,
        can_skip_open=bool(flags & _NO_OPEN),
        resends=bool(flags & _HAS_RESEND),
        passes=bool(flags & _PASSTHROUGH),
    )


def agreement_reply(offer: Offer, agreed: Agreement) -> bytes:
    """INIT's reply."""
    # fmt: off
    return _INIT_REPLY.pack(
        80, 0, offer.unique, _MAJOR, agreed.minor, READ_AHEAD, agreed.flags & 0xFFFFFFFF, _BACKGROUND, _BACKGROUND * 3 // 4,
        _MAX_WRITE, 1, PAGES, 0, agreed.flags >> 32, int(agreed.passes), 0,
    )
    # fmt: on


def major_reply(offer: Offer) -> bytes:
    """The reply to a kernel of a later major version, which then begins anew with ours."""
    return _INIT_REPLY.pack(80, 0, offer.unique, _MAJOR, _NEWEST_MINOR, *([0] * 11))


def is_newer(offer: Offer) -> bool:
    """Whether a kernel must be told first which major version is spoken."""
    return offer.major > _MAJOR
