"""The clock of a store, which is one for all who write there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdfast.formats.layout import probe_key

if TYPE_CHECKING:
    from holdfast.store.base import Store

__all__ = ["seconds_now"]


def seconds_now(store: Store) -> float:
    """When the store says that an object written just now was written, in seconds since the epoch: a put and a head.

    Raises:
        AccessError: nothing may be written there.
        UnreachableError: it does not answer.
    """
    key = probe_key("clock")
    store.put(key, b"")
    return store.head(key).modified
