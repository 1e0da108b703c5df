"""Which backups of a period are kept: decided from their dates, newest first. Pure.

``last`` keeps so many of the newest; ``hourly``, ``daily``, ``weekly``, ``monthly`` and ``yearly`` keep the newest of each of the last so
many hours, days and so on *that have one*, so that nothing goes while no backups are made. The newest is always kept, and so is
what an alias or a hold names.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from holdfast.model.version import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

__all__ = ["plan_retention", "time_of"]

_FORMAT: Final = "%Y-%m-%dT%H-%M-%SZ"
_SPANS: Final[dict[str, Callable[[datetime], tuple[int, ...]]]] = {
    "hourly": lambda when: (when.year, when.month, when.day, when.hour),
    "daily": lambda when: (when.year, when.month, when.day),
    "weekly": lambda when: tuple(when.isocalendar()[:2]),
    "monthly": lambda when: (when.year, when.month),
    "yearly": lambda when: (when.year,),
}


def time_of(version: str) -> datetime | None:
    """When a version was made, by its number; None where that is no date."""
    if not BUILT_IN["simple_date"].is_full(version):
        return None
    try:
        return datetime.strptime(version, _FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


def plan_retention(
    versions: Sequence[str], rules: Mapping[str, int], protected: Collection[str] = ()
) -> tuple[list[str], dict[str, list[str]]]:
    """The versions that may go, and why each of the others stays.

    Args:
        versions: newest first; one whose number is no date stays.
        rules: rule → how many; none at all keeps everything.
        protected: what an alias or a hold names.
    """
    reasons: dict[str, list[str]] = {version: [] for version in versions}
    dated = [(version, when) for version in versions if (when := time_of(version)) is not None]
    for version in versions:
        if not rules:
            reasons[version].append("no rule")
        if version in protected:
            reasons[version].append("held")
        if time_of(version) is None:
            reasons[version].append("no date")
    for version in versions[: max(1, rules.get("last", 0))]:
        reasons[version].append("last")
    for rule, span in _SPANS.items():
        seen: set[tuple[int, ...]] = set()
        for version, when in dated:
            key = span(when)
            if key not in seen and len(seen) < rules.get(rule, 0):
                seen.add(key)
                reasons[version].append(rule)
    return [version for version in versions if not reasons[version]], {v: why for v, why in reasons.items() if why}
