"""Versioned assets in object stores: pushed, fetched, verified.

Example::

    import holdfast

    repository = holdfast.open("s3://bucket/prefix")
    version = repository.push("model/", "nlp/bert", message="first")
    path = repository.fetch("nlp/bert:1")

The public names are those of ``__all__``; they are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from holdfast.config.active import activate, deactivate, project
    from holdfast.errors import (
        AccessError,
        AlreadyExistsError,
        ConflictError,
        HoldfastError,
        IntegrityError,
        NotFoundError,
        SourceChangedError,
        UnreachableError,
        UnsupportedError,
        UsageError,
    )
    from holdfast.model.spec import AssetSpec
    from holdfast.modelkit.manager import AssetsManager
    from holdfast.upkeep import Repository
    from holdfast.wiring import open  # noqa: A004 - interface.md names it

__version__ = "0.1.0"

__all__ = [
    "AccessError",
    "AlreadyExistsError",
    "AssetSpec",
    "AssetsManager",
    "ConflictError",
    "HoldfastError",
    "IntegrityError",
    "NotFoundError",
    "Repository",
    "SourceChangedError",
    "UnreachableError",
    "UnsupportedError",
    "UsageError",
    "activate",
    "deactivate",
    "open",
    "project",
]

_HOME: Final = {
    "AssetSpec": "holdfast.model.spec",
    "AssetsManager": "holdfast.modelkit.manager",
    "Repository": "holdfast.upkeep",
    "activate": "holdfast.config.active",
    "deactivate": "holdfast.config.active",
    "open": "holdfast.wiring",
    "project": "holdfast.config.active",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'holdfast' has no attribute {name!r}")
    return getattr(import_module(_HOME.get(name, "holdfast.errors")), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
