"""Backups are versions, made by one server, proven in every store, without what is mounted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import holdfast
from holdfast.sites.mounted import mismatches
from holdfast.sites.plan import resolve
from holdfast.sites.settings import from_table
from tests.sites.conftest import FILES, files_of

HOURLY = "sites/www-example-com/hourly"


def content(site, store="one", name=HOURLY):
    """The files of the newest backup in a store, fetched anew."""
    assets = site.folder / f"assets-{time.monotonic_ns()}"
    assets.mkdir()
    repository = holdfast.open((site.folder / store).as_uri(), assets_dir=assets)
    found = files_of(repository.fetch(name))
    found.pop(".SUCCESS", None)
    return found


def versions(site, store="one", name=HOURLY):
    """The versions of it, newest first."""
    repository = holdfast.open((site.folder / store).as_uri(), assets_dir=site.folder / "assets")
    try:
        return repository.versions(name).versions
    except LookupError:
        return ()


def test_backup__media_are_in_it(site):
    """With persist_assets_to_cloud 0 a backup has all media, whatever directories_to_mount says, and nothing of what stays local."""
    site.write('directories_to_mount = "images"\n')
    report = site.site("backup", "--period", "hourly")
    assert report["state"] == "created"
    kept = {path: data for path, data in FILES.items() if not path.startswith(("logs/", "tmp/", "configuration.php"))}
    assert content(site) == kept
    assert report["files"] == len(kept)


def test_backup__unchanged_and_history(site):
    """A site that did not change makes no version; each change makes one, and every one of them can be had."""
    first = site.site("backup", "--period", "hourly")
    assert site.site("backup", "--period", "hourly")["state"] == "unchanged"
    (site.webroot / "index.php").write_text("new")
    second = site.site("backup", "--period", "hourly")
    assert second["state"] == "created"
    assert second["stores"][0]["uploaded_objects"] <= 3
    assert versions(site) == (second["version"], first["version"])


@pytest.mark.parametrize("period", ["hourly", "daily", "weekly", "monthly", "bimonthly", "shutdown", "manual"])
def test_backup__periods(site, period):
    """Every period has backups of its own."""
    assert site.site("backup", "--period", period)["spec"].startswith(f"sites/www-example-com/{period}:")


@pytest.mark.parametrize("period", ["ly", "month", "", "HOURLY", "baseline", "hourly:1"])
def test_backup__no_period(site, period):
    """A part of a period's name, and anything else that is none, is refused, and nothing is written."""
    assert site.fails(2, "backup", "--period", period)["kind"] == "usage"
    assert os.listdir(site.folder / "one") == []


def test_backup__thousands_of_hidden_files(site):
    """A webroot with 4,000 hidden files and an index.php, spaces, line ends and other scripts in names is backed up whole."""
    for number in range(4000):
        (site.webroot / f"d{number}").mkdir()
        (site.webroot / f"d{number}" / ".gitignore").write_text(str(number))
    for name in ("a b", "line\nend", "ä ö", "-rf", "*", "é"):
        (site.webroot / name).write_text(name)
    (site.webroot / "empty").mkdir()
    site.site("backup", "--period", "hourly")
    found = content(site)
    assert len([path for path in found if path.endswith(".gitignore")]) == 4000
    assert "index.php" in found
    assert {"a b", "line\nend", "ä ö", "-rf", "*"} <= found.keys()


def test_backup__excluded_by_the_settings_alone(site):
    """exclude leaves out what it names, from the top where it begins with a slash, and a mounted name only at its own place."""
    (site.webroot / "downloads").mkdir()
    (site.webroot / "downloads/big.iso").write_text("iso")
    (site.webroot / "media/downloads").mkdir()
    (site.webroot / "media/downloads/kept").write_text("kept")
    (site.webroot / "x.log").write_text("log")
    site.write('exclude = ["*.log", "/downloads"]\n')
    site.site("backup", "--period", "hourly")
    found = content(site)
    assert "media/downloads/kept" in found
    assert not {"downloads/big.iso", "x.log"} & found.keys()


TABLE = {"/": "ext4", "/var/www/html": "xfs"}


def mounted(points, **settings):
    """What is wrong with what is mounted."""
    base = {"site_url": "www.example.com", "build": "hourly", "stores": "s3://b/p", "application": "joomla"}
    found, _ = from_table(base | settings)
    return mismatches(resolve(found).plan, TABLE | points)


