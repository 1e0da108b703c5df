"""The mounts of this user on this machine: one folder each, which outlives its processes and the machine's boots.

    <state>/mounts/<name>-<digest of the directory>/
        mount.json        what is mounted where, and how          written once, by whoever mounts
        state.json        how it is: state, processes, counters   written by its supervisor alone
        request.json      what is wanted of its supervisor when it ends
        events.log        what happened to it, a JSON object a line
        supervisor.log    what its processes print
        turn              locked while somebody mounts there

Both kinds of mounts, a version and a live bucket, are kept here; what is theirs alone stands under ``options`` and ``more``. Files are
written beside and renamed, so a reader sees the old or the new one. Nothing here ever touches a mount.

Example::

    registry = Registry(settings.state_dir / "mounts")
    with registry.claimed(MountSettings("/mnt/a", "nlp/bert:1.2", "version", {})) as record:
        ...                                         # start the supervisor, which calls record.write(state)
    for record in registry.records():
        print(record.settings.dir, record.state.state)
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import stat
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.disk import local_errors
from holdfast.errors import BusyError, ConflictError, LocalError
from holdfast.model.digest import digest_of
from holdfast.mount.process import Process

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Event", "MountSettings", "Record", "Registry", "State", "name_of", "record_at", "refuse_served"]

#: An event log that is longer is put aside, in the place of the one before it.
_LONGEST: Final = 1 << 20
#: States in which nothing is served, though the record stays.
DEAD: Final = "dead"
UNSUPERVISED: Final = "unsupervised"


@dataclass(frozen=True, slots=True)
class MountSettings:
    """What is mounted where. ``dir`` is absolute and without links; ``kind`` is ``version`` or a mounter's name.

    ``options`` are plain JSON values that only those who serve this kind read.
    """

    dir: str
    source: str
    kind: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class State:
    """How a mount is. Counters are bytes, or None where nobody counts them; ``since`` is seconds since the epoch.

    ``state`` is one of mounting, mounted, remounting, unmounting, unmounted, failed; a record whose supervisor is gone is told to be
    dead, or unsupervised where its worker goes on without. ``health`` is a line for people. ``more`` is the kind's own.
    """

    state: str = "mounting"
    supervisor: Process | None = None
    worker: Process | None = None
    restarts: int = 0
    bytes_read: int | None = None
    bytes_fetched: int | None = None
    since: float = 0.0
    health: str = ""
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened: when (seconds since the epoch), what, and in words."""

    time: float
    event: str
    text: str


