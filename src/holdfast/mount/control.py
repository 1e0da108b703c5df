"""What a supervisor and its worker say to each other: JSON messages on a socket pair, some with descriptors.

To the worker: ``order`` (what to serve), ``go`` (begin; with the device and the memory of open files). From it: ``ready``, ``error``,
``alive`` (its counts, twice a second), ``hung`` (it can do no more, and another is to take over), ``event`` (a sentence for the log). A message that does not fit is no message: the other side has died.
"""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BEAT", "pair", "receive", "send"]

#: Seconds between two signs of life.
BEAT: Final = 0.25
_LARGEST: Final = 1 << 20


def pair() -> tuple[socket.socket, socket.socket]:
    """The two ends, which keep messages apart."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGEST)
    return ours, theirs


def send(end: socket.socket, message: dict[str, Any], descriptors: Sequence[int] = ()) -> bool:
    """Send a message; False: nobody hears any more."""
    data = json.dumps(message).encode()
    try:
        if descriptors:
            socket.send_fds(end, [data], descriptors)
        else:
            end.send(data)
    except OSError:
        return False
    return True


def receive(end: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message and its descriptors; None: the other side is gone."""
    try:
        data, descriptors, _, _ = socket.recv_fds(end, _LARGEST, 4)
        message = json.loads(data) if data else None
    except (OSError, ValueError):
        return None
    return (message, descriptors) if isinstance(message, dict) else None
