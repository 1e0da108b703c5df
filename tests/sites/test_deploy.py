"""Deployments put the media of a backup into buckets, proven, and lose nothing, whatever is there and whenever they are killed."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import time

import pytest

import holdfast
from holdfast.errors import ConflictError
from holdfast.model.result import NoProgress
from holdfast.sites.deploy import deploy, deployment_of
from holdfast.sites.guarded import Guarded
from holdfast.sites.lease import Lease
from holdfast.sites.loading import load_site
from holdfast.sites.offload import Agreed
from holdfast.sites.stores import Stores
from tests.sites.conftest import FILES, files_of
from tests.sites.test_backup import content

BUCKET = "www-example-com-assets-images"
IMAGES = {path.removeprefix("images/"): data for path, data in FILES.items() if path.startswith("images/")}


def ready(site, text=""):
    """A backup with all media, and the settings that put images into a bucket."""
    (site.webroot / "images/empty").mkdir(exist_ok=True)
    version = site.site("backup", "--period", "hourly")["version"]
    site.write("persist_assets_to_cloud = 1\n" + text)
    return version


def media(site, bucket=BUCKET):
    """What is in a bucket, but for the mark."""
    found = files_of(site.folder / bucket)
    return {path: data for path, data in found.items() if not path.startswith(".holdfast/")}


def test_deploy__copies_the_media(site):
    """deploy copies each directory from the backup into its bucket, private, as plain objects, hidden files too."""
    version = ready(site)
    report = site.site("deploy", "--from", "hourly")
    assert report["spec"].endswith(version)
    assert [(each["bucket"], each["state"]) for each in report["buckets"]] == [(BUCKET, "created")]
    assert media(site) == IMAGES
    assert stat.S_IMODE((site.folder / BUCKET).stat().st_mode) == 0o700
    assert (site.folder / BUCKET / ".holdfast/site.json").exists()
    assert not (site.folder / "state/deploy.journal").exists()


def test_deploy__one_bucket_for_each_directory(site):
    """Three directories are three buckets, a merged one as many as it says, and together they hold all of it."""
    for number in range(60):
        (site.webroot / "media" / f"{number}.jpg").write_text(str(number))
    (site.webroot / "docs").mkdir()
    (site.webroot / "docs/a.pdf").write_text("a")
    version = ready(site, 'directories_to_mount = "images:merge=media3:docs"\n')
    report = site.site("deploy", "--from", f"hourly:{version}")
    assert len(report["buckets"]) == 5
    merged = [media(site, f"www-example-com-assets-media{n}") for n in (1, 2, 3)]
    assert all(merged)
    assert {path: data for each in merged for path, data in each.items()} == files_of(site.webroot / "media")
    assert media(site, "www-example-com-assets-docs") == {"a.pdf": b"a"}


def test_deploy__whole_webroot(site):
    """With WHOLE-WEBROOT all of the backup but what stays local goes into one bucket."""
    ready(site, 'directories_to_mount = "WHOLE-WEBROOT"\n')
    site.site("deploy", "--from", "hourly")
    assert media(site, "www-example-com-assets-webroot") == content(site)


def test_deploy__while_another_is_online(site):
    """A second deployment is refused while one is online; after detach --offline its buckets are adopted without a write."""
    ready(site)
    site.site("deploy", "--from", "hourly")
    error = site.fails(4, "deploy", "--from", "hourly")
    assert "detach --offline" in error["hint"]
    assert site.site("detach", "--offline")["state"] == "offline"
    before = {path: path.stat().st_mtime_ns for path in (site.folder / BUCKET).rglob("*")}
    report = site.site("deploy", "--from", "hourly")["buckets"][0]
    assert (report["state"], report["written"]) == ("adopted", 0)
    assert {path: path.stat().st_mtime_ns for path in (site.folder / BUCKET).rglob("*")} == before


def changed_later(site):
    """A deployment that is over, in whose bucket an application wrote after the backup."""
    ready(site)
    site.site("deploy", "--from", "hourly")
    time.sleep(1.1)
    (site.folder / BUCKET / "upload.jpg").write_text("upload")
    (site.folder / BUCKET / "logo.png").write_text("new logo")
    site.site("detach", "--offline")
    return media(site)


def test_deploy__refused_consent(site):
    """Without consent nothing in a bucket is removed or overwritten, and the deployment stops before anything is written."""
    before = changed_later(site)
    everything = files_of(site.folder / "one")
    error = site.fails(4, "deploy", "--from", "hourly")
    assert "1 objects that the backup has not, and 1 that differ" in error["message"]
    assert "--accept-loss" in site.fails(4, "deploy", "--from", "hourly", "--overwrite", BUCKET)["message"]
    assert media(site) == before
    after = files_of(site.folder / "one")
    assert {
        path for path in after if after[path] != everything.get(path) and "leases" not in path and "probe" not in path
    } == set()


def test_deploy__with_consent(site):
    """With consent what is there is kept first, as a version that was proven and can be had, and the bucket is then as the backup."""
    before = changed_later(site)
    report = site.site("deploy", "--from", "hourly", "--overwrite", BUCKET, "--accept-loss")["buckets"][0]
    assert (report["state"], report["written"], report["removed"]) == ("overwritten", 1, 1)
    assert media(site) == IMAGES
    assert content(site, name=report["safety"]) == before


def test_deploy__buckets_of_others(site):
    """A bucket without our mark is taken with --adopt only, one with another site's mark never; neither is written to."""
    ready(site)
    place = site.folder / BUCKET
    shutil.copytree(site.webroot / "images", place)
    assert "--adopt" in site.fails(4, "deploy", "--from", "hourly")["message"]
    assert media(site) == IMAGES
    assert not (place / ".holdfast").exists()
    assert site.site("deploy", "--from", "hourly", "--adopt")["buckets"][0]["state"] == "adopted"
    site.site("detach", "--offline")
    mark = place / ".holdfast/site.json"
    mark.write_text(mark.read_text().replace("www-example-com", "shop-org"))
    assert "shop-org" in site.fails(4, "deploy", "--from", "hourly", "--adopt")["message"]