@dataclass(frozen=True, slots=True)
class Record:
    """One mount's folder."""

    folder: Path
    settings: MountSettings

    @property
    def state(self) -> State:
        """How it is now, by its supervisor; by looking at the processes where that is gone."""
        return _judged(self._written())

    @property
    def is_served(self) -> bool:
        """Whether a process of it lives."""
        state = self._written()
        return any(process is not None and process.lives for process in (state.supervisor, state.worker))

    def write(self, state: State) -> State:
        """Make this its state. Only the supervisor does so, or who mounts before there is one."""
        before = self._written()
        since = before.since if before.since and before.state == state.state else time.time()
        state = replace(state, since=since)
        _write_json(self.folder / "state.json", asdict(state), durable=False)
        return state

    def event(self, event: str, text: str) -> None:
        """Add to the event log."""
        path = self.folder / "events.log"
        line = json.dumps({"time": round(time.time(), 3), "event": event, "text": text}) + "\n"
        with local_errors(path), open(path, "a", encoding="utf-8") as log:
            log.write(line)
            size = log.tell()
        if size > _LONGEST:
            os.replace(path, path.with_suffix(".log.1"))

    def events(self) -> list[Event]:
        """The event log, oldest first, as far as it is kept; a line that was cut is left out."""
        found = []
        for path in (self.folder / "events.log.1", self.folder / "events.log"):
            with suppress(OSError):
                for line in path.read_text("utf-8").splitlines():
                    with suppress(ValueError, KeyError, TypeError):
                        value = json.loads(line)
                        found.append(Event(float(value["time"]), str(value["event"]), str(value["text"])))
        return found

    def reinstate(self, state: State) -> None:
        """Have the folder describe this mount again, after another that came to nothing."""
        _write_json(self.folder / "mount.json", asdict(self.settings), durable=True)
        self.write(state)

    def request(self, **wanted: bool) -> None:
        """Tell the supervisor what is wanted of it when it is ended by SIGTERM: ``asset unmount`` says ``unmount`` and ``discard``."""
        _write_json(self.folder / "request.json", wanted, durable=False)

    def requested(self, name: str) -> bool:
        """Whether this was wanted; a supervisor that is ended with the machine is asked for nothing."""
        try:
            return bool(json.loads((self.folder / "request.json").read_text("utf-8"))[name])
        except (OSError, ValueError, TypeError, KeyError):
            return False

    def value(self) -> dict[str, object]:
        """The mount as ``asset mounts --json`` shows it."""
        state = self.state
        return {
            "dir": self.settings.dir,
            "source": self.settings.source,
            "kind": self.settings.kind,
            "state": state.state,
            "supervisor_pid": _pid(state.supervisor),
            "worker_pid": _pid(state.worker),
            "restarts": state.restarts,
            "health": state.health,
            "bytes_read": state.bytes_read,
            "bytes_fetched": state.bytes_fetched,
        }

    def remove(self) -> None:
        """Forget the mount, with all that lies in its folder."""
        with suppress(OSError):
            (self.folder / "mount.json").unlink()  # first: without it the folder is nobody's
        shutil.rmtree(self.folder, ignore_errors=True)

    def _written(self) -> State:
        try:
            return _state_of(json.loads((self.folder / "state.json").read_text("utf-8")))
        except (OSError, ValueError, TypeError, KeyError):
            return State(DEAD, health="its state cannot be read")


