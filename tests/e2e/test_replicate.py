"""``asset copy``, ``export`` and ``import``."""

from __future__ import annotations

import os
import shutil

import pytest


def other(asset) -> str:
    """An empty second store."""
    (asset.folder / "other").mkdir()
    return (asset.folder / "other").as_uri()


@pytest.mark.parametrize("layout", [(), ("--layout", "tree"), ("--layout", "tar.gz")])
def test_copy__dry_run_refused(pushed, layout: tuple[str, ...]) -> None:
    """A dry run of a copy or an import refuses the store that the run refuses, with the same error, and makes nothing."""
    missing = f"file://{pushed.folder}/missing"
    pushed.ok("export", "nlp/bert", "one")
    for words in (("copy", "nlp/bert", "--to", missing), ("import", "one", "--store", missing)):
        refused = [pushed(*words, *layout, "--json", *dry) for dry in ((), ("--dry-run",))]
        assert [ended.code for ended in refused] == [3, 3]
        assert refused[0].out == refused[1].out
    assert not (pushed.folder / "missing").exists()


@pytest.mark.parametrize(("layout", "source"), [("packs", "model"), ("tree", "model"), ("file", "model/config.json")])
def test_export__dry_run(asset, layout: str, source: str) -> None:
    """A dry run of an export tells the length that the file then has, and refuses the places that the run refuses."""
    asset.ok("push", source, "a", "--layout", layout)
    dry = asset.ok("export", "a", "one", "--dry-run", "--json").json
    real = asset.ok("export", "a", "one", "--json").json
    assert dry | {"seconds": 0} == real | {"seconds": 0}
    assert real["bytes"] == (asset.folder / "one").stat().st_size
    for code, words in ((4, ["one"]), (4, ["model"]), (4, ["model", "--force"]), (1, ["missing/one"])):
        refused = [asset.error(code, "export", "a", *words, *dry) for dry in ((), ("--dry-run",))]
        assert refused[0] == refused[1]


def test_copy__all(pushed) -> None:
    """--all copies every version and the aliases; the second time everything is there."""
    to = other(pushed)
    lines = pushed.ok("copy", "--all", "--to", to).lines
    assert [line.split()[0] for line in lines] == ["nlp/bert:0.0", "nlp/bert:0.1"]
    assert pushed.ok("versions", "nlp/bert", "--store", to).lines == ["0.1  (stable)", "0.0"]
    assert all("there already" in line for line in pushed.ok("copy", "nlp/bert", "--all", "--to", to).lines)
    assert pushed.ok("verify", "--deep", "--store", to).lines == ["2 checked, all in order"]


def test_copy__one(pushed) -> None:
    """One version is one JSON document; with --layout it lies there as asked; without --aliases it is only a version."""
    to = other(pushed)
    dry = pushed.ok("copy", "nlp/bert:stable", "--to", to, "--dry-run", "--json").json
    assert (dry["created"], list((pushed.folder / "other").iterdir())) == (True, [])
    copied = pushed.ok("copy", "nlp/bert:stable", "--to", to, "--layout", "tar.gz", "--json").json
    assert (copied["spec"], copied["layout"], copied["aliases"]) == ("nlp/bert:0.1", "tar.gz", [])
    assert pushed.ok("show", "nlp/bert", "--store", to, "--json").json["hash"] == copied["hash"]
    assert pushed.ok("copy", "nlp/bert:0.1", "--to", to, "--aliases", "--json").json["aliases"] == ["stable"]
    assert pushed.ok("versions", "nlp/bert", "--store", to).lines == ["0.1  (stable)"]


def test_copy__several_of_which_one_fails(pushed) -> None:
    """Every version is tried, and the exit code is the first failure's."""
    to = other(pushed)
    pushed.ok("push", "model/config.json", "nlp/bert", "--store", to)
    ended = pushed("copy", "nlp/bert:0.0", "nlp/bert:0.1", "no/such", "--to", to, "--json")
    assert ended.code == 4
    assert [each.get("error", {}).get("kind") for each in ended.json] == ["already_exists", None, "not_found"]
    assert "has nlp/bert:0.0 with other content" in pushed("copy", "nlp/bert:0.0", "--to", to).err


