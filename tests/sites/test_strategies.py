"""Which of the three ways to treat media fits, what a month of each is estimated at, and what is counted for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pytest

from holdfast.sites.plan import resolve
from holdfast.sites.prices import PRICES, Price, Usage, costs, monthly
from holdfast.sites.strategies import ASSUMED, Growth, MediaFacts, MediaSize, advise, growth_of
from holdfast.sites.values import SiteSettings, StoreSettings

FEW = MediaFacts((MediaSize("images", 200, 5, 40 << 20, "webroot"),))
MANY = MediaFacts((MediaSize("images", 300_000, 900, 90 << 30, "backup"),), Growth("a", "b", 9000, 3 << 30))


def plan_of(**settings):
    """A plan of these settings."""
    given = {"site_url": "www.example.com", "build": "hourly", "application": "joomla"} | settings
    given.setdefault("stores", (StoreSettings("s3://b/p"),))
    plan = resolve(SiteSettings(**given)).plan
    assert plan is not None
    return plan


def reasons(advice, name):
    """Whether a strategy fits, and its reasons as one text."""
    found = next(each for each in advice.strategies if each.name == name)
    return found.fits, "; ".join(found.reasons)


@pytest.mark.parametrize(
    ("application", "facts", "recommended"),
    [
        ("joomla", FEW, "sync"),
        ("joomla", MANY, "plugin"),
        ("wordpress", MANY, "plugin"),
        ("joomla", MediaFacts(), None),
    ],
)
def test_advice__by_how_many_files_there_are(application, facts, recommended):
    """Few files suit sync, many the application's plugin; where nothing is known nothing is recommended."""
    assert advise(plan_of(application=application), facts).recommended == recommended


def test_advice__without_a_plugin():
    """Where no plugin is known, many files are to be mounted; without a directory that can be, nothing fits."""
    plan = plan_of(application="none", persist=True, directories=("files",))
    advice = advise(plan, MANY)
    assert (advice.recommended, advice.configured) == ("mount", "mount")
    assert "no offload plugin is known" in reasons(advice, "plugin")[1]
    nothing = advise(plan_of(application="none"), MANY)
    assert nothing.recommended is None
    assert "name it in directories_to_mount" in reasons(nothing, "mount")[1]


@pytest.mark.parametrize(
    ("facts", "part"),
    [
        (MediaFacts((MediaSize("images", 20_001, 1, 1, "webroot"),)), "20001 files are more"),
        (MediaFacts((MediaSize("images", 2, 1, 11 << 30, "webroot"),)), "11.0 GiB would lie"),
        (MediaFacts(FEW.sizes, Growth("a", "b", 20_001, 1)), "20001 new files a month"),
    ],
)
def test_sync__does_not_fit(facts, part):
    """Too many files, too many bytes and too many new ones each speak against sync, and are told."""
    fits, why = reasons(advise(plan_of(), facts), "sync")
    assert not fits
    assert part in why
    assert reasons(advise(plan_of(), FEW), "sync")[0]


def test_mount__what_speaks_against_it():
    """Small files, many directories and a build without a backup are told of a mount."""
    small = MediaFacts((MediaSize("images", 1000, 6000, 1000 << 10, "webroot"),))
    why = reasons(advise(plan_of(build="virgin"), small), "mount")[1]
    assert "files of 1.0 KiB" in why
    assert "6000 directories" in why
    assert "not yet: a virgin build" in why


def test_growth__by_the_month():
    """Growth is counted to thirty days; two backups within an hour tell none; a site that shrinks has no new files."""
    more = MediaFacts((MediaSize("images", 260, 5, 50 << 20, "webroot"),))
    assert growth_of(FEW, more, "a", "b", 15 * 86400.0) == Growth("a", "b", 120, 20 << 20)
    assert growth_of(FEW, more, "a", "b", 3599.0) is None
    shrunk = MediaFacts(FEW.sizes, growth_of(more, FEW, "a", "b", 86400.0))
    assert advise(plan_of(), shrunk).strategies[0].month.writes == 0


def test_month__is_counted_from_what_is_assumed():
    """The requests of a month follow from the facts and from the assumptions that are told with them."""
    advice = advise(plan_of(), MANY)
    month = {each.name: each.month for each in advice.strategies}
    servers, reads = ASSUMED["servers"], ASSUMED["reads_of_each_file_by_each_server"]
    assert month["mount"] == Usage(9000, servers * 900 * 720, servers * 300_000 * reads, 90 << 30)
    assert month["plugin"] == Usage(9000, 0, 300_000 * reads, 90 << 30)
    assert month["sync"] == Usage(18_000, servers * 518_400, 18_000 * (servers - 1), 90 << 30)
    assert advice.assumed == ASSUMED


def test_prices__of_a_month():
    """A month is storage beyond what is included, requests by the thousand, and the least that is paid in any case."""
    price = Price("X", ("x.example",), 0.02, 0.005, 0.004, 0.0004, "2026-01", 5.0, 10)
    assert monthly(price, Usage(0, 0, 0, 10 << 30)) == 5.0
    assert monthly(price, Usage(1000, 2000, 10_000, 20 << 30)) == 5.0 + 0.2 + 0.005 + 0.008 + 0.004
    assert all(date.fromisoformat(f"{each.read}-01") for each in PRICES)
    assert len({each.provider for each in PRICES}) == len(PRICES)


