"""One run of a mounter whose mount is shown with parts of this machine over it (:mod:`.parts`): put together apart, shown whole, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.errors import LocalError, UnreachableError
from holdfast.mount.children import Child, LateError
from holdfast.mount.live.finding import environment
from holdfast.mount.live.parts import fallen, lay, make_points, remove_places, show
from holdfast.mount.live.worker import START, Worker, take_away
from holdfast.mount.table import abort, detach, mounted_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from holdfast.mount.live.parts import Parts
    from holdfast.mount.live.plan import Plan
    from holdfast.mount.live.underneath import Underneath
    from holdfast.mount.table import Mounted

__all__ = ["Layered"]

#: Seconds in which the parts must be laid.
_LAY: Final = 10.0


class Layered(Worker):
    """The mounter, and mergerfs above it; together they are as one mounter is."""

    def __init__(self, name: str, plan: Plan, parts: Parts, below: Underneath, log: Path) -> None:
        self._parts, self._below, self._plan, self._at = parts, below, plan, below.directory
        self._layer: Worker | None = None
        for left in (self._at, parts.whole, parts.bucket):
            take_away(left)
        try:
            make_points(parts)
            super().__init__(name, [plan.program, *plan.arguments], plan.environment(), parts.bucket, log)
        except BaseException:
            remove_places(parts)
            raise

    @property
    def ended(self) -> str | None:
        """How one of the two ended."""
        own = super().ended
        if own is None and self._layer is not None and (last := self._layer.ended) is not None:
            return f"mergerfs above it, {last}"
        return own

    @property
    def seen(self) -> Mounted | None:
        """What visitors see, in the kernel's table."""
        return mounted_at(self._at)

    @property
    def reached(self) -> str:
        """Where visitors see it: no other user may write to a directory above a whole webroot."""
        return self._at

    @property
    def fallen(self) -> list[str]:
        """What no longer lies over the mount."""
        return fallen(self._parts, self._at) if self._layer is not None else []

    def wait(self, seconds: float = START) -> None:
        """Wait until it has mounted, put all together, and show it.

        Raises:
            UnreachableError: something did not answer in time.
            LocalError: a part cannot be laid.
            HoldfastError: the mounter, or mergerfs, ended.
        """
        super().wait(seconds)
        command = [self._parts.program, *self._parts.arguments]
        self._layer = Worker("mergerfs", command, environment(self._plan.private), self._parts.whole, self._log)
        self._layer.wait(seconds)
        self._done(lambda: lay(self._parts), "lay what stays on this machine")
        self._done(lambda: show(self._parts, self._below.descriptor), "show the mount")
        self._layer.directory = self._at
        detach(self._parts.whole)

    def end(self, *, hung: bool, patience: float = 3.0) -> bool:
        """End both and take everything away, what is seen first."""
        was_dead = False
        for place in (
            (self._at, self._parts.bucket) if hung else ()
        ):  # mergerfs cannot be killed while it waits for the mounter
            if (mounted := mounted_at(place)) is not None:
                abort(mounted)
        if self._layer is not None:
            was_dead = self._layer.end(hung=hung, patience=patience)
        for left in (self._at, self._parts.whole):
            take_away(left)
        was_dead = super().end(hung=hung, patience=patience) or was_dead
        remove_places(self._parts)
        return was_dead

    def _done(self, call: Callable[[], object], what: str) -> None:
        try:
            Child(call).result(_LAY)
        except LateError:
            raise UnreachableError(f"cannot {what} within {_LAY:g} s: the mount does not answer") from None
        except OSError as error:
            raise LocalError(f"cannot {what} at {self._at}: {error.strerror or error}", subject=self._at) from error