def test_copy__an_asset_that_cannot_be_read(pushed) -> None:
    """With --all, an asset whose list cannot be read is told, and does not keep the others from being copied."""
    to = other(pushed)
    (pushed.folder / "store/a.versions").write_text("no list")
    ended = pushed("copy", "--all", "--to", to, "--json")
    assert ended.code == 5
    assert [each.get("error", {}).get("kind") for each in ended.json] == ["integrity", None, None]
    assert pushed("export", "a", "nlp/bert", "bundle", "--all").code == 5
    assert not (pushed.folder / "bundle").exists()


def test_copy__refused(pushed) -> None:
    """Nothing named, a version with --all, and a layout that does not fit are usage errors."""
    to = other(pushed)
    assert pushed.error(2, "copy", "--to", to)["kind"] == "usage"
    assert pushed.error(2, "copy", "nlp/bert:0.0", "--all", "--to", to)["kind"] == "usage"
    assert pushed("copy", "nlp/bert", "--layout", "file", "--to", to).code == 2
    assert pushed.error(2, "copy", "nlp/bert")["kind"] == "usage"


def test_export__and_import(pushed) -> None:
    """A bundle brings a version, and a second one what the first lacks."""
    to = other(pushed)
    line = pushed.ok("export", "nlp/bert:0.0", "one").lines[0]
    assert line.startswith("one  1 version")
    document = pushed.ok("export", "nlp/bert:0.1", "two", "--base", "one", "--json").json
    assert (document["versions"], document["needs"]) == (["nlp/bert:0.1"], ["nlp/bert:0.0"])
    shutil.move(pushed.folder / "store", pushed.folder / "away")
    error = pushed.error(3, "import", "two", "--store", to)
    assert "nlp/bert:0.0" in error["message"]
    assert pushed.ok("import", "one", "--store", to).lines[0].startswith("nlp/bert:0.0  3 files")
    (copied,) = pushed.ok("import", "two", "--store", to, "--aliases", "--json").json
    assert (copied["created"], copied["aliases"]) == (True, ["stable"])
    assert pushed.ok("verify", "--deep", "--store", to).lines == ["2 checked, all in order"]


def test_export__refused(pushed) -> None:
    """A file that exists, and FILE without a SPEC, are refused."""
    pushed.ok("export", "nlp/bert", "one", "--all")
    assert pushed.error(4, "export", "nlp/bert", "one")["kind"] == "already_exists"
    assert pushed.error(2, "export", "one")["kind"] == "usage"
    assert pushed.error(2, "export", "nlp/bert:0.0", "two", "--all")["kind"] == "usage"
    assert pushed.ok("export", "nlp/bert", "one", "--force", "--dry-run").lines[0].endswith("would be exported")


def test_import__damaged(pushed) -> None:
    """A damaged bundle is exit 5, and the store stays empty."""
    to = other(pushed)
    pushed.ok("export", "nlp/bert", "one")
    data = (pushed.folder / "one").read_bytes()
    (pushed.folder / "one").write_bytes(data[:-700])
    assert pushed.error(5, "import", "one", "--store", to)["kind"] == "integrity"
    assert list((pushed.folder / "other").iterdir()) == []


@pytest.mark.parametrize("words", [("export", "nlp/bert", "-"), ("import", "-")])
def test_bundle__is_no_stream(pushed, words: tuple[str, ...]) -> None:
    """A bundle is not written to stdout and not read from stdin: ``-`` is refused with what to do, and no file has that name then."""
    before = sorted(os.listdir(pushed.folder))
    assert "name a file" in pushed.error(2, *words)["hint"]
    assert sorted(os.listdir(pushed.folder)) == before
