"""How the list of an asset is read."""

from __future__ import annotations

from typing import ClassVar

from holdfast.catalog.reading import divided
from holdfast.model.version import scheme_named


class Counted(str):
    """Text that tells how often any such was compared."""

    __slots__ = ()
    compared: ClassVar[list[str]] = []
    __hash__ = str.__hash__

    def __eq__(self, other):
        self.compared.append(other)
        return str.__eq__(self, other)


def test_divided__each_entry_is_looked_up_once():
    """What reading a list costs grows with its entries, and not with their square."""
    entries = [Counted(f"0.{number}") for number in range(2000)]
    full, unknown = divided([*entries, "odd"], scheme_named("major_minor"))
    assert (full, unknown) == (entries, ("odd",))
    assert len(Counted.compared) < 10 * len(entries)
