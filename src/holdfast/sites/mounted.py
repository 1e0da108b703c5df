"""Whether what is mounted below a webroot is what the settings say: pure, on the kernel's table.

A backup omits mounted directories by its settings, and never by what happens to be mounted at that second: where the two differ,
one of them is wrong, and a backup would be too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.sites.plan import Plan

__all__ = ["below", "mismatches"]


def below(points: Mapping[str, str], folder: str) -> list[str]:
    """The mount points at or below a folder, sorted."""
    root = folder.rstrip("/")
    return sorted(point for point in points if point == root or point.startswith(root + "/"))


def mismatches(plan: Plan, points: Mapping[str, str]) -> list[str]:
    """What is mounted against the settings, or not mounted in spite of them; one sentence each."""
    expected = {place for mount in plan.mounts for place in (mount.place, *mount.branches)}
    left_out = [f"{plan.webroot}/{path}" for path in (*plan.local, *([plan.config_file] if plan.config_file else []))]
    found = [f"{place} is to be mounted, and is not" for place in sorted(expected) if place not in points]
    for point in below(points, plan.webroot):
        if point == plan.webroot or point in expected:  # the webroot may be a disk of its own
            continue
        if not any(point == path or point.startswith(path + "/") for path in left_out):
            found.append(f"{point} is mounted ({points[point]}), and no setting says so")
    return found
