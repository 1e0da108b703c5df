"""The abstract versioning system of modelkit, and how one of a user's own becomes selectable by name.

A system of one's own subclasses :class:`AssetsVersioningSystem` and is made known by :func:`register`, by handing the class to
``AssetSpec(versioning=...)``, or for every process by an entry point in the group ``holdfast.versioning`` that names
``as_scheme("my_name", MySystem)``. (modelkit knows its two built-in names only, fault W25.)
"""

from __future__ import annotations

import abc
from functools import cmp_to_key
from typing import TYPE_CHECKING, Any, ClassVar, Final

from holdfast.clock import SystemClock
from holdfast.errors import UsageError
from holdfast.model.version import BUILT_IN, all_schemes, newest_matching
from holdfast.model.version import register as register_scheme
from holdfast.modelkit import errors

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from holdfast.model.version import VersionScheme

__all__ = ["AssetsVersioningSystem", "SchemeVersioningSystem", "as_scheme", "register", "scheme_behind", "system_named"]


class AssetsVersioningSystem(abc.ABC):
    """What a versioning system answers; everything is asked of the class."""

    @classmethod
    @abc.abstractmethod
    def get_initial_version(cls) -> str:
        """The first version of a new asset."""

    @classmethod
    @abc.abstractmethod
    def check_version_valid(cls, version: str) -> None:
        """Raise InvalidVersionError where the text is no version."""

    @classmethod
    @abc.abstractmethod
    def sort_versions(cls, version_list: Iterable[str]) -> list[str]:
        """The versions, newest first."""

    @classmethod
    @abc.abstractmethod
    def increment_version(cls, version_list: list[str] | None = None, params: dict[str, Any] | None = None) -> str:
        """The version that follows these; ``params`` are those of :meth:`get_update_cli_params`."""

    @classmethod
    @abc.abstractmethod
    def get_update_cli_params(cls, **kwargs: Any) -> dict[str, Any]:
        """``display``, a text for people about ``version_list``, and ``params`` for :meth:`increment_version`."""

    @classmethod
    def is_version_complete(cls, version: str) -> bool:
        """Whether the text names one version; to be overridden where there are partial ones."""
        del version
        return True

    @classmethod
    def get_latest_partial_version(cls, version: str, versions: list[str]) -> str:
        """The newest of the sorted versions that a partial one stands for."""
        del version
        return versions[0]

    def is_version_valid(self, version: str) -> bool:
        """Whether the text is a version, full or partial."""
        try:
            self.check_version_valid(version)
        except errors.InvalidVersionError:
            return False
        return True


class SchemeVersioningSystem(AssetsVersioningSystem):
    """A version scheme of Holdfast as a versioning system; both built-in ones are."""

    scheme: ClassVar[VersionScheme]

    @classmethod
    def get_initial_version(cls) -> str:
        return cls.scheme.initial(SystemClock().now())

    @classmethod
    def check_version_valid(cls, version: str) -> None:
        if not (cls.scheme.is_full(version) or cls.scheme.is_partial(version)):
            raise errors.InvalidVersionError(f"invalid version {version!r}: it is none of {cls.scheme.name}")

    @classmethod
    def sort_versions(cls, version_list: Iterable[str]) -> list[str]:
        return sorted(version_list, key=cls.sort_key, reverse=True)

    @classmethod
    def sort_key(cls, version: str) -> Any:
        """What full versions are ordered by."""
        cls.check_version_valid(version)
        return cls.scheme.sort_key(version)

    @classmethod
    def increment_version(cls, version_list: list[str] | None = None, params: dict[str, Any] | None = None) -> str:
        del params
        now = SystemClock().now()
        return (
            cls.scheme.following(cls.sort_versions(version_list)[0], now) if version_list else cls.scheme.initial(now)
        )

    @classmethod
    def get_update_cli_params(cls, **kwargs: Any) -> dict[str, Any]:
        versions = cls.sort_versions(kwargs["version_list"])
        lines = [f"{len(versions)} versions", ", ".join(versions), f"newest: {versions[0]}" if versions else "none yet"]
        return {"display": "\n".join(lines), "params": {}}

    @classmethod
    def is_version_complete(cls, version: str) -> bool:
        return cls.scheme.is_full(version)

    @classmethod
    def get_latest_partial_version(cls, version: str, versions: list[str]) -> str:
        found = newest_matching(versions, version, cls.scheme)
        if found is None:
            raise errors.InvalidVersionError(f"no version {version}.* among {', '.join(versions) or 'none'}")
        return found


