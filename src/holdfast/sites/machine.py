"""Gathers what ``asset site doctor`` judges of this machine. Nothing is changed, and no mount is touched: a hung one would hang this too."""

from __future__ import annotations

import os
import shutil
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast import wiring
from holdfast.config import load
from holdfast.errors import AccessError, HoldfastError
from holdfast.mount.live import MERGERFS, MOUNTERS
from holdfast.mount.live.finding import found, version_of
from holdfast.mount.registry import Registry
from holdfast.sites.buckets import settings_of
from holdfast.sites.doctor import Machine
from holdfast.sites.localparts import local_paths

if TYPE_CHECKING:
    from holdfast.mount.live.templates import Program
    from holdfast.sites.plan import Plan

__all__ = ["Places", "gather"]

#: Names of programs that read every file there is.
_SCANNERS: Final = frozenset(
    ("clamonacc", "clamd", "falcon-sensor", "wdavdaemon", "mdatp", "maldet", "savd", "fapolicyd")
)
#: Seconds within which a server tells its time.
_PATIENCE: Final = 10.0
#: More directories than this are not counted.
_MOST: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Places:
    """Where the system keeps what is looked at."""

    root: Path = Path("/")

    def text(self, path: str) -> str | None:
        """What a file says; None where it cannot be read."""
        with suppress(OSError):
            return (self.root / path).read_text("utf-8", errors="replace")
        return None


def gather(plan: Plan, places: Places = Places()) -> Machine:
    """Every fact, each by itself: one that cannot be found out keeps no other from being."""
    settings = load()
    version, problem = _version(MOUNTERS[plan.mounter]) if plan.mounts else (None, None)
    merged = any(mount.branches for mount in plan.mounts) or (plan.mode == "whole" and bool(local_paths(plan)))
    union, union_problem = _version(MERGERFS) if merged else (None, None)
    clock, why = _clock(plan)
    registry = settings.state_dir / "mounts"
    mounts, abilities = _mounts(registry)
    return Machine(
        fuse=_opens(places.root / "dev/fuse"),
        fuse_conf=places.text("etc/fuse.conf"),
        is_root=os.geteuid() == 0,
        mounter=version,
        mounter_problem=problem,
        mergerfs=union,
        mergerfs_problem=union_problem,
        clock=clock,
        clock_problem=why,
        updatedb=places.text("etc/updatedb.conf"),
        scanners=_scanners(places.root / "proc"),
        watches=_number(places.text("proc/sys/fs/inotify/max_user_watches")),
        directories=_directories(plan),
        cache_folder=str(registry),
        cache=_free(registry),
        mounts=mounts,
        abilities=abilities,
    )


def _opens(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _version(tool: Program) -> tuple[str | None, str | None]:
    """Its path and version, or why there is none that can be used."""
    settings = load()
    try:
        program = found(tool, settings.mount_path, settings.environ)
        return f"{program}, {'.'.join(map(str, version_of(tool, program)))}", None
    except HoldfastError as error:
        return None, error.message


def _clock(plan: Plan) -> tuple[float | None, str | None]:
    """How far this clock is ahead of the first store's, in seconds, by a scratch object; or why that is not known."""
    try:
        repository = wiring.open_settings(settings_of(plan.stores[0]))
        before = time.time()
        told = repository.catalog.store_now().timestamp()
        after = time.time()
    except AccessError as error:  # a clock that is far off is itself why the store refuses
        off = _off_by_its_date(plan.stores[0].endpoint)
        return off, None if off is not None else error.message
    except HoldfastError as error:
        return None, error.message
    if before - 1 <= told <= after + 1:  # the store tells whole seconds
        return 0.0, None
    return (before + after) / 2 - told, None


def _off_by_its_date(endpoint: str | None) -> float | None:
    """How far this clock is ahead of the time that a server puts on any answer, in seconds; None where it tells none."""
    if endpoint is None or not endpoint.startswith(("http://", "https://")):
        return None
    try:
        with urllib.request.urlopen(endpoint, timeout=_PATIENCE) as answer:  # noqa: S310 - its scheme was looked at
            headers = answer.headers
    except urllib.error.HTTPError as error:
        with error:
            headers = error.headers
    except (OSError, ValueError, HTTPException):
        return None
    try:
        told = parsedate_to_datetime(headers["Date"]).timestamp()
    except (TypeError, ValueError):
        return None
    return time.time() - told


def _scanners(proc: Path) -> tuple[str, ...]:
    names = set()
    with suppress(OSError):
        for entry in proc.iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    names.add((entry / "comm").read_text("utf-8", errors="replace").strip())
    return tuple(sorted(names & _SCANNERS))


def _directories(plan: Plan) -> int | None:
    """How many directories of the webroot are this machine's own: what is mounted is not walked into."""
    if not plan.sync_webroots or plan.mode == "whole":
        return None
    count, places = 0, {mount.place for mount in plan.mounts}
    for folder, names, _ in os.walk(plan.webroot):
        count += 1
        names[:] = [name for name in names if os.path.join(folder, name) not in places]
        if count >= _MOST:
            break
    return count


def _free(folder: Path) -> int | None:
    """Bytes free where the folder is, or will be."""
    there = next((each for each in (folder, *folder.parents) if each.exists()), None)
    with suppress(OSError):
        return None if there is None else shutil.disk_usage(there).free
    return None


def _mounts(folder: Path) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """The state of each mount and what its own test found, as its supervisor wrote them down."""
    states: dict[str, str] = {}
    abilities: dict[str, dict[str, str]] = {}
    with suppress(HoldfastError):
        for record in Registry(folder).records():
            state = record.state
            tested: Any = state.more.get("abilities", {})
            states[record.settings.dir] = state.state if state.state == "mounted" else f"{state.state}: {state.health}"
            abilities[record.settings.dir] = {str(name): str(text) for name, text in dict(tested or {}).items()}
    return states, abilities


def _number(text: str | None) -> int | None:
    with suppress(ValueError):
        return None if text is None else int(text)
    return None
