"""Hints that something changed below a webroot, from the kernel by watchfiles; what changed, and whether, a look decides.

Where watchfiles is not installed, or the kernel has no watch left, there are no hints, and looks come by time alone. Each folder is
watched by itself: a recursive watch would follow links and walk into mounts. Nobody tells what happened before the kernel watches, so
that it does is a hint.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

from holdfast.formats import layout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Hints"]

#: Milliseconds: how long the kernel is asked for more before a hint is given, and how often it is asked whether to stop.
_STEP: Final = 50
_DEBOUNCE: Final = 200
_TIMEOUT: Final = 1000


class Hints:
    """Watches folders of one webroot in a thread. ``told`` hears why there are no hints, once."""

    def __init__(self, root: str, told: Callable[[str], None] = lambda _: None) -> None:
        self._root = root.rstrip("/")
        self._told = told
        self._folders: frozenset[str] = frozenset()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._changed = threading.Event()
        self.work = True

    def watch(self, folders: Sequence[str]) -> None:
        """Watch these folders, relative to the webroot, and no others."""
        wanted = frozenset(folders)
        if not self.work or wanted == self._folders:
            return
        self.close()
        self._folders, self._stop = wanted, threading.Event()
        paths = [f"{self._root}/{folder}" if folder else self._root for folder in sorted(wanted)]
        self._thread = threading.Thread(target=self._run, args=(paths, self._stop), name="hints", daemon=True)
        self._thread.start()

    def _run(self, paths: Sequence[str], stop: threading.Event) -> None:
        try:
            import watchfiles

            found = watchfiles.watch(
                *paths,
                watch_filter=lambda _, path: not self._is_ours(path),
                step=_STEP,
                debounce=_DEBOUNCE,
                rust_timeout=_TIMEOUT,
                stop_event=stop,
                recursive=False,
                raise_interrupt=False,
                ignore_permission_denied=True,
                yield_on_timeout=True,
            )
            next(found, None)
            self._changed.set()  # the kernel watches by now: whoever waits is to see what was written before
            for changes in found:
                if changes:
                    self._changed.set()
        except ImportError:
            self._give_up("watchfiles is not installed (pip install 'holdfast[sites]')")
        except (OSError, RuntimeError) as error:
            if any(not _exists(path) for path in paths):  # a folder went meanwhile: the next look tells which are left
                self._folders = frozenset()
                self._changed.set()
            else:
                self._give_up(f"the kernel does not watch these folders: {error}")

    def _is_ours(self, path: str) -> bool:
        top = path.removeprefix(self._root + "/").partition("/")[0]
        return layout.is_work_dir(top)

    def _give_up(self, why: str) -> None:
        self.work = False
        self._told(f"{why}: the webroot is looked at by time alone")
        self._changed.set()

    def wait(self, seconds: float) -> bool:
        """Wait for a hint, or so long; whether there was one."""
        hinted = self._changed.wait(seconds)
        if hinted:  # else one that came at this moment would go unheard
            self._changed.clear()
        return hinted

    def wake(self) -> None:
        """Let whoever waits go on."""
        self._changed.set()

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None


def _exists(path: str) -> bool:
    return os.path.isdir(path)
