"""``asset push``."""

from __future__ import annotations

import re
import shutil

import pytest

from tests.e2e.conftest import needs_rights


def test_push__directory(asset) -> None:
    """A directory becomes version 0.0, and the line says so."""
    ended = asset.ok("push", "model", "nlp/bert")
    assert re.match(r"nlp/bert:0\.0  3 files, 1003 B, \d+ B of it new, pushed in ", ended.lines[0])
    assert ended.err == ""


def test_push__json(asset) -> None:
    """The document has the keys of the interface."""
    value = asset.ok("push", "model", "nlp/bert", "--json").json
    assert set(value) == {
        "name", "version", "spec", "created", "hash", "layout", "files", "bytes",
        "uploaded_bytes", "uploaded_objects", "seconds",
    }  # fmt: skip
    assert (value["spec"], value["created"], value["files"], value["bytes"]) == ("nlp/bert:0.0", True, 3, 1003)


def test_push__unchanged(asset) -> None:
    """A push of what the newest version holds makes no version."""
    asset.ok("push", "model", "nlp/bert")
    value = asset.ok("push", "model", "nlp/bert", "--json").json
    assert (value["version"], value["created"], value["uploaded_objects"]) == ("0.0", False, 0)
    assert asset.ok("push", "model", "nlp/bert").out.endswith("unchanged\n")


def test_push__file(asset) -> None:
    """A file is pushed as it is."""
    value = asset.ok("push", "model/config.json", "cfg", "--json").json
    assert (value["layout"], value["files"]) == ("file", 1)


def test_push__versions(asset) -> None:
    """NAME:MAJOR follows that major, --major starts one, --version takes exactly one, --initial the first of a new asset."""
    path = asset.folder / "model" / "n"

    def push(*args: str) -> str:
        path.write_text(str(args))
        return asset.ok("push", "model", *args, "--json").json["version"]

    assert push("a", "--initial", "1.0") == "1.0"
    assert push("a", "--major") == "2.0"
    assert push("a:1") == "1.1"
    assert push("a", "--version", "7.3") == "7.3"
    assert push("a") == "7.4"


def test_push__what_is_said_of_it(asset) -> None:
    """Message, labels, inputs, parent and alias stand in the version; a parent that the asset never had is refused."""
    asset.ok("push", "model", "a", "--version", "0.9")
    (asset.folder / "model" / "new").write_text("new")
    assert "0.8" in asset.error(3, "push", "model", "a", "--parent", "0.8")["message"]
    asset.ok(
        "push", "model", "a", "-m", "words", "--label", "k=v", "--label", "e=", "--input", "x:1.0", "--input", "y:2.0",
        "--parent", "0.9", "--alias", "best",
    )  # fmt: skip
    shown = asset.ok("show", "a", "--json").json
    assert (shown["message"], shown["parent"], shown["aliases"]) == ("words", "0.9", ["best"])
    assert (shown["labels"], shown["inputs"]) == ({"k": "v", "e": ""}, ["x:1.0", "y:2.0"])


@pytest.mark.parametrize("layout", ["tree", "tar.gz"])
def test_push__layout(asset, layout: str) -> None:
    """The layout of a directory is chosen by --layout."""
    assert asset.ok("push", "model", "a", "--layout", layout, "--json").json["layout"] == layout


def test_push__exclude(asset) -> None:
    """Paths that fit --exclude stay out."""
    assert asset.ok("push", "model", "a", "--exclude", "*.bin", "--exclude", ".hidden", "--json").json["files"] == 1


def test_push__follow_links(asset) -> None:
    """A link that leads out is refused by name, or followed with --follow-links."""
    (asset.folder / "model" / "out").symlink_to(asset.folder / "store")
    assert "out" in asset.error(2, "push", "model", "a")["message"]
    (asset.folder / "model" / "out").unlink()
    (asset.folder / "secret").write_text("s")
    (asset.folder / "model" / "out").symlink_to(asset.folder / "secret")
    assert asset.ok("push", "model", "a", "--follow-links", "--json").json["files"] == 4


def test_push__new_and_update(asset) -> None:
    """--new refuses an asset that exists, --update one that does not."""
    assert asset.error(3, "push", "model", "a", "--update")["kind"] == "not_found"
    asset.ok("push", "model", "a", "--new")
    assert asset.error(4, "push", "model", "a", "--new")["kind"] == "already_exists"
    (asset.folder / "model" / "n").write_text("")
    assert asset.ok("push", "model", "a", "--update", "--json").json["version"] == "0.1"


