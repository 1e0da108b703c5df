"""Which schemes of store URLs there are beside the built-in ones: entry points of other packages, in the group ``holdfast.stores``.

An entry point has the scheme's name, and is a function of the store's URL and the settings that answers a
:class:`holdfast.store.base.Store`. It is imported only when a store of its scheme is opened.

Example of a package's ``pyproject.toml``::

    [project.entry-points."holdfast.stores"]
    ipfs = "my_package:open_store"
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from holdfast.errors import UsageError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "opener", "third_party"]

GROUP: Final = "holdfast.stores"


def third_party() -> tuple[str, ...]:
    """The schemes that other packages bring, by name."""
    return tuple(sorted({point.name for point in _points()}))


def opener(scheme: str) -> Any:
    """What opens stores of a scheme that is not built in, or None. A built-in scheme never comes here, and cannot be taken over.

    Raises:
        UsageError: two packages claim the scheme, or the one that does cannot be imported.
    """
    found = [point for point in _points() if point.name == scheme]
    if len(found) > 1:
        claims = " and ".join(sorted(f"{point.value} ({_package(point)})" for point in found))
        hint = "remove one of the two packages"
        raise UsageError(f"{scheme}:// is claimed by {claims}", subject=scheme, hint=hint)
    if not found:
        return None
    try:
        return found[0].load()
    except Exception as error:
        message = f"{scheme}:// is {found[0].value} ({_package(found[0])}), which cannot be imported: {error}"
        raise UsageError(message, subject=scheme) from error


def _points() -> list[EntryPoint]:
    from importlib.metadata import entry_points

    return list(entry_points(group=GROUP))


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "no package"
