"""``asset fetch``."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

import holdfast
from tests.server.conftest import small_disk

FETCHED = {
    "path", "from_cache", "version", "name", "meta", "object_name", "meta_object_name", "versions_object_name",
    "downloaded_bytes", "seconds", "verified",
}  # fmt: skip


def test_fetch__prints_the_path(pushed) -> None:
    """The path is printed, and the files are there."""
    ended = pushed.ok("fetch", "nlp/bert:0.0")
    assert ended.lines == [str(pushed.assets_dir / "nlp/bert/0.0")]
    assert (Path(ended.lines[0]) / "sub/weights.bin").read_bytes() == b"\x00\xff" * 500
    assert ended.err == ""


@pytest.mark.parametrize(("spec", "version"), [("nlp/bert", "0.1"), ("nlp/bert:0", "0.1"), ("nlp/bert:stable", "0.1")])
def test_fetch__resolves(pushed, spec: str, version: str) -> None:
    """No version means the newest, a partial one the newest of it, an alias what it names."""
    assert pushed.ok("fetch", spec, "--json").json["version"] == version


def test_fetch__json(pushed) -> None:
    """One spec is one object, from the store and from the cache with the same keys."""
    cold = pushed.ok("fetch", "nlp/bert:0.0", "--json").json
    warm = pushed.ok("fetch", "nlp/bert:0.0", "--json").json
    assert set(cold) == set(warm) == FETCHED
    assert (cold["from_cache"], warm["from_cache"]) == (False, True)
    assert (cold["downloaded_bytes"] > 0, warm["downloaded_bytes"]) == (True, 0)
    assert warm["object_name"] == "nlp/bert/0.0"
    assert {key: warm[key] for key in FETCHED if key not in ("from_cache", "downloaded_bytes", "seconds")} == {
        key: cold[key] for key in FETCHED if key not in ("from_cache", "downloaded_bytes", "seconds")
    }


def test_fetch__cached_asks_nobody(pushed) -> None:
    """A full version that is here is answered without the store."""
    path = pushed.ok("fetch", "nlp/bert:0.0").out
    (pushed.folder / "store").rename(pushed.folder / "away")
    assert pushed.ok("fetch", "nlp/bert:0.0").out == path
    assert pushed.ok("fetch", "nlp/bert:0.0[config.json]").out == path.strip() + "/config.json\n"
    assert pushed.ok("fetch", "nlp/bert:0.0", HOLDFAST_STORE=None).out == path


def test_fetch__cached_of_another_store(pushed) -> None:
    """A copy from one store is not taken for that of another."""
    pushed.ok("fetch", "nlp/bert:0.0")
    (pushed.folder / "other").mkdir()
    assert pushed.error(3, "fetch", "nlp/bert:0.0", "--store", f"file://{pushed.folder}/other")["kind"] == "not_found"


def test_fetch__changed_copy_of_another_store(pushed) -> None:
    """A copy that somebody worked in is moved aside where another store's version takes its place; `--force` replaces it."""
    shutil.copytree(pushed.folder / "store", pushed.folder / "other")
    store, other = pushed.store, f"file://{pushed.folder}/other"
    copy = Path(pushed.ok("fetch", "nlp/bert:0.0").out.strip())
    (copy / "config.json").write_text("mine")
    (copy / "new.txt").write_text("new")
    ended = pushed.ok("fetch", "nlp/bert:0.0", "--store", other)
    aside = pushed.assets_dir / ".holdfast/aside/nlp/bert/0.0.1"
    assert str(aside) in ended.err
    assert "changed since it was fetched" in ended.err
    assert [(aside / name).read_text() for name in ("config.json", "new.txt")] == ["mine", "new"]
    assert (copy / "config.json").read_text() == "{}"
    assert not (copy / "new.txt").exists()
    (copy / "new.txt").write_text("again")
    repository = holdfast.open(store, assets_dir=pushed.assets_dir)
    assert repository.fetch("nlp/bert:0.0") == copy
    assert (aside.with_name("0.0.2") / "new.txt").read_text() == "again"
    assert pushed.ok("fetch", "nlp/bert:0.0", "--store", other).err == ""  # which nobody touched
    (copy / "new.txt").write_text("once more")
    assert pushed.ok("fetch", "nlp/bert:0.0", "--force").err == ""
    assert {path.name for path in aside.parent.iterdir()} == {"0.0.1", "0.0.2"}


