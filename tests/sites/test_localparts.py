"""What stays on each machine below a whole webroot: which paths, and that they go there and back by name. Without a mount."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdfast.errors import ConflictError, LocalError
from holdfast.sites.attached import Place
from holdfast.sites.attaching import Spot
from holdfast.sites.held import move_aside
from holdfast.sites.localparts import gather, is_local, lie_in, local_paths, put_back, refuse_missing
from holdfast.sites.plan import MountPlan, resolve
from holdfast.sites.settings import from_table
from tests.sites.conftest import files_of, lay_site

LOCAL = ("logs", "tmp", "administrator/cache", "configuration.php")
ME = (os.geteuid(), os.getegid())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A webroot that is not mounted."""
    lay_site(tmp_path / "www")
    spot = Spot(str(tmp_path), "www", str(tmp_path / ".www.held"))
    mount = MountPlan("", spot.place, ("bucket",))
    return Place(mount, spot, "bucket", "s3://bucket", None, LOCAL)  # type: ignore[arg-type]


def test_parts__there_and_back(place):
    """Each part moves out of the copy aside, is made where it was nowhere, and moves back; a second run of either changes nothing."""
    webroot = place.spot.place
    before = files_of(webroot_path(place))
    refuse_missing(place, "configuration.php")
    move_aside(place.spot, "=~20260101T000000Z-aaaaaa")
    assert gather(place, "configuration.php", ME) == ["logs", "tmp", "configuration.php"]
    assert gather(place, "configuration.php", ME) == []
    assert lie_in(place.spot) == sorted(LOCAL)
    assert os.listdir(webroot) == []
    assert put_back(place.spot) == ["configuration.php", "logs", "tmp"]
    assert put_back(place.spot) == []
    held = webroot_path(place).parent / ".www.held/=~20260101T000000Z-aaaaaa"
    assert files_of(held) == before
    assert not os.path.exists(webroot_path(place).parent / ".www.local")


def test_parts__what_is_in_the_way_stays(place):
    """A part whose place is taken when it goes back stays in its folder, and what took its place stays as well."""
    move_aside(place.spot, "=~20260101T000000Z-aaaaaa")
    gather(place, "configuration.php", ME)
    held = webroot_path(place).parent / ".www.held/=~20260101T000000Z-aaaaaa"
    (held / "configuration.php").write_bytes(b"another")
    assert "configuration.php" not in put_back(place.spot)
    assert (held / "configuration.php").read_bytes() == b"another"
    assert lie_in(place.spot) == ["configuration.php"]


def test_parts__refused(place):
    """A part that is a link, and a configuration file that is nowhere, are refused by name; a folder that others can enter, too."""
    (webroot_path(place) / "configuration.php").unlink()
    with pytest.raises(ConflictError, match=r"configuration\.php is not there"):
        refuse_missing(place, "configuration.php")
    refuse_missing(place, None)
    (webroot_path(place) / "configuration.php").symlink_to("/etc/passwd")
    with pytest.raises(LocalError, match="is a link"):
        refuse_missing(place, None)
    (webroot_path(place).parent / ".www.local").mkdir(mode=0o755)
    with pytest.raises(ConflictError, match="you alone"):
        gather(place, None, ME)


def test_paths__none_lies_in_another():
    """What lies in another part is not laid for itself, and a key is local at or below a part, and nowhere else."""
    table = {"site_url": "www.example.com", "build": "hourly", "stores": "s3://b/p", "persist_assets_to_cloud": 1}
    table |= {"application": "joomla", "directories_to_mount": "WHOLE-WEBROOT", "local": ["logs/old", "var"]}
    plan = resolve(from_table(table)[0]).plan
    assert plan is not None
    paths = local_paths(plan)
    assert set(paths) == {
        "logs",
        "tmp",
        "cache",
        "administrator/logs",
        "administrator/cache",
        "var",
        "configuration.php",
    }
    assert [is_local(key, paths) for key in ("logs", "logs/a", "logs2/a", "administrator/x", "var/a/b")] == [
        True,
        True,
        False,
        False,
        True,
    ]


def webroot_path(place: Place) -> Path:
    """The webroot."""
    return Path(place.spot.place)