def test_prices__the_sites_own_provider_first():
    """The provider of a site's store is told first: by its endpoint, or Amazon where an s3:// store has none."""
    found = costs(Usage(1, 1, 1, 1), ["https://s3.eu.backblazeb2.com"])
    assert [cost.provider for cost in found if cost.yours] == ["Backblaze B2"] == [found[0].provider]
    assert advise(plan_of(), FEW).strategies[0].costs[0].provider == "Amazon S3"
    folder = advise(plan_of(stores=(StoreSettings("file:///srv/store"),)), FEW)
    assert not any(cost.yours for cost in folder.strategies[0].costs)


def test_check__advises(site):
    """check says which way fits, with what was counted and an estimate, in its JSON and for people."""
    site.write('build = "virgin"\n')
    advice = site.site("check")["advice"]
    assert advice["recommended"] == "sync"
    assert advice["configured"] == "none"
    assert advice["media"] == [{"directory": "images", "files": 3, "directories": 2, "bytes": 18, "source": "webroot"}]
    assert {each["name"] for each in advice["strategies"]} == {"plugin", "sync", "mount"}
    assert all({"provider", "usd", "prices_of", "yours"} == set(cost) for cost in advice["strategies"][0]["costs"])
    text = site.ok("site", "check").out
    assert "advice: sync; the settings say none" in text
    assert "estimates by list prices" in text
    site.write("persist_assets_to_cloud = 2\n")
    assert site("site", "check", "--json").json["advice"] is None


def test_check__growth_between_two_backups(site, tmp_path):
    """How media grow is told by two backups, those nearest to a month apart; one alone tells nothing."""
    site.site("backup", "--period", "hourly")
    lone = site.site("check")["advice"]
    assert lone["growth"] is None
    assert "no two backups" in lone["notes"][0]
    assert lone["media"][0]["source"] == "backup"
    archive = str(tmp_path / "a.tar.gz")
    site.site("export", "hourly", archive)
    for days in (3, 29, 90):
        then = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M")
        site.site("import", archive, "--period", "daily", "--at", then)
    for number in range(29):
        (site.webroot / f"images/deep/{number}.jpg").write_bytes(b"x" * 1000)
    site.site("backup", "--period", "hourly")
    advice = site.site("check")["advice"]
    assert advice["growth"]["files"] == 30
    assert abs(advice["growth"]["bytes"] - 30_000) < 10
    assert advice["media"][0]["files"] == 32
    assert advice["growth"]["since"].startswith("sites/www-example-com/daily:")


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")


def unshared(site, *args):
    """The program where other file systems lie on images and tmp/inner, in a mount namespace of its own."""
    script = 'mount -t tmpfs none "$1" && echo shared > "$1/photo" && mount -t tmpfs none "$2" && shift 2 && exec "$@"'
    (site.webroot / "tmp/inner").mkdir(exist_ok=True)
    places = [str(site.webroot / "images"), str(site.webroot / "tmp/inner")]
    command = ["unshare", "--mount", "sh", "-c", script, "sh", *places, sys.executable, "-m", "holdfast.cli"]
    done = subprocess.run(
        [*command, "site", *args, "--json"],
        cwd=site.folder,
        env=site.environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@needs_root
def test_check__media_in_buckets(site):
    """What the newest backup omits is counted from the record of the deployment."""
    site.site("backup", "--period", "hourly")
    site.write("persist_assets_to_cloud = 1\n")
    site.site("deploy", "--from", "hourly")
    assert unshared(site, "backup", "--period", "hourly")["omitted"] == ["images"]
    advice = unshared(site, "check")["advice"]
    assert advice["media"] == [
        {"directory": "images", "files": 3, "directories": 2, "bytes": 18, "source": "deployment"}
    ]
    assert advice["configured"] == "mount"


@needs_root
def test_check__enters_no_mount(site):
    """The advice of asset site check counts what backups and deployments recorded, lists no bucket and enters no mount."""
    site.write('persist_assets_to_cloud = 1\ndirectories_to_mount = "images"\n')
    advice = unshared(site, "check")["advice"]
    assert advice["media"] == []
    assert advice["recommended"] is None
    assert any("images is mounted, and not counted" in note for note in advice["notes"])


def test_check__counts_what_is_there(site):
    """Links are not followed, and a webroot that is not on this machine is not known rather than empty."""
    (site.webroot / "images/loop").symlink_to("..")
    site.write('build = "virgin"\n')
    assert site.site("check")["advice"]["media"][0]["files"] == 3
    site.webroot.rename(site.folder / "elsewhere")
    assert site.site("check")["advice"]["media"] == []


def test_check__store_that_does_not_answer(site):
    """A store that is not there makes a note of the advice, and check judges the rules as ever."""
    (site.folder / "one").rmdir()
    found = site.site("check")
    assert found["ok"]
    assert "backups could not be looked at" in found["advice"]["notes"][0]
    assert found["advice"]["media"][0]["source"] == "webroot"
