"""Live buckets through established mounters, supervised: ``mount``, ``unite``, ``unmount`` and ``status`` are what others call."""

from holdfast.mount.live.mounting import branches_of, mount, refuse_used, status, unite, unmount, would_mount
from holdfast.mount.live.options import ABILITIES
from holdfast.mount.live.parts import Parts
from holdfast.mount.live.templates import MOUNTERS
from holdfast.mount.live.union import MERGERFS, Branch

__all__ = [
    "ABILITIES",
    "MERGERFS",
    "MOUNTERS",
    "Branch",
    "Parts",
    "branches_of",
    "mount",
    "refuse_used",
    "status",
    "unite",
    "unmount",
    "would_mount",
]
