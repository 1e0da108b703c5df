"""``asset list``, ``versions``, ``show``, ``alias``, ``remove``, ``restore``."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest


def test_list__text(pushed) -> None:
    """Assets stand in a table with their newest version."""
    pushed.ok("push", "model/config.json", "cfg")
    header, *rows = (line.split() for line in pushed.ok("list").lines)
    assert header == ["NAME", "LATEST", "VERSIONS", "SIZE", "ALIASES"]
    assert rows == [["cfg", "0.0", "1", "2", "B"], ["nlp/bert", "0.1", "2", "1007", "B", "stable=0.1"]]


def test_list__json(pushed) -> None:
    """The document has the keys of the interface."""
    assert pushed.ok("list", "--json").json == [
        {"name": "nlp/bert", "latest": "0.1", "versions": 2, "aliases": {"stable": "0.1"}, "bytes": 1007}
    ]


def test_list__pattern(pushed) -> None:
    """Only names that fit the glob are listed; none is no error."""
    assert len(pushed.ok("list", "nlp/*", "--json").json) == 1
    assert pushed.ok("list", "cv/*", "--json").json == []
    assert pushed.ok("list", "cv/*").out == ""


def test_list__damaged(pushed) -> None:
    """An asset whose list cannot be read is reported, and the others are listed."""
    (pushed.folder / "store" / "bad.versions").write_text("not JSON")
    ended = pushed.ok("list")
    assert any(line.startswith("nlp/bert") for line in ended.lines)
    assert "warning: bad: " in ended.err
    assert "problem" in next(item for item in pushed.ok("list", "--json").json if item["name"] == "bad")


def test_versions__text_and_json(pushed) -> None:
    """Versions are listed newest first, with their aliases."""
    assert pushed.ok("versions", "nlp/bert").lines == ["0.1  (stable)", "0.0"]
    assert pushed.ok("versions", "nlp/bert", "--json").json == {
        "name": "nlp/bert", "versions": ["0.1", "0.0"], "aliases": {"stable": "0.1"},
    }  # fmt: skip


def test_versions__refused(pushed) -> None:
    """A name with a version is a usage error, an unknown name is not found."""
    assert pushed.error(2, "versions", "nlp/bert:1")["kind"] == "usage"
    assert pushed.error(3, "versions", "nope")["kind"] == "not_found"


def test_show__text(pushed) -> None:
    """Everything known is shown, a line each."""
    shown = dict(line.split(":", 1) for line in pushed.ok("show", "nlp/bert:0.0").lines)
    assert shown["spec"].strip() == "nlp/bert:0.0"
    assert shown["message"].strip() == "first"
    assert {"pushed", "by", "layout", "files", "size", "hash"} <= set(shown)


def test_show__json(pushed) -> None:
    """The document has the meta and what is read from it."""
    shown = pushed.ok("show", "nlp/bert", "--json").json
    assert shown["meta"]["is_directory"] is True
    assert (shown["version"], shown["files"], shown["bytes"]) == ("0.1", 4, 1007)


def test_show__not_found(pushed) -> None:
    """An unknown version is not found."""
    assert pushed.error(3, "show", "nlp/bert:3.3")["kind"] == "not_found"


def test_alias__set_and_remove(pushed) -> None:
    """An alias names the full version that was meant, and goes again."""
    assert pushed.ok("alias", "nlp/bert", "prod", "0").lines == ["nlp/bert:prod names 0.1"]
    assert pushed.ok("alias", "nlp/bert", "prod", "0.0", "--json").json == {
        "name": "nlp/bert", "alias": "prod", "version": "0.0",
    }  # fmt: skip
    assert pushed.ok("alias", "nlp/bert", "prod", "--remove", "--json").json["version"] is None
    assert "prod" not in pushed.ok("versions", "nlp/bert").out


def test_alias__dry_run(pushed) -> None:
    """--dry-run says what would be, and changes nothing."""
    assert pushed.ok("alias", "nlp/bert", "prod", "0", "--dry-run").lines == ["nlp/bert:prod would name 0.1"]
    assert pushed.ok("alias", "nlp/bert", "stable", "--remove", "--dry-run").lines == [
        "nlp/bert:stable would be removed"
    ]
    assert pushed.ok("versions", "nlp/bert", "--json").json["aliases"] == {"stable": "0.1"}
    assert pushed.error(3, "alias", "nlp/bert", "prod", "--remove", "--dry-run")["kind"] == "not_found"


@pytest.mark.parametrize(
    ("code", "args"),
    [
        (2, ("nlp/bert", "prod")),
        (2, ("nlp/bert", "prod", "0", "--remove")),
        (2, ("nlp/bert", "1", "0.0")),
        (2, ("nlp/bert:0", "prod", "0.0")),
        (3, ("nlp/bert", "prod", "5.5")),
        (3, ("nlp/bert", "prod", "--remove")),
        (3, ("nope", "prod", "0.0")),
    ],
)
def test_alias__refused(pushed, code: int, args: tuple[str, ...]) -> None:
    """What is malformed is exit 2, what is not there exit 3."""
    pushed.error(code, "alias", *args)


def test_remove__and_restore(pushed) -> None:
    """A removed version is gone, and comes back with restore."""
    assert pushed.ok("remove", "nlp/bert:0.0", "--yes").lines == ["nlp/bert:0.0 removed"]
    assert pushed.ok("versions", "nlp/bert", "--json").json["versions"] == ["0.1"]
    assert pushed.error(3, "fetch", "nlp/bert:0.0")["kind"] == "not_found"
    assert pushed.ok("restore", "nlp/bert:0.0", "--dry-run").lines == ["nlp/bert:0.0 would be restored"]
    assert pushed.ok("restore", "nlp/bert:0.0", "--json").json == {"restored": "nlp/bert:0.0", "dry_run": False}
    assert pushed.ok("versions", "nlp/bert", "--json").json["versions"] == ["0.1", "0.0"]


def test_remove__all_versions(pushed) -> None:
    """--all-versions removes an asset, once no alias holds it."""
    assert pushed.error(4, "remove", "nlp/bert", "--all-versions", "--yes")["kind"] == "conflict"
    pushed.ok("alias", "nlp/bert", "stable", "--remove")
    value = pushed.ok("remove", "nlp/bert", "--all-versions", "--yes", "--json").json
    assert value == {"removed": ["nlp/bert:0.1", "nlp/bert:0.0"], "dry_run": False}


def test_remove__all_versions_and_asked_for_one(pushed) -> None:
    """Where an asset has no versions any more, asking for one says so, and names no empty list of them."""
    pushed.ok("alias", "nlp/bert", "stable", "--remove")
    pushed.ok("remove", "nlp/bert", "--all-versions", "--yes")
    assert pushed.error(3, "show", "nlp/bert:9.9")["hint"] == "it has no versions"


def test_remove__dry_run(pushed) -> None:
    """--dry-run lists what would go, and needs no --yes."""
    assert pushed.ok("remove", "nlp/bert:0.0", "--dry-run").lines == ["nlp/bert:0.0 would be removed"]
    assert len(pushed.ok("versions", "nlp/bert").lines) == 2


def test_remove__nobody_to_ask(pushed) -> None:
    """Without a terminal and without --yes nothing is removed, and --yes is named."""
    error = pushed.error(2, "remove", "nlp/bert:0.0")
    assert "--yes" in error["hint"]
    assert len(pushed.ok("versions", "nlp/bert").lines) == 2


@pytest.mark.parametrize(
    ("code", "args"),
    [
        (2, ()),
        (2, ("nlp/bert",)),
        (2, ("nlp/bert:0",)),
        (3, ("nlp/bert:9.9",)),
        (3, ("nope:1.0",)),
        (4, ("nlp/bert:0.1",)),
    ],
)
def test_remove__refused(pushed, code: int, args: tuple[str, ...]) -> None:
    """Full versions only; one that is not there is exit 3, one that an alias names exit 4."""
    pushed.error(code, "remove", *args, "--yes")
    assert len(pushed.ok("versions", "nlp/bert").lines) == 2


@pytest.mark.parametrize(
    "words",
    [
        ("show",), ("restore",), ("restore", "--dry-run"), ("verify",), ("verify", "--deep"), ("remove", "--yes"), ("repair",),
        ("cache", "pin"), ("cache", "unpin"),
    ],
)  # fmt: skip
def test_sub_path__refused(pushed, words: tuple[str, ...]) -> None:
    """What is done to whole versions alone refuses a sub-path, whether it is there or not."""
    for sub_path in ("sub", "zz"):
        assert pushed.error(2, *words, f"nlp/bert:0.0[{sub_path}]")["kind"] == "usage"
    assert pushed.ok("versions", "nlp/bert", "--json").json["versions"] == ["0.1", "0.0"]
    pushed.ok("remove", "nlp/bert:0.0", "--yes")
    assert pushed.error(2, *words, "nlp/bert:0.0[sub]")["kind"] == "usage"
    assert pushed.ok("versions", "nlp/bert", "--json").json["versions"] == ["0.1"]


def test_restore__refused(pushed) -> None:
    """Full versions only, and those that there were."""
    assert pushed.error(2, "restore", "nlp/bert")["kind"] == "usage"
    assert pushed.error(3, "restore", "nlp/bert:8.8")["kind"] == "not_found"
    assert pushed.error(3, "restore", "nlp/bert:8.8", "--dry-run")["kind"] == "not_found"


@pytest.mark.parametrize(("answer", "code", "left"), [(b"y\n", 0, 1), (b"n\n", 130, 2), (b"\n", 130, 2)])
def test_remove__asks_on_a_terminal(pushed, answer: bytes, code: int, left: int) -> None:
    """On a terminal it asks, and removes only on a yes."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "holdfast.cli", "remove", "nlp/bert:0.0"],
        stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=pushed.folder, env=pushed.environ(),
    )  # fmt: skip
    os.close(theirs)
    os.write(ours, answer)
    _, err = process.communicate(timeout=30)
    os.close(ours)
    assert process.returncode == code
    assert b"Remove 1 version(s)? [y/N]" in err
    assert len(pushed.ok("versions", "nlp/bert").lines) == left