def test_deploy__directory_that_the_backup_lacks(site):
    """A directory that the backup lacks is refused by name before anything is made."""
    ready(site, 'directories_to_mount = "images:docs"\n')
    assert "'docs' is no directory" in site.fails(2, "deploy", "--from", "hourly")["message"]
    assert not (site.folder / BUCKET).exists()


def test_deploy__other_refusals(site):
    """No backup, no media in buckets, and a backup of another application are refused."""
    ready(site)
    assert site.fails(3, "deploy", "--from", "daily")["kind"] == "not_found"
    assert site.fails(3, "detach", "--offline")["kind"] == "not_found"
    site.write('persist_assets_to_cloud = 1\napplication = "wordpress"\ndirectories_to_mount = "images"\n')
    assert "joomla" in site.fails(4, "deploy", "--from", "hourly")["message"]
    site.write()
    assert site.fails(2, "deploy", "--from", "hourly")["kind"] == "usage"


def test_deploy__dry_run(site):
    """A dry run says what would be done, and makes nothing."""
    ready(site)
    report = site.site("deploy", "--from", "hourly", "--dry-run")
    assert (report["id"], report["buckets"][0]["written"]) == (None, len(IMAGES))
    assert not (site.folder / BUCKET).exists()


@pytest.mark.parametrize(
    "point", ["site.media-partly", *(f"site.step#{n}" for n in range(1, 7)), "push.claimed", "push.meta-written"]
)
def test_deploy__killed(site, point):
    """Killed at any step, the same deployment run again completes it: the bucket is as the backup, and all that was there is kept."""
    before = changed_later(site)
    arguments = ("site", "deploy", "--from", "hourly", "--overwrite", BUCKET, "--accept-loss", "--json")
    ended = site(*arguments, HOLDFAST_FAILPOINT=point)
    assert ended.code == -signal.SIGKILL
    report = after_lease(site, arguments)
    assert media(site) == IMAGES
    kept = [
        name for name in os.listdir(site.folder / "one/sites/www-example-com/safety/") if name.endswith(".versions")
    ]
    assert kept == [f"{BUCKET}.versions"]
    assert content(site, name=f"sites/www-example-com/safety/{BUCKET}") == before
    assert report["buckets"][0]["state"] in ("overwritten", "filled", "adopted")


