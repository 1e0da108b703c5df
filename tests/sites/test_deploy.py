"""Deployments put the media of a backup into buckets, proven, and lose nothing, whatever is there and whenever they are killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time

import pytest

import holdfast
from holdfast.errors import ConflictError
from holdfast.model.result import NoProgress
from holdfast.sites.deploy import deploy
from holdfast.sites.deployed import deployment_of
from holdfast.sites.guarded import Guarded
from holdfast.sites.lease import Lease
from holdfast.sites.loading import load_site
from holdfast.sites.offload import Agreed
from holdfast.sites.stores import Stores
from tests.sites.conftest import FILES, files_of
from tests.sites.test_backup import content, damage_largest, needs_root

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


def test_deploy__with_an_older_safety_copy_that_is_damaged(site):
    """A store that lacks an older safety copy, which is damaged, keeps no deployment from going on that has a whole one of what goes now."""
    changed_later(site)
    (site.folder / BUCKET / "upload.jpg").write_bytes(os.urandom(300_000))
    site.site("deploy", "--from", "hourly", "--overwrite", BUCKET, "--accept-loss")
    damage_largest(site.folder / "one")
    site.site("detach", "--offline")
    time.sleep(1.1)
    (site.folder / BUCKET / "logo.png").write_text("newer logo")
    before = media(site)
    site.write("persist_assets_to_cloud = 1\n", stores=("one", "two"))
    report = site.site("deploy", "--from", "hourly", "--overwrite", BUCKET, "--accept-loss")["buckets"][0]
    assert content(site, "two", report["safety"]) == before
    assert media(site) == IMAGES


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
    """A dry run says what would be done, and makes nothing, in no bucket and no store."""
    ready(site)
    before = files_of(site.folder / "one")
    report = site.site("deploy", "--from", "hourly", "--dry-run")
    assert (report["id"], report["buckets"][0]["written"]) == (None, len(IMAGES))
    assert not (site.folder / BUCKET).exists()
    assert files_of(site.folder / "one") == before
    killed = site("site", "deploy", "--from", "hourly", HOLDFAST_FAILPOINT="site.step#1")
    assert killed.code == -signal.SIGKILL
    assert "does deploy" in site.fails(1, "deploy", "--from", "hourly", "--dry-run")["message"]


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
    """Takes the lease of the deployment once it begins to fill a bucket."""

    def __init__(self, site):
        self.site = site
        self.taken = None

    def start(self, what, total, files):
        """The holder was suspended for an hour."""
        if self.taken is None:
            make_leases_old(self.site)
            repository = holdfast.open((self.site.folder / "one").as_uri())
            self.taken = Lease.take(repository, "www-example-com", "deploy", seconds=600)


def test_deploy__lease_lost(site):
    """A deployment whose lease another took before it filled a bucket writes nothing more: not to the bucket, and not that it is online."""
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


def damaged(store):
    """A byte in the middle of every pack of a store is another."""
    packs = [path for path in (store / ".holdfast/packs").rglob("*") if path.is_file()]
    assert packs
    for path in packs:
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 1
        path.chmod(0o600)
        path.write_bytes(data)


def test_deploy__from_the_store_that_gives_it(site):
    """What one store has lost comes from the next: small files and large ones, each as the backup has it."""
    large = {f"{number}.mp4": os.urandom(9 * 1024 * 1024 + number) for number in range(2)}
    small = {f"{number}.jpg": os.urandom(5000 * number) for number in range(1, 40)}
    for name, data in (large | small).items():
        (site.webroot / "images" / name).write_bytes(data)
    site.write(stores=("one", "two"))
    ready(site)
    site.write("persist_assets_to_cloud = 1\n", stores=("one", "two"))
    damaged(site.folder / "one")
    site.site("deploy", "--from", "hourly")
    assert media(site) == IMAGES | large | small


def test_deploy__damaged_everywhere(site):
    """Where no store gives a file as it was, no object of it is made, and the deployment does not come online."""
    (site.webroot / "images/photo.jpg").write_bytes(data := os.urandom(200_000))
    ready(site)
    damaged(site.folder / "one")
    assert "does not match its digest" in site.fails(5, "deploy", "--from", "hourly")["message"]
    assert media(site).get("photo.jpg") != data
    assert site.site("detach", "--offline")["state"] == "offline"


def merged(site, count):
    """The files in each bucket of a merged directory."""
    return [media(site, f"www-example-com-assets-media{number}") for number in range(1, count + 1)]


def pictures(site):
    """Files of a directory that is merged, and a deployment of them in three buckets, which is over."""
    for number in range(30):
        (site.webroot / "media" / f"{number}.jpg").write_text(str(number))
    version = ready(site, 'directories_to_mount = "merge=media3"\n')
    site.site("deploy", "--from", f"hourly:{version}")
    site.site("detach", "--offline")
    return f"hourly:{version}"


def test_deploy__marks_of_branches(site):
    """Each bucket of a merged directory carries the mark of its branch; one that carries another's is refused, and nothing is written."""
    spec = pictures(site)
    folders = [site.folder / f"www-example-com-assets-media{number}" for number in (1, 2, 3)]
    for number, folder in enumerate(folders, 1):
        mark = json.loads((folder / f".holdfast/branch-{number}.json").read_text())
        assert (mark["site"], mark["directory"], mark["branch"], mark["of"]) == ("www-example-com", "media", number, 3)
    (folders[0] / ".holdfast/branch-1.json").rename(folders[1] / ".holdfast/branch-1.json")
    before = files_of(site.folder / "www-example-com-assets-media2")
    assert "mark of branch 1 of media" in site.fails(4, "deploy", "--from", spec)["message"]
    assert files_of(site.folder / "www-example-com-assets-media2") == before