def test_mounts__agree():
    """Mounted where it is configured, nothing where it is not, and scratch folders in memory: all in order."""
    assert mounted({}) == []
    assert mounted({"/var/www/html/images": "fuse.rclone"}, persist_assets_to_cloud=1) == []
    assert mounted({"/var/www/html/tmp": "tmpfs", "/var/www/html/cache/x": "tmpfs", "/var/www/htmlx": "nfs"}) == []


def test_mounts__disagree():
    """A configured mount that is down, and a mount that no setting names, are both told, by exact paths."""
    assert "images is to be mounted" in mounted({"/var/www/html/images2": "fuse"}, persist_assets_to_cloud=1)[0]
    assert len(mounted({"/var/www/html/images2": "fuse"}, persist_assets_to_cloud=1)) == 2
    assert "no setting says so" in mounted({"/var/www/html/images": "fuse.s3fs"})[0]


def test_mounts__of_a_merged_directory():
    """Of a merged directory it and every branch must be mounted: with one of them missing no backup goes by what the others show."""
    settings = {"persist_assets_to_cloud": 1, "directories_to_mount": "merge=images2"}
    points = {"/var/www/html/images": "fuse.mergerfs", "/var/www/images1": "fuse.rclone", "/var/www/images2": "fuse"}
    assert mounted(points, **settings) == []
    for missing in points:
        rest = {point: kind for point, kind in points.items() if point != missing}
        assert mounted(rest, **settings) == [f"{missing} is to be mounted, and is not"]


def test_backup__configured_mount_is_down(site):
    """A backup while a configured mount is down fails loudly, and nothing is written."""
    site.write("persist_assets_to_cloud = 1\n")
    error = site.fails(4, "backup", "--period", "hourly")
    assert "images is to be mounted" in error["message"]
    assert os.listdir(site.folder / "one") == []


def unshared(site, *args):
    """The program where something else is mounted on images, in a mount namespace of its own."""
    script = 'mount -t tmpfs none "$1" && mkdir "$1/x" && echo shared > "$1/x/photo" && shift && exec "$@"'
    command = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
        str(site.webroot / "images"),
        sys.executable,
        "-m",
        "holdfast.cli",
    ]
    return subprocess.run(
        [*command, *args], cwd=site.folder, env=site.environ(), capture_output=True, text=True, check=False
    )


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