def test_push__dry_run(asset) -> None:
    """--dry-run says which version it would be, and writes nothing."""
    assert asset.ok("push", "model", "a", "--dry-run").lines == ["a:0.0  3 files, 1003 B, would be pushed as packs"]
    assert list((asset.folder / "store").iterdir()) == []


def test_push__name_left_out(pushed) -> None:
    """A fetched version is pushed to where it came from, with the fetched version as its parent."""
    path = pushed.ok("fetch", "nlp/bert:0.0").lines[0]
    with open(f"{path}/new", "w", encoding="utf-8") as file:
        file.write("new")
    value = pushed.ok("push", path, "--json").json
    assert value["spec"] == "nlp/bert:0.2"
    assert pushed.ok("show", "nlp/bert:0.2", "--json").json["parent"] == "0.0"


def test_push__name_left_out_elsewhere(asset) -> None:
    """A directory that was not fetched needs a name."""
    assert "no fetched version" in asset.error(2, "push", "model")["message"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("missing", "a"), "no file or directory 'missing'"),
        (("model", "a:1.0"), "takes a major"),
        (("model", "a[x]"), "a whole asset"),
        (("model", "a/../b"), "invalid asset name"),
        (("model", "a", "--label", "nothing"), "invalid label"),
        (("model", "a", "--layout", "zip"), "'zip' is not one of"),
        (("model", "a", "--version", "1.0", "--major"), "--version"),
        (("model", "a", "--alias", "1"), "invalid alias"),
        (("model", "a", "--jobs", "0"), "--jobs"),
        (("model", "a", "--limit-rate", "fast"), "not a size"),
        (("model", "a", "b"), "unexpected extra argument"),
        (("model", "a", "--bogus"), "No such option"),
        ((), "Missing argument"),
    ],
)
def test_push__usage(asset, args: tuple[str, ...], words: str) -> None:
    """What cannot be is exit 2, names the part, and writes nothing."""
    error = asset.error(2, "push", *args)
    assert error["kind"] == "usage"
    assert words in error["message"]
    assert list((asset.folder / "store").iterdir()) == []


def test_push__layouts(asset) -> None:
    """A directory goes into packs, unless the push or the store's setting says otherwise."""
    assert asset.ok("push", "model", "a", "--json").json["layout"] == "packs"
    asset.ok("config", "set", "--store-wide", "layout", "tree")
    assert asset.ok("push", "model", "b", "--json").json["layout"] == "tree"
    assert asset.ok("push", "model", "c", "--layout", "packs", "--json").json["layout"] == "packs"
    asset.ok("config", "set", "--store-wide", "layout", "packs")
    assert asset.ok("push", "model", "d", "--json").json["layout"] == "packs"


def test_push__version_taken(pushed) -> None:
    """A version that exists is never overwritten."""
    assert pushed.error(4, "push", "model", "nlp/bert", "--version", "0.0")["kind"] == "already_exists"


def test_push__new_or_update(asset) -> None:
    """Both --new and --update are a usage error, in either order, and nothing is pushed."""
    for words in (("--new", "--update"), ("--update", "--new")):
        assert asset.error(2, "push", "model", "a", *words)["kind"] == "usage"
    assert asset.ok("list", "--json").json == []


def test_push__limits(asset) -> None:
    """--jobs and --limit-rate are taken before and after the command."""
    asset.ok("--jobs", "1", "push", "model", "a", "--limit-rate", "100M")
    shutil.rmtree(asset.folder / "store")
    (asset.folder / "store").mkdir()
    asset.ok("--limit-rate", "100M", "push", "model", "a", "--jobs", "2")


@needs_rights
def test_push__into_a_folder_that_may_not_be_written(asset) -> None:
    """A push that may not write a folder of the store names what it could not write there, and not its own temporary file."""
    asset.ok("push", "model", "a")
    claims = asset.folder / "store/.holdfast/claims/a"
    claims.chmod(0o555)
    (asset.folder / "model/more.txt").write_text("more")
    code, told = asset.without_rights("push", "model", "a")
    claims.chmod(0o755)
    assert (code, told["error"]["message"]) == (6, f"Permission denied: {claims / '0.1'}")
