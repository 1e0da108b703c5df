"""Every step of a push, a removal and a fetch is a place to die: afterwards nothing is lost, and a re-run completes.

A process is killed at each failpoint once, on every kind of store, and at random moments.
"""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from holdfast.failpoint import POINTS
from tests.e2e.driver import Runner, Shop, content_of, flat, lay

STORES = ("disk", "ceph", "localstack", "azurite", "gcs_double")
PUSH = [point for point in POINTS if point.startswith("push.")]
PATH = [point for point in POINTS if point.startswith("path.")]
REMOVE = [point for point in POINTS if point.startswith("remove.")]
FETCH = [point for point in POINTS if point.startswith("fetch.")]
COLLECT = [point for point in POINTS if point.startswith(("collect.", "withdraw."))]  # killed in test_collect.py
PACKS_ONLY = {"push.pack-written", "push.packed", "push.condemned-reread", "push.root-written"}
#: Every step of a push in the layouts that have it.
WAYS = [(point, "packs") for point in PUSH if point != "push.data-partly"]
WAYS += [(point, "tree") for point in PUSH if point not in PACKS_ONLY]
EVICT = [point for point in POINTS if point.startswith("evict.")]  # walked in test_cache_quota
EXPORT = [point for point in POINTS if point.startswith("export.")]  # killed in test_bundle.py


