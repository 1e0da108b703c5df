"""What a supervisor itself says to the kernel on the device: how they speak, and errors where no worker answers."""

from __future__ import annotations

import errno
import os
import select
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from holdfast.errors import HoldfastError
from holdfast.mount import negotiation, wire
from holdfast.mount.wire import Opcode

if TYPE_CHECKING:
    from holdfast.mount.negotiation import Agreement

__all__ = ["agreement", "answer_with_errors", "have_resent"]

_REQUEST: Final = 16384
_QUIET: Final = (Opcode.FORGET, Opcode.BATCH_FORGET, Opcode.INTERRUPT)


def agreement(device: int, *, passthrough: bool, resend: bool) -> Agreement:
    """Speak with the kernel until it is agreed how.

    Raises:
        HoldfastError: it is too old.
    """
    buffer = bytearray(_REQUEST)
    while True:
        os.readv(device, [buffer])
        offer = negotiation.read_offer(buffer)
        if not negotiation.is_newer(offer):
            break
        os.write(device, negotiation.major_reply(offer))
    try:
        agreed = negotiation.agree(offer, passthrough=passthrough, resend=resend)
    except HoldfastError:
        os.write(device, wire.error_reply(offer.unique, errno.EPROTO))
        raise
    os.write(device, negotiation.agreement_reply(offer, agreed))
    return agreed


def have_resent(device: int) -> None:
    """Have the kernel send again what a worker left unanswered."""
    with suppress(OSError):
        os.write(device, wire.resend())


def answer_with_errors(device: int) -> None:
    """Answer with EIO whatever waits now; no worker reads from the device."""
    buffer = bytearray(_REQUEST)
    poll = select.poll()
    poll.register(device, select.POLLIN)
    while any(events == select.POLLIN for _, events in poll.poll(0)):
        try:
            os.readv(device, [buffer])
            header = wire.read_header(buffer)
            if header.opcode not in _QUIET:
                os.write(device, wire.error_reply(header.unique, errno.EIO))
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EINTR):
                return
