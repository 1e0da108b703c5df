"""The process that keeps a live bucket mounted: it starts the mounter, asks it again and again, and mounts anew when it fails.

It never touches its mount itself: a child does, with a deadline, or nobody. What is wrong is judged in :mod:`.judging`; here it is seen and
done. It ends on SIGTERM: what waits to be sent is waited for, the mount is taken away, and where ``asset unmount`` asked for it, the
directory is what it was before. Started by ``python -m holdfast.mount.live.supervisor FOLDER``, it goes on by itself, and tells how it is in the record.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.errors import HoldfastError, LocalError, UnreachableError, UnsupportedError
from holdfast.mount.children import Child, LateError
from holdfast.mount.live import unsent
from holdfast.mount.live.apart import Apart
from holdfast.mount.live.branches import Branches, cut_off
from holdfast.mount.live.holding import Connection
from holdfast.mount.live.judging import Facts, Fault, delay, judge
from holdfast.mount.live.layered import Layered
from holdfast.mount.live.plan import Plan, waiting
from holdfast.mount.live.question import Question
from holdfast.mount.live.selftest import lacking, look, pulse, tried
from holdfast.mount.live.underneath import Underneath
from holdfast.mount.live.worker import Worker
from holdfast.mount.process import Process
from holdfast.mount.registry import State, record_at
from holdfast.mount.table import mounted_at, restrict
from holdfast.mount.unmounting import told

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.mount.registry import Record

__all__ = ["Supervisor", "main"]

_TICK: Final = 0.1
#: Seconds between two questions to the mounter, and between two that reach the store.
_PULSE, _LOOK = 2.0, 5.0
#: How long a mount must have been well for its next fault to be the first again.
_WELL: Final = 60.0
_SELF_TEST: Final = 30.0
#: How long what waits to be sent is waited for, where nobody said otherwise.
_DRAIN: Final = 60.0


class Supervisor:
    """Keeps what a record describes mounted, until :meth:`stop`."""

    def __init__(self, record: Record) -> None:
        self.record, self.plan = record, Plan.of(record)
        self.directory = record.settings.dir
        self._state = State(supervisor=Process.of(os.getpid()))
        self._stopping = False
        self._worker: Worker | None = None
        self._below = Underneath(self.directory, self.plan.mode)
        self._branches = Branches.of(record, self.plan.branches)
        self._connection = Connection()
        self._pulse = Question(self._pulse_once, _PULSE, self.plan.deadline)
        self._look = Question(self._look_once, _LOOK, 2 * self.plan.deadline)
        self._put(state="mounting")

    @property
    def _running(self) -> Worker:
        assert self._worker is not None  # noqa: S101 - from _mount to _recover there is one
        return self._worker

    def _pulse_once(self) -> str:
        """Have the mounter answer; in a child, which keeps no hold on the connection that it waits for."""
        self._connection.release()
        return pulse(self._running.reached)

    def _look_once(self) -> str:
        """Have the mounter ask its store, and where this is a union, each of its branches; in a child, too."""
        self._connection.release()
        return look(self._running.asked, self.plan.canary) and self._branches.probe()

    def stop(self) -> None:
        """Have it end; safe in a signal's handler."""
        self._stopping = True

    def run(self) -> int:
        """Mount, watch until told to stop, unmount; the exit code. Whatever happens, nothing is left mounted."""
        try:
            self._mount_first()
        except (HoldfastError, OSError) as error:
            self._fail(error)
            return 1
        while not self._stopping:
            fault = self._fault()
            if fault is not None:
                self._recover(fault)
            time.sleep(_TICK)
        self._finish()
        return 0

    def _mount_first(self) -> None:
        if self._stopping:
            raise HoldfastError(f"who wanted {self.directory} mounted has given up")
        began = time.monotonic()
        self._mount()
        try:
            abilities = Child(lambda: tried(self._running.reached)).result(_SELF_TEST)
        except LateError:
            raise UnreachableError(f"the self-test of {self.directory} has not ended in {_SELF_TEST:g} s") from None
        lacks = lacking(tuple(self.plan.needs), abilities)
        self._put(more=self._state.more | {"abilities": abilities})
        self._tell("tested", ", ".join(f"{name}: {text}" for name, text in abilities.items()))
        if lacks:
            raise UnsupportedError(
                f"the mount of {self.record.settings.source} lacks what is needed: {', '.join(lacks)}",
                subject=self.directory,
                hint="choose another mounter (rclone can do most), or its options",
            )
        self._put_back()
        self._put(state="mounted", health="it answers")
        self._tell("mounted", f"{self.record.settings.source} in {time.monotonic() - began:.1f} s")

    def _mount(self) -> None:
        """Start the mounter and see it answer; where it does not, nothing of it stays, and the directory is closed."""
        if not self._below.is_in_place():
            raise LocalError(f"the directory {self.directory} is gone, or another", subject=self.directory)
        self._set_aside()
        self._branches.check()
        self._report_underneath()
        self._below.close_it()
        if os.geteuid() != 0:
            self._below.open_it()
        self._worker = worker = self._started()
        self._put(worker=worker.process)
        try:
            worker.wait()
            self._below.close_it()
            self._restrict()
            self._first_answer()
            self._become_branch(worker)
            self._branches.check()  # what fails from here on is cut off where this is mounted
            worker.show()
        except BaseException as error:
            late = isinstance(error, HoldfastError) and error.kind == "unreachable"
            if self._end(hung=late) and isinstance(error, HoldfastError):
                error.message += "; it left a dead mount point, which was taken away"
            self._below.close_it()
            self._put(worker=None)
            raise
        self._pulse.forget()
        self._look.forget()

    def _started(self) -> Worker:
        kind, log, parts = self.record.settings.kind, self.record.folder / "mounter.log", self.plan.parts
        if parts is not None:
            return Layered(kind, self.plan, parts, self._below, log)
        if self.plan.apart:
            return Apart(kind, self.plan, self._below, log)
        command = [self.plan.program, *self.plan.arguments]
        return Worker(kind, command, self.plan.environment(), self.directory, log)

    def _become_branch(self, worker: Worker) -> None:
        """Where a union stands on this mount: hold its connection, so that it never fails before that is cut off."""
        if self.plan.above and not self._connection.hold(worker.process.pid):
            self._tell(
                "branch", "its connection cannot be held here: a union may show less for a moment when its mounter dies"
            )

    def _end(self, *, hung: bool, patience: float = 3.0) -> bool:
        """End the mounter and take its mount away; a union that stands on it goes first. True where a dead mount point was left."""
        cut_off(self.plan.above)
        worker, self._worker = self._worker, None
        was_dead = worker is not None and worker.end(hung=hung, patience=patience)
        self._connection.release()
        return was_dead

    def _first_answer(self) -> None:
        """See it answer, and the store through it."""
        worker = self._running
        self._answered(lambda: pulse(worker.reached), self.plan.deadline, "does not answer")
        self._answered(lambda: look(worker.asked, self.plan.canary), 2 * self.plan.deadline, "does not read its store")

    def _answered(self, ask: Callable[[], object], seconds: float, failing: str) -> None:
        name = self.record.settings.kind
        try:
            Child(ask).result(seconds)
        except LateError:
            raise UnreachableError(f"{name} mounted, and {failing} within {seconds:g} s") from None
        except OSError as error:
            if error.errno not in (
                errno.EACCES,
                errno.EPERM,
            ):  # a canary that may not be read was asked for all the same
                raise UnreachableError(f"{name} mounted, and {failing}: {error.strerror}") from error

    def _restrict(self) -> None:
        """Have every flag that the mount must have, whatever the mounter made of its options."""
        wanted = frozenset(self.plan.flags)
        mounted = self._running.seen
        missing = wanted - mounted.flags if mounted is not None else frozenset()
        if mounted is not None and missing - {"default_permissions"}:
            restrict(mounted, missing - {"default_permissions"})
            mounted = self._running.seen
            missing = wanted - mounted.flags if mounted is not None else missing
        if missing == {"noexec"}:
            self._tell("flags", f"{self.record.settings.kind} cannot mount noexec for an ordinary user")
        elif missing:
            name = self.record.settings.kind
            raise UnsupportedError(f"{name} does not mount {', '.join(sorted(missing))}, which every mount must be")

    def _fault(self) -> Fault | None:
        """Look at everything once."""
        self._pulse.tick()
        self._look.tick()
        mounted = mounted_at(self.directory)
        answers = self._pulse.answer, self._look.answer
        is_mounted = mounted is not None and self._running.is_own(mounted)
        facts = Facts(self._running.ended, is_mounted, *answers, self._look.failures)
        fault = judge(facts, self.plan.deadline, *[1] * bool(self.plan.above)) or self._fault_of_branch()
        if fault is None and (fallen := self._running.fallen):
            fault = Fault("fallen", f"no longer mounted in its place: {', '.join(fallen)}")
        trouble = self._pulse.text or self._look.text
        health = f"it answers with an error: {trouble}" if trouble else "it answers"
        if fault is None and health != self._state.health:
            self._tell("health", health)
            self._put(health=health)
        return fault

    def _fault_of_branch(self) -> Fault | None:
        """Any trouble with one branch ends the union: it would show the files of the others as though they were all."""
        text = self._branches.trouble()
        if text is None and self._branches and self._look.answer:
            text = self._look.text
        return None if text is None else Fault("branch", text, is_hung=True)

    def _recover(self, fault: Fault) -> None:
        """Take the broken mount away, and mount until it works or somebody stops it."""
        self._tell(fault.event, fault.text)
        self._put(state="remounting", health=fault.text)
        self._name_stranded(fault)
        self._end(hung=True)  # what lives of it serves nobody any more
        self._put(worker=None, restarts=self._state.restarts + 1)
        well = time.time() - self._state.more.get("well_since", 0.0) > _WELL
        attempt = 0 if well else self._state.more.get("attempt", 0)
        while not self._stopping and not self._again(attempt):
            attempt += 1

    def _again(self, attempt: int) -> bool:
        """One attempt to mount anew, after its delay; whether it worked."""
        until = time.monotonic() + delay(attempt)
        while (time.monotonic() < until or self._waits_for_branch()) and not self._stopping:
            time.sleep(_TICK)
        if self._stopping:
            return False
        try:
            self._mount()
        except (HoldfastError, OSError) as error:
            text = f"attempt {attempt + 1} failed, the next in {delay(attempt + 1):g} s: {error}"
            self._tell("failed", text)
            self._put(health=text)
            return False
        more = self._state.more | {"attempt": attempt + 1, "well_since": time.time()}
        self._put(state="mounted", health="it answers", more=more)
        self._tell("remounted", f"attempt {attempt + 1}")
        self._put_back()
        return True

    def _waits_for_branch(self) -> bool:
        """Whether a branch is down, which is no failed attempt of this mount."""
        text = self._branches.trouble()
        if text is not None and text != self._state.health:
            self._put(health=text)
        return text is not None

    def _name_stranded(self, fault: Fault) -> None:
        """Say which writes have not reached the bucket: those queued are kept and sent, those of open files are lost."""
        waiting, half = self._queued(), self._half_written()
        verb = "aborting" if fault.is_hung else "its end"
        if waiting:
            text = f"{verb} strands unsent writes, which are kept and sent after the remount: {told(waiting)}"
            self._tell("stranded", text)
        if half:
            text = f"{verb} cuts off who writes; what was not closed may be lost: {told(half)}"
            self._tell("cut off", text)
        self._put(more=self._state.more | {"stranded": waiting, "cut_off": half})

    def _half_written(self) -> list[str]:
        """What somebody has open for writing below the mount, without what lies on this machine's own disk."""
        laid = self.plan.parts.laid if self.plan.parts is not None else {}
        found = unsent.open_files(self.directory)
        return [each for each in found if not any(f"{each}/".startswith(f"{path}/") for path in laid)]

    def _queued(self) -> list[str]:
        return unsent.queued(self.plan.cache, self.record.settings.source)

    def _set_aside(self) -> None:
        """Save what the mounter would delete when it is started again: where that fails, it is not started."""
        moved = unsent.set_aside(self.plan.cache, self.record.settings.source, self.plan.aside)
        if moved:
            self._tell("set aside", f"the mounter's record of these was torn, and they may be unsent: {told(moved)}")

    def _put_back(self) -> None:
        """Have what was set aside sent, where the bucket lacks it."""
        if not unsent.set_aside_now(self.plan.aside):
            return
        try:
            done = Child(lambda: unsent.put_back(self.plan.aside, self._running.reached)).result(_SELF_TEST)
        except (LateError, OSError):
            done = []
        left = unsent.set_aside_now(self.plan.aside)
        if done:
            self._tell("put back", f"the bucket lacked them, and they are sent now: {told(done)}")
        if left:
            self._tell(
                "set aside", f"the bucket has others under these names; yours are in {self.plan.aside}: {told(left)}"
            )

    def _report_underneath(self) -> None:
        names = self._below.names()
        if names and names != self._state.more.get("underneath"):
            text = f"files were written underneath {self.directory} while nothing was mounted: {', '.join(names)}"
            self._tell("underneath", f"{text}; they are hidden now, and in no bucket")
        self._put(more=self._state.more | {"underneath": names})

    def _drain(self) -> None:
        """Wait for what is to be sent, as long as the mounter lives to send it."""
        deadline = time.monotonic() + _DRAIN
        self._put(state="unmounting", health="waiting until what was written is sent")
        while self._worker is not None and self._worker.ended is None and time.monotonic() < deadline:
            if self.record.requested("discard") or not unsent.unsettled(self.plan.cache, self.record.settings.source):
                return
            time.sleep(_TICK)

    def _finish(self) -> None:
        """Unmount. Only where somebody asked to unmount is the directory as before; when the machine goes down, it stays closed."""
        self._drain()
        self._end(hung=False, patience=10.0)
        left = waiting(self.record)
        if left:
            self._tell("unsent", f"not sent yet, and kept for the next mount: {told(left)}")
        if self.record.requested("unmount") and not self.plan.keeps_closed:
            self._below.free()
        self._tell("unmounted", "as asked" if self.record.requested("unmount") else "by a signal")
        more = self._state.more | {"unsent": left}
        self._put(state="unmounted", worker=None, health=f"{len(left)} files unsent" if left else "", more=more)

    def _fail(self, error: Exception) -> None:
        """The first mount failed: all is as it was, and whoever waits is told why."""
        self._end(hung=True)
        if not self.plan.keeps_closed:
            self._below.free()
        ours = error if isinstance(error, HoldfastError) else LocalError(str(error))
        self._tell("failed", ours.message)
        told = {"kind": ours.kind, "message": ours.message, "hint": ours.hint}
        self._put(state="failed", worker=None, health=ours.message, more=self._state.more | {"error": told})

    def _put(self, **changes: Any) -> None:
        self._state = replace(self._state, **changes)
        try:
            self._state = self.record.write(self._state)
        except LocalError as error:  # a full disk is no reason to leave a mount alone
            sys.stderr.write(f"{error}\n")

    def _tell(self, event: str, text: str) -> None:
        try:
            self.record.event(event, text)
        except LocalError as error:
            sys.stderr.write(f"{event}: {text} ({error})\n")


def main(folder: str, *, stays: bool) -> None:
    """Be the supervisor of the record in this folder; unless it ``stays``, in a process that nobody waits for."""
    if not stays:
        if os.fork():
            os._exit(0)
        os.setsid()
    record = record_at(Path(folder))
    if record is None:
        sys.exit(f"no mount is described in {folder}")
    sys.exit(supervise(record))


def supervise(record: Record) -> int:
    """Supervise until SIGTERM or SIGINT; the exit code. SIGINT, which Ctrl-C sends, unmounts for good."""
    supervisor = Supervisor(record)

    def interrupted(*_: object) -> None:
        record.request(unmount=True)
        supervisor.stop()

    signal.signal(signal.SIGINT, interrupted)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.stop())
    if record.requested("unmount") or record_at(record.folder) is None:
        supervisor.stop()
    return supervisor.run()


if __name__ == "__main__":
    main(sys.argv[1], stays="--stay" in sys.argv)