def test_deploy__file_stays_on_its_branch(site):
    """A file that lies on another branch than its path says is adopted where it lies, and written over there; no name comes to lie on two."""
    pictures(site)
    one, two = merged(site, 2)
    moved = next(iter(one))
    for key, number in ((moved, 2),):
        folders = [site.folder / f"www-example-com-assets-media{n}" for n in (1, number)]
        (folders[0] / key).rename(folders[1] / key)
    site.write("persist_assets_to_cloud = 0\n")
    (site.webroot / "media" / moved).write_text("changed")
    spec = f"hourly:{site.site('backup', '--period', 'hourly')['version']}"
    site.write('persist_assets_to_cloud = 1\ndirectories_to_mount = "merge=media3"\n')
    bucket = "www-example-com-assets-media2"
    report = site.site("deploy", "--from", spec, "--overwrite", bucket, "--accept-loss")
    states = {each["bucket"]: (each["state"], each["written"]) for each in report["buckets"]}
    assert states[bucket] == ("overwritten", 1)
    assert [states[f"www-example-com-assets-media{number}"] for number in (1, 3)] == [("adopted", 0)] * 2
    assert merged(site, 2)[1] == two | {moved: b"changed"}


@needs_root
def test_deploy__branches_grow(site):
    """A merged directory grows by new empty buckets, whose files then stay where they are; a branch that is gone is no new one."""
    pictures(site)
    before = merged(site, 3)
    version = backup_without_media(site)
    site.write('persist_assets_to_cloud = 1\ndirectories_to_mount = "merge=media5"\n')
    report = site.site("deploy", "--from", f"daily:{version}")
    assert [each["state"] for each in report["buckets"]] == ["adopted"] * 3 + ["created"] * 2
    assert merged(site, 5) == [*before, {}, {}]
    marks = [
        json.loads((site.folder / f"www-example-com-assets-media{n}/.holdfast/branch-{n}.json").read_text())["of"]
        for n in range(1, 6)
    ]
    assert marks == [5] * 5
    site.site("detach", "--offline")
    shutil.rmtree(site.folder / "www-example-com-assets-media4")
    message = site.fails(4, "deploy", "--from", f"daily:{version}")["message"]
    assert "media4 is not there" in message


@pytest.mark.parametrize("step", range(1, 6))
def test_deploy__of_new_buckets_killed(site, step):
    """A deployment that was killed once it had made a bucket, marked or not, is completed by running it again, without a word of adopting."""
    ready(site)
    arguments = ("site", "deploy", "--from", "hourly", "--json")
    assert site(*arguments, HOLDFAST_FAILPOINT=f"site.step#{step}").code == -signal.SIGKILL
    make_leases_old(site)
    site.site("deploy", "--from", "hourly")
    assert media(site) == IMAGES


@needs_root
@pytest.mark.parametrize("step", range(1, 13))
def test_deploy__growing_killed(site, step):
    """Growing that was killed at any step is completed by running it again."""
    pictures(site)
    before = merged(site, 3)
    version = backup_without_media(site)
    site.write('persist_assets_to_cloud = 1\ndirectories_to_mount = "merge=media5"\n')
    ended = site("site", "deploy", "--from", f"daily:{version}", HOLDFAST_FAILPOINT=f"site.step#{step}")
    assert ended.code == (-signal.SIGKILL if step < 12 else 0)
    if step < 12:
        make_leases_old(site)
        site.site("deploy", "--from", f"daily:{version}")
    assert merged(site, 5) == [*before, {}, {}]


def backup_without_media(site):
    """A backup that omits the merged directory, of a server that has it mounted, in a mount namespace of its own."""
    places = [site.folder / f"media{number}" for number in (1, 2, 3)] + [site.webroot / "media"]
    for place in places:
        place.mkdir(exist_ok=True)
    mounts = " && ".join(f"mount -t tmpfs none '{place}'" for place in places)
    command = [sys.executable, "-m", "holdfast.cli", "site", "backup", "--period", "daily", "--json"]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh", *command],
        cwd=site.folder,
        env=site.environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["omitted"] == ["media"]
    return told["version"]


@pytest.mark.parametrize("text", ["merge=media2", "media"])
def test_deploy__branches_never_shrink_over_files(site, text):
    """Fewer branches, or none, are refused while those that would be left out hold files, and nothing is written; once they are empty it is done."""
    spec = pictures(site)
    before = merged(site, 3)
    site.write(f'persist_assets_to_cloud = 1\ndirectories_to_mount = "{text}"\n')
    message = site.fails(4, "deploy", "--from", spec)["message"]
    assert "of which it would be no branch any more" in message
    assert merged(site, 3) == before
    gone = (3,) if text.startswith("merge") else (1, 2, 3)
    for number in gone:
        folder = site.folder / f"www-example-com-assets-media{number}"
        for path in files_of(folder):
            if not path.startswith(".holdfast/"):
                (folder / path).unlink()
    site.site("deploy", "--from", spec)
    kept = merged(site, 2) if text.startswith("merge") else [media(site, "www-example-com-assets-media")]
    assert {path: data for each in kept for path, data in each.items()} == files_of(site.webroot / "media")
