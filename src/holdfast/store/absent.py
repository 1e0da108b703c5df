"""No store at all, for those who only take what is cached: whatever would need one says that none is set."""

from __future__ import annotations

from typing import Any, cast

from holdfast.errors import UsageError
from holdfast.store.base import Store

__all__ = ["absent_store", "none_set"]


def none_set() -> UsageError:
    """The error of whoever needs a store where none is set."""
    hint = "give --store URL, set HOLDFAST_STORE, or: asset config set store s3://bucket/prefix"
    return UsageError("no store is set", hint=hint)


class _Absent:
    url = ""

    def __getattr__(self, verb: str) -> Any:
        if verb in vars(Store):
            raise none_set()
        raise AttributeError(verb)  # what a store may offer beside, it does not


def absent_store() -> Store:
    """A store of which every verb raises UsageError."""
    return cast(Store, _Absent())
