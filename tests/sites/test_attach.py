"""Attaching puts a bucket in the place of a directory, proven at every step, and no byte of what was there is lost."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from tests.mount.live import require_fuse
from tests.sites.attachments import Fleet, fleet_of
from tests.sites.conftest import FILES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IMAGES = {path.removeprefix("images/"): data for path, data in FILES.items() if path.startswith("images/")}


@pytest.fixture
def fleet(ceph, tmp_path: Path) -> Iterator[Fleet]:
    """A deployed site, and a build machine."""
    require_fuse()
    with fleet_of(ceph, tmp_path) as found:
        yield found


def test_attach__the_whole_way(fleet):
    """attach moves what is there aside, hidden files too, mounts the bucket, and the application reads and writes it; purge and detach end it."""
    web = fleet.server("web1")
    (web.webroot / "images/only-here.jpg").write_bytes(b"only here")
    (report,) = web.site("attach", "--node", "web1")["directories"]
    assert (report["state"], report["objects"], report["missing"]) == ("mounted", len(IMAGES), 0)
    assert web.mounted() == [str(web.webroot / "images")]
    assert web.images() == IMAGES
    assert web.aside() == {f"images/{path}": data for path, data in {**IMAGES, "only-here.jpg": b"only here"}.items()}
    assert stat.S_IMODE(web.held.stat().st_mode) == 0o700
    (web.webroot / "images/upload.jpg").write_bytes(b"upload")
    standing = web.site("status")
    assert standing["ok"]
    assert standing["directories"][0]["state"] == "MOUNTED"
    assert standing["directories"][0]["held_bytes"] == sum(map(len, web.aside().values()))
    (purged,) = web.site("purge")["copies"]
    assert (purged["removed"], purged["kept"]) == (len(IMAGES), 1)
    assert web.aside() == {"images/only-here.jpg": b"only here"}
    assert web.site("detach")["directories"][0]["state"] == "brought back"
    assert web.mounted() == []
    assert web.images() == {"only-here.jpg": b"only here"}
    assert fleet.media() == {**IMAGES, "upload.jpg": b"upload"}
    assert web.fails(3, "detach")["kind"] == "not_found"
    assert fleet.build.site("detach", "--offline")["state"] == "offline"
