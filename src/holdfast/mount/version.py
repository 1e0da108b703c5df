"""The view that a mount's worker opens, out of plain values: settings, door, range cache, and which version.

Example::

    view = open_view({"spec": "nlp/bert:1", "store": "s3://bucket/prefix", "folder": str(folder), "mount": "a1b2"})
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.cache.ranges import FOLDER, Ranges, refuse_shared
from holdfast.catalog.base import Published
from holdfast.config import load
from holdfast.errors import LocalError, UsageError
from holdfast.formats import layout as keys
from holdfast.formats.convention import decode_meta
from holdfast.model.spec import AssetSpec
from holdfast.mount.follow import FollowingView, History, Shown
from holdfast.mount.view import DEADLINE, Events, VersionView, open_version
from holdfast.wiring import open_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.repository import Repository

__all__ = ["PAUSE", "open_view", "refuse_view"]

#: Seconds between two looks for a newer version.
PAUSE: Final = 5.0


def open_view(arguments: Mapping[str, Any]) -> VersionView | FollowingView:
    """The view that these arguments describe.

    Args:
        arguments: ``spec``, and as they are wanted: ``follow``; ``store``, ``profile``, ``assets_dir`` in place of the
            settings; ``folder`` where the mount keeps which versions it showed, and ``mount``, an id that tells this mount from the one before it
            there; ``others``: other users may read the mount; ``deadline`` and ``pause`` in seconds; ``cache`` (false: keep nothing on disk).

    Returns:
        A view that stays with the version that the spec named when this mount first opened it; with ``follow``, one that does not.

    Raises:
        UsageError: a spec with a sub-path, or settings without a store.
        NotFoundError: no such version.
        IntegrityError: the version's meta or root is damaged.
        LocalError: ``others``, and the cache lies where another than its user can write.
        UnreachableError: the store does not answer.
    """
    return _Opening(arguments).view()


def refuse_view(arguments: Mapping[str, Any]) -> None:
    """Raise what :func:`open_view` would of the spec and the settings. Nothing is made; the version's pages are not looked at."""
    spec = _whole_version(arguments)
    repository = _repository_of(arguments)
    version, published = repository.resolver.find(spec)
    published or repository.resolver.published(spec.name, version)
    if arguments.get("others"):
        refuse_shared(repository.state / FOLDER)


def _whole_version(arguments: Mapping[str, Any]) -> AssetSpec:
    spec = AssetSpec.parse(str(arguments["spec"]))
    if spec.sub_path:
        hint = "mount the version, and look at the part in it"
        raise UsageError(f"{spec} names a part of a version", subject=str(spec), hint=hint)
    return spec


def _repository_of(arguments: Mapping[str, Any]) -> Repository:
    given = {name: arguments.get(name) for name in ("store", "assets_dir")}
    return open_settings(load(given, profile=arguments.get("profile")))


class _Opening:
    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._arguments = arguments
        self._spec = _whole_version(arguments)
        self._repository = _repository_of(arguments)
        self._events = Events()
        self._deadline = float(arguments.get("deadline", DEADLINE))
        self._ranges = self._opened_ranges() if arguments.get("cache", True) else None

    def view(self) -> VersionView | FollowingView:
        """The view."""
        folder = self._arguments.get("folder")
        history = History(None if folder is None else Path(folder), str(self._arguments.get("mount", "")))
        if not history.shown:
            shown = self._newest("")
            assert shown is not None  # noqa: S101 - no version has an empty number
            history.add(shown)
        if not self._arguments.get("follow"):
            return self._opened(history.shown[-1], len(history.shown) - 1)
        pause = float(self._arguments.get("pause", PAUSE))
        return FollowingView(history, self._opened, self._newest, pause, self._events)

    def _newest(self, known: str) -> Shown | None:
        """The version that the spec names now, but for the known one."""
        version, published = self._repository.resolver.find(self._spec)
        if version == known:
            return None
        published = published or self._repository.resolver.published(self._spec.name, version)
        return Shown(version, published.id, published.data.decode())

    def _opened(self, shown: Shown, generation: int) -> VersionView:
        data = shown.meta.encode()
        published = Published(decode_meta(data, keys.meta_key(self._spec.name, shown.version)), shown.id, data)
        return open_version(
            self._repository,
            self._spec.name,
            shown.version,
            self._ranges,
            published=published,
            generation=generation,
            deadline=self._deadline,
            events=self._events,
        )

    def _opened_ranges(self) -> Ranges | None:
        """The range cache; a mount for its own user does without where it is not safe."""
        assets = self._repository.assets
        try:
            return Ranges.open(self._repository.state, assets.limit, assets.keep_free, self._events)
        except LocalError as error:
            if self._arguments.get("others"):
                raise
            self._events(error.message)
            return None