SERVICES: dict[str, tuple[Shop, Runner]] = {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where everything of this module lies."""
    return tmp_path_factory.mktemp("crash")


@pytest.fixture(params=STORES)
def kind(request):
    """The kind of store."""
    return request.param


@pytest.fixture
def shop_of(request, folder, monkeypatch):
    """The one store of each kind that the tests of this module share, each with names of its own; and who runs against it."""

    def get(kind: str) -> tuple[Shop, Runner]:
        service = None if kind == "disk" else request.getfixturevalue(kind)
        env = service.env if service else {}
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        if kind not in SERVICES:
            place = folder / kind
            (place / "store").mkdir(parents=True)
            url = service.fresh_store() if service else (place / "store").as_uri()
            SERVICES[kind] = Shop(url, place), Runner(place / "home", env)
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "other-cache"))  # another machine than the one that is killed
        return SERVICES[kind]

    yield get
    for _, runner in SERVICES.values():
        runner.close()


@pytest.fixture
def shop(shop_of, kind):
    """Of the kind in turn."""
    return shop_of(kind)


def name_for(*words: str) -> str:
    """An asset's name for one test."""
    return "crash/" + "-".join(words).replace(".", "_")


#: Points at which other suites kill: tests/mount/test_{edits_crash,mount_version}.py; tests/sites/test_{restore,deploy,attach,backup,secondary_copies,sync_crashes}.py.
ELSEWHERE = ("edits.", "follow.", "replicate.", "site.", "sync.")


def test_points__all_are_walked():
    """Every failpoint belongs to a test below, or to the suite of its own room."""
    here = [point for point in POINTS if not point.startswith(ELSEWHERE)]
    assert sorted(PUSH + PATH + REMOVE + FETCH + COLLECT + EVICT + EXPORT) == sorted(here)


WISHES = {"next": {}, "explicit": {"version": "3.0"}, "major": {"new_major": True}}


@pytest.mark.parametrize(("point", "layout"), WAYS)
def test_push__killed(shop, point, layout):
    """A push killed at any step loses nothing, blocks nobody, and is completed by the same push, run again."""
    survives(*shop, point, {"alias": "live", "layout": layout}, "push", point, layout)


@pytest.mark.parametrize("wish", ["explicit", "major"])
@pytest.mark.parametrize(("point", "layout"), WAYS)
def test_push__killed_with_a_wish(shop_of, point, layout, wish):
    """A push of an explicit number or a new major is completed under that number by the same push, run again."""
    options = {"alias": "live", "layout": layout} | WISHES[wish]
    version = survives(*shop_of("disk"), point, options, wish, point, layout)
    assert version == {"explicit": "3.0", "major": "1.0"}[wish]


@pytest.mark.parametrize("point", PATH)
def test_push__killed_in_a_directory_store(shop_of, point):
    """So does one killed inside the steps that a directory store adds."""
    survives(*shop_of("disk"), point, {"alias": "live"}, "path", point)


@pytest.mark.parametrize("layout", ["tree", "tar.gz"])
@pytest.mark.parametrize("point", ["push.data-partly", "push.data-written", "push.meta-written", "push.listed"])
def test_push__large_and_archive_killed(shop, point, layout):
    """So does one of an archive, or of a file that travels in parts."""
    options = {"layout": layout, "alias": "live"}
    survives(*shop, point, options, layout.replace(".", ""), point, large=layout == "tree")


@pytest.mark.parametrize(("point", "layout"), WAYS)
def test_push__first_version_killed(shop_of, point, layout):
    """A new asset whose first push was killed is listed only whole; ``--new``, run again, completes."""
    shop, runner = shop_of("disk")
    name, content = name_for("first", point, layout), content_of(f"first {point} {layout}")
    options = {"only": "new", "alias": "live", "layout": layout}
    step = ["push", lay(shop.fresh("source"), content), name, options]
    runner.kill(shop.url, shop.fresh(), step, failpoint=point)
    assert set(shop.check(name)) <= {"0.0"}
    (pushed,) = runner.run(shop.url, shop.fresh(), step)
    assert pushed["version"] == "0.0"
    shop.note(name, "0.0", content)
    assert shop.check(name) == ["0.0"]
    assert flat(shop.open().fetch(f"{name}:live")) == content


@pytest.mark.parametrize(("point", "layout"), WAYS)
def test_push__killed_and_others_go_on(shop, point, layout):
    """While a push lies dead, others push numbers of the store's and of their own choice; then it completes."""
    shop, runner = shop
    name, content = name_for("others", point, layout), content_of(f"others {point}")
    shop.push(name, content_of("base"))
    step = ["push", lay(shop.fresh("source"), content), name, {"layout": layout}]
    runner.kill(shop.url, shop.fresh(), step, failpoint=point)
    shop.push(name, content_of(f"automatic {point}"))
    shop.push(name, content_of(f"explicit {point}"), version="7.0")
    shop.push(name, content_of(f"own major {point}"), major="0")
    shop.check(name)
    (pushed,) = runner.run(shop.url, shop.fresh(), step)
    shop.note(name, pushed["version"], content)
    shop.check(name)


def survives(shop, runner, point, options, *words, large=False):
    """Kill a push at the point, check, run it again, check; return the number that it got."""
    name = name_for(*words)
    base, content = content_of(f"base {name}"), content_of(f"new {name}", large=large)
    shop.push(name, base, alias="first")
    step = ["push", lay(shop.fresh("source"), content), name, options]
    runner.kill(shop.url, shop.fresh(), step, failpoint=point)
    listed = shop.check(name)
    assert listed[-1] == "0.0"
    assert len(listed) <= 2
    (pushed,) = runner.run(shop.url, shop.fresh(), step)
    shop.note(name, pushed["version"], content)
    assert shop.check(name) == [pushed["version"], "0.0"], "a number was lost though the same push was run again"
    assert flat(shop.open().fetch(f"{name}:live")) == content
    assert flat(shop.open().fetch(f"{name}:first")) == base
    (again,) = runner.run(shop.url, shop.fresh(), ["push", step[1], name])
    assert (again["created"], again["version"]) == (False, pushed["version"])
    return pushed["version"]


@pytest.mark.parametrize("point", REMOVE)
def test_remove__killed(shop, point):
    """A removal killed at any step is completed by the same removal, and its number is never used again."""
    shop, runner = shop
    name = name_for(point)
    for word in ("zero", "one"):
        shop.push(name, content_of(f"{word} {point}"))
    step = ["remove", f"{name}:0.1"]
    runner.kill(shop.url, shop.fresh(), step, failpoint=point)
    assert shop.check(name, removed=("0.1",)) == ["0.0"]
    if point == "remove.tombstone-written":
        runner.run(shop.url, shop.fresh(), step)
    assert shop.open().catalog.listed(name).versions == ("0.0",)
    shop.push(name, content_of(f"two {point}"))
    assert shop.check(name, removed=("0.1",)) == ["0.2", "0.0"]
    runner.run(shop.url, shop.fresh(), ["restore", f"{name}:0.1"])
    assert shop.check(name) == ["0.2", "0.1", "0.0"]


@pytest.mark.parametrize("case", ["tree", "tar.gz", "file"])
@pytest.mark.parametrize("point", FETCH)
def test_fetch__killed(shop, point, case):
    """A fetch killed at any step leaves a whole copy or none; run again, it completes and leaves nothing behind."""
    shop, runner = shop
    name = name_for("fetch", case)
    content = asset_to_fetch(shop, name, case)
    assets = shop.fresh("cache")
    runner.kill(shop.url, assets, ["fetch", f"{name}:0.0"], failpoint=point)
    final = assets / name / "0.0"
    assert not final.exists() or flat(final) == content
    (fetched,) = runner.run(shop.url, assets, ["fetch", name])
    assert flat(Path(fetched["path"])) == content
    assert leftovers(assets) == []


@pytest.mark.parametrize("case", ["tree", "packs", "tar.gz", "file"])
def test_fetch__killed_and_its_copy_changed(shop_of, case):
    """What somebody puts into the copy of a killed fetch, or in the place of a part of it, is not in the copy in the end, and nothing is written through a link."""
    shop, runner = shop_of("disk")
    name = name_for("strange", case)
    content = asset_to_fetch(shop, name, case)
    assets = shop.fresh("cache")
    runner.kill(shop.url, assets, ["fetch", f"{name}:0.0"], failpoint="fetch.data-partly")
    mine = shop.fresh("mine") / "mine"
    mine.write_bytes(b"hours of work")
    [work] = [path for path in assets.rglob("*.part") if path.is_dir()]
    for path in {"tree": ("a.txt", "new/link"), "packs": ("a.txt", "new"), "tar.gz": ("new",), "file": ("",)}[case]:
        strange = work / "copy" / path
        strange.unlink(missing_ok=True)
        strange.parent.mkdir(parents=True, exist_ok=True)
        strange.symlink_to(mine)
    if case != "file":
        lay(work / "copy", {"strange/file": b"strange", "strange.txt": b"strange"})
    (fetched,) = runner.run(shop.url, assets, ["fetch", name])
    copy = Path(fetched["path"])
    assert flat(copy) == content
    assert not [path for path in (copy, *copy.rglob("*")) if path.is_symlink() or path.name == "strange"]
    assert mine.read_bytes() == b"hours of work"


@pytest.mark.parametrize("case", ["tree", "file"])
@pytest.mark.parametrize("point", FETCH)
def test_fetch__force_killed(shop_of, point, case):
    """A forced fetch killed at any step leaves the old copy or the new one, and run again removes what was added to the copy."""
    shop, runner = shop_of("disk")
    name = name_for("force", case)
    content = asset_to_fetch(shop, name, case)
    assets = shop.fresh("cache")
    (first,) = runner.run(shop.url, assets, ["fetch", f"{name}:0.0"])
    final = Path(first["path"])
    spoil(final)
    spoilt = flat(final)
    runner.kill(shop.url, assets, ["fetch", f"{name}:0.0", {"force": True}], failpoint=point)
    assert flat(final) in (spoilt, content)
    runner.run(shop.url, assets, ["fetch", f"{name}:0.0", {"force": True}])
    assert flat(final) == content
    assert leftovers(assets) == []


@pytest.mark.parametrize("point", FETCH)
def test_fetch__over_own_work_killed(shop_of, point):
    """A copy without a marker, perhaps somebody's own work, outlives a fetch killed at any step and the fetches after it."""
    shop, runner = shop_of("disk")
    name = name_for("own", "work")
    content = asset_to_fetch(shop, name, "tree")
    assets = shop.fresh("cache")
    lay(assets / name / "0.0", {"mine.txt": b"hours of work", "a.txt": b"mine too"})
    runner.kill(shop.url, assets, ["fetch", f"{name}:0.0"], failpoint=point)
    runner.run(shop.url, assets, ["fetch", f"{name}:0.0"])
    runner.run(shop.url, assets, ["fetch", f"{name}:0.0", {"force": True}])
    assert flat(assets / name / "0.0") == content
    kept = [path.read_bytes() for path in assets.rglob("mine.txt")]
    assert kept == [b"hours of work"]
    assert [path.read_bytes() for path in assets.rglob("a.txt") if path.read_bytes() == b"mine too"] == [b"mine too"]


@pytest.mark.parametrize("point", FETCH)
def test_fetch__of_another_store_killed(shop_of, folder, point):
    """A copy from one store is never served as another store's, whenever the fetch that replaces it was killed."""
    shop, runner = shop_of("disk")
    name = name_for("two", "stores")
    here = asset_to_fetch(shop, name, "tree")
    place = shop.fresh("other")
    other = Shop(place.as_uri(), shop.fresh())
    there = content_of("quite another")
    other.push(name, there)
    assets = shop.fresh("cache")
    for url in (other.url, shop.url):
        runner.run(url, assets, ["fetch", f"{name}:0.0"])
    runner.kill(other.url, assets, ["fetch", f"{name}:0.0"], failpoint=point)
    (fetched,) = runner.run(shop.url, assets, ["fetch", f"{name}:0.0"])
    assert flat(Path(fetched["path"])) == here
    (fetched,) = runner.run(other.url, assets, ["fetch", f"{name}:0.0"])
    assert flat(Path(fetched["path"])) == there


def asset_to_fetch(shop, name, case):
    """An asset of one version that all points share."""
    if name in shop.must:
        return shop.must[name]["0.0"]
    if case == "file":
        source = shop.fresh("source") / "model.bin"
        source.write_bytes(random.Random(case).randbytes(9 * 1024 * 1024))
        shop.open().push(source, name)
        shop.note(name, "0.0", {"": source.read_bytes()})
    else:
        shop.push(name, content_of(name), layout=case)
    return shop.must[name]["0.0"]


def spoil(final: Path) -> None:
    """Change the copy behind the cache's back."""
    if final.is_file():
        final.write_bytes(b"spoilt")
    else:
        (final / "a.txt").write_bytes(b"spoilt")
        (final / "added.txt").write_bytes(b"added")


def leftovers(assets: Path) -> list[Path]:
    """Files and work directories that are not empty."""
    found = [path for path in assets.rglob("*") if path.name.endswith((".part", ".tmp"))]
    return [path for path in found if path.is_file() or any(path.iterdir())]


# at random moments


def test_push__random_kills(shop_of):
    """A push killed at twenty random moments, run again after each, completes, and nothing is lost."""
    random_pushes(*shop_of("disk"), 20, "some")


def test_fetch__random_kills(shop_of):
    """A fetch killed at twenty random moments, run again after each, completes, and nothing half is served."""
    random_fetches(*shop_of("disk"), 20, "some")


@pytest.mark.soak
def test_push__many_random_kills(shop):
    """So for a hundred, on every store."""
    random_pushes(*shop, 100, "many")


@pytest.mark.soak
def test_fetch__many_random_kills(shop):
    """So for a hundred, on every store."""
    random_fetches(*shop, 100, "many")


def big_content(word: str) -> dict[str, bytes]:
    """Forty files, one of them large, so that a transfer takes a while."""
    dice = random.Random(word)
    return {f"{n}/{n}": dice.randbytes(60_000) for n in range(40)} | {"large": dice.randbytes(20 * 1024 * 1024)}


def killed_at_random(runner, shop, assets, step, dice, seconds) -> bool:
    """Run the step and kill it within so many seconds; whether it was killed before its end."""
    process = runner.start(shop.url, assets, step)
    time.sleep(dice.uniform(0.05, seconds))
    process.kill()
    output, errors = process.communicate()
    assert process.returncode in (0, -9), f"{process.returncode} {output}{errors}"
    return process.returncode == -9


def random_pushes(shop, runner, count, word):
    name, dice = name_for("random", word), random.Random(count)
    shop.push(name, content_of("base"))
    killed = number = 0
    begun = time.monotonic()
    runner.run(shop.url, shop.fresh(), ["push", lay(shop.fresh("source"), big_content("measure")), name])
    shop.note(name, "0.1", big_content("measure"))
    seconds = time.monotonic() - begun
    while killed < count:
        number += 1
        content = big_content(f"{word} {number}")
        step = ["push", lay(shop.fresh("source"), content), name]
        while killed < count and killed_at_random(runner, shop, shop.fresh(), step, dice, seconds):
            killed += 1
        (pushed,) = runner.run(shop.url, shop.fresh(), step)
        shop.note(name, pushed["version"], content)
    assert sorted(shop.check(name)) == sorted(shop.must[name])


def random_fetches(shop, runner, count, word):
    name, dice = name_for("random-fetch", word), random.Random(count)
    content = big_content("fetched")
    shop.push(name, content)
    begun = time.monotonic()
    runner.run(shop.url, shop.fresh(), ["fetch", name])
    seconds = time.monotonic() - begun
    killed = 0
    while killed < count:
        assets = shop.fresh("cache")
        while killed < count and killed_at_random(runner, shop, assets, ["fetch", name], dice, seconds):
            killed += 1
            final = assets / name / "0.0"
            assert not (final / ".SUCCESS").exists() or flat(final) == content
        (fetched,) = runner.run(shop.url, assets, ["fetch", name])
        assert flat(Path(fetched["path"])) == content
        assert leftovers(assets) == []
