"""Copies of buckets for real: over folders, over Ceph's gateway, with stores that disappear, and killed at every step."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from holdfast.errors import BucketNotFoundError, ConflictError, IntegrityError, UnreachableError
from holdfast.failpoint import POINTS
from holdfast.formats.layout import SITE_MARK, copied_trash, copy_pairs_key
from holdfast.formats.sites import BucketMark, encode_record
from holdfast.sites.buckets import open_bucket
from holdfast.sites.replicated import Orders
from holdfast.sites.replicating import Replica
from holdfast.sites.sides import WHOLE
from holdfast.sites.values import MaxDelete, StoreSettings
from holdfast.store.base import OVERWRITE
from holdfast.store.memory import MemoryStore
from holdfast.transfer.engine import Engine
from tests.fakes import Fault, FaultyStore, Script
from tests.sites.conftest import files_of

if TYPE_CHECKING:
    from holdfast.store.base import Object, ObjectInfo, PutMode, ReadableBuffer

BUCKET = "www-example-com-assets-images"
LOOSE = Orders(limit=MaxDelete(100.0, 1000))
REPLICATE = [point for point in POINTS if point.startswith("replicate.")]


class Sides:
    """A bucket of media and a place for its copy, both in folders."""

    def __init__(self, folder: Path) -> None:
        self.first, self.place = folder / BUCKET, folder / "copies"
        self.copy = self.place / BUCKET
        for each in (self.first, self.place):
            each.mkdir(parents=True)

    def replica(self, **options) -> Replica:
        """One run's replica, as a new process has it."""
        first, copy = (open_bucket(StoreSettings(each.as_uri())) for each in (self.first, self.place))
        return Replica(options.pop("first", first), options.pop("copy", copy), BUCKET, engine=Engine(4), **options)

    def run(self, orders: Orders = LOOSE, **options):
        return self.replica(two_way=orders.two_way, **options).run(orders)

    def trash(self) -> dict[str, bytes]:
        """What was put aside, by key."""
        root = self.place / copied_trash(BUCKET)
        found = files_of(root) if root.exists() else {}
        return {path.partition("/")[2]: data for path, data in found.items()}

    def write(self, folder: Path, path: str, data: bytes) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)

    def media(self, folder: Path) -> dict[str, bytes]:
        return {path: data for path, data in files_of(folder).items() if not path.startswith(".holdfast/")}


@pytest.fixture
def sides(tmp_path):
    """Three objects in the bucket, one of them large, and no copy yet."""
    sides = Sides(tmp_path)
    sides.write(sides.first, "logo.png", b"logo")
    sides.write(sides.first, "2026/01/photo.jpg", b"photo" * 1000)
    sides.write(sides.first, "film.mp4", os.urandom(WHOLE + 5))
    return sides


def test_copy__is_whole_and_then_costs_nothing(sides):
    """The first run brings everything over, the next finds nothing to do, and the lag is told."""
    done = sides.run()
    assert (done.state, done.objects, done.sent, done.failed) == ("whole", 3, 3, ())
    assert done.lag < 60
    assert sides.media(sides.copy) == sides.media(sides.first)
    again = sides.run()
    assert (again.state, again.sent, again.brought, again.compared, again.bytes) == ("whole", 0, 0, 0, 0)
    assert sides.trash() == {}


def test_new__in_either_is_in_both(sides):
    """What is new in either store is brought to the other, and neither deletes what only the other has."""
    sides.run()
    sides.write(sides.first, "f1", b"one")
    sides.write(sides.copy, "deep/f2", b"two")
    done = sides.run(Orders())
    assert (done.sent, done.brought, done.removed) == (1, 1, 0)
    assert sides.media(sides.first) == sides.media(sides.copy)
    assert {"f1", "deep/f2"} <= sides.media(sides.first).keys()


