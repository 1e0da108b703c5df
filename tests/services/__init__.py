"""Real servers for tests: each module starts one on free loopback ports, waits until it answers, and stops it.

``SERVERS`` is the table of them; ``python -m tests.services ceph`` starts one by hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.services import azurite, ceph, gcs_double, localstack, rclone, refusing
from tests.services.base import MissingProgramError, Service, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

__all__ = ["SERVERS", "MissingProgramError", "Service", "ServiceError"]

#: Name → what starts it in an empty directory.
SERVERS: Final[dict[str, Callable[[Path], AbstractContextManager[Service]]]] = {
    "ceph": ceph.start,
    "localstack": localstack.start,
    "azurite": azurite.start,
    "gcs_double": gcs_double.start,
    "rclone_s3": rclone.start,
    "refusing_s3": refusing.start,
}