def test_fetch__several(pushed) -> None:
    """All specs are tried, one line each; the exit code is the first failure's."""
    ended = pushed("fetch", "nlp/bert:0.0", "nope", "nlp/bert:bad!", "nlp/bert:0.1")
    assert ended.code == 3
    assert ended.lines == [str(pushed.assets_dir / "nlp/bert/0.0"), str(pushed.assets_dir / "nlp/bert/0.1")]
    assert "no asset 'nope'" in ended.err


def test_fetch__several_json(pushed) -> None:
    """Several specs are a list, in which a failed one stands as its error."""
    ended = pushed("fetch", "nlp/bert:bad!", "nlp/bert:0.1", "nope", "--json")
    assert ended.code == 2
    assert [item.get("error", {}).get("kind") for item in ended.json] == ["usage", None, "not_found"]


def test_fetch__sub_path(pushed) -> None:
    """A sub-path is fetched alone, and its path is printed."""
    path = pushed.ok("fetch", "nlp/bert:0.0[sub/weights.bin]").lines[0]
    assert Path(path).read_bytes() == b"\x00\xff" * 500
    assert not (Path(path).parents[1] / "config.json").exists()


def test_fetch__include(pushed) -> None:
    """Only files that fit --include are fetched."""
    path = Path(pushed.ok("fetch", "nlp/bert:0.0", "--include", "*.json").lines[0])
    assert (path / "config.json").exists()
    assert not (path / "sub").exists()


@pytest.mark.parametrize(
    ("words", "place"), [(("fetch", "nlp/bert", "--to"), "/proc/x"), (("export", "nlp/bert"), "/proc/x.bundle")]
)
def test_fetch__where_nothing_can_be_made(pushed, words, place) -> None:
    """Where nothing can be made the error names the place as it was given, not that of a copy in the making."""
    error = pushed.error(1, *words, place)
    assert error["kind"] == "local"
    assert error["message"].endswith(f": {place}")


def test_fetch__to(pushed) -> None:
    """--to lays the version out in a folder, which must be empty unless --force is given."""
    assert pushed.ok("fetch", "nlp/bert:0.0", "--to", "out").lines == [str(pushed.folder / "out")]
    assert sorted(path.name for path in (pushed.folder / "out").iterdir()) == [".hidden", "config.json", "sub"]
    assert pushed.error(4, "fetch", "nlp/bert:0.1", "--to", "out")["kind"] == "already_exists"
    pushed.ok("fetch", "nlp/bert:0.1", "--to", "out", "--force")
    assert (pushed.folder / "out" / "more.txt").exists()


@pytest.mark.parametrize("layout", ["packs", "tree", "file"])
def test_fetch__to_a_disk_without_room(asset, layout) -> None:
    """What a disk cannot take is refused by --to before anything is written, with both sizes; what fits is laid out there."""
    (asset.folder / "model/large").write_bytes(os.urandom(3 << 20))
    asset.ok("push", "model/large" if layout == "file" else "model", "large", "--layout", layout)
    asset.ok("push", "model/config.json", "small")
    with small_disk(asset.folder / "disk"):
        error = asset.error(1, "fetch", "large", "--to", "disk/out")
        assert error["kind"] == "local"
        assert re.fullmatch(
            r"No space left on device: .*/disk/out(/large)? takes 3,\d{3},\d{3} bytes, and its disk has 2,09\d,\d{3} left",
            error["message"],
        )
        assert list((asset.folder / "disk").iterdir()) == []
        asset.ok("fetch", "small", "--to", "disk/out")


def test_fetch__to_restores_the_files_name(asset) -> None:
    """A file asset gets its own name back under --to."""
    asset.ok("push", "model/config.json", "cfg")
    assert asset.ok("fetch", "cfg", "--to", "out").lines == [str(asset.folder / "out" / "config.json")]


def test_fetch__force(pushed) -> None:
    """--force downloads again and mends a copy that was changed."""
    path = Path(pushed.ok("fetch", "nlp/bert:0.0").lines[0])
    (path / "config.json").write_text("spoilt")
    value = pushed.ok("fetch", "nlp/bert:0.0", "--force", "--json").json
    assert value["from_cache"] is False
    assert (path / "config.json").read_text() == "{}"


def test_fetch__offline(pushed) -> None:
    """--offline takes what is here, and says what is here where that does not do."""
    assert pushed.error(3, "fetch", "nlp/bert", "--offline")["kind"] == "not_found"
    pushed.ok("fetch", "nlp/bert:0.0")
    assert pushed.ok("fetch", "nlp/bert", "--offline", "--json").json["version"] == "0.0"


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_fetch__force_offline(pushed, dry: tuple[str, ...]) -> None:
    """--force is refused together with --offline, which downloads nothing."""
    pushed.ok("fetch", "nlp/bert:0.0")
    assert pushed.error(2, "fetch", "nlp/bert:0.0", "--force", "--offline", *dry)["kind"] == "usage"


