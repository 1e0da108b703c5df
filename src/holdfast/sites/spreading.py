"""The buckets of one directory as a deployment finds them: which branch has which file, what their marks say, and what lies in buckets that it had before.

A directory that is not merged is looked at, too: it may have been.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.sites.branching import known_branches, others_of, placed, why_wrong
from holdfast.sites.media import Media
from holdfast.sites.offload import Content
from holdfast.sites.values import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from holdfast.sites.plan import MountPlan
    from holdfast.sites.stores import SiteStore

__all__ = ["Spreading"]


class Spreading:
    """One directory; ``recorded`` are the buckets of the site's last deployment, ``taken`` those of its settings now."""

    def __init__(
        self,
        store: SiteStore,
        site: str,
        mount: MountPlan,
        media: Sequence[Media],
        recorded: Collection[str],
        taken: Collection[str],
    ) -> None:
        self.mount, self.media = mount, media
        self._store, self._site = store, site
        self._recorded, self._taken = recorded, taken
        seen = [each.look({}) for each in media] if mount.branches else []
        self.there = [each.objects.keys() for each in seen]
        self.marks = [
            each.branches() if one.owner == "ours" else [] for each, one in zip(media, seen, strict=bool(seen))
        ]
        ours = (mark for marks in self.marks for mark in marks if mark.site == site)
        self.before = known_branches(ours, mount, recorded)

    def settled(self, contents: Sequence[Content | None]) -> list[Content | None]:
        """What each branch is to hold: files that are there where they are, others where their path says."""
        known = [content for content in contents if content is not None]
        if not self.mount.branches or not known:
            return list(contents)
        files = {key: wanted for content in known for key, wanted in content.files.items()}
        places = placed(files, self.there)
        return [
            Content(
                {key: files[key] for key, place in places.items() if place == number}, content.within, content.others
            )
            for number, content in enumerate(known)
        ]

    def is_new(self, bucket: str) -> bool:
        """Whether this is a branch by which the directory grows: empty, and none that was lost."""
        return 0 < self.before < self.branch(bucket)[0]

    def branch(self, bucket: str) -> tuple[int, int]:
        """Which branch it is, counted from 1, and of how many; 0 where the directory is not merged."""
        return (self.mount.buckets.index(bucket) + 1 if self.mount.branches else 0), len(self.mount.buckets)

    def lacks_mark(self, bucket: str) -> bool:
        """Whether it does not carry the mark of its branch yet."""
        number, count = self.branch(bucket)
        wanted = self._site, self.mount.directory, number, count
        return bool(number) and wanted not in [
            (mark.site, mark.directory, mark.branch, mark.of) for mark in self.marks[number - 1]
        ]

    def problems(self) -> list[Problem]:
        """What stands against it: a bucket that is another branch, and files that nobody would be shown any more."""
        found = []
        for number, (bucket, marks) in enumerate(zip(self.mount.buckets, self.marks, strict=False), 1):
            why = why_wrong(marks, self.mount.directory, number)
            if why is not None:
                found.append(Problem(bucket, why))
        for bucket in others_of(self.mount, self._recorded):
            count = self._left_in(bucket) if bucket not in self._taken else 0
            if count:
                what = f"holds {count} files of {self.mount.directory}, of which it would be no branch any more"
                how = f"list as many branches as before, or copy them to {self.mount.buckets[0]} and delete them there first"
                found.append(Problem(bucket, f"{what}: {how}"))
        return found

    def _left_in(self, bucket: str) -> int:
        """How many files of the directory a bucket holds that is none of its buckets now."""
        media = Media(self._store, self._site, bucket, self.mount.directory)
        seen = media.look({})
        is_ours = seen.owner == "ours" and seen.marked == self._site and media.marked_for() == self.mount.directory
        return len(seen.objects) if is_ours else 0
