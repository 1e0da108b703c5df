"""Many processes at once: fifty pushes lose nothing, twenty fetches download about once, and no reader sees half a copy."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from holdfast.model.version import BUILT_IN, newest_first
from tests.e2e.driver import Runner, Shop, content_of, finished, flat, lay

PUSHERS = 50
FETCHERS = 20
SCHEME = BUILT_IN["major_minor"]


@pytest.fixture(params=["disk", "ceph", "azurite", "gcs_double"])
def shop(request, tmp_path, monkeypatch):
    """A store of its own, and who runs against it."""
    service = None if request.param == "disk" else request.getfixturevalue(request.param)
    env = service.env if service else {}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "store").mkdir()
    url = service.fresh_store() if service else (tmp_path / "store").as_uri()
    runner = Runner(tmp_path / "home", env)
    yield Shop(url, tmp_path), runner
    runner.close()


@pytest.fixture
def disk(tmp_path):
    """A directory as a store."""
    (tmp_path / "store").mkdir()
    runner = Runner(tmp_path / "home")
    yield Shop((tmp_path / "store").as_uri(), tmp_path), runner
    runner.close()


def at_once(runner, shop, assets, steps):
    """A process for each list of steps; all are started before any begins."""
    gate = shop.fresh("gate")
    wait = ["wait", gate, len(steps)]
    return [runner.start(shop.url, folder, wait, *some) for folder, some in zip(assets, steps, strict=True)]


def test_push__fifty_at_once(shop):
    """Fifty processes push one asset at once, each with other content: fifty distinct versions, all listed, all whole."""
    shop, runner = shop
    shop.open().push(
        lay(shop.fresh("source"), content_of("warm")), "other/asset"
    )  # probes once, as any real machine has
    contents = [content_of(f"pusher {number}") for number in range(PUSHERS)]
    steps = [[["push", lay(shop.fresh("source"), content), "crowd/one"]] for content in contents]
    running = at_once(runner, shop, [shop.fresh("cache")] * PUSHERS, steps)
    for process, content in zip(running, contents, strict=True):
        pushed = finished(process)[-1]
        assert pushed["created"]
        shop.note("crowd/one", pushed["version"], content)
    assert shop.check("crowd/one") == newest_first(shop.must["crowd/one"], SCHEME)
    assert len(shop.must["crowd/one"]) == PUSHERS


def test_push__explicit_number_at_once(shop):
    """Of ten processes that push one explicit number at once exactly one gets it; the others end with exit code 4."""
    shop, runner = shop
    shop.push("crowd/number", content_of("base"))
    contents = [content_of(f"rival {number}") for number in range(10)]
    steps = [[["push", lay(shop.fresh("source"), content), "crowd/number", {"version": "2.0"}]] for content in contents]
    won = []
    for process, content in zip(at_once(runner, shop, [shop.fresh()] * 10, steps), contents, strict=True):
        process.wait(120)
        answer = finished(process, code=0 if process.returncode == 0 else 4)[-1]
        if process.returncode == 0:
            won.append(content)
        else:
            assert answer["error"] == "already_exists"
    assert len(won) == 1
    shop.note("crowd/number", "2.0", won[0])
    assert shop.check("crowd/number") == ["2.0", "0.0"]


def test_push__equal_content_at_once(shop):
    """Equal pushes at the same moment make one version or several, all whole; none fails."""
    shop, runner = shop
    source, content = lay(shop.fresh("source"), content_of("twin")), content_of("twin")
    shop.push("crowd/twins", content_of("base"))
    steps = [[["push", source, "crowd/twins"]]] * 6
    for process in at_once(runner, shop, [shop.fresh()] * 6, steps):
        pushed = finished(process)[-1]
        shop.note("crowd/twins", pushed["version"], content)
    assert len(shop.check("crowd/twins")) == len(shop.must["crowd/twins"])


def test_aliases_and_removals__at_once(disk):
    """Aliases set, versions removed and pushed at once on one asset all take effect."""
    shop, runner = disk
    for number in range(6):
        shop.push("crowd/busy", content_of(f"before {number}"))
    steps = [[["alias", "crowd/busy", f"alias{n}", f"0.{n}"]] for n in range(3)]
    steps += [[["remove", f"crowd/busy:0.{n}"]] for n in range(3, 6)]
    contents = [content_of(f"during {n}") for n in range(6)]
    steps += [[["push", lay(shop.fresh("source"), content), "crowd/busy"]] for content in contents]
    running = at_once(runner, shop, [shop.fresh()] * len(steps), steps)
    answers = [finished(process)[-1] for process in running]
    for answer, content in zip(answers[6:], contents, strict=True):
        shop.note("crowd/busy", answer["version"], content)
    gone = ("0.3", "0.4", "0.5")
    assert set(shop.check("crowd/busy", removed=gone)) == set(shop.must["crowd/busy"]) - set(gone)
    assert shop.open().versions("crowd/busy").aliases == {f"alias{n}": f"0.{n}" for n in range(3)}


def test_fetch__twenty_at_once(shop):
    """Twenty processes fetch one cold asset at once into one folder: all get it whole, and it is downloaded once."""
    shop, runner = shop
    content = content_of("cold", large=True)
    shop.push("crowd/cold", content, layout="tree")
    assets = shop.fresh("cache")
    steps = [[["fetch", "crowd/cold:0.0"]]] * FETCHERS
    answers = [finished(process)[-1] for process in at_once(runner, shop, [assets] * FETCHERS, steps)]
    assert {flat(Path(answer["path"])) == content for answer in answers} == {True}
    assert sum(answer["downloaded_bytes"] for answer in answers) == sum(map(len, content.values()))
    assert [answer["from_cache"] for answer in answers].count(False) == 1
    assert not list(assets.rglob("*.part"))


def test_fetch__killed_owner_is_taken_over(disk):
    """While a process that fetches is killed again and again, those that wait for it get the copy."""
    shop, runner = disk
    content = content_of("owner", large=True)
    shop.push("crowd/owner", content)
    assets = shop.fresh("cache")
    victims = [
        runner.start(shop.url, assets, ["fetch", "crowd/owner"], failpoint="fetch.data-partly") for _ in range(3)
    ]
    others = at_once(runner, shop, [assets] * 5, [[["fetch", "crowd/owner"]]] * 5)
    for process in others:
        assert flat(Path(finished(process)[-1]["path"])) == content
    for process in victims:
        process.communicate(timeout=60)
        assert process.returncode in (0, -9)


@pytest.mark.parametrize("name", ["crowd/tree", "crowd/file"])
def test_fetch__force_beside_readers(disk, name):
    """Who reads a copy while it is fetched anew sees a whole copy at every moment."""
    shop, runner = disk
    content = {f"{number:03}": b"%d" % number * 1000 for number in range(100)}
    if name.endswith("file"):
        source = shop.fresh("source") / "one.bin"
        source.write_bytes(b"one" * 100_000)
        content = {"": source.read_bytes()}
        shop.open().push(source, name)
    else:
        shop.push(name, content)
    assets = shop.fresh("cache")
    runner.run(shop.url, assets, ["fetch", name])
    final = assets / name / "0.0"
    stop, seen, bad = threading.Event(), [0], []

    def read():
        while not stop.is_set():
            for path, data in content.items():
                try:
                    found = (final / path if path else final).read_bytes()
                except OSError as error:
                    found = repr(error).encode()
                seen[0] += 1
                if found != data:
                    bad.append((path, found[:80]))

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        runner.run(shop.url, assets, *[["fetch", f"{name}:0.0", {"force": True}]] * 30)
        others = at_once(runner, shop, [assets] * 3, [[["fetch", f"{name}:0.0", {"force": True}]] * 10] * 3)
        for process in others:
            finished(process)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert bad == []
    assert seen[0] > 100
    assert flat(final) == content


def test_fetch__several_stores_one_folder(disk):
    """Processes that fetch one name from two stores into one folder never get the other store's content."""
    shop, runner = disk
    other = Shop(shop.fresh("other-store").as_uri(), shop.fresh())
    here, there = content_of("here"), content_of("there")
    shop.push("crowd/both", here)
    other.push("crowd/both", there)
    assets = shop.fresh("cache")
    for _ in range(3):
        gate = ["wait", shop.fresh("gate"), 4]
        running = [
            (url, runner.start(url, assets, gate, ["fetch", "crowd/both:0.0"])) for url in (shop.url, other.url) * 2
        ]
        for _, process in running:
            finished(process)
        for url, content in ((shop.url, here), (other.url, there)):
            (answer,) = runner.run(url, assets, ["fetch", "crowd/both:0.0"])
            assert flat(Path(answer["path"])) == content
    shutil.rmtree(assets)