@needs_root
def test_backup__mounted_directories_are_omitted(site):
    """A directory that is mounted is left out by the settings, the report says so, and one mounted against them fails the backup."""
    site.write("persist_assets_to_cloud = 1\n")
    done = unshared(site, "site", "backup", "--period", "hourly", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["omitted"] == ["images"]
    found = content(site)
    assert "media/system/images/icon.svg" in found
    assert not [path for path in found if path.startswith("images/")]
    site.write()
    done = unshared(site, "site", "backup", "--period", "daily", "--json")
    assert done.returncode == 4
    assert "no setting says so" in json.loads(done.stdout)["error"]["message"]


def test_backup__whole_webroot(site):
    """With the whole webroot in a bucket a backup is refused, with the reason and the command that copies the bucket."""
    site.write('persist_assets_to_cloud = 1\ndirectories_to_mount = "WHOLE-WEBROOT"\n')
    error = site.fails(2, "backup", "--period", "hourly")
    assert "www-example-com-assets-webroot" in error["message"]
    assert "asset site replicate" in error["hint"]


def test_backup__in_every_store(site):
    """A backup lies in every store under the same number and hash, and each was read back."""
    site.write(stores=("one", "two"))
    report = site.site("backup", "--period", "hourly")
    assert [store["ok"] for store in report["stores"]] == [True, True]
    assert versions(site, "one") == versions(site, "two") == (report["version"],)
    assert content(site, "one") == content(site, "two")


@pytest.mark.parametrize("away", ["one", "two"])
def test_backup__a_store_is_away(site, away):
    """With a store away the backup goes to the others, the command fails and names it; once it is back it gets what it missed."""
    site.write(stores=("one", "two"))
    (site.folder / away).rename(site.folder / "away")
    ended = site("site", "backup", "--period", "hourly", "--json")
    assert ended.code == 3
    told = {Path(store["url"]).name: store["ok"] for store in ended.json["stores"]}
    assert told == {away: False, ({"one", "two"} - {away}).pop(): True}
    (site.folder / "away").rename(site.folder / away)
    (site.webroot / "index.php").write_text("new")
    report = site.site("backup", "--period", "hourly")
    assert versions(site, "one") == versions(site, "two") == (report["version"], ended.json["version"])


def damage_largest(folder):
    """Have the largest object of a store in a folder hold nothing but zeros."""
    path = max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    path.chmod(0o600)
    path.write_bytes(bytes(path.stat().st_size))


def test_backup__an_older_one_cannot_be_copied(site):
    """An older backup that cannot be copied keeps no other from a store; the command fails and names what that lacks, though it has the new one, proven."""
    for number in range(3):
        (site.webroot / "big").write_bytes(os.urandom(300_000))
        site.site("backup", "--period", "hourly")
        if not number:
            damage_largest(site.folder / "one")
    *later, first = versions(site)
    site.write(stores=("one", "two"))
    assert f"lacks {first}: " in site("site", "backup", "--period", "hourly").out
    for _ in range(2):
        ended = site("site", "backup", "--period", "hourly", "--json")
        assert ended.code == 5
        one, two = ended.json["stores"]
        assert (one["ok"], one["lacks"]) == (True, [])
        assert (two["ok"], two["kind"], two["lacks"]) == (False, "integrity", [first])
        assert versions(site, "two") == tuple(later)
        assert content(site, "two") == content(site)
    job = site("site", "run", "--job", "backup hourly", "--json")
    assert (job.code, f"lacks {first}: " in job.json["message"]) == (1, True)
    site.ok("remove", f"{HOURLY}:{first}", "--yes", "--store", (site.folder / "one").as_uri())
    assert all(store["ok"] for store in site.site("backup", "--period", "hourly")["stores"])


def test_backup__every_store_is_away(site):
    """Where no store answers the backup fails."""
    (site.folder / "one").rmdir()
    assert site.fails(3, "backup", "--period", "hourly")["kind"] == "not_found"


def test_backup__proven_by_reading_back(site):
    """An object that is damaged or gone in a store is found by the next backup, the store named, its older backups left alone."""
    site.write(stores=("one", "two"))
    site.site("backup", "--period", "hourly")
    pack = next(
        path for path in (site.folder / "two/.holdfast").rglob("*") if path.is_file() and path.parts[-3] == "pages"
    )
    pack.rename(site.folder / "kept")
    (site.webroot / "sub").mkdir()
    (site.webroot / "sub/new").write_text("n" * 5000)
    ended = site("site", "backup", "--period", "hourly", "--json")
    two = ended.json["stores"][1]
    if two["ok"]:  # the new version need not need the old page
        assert content(site, "two") == content(site, "one")
    else:
        assert ended.code != 0
        assert two["message"]


def test_backup__before_it(site):
    """What a command before the backup makes is in the same version, and a folder of that name in the webroot is refused."""
    site.write(
        after='[[before_backup]]\nrun = ["sh", "-c", "echo dump of $HOLDFAST_SITE $HOLDFAST_PERIOD"]\ninto = "database.sql"\n'
        '[[before_backup]]\nrun = ["cp", "{dir}/database.sql", "{dir}/copy.sql"]\n'
    )
    site.site("backup", "--period", "hourly")
    found = content(site)
    assert found[".holdfast-site/database.sql"] == b"dump of www-example-com hourly\n"
    assert found[".holdfast-site/copy.sql"] == found[".holdfast-site/database.sql"]
    assert not (site.webroot / ".holdfast-site").exists()
    (site.webroot / ".holdfast-site").mkdir()
    assert ".holdfast-site" in site.fails(2, "backup", "--period", "hourly")["message"]


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ('["sh", "-c", "echo broken >&2; exit 3"]', "ended with code 3"),
        ('["sh", "-c", "kill -9 $$"]', "killed by signal 9"),
        ('["/no/such/program"]', "cannot start"),
    ],
)
def test_backup__a_command_fails(site, run, said):
    """A command that fails fails the backup, is named with what it said, and nothing is pushed."""
    site.write(after=f"[[before_backup]]\nrun = {run}\n")
    error = site.fails(1, "backup", "--period", "hourly")
    assert said in error["message"]
    assert versions(site) == ()


