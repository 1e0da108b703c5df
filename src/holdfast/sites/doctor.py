"""What ``asset site doctor`` judges of a machine: pure, from facts that :mod:`holdfast.sites.machine` gathers.

Each check is ok, a warning or an error, and says what to do. A fact that could not be found out is a warning, never taken for good news.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from holdfast.sites.plan import Plan

__all__ = ["CHECKS", "QUOTAS", "Check", "Machine", "examined"]

OK: Final = "ok"
WARNING: Final = "warning"
ERROR: Final = "error"
#: Seconds by which this clock may differ: S3 refuses requests that are 15 minutes off.
_CLOCK: Final = (60.0, 600.0)
#: Bytes that a cache disk should have free, and must have.
_CACHE: Final = (5 << 30, 1 << 30)
#: What providers are known to limit: part of an endpoint's host → what to plan for. Their pages have the last word.
QUOTAS: Final = {
    "digitaloceanspaces.com": "240 requests a second and bucket, 150 of writes and lists; 5 writes of one object in 5 minutes",
    "linodeobjects.com": "bytes and objects are limited for the account at each endpoint (from 5 TB and 50 million), and 1000 buckets",
    "backblazeb2.com": "old versions of objects stay, and cost, until a lifecycle rule removes them",
    "wasabisys.com": "what is deleted early is paid for until its least time is over",
    "r2.cloudflarestorage.com": "one write a second of one object",
    "amazonaws.com": "3,500 writes and 5,500 reads a second for each prefix",
}


@dataclass(frozen=True, slots=True)
class Check:
    """One check: ``state`` is ok, warning or error, ``hint`` what to do."""

    name: str
    state: str
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Facts of this machine; None where one could not be found out.

    ``clock`` is how many seconds it is ahead of the store's; ``watches`` how many directories inotify may watch, ``directories`` how
    many there are below the webroot; ``cache`` bytes free where caches of mounts lie; ``scanners`` services that read every file.
    ``abilities`` are a mount's, by place, as its own test found them.
    """

    fuse: bool | None = None
    fuse_conf: str | None = None
    is_root: bool = False
    mounter: str | None = None
    mounter_problem: str | None = None
    mergerfs: str | None = None
    mergerfs_problem: str | None = None
    clock: float | None = None
    clock_problem: str | None = None
    updatedb: str | None = None
    scanners: tuple[str, ...] = ()
    watches: int | None = None
    directories: int | None = None
    cache_folder: str = ""
    cache: int | None = None
    mounts: dict[str, str] = field(default_factory=dict)
    abilities: dict[str, dict[str, str]] = field(default_factory=dict)


def examined(plan: Plan, machine: Machine) -> list[Check]:
    """Every check that this site needs, in the order of the table."""
    return [check for judge in CHECKS.values() for check in judge(plan, machine)]


def _fuse(plan: Plan, machine: Machine) -> Iterator[Check]:
    if not plan.mounts:
        return
    if not machine.fuse:
        hint = "modprobe fuse; in a container, give it /dev/fuse and the right to mount"
        yield Check("fuse", ERROR, "there is no /dev/fuse that can be used: no bucket can be mounted", hint)
    else:
        yield Check("fuse", OK, "/dev/fuse is there")


def _allow_other(plan: Plan, machine: Machine) -> Iterator[Check]:
    """The web server is another user than who mounts."""
    if not plan.mounts:
        return
    allowed = machine.fuse_conf is not None and re.search(r"^\s*user_allow_other\s*$", machine.fuse_conf, re.MULTILINE)
    if machine.is_root or allowed:
        yield Check("allow_other", OK, f"{plan.web_user} can be shown what is mounted")
    else:
        hint = "put a line user_allow_other into /etc/fuse.conf, or mount as root"
        yield Check("allow_other", ERROR, f"{plan.web_user} could not see what another user mounts", hint)


def _mounter(plan: Plan, machine: Machine) -> Iterator[Check]:
    if not plan.mounts:
        return
    if machine.mounter_problem is not None:
        yield Check(
            "mounter", ERROR, machine.mounter_problem, f"install {plan.mounter}, or name its folder in mount_path"
        )
    else:
        yield Check("mounter", OK, f"{plan.mounter} is {machine.mounter}")
    if machine.mergerfs_problem is not None:
        hint = "merged directories, and what stays local below a whole webroot, need it: apt-get install mergerfs, or name its folder in mount_path"
        yield Check("mergerfs", ERROR, machine.mergerfs_problem, hint)
    elif machine.mergerfs is not None:
        yield Check("mergerfs", OK, f"mergerfs is {machine.mergerfs}")


def _clock(plan: Plan, machine: Machine) -> Iterator[Check]:
    del plan
    hint = "chronyc makestep, or timedatectl set-ntp true"
    if machine.clock is None:
        why = machine.clock_problem or "no store told its time"
        yield Check("clock", WARNING, f"the clock could not be compared: {why}", "asset doctor looks at the store")
        return
    off = abs(machine.clock)
    state = ERROR if off > _CLOCK[1] else WARNING if off > _CLOCK[0] else OK
    way = "ahead of" if machine.clock > 0 else "behind"
    yield Check("clock", state, f"this clock is {off:.0f} s {way} the store's", "" if state == OK else hint)


