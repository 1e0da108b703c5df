"""What the assets folder holds by itself: versions for local-only work, and bare local paths.

A version without a marker may be a user's own, made by hand, or what modelkit left of a download that was killed, which it
serves as if it were whole (fault W12). They are told apart by modelkit's lock file: where modelkit downloaded versions of a
name, one of that name without a marker is not served. Holdfast itself never leaves half a version under its name.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.errors import InvalidNameError
from holdfast.model.name import check_readable

if TYPE_CHECKING:
    from holdfast.cache.assets import AssetsDir

__all__ = ["LocalAssets", "is_storable"]

_LOCKS: Final = ".cache"
_DRIVE: Final = re.compile(r"[A-Z]:\\")


def is_storable(name: str) -> bool:
    """Whether a store can have an asset of this name; the other names that a spec takes are local paths."""
    try:
        check_readable(name)
    except InvalidNameError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class LocalAssets:
    """The local side of a manager."""

    assets: AssetsDir

    def versions(self, name: str) -> list[str]:
        """What lies under the asset's name and may be served."""
        if not is_storable(name):
            return []
        return [version for version in self.assets.versions(name) if self.is_servable(name, version)]

    def is_servable(self, name: str, version: str) -> bool:
        """Whether the version is complete, or nobody's half-done download."""
        if not os.path.exists(self.assets.path_of(name, version)):
            return False
        return self.assets.is_complete(name, version) or not self._modelkit_downloads(name)

    def _modelkit_downloads(self, name: str) -> bool:
        return Path(self.assets.path, _LOCKS, f"{name}.lock").exists()

    def meta(self, name: str, version: str) -> dict[str, Any]:
        """The meta as it was fetched; for a copy of other making, whether it is a directory."""
        data = self.assets.meta(name, version)
        if data is None:
            return {"is_directory": self.assets.path_of(name, version).is_dir()}
        value: dict[str, Any] = json.loads(data)
        return value

    def path(self, name: str) -> str | None:
        """The name as a path: below the assets folder, below the current folder, or as it is."""
        if name.startswith("/") or _DRIVE.match(name):
            return name if os.path.exists(name) else None
        below = [os.path.join(base, *name.split("/")) for base in (self.assets.path, os.getcwd())]
        return next((path for path in [*below, name] if os.path.exists(path)), None)