def test_backup__a_command_takes_too_long(site):
    """A command that takes longer than its deadline is killed with all that it started."""
    mark = site.folder / "mark"
    script = f"(sleep 4; touch {mark}) & sleep 60"
    site.write(after=f'[[before_backup]]\nrun = ["sh", "-c", "{script}"]\ndeadline = "1s"\n')
    begun = time.monotonic()
    assert "longer than 1 s" in site.fails(1, "backup", "--period", "hourly")["message"]
    assert time.monotonic() - begun < 4
    time.sleep(4.5)
    assert not mark.exists()
    assert versions(site) == ()


def test_backup__no_shell(site):
    """Arguments of a command are no shell's: what they hold is passed on as it is."""
    site.write(after='[[before_backup]]\nrun = ["echo", "$HOME; rm -rf /", "`id`"]\ninto = "said"\n')
    site.site("backup", "--period", "hourly")
    assert content(site)[".holdfast-site/said"] == b"$HOME; rm -rf / `id`\n"


def test_backup__one_of_several_servers(site):
    """Of servers that begin at one moment one makes the backup; the others say who does, and end well."""
    site.write(after='[[before_backup]]\nrun = ["sleep", "2"]\n')
    command = [sys.executable, "-m", "holdfast.cli", "site", "backup", "--period", "hourly", "--json"]
    running = [
        subprocess.Popen(
            command, cwd=site.folder, env=site.environ(HOME=str(site.folder / f"home{n}")), stdout=-1, text=True
        )
        for n in range(3)
    ]
    told = [json.loads(process.communicate(timeout=60)[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert sorted(report["state"] for report in told) == ["created", "elsewhere", "elsewhere"]
    assert all(report["by"] for report in told if report["state"] == "elsewhere")
    assert len(versions(site)) == 1


def test_backup__waits_for_another(site):
    """With --wait a server waits for the other one, and then finds nothing changed."""
    site.write(after='[[before_backup]]\nrun = ["sleep", "1"]\n')
    command = [
        sys.executable,
        "-m",
        "holdfast.cli",
        "site",
        "backup",
        "--period",
        "shutdown",
        "--json",
        "--wait",
        "30s",
    ]
    running = [subprocess.Popen(command, cwd=site.folder, env=site.environ(), stdout=-1, text=True) for _ in range(2)]
    told = [json.loads(process.communicate(timeout=60)[0]) for process in running]
    assert sorted(report["state"] for report in told) == ["created", "unchanged"]


def test_backup__gap(site):
    """A backup that follows another within the gap is not made."""
    site.write('gap = "1h"\n')
    first = site.site("backup", "--period", "hourly")
    (site.webroot / "index.php").write_text("new")
    report = site.site("backup", "--period", "hourly")
    assert (report["state"], report["version"]) == ("recent", first["version"])
    assert site.site("backup", "--period", "daily")["state"] == "created"


def test_backup__while_the_site_is_in_use(site):
    """A file that changes all the time is backed up as it is at some moment, or the backup says that it changed."""
    path = site.webroot / "counter"
    path.write_bytes(b"0" * 3_000_000)
    writer = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import time\nfor n in range(40):\n open({str(path)!r}, 'w').write(str(n)); time.sleep(0.05)",
        ]
    )
    try:
        ended = site("site", "backup", "--period", "hourly", "--json")
    finally:
        writer.wait()
    assert ended.code in (0, 1)
    if ended.code == 0:
        assert content(site)["counter"]
    else:
        assert ended.json["error"]["kind"] == "source_changed"


@pytest.mark.parametrize("point", ["site.before-push", "site.pushed", "site.proven", "site.copied"])
def test_backup__killed(site, point):
    """Killed at any step, the next run ends with every store having every backup, and the lease of the dead keeps nobody for long."""
    site.write('lease = "10s"\n', stores=("one", "two"), after='[[before_backup]]\nrun = ["true"]\n')
    first = site.site("backup", "--period", "hourly")["version"]
    (site.webroot / "index.php").write_text("new")
    assert site("site", "backup", "--period", "hourly", HOLDFAST_FAILPOINT=point).code == -signal.SIGKILL
    assert site.site("backup", "--period", "hourly")["state"] == "elsewhere"
    report = site.site("backup", "--period", "hourly", "--wait", "30s")
    assert report["state"] in ("created", "unchanged")
    found = versions(site, "one")
    assert found == versions(site, "two")
    assert found[0] == report["version"]
    assert found[-1] == first
    assert content(site, "two")["index.php"] == b"new"


def test_backup__dry_run(site):
    """A dry run says what would be made, and writes nothing."""
    assert site.site("backup", "--period", "hourly", "--dry-run")["state"] == "created"
    assert versions(site) == ()


def test_backup__links(site):
    """Links within the webroot come back as links, one that leads out is refused by name, with the way out."""
    (site.webroot / "inside").symlink_to("images/logo.png")
    site.site("backup", "--period", "hourly")
    (site.webroot / "out").symlink_to("/etc/passwd")
    assert "'out'" in site.fails(2, "backup", "--period", "hourly")["message"]
    site.write('exclude = ["/out"]\n')
    site.site("backup", "--period", "hourly")
    assert content(site)["inside"] == b"images/logo.png"


def test_backup__absolute_directories(site):
    """An absolute directory of media that is not in a bucket yet is in the backup, under its own name."""
    (site.folder / "private").mkdir()
    (site.folder / "private/paper.pdf").write_text("paper")
    site.write(f'directories_to_mount = "{site.folder}/private"\nabsolute_roots = ["{site.folder}"]\n')
    site.site("backup", "--period", "hourly")
    assert b"paper" in [data for path, data in content(site).items() if path.startswith(".holdfast-outside-")]


def test_backup__credentials(site):
    """A file of credentials that others may read is refused, and no value of it is told."""
    keys = site.folder / "keys"
    keys.write_text("AWS_ACCESS_KEY_ID=AK\nAWS_SECRET_ACCESS_KEY=very/secret+'=\n")
    keys.chmod(0o644)
    site.write()
    text = (site.folder / "site.toml").read_text().replace((site.folder / "one").as_uri(), "s3://b/p")
    (site.folder / "site.toml").write_text(text + f'credentials = "{keys}"\nendpoint = "http://127.0.0.1:9"\n')
    ended = site("site", "backup", "--period", "hourly")
    assert ended.code == 2
    assert "chmod 600" in ended.err
    keys.chmod(0o600)
    ended = site("site", "backup", "--period", "hourly", "-v")
    assert ended.code == 7
    assert "very/secret" not in ended.out + ended.err


def test_backup__buckets(ceph, site):
    """Backups to two stores on a bucket, with credentials from a file: made, proven, and fetched byte for byte."""
    keys = site.folder / "keys"
    keys.touch(mode=0o600)
    keys.write_text("".join(f"{name}={ceph.env[name]}\n" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")))
    stores = [ceph.fresh_store(), ceph.fresh_store()]
    site.write()
    text = (site.folder / "site.toml").read_text().partition("[[stores]]")[0]
    for url in stores:
        endpoint = ceph.env["AWS_ENDPOINT_URL"]
        text += f'[[stores]]\nurl = "{url}"\nendpoint = "{endpoint}"\nregion = "us-east-1"\ncredentials = "{keys}"\n'
    (site.folder / "site.toml").write_text(text)
    assert [each["ok"] for each in site.site("backup", "--period", "hourly", AWS_ALLOW_HTTP="true")["stores"]] == [
        True,
        True,
    ]
    (site.webroot / "index.php").write_text("new")
    report = site.site("backup", "--period", "hourly", AWS_ALLOW_HTTP="true")
    assert [each["ok"] for each in report["stores"]] == [True, True]
    out = site.folder / "out"
    site.ok("fetch", HOURLY, "--to", str(out), "--store", stores[1], **ceph.env)
    assert (out / "index.php").read_text() == "new"


def test_backup__buckets_of_one_name(ceph, site):
    """Stores of one URL at two endpoints are two stores: the one that does not answer is told, the other has the backup."""
    store = ceph.fresh_store()
    site.write()
    text = (site.folder / "site.toml").read_text().partition("[[stores]]")[0]
    for endpoint in ("http://127.0.0.1:9", ceph.env["AWS_ENDPOINT_URL"]):
        text += f'[[stores]]\nurl = "{store}"\nendpoint = "{endpoint}"\n'
    (site.folder / "site.toml").write_text(text)
    ended = site("site", "backup", "--period", "hourly", "--json", **ceph.env)
    assert ended.code == 7
    assert [each["ok"] for each in ended.json["stores"]] == [False, True]
