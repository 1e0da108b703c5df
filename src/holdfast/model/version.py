"""Version schemes: what a version looks like, how versions are ordered, which number comes next.

Two are built in, after modelkit (``reference/modelkit.md`` §1.8): ``major_minor`` and ``simple_date``. A third party adds
one through the entry-point group ``holdfast.versioning``: an object with the attributes of :class:`VersionScheme`.
Versions are texts; schemes are values without state. The clock is an argument.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from holdfast.errors import InvalidVersionError, UsageError, VersionNotFoundError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

__all__ = [
    "BUILT_IN",
    "ENTRY_POINTS",
    "MajorMinor",
    "SimpleDate",
    "VersionScheme",
    "all_schemes",
    "check_text",
    "is_text",
    "newest_first",
    "register",
    "scheme_named",
    "scheme_of",
]

ENTRY_POINTS = "holdfast.versioning"

_TEXT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
_MAJOR = re.compile(r"[0-9]{1,18}\Z")
_MAJOR_MINOR = re.compile(r"[0-9]{1,18}\.[0-9]{1,18}\Z")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}Z\Z")
_DATE_FORMAT = "%Y-%m-%dT%H-%M-%SZ"


class VersionScheme(Protocol):
    """What a scheme must answer. All methods are pure; ``versions`` are full versions in any order."""

    @property
    def name(self) -> str:
        """The name in settings."""

    def is_full(self, text: str) -> bool:
        """Whether the text names exactly one version."""

    def is_partial(self, text: str) -> bool:
        """Whether the text stands for the newest of several versions."""

    def sort_key(self, version: str) -> tuple[object, ...]:
        """A key that orders full versions, oldest first."""

    def matches(self, version: str, partial: str) -> bool:
        """Whether a full version is one of those that the partial text stands for."""

    def initial(self, now: datetime) -> str:
        """The first version of a new asset."""

    def following(self, version: str, now: datetime) -> str:
        """The version tried after this one: used for the next push and to step over taken numbers."""

    def next_major(self, versions: Collection[str], now: datetime) -> str:
        """The first version of a new major; a scheme without majors raises UsageError."""


class MajorMinor:
    """``X.Y``, ordered by number; ``X`` stands for the newest ``X.*`` and never for ``X0.*`` (fault W6 of modelkit)."""

    name = "major_minor"

    def is_full(self, text: str) -> bool:
        """Digits, a dot, digits."""
        return _MAJOR_MINOR.match(text) is not None

    def is_partial(self, text: str) -> bool:
        """A major alone."""
        return _MAJOR.match(text) is not None

    def sort_key(self, version: str) -> tuple[object, ...]:
        """By number; the text settles ``1.0`` against ``01.0``."""
        major, minor = version.split(".")
        return int(major), int(minor), version

    def matches(self, version: str, partial: str) -> bool:
        """Equal majors, as numbers."""
        return int(version.split(".", maxsplit=1)[0]) == int(partial)

    def initial(self, now: datetime) -> str:  # noqa: ARG002 - the scheme's protocol passes the clock
        """``0.0``, as in modelkit."""
        return "0.0"

    def following(self, version: str, now: datetime) -> str:  # noqa: ARG002
        """The next minor."""
        major, minor = version.split(".")
        return f"{int(major)}.{int(minor) + 1}"

    def next_major(self, versions: Collection[str], now: datetime) -> str:
        """The newest major plus one, minor 0."""
        if not versions:
            return self.initial(now)
        return f"{max(int(version.split('.')[0]) for version in versions) + 1}.0"


class SimpleDate:
    """``YYYY-MM-DDTHH-MM-SSZ``, ordered as text; no partial versions."""

    name = "simple_date"

    def is_full(self, text: str) -> bool:
        """The pattern alone decides, as in modelkit."""
        return _DATE.match(text) is not None

    def is_partial(self, text: str) -> bool:  # noqa: ARG002
        """Never."""
        return False

    def sort_key(self, version: str) -> tuple[object, ...]:
        """As text."""
        return (version,)

    def matches(self, version: str, partial: str) -> bool:  # noqa: ARG002
        """Never."""
        return False

    def initial(self, now: datetime) -> str:
        """Now, UTC, to the second."""
        return now.astimezone(UTC).strftime(_DATE_FORMAT)

    def following(self, version: str, now: datetime) -> str:
        """Now, or one second after the version where that is not yet past: two pushes in a second do not collide."""
        try:
            after = datetime.strptime(version, _DATE_FORMAT).replace(tzinfo=UTC) + timedelta(seconds=1)
        except (ValueError, OverflowError):
            return self.initial(now)
        return max(self.initial(now), after.strftime(_DATE_FORMAT))

    def next_major(self, versions: Collection[str], now: datetime) -> str:  # noqa: ARG002
        """Refused."""
        raise UsageError("the scheme simple_date has no major versions", hint="push without --major")


BUILT_IN: dict[str, VersionScheme] = {scheme.name: scheme for scheme in (MajorMinor(), SimpleDate())}
_third_party: dict[str, VersionScheme] | None = None


def all_schemes() -> dict[str, VersionScheme]:
    """The built-in schemes and those registered by entry points, by name."""
    global _third_party  # noqa: PLW0603 - entry points are read once a process, and only when a built-in does not do
    if _third_party is None:
        from importlib.metadata import entry_points

        _third_party = {}
        for point in entry_points(group=ENTRY_POINTS):
            scheme = point.load()
            _third_party[point.name] = scheme() if isinstance(scheme, type) else scheme
    return BUILT_IN | _third_party


def register(scheme: VersionScheme) -> None:
    """Make a scheme known in this process, as an entry point does for every process.

    Raises:
        UsageError: a built-in scheme has its name.
    """
    if scheme.name in BUILT_IN:
        raise UsageError(f"the scheme {scheme.name!r} is built in", subject=scheme.name, hint="give yours another name")
    all_schemes()
    assert _third_party is not None  # noqa: S101 - all_schemes has just filled it
    _third_party[scheme.name] = scheme


def scheme_named(name: str) -> VersionScheme:
    """The scheme of this name.

    Raises:
        UsageError: no such scheme is built in or registered.
    """
    scheme = BUILT_IN.get(name) or all_schemes().get(name)
    if scheme is None:
        known = ", ".join(sorted(all_schemes()))
        raise UsageError(f"unknown version scheme {name!r}", subject=name, hint=f"known schemes: {known}")
    return scheme


def scheme_of(versions: Iterable[str], default: VersionScheme) -> VersionScheme:
    """The scheme that an asset's listed versions follow: the default, or another that reads more of them."""
    texts = list(versions)
    known = sum(default.is_full(text) for text in texts)
    if known == len(texts):
        return default
    best = default
    for scheme in all_schemes().values():
        count = sum(scheme.is_full(text) for text in texts)
        if count > known:
            best, known = scheme, count
    return best


