"""Mounts with a server when something is wrong: the server silent, the mount killed, hanging, or of another bucket."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.errors import AlreadyExistsError, HoldfastError, IntegrityError, UnreachableError, VersionNotFoundError
from tests.conformance.fuse import mounted, unmounted
from tests.e2e.driver import content_of, flat

CONTENT = content_of("content")


@pytest.fixture
def doors(site_of):
    """A store with one version, through the bucket, a mount and a server."""
    doors = site_of("bucket", "rclone", "signed").doors
    doors["signed"].push("a", CONTENT, layout="packs", alias="stable")
    return doors


def silent(door):
    """The same client while its server does not answer."""
    return replace(door, env=door.env | {"ASSET_SERVER_URL": "http://127.0.0.1:9"})


def by_bucket(door, doors):
    """The same client, naming the bucket's URL."""
    return replace(door, url=doors["bucket"].url)


def test_by_the_buckets_url(doors):
    """The bucket's own URL opens the mount door, too: the server knows which project lies there."""
    door = by_bucket(doors["rclone"], doors)
    with door.entered():
        assert door.push("a", content_of("next")).version == "0.1"
        assert flat(door.open("other").fetch("a")) == content_of("next")


def test_server_silent__by_the_buckets_url(doors):
    """While the server is silent, what the mount shows is listed and fetched, verified; nothing is pushed."""
    door = silent(by_bucket(doors["rclone"], doors))
    with door.entered():
        repository = door.open("other")
        assert flat(repository.fetch("a:stable")) == CONTENT
        assert [item.name for item in repository.list()] == ["a"]
        assert repository.versions("a").versions == ("0.0",)
        with pytest.raises(VersionNotFoundError):
            repository.fetch("a:7.0")
        with pytest.raises(UnreachableError):
            door.push("a", content_of("next"))


def test_server_silent__by_the_projects_url(doors):
    """Where a project's bucket was told once, its mount is read while the server is silent."""
    door = doors["rclone"]
    dead = silent(door)
    dead = replace(dead, url=door.url.replace(door.env["ASSET_SERVER_URL"], "http://127.0.0.1:9"))
    with dead.entered():
        from holdfast.cache.projects import Projects
        from holdfast.config import load

        Projects(load().cache_dir).remember(dead.url, doors["bucket"].url)
        assert flat(dead.open("other").fetch("a")) == CONTENT


def test_another_bucket(doors, ceph, tmp_path):
    """A mount of another bucket is found out by the store's id, and nothing is taken from it or written to it."""
    door = doors["rclone"]
    path = tmp_path / doors["bucket"].url.removeprefix(ceph.store_url + "/") / ".holdfast"
    path.mkdir(parents=True)
    other = {"format": 1, "id": "f" * 32, "origin": "holdfast", "created": "2020-01-01T00:00:00+00:00"}
    (path / "store.json").write_text(json.dumps(other))
    door = replace(door, env=door.env | {"ASSET_BUCKET_MT_CONFIG": json.dumps({ceph.store_url: str(tmp_path)})})
    with door.entered():
        for step in (lambda: door.open("other").fetch("a"), lambda: door.push("a", content_of("next"))):
            with pytest.raises(UnreachableError, match="another bucket"):
                step()
    assert [item.name for item in tmp_path.rglob("*") if item.is_file()] == ["store.json"]


def test_uploads_nothing(doors, ceph, tmp_path):
    """What a mount does not bring to the bucket ends the push at its deadline, with no version; the mount is named."""
    door = doors["rclone"]
    path = tmp_path / doors["bucket"].url.removeprefix(ceph.store_url + "/")
    (path / ".holdfast").mkdir(parents=True)
    with doors["bucket"].entered():
        (path / ".holdfast/store.json").write_bytes(doors["bucket"].open("look").store.get(".holdfast/store.json").data)
    env = door.env | {
        "ASSET_BUCKET_MT_CONFIG": json.dumps({ceph.store_url: str(tmp_path)}),
        "HOLDFAST_MOUNT_TIMEOUT": "0.4",
    }
    door = replace(door, env=env)
    with door.entered(), pytest.raises(UnreachableError, match="has not come") as caught:
        door.push("a", content_of("next"), layout="tree")
    assert str(tmp_path) in caught.value.message
    assert "mount_timeout" in (caught.value.hint or "")
    with doors["bucket"].entered():
        assert doors["bucket"].open("look").versions("a").versions == ("0.0",)


def test_unmounted_between_two_pushes(doors, ceph, tmp_path):
    """A push through a mount that was taken away meanwhile says so, and writes nothing to the folder on which it lay."""
    with mounted("rclone", ceph, tmp_path / "rclone") as root:
        door = replace(
            doors["rclone"],
            env=doors["rclone"].env | {"ASSET_BUCKET_MT_CONFIG": json.dumps({ceph.store_url: str(root)})},
        )
        with door.entered():
            repository = door.open("client")
            repository.push(door.lay(content_of("next")), "a", layout="tree")
            unmounted(root)
            with pytest.raises(UnreachableError, match="unmounted"):
                repository.push(door.lay(content_of("more")), "a", layout="tree")
        assert list(root.iterdir()) == []


def test_nothing_staged_is_left(doors):
    """What was left for the server is gone from the bucket when the push has ended, and no key is there twice."""
    door = doors["rclone"]
    with door.entered():
        door.push("a", content_of("next"), layout="tree")
    with doors["bucket"].entered():
        store = doors["bucket"].open("look").store
        assert [info.key for info in store.list(".holdfast/staged")] == []


def test_another_object_is_in_the_way(doors):
    """An object of another length under a key is an error, never taken for what is pushed, and stays as it is."""
    bucket, door = doors["bucket"], doors["rclone"]
    with bucket.entered():
        store = bucket.open("look").store
        for number in range(1, 5):
            store.put(f"a/0.{number}/a.txt", b"somebody else's")
    with door.entered(), pytest.raises((AlreadyExistsError, IntegrityError)):
        door.push("a", content_of("next"), layout="tree", version="0.1")
    with bucket.entered():
        assert bytes(store.get("a/0.1/a.txt").data) == b"somebody else's"
        assert bucket.open("more").versions("a").versions == ("0.0",)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hanging"])
def test_mount_gone(doors, ceph, sent, tmp_path):
    """A mount whose program was killed, or hangs, ends in an error that names it, soon; a cached version is served all the same."""
    door = by_bucket(doors["rclone"], doors)
    with mounted("rclone", ceph, tmp_path / "rclone") as root:
        (pid,) = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit() and serves(path, root))
        env = door.env | {
            "ASSET_BUCKET_MT_CONFIG": json.dumps({ceph.store_url: str(root)}),
            "HOLDFAST_MOUNT_TIMEOUT": "1",
        }
        door = replace(silent(door), env=env | {"ASSET_SERVER_URL": "http://127.0.0.1:9"})
        with door.entered():
            fetched = door.open("other").fetch("a:0.0")
            os.kill(pid, sent)
            try:
                begun = time.monotonic()
                with pytest.raises(HoldfastError) as caught:
                    door.open("third").fetch("a:0.0")
                assert isinstance(caught.value, UnreachableError)
                assert str(root) in caught.value.message
                assert time.monotonic() - begun < 15
                assert door.open("other").fetch("a:0.0") == fetched
            finally:
                if sent == signal.SIGSTOP:
                    os.kill(pid, signal.SIGCONT)


def serves(process: Path, root: Path) -> bool:
    """Whether this process is the one that serves the mount."""
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return str(root).encode() in words and words[0].endswith(b"rclone")
