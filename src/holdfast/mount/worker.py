"""The worker of a mount, a process: it opens the view, says that it is ready, and serves the device that it is given.

It keeps nothing that a successor would need. It ends when its supervisor is gone, and when the mount is.
Started by :mod:`~holdfast.mount.supervisor` as ``python -P -m holdfast.mount.worker SOCKET DIR`` (where the second is
for people who look at the list of processes).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from holdfast.errors import HoldfastError
from holdfast.mount import control, wire
from holdfast.mount.base import ROOT
from holdfast.mount.handles import SIZE as HANDLES
from holdfast.mount.handles import Handles
from holdfast.mount.lookahead import LookAhead
from holdfast.mount.operations import Operations, no_open, plain_open
from holdfast.mount.order import Order
from holdfast.mount.passing import Passing
from holdfast.mount.restarts import Patience
from holdfast.mount.serving import Server
from holdfast.mount.unanswered import SIZE as UNANSWERED
from holdfast.mount.unanswered import Unanswered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holdfast.mount.base import View
    from holdfast.mount.operations import Opening

__all__ = ["main", "totals_of"]

_DIE_WITH_PARENT: Final = 1
#: Letters of what is told of a mount's trouble.
_LONGEST: Final = 500


def main(arguments: list[str]) -> int:
    """Serve until the end; the exit code: 0 where the mount or the supervisor has ended."""
    end = socket.socket(fileno=int(arguments[0]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor's, which shares the terminal with --foreground
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(
        _DIE_WITH_PARENT, signal.SIGKILL
    )  # a stopped worker would not see that the supervisor is gone
    told = control.receive(end)
    if told is None:
        return 0
    order = Order.of(told[0]["order"])
    beats = _Beats(end)
    view = _opened(order, end)
    if view is None:
        return 1
    control.send(end, {"ready": totals_of(view)})
    told = control.receive(end)
    if told is None or "go" not in told[0]:
        return 0
    server = _server(end, order, view, told[0]["go"], told[1], arguments[1])
    beats.counts = lambda: [*server.counts(), getattr(view, "bytes_fetched", 0)]
    beats.trouble = lambda: getattr(view, "trouble", "")[:_LONGEST]
    server.start()
    patience = Patience(order.deadline)
    while not server.ended.is_set():
        if select.select([end], [], [], control.BEAT)[0] and control.receive(end) is None:
            break
        exhausted = server.is_exhausted or getattr(view, "is_exhausted", False)
        if patience.ends(time.monotonic(), exhausted=exhausted, fetched=getattr(view, "bytes_fetched", 0)):
            control.send(end, {"hung": True})
    with suppress(Exception):
        view.close()
    return 0


class _Beats:
    """Signs of life from the beginning on, for opening a version may take long; with what ``counts`` and ``trouble`` tell."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self.counts: Callable[[], list[int]] = list
        self.trouble: Callable[[], str] = str
        threading.Thread(target=self._run, name="holdfast-beats", daemon=True).start()

    def _run(self) -> None:
        while control.send(self._end, {"alive": self.counts(), "trouble": self.trouble()}):
            time.sleep(control.BEAT)
        os._exit(0)  # the supervisor is gone


def _opened(order: Order, end: socket.socket) -> View | None:
    """The view; None where it cannot be had, which is said."""
    module, _, name = order.view.partition(":")
    try:
        view: View = getattr(import_module(module), name)(order.arguments)
        view.attributes(ROOT)  # whatever is wrong with the version is said before it is mounted
        return view
    except HoldfastError as error:
        said = {"kind": error.kind, "message": error.message, "subject": error.subject, "hint": error.hint}
        control.send(end, {"error": said | {"name": type(error).__name__}})
    except Exception as error:  # noqa: BLE001 - said to the supervisor, and by it to whoever mounts
        traceback.print_exc()
        control.send(end, {"error": {"kind": "failed", "message": f"{type(error).__name__}: {error}", "name": None}})
    return None


def _server(
    end: socket.socket, order: Order, view: View, agreed: dict[str, Any], descriptors: list[int], directory: str
) -> Server:
    device, number = descriptors
    memory = memoryview(mmap.mmap(number, HANDLES + UNANSWERED))
    opening: Opening = no_open if agreed["can_skip_open"] else plain_open
    if agreed["passes"]:
        opening = Passing(device, view, Handles(memory[:HANDLES]))
    unanswered = None if agreed["resends"] else Unanswered(memory[HANDLES:])
    size, files = totals_of(view)
    hit = LookAhead(directory, view.path).hit if hasattr(view, "path") else None
    operations = Operations(view, wire.Owner(*order.owner), opening, size=size, files=files, hit=hit)
    if hasattr(view, "listen"):
        view.listen(lambda text: _say(end, text))
    if hasattr(view, "watch"):
        view.watch(lambda names: _forget(device, names))
    return Server(
        device, operations, deadline=order.deadline, report=lambda text: _say(end, text), unanswered=unanswered
    )


def totals_of(view: View) -> tuple[int, int]:
    """How many bytes in how many files a view shows; zeros where it does not tell."""
    size, files = getattr(view, "totals", (0, 0))
    return size, files


def _say(end: socket.socket, text: str) -> None:
    control.send(end, {"event": text})


def _forget(device: int, names: Sequence[bytes]) -> None:
    """Have the kernel ask anew for these names in the root, and for the root itself.

    Waits for lookups there that are under way: never called by a thread that answers them, nor under a lock that they need.
    """
    for name in names:
        with suppress(OSError):  # ENOENT: it does not know the name
            os.writev(device, list(wire.invalid_entry(ROOT, name)))
    with suppress(OSError):
        os.write(device, wire.invalid_node(ROOT))


if __name__ == "__main__":
    # The threads that wait for the device cannot be woken.
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)
