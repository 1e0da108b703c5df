"""Live buckets through established mounters, supervised: ``mount``, ``unmount`` and ``status`` are what others call."""

from holdfast.mount.live.mounting import mount, status, unmount
from holdfast.mount.live.options import ABILITIES
from holdfast.mount.live.templates import MOUNTERS

__all__ = ["ABILITIES", "MOUNTERS", "mount", "status", "unmount"]
