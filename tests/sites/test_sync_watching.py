"""Servers that sync as they go: three processes with ``--watch``, over a folder and over Ceph's gateway; and the rhythm, pure."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from holdfast.sites.hints import Hints
from holdfast.sites.watching import INTERVAL, Rhythm
from tests.sites.servers import Server, servers_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

#: Seconds within which something must come about; how fast it is is measured elsewhere.
PATIENCE = 60


@contextmanager
def watching(server: Server, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """``asset site sync --watch`` of a server; stopped by SIGTERM, after which it must have ended well."""
    errors = (server.folder / "errors").open("w+")
    process = subprocess.Popen(
        [sys.executable, "-m", "holdfast.cli", "site", "sync", "--watch"],
        cwd=server.folder, env=server.environ(**environ), stderr=errors, text=True,
    )  # fmt: skip
    try:
        yield process
        assert process.poll() is None, (server.folder / "errors").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, (server.folder / "errors").read_text()
    finally:
        process.kill()
        process.wait()
        errors.close()


def eventually(true: Callable[[], bool], what: str = "") -> float:
    """Wait until it is so; for how many seconds."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < PATIENCE, what or "it does not come about"
        time.sleep(0.02)
    return time.monotonic() - began


def has(server: Server, path: str, data: str | None) -> bool:
    """Whether a file of the webroot has this content; None: whether it is gone."""
    try:
        return (server.webroot / path).read_text() == data
    except FileNotFoundError:
        return data is None


def walk(servers: list[Server], **environ: str) -> None:
    """Changes on each of three servers come to the others, by themselves."""
    one, two, other = servers
    one.put("index.php", "first")
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(watching(server, **environ))
        eventually(lambda: all(has(each, "index.php", "first") for each in servers))
        two.put("new/deep/page.html", "new")
        eventually(lambda: all(has(each, "new/deep/page.html", "new") for each in servers))
        other.put("new/deep/page.html", "changed")
        eventually(lambda: all(has(each, "new/deep/page.html", "changed") for each in servers))
        shutil.rmtree(one.webroot / "new")
        eventually(lambda: all(not (each.webroot / "new").exists() for each in servers))
        for number in range(100):
            two.put(f"images/{number}.png", str(number))
        eventually(lambda: all(has(each, f"images/{n}.png", str(n)) for each in servers for n in range(100)))


def test_watch__changes_come_by_themselves(tmp_path: Path):
    """With --watch a change on one of three web servers is on the others within seconds, by itself."""
    walk(servers_in(tmp_path, 3))


def test_watch__over_ceph(tmp_path: Path, ceph):
    """The same over an object store."""
    import boto3

    client = boto3.client("s3", endpoint_url=ceph.env["AWS_ENDPOINT_URL"], aws_access_key_id=ceph.env["AWS_ACCESS_KEY_ID"],
                          aws_secret_access_key=ceph.env["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1")  # fmt: skip
    bucket = f"sync-{os.getpid()}"
    client.create_bucket(Bucket=bucket)
    walk(servers_in(tmp_path, 3, f"s3://{bucket}/site"), **ceph.env)
    assert (
        client.list_objects_v2(Bucket=bucket, Prefix="site/.holdfast/sites/www-example-com/sync/heads/")["KeyCount"]
        == 3
    )


def test_watch__without_watchfiles(tmp_path: Path):
    """Without watchfiles, looks by time alone find the same changes, and it is said once."""
    (stub := tmp_path / "stub/watchfiles").mkdir(parents=True)
    (stub / "__init__.py").write_text("raise ImportError('not here')")
    servers = servers_in(tmp_path, 3)
    walk(servers, PYTHONPATH=f"{stub.parent}:{os.environ.get('PYTHONPATH', 'src')}")
    said = (servers[0].folder / "errors").read_text()
    assert said.count("watchfiles is not installed") == 1


def test_watch__a_store_that_is_away_is_waited_for(tmp_path: Path):
    """While the store is away --watch goes on, says so once, and catches up when it is back."""
    one, two = servers_in(tmp_path, 2)
    one.put("index.php", "first")
    with watching(one), watching(two):
        eventually(lambda: has(two, "index.php", "first"))
        (tmp_path / "store").rename(tmp_path / "away")
        one.put("index.php", "meanwhile")
        eventually(lambda: "it is tried again" in (one.folder / "errors").read_text())
        time.sleep(2)
        (tmp_path / "away").rename(tmp_path / "store")
        eventually(lambda: has(two, "index.php", "meanwhile"))
    assert (one.folder / "errors").read_text().count("it is tried again") == 1


def test_hints__begin_when_the_kernel_watches(tmp_path: Path):
    """That folders are watched from now on is a hint, for nobody tells what was written since they were looked at; then there is none until something changes."""
    (tmp_path / "new").mkdir()
    hints = Hints(str(tmp_path))
    try:
        for folders in ([""], ["", "new"]):
            hints.watch(folders)
            assert hints.wait(PATIENCE)
            hints.watch(folders)
            assert not hints.wait(2.5)
        (tmp_path / "new/file").write_text("new")
        assert hints.wait(PATIENCE)
    finally:
        hints.close()


def test_rhythm__is_as_documented():
    """The store is asked twice a second while something happens, and every five seconds after a long quiet; failures are waited out."""
    rhythm = Rhythm(active=1000.0, looked=1000.0)
    assert rhythm.pause(1000.0) == rhythm.pause(1599.0) == INTERVAL == 0.5
    assert INTERVAL < rhythm.pause(1700.0) < 5.0
    assert rhythm.pause(5000.0) == 5.0
    assert not rhythm.looks(1059.0)
    assert rhythm.looks(1060.0)
    rhythm.failures = 1
    assert rhythm.pause(1000.0) == 1.0
    rhythm.failures = 50
    assert rhythm.pause(1000.0) == 30.0


def test_rhythm__without_hints():
    """Without hints the disk is looked at with each question, but for no more than a tenth of the time."""
    rhythm = Rhythm(hinted=False, looked=100.0, took=0.3)
    assert not rhythm.looks(102.0)
    assert rhythm.looks(103.1)


@pytest.mark.parametrize("quiet", [-1.0, 0.0, 1e9])
def test_rhythm__never_sleeps_for_ever(quiet: float):
    """However long nothing happened, the store is asked again soon."""
    assert 0 < Rhythm().pause(quiet) <= 5.0
