"""Room for what is about to be fetched: the quota, and a disk that keeps some space free.

A fetch first speaks for its bytes by a lease, then counts what is here and what those who were first speak for, and removes the
longest unused until its own fits. Where it cannot fit, nothing is removed and nothing written. Fetches that came first are waited for.
"""

from __future__ import annotations

import shutil
import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from holdfast.cache.eviction import evict, sweep
from holdfast.cache.inventory import parts, recorded, tree_bytes
from holdfast.cache.quota import Held, choose, excess, least_free
from holdfast.cache.work import leftovers
from holdfast.disk import local_errors
from holdfast.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from holdfast.cache.assets import AssetsDir
    from holdfast.cache.inventory import CachedVersion
    from holdfast.cache.leases import Lease
    from holdfast.cache.quota import Plan

__all__ = ["evictable", "room"]

_PAUSE: Final = 0.05
#: How long versions that others have in use are waited for, in seconds: a command ends soon, a mount does not.
_GRACE: Final = 5.0
#: What a small file takes of a disk, at most, beyond its bytes.
_BLOCK: Final = 4096


@contextmanager
def room(
    assets: AssetsDir,
    spec: tuple[str, str],
    final: Path,
    size: int | None,
    files: int = 0,
    *,
    scratch: int = 0,
    patience: float,
) -> Iterator[None]:
    """Hold room for a version, or a part of one, while it is fetched; it is in use for so long.

    Args:
        assets: where it goes.
        spec: its name and version.
        final: its place.
        size: bytes of its files; None where nobody knows.
        files: how many.
        scratch: bytes that the disk must have beside them while they come.
        patience: seconds to wait for fetches that were first.

    Raises:
        LocalError: it does not fit, whatever is removed.
    """
    with assets.leases.hold(*spec, size or 0) as lease:
        if lease is not None and (size is not None or assets.limit is not None):
            _Wanted(assets, lease, final, size or 0, scratch + files * _BLOCK).make(patience)
        yield
        assets.keep(*spec)
    if size is None and lease is not None and assets.limit is not None:  # now it is known
        _trim(assets, spec)


def evictable(assets: AssetsDir, mine: Lease | None = None) -> list[tuple[CachedVersion, Held]]:
    """What was fetched into the folder, each with why it stays, if it must."""
    in_use = {
        (lease.name, lease.version) for lease in assets.leases.living() if mine is None or lease.path != mine.path
    }
    found = []
    for entry in (*recorded(assets.path), *parts(assets.path)):
        kept = "pinned" if entry.pinned else "in use" if (entry.name, entry.version) in in_use else ""
        found.append((entry, Held(entry.place, entry.bytes, entry.used, kept)))
    return found


def _trim(assets: AssetsDir, spec: tuple[str, str]) -> None:
    """Bring what is here below the limit, but for what was just fetched."""
    found = {held: entry for entry, held in evictable(assets)}
    over = excess(held=sum(held.bytes for held in found), need=0, limit=assets.limit)
    others = [held for held, entry in found.items() if (entry.name, entry.version) != spec]
    for held in choose(others, over, as_far=True).doomed:
        evict(assets, found[held])


@dataclass
class _Wanted:
    """What one fetch wants room for."""

    assets: AssetsDir
    lease: Lease
    final: Path
    size: int
    spare: int
    _stays: dict[str, str] = field(default_factory=dict)
    _begun: float = field(default_factory=time.monotonic)

    def make(self, patience: float) -> None:
        """Remove what must go; wait for those who were first."""
        while True:
            earlier = self._earlier()
            found = self._others()
            over = self._excess(found, earlier)
            plan = choose([held for _, held in found], over)
            if not plan.lacking:
                if self._evicted(plan, found):
                    return
            elif self._may_wait(plan, found, earlier, patience):
                time.sleep(_PAUSE)
            else:
                raise self._refusal(over, found)

    def _earlier(self) -> int:
        """Bytes that those who were first are about to write."""
        if self.assets.limit is None:
            return 0
        living = self.assets.leases.living()
        return sum(e.bytes for e in living if e.path != self.lease.path and e.is_before(self.lease))

    def _others(self) -> list[tuple[CachedVersion, Held]]:
        """What is here and counts, but for the copy that this fetch replaces; nothing goes where no quota is set."""
        if self.assets.limit is None:
            return []
        found = evictable(self.assets, self.lease)
        return [
            (entry, replace(held, kept=self._stays[held.name]) if held.name in self._stays else held)
            for entry, held in found
            if entry.place != str(self.final)
        ]

    def _excess(self, found: Sequence[tuple[CachedVersion, Held]], earlier: int) -> int:
        with local_errors(self.assets.path):
            disk = shutil.disk_usage(self.assets.path)
        started = sum(tree_bytes(str(left)) for left, _ in leftovers(self.final))
        taken = sum(held.bytes for _, held in found) + earlier
        over = excess(held=taken, need=self.size, limit=self.assets.limit)
        need = max(0, self.size - started) + self.spare
        keep_free = least_free(disk.total, self.assets.keep_free)
        return max(over, excess(held=0, need=need, limit=None, free=disk.free, keep_free=keep_free))

    def _evicted(self, plan: Plan, found: Sequence[tuple[CachedVersion, Held]]) -> bool:
        """Whether all that had to go is gone; what stays is remembered."""
        entries = {held: entry for entry, held in found}
        if plan.doomed:
            sweep(self.assets)
        for held in plan.doomed:
            why = evict(self.assets, entries[held], mine=self.lease)
            if why is not None:
                self._stays[held.name] = why
                return False
        return True

    def _may_wait(self, plan: Plan, found: Sequence[tuple[CachedVersion, Held]], earlier: int, patience: float) -> bool:
        """Whether it may fit soon: fetches that were first end, and so do commands that use what they fetched."""
        waited = time.monotonic() - self._begun
        if self._alone_is_too_much() or waited >= patience:
            return False
        if plan.lacking <= earlier:
            return True
        in_use = sum(held.bytes for _, held in found if held.kept == "in use")
        return plan.lacking <= earlier + in_use and waited < _GRACE

    def _alone_is_too_much(self) -> bool:
        return self.assets.limit is not None and self.size > self.assets.limit

    def _refusal(self, over: int, found: Sequence[tuple[CachedVersion, Held]]) -> LocalError:
        spec, limit = f"{self.lease.name}:{self.lease.version}", self.assets.limit
        what = f"{spec} takes {self.size:,} bytes"
        if limit is not None and self._alone_is_too_much():
            hint = "raise cache.max_size, or fetch it elsewhere with --to"
            return LocalError(f"{what}, more than cache.max_size ({limit:,})", subject=spec, hint=hint)
        stays = ", ".join(sorted({f"{entry.spec} is {held.kept}" for entry, held in found if held.kept})[:3])
        if limit is not None and sum(held.bytes for _, held in found) + self.size > limit:
            hint = f"{stays or 'others are fetching'}; asset cache unpin releases, or raise cache.max_size"
            message = f"{what} and does not fit into cache.max_size ({limit:,}), whatever is removed"
            return LocalError(message, subject=spec, hint=hint)
        hint = "asset cache prune removes what was fetched; cache.keep_free says how much stays free"
        message = f"{what}, {over:,} more than the disk of {self.assets.path} has to spare"
        return LocalError(message, subject=spec, hint=hint)