class Registry:
    """All mounts below one folder, ``<state>/mounts``, which its user alone may write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def records(self) -> list[Record]:
        """All mounts by directory, those of before a reboot too; what cannot be read is none."""
        if not self._opened():
            return []
        with os.scandir(self.folder) as entries:
            found = [record for entry in entries if (record := record_at(Path(entry.path))) is not None]
        return sorted(found, key=lambda record: record.settings.dir)

    def find(self, directory: str) -> Record | None:
        """The mount at this very directory."""
        return record_at(self.folder_of(directory)) if self._opened() else None

    def above(self, directory: str) -> Record | None:
        """The mount that this directory, which is not its own, lies in."""
        return next((r for r in self.records() if directory.startswith(r.settings.dir.rstrip("/") + "/")), None)

    def refuse_inside(self, directory: str) -> None:
        """Raise ConflictError for a directory inside another mount, which may be down at the moment."""
        if (above := self.above(directory)) is not None:
            message = f"{directory} lies inside the mount of {above.settings.source} at {above.settings.dir}"
            raise ConflictError(message, subject=directory, hint="choose a directory outside of it")

    @contextmanager
    def claimed(self, settings: MountSettings) -> Iterator[Record]:
        """A folder for a new mount, whose record stands for as long as nobody removes it; one that is not served is written over.

        What else lies in the folder (a cache with unsent writes) stays.

        Raises:
            BusyError: somebody mounts or unmounts there at this moment, or something is served there already.
            LocalError: the folder cannot be written, or others may write it.
        """
        folder = self.folder_of(settings.dir)
        with self.turn(settings.dir):
            refuse_served(record_at(folder))
            with suppress(FileNotFoundError):
                (folder / "request.json").unlink()
            _write_json(folder / "mount.json", asdict(settings), durable=True)
            record = Record(folder, settings)
            record.write(State())
            yield record

    def folder_of(self, directory: str) -> Path:
        """Where the record of a mount at this directory lies, whether or not there is one."""
        return self.folder / name_of(directory)

    @contextmanager
    def turn(self, directory: str) -> Iterator[None]:
        """Nobody else mounts or unmounts at this directory meanwhile.

        Raises:
            BusyError: somebody does.
            LocalError: the folder cannot be written, or others may write it.
        """
        folder = self.folder_of(directory)
        self._opened()
        with local_errors(self.folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.chmod(self.folder, 0o700)
            os.chmod(folder, 0o700)
        with _turn(folder, directory):
            try:
                yield
            finally:  # before another has the turn, whose record could go with it
                if record_at(folder) is None and not _lies_more_in(folder):
                    shutil.rmtree(folder, ignore_errors=True)

    def _opened(self) -> bool:
        """Whether the folder is there; it is looked at, for who writes it says what root ends and unmounts."""
        try:
            status = os.lstat(self.folder)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise LocalError(f"cannot read {self.folder}: {error.strerror}", subject=str(self.folder)) from error
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise LocalError(
                f"{self.folder} is no folder that you alone may write",
                subject=str(self.folder),
                hint="it keeps what is mounted: chown it to yourself and chmod 700, or set XDG_STATE_HOME to a folder of your own",
            )
        return True


@contextmanager
def _turn(folder: Path, directory: str) -> Iterator[None]:
    """Nobody else mounts there meanwhile."""
    with local_errors(folder), open(folder / "turn", "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file.fileno()).st_nlink == 0:
                raise BlockingIOError  # it went with the folder of who had the turn just now
        except OSError:
            message = f"another process mounts or unmounts at {directory} at this moment"
            raise BusyError(message, subject=directory, hint="wait until it is done") from None
        yield


def _lies_more_in(folder: Path) -> bool:
    """Whether more than the lock lies in the folder of a mount that is none."""
    with suppress(OSError):
        return os.listdir(folder) != ["turn"]
    return True


def name_of(directory: str) -> str:
    """A folder's name for a directory: readable, and another one for each."""
    last = re.sub(r"[^A-Za-z0-9._-]", "_", directory.rpartition("/")[2])[:40].lstrip(".")
    return f"{last or 'mount'}-{digest_of(os.fsencode(directory))[:16]}"


def refuse_served(before: Record | None) -> None:
    """Raise BusyError where a mount is served already."""
    if before is not None and before.is_served:
        raise BusyError(
            f"{before.settings.dir} is a mount of {before.settings.source} already",
            subject=before.settings.dir,
            hint=f"asset unmount {before.settings.dir}",
        )


def record_at(folder: Path) -> Record | None:
    """The mount whose folder this is; None where it is no mount's, or cannot be read."""
    try:
        value = json.loads((folder / "mount.json").read_text("utf-8"))
        texts = {name: value[name] for name in ("dir", "source", "kind")}
        if all(isinstance(text, str) for text in texts.values()) and isinstance(value["options"], dict):
            return Record(folder, MountSettings(**texts, options=value["options"]))
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _state_of(value: dict[str, Any]) -> State:
    processes = {name: None if value[name] is None else Process(**value[name]) for name in ("supervisor", "worker")}
    return State(**(value | processes))


def _judged(state: State) -> State:
    if state.supervisor is None or state.supervisor.lives or state.state == "unmounted":
        return state
    if state.worker is not None and state.worker.lives:
        return replace(
            state, state=UNSUPERVISED, supervisor=None, health="its supervisor is gone, and its worker goes on"
        )
    return replace(state, state=DEAD, supervisor=None, worker=None, health="its processes are gone")


def _pid(process: Process | None) -> int | None:
    return None if process is None else process.pid


def _write_json(path: Path, value: object, *, durable: bool) -> None:
    """Replace a file, readable by its owner only, by one with this value."""
    part = path.with_name(f"{path.name}.part")
    with local_errors(path):
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(value, file)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)
