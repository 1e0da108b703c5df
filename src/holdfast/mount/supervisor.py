"""The supervisor of a mounted version, a process: it mounts, keeps the device, and sees to it that somebody answers there.

A worker that dies, gives no sign of life, or leaves a question to the mount unanswered, is replaced; the kernel sends again what it left unanswered, so that nobody who reads
notices more than a moment. SIGHUP replaces it by one with the code of today. Where workers die as soon as they serve, the supervisor answers
with EIO itself until one lives: nobody hangs. SIGTERM unmounts. It never touches its mount itself, but by a child, and imports little.

Started by :mod:`~holdfast.mount.daemon` as ``python -P -m holdfast.mount.supervisor FOLDER DESCRIPTOR [stay]``: a record's folder, and where to
write its process id, and then that it is mounted, or why not. It leaves its starter at once, unless it is to stay.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from holdfast.errors import BusyError, HoldfastError, LocalError, raised_elsewhere
from holdfast.mount import control, device
from holdfast.mount.asking import Asking
from holdfast.mount.handles import SIZE as HANDLES
from holdfast.mount.launching import Launched, launch
from holdfast.mount.negotiation import Agreement
from holdfast.mount.order import Order, chosen
from holdfast.mount.registry import MountSettings, Record
from holdfast.mount.reporting import Reports
from holdfast.mount.restarts import Restarts
from holdfast.mount.speaking import agreement, answer_with_errors, have_resent
from holdfast.mount.table import abort_connection, detach, mounted_at, place_of
from holdfast.mount.unanswered import SIZE as UNANSWERED

__all__ = ["Supervisor", "main"]

#: Seconds that what is open may stay open after SIGTERM.
_GRACE: Final = 10.0
#: Seconds until a worker is started where the machine has just refused one.
_AGAIN: Final = 1.0
#: Seconds after which a worker that was killed and does not end is left to itself: it waits in the kernel, and runs no more.
_DYING: Final = 5.0
_PASSES: Final = "the kernel reads what is whole in the cache itself"
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Supervisor:
    """One mount, from mounting to its end."""

    def __init__(self, directory: Path, source: str, order: Order, reports: Reports) -> None:
        self._directory = directory
        self._source = source
        self._order = order
        self._reports = reports
        self._restarts = Restarts()
        self._worker: Launched | None = None
        self._successor: Launched | None = None
        self._restart_at: float | None = None
        self._device = -1
        self._memory = -1
        self._minor = -1
        self._agreed = Agreement(0, 0, can_skip_open=False, resends=False, passes=False)
        self._ends_at: float | None = None
        self._served_until = time.monotonic()
        self._asking: Asking | None = None
        self._lost: list[Launched] = []
        self._signals = _signals()

    def mount(self) -> None:
        """Open the view in a worker, mount, and let it serve.

        Raises:
            HoldfastError: why it cannot be; nothing is left behind.
        """
        try:
            self._worker = worker = launch(self._order, self._directory)
            self._await_ready(worker)
            self._attach(worker)
            self._go(worker)
        except BaseException as error:
            self._leave_nothing()
            if isinstance(error, OSError) and not isinstance(error, HoldfastError):
                message = f"cannot mount {self._source} at {self._directory}: {error.strerror or error}"
                raise LocalError(message, subject=str(self._directory)) from error
            raise

    def _leave_nothing(self) -> None:
        """Undo what was done to mount."""
        if self._worker is not None:
            self._worker.kill()
        if self._device >= 0:
            detach(str(self._directory))
            os.close(self._device)

    def _await_ready(self, worker: Launched) -> None:
        """Wait until a worker has opened its view.

        Raises:
            HoldfastError: what it says that is wrong.
        """
        while worker.stage == "opening" and not worker.error:
            self._wait(1.0)
            if worker.silence > worker.patience:
                worker.error = {"kind": "failed", "message": f"the process that opens {self._source} hangs"}
        if worker.error:
            known = {name: worker.error.get(name) for name in ("name", "subject", "hint")}
            raise raised_elsewhere(worker.error["kind"], worker.error["message"], **known)

    def run(self) -> None:
        """See to it that somebody answers, until it is unmounted."""
        while not device.is_over(self._device):
            self._wait(self._patience())
            self._look_after()
            if self._ends_at is not None and time.monotonic() > self._ends_at:
                self._reports.event("aborted", f"files were in use {_GRACE:.0f} s after the unmount")
                abort_connection(self._minor)  # a worker that does not end would keep it open, and who reads waiting
                break
        for worker in (self._worker, self._successor):
            if worker is not None:
                worker.kill()
        if self._asking is not None:
            self._asking.end()
        os.close(self._device)
        self._reports.event("unmounted", f"{self._source} is no longer at {self._directory}")
        self._reports.state("unmounted")

    def _attach(self, worker: Launched) -> None:
        """Mount, and agree with the kernel on how to speak."""
        options = device.MountOptions(
            self._source, self._order.owner, allow_other=self._order.allow_other, noexec=self._order.noexec
        )
        self._device = device.mount(self._directory, options)
        opens = self._order.opens or chosen(*worker.totals, privileged=os.geteuid() == 0)
        passthrough = opens == "passthrough" and os.geteuid() == 0
        self._agreed = agreement(self._device, passthrough=passthrough, resend=self._order.resend)
        device.set_read_ahead(self._directory, self._order.read_ahead)
        found = mounted_at(str(self._directory))
        self._minor = -1 if found is None else found.device
        if found is not None:
            self._asking = Asking(str(self._directory), found.device, self._descriptors)
        self._memory = os.memfd_create("holdfast-mount")
        os.ftruncate(self._memory, HANDLES + UNANSWERED)  # it takes what is used of it

    def _descriptors(self) -> list[int]:
        """What no child may keep open that outlives this process."""
        workers = (self._worker, self._successor, *self._lost)
        return [self._device, self._memory, *(each.end.fileno() for each in workers if each is not None)]

    def _begin_another(self) -> None:
        """Start a worker in place of one that died; where the machine lets none be started, later."""
        try:
            self._worker = launch(self._order, self._directory)
        except OSError as error:
            self._restart_at = time.monotonic() + _AGAIN
            self._reports.event("restart", f"no worker can be started: {error.strerror}; again in {_AGAIN:.1f} s")

    def _go(self, worker: Launched) -> None:
        """Let a worker serve; nobody else does."""
        if self._restarts.total or worker is self._successor:
            self._have_resent()
        if self._restarts.gave_up:
            answer_with_errors(self._device)  # one of these requests may be what kills them
        control.send(worker.end, {"go": self._agreed._asdict()}, [self._device, self._memory])
        worker.stage = "serving"
        worker.served_from = worker.heard = time.monotonic()
        if self._asking is not None:
            self._asking.begin()
        if worker is self._successor:
            self._successor = None
        self._worker, self._restart_at = worker, None  # a successor that still opens takes over from this one
        self._reports.worker(worker.pid, self._restarts.total)
        self._reports.state("mounted", _PASSES if self._agreed.passes else "")

    def _wait(self, seconds: float) -> None:
        """Wait until something happens, and hear it."""
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        if self._device >= 0:
            poll.register(self._device, select.POLLIN if self._answers() else 0)
        workers = {w.end.fileno(): w for w in (self._worker, self._successor) if w is not None}
        for number in workers:
            poll.register(number, select.POLLIN)
        for number, _ in poll.poll(max(seconds, 0.0) * 1000):
            if number == self._signals:
                self._hear_signals()
            elif number in workers and workers[number] in (
                self._worker,
                self._successor,
            ):  # else it was buried just now
                self._hear(workers[number])

    def _answers(self) -> bool:
        """Whether requests are answered here, with errors."""
        if self._worker is not None and self._worker.stage == "serving":
            return False
        return self._restarts.gave_up or time.monotonic() - self._served_until > self._order.deadline

    def _patience(self) -> float:
        """Seconds until something must be looked after."""
        now = time.monotonic()
        times = [now + 2.0]
        if self._restart_at is not None:
            times.append(self._restart_at)
        if self._ends_at is not None:
            times.append(self._ends_at)
        if self._worker is not None and self._worker.stage == "serving":
            times.append(self._worker.heard + self._worker.patience)
        return min(times) - now + 0.01

    def _look_after(self) -> None:
        """Do what is due."""
        now = time.monotonic()
        for worker in (self._worker, self._successor):
            if worker is not None and worker.silence > worker.patience and not worker.killed:
                self._reports.event("silent", f"worker {worker.pid} gave no sign of life for {worker.silence:.1f} s")
                worker.kill()
            if worker is not None and worker.killed and now - worker.killed > _DYING:
                self._lose(worker)
        self._ask()
        if self._answers():
            self._have_resent()
            answer_with_errors(self._device)
        if self._worker is None and self._restart_at is not None and now >= self._restart_at:
            self._restart_at = None
            self._begin_another()
        self._reports.tick()

    def _ask(self) -> None:
        """Ask the mount whether it is served; a worker that lets nobody be answered is killed."""
        worker, asking = self._worker, self._asking
        if asking is None or worker is None or worker.stage != "serving" or worker.killed or self._ends_at is not None:
            return
        asking.tick()
        if asking.is_late:
            self._reports.event("unanswered", f"worker {worker.pid} lives, and does not answer")
            worker.is_deaf = True
            worker.kill()

    def _lose(self, worker: Launched) -> None:
        """Go on without a worker that was killed and does not end: it waits for something in the kernel that does not come."""
        self._reports.event("lost", f"worker {worker.pid} was killed and does not end: it is left to itself")
        self._lost.append(worker)
        self._gone(worker, "it does not end")

    def _hear(self, worker: Launched) -> None:
        """What a worker says."""
        heard = control.receive(worker.end)
        if heard is None:
            worker.kill()  # one without a voice is of no use; SIGCHLD tells when it is gone
            time.sleep(0.001)
            return
        message, _ = heard
        worker.heard = time.monotonic()
        if "alive" in message:
            self._reports.counts(worker.pid, message["alive"])
            if worker is self._worker:
                self._reports.trouble(str(message.get("trouble", "")))
        elif "event" in message:
            self._reports.event("worker", str(message["event"]))
        elif "hung" in message:
            self._replace_hung(worker)
        elif "error" in message:
            worker.error = message["error"]
        elif "ready" in message:
            worker.stage = "ready"
            size, files = message["ready"]
            worker.totals = int(size), int(files)
            if worker is self._successor and self._worker is not None:
                self._worker.kill()  # whose end lets the successor serve
            elif self._device >= 0:
                self._go(worker)

    def _hear_signals(self) -> None:
        for number in set(os.read(self._signals, 4096)):
            if number == signal.SIGCHLD:
                self._bury()
            elif number == signal.SIGHUP:
                self._replace()
            elif self._device < 0:
                raise SystemExit(1)
            else:
                self.unmount()

    def _bury(self) -> None:
        """Learn which workers have ended, and see to the next."""
        for worker in (self._successor, self._worker, *self._lost):
            if worker is None:
                continue
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid and worker in self._lost:
                self._lost.remove(worker)
                worker.forget()
            elif pid:
                self._gone(worker, _ending(status))
                worker.forget()

    def _gone(self, worker: Launched, how: str) -> None:
        """A worker is no more, or as good as that."""
        if worker is self._successor:
            self._reports.event("upgrade failed", f"the new worker ended ({how}); the old one goes on")
            self._successor = None
        else:
            self._replace_dead(worker, how)

    def _replace_dead(self, worker: Launched, how: str) -> None:
        """The worker has ended: the successor serves, or another one is started."""
        with suppress(OSError):
            while select.select([worker.end], [], [], 0)[0] and (heard := control.receive(worker.end)) is not None:
                worker.error = heard[0].get("error", worker.error)
        self._worker = None
        if self._device < 0:
            worker.error = worker.error or {"kind": "failed", "message": f"the worker ended ({how})"}
            return
        if device.is_over(self._device):
            return
        if self._successor is not None and self._successor.stage == "ready":
            self._reports.event("upgraded", f"worker {self._successor.pid} took over from {worker.pid}")
            self._go(self._successor)
            return
        why = worker.error.get("message") or how
        gave_up = self._restarts.gave_up
        if worker.stage == "serving":
            self._served_until = self._asking.proven if worker.is_deaf and self._asking else time.monotonic()
        delay = self._restarts.died(worker.served)
        self._reports.event("restart", f"worker {worker.pid} ended ({why}); another one in {delay:.1f} s")
        self._restart_at = time.monotonic() + delay
        self._reports.worker(None, self._restarts.total)
        if self._restarts.gave_up and not gave_up:
            self._reports.event("failing", "workers end as soon as they serve: requests get EIO meanwhile")
        self._reports.state("failing" if self._restarts.gave_up else "restarting", why)

    def _have_resent(self) -> None:
        """Have the kernel send again what a worker left unanswered; where it cannot, the next worker answers that with EIO."""
        if self._agreed.resends:
            have_resent(self._device)

    def _replace(self) -> None:
        """Start a worker with the code of today; it takes over once it is ready."""
        if self._successor is None and self._worker is not None and self._worker.stage == "serving":
            self._reports.event("upgrade", "a new worker is started")
            try:
                self._successor = launch(self._order, self._directory)
            except OSError as error:
                self._reports.event("upgrade failed", f"no worker can be started: {error.strerror}")

    def _replace_hung(self, worker: Launched) -> None:
        """Have a worker, whose reads do not come back, replaced by one with threads that are free; it serves what it can until that is ready."""
        if worker is self._worker and self._successor is None:
            self._reports.event(
                "hung", f"worker {worker.pid} waits for reads that do not come back, and can begin no more"
            )
            self._restarts.replaced()
            self._replace()

    def unmount(self) -> None:
        """Unmount; what is still open may be read to its end, for a while."""
        if self._ends_at is not None:
            return
        place = place_of(self._minor, str(self._directory))
        try:
            device.unmount(Path(place))
        except BusyError:
            self._reports.event("unmounting", "files are in use")
            self._reports.state("unmounting")
            detach(place)
        except LocalError as error:
            self._reports.event("unmounting", str(error))
        self._ends_at = time.monotonic() + _GRACE


def _signals() -> int:
    """A descriptor on which the signals' numbers can be read."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in _SIGNALS:
        signal.signal(number, lambda *_: None)
    return reading


