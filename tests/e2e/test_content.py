"""``asset files``, ``cat``, ``diff``, ``status``."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.e2e.conftest import needs_rights


def test_files__text_and_json(pushed) -> None:
    """Files are listed with mode, size and digest."""
    lines = pushed.ok("files", "nlp/bert:0.0").lines
    assert lines[0].split() == ["MODE", "SIZE", "PATH"]
    assert lines[1].split() == ["0644", "1", "B", ".hidden"]
    entries = pushed.ok("files", "nlp/bert:0.0", "--json").json
    files = [entry for entry in entries if entry["kind"] == "file"]
    assert [entry["path"] for entry in files] == [".hidden", "config.json", "sub/weights.bin"]
    assert set(files[0]) == {"path", "kind", "bytes", "mode", "digest"}
    assert files[2]["bytes"] == 1000
    assert files[2]["digest"].startswith("blake3:")


def test_files__links_and_empty_directories(asset) -> None:
    """Symlinks are shown with their target, directories with a slash."""
    (asset.folder / "model" / "link").symlink_to("config.json")
    (asset.folder / "model" / "empty").mkdir()
    asset.ok("push", "model", "a")
    out = asset.ok("files", "a").out
    assert "link -> config.json" in out
    assert "empty/" in out
    link = next(entry for entry in asset.ok("files", "a", "--json").json if entry["kind"] == "link")
    assert link["target"] == "config.json"


def test_files__sub_path(pushed) -> None:
    """A sub-path lists what lies below it."""
    entries = pushed.ok("files", "nlp/bert[sub]", "--json").json
    assert [entry["path"] for entry in entries if entry["kind"] == "file"] == ["sub/weights.bin"]
    assert pushed.error(3, "files", "nlp/bert[nope]")["kind"] == "not_found"


def test_cat__bytes(pushed) -> None:
    """The bytes of one file go to stdout as they are."""
    done = subprocess.run(
        [sys.executable, "-m", "holdfast.cli", "cat", "nlp/bert:0.0[sub/weights.bin]"],
        capture_output=True, check=True, env=pushed.environ(),
    )  # fmt: skip
    assert done.stdout == b"\x00\xff" * 500


def test_cat__file_asset(asset) -> None:
    """A file asset needs no path."""
    asset.ok("push", "model/config.json", "cfg")
    assert asset.ok("cat", "cfg").out == "{}"


@pytest.mark.parametrize(
    ("code", "spec"), [(2, "nlp/bert"), (2, "nlp/bert[sub]"), (3, "nlp/bert[nope]"), (3, "nope[x]")]
)
def test_cat__refused(pushed, code: int, spec: str) -> None:
    """A directory is a usage error; what is not there is not found; nothing is on stdout."""
    ended = pushed("cat", spec)
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith("error: ")


def test_cat__limits(pushed) -> None:
    """--jobs and --limit-rate bound what cat brings here, as with any other transfer."""
    assert pushed.ok("cat", "nlp/bert[config.json]", "--limit-rate", "1M", "--jobs", "1").out == "{}"


def test_cat__json(pushed) -> None:
    """--json has no meaning here and is refused."""
    assert pushed.error(2, "cat", "nlp/bert[config.json]")["kind"] == "usage"


def test_diff__versions(pushed) -> None:
    """What was added, removed and changed between two versions, a line each."""
    ended = pushed.ok("diff", "nlp/bert:0.0", "nlp/bert:0.1")
    assert ended.lines == ["A more.txt"]
    assert pushed.ok("diff", "nlp/bert:0.1", "nlp/bert:0.0").lines == ["D more.txt"]
    assert pushed.ok("diff", "nlp/bert:0.0", "nlp/bert:0.1", "--json").json == {
        "added": ["more.txt"], "removed": [], "changed": [], "bytes_added": 4, "bytes_removed": 0,
    }  # fmt: skip


def test_diff__directory(pushed) -> None:
    """A directory that exists, or a text that starts as a path, is compared as such."""
    (pushed.folder / "model" / "config.json").write_text("[1]")
    assert pushed.ok("diff", "nlp/bert", "model").lines == ["M config.json"]
    assert pushed.ok("diff", "nlp/bert", "./model").lines == ["M config.json"]


@pytest.fixture(params=["packs", "tree", "tar.gz"])
def twice(request, asset):
    """The program, with asset ``t`` in each layout: 0.1 has another config.json and sub/weights.bin, and sub/new is new."""
    model = asset.folder / "model"
    (model / "current").symlink_to("sub")
    asset.ok("push", "model", "t", "--layout", request.param)
    (model / "config.json").write_text("[1]")
    (model / "sub/weights.bin").write_bytes(b"w")
    (model / "sub/new").write_bytes(b"n")
    asset.ok("push", "model", "t", "--layout", request.param)
    return asset


def test_diff__sub_path(twice) -> None:
    """The same sub-path of two versions is compared in any layout, and nothing else; one that is not there is not found."""
    diff = twice.ok("diff", "t:0.0[sub]", "t:0.1[sub]", "--json").json
    assert diff == {
        "added": ["sub/new"], "removed": [], "changed": ["sub/weights.bin"], "bytes_added": 2, "bytes_removed": 1000,
    }  # fmt: skip
    assert twice.ok("diff", "t:0.0[current]", "t:0.1[current]").lines == ["A current/new", "M current/weights.bin"]
    assert twice.ok("diff", "t:0.0[config.json]", "t:0.1[config.json]").lines == ["M config.json"]
    assert twice.ok("diff", "t:0.0[sub/weights.bin]", "t:0.1[sub/weights.bin]").lines == ["M sub/weights.bin"]
    for specs in (("t:0.0[nosuch]", "t:0.1[nosuch]"), ("t:0.0", "t:0.1[nosuch]"), ("t[nosuch]", "./model")):
        assert twice.error(3, "diff", *specs)["kind"] == "not_found"


def test_diff__sub_path_elsewhere(twice) -> None:
    """A sub-path lines up with a local file or directory, or another part, that holds the same; paths are told from there."""
    (twice.folder / "cfg").write_text("[1]")
    assert twice.ok("diff", "t:0.1[sub]", "./model/sub").lines == []
    assert twice.ok("diff", "t:0.0[sub]", "./model/sub").lines == ["A new", "M weights.bin"]
    assert twice.ok("diff", "t:0.0[sub]", "t:0.1[current]").lines == ["A new", "M weights.bin"]
    assert twice.ok("diff", "t:0.1[config.json]", "./cfg").lines == []
    assert twice.ok("diff", "t:0.0[config.json]", "./cfg").lines == ["M config.json"]
    assert twice.ok("diff", "t:0.0[sub/weights.bin]", "./cfg").lines == ["M weights.bin"]


def test_diff__file(asset) -> None:
    """A file asset is told by its name; its name on the other side does not count, and a directory is something else."""
    asset.ok("push", "model/config.json", "cfg")
    (asset.folder / "renamed").write_text("{}")
    assert asset.ok("diff", "cfg", "./renamed").lines == []
    (asset.folder / "renamed").write_text("[1]")
    assert asset.ok("diff", "cfg", "./renamed").lines == ["M config.json"]
    asset.ok("push", "renamed", "cfg")
    assert asset.ok("diff", "cfg:0.0", "cfg:0.1", "--json").json["changed"] == ["config.json"]
    path = asset.ok("fetch", "cfg:0.0").lines[0]
    assert asset.ok("status", path).lines == []
    with open(path, "w", encoding="utf-8") as file:
        file.write("mine")
    assert asset.ok("status", path).lines == ["M config.json"]
    assert "first 'config.json'" in asset.error(5, "cache", "verify")["message"]
    found = asset.ok("diff", "cfg:0.0", "./model", "--json").json
    assert (found["removed"], found["changed"]) == (["config.json"], [])
    assert asset.error(3, "diff", "cfg[zz]", "cfg")["kind"] == "not_found"


def test_diff__exit_code(pushed) -> None:
    """The exit code is 0 either way, and with --exit-code 1 where something differs."""
    assert pushed("diff", "nlp/bert:0.0", "nlp/bert:0.1").code == 0
    assert pushed("diff", "nlp/bert:0.0", "nlp/bert:0.1", "--exit-code").code == 1
    assert pushed("diff", "nlp/bert:0.1", "model", "--exit-code").code == 0


def test_diff__not_found(pushed) -> None:
    """Either side that is not there is not found."""
    assert pushed.error(3, "diff", "nlp/bert", "nope:1.0")["kind"] == "not_found"


def test_status__changed(pushed) -> None:
    """Changes in a fetched version are shown against what was fetched."""
    path = pushed.ok("fetch", "nlp/bert:0.1").lines[0]
    assert pushed.ok("status", path, "--exit-code").out == ""
    with open(f"{path}/config.json", "w", encoding="utf-8") as file:
        file.write("x")
    assert pushed.ok("status", path).lines == ["M config.json"]
    assert pushed("status", path, "--exit-code").code == 1
    assert pushed.ok("status", path, "--json").json["changed"] == ["config.json"]


def test_status__elsewhere(pushed) -> None:
    """A directory that was not fetched is a usage error."""
    assert pushed.error(2, "status", "model")["kind"] == "usage"


@needs_rights
@pytest.mark.parametrize(("closed", "named"), [("", ".SUCCESS"), ("sub", "sub/weights.bin")], ids=["copy", "folder"])
def test_fetch__copy_that_is_closed(pushed, closed, named) -> None:
    """Where another user's copy in a shared cache may not be looked at, a file of it is told to be closed, and not to be missing."""
    copy = pushed.assets_dir / "nlp/bert/0.0"
    pushed.ok("fetch", "nlp/bert:0.0")
    (copy / closed).chmod(0)
    code, told = pushed.without_rights("fetch", "nlp/bert:0.0[sub/weights.bin]")
    (copy / closed).chmod(0o755)
    assert (code, told["error"]["kind"]) == (1, "local")
    assert told["error"]["message"] == f"Permission denied: {copy / named}"
    assert "another user's" in told["error"]["hint"]


@needs_rights
def test_fetch__beside_a_copy_that_is_closed(asset) -> None:
    """A version is fetched beside another user's copy of another one that may not be looked at."""
    for version in ("0.0", "0.1"):
        (asset.folder / "model/large").write_bytes(os.urandom(300_000))
        asset.ok("push", "model", "a", "--version", version)
    asset.ok("fetch", "a:0.0")
    copy = asset.assets_dir / "a/0.0"
    copy.chmod(0)
    code, told = asset.without_rights("fetch", "a:0.1")
    copy.chmod(0o755)
    assert code == 0, told
