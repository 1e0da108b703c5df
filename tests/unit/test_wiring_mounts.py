"""Which door a store opens: the settings' mounts decide, by URL and by path."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from functools import partial

import pytest

import holdfast
from holdfast.config import load
from holdfast.errors import UnreachableError, UnsupportedError, UsageError
from holdfast.store.bucket import BucketStore
from holdfast.store.mount import MountStore
from holdfast.store.mountpath import MountPath
from holdfast.store.path import PathStore
from holdfast.wiring import open_store


@pytest.fixture
def root(tmp_path):
    """A folder that stands for a mounted bucket; something is in it."""
    (tmp_path / "mnt" / "store").mkdir(parents=True)
    return tmp_path / "mnt"


def opened(url, root, scheme="s3", **more):
    settings = load({"mounts": {f"{scheme}://bucket": str(root)}} | more, environ={"HOME": str(root.parent)})
    return open_store(str(load({"store": url}, environ={}).store), settings)


@pytest.mark.parametrize("scheme", ["s3", "gs", "gcs", "az"])
def test_by_url_and_by_path(root, scheme):
    """A bucket's URL and a path below its mount are the same store, in all clouds."""
    known = "gs" if scheme == "gcs" else scheme
    for url in (f"{scheme}://bucket/store", (root / "store").as_uri(), str(root / "store"), f"{root}/store/../store/"):
        store = opened(url, root, scheme)
        assert isinstance(store, MountPath)
        assert store.url == f"{known}://bucket/store"
        assert store.root == root / "store"


def test_through_links(root, tmp_path):
    """Links are followed on both sides before paths are compared."""
    (tmp_path / "link").symlink_to(root)
    assert opened(str(tmp_path / "link" / "store"), root).url == "s3://bucket/store"
    assert opened(str(root / "store"), tmp_path / "link").url == "s3://bucket/store"


def test_side_by_side(root):
    """A bucket without a mount uses HTTP and a folder outside is a folder, in one process (AMA 6.1.1, 6.1.4)."""
    assert isinstance(opened("s3://bucket/store", root), MountPath)
    assert isinstance(opened("s3://bucket-two/store", root), BucketStore)
    assert isinstance(opened("gs://bucket/store", root), BucketStore)
    assert isinstance(opened("s3://bucket/store", root), MountPath)
    outside = opened(str(root.parent / "mnt-two"), root)
    assert type(outside) is PathStore


def test_not_atomic(root):
    """Where a file system is not known to create atomically the mount is only read, and the error of a push names the way out."""
    store = opened("s3://bucket/store", root, mount_atomic=False)
    assert isinstance(store, MountStore)
    assert "create a file only if it is absent" in store.promises().reason


def test_not_atomic__push(root, monkeypatch, tmp_path):
    """A push into a mount that cannot create atomically writes nothing, and says that a server is needed."""
    monkeypatch.setenv("ASSET_BUCKET_MT_CONFIG", json.dumps({"s3://bucket": str(root)}))
    monkeypatch.setenv("HOLDFAST_MOUNT_ATOMIC", "false")
    (tmp_path / "file").write_text("x")
    repository = holdfast.open("s3://bucket/store", assets_dir=tmp_path / "assets")
    with pytest.raises(UnsupportedError, match="absent") as caught:
        repository.push(tmp_path / "file", "a/b")
    assert "server" in caught.value.hint
    assert list((root / "store").rglob("*")) == []


def test_not_mounted(tmp_path, monkeypatch):
    """Nothing is pushed into the empty folder of a bucket that is not mounted, unless ``mount_atomic`` says that it is the bucket."""
    (tmp_path / "mnt").mkdir()
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("ASSET_BUCKET_MT_CONFIG", json.dumps({"s3://bucket": str(tmp_path / "mnt")}))
    with pytest.raises(UnreachableError, match="nothing is mounted") as caught:
        holdfast.open("s3://bucket/store", assets_dir=tmp_path / "assets").push(tmp_path / "file", "a/b")
    assert "mount_atomic" in caught.value.hint
    assert list((tmp_path / "mnt").iterdir()) == []
    monkeypatch.setenv("HOLDFAST_MOUNT_ATOMIC", "true")
    assert holdfast.open("s3://bucket/store", assets_dir=tmp_path / "assets").push(tmp_path / "file", "a/b").created


def test_unmounted_meanwhile(tmp_path, monkeypatch):
    """A share that is unmounted while a program has it open is told: nothing goes into the folder on which it lay; mounted again it goes on."""
    (share := tmp_path / "mnt").mkdir()
    source = tmp_path / "file"
    monkeypatch.setenv("ASSET_BUCKET_MT_CONFIG", json.dumps({"s3://bucket": str(share)}))
    with small_share(tmp_path / "disk", share) as (mount, unmount):
        (tmp_path / "disk" / "something").touch()
        mount()
        repository = holdfast.open("s3://bucket", assets_dir=tmp_path / "assets")
        for word, number in (("one", "0.0"), ("two", "0.1")):
            source.write_text(word)
            assert repository.push(source, "a/b").version == number
            unmount()
            source.write_text(f"{word}, lost")
            with pytest.raises(UnreachableError, match="unmounted"):
                repository.push(source, "a/b")
            assert list(share.iterdir()) == []
            mount()
        assert repository.versions("a/b").versions == ("0.1", "0.0")


@contextmanager
def small_share(disk, place):
    """A disk of 8 MiB, and what mounts it at a place as well, and takes it away there."""
    disk.mkdir()
    first = ["mount", "-t", "tmpfs", "-o", "size=8m", "holdfast-test", disk]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(first, check=False).returncode:
        pytest.skip("only root can mount a disk")

    def run(*command):
        subprocess.run(command, check=True)

    try:
        yield partial(run, "mount", "--bind", disk, place), partial(run, "umount", place)
    finally:
        subprocess.run(["umount", place], check=False, capture_output=True)
        run("umount", disk)


def test_assets_below_the_store(root, monkeypatch):
    """The assets folder may not lie in the mounted store."""
    monkeypatch.setenv("ASSET_BUCKET_MT_CONFIG", json.dumps({"s3://bucket": str(root)}))
    with pytest.raises(UsageError, match="overlap"):
        holdfast.open("s3://bucket/store", assets_dir=root / "store" / "assets")


def test_no_way_out(root):
    """A URL that would leave the mount is refused."""
    with pytest.raises(UsageError):
        opened("s3://bucket/../etc", root)