def newest_first(versions: Iterable[str], scheme: VersionScheme) -> list[str]:
    """Full versions, each once, newest first."""
    return sorted(set(versions), key=scheme.sort_key, reverse=True)


def is_text(version: str) -> bool:
    """Whether a version may stand in a key and in a path."""
    return _TEXT.match(version) is not None and not version.endswith((".meta", ".versions")) and ".." not in version


def check_text(version: str) -> str:
    """The version, if it may stand in a key.

    Raises:
        InvalidVersionError: it is not 1 to 128 of ``A-Z a-z 0-9 . _ -``, or ends like a key of the convention.
    """
    if not is_text(version):
        raise InvalidVersionError(
            f"invalid version {version!r}: up to 128 letters, digits, '.', '_' and '-', starting with a letter or digit",
            subject=version,
        )
    return version


def newest_matching(versions: Iterable[str], partial: str | None, scheme: VersionScheme) -> str | None:
    """The newest full version, of those that the partial text stands for where one is given; None if there is none."""
    if partial is not None and not scheme.is_partial(partial):
        return None
    candidates = [v for v in versions if scheme.is_full(v) and (partial is None or scheme.matches(v, partial))]
    return max(candidates, key=scheme.sort_key, default=None)


def next_version(
    listed: Collection[str],
    taken: Collection[str],
    scheme: VersionScheme,
    now: datetime,
    *,
    partial: str | None = None,
    new_major: bool = False,
    initial: str | None = None,
) -> str:
    """The number that an automatic push asks for.

    It follows the newest *listed* version (of the partial, where one is given), and steps over every *taken* one (claimed,
    written, removed), so that a dead claim on 7.0 does not move everybody to 7.1. Numbers are never reused.

    Raises:
        VersionNotFoundError: the partial matches no version.
    """
    newest = newest_matching(listed, partial, scheme)
    if new_major:
        candidate = scheme.next_major([*listed, *(v for v in taken if scheme.is_full(v))], now)
    elif newest is not None:
        candidate = scheme.following(newest, now)
    elif partial is not None:
        majors = ", ".join(newest_first((v for v in listed if scheme.is_full(v)), scheme)[:5]) or "none"
        raise VersionNotFoundError(
            f"no version {partial}.* to follow",
            subject=partial,
            hint=f"newest versions: {majors}; --major starts a new one",
        )
    else:
        candidate = initial or scheme.initial(now)
    while candidate in taken or candidate in listed:
        candidate = scheme.following(candidate, now)
    return candidate
