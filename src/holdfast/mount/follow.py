"""A mount that follows its spec: once that names another version, the root shows that one, at once and whole.

Node numbers tell which of the versions they are of (the *generation*), so whatever was open stays what it was. The root has one number, and is
always the newest's. Which versions there were is kept in the mount's folder: a worker that was started anew knows the numbers of its predecessor,
and which of its versions the kernel was not told of, whose names in the root it may still know otherwise.
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
from holdfast.failpoint import reach
from holdfast.mount.base import ROOT
from holdfast.mount.nodes import generation_of, round_of

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

    ``mount`` tells this mount from others that were there before: their histories are not read. ``told`` is the generation up to which
    the kernel was told that names in the root have changed.
    """

    def __init__(self, folder: Path | None, mount: str) -> None:
        self._path = None if folder is None else folder / "versions.json"
        self._mount = mount
        self.shown, self.told = self._read()

    def _read(self) -> tuple[list[Shown], int]:
        if self._path is None:
            return [], 0
        try:
            value: Any = json.loads(self._path.read_bytes())
            if value["mount"] == self._mount:
                return [Shown(**each) for each in value["shown"]], int(value.get("told", 0))
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return [], 0

    def catch_up(self) -> None:
        """Take up what another worker of this mount has added since: the numbers that it gave out are of these versions."""
        found, told = self._read()
        if len(found) > len(self.shown):
            self.shown, self.told = found, max(told, self.told)

    def add(self, shown: Shown) -> int:
        """One more; its generation.

        Raises:
            OSError: it cannot be kept.
        """
        found = [*self.shown, shown]
        self._write(found, self.told)
        self.shown = found
        return len(found) - 1

    def note_told(self, generation: int) -> None:
        """The kernel was told of everything up to this generation. Where that cannot be kept, it is told again some day."""
        self.catch_up()  # the telling may have waited long, and what another worker added meanwhile must stay
        self.told = generation
        with suppress(OSError):
            self._write(self.shown, generation)

    def _write(self, found: list[Shown], told: int) -> None:
        if self._path is not None:
            plain = [{"version": each.version, "id": each.id, "meta": each.meta} for each in found]
            write_whole(self._path, json.dumps({"mount": self._mount, "shown": plain, "told": told}).encode())


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
        self._changed: Callable[[list[bytes]], None] | None = None
        self._woken = threading.Event()
        self._generation = len(history.shown) - 1
        self._current = opened(history.shown[-1], self._generation)
        self._views: dict[int, VersionView] = {self._generation: self._current}
        self._used: dict[int, float] = {}
        self._fetched = 0  # by views that are closed
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="holdfast-follow", daemon=True)
        self._thread.start()

    def watch(self, changed: Callable[[list[bytes]], None]) -> None:
        """Tell somebody the names in the root that may show something else by now, each time after the root has changed.

        What another worker ended before it told is told first. A thread does so, for it may wait for answers that are still to be given.
        """
        self._changed = changed
        self._woken.set()

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
    def trouble(self) -> str:
        """Why reads of the version that is shown fail; see the protocol."""
        return self._current.trouble

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
        """See the protocol. A listing of the root that was begun before the root changed goes on in the newer version, where it was."""
        generation = round_of(position)
        if node != ROOT or not position or generation == self._generation:
            return self._of(node).items(node, position)
        begun = self._kept(generation)
        if generation > self._generation:  # by another worker, which this one is to take the place of
            return begun.items(ROOT, position)
        current, following = self._current, next(begun.items(ROOT, position), None)
        return iter(()) if following is None else current.items(ROOT, current.begins(following.name))

    def position(self, node: int) -> int:
        """See the protocol."""
        return self._current.position(node)

    def path(self, node: int) -> bytes | None:
        """See the protocol."""
        return self._current.path(node) if node == ROOT or generation_of(node) == self._generation else None

    def target(self, node: int) -> bytes:
        """See the protocol."""
        return self._of(node).target(node)

    def read(self, node: int, offset: int, size: int) -> Buffer:
        """See the protocol."""
        return self._of(node).read(node, offset, size)

    def moved(self, node: int) -> float:
        """See the protocol."""
        view = self._views.get(generation_of(node))
        return 0.0 if view is None else view.moved(node)

    def whole(self, node: int) -> int | None:
        """See the protocol."""
        return self._of(node).whole(node)

    def close(self) -> None:
        """See the protocol."""
        self._end.set()
        self._woken.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=1.0)
        for view in [*self._views.values()]:
            view.close()

    def _of(self, node: int) -> VersionView:
        """The view that a number is of."""
        return self._current if node == ROOT else self._kept(generation_of(node))

    def _kept(self, generation: int) -> VersionView:
        """The view of a generation, which is in use by that."""
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
                self._used.pop(generation, None)  # whoever reads a directory may ask for any
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
        while True:
            is_time = not self._woken.wait(self._pause)
            self._woken.clear()
            if self._end.is_set():
                return
            try:
                self._close_idle()
                self._tell(self._untold(self._current))
                if is_time:
                    self.look()
            except (HoldfastError, OSError) as error:
                self._events(f"whether there is a newer version cannot be told: {error}")
            except Exception as error:  # noqa: BLE001 - as where no thread can be started: else nobody would look ever again
                self._events(f"whether there is a newer version cannot be told: {type(error).__name__}: {error}")

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
        names = self._untold(view, generation)
        if shown is not None:
            self._history.add(shown)
            reach("follow.added")
        with self._guard:
            self._used[self._generation] = time.monotonic()
            self._views[generation] = view
            self._generation, self._current = generation, view
        self._events(f"the mount shows version {self.version} now")
        self._tell(names)

    def _untold(self, view: VersionView, generation: int | None = None) -> set[bytes]:
        """The names in the root that the kernel may know otherwise than this view shows them.

        Of an older version that cannot be read any more they are not known: that is said, and holds nothing up.
        """
        newest = self._generation if generation is None else generation
        oldest = min(self._history.told, self._generation)  # this worker may have shown its own since another told
        if oldest >= newest:
            return set()
        names = {item.name for item in view.items(ROOT, 0)}
        for older in range(oldest, newest):
            try:
                names |= {item.name for item in (self._views.get(older) or self._again(older)).items(ROOT, 0)}
            except OSError as error:
                version = self._history.shown[older].version
                self._events(f"names of version {version} may be shown until they are asked for again: {error}")
        return names

    def _tell(self, names: set[bytes]) -> None:
        """Tell who watches, once there is somebody: before, this worker does not serve."""
        changed, generation = self._changed, self._generation
        if names and changed is not None:
            changed(sorted(names))
            self._history.note_told(generation)

    def _close_idle(self) -> None:
        late = time.monotonic() - _IDLE
        with self._guard:
            idle = [each for each in self._views if each != self._generation and self._used.get(each, late) <= late]
            closed = [self._views.pop(each) for each in idle]
        for view in closed:
            with suppress(HoldfastError):
                self._fetched += view.bytes_fetched
                view.close()
