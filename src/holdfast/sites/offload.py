"""What a deployment must do with each bucket of media, or why it may not: pure, from what was seen and agreed to.

A bucket that holds what the backup has is adopted, and not written to. What is only missing there is added. What would be overwritten
or removed needs the operator's consent and a safety copy that was proven, and where the backup is older than what was last written
there, his word that the loss is accepted. A bucket that is not this account's, or is another site's, is never touched.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from holdfast.cache.tree import Exclusion
from holdfast.formats.layout import BACKUP_OUTSIDE, BACKUP_OWN, outside_name
from holdfast.sites.values import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from holdfast.model.manifest import Entry
    from holdfast.sites.plan import MountPlan, Plan

__all__ = [
    "Agreed",
    "BucketSeen",
    "Content",
    "Decision",
    "Found",
    "Wanted",
    "branch_of",
    "consent_phrase",
    "decide_bucket",
    "wanted_of",
]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that the bucket is to hold: its bytes' count and digest."""

    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Content:
    """What a bucket is to hold: its files by key, where they lie in the backup, and entries that no object can be."""

    files: dict[str, Wanted]
    within: str
    others: list[list[str]]


@dataclass(frozen=True, slots=True)
class Found:
    """An object that is there; its digest, where it is known."""

    size: int
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class BucketSeen:
    """A bucket as it was seen. ``owner`` is ours, another or nobody; ``marked`` the site whose mark it carries."""

    name: str
    directory: str
    owner: str
    marked: str | None = None
    objects: Mapping[str, Found] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Agreed:
    """What the operator said: adopt buckets without a mark, overwrite these, accept that newer writes are lost."""

    adopt: bool = False
    overwrite: frozenset[str] = frozenset()
    accept_loss: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What is done with one bucket, in this order: create, mark, safety copy, write, remove. ``state`` sums it up."""

    bucket: str
    directory: str
    state: str
    create: bool = False
    mark: bool = False
    safety: bool = False
    write: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    problem: Problem | None = None


def consent_phrase(bucket: str) -> str:
    """What is typed by whoever agrees that a bucket's content is overwritten."""
    return f"OVERWRITE {bucket}"


def wanted_of(plan: Plan, mount: MountPlan, entries: Iterable[Entry]) -> list[Content] | None:
    """What the buckets of a directory are to hold, of the entries of a backup; None where it has no such directory. Pure."""
    within = outside_name(mount.directory) if mount.directory.startswith("/") else mount.directory
    prefix = f"{within}/" if within else ""
    skip = Exclusion((*plan.patterns, f"/{BACKUP_OWN}", f"/{BACKUP_OUTSIDE}*")) if mount.is_whole else None
    contents = [Content({}, within, []) for _ in mount.buckets]
    there = mount.is_whole
    for entry in entries:
        there = there or entry.path == within or entry.path.startswith(prefix)
        if not entry.path.startswith(prefix) or (skip is not None and _left_out(skip, entry.path)):
            continue
        key = entry.path[len(prefix) :]
        content = contents[branch_of(key, len(contents))]
        if entry.kind == "file":
            content.files[key] = Wanted(entry.size, entry.digest or "")
        else:
            content.others.append([entry.kind, key, entry.target or ""])
    return contents if there else None


def _left_out(skip: Exclusion, path: str) -> bool:
    pieces = path.split("/")
    return any(skip.fits("/".join(pieces[: end + 1]), piece) for end, piece in enumerate(pieces))


def decide_bucket(
    site: str,
    seen: BucketSeen,
    wanted: Mapping[str, Wanted] | None,
    agreed: Agreed,
    *,
    predates: bool,
    grows: bool = False,
) -> Decision:
    """What is done with a bucket.

    Args:
        site: the site that wants it.
        seen: the bucket.
        wanted: what the backup has for it; None where the backup omits the directory, so that the bucket itself is the truth.
        agreed: what the operator said.
        predates: whether the backup is older than the last write of an earlier deployment.
        grows: whether it is a new branch of a merged directory, which is empty though the backup omits that.
    """
    problem = _unusable(site, seen, {} if grows and wanted is None else wanted, agreed)
    if problem is not None:
        return Decision(seen.name, seen.directory, "refused", problem=problem)
    create, mark = seen.owner == "nobody", seen.marked is None
    if wanted is None:
        return Decision(seen.name, seen.directory, "created" if create else "adopted", create, mark)
    missing = tuple(sorted(wanted.keys() - seen.objects.keys()))
    changed = tuple(
        sorted(key for key in wanted.keys() & seen.objects.keys() if not _same(wanted[key], seen.objects[key]))
    )
    extra = tuple(sorted(seen.objects.keys() - wanted.keys()))
    if not (changed or extra):
        state = "created" if create else "filled" if missing else "adopted"
        return Decision(seen.name, seen.directory, state, create, mark, write=missing)
    problem = _unagreed(seen, agreed, len(changed), len(extra), predates=predates)
    if problem is not None:
        return Decision(seen.name, seen.directory, "refused", problem=problem)
    return Decision(
        seen.name,
        seen.directory,
        "overwritten",
        mark=mark,
        safety=True,
        write=tuple(sorted((*missing, *changed))),
        remove=extra,
    )


def branch_of(key: str, branches: int) -> int:
    """On which of so many buckets a file lies; the same for ever."""
    from holdfast.model.digest import digest_of

    return int(digest_of(key.encode())[:8], 16) % branches


def _same(wanted: Wanted, found: Found) -> bool:
    return wanted.size == found.size and wanted.digest == found.digest


def _unusable(site: str, seen: BucketSeen, wanted: Mapping[str, Wanted] | None, agreed: Agreed) -> Problem | None:
    if seen.owner == "another":
        return Problem(seen.name, "belongs to another account: give the directory another bucket, in [buckets]")
    if seen.marked is not None and seen.marked != site:
        return Problem(seen.name, f"carries the mark of the site {seen.marked}, and is not touched")
    if seen.owner == "nobody" and wanted is None:
        return Problem(
            seen.name,
            f"is not there, and the backup omits {seen.directory or 'the webroot'}: there are no media at all",
        )
    if seen.owner == "ours" and seen.marked is None and not agreed.adopt:
        return Problem(seen.name, "is there and carries no mark of this site: --adopt takes it")
    return None


def _unagreed(seen: BucketSeen, agreed: Agreed, changed: int, extra: int, *, predates: bool) -> Problem | None:
    if seen.name not in agreed.overwrite:
        what = f"holds {extra} objects that the backup has not, and {changed} that differ"
        return Problem(seen.name, f"{what}: --overwrite {seen.name!r} agrees, and a safety copy is made first")
    if predates and not agreed.accept_loss:
        return Problem(
            seen.name, "was written to after the backup was made: --accept-loss agrees that this is lost from the site"
        )
    return None
