"""``X.Y``, ordered by number; a bare ``X`` counts as ``X.0`` in lists and stands for the newest ``X.*`` in a spec.

``1`` never stands for ``10.*`` (fault W6 of modelkit).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from holdfast.clock import SystemClock
from holdfast.model.version import BUILT_IN
from holdfast.modelkit import errors
from holdfast.modelkit.versioning.versioning import SchemeVersioningSystem

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "MAJOR_MINOR_VERSION_RE",
    "InvalidMajorVersionError",
    "MajorMinorAssetsVersioningSystem",
    "MajorVersionDoesNotExistError",
]

MAJOR_MINOR_VERSION_RE: Final = r"(?P<major>[0-9]+)(\.(?P<minor>[0-9]+))?"


class InvalidMajorVersionError(errors.InvalidVersionError):
    """The text is no major."""

    def __init__(self, version_str: str) -> None:
        super().__init__(version_str)


class MajorVersionDoesNotExistError(errors.InvalidVersionError):
    """No version has this major."""

    def __init__(self, version_str: str) -> None:
        super().__init__(f"no version {version_str}.*" if version_str.isdecimal() else version_str)


class MajorMinorAssetsVersioningSystem(SchemeVersioningSystem):
    """modelkit's default."""

    scheme = BUILT_IN["major_minor"]

    @classmethod
    def check_version_valid(cls, version: str) -> None:
        if version:
            super().check_version_valid(version)

    @classmethod
    def sort_key(cls, version: str) -> Any:
        cls.check_version_valid(version)
        major, _, minor = version.partition(".")
        return int(major), int(minor or 0), version

    @classmethod
    def increment_version(cls, version_list: list[str] | None = None, params: dict[str, Any] | None = None) -> str:
        """The next minor of the newest, or of the newest in ``params["major"]``; with ``bump_major`` the next major."""
        params = params or {}
        major = None if params.get("bump_major") else params.get("major")
        now = SystemClock().now()
        if not version_list and major is None:
            return cls.scheme.initial(now)
        newest = cls.latest_version(version_list or [], major=major)
        full = newest if "." in newest else f"{newest}.0"
        return cls.scheme.next_major([full], now) if params.get("bump_major") else cls.scheme.following(full, now)

    @classmethod
    def get_update_cli_params(cls, **kwargs: Any) -> dict[str, Any]:
        versions = cls.sort_versions(kwargs["version_list"])
        majors = sorted({version.partition(".")[0] for version in versions}, key=int)
        lines = [f"{len(versions)} versions, {len(majors)} majors"]
        lines += [f"- {major}: {', '.join(cls.filter_versions(versions, major))}" for major in majors]
        asked = kwargs.get("version")
        params = {"bump_major": kwargs.get("bump_major", False), "major": asked.partition(".")[0] if asked else None}
        return {"display": "\n".join(lines), "params": params}

    @classmethod
    def get_latest_partial_version(cls, version: str, versions: list[str]) -> str:
        if not version:
            return versions[0]
        return cls.latest_version(versions, major=version.partition(".")[0])

    @staticmethod
    def filter_versions(version_list: Iterable[str], major: str) -> list[str]:
        """Those of this major, in the order given."""
        if not major.isdecimal() or not major.isascii():
            raise InvalidMajorVersionError(f"invalid major version {major!r}: it is a number")
        return [version for version in version_list if int(version.partition(".")[0]) == int(major)]

    @classmethod
    def latest_version(cls, version_list: Iterable[str], major: str | None = None) -> str:
        """The newest, or the newest of a major."""
        found = cls.filter_versions(version_list, major) if major else list(version_list)
        if not found:
            raise MajorVersionDoesNotExistError(major or "no versions")
        return cls.sort_versions(found)[0]
