"""Conditional writes that settle every doubt by reading (design §3): create once, and read-change-replace.

A 409, a 412, "exists" and an answer that never came all look alike here: what lies under the key decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from holdfast.errors import AccessError, AlreadyExistsError, ConflictError, ObjectNotFoundError, UnreachableError
from holdfast.store.base import CREATE, Object, Replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.catalog.base import Clock
    from holdfast.store.base import Store

__all__ = ["create_once", "read_or_none", "swap"]

_PATIENCE: Final = 300.0
_LOST_ANSWERS: Final = 4
_LONGEST_PAUSE: Final = 1.0


def read_or_none(store: Store, key: str) -> Object | None:
    """The object, or None where there is none."""
    try:
        return store.get(key)
    except ObjectNotFoundError:
        return None


def create_once(store: Store, clock: Clock, key: str, data: bytes) -> None:
    """Create the object, whose bytes name their writer; done too if it is found there with just these bytes.

    Raises:
        AlreadyExistsError: it is there with other bytes.
    """
    for attempt in range(_LOST_ANSWERS + 1):
        try:
            store.put(key, data, CREATE)
        except (ConflictError, UnreachableError) as error:
            found = _settled(store, key)
            if found is not None and bytes(found.data) == data:
                return
            if found is not None:
                raise AlreadyExistsError(f"{key} exists", subject=key) from error
            if attempt == _LOST_ANSWERS:
                raise
            clock.sleep(_pause(attempt))
        else:
            return


def swap(store: Store, clock: Clock, key: str, change: Callable[[Object | None], bytes | None]) -> bool:
    """Read, change, replace, until nobody came between; ``change`` answers None where nothing is left to do.

    ``change`` may be called many times and must judge only by what it is given: our change being there *is* success.

    Returns:
        Whether the last step wrote something (False also where a lost answer turned out to have been a success).

    Raises:
        ConflictError: others kept coming between for five minutes.
    """
    deadline = clock.now().timestamp() + _PATIENCE
    lost = attempt = 0
    while True:
        current = read_or_none(store, key)
        data = change(current)
        if data is None:
            return False
        try:
            store.put(key, data, CREATE if current is None else Replace(current.info.version))
        except (ConflictError, ObjectNotFoundError) as error:
            if clock.now().timestamp() > deadline:
                raise ConflictError(f"{key} is changed by others all the time", subject=key) from error
        except UnreachableError:
            lost += 1
            if lost > _LOST_ANSWERS:
                raise
        else:
            return True
        clock.sleep(_pause(attempt))
        attempt += 1


def _settled(store: Store, key: str) -> Object | None:
    try:
        return read_or_none(store, key)
    except AccessError:
        return None


def _pause(attempt: int) -> float:
    import random

    return random.uniform(0, min(_LONGEST_PAUSE, 0.02 * 2**attempt))  # noqa: S311 - jitter, no secret
