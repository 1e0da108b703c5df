"""Which reply a request gets, and who has which file open how: without a kernel."""

from __future__ import annotations

import errno
import os
import struct

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from holdfast.mount import wire
from holdfast.mount.base import ROOT
from holdfast.mount.handles import SIZE, Handles
from holdfast.mount.operations import KEEP_CACHE, Operations, Request, no_open, plain_open
from holdfast.mount.wire import Opcode, Owner
from tests.mount.views import HostileView

WRITING = [
    "SETATTR",
    "SYMLINK",
    "MKNOD",
    "MKDIR",
    "UNLINK",
    "RMDIR",
    "RENAME",
    "RENAME2",
    "LINK",
    "WRITE",
    "SETXATTR",
    "REMOVEXATTR",
    "CREATE",
    "FALLOCATE",
    "COPY_FILE_RANGE",
    "COPY_FILE_RANGE_64",
    "TMPFILE",
]
UNKNOWN = [
    "GETXATTR",
    "LISTXATTR",
    "ACCESS",
    "FLUSH",
    "LSEEK",
    "STATX",
    "OPENDIR",
    "POLL",
    "BMAP",
    "GETLK",
    "SETLK",
    "SETUPMAPPING",
]


def request(opcode: int, node: int = 2, body: bytes = b"") -> Request:
    return Request(opcode, 7, node, bytes(40) + body, 40 + len(body))


def answer(opcode: int, opening=no_open, **given) -> bytes:
    """The reply of a mount with one file."""
    reply = Operations(HostileView(["file"]), Owner(0, 0), opening, size=5, files=1).answer(request(opcode, **given))
    return b"".join(reply)


def error_of(reply: bytes) -> int:
    length, error, unique = struct.unpack("=IiQ", reply)
    assert (length, unique) == (16, 7)
    return -error


@pytest.mark.parametrize("name", WRITING)
def test_answer__to_what_writes(name):
    """Whatever would write is refused by the mount itself, also where the kernel lets it through."""
    assert error_of(answer(Opcode[name], body=bytes(100))) == errno.EROFS


@pytest.mark.parametrize("name", UNKNOWN)
def test_answer__to_what_a_view_cannot_say(name):
    """What the kernel need not ask again is answered so that it does not."""
    assert error_of(answer(Opcode[name], body=bytes(100))) == errno.ENOSYS


def test_answer__to_a_request_of_a_later_kernel():
    """A request that nobody knows yet is answered, not dropped."""
    assert error_of(answer(4000)) == errno.ENOSYS


@pytest.mark.parametrize("name", ["FORGET", "BATCH_FORGET", "NOTIFY_REPLY"])
def test_answer__to_what_wants_none(name):
    """The kernel waits for no reply to these, and gets none."""
    assert Operations(HostileView(["file"]), Owner(0, 0)).answer(request(Opcode[name])) is None


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC])
def test_open__for_writing(flags):
    """Opening a file for writing is EROFS, however files are opened."""
    for opening in (no_open, plain_open):
        with pytest.raises(OSError) as caught:
            answer(Opcode.OPEN, opening, body=struct.pack("=II", flags, 0))
        assert caught.value.errno == errno.EROFS


def test_open__for_reading():
    """Without opening, OPEN is ENOSYS once and for all; for a kernel that insists, it keeps what was read."""
    with pytest.raises(OSError) as caught:
        answer(Opcode.OPEN, body=bytes(8))
    assert caught.value.errno == errno.ENOSYS
    assert answer(Opcode.OPEN, plain_open, body=bytes(8)) == wire.open_reply(7, 0, KEEP_CACHE)


def test_listing__begins_with_dots_and_goes_on_anywhere():
    """``.`` and ``..`` are the first two, and a listing that goes on behind a position leaves out what is before it."""
    read = struct.Struct("=QQIIQII")
    whole = answer(Opcode.READDIR, node=ROOT, body=read.pack(0, 0, 4096, 0, 0, 0, 0))
    names = []
    at = 16
    while at < len(whole):
        _, position, length, _ = struct.unpack_from("=QQII", whole, at)
        names.append((whole[at + 24 : at + 24 + length], position))
        at += 24 + (length + 7 & ~7)
    assert names == [(b".", 1), (b"..", 2), (b"file", 3)]
    for behind in (1, 2, 3):
        rest = answer(Opcode.READDIR, node=ROOT, body=read.pack(0, behind, 4096, 0, 0, 0, 0))
        assert rest.count(b"file") == (behind < 3)
        assert (b".." in rest) == (behind < 2)


class HandlesMachine(RuleBasedStateMachine):
    """Handles beside a dictionary, with workers that die between any two steps and requests that are sent again."""

    given = Bundle("given")

    def __init__(self) -> None:
        super().__init__()
        self.memory = memoryview(bytearray(SIZE))
        self.handles = Handles(self.memory)
        self.model: dict[int, tuple[int, int]] = {}

    @rule(target=given, node=st.integers(1, 4), backing=st.integers(0, 3))
    def take(self, node: int, backing: int) -> int:
        known = self.handles.backing(node)
        handle = self.handles.take(node, backing if known is None else known)
        assert handle not in self.model
        self.model[handle] = node, backing if known is None else known
        return handle

    @rule(handle=given)
    def give_back(self, handle: int) -> None:
        """Perhaps for the second time, by another worker."""
        node, backing = self.model.pop(handle, (0, 0))
        unused = self.handles.give_back(handle)
        still = any(other == node for other, _ in self.model.values())
        assert unused == (backing if backing and not still else None)

    @rule()
    def another_worker(self) -> None:
        self.handles = Handles(self.memory)

    @rule(handle=st.integers(0, 2**64 - 1))
    def give_back_nonsense(self, handle: int) -> None:
        if handle not in self.model:
            assert self.handles.give_back(handle) is None

    @invariant()
    def knows_who_is_open(self) -> None:
        for node in range(1, 5):
            wanted = {backing for other, backing in self.model.values() if other == node}
            assert len(wanted) <= 1
            assert self.handles.backing(node) == next(iter(wanted), None)


TestHandles = HandlesMachine.TestCase
TestHandles.settings = settings(max_examples=8, stateful_step_count=30, deadline=None)


def test_handles__no_more_than_there_are():
    """Where no slot is free, an OPEN is ENFILE, and those that are open stay."""
    handles = Handles(memoryview(bytearray(3 * 16)))
    taken = [handles.take(5, 9) for _ in range(3)]
    with pytest.raises(OSError) as caught:
        handles.take(5, 9)
    assert caught.value.errno == errno.ENFILE
    assert [handles.give_back(handle) for handle in taken] == [None, None, 9]
