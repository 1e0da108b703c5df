"""Web servers that sync, without disks and stores: dicts, messages that come late, clocks that are wrong, deaths at every step.

The steps and their order are those of :mod:`holdfast.sites.sync`; what is decided is decided by the real code.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.model.digest import digest_of
from holdfast.model.manifest import parents
from holdfast.sites.changes import Change, Content, newest
from holdfast.sites.logs import still_mine
from holdfast.sites.merging import Author, Disk, decide, join

FOLDER = "folder"


class DiedError(Exception):
    """The process was killed."""


def content_of(what: str) -> Content:
    """What lies at a path, as the code sees it."""
    return Content("dir", 0o755) if what == FOLDER else Content("file", 0o644, digest_of(what.encode()), size=len(what))


@dataclass
class World:
    """All servers, the logs in the store, the true time in microseconds, and every content that somebody replaced or deleted."""

    now: int = 10**15
    logs: dict[str, dict[str, Change]] = field(default_factory=dict)
    bytes: dict[str, str] = field(default_factory=dict)
    replaced: set[str] = field(default_factory=set)


@dataclass
class Server:
    """One server: its disk, and what it keeps over a crash."""

    world: World
    name: str
    skew: int = 0
    disk: dict[str, str] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    base: dict[str, Change] = field(default_factory=dict)
    pending: dict[str, Change] = field(default_factory=dict)
    saying: dict[str, Change] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    since: int = 0
    joining: bool = True
    view: dict[str, dict[str, Change]] = field(default_factory=dict)

    # people

    def write(self, path: str, what: str) -> None:
        """Somebody writes a file, and removes what is in the way."""
        for parent in parents(path):
            if self.disk.get(parent, FOLDER) != FOLDER:
                self.remove(parent)
        self.remove(path)
        for parent in parents(path):
            self._put(parent, FOLDER)
        self.world.bytes[digest_of(what.encode())] = what
        self._put(path, what)

    def remove(self, path: str) -> None:
        """Somebody removes a file or folder with all that is in it."""
        for each in [each for each in self.disk if each == path or each.startswith(path + "/")]:
            self.world.replaced.add(self.disk.pop(each))

    def _put(self, path: str, what: str) -> None:
        if self.disk.get(path) != what:
            self.disk[path] = what
            self.changed[path] = self.time

    @property
    def time(self) -> int:
        """By this server's clock."""
        return self.world.now + self.skew

    # the program

    def hear(self, names: set[str]) -> None:
        """Messages of these servers arrive."""
        self.view |= {name: dict(self.world.logs.get(name, {})) for name in names}

    def cycle(self, dies_at: int | None = None, meanwhile=lambda: None) -> None:
        """One look at everything; dies at the step of this number."""
        steps = iter(range(10**6))

        def reach() -> None:
            if next(steps) == dies_at:
                raise DiedError

        try:
            self._cycle(reach, meanwhile)
        except DiedError:
            return

    def _cycle(self, reach, meanwhile) -> None:
        for path, change in self.pending.items():
            there = self.disk.get(path)
            if (content_of(there).identity if there else None) == (change.content and change.content.identity):
                self.base[path] = change
        self.pending = {}
        self.hear({self.name})
        own = self.view[self.name]
        for path, change in self.saying.items():
            known = self.base.get(path)
            if path in own and own[path].rank == change.rank and (known is None or known.rank < change.rank):
                self.base[path] = change
        self.saying = {}
        winners = join(self.view.values())
        disk = Disk({path: content_of(what) for path, what in self.disk.items()}, dict(self.changed))
        author = Author(self.name, self.time, self.since, self.joining, accept_deletes=True)
        began = self.time
        outcome = decide(self.base, disk, winners, author)
        reach()
        self.saying = {path: change for path, change in outcome.publish.items() if path in outcome.accept}
        reach()
        mine = self.view.get(self.name, {})
        others = {name: log for name, log in self.view.items() if name != self.name}
        log = still_mine({**mine, **outcome.publish}, self.name, others)
        if log != mine:
            self.world.logs[self.name] = log
        reach()
        self.base |= outcome.accept
        self.saying = {}
        reach()
        meanwhile()
        self.pending = {path: deed.change for path, deed in outcome.apply.items()}
        reach()
        done = {}
        for path, deed in sorted(outcome.apply.items(), key=lambda item: (item[1].change.content is not None, item[0])):
            if self._apply(path, deed):
                done[path] = deed.change
            reach()
        self.base |= done
        self.pending = {}
        self.since, self.joining = began, False

    def _apply(self, path: str, deed) -> bool:
        there = self.disk.get(path)
        if (content_of(there) if there else None) != deed.there:
            return False
        if deed.change.content is None:
            if there == FOLDER and any(each.startswith(path + "/") for each in self.disk):
                return True
            self._take(path, deed.keep)
            return True
        if any(self.disk.get(parent, FOLDER) != FOLDER for parent in parents(path)):
            return False
        what = FOLDER if deed.change.content.kind == "dir" else self.world.bytes[deed.change.content.digest]
        if there == FOLDER and what != FOLDER and any(each.startswith(path + "/") for each in self.disk):
            return False
        self._take(path, deed.keep)
        for parent in parents(path):
            self._put(parent, FOLDER)
        self._put(path, what)
        return True

    def _take(self, path: str, keep: bool) -> None:
        there = self.disk.pop(path, None)
        if keep and there is not None:
            self.kept.append(there)


def settle(servers: list[Server]) -> int:
    """Let all messages come until nobody has anything to do; how many rounds it took."""
    for count in range(60):
        before = (
            [(dict(each.disk), dict(each.base)) for each in servers],
            {name: dict(log) for name, log in servers[0].world.logs.items()},
        )
        for each in servers:
            each.world.now += 1000
            each.hear(set(each.world.logs))
            each.cycle()
        after = (
            [(dict(each.disk), dict(each.base)) for each in servers],
            {name: dict(log) for name, log in servers[0].world.logs.items()},
        )
        if before == after:
            return count
    raise AssertionError("they do not come to rest")


__all__ = ["FOLDER", "Server", "World", "content_of", "newest", "settle"]