def test_deleted__stays_in_the_copy_for_its_time(sides):
    """What was deleted or overwritten stays in the copy for keep_deleted, and goes after that."""
    sides.run()
    (sides.first / "logo.png").unlink()
    sides.write(sides.first, "2026/01/photo.jpg", b"other")
    done = sides.run()
    assert (done.removed, done.sent, done.kept) == (1, 1, 2)
    assert sides.media(sides.copy) == sides.media(sides.first)
    assert sides.trash() == {"logo.png": b"logo", "2026/01/photo.jpg": b"photo" * 1000}
    assert sides.run(Orders(keep_deleted=60)).expired == 0
    aside = next((sides.place / copied_trash(BUCKET)).rglob("logo.png"))
    os.utime(aside, (time.time() - 100, time.time() - 100))
    assert sides.run(Orders(keep_deleted=60)).expired == 1
    assert sides.trash() == {"2026/01/photo.jpg": b"photo" * 1000}


def test_lost_in_the_copy__is_put_back(sides):
    """What a copy alone has lost is put back, unless web servers write there as well."""
    sides.run()
    shutil.rmtree(sides.copy)
    done = sides.run()
    assert (done.sent, done.removed) == (3, 0)
    assert sides.media(sides.copy) == sides.media(sides.first)
    (sides.copy / "logo.png").unlink()
    done = sides.run(Orders(two_way=True))
    assert (done.sent, done.removed) == (0, 1)
    assert not (sides.first / "logo.png").exists()
    assert sides.trash() == {"logo.png": b"logo"}


def test_edit_beats_delete(sides):
    """An object that was deleted on one side and written on the other comes back."""
    sides.run()
    (sides.first / "logo.png").unlink()
    sides.write(sides.copy, "logo.png", b"drawn anew")
    assert sides.run().brought == 1
    assert (sides.first / "logo.png").read_bytes() == b"drawn anew"


def test_both_changed__the_later_wins_and_the_other_is_kept(sides):
    """Of two objects that were changed on both sides the later wins, and the other one is put aside."""
    sides.run()
    for n, (folder, data) in enumerate([(sides.first, b"first"), (sides.copy, b"later, in the copy")]):
        sides.write(folder, "logo.png", data)
        os.utime(folder / "logo.png", (time.time() + 10 * n, time.time() + 10 * n))
    done = sides.run()
    assert (done.compared, done.brought, done.kept) == (1, 1, 1)
    assert (sides.first / "logo.png").read_bytes() == b"later, in the copy"
    assert sides.trash() == {"logo.png": b"first"}


def test_memory_lost__nothing_is_deleted(sides):
    """Without what was remembered, objects of both sides are compared and nothing is deleted."""
    sides.run()
    shutil.rmtree(sides.place / ".holdfast")
    (sides.first / "logo.png").unlink()
    done = sides.run()
    assert (done.compared, done.sent, done.brought, done.removed) == (2, 0, 1, 0)
    assert (sides.first / "logo.png").read_bytes() == b"logo"


def test_memory_of_another_bucket__is_none(sides):
    """What was remembered of another bucket counts for nothing: a bucket that took its place is compared."""
    sides.run()
    (sides.first / "logo.png").unlink()
    done = sides.run(place="s3://another")
    assert (done.removed, done.brought) == (0, 1)


def test_memory_damaged__stops(sides):
    """What was remembered and cannot be read stops the run before anything is done."""
    sides.run()
    for path in (sides.place / ".holdfast").rglob("*"):
        if path.is_file():
            path.write_bytes(b"?")
    (sides.first / "logo.png").unlink()
    with pytest.raises(IntegrityError, match="pairs"):
        sides.run()
    assert (sides.copy / "logo.png").exists()


@pytest.mark.parametrize("empty", [True, False])
def test_source__empty_or_gone_deletes_nothing(sides, empty):
    """An empty source, as of a disk that is not mounted, deletes nothing; one that is not there stops the run."""
    sides.run()
    shutil.rmtree(sides.first)
    if empty:
        sides.first.mkdir()
        done = sides.run(Orders(allow_deletes=True))
        assert (done.state, done.withheld, done.removed) == ("stopped", 3, 0)
    else:
        with pytest.raises(BucketNotFoundError):
            sides.run(Orders(allow_deletes=True))
    assert len(sides.media(sides.copy)) == 3


