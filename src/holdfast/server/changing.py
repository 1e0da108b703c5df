"""What a writer changes in a project's catalog beside pushes: lists, aliases, tombstones. The bucket decides, as always."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.model.name import check_readable
from holdfast.model.version import check_text
from holdfast.numbering import check_alias
from holdfast.server.reading import listed_reply

if TYPE_CHECKING:
    from collections.abc import Iterable

    from holdfast.formats.api import AliasesRequest, EnlistRequest, ListedReply, VersionsRequest
    from holdfast.formats.records import AssetRecord
    from holdfast.server.access import OpenProject

__all__ = ["enlist", "remove", "restore", "set_aliases"]


def enlist(project: OpenProject, asked: EnlistRequest) -> ListedReply:
    """Whole versions into the list, and removed ones out of it.

    Raises:
        VersionNotFoundError: one of them has no meta.
    """
    _checked(asked.name, asked.versions)
    for version in asked.versions:
        project.catalog.published(asked.name, version)
    return listed_reply(project.catalog.enlist(asked.name, asked.versions))


def set_aliases(project: OpenProject, asked: AliasesRequest) -> AssetRecord:
    """Set or remove aliases.

    Raises:
        UsageError: one that reads as a version.
        VersionNotFoundError: it would name nothing.
        ConflictError: it would name a removed version.
    """
    _checked(asked.name, [version for version in asked.changes.values() if version is not None])
    for alias, version in asked.changes.items():
        if version is not None:
            check_alias(alias)
            project.catalog.published(asked.name, version)
        else:
            check_text(alias)
    return project.catalog.set_aliases(asked.name, asked.changes)


def remove(project: OpenProject, asked: VersionsRequest) -> AssetRecord:
    """Tombstones, then the list.

    Raises:
        VersionNotFoundError: there is no such version.
        ConflictError: an alias or a hold names one.
    """
    _checked(asked.name, asked.versions)
    project.catalog.remove(asked.name, asked.versions)
    return project.catalog.record(asked.name)


def restore(project: OpenProject, asked: VersionsRequest) -> AssetRecord:
    """Tombstones taken back, within the undo window."""
    _checked(asked.name, asked.versions)
    for version in asked.versions:
        project.catalog.restore(asked.name, version)
    return project.catalog.record(asked.name)


def _checked(name: str, versions: Iterable[str]) -> None:
    check_readable(name)
    for version in versions:
        check_text(version)
