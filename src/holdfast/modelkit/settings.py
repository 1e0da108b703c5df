"""``AssetSpec`` with modelkit's signature: a name, a versioning system, a version, a part inside.

Parsed in linear time (fault W15 of modelkit). Names follow modelkit's rule, which takes local paths too, but for ``..``, which
leads out of every folder (fault W14).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final

from holdfast.config.modelkit import versioning_system
from holdfast.model.spec import check_sub_path
from holdfast.modelkit import errors
from holdfast.modelkit.versioning.versioning import AssetsVersioningSystem, register, system_named

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["AssetSpec"]

_NAME: Final = re.compile(r"(?:[A-Z]:\\|/)?[A-Za-z0-9](?:[A-Za-z0-9\-_./\\]*[A-Za-z0-9])?\Z")
_VERSION: Final = re.compile(r"[0-9A-Za-z.\-_]+\Z")


class AssetSpec:
    """What a caller asks for. ``versioning`` is a name, or a class of one's own, which is thereby registered."""

    versioning: AssetsVersioningSystem

    def __init__(
        self,
        name: str,
        versioning: str | type[AssetsVersioningSystem] | AssetsVersioningSystem | None = None,
        version: str | None = None,
        sub_part: str | None = None,
    ) -> None:
        self.versioning = _system(versioning)
        self.check_name_valid(name)
        self.name = name
        if version:
            self.check_version_valid(version)
            self.versioning.check_version_valid(version)
        self.version = version
        self.sub_part = sub_part if sub_part is None else _sub_part(sub_part)

    @staticmethod
    def from_string(
        input_string: str, versioning: str | type[AssetsVersioningSystem] | AssetsVersioningSystem | None = None
    ) -> AssetSpec:
        """Read ``name[:version][[sub_part]]``; a drive letter's colon belongs to the name.

        Raises:
            InvalidAssetSpecError: it does not read so; the part that is wrong is named.
        """
        body, bracket, rest = input_string.partition("[")
        if (bracket and not rest.endswith("]")) or (not bracket and "]" in body):
            raise errors.InvalidAssetSpecError(input_string)
        drive = body[:3] if re.match(r"[A-Z]:\\", body) else ""
        name, colon, version = body[len(drive) :].partition(":")
        if colon and not _VERSION.match(version):
            raise errors.InvalidVersionError(f"invalid version {version!r} in the spec {input_string!r}")
        return AssetSpec(drive + name, versioning, version or None, rest[:-1] if bracket else None)

    def is_version_complete(self) -> bool:
        """Whether exactly one version is asked for."""
        return bool(self.version) and self.versioning.is_version_complete(self.version or "")

    def sort_versions(self, version_list: Iterable[str]) -> list[str]:
        """Newest first."""
        return self.versioning.sort_versions(version_list)

    def set_latest_version(self, all_versions: list[str]) -> None:
        """Fill in the newest of these sorted versions that this spec stands for."""
        partial = self.version
        self.version = self.versioning.get_latest_partial_version(partial, all_versions) if partial else all_versions[0]

    def get_local_versions(self, local_name: str) -> list[str]:
        """The versions in a folder, newest first."""
        if not os.path.isdir(local_name):
            return []
        return self.sort_versions(
            [entry for entry in os.listdir(local_name) if self.versioning.is_version_valid(entry)]
        )

    @classmethod
    def check_name_valid(cls, name: str) -> None:
        """Raise InvalidNameError where the text is no name."""
        if not _NAME.match(name):
            raise errors.InvalidNameError(
                f"invalid name {name!r}: letters, digits, '/', '.', '-' and '_', starting and ending with a letter or digit"
            )
        if ".." in re.split(r"[/\\]", name):
            raise errors.InvalidNameError(f"invalid name {name!r}: '..' leads out of the folder")

    @classmethod
    def check_version_valid(cls, name: str) -> None:
        """Raise InvalidVersionError where the text cannot be a version of any system."""
        if name and (not _VERSION.match(name) or ".." in name):
            raise errors.InvalidVersionError(f"invalid version {name!r}: letters, digits, '.', '-' and '_'")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AssetSpec):
            return False
        return (self.name, self.version, self.sub_part) == (other.name, other.version, other.sub_part)

    def __hash__(self) -> int:
        return hash((self.name, self.version, self.sub_part))

    def __str__(self) -> str:
        return (
            self.name + (f":{self.version}" if self.version else "") + (f"[{self.sub_part}]" if self.sub_part else "")
        )

    def __repr__(self) -> str:
        return f"AssetSpec({str(self)!r}, versioning={type(self.versioning).__name__})"


def _system(versioning: Any) -> AssetsVersioningSystem:
    if isinstance(versioning, type):
        register(versioning.__name__, versioning)
        return system_named(versioning.__name__)
    if isinstance(versioning, AssetsVersioningSystem):
        return versioning
    return system_named(versioning or versioning_system())


def _sub_part(text: str) -> str:
    """The part as it was given; unlike modelkit's it may name any file, ``__init__.py`` too."""
    if any(character in "[]:" or not character.isprintable() for character in text):
        raise errors.InvalidAssetSpecError(f"invalid sub-part {text!r}: a path inside the asset")
    with errors.translated():
        check_sub_path(text)
    return text
