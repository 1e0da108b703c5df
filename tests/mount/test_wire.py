"""The FUSE protocol as bytes, beside what a C program makes of the kernel's own header."""

from __future__ import annotations

import errno
import stat
import struct
from pathlib import Path

import pytest

from holdfast.errors import UnsupportedError
from holdfast.mount import negotiation, wire
from holdfast.mount.base import Attributes

GOLDEN = dict(
    line.split()
    for line in (Path(__file__).parent / "golden" / "wire.txt").read_text().splitlines()
    if not line.startswith("#")
)
NODE = 0x0102030405060708
FOUND = Attributes(NODE, stat.S_IFREG | 0o644, 1000001, 1700000000_123456789, 2)
OWNER = wire.Owner(1000, 1001)


def golden(name: str) -> bytes:
    return bytes.fromhex(GOLDEN[name])


def listing(*, plus: bool) -> bytes:
    made = wire.Listing(4096, OWNER, plus=plus)
    assert made.add_plain(b".", 1, 9, stat.S_IFDIR)
    assert made.add(b"ninechars", 77, FOUND)
    return made.reply(7)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("entry", lambda: wire.entry_reply(0x1122334455667788, FOUND, OWNER)),
        ("negative", lambda: wire.negative_reply(7)),
        ("attributes", lambda: wire.attributes_reply(7, FOUND, OWNER)),
        ("open", lambda: wire.open_reply(7, 0xABCDEF, 0x82, 5)),
        ("statfs", lambda: wire.statfs_reply(7, 1000001, 12)),
        ("error", lambda: wire.error_reply(7, errno.EROFS)),
        ("readdir", lambda: listing(plus=False)),
        ("readdirplus", lambda: listing(plus=True)),
        ("inval_entry", lambda: b"".join(wire.invalid_entry(1, b"abc"))),
        ("inval_inode", lambda: wire.invalid_node(1)),
    ],
)
def test_replies__are_the_kernels_bytes(name, made):
    """Every reply and notification is laid out as the kernel's header says."""
    assert made().hex() == golden(name).hex()


def test_requests__are_read():
    """Every request's header and body is read as the kernel's header lays it out."""
    lookup = golden("lookup_in")
    assert wire.read_header(lookup) == (44, wire.Opcode.LOOKUP, 0x1122334455667788, 5, 1, 2, 3)
    assert wire.name_of(lookup, len(lookup)) == b"abc"
    assert wire.read_read(golden("read_in")) == (0xABCDEF, 1 << 33, 1 << 20)
    assert wire.read_open(golden("open_in")) == 0o100002
    assert wire.read_release(golden("release_in")) == 0xABCDEF
    assert wire.read_interrupt(golden("interrupt_in")) == 8


def test_init__flags_of_both_words():
    """What the kernel offers and what is taken of it are 64 flags, and the reply is as long as the kernel wants it."""
    offer = negotiation.read_offer(golden("init_in"))
    assert (offer.unique, offer.major, offer.minor, offer.read_ahead) == (2, 7, 38, 131072)
    agreed = negotiation.agree(offer, passthrough=True)
    assert agreed.can_skip_open
    assert agreed.resends
    assert agreed.passes
    assert negotiation.agreement_reply(offer, agreed).hex() == golden("init_out").hex()


def test_init__passthrough_only_when_asked_for():
    """Without leave to share files, the kernel is not told to, and stacks nothing."""
    offer = negotiation.read_offer(golden("init_in"))
    agreed = negotiation.agree(offer)
    assert not agreed.passes
    reply = negotiation.agreement_reply(offer, agreed)
    assert struct.unpack_from("=II", reply, 16 + 32) == (0x80, 0)


def test_init__a_kernel_without_the_second_word():
    """An older kernel's shorter INIT is read, and nothing is taken that it does not offer."""
    body = struct.pack("=IIII", 7, 31, 131072, (1 << 22) | (1 << 30))
    data = struct.pack("=IIQQIIIHH", 40 + len(body), 26, 2, 0, 0, 0, 0, 0, 0) + body
    agreed = negotiation.agree(negotiation.read_offer(data), passthrough=True)
    assert agreed == (31, (1 << 22) | (1 << 30), False, False, False)


@pytest.mark.parametrize("version", [(6, 9), (7, 27)])
def test_init__a_kernel_too_old(version):
    """A kernel that a mount cannot serve gets a sentence which names both versions."""
    offer = negotiation.Offer(2, *version, 131072, 0)
    with pytest.raises(UnsupportedError, match=rf"FUSE {version[0]}\.{version[1]}.*7\.28"):
        negotiation.agree(offer)


def test_init__a_kernel_of_a_later_major():
    """A kernel of a later major version is told ours, as the protocol has it, and then begins anew."""
    offer = negotiation.Offer(2, 8, 0, 131072, 0)
    assert negotiation.is_newer(offer)
    assert struct.unpack_from("=IiQII", negotiation.major_reply(offer)) == (80, 0, 2, 7, 45)


def test_init__another_request():
    """A device that begins with anything but INIT is refused."""
    with pytest.raises(UnsupportedError, match="request 1 where INIT"):
        negotiation.read_offer(golden("lookup_in"))


def test_listing__ends_where_it_is_full():
    """A listing takes what fits into the size that was asked for, and not a byte more."""
    made = wire.Listing(64, OWNER, plus=False)
    assert made.add(b"12345678", 1, FOUND)
    assert made.add(b"1", 2, FOUND)
    assert not made.add(b"1", 3, FOUND)
    assert len(made.reply(7)) == 16 + 64


def test_times__before_1970():
    """A time before 1970 is told as such."""
    reply = wire.attributes_reply(7, FOUND._replace(mtime=-1), OWNER)
    assert struct.unpack_from("=q", reply, 16 + 16 + 24) == (-1,)
    assert struct.unpack_from("=I", reply, 16 + 16 + 48) == (999999999,)