def _quotas(plan: Plan, machine: Machine) -> Iterator[Check]:
    del machine
    hosts = dict.fromkeys(store.endpoint or "" for store in (*plan.stores, *(copy.store for copy in plan.copies)))
    for host in hosts:
        known = next((text for part, text in QUOTAS.items() if part in host), None)
        if known is not None:
            yield Check(
                "quota", OK, f"{host}: {known}", "compare with asset site replicate --status, which counts objects"
            )
        elif host:
            yield Check(
                "quota",
                WARNING,
                f"{host}: its limits are not known here",
                "ask the provider how much a bucket may hold",
            )


def _updatedb(plan: Plan, machine: Machine) -> Iterator[Check]:
    """A nightly index would read every object's name, and pay for it."""
    if not plan.mounts or machine.updatedb is None:
        return
    lines = dict(re.findall(r"^\s*(PRUNEPATHS|PRUNEFS)\s*=\s*\"?([^\"\n]*)", machine.updatedb, re.MULTILINE))
    kinds = {{"mount-s3": "fuse"}.get(plan.mounter, f"fuse.{plan.mounter}")}
    kinds |= {"fuse.mergerfs" for mount in plan.mounts if mount.branches}
    if kinds <= set(lines.get("PRUNEFS", "").split()):
        yield Check("updatedb", OK, "updatedb passes over these mounts")
        return
    paths = lines.get("PRUNEPATHS", "").split()
    open_ones = [
        each for each in _places(plan) if not any(f"{each}/".startswith(f"{path.rstrip('/')}/") for path in paths)
    ]
    if open_ones:
        hint = f'add them to PRUNEPATHS in /etc/updatedb.conf: PRUNEPATHS="… {" ".join(open_ones)}"'
        yield Check("updatedb", WARNING, f"updatedb reads {', '.join(open_ones)} every night", hint)
    else:
        yield Check("updatedb", OK, "updatedb passes over these mounts")


def _scanners(plan: Plan, machine: Machine) -> Iterator[Check]:
    if plan.mounts and machine.scanners:
        places = " ".join(_places(plan))
        yield Check(
            "scanners", WARNING, f"{', '.join(machine.scanners)} may read every object", f"exclude {places} there"
        )
    elif plan.mounts:
        yield Check("scanners", OK, "no scanner is known to run here")


def _inotify(plan: Plan, machine: Machine) -> Iterator[Check]:
    if not plan.sync_webroots:
        return
    if machine.watches is None or machine.directories is None:
        yield Check(
            "inotify", WARNING, "how many directories can be watched is not known", "changes are found by scans then"
        )
    elif machine.watches < 2 * machine.directories:
        need = max(524288, 4 * machine.directories)
        hint = f"sysctl -w fs.inotify.max_user_watches={need}, and in /etc/sysctl.d"
        yield Check("inotify", ERROR if machine.watches < machine.directories else WARNING, f"{machine.directories} directories, and {machine.watches} can be watched by all programs together", hint)  # fmt: skip
    else:
        yield Check("inotify", OK, f"{machine.directories} directories, {machine.watches} can be watched")


def _cache(plan: Plan, machine: Machine) -> Iterator[Check]:
    if not plan.mounts:
        return
    if machine.cache is None:
        yield Check(
            "cache", WARNING, f"the space at {machine.cache_folder} is not known", "make the folder, and look with df"
        )
        return
    state = ERROR if machine.cache < _CACHE[1] else WARNING if machine.cache < _CACHE[0] else OK
    hint = (
        ""
        if state == OK
        else "free some, or put the state folder on a larger disk: writes wait there until they are sent"
    )
    yield Check("cache", state, f"{machine.cache / (1 << 30):.1f} GiB are free at {machine.cache_folder}", hint)


def _mounts(plan: Plan, machine: Machine) -> Iterator[Check]:
    needs = ("write", "overwrite", "rename") if plan.mode == "whole" else ("write", "read_after_write")
    for place in _places(plan):
        state = machine.mounts.get(place)
        if state is None:
            yield Check("mount", WARNING, f"{place} is not mounted on this machine", "asset site attach mounts it")
        elif state != "mounted":
            yield Check(
                "mount",
                ERROR,
                f"{place}: {state}",
                "asset mounts tells more, and its log lies in the mount's state folder",
            )
        else:
            tests = machine.abilities.get(place, {})
            lacking = [f"{each}: {tests.get(each, 'not tried')}" for each in needs if tests.get(each) != "yes"]
            if lacking and tests:
                yield Check(
                    "mount",
                    ERROR,
                    f"{place} cannot do what the site needs: {'; '.join(lacking)}",
                    "use another mounter",
                )
            else:
                yield Check("mount", OK, f"{place} is mounted{', and passed its own test' if tests else ''}")


def _places(plan: Plan) -> list[str]:
    return [place for mount in plan.mounts for place in (*mount.branches, mount.place)]


#: Name → what judges it; in the order in which they are told.
CHECKS: Final[dict[str, Callable[[Plan, Machine], Iterator[Check]]]] = {
    "fuse": _fuse,
    "allow_other": _allow_other,
    "mounter": _mounter,
    "mount": _mounts,
    "cache": _cache,
    "clock": _clock,
    "quota": _quotas,
    "updatedb": _updatedb,
    "scanners": _scanners,
    "inotify": _inotify,
}
