"""Which paths of a webroot are synced: not what is mounted, by the settings or now, nor what stays on each machine. Pure.

The same is asked of what comes in, so that no other server, with other settings, brings back what this one leaves out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.cache.tree import Exclusion
from holdfast.formats import layout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.sites.plan import Plan

__all__ = ["Scope", "scope_of"]


class Scope:
    """What is left out: ``paths`` with all that is below them, and what the ``patterns`` fit."""

    def __init__(self, paths: Iterable[str], patterns: Iterable[str] = ()) -> None:
        self.paths = frozenset(path.strip("/") for path in paths) - {""}
        self._patterns = Exclusion([*patterns])
        self._folders: dict[str, bool] = {"": True}

    def leaves_out(self, path: str, name: str) -> bool:
        """Whether this path is left out, whose folder is not; ``name`` is its last piece."""
        if path in self.paths or self._patterns.fits(path, name):
            return True
        return path is name and layout.is_work_dir(name)

    def has(self, path: str) -> bool:
        """Whether it is synced: neither it nor a folder above it is left out."""
        folder, _, name = path.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = self.has(folder)
        return self._folders[folder] and not self.leaves_out(path, name if folder else path)


def scope_of(plan: Plan, mounted: Iterable[str]) -> Scope:
    """The scope of a site on a machine where these directories are mounted, by their absolute paths."""
    root = plan.webroot.rstrip("/") + "/"
    places = [*(mount.place for mount in plan.mounts), *mounted]
    inside = [place.removeprefix(root) for place in places if place.startswith(root)]
    config = [plan.config_file] if plan.config_file else []
    return Scope([*inside, *plan.local, *config], plan.exclude)
