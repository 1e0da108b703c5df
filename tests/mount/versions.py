"""Mounts of test views through real processes and the kernel."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from holdfast.mount.daemon import WAYS, start
from holdfast.mount.order import Order
from holdfast.mount.registry import Registry
from holdfast.mount.unmounting import unmount

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.mount.registry import Record

ROOT = Path(__file__).resolve().parents[2]

needs_fuse = pytest.mark.skipif(
    os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="no FUSE device that root may open"
)


class Mounts:
    """Mounts below one folder, which end with the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry = Registry(folder / "state" / "mounts")
        self.made: list[Record] = []

    def mount(self, view: str = "open_folder", *, name: str = "mounted", source: str = "nlp/x:1", **given: Any) -> Path:
        """Mount a test view; what is no field of an Order is the view's."""
        directory = self.folder / name
        directory.mkdir(exist_ok=True)
        fields = {key: given.pop(key) for key in list(given) if key in Order.__dataclass_fields__}
        arguments = {key: str(value) if isinstance(value, Path) else value for key, value in given.items()}
        order = Order(f"tests.mount.views:{view}", arguments, **fields)
        self.made.append(start(self.registry, directory, source, order))
        return directory

    @property
    def record(self) -> Record:
        """The last mount's."""
        return self.made[-1]

    def counts(self) -> dict[str, int]:
        """What the last mount has done, once that is written."""
        import time

        time.sleep(2.6)
        state = self.record.state
        return state.more | {"bytes_read": state.bytes_read}

    def end(self) -> None:
        for record in self.made:
            if record.folder.exists():
                self.unmount(record, discard=True)
        self.made.clear()

    def unmount(self, record: Record, *, discard: bool = False) -> None:
        unmount(self.registry, record, WAYS, discard=discard)


@pytest.fixture
def mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mounts]:
    """Mounts that end with the test."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{ROOT / 'src'}")
    made = Mounts(tmp_path)
    try:
        yield made
    finally:
        made.end()