def test_too_many_deletions__are_withheld_until_allowed(sides):
    """More deletions than max_delete stop the run; what is new is copied all the same, and --allow-deletes believes them."""
    for n in range(60):
        sides.write(sides.first, f"many/{n}", b"%d" % n)
    sides.run()
    shutil.rmtree(sides.first / "many")
    sides.write(sides.first, "new", b"new")
    done = sides.run(Orders())
    assert (done.state, done.withheld, done.removed, done.sent) == ("stopped", 60, 0, 1)
    assert "60 of 63" in done.reasons[0]
    assert len(sides.media(sides.copy)) == 64
    done = sides.run(Orders(allow_deletes=True))
    assert (done.state, done.removed) == ("whole", 60)
    assert len(sides.trash()) == 60


class _Answered(MemoryStore):
    """A bucket into which somebody uploads just after we wrote there."""

    def put(self, key: str, data: ReadableBuffer, mode: PutMode = OVERWRITE) -> ObjectInfo:
        """As it is; and then once more, by another."""
        ours = super().put(key, data, mode)
        if key == "lost.jpg":
            super().put(key, b"uploaded just now")
        return ours


def test_upload__just_after_what_was_brought_back(sides):
    """What somebody uploads just after we wrote under that key is not taken for a damaged write of ours, and stays."""
    first = _Answered("first")
    first.put("other.jpg", b"other")
    sides.write(sides.copy, "lost.jpg", b"lost")
    done = sides.run(first=first)
    assert (done.state, done.moving, done.failed) == ("partly", 1, ())
    assert first.get("lost.jpg").data == b"uploaded just now"


def test_deletions__are_undone(sides):
    """What was deleted in a bucket since the last copy comes back from it with --undo-deletes, however much it is."""
    for n in range(60):
        sides.write(sides.first, f"many/{n}", b"%d" % n)
    sides.run()
    before = sides.media(sides.first)
    shutil.rmtree(sides.first / "many")
    sides.write(sides.first, "new", b"new")
    done = sides.run(Orders(undo_deletes=True))
    assert (done.state, done.brought, done.removed, done.sent) == ("whole", 60, 0, 1)
    assert sides.media(sides.first) == before | {"new": b"new"}
    assert sides.run().state == "whole"


def test_dry_run__changes_nothing(sides):
    """A dry run says what would go where, and writes nothing."""
    done = sides.run(Orders(dry_run=True))
    assert (done.state, done.sent, done.bytes) == (
        "planned",
        3,
        sum(len(data) for data in sides.media(sides.first).values()),
    )
    assert [path for path in sides.place.rglob("*") if path.is_file()] == []


def test_link_out_of_the_bucket__is_no_object(sides, tmp_path):
    """A link that leads out of a folder of media is not copied, and keeps nothing else from being."""
    (tmp_path / "secret").write_text("secret")
    (sides.first / "planted.jpg").symlink_to(tmp_path / "secret")
    (sides.first / "way").symlink_to(tmp_path)
    done = sides.run()
    assert done.sent == 3
    assert not os.path.lexists(sides.copy / "planted.jpg")
    assert b"secret" not in sides.media(sides.copy).values()


def test_keys_that_cannot_be__are_named(sides):
    """An object whose key a store cannot take is named, and the others are copied; it is tried again."""
    sides.run()
    (sides.copy / "a").mkdir()
    sides.write(sides.copy, "a/b", b"below")
    sides.write(sides.first, "a", b"a file where the copy has a folder")
    done = sides.run()
    assert done.state == "partly"
    assert [each.key for each in done.failed] == ["a", "a/b"]
    assert (sides.copy / "a/b").read_bytes() == b"below"
    (sides.copy / "a/b").unlink()
    assert sides.run().state == "whole"
    assert (sides.copy / "a").read_bytes() == b"a file where the copy has a folder"


