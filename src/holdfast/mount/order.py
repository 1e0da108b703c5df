"""What a supervisor and its workers are told of a mount: plain values, which pass as JSON.

Example::

    order = Order("holdfast.mount.version:open_view", {"spec": "nlp/bert:1.2"}, owner=(0, 0))
    Order.of(order.value()) == order
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, TypeAlias

__all__ = ["READ_AHEAD", "Opens", "Order", "chosen"]

#: Bytes that the kernel reads ahead of who reads on, and around a place in a mapped file.
READ_AHEAD: Final = 2 * 1024 * 1024

#: How files are opened: not at all ("none"), or so that the kernel reads those that are whole in the cache itself.
Opens: TypeAlias = Literal["none", "passthrough"]

#: Bytes of a file from which on the kernel should read it itself: below, opening it costs more than is gained.
_LARGE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Order:
    """``view`` is ``module:function``, called with ``arguments`` for a View. ``opens`` None: as suits what the view shows (:func:`chosen`).
    ``deadline`` in seconds, ``read_ahead`` in KiB. Without ``resend`` the kernel is used like one before Linux 6.9.
    """

    view: str
    arguments: dict[str, Any] = field(default_factory=dict)
    owner: tuple[int, int] = (0, 0)
    allow_other: bool = False
    noexec: bool = False
    opens: Opens | None = None
    deadline: float = 45.0
    read_ahead: int = READ_AHEAD // 1024
    resend: bool = True

    @classmethod
    def of(cls, value: dict[str, Any]) -> Order:
        """The order of a value, whatever else that holds."""
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        if "owner" in known:
            uid, gid = known["owner"]
            known["owner"] = (int(uid), int(gid))
        return cls(**known)

    def value(self) -> dict[str, Any]:
        """As JSON keeps it."""
        return asdict(self)


def chosen(size: int, files: int, *, privileged: bool) -> Opens:
    """How to open the files of a version with so many bytes in so many files.

    Opening costs two questions a file; what it gains is that the kernel reads whole files of the cache as if there were no mount.
    """
    return "passthrough" if privileged and files and size // files >= _LARGE else "none"
