"""Whether an overlay can be mounted here, and which."""

from __future__ import annotations

import os

import pytest

from holdfast.errors import UnsupportedError
from holdfast.mount.overlay import choose


def _kind() -> str | None:
    try:
        return choose()
    except UnsupportedError:
        return None


_FOUND = _kind()
#: The kind of overlay that is mounted here.
KIND = _FOUND or "overlayfs"
needs_overlay = pytest.mark.skipif(_FOUND is None, reason="neither overlayfs (as root) nor fuse-overlayfs is here")
needs_root = pytest.mark.skipif(os.geteuid() != 0 or KIND != "overlayfs", reason="overlayfs needs root")