def test_fetch__offline_needs_no_store(pushed) -> None:
    """A version that is here is answered offline where no store is set, and laid out from here; what is not is not found."""
    path = pushed.ok("fetch", "nlp/bert:0.0").out
    for spec in ("nlp/bert:0.0", "nlp/bert:0", "nlp/bert"):
        assert pushed.ok("fetch", spec, "--offline", HOLDFAST_STORE=None).out == path
    pushed.ok("fetch", "nlp/bert", "--offline", "--to", "out", HOLDFAST_STORE=None)
    assert (pushed.folder / "out" / "config.json").read_text() == "{}"
    assert pushed.error(3, "fetch", "nlp/vocab", "--offline", HOLDFAST_STORE=None)["kind"] == "not_found"
    assert pushed.error(2, "fetch", "nlp/bert", HOLDFAST_STORE=None)["message"] == "no store is set"


def test_open__offline_needs_no_store(tmp_path) -> None:
    """In Python a repository for what is cached opens without a store if that is asked for; what needs one says so."""
    own = tmp_path / "assets" / "n" / "1.0"
    own.mkdir(parents=True)
    (own / ".SUCCESS").touch()
    with pytest.raises(holdfast.UsageError, match="no store is set"):
        holdfast.open(assets_dir=tmp_path / "assets")
    repository = holdfast.open(assets_dir=tmp_path / "assets", offline=True)
    assert repository.fetch("n", offline=True) == own
    with pytest.raises(holdfast.UsageError, match="no store is set"):
        repository.fetch("n")


def test_fetch__dry_run(pushed) -> None:
    """--dry-run resolves and downloads nothing."""
    value = pushed.ok("fetch", "nlp/bert", "--dry-run", "--json").json
    assert value == {
        "name": "nlp/bert", "version": "0.1", "path": str(pushed.assets_dir / "nlp/bert/0.1"), "from_cache": False,
    }  # fmt: skip
    assert not (pushed.assets_dir / "nlp").exists()
    assert "would be fetched to" in pushed.ok("fetch", "nlp/bert", "--dry-run").out


def test_fetch__assets_dir(pushed) -> None:
    """--assets-dir, before or after the command, says where versions lie."""
    (pushed.folder / "here").mkdir()
    path = str(pushed.folder / "here" / "nlp/bert/0.0")
    assert pushed.ok("fetch", "nlp/bert:0.0", "--assets-dir", "here").lines == [path]
    assert pushed.ok("--assets-dir=here", "fetch", "nlp/bert:0.0").lines == [path]


@pytest.mark.parametrize(
    ("code", "args"),
    [
        (2, ("fetch",)),
        (2, ("fetch", "a:")),
        (2, ("fetch", "a[../x]")),
        (2, ("fetch", "a", "b", "--to", "x")),
        (3, ("fetch", "nlp/brt")),
        (3, ("fetch", "nlp/bert:9")),
        (3, ("fetch", "nlp/bert:9.9")),
        (3, ("fetch", "nlp/bert:stabel")),
        (3, ("fetch", "nlp/bert:0.0[nope]")),
        (1, ("fetch", "nlp/bert", "--assets-dir", "missing")),
    ],
)
def test_fetch__refused(pushed, code: int, args: tuple[str, ...]) -> None:
    """What is malformed is exit 2, what is not there exit 3, what the disk refuses exit 1."""
    pushed.error(code, *args)


def test_fetch__names_the_nearest(pushed) -> None:
    """An unknown name or alias is answered with the nearest."""
    assert "nlp/bert" in pushed.error(3, "fetch", "nlp/brt")["hint"]
    assert "stable" in pushed.error(3, "fetch", "nlp/bert:stabel")["hint"]


def test_fetch__damaged_store(pushed) -> None:
    """Bytes that are not what was pushed are exit 5, and nothing is left behind."""
    (pack,) = (pushed.folder / "store/.holdfast/packs").glob("*/*")
    pack.write_bytes(b"[]" + pack.read_bytes()[2:])
    assert pushed.error(5, "fetch", "nlp/bert:0.0")["kind"] == "integrity"
    assert not (pushed.assets_dir / "nlp/bert/0.0").exists()
