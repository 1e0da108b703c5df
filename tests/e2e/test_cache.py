"""``asset cache``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def fetched(asset) -> list[str]:
    """Both versions fetched, 0.0 the longer unused; the specs that are here."""
    for number, version in enumerate(("0.0", "0.1")):
        asset.ok("fetch", f"nlp/bert:{version}")
        for record in asset.assets_dir.glob(f".holdfast/versions/*/{version}.json"):
            os.utime(record, (1_000_000 + number, 1_000_000 + number))
    return specs(asset)


def specs(asset) -> list[str]:
    """What is here."""
    return [entry["spec"] for entry in asset.ok("cache", "--json").json]


def test_cache__list(pushed) -> None:
    """Fetched versions are listed, by cache alone and by cache list."""
    assert pushed.ok("cache").out == ""
    assert fetched(pushed) == ["nlp/bert:0.0", "nlp/bert:0.1"]
    entry = pushed.ok("cache", "list", "--json").json[0]
    assert set(entry) == {*("spec", "name", "version", "kind", "path", "bytes", "complete", "pinned", "in_use", "used")}
    assert pushed.ok("cache", "list").lines[0].split() == ["SPEC", "SIZE", "USED"]


def test_cache__names_that_no_asset_has(pushed) -> None:
    """A folder whose name no asset can have, as one that is not UTF-8, is passed by and stays, though a marker lies in it."""
    here = fetched(pushed)
    strange = [os.fsencode(pushed.assets_dir) + name for name in (b"/caf\xe9/0.0", b"/two words/0.0")]
    for folder in strange:
        os.makedirs(folder)
        open(folder + b"/.SUCCESS", "wb").close()
    assert specs(pushed) == here
    assert pushed.ok("cache", "verify").lines == ["2 checked, all in order"]
    assert pushed.ok("cache", "pin", "nlp/bert", "--json").json["pinned"] == here
    pushed.ok("cache", "prune", "--max-size", "0")
    assert all(os.path.isdir(folder) for folder in strange)


@pytest.mark.parametrize("layout", ["packs", "tree", "file"])
def test_verify__file_system_without_modes(pushed, layout: str) -> None:
    """Where every file is executable, the cache's own marker too, a copy is as it was fetched; content that changed is still named."""
    source = "model/config.json" if layout == "file" else "model"
    pushed.ok("push", source, "n/a", "--layout", layout)
    copy = Path(pushed.ok("fetch", "n/a").lines[0])
    for path in copy.parent.rglob("*"):
        path.chmod(0o777)
    assert pushed.ok("cache", "verify", "n/a").lines == ["1 checked, all in order"]
    assert pushed.ok("status", str(copy), "--json").json["changed"] == []
    changed = copy if layout == "file" else copy / "config.json"
    changed.write_text("other")
    assert "config.json" in pushed.error(5, "cache", "verify", "n/a")["message"]


def test_prune__by_size(pushed) -> None:
    """The longest unused versions go until what is left fits."""
    fetched(pushed)
    assert pushed.ok("cache", "prune", "--max-size", "1500", "--dry-run").lines[0] == "nlp/bert:0.0 would be removed"
    assert len(specs(pushed)) == 2
    value = pushed.ok("cache", "prune", "--max-size", "1500", "--json").json
    assert (value["removed"], value["dry_run"]) == (["nlp/bert:0.0"], False)
    assert specs(pushed) == ["nlp/bert:0.1"]


def test_prune__by_setting(pushed) -> None:
    """Without a size the setting counts; without that there is nothing to go by."""
    fetched(pushed)
    assert pushed.error(2, "cache", "prune")["kind"] == "usage"
    pushed.ok("cache", "prune", HOLDFAST_CACHE_MAX_SIZE="0")
    assert specs(pushed) == []


def test_prune__ranges(pushed) -> None:
    """What mounts have read goes with --ranges alone, and fetched versions stay; without it, it stays."""
    from holdfast.cache.ranges import FOLDER

    fetched(pushed)
    assert pushed.ok("cache", "prune", "--ranges", "--json").json["ranges"] == 0
    folder = pushed.assets_dir.parent / FOLDER
    pack = folder / "packs" / "ab" / ("ab" * 32)
    pack.parent.mkdir(parents=True)
    pack.write_bytes(b"x" * 10_000)
    pushed.ok("cache", "prune", "--max-size", "1G")
    assert pushed.ok("cache", "prune", "--ranges", "--dry-run", "--json").json["ranges"] >= 10_000
    assert pack.exists()
    assert pushed.ok("cache", "prune", "--ranges", "--json").json["ranges"] >= 10_000
    assert not pack.exists()
    assert len(specs(pushed)) == 2


def test_prune__named(pushed) -> None:
    """A version that is named goes, whatever its size."""
    fetched(pushed)
    pushed.ok("cache", "prune", "nlp/bert:0.1")
    assert specs(pushed) == ["nlp/bert:0.0"]
    assert pushed.error(3, "cache", "prune", "nlp/bert:0.1")["kind"] == "not_found"


def test_prune__spares_what_was_not_fetched(pushed) -> None:
    """A version made here, marked or not, stays."""
    own = pushed.assets_dir / "mine" / "1.0"
    own.mkdir(parents=True)
    (own / "work").write_text("mine")
    (own / ".SUCCESS").touch()
    pushed.ok("cache", "prune", "--max-size", "0")
    assert pushed.error(2, "cache", "prune", "mine:1.0")["kind"] == "usage"
    assert (own / "work").exists()


def test_pin__keeps_from_pruning(pushed) -> None:
    """A pinned version is not pruned until it is unpinned."""
    fetched(pushed)
    assert pushed.ok("cache", "pin", "nlp/bert:0.0", "--dry-run").lines == ["nlp/bert:0.0 would be pinned"]
    assert pushed.ok("cache", "pin", "nlp/bert:0.0").lines == ["nlp/bert:0.0 pinned"]
    pushed.ok("cache", "prune", "--max-size", "0")
    assert specs(pushed) == ["nlp/bert:0.0"]
    assert pushed.error(2, "cache", "prune", "nlp/bert:0.0")["kind"] == "usage"
    assert pushed.ok("cache", "unpin", "nlp/bert", "--json").json == {"unpinned": ["nlp/bert:0.0"], "dry_run": False}
    pushed.ok("cache", "prune", "--max-size", "0")
    assert specs(pushed) == []


def test_pin__not_here(pushed) -> None:
    """A version that is not here is not found, with the nearest."""
    fetched(pushed)
    assert "nlp/bert:0.1" in pushed.error(3, "cache", "pin", "nlp/bert:0.2")["hint"]


def test_verify__finds_changes(pushed) -> None:
    """A copy that was changed is found, exit 5, and left as it is."""
    fetched(pushed)
    assert pushed.ok("cache", "verify").lines == ["2 checked, all in order"]
    changed = pushed.assets_dir / "nlp/bert/0.0/config.json"
    changed.write_text("x")
    assert "config.json" in pushed.error(5, "cache", "verify")["message"]
    assert pushed("cache", "verify", "nlp/bert:0.1").code == 0
    assert changed.read_text() == "x"


def test_cache__unknown_command(pushed) -> None:
    """An unknown command of the group is a usage error."""
    assert pushed.error(2, "cache", "clean")["kind"] == "usage"
