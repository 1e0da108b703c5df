"""``asset site doctor``: each check with what to do, pure on facts, and once on this machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from holdfast.sites.doctor import CHECKS, ERROR, OK, WARNING, Machine, examined
from holdfast.sites.machine import Places, gather
from holdfast.sites.plan import resolve
from holdfast.sites.values import SiteSettings, StoreSettings

SETTINGS = SiteSettings(
    site_url="www.example.com",
    build="hourly",
    persist=True,
    directories=("images",),
    webroot="/srv/www",
    sync_webroots=True,
    stores=(StoreSettings("s3://b/p", "https://fra1.digitaloceanspaces.com"),),
)
PLAN = resolve(SETTINGS).plan
WELL = Machine(
    fuse=True,
    is_root=True,
    mounter="/usr/bin/rclone, 1.70",
    clock=0.5,
    updatedb='PRUNEFS="NFS fuse.rclone"\n',
    watches=500_000,
    directories=1000,
    cache_folder="/var/lib",
    cache=50 << 30,
    mounts={"/srv/www/images": "mounted"},
    abilities={"/srv/www/images": dict.fromkeys(("write", "read_after_write", "overwrite", "rename"), "yes")},
)


def states(machine: Machine, plan=PLAN) -> dict[str, str]:
    return {each.name: each.state for each in examined(plan, machine)}


def test_well__all_ok():
    """A machine that lacks nothing passes every check that the site needs."""
    assert states(WELL) == dict.fromkeys(CHECKS, OK)


def test_merged__needs_mergerfs_and_all_branches():
    """Of a merged directory mergerfs is looked for, and every branch and the directory itself must be mounted and passed over by updatedb."""
    plan = resolve(replace(SETTINGS, directories=("merge=images2",))).plan
    places = ("/srv/images1", "/srv/images2", "/srv/www/images")
    well = replace(
        WELL,
        mergerfs="/usr/bin/mergerfs, 2.33.5",
        updatedb='PRUNEFS="fuse.rclone fuse.mergerfs"\n',
        mounts=dict.fromkeys(places, "mounted"),
        abilities={},
    )
    assert states(well, plan) == dict.fromkeys((*CHECKS, "mergerfs"), OK)
    missing = replace(well, mergerfs=None, mergerfs_problem="mergerfs is not installed")
    (check,) = [each for each in examined(plan, missing) if each.name == "mergerfs"]
    assert (check.state, "apt-get install mergerfs" in check.hint) == (ERROR, True)
    dead = replace(well, mounts=well.mounts | {"/srv/images2": "remounting: the mounter ended"})
    assert [each.state for each in examined(plan, dead) if each.name == "mount"] == [OK, ERROR, OK]
    assert states(replace(well, updatedb='PRUNEFS="fuse.rclone"\n'), plan)["updatedb"] == WARNING


@pytest.mark.parametrize(
    ("change", "name", "state", "part"),
    [
        ({"fuse": False}, "fuse", ERROR, "modprobe"),
        ({"fuse": None}, "fuse", ERROR, "modprobe"),
        ({"is_root": False}, "allow_other", ERROR, "/etc/fuse.conf"),
        ({"is_root": False, "fuse_conf": "# user_allow_other\n"}, "allow_other", ERROR, "/etc/fuse.conf"),
        ({"is_root": False, "fuse_conf": "a\nuser_allow_other\n"}, "allow_other", OK, ""),
        ({"mounter_problem": "rclone is too old"}, "mounter", ERROR, "install rclone"),
        ({"clock": None}, "clock", WARNING, "asset doctor"),
        ({"clock": -90.0}, "clock", WARNING, "chronyc"),
        ({"clock": 3600.0}, "clock", ERROR, "chronyc"),
        ({"updatedb": 'PRUNEPATHS="/tmp /srv"\n'}, "updatedb", OK, ""),
        ({"updatedb": 'PRUNEPATHS="/tmp /srv/ww"\n'}, "updatedb", WARNING, "/srv/www/images"),
        ({"updatedb": ""}, "updatedb", WARNING, "PRUNEPATHS"),
        ({"scanners": ("clamonacc",)}, "scanners", WARNING, "exclude /srv/www/images"),
        ({"watches": 1500}, "inotify", WARNING, "sysctl"),
        ({"watches": 999}, "inotify", ERROR, "sysctl"),
        ({"watches": None}, "inotify", WARNING, "scans"),
        ({"cache": 4 << 30}, "cache", WARNING, "larger disk"),
        ({"cache": 1 << 20}, "cache", ERROR, "larger disk"),
        ({"cache": None}, "cache", WARNING, "df"),
        ({"mounts": {}}, "mount", WARNING, "asset site attach"),
        ({"mounts": {"/srv/www/images": "failed: x"}}, "mount", ERROR, "asset mounts"),
        (
            {"abilities": {"/srv/www/images": {"write": "yes", "read_after_write": "old bytes"}}},
            "mount",
            ERROR,
            "another",
        ),
    ],
)
def test_each_check(change, name, state, part):
    """What a machine lacks is a warning or an error with what to do, and a fact that is not known is never good news."""
    found = [each for each in examined(PLAN, replace(WELL, **change)) if each.name == name]
    assert [each.state for each in found] == [state]
    assert part in found[0].hint


def test_quota__of_a_provider_that_is_not_known():
    """A provider whose limits are not known is said to be so."""
    plan = resolve(replace(SETTINGS, stores=(StoreSettings("s3://b/p", "https://s3.example.com"),))).plan
    assert states(WELL, plan)["quota"] == WARNING


def test_site_without_buckets__is_asked_for_less():
    """A site whose media stay in the webroot needs no FUSE and no mounter."""
    plan = resolve(replace(SETTINGS, persist=False, sync_webroots=False)).plan
    assert set(states(Machine(clock=0.0), plan)) == {"clock", "quota"}


def test_directories__of_a_whole_webroot_in_a_bucket(site):
    """A webroot that is one mount is not walked: a hung one would hang the doctor, and its directories are not watched."""
    from holdfast.sites.loading import load_site

    plan = load_site(str(site.folder / "site.toml"), None).plan
    assert gather(replace(plan, sync_webroots=True)).directories
    assert gather(replace(plan, sync_webroots=True, mode="whole")).directories is None


def test_facts__of_a_machine_in_a_folder(tmp_path, site):
    """Facts are read from where the system keeps them; what is missing is not known."""
    from holdfast.sites.loading import load_site

    plan = load_site(str(site.folder / "site.toml"), None).plan
    bare = gather(plan, Places(tmp_path / "none"))
    assert (bare.fuse, bare.fuse_conf, bare.updatedb, bare.watches, bare.scanners) == (False, None, None, None, ())
    for path, text in {
        "etc/fuse.conf": "user_allow_other\n",
        "etc/updatedb.conf": 'PRUNEPATHS="/a"\n',
        "proc/sys/fs/inotify/max_user_watches": "8192\n",
        "proc/17/comm": "clamd\n",
    }.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    facts = gather(plan, Places(tmp_path))
    assert (facts.fuse_conf, facts.watches, facts.scanners) == ("user_allow_other\n", 8192, ("clamd",))
    assert facts.clock is not None
    assert abs(facts.clock) < 60
    assert facts.cache


def test_doctor__command(site):
    """The command tells every check, as text and as JSON, ends with 1 where one is an error, and leaves the site as it was."""
    site.write("persist_assets_to_cloud = 1\nmounter = 's3fs'\n")
    ended = site("site", "doctor", "--json")
    found = {each["name"]: each for each in ended.json}
    assert {"fuse", "mounter", "mount", "cache", "clock"} <= set(found)
    assert ended.code == (1 if any(each["state"] == "error" for each in ended.json) else 0)
    assert all(set(each) == {"name", "state", "message", "hint"} for each in ended.json)
    assert found["clock"]["state"] == "ok"
    assert "clock: " in site("site", "doctor").out
