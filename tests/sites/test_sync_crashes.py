"""Servers whose sync is killed at every step, and logs that hostile hands wrote."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import msgspec
import pytest

from holdfast.failpoint import POINTS
from holdfast.formats.codec import pack
from holdfast.formats.layout import sync_head_key, sync_pack_key
from holdfast.formats.sync import Head, PackRecord, decode_head, encode_head
from holdfast.model.chunk import CODEC_ZSTD
from holdfast.model.digest import digest_of
from holdfast.sites.webroot import QUIET
from tests.sites.servers import Server, servers_in, settle

if TYPE_CHECKING:
    from pathlib import Path

SITE = "www-example-com"
STEPS = [point for point in POINTS if point.startswith("sync.") and point != "sync.mirrored"]


def busy(tmp_path: Path) -> list[Server]:
    """Two servers that both have something to say, about one file too."""
    one, two = servers_in(tmp_path, 2)
    for number in range(5):
        one.put(f"pages/{number}.html", f"page {number}")
    one.put("index.php", "first")
    settle(one, two)
    two.put("index.php", "by two, older")
    two.put("two.html", "by two")
    (two.webroot / "pages/4.html").unlink()
    time.sleep(0.05)
    one.put("index.php", "by one, newer")
    one.put("pages/new.html", "by one")
    one.put("pages/0.html", "changed by one")
    (one.webroot / "pages/3.html").unlink()
    time.sleep(QUIET)
    one.once()
    return [one, two]


@pytest.mark.parametrize("point", STEPS)
def test_killed__at_every_step(tmp_path: Path, point: str):
    """A server whose sync is killed at any step comes to the tree of the others when it is run again, and no content is lost."""
    one, two = busy(tmp_path)
    killed = two("site", "sync", HOLDFAST_FAILPOINT=point)
    assert killed.code == -9, (point, killed)
    two.sync()
    settle(one, two)
    assert one.tree == two.tree
    assert one.tree["index.php"] == ("0o644", b"by one, newer")
    files = {path for path in one.tree if path.endswith((".html", ".php"))}
    assert files == {"index.php", "two.html", *(f"pages/{name}.html" for name in ("0", "1", "2", "new"))}
    assert one.tree["pages/0.html"] == ("0o644", b"changed by one")
    assert b"by two, older" in two.kept
    assert not [path for path in two.webroot.iterdir() if path.name.startswith(".holdfast")]


def test_killed_while_a_log_is_made_small(tmp_path: Path):
    """A server killed while it joins its packs has its log as it was or as it is to be, and removes what is left over."""
    one, two = servers_in(tmp_path, 2)
    for number in range(20):
        one.put("index.php", f"{number}")
        ended = one("site", "sync", HOLDFAST_FAILPOINT="sync.published")
        assert ended.code == -9
    one.sync()
    settle(one, two)
    packs = list((tmp_path / "store/.holdfast/sites").rglob("sync/packs/*/*"))
    with one.opened() as syncer:
        syncer.cycle()
        named = {each.name for log in syncer.logs.known.values() for each in log.head.packs}
    assert {path.name for path in packs} == named
    assert (two.webroot / "index.php").read_text() == "19"


def test_raced__what_is_written_at_that_moment_is_kept_or_stays(tmp_path: Path):
    """What somebody writes into a file between the look and the change is not overwritten unseen."""
    one, two = servers_in(tmp_path, 2)
    one.put("index.php", "first")
    settle(one, two)
    one.put("index.php", "second")
    time.sleep(QUIET)
    one.once()
    with two.opened() as syncer:
        lay = syncer.agreed.intend

        def written_now(changes) -> None:
            if changes:
                two.put("index.php", "written at that moment")
            lay(changes)

        syncer.agreed.intend = written_now
        syncer.cycle()
        syncer.agreed.intend = lay
    assert (two.webroot / "index.php").read_text() == "written at that moment"
    settle(one, two)
    assert one.tree == two.tree
    assert one.tree["index.php"] == ("0o644", b"written at that moment")


# logs of hostile hands


def change(path: str, kind: str = "f", mode: int = 0o644, target: str = "", **more) -> list:
    """A change as it stands in a log, with no bytes."""
    digest = bytes.fromhex(digest_of(b"")) if kind == "f" else b""
    fields = {"stamp": 10**16, "node": "evil-1", "seen": {}, "at": 0, "clash": False} | more
    return [path, *fields.values(), kind, mode, None, 0, digest, target, []]


def plant(store: Path, changes: list, *, node: str = "evil-1", head: bytes | None = None) -> None:
    """A log with one pack of these changes."""
    raw = msgspec.msgpack.encode([1, changes])
    stored = pack(raw, CODEC_ZSTD)
    name = "0123456789abcdef"
    for key, data in (
        (sync_pack_key(SITE, node, name), stored),
        (
            sync_head_key(SITE, node),
            head
            or encode_head(
                Head(
                    1, node, "evil", "r", 1, "2026-01-01T00:00:00+00:00",
                    (PackRecord(name, len(stored), len(stored), len(raw), digest_of(raw)),),
                )
            ),
        ),
    ):  # fmt: skip
        (store / key).parent.mkdir(parents=True, exist_ok=True)
        (store / key).write_bytes(data)


HOSTILE = {
    "absolute": change("/etc/cron.d/evil"),
    "upwards": change("images/../../evil"),
    "empty piece": change("images//evil"),
    "a device": change("evil", "c"),
    "setuid": change("evil", mode=0o4755),
    "a link that leads out": change("evil", "l", target="/etc/passwd"),
    "a link that climbs out": change("images/evil", "l", target="../../etc"),
    "a stamp beyond all time": change("evil", stamp=1 << 62),
    "a node that is none": change("evil", node="../evil"),
    "stamp 0 of a server": change("evil", stamp=0),
    "no bytes": ["evil", 10**16, "evil-1", {}, 0, False, "f", 0o644, None, 5, b"", "", []],
    "NUL": change("a\0b"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_log__is_refused_and_the_others_go_on(tmp_path: Path, what: str):
    """A log with an absolute path, `..`, a device, a link that leads out or a setuid bit is refused and told; the others are synced."""
    one, two = servers_in(tmp_path, 2)
    one.put("index.php", "first")
    settle(one, two)
    plant(tmp_path / "store", [HOSTILE[what], change("beside.html")])
    one.put("index.php", "second")
    time.sleep(QUIET)
    assert set(one.once().wrong) == {"evil-1"}
    ended = two("site", "sync", "--json")
    assert ended.code == 5
    assert set(ended.json["wrong"]) == {"evil-1"}
    assert set(two.tree) == {"index.php"}
    assert two.tree["index.php"] == ("0o644", b"second")


@pytest.mark.parametrize(
    "head",
    [b"", b"{}", b"[]", b"\xff", b'{"format": 2, "node": "evil-1"}', random.Random(1).randbytes(100), b"[" * 100_000],
    ids=["nothing", "an object", "a list", "no text", "an unknown format", "noise", "deep"],
)
def test_head_that_is_none__is_refused(tmp_path: Path, head: bytes):
    """A head that cannot be read is told, and the others are synced."""
    one, two = servers_in(tmp_path, 2)
    plant(tmp_path / "store", [], head=head or b" ")
    one.put("index.php", "first")
    time.sleep(QUIET)
    assert set(one.once().wrong) == {"evil-1"}
    assert set(two.once().wrong) == {"evil-1"}
    assert two.tree == {"index.php": ("0o644", b"first")}


def test_head_of_another__is_refused(tmp_path: Path):
    """A head under the name of another server is refused."""
    (one,) = servers_in(tmp_path, 1)
    plant(tmp_path / "store", [])
    folder = tmp_path / "store" / sync_head_key(SITE, "x").rpartition("/")[0]
    (folder / "web9").write_bytes((folder / "evil-1").read_bytes())
    assert "is the log of 'evil-1'" in one.once().wrong["web9"]


def test_damaged_pack__is_never_laid(tmp_path: Path):
    """Bytes in the store that are not what was written are never laid; their file stays as it is, and the others are synced."""
    one, two = servers_in(tmp_path, 2)
    one.put("index.php", os.urandom(3000))
    settle(one, two)
    before = two.tree["index.php"]
    one.put("index.php", os.urandom(3000))
    one.put("other.html", "x")
    time.sleep(QUIET)
    report = one.once()
    folder = tmp_path / "store" / sync_pack_key(SITE, report.node, "x").rpartition("/")[0]
    newest = max(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    data = bytearray(newest.read_bytes())
    middle = data.index(b"HFPACK1") // 2
    data[middle : middle + 4] = b"\0\0\0\0"
    newest.write_bytes(data)
    report = two.once()
    assert set(report.wrong) == {"index.php"}
    assert two.tree["index.php"] == before
    assert two.tree["other.html"] == ("0o644", b"x")
    one.put("index.php", "written again")
    settle(one, two)
    assert one.tree == two.tree


def test_heads__are_golden():
    """A head and its packs read as FORMAT.md has them."""
    text = (
        b'{"format":1,"node":"web1-3fa9c2d0","who":"root@web1","run":"00112233aabbccdd","beat":7,'
        b'"at":"2026-11-26T16:00:00+00:00","packs":[{"name":"f3858f8c6e73c9b3","size":477,"stored":135,"raw":150,'
        b'"digest":"' + b"ab" * 32 + b'"}]}'
    )
    head = decode_head(text, "key")
    assert (head.node, head.beat, head.packs[0].stored) == ("web1-3fa9c2d0", 7, 135)
    assert encode_head(head) == text
