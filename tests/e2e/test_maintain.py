"""``asset verify``, ``repair``, ``doctor``."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

import holdfast
from holdfast.maintain import verify
from holdfast.transfer.engine import Engine

if TYPE_CHECKING:
    from pathlib import Path


def test_verify__in_order(pushed) -> None:
    """A whole store is exit 0, and the last line counts."""
    assert pushed.ok("verify").lines == ["2 checked, all in order"]
    assert pushed.ok("verify", "--all", "--deep").lines == ["2 checked, all in order"]
    document = pushed.ok("verify", "nlp/bert:0.0", "--json").json
    assert (document["ok"], document["checked"]) == (True, 1)
    assert set(document["findings"][0]) == {"subject", "state", "message"}


def _pack(pushed) -> Path:
    """The one pack that holds the model's weights."""
    (pack,) = (path for path in (pushed.folder / "store/.holdfast/packs").rglob("*") if path.is_file())
    return pack


class Metered(Engine):
    """An engine that counts what its limit of the rate is told of."""

    spent = 0

    def spend(self, count: int) -> None:
        """Count it."""
        self.spent += count
        super().spend(count)


@pytest.mark.parametrize("layout", ["file", "tree", "tar.gz", "packs"])
def test_verify__limit_rate(asset, layout: str) -> None:
    """The limit of the rate is told of every byte that is read to be compared, in any layout."""
    source = asset.folder / "model"
    (source / "noise").write_bytes(os.urandom(50_000))
    asset.ok("push", str(source / "noise" if layout == "file" else source), "a", "--layout", layout)
    repository = holdfast.open(asset.store, assets_dir=asset.folder / "home")
    repository.engine = engine = Metered()
    assert [finding.state for finding in verify(repository, "a", deep=True)] == ["ok"]
    assert engine.spent >= 50_000


def test_verify__killed(asset) -> None:
    """What a deep verify that was killed had unpacked on this machine is gone after the next one."""
    source = asset.folder / "model"
    asset.ok("push", str(source), "a", "--layout", "tar.gz")
    assert asset("verify", "a", "--deep", HOLDFAST_FAILPOINT="fetch.data-partly").code == -signal.SIGKILL
    folder = asset.assets_dir.parent / "archives"
    assert [*folder.iterdir()]
    asset.ok("verify", "a", "--deep")
    assert not [*folder.iterdir()]


def test_verify__object_missing(pushed) -> None:
    """A version that lacks an object is named, with an error's exit code."""
    _pack(pushed).unlink()
    ended = pushed("verify")
    assert ended.code == 5
    assert "nlp/bert:0.1" in ended.lines[0]
    assert "'sub/weights.bin'" in ended.lines[0]
    document = pushed("verify", "--json").json
    assert document["ok"] is False
    assert set(document["error"]) == {"kind", "message", "hint"}


def test_verify__flipped_bit(pushed) -> None:
    """A changed byte is found by --deep, exit 5."""
    pushed.ok("push", "model", "a/tree", "--layout", "tree")
    data = _pack(pushed).read_bytes()
    _pack(pushed).write_bytes(bytes([data[0] ^ 1]) + data[1:])
    assert pushed("verify", "nlp/bert:0.0").code == 0
    assert pushed.error(5, "verify", "nlp/bert:0.0", "--deep")["kind"] == "integrity"
    assert pushed("verify", "a/tree:0.0", "--deep").code == 0
    (pushed.folder / "store/a/tree/0.0/config.json").write_text("[]")
    assert pushed("verify", "a/tree:0.0").code == 0
    assert pushed("verify", "a/tree:0.0", "--deep").code == 5


def test_verify__refused(pushed) -> None:
    """--all with a version is a usage error; an unknown asset is not found."""
    assert pushed.error(2, "verify", "nlp/bert:0.0", "--all")["kind"] == "usage"
    assert pushed.error(3, "verify", "nope:1.0")["kind"] == "not_found"


def test_repair__nothing_to_do(pushed) -> None:
    """In a store that is in order there is nothing to put right."""
    assert pushed.ok("repair", "--json").json["ok"] is True
    assert pushed.ok("repair", "nlp/bert", "--dry-run").lines[-1].endswith("all in order")


def test_repair__unlisted_version(asset) -> None:
    """A whole version that a kill left unlisted is named by --dry-run, and listed without it."""
    asset.ok("push", "model", "a")
    (asset.folder / "model" / "n").write_text("n")
    killed = asset("push", "model", "a", HOLDFAST_FAILPOINT="push.meta-written")
    assert killed.code == -9
    assert asset.ok("versions", "a").lines == ["0.0"]
    assert "0.1" in asset("repair", "--dry-run").out
    assert asset.ok("versions", "a").lines == ["0.0"]
    assert "0.1" in asset.ok("repair", "a").out
    assert asset.ok("versions", "a").lines == ["0.1", "0.0"]


def test_doctor__in_order(asset) -> None:
    """Everything that is looked at is listed."""
    out = asset.ok("doctor").out
    for subject in ("settings", "assets_dir", "cache folder", "store", "reach", "push"):
        assert subject in out


def test_doctor__other_store(asset) -> None:
    """The store may be given."""
    (asset.folder / "other").mkdir()
    assert "other" in asset.ok("doctor", f"file://{asset.folder}/other").out


def test_doctor__what_is_wrong(asset) -> None:
    """No store, and a settings' file with unknown names, are findings with an error's exit code."""
    asset.config.parent.mkdir(parents=True)
    asset.config.write_text("stroe = 1\n")
    document = asset("doctor", "--json", HOLDFAST_STORE=None).json
    wrong = {finding["state"] for finding in document["findings"] if finding["state"] != "ok"}
    assert wrong == {"usage"}
    assert document["error"]["kind"] == "usage"
    assert asset("doctor", HOLDFAST_STORE=None).code == 2
