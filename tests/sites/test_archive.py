"""The original's archives come in and go out, and nothing in one is ever written elsewhere; drills bring backups back."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile

import pytest

from holdfast.sites.archive import MARKER
from tests.sites.conftest import files_of
from tests.sites.test_backup import content, versions

HOURLY = "sites/www-example-com/hourly"
JOOMLA = {"administrator/index.php": "a", "includes/app.php": "b"}


def originals(site, extra=(), marker=True, files=JOOMLA):
    """An archive as the original's script makes one, and what is in it."""
    source = site.folder / "backuparea"
    for path, text in ({"index.php": "i", "sub/.gitignore": "g", ".htaccess": "h", "a b/c": "c"} | files).items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_text(text)
    (source / "empty").mkdir(exist_ok=True)
    if marker:
        (source / MARKER).touch()
    path = site.folder / "applicationsourcecode.tar.gz"
    command = ["find", ".", "-name", ".*", "-exec", "tar", "cfz", str(path), "{}", "+"]  # some names twice, as there
    subprocess.run(command, cwd=source, check=True)
    return path, files_of(source)


def test_import__of_the_originals(site):
    """An archive of the original's becomes a backup with all its files, without the marker, and is restored as any other."""
    path, files = originals(site)
    report = site.site("import", str(path), "--period", "hourly", "--at", "2020-01-31T12:02")
    assert report["version"] == "2020-01-31T12-02-00Z"
    files.pop(MARKER)
    assert content(site) == files
    newer = site.site("backup", "--period", "hourly")["version"]
    assert versions(site) == (newer, report["version"])
    site.site("restore", "hourly:2020-01-31T12-02-00Z", "--to", str(site.folder / "out"))
    assert (site.folder / "out/empty").is_dir()
    assert os.listdir(site.folder / "home/.cache/holdfast/sites") == []


def forged(site, *members):
    """An archive with a marker and these members."""
    path = site.folder / "forged.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo(f"./{MARKER}"))
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def member(name, kind=tarfile.REGTYPE, link=""):
    """One member."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    "members",
    [
        [(member("/etc/cron.d/x"), b"x")],
        [(member("../../x"), b"x")],
        [(member("a/../../x"), b"x")],
        [(member("dev", tarfile.CHRTYPE), b"")],
        [(member("fifo", tarfile.FIFOTYPE), b"")],
        [(member("out", tarfile.SYMTYPE, "/etc"), b"")],
        [(member("out", tarfile.SYMTYPE, "../.."), b"")],
        [(member("link", tarfile.SYMTYPE, "sub"), b""), (member("link/x"), b"x")],
        [(member("hard", tarfile.LNKTYPE, "/etc/passwd"), b"")],
    ],
    ids=["absolute", "dots", "dots-within", "device", "fifo", "link-out", "link-up", "through-a-link", "hard-link-out"],
)
def test_import__hostile(site, members):
    """An archive with an absolute path, dots, a device, or a link that leads out is refused, and nothing is written anywhere."""
    path = forged(site, *members)
    before = files_of(site.folder)
    error = site.fails(5, "import", str(path), "--period", "hourly")
    assert error["kind"] == "integrity"
    after = files_of(site.folder)
    assert {name for name in before.keys() ^ after.keys() if not name.startswith("home")} == set()
    assert versions(site) == ()


def test_import__cut_off(site):
    """An archive that was cut off, or lacks the marker, is refused; --force takes one without it."""
    path, _ = originals(site)
    (site.folder / "cut.tar.gz").write_bytes(path.read_bytes()[:-200])
    assert site.fails(5, "import", str(site.folder / "cut.tar.gz"), "--period", "hourly")["kind"] == "integrity"
    (site.folder / "backuparea" / MARKER).unlink()
    path, _ = originals(site, marker=False)
    assert MARKER in site.fails(5, "import", str(path), "--period", "hourly")["message"]
    site.site("import", str(path), "--period", "hourly", "--force")
    assert site.fails(1, "import", "none.tar.gz", "--period", "hourly")["kind"] == "local"
    assert site.fails(2, "import", str(path), "--period", "ly")["kind"] == "usage"


def test_import__of_another_application(site):
    """A backup of another application is refused, and named."""
    path, _ = originals(site, files={"wp-load.php": "w", "wp-includes/version.php": "v"})
    assert "wordpress" in site.fails(4, "import", str(path), "--period", "hourly")["message"]
    assert site.site("import", str(path), "--period", "hourly", "--force")["state"] == "created"


def test_export__is_restored_by_the_originals_way(site):
    """An exported archive unpacks by tar as the original does it, with the marker, and comes back by import as the same backup."""
    (site.webroot / "a b").mkdir()
    (site.webroot / "a b/ä\n").write_text("x")
    (site.webroot / "link").symlink_to("index.php")
    site.site("backup", "--period", "hourly")
    path = site.folder / "applicationsourcecode.tar.gz"
    report = site.site("export", "hourly", str(path))
    assert path.stat().st_mode & 0o777 == 0o600
    out = site.folder / "unpacked"
    out.mkdir()
    subprocess.run(["tar", "xfz", str(path)], cwd=out, check=True)
    found = files_of(out)
    assert found.pop(MARKER) == b""
    assert found == content(site)
    assert report["files"] == len(found) - 1  # the link is no file
    assert site.fails(4, "export", "hourly", str(path))["kind"] == "already_exists"
    site.site("export", "hourly", str(path), "--force")
    site.site("import", str(path), "--period", "manual", "--force")
    assert content(site, name="sites/www-example-com/manual") == content(site)
    assert not list(site.folder.glob(".*.part"))


def test_drill__every_store(site):
    """A drill brings the backup back from every store, whole or a sample of it, and leaves nothing behind."""
    site.write(stores=("one", "two"))
    report = site.site("backup", "--period", "hourly")
    drills = site.site("drill")
    assert [each["ok"] for each in drills] == [True, True]
    assert [each["files"] for each in drills] == [report["files"]] * 2
    assert [each["bytes"] for each in drills] == [report["bytes"]] * 2
    assert [each["files"] for each in site.site("drill", "hourly", "--sample", "2")] == [2, 2]
    assert os.listdir(site.folder / "home/.cache/holdfast/sites") == []
    assert site.fails(3, "drill", "daily")["kind"] == "not_found"


def test_drill__finds_what_is_damaged(site):
    """A drill finds the store whose backup is damaged, or that has it not, and fails."""
    site.write(stores=("one", "two"))
    site.site("backup", "--period", "hourly")
    for path in (site.folder / "two/.holdfast/pages").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:-1] + b"x")
    ended = site("site", "drill", "--json")
    assert ended.code == 5
    assert [each["ok"] for each in ended.json] == [True, False]
    (site.folder / "two").rename(site.folder / "away")
    assert [each["ok"] for each in site("site", "drill", "--json").json] == [True, False]
