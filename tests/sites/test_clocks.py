"""Web servers whose clocks are an hour, or a year, apart: backups stay in order, and nothing is deleted too early."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest

from holdfast.sites.copies import Copies
from holdfast.sites.loading import load_site
from holdfast.sites.retention import time_of
from holdfast.transfer.engine import Engine
from tests.sites.clocks import HOUR, clock, put
from tests.sites.servers import servers_in
from tests.sites.test_deploy import BUCKET, make_leases_old, media, ready

YEAR = 365 * 24 * HOUR
WRONG = pytest.mark.parametrize("ahead", [HOUR, -HOUR, YEAR])


def test_clock__is_really_wrong(site):
    """The test's own ground: the program believes in the clock that it is given."""
    code = "import time; print(time.time())"
    done = subprocess.run(
        [sys.executable, "-c", code], env=site.environ(**clock(YEAR)), capture_output=True, text=True, check=True
    )
    assert abs(float(done.stdout) - time.time() - YEAR) < 60


@WRONG
def test_backups__stay_in_order(site, ahead):
    """Backups of servers whose clocks differ are named by the store's clock, in the order in which they were made; the wrong clock is told."""
    made = []
    for number, environ in enumerate(({}, clock(ahead), {})):
        put(site, "index.php", b"%d" % number)
        ended = site.ok("site", "backup", "--period", "hourly", "--json", **environ)
        assert ("clock" in ended.err) == bool(environ), ended.err
        made.append(ended.json["version"])
    assert made == sorted(set(made))
    now = datetime.now(UTC)
    assert all(abs(time_of(version) - now) < timedelta(minutes=5) for version in made)
    found = site.site("restore", "hourly", "--to", str(site.folder / "back"), **clock(ahead))
    assert found["version"] == made[-1]
    assert (site.folder / "back/index.php").read_bytes() == b"2"


@WRONG
def test_lease__of_one_that_died(site, ahead):
    """Whichever of two servers has the wrong clock, the lease of one that died is respected for as long as it says, and taken after that."""
    for number, (dead, heir) in enumerate((({}, clock(ahead)), (clock(ahead), {}))):
        put(site, "index.php", b"%d" % number)
        killed = site("site", "backup", "--period", "hourly", HOLDFAST_FAILPOINT="site.before-push", **dead)
        assert killed.code == -signal.SIGKILL
        assert site.site("backup", "--period", "hourly", **heir)["state"] == "elsewhere"
        make_leases_old(site)
        assert site.site("backup", "--period", "hourly", **heir)["state"] == "created"


@WRONG
def test_deploy__of_what_is_older_than_the_bucket(site, ahead):
    """A build machine whose clock is wrong refuses a backup that predates the last write to a bucket, and takes one that does not."""
    wrong = clock(ahead)
    ready(site)
    site.site("deploy", "--from", "hourly", **wrong)
    time.sleep(1.1)
    (site.folder / BUCKET / "upload.jpg").write_bytes(b"upload")
    site.site("detach", "--offline", **wrong)
    refused = site.fails(4, "deploy", "--from", "hourly", "--overwrite", BUCKET, **wrong)
    assert "--accept-loss" in refused["message"]
    time.sleep(1.1)
    put(site, "images/upload.jpg", b"upload, in the backup")
    site.write()
    ready(site)
    site.site("deploy", "--from", "hourly", "--overwrite", BUCKET, **wrong)
    assert media(site)["upload.jpg"] == b"upload, in the backup"


@WRONG
def test_sync__the_newest_wins(tmp_path, ahead):
    """A web server whose clock, and so the times of its files, are wrong neither wins with what is older nor loses with what is newer."""
    one, two = servers_in(tmp_path, 2)
    wrong = clock(ahead)
    for number in range(2):
        put(one, "index.php", b"from the wrong clock %d" % number, ahead)
        one.sync(**wrong)
        two.sync()
        assert (two.webroot / "index.php").read_bytes() == b"from the wrong clock %d" % number
        put(two, "index.php", b"the answer %d" % number)
        two.sync()
        one.sync(**wrong)
        assert (one.webroot / "index.php").read_bytes() == b"the answer %d" % number
    assert (one.kept, two.kept) == ([], [])


@pytest.fixture
def copied(site):
    """A site whose images live in a bucket, in a folder, with a place for copies that keeps what was deleted for a minute."""
    (site.folder / "elsewhere").mkdir()
    shutil.copytree(site.webroot / "images", site.folder / BUCKET)
    site.write(
        "persist_assets_to_cloud = 1\nkeep_deleted = '60s'\n",
        after=f'[[copies]]\nurl = "{(site.folder / "elsewhere").as_uri()}"\n',
    )
    return site


@WRONG
def test_copy__keeps_what_was_deleted(copied, ahead):
    """What was deleted stays in the copy for its time by the store's clock, whatever that of the server that copies."""
    assert copied.site("replicate")[0]["state"] == "whole"
    (copied.folder / BUCKET / "logo.png").unlink()
    for _ in range(2):
        assert copied.site("replicate", **clock(ahead))[0]["expired"] == 0
    kept = copied.site("replicate", "--deleted", **clock(ahead))
    assert [each["key"] for each in kept] == ["logo.png"]
    copied.site("replicate", "--restore", "logo.png", **clock(ahead))
    assert (copied.folder / BUCKET / "logo.png").exists()


@WRONG
def test_copy__tells_its_lag_by_the_stores_clock(copied, ahead):
    """How far a copy is behind is the same for every server, whoever copied and whoever asks."""
    for copier, asker in (({}, clock(ahead)), (clock(ahead), {})):
        copied.site("replicate", **copier)
        assert copied.site("replicate", "--status", **asker)[0]["lag"] < 60


def test_copies__ask_a_clock_once(copied):
    """A process that stays does not write into a copy's store each time that it looks how the copies are."""
    copied.site("replicate")
    plan = load_site(str(copied.folder / "site.toml"), None).plan
    assert Copies(plan, engine=Engine()).status()[0].state == "whole"
    (probe,) = (path for path in (copied.folder / "elsewhere").rglob("*clock*") if path.is_file())
    os.utime(probe, (1, 1))
    (status,) = Copies(plan, engine=Engine()).status()
    assert probe.stat().st_mtime == 1
    assert status.lag < 60