def _ending(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit {code}" if code >= 0 else f"signal {-code}"


def _tell(starter: int, text: str) -> bool:
    """Say something to the starter; False: it is gone."""
    try:
        os.write(starter, text.encode())
    except OSError:
        return False
    return True


def main(arguments: list[str]) -> int:
    """Mount what a record's folder says and serve it; the exit code."""
    folder, number, *words = arguments
    if "stay" not in words:
        if os.fork():
            return 0
        os.setsid()
    os.set_inheritable(int(number), False)  # no worker keeps the starter waiting
    os.chdir("/")
    settings = MountSettings(**json.loads((Path(folder) / "mount.json").read_text("utf-8")))
    reports = Reports(Record(Path(folder), settings))
    starter = int(number)
    _tell(starter, f"{os.getpid()}\n")
    try:
        supervisor = Supervisor(Path(settings.dir), settings.source, Order.of(settings.options), reports)
        supervisor.mount()
    except HoldfastError as error:
        reports.event("failed", error.message)
        reports.state("failed", error.message)
        said = {"kind": error.kind, "message": error.message, "subject": error.subject, "hint": error.hint}
        _tell(starter, json.dumps(said | {"name": type(error).__name__}))
        return error.exit_code
    reports.event("mounted", f"{settings.source} is at {settings.dir}")
    if not _tell(starter, "{}"):
        reports.event("unmounting", "the command that mounts was killed")
        supervisor.unmount()
    os.close(starter)
    supervisor.run()
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)
