"""What attaching decides, without a machine: where directories lie, whether a bucket may be mounted, whether servers are ready."""

from __future__ import annotations

import random

import pytest

from holdfast.errors import UsageError
from holdfast.formats.sites import NodeRecord
from holdfast.sites.attaching import (
    MOUNTED,
    Spot,
    aside_name,
    directory_of,
    judge_bucket,
    not_ready,
    sample,
    spot_of,
    unlike,
)
from holdfast.sites.offload import Found, Wanted
from holdfast.sites.plan import MountPlan

ALL = {f"{number}.jpg": Wanted(number, f"d{number}") for number in range(20)}


def found(*, lost: int = 0, changed: int = 0, added: int = 0) -> dict[str, Found]:
    """A bucket that lost the first, has others otherwise, and has more."""
    keys = list(ALL)[lost:]
    there = {key: Found(ALL[key].size, ALL[key].digest) for key in keys}
    there |= {key: Found(ALL[key].size, "other") for key in keys[:changed]}
    return there | {f"new-{number}": Found(1) for number in range(added)}


def test_spot__relative_absolute_and_whole():
    """A directory is reached from a folder that the operator owns, and its copies lie beside that, never in what is served."""
    site = "/var/www/html"
    assert spot_of(MountPlan("a/b", "", ("x",)), site, ()) == Spot(site, "a/b", "/var/www/.html.held")
    assert spot_of(MountPlan("", site, ("x",)), site, ()) == Spot("/var/www", "html", "/var/www/.html.held")
    absolute = spot_of(MountPlan("/srv/data/private", "", ("x",)), site, ("/srv", "/srv/data/"))
    assert absolute == Spot("/srv/data", "private", "/srv/.data.held")
    assert absolute.place == "/srv/data/private"
    with pytest.raises(UsageError, match="absolute_roots"):
        spot_of(MountPlan("/etc/x", "", ("x",)), site, ("/srv",))


@pytest.mark.parametrize("directory", ["images", "media/videos", "/srv/data", "", "a~b", "a b%2F", "ü"])
def test_aside_name__tells_its_directory(directory):
    """The name of a moved-aside copy is one piece of a path, and tells which directory it was."""
    name = aside_name(directory, "20260131T120000Z", "abcdef")
    assert "/" not in name
    assert directory_of(name) == directory


@pytest.mark.parametrize("name", ["images", "~", "lost+found", "images~"])
def test_aside_name__of_others(name):
    """What has no such name is no copy."""
    assert directory_of(name) is None


def test_judge__before_a_server_serves_it():
    """Until a first web server serves a deployment its bucket must have all that was put there; what is more does not matter."""
    assert judge_bucket(ALL, found(added=3), served=False, accept=False).problem is None
    assert "lacks 1 of the 20" in str(judge_bucket(ALL, found(lost=1), served=False, accept=False).problem)
    assert "1 differ" in str(judge_bucket(ALL, found(changed=1), served=False, accept=False).problem)


def test_judge__once_it_is_served():
    """Afterwards media may come, go and change; a bucket that lost half of them is refused, unless that is accepted."""
    checked = judge_bucket(ALL, found(lost=9, changed=5, added=2), served=True, accept=False)
    assert (len(checked.missing), len(checked.changed), checked.added, checked.problem) == (9, 5, 2, None)
    assert "has lost 10" in str(judge_bucket(ALL, found(lost=10), served=True, accept=False).problem)
    assert judge_bucket(ALL, {}, served=True, accept=True).problem is None
    assert judge_bucket({}, found(), served=False, accept=False).problem is None


def test_judge__any_bucket():
    """Whatever a bucket holds: it is believed before a first server only where it is whole, and afterwards only where less than half is lost."""
    drawn = random.Random(7)
    for _ in range(300):
        lost, changed, served = drawn.randrange(21), drawn.randrange(21), drawn.random() < 0.5
        checked = judge_bucket(ALL, found(lost=lost, changed=changed), served=served, accept=False)
        differs = lost > 0 or min(changed, 20 - lost) > 0
        assert (checked.problem is not None) == (lost >= 10 if served else differs)


def test_sample__is_spread_and_plain():
    """The files that are looked at are spread over all of them; a key that no file system shows as it is is none of them."""
    keys = [f"{number:04}" for number in range(1000)]
    chosen = sample(keys, 10)
    assert chosen == [f"{number:04}" for number in range(0, 1000, 100)]
    assert sample(["a//b", "../c", "d/", "e/./f", "g" * 300, "fine"], 10) == ["fine"]


def test_unlike__names_what_differs():
    """Another size, another digest, an error and silence are each told; a file that was not read counts by its size."""
    expected = {"a": (1, "x"), "b": (1, "x"), "c": (1, None), "d": (1, None), "e": (1, None)}
    told = {"a": [1, "x", None], "b": [1, "y", None], "c": [1, None, None], "d": [2, None, None]}
    assert unlike(expected, told) == ["b (other bytes)", "d (other bytes)", "e (was not looked at)"]
    assert unlike({"a": (1, None)}, {"a": ["Input/output error"]}) == ["a (Input/output error)"]


def test_not_ready__each_reason():
    """A server is ready only where it says, for this deployment and lately, that every directory is mounted."""
    good = {"images": MOUNTED, "": MOUNTED}
    records = {
        "good": (NodeRecord(1, "good", "d1", "", good), 5.0),
        "old": (NodeRecord(1, "old", "d1", "", good), 700.0),
        "other": (NodeRecord(1, "other", "d0", "", good), 5.0),
        "left": (NodeRecord(1, "left", "d1", "", left=True), 5.0),
        "down": (NodeRecord(1, "down", "d1", "", {"images": "nothing is mounted there", "": MOUNTED}), 5.0),
        "less": (NodeRecord(1, "less", "d1", "", {"images": MOUNTED}), 5.0),
    }
    waiting = not_ready([*records, "silent"], records, "d1", ["images", ""], oldest=600.0)
    assert waiting == {
        "old": "said nothing for 700 s",
        "other": "serves another deployment",
        "left": "is detached",
        "down": "images: nothing is mounted there",
        "less": "the webroot: nothing is known of it",
        "silent": "said nothing yet",
    }
