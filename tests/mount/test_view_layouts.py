"""A version of any layout, through any door, is seen as the folder that was pushed."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.cache.ranges import Ranges
from holdfast.mount.base import ROOT
from holdfast.mount.view import open_version
from holdfast.store.memory import MemoryStore
from tests.fakes import repository_on
from tests.mount.trees import TREES, expect_same, find, read_whole, walk, write_tree

LAYOUTS = ["packs", "tree", "tar.gz"]


@given(st.data(), TREES, st.randoms(use_true_random=False))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_view__as_the_folder(data, tree, dice):
    """Any folder, pushed in any layout, is seen through a view as it was: with and without a cache on disk, and twice."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        write_tree(top / "source", tree, dice)
        store = MemoryStore("trees")
        layout = data.draw(st.sampled_from(LAYOUTS))
        repository_on(store, top / "one").push(top / "source", "n/v", layout=layout)
        repository = repository_on(store, top / "two")
        ranges = Ranges.open(top / "cache", None) if data.draw(st.booleans()) else None
        for _ in range(2):
            view = open_version(repository, "n/v", "0.0", ranges)
            expect_same(view, top / "source", dice, with_times=True)
            view.close()


def test_view__of_a_file(tmp_path):
    """A file asset is seen as a folder with that file in it, under its own name."""
    (tmp_path / "weights.bin").write_bytes(random.Random(1).randbytes(200_000))
    store = MemoryStore("file")
    repository_on(store, tmp_path / "one").push(tmp_path / "weights.bin", "n/v")
    view = open_version(repository_on(store, tmp_path / "two"), "n/v", "0.0", Ranges.open(tmp_path / "cache", None))
    assert [path for path, _ in walk(view)] == ["weights.bin"]
    assert read_whole(view, find(view, "weights.bin")) == (tmp_path / "weights.bin").read_bytes()
    view.close()


@pytest.mark.parametrize("kind", ["tree", "archive", "file"])
def test_view__of_another_program(tmp_path, kind):
    """What modelkit pushed tells no digests: it is fetched whole when it is mounted, and its files are what was fetched."""
    import io
    import json
    import tarfile

    store, dice = MemoryStore("foreign"), random.Random(2)
    source = tmp_path / "source"
    write_tree(source, {"a/x": ("f", 5000, 0o644, False), "b": ("f", 90_000, 0o644, False)}, dice)
    meta = {"push_date": "2026-01-01T00:00:00+00:00", "is_directory": kind != "file"}
    if kind == "tree":
        meta["contents"] = ["a/x", "b"]
        for path in meta["contents"]:
            store.put(f"n/v/0.0/{path}", (source / path).read_bytes())
    elif kind == "archive":
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            archive.add(source, ".")
        store.put("n/v/0.0", packed.getvalue())
    else:
        store.put("n/v/0.0", (source / "b").read_bytes())
    store.put("n/v/0.0.meta", json.dumps(meta).encode())
    store.put("n/v.versions", b'{"versions": ["0.0"]}')
    view = open_version(repository_on(store, tmp_path / "two"), "n/v", "0.0", Ranges.open(tmp_path / "cache", None))
    files = {path: read_whole(view, shown) for path, shown in walk(view) if shown.mode & 0o100000}
    names = {"a/x": "a/x", "b": "b"} if kind != "file" else {"v": "b"}
    assert files == {name: (source / path).read_bytes() for name, path in names.items()}
    view.close()


def test_view__empty(tmp_path):
    """An empty folder is an empty folder."""
    (tmp_path / "source").mkdir()
    for layout in LAYOUTS:
        store = MemoryStore(layout)
        repository_on(store, tmp_path / f"one-{layout}").push(tmp_path / "source", "n/v", layout=layout)
        view = open_version(repository_on(store, tmp_path / f"two-{layout}"), "n/v", "0.0", None)
        assert [*view.items(ROOT, 0)] == []
        assert view.lookup(ROOT, b"a") is None
        view.close()


def test_view__readers_at_once(tmp_path):
    """Many threads that read the same files at once all get the right bytes, and each byte is fetched once."""
    from concurrent.futures import ThreadPoolExecutor

    from tests.mount.trees import Recording

    dice = random.Random(3)
    source = tmp_path / "source"
    source.mkdir()
    (source / "large").write_bytes(dice.randbytes(6_000_000))
    for number in range(200):
        (source / f"small{number}").write_bytes(dice.randbytes(3000))
    store = Recording()
    repository_on(store, tmp_path / "one").push(source, "n/v")
    store.reads.clear()
    view = open_version(repository_on(store, tmp_path / "two"), "n/v", "0.0", Ranges.open(tmp_path / "cache", None))
    names = [path for path, _ in walk(view)]

    def reader(seed: int) -> None:
        mine = random.Random(seed)
        for path in mine.sample(names, len(names)):
            assert read_whole(view, find(view, path), 65_536) == (source / path).read_bytes()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(reader, range(8)))
    assert view.bytes_fetched <= sum(path.stat().st_size for path in source.iterdir()) * 1.05
    view.close()
