"""Fakes for tests: a store that fails by plan, and a clock that is set by hand. No test patches our own code.

:class:`FaultyStore` stands before any store and forwards every method of the protocol. A *plan* is asked before each call; it
answers a :class:`Fault` or None. :class:`Script` is a plan of one-shot rules, :class:`Chance` a plan that throws dice.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from holdfast.cache.assets import AssetsDir
from holdfast.catalog.bucket import BucketCatalog
from holdfast.errors import AlreadyExistsError, ChangedError, UnreachableError
from holdfast.model.result import NoProgress
from holdfast.model.version import BUILT_IN
from holdfast.repository import Repository
from holdfast.store.base import CREATE, OVERWRITE, Listing, Object, ObjectInfo, Promises, PutMode, Replace
from holdfast.transfer.engine import Engine

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

    from holdfast.store.base import Store

__all__ = ["Call", "Chance", "Fault", "FaultyStore", "Interrupting", "ManualClock", "Notes", "Script", "repository_on"]


class Interrupting(NoProgress):
    """Ctrl-C as soon as bytes were sent."""

    sending = False

    def start(self, what: str, total: int | None, files: int) -> None:
        """Remember whether files are sent, or read before."""
        self.sending = what == "push"

    def advance(self, count: int) -> None:
        """Interrupt."""
        if self.sending:
            raise KeyboardInterrupt


class Fault(Enum):
    """What goes wrong with one call."""

    #: The store is not reached; nothing is done.
    BEFORE = "before"
    #: The store does it, and the answer is lost.
    LOST = "lost"
    #: The store does a conditional write, the library sends it again, and the second one loses against the first.
    ECHO = "echo"
    #: The call takes long, and is done.
    SLOW = "slow"


@dataclass(frozen=True)
class Call:
    """One call, as a plan sees it."""

    verb: str
    key: str
    mode: PutMode | None = None

    @property
    def conditional(self) -> bool:
        """Whether it is a put with a condition."""
        return self.mode is CREATE or isinstance(self.mode, Replace)


class Script:
    """A plan of rules: verb and key by glob, a fault, and for how many matching calls after how many others."""

    def __init__(self) -> None:
        self._rules: list[list] = []
        self.met: list[Call] = []

    def add(self, fault: Fault, verb: str = "*", key: str = "*", *, times: int = 1, after: int = 0) -> Script:
        """One more rule; the first that fits a call counts."""
        self._rules.append([fault, verb, key, times, after])
        return self

    def __call__(self, call: Call) -> Fault | None:
        """The fault for this call."""
        for rule in self._rules:
            fault, verb, key, times, after = rule
            if times > 0 and fnmatchcase(call.verb, verb) and fnmatchcase(call.key, key):
                if after > 0:
                    rule[4] -= 1
                    continue
                rule[3] -= 1
                self.met.append(call)
                return fault
        return None

    @property
    def spent(self) -> bool:
        """Whether every rule has met its calls."""
        return all(rule[3] == 0 for rule in self._rules)


class Chance:
    """A plan that throws dice: each call that may fail does so with this probability."""

    def __init__(self, dice: random.Random, probability: float, *faults: Fault, only: str = "*") -> None:
        self._dice = dice
        self._faults = faults or tuple(Fault)
        self._only = only
        self.probability = probability

    def __call__(self, call: Call) -> Fault | None:
        """The fault for this call."""
        if not fnmatchcase(call.verb, self._only) or self._dice.random() >= self.probability:
            return None
        fault = self._dice.choice(self._faults)
        return None if fault is Fault.ECHO and not call.conditional else fault


def _none(_call: Call) -> None:
    return None


@dataclass
class FaultyStore:
    """A store before which calls fail by plan. ``calls`` counts them by verb; ``pause`` is called for slow ones."""

    store: Store
    plan: Callable[[Call], Fault | None] = _none
    pause: Callable[[], None] = lambda: None
    calls: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The store's."""
        return self.store.url

    def promises(self) -> Promises:
        """The store's."""
        return self._call(Call("promises", ""), self.store.promises)

    def get(self, key: str) -> Object:
        """The store's."""
        return self._call(Call("get", key), lambda: self.store.get(key))

    def get_range(self, key: str, start: int, length: int, *, version: str | None = None) -> Object:
        """The store's."""
        return self._call(Call("get_range", key), lambda: self.store.get_range(key, start, length, version=version))

    def head(self, key: str) -> ObjectInfo:
        """The store's."""
        return self._call(Call("head", key), lambda: self.store.head(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The store's, read to its end."""
        return iter(self._call(Call("list", prefix), lambda: [*self.store.list(prefix)]))

    def list_level(self, prefix: str) -> Listing:
        """The store's."""
        return self._call(Call("list_level", prefix), lambda: self.store.list_level(prefix))

    def put(self, key: str, data: ReadableBuffer, mode: PutMode = OVERWRITE) -> ObjectInfo:
        """The store's."""
        return self._call(Call("put", key, mode), lambda: self.store.put(key, data, mode))

    def put_file(self, key: str, source: BinaryIO, size: int, seen: Callable[[ReadableBuffer], None]) -> ObjectInfo:
        """The store's."""
        return self._call(Call("put_file", key), lambda: self.store.put_file(key, source, size, seen))

    def delete(self, key: str) -> None:
        """The store's."""
        self._call(Call("delete", key), lambda: self.store.delete(key))

    def copy(self, source: str, target: str) -> None:
        """The store's."""
        self._call(Call("copy", source), lambda: self.store.copy(source, target))

    def sweep(self, seconds: float) -> int:
        """The store's."""
        return self._call(Call("sweep", ""), lambda: self.store.sweep(seconds))

    def sign(self, key: str, method: str, seconds: int) -> str:
        """The store's."""
        return self._call(Call("sign", key), lambda: self.store.sign(key, method, seconds))

    def _call(self, call: Call, act):
        with self._lock:
            self.calls[call.verb] = self.calls.get(call.verb, 0) + 1
            fault = self.plan(call)
        if fault is Fault.BEFORE:
            raise UnreachableError(f"no answer to {call.verb} {call.key} (planned)", subject=call.key)
        if fault is Fault.SLOW:
            self.pause()
        result = act()
        if fault is Fault.LOST:
            raise UnreachableError(f"the answer to {call.verb} {call.key} was lost (planned)", subject=call.key)
        if fault is Fault.ECHO and call.mode is CREATE:
            raise AlreadyExistsError(f"{call.key} exists (planned)", subject=call.key)
        if fault is Fault.ECHO and isinstance(call.mode, Replace):
            raise ChangedError(f"{call.key} changed (planned)", subject=call.key)
        return result


class ManualClock:
    """A clock that stands still but for ``sleep`` and ``forward``."""

    def __init__(self, moment: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self.moment = moment
        self.slept = 0.0

    def now(self) -> datetime:
        """The moment that it was set to."""
        return self.moment

    def sleep(self, seconds: float) -> None:
        """Go forward at once."""
        self.slept += seconds
        self.moment += timedelta(seconds=seconds)

    def since_boot(self) -> float:
        """Goes with it."""
        return self.moment.timestamp()

    def forward(self, **amount: float) -> None:
        """Go forward by so many ``hours``, ``seconds`` …"""
        self.moment += timedelta(**amount)


class Notes(NoProgress):
    """Keeps what a person would have been warned of, and the stages of the work that were shown."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.stages: list[str] = []

    def start(self, what: str, total: int | None, files: int) -> None:
        """Keep which it is."""
        self.stages.append(what)

    def warn(self, message: str) -> None:
        """Keep it."""
        self.warnings.append(message)


def repository_on(
    store: Store, folder: Path, clock: ManualClock | None = None, who: str = "tester", **options
) -> Repository:
    """A repository of one machine, which keeps its cache and its journal in the folder."""
    (folder / "assets").mkdir(parents=True, exist_ok=True)
    clock = clock or ManualClock()
    scheme = BUILT_IN["major_minor"]
    return Repository(
        store,
        BucketCatalog(store, clock, who, scheme),
        Engine(jobs=2, progress=Notes()),
        AssetsDir(folder / "assets"),
        clock=clock,
        who=who,
        state=folder / "state",
        place=store.url,
        scheme=scheme,
        **options,
    )