class Flipping(FaultyStore):
    """A store that damages what it is given, as a bad disk does."""

    flips = True

    def put(self, key, data, mode=None) -> ObjectInfo:
        if self.flips and key.startswith(BUCKET):
            data = bytes(data)[:-1] + b"!"
        return super().put(key, data, mode) if mode is not None else super().put(key, data)


def test_damaged_on_the_way__is_removed_and_sent_again(sides):
    """A copy that is not what was sent is removed again, the object named, and the next run sends it."""
    sides.write(sides.first, "one", b"content")
    bad = Flipping(open_bucket(StoreSettings(sides.place.as_uri())))
    done = sides.run(copy=bad)
    assert {each.key for each in done.failed} == {"one", "logo.png", "2026/01/photo.jpg"}
    assert not (sides.copy / "one").exists()
    bad.flips = False
    assert sides.run(copy=bad).state == "whole"
    assert sides.media(sides.copy) == sides.media(sides.first)


def test_changed_while_it_is_read__is_left_to_the_next_run(sides):
    """An object that is written at this moment is not taken for whole: the next run takes what it came to."""

    class Busy(FaultyStore):
        def get_range(self, key, start, length, *, version=None) -> Object:
            if key == "logo.png":
                sides.write(sides.first, "logo.png", b"newer logo")
            return super().get_range(key, start, length, version=version)

    busy = Busy(open_bucket(StoreSettings(sides.first.as_uri())))
    done = sides.run(first=busy)
    assert (done.state, done.moving, done.sent) == ("partly", 1, 2)
    assert not (sides.copy / "logo.png").exists()
    assert sides.run().sent == 1
    assert (sides.copy / "logo.png").read_bytes() == b"newer logo"


def test_listing_with_a_hole__deletes_nothing(sides):
    """An object that a listing left out is asked for by name before it counts as deleted."""

    class Holed(FaultyStore):
        def list(self, prefix):
            return (info for info in super().list(prefix) if info.key != "logo.png")

    sides.run()
    done = sides.run(first=Holed(open_bucket(StoreSettings(sides.first.as_uri()))))
    assert (done.removed, done.moving) == (0, 1)
    assert (sides.copy / "logo.png").exists()


@pytest.mark.parametrize("verb", ["list", "get_range", "put", "put_file", "copy", "head", "delete", "promises"])
@pytest.mark.parametrize("side", ["first", "copy"])
@pytest.mark.parametrize("after", [0, 1])
def test_store_disappears__at_each_verb(sides, verb, side, after):
    """Whichever store disappears at whichever request, nothing is lost, and the next run makes both whole."""
    sides.run()
    sides.write(sides.first, "new", b"new")
    sides.write(sides.first, "logo.png", b"changed")
    (sides.first / "2026/01/photo.jpg").unlink()
    sides.write(sides.copy, "back", b"back")
    place = sides.first if side == "first" else sides.place
    script = Script().add(Fault.BEFORE, verb, times=1000, after=after)
    broken = FaultyStore(open_bucket(StoreSettings(place.as_uri())), script)
    try:
        sides.run(**{side: broken})
    except UnreachableError:
        assert script.met
    done = sides.run()
    assert done.state == "whole"
    both = sides.media(sides.first)
    assert both == sides.media(sides.copy)
    assert (both["new"], both["logo.png"], both["back"]) == (b"new", b"changed", b"back")
    assert sides.trash()["logo.png"] == b"logo"
    assert sides.trash()["2026/01/photo.jpg"] == b"photo" * 1000


