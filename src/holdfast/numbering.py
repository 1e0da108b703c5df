"""Which number a push gets, and whether it needs one: decided from what a catalog told. Pure (design §3 'Push', 'Unchanged').

A number with a claim, meta, data or tombstone is taken, and numbers are never used again. Automatic pushes step over taken ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from holdfast.errors import (
    AlreadyExistsError,
    AssetNotFoundError,
    InvalidVersionError,
    UsageError,
    VersionNotFoundError,
    nearest,
)
from holdfast.model.name import check_new, check_readable
from holdfast.model.spec import AssetSpec
from holdfast.model.version import all_schemes, check_text, next_version

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from holdfast.catalog.base import Listed, Taken
    from holdfast.formats.records import AssetRecord
    from holdfast.model.result import PushOptions

__all__ = ["Situation", "check_alias", "check_options", "is_judged"]


@dataclass(frozen=True)
class Situation:
    """An asset as a push finds it. ``adopted`` are whole versions of ours that are not listed, with their content hashes."""

    name: str
    listed: Listed
    taken: Taken
    record: AssetRecord
    adopted: Mapping[str, str | None]

    @cached_property
    def known(self) -> Listed:
        """The list as it is once the adopted versions are on it."""
        return replace(self.listed, versions=tuple(self.listed.ordered({*self.listed.versions, *self.adopted})))

    def check_exists(self, options: PushOptions) -> None:
        """Refuse a new name that breaks the rules, a new asset that exists, an update of one that does not.

        Raises:
            InvalidNameError, AssetNotFoundError, AlreadyExistsError: as said.
        """
        if self.listed.token is None and not self.taken.metas:
            check_new(self.name, all_schemes())
            if options.get("only") == "update":
                raise AssetNotFoundError(
                    f"no asset {self.name!r} to update", subject=self.name, hint="create it with --new"
                )
        elif options.get("only") == "new":
            raise AlreadyExistsError(
                f"asset {self.name!r} exists", subject=self.name, hint="add a version with --update"
            )

    def check_parent(self, options: PushOptions) -> None:
        """Refuse a parent that the asset never had.

        Raises:
            VersionNotFoundError: as said.
        """
        parent = options.get("parent")
        if parent and parent not in {*self.known.versions, *self.taken.metas, *self.record.tombstones}:
            raise VersionNotFoundError(
                f"no version {parent} of {self.name} that could be the parent",
                subject=f"{self.name}:{parent}",
                hint=nearest(parent, list(self.known.versions)),
            )

    def next(self, options: PushOptions, now: datetime, lost: Collection[str] = ()) -> str:
        """The number that an automatic push asks for, having lost some to others meanwhile."""
        major = options.get("major")
        if major is not None and not self.known.scheme.is_partial(major):
            raise InvalidVersionError(
                f"{major!r} is no major of the scheme {self.known.scheme.name}", subject=self.name
            )
        return next_version(
            self.known.versions,
            {*self.taken.all, *self.record.tombstones, *lost},
            self.known.scheme,
            now,
            partial=major,
            new_major=options.get("new_major", False),
            initial=options.get("initial"),
        )

    def check_explicit(self, version: str) -> bool:
        """Whether the number asked for is free but for a claim, whose holder the caller must look at.

        Raises:
            InvalidVersionError: no full version of the asset's scheme.
            AlreadyExistsError: removed, published, or written to by another program.
        """
        spec, scheme = f"{self.name}:{version}", self.known.scheme
        if not (scheme.is_full(version) or (not self.known.versions and _is_full(version))):
            raise InvalidVersionError(f"{version!r} is no full version ({scheme.name})", subject=spec)
        if version in self.record.tombstones:
            raise AlreadyExistsError(f"{spec} was removed; numbers are never used again", subject=spec)
        if version in self.known.versions or version in self.taken.metas:
            raise AlreadyExistsError(f"{spec} exists", subject=spec, hint="versions never change; push another number")
        if version in self.taken.claims:
            return True
        if version in self.taken.data:
            raise AlreadyExistsError(
                f"{spec} has data without a meta (another program's unfinished push)",
                subject=spec,
                hint=f"asset repair {self.name}",
            )
        return False

    def whole_already(self, own: str | None, content_hash: str | None, options: PushOptions) -> str | None:
        """A whole version that this push need only list, or None.

        That is what an earlier, killed run of it made (``own``), or else equal content, if it is the newest. An explicit wish is
        fulfilled once; without one, a push that returns has made its content the newest.
        """
        same = {version for version, its_hash in self.adopted.items() if its_hash == content_hash}
        explicit = options.get("version")
        if explicit:
            return explicit if explicit == own or explicit in same else None
        newest = self.known.newest(options.get("major"))
        if options.get("new_major") or options.get("only") == "new":
            first = newest if options.get("only") == "new" and set(self.known.versions) == same & {newest} else None
            return own or first
        return newest if newest == own or (newest in same and options.get("unchanged", True)) else None

    def is_resumable(self, version: str) -> bool:
        """Whether a number that an earlier run was about to claim may be used: nobody wrote under it without a claim."""
        if version in self.taken.metas or version in self.known.versions or version in self.record.tombstones:
            return False
        return version in self.taken.claims or version not in self.taken.data


def is_judged(options: PushOptions) -> bool:
    """Whether a push with these options may be found unchanged: never where a version or a major is asked for."""
    explicit = options.get("version") or options.get("new_major") or options.get("only") == "new"
    return not explicit and options.get("unchanged", True)


def check_options(name: str, options: PushOptions) -> None:
    """Refuse what cannot be, whatever the state of the store.

    Raises:
        UsageError: a malformed name, version or alias, or options that contradict each other.
    """
    check_readable(name)
    for key in ("version", "initial", "major", "parent"):
        value = options.get(key)
        if isinstance(value, str):
            check_text(value)
    if options.get("version") and (options.get("major") or options.get("new_major") or options.get("initial")):
        raise UsageError("a version given with --version leaves no room for a major or --initial")
    if options.get("new_major") and options.get("major"):
        raise UsageError("--major starts a new major; it cannot be combined with NAME:MAJOR")
    initial = options.get("initial")
    if initial and not _is_full(initial):
        raise InvalidVersionError(f"{initial!r} is no full version", subject=initial)
    alias = options.get("alias")
    if alias:
        check_alias(alias)
    for spec in options.get("inputs") or ():
        AssetSpec.parse(spec)


def check_alias(alias: str) -> str:
    """The alias, if it is one: it starts with a letter and reads as no version (design §2).

    Raises:
        UsageError: it does not.
    """
    check_text(alias)
    schemes = all_schemes().values()
    if not alias[0].isalpha() or any(scheme.is_full(alias) or scheme.is_partial(alias) for scheme in schemes):
        raise UsageError(
            f"invalid alias {alias!r}: it must start with a letter and not read as a version", subject=alias
        )
    return alias


def _is_full(version: str) -> bool:
    return any(scheme.is_full(version) for scheme in all_schemes().values())
