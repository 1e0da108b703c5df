"""A dry run of baseline, export, import and init says what would be made, refuses what the real run refuses, and writes nothing."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.sites.conftest import FILES
from tests.sites.test_archive import forged, member, originals

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from tests.sites.conftest import SiteRunner


def everything(site: SiteRunner) -> dict[str, Any]:
    """All that lies in the site's folder, its stores too, but for the cache, with times."""
    (site.folder / "home/.cache").mkdir(exist_ok=True)
    found: dict[str, Any] = {}
    for folder, inner, names in os.walk(site.folder):
        inner[:] = [name for name in inner if name != ".cache"]
        for path in (folder, *(os.path.join(folder, name) for name in names)):
            status = os.lstat(path)
            found[path] = (status.st_mode, status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def planned(site: SiteRunner, *args: str) -> Any:
    """What a dry run tells, which leaves everything as it is, and nothing of its own in the cache."""
    before = everything(site)
    report = site.site(*args, "--dry-run")
    assert everything(site) == before
    left = site.folder / "home/.cache/holdfast/sites"
    assert not left.exists() or os.listdir(left) == []
    return report


def refused_alike(site: SiteRunner, code: int, *args: str) -> Any:
    """What a dry run is refused with, which touches nothing, and the real run, too."""
    before = everything(site)
    error = site.fails(code, *args, "--dry-run")
    assert everything(site) == before
    real = site.fails(code, *args)
    assert (error["kind"], error["hint"]) == (real["kind"], real["hint"])
    return error


def test_baseline_dry_run__says_what_would_be_in_it(site):
    """baseline --dry-run tells the files and bytes that the baseline then has, or that nothing changed, and writes nothing."""
    told = planned(site, "baseline")
    assert "would be made" in site.ok("site", "baseline", "--dry-run").out
    made = site.site("baseline")
    assert told["state"] == made["state"] == "created"
    assert 0 < told["files"] == made["files"] < len(FILES)
    assert told["bytes"] == made["bytes"]
    assert planned(site, "baseline")["state"] == "unchanged"


def test_export_dry_run__says_what_would_be_in_it(site):
    """export --dry-run tells the backup and how many files the archive then has, without writing it; a file that exists, an unknown backup and a folder that is not there or cannot be written are refused as by export."""
    archive = str(site.folder / "out.tar.gz")
    refused_alike(site, 3, "export", "hourly", archive)
    site.site("backup", "--period", "hourly")
    told = planned(site, "export", "hourly", archive)
    assert told["dry_run"] is True
    refused_alike(site, 1, "export", "hourly", str(site.folder / "nowhere/out.tar.gz"))
    assert "would be written" in site.ok("site", "export", "hourly", archive, "--dry-run").out
    made = site.site("export", "hourly", archive)
    assert (told["spec"], told["files"]) == (made["spec"], made["files"])
    assert refused_alike(site, 4, "export", "hourly", archive)["kind"] == "already_exists"
    assert planned(site, "export", "hourly", archive, "--force")["files"] == made["files"]
    refused_alike(site, 2, "export", "never", archive, "--force")


def test_import_dry_run__checks_all_of_it(site):
    """import --dry-run checks the whole archive and tells the files of the backup that import then makes, and makes none; what import refuses it refuses."""
    path, files = originals(site)
    told = planned(site, "import", str(path), "--period", "hourly", "--at", "2020-01-31T12:02")
    assert (told["state"], told["files"]) == ("created", len(files) - 1)
    made = site.site("import", str(path), "--period", "hourly", "--at", "2020-01-31T12:02")
    assert (told["version"], told["files"], told["bytes"]) == (made["version"], made["files"], made["bytes"])
    refused_alike(site, 2, "import", str(site.folder / "none.tar.gz"), "--period", "never")
    hostile = str(forged(site, (member("../out"), b"x")))
    assert refused_alike(site, 5, "import", hostile, "--period", "hourly")["kind"] == "integrity"
    other, _ = originals(site, files={"index.php": "another"})
    refused_alike(site, 4, "import", str(other), "--period", "hourly", "--at", "2020-01-31T12:02")


def test_init_dry_run__writes_no_file(site):
    """init --dry-run names the file or the units that it would write and writes none; one that exists and a folder that is not there or cannot be written are refused as by init."""
    args = ("init", "--site-url", "www.example.com", "--file")
    assert planned(site, *args, "new.toml")["file"] == "new.toml"
    assert "would be written" in site.ok("site", *args, "new.toml", "--dry-run").out
    refused_alike(site, 4, *args, "site.toml")
    refused_alike(site, 1, *args, "nowhere/new.toml")
    (site.folder / "units").mkdir()
    files = planned(site, "init", "--systemd", "units")["files"]
    assert files == site.site("init", "--systemd", "units")["files"]
    refused_alike(site, 4, "init", "--systemd", "units")
    told = planned(site, *args, "new.toml")
    site.site(*args, "new.toml")
    assert (site.folder / "new.toml").stat().st_size == told["bytes"]


@contextmanager
def closed(place: Path) -> Iterator[None]:
    """A folder in which nothing can be made: as root one on a disk that is read-only."""
    if os.geteuid() == 0:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "none", place], check=True)
    else:
        place.chmod(0o500)
    try:
        yield
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", place], check=True)
        else:
            place.chmod(0o700)


def test_init_dry_run__on_a_disk_that_is_read_only(site):
    """Where no file can be made init --dry-run and export --dry-run are refused as without."""
    site.site("backup", "--period", "hourly")
    place = site.folder / "fixed"
    place.mkdir()
    with closed(place):
        refused_alike(site, 1, "init", "--site-url", "www.example.com", "--file", "fixed/new.toml")
        refused_alike(site, 1, "export", "hourly", "fixed/out.tar.gz")
