"""A mount that follows its spec: once that names another version, the root shows that one, at once and whole.

Node numbers tell which of the versions they are of (the *generation*), so whatever was open stays what it was. The root has one number, and is
always the newest's. Which versions there were is kept in the mount's folder: a worker that was started anew knows the numbers of its predecessor.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from holdfast.cache.work import write_whole
from holdfast.errors import HoldfastError
from holdfast.mount.base import ROOT
from holdfast.mount.nodes import generation_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from holdfast.mount.base import Attributes, Buffer, Item
    from holdfast.mount.view import Events, VersionView

__all__ = ["FollowingView", "History", "Shown"]

#: A version that the root does not show any more is closed once nobody asked for it for so many seconds.
_IDLE: Final = 120.0


@dataclass(frozen=True, slots=True)
class Shown:
    """A version that a mount showed, or shows: its number, the id of its meta, and the meta's bytes as text."""

    version: str
    id: str
    meta: str


class History:
    """The versions that one mount showed, in order; kept in a file, if there is a folder for it.

    ``mount`` tells this mount from others that were there before: their histories are not read.
    """

    def __init__(self, folder: Path | None, mount: str) -> None:
        self._path = None if folder is None else folder / "versions.json"
        self._mount = mount
        self.shown: list[Shown] = self._read()

    def _read(self) -> list[Shown]:
        if self._path is None:
            return []
        try:
            value: Any = json.loads(self._path.read_bytes())
            return [Shown(**each) for each in value["shown"]] if value["mount"] == self._mount else []
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def catch_up(self) -> None:
        """Take up what another worker of this mount has added since: the numbers that it gave out are of these versions."""
        found = self._read()
        if len(found) > len(self.shown):
            self.shown = found

    def add(self, shown: Shown) -> int:
        """One more; its generation.

        Raises:
            OSError: it cannot be kept.
        """
        found = [*self.shown, shown]
        if self._path is not None:
            plain = [{"version": each.version, "id": each.id, "meta": each.meta} for each in found]
            write_whole(self._path, json.dumps({"mount": self._mount, "shown": plain}).encode())
        self.shown = found
        return len(found) - 1


class FollowingView:
    """The versions that a spec names, one after the other.

    Args:
        history: with one version at least.
        opened: opens the version of a generation.
        newest: what the spec names now.
        pause: seconds between two looks.
        events: told of each new version, and why one could not be looked for.
    """

    def __init__(
        self,
        history: History,
        opened: Callable[[Shown, int], VersionView],
        newest: Callable[[str], Shown | None],
        pause: float,
        events: Events,
    ) -> None:
        self._history = history
        self._opened = opened
        self._newest = newest
        self._pause = pause
        self._events = events
        self._guard = threading.Lock()
        self._changed: Callable[[list[bytes]], None] = lambda _: None
        self._generation = len(history.shown) - 1
        self._current = opened(history.shown[-1], self._generation)
        self._views: dict[int, VersionView] = {self._generation: self._current}
        self._used: dict[int, float] = {}
        self._fetched = 0  # by views that are closed
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="holdfast-follow", daemon=True)
        self._thread.start()

    def watch(self, changed: Callable[[list[bytes]], None]) -> None:
        """Tell somebody the names in the root that may show something else by now, each time after the root has changed."""
        self._changed = changed

    def listen(self, tell: Callable[[str], None]) -> None:
        """Tell somebody what goes wrong."""
        self._events.listen(tell)

    @property
    def version(self) -> str:
        """The version that the root shows."""
        return self._history.shown[self._generation].version

    @property
    def totals(self) -> tuple[int, int]:
        """Bytes and files of the version that the root shows."""
        return self._current.totals

    @property
    def bytes_read(self) -> int:
        """Bytes that were read of the version that the root shows."""
        return self._current.bytes_read

    @property
    def bytes_fetched(self) -> int:
        """Bytes that came from the store."""
        return self._fetched + sum(view.bytes_fetched for view in [*self._views.values()])

    @property
    def is_exhausted(self) -> bool:
        """Whether the threads that read one of its versions are used up by reads that do not come back."""
        return any(view.is_exhausted for view in [*self._views.values()])

    def lookup(self, parent: int, name: bytes) -> Attributes | None:
        """See the protocol."""
        return self._of(parent).lookup(parent, name)

    def attributes(self, node: int) -> Attributes:
        """See the protocol."""
        return self._of(node).attributes(node)

    def items(self, node: int, position: int) -> Iterator[Item]:
        """See the protocol."""
        return self._of(node).items(node, position)

    def target(self, node: int) -> bytes:
        """See the protocol."""
        return self._of(node).target(node)

    def read(self, node: int, offset: int, size: int) -> Buffer:
        """See the protocol."""
        return self._of(node).read(node, offset, size)

    def whole(self, node: int) -> int | None:
        """See the protocol."""
        return self._of(node).whole(node)

    def close(self) -> None:
        """See the protocol."""
        self._end.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=1.0)
        for view in [*self._views.values()]:
            view.close()

    def _of(self, node: int) -> VersionView:
        """The view that a number is of."""
        if node == ROOT:
            return self._current
        generation = generation_of(node)
        if generation != self._generation:
            self._used[generation] = time.monotonic()
        return self._views.get(generation) or self._again(generation)

    def _again(self, generation: int) -> VersionView:
        """The view of a version that was closed, or that another worker showed."""
        with self._guard:
            found = self._views.get(generation)
            if found is not None:
                return found
            if generation >= len(self._history.shown):
                self._history.catch_up()
            if generation >= len(self._history.shown):
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            try:
                found = self._opened(self._history.shown[generation], generation)
            except HoldfastError as error:
                self._events(error.message)
                raise OSError(errno.EIO, os.strerror(errno.EIO)) from error
            self._views[generation] = found
            return found

    # following

    def _follow(self) -> None:
        while not self._end.wait(self._pause):
            try:
                self.look()
            except (HoldfastError, OSError) as error:
                self._events(f"whether there is a newer version cannot be told: {error}")
            self._close_idle()

    def look(self) -> bool:
        """Show what the spec names now, if that is another version; whether it is."""
        self._history.catch_up()
        newest = len(self._history.shown) - 1
        is_behind = newest != self._generation  # of another worker, which this one is to take the place of
        if is_behind:
            self._turn_to(newest, self._again(newest))
        shown = self._newest(self.version)
        if shown is None:
            return is_behind
        self._turn_to(newest + 1, self._opened(shown, newest + 1), shown)
        return True

    def _turn_to(self, generation: int, view: VersionView, shown: Shown | None = None) -> None:
        """Show another version, once it can be listed and is in the history; ``shown`` where it is not yet."""
        names = {item.name for each in (self._current, view) for item in each.items(ROOT, 0)}
        if shown is not None:
            self._history.add(shown)
        with self._guard:
            self._used[self._generation] = time.monotonic()
            self._views[generation] = view
            self._generation, self._current = generation, view
        self._events(f"the mount shows version {self.version} now")
        self._changed(sorted(names))

    def _close_idle(self) -> None:
        late = time.monotonic() - _IDLE
        with self._guard:
            idle = [each for each in self._views if each != self._generation and self._used.get(each, late) <= late]
            closed = [self._views.pop(each) for each in idle]
        for view in closed:
            with suppress(HoldfastError):
                self._fetched += view.bytes_fetched
                view.close()
