"""Which branch of a merged directory a file lies on, and whether its buckets are the branches that they must be. Pure.

A file that is there stays where it is; a new one of a deployment goes where its path's digest says. What web servers write goes to a branch by
chance, so one name may come to lie on two when two servers make it in one moment: that is found and told, and the first branch's is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.sites.offload import branch_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from holdfast.formats.sites import BranchMark
    from holdfast.sites.plan import MountPlan

__all__ = ["doubled", "known_branches", "others_of", "placed", "why_wrong"]

#: So many branches a directory has at most.
_MOST = 9


def placed(keys: Iterable[str], there: Sequence[Collection[str]]) -> dict[str, int]:
    """On which branch, counted from 0, each key is to lie; ``there`` are the keys that each branch has."""
    found: dict[str, int] = {}
    for number in reversed(range(len(there))):
        found |= dict.fromkeys(there[number], number)
    return {key: found.get(key, branch_of(key, len(there))) for key in keys}


def doubled(there: Sequence[Collection[str]]) -> list[str]:
    """The keys that more than one branch has, sorted."""
    once: set[str] = set()
    twice: set[str] = set()
    for keys in there:
        twice |= once & set(keys)
        once |= set(keys)
    return sorted(twice)


def why_wrong(marks: Sequence[BranchMark], directory: str, number: int) -> str | None:
    """Why a bucket with these marks is not this branch, counted from 1, of the directory; None where it is, or carries none."""
    other = next((mark for mark in marks if (mark.directory, mark.branch) != (directory, number)), None)
    if other is None:
        return None
    return (
        f"carries the mark of branch {other.branch} of {other.directory}, and is to be branch {number} of {directory}"
    )


def known_branches(marks: Iterable[BranchMark], mount: MountPlan, recorded: Collection[str]) -> int:
    """Of how many branches the directory was merged before, by their marks and the buckets of the last deployment; 0: of none."""
    before = [number for number, bucket in enumerate(mount.buckets, 1) if bucket in recorded]
    return max([mark.of for mark in marks] + before, default=0)


def others_of(mount: MountPlan, recorded: Collection[str]) -> tuple[str, ...]:
    """Buckets that may hold files of the directory from when it was merged of more branches, or not merged.

    Of a directory that is not merged, and of the bucket that it had when it was not, only what a deployment had is known.
    """
    stem = mount.buckets[0][:-1] if mount.branches else mount.buckets[0]
    names = [f"{stem}{number}" for number in range(1, _MOST + 1)]
    outer = [name for name in names if mount.branches or name in recorded]
    outer += [stem] if mount.branches and stem in recorded else []
    return tuple(name for name in outer if name not in mount.buckets)
