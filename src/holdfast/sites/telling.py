"""Tells people what :mod:`holdfast.sites.notices` decided: runs a program, or POSTs to an address, each with a deadline; never a shell.

What is known, and what could not be delivered yet, lies in one file of the site's state folder, so a notice is told once, though this
process ends in between; one that dies between telling and writing that down tells it again. One process tells at a time, also what others
note meanwhile; these wait for it, but not for as long as many notices may take: then they leave theirs to it, or to the next. A program gets the notice as JSON on its
standard input and in variables, and nothing else of our environment; an address gets the JSON. Neither is ever given a secret.
"""

from __future__ import annotations

import fcntl
import json
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import urllib3

from holdfast.cache.work import write_whole
from holdfast.connections import pool_manager
from holdfast.disk import local_errors
from holdfast.sites.groups import code_of
from holdfast.sites.notices import Known, Notice, observed, overdue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path
    from typing import TextIO

    from holdfast.sites.notices import Observation, Subject
    from holdfast.sites.values import Notify

__all__ = ["Notices", "deliver"]

#: Notices that wait for somebody who cannot be told; older ones go.
_MOST: Final = 200
#: Seconds for which a process waits for another that tells, and between two looks whether it still does.
_PATIENCE, _TICK = 60.0, 0.05
#: Where programs of the system lie.
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Notices:
    """What is known of a site on this machine. Safe to use from several threads."""

    def __init__(self, path: Path, site: str, targets: Sequence[Notify], *, warn: Callable[[str], None]) -> None:
        self._path = path
        self._site = site
        self._targets = targets
        self._warn = warn
        self._lock = threading.Lock()
        self.known: dict[Subject, Known] = {}
        self._waiting: list[tuple[int, Notice]] = []
        self._read()

    def observe(self, observations: Iterable[Observation], now: float) -> None:
        """Remember, and note who is to be told; nobody is told before :meth:`tell`."""
        with self._alone():
            self.known, told = observed(self.known, observations, now)
            for notice in told:
                self._waiting += [(n, notice) for n, each in enumerate(self._targets) if notice.level in each.levels]
            self._waiting = self._waiting[-_MOST:]
            self._write()

    def look_for_overdue(self, patience: Mapping[Subject, float], now: float) -> None:
        """Note what has not been well for too long."""
        late = overdue(self.known, patience, now)
        if late:
            self.observe(late, now)

    def tell(self, *, patience: float = _PATIENCE) -> int:
        """Tell everybody what waits for them; how many notices wait still, for the next time.

        A process that waited so many seconds for another that tells leaves them to that.
        """
        if not self._waiting:
            return 0
        failed: set[int] = set()
        with self._turn(patience) as is_ours:
            while is_ours and (item := self._next(failed)) is not None:
                target, notice = item
                wrong = deliver(self._targets[target], self._site, notice)
                if wrong is not None:
                    failed.add(target)  # the later ones stay behind it, in their order
                    self._warn(wrong)
                    continue
                with self._alone():
                    if item in self._waiting:
                        self._waiting.remove(item)
                    self._write()
        return len(self._waiting)

    def _next(self, failed: AbstractSet[int]) -> tuple[int, Notice] | None:
        """What waits longest, by now, for who has not failed; what is for nobody whom the settings name is dropped."""
        with self._alone():
            known = [item for item in self._waiting if 0 <= item[0] < len(self._targets)]
            if known != self._waiting:
                self._waiting = known
                self._write()
            return next((item for item in known if item[0] not in failed), None)

    @contextmanager
    def _turn(self, patience: float) -> Iterator[bool]:
        """Nobody else tells meanwhile, of this process or another of this site; False where somebody did for so many seconds."""
        deadline = time.monotonic() + patience
        with local_errors(self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = open(self._path.with_suffix(".telling"), "w", encoding="utf-8")  # noqa: SIM115 - it is closed below
        with file:
            while not (is_ours := _is_locked(file)) and time.monotonic() < deadline:
                time.sleep(_TICK)
            yield is_ours

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other thread, and no other process of this site, writes meanwhile; what others wrote is read first."""
        with self._lock, local_errors(self._path.parent):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(self._path.with_suffix(".lock"), "w", encoding="utf-8") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._read()
                yield

    def _read(self) -> None:
        """What cannot be read is nothing: then what is not well is told once more."""
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            value = json.loads(self._path.read_text("utf-8"))
            known = {(each["kind"], each["name"]): Known(**each["known"]) for each in value["known"]}
            self._waiting = [(int(target), Notice(**notice)) for target, notice in value["waiting"]]
            self.known = known

    def _write(self) -> None:
        known = [{"kind": kind, "name": name, "known": asdict(each)} for (kind, name), each in self.known.items()]
        waiting = [[target, asdict(notice)] for target, notice in self._waiting]
        with local_errors(self._path.parent):
            write_whole(self._path, json.dumps({"known": known, "waiting": waiting}).encode())


def _is_locked(file: TextIO) -> bool:
    """Take the lock on a file, where nobody else has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def deliver(target: Notify, site: str, notice: Notice) -> str | None:
    """Tell one of it; None, or why it could not be: without an address, which often is a key."""
    body = asdict(notice) | {"site": site, "host": socket.gethostname()}
    return _run(target, body) if target.run else _post(target, body)


def _run(target: Notify, body: dict[str, Any]) -> str | None:
    shown = {f"HOLDFAST_{name.upper()}": str(body[name] or "").replace("\0", "") for name in body}
    with tempfile.TemporaryFile() as given:  # no pipe: a program need not read it
        given.write(json.dumps(body).encode())
        given.seek(0)
        try:
            process = subprocess.Popen(
                target.run,
                env=shown | {"PATH": _PATH, "LC_ALL": "C.UTF-8"},
                cwd="/",
                stdin=given,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return f"cannot start {target.run[0]}: {error}"
    code = code_of(process, target.deadline)
    if code is None:
        return f"{target.run[0]} was killed: it took longer than {target.deadline:g} s"
    return None if code == 0 else f"{target.run[0]} ended with code {code}"


def _post(target: Notify, body: dict[str, Any]) -> str | None:
    assert target.webhook is not None  # noqa: S101 - it is one or the other
    host = urlsplit(target.webhook).hostname
    timeout = urllib3.Timeout(total=target.deadline)
    try:
        with pool_manager() as pool:
            answer = pool.request(
                "POST",
                target.webhook,
                body=json.dumps(body).encode(),
                headers={"Content-Type": "application/json", "User-Agent": "holdfast"},
                timeout=timeout,
                redirect=False,
                preload_content=False,
            )
            status = answer.status
            answer.close()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        return f"{host} could not be told: {type(error).__name__}"
    return None if 200 <= status < 300 else f"{host} could not be told: it answered {status}"