class _Scheme:
    """A user's versioning system as a version scheme."""

    def __init__(self, name: str, system: AssetsVersioningSystem) -> None:
        self.name = name
        self.system = system
        self._key = cmp_to_key(self._compare)

    def _compare(self, one: str, other: str) -> int:
        return 0 if one == other else 1 if self.system.sort_versions([one, other])[0] == one else -1

    def is_full(self, text: str) -> bool:
        return self.system.is_version_valid(text) and self.system.is_version_complete(text)

    def is_partial(self, text: str) -> bool:
        return self.system.is_version_valid(text) and not self.system.is_version_complete(text)

    def sort_key(self, version: str) -> tuple[object, ...]:
        return (self._key(version),)

    def matches(self, version: str, partial: str) -> bool:
        try:
            return self.system.get_latest_partial_version(partial, [version]) == version
        except Exception:  # noqa: BLE001 - a system of the user's says no in its own words
            return False

    def initial(self, now: datetime) -> str:  # noqa: ARG002 - the scheme's protocol passes the clock
        return self.system.get_initial_version()

    def following(self, version: str, now: datetime) -> str:  # noqa: ARG002
        return self._incremented(version, bump_major=False)

    def next_major(self, versions: Collection[str], now: datetime) -> str:
        return (
            self._incremented(self.system.sort_versions(list(versions))[0], bump_major=True)
            if versions
            else self.initial(now)
        )

    def _incremented(self, version: str, *, bump_major: bool) -> str:
        made = self.system.increment_version([version], {"bump_major": bump_major, "major": None})
        if made == version:
            raise UsageError(f"the versioning system {self.name} has no version after {version}", subject=version)
        return made


_systems: dict[str, AssetsVersioningSystem] = {}


def as_scheme(name: str, system: type[AssetsVersioningSystem] | AssetsVersioningSystem) -> VersionScheme:
    """The version scheme that a system is, for an entry point in the group ``holdfast.versioning``."""
    return _Scheme(name, system() if isinstance(system, type) else system)


def register(name: str, system: type[AssetsVersioningSystem] | AssetsVersioningSystem) -> None:
    """Let this process know a versioning system by a name, in specs, settings and stores.

    Raises:
        UsageError: the name is that of a built-in system.
    """
    made = system() if isinstance(system, type) else system
    register_scheme(as_scheme(name, made))
    _systems[name] = made


def system_named(name: str) -> AssetsVersioningSystem:
    """The system of this name: built in, registered, or of an entry point.

    Raises:
        UnknownAssetsVersioningSystemError: there is none.
    """
    if name not in _systems:
        scheme = BUILT_IN.get(name) or all_schemes().get(name)
        if scheme is None:
            known = ", ".join(sorted(all_schemes()))
            raise errors.UnknownAssetsVersioningSystemError(
                f"unknown versioning system {name!r}", subject=name, hint=f"known systems: {known}"
            )
        _systems[name] = scheme.system if isinstance(scheme, _Scheme) else _system_of(scheme)
    return _systems[name]


def _system_of(scheme: VersionScheme) -> AssetsVersioningSystem:
    from holdfast.modelkit.versioning.major_minor import MajorMinorAssetsVersioningSystem
    from holdfast.modelkit.versioning.simple_date import SimpleDateAssetsVersioningSystem

    for known in (MajorMinorAssetsVersioningSystem, SimpleDateAssetsVersioningSystem):
        if known.scheme is scheme:
            return known()
    made: type[SchemeVersioningSystem] = type(
        f"{scheme.name}VersioningSystem", (SchemeVersioningSystem,), {"scheme": scheme}
    )
    return made()


#: modelkit's own two classes, by what they are called: a spec of the real modelkit is understood too.
_NAMES: Final = {"MajorMinorAssetsVersioningSystem": "major_minor", "SimpleDateAssetsVersioningSystem": "simple_date"}


def scheme_behind(system: Any) -> VersionScheme:
    """The version scheme that decides for a system: our own behind the built-in ones, else the system itself, registered."""
    if isinstance(system, SchemeVersioningSystem):
        return system.scheme
    kind = type(system)
    if kind.__module__.startswith("modelkit.assets.versioning.") and kind.__name__ in _NAMES:
        return BUILT_IN[_NAMES[kind.__name__]]
    for scheme in all_schemes().values():
        if isinstance(scheme, _Scheme) and type(scheme.system) is kind:
            return scheme
    register(kind.__name__, system)
    return all_schemes()[kind.__name__]