def test_two_at_a_time__one_is_told(sides):
    """Of two processes that copy one bucket at a time, the later to remember is told, and nothing is lost."""
    sides.run()
    sides.write(sides.first, "new", b"new")
    slow, entered, leave = sides.replica(), threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        leave.wait(20)

    slow._alive = wait
    outcome: list[Exception] = []

    def run() -> None:
        try:
            slow.run(LOOSE)
        except ConflictError as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert entered.wait(20)
    assert sides.run().state == "whole"
    leave.set()
    thread.join()
    assert "at the same time" in str(outcome[0])
    assert sides.run().state == "whole"
    assert sides.media(sides.copy) == sides.media(sides.first)


PROGRAM = """
import sys
from pathlib import Path
from tests.sites.test_secondary_copies import LOOSE, Sides
sides = object.__new__(Sides)
folder = Path(sys.argv[1])
sides.first, sides.place = folder / "www-example-com-assets-images", folder / "copies"
sides.run(LOOSE)
"""


@pytest.mark.parametrize("point", [point for point in REPLICATE if point != "replicate.expired"])
def test_killed__at_each_step(sides, tmp_path, point):
    """Killed at any step, a re-run converges, and what was deleted or overwritten is in the copy."""
    sides.run()
    sides.write(sides.first, "new", b"new")
    sides.write(sides.first, "logo.png", b"changed")
    (sides.first / "2026/01/photo.jpg").unlink()
    env = os.environ | {"HOLDFAST_FAILPOINT": point, "PYTHONPATH": f"{os.environ.get('PYTHONPATH', '')}:{os.getcwd()}"}
    killed = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], env=env, capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert sides.run().state == "whole"
    assert sides.media(sides.copy) == sides.media(sides.first)
    assert sides.trash()["logo.png"] == b"logo"
    assert sides.trash()["2026/01/photo.jpg"] == b"photo" * 1000


# the command


@pytest.fixture
def copied(site):
    """A site whose images live in a bucket of three objects, with a place for copies."""
    site.write(
        "persist_assets_to_cloud = 1\nkeep_deleted = '1d'\nlease = '10s'\n",
        after=f'[[copies]]\nurl = "{(site.folder / "elsewhere").as_uri()}"\n',
    )
    (site.folder / "elsewhere").mkdir()
    bucket = site.folder / BUCKET
    shutil.copytree(site.webroot / "images", bucket)
    return site


def test_replicate__command(copied):
    """asset site replicate copies, tells how the copies are, lists what was put aside, and puts it back."""
    (done,) = copied.site("replicate")
    assert (done["bucket"], done["state"], done["sent"]) == (BUCKET, "whole", 3)
    assert files_of(copied.folder / "elsewhere" / BUCKET) == files_of(copied.webroot / "images")
    (copied.folder / BUCKET / "logo.png").unlink()
    assert copied.site("replicate")[0]["removed"] == 1
    (status,) = copied.site("replicate", "--status")
    assert (status["state"], status["objects"]) == ("whole", 2)
    assert 0 <= status["lag"] < 60
    (kept,) = copied.site("replicate", "--deleted")
    assert kept["key"] == "logo.png"
    assert copied.site("replicate", "--restore", "logo.png")["key"] == "logo.png"
    assert (copied.folder / BUCKET / "logo.png").read_bytes() == b"\x89PNG\x00logo"
    assert copied.fails(4, "replicate", "--restore", "logo.png")["kind"] == "already_exists"
    assert copied.fails(3, "replicate", "--restore", "no.png")["kind"] == "not_found"
    assert "whole" in copied.ok("site", "replicate").out


def test_replicate__stops_with_the_conflict_code(copied):
    """Withheld deletions end with exit code 4 and say what to type."""
    for n in range(60):
        (copied.folder / BUCKET / f"{n}").write_text("x")
    copied.site("replicate")
    for n in range(60):
        (copied.folder / BUCKET / f"{n}").unlink()
    ended = copied("site", "replicate")
    assert ended.code == 4
    assert "--allow-deletes" in ended.out
    assert "--undo-deletes" in ended.out
    assert copied.fails(2, "replicate", "--undo-deletes", "--allow-deletes")["kind"] == "usage"
    assert copied.site("replicate", "--allow-deletes")[0]["removed"] == 60