def test_deploy__killed_and_written_to_since(site):
    """What was written to a bucket after a killed deployment had made its safety copy is in one, too, before it goes."""
    changed_later(site)
    arguments = ("site", "deploy", "--from", "hourly", "--overwrite", BUCKET, "--accept-loss", "--json")
    assert site(*arguments, HOLDFAST_FAILPOINT="site.step#2").code == -signal.SIGKILL
    assert "safety" in (site.folder / "state/deploy.journal").read_text()
    (site.folder / BUCKET / "late.jpg").write_text("late")
    report = after_lease(site, arguments)["buckets"][0]
    assert media(site) == IMAGES
    assert content(site, name=report["safety"])["late.jpg"] == b"late"


class Thief(NoProgress):
    """Takes the lease of the deployment once files of the backup are fetched."""

    def __init__(self, site):
        self.site = site
        self.taken = None

    def finish(self):
        """The holder was suspended for an hour."""
        if self.taken is None:
            make_leases_old(self.site)
            repository = holdfast.open((self.site.folder / "one").as_uri())
            self.taken = Lease.take(repository, "www-example-com", "deploy", seconds=600)


def test_deploy__lease_lost(site):
    """A deployment whose lease another took while it fetched the backup writes nothing more: not to the bucket, and not that it is online."""
    ready(site)
    thief = Thief(site)
    guard, loaded = Guarded(thief), load_site(str(site.folder / "site.toml"), None)
    stores = Stores(loaded.plan.stores, progress=guard)
    with pytest.raises(ConflictError, match="was lost"):
        deploy(loaded.plan, loaded.settings, stores, guard, "hourly", Agreed())
    assert thief.taken is not None
    assert media(site) == {}
    assert deployment_of(stores.all[0].repository, "www-example-com").state == "preparing"


def make_leases_old(site):
    """With the clock of the store, whose objects are made old."""
    old = time.time() - 3600
    for path in (site.folder / "one").rglob("*"):
        if path.is_file() and "leases" in str(path):
            os.utime(path, (old, old))


def after_lease(site, arguments):
    """Run it once the lease of the dead is over."""
    make_leases_old(site)
    return site.ok(*arguments).json


def test_deploy__to_a_bucket(ceph, site):
    """On S3 buckets are made, marked, filled with 300 images and proven; a second deployment adopts them; another account's is refused."""
    for number in range(300):
        (site.webroot / "images" / f"{number}.jpg").write_bytes(os.urandom(2000) + str(number).encode())
    (site.webroot / "images/large.mp4").write_bytes(os.urandom(20 * 1024 * 1024))
    site.write('persist_assets_to_cloud = 0\nsite_url = "deploy.example.com"\n')
    path, store = site.folder / "site.toml", ceph.fresh_store()
    text = path.read_text().partition("[[stores]]")[0]
    text += f'[[stores]]\nurl = "{store}"\n'
    path.write_text(text)
    site.site("backup", "--period", "hourly", **ceph.env)
    path.write_text(text.replace("persist_assets_to_cloud = 0", "persist_assets_to_cloud = 1"))
    report = site.site("deploy", "--from", "hourly", **ceph.env)["buckets"][0]
    assert (report["state"], report["written"]) == ("created", 300 + len(IMAGES) + 1)
    site.site("detach", "--offline", **ceph.env)
    again = site.site("deploy", "--from", "hourly", **ceph.env)["buckets"][0]
    assert (again["state"], again["written"]) == ("adopted", 0)
