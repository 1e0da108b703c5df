"""``YYYY-MM-DDTHH-MM-SSZ``, ordered as text. Two versions within a second do not collide (fault W25 of modelkit)."""

from __future__ import annotations

from typing import Final

from holdfast.model.version import BUILT_IN
from holdfast.modelkit.versioning.versioning import SchemeVersioningSystem

__all__ = ["DATE_RE", "SimpleDateAssetsVersioningSystem"]

DATE_RE: Final = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}Z"


class SimpleDateAssetsVersioningSystem(SchemeVersioningSystem):
    """Versions by the second in which they are pushed."""

    scheme = BUILT_IN["simple_date"]
