"""A bucket is filled from a backup: in bounded memory, and with one look at the manifest for all large files."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import IntegrityError
from holdfast.model.digest import digest_of
from holdfast.model.result import NoProgress
from holdfast.sites.loading import load_site
from holdfast.sites.media import Media
from holdfast.sites.offload import Wanted
from holdfast.sites.stores import Stores
from holdfast.sites.streamed import Streamed
from holdfast.unpacked import PackedVersion
from tests.sites.test_deploy import ready

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from holdfast.model.chunk import Placed

SMALL, LARGE = 64 * 1024, 9 * 1024 * 1024


class Bytes(bytearray):
    """Bytes of which it can be told whether anybody holds them still."""


class Counted:
    """Gives small files, and counts how many of them anybody holds at a time."""

    def __init__(self) -> None:
        self.most = 0
        self._held: weakref.WeakSet[Bytes] = weakref.WeakSet()

    def whole(self, keys: Collection[str], use: Callable[[str, Bytes], object]) -> Iterator[object]:
        """As of :class:`Streamed`."""
        for key in keys:
            yield use(key, self._made(key))
            self.most = max(self.most, len(self._held))

    def _made(self, key: str) -> Bytes:
        data = Bytes(key.encode().ljust(SMALL))
        self._held.add(data)
        return data

    def sources(self, keys: Collection[str]) -> list[object]:
        """As of :class:`Streamed`; there are no large files."""
        assert not keys
        return []


Bytes.__hash__ = object.__hash__  # type: ignore[method-assign, assignment]


def test_media__filled_in_bounded_memory(site):
    """Of many small files for a bucket that is a folder no more are in memory than are on their way."""
    ready(site)
    loaded = load_site(str(site.folder / "site.toml"), None)
    store = Stores(loaded.plan.stores, progress=NoProgress()).all[0]
    media = Media(store, loaded.plan.site, "filled", "images")
    media.make()
    keys = [f"{number}.jpg" for number in range(400)]
    wanted = {key: Wanted(SMALL, digest_of(key.encode().ljust(SMALL))) for key in keys}
    source = Counted()
    media.fill(source, keys, wanted)
    assert (site.folder / "filled/399.jpg").read_bytes() == b"399.jpg".ljust(SMALL)
    assert 0 < source.most < 50


def test_media__large_files_by_one_manifest(site, monkeypatch: pytest.MonkeyPatch):
    """However many large files are opened in a store, its manifest is gone through once."""
    files = {f"images/{number}.mp4": os.urandom(LARGE + number) for number in range(3)}
    for path, data in files.items():
        (site.webroot / path).write_bytes(data)
    version = ready(site)
    loaded = load_site(str(site.folder / "site.toml"), None)
    stores, looks = Stores(loaded.plan.stores, progress=NoProgress()).all, []
    each = PackedVersion.each

    def counted(packed: PackedVersion) -> Iterator[Placed]:
        looks.append(packed)
        return each(packed)

    monkeypatch.setattr(PackedVersion, "each", counted)
    name = stores[0].repository.list()[0].name
    keys = [path.removeprefix("images/") for path in files]
    (opened,) = Streamed(stores, name, version, "images").sources(keys)
    for key in keys:
        assert b"".join(opened(key)) == files[f"images/{key}"]
    assert len(looks) == 1


class Given:
    """Gives large files as several stores have them."""

    def __init__(self, *contents: bytes) -> None:
        self._contents = contents

    def whole(self, keys: Collection[str], use: Callable[[str, Bytes], object]) -> Iterator[object]:
        """As of :class:`Streamed`; there are no small files."""
        assert not keys
        return iter(())

    def sources(self, keys: Collection[str]) -> list[Callable[[str], Iterator[memoryview]]]:
        """As of :class:`Streamed`."""
        assert keys
        return [lambda _, data=data: iter([memoryview(data)]) for data in self._contents]


def test_media__large_file_that_is_another(site):
    """A large file that a store has otherwise never comes to be an object: the next store's does, or what was there stays."""
    ready(site)
    loaded = load_site(str(site.folder / "site.toml"), None)
    media = Media(Stores(loaded.plan.stores, progress=NoProgress()).all[0], loaded.plan.site, "filled", "images")
    media.make()
    right, wrong = os.urandom(LARGE), os.urandom(LARGE)
    wanted = {"a.mp4": Wanted(LARGE, digest_of(right))}
    place = site.folder / "filled/a.mp4"
    place.write_bytes(b"before")
    with pytest.raises(IntegrityError):
        media.fill(Given(wrong), ["a.mp4"], wanted)
    assert place.read_bytes() == b"before"
    media.fill(Given(wrong, right), ["a.mp4"], wanted)
    assert place.read_bytes() == right