def test_replicate__a_place_that_is_gone(copied):
    """A place that cannot be used is told, and the other one is brought up to date all the same."""
    more = f'[[copies]]\nurl = "{(copied.folder / "gone").as_uri()}"\n'
    text = (copied.folder / "site.toml").read_text()
    (copied.folder / "site.toml").write_text(text.replace("[[copies]]", more + "[[copies]]"))
    ended = copied("site", "replicate", "--json")
    assert ended.code == 3
    states = {Path(each["copy"]).name: each["state"] for each in ended.json}
    assert states == {"gone": "failed", "elsewhere": "whole"}


def test_replicate__a_bucket_of_another_site(copied):
    """A bucket that a deployment marked as another site's is neither read nor written, and the site is named."""
    for site, code in (("www-other-com", 4), ("www-example-com", 0)):
        mark = BucketMark(1, site, "images", "2026-01-01T00:00:00+00:00")
        (copied.folder / BUCKET / ".holdfast").mkdir(exist_ok=True)
        (copied.folder / BUCKET / SITE_MARK).write_bytes(encode_record(mark))
        ended = copied("site", "replicate", "--json")
        assert ended.code == code
        assert (copied.folder / "elsewhere" / BUCKET).exists() == (code == 0)
        assert code == 0 or site in ended.json[0]["reasons"][0]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("persist_assets_to_cloud = 0\n", "lives in a bucket"),
        ("persist_assets_to_cloud = 1\n", "no place for copies"),
    ],
)
def test_replicate__nothing_to_copy(site, text, part):
    """Without a bucket, or without a place for copies, it says what is missing."""
    site.write(text)
    assert part in site.fails(2, "replicate")["message"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('[[copies]]\nurl = "ftp://x"\n', "no URL of a store"),
        ('[[copies]]\nurl = "{one}/copies"\n', "lie in each other"),
        ('[[copies]]\nurl = "{two}"\n[[copies]]\nurl = "{two}"\n', "one url"),
        ('[[copies]]\nregion = "x"\n', "has a url"),
        ('[[copies]]\nurl = "{two}"\ntwo_way = "yes"\n', "neither true nor false"),
        ('[[copies]]\nurl = "{two}"\nbucket = "yes"\n', "not 'bucket'"),
        ("[max_delete]\npercent = 101\n", "not 0 to 100"),
        ("[max_delete]\nobjects = 1.5\n", "no number of objects"),
        ('[[notify]]\nrun = "mail me"\n', "there is no shell"),
        ('[[notify]]\nwebhook = "http://example.com/x"\n', "no address"),
        ('[[notify]]\nlevels = ["DEBUG"]\nrun = ["a"]\n', "levels are of"),
        ("[[notify]]\n", "either run"),
        ('[run]\nlisten = "0.0.0.0:80"\n', "this machine alone"),
        ('[run]\nbackups = ["yearly"]\n', "backups are of"),
        ('[run]\nreplicate = "1s"\n', "shorter than"),
        ("[run]\nx = 1\n", "not 'x'"),
    ],
)
def test_settings__refused(site, text, part):
    """A setting of copies, notices or schedules that cannot be is told by its name, and nothing is touched."""
    urls = {name: (site.folder / name).as_uri() for name in ("one", "two")}
    for name, url in urls.items():
        text = text.replace(f"{{{name}}}", url)
    site.write(after=text)
    ended = site("site", "check", "--json")
    assert ended.code == 2
    assert part in json.dumps(ended.json["errors"])


def test_pairs__are_where_the_format_says(sides):
    """What is remembered lies in the copy's place, and nothing of ours in the bucket."""
    sides.run()
    assert (sides.place / copy_pairs_key(BUCKET)).exists()
    assert sorted(path.name for path in sides.first.iterdir()) == ["2026", "film.mp4", "logo.png"]
