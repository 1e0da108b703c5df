"""A folder that is pushed again after a few edits: the pages in which nothing changed are kept unread, and nobody can tell."""

from __future__ import annotations

import os
import random
import shutil
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import holdfast
from holdfast.model.result import NoProgress
from holdfast.transfer import containers, packing

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from holdfast.model.result import Progress
    from holdfast.repository import Repository

#: Enough files for several pages.
_FOLDERS, _FILES = 12, 100


def laid(folder: Path) -> Path:
    """Folders of small files, some of them with names that sort between a folder and what lies in it."""
    for number in range(_FOLDERS):
        inner = folder / f"d{number}"
        inner.mkdir(parents=True)
        (folder / f"d{number}-beside").write_bytes(b"beside")
        for each in range(_FILES):
            (inner / f"f{each}").write_bytes(os.urandom(300 + each))
    time.sleep(0.06)  # stats that are younger than a tick are not trusted
    return folder


def opened(place: Path, machine: str, monkeypatch: pytest.MonkeyPatch, progress: Progress | None = None) -> Repository:
    """The store as another machine sees it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(place / machine / "state"))
    (place / "store").mkdir(exist_ok=True)
    return holdfast.open((place / "store").as_uri(), assets_dir=place / machine / "assets", progress=progress)


def as_pushed(repository: Repository, version: str) -> dict[str, tuple[object, ...]]:
    """Every entry of a version."""
    return {
        each.path: (each.kind, each.size, each.mode, each.mtime, each.target)
        for each in repository.files(f"a:{version}")
    }


def as_it_is(folder: Path) -> dict[str, tuple[object, ...]]:
    """Every entry of a folder."""
    found: dict[str, tuple[object, ...]] = {}
    for path in folder.rglob("*"):
        status, name = path.lstat(), str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", 0, None, status.st_mtime_ns, os.readlink(path))
        elif path.is_dir():
            found[name] = ("dir", 0, status.st_mode & 0o7777, status.st_mtime_ns, None)
        else:
            found[name] = ("file", status.st_size, status.st_mode & 0o7777, status.st_mtime_ns, None)
    return found


def edited(folder: Path, dice: random.Random) -> None:
    """A few edits of every kind."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    one, two, three, four, five = dice.sample(files, 5)
    one.write_bytes(os.urandom(500))
    two.unlink()
    three.chmod(0o600 if three.stat().st_mode & 0o100 else 0o755)
    os.utime(four, ns=(1, dice.randrange(10**18)))
    five.unlink()
    five.symlink_to("nowhere")
    (folder / f"d{dice.randrange(_FOLDERS)}" / f"new{dice.random()}").write_bytes(os.urandom(dice.randrange(200)))
    made = folder / f"d{dice.randrange(_FOLDERS)}" / f"made{dice.random()}"
    made.mkdir()
    (made / "inner").write_bytes(b"inner")
    folders = sorted(path for path in folder.glob("*/made*"))
    if len(folders) > 2:
        shutil.rmtree(folders[0])
        folders[1].rename(folders[1].with_name(f"renamed{dice.random()}"))
    time.sleep(0.06)


def test_push_again__after_edits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After edits of every kind, over and over, a version has what the folder has, and the content hash that a first push of it has."""
    folder, dice = laid(tmp_path / "source"), random.Random(1)
    first = opened(tmp_path, "first", monkeypatch)
    first.push(folder, "a", layout="packs")
    for number in range(6):
        edited(folder, dice)
        pushed = first.push(folder, "a", layout="packs")
        assert pushed.created
        assert as_pushed(first, pushed.version) == as_it_is(folder)
        other = opened(tmp_path, f"other{number}", monkeypatch)
        assert not other.push(folder, "a", layout="packs").created


class Steps(NoProgress):
    """Counts the steps of a push: an entry that is gone through, or a page that is kept."""

    count = 0

    def advance(self, count: int) -> None:
        """One more."""
        self.count += 1


def test_push_again__pages_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one edit only the entries of its page are gone through."""
    folder = laid(tmp_path / "source")
    opened(tmp_path, "first", monkeypatch).push(folder, "a", layout="packs")
    (folder / "d5/f5").write_bytes(b"edited")
    steps = Steps()
    assert opened(tmp_path, "first", monkeypatch, steps).push(folder, "a", layout="packs").created
    assert 1 < steps.count < _FOLDERS * _FILES / 2


def test_push_again__of_a_version_made_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that another machine had pushed is remembered without its times: the next version has those of this folder."""
    folder = laid(tmp_path / "source")
    opened(tmp_path, "first", monkeypatch).push(folder, "a", layout="packs")
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, copy_function=shutil.copyfile)
    time.sleep(0.06)
    second = opened(tmp_path, "second", monkeypatch)
    assert not second.push(copy, "a", layout="packs").created
    (copy / "d5/f5").write_bytes(b"edited")
    version = second.push(copy, "a", layout="packs").version
    assert as_pushed(second, version) == as_it_is(copy)


def test_push_again__chunks_are_gathered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often single files change, a version needs few packs: chunks that are scattered over many are stored again, side by side."""
    folder = laid(tmp_path / "source")
    repository = opened(tmp_path, "first", monkeypatch)
    repository.push(folder, "a", layout="packs")
    counts = []
    for number in range(40):
        (folder / f"d{number % _FOLDERS}" / f"f{number}").write_bytes(os.urandom(400))
        time.sleep(0.03)
        version = repository.push(folder, "a", layout="packs").version
        meta = repository.catalog.published("a", version).meta
        counts.append(len(repository.local.packed("a", version, meta).root()[0].packs))
    assert max(counts) <= 20
    assert any(after < before for before, after in pairwise(counts))


def test_push__that_finds_one_small_thing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is in an earlier version, too small for a range of its own, keeps no more than a few later entries in memory, however many are new."""
    folder, most = tmp_path / "folder", [0]
    folder.mkdir()
    (folder / "a").write_bytes(os.urandom(300))
    repository = opened(tmp_path, "one", monkeypatch)
    repository.push(folder, "a")
    for number in range(300):
        (folder / f"b{number:03}").write_bytes(os.urandom(300))
    monkeypatch.setattr(packing, "_MANY", 20)
    monkeypatch.setattr(containers, "FULL", 3000)
    leave = packing.Packing._leave

    def counted(self: packing.Packing, pending: packing.Pending) -> None:
        leave(self, pending)
        most[0] = max(most[0], len(self._waiting))

    monkeypatch.setattr(packing.Packing, "_leave", counted)
    assert repository.push(folder, "a").version == "0.1"
    assert as_pushed(repository, "0.1") == as_it_is(folder)
    assert 20 < most[0] < 50
