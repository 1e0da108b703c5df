"""A large object into a file: what a killed run may have left in it."""

from __future__ import annotations

import io
import os
import secrets
import threading

import pytest

from holdfast.model.digest import digest_of
from holdfast.model.manifest import Entry
from holdfast.store.memory import MemoryStore
from holdfast.transfer.download import Download
from holdfast.transfer.engine import Engine
from holdfast.transfer.plan import ObjectPlan
from holdfast.transfer.ranging import IN_FLIGHT

MIB = 1024 * 1024
SIZE = IN_FLIGHT + 30 * MIB + 5


@pytest.fixture(scope="module")
def data():
    """More than what is in flight at a time."""
    return secrets.token_bytes(MIB) * (SIZE // MIB) + b"abcde"


class Counting(MemoryStore):
    """Counts the bytes that are read."""

    read = 0
    counting = threading.Lock()

    def get_range(self, key, start, length, *, version=None):
        found = super().get_range(key, start, length, version=version)
        with self.counting:
            self.read += len(found.data)
        return found


@pytest.mark.parametrize(
    ("length", "holes", "reads"),
    [
        (SIZE, [], 0),  # all of it is there
        (SIZE, [SIZE - 10 * MIB], IN_FLIGHT),  # killed with ranges on their way
        (SIZE, [SIZE - IN_FLIGHT + MIB, SIZE - 1], IN_FLIGHT),
        (IN_FLIGHT + 20 * MIB, [IN_FLIGHT], SIZE - 20 * MIB),
        (10 * MIB, [0], SIZE),
        (SIZE + 1, [], SIZE),  # not that file
        (0, [], SIZE),
    ],
)
def test_large__goes_on_behind_what_cannot_lack_anything(tmp_path, data, length, holes, reads):
    """Of what a killed run left, the last 64 MiB may have holes and are fetched again, unless all of it is right."""
    store = Counting("ranging")
    store.put_file("k", io.BytesIO(data), SIZE, lambda _: None)
    left = bytearray(data[:length].ljust(length, b"x"))
    for hole in holes:
        left[hole] ^= 1
    (tmp_path / "copy").write_bytes(left)
    download = Download(store, Engine(), tmp_path / "copy", tmp_path / "scratch")
    download._retried(ObjectPlan("k", Entry("f", size=SIZE, digest=digest_of(data)), SIZE), download._large)
    assert (tmp_path / "copy").read_bytes() == data
    assert reads <= store.read < reads + 8 * MIB
    assert os.stat(tmp_path / "copy").st_size == SIZE
