"""``asset site run``: one process that starts a site's jobs when they are due, tells people, and says how it is.

The loop decides nothing: what is due is :mod:`~holdfast.sites.schedule`'s, who is told :mod:`~holdfast.sites.notices`'. Each job runs in a
thread, never twice at once, and what it raises is its outcome. When jobs were last started is kept, so a restart or a reboot catches up.
To stop, nothing new is started, what runs is asked to end, and waited for a while.
"""

from __future__ import annotations

import fcntl
import json
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from holdfast.cache.work import write_whole
from holdfast.disk import local_errors
from holdfast.errors import BusyError, ConflictError, HoldfastError, UsageError, nearest
from holdfast.sites.jobs import Context, Gauge, Job, Outcome, jobs_of, patience_of
from holdfast.sites.notices import FAILED, OK, Observation
from holdfast.sites.schedule import due, next_time
from holdfast.sites.telling import Notices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from holdfast.sites.plan import Plan
    from holdfast.sites.values import SiteSettings

__all__ = ["JobReport", "Runner", "only_one"]

#: Seconds between two looks at what is due, and for what runs to end.
_TICK: Final = 0.5
_LOOK_FOR_OVERDUE: Final = 30.0
_PATIENCE: Final = 60.0


class JobReport:
    """How a job is: whether it runs, when it last began, how long it took, and how it ended; empty where it never did."""

    def __init__(self) -> None:
        self.running = False
        self.begun: datetime | None = None
        self.seconds: float | None = None
        self.state = ""
        self.message = ""


class Runner:
    """The jobs of one site on this machine. ``clock`` tells the time as an aware moment."""

    def __init__(
        self,
        plan: Plan,
        settings: SiteSettings,
        folder: Path,
        *,
        say: Callable[[str], None],
        jobs: Mapping[str, Job] | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.site = plan.site
        self.jobs = dict(jobs_of(plan) if jobs is None else jobs)
        self.reports = {name: JobReport() for name in self.jobs}
        self.gauges: dict[Gauge, float] = {}
        self.looked = time.monotonic()
        self._clock = clock
        self._say = say
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._threads: dict[str, threading.Thread] = {}
        self._path = folder / "run.json"
        self.notices = Notices(folder / "notices.json", plan.site, plan.notify, warn=say)
        self._context = Context(plan, settings, folder, self._alive, lambda: clock().timestamp())
        self._read()

    def stop(self) -> None:
        """Let it end; may be called from a signal."""
        self._stopping.set()

    def run(self) -> int:
        """Until :meth:`stop`; how many jobs did not end in time then."""
        teller = threading.Thread(target=self._tell, name="teller", daemon=True)
        teller.start()
        overdue_at = time.monotonic() + _LOOK_FOR_OVERDUE
        while not self._stopping.wait(_TICK):
            self.turn()
            if time.monotonic() >= overdue_at:
                overdue_at = time.monotonic() + _LOOK_FOR_OVERDUE
                self.notices.look_for_overdue(patience_of(self.jobs), self._clock().timestamp())
        deadline = time.monotonic() + _PATIENCE
        for thread in list(self._threads.values()):
            thread.join(max(0.0, deadline - time.monotonic()))
        teller.join(max(1.0, deadline - time.monotonic()))
        return sum(thread.is_alive() for thread in self._threads.values())

    def turn(self) -> list[str]:
        """Start what is due now; its names."""
        self.looked = time.monotonic()
        begun = {name: each.begun for name, each in self.reports.items() if each.begun is not None}
        running = {name for name, each in self.reports.items() if each.running}
        names = due({name: job.when for name, job in self.jobs.items()}, begun, running, self._clock())
        for name in names:
            self._start(name)
        return names

    def run_once(self, name: str) -> JobReport:
        """One job, now, in this thread, and whoever is to be told of it is; what a timer starts.

        Raises:
            UsageError: there is no such job.
        """
        if name not in self.jobs:
            known = list(self.jobs)
            hint = nearest(name, known) or f"the jobs of this site are {', '.join(map(repr, known)) or 'none'}"
            raise UsageError(f"there is no job {name!r}", subject=name, hint=hint)
        self.reports[name].begun = self._clock()
        self._work(name)
        self.notices.tell()
        return self.reports[name]

    def next_times(self) -> dict[str, datetime]:
        """When each job is due next."""
        now = self._clock()
        return {name: next_time(job.when, self.reports[name].begun, now) for name, job in self.jobs.items()}

    def _start(self, name: str) -> None:
        report = self.reports[name]
        report.running, report.begun = True, self._clock()
        self._write()
        thread = threading.Thread(target=self._work, args=(name,), name=name, daemon=True)
        self._threads[name] = thread
        thread.start()

    def _work(self, name: str) -> None:
        job, report, since = self.jobs[name], self.reports[name], time.monotonic()
        outcome = self._outcome(job)
        report.seconds = time.monotonic() - since
        own = [each for each in outcome.observations if each.subject == job.subject]
        report.state = own[0].state if own else ""
        report.message = own[0].message if own else ""
        with self._lock:
            self.gauges.update(outcome.gauges)
        with suppress(HoldfastError):  # a full disk must not end the loop: it is said, and tried again with the next
            self.notices.observe(outcome.observations, self._clock().timestamp())
        report.running = False

    def _outcome(self, job: Job) -> Outcome:
        try:
            return job.work(self._context)
        except HoldfastError as error:
            if self._stopping.is_set():
                return Outcome()
            text = f"{error.message} ({error.hint})" if error.hint else error.message
        except Exception as error:  # noqa: BLE001 - a fault of ours in one job must not end the others; it is told
            text = f"{type(error).__name__}: {error}"
        self._say(f"{job.name}: {text}")
        return Outcome((Observation(*job.subject, FAILED, text),))

    def _alive(self) -> None:
        if self._stopping.is_set():
            raise ConflictError("asset site run is ending", subject=self.site)

    def _tell(self) -> None:
        while not self._stopping.wait(_TICK):
            if self.notices.tell():
                self._stopping.wait(_LOOK_FOR_OVERDUE)  # who cannot be told now is not asked all the time
        self.notices.tell()

    def _read(self) -> None:
        with suppress(OSError, ValueError, TypeError, AttributeError):
            for name, text in json.loads(self._path.read_text("utf-8")).items():
                if name in self.reports:
                    moment = datetime.fromisoformat(text)
                    self.reports[name].begun = moment if moment.tzinfo else None

    def _write(self) -> None:
        begun = {name: each.begun.isoformat() for name, each in self.reports.items() if each.begun is not None}
        try:
            with local_errors(self._path.parent):
                write_whole(self._path, json.dumps(begun).encode())
        except HoldfastError as error:
            self._say(f"when jobs were started cannot be kept: {error.message}")

    @property
    def is_well(self) -> bool:
        """Whether the loop turns, and no mount of this server has failed."""
        turns = time.monotonic() - self.looked < 20 * _TICK + 10
        return turns and all(each.state == OK for (kind, _), each in self.notices.known.items() if kind == "mount")


@contextmanager
def only_one(folder: Path, what: str = "run") -> Iterator[None]:
    """Nobody else runs this site, or this job of it, on this machine meanwhile.

    Raises:
        BusyError: somebody does.
        LocalError: the folder cannot be written.
    """
    with local_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(folder / f"{what.replace(' ', '-')}.lock", "w", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                message = f"another process does it already: {what}, with {folder}"
                raise BusyError(message, subject=str(folder), hint="stop that one first") from None
            yield
