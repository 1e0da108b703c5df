"""modelkit's own environment variables, for ``holdfast.modelkit``.

Only the variables that modelkit documents are read. Its accidents are not: a bare ``BUCKET`` or ``CONNECTION_STRING`` says
nothing here, and ``False`` switches off (faults W23 of modelkit).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from holdfast.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ModelkitSettings", "load_modelkit", "versioning_system"]

_OFF: Final = frozenset({"", "0", "false", "no", "off", "none", "f", "n"})
_TIMEOUT: Final = 300


@dataclass(frozen=True, slots=True)
class ModelkitSettings:
    """What the environment says; None where it says nothing. ``timeout`` in seconds; ``environ`` is a copy of it all."""

    assets_dir: str | None
    assets_timeout: str | None
    provider: str | None
    bucket: str | None
    prefix: str | None
    timeout: int
    force_download: bool
    lazy_driver: bool
    environ: Mapping[str, str] = field(repr=False)

    def without_storage(self) -> dict[str, str]:
        """The environment less the variables that describe modelkit's storage: is there a store beside them?"""
        return {name: value for name, value in self.environ.items() if not name.startswith("MODELKIT_STORAGE_")}


def load_modelkit(environ: Mapping[str, str] | None = None) -> ModelkitSettings:
    """Read them now.

    Raises:
        UsageError: a number that is none; the message names the variable.
    """
    variables = dict(os.environ if environ is None else environ)
    return ModelkitSettings(
        assets_dir=variables.get("MODELKIT_ASSETS_DIR") or None,
        assets_timeout=variables.get("MODELKIT_ASSETS_TIMEOUT_S") or None,
        provider=variables.get("MODELKIT_STORAGE_PROVIDER") or None,
        bucket=variables.get("MODELKIT_STORAGE_BUCKET") or None,
        prefix=variables.get("MODELKIT_STORAGE_PREFIX") or None,
        timeout=_seconds(variables, "MODELKIT_STORAGE_TIMEOUT_S"),
        force_download=is_on(variables.get("MODELKIT_STORAGE_FORCE_DOWNLOAD", "")),
        lazy_driver=is_on(variables.get("MODELKIT_LAZY_DRIVER", "")),
        environ=variables,
    )


def versioning_system(environ: Mapping[str, str] | None = None) -> str:
    """The name of the versioning system where none is given."""
    variables = os.environ if environ is None else environ
    named = variables.get("HOLDFAST_VERSIONING") or variables.get("MODELKIT_ASSETS_VERSIONING_SYSTEM")
    return named or "major_minor"


def is_on(text: str) -> bool:
    """Whether a switch is on: the words for no, and nothing at all, are off."""
    return text.strip().lower() not in _OFF


def _seconds(variables: Mapping[str, str], name: str) -> int:
    text = variables.get(name) or str(_TIMEOUT)
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"{name} is {text!r}: not a whole number of seconds", subject=name) from None
